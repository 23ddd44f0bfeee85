"""The server engine where replies are cut, stand in the wrong field, or are read both ways."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.gsrm import EndpointError, parse_structure
from rlkd_plugin.llm_io.prompted_engine import LOGPROBS_TRIES, verdict_of_both
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import load_settings
from tests.conftest import SetOptions
from tests.support.loopback import Answer, Asked, Loopback, raw, said, status, structure_of, verdict

pytestmark = pytest.mark.filterwarnings("error")  # an unclosed session is a warning

T = TypeVar("T")
PATH = "count 6 * 4 = 24\nsubtract 24 - 5 = 19"
WHOLE = structure_of(PATH)
FIRST_STEP = WHOLE.partition("\n\n")[0]
PROSE = "I would rather tell a story."


def entered(act: Callable[[ServerEngine], Awaitable[T]], engine: ServerEngine | None = None) -> T:
    """Run one coroutine function with an open engine in an event loop of its own."""
    opened = engine or ServerEngine(load_settings())

    async def run() -> T:
        async with opened:
            return await act(opened)

    return asyncio.run(run())


def decompose(path: str = PATH) -> Decomposition:
    return entered(lambda engine: engine.decompose("How many?", "math", path))


def match(teacher: str = "count them", student: str = "add them up") -> Verdict:
    return entered(lambda engine: engine.match("meta_reasoning", teacher, student))


def replied(
    content: Any = None, finish_reason: str = "stop", logprobs: Any = None, **message: Any
) -> Answer:
    """Answer with a completion whose message may hold more than its content."""
    choice = {
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
        "logprobs": logprobs,
    }
    return raw(json.dumps({"choices": [choice]}))


def in_tokens(text: str) -> Answer:
    """Answer with a text of one token a character, as far as the budget goes."""

    def answer(asked: Asked) -> Any:
        budget = asked.body["max_tokens"]
        return replied(text[:budget], "length" if budget < len(text) else "stop")(asked)

    return answer


def asked_of(servers: Loopback, *options: str) -> list[tuple[Any, ...]]:
    """Return these options of each request."""
    return [tuple(asked.body[option] for option in options) for asked in servers.asked]


def logprobs_of(*alternatives: tuple[str, float]) -> dict[str, Any]:
    """Return the log-probabilities of one token, the first of these."""
    top = [{"token": token, "logprob": logprob} for token, logprob in alternatives]
    return {"content": [{**top[0], "top_logprobs": top}]}


# --- structures that are cut ---


def test_a_structure_that_is_cut_is_asked_for_with_the_largest_budget(
    servers: Loopback, options: SetOptions
) -> None:
    """At the same temperature: the reply is to be the same, and whole."""
    options(gsrm_max_tokens=3000)
    long = structure_of("\n".join(f"count {n}" for n in range(1, 13)))
    servers.always("gsrm", in_tokens(long))
    assert decompose() == Decomposition(parse_structure(long))
    # PATH has 40 characters: 17 letters, spaces and line ends are 4 tokens, 12 more are themselves
    first, again = asked_of(servers, "temperature", "max_tokens", "stop")
    assert first[1] < len(long) < again[1]
    assert (first[0], again) == (0.0, (0.0, 3000, ["[End]"]))


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
def test_what_is_still_cut_counts_as_far_as_it_is_whole(servers: Loopback, reason: str) -> None:
    """The last answer may go on: its step is dropped."""
    cut = WHOLE.partition("\n\nSo the final")[0]
    servers.always("gsrm", replied(cut, reason))
    assert decompose() == Decomposition(parse_structure(FIRST_STEP), cut=True)
    assert len(servers.asked) == 2


def test_with_the_largest_budget_nothing_is_asked_again_in_vain(
    servers: Loopback, options: SetOptions
) -> None:
    options(gsrm_max_tokens=300)
    servers.always("gsrm", replied(WHOLE[:-20], "length"))
    result = decompose()
    assert result.cut and result.structure is not None
    assert asked_of(servers, "max_tokens") == [(300,)]


@pytest.mark.parametrize(
    ("text", "steps", "is_cut"),
    [
        (WHOLE + "\n\nThat is all. And", 2, False),  # only what nobody reads is missing
        (WHOLE, 2, True),  # the final answer may be 190
        (WHOLE.partition("]: 19")[0] + "]: 1", 1, True),
        (WHOLE.partition("[Answer 2]")[0], 1, True),
        (WHOLE.partition("[Sub-problem 2]")[0], 1, True),
        (WHOLE.partition("Sub-problem 2]")[0], 1, True),
        (FIRST_STEP + "\n\n[Meta-reasoning 2]: plan", 1, True),
        # what was an answer is a heading if it goes on
        (FIRST_STEP + "\n[Meta-reasoning 2]: d\n[Sub-problem 2]: e\n[Answer 2]:\n##", 1, True),
    ],
)
def test_where_a_structure_was_cut_says_which_steps_are_whole(
    servers: Loopback, text: str, steps: int, is_cut: bool
) -> None:
    servers.always("gsrm", replied(text, "length"))
    result = decompose()
    assert result.structure is not None
    assert (len(result.structure.steps), result.cut) == (steps, is_cut)


def test_a_cut_structure_without_a_whole_step_is_none(servers: Loopback) -> None:
    """It is asked for with more room, then differently, then no more."""
    servers.always("gsrm", replied(FIRST_STEP, "length"))
    result = decompose()
    assert (result.structure, result.status, result.cut) == (None, "undecomposable", True)
    assert result.reply == FIRST_STEP[:200]
    first, *others = asked_of(servers, "temperature", "max_tokens")
    assert first[0] == 0.0 and first[1] < 4096
    assert others == [(0.0, 4096), (0.7, 4096)]


def test_prose_and_a_cut_structure_need_three_requests_at_most(servers: Loopback) -> None:
    """Whichever comes first; the whole steps that came count."""
    servers.then("gsrm", said(PROSE))
    servers.always("gsrm", replied(WHOLE, "length"))
    assert decompose().cut
    assert [t for t, _ in asked_of(servers, "temperature", "max_tokens")] == [0.0, 0.7, 0.7]
    servers.asked.clear()
    servers.then("gsrm", replied(WHOLE, "length"))
    servers.always("gsrm", said(PROSE))
    assert decompose() == Decomposition(parse_structure(WHOLE), cut=True)
    assert [t for t, _ in asked_of(servers, "temperature", "max_tokens")] == [0.0, 0.0, 0.7]


def test_a_budget_beyond_the_servers_room_leaves_what_came_first(servers: Loopback) -> None:
    """The larger budget is refused with 400; the whole steps are there all the same."""
    servers.then("gsrm", replied(WHOLE[:-20], "length"))
    servers.always("gsrm", status(400, "maximum context length is 2048 tokens"))
    result = decompose()
    assert (result.status, result.cut) == ("ok", True)
    assert result.structure is not None and len(result.structure.steps) == 1


def test_a_structure_that_ended_by_itself_is_never_cut(servers: Loopback) -> None:
    servers.always("gsrm", said(WHOLE.partition("\n\nSo the final")[0]))
    result = decompose()
    assert (result.cut, len(servers.asked)) == (False, 1)
    assert result.structure is not None and len(result.structure.steps) == 2


# --- structures in other fields ---


@pytest.mark.parametrize("content", [None, "", "\n\n", []])
@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_a_structure_that_a_reasoning_parser_took_is_read(
    servers: Loopback, content: Any, key: str
) -> None:
    """The server was started with --reasoning-parser; the GSRM writes no mark of thinking."""
    servers.always("gsrm", replied(content, **{key: WHOLE}))
    assert decompose() == Decomposition(parse_structure(WHOLE))
    assert len(servers.asked) == 1


def test_words_before_the_structure_are_skipped_there_too(servers: Loopback) -> None:
    servers.always("gsrm", replied(None, reasoning_content=f"Here it is:\n{WHOLE}"))
    assert decompose().structure == parse_structure(WHOLE)


@pytest.mark.parametrize("mark", ["<think>", "<think>\n", "[THINK]"])
def test_a_mark_of_thinking_before_the_structure_is_skipped_there(
    servers: Loopback, mark: str
) -> None:
    """Some parsers leave the mark that opens the thinking where it stands."""
    servers.always("gsrm", replied(None, reasoning_content=mark + WHOLE))
    assert decompose() == Decomposition(parse_structure(WHOLE))


def test_the_content_counts_before_the_thinking(servers: Loopback) -> None:
    """A draft in the thinking is no structure of the reply."""
    draft = "Perhaps:\n[Meta-reasoning 1]: no\n[Sub-problem 1]: no\n[Answer 1]: no"
    servers.then("gsrm", replied(WHOLE, reasoning_content=draft))
    assert decompose() == Decomposition(parse_structure(WHOLE))
    servers.then("gsrm", *[replied(PROSE, reasoning_content=draft)] * 2)
    assert decompose() == Decomposition(None, "undecomposable", reply=PROSE)


def test_a_structure_that_is_all_of_the_thinking_is_read(servers: Loopback) -> None:
    """A GSRM made of a thinking model closes its thinking behind the structure."""
    servers.always("gsrm", replied("The answer is 19.", reasoning_content=f"\n**{WHOLE}"))
    assert decompose() == Decomposition(parse_structure(WHOLE))


def test_a_draft_in_thinking_that_was_cut_is_no_structure(servers: Loopback) -> None:
    """A few words may introduce a structure; a model that thinks about one needs more."""
    words = "The path has two steps, I guess. " * 10
    servers.always("gsrm", replied(None, "length", reasoning=f"{words}\n{WHOLE}\n\nBut"))
    result = decompose()
    assert (result.structure, result.status) == (None, "undecomposable")
    assert result.reply.startswith("(thinking) The path has two steps")


def test_a_structure_that_a_parser_took_may_be_cut(servers: Loopback) -> None:
    """It begins with a tag, but for some words, so it is the reply and no draft."""
    cut = f"The path is:\n\n**{WHOLE[:-20]}"
    servers.always("gsrm", replied(None, "length", reasoning_content=cut))
    result = decompose()
    assert result.cut and result.structure is not None
    assert len(result.structure.steps) == 1


def test_a_content_of_parts_is_read(servers: Loopback) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "[Meta-reasoning 1]: no"}]},
        {"type": "text", "text": WHOLE[:40]},
        {"type": "text", "text": WHOLE[40:]},
    ]
    servers.always("gsrm", replied(parts))
    assert decompose() == Decomposition(parse_structure(WHOLE))


@pytest.mark.parametrize(
    ("content", "thinking", "shown"),
    [
        (PROSE, None, PROSE),
        ("x" * 500, "y", "x" * 200),
        (None, "Hm. " * 100, "(thinking) " + ("Hm. " * 100)[:200]),
        ("<think>Hm.", None, "<think>Hm."),
    ],
)
def test_the_beginning_of_what_came_is_kept(
    servers: Loopback, content: str | None, thinking: str | None, shown: str
) -> None:
    """For the message that stops a run, and for the trace."""
    servers.always("gsrm", replied(content, reasoning_content=thinking))
    assert decompose() == Decomposition(None, "undecomposable", reply=shown)


def test_a_refusal_is_a_refused_text(servers: Loopback) -> None:
    """And no verdict, though it begins with a no."""
    refusal = replied(None, refusal="No, I can't help with that.")
    servers.always("gsrm", refusal)
    servers.always("judge", refusal)
    assert decompose().status == "refused"
    assert match() == Verdict(False, "refused")
    assert len(servers.asked) == 2


# --- verdicts ---


@pytest.mark.parametrize(
    ("reply", "matched"),
    [
        (replied("yes", logprobs=logprobs_of(("yes", -0.05), ("no", -3.2), ("yes", -8.1))), True),
        (replied("Yes!", logprobs=logprobs_of(("Yes!", -0.2), ("No", -5.0), ("no", -4.8))), True),
        (replied("`no", logprobs=logprobs_of(("`no", -0.2), ("Yes", -5.0))), False),
        (replied([{"type": "text", "text": "yes"}]), True),
        (replied("yes", logprobs={"content": [{"token": "yes", "logprob": None}]}), True),
        (replied(None, "length", logprobs_of(("yes", -0.1), ("no", -2.5)), reasoning="yes"), True),
        (replied(None, reasoning_content="no"), False),
    ],
)
def test_what_tells_is_asked_once(servers: Loopback, reply: Answer, matched: bool) -> None:
    servers.always("judge", reply)
    assert match().matched is matched
    assert len(servers.asked) == 1


@pytest.mark.parametrize(
    "reply",
    [
        replied("Correct", logprobs=logprobs_of(("Correct", -0.03), ("No", -5.8))),
        replied("是", logprobs=logprobs_of(("是", -0.01), ("No", -6.1), ("Yes", -7.2))),
        replied("否", logprobs=logprobs_of(("否", -0.01), ("Yes", -6.1), ("No", -7.2))),
        replied("**", logprobs=logprobs_of(("**", -0.05), ("No", -3.9))),
        replied(None, "length", logprobs_of(("Okay", -0.02), ("No", -5.0)), reasoning="Okay"),
        replied(None, "length", reasoning_content="no"),
        replied("<think>", "length"),
    ],
)
@pytest.mark.parametrize("chosen", ["yes", "no"])
def test_what_does_not_tell_is_asked_as_a_choice(
    servers: Loopback, reply: Answer, chosen: str
) -> None:
    """A tail, a word that is neither, and thinking that was cut."""
    servers.then("judge", reply, said(chosen))
    assert match() == Verdict(chosen == "yes", "choice")
    assert servers.asked[1].body["structured_outputs"] == {"choice": ["yes", "no"]}


def test_a_judge_that_only_thinks_is_refused_and_quoted(servers: Loopback) -> None:
    """Its reason is what came."""
    servers.always("judge", replied(None, "length", reasoning_content="Okay, no: the plans"))
    result = match()
    assert result == Verdict(False, "refused")
    assert result.reason == "(thinking) Okay, no: the plans"
    assert len(servers.asked) == 2


def test_the_servers_words_are_the_reason_of_a_refusal(servers: Loopback) -> None:
    servers.always("judge", status(413, "the text is too long"))
    assert "the text is too long" in match().reason


def test_each_server_has_its_tries_to_give_log_probabilities(
    servers: Loopback, options: SetOptions
) -> None:
    """The first replies may all come from the one that gives none."""
    options(judge_base_url=f"{servers.url},{servers.url.replace('127.0.0.1', 'localhost')}")
    servers.then("judge", *[said("yes")] * (2 * LOGPROBS_TRIES - 1))
    servers.always("judge", verdict(0.9))
    engine = ServerEngine(load_settings())

    async def ask(opened: ServerEngine) -> list[str]:
        return [
            (await opened.match("answer", "1", f"{n} and 1")).source
            for n in range(2 * LOGPROBS_TRIES + 1)
        ]

    assert entered(ask, engine) == ["text"] * (2 * LOGPROBS_TRIES - 1) + ["logprob"] * 2


def test_empty_log_probabilities_are_none(servers: Loopback) -> None:
    """A judge that sends an empty list for each token is asked for choices."""
    servers.always("judge", replied("yes", logprobs={"content": [{"token": "yes"}]}))

    async def ask(opened: ServerEngine) -> list[str]:
        return [(await opened.match("answer", "1", f"{n} and 1")).source for n in range(5)]

    assert entered(ask) == ["text"] * LOGPROBS_TRIES + ["choice"] * 2


# --- both orders ---


def by_order(first: Answer, swapped: Answer) -> Answer:
    """Answer a question by whether the teacher's text stands first."""
    return lambda asked: (first if asked.texts[0] == "count them" else swapped)(asked)


def test_without_the_setting_a_question_is_asked_one_way(servers: Loopback) -> None:
    match()
    assert [asked.texts for asked in servers.asked] == [("count them", "add them up")]


@pytest.mark.parametrize(
    ("one", "other", "threshold", "probability", "matched"),
    [(0.9, 0.3, 0.5, 0.6, True), (0.9, 0.05, 0.5, 0.475, False), (0.9, 0.3, 0.7, 0.6, False)],
)
def test_both_orders_give_the_mean(
    servers: Loopback,
    options: SetOptions,
    one: float,
    other: float,
    threshold: float,
    probability: float,
    matched: bool,
) -> None:
    """Twice the requests, in flight together."""
    options(judge_swap="true", judge_threshold=threshold)
    servers.delay = 0.1
    servers.always("judge", by_order(verdict(one), verdict(other)))
    result = match()
    assert (result.matched, result.source) == (matched, "logprob")
    assert result.probability == pytest.approx(probability)
    assert {asked.texts for asked in servers.asked} == {
        ("count them", "add them up"),
        ("add them up", "count them"),
    }
    assert (len(servers.asked), servers.most_in_flight) == (2, 2)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (said("yes"), said("yes"), Verdict(True, "text")),
        (said("yes"), said("no"), Verdict(False, "text")),
        (said("yes"), verdict(0.9), Verdict(True, "text")),
        (said("yes"), verdict(0.3), Verdict(False, "text")),  # not the mean of 1 and 0.3
        (verdict(0.9), said("no"), Verdict(False, "text")),
        (verdict(0.9), said("hm"), Verdict(False, "refused")),
        (status(400), verdict(0.9), Verdict(False, "refused")),
    ],
)
def test_without_two_probabilities_both_orders_must_match(
    servers: Loopback, options: SetOptions, one: Answer, other: Answer, expected: Verdict
) -> None:
    options(judge_swap="true")
    servers.always("judge", by_order(one, other))
    assert match() == expected


def test_the_weaker_source_is_told() -> None:
    """A choice and a probability, a text and a choice."""
    sure = Verdict(True, "logprob", 0.9)
    assert verdict_of_both(sure, Verdict(True, "choice"), 0.5) == Verdict(True, "choice")
    both = verdict_of_both(Verdict(True, "choice"), Verdict(True, "text"), 0.5)
    assert both == Verdict(True, "text")


def test_an_error_of_one_order_ends_the_other(servers: Loopback, options: SetOptions) -> None:
    """Nothing is left in flight, and the error is the judge's."""
    options(judge_swap="true", startup_patience=30)
    servers.always("judge", by_order(status(404, "no such model"), status(503)))

    async def ask(opened: ServerEngine) -> set["asyncio.Task[Any]"]:
        with pytest.raises(EndpointError, match="RLKD_JUDGE_MODEL"):
            await opened.match("meta_reasoning", "count them", "add them up")
        return asyncio.all_tasks() - {task for task in [asyncio.current_task()] if task}

    assert entered(ask) == set()
