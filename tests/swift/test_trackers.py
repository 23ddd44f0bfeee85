"""The table of completions of real runs, and what an offline tracker gets of them.

The run asks W&B to log where it is installed; the table in `completions.jsonl` is the same.
"""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rlkd_plugin.engines.trace import read_rows
from rlkd_plugin.swift_hooks.rewards.structure_cells import COLUMNS, structure_cells
from tests.support.swift_run import grpo, rows, run_script, steps_logged, tiny_options
from tests.support.table_rows import FIRST, SECOND, cells, check

RANKS = "tests/support/ranks_that_log.py"
HAS_WANDB = find_spec("wandb") is not None
needs_wandb = pytest.mark.skipif(not HAS_WANDB, reason="wandb is not installed")
DRAWN_BEFORE = {1: 0, 2: 0, 3: 2}
"""Optimizer steps before the completions that each step uses were drawn."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Three steps; a generation batch of two groups serves two of them."""
    out = tmp_path_factory.mktemp("tracked") / "run"
    env = {
        "RLKD_ENGINE": "rules",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(out.parent),
        "WANDB__SERVICE_WAIT": "300",
    }
    report_to = "wandb" if HAS_WANDB else "none"
    options = {**tiny_options(tiny), "steps_per_generation": 2, "report_to": report_to}
    grpo(out, steps=3, env=env, **options)
    return out


def offline_run(run: Path) -> Path:
    """Return the folder that W&B wrote."""
    (folder,) = (run.parent / "wandb").glob("offline-run-*")
    return folder


def tables(run: Path) -> dict[str, dict[str, Any]]:
    """Return the last table of each step in `completions.jsonl`."""
    return {table["step"][0]: table for table in rows(run / "completions.jsonl")}


def test_each_step_shows_the_structures_of_its_completions(run: Path) -> None:
    """They are those of the trace, whose lines stand in the order of completions on one rank."""
    trace = list(read_rows(run / "rlkd_trace_rank0.jsonl"))
    found = tables(run)
    assert set(found) == {"1", "2", "3"}
    for step, before in DRAWN_BEFORE.items():
        traced = [row for row in trace if row.step == before]
        assert len(traced) == 8
        assert cells(found[str(step)]) == [list(structure_cells(row)) for row in traced]
        assert found[str(step)]["RlkdGsrm"] == pytest.approx([row.reward for row in traced])


@needs_wandb
def test_wandb_gets_the_same_tables(run: Path) -> None:
    """Number for number."""
    files = (offline_run(run) / "files/media/table").glob("completions_*.table.json")
    logged = [json.loads(file.read_text("utf-8")) for file in files]
    found = tables(run)
    assert {table["data"][0][0] for table in logged} == set(found)
    for table in logged:
        own, names = found[table["data"][0][0]], table["columns"]
        for name in ("completion", *COLUMNS):
            assert [row[names.index(name)] for row in table["data"]] == own[name]


@needs_wandb
def test_wandb_gets_every_number_of_the_reward(run: Path) -> None:
    """Its file holds the names of all metrics as plain text."""
    (file,) = offline_run(run).glob("run-*.wandb")
    metrics = {name for line in steps_logged(run) for name in line if name.startswith("rlkd/")}
    assert "rlkd/structure_reward" in metrics
    logged = file.read_bytes()
    assert [name for name in sorted(metrics) if f"train/{name}".encode() not in logged] == []


def test_rows_of_two_ranks_are_of_their_completions(tmp_path: Path) -> None:
    """In the order of ranks, also where dynamic sampling moved samples to another rank."""
    env = {"RLKD_ENGINE": "rules"}
    run_script(RANKS, [str(tmp_path)], ranks=2, env=env)
    first, second = rows(tmp_path / "completions.jsonl")
    check(first, FIRST + SECOND)
    # rank 0 lost its first group, so that it logs one of rank 1's; rank 1 logs one that 0 redrew
    check(second, FIRST[2:] + SECOND + FIRST[:2])
