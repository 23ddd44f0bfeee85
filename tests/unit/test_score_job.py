"""The job of `rlkd score`: every completion has its line, and nothing is asked twice."""

import asyncio
import errno
import random
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from rlkd_plugin.engines.base import Decomposition, Usage, Verdict
from rlkd_plugin.engines.reward_scale import PAPER
from rlkd_plugin.engines.scoring import Score
from rlkd_plugin.engines.tally import metrics_of, reward_of
from rlkd_plugin.engines.trace import read_rows, replay, trace_row
from rlkd_plugin.gsrm import (
    FIELDS,
    EndpointError,
    Field,
    Question,
    RlkdError,
    Step,
    Structure,
    StructuredReward,
)
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.jobs.data_job import DataJob
from rlkd_plugin.rlkd_eval.report.sources import read_sources
from rlkd_plugin.rlkd_eval.scores import score_lines
from rlkd_plugin.rlkd_eval.scores.figures import Figures
from rlkd_plugin.rlkd_eval.scores.offline_scorer import OfflineScorer
from rlkd_plugin.rlkd_eval.scores.score_job import score_completions
from rlkd_plugin.rlkd_eval.scores.score_plan import plan_scores, trace_place
from rlkd_plugin.rlkd_eval.scores.score_report import ScoreReport
from rlkd_plugin.rlkd_eval.scores.shared_engine import SharedEngine
from tests.support.row_lines import lines, write

Wait = Callable[[str], Awaitable[None]]


class Fake:
    """Gives each word of a path a step, and matches texts with the same digits.

    It rejects the paths with "reject", and has no structure of those with "nothing". `wait` is
    awaited before each decomposition, with its path; the call `fail_at` fails.
    """

    name = "fake"

    def __init__(self, wait: Wait | None = None, fail_at: int = 0) -> None:
        self.usage = Usage()
        self.facts: dict[str, Any] = {"engine": "fake", "gsrm": "one"}
        self.paths: list[str] = []
        self.asked: list[tuple[str, str, str]] = []
        self.wait = wait
        self.fail_at = fail_at

    async def __aenter__(self) -> "Fake":
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
        self.paths.append(path)
        self.usage.add(requests=1)
        if len(self.paths) == self.fail_at:
            raise EndpointError("gone")
        await (self.wait(path) if self.wait else asyncio.sleep(0))
        if "reject" in path:
            return Decomposition(None, "refused", reply="too long")
        if "nothing" in path:
            return Decomposition(None, "undecomposable", reply="Once upon a time")
        steps = (Step(f"plan {word}", f"what is {word}?", word) for word in path.split())
        return Decomposition(Structure(tuple(steps)))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        self.asked.append((field, teacher, student))
        self.usage.add(requests=1)
        await asyncio.sleep(0)
        return Verdict(re.findall(r"\d", teacher) == re.findall(r"\d", student), "text")


def row(number: int, *completions: str, **more: Any) -> dict[str, Any]:
    """A problem whose teacher goes three steps: t1 t2 t3."""
    about = {"problem": f"P{number}", "teacher_reasoning": "t1 t2 t3"}
    return {**about, "completions": [*completions], **more}


def run(
    source: Path,
    out: Path,
    engine: Fake | None = None,
    concurrency: int = 4,
    teachers: Path | None = None,
    **settings: Any,
) -> ScoreReport:
    """Run the job."""
    report = ScoreReport()
    job = DataJob(source, trace_place(out), concurrency)

    async def work() -> None:
        plan = plan_scores(job, teachers, settings.get("branches", 1))
        async with SharedEngine(engine or Fake()) as shared:
            scorer = OfflineScorer(shared, None, Settings(**settings), 60_000)
            await asyncio.wait_for(score_completions(plan, scorer, report), 60)

    asyncio.run(work())
    return report


def found(out: Path) -> list[tuple[str, str, float | None]]:
    """Problem, completion and reward of each line of a result."""
    return [(one.problem, one.completion, one.reward) for one in read_rows(trace_place(out))]


def test_every_completion_has_its_line_in_the_order_of_the_source(tmp_path: Path) -> None:
    rows = [row(1, "s1 s2 s3", "s1 s9 s3"), row(2, "s9"), row(3, "nothing", ""), row(4)]
    source = write(tmp_path / "rows.jsonl", *rows)
    report = run(source, tmp_path / "out")
    assert found(tmp_path / "out") == [
        ("P1", "s1 s2 s3", 3.0),
        ("P1", "s1 s9 s3", 1.0),  # the second plan does not match, which ends the walk
        ("P2", "s9", 0.0),
        ("P3", "nothing", 0.0),
        ("P3", "", 0.0),
    ]
    assert report.account.line() == "5 rows read = 5 scored"
    assert (report.passed, report.total) == (4, 5)
    for one in read_rows(trace_place(tmp_path / "out")):
        reward = replay(one)
        assert (reward.total if reward else 0.0) == one.total
    figures = report.figures
    # steps reached: 3 + 2 + 1, with 3 + 1 + 0 plans, questions and answers that match
    assert (figures.mean_reward, figures.mean_depth) == (4 / 5, 4 / 5)
    assert {name: figures.matched_share(name) for name in FIELDS} == dict.fromkeys(FIELDS, 4 / 6)
    assert figures.counts["undecomposable"] == 2


def test_nobody_waits_for_the_slowest(tmp_path: Path) -> None:
    """The first completion ends when all others have their lines; then the order is made."""
    source = write(tmp_path / "rows.jsonl", row(1, "slow"), *(row(n, f"s{n}") for n in range(9)))
    trace = trace_place(tmp_path / "out")

    async def wait(path: str) -> None:
        while path == "slow" and len(trace.read_bytes().splitlines()) < 9:
            await asyncio.sleep(0.01)

    run(source, tmp_path / "out", Fake(wait), concurrency=2)
    texts = [text for _, text, _ in found(tmp_path / "out")]
    assert texts == ["slow", *(f"s{n}" for n in range(9))]


def test_what_completions_share_is_asked_once(tmp_path: Path) -> None:
    """A teacher, a question, and a completion that comes twice; each completion has a line."""
    source = write(tmp_path / "rows.jsonl", row(1, "s1 s2", "s1 s9", "s1 s2"), row(1, "s1 s2"))
    engine = Fake()
    run(source, tmp_path / "out", engine)
    assert sorted(engine.paths) == ["s1 s2", "s1 s9", "t1 t2 t3"]
    assert len(engine.asked) == len(set(engine.asked))
    assert found(tmp_path / "out") == [
        ("P1", "s1 s2", 2.0),
        ("P1", "s1 s9", 1.0),
        ("P1", "s1 s2", 2.0),
        ("P1", "s1 s2", 2.0),
    ]


def test_no_more_than_the_window_is_in_work(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n, f"s{n}") for n in range(20)))
    in_work, most = 0, 0

    async def wait(path: str) -> None:
        nonlocal in_work, most
        in_work += path.startswith("s")
        most = max(most, in_work)
        await asyncio.sleep(0.001)
        in_work -= path.startswith("s")

    run(source, tmp_path / "out", Fake(wait), concurrency=3)
    assert most == 3


@pytest.mark.parametrize("fail_at", [2, 5, 11])
def test_a_stopped_job_goes_on_and_asks_for_nothing_twice(fail_at: int, tmp_path: Path) -> None:
    """One at a time, so that nothing else is in flight; half a line is done again."""
    rows = [row(n // 2, f"s1 s{n}", f"s{n}") for n in range(6)]
    source = write(tmp_path / "rows.jsonl", *rows)
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(source, whole)
    before = Fake(fail_at=fail_at)
    with pytest.raises(EndpointError, match="gone"):
        run(source, out, before, concurrency=1)
    done = lines(trace_place(out)) if out.exists() else []
    if done:
        with trace_place(out).open("ab") as file:
            file.write(b'{"row": "0123')
    again = Fake()
    report = run(source, out, again, concurrency=1)
    assert report.done_before == len(done)
    assert trace_place(out).read_bytes() == trace_place(whole).read_bytes()
    texts = [path for path in before.paths[:-1] if path.startswith("s")]
    assert not set(texts[: len(done)]) & set(again.paths)
    assert run(source, out, Fake(), concurrency=1).done_before == 12


def test_a_source_that_has_grown_or_was_shuffled_is_known_again(tmp_path: Path) -> None:
    rows = [row(n, f"s{n}") for n in range(4)]
    source = write(tmp_path / "rows.jsonl", *rows)
    run(source, tmp_path / "out")
    write(source, row(7, "s7"), *rows[::-1])
    engine = Fake()
    report = run(source, tmp_path / "out", engine)
    assert (report.done_before, report.scored) == (4, 1)
    assert [text for _, text, _ in found(tmp_path / "out")] == ["s7", "s3", "s2", "s1", "s0"]


def test_a_line_of_a_row_that_was_corrected_stays_and_is_counted(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1"), row(2, "s2"))
    run(source, tmp_path / "out")
    write(source, row(1, "s1", teacher_reasoning="t1"), row(2, "s2"))
    report = run(source, tmp_path / "out")
    assert (report.scored, report.done_before, report.left_over) == (1, 1, 1)
    assert len(found(tmp_path / "out")) == 3


def test_a_rejected_text_has_its_line_and_is_asked_again_next_time(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "reject", "s1"))
    report = run(source, tmp_path / "out")
    assert report.figures.counts["refused"] == 1
    assert found(tmp_path / "out") == [("P1", "reject", 0.0), ("P1", "s1", 1.0)]
    engine = Fake()
    again = run(source, tmp_path / "out", engine)
    assert (again.scored, again.done_before) == (1, 1)
    assert "s1" not in engine.paths
    assert len(found(tmp_path / "out")) == 2


def test_a_rejected_text_that_was_scored_anew_counts_once_in_a_report(tmp_path: Path) -> None:
    """Before the job's end both lines stand in the file."""
    source = write(tmp_path / "rows.jsonl", row(1, "reject", "s1"))
    run(source, tmp_path / "out")
    write(source, row(1, "reject", "s1"), row(2, "s2"))
    # the teacher's path, the rejected one, and then the one that fails
    with pytest.raises(EndpointError, match="gone"):
        run(source, tmp_path / "out", Fake(fail_at=3), concurrency=1)
    assert len(found(tmp_path / "out")) == 3
    (of_report,) = read_sources([tmp_path / "out"])
    assert of_report.scored is not None and of_report.traces is not None
    assert of_report.traces.seen.total() == of_report.scored.figures.rows == 2
    assert of_report.scored.figures.counts["refused"] == 1
    assert run(source, tmp_path / "out").figures.rows == 3
    assert len(found(tmp_path / "out")) == 3


def test_a_report_has_the_figures_of_the_job(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1 s2", "nothing"), row(2, "s1 reject", "s9"))
    report = run(source, tmp_path / "out")
    (of_report,) = read_sources([tmp_path / "out"])
    assert of_report.scored is not None
    assert of_report.scored.figures == report.figures
    assert of_report.maker is not None and of_report.maker["gsrm"] == "one"


def test_models_that_reject_everything_end_the_job(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", *(row(n, f"reject {n}") for n in range(200)))
    with pytest.raises(EndpointError, match="questions were rejected by the GSRM or the judge"):
        run(source, tmp_path / "out")
    assert len(found(tmp_path / "out")) == 64


def test_a_teacher_without_a_structure_gives_no_reward(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row(1, "s1", teacher_reasoning="nothing"), row(2, "s1")]
    report = run(write(tmp_path / "rows.jsonl", *rows), tmp_path / "out")
    assert found(tmp_path / "out") == [("P1", "s1", None), ("P2", "s1", 1.0)]
    assert (report.figures.mean_reward, report.figures.counts["no_teacher"]) == (1.0, 1)
    assert "a teacher has no structure" in caplog.text


def test_cut_off_completions_and_the_scale_are_those_of_the_settings(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1", "s1 s2", cut_off=[True, False]))
    run(source, tmp_path / "out", truncated="zero", reward_scale="teacher")
    assert found(tmp_path / "out") == [("P1", "s1", 0.0), ("P1", "s1 s2", 2 / 3)]


def test_the_best_branch_counts(tmp_path: Path) -> None:
    branches = ["t1 t2 t3", "t1 t2", "t5 t6"]
    source = write(tmp_path / "rows.jsonl", row(1, "s5 s6", teacher_branches=branches))
    run(source, tmp_path / "out", branches=2)
    run(source, tmp_path / "all", branches=3)
    assert found(tmp_path / "out") == [("P1", "s5 s6", 0.0)]
    assert found(tmp_path / "all") == [("P1", "s5 s6", 2.0)]


def test_branches_that_nobody_has_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(write(tmp_path / "rows.jsonl", row(1, "s1")), tmp_path / "out", branches=4)
    assert "RLKD_BRANCHES=4: no teacher has more than one path" in caplog.text


def test_other_settings_and_other_sources_are_refused(tmp_path: Path) -> None:
    source, out = write(tmp_path / "rows.jsonl", row(1, "s1")), tmp_path / "out"
    run(source, out)
    before = trace_place(out).read_bytes()
    other = Fake()
    other.facts["gsrm"] = "two"
    with pytest.raises(RlkdError, match=r"made with other settings \(gsrm: 'one' there, 'two' now"):
        run(source, out, other)
    with pytest.raises(RlkdError, match="reward_scale: 'steps' there, 'teacher' now"):
        run(source, out, reward_scale="teacher")
    copy = write(tmp_path / "others.jsonl", row(1, "s1"))
    with pytest.raises(RlkdError, match=r"was made from .*rows\.jsonl, not from .*others\.jsonl"):
        run(copy, out)
    assert trace_place(out).read_bytes() == before


def test_a_folder_of_another_command_is_refused(tmp_path: Path) -> None:
    """A training's trace, and a result whose record names another command."""
    source, out = write(tmp_path / "rows.jsonl", row(1, "s1")), tmp_path / "out"
    out.mkdir()
    trace = write(trace_place(out), {"version": 1, "step": 0, "teacher": {}, "student": {}})
    before = trace.read_bytes()
    with pytest.raises(RlkdError, match=r"no rlkd_trace_rank0\.jsonl\.rlkd\.json says that `rlkd"):
        run(source, out)
    record = {"command": "rlkd structure", "makers": {"m": {}}}
    write(out / "rlkd_trace_rank0.jsonl.rlkd.json", record)
    with pytest.raises(RlkdError, match="was made by `rlkd structure`, not by `rlkd score`"):
        run(source, out)
    assert trace.read_bytes() == before


def test_lines_that_are_no_trace_are_refused(tmp_path: Path) -> None:
    source, out = write(tmp_path / "rows.jsonl", row(1, "s1")), tmp_path / "out"
    run(source, out)
    (line,) = lines(trace_place(out))
    write(trace_place(out), {**line, "reward": "high"})
    with pytest.raises(RlkdError, match=r"has a line that is not of this job .*reward"):
        run(source, out)
    write(trace_place(out), {**line, "student": None})
    with pytest.raises(RlkdError, match=r"jsonl:1 is not a line of this job: its student is None"):
        run(source, out)


def test_out_is_made_with_the_folders_above_it(tmp_path: Path) -> None:
    source, scores = write(tmp_path / "rows.jsonl", row(1, "s1")), tmp_path / "scores"
    with pytest.raises(EndpointError, match="gone"):
        run(source, scores / "sft" / "step_100", Fake(fail_at=1))
    assert not scores.exists()
    run(source, scores / "sft" / "step_100")
    assert len(found(scores / "sft" / "step_100")) == 1


@pytest.mark.parametrize("name", ["link", "link/step_100", "rows.jsonl/step_100"])
def test_an_out_that_cannot_be_made_is_named(name: str, tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1"))
    (tmp_path / "link").symlink_to(tmp_path / "absent" / "folder")
    with pytest.raises(
        RlkdError, match=rf"the folder .*{name} cannot be created \(.*name another one"
    ):
        run(source, tmp_path / name)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "rows.jsonl"]


def test_no_room_for_the_order_leaves_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(n, f"s{n}") for n in range(3)]
    source, out = write(tmp_path / "rows.jsonl", *rows), tmp_path / "out"
    run(source, out)
    before = trace_place(out).read_bytes()
    write(source, *rows[::-1])

    def is_full(file: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(score_lines, "open_whole", is_full)
        words = r"jsonl is complete, but could not be sorted in the order of .*No space left"
        with pytest.raises(RlkdError, match=words):
            run(source, out)
    assert trace_place(out).read_bytes() == before
    run(source, out)
    assert [text for _, text, _ in found(out)] == ["s2", "s1", "s0"]


@pytest.mark.parametrize("name", ["scores.jsonl", "rows.jsonl"])
def test_out_is_a_folder(name: str, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", row(1, "s1"))
    with pytest.raises(RlkdError, match=f"{name} must be a folder"):
        trace_place(tmp_path / name)


def nothing_was_asked(source: Path, words: str, teachers: Path | None = None) -> None:
    """Check that a job ends by an error before any request, and leaves nothing behind."""
    out, engine = source.parent / "out", Fake()
    with pytest.raises(RlkdError, match=words):
        run(source, out, engine, teachers=teachers)
    assert engine.paths == []
    assert not out.exists()


def test_an_empty_source_is_an_error(tmp_path: Path) -> None:
    nothing_was_asked(write(tmp_path / "rows.jsonl"), "is empty: there is no completion to score")


def test_a_source_of_two_forms_is_an_error_before_anything_is_asked(tmp_path: Path) -> None:
    rows = [row(n, f"s{n}") for n in range(50)]
    other = {"prompt": ["P"], "completion": ["s1"]}
    nothing_was_asked(write(tmp_path / "rows.jsonl", *rows, other), "has rows of two formats")


def test_completions_without_a_teacher_are_an_error(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", {"problem": "P", "completion": "s1"})
    nothing_was_asked(source, "no teacher to compare its completions with: give --teachers FILE")
    teachers = write(tmp_path / "teachers.jsonl", {"problem": "Q", "teacher_reasoning": "t1"})
    nothing_was_asked(source, "has none of the problems of the completions", teachers)


def test_rows_that_cannot_be_scored_are_counted_by_reason(tmp_path: Path) -> None:
    rows = [
        row(1, "s1"),
        {"problem": "P", "completion": "s1"},
        "{broken",
        row(2, "s1", domain="law"),
        {"solution": "1"},
    ]
    report = run(write(tmp_path / "rows.jsonl", *rows), tmp_path / "out")
    assert report.refused == {
        "no teacher": 1,
        "broken JSON": 1,
        "domain is not one of math, science, code, puzzle, biology, physics, chemistry": 1,
        "no completion": 1,
    }
    assert report.account.line() == "5 rows read = 1 scored + 4 refused"
    assert report.passed == 5


def test_a_source_of_which_nothing_can_be_scored_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1", domain="law"), {"completion": "a"})
    teachers = write(tmp_path / "teachers.jsonl", {"problem": "P1"})
    words = r"2 rows read = 2 refused \(1 x domain is not one of .*, 1 x problem is"
    nothing_was_asked(source, words, teachers)
    assert "every row has its own teacher" not in caplog.text  # no row has one
    source = write(tmp_path / "rows.jsonl", {"problem": "P1", "completion": "s1"})
    words = "no completion of .* could be scored, .* 1 rows? read = 1 refused .1 x no teacher"
    nothing_was_asked(source, words, teachers)


def test_a_source_that_changes_meanwhile_is_noticed(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1"))

    async def wait(path: str) -> None:
        write(source, row(1, "s1"), row(2, "s2"))

    with pytest.raises(RlkdError, match="was changed while the job ran"):
        run(source, tmp_path / "out", Fake(wait))


def test_a_trainings_completions_with_teachers_of_a_second_file(tmp_path: Path) -> None:
    table = {
        "step": ["1", "1", "1"],
        "prompt": ["<|user|>P1<|end|>", "<|user|>P1<|end|>", "<|user|>P9<|end|>"],
        "completion": ["s1", "s1 s2", "s1"],
    }
    source = write(tmp_path / "completions.jsonl", table, {**table, "step": ["2"] * 3}, table)
    repeated = {**table, "step": ["2"] * 3}
    write(source, table, repeated, repeated)
    teachers = write(tmp_path / "rows.jsonl", {"problem": "P1", "teacher_reasoning": "t1 t2"})
    report = run(source, tmp_path / "out", teachers=teachers)
    rows = list(read_rows(trace_place(tmp_path / "out")))
    assert [(one.step, one.problem, one.completion, one.reward) for one in rows] == [
        (0, "P1", "s1", 1.0),
        (0, "P1", "s1 s2", 2.0),
        (1, "P1", "s1", 1.0),
        (1, "P1", "s1 s2", 2.0),
    ]
    words = "9 rows read = 4 scored + 2 refused + 3 of tables that were written twice"
    assert report.account.line() == words


def test_half_a_surrogate_pair_is_written_as_in_any_trace(tmp_path: Path) -> None:
    source = write(tmp_path / "rows.jsonl", row(1, "s1 \ud800"))
    run(source, tmp_path / "out")
    assert found(tmp_path / "out") == [("P1", "s1 ?", 1.0)]
    assert run(source, tmp_path / "out").done_before == 1


def test_what_each_role_used_is_counted_apart(tmp_path: Path) -> None:
    fake = Fake()
    shared = SharedEngine(fake)

    async def ask() -> None:
        async with shared:
            one, other, _ = await asyncio.gather(
                shared.decompose("P", "math", "s1"),
                shared.decompose("P", "math", "s1"),
                shared.match("answer", "t1", "s1"),
            )
            assert one is other

    asyncio.run(ask())
    assert [shared.used[role].requests for role in ("GSRM", "judge")] == [1, 1]
    assert fake.usage.requests == 2
    assert not shared.streams


def test_the_figures_are_those_that_a_training_logs() -> None:
    draw, figures = random.Random(7), Figures()
    scores = [random_score(draw) for _ in range(200)]
    rewards = [reward_of(score, False, PAPER, "score") for score in scores]
    for score, reward in zip(scores, rewards, strict=True):
        figures.add(trace_row(score, reward))
    metrics = metrics_of(scores, rewards, [False] * len(scores))
    means = {name: sum(values) / len(values) for name, values in metrics.items()}
    assert figures.mean_reward == pytest.approx(means["rlkd/structure_reward"])
    assert figures.mean_depth == pytest.approx(means["rlkd/matched_depth"])
    for name in FIELDS:
        assert figures.matched_share(name) == pytest.approx(means[f"rlkd/matched_{name}"])
    for name in ("undecomposable", "refused", "no_teacher", "beyond_teacher"):
        assert figures.counts[name] / len(scores) == pytest.approx(means[f"rlkd/{name}"])


def random_score(draw: random.Random) -> Score:
    """A score with verdicts as Algorithm 1 asks for them, or without a structure on a side."""
    steps = tuple(Step("m", "q", "a") for _ in range(draw.randint(1, 4)))
    teacher = Decomposition(Structure(steps))
    kind = draw.random()
    if kind < 0.1:
        none = Decomposition(None, draw.choice(["undecomposable", "refused"]))
        return Score(*((none, teacher) if kind < 0.05 else (teacher, none)))
    verdicts, scores = [], []
    for number in range(1, len(steps) + 1):
        matched = {name: draw.random() < 0.7 for name in FIELDS}
        asked = FIELDS if matched["meta_reasoning"] else FIELDS[:1]
        for name in asked:
            source = "refused" if not matched[name] and draw.random() < 0.1 else "text"
            verdicts.append((Question(number, name, "t", "s"), Verdict(matched[name], source)))
        if not matched["meta_reasoning"]:
            scores.append(0.0)
            break
        scores.append(0.5 ** (2 - matched["sub_problem"] - matched["answer"]))
    reward = StructuredReward(sum(scores), tuple(scores))
    return Score(teacher, teacher, reward, verdicts, beyond_teacher=draw.random() < 0.3)
