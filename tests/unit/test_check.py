"""`rlkd check` against scripted servers: what it says of a good one and of each broken one."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlkd_plugin.engines.base import Decomposition, Engine, Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Field, parse_structure
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.rlkd_cli import app
from rlkd_plugin.rlkd_eval.check import Finding, check_engine
from rlkd_plugin.rlkd_eval.check.findings import merge
from rlkd_plugin.rlkd_eval.check.samples import PAIRS, PATHS
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from tests.conftest import SetOptions
from tests.support.json_server import serving
from tests.support.loopback import (
    GSRM,
    JUDGE,
    Answer,
    Asked,
    Loopback,
    raw,
    said,
    status,
    structure_of,
    verdict,
)

THINK = '{"chat_template_kwargs": {"enable_thinking": false}}'


def checked(exit_code: int) -> str:
    """Run `rlkd check`, and return what it prints."""
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == exit_code, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.stdout


def lines(word: str, output: str) -> list[str]:
    """Return the findings that begin with this word."""
    return [line[7:] for line in output.splitlines() if line.startswith(f"{word:<6} ")]


def replied(
    content: Any,
    *,
    thinking: str = "",
    finish: str = "stop",
    logprobs: Any = None,
    tokens: int = 0,
) -> Answer:
    """Answer with a message, thinking beside it, and log-probabilities as they are."""
    message = {"role": "assistant", "content": content}
    if thinking:
        message["reasoning_content"] = thinking
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return raw(json.dumps({"choices": [choice], "usage": usage}))


def is_probe(asked: Asked) -> bool:
    """Say whether this is the short first question."""
    return "1 + 1 = 2" in asked.prompt


def expects_yes(asked: Asked) -> bool:
    """Say whether a good judge says yes to a pair."""
    return is_probe(asked) or any(
        pair.match and asked.texts == (pair.teacher, pair.student) for pair in PAIRS
    )


def good_judge(asked: Asked) -> Any:
    return verdict(0.9 if expects_yes(asked) else 0.1)(asked)


def worded(word: Callable[[bool], Answer]) -> Answer:
    """A judge that says the right thing in its own way, once it was reached."""
    return lambda asked: (said("yes") if is_probe(asked) else word(expects_yes(asked)))(asked)


def path_of(asked: Asked) -> str:
    return asked.content("reasoning path")


def after_probe(answer: Answer) -> Answer:
    """A GSRM that is reached, and then answers so."""
    return lambda asked: (said("yes") if is_probe(asked) else answer)(asked)


@pytest.fixture
def good(servers: Loopback) -> Loopback:
    """A GSRM and a judge as they should be."""
    servers.always("judge", good_judge)
    return servers


def test_good_servers_are_all_ok(good: Loopback) -> None:
    """Each role is reached; four structures; nine verdicts; what the cache holds."""
    output = checked(0)
    assert output.startswith("ok     GSRM gsrm-7b: http://127.0.0.1")
    assert [line[:7].strip() for line in output.splitlines()] == ["ok"] * 6, output
    assert "steps of a two-step path: math 2, science 2, code 2, puzzle 2" in output
    assert "9 of 9 verdicts as expected, by logprob" in output
    domains = [asked.prompt for asked in good.of("gsrm") if not is_probe(asked)]
    assert len(domains) == 4 and len(set(domains)) == 4
    assert len(good.of("judge")) == 1 + len(PAIRS)


def test_the_requests_are_the_rewards(good: Loopback, options: SetOptions) -> None:
    """Prompt and options of the settings, so that what is tested is what a run asks."""
    options(gsrm_prompt="construct", gsrm_regex="true", judge_max_tokens=3)
    checked(0)
    asked = next(asked for asked in good.of("gsrm") if "crate" in path_of(asked))
    assert "regex" in asked.body["structured_outputs"] and asked.body["stop"] == ["[End]"]
    assert path_of(asked) == PATHS[0].path and len(asked.prompt) > 4000  # the worked examples
    judged = [asked.body for asked in good.of("judge") if not is_probe(asked)]
    assert {(body["max_tokens"], body["logprobs"], body["temperature"]) for body in judged} == {
        (3, True, 0.0)
    }


def test_an_equal_text_but_for_a_stop_is_asked(good: Loopback) -> None:
    """No pair is decided by the text rules: each tells something about the judge."""
    checked(0)
    texts = {asked.texts for asked in good.of("judge") if not is_probe(asked)}
    assert texts == {(pair.teacher, pair.student) for pair in PAIRS}


def test_the_sample_paths_are_whole() -> None:
    """Two lines each, and their result is in a structure of them."""
    for sample in PATHS:
        structure = parse_structure(structure_of(sample.path))
        assert len(structure.steps) == 2 and sample.result in sample.path


# --- a judge that thinks before it answers ---


def think(logprobs: Any = None) -> Answer:
    return replied("<think>", finish="length", logprobs=logprobs, tokens=1)


MARK = {
    "content": [
        {"token": "<think>", "logprob": 0.0, "top_logprobs": [{"token": "<think>", "logprob": 0.0}]}
    ]
}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(think(), id="the mark as text"),
        pytest.param(think(MARK), id="the mark's log-probability"),
        pytest.param(replied("", finish="length", logprobs=MARK, tokens=1), id="a special token"),
        pytest.param(replied("<", finish="length", tokens=1), id="the mark's first token"),
        pytest.param(replied(None, thinking="Okay", finish="length", tokens=1), id="a parser"),
        pytest.param(replied("<think>\nOkay, let me see", finish="length"), id="a whole thought"),
        pytest.param(replied("[THINK]First", finish="length"), id="another mark"),
    ],
)
def test_a_judge_that_thinks_is_named(good: Loopback, answer: Answer) -> None:
    good.always("judge", after_probe(answer))
    (wrong,) = lines("wrong", checked(1))
    assert wrong.startswith("9 of 9 verdicts are unreadable: the judge thinks before it answers (")
    assert f"set RLKD_JUDGE_BODY='{THINK}', or give it room: RLKD_JUDGE_MAX_TOKENS=2048" in wrong


def test_a_judge_whose_thinking_a_constraint_stops_is_to_be_looked_at(good: Loopback) -> None:
    """The choice is constrained, so the verdicts are right, at two requests each."""

    def judge(asked: Asked) -> Any:
        if "structured_outputs" in asked.body:
            return said("yes" if expects_yes(asked) else "no")(asked)
        return (said("yes") if is_probe(asked) else think())(asked)

    good.always("judge", judge)
    output = checked(0)
    assert "9 of 9 verdicts as expected, by choice" in output
    (look, *_) = lines("look", output)
    assert look.startswith("9 of 9 verdicts cost a second request: the judge thinks before it")
    assert "RLKD_JUDGE_BODY" in look


def test_a_judge_that_is_told_not_to_think_is_ok(good: Loopback, options: SetOptions) -> None:
    options(judge_body=THINK)
    good.always("judge", after_thinking_is_off)
    assert lines("look", checked(0)) == []


def after_thinking_is_off(asked: Asked) -> Any:
    if asked.body.get("chat_template_kwargs") == {"enable_thinking": False}:
        return good_judge(asked)
    return think()(asked)


def test_a_judge_that_has_room_to_think_is_ok(good: Loopback, options: SetOptions) -> None:
    options(judge_max_tokens=2048)

    def judge(yes: bool) -> Answer:
        word = "yes" if yes else "no"
        return said(f"<think>Do they?</think>{word}", [("x", {}), (word, {word: 1.0})])

    good.always("judge", worded(judge))
    output = checked(0)
    assert lines("look", output) == [] and "9 of 9 verdicts as expected, by logprob" in output
    assert "the judge thinks before each verdict" in output and "RLKD_JUDGE_BODY" in output


def test_a_judge_that_thinks_though_it_has_one_token_is_to_be_looked_at(good: Loopback) -> None:
    """A server that counts the answer's tokens alone."""
    good.always("judge", worded(lambda y: said(f"<think>Hm.</think>{'yes' if y else 'no'}")))
    looks = lines("look", checked(0))
    assert looks[0].startswith("the judge thinks before each verdict")


def test_a_judge_with_too_little_room_gets_more(good: Loopback, options: SetOptions) -> None:
    options(judge_max_tokens=4096)
    good.always("judge", after_probe(replied("<think>\nHm, so", finish="length", tokens=4096)))
    (wrong,) = lines("wrong", checked(1))
    assert "has 4096 tokens" in wrong and "RLKD_JUDGE_MAX_TOKENS=8192" in wrong


# --- log-probabilities ---


def test_missing_log_probabilities_are_to_be_looked_at(good: Loopback) -> None:
    good.always("judge", worded(lambda yes: said("yes" if yes else "no")))
    output = checked(0)
    (look,) = lines("look", output)
    assert look.startswith("the judge's server returns no log-probabilities, though they are req")
    assert "RLKD_JUDGE_THRESHOLD has no effect" in look and "vLLM" in look
    assert "9 of 9 verdicts as expected, by text" in output


def test_log_probabilities_without_numbers_are_to_be_looked_at(good: Loopback) -> None:
    def judge(yes: bool) -> Answer:
        word = "yes" if yes else "no"
        top = [{"token": word, "logprob": None}]
        return replied(
            word, logprobs={"content": [{"token": word, "logprob": None, "top_logprobs": top}]}
        )

    good.always("judge", worded(judge))
    (look,) = lines("look", checked(0))
    assert "returns log-probabilities without numbers" in look


def test_refused_log_probabilities_are_named_with_the_servers_words(good: Loopback) -> None:
    def judge(asked: Asked) -> Any:
        if "logprobs" in asked.body:
            return status(400, "logprobs are not supported by this model")(asked)
        return said("yes" if expects_yes(asked) else "no")(asked)

    good.always("judge", judge)
    output = checked(0)
    (look,) = lines("look", output)
    assert "rejects `logprobs` ('logprobs are not supported by this model')" in look
    assert "RLKD_JUDGE_THRESHOLD has no effect" in look


def test_fewer_alternatives_name_the_servers_option(good: Loopback) -> None:
    def judge(asked: Asked) -> Any:
        if asked.body.get("top_logprobs", 0) > 5:
            return status(400, "top_logprobs must be at most 5, got 20")(asked)
        return good_judge(asked)

    good.always("judge", judge)
    output = checked(0)
    (look,) = lines("look", output)
    assert "`top_logprobs` is limited to 5" in look and "--max-logprobs 20" in look
    assert "9 of 9 verdicts as expected, by logprob" in output


# --- what a reasoning parser takes ---


def test_a_judges_answer_in_reasoning_content_is_named(good: Loopback) -> None:
    """One token ends at the limit, so the constrained choice is read."""

    def judge(asked: Asked) -> Any:
        word = "yes" if expects_yes(asked) else "no"
        cut = "length" if asked.body["max_tokens"] == 1 else "stop"
        return replied(None, thinking=word, finish=cut, tokens=1)(asked)

    good.always("judge", judge)
    looks = lines("look", checked(0))
    assert "without `--reasoning-parser`" in looks[0] and "reasoning_content" in looks[0]


def test_a_judges_swallowed_answer_that_nobody_can_read_is_wrong(good: Loopback) -> None:
    good.always("judge", after_probe(replied(None, thinking="yes", finish="length", tokens=1)))
    (wrong,) = lines("wrong", checked(1))
    assert "9 of 9 verdicts are unreadable" in wrong and "`--reasoning-parser`" in wrong


def test_a_structure_in_reasoning_content_is_read_and_named(good: Loopback) -> None:
    def gsrm(asked: Asked) -> Any:
        return replied(None, thinking=structure_of(path_of(asked)), tokens=90)(asked)

    good.always("gsrm", after_probe(gsrm))
    (look,) = lines("look", checked(0))
    assert "the GSRM's structure is in `reasoning_content` (all 4 paths)" in look
    assert "without `--reasoning-parser`" in look


def test_a_whole_reply_in_reasoning_content_is_wrong(good: Loopback) -> None:
    good.always("gsrm", after_probe(replied(None, thinking="The crate has rows.", tokens=9)))
    (wrong,) = lines("wrong", checked(1))
    assert "the GSRM's reply to all 4 paths is in `reasoning_content`" in wrong
    assert "'The crate has rows.'" in wrong and "without `--reasoning-parser`" in wrong


@pytest.mark.parametrize(
    "answer",
    [
        replied("<think>\nFirst I look at the crate", finish="length", tokens=540),
        replied(None, thinking="First I look at the crate", finish="length", tokens=540),
    ],
)
def test_a_gsrm_that_thinks_is_named(good: Loopback, answer: Answer) -> None:
    good.always("gsrm", after_probe(answer))
    (wrong,) = lines("wrong", checked(1))
    assert "the GSRM thinks before it decomposes all 4 paths" in wrong
    assert "its thinking fills the 540 tokens" in wrong
    assert f"set RLKD_GSRM_BODY='{THINK}'" in wrong


def test_a_gsrm_that_thinks_first_and_then_decomposes_is_to_be_looked_at(good: Loopback) -> None:
    good.always(
        "gsrm",
        after_probe(lambda a: said(f"<think>Hm.</think>{structure_of(path_of(a))}")(a)),
    )
    (look,) = lines("look", checked(0))
    assert "the GSRM thinks before it decomposes all 4 paths, which leaves fewer tokens" in look
    assert f"RLKD_GSRM_BODY='{THINK}'" in look


# --- a GSRM that loses the form ---

HEADINGS = "[Meta-reasoning 1]:\n[Sub-problem 1]:\n[Answer 1]:\n[Meta-reasoning 2]:"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I would rather tell a story.", "'I would rather tell a story.'"),
        (HEADINGS, "'[Meta-reasoning 1]: [Sub-problem 1]:"),
        ("1. Count the bottles.\n2. Take away five.", "'1. Count the bottles."),
        ("<think>Easy.</think>It is 19.", "'It is 19.'"),
        ("x\x1b[31m\u202e" + "y" * 500, "'x [31m y"),
    ],
)
def test_a_gsrm_without_the_form_is_named(good: Loopback, text: str, shown: str) -> None:
    good.always("gsrm", after_probe(said(text)))
    (wrong,) = lines("wrong", checked(1))
    assert f"the GSRM writes no structure for all 4 paths, but {shown}" in wrong
    assert "RLKD_GSRM_PROMPT=construct" in wrong and "RLKD_GSRM_REGEX=true" in wrong
    assert len(wrong) < 400


def test_the_remedy_is_none_that_is_taken_already(good: Loopback, options: SetOptions) -> None:
    good.always("gsrm", after_probe(said("A story.")))
    options(gsrm_prompt="construct")
    (wrong,) = lines("wrong", checked(1))
    assert "though RLKD_GSRM_PROMPT=construct: RLKD_GSRM_REGEX=true makes" in wrong
    options(gsrm_regex="true")
    (wrong,) = lines("wrong", checked(1))
    assert "though RLKD_GSRM_REGEX=true: the server ignores `structured_outputs`" in wrong


def test_a_constraint_that_is_refused_is_named(good: Loopback, options: SetOptions) -> None:
    options(gsrm_regex="true")

    def gsrm(asked: Asked) -> Any:
        if "structured_outputs" in asked.body:
            return status(400, "unknown field: structured_outputs")(asked)
        return said("A story.")(asked)

    good.always("gsrm", gsrm)
    output = checked(1)
    (wrong,) = lines("wrong", output)
    assert "RLKD_GSRM_REGEX=true has no effect: the server rejects `structured_outputs`" in wrong


def test_a_gsrm_of_some_domains_is_to_be_looked_at(good: Loopback) -> None:
    """It may be trained for mathematics alone."""

    def gsrm(asked: Asked) -> Any:
        is_puzzle = "Cid" in path_of(asked)
        return said("Who knows." if is_puzzle else structure_of(path_of(asked)))(asked)

    good.always("gsrm", after_probe(gsrm))
    looks = lines("look", checked(0))
    assert "steps of a two-step path: math 2, science 2, code 2" in looks[0]
    assert "no structure for 1 of 4 paths (puzzle), but 'Who knows.'" in looks[1]


def test_a_structure_at_the_second_try_is_to_be_looked_at(good: Loopback) -> None:
    def gsrm(asked: Asked) -> Any:
        is_first = asked.body["temperature"] == 0
        return said("Hm." if is_first else structure_of(path_of(asked)))(asked)

    good.always("gsrm", after_probe(gsrm))
    (look,) = lines("look", checked(0))
    assert "first reply to all 4 paths has no structure ('Hm.')" in look


def test_structures_of_another_path_are_to_be_looked_at(good: Loopback) -> None:
    """A model that repeats a worked example, or a server that cuts the prompt."""
    good.always("gsrm", after_probe(said(structure_of("a: 1\nb: 2"))))
    (look,) = lines("look", checked(0))
    assert "the path's result is not in the structure (math, science, code, puzzle)" in look
    assert "RLKD_GSRM_MODEL" in look


def test_a_gsrm_that_splits_otherwise_is_to_be_looked_at(good: Loopback) -> None:
    good.always("gsrm", after_probe(lambda a: said(structure_of(path_of(a) * 4))(a)))
    (look,) = lines("look", checked(0))
    assert "math 5" in look


# --- a structure that is cut ---


def cut(tokens: Callable[[Asked], int]) -> Answer:
    def gsrm(asked: Asked) -> Any:
        half = structure_of(path_of(asked)).partition("[Sub-problem 2]")[0]
        return replied(half, finish="length", tokens=tokens(asked))(asked)

    return after_probe(gsrm)


def test_a_structure_that_fills_its_budget_names_the_setting(
    good: Loopback, options: SetOptions
) -> None:
    options(gsrm_max_tokens=60)
    good.always("gsrm", cut(lambda asked: asked.body["max_tokens"]))
    (wrong,) = lines("wrong", checked(1))
    assert "the GSRM's structure of all 4 paths is cut at its token limit, 60 tokens" in wrong
    assert "RLKD_GSRM_MAX_TOKENS=60" in wrong and "set RLKD_GSRM_MAX_TOKENS=4096" in wrong


def test_a_structure_that_the_server_cuts_names_its_option(good: Loopback) -> None:
    good.always("gsrm", cut(lambda asked: 50))
    (wrong,) = lines("wrong", checked(1))
    assert "the server ends it after 50 of 4096 tokens" in wrong and "--max-model-len" in wrong
    assert "--generation-config vllm" in wrong


def test_paths_that_a_server_has_no_room_for_are_named(good: Loopback) -> None:
    words = "This model's maximum context length is 512 tokens."
    good.always("gsrm", after_probe(status(400, words)))
    (wrong,) = lines("wrong", checked(1))
    assert "the GSRM's server rejects all 4 paths" in wrong and "maximum context length" in wrong
    assert "--max-model-len" in wrong


def test_a_context_that_is_too_short_for_long_paths_is_named(good: Loopback) -> None:
    """60,000 characters are some 15,000 tokens, and a structure has 4,096."""
    good.models = {"data": [{"id": GSRM, "root": "hub/x", "max_model_len": 8192}]}
    (look,) = lines("look", checked(0))
    assert "has a context of 8,192 tokens" in look and "about 15,000 tokens" in look
    assert "needs about 19," in look and "--max-model-len 20480`" in look
    good.models["data"][0]["max_model_len"] = 24576
    assert lines("look", checked(0)) == []


# --- a judge that cannot judge ---


@pytest.mark.parametrize(("probability", "says"), [(0.9, "yes to every"), (0.1, "no to every")])
def test_a_judge_that_always_says_the_same_is_wrong(
    good: Loopback, probability: float, says: str
) -> None:
    good.always("judge", verdict(probability))
    (wrong,) = lines("wrong", checked(1))
    assert f"the judge says {says} pair" in wrong
    assert "RLKD_JUDGE_MODEL" in wrong and "rlkd judge-check" in wrong


def test_a_judge_that_says_the_opposite_is_wrong(good: Loopback) -> None:
    good.always("judge", lambda a: verdict(0.1 if expects_yes(a) else 0.9)(a))
    (wrong,) = lines("wrong", checked(1))
    assert "says yes to different texts as often as to equal" in wrong


def test_a_judge_of_equal_words_is_to_be_looked_at(servers: Loopback) -> None:
    (look,) = lines("look", checked(0))
    assert "6 of 9 verdicts as expected" in look and "no to the same in other words" in look
    assert "(meta_reasoning, sub_problem, answer)" in look and "rlkd judge-check" in look


@pytest.mark.parametrize("word", ["\u662f", "Oui", "Correct", "The two plans"])
def test_a_judge_with_other_words_is_wrong(good: Loopback, word: str) -> None:
    good.always("judge", after_probe(said(word)))
    (wrong,) = lines("wrong", checked(1))
    assert f"the judge answers '{word}', not yes or no" in wrong and "RLKD_JUDGE_MODEL" in wrong


def test_punctuation_around_a_word_is_no_fault(good: Loopback) -> None:
    def judge(yes: bool) -> Answer:
        word = "Yes!" if yes else "**No.**"
        return said(word, [(word, {word: 0.99})])

    good.always("judge", worded(judge))
    assert "9 of 9 verdicts as expected" in checked(0)


def test_a_judge_that_stands_at_the_threshold_tells_nothing_apart(
    good: Loopback, options: SetOptions
) -> None:
    options(judge_threshold=0.05)
    (wrong,) = lines("wrong", checked(1))
    assert "RLKD_JUDGE_THRESHOLD" in wrong


# --- as a function ---


def findings() -> list[Finding]:
    """Return what the check of the servers finds, without the cache."""

    async def collect() -> list[Finding]:
        return [finding async for finding in check_engine(choose_engine(load_settings())[0])]

    return asyncio.run(collect())


def test_the_check_of_good_servers_is_all_ok(servers: Loopback) -> None:
    servers.matches = lambda one, other: "bottle" in other or other == "24."
    assert [finding.verdict for finding in findings()] == ["ok"] * 4


def test_the_check_says_that_a_model_writes_no_structure(servers: Loopback) -> None:
    servers.always("gsrm", said("I would rather tell a story."))
    (wrong,) = [finding for finding in findings() if finding.verdict == "wrong"]
    assert "RLKD_GSRM_PROMPT" in wrong.text and "RLKD_GSRM_REGEX" in wrong.text


def test_the_check_says_that_verdicts_are_unreadable(servers: Loopback) -> None:
    servers.always("judge", said("hm"))
    assert findings()[-1].verdict == "wrong"
    assert "RLKD_JUDGE_MAX_TOKENS" in findings()[-1].text


def test_the_check_says_that_a_server_is_down(servers: Loopback, options: SetOptions) -> None:
    """The error is a finding, and the other server is checked all the same."""
    options(startup_patience=0.1)
    servers.always("gsrm", status(500))
    wrong, *others = findings()
    assert wrong.verdict == "wrong" and "RLKD_GSRM_BASE_URL" in wrong.text
    assert [finding.verdict for finding in others] == ["ok", "look"]  # a judge of equal words


# --- servers that cannot be used ---


def listing(*names: str) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


def test_a_wrong_name_is_answered_with_the_names_that_are_right(
    good: Loopback, options: SetOptions
) -> None:
    def server(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, listing("judge", "judge-lora")
        return 404, {"error": {"message": "The model `judge-32b` does not exist."}}

    with serving(server) as url:
        options(judge_base_url=f"{url}/v1")
        (wrong,) = lines("wrong", checked(1))
    assert "The model `judge-32b` does not exist." in wrong
    assert "the models there are 'judge', 'judge-lora': set RLKD_JUDGE_MODEL to one" in wrong


def test_an_address_without_v1_is_completed(good: Loopback, options: SetOptions) -> None:
    def server(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path == "/v1/models":
            return 200, listing("gsrm-7b")
        return 404, {"detail": "Not Found"}

    with serving(server) as url:
        options(gsrm_base_url=url)
        (wrong,) = lines("wrong", checked(1))
        assert f"/v1 is missing: set RLKD_GSRM_BASE_URL={url}/v1" in wrong


def test_a_server_that_refuses_everything_is_named(good: Loopback, options: SetOptions) -> None:
    with serving(lambda *_: (400, {"error": "no tenant"})) as url:
        options(judge_base_url=f"{url}/v1", judge_body='{"tenant": 7}')
        (wrong,) = lines("wrong", checked(1))
    assert "no tenant" in wrong and "check `tenant` of RLKD_JUDGE_BODY" in wrong


def test_a_key_that_is_refused_names_its_variable_and_shows_no_key(
    good: Loopback, options: SetOptions
) -> None:
    options(judge_api_key="sk-secret-7")

    def server(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        return 401, {"error": "sk-secret-7 is no key"}

    with serving(server) as url:
        options(judge_base_url=f"{url}/v1")
        output = checked(1)
    assert "RLKD_JUDGE_API_KEY" in lines("wrong", output)[0] and "sk-secret-7" not in output


def test_a_key_that_a_model_repeats_is_not_shown(good: Loopback, options: SetOptions) -> None:
    options(gsrm_api_key="sk-secret-7")
    good.always("gsrm", after_probe(said("Your key is sk-secret-7, and here is a story.")))
    output = checked(1)
    assert "Your key is ***" in output and "sk-secret-7" not in output


def test_a_server_that_is_not_there_is_named(good: Loopback, options: SetOptions) -> None:
    with serving(lambda *_: (200, {})) as url:
        pass  # its port is free again
    options(gsrm_base_url=f"{url}/v1", startup_patience=0.1)
    output = checked(1)
    (wrong,) = lines("wrong", output)
    assert "RLKD_GSRM_BASE_URL" in wrong and url in wrong
    assert "9 of 9 verdicts as expected" in output  # the other server is checked all the same
    assert "is identified by" not in output  # nothing can be known of it


def test_a_server_that_breaks_in_the_middle_is_named(good: Loopback, options: SetOptions) -> None:
    options(patience=0.1)
    good.always("judge", after_probe(status(500, "CUDA error")))
    (wrong,) = lines("wrong", checked(1))
    assert "CUDA error" in wrong and "RLKD_JUDGE_BASE_URL" in wrong


def test_each_of_several_servers_is_checked(good: Loopback, options: SetOptions) -> None:
    """What all say stands once; what one says has its address."""

    def story(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 404, {}
        message = {"role": "assistant", "content": "Once upon a time."}
        return 200, {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}

    with serving(story) as url:
        options(gsrm_base_url=f"{good.url},{url}/v1")
        output = checked(1)
    (wrong,) = lines("wrong", output)
    assert wrong.startswith(f"at {url}/v1: the GSRM writes no structure for all 4 paths")
    assert f"at {good.url}: steps of a two-step path: math 2" in output
    options(gsrm_base_url=f"{good.url},{good.url.replace('127.0.0.1', 'localhost')}")
    output = checked(0)
    assert "puzzle 2, at each of 2 servers" in output and output.count("steps of") == 1


def test_merged_findings_keep_their_order() -> None:
    one, other, both = Finding("ok", "a"), Finding("look", "b"), Finding("wrong", "c", 2.0)
    found = merge({"u": [one, both], "v": [other, Finding("wrong", "c", 1.0)]})
    assert [(finding.verdict, finding.text) for finding in found] == [
        ("ok", "at u: a"),
        ("wrong", "c, at each of 2 servers"),
        ("look", "at v: b"),
    ]
    assert found[1].seconds == 2.0


# --- a server's own defaults ---

CONFIG = {"repetition_penalty": 1.3, "top_p": 0.8, "top_k": -1, "do_sample": True, "min_p": None}


@pytest.fixture
def served_folder(good: Loopback, tmp_path: Path) -> Path:
    """A model's folder that the GSRM's server names as its root."""
    folder = tmp_path / "gsrm"
    folder.mkdir()
    (folder / "generation_config.json").write_text(json.dumps(CONFIG))
    good.models = {"data": [{"id": GSRM, "root": str(folder)}, {"id": JUDGE}]}
    return folder


def test_defaults_that_requests_hold_are_shown(good: Loopback, served_folder: Path) -> None:
    output = checked(0)
    file = served_folder / "generation_config.json"
    assert f"GSRM: top_p 0.8, repetition_penalty 1.3 of {file} would be the defaults" in output
    assert "requests override them" in output and "top_k" not in output
    asked = [a.body for a in good.of("gsrm") if not is_probe(a)]
    assert {(body["repetition_penalty"], body["top_p"]) for body in asked} == {(1.0, 1.0)}


def refuses(name: str) -> Answer:
    """A GSRM that takes no such option."""

    def gsrm(asked: Asked) -> Any:
        if name in asked.body:
            return status(400, f"unknown field `{name}`")(asked)
        return (said("yes") if is_probe(asked) else said(structure_of(path_of(asked))))(asked)

    return gsrm


def test_a_default_that_acts_makes_rewards_wrong(good: Loopback, served_folder: Path) -> None:
    good.always("gsrm", refuses("repetition_penalty"))
    (wrong,) = lines("wrong", checked(1))
    assert "rejects `repetition_penalty`" in wrong and "unknown field" in wrong
    assert "so repetition_penalty 1.3 of" in wrong and "`--generation-config vllm`" in wrong


def test_a_default_that_is_not_known_is_to_be_looked_at(good: Loopback) -> None:
    good.always("gsrm", refuses("top_k"))
    (look,) = lines("look", checked(0))
    assert "rejects `top_k`" in look and "`--generation-config vllm`" in look


def test_a_default_that_changes_nothing_is_no_fault(good: Loopback, served_folder: Path) -> None:
    """top_k is -1 in the file, so its refusal costs nothing."""
    good.always("gsrm", refuses("top_k"))
    output = checked(0)
    assert lines("look", output) == []


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"top_p": "high"}', None])
def test_a_broken_generation_config_has_no_defaults(
    good: Loopback, served_folder: Path, text: str | None
) -> None:
    file = served_folder / "generation_config.json"
    file.unlink() if text is None else file.write_text(text)
    assert "would be the defaults" not in checked(0)


def test_an_option_that_is_left_out_is_named(good: Loopback) -> None:
    good.always("gsrm", refuses("stop"))
    (look,) = lines("look", checked(0))
    assert "the GSRM's server rejects `stop`" in look and "dropped" in look


def test_an_option_with_another_name_is_ok(good: Loopback, options: SetOptions) -> None:
    """OpenAI's newer models; the limit is the same."""

    def judge(method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if method == "GET":
            return 404, {}
        if "max_tokens" in body:
            words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return 400, {"error": {"message": words, "param": "max_tokens"}}
        return 200, json.loads(good_judge(Asked("judge", body, None, b"")).body)

    with serving(judge) as url:
        options(judge_base_url=f"{url}/v1")
        output = checked(0)
    assert lines("look", output) == []
    assert "`max_tokens` is sent as `max_completion_tokens`" in output


def test_a_temperature_that_is_nearly_zero_is_ok(good: Loopback) -> None:
    def gsrm(asked: Asked) -> Any:
        if asked.body["temperature"] == 0:
            return status(422, "temperature must be strictly positive")(asked)
        return (said("yes") if is_probe(asked) else said(structure_of(path_of(asked))))(asked)

    good.always("gsrm", gsrm)
    output = checked(0)
    assert lines("look", output) == [] and "`temperature` is raised to 0.01" in output


def test_a_further_key_that_does_not_act_is_named(good: Loopback, options: SetOptions) -> None:
    options(gsrm_body=THINK)
    good.always("gsrm", refuses("chat_template_kwargs"))
    (look,) = lines("look", checked(0))
    assert "rejects `chat_template_kwargs`" in look and "RLKD_GSRM_BODY has no effect" in look


# --- whose structures the cache holds ---


def test_the_cache_holds_what_this_gsrm_wrote(good: Loopback, options: SetOptions) -> None:
    """Another model under the name has no structure there, until it is the old one again."""
    cache = choose_engine(load_settings())[1]
    assert cache is not None
    structure = parse_structure(structure_of("a 1"))
    for number in range(3):
        cache.put("problem", "math", f"path {number}", structure)
    assert "is identified by hub/gsrm-7b" in checked(0)
    assert "3 teacher structures of this GSRM are cached" in checked(0)
    good.models = {"data": [{"id": GSRM, "root": "hub/other"}]}
    output = checked(0)
    assert "is identified by hub/other" in output
    assert "0 teacher structures of this GSRM are cached" in output
    assert "; 3 of other models, prompts or settings are not read" in output
    options(gsrm_revision="2")
    assert "RLKD_GSRM_REVISION=2" in checked(0)


def test_a_gsrm_that_is_known_by_its_name_alone_is_to_be_looked_at(good: Loopback) -> None:
    good.models = None
    (look,) = lines("look", checked(0))
    assert "its name alone" in look and "set RLKD_GSRM_REVISION" in look


def test_servers_of_different_gsrms_are_wrong(good: Loopback, options: SetOptions) -> None:
    with serving(lambda *_: (200, {"data": [{"id": GSRM, "root": "hub/other"}]})) as url:
        options(gsrm_base_url=f"{good.url},{url}/v1", startup_patience=0.1)
        wrongs = lines("wrong", checked(1))
    assert any("serve different models as 'gsrm-7b'" in wrong for wrong in wrongs)


# --- other engines and settings ---


def test_rules_need_no_server(options: SetOptions) -> None:
    options(engine="rules")
    assert checked(0).startswith("ok     RLKD_ENGINE=rules needs no server")


def test_an_engine_in_the_process_is_asked_too() -> None:
    """Its GSRM is asked in mathematics alone, and words are its judge."""

    async def collect(engine: Engine) -> list[Finding]:
        return [finding async for finding in check_engine(engine)]

    structures, verdicts = asyncio.run(collect(RulesEngine()))
    assert (structures.verdict, structures.text) == ("ok", "steps of a two-step path: math 2")
    assert verdicts.text.startswith("texts are matched by words")

    class Mute(RulesEngine):
        async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
            return Decomposition(None, "undecomposable")

        async def match(self, field: Field, teacher: str, student: str) -> Verdict:
            return Verdict(True, "logprob", 0.6)

    structures, verdicts = asyncio.run(collect(Mute()))
    assert structures.verdict == "wrong" and "RLKD_SMALL_MODEL" in structures.text
    assert verdicts.verdict == "wrong" and "yes to every pair" in verdicts.text


def test_a_variable_that_nothing_reads_is_to_be_looked_at(
    good: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLKD_JUDGE_MAXTOKENS", "5")
    assert "RLKD_JUDGE_MAXTOKENS is set, but" in lines("look", checked(0))[0]


def test_the_last_line_says_what_the_status_says(good: Loopback) -> None:
    assert "rewards would" not in checked(0)
    good.always("judge", worded(lambda yes: said("yes" if yes else "no")))
    assert checked(0).splitlines()[-1].startswith("rewards would be right")
    good.always("judge", verdict(0.9))
    assert checked(1).splitlines()[-1].startswith("rewards would be wrong: correct what is marked")


def test_both_ways_of_asking_are_checked(good: Loopback, options: SetOptions) -> None:
    options(judge_swap="true")

    def judge(asked: Asked) -> Any:
        both = {frozenset((pair.teacher, pair.student)) for pair in PAIRS if pair.match}
        yes = is_probe(asked) or frozenset(asked.texts) in both
        return verdict(0.9 if yes else 0.1)(asked)

    good.always("judge", judge)
    output = checked(0)
    assert "9 of 9 verdicts as expected, by logprob" in output and lines("look", output) == []
    assert len(good.of("judge")) == 1 + 2 * len(PAIRS)


# --- what stands between ---


def test_a_proxy_that_refuses_is_named(
    good: Loopback, options: SetOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server behind it is not reached, and the variable that names the proxy is told."""
    options(judge_base_url="http://judge.example:8002/v1", startup_patience=0.1)
    with serving(lambda *_: (403, {"error": "this host is not allowed"})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        output = checked(1)
    (wrong,) = lines("wrong", output)
    assert "HTTP_PROXY" in wrong and "judge.example" in wrong
    assert "steps of a two-step path" in output  # loopback is asked directly


def test_a_server_without_tls_is_named(good: Loopback, options: SetOptions) -> None:
    options(judge_base_url=good.url.replace("http:", "https:"), startup_patience=0.1)
    (wrong,) = lines("wrong", checked(1))
    assert "RLKD_JUDGE_BASE_URL" in wrong and "http://" in wrong


# --- texts that a server refuses ---


def test_a_judge_that_refuses_each_text_is_named(good: Loopback) -> None:
    good.always("judge", after_probe(status(400, "messages must alternate, " + "x" * 200)))
    (wrong,) = lines("wrong", checked(1))
    assert "9 of 9 verdicts are unreadable: the judge's server rejects the request" in wrong
    assert "messages must alternate" in wrong and wrong.endswith("; see its log")


def test_a_further_key_that_no_text_survives_is_named(good: Loopback, options: SetOptions) -> None:
    options(gsrm_body='{"lora": "lora-secret"}')
    good.always("gsrm", after_probe(status(422, "no such adapter")))
    (wrong,) = lines("wrong", checked(1))
    assert "rejects all 4 paths" in wrong and "no such adapter" in wrong
    assert "check `lora` of RLKD_GSRM_BODY" in wrong and "lora-secret" not in wrong
