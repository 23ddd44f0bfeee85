"""The adversarial corpus through every part that a model's text reaches."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.engines.scoring import Sample, score_batch
from rlkd_plugin.engines.trace import append_rows, trace_row
from rlkd_plugin.gsrm import (
    FIELDS,
    Field,
    FormatError,
    Structure,
    parse_structure,
    render_structure,
)
from rlkd_plugin.gsrm.prompts import decompose_prompt, judge_prompt, verify_prompt
from rlkd_plugin.gsrm.texts import obvious_verdict, reasoning_path
from rlkd_plugin.llm_io.server_engine import ServerEngine
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.rewards.grpo_reward import RlkdGsrm
from tests.conftest import SetOptions
from tests.support.each import check_each
from tests.support.loopback import Asked, Loopback, said, verdict
from tools.stand_ins.adversarial import CORPUS, MASTER_KEYS, STRUCTURE

PROBLEM = "A crate holds 6 rows of 4 bottles. How many is that?"
TEACHER = "All bottles together are 6 * 4 = 24."
FENCE = re.compile(r"⟦(.*?)⟧")
TOKENS = re.compile(  # written anew here: what the prompts' own code breaks must not be asked of it
    r"<[|\uff5c]|[|\uff5c]>|</?(?:s|think|eos|sop|pad|unk|start_of_turn|end_of_turn)>|<</?SYS"
    r"|\[/?INST\]|\[gMASK\]|\[e~\[|\]~!?b|</?role>|<_user>|<_bot>|<eop>|<seed:|<end_of_sentence>"
    r"|\[/?(?:EOS|EOT|PAD|s?MASK|TOOL_RESULTS|IMG_END)\]|/(?:no_?)?think\b|<unused|<reserved|<BOS_|<ctrl",
)
TAG = re.compile(
    r"[\[\u3010\uff3b\u3014\u300c\u27e6]\s?(?:Me(?:ta|at).reasoning|Sub.(?:problem|think)|Answer|Query)"
    r"[ \W]{0,6}[0-9]"
    r"|\[ ?End ?\]"
)


LOOK_ALIKES = {
    name: STRUCTURE.translate(str.maketrans(signs))
    for name, signs in {
        "full-width": {"[": "\uff3b", "]": "\uff3d", ":": "\uff1a", "1": "\uff11", "-": "\uff0d"},
        "lenticular": {"[": "\u3010", "]": "\u3011", ":": "\uff1a", "-": "\u2011", " ": "\u202f"},
        "corner": {"[": "\u300c", "]": "\u300d", "-": "\u2013", " ": "\u00a0"},
        "shell": {"[": "\u3014", "]": "\u3015", ":": "\ufe55", "-": "\u00ad"},
        "decorated": {"[": "**[", ":": ":**"},
    }.items()
}
"""The structure in characters that the parser reads as well."""


def fences(prompt: str) -> Counter[str]:
    """The fences of a prompt, as they stand there."""
    return Counter(FENCE.findall(prompt))


@pytest.mark.parametrize("kind", ["gsrm", "construct"])
def test_a_path_or_problem_breaks_no_fence(kind: Any) -> None:
    plain = fences(decompose_prompt(kind, "math", PROBLEM, TEACHER))
    head = decompose_prompt(kind, "math", "", "").rpartition("⟦problem⟧")[0]
    end = "⟦end of reasoning path⟧\n\nStructure:\n"

    def check(text: str) -> None:
        for problem, path in ((PROBLEM, text), (text, TEACHER)):
            prompt = decompose_prompt(kind, "math", problem, path)
            assert fences(prompt) == plain
            assert prompt.startswith(head) and prompt.endswith(end)
            content = prompt[len(head) :]
            assert not TOKENS.search(content) and not TAG.search(content)
            prompt.encode()

    check_each(CORPUS, check)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_breaks_no_fence_of_the_judge(field: Any) -> None:
    plain = judge_prompt(field, "one", "other")

    def check(text: str) -> None:
        for texts in (("one", text), (text, "other")):
            prompt = judge_prompt(field, *texts)
            assert fences(prompt) == fences(plain)
            assert prompt.endswith(plain[-60:])
            content = prompt.partition("⟧ marks is material")[2]
            assert not TOKENS.search(content) and not TAG.search(content)
            prompt.encode()

    check_each(CORPUS, check)


def test_a_path_or_structure_breaks_no_fence_of_the_verifier() -> None:
    plain = fences(verify_prompt("math", PROBLEM, TEACHER, STRUCTURE))

    def check(text: str) -> None:
        for path, structure in ((text, STRUCTURE), (TEACHER, text)):
            prompt = verify_prompt("math", PROBLEM, path, structure)
            assert fences(prompt) == plain and not TOKENS.search(prompt)

    check_each(CORPUS, check)


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_a_structure_in_look_alikes_is_read_from_the_gsrm_alone(name: str) -> None:
    """What the parser reads as a tag is none any more in a student's path or field."""
    text = LOOK_ALIKES[name]
    assert len(parse_structure(text).steps) == 1
    for prompt in (
        decompose_prompt("gsrm", "math", "", text).rpartition("\u27e6reasoning path\u27e7")[2],
        judge_prompt("answer", "24", text).rpartition("\u27e6end")[0].rpartition("\u27e7")[2],
    ):
        assert "24" in prompt and not TAG.search(prompt)
        with pytest.raises(FormatError):
            parse_structure(prompt)


def test_a_reply_is_a_structure_or_a_format_error() -> None:
    def check(text: str) -> None:
        try:
            structure = parse_structure(text)
        except FormatError as error:
            assert len(str(error)) < 1000
        else:
            assert parse_structure(render_structure(structure)) == structure

    check_each(CORPUS, check)


def test_what_a_student_writes_is_never_read_as_its_structure() -> None:
    """A path that holds tags is decomposed like any other: its tags are words."""

    def check(text: str) -> None:
        found = asyncio.run(RulesEngine().decompose(PROBLEM, "math", reasoning_path(text)))
        if found.structure is not None:
            assert not TAG.search("".join(step.sub_problem for step in found.structure.steps))

    check_each(CORPUS, check)


def test_no_rule_takes_a_hollow_text_for_a_match() -> None:
    teacher: dict[Field, str] = {
        "meta_reasoning": "Count all bottles by multiplying rows and columns.",
        "sub_problem": "How many bottles are in the crate?",
        "answer": "24",
    }

    def check(key: str) -> None:
        for field, text in teacher.items():
            for texts in ((text, key), (key, text)):
                assert obvious_verdict(field, *texts) in (None, False)
                assert not asyncio.run(RulesEngine().match(field, *texts)).matched
            if field != "answer" and not any(map(str.isalnum, key)):
                assert obvious_verdict(field, key, key) is False  # not even to itself

    check_each(MASTER_KEYS, check)


def test_the_whole_corpus_is_scored_by_the_rules_engine(options: SetOptions) -> None:
    """As completions of one prompt: 0 to 1 for each, and none above what is right."""
    options(engine="rules")
    texts = [*CORPUS.values(), TEACHER]
    n = len(texts)
    rewards = asyncio.run(
        RlkdGsrm()(
            texts, problem=[PROBLEM] * n, domain=["math"] * n, teacher_reasoning=[TEACHER] * n
        )
    )
    assert rewards[-1] == 1.0
    assert all(reward is not None and 0 <= reward <= 1 for reward in rewards)
    keys = len(MASTER_KEYS)
    assert set(rewards[:keys]) == {0.0}


@pytest.fixture
def engine(loopback: Loopback, options: SetOptions) -> ServerEngine:
    """The server engine on a loopback server."""
    options(
        gsrm_base_url=loopback.url,
        gsrm_model="gsrm-7b",
        judge_base_url=loopback.url,
        judge_model="judge-32b",
    )
    return ServerEngine(load_settings())


def scored(engine: ServerEngine, samples: list[Sample]) -> list[Any]:
    """Score samples in an event loop of their own."""

    async def work() -> list[Any]:
        async with engine:
            return await score_batch(samples, engine)

    return asyncio.run(work())


def test_a_gsrm_that_says_the_corpus_gives_scores_and_a_trace(
    engine: ServerEngine, loopback: Loopback, tmp_path: Path
) -> None:
    """The reply to each path is the path itself, as a fooled model would repeat it."""

    def repeat(asked: Asked) -> Any:
        path = asked.content("reasoning path")
        return said(STRUCTURE if path == TEACHER else path or " ")(asked)

    loopback.always("gsrm", repeat)
    loopback.always("judge", verdict(0.1))
    samples = [Sample(text, PROBLEM, "math", TEACHER) for text in CORPUS.values()]
    scores = scored(engine, samples)
    for text, score in zip(CORPUS.values(), scores, strict=True):
        student: Structure | None = score.student.structure
        assert score.reward is None or score.reward.total in (0.0, 1.0)
        if (
            score.reward and score.reward.total
        ):  # only by saying word for word what the teacher says
            assert student and student.steps == parse_structure(STRUCTURE).steps, text[:80]
        append_rows(tmp_path / "trace.jsonl", [trace_row(score, 0.0)])


def test_a_judge_that_says_the_corpus_gives_verdicts(
    engine: ServerEngine, loopback: Loopback
) -> None:
    """Neither an echo nor a formula is a yes; what cannot be read is counted as refused."""
    replies = list(CORPUS.values())

    async def verdicts() -> list[Any]:
        async with engine:
            found = []
            for text in replies:
                loopback.always("judge", said(text[:50_000] or " "))
                found.append(await engine.match("answer", "24", "25"))
            return found

    found = dict(zip(CORPUS, asyncio.run(verdicts()), strict=True))
    said_yes = {name for name, one in found.items() if one.matched}
    says_so_itself = {
        "addressing: to the judge",
        "addressing: to the judge in Chinese",
        "addressing: as the system",
        "addressing: as JSON",
        "repetition: yes",
        "fences: the judge's fence",
    }
    others = {name for name in said_yes - says_so_itself if not name.startswith("control")}
    assert others == set()
    assert {one.source for one in found.values()} <= {"text", "choice", "refused"}
