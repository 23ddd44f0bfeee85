"""The chat client against a real server: one test for each line of the table of failures."""

import asyncio
import gc
import json
import logging
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest
from tenacity import wait_fixed

from rlkd_plugin.engines.base import Usage
from rlkd_plugin.gsrm import EndpointError
from rlkd_plugin.llm_io import chat_client
from rlkd_plugin.llm_io.chat_client import ChatClient
from rlkd_plugin.llm_io.endpoint import Endpoint
from rlkd_plugin.llm_io.ports import free_port
from rlkd_plugin.llm_io.replies import Reply
from tests.support.loopback import (
    JUDGE,
    Answer,
    Asked,
    Loopback,
    cut_connection,
    half_a_json,
    hang,
    no_choice,
    raw,
    said,
    status,
)
from tests.support.raw_server import raw_server

pytestmark = pytest.mark.filterwarnings("error")  # an unclosed session is a warning

T = TypeVar("T")
KEY = "sk-the-very-secret-key"


@pytest.fixture(autouse=True)
def quick_back_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make retries come quickly."""
    monkeypatch.setattr(chat_client, "BACK_OFF", wait_fixed(0.02))


def make_client(*urls: str, usage: Usage | None = None, **options: float) -> ChatClient:
    """Return a client of the loopback server's judge."""
    times = {"request_timeout": 5.0, "patience": 5.0, "startup_patience": 0.5, **options}
    endpoint = Endpoint("judge", urls, JUDGE, "JUDGE_KEY")
    return ChatClient(endpoint, usage=usage or Usage(), **times)


async def say(client: ChatClient, text: str = "hello", **options: Any) -> Reply:
    """Send one request."""
    messages = [{"role": "user", "content": text}]
    return await client.complete(messages, **{"max_tokens": 8, "temperature": 0.0, **options})


def entered(client: ChatClient, act: Callable[[ChatClient], Awaitable[T]]) -> T:
    """Run one coroutine function with the open client in an event loop of its own."""

    async def run() -> T:
        async with client:
            return await act(client)

    return asyncio.run(run())


def failure(client: ChatClient) -> EndpointError:
    """Send one request and return the error in which it ends."""
    with pytest.raises(EndpointError) as caught:
        entered(client, say)
    return caught.value


def free_url() -> str:
    """Return a URL at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


@contextmanager
def restarted_after(server: Loopback, seconds: float) -> Iterator[None]:
    """Stop a server, and start it again after some seconds."""
    server.stop()
    timer = threading.Timer(seconds, server.start)
    timer.start()
    try:
        yield
    finally:
        timer.join()


# --- what is sent ---


def test_a_request_carries_model_message_and_options(loopback: Loopback) -> None:
    """The body is what was asked for, sampling that changes nothing, and nothing else."""
    loopback.then("judge", said("fine"))
    reply = entered(make_client(loopback.url), say)
    assert (reply.text, reply.finish_reason, reply.tokens) == ("fine", "stop", ())
    assert loopback.asked[0].body == {
        "model": JUDGE,
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 8,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def test_tokens_are_counted_as_the_server_counts_them(loopback: Loopback) -> None:
    """Usage adds up over requests."""
    usage = Usage()
    loopback.always("judge", said("fine"))

    async def twice(client: ChatClient) -> None:
        await say(client)
        await say(client)

    entered(make_client(loopback.url, usage=usage), twice)
    # two requests of 7 prompt tokens and 3 completion tokens each
    assert usage == Usage(requests=2, retries=0, prompt_tokens=14, completion_tokens=6)


def test_log_probabilities_are_read(loopback: Loopback) -> None:
    """Each generated token comes with its alternatives."""
    loopback.then("judge", said("yes", [("yes", {"yes": 1.0, "no": 0.0})]))
    reply = entered(make_client(loopback.url), say)
    assert reply.tokens == (("yes", (("yes", 0.0), ("no", -9999.0))),)


# --- what passes: retried, never a score ---


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(status(500), id="500"),
        pytest.param(status(502), id="502"),
        pytest.param(status(503), id="503"),
        pytest.param(status(408), id="408"),
        pytest.param(status(429), id="429"),
        pytest.param(half_a_json, id="half-a-json"),
        pytest.param(no_choice, id="no-choice"),
        pytest.param(cut_connection, id="cut-connection"),
        pytest.param(said(""), id="empty-completion"),
        pytest.param(said(None), id="null-content"),
        pytest.param(raw(b""), id="empty-body"),
        pytest.param(raw("[]"), id="a-list"),
        pytest.param(raw("null"), id="null"),
        pytest.param(raw(b"\xff\xfe{"), id="not-utf-8"),
        pytest.param(raw("<html>starting</html>"), id="html"),
        pytest.param(raw('{"error": "out of memory"}'), id="error-with-200"),
        pytest.param(raw('{"choices": [{"message": null}]}'), id="null-message"),
        pytest.param(raw('{"choices": [{"message": {"content": 5}}]}'), id="number-as-content"),
        pytest.param(
            raw('{"choices": [{"message": {"content": [{"type": "image_url"}]}}]}'),
            id="parts-without-text",
        ),
    ],
)
def test_a_fault_that_may_pass_is_retried(loopback: Loopback, fault: Answer) -> None:
    """Two faults and then a completion: the completion is the result."""
    usage = Usage()
    loopback.then("judge", fault, fault, said("fine"))
    reply = entered(make_client(loopback.url, usage=usage), say)
    assert reply.text == "fine"
    assert len(loopback.asked) == 3
    assert (usage.requests, usage.retries) == (3, 2)


def test_a_retried_request_is_the_same_request(loopback: Loopback) -> None:
    """The body does not change from try to try."""
    loopback.then("judge", status(500), status(500), said("fine"))
    entered(make_client(loopback.url), say)
    assert len({asked.payload for asked in loopback.asked}) == 1


def test_a_hanging_server_is_asked_again_after_the_request_timeout(loopback: Loopback) -> None:
    """A request that gets no answer is given up and sent again."""
    loopback.then("judge", hang, said("fine"))
    assert entered(make_client(loopback.url, request_timeout=0.3), say).text == "fine"


def test_a_server_that_only_hangs_stops_the_run(loopback: Loopback) -> None:
    """The error names the time-out's setting and the patience's."""
    loopback.always("judge", hang)
    error = failure(make_client(loopback.url, request_timeout=0.2, startup_patience=0.4))
    assert "RLKD_REQUEST_TIMEOUT" in str(error) and "RLKD_STARTUP_PATIENCE" in str(error)


def test_faults_for_longer_than_the_patience_stop_the_run(loopback: Loopback) -> None:
    """The error carries the last fault and the URL's setting, and no status of a text."""
    loopback.always("judge", status(503, "the model is on fire"))
    error = failure(make_client(loopback.url, startup_patience=0.2))
    for part in ("503", "the model is on fire", loopback.url, "RLKD_JUDGE_BASE_URL"):
        assert part in str(error)
    assert not error.refuses_text
    assert len(loopback.asked) > 2


# --- the two patiences ---


def test_a_refused_connection_at_the_start_gets_the_startup_patience(loopback: Loopback) -> None:
    """Before the first success the long patience does not count."""
    usage = Usage()
    error = failure(make_client(free_url(), usage=usage, startup_patience=0.3, patience=300))
    assert "RLKD_STARTUP_PATIENCE" in str(error) and "RLKD_JUDGE_BASE_URL" in str(error)
    assert usage.retries > 2


def test_a_server_that_is_still_loading_is_waited_for(loopback: Loopback) -> None:
    """It is refused at first, and comes within the startup patience."""
    loopback.then("judge", said("fine"))
    with restarted_after(loopback, 0.3):
        assert entered(make_client(loopback.url, startup_patience=10), say).text == "fine"


def test_the_long_patience_starts_after_the_first_success(loopback: Loopback) -> None:
    """A server that answered, goes away and comes back costs nothing but time."""
    loopback.always("judge", said("fine"))

    async def act(client: ChatClient) -> Reply:
        await say(client)
        with restarted_after(loopback, 0.4):
            return await say(client)

    client = make_client(loopback.url, startup_patience=0.1, patience=20)
    assert entered(client, act).text == "fine"
    assert client.usage.retries > 0


def test_a_server_that_stays_away_stops_the_run_after_the_patience(loopback: Loopback) -> None:
    """After the first success the error names the long patience."""
    loopback.then("judge", said("fine"))

    async def act(client: ChatClient) -> Reply:
        await say(client)
        loopback.always("judge", status(500))
        return await say(client)

    with pytest.raises(EndpointError, match="RLKD_PATIENCE"):
        entered(make_client(loopback.url, startup_patience=300, patience=0.2), act)


def test_the_first_success_counts_in_later_event_loops(loopback: Loopback) -> None:
    """A client that is entered anew still has the long patience."""
    client = make_client(loopback.url, startup_patience=0.1, patience=20)
    loopback.always("judge", said("fine"))
    entered(client, say)
    with restarted_after(loopback, 0.4):
        assert entered(client, say).text == "fine"


# --- Retry-After ---


def test_retry_after_in_seconds_is_waited_for(loopback: Loopback) -> None:
    """The next try comes no sooner than the server asked for."""
    loopback.then("judge", status(429, Retry_After="1"), said("fine"))
    started = time.monotonic()
    entered(make_client(loopback.url, startup_patience=20), say)
    assert time.monotonic() - started >= 1.0


@pytest.mark.parametrize("zone", ["GMT", "-0000", ""])
def test_retry_after_as_a_date_is_waited_for(loopback: Loopback, zone: str) -> None:
    """A date counts from now, with or without a time zone."""
    date = datetime.now(timezone.utc) + timedelta(seconds=1.3)  # a date has whole seconds
    text = format_datetime(date, usegmt=True).replace("GMT", zone).strip()
    loopback.then("judge", status(429, Retry_After=text), said("fine"))
    started = time.monotonic()
    assert entered(make_client(loopback.url, startup_patience=20), say).text == "fine"
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize("value", ["soon", "-3", "nan", "", "Wed, 99 Foo 2015 07:28:00 GMT"])
def test_a_retry_after_that_says_nothing_is_ignored(loopback: Loopback, value: str) -> None:
    """The request is sent again after the usual back-off."""
    loopback.then("judge", status(429, Retry_After=value), said("fine"))
    assert entered(make_client(loopback.url), say).text == "fine"


@pytest.mark.parametrize("value", ["3600", "inf", "Fri, 31 Dec 2199 23:59:59 GMT"])
def test_a_retry_after_beyond_the_patience_stops_at_once(loopback: Loopback, value: str) -> None:
    """Waiting would be in vain; the error says for how long the server wants it."""
    loopback.always("judge", status(429, "slow down", Retry_After=value))
    error = failure(make_client(loopback.url, startup_patience=30))
    assert len(loopback.asked) == 1
    assert "slow down" in str(error) and "Retry-After" in str(error)


# --- what ends the run at once ---


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (401, "RLKD_JUDGE_API_KEY_ENV=JUDGE_KEY"),
        (403, "RLKD_JUDGE_API_KEY_ENV=JUDGE_KEY"),
        (402, "RLKD_JUDGE_API_KEY_ENV=JUDGE_KEY"),
        (404, f"RLKD_JUDGE_MODEL='{JUDGE}'"),
        (404, "RLKD_JUDGE_BASE_URL"),
        (405, "RLKD_JUDGE_BASE_URL"),
    ],
)
def test_a_refusal_of_us_stops_at_once(loopback: Loopback, code: int, setting: str) -> None:
    """One request only, and the error names the setting and what the server said."""
    loopback.always("judge", status(code, "not for you"))
    error = failure(make_client(loopback.url))
    assert len(loopback.asked) == 1
    assert setting in str(error) and "not for you" in str(error)
    assert (error.status, error.refuses_text) == (code, False)


def test_an_unknown_host_stops_at_once() -> None:
    """No retry; the error names the setting."""
    usage = Usage()
    error = failure(make_client("http://no-such-host.invalid/v1", usage=usage))
    assert "no-such-host.invalid" in str(error) and "RLKD_JUDGE_BASE_URL" in str(error)
    assert usage.requests == 1


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_refusal_of_one_text_is_told_apart(loopback: Loopback, code: int) -> None:
    """It is not retried and says that it is about the text."""
    loopback.always("judge", status(code, "too long"))
    error = failure(make_client(loopback.url))
    assert (error.status, error.refuses_text) == (code, True)
    assert len(loopback.asked) == 1


# --- several servers ---


def test_servers_take_turns(loopback: Loopback) -> None:
    """Requests go round the URLs."""
    with Loopback() as other:
        loopback.always("judge", said("one"))
        other.always("judge", said("two"))

        async def act(client: ChatClient) -> list[str]:
            return [(await say(client)).text for _ in range(4)]

        client = make_client(loopback.url, other.url)
        assert entered(client, act) == ["one", "two", "one", "two"]


def test_the_next_server_is_tried_before_any_waiting(loopback: Loopback) -> None:
    """A server that is down, and asks for an hour, costs nothing where another answers."""
    with Loopback() as other:
        loopback.always("judge", status(503, Retry_After="3600"))
        other.always("judge", said("two"))
        assert entered(make_client(loopback.url, other.url), say).text == "two"


def test_every_server_is_tried_again_in_turn(loopback: Loopback) -> None:
    """After all have failed the first one is next."""
    with Loopback() as other:
        loopback.then("judge", status(500), said("one, later"))
        other.then("judge", status(500))
        client = make_client(loopback.url, other.url)
        assert entered(client, say).text == "one, later"
        assert (len(loopback.asked), len(other.asked)) == (2, 1)


def test_a_probe_asks_every_server(loopback: Loopback) -> None:
    """One short request each; an empty completion will do."""
    with Loopback() as other:
        loopback.always("judge", said(""))
        other.always("judge", said(""))
        entered(make_client(loopback.url, other.url), ChatClient.probe)
        assert (len(loopback.asked), len(other.asked)) == (1, 1)
        assert loopback.asked[0].body["max_tokens"] == 1


def test_a_probe_finds_the_one_server_that_is_down(loopback: Loopback) -> None:
    """A server that answers does not stand in for another one."""
    down = free_url()
    with pytest.raises(EndpointError, match=down):
        entered(make_client(loopback.url, down, patience=0.3), ChatClient.probe)


# --- the key ---


def test_the_key_comes_from_the_named_variable(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It arrives as a bearer token, without the line end that a file leaves behind."""
    monkeypatch.setenv("JUDGE_KEY", f"{KEY}\n")
    loopback.key = KEY
    loopback.always("judge", said("fine"))
    assert entered(make_client(loopback.url), say).text == "fine"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_there_is_no_header(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    """A variable that is empty is like one that is not set."""
    if value is not None:
        monkeypatch.setenv("JUDGE_KEY", value)
    loopback.always("judge", said("fine"))
    entered(make_client(loopback.url), say)
    assert loopback.asked[0].authorization is None


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(lambda asked: status(401, f"bad {asked.authorization}")(asked), id="401"),
        pytest.param(lambda asked: status(500, f"bad {asked.authorization}")(asked), id="500"),
        pytest.param(lambda asked: raw(f"bad {asked.authorization}")(asked), id="no-json"),
        pytest.param(
            # the key lies across the place where a long answer is cut
            lambda asked: raw(" " * 1975 + f"bad {asked.authorization}", 401)(asked),
            id="cut",
        ),
    ],
)
def test_the_key_never_shows(
    loopback: Loopback,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    echo: Answer,
) -> None:
    """Neither error nor log has it, though the server repeats it."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    loopback.always("judge", echo)
    with caplog.at_level(logging.DEBUG):
        error = failure(make_client(loopback.url, startup_patience=0.1))
    assert loopback.asked[0].authorization == f"Bearer {KEY}"
    assert KEY[:6] not in str(error) + repr(error) + caplog.text


# --- event loops ---


def test_one_client_works_in_two_event_loops(loopback: Loopback) -> None:
    """Nothing that is bound to the first loop is used in the second."""
    loopback.always("judge", said("fine"))
    client = make_client(loopback.url)
    assert [entered(client, say).text, entered(client, say).text] == ["fine", "fine"]


@pytest.mark.parametrize("answer", [said("fine"), status(404), hang], ids=["ok", "error", "hang"])
def test_nothing_is_left_open(loopback: Loopback, answer: Answer) -> None:
    """Neither a session nor a connection outlives the client, however the request ended."""
    loopback.always("judge", answer)
    loop_errors: list[dict[str, Any]] = []

    async def act(client: ChatClient) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: loop_errors.append(context))
        with suppress(EndpointError, asyncio.TimeoutError):
            await asyncio.wait_for(say(client), 0.3)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        entered(make_client(loopback.url), act)
        gc.collect()
    assert [str(w.message) for w in caught if "nclosed" in str(w.message)] == []
    assert loop_errors == []


def test_retries_warn_once_in_a_while(loopback: Loopback, caplog: pytest.LogCaptureFixture) -> None:
    """A batch of failing requests makes one warning, not one for each try."""
    loopback.always("judge", status(500))
    with caplog.at_level(logging.WARNING):
        failure(make_client(loopback.url, startup_patience=0.3))
    assert len(loopback.asked) > 2
    assert sum("retrying" in record.message for record in caplog.records) == 1


def test_a_rate_limit_at_the_start_is_waited_for(loopback: Loopback) -> None:
    """A server that says 429 is up: the long patience counts."""
    loopback.then("judge", status(429, Retry_After="1"), said("fine"))
    assert entered(make_client(loopback.url, startup_patience=0.1), say).text == "fine"


def test_an_account_that_cannot_pay_ends_the_run_also_with_429(loopback: Loopback) -> None:
    loopback.always("judge", raw('{"error": {"code": "insufficient_quota"}}', 429))
    error = failure(make_client(loopback.url))
    assert error.status == 429 and "cannot pay" in str(error) and len(loopback.asked) == 1


def test_a_server_that_asks_to_wait_is_not_asked_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one fails in another way, and is asked again meanwhile."""
    with Loopback() as busy, Loopback() as broken:
        busy.always("judge", status(429, Retry_After="2"))
        broken.then("judge", *[status(503)] * 5)
        broken.always("judge", said("fine"))
        assert entered(make_client(busy.url, broken.url), say).text == "fine"
        assert (len(busy.asked), len(broken.asked)) == (1, 6)


@pytest.mark.parametrize("key", ['sk-"quoted', "sk-back\\slash", "sk-plain"])
def test_a_key_is_not_shown_however_a_server_repeats_it(
    key: str, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    for text in (key, json.dumps({"error": key})):
        loopback.then("judge", raw(text, 403))
        said_to_us = str(failure(make_client(loopback.url)))
        assert key not in said_to_us and json.dumps(key)[1:-1] not in said_to_us


def test_a_key_in_a_broken_header_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with raw_server(f"HTTP/1.1 200 OK\r\nX bad {KEY}\r\n\r\n".encode()) as url:
        message = str(failure(make_client(url, startup_patience=0.2)))
    assert "***" in message and KEY not in message


def test_a_key_pasted_in_place_of_its_variables_name_is_not_shown(loopback: Loopback) -> None:
    endpoint = Endpoint("judge", (loopback.url,), JUDGE, "hf_AbCdEfGh")
    times = {"request_timeout": 5.0, "patience": 5.0, "startup_patience": 0.5}
    loopback.always("judge", status(401))
    message = str(failure(ChatClient(endpoint, usage=Usage(), **times)))
    assert "RLKD_JUDGE_API_KEY_ENV" in message and "hf_" not in message


def test_a_key_that_no_header_can_hold_is_an_error(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-one\nsk-two")
    message = str(failure(make_client(loopback.url)))
    assert "line break" in message and "sk-" not in message


def test_a_number_beyond_floats_is_a_broken_reply(loopback: Loopback) -> None:
    broken = '{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1e999}}'
    loopback.then("judge", raw(broken), said("fine"))
    assert entered(make_client(loopback.url), say).text == "fine"


def test_a_text_that_is_always_answered_with_nothing_is_refused(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other texts are answered meanwhile, so it is this text's fault, and the run goes on."""

    def answer(asked: Asked) -> Any:
        return said("" if asked.prompt == "poison" else "fine")(asked)

    loopback.always("judge", answer)

    async def both(client: ChatClient) -> int | None:
        poison = asyncio.create_task(say(client, "poison"))
        while not poison.done():
            assert (await say(client)).text == "fine"
        error = poison.exception()
        assert isinstance(error, EndpointError) and error.refuses_text
        return error.status

    entered(make_client(loopback.url), both)
    asked = [asked.prompt for asked in loopback.asked].count("poison")
    assert asked == chat_client.EMPTY_TRIES


def test_a_server_that_answers_everything_with_nothing_ends_the_run(loopback: Loopback) -> None:
    loopback.always("judge", said(""))
    error = failure(make_client(loopback.url, startup_patience=0.3))
    assert not error.refuses_text and "an empty completion" in str(error)


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_completion_that_was_broken_off_is_asked_for_again(
    reason: str, loopback: Loopback
) -> None:
    """A server that shuts down hands out halves."""
    half = {"choices": [{"message": {"content": "half"}, "finish_reason": reason}]}
    loopback.then("judge", raw(json.dumps(half)), said("whole"))
    assert entered(make_client(loopback.url), say).text == "whole"


def test_a_content_filter_is_tied_to_the_text(loopback: Loopback) -> None:
    filtered = {"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}
    loopback.always("judge", raw(json.dumps(filtered)))
    assert failure(make_client(loopback.url)).refuses_text
    assert len(loopback.asked) == 1


def test_a_server_that_hangs_is_not_asked_first_again(loopback: Loopback) -> None:
    """Only the first of many requests waits for it."""
    with Loopback() as hanging:
        hanging.always("judge", hang)
        loopback.always("judge", said("fine"))

        async def ten(client: ChatClient) -> None:
            for _ in range(10):
                await say(client)

        entered(make_client(hanging.url, loopback.url, request_timeout=2), ten)
        assert len(hanging.asked) == 1 and len(loopback.asked) == 10
