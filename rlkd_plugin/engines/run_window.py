"""Ends a run whose models reject too many requests or give no structures.

Limits apply to a window of the run, as a few odd texts in one small batch are no sign of a broken
server. With several ranks the counts of all are added. A round is the n-th batch of each rank. It
is checked when all ranks have counted it, or else after this rank's next batch; nothing here waits
for another rank. All ranks check the same rounds in the same order, so they end together. A
resumed run starts a new window.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlkd_plugin.engines.round_counts import RoundCounts, count_questions
from rlkd_plugin.engines.scoring import Sample, Score
from rlkd_plugin.engines.teachers import TeacherRecord
from rlkd_plugin.gsrm import EndpointError, RlkdError


@dataclass(frozen=True, slots=True)
class Limit:
    """The share of failures at which a run ends.

    `window` is the number of newest events that count, in whole rounds. Below `least` events
    nothing is checked.
    """

    share: float
    window: int
    least: int


REFUSED = Limit(share=0.05, window=1000, least=64)
"""Largest share of rejected questions. 5% of 64 questions are 4: if 1% of the texts are odd, fewer
than 1 run in 100 has that many by chance at its start (2,000 simulated runs, 8 questions a batch).
A window of 1,000 distinguishes 5% from 2%, and shows a server that breaks down late after 51
questions."""
NEARLY_ALL_REFUSED = Limit(share=0.9, window=64, least=32)
"""The same limit for a server that rejects nearly everything, which fewer questions show."""
UNDECOMPOSABLE = Limit(share=0.9, window=64, least=32)
"""Share of students' decompositions without a structure that ends a run. Even if a policy writes
every second path without one, 29 of 32 do not happen by chance. 32 are four steps of 8
completions."""
WITHOUT_TEACHER = 0.10
"""Largest share of prompts without a teacher structure; a single one never ends a run."""


class Rounds(Protocol):
    """Stores the counts of all ranks of a run."""

    def add(self, number: int, counts: RoundCounts) -> None:
        """Add a batch of this rank to a round."""
        ...

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        """Return the counts of a round, and whether all ranks have added theirs; never waits."""
        ...


class OwnRounds:
    """The rounds of a run with one rank."""

    def add(self, number: int, counts: RoundCounts) -> None:
        self.last = counts

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        return self.last, True


class RunWindow:
    """Checks the limits of a run after each batch; a reward has one for its life.

    Args:
        make_rounds: called at the first batch; by default only this rank counts.
        remedy: ends the message that nearly no student's path has a structure.
    """

    def __init__(self, make_rounds: Callable[[], Rounds] = OwnRounds, remedy: str = "") -> None:
        self._make_rounds = make_rounds
        self._remedy = remedy
        self._rounds: Rounds | None = None
        self._lock = threading.Lock()  # a reward may be called from several threads
        self._teachers = TeacherRecord()
        self._next = 0
        self._judged = 0
        self._kept: deque[RoundCounts] = deque(maxlen=REFUSED.window)  # each has a question
        self._run = RoundCounts()

    def __reduce__(self) -> tuple[type["RunWindow"], tuple[Callable[[], Rounds], str]]:
        """Pickle as a new window, as a copy in another process belongs to another run."""
        return type(self), (self._make_rounds, self._remedy)

    def judge(self, scores: Sequence[Score], samples: Sequence[Sample] | None = None) -> None:
        """Count a batch of this rank, and check the rounds that are complete.

        Args:
            scores: of the batch.
            samples: of the batch, if prompts without a teacher structure count too.

        Raises:
            EndpointError: if too many questions are rejected, or nearly no student's path has a
                structure.
            RlkdError: if too many prompts have no teacher structure.
        """
        with self._lock:
            self._rounds = self._rounds or self._make_rounds()
            counts = count_questions(scores)
            if samples is not None:
                counts += self._teachers.count(samples, scores)
            number = self._next
            self._next += 1
            self._rounds.add(number, counts)
            while self._judged <= number:
                found, is_whole = self._rounds.read(self._judged)
                if not is_whole and self._judged == number:
                    return
                self._judged += 1
                self._judge(found)

    def _judge(self, counts: RoundCounts) -> None:
        self._run += counts
        if counts.questions:
            self._kept.append(counts)
        self._check_rejections()
        self._check_undecomposable()
        self._check_teachers()

    def _newest(self, events: Callable[[RoundCounts], int], window: int) -> RoundCounts:
        """Return the sum of the newest rounds that fill the window."""
        found = RoundCounts()
        for counts in reversed(self._kept):
            found = counts + found
            if events(found) >= window:
                break
        return found

    def _check_rejections(self) -> None:
        for limit in (NEARLY_ALL_REFUSED, REFUSED):
            newest_ones = self._newest(lambda counts: counts.questions, limit.window)
            asked, refused = newest_ones.questions, newest_ones.refused
            if asked >= limit.least and refused > limit.share * asked:
                raise EndpointError(
                    f"{refused} of the last {asked} questions were rejected by the GSRM or the "
                    f"judge, or had an unreadable verdict (more than {REFUSED.share:.0%}), for "
                    f"example: {_quote_examples(newest_ones.refusals)}. Run `rlkd check`, and read "
                    "the servers' logs"
                )

    def _check_undecomposable(self) -> None:
        limit = UNDECOMPOSABLE
        newest_ones = self._newest(lambda counts: counts.students, limit.window)
        students, failed = newest_ones.students, newest_ones.undecomposable
        if students >= limit.least and failed >= limit.share * students:
            raise EndpointError(
                f"{failed} of the last {students} students' paths have no structure (at least "
                f"{limit.share:.0%}). The cause is a broken server, a wrong model or a policy that "
                "writes no reasoning. The GSRM's replies begin with: "
                f"{_quote_examples(newest_ones.replies)}. {self._remedy}"
            )

    def _check_teachers(self) -> None:
        seen, missing = self._run.prompts, self._run.without_teacher
        if missing > max(1, WITHOUT_TEACHER * seen):
            raise RlkdError(
                f"{missing} of {seen} prompts have no teacher structure (more than "
                f"{WITHOUT_TEACHER:.0%}): {'; '.join(self._run.teachers)}. Run `rlkd structure`: "
                "it computes the column teacher_structure in advance and drops such rows"
            )


def _quote_examples(examples: tuple[str, ...]) -> str:
    return ", ".join(map(repr, examples)) or "(no example)"
