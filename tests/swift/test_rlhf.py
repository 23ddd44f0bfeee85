"""Real `swift rlhf` GRPO runs with the plugin, through each way to name it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.swift_run import (
    grpo,
    grpo_options,
    rows,
    run_script,
    steps_logged,
    swift,
    swift_as_typed,
    tiny_options,
)
from tools.stand_ins.places import ROOT

METRICS = {
    "rlkd/structure_reward",
    "rlkd/matched_depth",
    "rlkd/matched_meta_reasoning",
    "rlkd/matched_sub_problem",
    "rlkd/matched_answer",
    "rlkd/undecomposable",
    "rlkd/no_teacher",
    "rlkd/refused",
    "rlkd/clipped",
    "rlkd/cut_structure",
    "rlkd/clipped_teacher",
    "rlkd/cut_teacher",
    "rlkd/unreadable_structure",
    "rlkd/stopped_early",
    "rlkd/trace_lost",
    "rlkd/cut_off",
    "rlkd/requests",
    "rlkd/retries",
    "rlkd/seconds",
}
RULES = {"RLKD_ENGINE": "rules"}


@pytest.fixture(scope="module")
def relative_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run with the package's register file named from the clone's root, workers spawned."""
    out = tmp_path_factory.mktemp("relative") / "run"
    workers = {"dataloader_num_workers": 1, "dataloader_multiprocessing_context": "spawn"}
    return out, grpo(out, env=RULES, **workers)


@pytest.fixture(scope="module")
def absolute_run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """A run as a user types it, from another folder with the path that `rlkd path` prints."""
    folder = tmp_path_factory.mktemp("absolute")
    path = subprocess.run(
        [sys.executable, "-m", "rlkd_plugin.rlkd_cli", "path"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    options = grpo_options(folder / "run", 1, external_plugins=path, **tiny_options(tiny))
    swift_as_typed("rlhf", cwd=folder, env=RULES, **options)
    return folder / "run"


def test_every_step_logs_every_metric(relative_run: tuple[Path, str]) -> None:
    """Each of ms-swift's log lines has all our metrics."""
    lines = steps_logged(relative_run[0])
    assert len(lines) == 2
    for line in lines:
        assert METRICS <= line.keys()


def test_the_logged_reward_is_the_traced_one(relative_run: tuple[Path, str]) -> None:
    """ms-swift's own mean of our reward equals the mean of the trace's rewards, step by step."""
    trace = list(read_rows(relative_run[0] / "rlkd_trace_rank0.jsonl"))
    assert len(trace) == 8
    for step, line in enumerate(steps_logged(relative_run[0])):
        traced = [row.reward or 0.0 for row in trace if row.step == step]
        assert line["rewards/RlkdGsrm/mean"] == pytest.approx(sum(traced) / 4, abs=1e-6)
        assert line["rlkd/structure_reward"] == pytest.approx(sum(traced) / 4, abs=1e-6)


def test_the_trace_replays_to_the_same_rewards(relative_run: tuple[Path, str]) -> None:
    """Algorithm 1 over the trace's structures and verdicts gives every reward back."""
    for row in read_rows(relative_run[0] / "rlkd_trace_rank0.jsonl"):
        again = replay(row)
        assert (again.total if again else 0.0) == row.reward
        assert (again.steps if again else ()) == row.step_scores


def test_the_log_says_that_the_rules_engine_is_a_stand_in(relative_run: tuple[Path, str]) -> None:
    """Nobody can take the rules engine for the paper's GSRM."""
    assert "RLKD_ENGINE=rules is a stand-in" in relative_run[1]


def test_the_root_register_file_trains_too(tiny: Path, tmp_path: Path) -> None:
    """`--external_plugins register.py` works from the clone's root, also beside the other file."""
    out = tmp_path / "run"
    grpo(out, steps=1, env=RULES, external_plugins="register.py", **tiny_options(tiny))
    assert METRICS <= steps_logged(out)[0].keys()


def test_a_checkpoint_exports_from_another_folder(absolute_run: Path, tmp_path: Path) -> None:
    """ms-swift imports the stored plugin path again when it exports a checkpoint."""
    merged = tmp_path / "merged"
    adapter = absolute_run / "checkpoint-1"
    swift("export", cwd=tmp_path, adapters=adapter, merge_lora=True, output_dir=merged)
    assert (merged / "model.safetensors").exists()


def test_two_ranks_log_the_same_metrics(tiny: Path, tmp_path: Path) -> None:
    """With a group on each of two ranks, every metric is there and each rank writes its trace."""
    out = tmp_path / "run"
    grpo(out, steps=1, ranks=2, env=RULES, **tiny_options(tiny))
    (line,) = steps_logged(out)
    assert METRICS <= line.keys()
    traces = [rows(out / f"rlkd_trace_rank{rank}.jsonl") for rank in (0, 1)]
    assert [len(trace) for trace in traces] == [4, 4]
    mean = sum(row["reward"] for trace in traces for row in trace) / 8
    assert line["rlkd/structure_reward"] == pytest.approx(mean, abs=1e-6)


CLONED = """
import socket, sys
root = sys.argv[1]
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
sys.path = [p for p in sys.path if p not in ("", root)]
sys.path_importer_cache.clear()
assert __import__("importlib.util").util.find_spec("rlkd_plugin") is None
from swift.arguments import RLHFArguments
from swift.utils.utils import import_external_file
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
for file in sys.argv[2:]:
    import_external_file(file)
import rlkd_plugin
from swift.rewards import orms
from swift.dataset import DATASET_MAPPING
registered = orms["rlkd_gsrm"].__name__, "rlkd/gsm8k" in DATASET_MAPPING
print("RESULT", rlkd_plugin.__file__, *registered, opened)
"""


@pytest.mark.parametrize(
    "files",
    [
        ["rlkd_plugin/register.py"],
        ["register.py"],
        ["rlkd_plugin/register.py", "register.py", "rlkd_plugin/register.py"],
    ],
    ids=["package", "root", "both, twice"],
)
def test_a_clone_that_is_not_installed_registers(tmp_path: Path, files: list[str]) -> None:
    """Both files work from a bare copy of the project, several times, and open no socket."""
    copy = tmp_path / "clone"
    shutil.copytree(
        ROOT / "rlkd_plugin", copy / "rlkd_plugin", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "register.py", copy)
    script = tmp_path / "cloned.py"
    script.write_text(CLONED)
    said = run_script(script, [str(ROOT), *[str(copy / file) for file in files]], cwd=tmp_path)
    result = next(line for line in said.splitlines() if line.startswith("RESULT"))
    assert result == f"RESULT {copy / 'rlkd_plugin' / '__init__.py'} RlkdGsrm True []"
