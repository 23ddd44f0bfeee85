"""Completions scored while their structure is written: the rewards of whole structures."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType

import pytest

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.draft import Draft, StreamingEngine
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.trace import replay, trace_row
from rlkd_plugin.gsrm import (
    EndpointError,
    Field,
    FormatError,
    Step,
    Structure,
    StructuredReward,
    parse_structure,
    render_structure,
)
from tools.stand_ins.structure_texts import mutate

Ask = tuple[Field, str, str]


def structure(name: str, steps: int = 3, final: str = "4") -> Structure:
    return Structure(
        tuple(Step(f"{name}M{i}", f"{name}Q{i}", f"{name}A{i}") for i in range(1, steps + 1)), final
    )


class WritingEngine:
    """Writes the structure that a path names, in parts; matches all but what a test says.

    Attributes:
        replies: the texts that are written for a path, one after another: those before the last
            are given up where they hold no whole step.
        gate: waits before a part of a text is written.
        ask_gate: waits before a verdict.
        written: how many characters were written for a path.
        begun: paths whose writing was begun.
        closed: paths whose writing was ended from outside.
        judged: what was asked, and what was given up.
    """

    name = "writing"
    streams = True

    def __init__(self, replies: dict[str, list[str]], size: int = 4) -> None:
        self.usage = Usage()
        self.facts = {"engine": self.name}
        self.replies = replies
        self.size = size
        self.gate: Callable[[str, str], Awaitable[None]] = self._pass
        self.ask_gate: Callable[[Ask], Awaitable[None]] = self._pass
        self.unmatched: set[str] = set()
        self.written: dict[str, int] = {}
        self.begun: list[str] = []
        self.closed: list[str] = []
        self.asked: list[Ask] = []
        self.given_up: list[Ask] = []

    async def _pass(self, *about: object) -> None:
        await asyncio.sleep(0)

    async def __aenter__(self) -> "WritingEngine":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def probe(self) -> None:
        return None

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        return await self.decompose_into(Draft(), problem, domain, path)

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        self.begun.append(path)
        for text in self.replies.get(path) or [render_structure(structure(path))]:
            draft.restart()
            self.written[path] = 0
            try:
                for start in range(0, len(text), self.size):
                    await self.gate(path, text[:start])
                    draft.add(text[start : start + self.size])
                    self.written[path] = min(len(text), start + self.size)
            except asyncio.CancelledError:
                self.closed.append(path)
                raise
            try:
                return Decomposition(parse_structure(text))
            except FormatError:
                continue
        return Decomposition(None, "undecomposable")

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        ask = (field, teacher, student)
        self.asked.append(ask)
        try:
            await self.ask_gate(ask)
        except asyncio.CancelledError:
            self.given_up.append(ask)
            raise
        return Verdict(student not in self.unmatched, "text")


def sample(path: str, steps: int = 3, teacher: str = "t") -> Sample:
    text = render_structure(structure(teacher, steps)) if steps else ""
    return Sample(f"<think>{path}</think>4", "p", "math", "", text)


def scored(engine: WritingEngine, *samples: Sample) -> list[Score]:
    async def work() -> list[Score]:
        before = asyncio.all_tasks()
        scores = await asyncio.wait_for(score_batch(samples, engine), 20)
        assert asyncio.all_tasks() <= before | {asyncio.current_task()}
        return scores

    return asyncio.run(work())


def whole(path: str) -> str:
    """Return the text that is written for a path unless a test says another."""
    return render_structure(structure(path))


def at_once(text: str, tag: str) -> range:
    """Return how much is written where a tag ends it: the tag, and what cancelling takes."""
    end = text.index(tag) + len(tag)
    return range(end, end + 5)


def test_the_engine_is_one_that_streams() -> None:
    assert isinstance(WritingEngine({}), StreamingEngine)


def test_a_meta_reasoning_is_judged_while_its_step_is_written() -> None:
    """M_2 is asked before Q_2 is there; Q_1 and A_1 before that."""
    engine = WritingEngine({}, size=1)
    seen: dict[str, str] = {}

    async def gate(path: str, text: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        for _, _, student in engine.asked:
            seen.setdefault(student, text)

    engine.gate = gate
    scored(engine, sample("s"))
    assert seen["sM1"].endswith("[Sub-problem 1]: ")
    assert seen["sQ1"] == seen["sA1"] and seen["sQ1"].endswith("[Meta-reasoning 2]: ")
    assert seen["sM2"].endswith("[Sub-problem 2]: ")


@pytest.mark.parametrize("step", [2, 3])
def test_a_differing_meta_reasoning_ends_the_writing_at_once(step: int) -> None:
    engine = WritingEngine({}, size=1)
    engine.unmatched = {f"sM{step}"}

    async def slowly(path: str, text: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    engine.gate = slowly
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(step - 1.0, (*[1.0] * (step - 1), 0.0))
    assert engine.closed == ["s"]
    text = whole("s")
    assert text.index(f"[Sub-problem {step}]") < engine.written["s"] < text.index(f"sQ{step}") + 8
    steps = structure("s", step - 1, final="")
    assert score.student == Decomposition(steps, stopped_early=True, unfinished=(f"sM{step}",))
    # M_1 and three a step
    assert len(score.verdicts) == 3 * step - 2


def test_the_first_step_is_read_whole_whatever_its_meta_reasoning_is() -> None:
    """A step that breaks makes the text no structure; from A_1 on nothing can change."""
    engine = WritingEngine({}, size=1)
    engine.unmatched = {"sM1"}
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(0.0, (0.0,))
    assert (score.student.structure, score.student.unfinished) == (structure("s", 1, ""), ())
    assert engine.written["s"] in at_once(whole("s"), "[Meta-reasoning 2]: ")
    assert [field for field, *_ in engine.asked] == ["meta_reasoning"]


def test_the_teachers_last_step_ends_the_writing() -> None:
    """Before the verdicts on it are there."""
    engine = WritingEngine({"s": [render_structure(structure("s", 9))]}, size=1)
    written: list[int] = []

    async def late(ask: Ask) -> None:
        for _ in range(300):
            await asyncio.sleep(0)
        written.append(engine.written["s"])

    engine.ask_gate = late
    (score,) = scored(engine, sample("s", steps=1))
    assert score.reward == StructuredReward(1.0, (1.0,))
    assert score.student.stopped_early and not score.student.unfinished
    text = engine.replies["s"][0]
    assert max(written) == engine.written["s"]
    assert engine.written["s"] in at_once(text, "[Meta-reasoning 2]: ")


def test_without_a_teacher_one_step_is_enough() -> None:
    """It says that the student has a structure, which is counted."""
    engine = WritingEngine({}, size=1)
    (score,) = scored(engine, Sample("<think>s</think>", "p", "math", "?"))
    assert (score.reward, score.student.status) == (None, "ok")
    assert score.student.structure == structure("s", 1, "")
    assert engine.asked == [] and engine.closed == ["s"]


@pytest.mark.parametrize("unmatched", ["", "sM1", "sM3"])
def test_a_final_answer_that_is_being_written_is_read(unmatched: str) -> None:
    """It is short, and the trace shows it."""
    engine = WritingEngine({}, size=1)
    engine.unmatched = {unmatched}

    async def at_the_end(ask: Ask) -> None:
        while "So the final answer is" not in whole("s")[: engine.written["s"]]:
            await asyncio.sleep(0)

    engine.ask_gate = at_the_end
    (score,) = scored(engine, sample("s"))
    assert score.student == Decomposition(structure("s"))
    assert engine.closed == []


def test_a_model_that_writes_on_behind_its_final_answer_is_stopped() -> None:
    engine = WritingEngine({"s": [whole("s") + " and" * 1000]}, size=1)
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert score.student == Decomposition(structure("s", final=""), stopped_early=True)
    assert len(whole("s")) + 400 < engine.written["s"] < len(whole("s")) + 600


def test_a_step_that_breaks_leaves_no_question_behind() -> None:
    """M_2 was asked while Q_2 was awaited, which never came: the verdict is given up."""
    engine = WritingEngine(
        {
            "s": [
                whole("s").partition("[Sub-problem 2]: ")[0]
                + "[Sub-problem 2]:\n\n"
                + "[Answer 2]: x"
            ]
        }
    )

    async def never(ask: Ask) -> None:
        if ask[2] == "sM2":
            await asyncio.Event().wait()

    engine.ask_gate = never
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(1.0, (1.0,))
    assert [question.student for question, _ in score.verdicts] == ["sM1", "sQ1", "sA1"]
    assert engine.given_up == [("meta_reasoning", "tM2", "sM2")]


def test_a_question_that_another_completion_waits_for_is_not_given_up() -> None:
    broken = whole("s").partition("[Sub-problem 2]: ")[0] + "[Sub-problem 2]:\n\n[Answer 2]: x"
    engine = WritingEngine({"a": [whole("s")], "b": [broken]})
    opened = asyncio.Event()

    async def gate(ask: Ask) -> None:
        if ask[2] == "sM2":
            await asyncio.wait_for(opened.wait(), 5)

    async def slowly(path: str, text: str) -> None:
        await asyncio.sleep(0)
        if path == "a" and "[Answer 3]" in text:
            opened.set()  # the other one has long ended

    engine.gate, engine.ask_gate = slowly, gate
    first, second = scored(engine, sample("a"), sample("b"))
    assert first.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert second.reward == StructuredReward(1.0, (1.0,))
    assert engine.given_up == []


def test_a_reply_that_is_repeated_is_read_anew() -> None:
    """What was read of the first one counts no more, nor what was judged of it."""
    engine = WritingEngine(
        {"s": ["[Meta-reasoning 1]: other\n[Sub-problem 1]: no answer", whole("s")]}
    )
    engine.unmatched = {"other"}

    async def slowly(path: str, text: str) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    engine.gate = slowly
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert ("meta_reasoning", "tM1", "other") in engine.asked
    assert next(question.student for question, _ in score.verdicts) == "sM1"


def test_equal_completions_share_one_writing() -> None:
    engine = WritingEngine({}, size=1)
    engine.unmatched = {"sM2"}
    first, second = scored(engine, sample("s"), sample("s"))
    assert first.student is second.student
    assert engine.closed == ["s"]


def test_one_path_beside_two_teachers_is_written_once_as_long_as_one_needs_it() -> None:
    engine = WritingEngine({}, size=1)

    async def gate(path: str, text: str) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    engine.gate = gate
    first, second = scored(engine, sample("s"), sample("s", steps=1, teacher="u"))
    assert first.reward == StructuredReward(3.0, (1.0, 1.0, 1.0))
    assert second.reward == StructuredReward(1.0, (1.0,))
    assert (first.student.stopped_early, second.student.stopped_early) == (False, True)
    assert engine.closed == [] and engine.begun == ["s"]


def test_the_teachers_own_path_is_read_whole_for_both() -> None:
    engine = WritingEngine({})
    (score,) = scored(engine, Sample("<think>t</think>", "p", "math", "<think>t</think>"))
    assert score.student is score.teacher
    assert not score.student.stopped_early


def test_what_is_clipped_says_so_also_where_it_was_stopped() -> None:
    engine = WritingEngine({}, size=1)
    engine.unmatched = {"longM2"}
    batch = score_batch([sample("long")], engine, max_chars=3)
    (score,) = asyncio.run(asyncio.wait_for(batch, 20))
    assert score.student.stopped_early and score.student.clipped


def test_an_error_of_the_writing_ends_the_batch_before_the_teacher_is_there() -> None:
    engine = WritingEngine({})

    async def gate(path: str, text: str) -> None:
        if path == "teacher":
            await asyncio.Event().wait()
        raise EndpointError("no server")

    engine.gate = gate
    with pytest.raises(EndpointError, match="no server"):
        scored(engine, Sample("<think>s</think>", "p", "math", "teacher"))


class Coins(WritingEngine):
    """Writes at a random pace, and judges by a coin that depends on the texts alone."""

    def __init__(self, seed: int, replies: dict[str, list[str]], streams: bool) -> None:
        super().__init__(replies)
        self.streams = streams
        self.dice = random.Random(seed)
        self.size = self.dice.choice([1, 3, 16, 100, 5000])
        self.pace, self.ask_pace = self.dice.choice([0, 1, 9]), self.dice.choice([1, 9, 99])

    async def _pass(self, *about: object) -> None:
        for _ in range(self.dice.randint(0, self.pace)):
            await asyncio.sleep(0)

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        self.asked.append((field, teacher, student))
        for _ in range(self.dice.randint(0, self.ask_pace)):
            await asyncio.sleep(0)
        return Verdict(random.Random(f"{field}{teacher}{student}").random() < 0.75, "text")


def texts_of(dice: random.Random) -> list[str]:
    """Return replies to one path: good ones, broken ones, and such that are repeated."""
    good = render_structure(structure(dice.choice("abc"), dice.randint(1, 5)))
    at = dice.randint(0, len(good))
    return dice.choice(
        [
            [good],
            [good[:at]],
            [good[:at], good],
            [good[:at] + mutate(dice)[:200] + good[at:]],
            [mutate(dice)[:3000]],
            [mutate(dice)[:500], good],
            ["Here it is:\n" + good],
            [good.replace("[Answer 1]", "[Answer 7]"), "prose"],
            [good + "\n\n" + good],
        ]
    )


@pytest.mark.parametrize("seed", range(40))
def test_rewards_are_those_of_whole_structures(seed: int) -> None:
    """With the same status and verdicts, whatever the text, the pace and the teacher are."""
    dice = random.Random(seed)
    replies = {f"s{number}": texts_of(dice) for number in range(12)}
    samples = [sample(path, steps=dice.randint(0, 4)) for path in replies]
    samples += dice.sample(samples, 3)
    streamed = scored(Coins(seed, replies, streams=True), *samples)
    wholes = scored(Coins(seed, replies, streams=False), *samples)
    for score, other in zip(streamed, wholes, strict=True):
        assert_same(score, other)


def assert_same(score: Score, other: Score) -> None:
    """Compare with the score of the whole structure."""
    assert score.student.status == other.student.status
    assert (score.reward and score.reward.total) == (other.reward and other.reward.total)
    if not score.student.stopped_early:
        assert score == other
        return
    assert score.student.structure and other.student.structure
    known = [*score.student.structure.fields, *score.student.unfinished]
    steps = len(score.student.structure.steps)
    assert other.student.structure.steps[:steps] == score.student.structure.steps
    if list(other.student.structure.fields[: len(known)]) == known:
        assert (score.reward, score.verdicts) == (other.reward, other.verdicts)
    else:  # the step that ended the walk was never whole: it is no step of the whole structure
        assert score.reward and other.reward and score.reward.steps[:-1] == other.reward.steps
        assert score.verdicts[:-1] == other.verdicts
    row = trace_row(score, None)
    assert replay(row) == score.reward


def test_the_random_batches_have_rewards_of_all_kinds() -> None:
    stopped, totals = 0, set()
    for seed in range(40):
        dice = random.Random(seed)
        replies = {f"s{number}": texts_of(dice) for number in range(12)}
        samples = [sample(path, steps=dice.randint(0, 4)) for path in replies]
        for score in scored(Coins(seed, replies, streams=True), *samples):
            stopped += score.student.stopped_early
            totals.add(score.reward and score.reward.total)
    assert stopped > 50 and {None, 0.0, 1.0, 2.0} < totals
