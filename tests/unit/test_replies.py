"""How a completion is read, in every shape in which servers give it."""

import json
from typing import Any

import pytest

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.llm_io.replies import Reply, read_reply
from rlkd_plugin.llm_io.verdicts import read_verdict


def read(
    message: dict[str, Any], logprobs: Any = None, finish_reason: Any = "stop", **more: Any
) -> Reply:
    """Read a completion with this message."""
    choice = {"message": message, "logprobs": logprobs, "finish_reason": finish_reason}
    return read_reply(json.dumps({"choices": [choice], **more}).encode())


@pytest.mark.parametrize(
    ("content", "said", "thought"),
    [
        ("yes", "yes", ""),
        ([{"type": "text", "text": "yes"}], "yes", ""),
        (["ye", "s"], "yes", ""),
        ([{"type": "text", "text": "ye"}, {"type": "output_text", "text": "s"}], "yes", ""),
        ([{"text": "yes"}], "yes", ""),
        ({"type": "text", "text": "yes"}, "yes", ""),
        ([{"type": "text", "text": {"value": "yes"}}], "yes", ""),
        (
            [{"type": "thinking", "thinking": "no, no"}, {"type": "text", "text": "yes"}],
            "yes",
            "no, no",
        ),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "no, no"}]},
                {"type": "text", "text": "yes"},
            ],
            "yes",
            "no, no",
        ),
        ([{"type": "reasoning", "summary": [{"text": "no"}]}, "yes"], "yes", "no"),
        ([{"text": "no", "thought": True}, {"type": "TEXT", "text": "yes"}], "yes", "no"),
        (
            [
                {"type": "redacted_thinking", "data": "no"},
                {"type": "image_url", "image_url": "no"},
                5,
                None,
                {"type": "tool_use", "text": "no"},
                {"type": "text", "text": "yes"},
            ],
            "yes",
            "",
        ),
        ([{"type": "text", "text": None}, {"type": "text"}, []], "", ""),
        ([], "", ""),
        (None, "", ""),
    ],
)
def test_a_content_is_a_text_or_parts(content: Any, said: str, thought: str) -> None:
    reply = read({"content": content})
    assert (reply.text, reply.thinking, reply.thinks) == (said, thought, bool(thought))


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "thought"},
        {"reasoning": "thought"},
        {"thinking": "thought"},
        {"reasoning_content": None, "reasoning": "thought"},
        {"reasoning_content": [{"type": "text", "text": "thou"}, "ght"]},
        {"reasoning": {"content": "thought"}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "thought"}]},
        {"reasoning": "thought", "reasoning_content": "thought"},
        {"reasoning": {"effort": "high"}, "thinking": "thought"},
    ],
)
def test_thinking_stands_apart_in_several_fields(message: dict[str, Any]) -> None:
    """It is told once, and is no text."""
    reply = read({"content": None, **message})
    assert (reply.text, reply.thinking) == ("", "thought")


@pytest.mark.parametrize("content", [5, True, 1.5])
def test_a_content_of_another_type_is_no_completion(content: Any) -> None:
    with pytest.raises(ValueError, match="no completion"):
        read({"content": content})


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "No, I can't help with that."},
        {"content": "", "refusal": "No, I can't help with that."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
    ],
)
def test_a_refusal_is_a_filter_and_no_text(message: dict[str, Any]) -> None:
    """Its first word is no verdict."""
    reply = read(message)
    assert (reply.text, reply.finish_reason) == ("", "content_filter")


def test_a_refusal_beside_a_text_is_none() -> None:
    assert read({"content": "yes", "refusal": ""}).finish_reason == "stop"


@pytest.mark.parametrize(
    ("reason", "is_cut"),
    [
        *(("length", True), ("max_tokens", True), ("MAX_TOKENS", True), ("model_length", True)),
        *(("stop", False), (None, False), ("content_filter", False), ("", False)),
    ],
)
def test_the_token_limit_has_several_names(reason: str | None, is_cut: bool) -> None:
    assert read({"content": "a"}, finish_reason=reason).is_cut is is_cut


# --- log-probabilities ---


def token(token: Any, logprob: Any, *top: Any) -> dict[str, Any]:
    """Return one entry of `logprobs.content`; `top` is pairs of token and log-probability."""
    alternatives = [{"token": t, "logprob": log, "bytes": None} for t, log in top]
    return {"token": token, "logprob": logprob, "top_logprobs": alternatives}


def one(entry: Any) -> tuple[tuple[str, float], ...]:
    """Return the alternatives that are read of one token."""
    ((_, alternatives),) = read({"content": "yes"}, {"content": [entry]}).tokens
    return tuple(alternatives)


def test_equal_strings_are_kept_apart_and_repetitions_are_not() -> None:
    """Two ids of one string have two probabilities; the same pair twice is one."""
    top = ("yes", -0.05), ("no", -3.2), ("yes", -8.1), ("yes", -0.05), ("no", -3.2)
    assert one(token("yes", -0.05, *top)) == (("yes", -0.05), ("no", -3.2), ("yes", -8.1))


def test_the_generated_token_counts_where_the_alternatives_lack_it() -> None:
    assert one(token("yes", -0.05, ("no", -3.2))) == (("no", -3.2), ("yes", -0.05))
    assert one(token("yes", -0.05)) == (("yes", -0.05),)
    assert one({"token": "yes", "logprob": -0.05}) == (("yes", -0.05),)
    assert one({"token": "yes", "logprob": -0.05, "top_logprobs": None}) == (("yes", -0.05),)
    # listed with another rounding it is the same token
    assert one(token("yes", -0.05, ("yes", -0.0500001))) == (("yes", -0.0500001),)


@pytest.mark.parametrize("value", [None, "high", "-0.1", True, [], {}, 3.7, 10**400, -(10**400)])
def test_an_alternative_without_a_log_probability_is_left_out(value: Any) -> None:
    """The others stay, and the reply is a completion."""
    assert one(token("yes", -0.05, ("yes", -0.05), ("no", value))) == (("yes", -0.05),)
    assert one(token("yes", value, ("no", -3.2))) == (("no", -3.2),)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_finite_number_is_left_out(value: str) -> None:
    """Python's JSON reads these, and some servers write them."""
    entry = '{"token": "yes", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": %s}]}'
    message = '{"choices": [{"message": {"content": "yes"}, "logprobs": {"content": [%s]}}]}'
    reply = read_reply((message % (entry % value)).encode())
    assert reply.tokens == (("yes", (("yes", -0.1),)),)


@pytest.mark.parametrize("text", ["yes", "no"])
def test_a_placeholder_for_each_alternative_is_no_probability(text: str) -> None:
    """A server that knows no log-probabilities may write 0 for all of them."""
    entry = token(text, 0.0, ("yes", 0.0), ("no", 0.0), ("maybe", 0.0))
    reply = read({"content": text}, {"content": [entry]})
    assert not reply.has_logprobs and [word for word, _ in reply.tokens] == [text]
    assert read_verdict(reply, 0.5) == Verdict(text == "yes", "text")


def test_probabilities_that_are_rounded_stay() -> None:
    assert len(one(token("yes", -0.5, ("yes", -0.5), ("no", -0.6), ("so", -3)))) == 3


@pytest.mark.parametrize(
    "entry", [None, 5, "yes", [], {}, {"token": None}, {"token": 5, "logprob": -1}]
)
def test_a_token_that_cannot_be_read_keeps_its_place(entry: Any) -> None:
    """It gives no probability, and the next one is not taken for the only one."""
    reply = read({"content": "yes"}, {"content": [entry, token("yes", -0.1)]})
    assert reply.tokens == (("", ()), ("yes", (("yes", -0.1),)))
    assert read({"content": "yes"}, {"content": [entry]}).has_logprobs is False


@pytest.mark.parametrize(
    "alternatives",
    [
        None,
        5,
        "no",
        [None, 5, "no"],
        [["no", -1.0]],
        {"no": None},
        [{"token": None, "logprob": -1}],
    ],
)
def test_alternatives_that_cannot_be_read_are_left_out(alternatives: Any) -> None:
    entry = {"token": "yes", "logprob": -0.1, "top_logprobs": alternatives}
    assert one(entry) == (("yes", -0.1),)


def test_alternatives_may_be_a_mapping() -> None:
    entry = {"token": "yes", "logprob": -0.1, "top_logprobs": {"yes": -0.1, "no": -2.5}}
    assert one(entry) == (("yes", -0.1), ("no", -2.5))


def test_the_older_shape_is_read() -> None:
    """Lists of tokens, their log-probabilities, and mappings or lists of alternatives."""
    old = {
        "tokens": ["yes", ".", "\n"],
        "token_logprobs": [-0.1, None],
        "top_logprobs": [{"yes": -0.1, "no": -2.5}, None],
        "text_offset": [0, 3, 4],
    }
    assert read({"content": "yes."}, old).tokens == (
        ("yes", (("yes", -0.1), ("no", -2.5))),
        (".", ()),
        ("\n", ()),
    )


@pytest.mark.parametrize(
    "logprobs", [None, [], 5, "no", {}, {"content": None}, {"content": {}}, {"tokens": None}]
)
def test_log_probabilities_that_are_none_are_none(logprobs: Any) -> None:
    reply = read({"content": "yes"}, logprobs)
    assert (reply.text, reply.tokens, reply.has_logprobs) == ("yes", (), False)
