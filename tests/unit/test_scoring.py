"""Checks the scheduler of a batch: what is asked, how often, when, and what a failure leaves."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

import pytest

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.gsrm import EndpointError, Field, Step, Structure, StructuredReward

T = TypeVar("T")

Ask = tuple[Field, str, str]
NO_STRUCTURE = Decomposition(None, "undecomposable")


def structure(side: str, length: int = 2) -> Structure:
    """A structure whose texts say where they stand: `tM1`, `tQ1`, `tA1`, `tM2`, ..."""
    return Structure(
        tuple(Step(f"{side}M{i}", f"{side}Q{i}", f"{side}A{i}") for i in range(1, length + 1))
    )


async def nothing() -> None:
    """Let every other task go on once."""
    await asyncio.sleep(0)


class FakeEngine:
    """Decomposes "x..." into a structure of texts "xM1" ..., and matches all but `unmatched`.

    `wait_decompose` and `wait_match` are awaited inside each call, with the call's texts; they may
    block or raise.
    """

    name = "fake"

    def __init__(
        self,
        unmatched: frozenset[str] = frozenset(),
        decompositions: dict[str, Decomposition] | None = None,
        wait_decompose: Callable[[str], Awaitable[None]] | None = None,
        wait_match: Callable[[Ask], Awaitable[None]] | None = None,
    ) -> None:
        self.usage = Usage()
        self.unmatched = unmatched
        self.decompositions = decompositions or {}
        self.wait_decompose = wait_decompose
        self.wait_match = wait_match
        self.paths: list[tuple[str, str, str]] = []
        self.asked: list[Ask] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0

    async def __aenter__(self) -> "FakeEngine":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        self.paths.append((problem, domain, path))
        await self._in_flight(self.wait_decompose(path) if self.wait_decompose else nothing())
        return self.decompositions.get(path) or Decomposition(structure(path))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        ask: Ask = (field, teacher, student)
        self.asked.append(ask)
        await self._in_flight(self.wait_match(ask) if self.wait_match else nothing())
        return Verdict(student not in self.unmatched, "text")

    async def _in_flight(self, wait: Awaitable[None]) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await wait
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


class FakeCache:
    """A cache in memory that notes what it is asked; it counts its entries like a dict."""

    def __init__(self, entries: dict[tuple[str, str, str], Structure] | None = None) -> None:
        self.entries = dict(entries or {})
        self.gets: list[tuple[str, str, str]] = []

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, problem: str, domain: str, path: str) -> Structure | None:
        self.gets.append((problem, domain, path))
        return self.entries.get((problem, domain, path))

    def put(self, problem: str, domain: str, path: str, structure: Structure) -> None:
        self.entries[problem, domain, path] = structure


def sample(path: str, **changes: str | None) -> Sample:
    return replace(Sample(f"<think>{path}</think>4", "p", "math", "t"), **changes)


def scored(engine: FakeEngine, *samples: Sample, cache: FakeCache | None = None) -> list[Score]:
    return run(score_batch(samples, engine, cache))


def run(wanted: Awaitable[T]) -> T:
    """Run to the end, or fail after seconds in place of hanging."""

    async def limited() -> T:
        return await asyncio.wait_for(wanted, 10)

    return asyncio.run(limited())


def test_a_completion_is_scored_by_algorithm_1() -> None:
    engine = FakeEngine(unmatched=frozenset({"sQ1", "sM2"}))
    (score,) = scored(engine, sample("s"))
    # step 1: 1 * 0.5 for the sub-problem; step 2: its meta-reasoning ends the walk
    assert score.reward == StructuredReward(0.5, (0.5, 0.0))


def test_a_score_keeps_structures_and_verdicts() -> None:
    (score,) = scored(FakeEngine(unmatched=frozenset({"sM1"})), sample("s"))
    assert score.teacher == Decomposition(structure("t"))
    assert score.student == Decomposition(structure("s"))
    ((question, verdict),) = score.verdicts
    assert (question.number, question.field) == (1, "meta_reasoning")
    assert (question.teacher, question.student) == ("tM1", "sM1")
    assert verdict == Verdict(False, "text")


def test_verdicts_stand_in_the_order_of_algorithm_1() -> None:
    (score,) = scored(FakeEngine(), sample("s"))
    assert [(q.number, q.field) for q, _ in score.verdicts] == [
        (1, "meta_reasoning"),
        (1, "sub_problem"),
        (1, "answer"),
        (2, "meta_reasoning"),
        (2, "sub_problem"),
        (2, "answer"),
    ]


def test_the_engine_is_given_problem_domain_and_path() -> None:
    engine = FakeEngine()
    scored(engine, sample("s", problem="how many?", domain="puzzle"))
    assert sorted(engine.paths) == [("how many?", "puzzle", "s"), ("how many?", "puzzle", "t")]


def test_the_teacher_of_a_group_is_decomposed_once() -> None:
    engine = FakeEngine()
    scored(engine, *(sample(f"s{i}") for i in range(8)))
    assert [path for _, _, path in engine.paths].count("t") == 1


def test_identical_paths_are_decomposed_once() -> None:
    engine = FakeEngine()
    scored(engine, sample("s"), sample("s"), sample("s", completion="s</think>another answer"))
    assert [path for _, _, path in engine.paths].count("s") == 1


def test_identical_paths_to_other_problems_are_decomposed_again() -> None:
    engine = FakeEngine()
    scored(engine, sample("s"), sample("s", problem="q"))
    assert sorted(engine.paths) == [
        ("p", "math", "s"),
        ("p", "math", "t"),
        ("q", "math", "s"),
        ("q", "math", "t"),
    ]


def test_identical_questions_are_asked_once() -> None:
    engine = FakeEngine(
        decompositions={
            "a": Decomposition(Structure((Step("same", "q-a", "4"),))),
            "b": Decomposition(Structure((Step("same", "q-b", "4"),))),
        }
    )
    scored(engine, sample("a"), sample("b"))
    assert sorted(engine.asked) == [
        ("answer", "tA1", "4"),
        ("meta_reasoning", "tM1", "same"),
        ("sub_problem", "tQ1", "q-a"),
        ("sub_problem", "tQ1", "q-b"),
    ]


def test_the_same_texts_of_another_field_are_another_question() -> None:
    one_text = Decomposition(Structure((Step("same", "same", "same"),)))
    teacher = Decomposition(Structure((Step("other", "other", "other"),)))
    engine = FakeEngine(decompositions={"s": one_text, "t": teacher})
    scored(engine, sample("s"))
    assert [field for field, _, _ in engine.asked] == ["meta_reasoning", "sub_problem", "answer"]


def test_a_teacher_structure_column_is_used_without_a_call() -> None:
    engine = FakeEngine()
    text = "[Meta-reasoning 1]: m\n[Sub-problem 1]: q\n[Answer 1]: a"
    (score,) = scored(engine, sample("s", teacher_structure=text, teacher_reasoning=""))
    assert score.teacher == Decomposition(Structure((Step("m", "q", "a"),)))
    assert engine.paths == [("p", "math", "s")]


@pytest.mark.parametrize("column", ["", " \n", None])
def test_an_empty_teacher_structure_column_is_none(column: str | None) -> None:
    (score,) = scored(FakeEngine(), sample("s", teacher_structure=column))
    assert score.teacher == Decomposition(structure("t"))
    assert not score.unreadable


def test_a_broken_teacher_structure_column_falls_back_to_the_path() -> None:
    engine = FakeEngine()
    broken, whole = scored(engine, sample("s", teacher_structure="no structure"), sample("s"))
    assert broken.teacher == whole.teacher == Decomposition(structure("t"))
    assert (broken.unreadable, whole.unreadable) == (True, False)
    assert broken.reward == whole.reward
    assert sorted(path for _, _, path in engine.paths) == ["s", "t"]


@pytest.mark.parametrize("path", ["", "...", "</think>an answer"])
def test_a_broken_teacher_structure_column_without_a_path_gives_no_reward(path: str) -> None:
    engine = FakeEngine()
    (score,) = scored(engine, sample("s", teacher_structure="no structure", teacher_reasoning=path))
    assert (score.teacher, score.unreadable, score.reward) == (NO_STRUCTURE, True, None)
    assert engine.paths == [("p", "math", "s")]


def test_only_what_was_asked_of_a_model_says_so() -> None:
    """A path without reasoning, a structure of the column or of the cache was not."""
    text = "[Meta-reasoning 1]: m\n[Sub-problem 1]: q\n[Answer 1]: a"
    cache = FakeCache({("known", "math", "t"): structure("t")})
    ahead, cached, asked = scored(
        FakeEngine(),
        sample("...", teacher_structure=text),
        sample("s", problem="known"),
        sample("s", problem="new"),
        cache=cache,
    )
    assert (ahead.teacher.asked, ahead.student.asked) == (False, False)
    assert (cached.teacher.asked, cached.student.asked) == (False, True)
    assert (asked.teacher.asked, asked.student.asked) == (True, True)


def test_a_cached_teacher_is_not_decomposed() -> None:
    engine = FakeEngine()
    cache = FakeCache({("p", "math", "t"): structure("cached")})
    (score,) = scored(engine, sample("s"), cache=cache)
    assert score.teacher == Decomposition(structure("cached"))
    assert engine.paths == [("p", "math", "s")]


def test_a_decomposed_teacher_is_cached_also_in_an_empty_cache() -> None:
    cache = FakeCache()
    scored(FakeEngine(), sample("s"), cache=cache)
    assert cache.entries == {("p", "math", "t"): structure("t")}


def test_the_cache_is_asked_once_a_group_and_never_for_students() -> None:
    cache = FakeCache()
    scored(FakeEngine(), sample("a"), sample("b"), cache=cache)
    assert cache.gets == [("p", "math", "t")]


def test_a_teacher_without_structure_is_not_cached() -> None:
    cache = FakeCache()
    scored(FakeEngine(decompositions={"t": NO_STRUCTURE}), sample("s"), cache=cache)
    assert cache.entries == {}


def test_a_teacher_that_was_cut_is_used_and_not_cached() -> None:
    cache, cut = FakeCache(), Decomposition(structure("t", 1), cut=True)
    (score,) = scored(FakeEngine(decompositions={"t": cut}), sample("s"), cache=cache)
    assert score.teacher == cut
    # one whole step: all match, 1
    assert score.reward == StructuredReward(1.0, (1.0,))
    assert cache.entries == {}


@pytest.mark.parametrize(("max_chars", "clipped"), [(3, True), (4, False), (None, False)])
def test_a_cached_teacher_that_was_clipped_still_counts(
    max_chars: int | None, clipped: bool
) -> None:
    cache = FakeCache({("p", "math", "four"): structure("t")})
    batch = score_batch([sample("s", teacher_reasoning="four")], FakeEngine(), cache, max_chars)
    (score,) = run(batch)
    assert score.teacher == Decomposition(structure("t"), clipped=clipped)


def test_the_teachers_path_is_cut_out_of_its_text() -> None:
    engine = FakeEngine()
    scored(engine, sample("s", teacher_reasoning="<think>t</think>So it is 4."))
    assert ("p", "math", "t") in engine.paths


def test_equal_texts_match_without_a_call() -> None:
    engine = FakeEngine()
    (score,) = scored(engine, sample("t"))
    # two whole steps, all equal: 1 + 1
    assert score.reward == StructuredReward(2.0, (1.0, 1.0))
    assert engine.asked == []
    assert {verdict.source for _, verdict in score.verdicts} == {"rule"}


def test_a_meta_reasoning_without_a_word_is_unmatched_without_a_call() -> None:
    engine = FakeEngine(decompositions={"s": Decomposition(Structure((Step("...", "q", "a"),)))})
    (score,) = scored(engine, sample("s"))
    assert score.reward == StructuredReward(0.0, (0.0,))
    assert [verdict for _, verdict in score.verdicts] == [Verdict(False, "rule")]
    assert engine.asked == []


@pytest.mark.parametrize("completion", ["", "</think>", "</think>4", "...</think>4", "<think>\n"])
def test_a_completion_without_reasoning_costs_no_request(completion: str) -> None:
    engine = FakeEngine()
    cache = FakeCache({("p", "math", "t"): structure("t")})
    (score,) = scored(engine, sample("", completion=completion), cache=cache)
    assert (score.student, score.reward) == (NO_STRUCTURE, None)
    assert (engine.paths, engine.asked) == ([], [])


def test_a_teacher_without_reasoning_costs_no_request() -> None:
    engine = FakeEngine()
    (score,) = scored(engine, sample("s", teacher_reasoning=""))
    assert score.teacher == NO_STRUCTURE
    assert engine.paths == [("p", "math", "s")]


@pytest.mark.parametrize("status", ["undecomposable", "refused"])
@pytest.mark.parametrize("side", ["s", "t"])
def test_a_side_without_structure_is_not_judged(side: str, status: str) -> None:
    failed = Decomposition(None, status)  # type: ignore[arg-type]
    engine = FakeEngine(decompositions={side: failed})
    (score,) = scored(engine, sample("s"))
    assert {"s": score.student, "t": score.teacher}[side] == failed
    assert (score.reward, score.verdicts, engine.asked) == (None, [], [])


def test_scores_stand_in_the_order_of_the_samples() -> None:
    async def later_for_the_first(path: str) -> None:
        for _ in range({"a": 30, "b": 20}.get(path, 1)):
            await asyncio.sleep(0)

    engine = FakeEngine(wait_decompose=later_for_the_first)
    scores = scored(engine, sample("a"), sample("b"), sample("c"))
    assert [score.student.structure for score in scores] == [structure(path) for path in "abc"]


def test_an_empty_batch_has_no_scores() -> None:
    assert scored(FakeEngine()) == []


def test_all_decompositions_of_a_batch_are_in_flight_together() -> None:
    engine = FakeEngine()

    async def main() -> list[Score]:
        all_there = asyncio.Event()

        async def until_all_are_there(path: str) -> None:
            # eight students and their teacher, or nothing goes on
            if len(engine.paths) == 9:
                all_there.set()
            await all_there.wait()

        engine.wait_decompose = until_all_are_there
        return await score_batch([sample(f"s{i}") for i in range(8)], engine)

    assert len(run(main())) == 8


def test_a_step_is_judged_beside_the_next_meta_reasoning() -> None:
    engine = FakeEngine()
    scored(engine, sample("s"))
    # the first meta-reasoning, then three at once, then the last two
    assert engine.most_in_flight == 3


def test_a_completion_is_judged_while_another_is_being_decomposed() -> None:
    engine = FakeEngine()

    async def main() -> list[Score]:
        fast_is_judged = asyncio.Event()

        async def decompose(path: str) -> None:
            if path == "slow":
                await fast_is_judged.wait()

        async def match(ask: Ask) -> None:
            if ask == ("answer", "tA2", "fastA2"):
                fast_is_judged.set()

        engine.wait_decompose, engine.wait_match = decompose, match
        return await score_batch([sample("slow"), sample("fast")], engine)

    slow, fast = run(main())
    # both: two whole steps, 1 + 1
    assert slow.reward == fast.reward == StructuredReward(2.0, (1.0, 1.0))
    assert [student[:4] for _, _, student in engine.asked] == ["fast"] * 6 + ["slow"] * 6


async def _for_ever() -> None:
    await asyncio.Event().wait()


def end_by_an_error(engine: FakeEngine, *samples: Sample) -> None:
    """Score a batch that ends with an EndpointError, and check that it leaves nothing behind."""
    complaints: list[str] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
        before = asyncio.all_tasks()
        with pytest.raises(EndpointError, match="no server"):
            await score_batch(samples, engine)
        return len(asyncio.all_tasks() - before)

    assert run(main()) == 0
    assert engine.in_flight == 0
    gc.collect()
    assert complaints == []  # an exception that nobody fetched would be one


def test_an_error_in_a_decomposition_cancels_all_that_is_in_flight() -> None:
    async def decompose(path: str) -> None:
        if path == "bad":
            await nothing()
            raise EndpointError("no server")
        await _for_ever()

    engine = FakeEngine(wait_decompose=decompose)
    end_by_an_error(engine, sample("a"), sample("bad"), sample("b"))
    assert engine.cancelled == 3  # a, b and their teacher


def test_an_error_in_a_verdict_cancels_all_that_is_in_flight() -> None:
    async def decompose(path: str) -> None:
        if path == "never":
            await _for_ever()

    async def match(ask: Ask) -> None:
        if ask[0] == "answer":
            raise EndpointError("no server")
        if ask[0] == "sub_problem":
            await _for_ever()

    engine = FakeEngine(wait_decompose=decompose, wait_match=match)
    end_by_an_error(engine, sample("s"), sample("never"))
    assert engine.cancelled == 2  # a sub-problem, and "never"


def test_several_errors_at_once_end_as_one() -> None:
    async def match(ask: Ask) -> None:
        await nothing()
        if ask[0] != "meta_reasoning":
            raise EndpointError("no server")

    end_by_an_error(FakeEngine(wait_match=match), sample("a"), sample("b"), sample("c"))


def test_no_question_is_asked_after_an_error() -> None:
    async def decompose(path: str) -> None:
        if path == "bad":
            raise EndpointError("no server")
        await nothing()

    engine = FakeEngine(wait_decompose=decompose)
    end_by_an_error(engine, sample("bad"), sample("s"))
    assert engine.asked == []


def test_a_cancelled_batch_leaves_no_task() -> None:
    async def for_ever(path: str) -> None:
        await _for_ever()

    engine = FakeEngine(wait_decompose=for_ever)

    async def main() -> int:
        before = asyncio.all_tasks()
        batch = asyncio.ensure_future(score_batch([sample("a"), sample("b")], engine))
        while engine.in_flight < 3:
            await nothing()
        batch.cancel()
        with pytest.raises(asyncio.CancelledError):
            await batch
        return len(asyncio.all_tasks() - before)

    assert run(main()) == 0
    assert (engine.in_flight, engine.cancelled) == (0, 3)


def test_one_engine_serves_two_event_loops() -> None:
    engine = FakeEngine()
    assert scored(engine, sample("s")) == scored(engine, sample("s"))
    assert len(engine.paths) == 4  # nothing is kept in memory between two batches
