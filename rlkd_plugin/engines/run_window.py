"""Ends a run whose models refuse too much or give no structures, judged over a window of the run.

One small batch never ends a run: a few odd texts are no sign of a broken server. Counts survive a
batch, and with several ranks they are those of all, so that no rank's luck decides. Nothing here
waits for another rank: a round, the n-th batch of each rank, is judged when all have counted it,
and at the latest when this rank has counted its next one. Ranks judge the same rounds in the same
order, so they come to the same end. A run that is resumed starts a fresh window.
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
    """The share of the newest events at which a run ends.

    `window` is how many of the newest events are looked at, as far as whole rounds go; `least`
    how many there have to be before anything is judged.
    """

    share: float
    window: int
    least: int


REFUSED = Limit(share=0.05, window=1000, least=64)
"""More than this share of all questions. 5% of 64 questions are 4: where 1% are odd texts, fewer
than 1 run in 100 has as many by chance at its start (2,000 simulated runs, 8 questions a batch). A
thousand questions tell 5% from 2%, and a server that breaks down late refuses 5% of them within
51."""
NEARLY_ALL_REFUSED = Limit(share=0.9, window=64, least=32)
"""The same where nearly nothing else comes back, which fewer questions show."""
UNDECOMPOSABLE = Limit(share=0.9, window=64, least=32)
"""At least this share of students' decompositions. Even where a policy writes so badly that every
second path has no structure, 29 of 32 do not happen by chance. 32 are four steps of 8
completions."""
WITHOUT_TEACHER = 0.10
"""Largest share of the run's prompts whose teacher may have no structure; one alone never ends a
run."""


class Rounds(Protocol):
    """Where the ranks of a run put their counts."""

    def add(self, number: int, counts: RoundCounts) -> None:
        """Count a batch of this rank as part of a round."""
        ...

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        """Return a round that this rank has counted, and whether all ranks have; never waits."""
        ...


class OwnRounds:
    """The rounds of a run with one rank."""

    def add(self, number: int, counts: RoundCounts) -> None:
        self.last = counts

    def read(self, number: int) -> tuple[RoundCounts, bool]:
        return self.last, True


class RunWindow:
    """Judges a run batch by batch; a reward has one for its life.

    Args:
        make_rounds: called at the first batch; by default the counts are this rank's own.
        remedy: what to change where nearly no student's path has a structure.
    """

    def __init__(self, make_rounds: Callable[[], Rounds] = OwnRounds, remedy: str = "") -> None:
        self._make_rounds = make_rounds
        self._remedy = remedy
        self._rounds: Rounds | None = None
        self._lock = threading.Lock()  # a reward may be called from several threads at once
        self._teachers = TeacherRecord()
        self._next = 0
        self._judged = 0
        self._kept: deque[RoundCounts] = deque(maxlen=REFUSED.window)  # each has a question
        self._run = RoundCounts()

    def __reduce__(self) -> tuple[type["RunWindow"], tuple[Callable[[], Rounds], str]]:
        """Pickle as a fresh window: a copy in another process is of another run."""
        return type(self), (self._make_rounds, self._remedy)

    def judge(self, scores: Sequence[Score], samples: Sequence[Sample] | None = None) -> None:
        """Count a batch of this rank, and judge the rounds that are whole.

        Args:
            scores: of the batch.
            samples: theirs, where prompts without a teacher structure count too.

        Raises:
            EndpointError: if too many questions are refused, or nearly no student's path has a
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
        self._check_refused()
        self._check_undecomposable()
        self._check_teachers()

    def _newest(self, events: Callable[[RoundCounts], int], window: int) -> RoundCounts:
        """Return the sum of the newest rounds that fill a window."""
        found = RoundCounts()
        for counts in reversed(self._kept):
            found = counts + found
            if events(found) >= window:
                break
        return found

    def _check_refused(self) -> None:
        for limit in (NEARLY_ALL_REFUSED, REFUSED):
            newest_ones = self._newest(lambda counts: counts.questions, limit.window)
            asked, refused = newest_ones.questions, newest_ones.refused
            if asked >= limit.least and refused > limit.share * asked:
                raise EndpointError(
                    f"{refused} of the last {asked} questions were refused by the GSRM or the "
                    f"judge, or had an unreadable verdict (more than {REFUSED.share:.0%}); they "
                    f"look like this: {_quote_examples(newest_ones.refusals)}. Run `rlkd check`, "
                    "and look into the servers' logs"
                )

    def _check_undecomposable(self) -> None:
        limit = UNDECOMPOSABLE
        newest_ones = self._newest(lambda counts: counts.students, limit.window)
        students, failed = newest_ones.students, newest_ones.undecomposable
        if students >= limit.least and failed >= limit.share * students:
            raise EndpointError(
                f"{failed} of the last {students} students' paths have no structure (at least "
                f"{limit.share:.0%}): their rewards of 0 would mean a broken server, a wrong model "
                "or a policy that writes no reasoning. The GSRM's replies begin like this: "
                f"{_quote_examples(newest_ones.replies)}. {self._remedy}"
            )

    def _check_teachers(self) -> None:
        seen, missing = self._run.prompts, self._run.without_teacher
        if missing > max(1, WITHOUT_TEACHER * seen):
            raise RlkdError(
                f"{missing} of {seen} prompts have no teacher structure (more than "
                f"{WITHOUT_TEACHER:.0%}): {'; '.join(self._run.teachers)}. `rlkd structure` "
                "computes the column teacher_structure ahead and drops such rows"
            )


def _quote_examples(examples: tuple[str, ...]) -> str:
    return ", ".join(map(repr, examples)) or "(no example)"
