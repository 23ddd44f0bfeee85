"""The miniature as a whole: a real training of two steps by its command, with its page."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.miniature.arms import STUDENTS
from examples.miniature.student import make_student
from rlkd_plugin.engines.trace import read_rows
from rlkd_plugin.rlkd_eval.comparison import read_comparison
from rlkd_plugin.rlkd_eval.results import read_evaluation
from tools.stand_ins.places import ROOT

PRICED = "RLKD, extra steps priced"


def leave_students(out: Path) -> None:
    """Leave what the two trainings of the student leave, untrained: they take long."""
    make_student(out / "untrained")
    for stage in STUDENTS:
        checkpoint = out / stage.name / "checkpoint-2"
        shutil.copytree(out / "untrained", checkpoint)
        state = {"global_step": 2, "max_steps": 2}
        (checkpoint / "trainer_state.json").write_text(json.dumps(state), "utf-8")
        log = {"loss": 6.5, "grad_norm": 1.0, "global_step/max_steps": "2/2"}
        (out / stage.name / "logging.jsonl").write_text(json.dumps(log) + "\n", "utf-8")
        arguments = {"per_device_train_batch_size": 32}
        (out / stage.name / "args.json").write_text(json.dumps(arguments), "utf-8")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("miniature") / "out"
    leave_students(out)
    words = [sys.executable, "-m", "examples.miniature.run", str(out)]
    words += ["--quick", "--arms", "priced"]
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=1000)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out, done.stdout


def test_the_arm_is_trained_and_measured(study: tuple[Path, str]) -> None:
    out, said = study
    assert '"2/2"' in (out / "priced-1" / "logging.jsonl").read_text("utf-8")
    result = read_evaluation(out / "results" / "priced")
    assert {found.problems for found in result.sets.values()} == {4}
    assert result.step == 2
    assert read_evaluation(out / "results" / "priced-step-0").step == 0
    assert "pass@1 (95% interval)" in said and "the page:" in said


def test_its_page_has_the_comparison_and_the_compute(study: tuple[Path, str]) -> None:
    out, _ = study
    found = read_comparison(out / "results" / "comparison")
    costs = {cost.arm: cost for cost in found.costs}
    assert costs[PRICED].completions == 2 * 64
    assert costs[PRICED].tokens_trained == costs[PRICED].tokens_generated > 0
    assert costs["warmed up"].completions == 0 and costs["warmed up"].tokens_trained > 0
    assert {(d.first, d.second) for d in found.differences} == {(PRICED, "warmed up")}
    page = (out / "report.html").read_text("utf-8")
    assert "Paired differences" in page and "extra steps priced" in page


def test_the_priced_reward_is_over_the_longer_of_both_sides(study: tuple[Path, str]) -> None:
    out, _ = study
    rows = list(read_rows(out / "priced-1" / "rlkd_trace_rank0.jsonl"))
    assert len(rows) == 2 * 64
    for row in rows:
        steps = max(len(row.teacher.steps), len(row.student.steps))
        assert row.reward == pytest.approx(row.total / steps)
