"""Structures streamed over HTTP: what is asked, when a request is closed, what faults become."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.responses import Response
from tenacity import wait_fixed

from rlkd_plugin.engines.base import Decomposition
from rlkd_plugin.engines.in_flight import cancel_all
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.trace import TraceRow, trace_row
from rlkd_plugin.gsrm import EndpointError, StructuredReward, parse_structure
from rlkd_plugin.llm_io import chat_client, transport
from rlkd_plugin.llm_io.event_stream import EventLines, StreamedReply
from rlkd_plugin.llm_io.pace import Pace
from rlkd_plugin.llm_io.prompted_engine import Role
from rlkd_plugin.llm_io.server_engine import ROLES, ServerEngine
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.llm_io.slots import Slots
from tests.conftest import SetOptions
from tests.support.loopback import Answer, Asked, Loopback, raw, said, status, structure_of, verdict
from tests.support.streams import Stream, event, events_of, finish, part, streamed

pytestmark = pytest.mark.filterwarnings("error")  # an unclosed session is a warning

PATH = "count 6 * 4 = 24\nsubtract 24 - 5 = 19\nadd 19 + 1 = 20"
OTHER = "count 6 * 4 = 24\nadd 24 + 5 = 29\nadd 19 + 1 = 20"
"""A path whose second meta-reasoning differs from that of `PATH`."""
WHOLE = structure_of(PATH)
KEY = "sk-proj-Ab12Cd34Ef56"


def score(*paths: str, engine: ServerEngine | None = None) -> list[Score]:
    """Score completions with these paths against `PATH`, in an event loop of their own."""
    opened = engine or ServerEngine(load_settings())
    samples = [Sample(f"<think>{path}</think>4", "How many?", "math", "", WHOLE) for path in paths]

    async def run() -> list[Score]:
        async with opened:
            return await score_batch(samples, opened)

    return asyncio.run(run())


def streams(servers: Loopback, pause: float = 0.0, size: int = 4) -> list[Stream]:
    """Let the GSRM stream its structures; return the streams as they begin."""
    begun: list[Stream] = []

    def answer(asked: Asked) -> Any:
        text = structure_of(asked.content("reasoning path"))
        if "stream" not in asked.body:
            return said(text)(asked)
        begun.append(Stream(events_of(text, size), pause))
        return begun[-1](asked)

    servers.always("gsrm", answer)
    return begun


# --- what is asked, and when it ends ---


def test_a_students_structure_is_streamed_and_nothing_else(servers: Loopback) -> None:
    """Neither the teacher's nor a verdict."""
    streams(servers)
    engine = ServerEngine(load_settings())
    samples = [Sample(f"<think>{OTHER}</think>", "How many?", "math", PATH)]

    async def run() -> list[Score]:
        async with engine:
            return await score_batch(samples, engine)

    asyncio.run(run())
    asked = {a.content("reasoning path"): a.body for a in servers.of("gsrm")}
    assert asked[OTHER]["stream"] is True
    assert asked[OTHER]["stream_options"] == {"include_usage": True}
    assert "stream" not in asked[PATH] and "stream_options" not in asked[PATH]
    assert servers.of("judge") and all("stream" not in a.body for a in servers.of("judge"))


def test_the_request_is_closed_when_the_walk_ends(servers: Loopback) -> None:
    begun = streams(servers, pause=0.02)
    engine = ServerEngine(load_settings())
    (found,) = score(OTHER, engine=engine)
    assert found.reward == StructuredReward(1.0, (1.0, 0.0))
    assert found.student.stopped_early
    assert found.student.unfinished == ("plan to add 24 + 5 = 29",)
    (stream,) = begun
    assert stream.sent < len(stream.events) - 20
    for _ in range(100):  # the server notices
        if stream.closed:
            break
        asyncio.run(asyncio.sleep(0.02))
    assert stream.closed == 1
    # the engine goes on with other connections
    (again,) = score(PATH, engine=engine)
    assert again.student == Decomposition(parse_structure(WHOLE))


def test_what_matches_to_its_end_is_read_to_its_end(servers: Loopback) -> None:
    streams(servers)
    (found,) = score(PATH.replace("count", "count "))
    assert found.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert found.student == Decomposition(
        parse_structure(structure_of(PATH.replace("count", "count ")))
    )


def test_a_server_that_does_not_stream_is_read_whole(servers: Loopback) -> None:
    """It answers at once, and is asked no second time."""
    (found,) = score(OTHER)
    assert found.reward == StructuredReward(1.0, (1.0, 0.0))
    assert not found.student.stopped_early
    assert len(servers.of("gsrm")) == 1


@pytest.mark.parametrize(
    ("rejected", "words"),
    [
        ({"stream", "stream_options"}, "stream is not supported"),
        ({"stream"}, "Unsupported parameter: 'stream'"),
        ({"stream_options"}, "Unrecognized request argument supplied: stream_options"),
        ({"stream_options"}, "extra fields not permitted"),
    ],
)
def test_what_a_server_rejects_of_it_is_left_out(
    servers: Loopback, rejected: set[str], words: str
) -> None:
    """And remembered; without `stream` no `stream_options` are sent, which would be an error."""
    streams(servers)

    def answer(asked: Asked) -> Any:
        if rejected & asked.body.keys():
            return status(400, words)(asked)
        text = structure_of(asked.content("reasoning path"))
        return (streamed if "stream" in asked.body else said)(text)(asked)

    servers.always("gsrm", answer)
    engine = ServerEngine(load_settings())
    for _ in range(2):
        (found,) = score(OTHER, engine=engine)
        assert found.reward == StructuredReward(1.0, (1.0, 0.0))
    last = servers.of("gsrm")[-1].body
    assert not rejected & last.keys()
    assert ("stream" in last) == (rejected == {"stream_options"})
    assert "stream_options" not in last


def test_the_setting_turns_it_off(servers: Loopback, options: SetOptions) -> None:
    options(stream_structures="false")
    (found,) = score(OTHER)
    assert not found.student.stopped_early
    assert all("stream" not in asked.body for asked in servers.asked)


def test_verdicts_need_not_wait_for_structures(servers: Loopback, options: SetOptions) -> None:
    """Of four slots one is theirs: with none no walk could end before its structure does."""
    options(concurrency=4)
    begun = streams(servers, pause=0.01)
    found = score(*(f"{OTHER} {number}" for number in range(8)))
    assert all(one.student.stopped_early for one in found)
    assert servers.most_in_flight <= 4
    assert sum(stream.sent for stream in begun) < sum(len(stream.events) for stream in begun) * 0.8


def test_one_slot_is_enough(servers: Loopback, options: SetOptions) -> None:
    """Then every structure is written before its verdicts; nothing waits for ever."""
    options(concurrency=1)
    streams(servers)
    found = score(OTHER, PATH.replace("count", "count "))
    assert [one.reward and one.reward.total for one in found] == [1.0, 3.0]
    assert servers.most_in_flight == 1


# --- replies of every kind ---


def both_ways(servers: Loopback, options: SetOptions, *answers: Answer) -> list[Score]:
    """Score a path whose GSRM answers so, streamed and whole; the replies say which way."""
    found = []
    for way in ("true", "false"):
        options(stream_structures=way)
        servers.then("gsrm", *answers)
        found += score(OTHER)
    return found


def answer_as_asked(text: str, reason: str = "stop", **message: Any) -> Answer:
    """Answer in the way in which it is asked."""

    def answer(asked: Asked) -> Any:
        if asked.body.get("stream"):
            named = [event(part(**{key: value})) for key, value in message.items()]
            first, *others = events_of(text, 5, reason=reason)
            return Stream([first, *named, *others])(asked)
        choice = {"message": {"content": text, **message}, "finish_reason": reason}
        return raw(json.dumps({"choices": [choice]}))(asked)

    return answer


GOOD = structure_of(OTHER)
REPLIES: dict[str, list[Answer]] = {
    "cut, then whole": [answer_as_asked(GOOD[:150], "length"), answer_as_asked(GOOD)],
    "cut in its first step": [answer_as_asked(GOOD[:60], "length"), answer_as_asked(GOOD)],
    "cut twice": [answer_as_asked(GOOD[:-9], "length"), answer_as_asked(GOOD[:-5], "length")],
    "no structure, then one": [answer_as_asked("There is none."), answer_as_asked(GOOD)],
    "no structure": [answer_as_asked("There is none."), answer_as_asked("Really.")],
    "a broken first step": [
        answer_as_asked(GOOD.replace("[Answer 1]", "[Answer 2]")),
        answer_as_asked(GOOD),
    ],
    "a broken second step": [answer_as_asked(GOOD.replace("[Answer 2]", "[Answer 7]"))],
    "a broken third step": [answer_as_asked(GOOD.replace("[Sub-problem 3]", "[Answer 7]"))],
    "words before it": [answer_as_asked(f"Here it is:\n\n{GOOD}")],
    "thinking before it": [answer_as_asked(f"<think>[Meta-reasoning 1]: no</think>\n{GOOD}")],
    "thinking without its opening mark": [
        answer_as_asked(f"Hm. [Meta-reasoning 1]: no</think>\n{GOOD}")
    ],
    "thinking apart": [answer_as_asked(GOOD, reasoning_content="[Meta-reasoning 1]: no")],
    "all of it taken for thinking": [answer_as_asked("", reasoning_content=GOOD)],
    "a mark of thinking behind it": [answer_as_asked(f"{GOOD}\n</think>\n[Meta-reasoning 1]: no")],
    "a final answer in other words": [
        answer_as_asked(GOOD.replace("So the final answer is", "Final answer"))
    ],
    "no final answer": [answer_as_asked(GOOD.partition("\n\nSo")[0])],
    "bold tags": [answer_as_asked(GOOD.replace("[", "**[").replace("]:", "]:**"))],
    "a refusal": [answer_as_asked("", refusal="I can't help with that.")],
    "a content filter": [answer_as_asked(GOOD[:9], "content_filter")],
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_worth_the_same_streamed_and_whole(
    servers: Loopback, options: SetOptions, name: str
) -> None:
    streamed_one, whole = both_ways(servers, options, *REPLIES[name])
    assert streamed_one.student.status == whole.student.status
    totals = [one.reward and one.reward.total for one in (streamed_one, whole)]
    assert totals[0] == totals[1]
    if not streamed_one.student.stopped_early:
        assert streamed_one == whole


# --- faults in the middle of a stream ---

EVENTS = events_of(WHOLE)
MIDDLE = len(EVENTS) // 2
FAULTS: dict[str, Answer] = {
    "cut": Stream(EVENTS[:MIDDLE], breaks=True),
    "ended without a word": Stream(EVENTS[:MIDDLE]),
    "ended at once": Stream([]),
    "garbage": Stream([*EVENTS[:MIDDLE], b"data: {nonsense\n\n", *EVENTS[MIDDLE:]]),
    "no chunk": Stream([*EVENTS[:MIDDLE], event([1]), *EVENTS[MIDDLE:]]),
    "an error as an object": Stream([*EVENTS[:MIDDLE], event({"object": "error"})]),
    "an error": Stream([*EVENTS[:MIDDLE], event({"error": {"message": "down", "code": 500}})]),
    "an error of its own kind": Stream([b"event: error\n" + event({"message": "oh"})]),
    "half an event": Stream([*EVENTS[:MIDDLE], EVENTS[MIDDLE][:20]]),
    "aborted": Stream([*EVENTS[:MIDDLE], event(finish("abort"))]),
    "empty": Stream([event(part(role="assistant")), event(finish()), b"data: [DONE]\n\n"]),
    "an error in place of a stream": status(503),
    "half a JSON": raw('{"choices": [{"mess'),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_stream_that_fails_is_asked_for_again(servers: Loopback, name: str) -> None:
    """The reward is that of the reply that came to its end."""
    servers.then("gsrm", FAULTS[name], streamed(WHOLE))
    (found,) = score(OTHER)
    assert found.student.structure == parse_structure(WHOLE)
    assert found.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert len(servers.of("gsrm")) == 2


def test_what_a_failed_stream_wrote_counts_no_more_while_its_retry_waits(
    servers: Loopback, options: SetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict on it that comes meanwhile ends nothing."""
    options(startup_patience=5)
    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.6))
    text = structure_of(OTHER)
    behind_m2 = text.index("[Sub-problem 2]") + 20
    servers.then("gsrm", Stream(events_of(text)[: behind_m2 // 4], pause=0.002), streamed(WHOLE))

    async def late(asked: Asked) -> Any:
        await asyncio.sleep(0.3)
        first, second = asked.texts
        return verdict(0.9 if first == second else 0.1)(asked)

    servers.always("judge", late)
    (found,) = score(OTHER)
    assert found.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert len(servers.of("gsrm")) == 2


def test_a_stall_is_given_up_after_the_time_of_a_request(
    servers: Loopback, options: SetOptions
) -> None:
    options(request_timeout=0.4)

    class Slow(Stream):
        async def _send(self) -> Any:
            for number, one in enumerate(self.events):
                await asyncio.sleep(0.1 if number > MIDDLE else 0.0)
                yield one

    servers.then("gsrm", Slow([*EVENTS[:MIDDLE], *[b": still here\n\n"] * 100]), streamed(WHOLE))
    (found,) = score(OTHER)
    assert found.student.structure == parse_structure(WHOLE)


@pytest.mark.parametrize("streams_it", [True, False])
def test_a_reply_without_an_end_is_given_up(
    servers: Loopback, monkeypatch: pytest.MonkeyPatch, streams_it: bool
) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 100_000)
    long = Stream([event(part(content="word ")) for _ in range(50_000)])
    servers.then("gsrm", long if streams_it else raw(" " * 200_000 + "{}"), streamed(WHOLE))
    (found,) = score(OTHER)
    assert found.student.structure == parse_structure(WHOLE)
    assert long.sent < 50_000


@pytest.mark.parametrize(
    "events",
    [
        [*map(event, [part(content=WHOLE), finish()])],  # neither usage nor [DONE]
        [event(part(content=WHOLE)), b"data: [DONE]\n\n"],  # no reason to finish
        [*EVENTS[:-1], b"data: {nonsense\n\n"],  # behind its end
        [
            event(
                {"choices": [{"index": 0, "message": {"content": WHOLE}, "finish_reason": "stop"}]}
            )
        ],
        [b"".join(EVENTS)],
        [bytes([one]) for one in b"".join(EVENTS)],
        [b"".join(EVENTS).replace(b"\n", b"\r\n")],
        [
            b": keep-alive\n\nid: 1\nevent: message\n"
            + b"".join(EVENTS).replace(b"data: ", b"data:")
        ],
        [event({"choices": [], "prompt_filter_results": []}), *EVENTS],
        [event({"type": "ping"}), event({"choices": None}), *EVENTS],
        [b"\xef\xbb\xbf" + EVENTS[1], *EVENTS[2:]],
        [*EVENTS[:-2], b"data: [DONE] \n\n"],
        [json.dumps({"choices": [{"message": {"content": WHOLE}}]}).encode()],  # no events at all
        [event({"choices": None, "usage": {"prompt_tokens": 1}}), *EVENTS],
    ],
)
def test_other_forms_of_a_stream_are_read(servers: Loopback, events: list[bytes]) -> None:
    servers.then("gsrm", Stream(events))
    (found,) = score(PATH.replace("count", "count "))
    assert found.student == Decomposition(parse_structure(WHOLE))
    assert len(servers.of("gsrm")) == 1


def test_an_error_that_is_tied_to_the_text_is_a_rejected_text(servers: Loopback) -> None:
    """As it is in the body of a reply with status 200."""
    words = {"error": {"message": "this text is rejected", "code": 400}}
    servers.always("gsrm", Stream([event(words)]))
    (found,) = score(OTHER)
    assert found.student.status == "refused"
    assert "this text is rejected" in found.student.reply


def test_a_server_that_always_breaks_off_ends_the_run(
    servers: Loopback, options: SetOptions
) -> None:
    options(patience=0.2, startup_patience=0.2)
    servers.always("gsrm", Stream(EVENTS[:MIDDLE]))
    with pytest.raises(EndpointError, match=r"a stream that broke off after \d+ characters"):
        score(OTHER)


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_body_that_ends_uncleanly_behind_its_completion_counts(
    servers: Loopback, lacking: int
) -> None:
    """With `[DONE]` and without it; the reason to finish was read before."""
    events = events_of(WHOLE, 200)
    servers.then("gsrm", Stream(events[: len(events) - lacking], pause=0.05, breaks=True))
    (found,) = score(PATH.replace("count", "count "))
    assert found.student == Decomposition(parse_structure(WHOLE))
    assert len(servers.of("gsrm")) == 1


@pytest.mark.parametrize("label", ["text/plain", "application/json", "application/octet-stream"])
def test_events_under_another_label_are_read(servers: Loopback, label: str) -> None:
    servers.then("gsrm", lambda _: Response(b"".join(EVENTS), media_type=label))
    (found,) = score(PATH.replace("count", "count "))
    assert found.student == Decomposition(parse_structure(WHOLE))


def test_a_server_whose_streams_cannot_be_read_is_asked_for_whole_replies(
    servers: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    """After three of one text; one that was read before is believed to be able to."""
    odd = Stream([event({"choices": [{"text": WHOLE}]}), event(finish())])
    servers.always("gsrm", lambda a: odd(a) if "stream" in a.body else said(WHOLE)(a))
    engine = ServerEngine(load_settings())
    (found,) = score(OTHER, engine=engine)
    assert found.student.structure == parse_structure(WHOLE)
    assert ["stream" in asked.body for asked in servers.of("gsrm")] == [True, True, True, False]
    assert "`stream` is dropped" in caplog.text
    score(OTHER, engine=engine)
    assert "stream" not in servers.of("gsrm")[-1].body


def test_one_good_stream_is_believed(servers: Loopback) -> None:
    engine = ServerEngine(load_settings())
    broken = Stream(EVENTS[:MIDDLE])
    servers.then("gsrm", streamed(WHOLE), *[broken] * 5, streamed(WHOLE))
    for _ in range(2):
        score(OTHER, engine=engine)
    assert all("stream" in asked.body for asked in servers.of("gsrm"))
    assert len(servers.of("gsrm")) == 7


def test_a_surrogate_pair_in_two_events_is_one_character(servers: Loopback) -> None:
    """Servers cut texts where their languages count: within a character of two halves."""
    path = PATH.replace("count 6", "count \U0001d465 6")
    text = structure_of(path)
    at = text.index("\U0001d465")
    pair = "\U0001d465".encode("utf-16-be")
    first, second = (pair[i : i + 2].decode("utf-16-be", "surrogatepass") for i in (0, 2))
    parts = [text[:at], first, second + text[at + 1 :]]
    events = [f"data: {json.dumps(part(content=one))}\n\n".encode() for one in parts]
    servers.then("gsrm", Stream([*events, event(finish())]))
    texts: list[str] = []
    reply = StreamedReply(texts.append)
    reply.feed(b"".join(events))
    assert "".join(texts) == text
    (found,) = score(path)
    assert found.student.structure == parse_structure(text)
    assert "\U0001d465" in servers.of("judge")[0].prompt


# --- our keys ---


@pytest.mark.parametrize("key", [KEY, "ey" + "Ab12Cd34Ef" * 150])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_key_in_a_stream_is_in_no_question_and_no_trace(
    servers: Loopback, options: SetOptions, monkeypatch: pytest.MonkeyPatch, size: int, key: str
) -> None:
    """Wherever it is cut into events, however long it is; the same as of a whole reply."""
    monkeypatch.setenv("RLKD_GSRM_API_KEY", key)
    text = structure_of(OTHER).replace("add 24", f"add {key} 24")
    found: list[TraceRow] = []
    for way in ("true", "false"):
        options(stream_structures=way)
        servers.then("gsrm", streamed(text, size) if way == "true" else said(text))
        found += [trace_row(one, None) for one in score(OTHER)]
    assert all(key[-20:] not in str(row) for row in found)
    assert "***" in str(found[1].student)
    assert found[0] == found[1]
    assert all(key[-20:] not in asked.prompt for asked in servers.asked)


# --- slots, rates, the log ---


async def hold(slots: Slots, role: str, count: int) -> "tuple[list[str], list[asyncio.Task[None]]]":
    """Ask for slots; return the list that grows by the role with each one given, and the tasks."""
    given: list[str] = []

    async def take() -> None:
        async with slots.of(role):
            given.append(role)
            await asyncio.Event().wait()

    tasks = [asyncio.ensure_future(take()) for _ in range(count)]
    await settle()
    return given, tasks


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("count", "keeps", "structures"),
    [(1, True, 1), (2, True, 1), (3, True, 2), (4, True, 3), (64, True, 61), (8, False, 8)],
)
def test_some_slots_are_kept_for_verdicts(count: int, keeps: bool, structures: int) -> None:
    async def most(role: str) -> int:
        given, tasks = await hold(Slots(count, keeps), role, count + 1)
        await cancel_all(tasks)
        return len(given)

    assert asyncio.run(most("GSRM")) == structures
    assert asyncio.run(most("judge")) == count


@pytest.mark.parametrize(
    ("verdicts", "structures"), [(0, 61), (3, 58), (5, 54), (10, 48), (30, 34)]
)
def test_the_more_verdicts_are_in_flight_the_more_slots_are_kept(
    verdicts: int, structures: int
) -> None:
    """Of 64: as many as are in flight stay free, but three quarters are for structures."""

    async def given() -> int:
        slots = Slots(64, reserves=True)
        _, asked = await hold(slots, "judge", verdicts)
        written, tasks = await hold(slots, "GSRM", 64)
        await cancel_all([*asked, *tasks])
        return len(written)

    assert asyncio.run(given()) == structures


def test_a_verdict_that_waits_comes_before_a_structure() -> None:
    async def order() -> tuple[int, int]:
        slots = Slots(4, reserves=True)
        _, verdicts = await hold(slots, "judge", 4)
        written, structures = await hold(slots, "GSRM", 1)
        more, others = await hold(slots, "judge", 1)
        await cancel_all(verdicts[:1])
        await settle()
        found = len(more), len(written)
        await cancel_all([*verdicts, *structures, *others])
        return found

    assert asyncio.run(order()) == (1, 0)


@pytest.mark.parametrize("role", ["judge", "GSRM"])
def test_one_that_is_cancelled_while_it_waits_takes_no_slot(role: str) -> None:
    """Neither before it was given one nor in the moment when it was."""

    async def given() -> list[int]:
        slots, found = Slots(1, reserves=True), []
        _, first = await hold(slots, role, 1)
        _, waiting = await hold(slots, role, 2)
        waiting[0].cancel()
        first[0].cancel()
        await asyncio.sleep(0)  # the first one has left, and the second has its slot
        waiting[1].cancel()
        await settle()
        after, tasks = await hold(slots, role, 2)
        found.append(len(after))
        await cancel_all([*first, *waiting, *tasks])
        return found

    assert asyncio.run(given()) == [1]


@pytest.mark.parametrize(
    ("roles", "reserves", "structures"),
    [(ROLES, True, 3), (ROLES, False, 4), (["GSRM"], True, 4)],
    ids=["a training", "rlkd score", "rlkd structure"],
)
def test_slots_are_reserved_only_where_a_batch_may_wait_for_verdicts(
    roles: Sequence[Role],
    reserves: bool,
    structures: int,
    servers: Loopback,
    options: SetOptions,
) -> None:
    options(concurrency=4)
    servers.delay = 0.05
    engine = ServerEngine(load_settings(), roles, reserves=reserves)

    async def run() -> None:
        async with engine:
            await asyncio.gather(*(engine.decompose("P", "math", f"add {n}") for n in range(8)))

    asyncio.run(run())
    assert servers.most_in_flight == structures


def test_a_closed_request_pays_for_what_was_written(
    servers: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for all the tokens that it might have cost."""
    settled: list[float] = []
    monkeypatch.setattr(Pace, "settle", lambda self, tokens: settled.append(tokens))
    streams(servers, pause=0.02)
    score(OTHER)
    (asked,) = servers.of("gsrm")
    # the budget was a quarter of the body's length and the most tokens; a part of those came back
    assert -asked.body["max_tokens"] < min(settled) < -asked.body["max_tokens"] / 2


def test_a_server_that_does_not_stream_is_named_once(
    servers: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rlkd_plugin.llm_io.servers")
    engine = ServerEngine(load_settings())
    for _ in range(2):
        score(OTHER, engine=engine)
    assert caplog.text.count("does not stream") == 1


# --- the events ---


def lines_of(*parts: bytes) -> Iterator[bytes]:
    lines = EventLines()
    for one in parts:
        yield from lines.feed(one)
    yield from lines.end()


@pytest.mark.parametrize(
    ("parts", "data"),
    [
        ([b"data: a\n\ndata: b\n\n"], [b"a", b"b"]),
        ([b"da", b"ta: a", b"\n", b"\nda", b"ta: b\n\n"], [b"a", b"b"]),
        ([b"data: a\r", b"\n\r\n"], [b"a"]),
        ([b"data: a\ndata: b\n\n"], [b"a\nb"]),
        ([b"data: a\n\n\n\n: x\n\ndata:b"], [b"a", b"b"]),
        ([b"event: x\nid: 2\nretry: 3\n\n"], []),
        ([b""], []),
    ],
)
def test_events_are_told_apart(parts: list[bytes], data: list[bytes]) -> None:
    assert list(lines_of(*parts)) == data


def test_a_reply_put_together_is_the_one_sent_at_once() -> None:
    texts: list[str] = []
    reply = StreamedReply(texts.append)
    reply.feed(b"".join(events_of("4 \u00d7 6 = 24", 2)))
    assert "".join(texts) == "4 \u00d7 6 = 24"
    body = json.loads(reply.body())
    assert body["choices"][0]["message"]["content"] == "4 \u00d7 6 = 24"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 5}


def test_half_a_pair_at_the_end_is_told() -> None:
    """No other half can come; what follows behind the end changes nothing."""
    texts: list[str] = []
    reply = StreamedReply(texts.append)
    half = f"data: {json.dumps(part(content='a' + chr(0xD835)))}\n\n".encode()
    for one in (half, event(finish()), b"data: [DONE]\n\n"):
        reply.feed(one)
    assert "".join(texts) == "a" + chr(0xD835)
    assert json.loads(reply.body())["choices"][0]["message"]["content"] == "a" + chr(0xD835)


def test_a_stream_tells_how_far_it_came() -> None:
    reply = StreamedReply(lambda text: None)
    reply.feed(event(part(content="abc")) + event(part(reasoning_content="de")))
    assert (reply.characters, reply.broke_off, reply.is_done) == (5, True, False)
    reply.end()
    assert reply.is_done
