"""Reads ms-swift's log of structured fine-grained training, `logging.jsonl`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlkd_plugin.rlkd_eval.run_log import number_of, step_of

PHASE_NAMES = ("meta-reasoning", "solving", "both, by equation 1")
"""The phases of section 3.1; the log counts them from 1."""


@dataclass(frozen=True)
class PhaseStep:
    """One logged step; None for a value that its phase does not have.

    `loss_meta` and `loss_solve` are means over the tokens of a set; `a` and `b` their weights.
    """

    step: int
    phase: int
    loss_meta: float | None
    loss_solve: float | None
    a: float | None
    b: float | None


def phase_steps(entries: Iterable[Mapping[str, Any]]) -> list[PhaseStep]:
    """Return the steps of a log in order; none where the log is not of structured training.

    Of a step that was logged twice (in a resumed run) the last entry counts.
    """
    steps: dict[int, PhaseStep] = {}
    for entry in entries:
        step, phase = step_of(entry), number_of(entry.get("phase"))
        if step is not None and phase is not None and 1 <= phase <= len(PHASE_NAMES):
            values = {
                name: number_of(entry.get(name)) for name in ("loss_meta", "loss_solve", "a", "b")
            }
            steps[step] = PhaseStep(step, int(phase), **values)
    return [steps[step] for step in sorted(steps)]


def phase_starts(steps: list[PhaseStep]) -> list[tuple[int, int]]:
    """Return (first step, phase) of each stretch of steps in one phase."""
    return [
        (step.step, step.phase)
        for place, step in enumerate(steps)
        if place == 0 or steps[place - 1].phase != step.phase
    ]
