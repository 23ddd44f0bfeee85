"""Turns r of Algorithm 1 into a reward: its scale, and the price of extra steps."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class RewardScale:
    """How r becomes a reward.

    Attributes:
        scale: "steps" for the paper's r, in [0, n]; "teacher" for r / n, in [0, 1].
        extra_steps: the price of a student's m steps if they are more than the teacher's n.
            "ignore" is Algorithm 1, which compares min(n, m) steps. "divide" multiplies the
            reward by n / m, so that padding never pays and a full match still earns the most.
    """

    scale: Literal["steps", "teacher"] = "steps"
    extra_steps: Literal["ignore", "divide"] = "ignore"

    @property
    def counts_students_steps(self) -> bool:
        """Whether the reward depends on the student's total number of steps."""
        return self.extra_steps == "divide"

    def reward(self, total: float, teacher_steps: int, student_steps: int) -> float:
        """Return the reward of r = `total` for n teacher steps and m student steps.

        It is rounded once, so that equal rewards of different n are equal numbers.
        """
        divided = self.extra_steps == "divide"
        steps = max(teacher_steps, student_steps) if divided else teacher_steps
        return (total if self.scale == "teacher" else total * teacher_steps) / steps


PAPER = RewardScale()
"""The paper's scale: r itself."""
