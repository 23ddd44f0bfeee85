"""Whole Procfiles under honcho: rollout, GSRM, judge and trainer, all real."""

import signal
from pathlib import Path

import pytest

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.procfile import ProcfileRun
from tests.support.swift_run import steps_logged

pytestmark = pytest.mark.timeout(3600)
"""Five processes may share one slow core."""


def test_five_devices(student: Path, tmp_path: Path) -> None:
    """Two steps of RLKD; the end of the trainer ends all, with its status."""
    with ProcfileRun("rlkd_cuda", "cuda5", tmp_path / "run", student, steps=2) as run:
        assert run.wait() == 0, run.said()[-6000:]
        assert run.left() == []
        logged = steps_logged(run.out)
        assert [line["rollout_correction/k3_kl"] for line in logged] == [0.0] * 2
        rows = list(read_rows(run.out / "rlkd_trace_rank0.jsonl"))
        assert len(rows) == 2 * 8
        for row in rows:
            again = replay(row)
            assert (again.total if again else 0.0) == row.reward


def test_a_rollout_server_that_is_killed_ends_the_run(student: Path, tmp_path: Path) -> None:
    """Whoever started it sees which process ended, and nothing is left of the others."""
    with ProcfileRun("grpo_cuda", "cuda_grpo", tmp_path / "run", student, steps=50) as run:
        run.wait_for(lambda: run.has_ended or len(run.steps()) >= 2, "two steps")
        assert not run.has_ended, run.said()[-6000:]
        server = next(one for one in run.left() if "cli/rollout.py" in " ".join(one.cmdline()))
        server.send_signal(signal.SIGKILL)
        assert run.wait() != 0
        assert run.left() == []
        assert {"rollout.1 stopped", "trainer.1 stopped"} <= {
            line.split(" | ")[1].partition(" (")[0] for line in run.said("system").splitlines()
        }
