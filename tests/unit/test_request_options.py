"""Which option a server's words name, what is tried in its place, and what is no option's fault."""

from typing import Any

import pytest

from rlkd_plugin.llm_io.request_options import (
    NEUTRAL,
    Change,
    apply_changes,
    is_about_length,
    named_options,
    smaller_changes,
)

REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [],
    **NEUTRAL,
    "temperature": 0.0,
    "max_tokens": 4096,
    "stop": ["[End]"],
    "logprobs": True,
    "top_logprobs": 20,
}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        # OpenAI, with its own field
        (
            '{"error": {"message": "Unsupported parameter: \'max_tokens\' is not supported with '
            'this model. Use \'max_completion_tokens\' instead.", "param": "max_tokens"}}',
            "max_tokens",
        ),
        ("Unsupported value: 'temperature' does not support 0.0 with this model.", "temperature"),
        ("Unrecognized request argument supplied: top_k", "top_k"),
        # FastAPI and pydantic
        (
            '{"detail": [{"type": "extra_forbidden", "loc": ["body", "min_p"], "input": '
            '{"top_k": -1}}]}',
            "min_p",
        ),
        ("body -> frequency_penalty\n  Extra inputs are not permitted", "frequency_penalty"),
        # Gemini
        ('Invalid JSON payload received. Unknown name "top_k": Cannot find field.', "top_k"),
        # what it supports is listed behind
        ("top_k is not known; supported are temperature, top_p and max_tokens", "top_k"),
        # a neutral value goes before one that is meant
        ("`temperature` and `top_p` cannot both be specified for this model", "top_p"),
        # one name for both
        ("logprobs are not supported by this model", "top_logprobs"),
        ("Requested sample logprobs of 20, which is greater than max allowed: 5", "top_logprobs"),
        ("json: unknown field `stop`", "stop"),
    ],
)
def test_the_culprit_is_named_first(text: str, first: str) -> None:
    assert named_options(text, REQUEST)[0] == first


@pytest.mark.parametrize(
    "text", ["bad request", "top_kk and my_top_k and stops", "model and messages", ""]
)
def test_words_that_name_no_option(text: str) -> None:
    """A part of a word is none, and the plain question is none."""
    assert named_options(text, REQUEST) == []


def tried(option: str, text: str) -> list[str]:
    """Return what is tried, as it is logged."""
    return [str(change) for change in smaller_changes(option, REQUEST[option], text, "")]


@pytest.mark.parametrize(
    ("option", "text", "changes"),
    [
        ("top_logprobs", "no", ["is limited to 5", "is dropped"]),
        (
            "top_logprobs",
            "must be between 0 and 8",
            ["is limited to 8", "is limited to 5", "is dropped"],
        ),
        ("top_logprobs", "max allowed: 10", ["is limited to 10", "is limited to 5", "is dropped"]),
        ("top_logprobs", "20 is greater than the maximum of 1", None),
        ("max_tokens", "is not supported", ["is sent as `max_completion_tokens`", "is dropped"]),
        ("max_tokens", "max_tokens is too large: 4096", []),
        ("max_tokens", "max_tokens must be less than or equal to `1024`", ["is limited to 1024"]),
        ("max_tokens", "the valid range of max_tokens is [1, 2048]", ["is limited to 2048"]),
        (
            "max_tokens",
            "max_tokens: 4096 > 512, which is the maximum allowed",
            ["is limited to 512"],
        ),
        (
            "max_tokens",
            "This model supports at most 1000 completion tokens",
            ["is limited to 1000"],
        ),
        # the status of an error is no limit
        ("max_tokens", '{"msg": "no max_tokens", "code": 400}', None),
        ("temperature", "must be strictly positive", ["is raised to 0.01", "is dropped"]),
        ("top_k", "unknown", ["is dropped"]),
        ("stop", "unknown", ["is dropped"]),
    ],
)
def test_the_least_change_is_tried_first(option: str, text: str, changes: list[str] | None) -> None:
    found = [change.removeprefix(f"`{option}` ") for change in tried(option, text)]
    if changes is not None:
        assert found == changes
    elif option == "top_logprobs":
        assert found == ["is limited to 5", "is limited to 1", "is dropped"]
    else:
        assert found == ["is sent as `max_completion_tokens`", "is dropped"]


@pytest.mark.parametrize(
    "text",
    [
        # vLLM, old and new
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens "
        "(4000 in the messages, 1000 in the completion).",
        "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context "
        "length is 4096 tokens and your request has 3000 input tokens.",
        "The decoder prompt (length 5000) is longer than the maximum model length of 4096.",
        # Anthropic
        "input length and `max_tokens` exceed context limit: 199000 + 20000 > 200000, decrease "
        "input length or `max_tokens` and try again",
        # llama.cpp, swift, Mistral, SGLang
        "the request exceeds the available context size, try increasing it",
        "Input length (5000) leaves no room for generation with max_model_len (4096)",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "Requested token count exceeds the model's maximum context length of 4096 tokens",
        "too long",
        "max_tokens is too large",
    ],
)
def test_a_text_that_is_too_long_is_no_rejected_option(text: str) -> None:
    assert is_about_length(text, REQUEST)


@pytest.mark.parametrize(
    "text",
    [
        "top_logprobs is too large",
        "stop: the list is too long",
        "max_tokens must be less than or equal to 1024",
        "max_tokens is too large: 4096. This model supports at most 1024 completion tokens",
        "max_tokens is not supported",
        "bad request",
    ],
)
def test_words_about_something_else_than_length(text: str) -> None:
    assert not is_about_length(text, REQUEST)


def test_a_limit_may_be_too_small() -> None:
    """A few tokens more are tried before none are asked for; a larger number is no limit's."""

    def tried_for(value: int, text: str) -> list[str]:
        return [
            str(c).removeprefix("`max_tokens` ")
            for c in smaller_changes("max_tokens", value, text, "")
        ]

    renamed, raised = "is sent as `max_completion_tokens`", "is raised to 16"
    assert tried_for(1, "at least 2") == ["is raised to 2", renamed, raised, "is dropped"]
    assert tried_for(1, "no") == [renamed, raised, "is dropped"]
    assert tried_for(16, "no") == [renamed, "is dropped"]
    assert tried_for(1, "the prompt has at least 900 tokens")[0] == renamed
    assert not is_about_length("max_tokens: must be greater than or equal to 16", {"max_tokens": 1})


def test_changes_apply_to_what_is_there() -> None:
    """A smaller value stays, a missing option is no fault, alternatives go with probabilities."""
    changes = {
        change.option: change
        for change in (
            Change("max_tokens", "", rename="max_completion_tokens"),
            Change("max_completion_tokens", "", bound=100),
            Change("temperature", "", bound=0.01),
            Change("logprobs", ""),
        )
    }
    assert apply_changes({"max_tokens": 500, "temperature": 0.0}, changes) == {
        "max_completion_tokens": 100,
        "temperature": 0.01,
    }
    small = {"max_tokens": 5, "temperature": 0.7, "logprobs": True, "top_logprobs": 20}
    assert apply_changes(small, changes) == {"max_completion_tokens": 5, "temperature": 0.7}
    assert small["top_logprobs"] == 20  # the request as it is meant stays
