"""The miniature as a whole: real trainings of two steps, measured, with its page and a stop."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlkd_plugin.rlkd_eval.comparison import read_comparison
from rlkd_plugin.rlkd_eval.results import read_evaluation
from tools.stand_ins.places import ROOT

ARMS = ("priced",)


def miniature(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, "-m", "examples.miniature.run", str(out), "--quick", *words]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=500)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("miniature") / "out"
    done = miniature(out, "--arms", *ARMS)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out, done.stdout


def test_every_arm_is_trained_and_measured(study: tuple[Path, str]) -> None:
    out, said = study
    for arm in ARMS:
        log = (out / f"{arm}-1" / "logging.jsonl").read_text("utf-8")
        assert '"2/2"' in log
        result = read_evaluation(out / "results" / arm)
        assert {found.problems for found in result.sets.values()} == {4}
        assert result.step == 2
    assert "Known kinds" in said and "the page:" in said


def test_its_page_has_the_comparison_and_the_compute(study: tuple[Path, str]) -> None:
    out, _ = study
    found = read_comparison(out / "results" / "comparison")
    costs = {cost.arm: cost for cost in found.costs}
    assert costs["RLKD, extra steps priced"].completions == 2 * 64
    assert costs["warmed up"].completions == 0 and costs["warmed up"].tokens_trained > 0
    assert {(d.first, d.second) for d in found.differences} == {
        ("RLKD, extra steps priced", "warmed up")
    }
    page = (out / "report.html").read_text("utf-8")
    assert "Paired differences" in page and "extra steps priced" in page


def test_a_second_run_repeats_nothing(study: tuple[Path, str]) -> None:
    out, _ = study
    kept = [
        *out.glob("*/checkpoint-*/trainer_state.json"),
        *out.glob("samples/*/*/*.json"),
    ]
    before = {file: file.stat().st_mtime_ns for file in kept}
    done = miniature(out, "--arms", *ARMS)
    assert done.returncode == 0, done.stderr[-3000:]
    assert before and before == {file: file.stat().st_mtime_ns for file in kept}


def test_the_rewards_of_a_run_are_those_of_its_trace(study: tuple[Path, str]) -> None:
    """The priced reward is the traced one, or a part of it where the student went on."""
    out, _ = study
    lines = (out / "priced-1" / "rlkd_trace_rank0.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 2 * 64
    assert all(0 <= row["reward"] <= 1 for row in rows)
