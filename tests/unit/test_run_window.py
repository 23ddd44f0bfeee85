"""Checks when a run ends by what its models refuse or do not decompose, over batches and ranks."""

import pickle
from collections.abc import Sequence
from itertools import count
from threading import Thread

import pytest

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.round_counts import RoundCounts, count_questions
from rlkd_plugin.engines.run_window import OwnRounds, RunWindow
from rlkd_plugin.engines.scoring import BranchText, Sample, Score
from rlkd_plugin.gsrm import (
    EndpointError,
    Question,
    RlkdError,
    Step,
    Structure,
    StructuredReward,
)

STRUCTURE = Structure((Step("m", "q", "a"),))
TEACHER = Decomposition(STRUCTURE, asked=False)


def students(fine: int = 0, undecomposable: int = 0, refused: int = 0) -> list[Score]:
    """Scores of so many students of each kind, each with a path of its own."""
    return [
        *(Score(TEACHER, Decomposition(STRUCTURE)) for _ in range(fine)),
        *(
            Score(TEACHER, Decomposition(None, "undecomposable", reply=f"Well, {n}"))
            for n in range(undecomposable)
        ),
        *(
            Score(TEACHER, Decomposition(None, "refused", reply=f"HTTP 400: long {n}"))
            for n in range(refused)
        ),
    ]


def judged(refused: int, fine: int) -> Score:
    """A score of a known student with so many verdicts."""
    verdicts = [
        (
            Question(number, "answer", "t", f"s {number}"),
            Verdict(False, "refused", reason="who knows") if number < refused else YES,
        )
        for number in range(refused + fine)
    ]
    return Score(TEACHER, TEACHER, StructuredReward(1.0, (1.0,)), verdicts)


YES = Verdict(True, "text")


def batches_until_the_end(*batch: Score, most: int = 200, window: RunWindow | None = None) -> int:
    """Return how many equal batches a run takes until it ends; 0 where it does not."""
    window = window or RunWindow()
    for number in range(1, most + 1):
        try:
            window.judge(batch)
        except EndpointError:
            return number
    return 0


class TestCounts:
    """What was asked of a model counts, once."""

    def test_kinds_are_told_apart(self) -> None:
        batch = students(fine=3, undecomposable=2, refused=1)
        counts = count_questions([*batch, judged(refused=1, fine=4)])
        # 6 decompositions and 5 verdicts; the teacher was known
        assert (counts.questions, counts.refused) == (11, 2)
        assert (counts.students, counts.undecomposable) == (5, 2)

    def test_what_completions_share_counts_once(self) -> None:
        counts = count_questions([judged(refused=1, fine=8)] * 8 + students(fine=1) * 8)
        assert (counts.questions, counts.refused, counts.students) == (10, 1, 1)

    def test_a_teacher_that_was_asked_counts(self) -> None:
        teachers = Decomposition(STRUCTURE), Decomposition(None, "refused")
        counts = count_questions([Score(t, TEACHER) for t in teachers])
        assert (counts.questions, counts.refused, counts.students) == (2, 1, 0)

    def test_what_no_model_was_asked_about_does_not(self) -> None:
        empty = Decomposition(None, "undecomposable", asked=False)
        by_rule = Verdict(False, "rule")
        score = Score(TEACHER, TEACHER, None, [(Question(1, "answer", "t", "s"), by_rule)])
        assert count_questions([Score(empty, empty), score]) == RoundCounts()

    def test_some_examples_are_kept_short(self) -> None:
        long = Decomposition(None, "undecomposable", reply="so\n " * 1000)
        counts = count_questions([*students(undecomposable=9), Score(TEACHER, long)])
        assert counts.replies[:2] == ("Well, 7", "Well, 8")
        assert len(counts.replies[2]) < 200 and "\n" not in counts.replies[2]

    def test_a_sum_keeps_the_newest_examples(self) -> None:
        one, other = RoundCounts(1, 1, refusals=("a", "b", "c")), RoundCounts(2, refusals=("d",))
        assert one + other == RoundCounts(3, 1, refusals=("b", "c", "d"))


class TestRefused:
    """More than 5% of the questions of a window."""

    @pytest.mark.parametrize(
        "batch",
        [
            pytest.param([], id="empty"),
            pytest.param(students(refused=8), id="all of a small first batch"),
            pytest.param(students(fine=6, refused=2), id="two of eight"),
            pytest.param([judged(refused=31, fine=0)], id="too few to be judged"),
            pytest.param([judged(refused=5, fine=95)], id="a twentieth"),
        ],
    )
    def test_the_run_goes_on(self, batch: Sequence[Score]) -> None:
        RunWindow().judge(batch)

    @pytest.mark.parametrize(
        ("batch", "share"),
        [
            pytest.param(students(refused=64), "64 of the last 64", id="all"),
            pytest.param([judged(refused=4, fine=60)], "4 of the last 64", id="4 of 64"),
            pytest.param([judged(refused=51, fine=949)], "51 of the last 1000", id="51 of 1000"),
            pytest.param(students(fine=500, refused=40), "40 of the last 540", id="paths"),
        ],
    )
    def test_a_large_batch_ends_it_at_once(self, batch: Sequence[Score], share: str) -> None:
        with pytest.raises(EndpointError, match=f"{share} questions.*5%"):
            RunWindow().judge(batch)

    def test_small_batches_end_it_soon(self) -> None:
        # all are refused: 4 batches of 8 are 32
        assert batches_until_the_end(*students(refused=8)) == 4
        # a quarter of them: 8 batches are 64 questions
        assert batches_until_the_end(*students(fine=6, refused=2)) == 8

    def test_a_rate_of_odd_texts_never_does(self) -> None:
        """One in 24 is refused, for ever."""
        assert batches_until_the_end(*students(fine=23, refused=1)) == 0

    def test_two_early_refusals_are_forgotten(self) -> None:
        window = RunWindow()
        window.judge(students(fine=6, refused=2))
        assert batches_until_the_end(*students(fine=8), window=window) == 0

    def test_a_server_that_breaks_down_late_ends_it_soon(self) -> None:
        window = RunWindow()
        assert batches_until_the_end(*students(fine=50), most=100, window=window) == 0
        # 51 of 1,000: the seventh batch of 8
        assert batches_until_the_end(*students(refused=8), window=window) == 7

    def test_the_error_shows_what_was_refused(self) -> None:
        batch = [judged(refused=40, fine=0), *students(refused=40)]
        with pytest.raises(EndpointError) as error:
            RunWindow().judge(batch)
        assert "HTTP 400: long 39" in str(error.value)
        assert "rlkd check" in str(error.value)
        with pytest.raises(EndpointError, match="judge, answer: who knows"):
            RunWindow().judge(batch[:1])


class TestUndecomposable:
    """Nearly all of the students of a window."""

    @pytest.mark.parametrize(
        "batch",
        [
            pytest.param(students(undecomposable=31), id="too few to be judged"),
            pytest.param(students(fine=4, undecomposable=28), id="28 of 32"),
            pytest.param(students(fine=50, undecomposable=400), id="400 of 450"),
            pytest.param(students(undecomposable=1) * 200, id="one path of many completions"),
        ],
    )
    def test_the_run_goes_on(self, batch: Sequence[Score]) -> None:
        RunWindow().judge(batch)

    @pytest.mark.parametrize(
        ("batch", "share"),
        [
            pytest.param(students(undecomposable=32), "32 of the last 32", id="all of 32"),
            pytest.param(students(fine=3, undecomposable=29), "29 of the last 32", id="29 of 32"),
            pytest.param(students(fine=100, undecomposable=900), "900 of", id="900 of 1000"),
        ],
    )
    def test_a_large_batch_ends_it_at_once(self, batch: Sequence[Score], share: str) -> None:
        with pytest.raises(EndpointError, match=f"{share}.* students' paths have no structure"):
            RunWindow().judge(batch)

    def test_small_batches_end_it_soon(self) -> None:
        assert batches_until_the_end(*students(undecomposable=8)) == 4
        assert batches_until_the_end(*students(undecomposable=1)) == 32

    def test_a_policy_that_writes_badly_does_not(self) -> None:
        """Four fifths of its paths have no structure, step after step."""
        assert batches_until_the_end(*students(fine=2, undecomposable=8)) == 0

    def test_a_server_that_breaks_down_late_ends_it_soon(self) -> None:
        window = RunWindow()
        assert batches_until_the_end(*students(fine=8), most=500, window=window) == 0
        # the last 64 students: 8 batches
        assert batches_until_the_end(*students(undecomposable=8), window=window) == 8

    def test_paths_of_which_no_model_was_asked_do_not_count(self) -> None:
        """A policy that writes nothing is worth 0; no server is broken."""
        empty = Decomposition(None, "undecomposable", asked=False)
        assert batches_until_the_end(*[Score(TEACHER, empty)] * 64) == 0

    def test_refused_paths_are_no_undecomposable_ones(self) -> None:
        batch = students(fine=60, undecomposable=30, refused=3)
        assert count_questions(batch).students == 90
        RunWindow().judge(batch)

    def test_the_error_shows_the_replies_and_the_remedy(self) -> None:
        with pytest.raises(EndpointError) as error:
            RunWindow(remedy="Set RLKD_GSRM_PROMPT").judge(students(undecomposable=40))
        assert "'Well, 37', 'Well, 38', 'Well, 39'" in str(error.value)
        assert "Set RLKD_GSRM_PROMPT" in str(error.value)

    def test_a_run_that_goes_on_all_the_same_ends_again(self) -> None:
        """Whoever catches the error gets it with each further batch."""
        window = RunWindow()
        for _ in range(3):
            with pytest.raises(EndpointError):
                window.judge(students(undecomposable=40))


def prompts(count: int, missing: int, name: str = "p") -> tuple[list[Score], list[Sample]]:
    """Prompts with their scores; the last `missing` of them have no teacher structure."""
    none = Decomposition(None, "undecomposable", reply="Prose.")
    teachers = [TEACHER] * (count - missing) + [none] * missing
    samples = [Sample("", f"{name}{i}", "math", "a path") for i in range(count)]
    return [Score(t, TEACHER) for t in teachers], samples


class TestTeachers:
    """Too many prompts without a teacher structure end the run."""

    @pytest.mark.parametrize(
        ("count", "missing"),
        [
            pytest.param(1, 1, id="one of one"),
            pytest.param(2, 1, id="one of two"),
            pytest.param(20, 2, id="a tenth"),
            pytest.param(8, 0, id="none"),
        ],
    )
    def test_lets_the_run_go_on(self, count: int, missing: int) -> None:
        RunWindow().judge(*prompts(count, missing))

    @pytest.mark.parametrize(("count", "missing"), [(2, 2), (19, 2), (20, 3)])
    def test_stops_the_run_over_a_tenth(self, count: int, missing: int) -> None:
        with pytest.raises(RlkdError, match=f"{missing} of {count} prompts"):
            RunWindow().judge(*prompts(count, missing))

    def test_a_prompt_counts_once_however_often_it_comes(self) -> None:
        window = RunWindow()
        for _ in range(30):
            window.judge(*(column * 8 for column in prompts(1, 1)))

    def test_counts_over_all_batches(self) -> None:
        window = RunWindow()
        window.judge(*prompts(4, 1, "a"))
        with pytest.raises(RlkdError, match="2 of 8 prompts"):
            window.judge(*prompts(4, 1, "b"))

    def test_a_prompt_that_has_a_structure_in_the_end_is_no_more_missing(self) -> None:
        window = RunWindow()
        window.judge(*prompts(1, 1, "a"))
        window.judge(*prompts(1, 0, "a"))
        window.judge(*prompts(1, 1, "b"))  # 1 of 2

    def test_wants_a_score_for_each_prompt(self) -> None:
        with pytest.raises(ValueError, match="zip"):
            RunWindow().judge([], prompts(1, 0)[1])

    @pytest.mark.parametrize(
        ("reasoning", "structure", "teacher", "words"),
        [
            pytest.param(
                *("", "prose", Decomposition(None, "undecomposable", asked=False)),
                ["teacher_structure cannot be read ('prose')", "no path in its teacher_reasoning"],
                id="structure and no path",
            ),
            pytest.param(
                *("a path", "prose", Decomposition(None, "undecomposable", reply="Well.")),
                ["teacher_structure cannot be read", "teacher_reasoning gave no structure ('Well"],
                id="structure and path",
            ),
            pytest.param(
                *("a path", None, Decomposition(None, "undecomposable", reply="Well.")),
                ["the path of its teacher_reasoning gave no structure ('Well.')"],
                id="path",
            ),
            pytest.param(
                *("a path", None, Decomposition(None, "refused", reply="HTTP 400: too long")),
                ["the GSRM rejected the path of its teacher_reasoning ('HTTP 400: too long')"],
                id="refused",
            ),
            pytest.param(
                *("...", None, Decomposition(None, "undecomposable", asked=False)),
                ["no path in its teacher_reasoning ('...')"],
                id="no path",
            ),
        ],
    )
    def test_the_error_names_the_column_that_is_wrong(
        self, reasoning: str, structure: str | None, teacher: Decomposition, words: list[str]
    ) -> None:
        samples = [Sample("", p, "math", reasoning, structure) for p in ("how many?", "how long?")]
        with pytest.raises(RlkdError) as error:
            RunWindow().judge([Score(teacher, TEACHER)] * 2, samples)
        for word in [*words, "'how long?'"]:
            assert word in str(error.value)
        if structure is None:
            assert "teacher_structure cannot" not in str(error.value)
        assert "teacher_branches" not in str(error.value)

    def test_the_error_says_that_no_branch_has_a_structure(self) -> None:
        """The first branch's column is not the only one to look at."""
        branches = (BranchText("a path", None), BranchText("another path", None))
        samples = [Sample("", p, "math", "...", None, branches) for p in ("how many?", "how long?")]
        empty = Decomposition(None, "undecomposable", asked=False)
        with pytest.raises(
            RlkdError, match=r"further branches \(teacher_branches, 2\) have no structure"
        ):
            RunWindow().judge([Score(empty, TEACHER)] * 2, samples)


class FakeRounds:
    """The rounds of some ranks in one process: what one rank sees of them."""

    def __init__(self, ranks: int, shared: dict[int, list[RoundCounts]]) -> None:
        self.ranks = ranks
        self.shared = shared

    def add(self, number: int, counts: RoundCounts) -> None:
        self.shared.setdefault(number, []).append(counts)

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        found = self.shared[number]
        return sum(found[1:], found[0]), len(found) == self.ranks


def ranks_of_a_run(count: int, calling: int | None = None) -> list[RunWindow]:
    """The windows of so many ranks, of which `calling` call the reward."""
    shared: dict[int, list[RoundCounts]] = {}
    return [RunWindow(lambda: FakeRounds(count, shared)) for _ in range(calling or count)]


def ends(windows: Sequence[RunWindow], batches: Sequence[Sequence[Score]]) -> list[int | None]:
    """Return the round at which each rank ends its run; a rank that ended calls no more."""
    found: list[int | None] = [None] * len(windows)
    for number in range(1, 20):
        for rank, (window, batch) in enumerate(zip(windows, batches, strict=True)):
            if found[rank] is None:
                try:
                    window.judge(batch)
                except EndpointError:
                    found[rank] = number
    return found


class TestRanks:
    """The judgment is over the run, and no rank waits for another."""

    @pytest.mark.parametrize("bad_first", [True, False])
    def test_one_unlucky_rank_does_not_end_it(self, bad_first: bool) -> None:
        # 8% of one rank's questions, 4% of the run's
        batches = [students(fine=92, refused=8), students(fine=100)]
        order = batches if bad_first else batches[::-1]
        assert ends(ranks_of_a_run(2), order) == [None, None]

    @pytest.mark.parametrize("bad_first", [True, False])
    def test_all_end_it_where_the_run_is_bad(self, bad_first: bool) -> None:
        # 40% of one rank's questions, 20% of the run's
        batches = [students(fine=60, refused=40), students(fine=100)]
        order = batches if bad_first else batches[::-1]
        # the one that completes a round sees it whole; the other one a batch later
        assert ends(ranks_of_a_run(2), order) == [2, 1]

    def test_small_batches_of_several_ranks_add_up(self) -> None:
        # 4 ranks of 8: 32 students a round
        assert ends(ranks_of_a_run(4), [students(undecomposable=8)] * 4) == [2, 2, 2, 1]

    def test_ranks_that_call_no_reward_are_not_waited_for(self) -> None:
        """A round is then judged a batch later, from those that do."""
        windows = ranks_of_a_run(8, calling=2)
        assert ends(windows, [students(undecomposable=32)] * 2) == [2, 2]

    def test_prompts_add_up(self) -> None:
        one, other = ranks_of_a_run(2)
        one.judge(*prompts(19, 3, "a"))
        other.judge(*prompts(19, 0, "b"))  # 3 of 38
        one.judge(*prompts(2, 1, "c"))
        with pytest.raises(RlkdError, match="5 of 42 prompts"):
            other.judge(*prompts(2, 1, "d"))
        with pytest.raises(RlkdError, match="5 of 42 prompts"):
            one.judge(*prompts(0, 0))


def test_two_runs_of_a_process_share_nothing() -> None:
    first, second = RunWindow(), RunWindow()
    first.judge(students(undecomposable=31))
    second.judge(students(undecomposable=31))
    with pytest.raises(EndpointError):
        first.judge(students(undecomposable=1))


def test_a_pickled_window_is_fresh() -> None:
    window = RunWindow(OwnRounds, "remedy")
    window.judge(students(undecomposable=31))
    copy = pickle.loads(pickle.dumps(window))
    copy.judge(students(undecomposable=31))
    with pytest.raises(EndpointError, match="remedy"):
        copy.judge(students(undecomposable=1))


def test_threads_lose_no_batch() -> None:
    window, ended = RunWindow(), count()

    def judge() -> None:
        for _ in range(40):
            try:
                window.judge(students(undecomposable=1))
            except EndpointError:
                next(ended)

    threads = [Thread(target=judge) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert next(ended) == 160 - 31  # all but the first 31 batches
