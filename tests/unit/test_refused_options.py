"""Servers that do not take an option: it is lessened or left out, once, and the text is judged."""

import asyncio
import logging
import pickle
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from tenacity import wait_fixed

from rlkd_plugin.engines.base import Usage, Verdict
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io import chat_client
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.embedding_server import ServerEmbedder
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import load_settings
from tests.conftest import SetOptions
from tests.support.json_server import serving
from tests.support.loopback import JUDGE, Answer, Asked, Loopback, raw, said, status, verdict

pytestmark = pytest.mark.filterwarnings("error")

T = TypeVar("T")
KEY = "sk-the-very-secret-key"
VERDICT = {"max_tokens": 1, "temperature": 0.0, "logprobs": True, "top_logprobs": 20}
STRUCTURE = {"max_tokens": 512, "temperature": 0.0, "stop": ["[End]"]}


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make retries come quickly."""
    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.02))
    yield


def make_client(*urls: str, usage: Usage | None = None, **body: Any) -> ChatClient:
    """Return a client of the loopback server's judge, with further keys of the body."""
    return ChatClient(
        Endpoint("judge", urls, JUDGE, "JUDGE_KEY", body),
        request_timeout=5.0,
        patience=2.0,
        startup_patience=0.5,
        usage=usage or Usage(),
    )


def entered(client: ChatClient, act: Callable[[ChatClient], Awaitable[T]]) -> T:
    """Run one coroutine function with the open client in an event loop of its own."""

    async def run() -> T:
        async with client:
            return await act(client)

    return asyncio.run(run())


def ask(client: ChatClient, *texts: str, **options: Any) -> list[Reply | EndpointError]:
    """Send requests one after the other; return the replies, and the errors in their place."""

    async def act(client: ChatClient) -> list[Reply | EndpointError]:
        found: list[Reply | EndpointError] = []
        for text in texts or ("hello",):
            try:
                found.append(await client.complete([{"role": "user", "content": text}], **options))
            except EndpointError as error:
                found.append(error)
        return found

    return entered(client, act)


def unless(is_wrong: Callable[[dict[str, Any]], Any], code: int, words: str) -> Answer:
    """Reject the requests whose body is wrong; else say yes."""

    def answer(asked: Asked) -> Any:
        return (status(code, words) if is_wrong(asked.body) else said("yes"))(asked)

    return answer


def without(*names: str, code: int = 400, words: str = "") -> Answer:
    """Reject requests with one of these options, and name the first that it meets."""

    def answer(asked: Asked) -> Any:
        found = next((name for name in names if name in asked.body), None)
        if found is None:
            return said("yes")(asked)
        return status(code, words or f"Unrecognized request argument supplied: {found}")(asked)

    return answer


OPENAI_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead."
)
KINDS = [
    pytest.param(without("logprobs"), VERDICT, {"logprobs", "top_logprobs"}, {}, id="logprobs"),
    pytest.param(
        unless(lambda body: body.get("top_logprobs", 0) > 5, 400, "max allowed: 5 logprobs"),
        VERDICT,
        set(),
        {"top_logprobs": 5},
        id="vllm-5-logprobs",
    ),
    pytest.param(
        unless(lambda body: body.get("top_logprobs", 0) > 8, 422, "top_logprobs: at most 8"),
        VERDICT,
        set(),
        {"top_logprobs": 8},
        id="8-logprobs",
    ),
    pytest.param(without("top_k"), STRUCTURE, {"top_k"}, {}, id="top_k"),
    pytest.param(
        without("top_k", "min_p", "repetition_penalty"),
        STRUCTURE,
        {"top_k", "min_p", "repetition_penalty"},
        {},
        id="openai-sampling",
    ),
    pytest.param(without("stop"), STRUCTURE, {"stop"}, {}, id="stop"),
    pytest.param(
        without("structured_outputs", code=422),
        {**STRUCTURE, "structured_outputs": {"choice": ["yes", "no"]}},
        {"structured_outputs"},
        {},
        id="constraint",
    ),
    pytest.param(
        unless(lambda body: "max_tokens" in body, 400, OPENAI_LIMIT),
        STRUCTURE,
        {"max_tokens"},
        {"max_completion_tokens": 512},
        id="max_completion_tokens",
    ),
    pytest.param(
        without("max_tokens", "max_completion_tokens"),
        STRUCTURE,
        {"max_tokens", "max_completion_tokens"},
        {},
        id="no-limit-at-all",
    ),
    pytest.param(
        unless(lambda body: body["max_tokens"] > 100, 400, "max_tokens must be at most 100"),
        STRUCTURE,
        set(),
        {"max_tokens": 100},
        id="a-smaller-limit",
    ),
    *(
        pytest.param(
            unless(lambda body: 0 < body.get("max_tokens", 99) < 16, code, words),
            VERDICT,
            set(),
            {"max_tokens": 16},
            id=f"a-larger-limit-{code}",
        )
        for code, words in (
            (400, "Invalid 'max_tokens': below minimum value. Expected a value >= 16, but got 1"),
            (422, "max_tokens: Input should be greater than or equal to 16"),
        )
    ),
    pytest.param(
        unless(lambda body: body["temperature"] <= 0, 422, "temperature must be positive"),
        STRUCTURE,
        set(),
        {"temperature": 0.01},
        id="tgi-temperature",
    ),
    pytest.param(
        unless(lambda body: body.get("temperature", 1) != 1, 400, "temperature: only 1"),
        STRUCTURE,
        {"temperature"},
        {},
        id="o-series-temperature",
    ),
    pytest.param(
        unless(
            lambda body: "temperature" in body and "top_p" in body,
            400,
            "`temperature` and `top_p` cannot both be specified for this model.",
        ),
        STRUCTURE,
        {"top_p"},
        {"temperature": 0.0},
        id="one-of-two",
    ),
    pytest.param(
        without("top_k", code=500, words="create() got an unexpected keyword argument 'top_k'"),
        STRUCTURE,
        {"top_k"},
        {},
        id="fails-at-it",
    ),
    *(
        pytest.param(
            without("logprobs", code=code, words=words),
            VERDICT,
            {"logprobs", "top_logprobs"},
            {"max_tokens": 1},
            id=f"named-with-{code}",
        )
        for code, words in (
            (403, "You are not allowed to request logprobs from this model"),
            (404, "No endpoints found that can handle the requested parameters: logprobs"),
            (405, "logprobs: not allowed"),
            (501, "logprobs are not implemented"),
        )
    ),
    pytest.param(
        unless(
            lambda body: "top_k" in body,
            400,
            "unknown: top_k; known are temperature, top_p, max_tokens, stop",
        ),
        STRUCTURE,
        {"top_k"},
        {"temperature": 0.0, "top_p": 1.0, "max_tokens": 512, "stop": ["[End]"]},
        id="lists-what-it-knows",
    ),
]
SILENT = [
    pytest.param(without("logprobs", words="no"), VERDICT, {"logprobs", "top_logprobs"}, id="400"),
    pytest.param(
        without("top_k", "min_p", code=422, words="no"), STRUCTURE, {"top_k", "min_p"}, id="two"
    ),
    pytest.param(without("stop", words="no"), STRUCTURE, {"stop"}, id="stop"),
    pytest.param(without("temperature", words="no"), STRUCTURE, {"temperature"}, id="temperature"),
    pytest.param(without("max_tokens", words="no"), STRUCTURE, {"max_tokens"}, id="max_tokens"),
]


@pytest.mark.parametrize(("answer", "options", "missing", "values"), KINDS)
def test_a_rejected_option_is_lessened_or_left_out(
    loopback: Loopback,
    answer: Answer,
    options: dict[str, Any],
    missing: set[str],
    values: dict[str, Any],
) -> None:
    """The reply comes, and the next request says at once what the server takes."""
    loopback.always("judge", answer)
    client = make_client(loopback.url)
    (reply,) = ask(client, **options)
    assert isinstance(reply, Reply) and reply.text == "yes"
    before = len(loopback.asked)
    (reply,) = ask(client, "another", **options)
    assert isinstance(reply, Reply) and len(loopback.asked) == before + 1
    body = loopback.asked[-1].body
    assert missing.isdisjoint(body) and body.items() >= values.items()
    meant = {"model", "messages", *chat_client.NEUTRAL, *options}
    assert meant - missing <= body.keys() <= meant | values.keys()


@pytest.mark.parametrize(("answer", "options", "missing"), SILENT)
def test_a_server_that_names_no_option_is_asked_with_ever_more_of_them(
    loopback: Loopback, answer: Answer, options: dict[str, Any], missing: set[str]
) -> None:
    """Only what it rejects is left out, with a short question and a bounded number of requests."""
    loopback.always("judge", answer)
    client = make_client(loopback.url)
    (reply,) = ask(client, **options)
    assert isinstance(reply, Reply) and reply.text == "yes"
    assert len(loopback.asked) <= len(options) + len(chat_client.NEUTRAL) + 8
    assert [asked.prompt for asked in loopback.asked].count("hello") == 2
    body = loopback.asked[-1].body
    assert (set(options) | set(chat_client.NEUTRAL)) - body.keys() == missing


def test_it_is_said_once_with_the_servers_words(
    loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.always("judge", without("logprobs", words="no logprobs from this model"))
    client = make_client(loopback.url)
    ask(client, "a", "b", "c", **VERDICT)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "no logprobs from this model" in line and "`logprobs` is dropped" in line
    assert "judge" in line and loopback.url in line
    ((url, refused),) = client.refused_options.items()
    assert url == loopback.url and set(refused) == {"logprobs"}
    assert "no logprobs from this model" in refused["logprobs"]


def test_a_key_in_the_servers_words_does_not_show(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    loopback.always("judge", without("top_k", words=f"no top_k for {KEY}"))
    client = make_client(loopback.url)
    ask(client, **STRUCTURE)
    assert "top_k" in caplog.text and KEY not in caplog.text + str(client.refused_options)


def test_further_keys_are_left_out_and_the_setting_is_named(
    loopback: Loopback, caplog: pytest.LogCaptureFixture
) -> None:
    loopback.always("judge", without("chat_template_kwargs"))
    client = make_client(loopback.url, chat_template_kwargs={"enable_thinking": False}, seed=7)
    (reply,) = ask(client, **VERDICT)
    assert isinstance(reply, Reply)
    assert loopback.asked[0].body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in loopback.asked[-1].body
    assert loopback.asked[-1].body["seed"] == 7
    assert "RLKD_JUDGE_BODY sets chat_template_kwargs" in caplog.text


def test_further_keys_win_over_sampling_that_is_ours(loopback: Loopback) -> None:
    loopback.always("judge", said("yes"))
    ask(make_client(loopback.url, top_p=0.8, temperature=0.6), **STRUCTURE)
    body = loopback.asked[0].body
    assert (body["top_p"], body["temperature"], body["top_k"]) == (0.8, 0.6, -1)


# --- what is the text's ---


LENGTH = (
    "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's maximum context "
    "length is 1000 tokens and your request has 900 input tokens."
)


def test_a_text_that_leaves_less_room_than_its_limit_takes_the_room(loopback: Loopback) -> None:
    """It is sent once more without a limit; that teaches nothing about the option."""

    def answer(asked: Asked) -> Any:
        is_long = asked.prompt == "long" and "max_tokens" in asked.body
        return (status(400, LENGTH) if is_long else said("yes"))(asked)

    loopback.always("judge", answer)
    client = make_client(loopback.url)
    first, second = ask(client, "long", "short", **STRUCTURE)
    assert isinstance(first, Reply) and isinstance(second, Reply)
    assert sum("max_tokens" not in asked.body for asked in loopback.asked) == 1
    assert len(loopback.asked) == 3
    assert client.refused_options == {}


def test_a_text_that_is_too_long_teaches_nothing(loopback: Loopback) -> None:
    """It has the server's own words, those about the request as it was meant."""
    short = "The prompt is too long: 1200 tokens are more than the 1000 of the model."

    def answer(asked: Asked) -> Any:
        words = LENGTH if "max_tokens" in asked.body else short
        return (status(400, words) if asked.prompt == "long" else said("yes"))(asked)

    loopback.always("judge", answer)
    client = make_client(loopback.url)
    first, second = ask(client, "long", "short", **STRUCTURE)
    assert isinstance(first, EndpointError) and first.refuses_text and "900 input" in str(first)
    assert isinstance(second, Reply) and len(loopback.asked) == 3
    assert client.refused_options == {}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("bad request", 400),
        ("stop it: this text is not allowed", 400),
        ("unprocessable", 422),
        ("max_tokens must be at least 1, got -12", 400),
    ],
)
def test_a_text_that_is_rejected_whatever_the_options_is_the_texts(
    loopback: Loopback, words: str, code: int
) -> None:
    """Others are answered, with all their options, and nothing is learned."""

    def answer(asked: Asked) -> Any:
        return (status(code, words) if asked.prompt == "poison" else said("yes"))(asked)

    loopback.always("judge", answer)
    client = make_client(loopback.url)
    first, second, third = ask(client, "poison", "food", "poison", **STRUCTURE)
    assert isinstance(first, EndpointError) and first.status == code and first.refuses_text
    assert isinstance(second, Reply)
    assert isinstance(third, EndpointError) and words in str(third)
    assert client.refused_options == {}
    food = next(asked for asked in loopback.asked if asked.prompt == "food")
    assert food.body.items() >= STRUCTURE.items() and food.body["top_k"] == -1


def test_options_that_were_taken_are_not_doubted(loopback: Loopback) -> None:
    """One request for a text that is rejected without a named option after another's success."""

    def answer(asked: Asked) -> Any:
        return (status(400, "no") if asked.prompt == "poison" else said("yes"))(asked)

    loopback.always("judge", answer)
    ask(make_client(loopback.url), "food", "poison", "poison", **STRUCTURE)
    assert len(loopback.asked) == 3


def test_a_server_that_rejects_everything_is_asked_a_few_times(loopback: Loopback) -> None:
    loopback.always("judge", status(400, "no chat template"))
    client = make_client(loopback.url)
    found = ask(client, *(f"text {n}" for n in range(10)), **VERDICT)
    assert all(isinstance(error, EndpointError) and error.refuses_text for error in found)
    assert len(loopback.asked) <= 10 + 4
    assert client.refused_options == {}


def test_a_gateway_that_rejects_once_in_a_while_teaches_nothing(loopback: Loopback) -> None:
    loopback.then("judge", status(400, "no"), status(400, "no"))
    loopback.always("judge", said("yes"))
    client = make_client(loopback.url)
    ask(client, "one", **STRUCTURE)
    assert client.refused_options == {}


@pytest.mark.parametrize("code", [401, 403, 404, 405])
def test_a_refusal_of_us_is_no_rejected_option(loopback: Loopback, code: int) -> None:
    """It names none, or stays whatever the options; it ends the run with its own words."""
    loopback.always("judge", status(code, "not for you"))
    (error,) = ask(make_client(loopback.url), **VERDICT)
    assert isinstance(error, EndpointError) and error.status == code
    assert len(loopback.asked) == 1
    loopback.always("judge", status(code, "not for you: temperature"))
    client = make_client(loopback.url)
    (error,) = ask(client, **VERDICT)
    assert isinstance(error, EndpointError) and not error.refuses_text
    assert len(loopback.asked) < 6 and client.refused_options == {}


def test_a_server_error_that_names_no_option_is_retried(loopback: Loopback) -> None:
    usage = Usage()
    loopback.then("judge", status(500, "out of memory"), status(501, "not now"))
    loopback.always("judge", said("yes"))
    (reply,) = ask(make_client(loopback.url, usage=usage), **STRUCTURE)
    assert isinstance(reply, Reply) and (usage.requests, usage.retries) == (3, 2)


def test_a_server_error_that_passes_teaches_nothing(loopback: Loopback) -> None:
    """It repeats the request, and so names every option; the next try works."""
    loopback.then("judge", status(500, "failed at {'top_k': -1, 'temperature': 0.0, 'stop': []}"))
    loopback.always("judge", said("yes"))
    client = make_client(loopback.url)
    (reply,) = ask(client, **STRUCTURE)
    assert isinstance(reply, Reply) and client.refused_options == {}


@pytest.mark.parametrize(
    "payload",
    [
        '{"error": {"code": 400, "message": "unknown: top_k"}}',
        '{"error": {"code": "400", "message": "unknown: top_k"}}',
        '{"error": {"code": "invalid_value", "status": 422, "message": "unknown: top_k"}}',
        '{"object": "error", "code": 400, "message": "unknown: top_k"}',
        '{"error": "unknown: top_k", "status_code": 400}',
    ],
)
def test_an_error_in_a_200_reply_is_read_as_what_it_is(loopback: Loopback, payload: str) -> None:
    """Some gateways pass a server's error on so."""

    error = raw(payload)

    def answer(asked: Asked) -> Any:
        return (error if "top_k" in asked.body else said("yes"))(asked)

    loopback.always("judge", answer)
    client = make_client(loopback.url)
    (reply,) = ask(client, **STRUCTURE)
    assert isinstance(reply, Reply) and set(client.refused_options[loopback.url]) == {"top_k"}


# --- many requests, servers, loops, processes ---


def test_requests_at_once_share_what_one_finds_out(loopback: Loopback) -> None:
    """40 are rejected together; one searches, the others are sent once more."""
    loopback.delay = 0.05
    loopback.always("judge", without("logprobs", words="no"))
    client = make_client(loopback.url)

    async def act(client: ChatClient) -> list[Reply]:
        texts = [[{"role": "user", "content": f"text {n}"}] for n in range(40)]
        return await asyncio.gather(*(client.complete(text, **VERDICT) for text in texts))

    replies = entered(client, act)
    assert [reply.text for reply in replies] == ["yes"] * 40
    assert len(loopback.asked) <= 2 * 40 + 16


@pytest.mark.parametrize("words", ["no", "top_k is unknown"])
def test_a_late_rejection_is_not_the_texts(loopback: Loopback, words: str) -> None:
    """It was sent before another request found the option out, and arrives after its success."""
    is_known = asyncio.Event()

    async def answer(asked: Asked) -> Any:
        if "top_k" in asked.body:
            if asked.prompt == "late":
                await is_known.wait()
            return status(400, words)(asked)
        if asked.prompt == "again":
            is_known.set()
        return said("yes")(asked)

    loopback.always("judge", answer)

    async def act(client: ChatClient) -> list[Reply]:
        late = asyncio.ensure_future(
            client.complete([{"role": "user", "content": "late"}], **STRUCTURE)
        )
        while not loopback.asked:
            await asyncio.sleep(0.01)
        for text in ("first", "again"):
            await client.complete([{"role": "user", "content": text}], **STRUCTURE)
        return [await late]

    assert [reply.text for reply in entered(make_client(loopback.url), act)] == ["yes"]


def test_a_server_that_fails_and_repeats_the_request_is_not_searched_each_time(
    loopback: Loopback,
) -> None:
    loopback.always("judge", status(500, "failed at top_k, min_p, top_p, temperature, stop"))
    usage = Usage()
    (error,) = ask(make_client(loopback.url, usage=usage), **STRUCTURE)
    assert isinstance(error, EndpointError) and not error.refuses_text
    assert usage.retries > 2 and usage.requests <= usage.retries + 1 + 20


def test_each_server_has_its_own(loopback: Loopback) -> None:
    with Loopback() as other:
        loopback.always("judge", without("top_k"))
        other.always("judge", said("yes"))
        client = make_client(loopback.url, other.url)
        ask(client, "a", "b", "c", "d", **STRUCTURE)
        assert set(client.refused_options) == {loopback.url}
        assert all("top_k" in asked.body for asked in other.asked)


def test_what_is_known_goes_to_another_process(loopback: Loopback) -> None:
    loopback.always("judge", without("top_k"))
    client = make_client(loopback.url)
    ask(client, **STRUCTURE)
    before = len(loopback.asked)
    copy = pickle.loads(pickle.dumps(client))
    ask(copy, "b", **STRUCTURE)
    assert len(loopback.asked) == before + 1
    assert copy.refused_options == client.refused_options


def test_a_server_that_takes_less_later_is_asked_for_less(loopback: Loopback) -> None:
    """It is restarted in between with other options."""
    client = make_client(loopback.url)
    loopback.always("judge", said("yes"))
    ask(client, "a", **VERDICT)
    loopback.always("judge", without("logprobs"))
    (reply,) = ask(client, "b", **VERDICT)
    assert isinstance(reply, Reply) and set(client.refused_options[loopback.url]) == {"logprobs"}


@pytest.mark.parametrize(
    "answer",
    [
        unless(lambda body: "max_tokens" in body, 400, OPENAI_LIMIT),
        without("temperature"),
        without("top_k", "min_p"),
        without("top_k", words="no"),
    ],
)
def test_the_probe_works_where_requests_do(loopback: Loopback, answer: Answer) -> None:
    loopback.always("judge", answer)
    entered(make_client(loopback.url), ChatClient.probe)


# --- embeddings ---


@contextmanager
def embedding_server(refuse: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve vectors, but reject bodies with one key: the URL, and the bodies so far."""
    asked: list[dict[str, Any]] = []

    def answer(method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        asked.append(body)
        if refuse in body:
            return 400, {"error": f"unknown: {refuse}"}
        return 200, {"data": [{"index": n, "embedding": [1.0]} for n in range(len(body["input"]))]}

    with serving(answer) as url:
        yield f"{url}/v1", asked


def test_further_keys_of_embeddings_are_sent_and_left_out_too(options: SetOptions) -> None:
    with embedding_server("truncate") as (url, asked):
        options(embed_base_url=url, embed_model="gte")
        options(embed_body='{"truncate": "END", "dimensions": 8}')

        async def act() -> list[list[float]]:
            async with ServerEmbedder(load_settings()) as embedder:
                await embedder.embed(["a", "b"])
                return await embedder.embed(["c"])

        assert asyncio.run(act()) == [[1.0]]
    assert asked == [
        {"model": "gte", "input": ["a", "b"], "truncate": "END", "dimensions": 8},
        {"model": "gte", "input": ["a", "b"], "dimensions": 8},
        {"model": "gte", "input": ["c"], "dimensions": 8},
    ]


# --- the engine ---


def test_a_judge_without_log_probabilities_gives_verdicts(servers: Loopback) -> None:
    """Its refusal is not the texts': the words are read."""

    def judge(asked: Asked) -> Any:
        if "logprobs" in asked.body:
            return status(400, "logprobs is not supported by this API")(asked)
        return said("yes" if len(set(asked.texts)) == 1 else "no")(asked)

    servers.always("judge", judge)

    async def act() -> list[Verdict]:
        async with ServerEngine(load_settings()) as engine:
            pairs = [("count", "count"), ("count", "add")]
            return [await engine.match("answer", *pair) for pair in pairs]

    assert [verdict.matched for verdict in asyncio.run(act())] == [True, False]


def test_a_judge_of_five_alternatives_keeps_its_probabilities(servers: Loopback) -> None:
    def judge(asked: Asked) -> Any:
        if asked.body.get("top_logprobs", 0) > 5:
            return status(400, "top_logprobs: must be between 0 and 5")(asked)
        return verdict(0.75)(asked)

    servers.always("judge", judge)

    async def act() -> Verdict:
        async with ServerEngine(load_settings()) as engine:
            return await engine.match("answer", "count", "add")

    found = asyncio.run(act())
    assert found.source == "logprob" and found.probability == pytest.approx(0.75)


def test_the_bodies_of_the_roles_go_into_their_requests(
    servers: Loopback, options: SetOptions
) -> None:
    options(judge_body='{"chat_template_kwargs": {"enable_thinking": false}}')
    options(gsrm_body='{"top_p": 0.9}')

    async def act() -> None:
        async with ServerEngine(load_settings()) as engine:
            await engine.probe()
            await engine.decompose("P", "math", "6 * 4 = 24")
            await engine.match("answer", "count", "add")

    asyncio.run(act())
    for asked in servers.of("judge"):
        assert asked.body["chat_template_kwargs"] == {"enable_thinking": False}
        assert asked.body["top_p"] == 1.0
    for asked in servers.of("gsrm"):
        assert "chat_template_kwargs" not in asked.body and asked.body["top_p"] == 0.9
