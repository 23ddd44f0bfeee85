"""The student's weights reach vLLM at every step: the recipes' own files, all processes real."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlkd_plugin.engines.trace import read_rows, replay
from tests.support.loopback import Loopback
from tests.support.rollout import RolloutServer, Vllm, train
from tests.support.swift_run import steps_logged
from tests.support.weights_log import Weights, WeightsLog, table_line

Record = Callable[[str, object], None]
"""Of pytest: keeps a property of a test for its report."""
FOUR = ["--max_steps", "4"]
LORA = ["--tuner_type", "lora", "--lora_rank", "8", "--vllm_enable_lora", "true"]
GREEDY = ["--top_k", "1", "--max_steps", "1"]


@pytest.fixture
def taught(loopback: Loopback) -> Loopback:
    """Let the judge say yes to every second question, so that rewards of a group differ."""
    asked = iter(range(10**6))
    loopback.matches = lambda one, other: next(asked) % 2 == 0
    return loopback


def check_weights(weights: Weights, syncs: int, warms_up: bool = True) -> None:
    """Each sync brought what the trainer held, and other weights than the one before.

    A recipe's first step has a learning rate of 0, as it warms up: these weights are sent again.
    """
    assert weights.loaded == weights.trained
    assert weights.received == weights.sent
    check_changes(weights.trained, syncs, warms_up)


def check_changes(sums: Sequence[object], syncs: int, warms_up: bool) -> None:
    """Each checksum differs from the one before, but for the second of a run that warms up."""
    changed = [one != other for one, other in pairwise(sums)]
    assert changed == [not warms_up, *[True] * (syncs - 2)]


def check_steps(logged: Sequence[dict[str, Any]], steps: int) -> None:
    """Trainer and engine gave every token the same probability."""
    assert [line["rollout_correction/k3_kl"] for line in logged] == [0.0] * steps


def check_trace(out: Path, logged: list[dict[str, Any]], ranks: int) -> None:
    """The trace gives every reward back, and their mean is the logged one."""
    rows = [row for n in range(ranks) for row in read_rows(out / f"rlkd_trace_rank{n}.jsonl")]
    assert len(rows) == len(logged) * 8 * ranks
    for row in rows:
        again = replay(row)
        assert (again.total if again else 0.0) == row.reward
    mean = sum(line["rewards/RlkdGsrm/mean"] for line in logged) / len(logged)
    assert sum(row.reward or 0.0 for row in rows) / len(rows) == pytest.approx(mean, abs=1e-4)
    assert len({row.reward for row in rows}) > 1


@pytest.mark.parametrize(("name", "ranks"), [("rlkd_cuda", 2), ("rlkd_npu", 1)])
def test_rlkd(
    name: str,
    ranks: int,
    full: RolloutServer,
    taught: Loopback,
    student: Path,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """Full weights of ZeRO-3, gathered from two ranks, at each of four steps."""
    full.weights.start()
    out, _ = train(name, tmp_path, full, *FOUR, model=student, url=taught.url, ranks=ranks)
    weights, logged = full.weights.read(), steps_logged(out)
    record_property("ran", table_line(name, "server", "full", ranks, weights, logged))
    check_weights(weights, 4)
    check_steps(logged, 4)
    check_trace(out, logged, ranks)


@pytest.mark.parametrize("name", ["grpo_cuda", "grpo_npu"])
def test_grpo_goes_on_with_the_restored_weights(
    name: str,
    full: RolloutServer,
    student: Path,
    tmp_path: Path,
    record_property: Record,
) -> None:
    """After a resume, the checkpoint's weights are sent before the first completion."""
    full.weights.start()
    out, _ = train(name, tmp_path, full, *FOUR, model=student)
    weights, logged = full.weights.read(), steps_logged(out)
    record_property("ran", table_line(name, "server", "full", 1, weights, logged))
    check_weights(weights, 4)
    check_steps(logged, 4)
    saved = out / "checkpoint-4"
    full.weights.start()
    words = ["--resume_from_checkpoint", str(saved), "--max_steps", "6"]
    out, _ = train(name, tmp_path, full, *words, model=student)
    weights, logged = full.weights.read(), steps_logged(out)
    record_property("ran", table_line(name, "server", "resumed", 1, weights, logged))
    check_weights(weights, 2, warms_up=False)
    check_steps(logged, 2)
    assert weights.trained[0] == checksum_of(saved)


def checksum_of(folder: Path) -> int:
    """Return the checksum of a checkpoint's weights."""
    from safetensors.torch import load_file

    from tools.stand_ins.vllm_on_cpu.sitecustomize import checksum

    files = folder.glob("*.safetensors")
    return sum(checksum(load_file(file).values()) for file in files)


def test_completions_and_rewards_are_those_without_vllm(
    full: RolloutServer, loopback: Loopback, student: Path, tmp_path: Path
) -> None:
    """Greedy, a step of the rollout server and one of Transformers leave the same trace."""
    found = []
    places: list[Vllm] = [full, "none"]
    for number, vllm in enumerate(places):
        folder = tmp_path / str(number)
        out, _ = train("rlkd_cuda", folder, vllm, *GREEDY, model=student, url=loopback.url)
        (logged,) = steps_logged(out)
        rewards = {name: value for name, value in logged.items() if name.startswith("reward")}
        trace = read_rows(out / "rlkd_trace_rank0.jsonl")
        no_ids = {"prompt_id": None, "request_id": None}  # drawn at random
        found.append((rewards, [msgspec.structs.replace(row, **no_ids) for row in trace]))
    assert found[0] == found[1]


def test_colocated(
    taught: Loopback, student: Path, tmp_path: Path, record_property: Record
) -> None:
    """vLLM in the trainer's own process."""
    out, _ = train("rlkd_cuda", tmp_path, "colocate", *FOUR, model=student, url=taught.url)
    weights, logged = WeightsLog(tmp_path / "weights.jsonl").read(), steps_logged(out)
    record_property("ran", table_line("rlkd_cuda", "colocate", "full", 1, weights, logged))
    check_weights(weights, 4)
    check_steps(logged, 4)
    check_trace(out, logged, 1)


def test_an_adapter(student: Path, tmp_path: Path, record_property: Record) -> None:
    """Of a LoRA training the base model is sent once, and then the adapter alone."""
    words = ["--vllm_enable_lora", "true", "--vllm_max_lora_rank", "8"]
    with RolloutServer(student, tmp_path, *words) as server:
        out, _ = train("grpo_cuda", tmp_path, server, *LORA, *FOUR, model=student)
        weights, logged = server.weights.read(), steps_logged(out)
    adapter = Weights(sent=weights.sent[1:], received=weights.received[1:])
    record_property("ran", table_line("grpo_cuda", "server", "LoRA", 1, adapter, logged))
    assert weights.received == weights.sent
    base, *adapters = weights.sent
    check_changes(adapters, 4, warms_up=True)
    assert all(size < base[0] / 2 for size, _ in adapters)
    check_steps(logged, 4)
