"""Several branches of a teacher: the best reward counts, and no question is asked in vain."""

import asyncio
import os
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import pytest

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.branches import BranchOutcome
from rlkd_plugin.engines.draft import Draft
from rlkd_plugin.engines.reward_scale import PAPER, RewardScale
from rlkd_plugin.engines.scoring import Branch, BranchText, Sample, Score, score_batch
from rlkd_plugin.engines.tally import branch_metrics, metrics_of, reward_of
from rlkd_plugin.engines.trace import parse_row, replay, trace_row
from rlkd_plugin.gsrm import (
    EndpointError,
    Field,
    Step,
    Structure,
    StructuredReward,
    Walk,
    parse_structure,
    render_structure,
    structured_reward,
)

Ask = tuple[Field, str, str]
CASES = int(os.environ.get("BRANCH_CASES", "100"))
"""Random cases of each seed; a hundred times as many take minutes."""
SCALES = [RewardScale(s, e) for s in ("steps", "teacher") for e in ("ignore", "divide")]


def structure(name: str, steps: int) -> Structure:
    """A structure whose texts say where they stand: `aM1`, `aQ1`, `aA1`, `aM2` ..."""
    return Structure(
        tuple(Step(f"{name}M{i}", f"{name}Q{i}", f"{name}A{i}") for i in range(1, steps + 1)), "4"
    )


OK = Decomposition(structure("t", 1))


@dataclass
class CoinEngine:
    """Answers by chance, each question after a random while.

    Attributes:
        draw: of verdicts, delays and the parts of a text.
        structures: by path.
        writes: whether the student's structure is shown while it is written.
        likely: probability of a match.
        known: the verdicts that were given.
        asked: each question, with the verdicts that were known then.
        decomposed: paths, each as often as it was asked for.
    """

    draw: random.Random
    structures: dict[str, Structure | None]
    writes: bool = False
    likely: float = 0.6
    known: dict[Ask, bool] = field(default_factory=dict)
    asked: list[tuple[Ask, dict[Ask, bool]]] = field(default_factory=list)
    decomposed: list[str] = field(default_factory=list)
    name: str = "coin"
    usage: Usage = field(default_factory=Usage)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def streams(self) -> bool:
        return self.writes

    async def __aenter__(self) -> "CoinEngine":
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
        self.decomposed.append(path)
        await self.wait()
        found = self.structures[path]
        return Decomposition(found, "ok" if found else "undecomposable")

    async def decompose_into(
        self, draft: Draft, problem: str, domain: str, path: str
    ) -> Decomposition:
        self.decomposed.append(path)
        found = self.structures[path]
        if found is None:
            return Decomposition(None, "undecomposable")
        text = render_structure(found)
        draft.restart()
        while text:
            await self.wait()
            size = self.draw.randint(1, 40)
            draft.add(text[:size])
            text = text[size:]
        return Decomposition(parse_structure(render_structure(found)))

    def match(self, field: Field, teacher: str, student: str) -> Coroutine[Any, Any, Verdict]:
        ask: Ask = (field, teacher, student)
        self.asked.append((ask, dict(self.known)))
        return self.answer(ask)

    async def answer(self, ask: Ask) -> Verdict:
        verdict = self.draw.random() < self.likely
        await self.wait()
        self.known[ask] = verdict
        return Verdict(verdict, "text")

    async def wait(self) -> None:
        for _ in range(self.draw.randint(0, 3)):
            await asyncio.sleep(0)


class SameTexts(CoinEngine):
    """Texts match where they are equal."""

    def __init__(self, structures: dict[str, Structure | None]) -> None:
        super().__init__(random.Random(1), structures)

    async def answer(self, ask: Ask) -> Verdict:
        return Verdict(ask[1] == ask[2], "text")


def sample(branches: list[str], student: str = "s") -> Sample:
    first, *others = branches
    more = tuple(map(BranchText, others))
    return Sample(f"<think>{student}</think>4", "p", "math", first, None, more)


def scored(engine: CoinEngine, one: Sample, scale: RewardScale = PAPER) -> Score:
    (score,) = asyncio.run(score_batch([one], engine, scale=scale))
    return score


def total(score: Score) -> float:
    assert score.reward is not None
    return score.reward.total


def value(
    teacher: Structure,
    student: Structure,
    verdicts: dict[Ask, bool],
    other: bool,
    scale: RewardScale,
) -> float:
    """A branch's reward by Algorithm 1; what has no verdict is answered by `other`."""
    found = structured_reward(teacher, student, lambda *ask: verdicts.get(ask, other))
    return scale.reward(found.total, len(teacher.steps), len(student.steps))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("writes", [False, True], ids=["whole", "streamed"])
def test_the_reward_is_the_highest_and_every_question_could_matter(seed: int, writes: bool) -> None:
    draw = random.Random(f"{seed}{writes}")
    for _ in range(CASES):
        names = ["a", "b", "c", "d"][: draw.randint(1, 4)]
        teachers = {name: structure(name, draw.randint(1, 4)) for name in names}
        student = structure("s", draw.randint(1, 5))
        scale = draw.choice(SCALES)
        likely = draw.choice([0.3, 0.6, 0.9])
        engine = CoinEngine(draw, {**teachers, "s": student}, writes, likely)
        score = scored(engine, sample(names), scale)
        found = reward_of(score, False, scale, "score")
        # whatever was not asked may be answered either way: the reward does not depend on it
        for other in (False, True):
            values = [value(one, student, engine.known, other, scale) for one in teachers.values()]
            assert found == values[score.branch] == max(values)
        for ask, known in engine.asked:
            # a student that is being written may end with the step that is asked about, or later
            asked_about = int(ask[2].removeprefix("s")[1:])
            ends = range(asked_about, 6) if writes else [len(student.steps)]
            assert any(
                could_matter(ask, known, teachers, structure("s", end), scale) for end in ends
            )


def could_matter(
    ask: Ask,
    known: dict[Ask, bool],
    teachers: dict[str, Structure],
    student: Structure,
    scale: RewardScale,
) -> bool:
    """Say whether its verdict changes the reward where its branch else goes as well as it can.

    The other branches go as badly as they can. Every text names its branch: none is shared.
    """
    own = ask[1][0]

    def reward(verdict: bool) -> float:
        told = {**known, ask: verdict}
        return max(
            value(teacher, student, told, name == own, scale) for name, teacher in teachers.items()
        )

    return reward(True) != reward(False)


def test_a_student_on_either_plan_earns_the_same_with_two_branches() -> None:
    plans: dict[str, Structure | None] = {"a": structure("a", 3), "b": structure("b", 3)}
    for student in "ab":
        engine = SameTexts({**plans, "s": plans[student]})
        assert total(scored(engine, sample(["a", "b"]))) == 3.0  # 1 + 1 + 1
    engine = SameTexts({**plans, "s": plans["b"]})
    assert total(scored(engine, sample(["a"]))) == 0.0  # aM1 is not bM1


def test_a_question_that_branches_share_is_asked_once() -> None:
    same = Step("how", "what", "two")
    one = Structure((same, Step("then", "which", "three")))
    other = Structure((same, Step("else", "which", "four")))
    student = Structure((Step("sHow", "sWhat", "sTwo"), Step("sThen", "sWhich", "sThree")))
    engine = CoinEngine(random.Random(1), {"a": one, "b": other, "s": student}, likely=1.0)
    scored(engine, sample(["a", "b"]))
    asked = [ask for ask, _ in engine.asked]
    assert len(asked) == len(set(asked))
    assert ("meta_reasoning", "how", "sHow") in asked
    assert engine.decomposed.count("s") == 1


def test_a_branch_without_structure_takes_no_part() -> None:
    structures = {"a": None, "b": structure("b", 2), "c": None, "s": structure("s", 2)}
    engine = CoinEngine(random.Random(1), structures, likely=1.0)
    score = scored(engine, sample(["a", "b", "c"]))
    assert (score.branch, total(score)) == (1, 2.0)  # 1 + 1
    # the first branch has no structure: nothing is known of what it would have been worth
    assert set(map(tuple, branch_metrics([score], [2.0]).values())) == {(0.0,)}


def test_no_branch_with_a_structure_is_no_teacher() -> None:
    structures = {"a": None, "b": None, "s": structure("s", 2)}
    score = scored(CoinEngine(random.Random(1), structures), sample(["a", "b"]))
    assert score.reward is None and score.teacher.structure is None
    assert reward_of(score, False, PAPER, "score") is None


def test_a_branch_that_fails_ends_the_batch_without_the_others() -> None:
    structures: dict[str, Structure | None] = {"b": structure("b", 1), "s": structure("s", 1)}
    engine = OneBranchIsDown(structures)
    with pytest.raises(EndpointError, match="the server is down"):
        scored(engine, sample(["a", "b"]))
    assert engine.found == ["s"]  # nobody has waited for the branch b


class OneBranchIsDown(SameTexts):
    """The branch a cannot be decomposed, the branch b only after a long while."""

    def __init__(self, structures: dict[str, Structure | None]) -> None:
        super().__init__(structures)
        self.found: list[str] = []

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        if path == "a":
            raise EndpointError("the server is down")
        for _ in range(1000 if path == "b" else 1):
            await asyncio.sleep(0)
        self.found.append(path)
        return await super().decompose(problem, domain, path)


def test_a_step_that_has_begun_counts_where_its_meta_reasoning_matched() -> None:
    walk = Walk(structure("t", 2).steps)
    walk.read(["sM1", "sQ1", "sA1", "sM2"], is_whole=False)
    while questions := walk.questions():
        for question in questions:
            walk.answer(question, matched=question.field != "answer")
    # with one step 0.5; with two at least 0.5 + 0.25, as M2 matched, and at most 0.5 + 1
    assert walk.bounds() == [(0.0, 0.0), (0.5, 0.5), (0.75, 1.5)]


def test_fifty_branches_are_decomposed_once_each() -> None:
    names = [f"t{n}" for n in range(50)]
    structures: dict[str, Structure | None] = {name: structure(name, 2) for name in names}
    engine = SameTexts({**structures, "s": structures["t49"]})
    score = scored(engine, sample(names))
    assert (score.branch, total(score)) == (49, 2.0)  # 1 + 1
    assert sorted(engine.decomposed) == sorted([*names, "s"])


def test_the_gain_over_a_first_branch_that_was_asked() -> None:
    plans: dict[str, Structure | None] = {"a": structure("a", 2), "b": structure("b", 2)}
    engine = FirstBranchFails({**plans, "s": structure("s", 2)})
    score = scored(engine, sample(["a", "b"]))
    assert branch_metrics([score], [2.0]) == {
        "rlkd/other_branch": [1.0],
        "rlkd/branch_gain": [2.0],  # the first branch earns 0, the second 1 + 1
        "rlkd/branch_gain_at_most": [2.0],
    }


def test_a_completion_that_earns_nothing_as_it_was_cut_off_gains_nothing() -> None:
    plans: dict[str, Structure | None] = {"a": structure("a", 2), "b": structure("b", 2)}
    score = scored(FirstBranchFails({**plans, "s": structure("s", 2)}), sample(["a", "b"]))
    reward = reward_of(score, True, PAPER, "zero")
    assert branch_metrics([score], [reward]) == {
        "rlkd/other_branch": [1.0],
        "rlkd/branch_gain": [0.0],
        "rlkd/branch_gain_at_most": [0.0],
    }


def test_a_clipped_branch_counts_whoever_wins() -> None:
    """Two completions of a prompt, the second without a structure, share its four branches."""
    clipped = Decomposition(structure("c", 1), clipped=True)
    teachers = [Decomposition(None, "undecomposable"), *(OK for _ in range(2)), clipped]
    found = [replace(one) for one in teachers]  # four objects, as four decompositions are
    branches = tuple(Branch(one, BranchOutcome()) for one in found)
    reward = StructuredReward(1.0, (1.0,))
    scores = [
        Score(found[1], OK, reward, unreadable=True, branch=1, branches=branches),
        Score(found[1], Decomposition(None, "undecomposable"), unreadable=True),
    ]
    metrics = metrics_of(scores, [1.0, 0.0], [False, False])
    assert metrics["rlkd/clipped_teacher"] == [0.0, 0.0, 0.0, 1.0]
    assert metrics["rlkd/unreadable_structure"] == [1.0]  # of the one prompt


class FirstBranchFails(SameTexts):
    """Nothing matches the branch a, everything the others."""

    async def answer(self, ask: Ask) -> Verdict:
        return Verdict(not ask[1].startswith("a"), "text")


def test_the_gain_over_a_first_branch_that_nobody_asked_is_not_known() -> None:
    """The second branch is equal to the student's: it earns all, without a question."""
    plans: dict[str, Structure | None] = {"a": structure("a", 3), "b": structure("b", 3)}
    engine = SameTexts({**plans, "s": plans["b"]})
    score = scored(engine, sample(["a", "b"]))
    assert engine.asked == [] and (score.branch, total(score)) == (1, 3.0)
    # the first branch might have earned 0 or 3
    assert branch_metrics([score], [3.0])["rlkd/branch_gain"] == [0.0]
    assert branch_metrics([score], [3.0])["rlkd/branch_gain_at_most"] == [3.0]


def test_the_trace_names_the_winner_and_keeps_every_branch() -> None:
    plans: dict[str, Structure | None] = {"a": structure("a", 2), "b": structure("b", 2)}
    engine = FirstBranchFails({**plans, "s": structure("s", 2)})
    row = trace_row(scored(engine, sample(["a", "b"])), 2.0)
    assert row.branch == 1 and row.teacher == row.branches[1].teacher
    assert [branch.step_scores for branch in row.branches] == [(0.0,), (1.0, 1.0)]
    assert [(branch.least, branch.most) for branch in row.branches] == [(0.0, 0.0), (2.0, 2.0)]
    again = replay(row)
    assert again is not None and again.total == 2.0


def test_a_trace_of_before_has_one_branch() -> None:
    row = parse_row(b'{"teacher": {}, "student": {}, "reward": 1.0}')
    assert row is not None and row.branches == () and row.branch == 0 and not row.beyond_teacher


@pytest.mark.parametrize("writes", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("steps", "likely", "beyond"),
    [(1, 1.0, False), (2, 1.0, False), (3, 1.0, True), (4, 1.0, True), (4, 0.0, False)],
)
def test_beyond_the_teacher(writes: bool, steps: int, likely: float, beyond: bool) -> None:
    """Known as soon as the next step has begun; who left the teacher earlier is not beyond it."""
    structures: dict[str, Structure | None] = {"t": structure("t", 2), "s": structure("s", steps)}
    engine = CoinEngine(random.Random(steps), structures, writes, likely)
    score = scored(engine, sample(["t"]))
    assert score.beyond_teacher is beyond
    assert metrics_of([score], [1.0], [False])["rlkd/beyond_teacher"] == [float(beyond)]
    assert trace_row(score, 1.0).beyond_teacher is beyond


@pytest.mark.parametrize("writes", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("steps", "reward"),
    [
        (1, 1.0),  # one step of the teacher's two
        (2, 2.0),
        (4, 1.0),  # (1 + 1) * 2 / 4
    ],
)
def test_extra_steps_have_a_price(writes: bool, steps: int, reward: float) -> None:
    structures: dict[str, Structure | None] = {"t": structure("t", 2), "s": structure("s", steps)}
    engine = CoinEngine(random.Random(steps), structures, writes, likely=1.0)
    scale = RewardScale("steps", "divide")
    score = scored(engine, sample(["t"]), scale)
    assert reward_of(score, False, scale, "score") == reward
    assert reward_of(score, False, RewardScale("teacher", "divide"), "score") == reward / 2


@pytest.mark.parametrize(
    ("likely", "is_early"), [(0.0, True), (1.0, False)], ids=["nothing matches", "all match"]
)
def test_a_price_needs_all_steps_but_of_who_earns_nothing(likely: float, is_early: bool) -> None:
    """No number of steps makes 0 smaller; the long structure is stopped long before its end."""
    structures: dict[str, Structure | None] = {"t": structure("t", 2), "s": structure("s", 30)}
    engine = CoinEngine(random.Random(1), structures, writes=True, likely=likely)
    score = scored(engine, sample(["t"]), RewardScale("steps", "divide"))
    assert score.student.stopped_early is is_early
    assert score.student.structure is not None
    assert len(score.student.structure.steps) == (1 if is_early else 30)
    assert total(score) == (0.0 if is_early else 2.0)
