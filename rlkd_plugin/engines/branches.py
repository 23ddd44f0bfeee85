"""Compares one completion with several branches of its teacher; the best reward counts.

The branches are walked concurrently. No more questions are asked for a branch that can no longer
win. Not here: the walk of one branch (`judged_walk`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.judged_walk import JudgedWalk, Verdicts
from rlkd_plugin.engines.reward_scale import RewardScale
from rlkd_plugin.gsrm import FIELDS, Question, Step, StructuredReward


@dataclass(frozen=True, slots=True)
class BranchOutcome:
    """The result of a completion against one branch.

    Attributes:
        least: the lowest reward, on the run's scale, that was possible when the walk stopped.
        most: the highest; both equal the reward if `reward` is set.
        reward: r; None if the branch has no structure, or was dropped as it could not win.
        verdicts: the verdicts received that count, in the order of Algorithm 1.
        beyond_teacher: whether the student begins a step after the branch's last.
    """

    least: float = 0.0
    most: float = 0.0
    reward: StructuredReward | None = None
    verdicts: tuple[tuple[Question, Verdict], ...] = ()
    beyond_teacher: bool = False


class Race:
    """The walks of one completion through its teacher's branches.

    Args:
        branches: the steps of each branch; empty if it has no structure.
        verdicts: of the completion.
        scale: used to compare rewards.
    """

    def __init__(
        self, branches: Sequence[Sequence[Step]], verdicts: Verdicts, scale: RewardScale
    ) -> None:
        self._walks = [JudgedWalk(steps, verdicts, scale) for steps in branches]
        self._verdicts = verdicts
        self._with_steps = [
            walk for walk, steps in zip(self._walks, branches, strict=True) if steps
        ]
        self._running = self._with_steps or self._walks[:1]
        self._longest = max(map(len, branches))
        self._ends: Sequence[int] = ()  # the numbers of steps that the student may end with

    def read(self, fields: Sequence[str], *, is_whole: bool) -> None:
        """Set the student's fields as `Walk.read`, and ask the questions that can be asked now."""
        for walk in self._running:
            walk.read(fields, is_whole=is_whole)
        steps = max(1, len(fields) // len(FIELDS))  # a structure has at least one
        # beyond the longest branch a further step costs all branches the same, or nothing
        self._ends = [steps] if is_whole else range(steps, max(steps, self._longest) + 1)
        self.advance()

    def advance(self) -> None:
        """Advance as far as the verdicts allow, and ask the next questions.

        Branches that cannot win are dropped before anything is asked.
        """
        for walk in self._running:
            walk.advance()
        if len(self._running) > 1:
            self._drop_losers()
        for walk in self._running:
            walk.ask()

    def _drop_losers(self) -> None:
        """Drop the branches that another one beats or equals, whatever the student writes.

        The bounds of each branch are independent: an open question that two branches share may
        count as matched for one and as not matched for the other.
        """
        bounds = [walk.bounds(self._ends) for walk in self._running]
        possible = {
            index for at_end in zip(*bounds, strict=True) for index in _possible_winners(at_end)
        }
        losers = [walk for index, walk in enumerate(self._running) if index not in possible]
        self._running = [walk for index, walk in enumerate(self._running) if index in possible]
        needed = {question for walk in self._running for question in walk.open}
        for question in {question for walk in losers for question in walk.open} - needed:
            self._verdicts.leave(question)

    @property
    def is_decided(self) -> bool:
        """Whether further text cannot change the reward."""
        return all(walk.is_decided for walk in self._running)

    @property
    def is_over(self) -> bool:
        """Whether the reward is known."""
        return all(walk.is_over for walk in self._running)

    @property
    def fields_needed(self) -> int:
        """The number of the student's fields that explain every branch, dropped ones included."""
        return max(walk.fields_needed for walk in self._with_steps or self._running)

    @property
    def winner(self) -> int:
        """The index of the branch with the best reward, once it is known."""
        return self._walks.index(self._running[0])

    @property
    def has_reward(self) -> bool:
        """Whether any branch has a structure."""
        return bool(self._with_steps)

    def outcomes(self) -> tuple[BranchOutcome, ...]:
        """Return the result for each branch, once the reward is known."""
        return tuple(map(self._outcome, self._walks))

    def _outcome(self, walk: JudgedWalk) -> BranchOutcome:
        if walk not in self._with_steps:
            return BranchOutcome()
        lowest, highest = zip(*walk.bounds(self._ends), strict=True)
        reward = walk.reward() if walk.is_over else None
        return BranchOutcome(
            min(lowest), max(highest), reward, walk.verdicts(), walk.beyond_teacher
        )


def _possible_winners(bounds: Sequence[tuple[float, float]]) -> set[int]:
    """Return the branches that may win, given the lowest and highest reward of each."""
    lowest = [low for low, _ in bounds]
    leader = lowest.index(max(lowest))  # the first of equals
    return {leader} | {i for i, (_, high) in enumerate(bounds) if high > lowest[leader]}
