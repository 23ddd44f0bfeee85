"""Real `swift sft` runs with the structured loss, against a plain computation in float64."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from rlkd_plugin.rlkd_data.rows.hub_rows import gsrm_sft_row
from tests.support.structured_pairs import losses, prompt_of, raw_pairs
from tests.support.swift_run import FLOAT32, GLOO, ONE_STEP_A_LINE, PLUGIN, rows, swift
from tools.stand_ins.tiny_model import tiny_model

PROBE = "tests/support/structured_probe.py"
CLOSE = 1e-5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers, in a folder whose name tells ms-swift its template."""
    return tiny_model(tmp_path_factory.mktemp("model") / "Qwen2.5-7B-Instruct")


def train(
    model: Path,
    out: Path,
    pairs: int,
    ranks: int = 1,
    code: int = 0,
    env: Mapping[str, str] | None = None,
    **options: Any,
) -> str:
    """Run the three phases in float32 with plain gradient descent."""
    file = out.parent / f"pairs{pairs}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in raw_pairs(pairs)))
    given = {
        "external_plugins": [PLUGIN, PROBE],
        "dataset": f"rlkd/gsrm-sft:{file}",
        "model": model,
        "loss_type": "rlkd_structured",
        "loss_scale": "rlkd_structured",
        "callbacks": ["rlkd_structured", "structured_probe"],
        "num_train_epochs": 3,
        "tuner_type": "full",
        "optim": "sgd",
        "learning_rate": 0.05,
        "lr_scheduler_type": "constant",
        "weight_decay": 0,
        "max_grad_norm": 0,
        "save_strategy": "no",
        "output_dir": out,
        **FLOAT32,
        **ONE_STEP_A_LINE,
        **options,
    }
    return swift("sft", ranks=ranks, code=code, env=env, **given)


def steps_of(out: Path) -> list[dict[str, Any]]:
    """The log lines of the optimizer steps."""
    return [row for row in rows(out / "logging.jsonl") if "loss" in row]


@cache
def reference(model: Path, folder: Path, count: int) -> list[tuple[float, float, dict[str, Any]]]:
    """Loss, and gradients, of each of the three steps, from the parameters that it began with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    found, a, b = [], 0.0, 0.0
    for step in (1, 2, 3):
        before = torch.load(folder / f"before_{step}.pt")
        network.load_state_dict({k: v.double() for k, v in before.items()}, strict=False)
        network.zero_grad()
        meta, solve = losses(network, tokenizer, raw_pairs(count))
        if step == 1:
            a, loss = meta.item(), meta
        elif step == 2:
            b, loss = solve.item(), solve
        else:
            loss = a * meta + b * solve
        loss.backward()
        gradients = {k: p.grad.clone() for k, p in network.named_parameters()}
        found.append((loss.item(), (meta.item(), solve.item()), gradients))
    return found


CUTS = {
    "accumulation 1, padded": (1, 4, 1),
    "accumulation 2, padded": (1, 2, 2),
    "accumulation 4": (1, 1, 4),
    "two ranks, padded": (2, 2, 1),
}
"""Ranks, batch size and accumulation; always four rows a step."""


def cut(batch: int, accumulation: int) -> dict[str, int]:
    """The options that cut a step into micro-batches."""
    return {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}


@pytest.mark.parametrize("name", CUTS)
def test_loss_and_gradients_are_exact_however_a_step_is_cut(
    name: str, model: Path, tmp_path: Path
) -> None:
    """One step a phase, of the same four rows: L1, then L2, then a L_M + b L_QA."""
    ranks, batch, accumulation = CUTS[name]
    probe = {"PROBE_FOLDER": str(tmp_path)}
    train(model, tmp_path / "run", 4, ranks, env=probe, **cut(batch, accumulation))
    logged = steps_of(tmp_path / "run")
    assert [row["phase"] for row in logged] == [1, 2, 3]
    for step, (loss, both, gradients) in enumerate(reference(model, tmp_path, 4), start=1):
        line = logged[step - 1]
        assert line["loss"] == pytest.approx(loss, rel=CLOSE)
        for kind, value in zip(("loss_meta", "loss_solve"), both, strict=True):
            assert line.get(kind, value) == pytest.approx(value, rel=CLOSE)
        ours = torch.load(tmp_path / f"gradient_{step}.pt")
        assert ours.keys() <= gradients.keys() and ours
        for weight, gradient in ours.items():
            error = (gradient.double() - gradients[weight]).norm() / gradients[weight].norm()
            assert error < CLOSE, (step, weight)


def test_zero_3_on_two_ranks_has_the_same_losses(model: Path, tmp_path: Path) -> None:
    """DeepSpeed's partitioned parameters change nothing."""
    options = {"optim": "adamw_torch", **cut(1, 2)}
    train(model, tmp_path / "plain", 8, ranks=2, **options)
    gloo = tmp_path / "gloo.py"
    gloo.write_text(GLOO)
    options |= {"deepspeed": "zero3", "external_plugins": [PLUGIN, PROBE, gloo]}
    train(model, tmp_path / "zero3", 8, ranks=2, **options)
    plain, zero3 = steps_of(tmp_path / "plain"), steps_of(tmp_path / "zero3")
    assert len(plain) == len(zero3) == 6
    for one, other in zip(plain, zero3, strict=True):
        for name in ("loss", "loss_meta", "loss_solve", "a", "b"):
            if name in one:
                assert other[name] == pytest.approx(one[name], rel=CLOSE)


def test_a_killed_run_goes_on_as_if_nothing_had_happened(model: Path, tmp_path: Path) -> None:
    """Killed in each phase and resumed: the same losses, a and b, two updates of them included.

    Ten rows, three a step: four steps a phase, the last of one row.
    """
    options: dict[str, Any] = cut(1, 3)
    env = {"RLKD_PHASE_INTERVAL": "2"}
    train(model, tmp_path / "whole", 10, env=env, **options)
    whole = {row["global_step/max_steps"]: row for row in steps_of(tmp_path / "whole")}
    options |= {"save_strategy": "steps", "save_steps": 1, "save_total_limit": 2}
    out = tmp_path / "killed"
    for kill in (3, 5, 8, 12, 0):  # in each phase, and where the second begins
        last = sorted(out.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
        resume = {"resume_from_checkpoint": last[-1]} if last else {}
        probe = {"PROBE_KILL": str(kill), **env}
        train(model, out, 10, code=-9 if kill else 0, env=probe, **options, **resume)
    seen = {row["global_step/max_steps"]: row for row in steps_of(out)}
    assert seen.keys() == whole.keys() and len(whole) == 12
    for step, row in whole.items():
        for name in ("loss", "loss_meta", "loss_solve", "a", "b", "tokens_meta", "tokens_solve"):
            if name in row:
                assert seen[step][name] == pytest.approx(row[name], rel=CLOSE), (step, name)
    follows_the_rule(list(whole.values()), interval=2)


def follows_the_rule(steps: list[dict[str, Any]], interval: int) -> None:
    """Recompute a and b from a log: they start at the means of L1 and of L2, then follow rho."""
    by_phase = [[row for row in steps if row["phase"] == phase] for phase in (1, 2, 3)]
    a = sum(row["loss_meta"] for row in by_phase[0]) / len(by_phase[0])
    b = sum(row["loss_solve"] for row in by_phase[1]) / len(by_phase[1])
    window: list[dict[str, Any]] = []
    updates = 0
    for row in by_phase[2]:
        assert (row["a"], row["b"]) == (pytest.approx(a, rel=CLOSE), pytest.approx(b, rel=CLOSE))
        both = a * row["loss_meta"] + b * row["loss_solve"]
        assert row["loss"] == pytest.approx(both, rel=CLOSE)
        window.append(row)
        if len(window) == interval:
            rho = sum(r["loss_meta"] for r in window) / sum(r["loss_solve"] for r in window)
            a, b = (a + b) * rho / (1 + rho), (a + b) / (1 + rho)
            window, updates = [], updates + 1
    assert updates == 2


def test_plain_sft_is_the_same_with_the_plugin_loaded(model: Path, tmp_path: Path) -> None:
    """Bit-equal losses: every hook of ours passes on what is not ours."""
    messages = [gsrm_sft_row(raw)["messages"] for raw in raw_pairs(4)]
    file = tmp_path / "messages.jsonl"
    file.write_text("".join(json.dumps({"messages": m}) + "\n" for m in messages))
    logged = []
    for plugins in ({}, {"external_plugins": PLUGIN}):
        out = tmp_path / f"run{len(plugins)}"
        swift(
            "sft",
            dataset=file,
            model=model,
            max_steps=4,
            per_device_train_batch_size=2,
            tuner_type="full",
            save_strategy="no",
            output_dir=out,
            **FLOAT32,
            **ONE_STEP_A_LINE,
            **plugins,
        )
        logged.append([(row["loss"], row["grad_norm"]) for row in steps_of(out)])
    assert logged[0] == logged[1] and len(logged[0]) == 4


def test_an_evaluation_during_training_has_the_losses_of_both_sets(
    model: Path, tmp_path: Path
) -> None:
    """LoRA that learns nothing, with a validation set: the means of the plain computation."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = tmp_path / "val.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in raw_pairs(3)))
    train(
        model,
        tmp_path / "run",
        4,
        val_dataset=f"rlkd/gsrm-sft:{file}",
        eval_strategy="epoch",
        per_device_eval_batch_size=3,
        tuner_type="lora",
        learning_rate=0,
        **cut(2, 2),
    )
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    with torch.no_grad():
        meta, solve = losses(network, AutoTokenizer.from_pretrained(model), raw_pairs(3))
    evaluated = [r for r in rows(tmp_path / "run" / "logging.jsonl") if "eval_loss" in r]
    assert len({row["epoch"] for row in evaluated}) == 3
    for row in evaluated:
        assert row["eval_loss_meta"] == pytest.approx(meta.item(), rel=CLOSE)
        assert row["eval_loss_solve"] == pytest.approx(solve.item(), rel=CLOSE)
        assert meta.item() < row["eval_loss"] < solve.item() or (
            solve.item() < row["eval_loss"] < meta.item()
        )


def test_rows_that_are_too_long_are_counted_and_too_many_stop_the_run(
    model: Path, tmp_path: Path
) -> None:
    """Half of the rows are longer than 560 tokens."""
    options = {"max_length": 560, **cut(1, 1)}
    said = train(model, tmp_path / "no", 4, code=1, **options)
    lost = re.search(r"RlkdError: (\d) of 4 rows could not be encoded, more than RLKD_MAX", said)
    assert lost and 0 < int(lost[1]) < 4
    said = train(model, tmp_path / "yes", 4, env={"RLKD_MAX_LOST_ROWS": "0.9"}, **options)
    assert f"rlkd: rlkd_structured: {lost[1]} of 4 rows could not be encoded" in said
    assert len(steps_of(tmp_path / "yes")) == 3 * (4 - int(lost[1]))


def test_steps_without_a_token_of_the_phase_divide_by_nothing_and_hang_nowhere(
    model: Path, tmp_path: Path
) -> None:
    """Two ranks; every response is cut off within its first meta-reasoning.

    The phase ends with an error that says so: it has learned nothing.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    longest = max(
        len(tokenizer(prompt_of(gsrm_sft_row(raw)["messages"][0]["content"])).input_ids)
        for raw in raw_pairs(4)
    )
    options = {"max_length": longest + 6, "truncation_strategy": "right", "num_train_epochs": 1}
    solve = {"RLKD_PHASES": "solve"}
    said = train(model, tmp_path / "run", 4, ranks=2, code=1, env=solve, **options, **cut(1, 1))
    assert "no step of the phase solve had a token of its set" in said
    logged = steps_of(tmp_path / "run")
    assert len(logged) == 2
    for row in logged:
        assert (row["loss"], row["tokens_solve"], row["grad_norm"]) == (0, 0, 0)
        assert "loss_solve" not in row


def test_a_response_that_is_no_structure_stops_the_run_before_training(
    model: Path, tmp_path: Path
) -> None:
    """With its row and the reason; ms-swift alone would train on it."""
    messages = [gsrm_sft_row(raw)["messages"] for raw in raw_pairs(3)]
    messages[1][1]["content"] = "I cannot decompose this."
    file = tmp_path / "messages.jsonl"
    file.write_text("".join(json.dumps({"messages": m}) + "\n" for m in messages))
    said = train(model, tmp_path / "run", 4, code=1, dataset=file, **cut(1, 16))
    assert "RlkdError: 1 responses of the train_dataset are not structures" in said
    assert re.search(r"row \d: no whole step in 'I cannot decompose this.'", said)
    assert steps_of(tmp_path / "run") == []  # ms-swift writes its last state all the same


def test_phases_may_be_others(model: Path, tmp_path: Path) -> None:
    """Only the third, with given weights."""
    env = {"RLKD_PHASES": "mixed", "RLKD_MIX_A": "1.5", "RLKD_MIX_B": "0.5"}
    train(model, tmp_path / "run", 2, env=env, num_train_epochs=1, **cut(2, 1))
    (line,) = steps_of(tmp_path / "run")
    assert (line["a"], line["b"], line["phase"]) == (1.5, 0.5, 3)
    both = 1.5 * line["loss_meta"] + 0.5 * line["loss_solve"]
    assert line["loss"] == pytest.approx(both, rel=CLOSE)
