"""Folders as runs, evaluations and measurements leave them, for the tests of the report."""

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rlkd_plugin.rlkd_data.jobs.record import Record, record_file
from rlkd_plugin.rlkd_eval.scores.score_lines import KEY, TRACE

Text = Callable[[str], str]


def write_lines(file: Path, rows: Sequence[Any]) -> None:
    """Write JSON lines; a text is a line as it is."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def log_entry(step: int, most: int, rise: float = 0.0, noise: float = 0.0) -> dict[str, Any]:
    """Return what ms-swift logs of a step of GRPO."""
    structure = 0.4 + rise + noise
    return {
        "loss": 0.01,
        "reward": 0.3 + rise + structure,
        "frac_reward_zero_std": 0.25,
        "rewards/MathAccuracy/mean": min(1.0, max(0.0, 0.3 + rise / 3 + noise / 2)),
        "step_time": 20.0 + 10 * noise,
        "rlkd/structure_reward": structure,
        "rlkd/matched_depth": 1 + 2 * rise + noise,
        "rlkd/undecomposable": max(0.0, 0.2 - rise / 4),
        "rlkd/refused": 0.0,
        "rlkd/no_teacher": 0.0,
        "rlkd/clipped": 0.0,
        "rlkd/cut_off": 0.1,
        "rlkd/requests": 640.0 + step,
        "rlkd/retries": 1.0 if step % 9 == 0 else 0.0,
        "rlkd/seconds": 6.5,
        "global_step/max_steps": f"{step}/{most}",
        "remaining_time": "1m 27s",
    }


def trace_line(step: int | None = 0, say: Text = str, **changed: Any) -> dict[str, Any]:
    """Return a completion whose second meta-reasoning did not match; `say` makes the texts."""
    steps = [
        [say(f"Count what is given, {i}"), say(f"How many are in box {i}?"), say(f"{i}")]
        for i in range(1, 4)
    ]
    teacher = {"status": "ok", "clipped": False, "steps": steps, "final_answer": say("42")}
    student = teacher | {"final_answer": say("41")}
    asked = (
        (1, "meta_reasoning", True),
        (1, "sub_problem", True),
        (1, "answer", False),
        (2, "meta_reasoning", False),
    )
    verdicts = [
        {
            "number": n,
            "field": f,
            "matched": m,
            "probability": 0.95 if m else 0.08,
            "source": "logprob",
        }
        for n, f, m in asked
    ]
    return {
        "version": 1,
        "step": step,
        "prompt_id": say("prompt_0"),
        "request_id": "r",
        "cut_off": False,
        "teacher": teacher,
        "student": student,
        "verdicts": verdicts,
        "step_scores": [0.5, 0.0],
        "total": 0.5,
        "reward": 0.5,
        **changed,
    }


def branched_line(step: int | None = 0, say: Text = str, **changed: Any) -> dict[str, Any]:
    """Return a completion with four branches, of which the second won with 0.5.

    The first was compared to its end and earned 0, the third could earn at most 0.5 and was dropped
    with two verdicts, the fourth has no structure.
    """
    whole = trace_line(step, say)
    plan = [[say(f"Draw box {i}"), say(f"What is in box {i}?"), say(f"{i}0")] for i in range(1, 4)]
    other = whole["teacher"] | {"steps": plan}
    none = {"status": "undecomposable", "steps": [], "reply": say("I cannot")}
    no = {"number": 1, "field": "meta_reasoning", "matched": False, "source": "text"}
    yes = {"number": 1, "field": "meta_reasoning", "matched": True, "source": "choice"}
    branches = [
        {"teacher": other, "verdicts": [no], "step_scores": [0.0]},
        {
            "teacher": whole["teacher"],
            "verdicts": whole["verdicts"],
            "step_scores": whole["step_scores"],
            "least": 0.5,
            "most": 0.5,
        },
        {
            "teacher": other | {"steps": plan[:1]},
            "verdicts": [yes, no | {"field": "answer"}],
            "least": 0.25,
            "most": 0.5,
        },
        {"teacher": none},
    ]
    return whole | {"branch": 1, "branches": branches} | changed


def trace_lines(step: int, count: int, draw: random.Random, say: Text = str) -> list[Any]:
    """Return a step's completions, whose walks end in every way."""
    whole = trace_line(step, say)
    none = {"status": "undecomposable", "clipped": False, "steps": [], "final_answer": ""}
    first = whole["teacher"] | {"steps": whole["teacher"]["steps"][:1]}
    nothing = {"verdicts": [], "step_scores": [], "total": 0.0, "reward": 0.0}
    kinds = [
        whole,
        whole | {"cut_off": True, "reward": 0.0},
        whole | nothing | {"student": none},
        whole | nothing | {"student": none | {"status": "refused"}},
        whole | nothing | {"teacher": none, "reward": None},
        whole | {"student": first, "verdicts": whole["verdicts"][:3], "step_scores": [0.5]},
        whole | {"teacher": first, "verdicts": whole["verdicts"][:3], "step_scores": [0.5]},
    ]
    return draw.choices(kinds, (8, 1, 2, 1, 1, 2, 1 + step / 20), k=count)


def grpo_run(
    folder: Path, steps: int = 6, seed: int = 0, say: Text = str, rise: float = 0.6
) -> Path:
    """Write a run's log and trace; rewards rise over its steps."""
    draw = random.Random(seed)
    rises = [rise * (1 - math.exp(-3 * i / steps)) for i in range(steps)]
    rows = [log_entry(i + 1, steps, up, draw.gauss(0, 0.05)) for i, up in enumerate(rises)]
    write_lines(
        folder / "logging.jsonl",
        [*rows, {"train_runtime": 62.5, "global_step/max_steps": f"{steps}/{steps}"}],
    )
    lines = [line for step in range(steps) for line in trace_lines(step, 8, draw, say)]
    write_lines(folder / "rlkd_trace_rank0.jsonl", lines)
    return folder


def scored(
    folder: Path, rewards: Sequence[float | None], is_done: bool = True, **facts: Any
) -> Path:
    """Write what `rlkd score` leaves of a completion for each reward, two of a problem.

    The teacher has three steps; `facts` are of the maker.
    """
    lines = [
        {
            KEY: f"{number:016x}",
            **trace_line(None, problem=f"P{number // 2}", completion="c"),
            "reward": reward,
            "total": reward or 0.0,
        }
        for number, reward in enumerate(rewards)
    ]
    write_lines(folder / TRACE, lines)
    maker = {"gsrm": "one", "reward_scale": "steps", **facts}
    record = Record(command="rlkd score", makers={"one": maker}, is_done=is_done)
    record_file(folder / TRACE).write_bytes(record.encode())
    return folder


def structured_run(folder: Path, steps: int = 30) -> Path:
    """Write the log of structured training: a third of its steps in each phase."""
    rows = []
    for step in range(1, steps + 1):
        phase = min(3, 1 + 3 * (step - 1) // steps)
        meta, solve = 1.5 * math.exp(-2 * step / steps) + 0.2, 1.1 * math.exp(-step / steps) + 0.1
        values = {"loss_meta": meta} if phase != 2 else {}
        values |= {"loss_solve": solve} if phase != 1 else {}
        values |= {"a": 2.5 + step / steps, "b": 1.5 - step / (2 * steps)} if phase == 3 else {}
        rows.append({"phase": float(phase), "global_step/max_steps": f"{step}/{steps}", **values})
    write_lines(folder / "logging.jsonl", rows)
    return folder


def evaluation(
    folder: Path, label: str, step: int | None = None, base: float = 0.5, **settings: Any
) -> Path:
    """Write an evaluation on two sets; with a step it is a checkpoint of the run `label`."""
    sets = {}
    for key, name, hard in (("aime24", "AIME24", 0.6), ("gpqa", "GPQA-Diamond", 0.8)):
        shares = {k: 1 - (1 - base * hard) ** (k**0.5) for k in (1, 4, 16, 64)}
        around = {k: {"low": v - 0.04, "high": min(1, v + 0.04)} for k, v in shares.items()}
        sets[key] = {
            "name": name,
            "problems": 30,
            "samples": 64,
            "cut_off": 0.01,
            "pass_at_1": {"value": shares[1], **around[1]},
            "pass_at_k": {
                str(k): {"any": v, "unbiased": v, **around[k]} for k, v in shares.items() if k > 1
            },
        }
    about = {"label": label, "model": "m", "step": step, "run": label if step else None}
    result = about | {"settings": {"temperature": 0.6, **settings}, "versions": {}, "sets": sets}
    write_lines(folder / "eval.json", [result])
    return folder


def diversity(folder: Path, label: str, height: float = 0.6) -> Path:
    """Write a measurement of diversity."""
    steps = [
        {
            "step": i,
            "diversity": height / i**0.3,
            "questions": 40 - i,
            "responses": 300 - 9 * i,
            "cosine": min(0.9, 0.3 * i**0.4),
            "cosine_error": 0.002 * i,
        }
        for i in range(1, 13)
    ]
    about = {"samples": 8, "temperature": 0.6, "embedding": "gte-Qwen2-7B-instruct"}
    write_lines(
        folder / "diversity.json", [{"label": label, "questions": 40, **about, "steps": steps}]
    )
    return folder


def own_evaluation(folder: Path, run: str, step: int, base: float = 0.3) -> Path:
    """Write an evaluation of a run's checkpoint on two sets of one's own, with structures."""
    sets = {}
    for key, hard in (("known", 1.0), ("longer", 0.6)):
        share = min(0.95, hard * (base + step / 400))
        sets[f"own:{key}"] = {
            "name": f"{key} orders",
            "problems": 200,
            "samples": 8,
            "pass_at_1": {"value": share, "low": share - 0.03, "high": share + 0.03},
            "pass_at_1_of_runs": {"8": share},
            "pass_at_k": {
                "8": {"any": 0.97, "unbiased": 0.97, "low": 0.96, "high": 0.98},
            },
            "structure": {"value": 3 * share, "low": 3 * share - 0.1, "high": 3 * share + 0.1},
            "depth": {"value": 4 * share, "low": 4 * share - 0.1, "high": 4 * share + 0.1},
            "beyond_teacher": {"value": 0.1, "low": 0.05, "high": 0.15},
        }
    about = {"label": run, "model": "m", "run": run, "step": step}
    write_lines(folder / "eval.json", [about | {"sets": sets}])
    return folder


def arm_difference(value: float = 0.031, **changed: Any) -> dict[str, Any]:
    """Return a difference of two arms, as a comparison holds it."""
    return {
        "test_set": "known orders",
        "measure": "pass@1",
        "unit": "share",
        "first": "RLKD",
        "second": "GRPO",
        "seeds": 3,
        "problems": 200,
        "difference": {"value": value, "low": value - 0.04, "high": value + 0.035, "error": 0.019},
        **changed,
    }


def arm_cost(**changed: Any) -> dict[str, Any]:
    """Return the cost of an arm, as a comparison holds it."""
    return {
        "arm": "RLKD",
        "steps": 200,
        "seconds": 1834.6,
        "completions": 12_800,
        "tokens_generated": 1_034_000,
        "tokens_trained": 1_034_000,
        "note": "its rewards by the rules engine",
        **changed,
    }


def comparison(folder: Path, label: str, say: Text = str) -> Path:
    """Write a comparison of four arms in two measures of different units; `say` makes the texts."""
    pairs = (("RLKD", "GRPO"), ("RLKD", "SFT"), ("GRPO", "SFT"), ("RLKD", "RLKD shuffled"))
    kinds = (("pass@1", "share", 1.0), ("matched depth", "steps of the teacher", 12.0))
    differences = []
    for measure, unit, scale in kinds:
        for set_number, test_set in enumerate(("known", "longer", "new orders")):
            for number, (first, second) in enumerate(pairs):
                value = scale * (0.06 - 0.03 * number + 0.02 * set_number)
                ends = {"low": value - 0.04 * scale, "high": value + 0.05 * scale}
                differences.append(
                    arm_difference(
                        measure=say(measure),
                        unit=unit if unit == "share" else say(unit),
                        test_set=say(test_set),
                        first=say(first),
                        second=say(second),
                        difference={"value": value, **ends, "error": 0.023 * scale},
                    )
                )
    about = [
        say("It shows how far the arms are apart on these problems, after equal steps."),
        say("It does not show that the same holds for a model of another size."),
    ]
    costs = [arm_cost(arm=say(arm), note=say("a note")) for arm in ("SFT", "GRPO", "RLKD")]
    whole = {"label": label, "about": about, "differences": differences, "costs": costs}
    write_lines(folder / "comparison.json", [whole])
    return folder
