"""Structured fine-grained training (section 3.1): its phases, and a and b of equation 1.

Pure bookkeeping. Not here: how the losses of an optimizer step are computed.

Readings of the paper, with the reason:

- L1, L2 and the losses of the third phase are means over the tokens of a set in an optimizer step.
  The paper writes sums. But a sum measures the length of the texts, and the paper adjusts the
  weights "according to the difficulty of the task".
- a and b start at the means of L1 and of L2 over the steps of their own phases. A step without a
  token of the set has no loss and does not count.
- Every alpha = 100 steps they are set "according to the ratio of the losses": with rho the ratio
  of the sums of L_M and of L_QA since the last update, a <- (a + b) rho / (1 + rho) and
  b <- (a + b) / (1 + rho). Their sum stays the same, and the harder set gets more weight. If one of
  the sums has no step, nothing changes.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from rlkd_plugin.gsrm.errors import RlkdError

Phase = Literal["meta", "solve", "mixed"]

PHASES: tuple[Phase, ...] = get_args(Phase)
"""One epoch each: L1 on meta-reasoning, L2 on solving, and both by equation 1."""


@dataclass
class Total:
    """A sum of losses, and the number of steps in it."""

    loss: float = 0.0
    steps: int = 0

    def add(self, loss: float | None) -> None:
        """Add a step's loss; None is a step without a token of the set.

        A loss that is not finite is skipped too. ms-swift drops the gradients of such a step and
        continues; its loss would make a and b useless for the rest of the run.
        """
        if loss is not None and math.isfinite(loss):
            self.loss += loss
            self.steps += 1


@dataclass
class PhaseWeights:
    """The weights a and b, and the sums they are computed from.

    Attributes:
        a: weight of the meta-reasoning's loss; None before the first mixed phase.
        b: weight of the solving's loss.
        interval: alpha, the steps from one update of a and b to the next.
        meta: L1 over its phase.
        solve: L2 over its phase.
        meta_now: L_M since the last update.
        solve_now: L_QA since the last update.
        steps_now: the steps since the last update.
    """

    a: float | None = None
    b: float | None = None
    interval: int = 100
    meta: Total = field(default_factory=Total)
    solve: Total = field(default_factory=Total)
    meta_now: Total = field(default_factory=Total)
    solve_now: Total = field(default_factory=Total)
    steps_now: int = 0

    def of(self, phase: Phase) -> tuple[float, float]:
        """Return the weights of the two losses in a phase that has begun."""
        return {"meta": (1.0, 0.0), "solve": (0.0, 1.0), "mixed": (self.a, self.b)}[phase]

    def begin(self, phase: Phase) -> None:
        """Set a and b where the first mixed phase begins.

        Raises:
            RlkdError: if one of them has no loss to start from.
        """
        if phase == "mixed" and self.a is None:
            self.check("meta")
            self.check("solve")
            self.a = self.meta.loss / self.meta.steps
            self.b = self.solve.loss / self.solve.steps

    def check(self, phase: Phase) -> None:
        """Check that a phase had something to learn.

        Raises:
            RlkdError: if no step of the phase `meta` or `solve` had a loss.
        """
        if phase != "mixed" and not getattr(self, phase).steps:
            raise RlkdError(
                f"no step of the phase {phase} had a token of its set and a finite loss. Check "
                "that the responses are structures, and that --max_length does not cut them off"
            )

    def record(self, phase: Phase, meta: float | None, solve: float | None) -> None:
        """Add the losses of an optimizer step; None for a set without a token in it."""
        if phase == "meta":
            self.meta.add(meta)
        elif phase == "solve":
            self.solve.add(solve)
        else:
            self.meta_now.add(meta)
            self.solve_now.add(solve)
            self.steps_now += 1
            if self.steps_now == self.interval:
                self._update()

    def _update(self) -> None:
        meta, solve = self.meta_now, self.solve_now
        both = meta.loss + solve.loss
        if meta.steps and solve.steps and both > 0:
            # rho / (1 + rho) with rho = meta / solve, without dividing by a loss that may be 0
            share = meta.loss / both
            assert self.a is not None and self.b is not None  # `begin` set them
            total = self.a + self.b
            self.a, self.b = total * share, total * (1 - share)
        self.meta_now, self.solve_now, self.steps_now = Total(), Total(), 0

    def to_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint: numbers and dictionaries of them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> "PhaseWeights":
        """Return the weights that `to_dict` stored."""
        values: dict[str, Any] = {
            name: Total(**value) if isinstance(value, dict) else value
            for name, value in state.items()
        }
        return cls(**values)


def check_phases(phases: Sequence[str], weights_given: bool) -> None:
    """Check that a sequence of phases can be trained.

    Raises:
        RlkdError: for an unknown name, no phase, or a mixed phase whose a and b have no start.
    """
    if unknown := [name for name in phases if name not in PHASES]:
        raise RlkdError(f"unknown phase {', '.join(unknown)}; use {', '.join(PHASES)}")
    if not phases:
        raise RlkdError(f"no phase is given; the paper's phases are {','.join(PHASES)}")
    if "mixed" in phases and not weights_given:
        before = phases[: list(phases).index("mixed")]
        if missing := [name for name in ("meta", "solve") if name not in before]:
            raise RlkdError(
                f"the phase mixed needs a and b: train {' and '.join(missing)} before it, or give "
                "RLKD_MIX_A and RLKD_MIX_B"
            )
