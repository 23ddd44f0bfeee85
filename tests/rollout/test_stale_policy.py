"""A rollout server that does not take the student's weights ends the run, within two steps."""

from pathlib import Path

from tests.support.rollout import RolloutServer, train
from tests.support.swift_run import rows
from tests.support.waiting import wait_for

BROKEN = {"ON_CPU_BROKEN": "yes"}
"""The bytes arrive, and loading them fails, which ms-swift's server only logs."""
STEEP = ["--learning_rate", "3e-2", "--warmup_ratio", "0", "--max_steps", "6"]


def test_the_server_ends_itself(student: Path, tmp_path: Path) -> None:
    """The plugin in the server sees the failure; the trainer does not go on without it."""
    with RolloutServer(student, tmp_path, env=BROKEN) as server:
        train("grpo_cuda", tmp_path, server, "--max_steps", "6", model=student, code=1)
        wait_for(lambda: server.process.poll() is not None, "the server's end")
        assert server.process.poll() != 0
    assert "the rollout server did not load the student's weights" in server.said()
    assert not list((tmp_path / "out").glob("v*-*/checkpoint-*"))


def test_the_trainer_sees_it_by_the_measure(student: Path, tmp_path: Path) -> None:
    """Of a server without the plugin nothing is heard, but its probabilities are older."""
    words = ["--template", "chatml", "--external_plugins", "tools/stand_ins/places.py"]
    with RolloutServer(student, tmp_path, *words, env=BROKEN, guarded=False) as server:
        steep = [*STEEP, "--template", "chatml"]
        out, said = train("grpo_cuda", tmp_path, server, *steep, model=student, code=1)
        assert "Method execution failed" in server.said()
    assert "the completions are not those of the current student" in said
    logged = [row for row in rows(out / "logging.jsonl") if "reward" in row]
    assert len(logged) <= 2
