"""Scores completions for ms-swift: columns in, rewards, metrics and the trace out.

The doors of ms-swift (`reward`, `reward_model`) differ in how they are built and called; what they
do is here. What is worth what is decided in `engines.tally`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swift.utils import get_logger

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.tally import TeacherRecord, check_refused, metrics_of, reward_of
from rlkd_plugin.engines.trace import append_rows, trace_row
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.gsrm.prompts import DOMAINS
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.rewards.metrics import publish

logger = get_logger()


class Scorer:
    """Scores the batches of a run.

    Args:
        settings: how a score becomes a reward.
        engine: decomposes and matches; entered for each batch.
        cache: of the teachers' structures, or None.
        output_dir: where the trace is written if no setting says it.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        cache: TeacherCache | None,
        output_dir: str | Path | None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.cache = cache
        self.output_dir = output_dir
        self.teachers = TeacherRecord()

    @property
    def trace(self) -> Path | None:
        """The file of this rank's trace."""
        folder = self.settings.trace_dir or self.output_dir
        if folder is None:
            return None
        return Path(folder) / f"rlkd_trace_rank{os.environ.get('RANK') or 0}.jsonl"

    async def rewards(
        self,
        completions: Sequence[str],
        problem: Sequence[str] | None = None,
        domain: Sequence[str] | None = None,
        teacher_reasoning: Sequence[str | None] | None = None,
        teacher_structure: Sequence[str | None] | None = None,
        is_truncated: Sequence[bool | None] | None = None,
        **kwargs: Any,
    ) -> list[float | None]:
        """Score a batch of completions.

        Args:
            completions: N texts.
            problem: N problems.
            domain: N of "math", "science", "code", "puzzle".
            teacher_reasoning: N teacher paths; may be missing beside `teacher_structure`.
            teacher_structure: N structure texts computed ahead, or None for some or all.
            is_truncated: N flags, ms-swift's own.
            **kwargs: further columns; `prompt_id`, `request_id` and `trainer_state` go into the
                trace, the rest is ignored.

        Returns:
            N rewards: in [0, n] for a teacher of n steps with `RLKD_REWARD_SCALE=steps`, in
            [0, 1] with `teacher`; None for all completions of a prompt whose teacher has no
            structure.

        Raises:
            RlkdError: if a column is missing or of another length, or a value is not allowed.
            EndpointError: if a server fails for longer than the patience, or refuses us.
        """
        started = time.monotonic()
        samples = _samples(completions, problem, domain, teacher_reasoning, teacher_structure)
        cut_off = _column("is_truncated", is_truncated, completions, optional=True, of=object)
        async with self.engine as engine:
            scores = await score_batch(samples, engine, self.cache)
            usage = engine.usage
        rewards = [
            reward_of(score, bool(cut), self.settings.reward_scale, self.settings.truncated)
            for score, cut in zip(scores, cut_off, strict=True)
        ]
        self._write_trace(scores, rewards, cut_off, kwargs)
        published = publish(
            {
                **metrics_of(scores, rewards, [bool(cut) for cut in cut_off]),
                "rlkd/requests": [usage.requests],
                "rlkd/retries": [usage.retries],
                "rlkd/seconds": [time.monotonic() - started],
            }
        )
        if not published:
            logger.info_once(
                "rlkd: add `--callbacks rlkd_metrics` to see the reward's numbers in the logs"
            )
        check_refused(scores)
        self.teachers.check([(s.problem, s.teacher_reasoning) for s in samples], scores)
        return rewards

    def _write_trace(
        self,
        scores: Sequence[Score],
        rewards: Sequence[float | None],
        cut_off: Sequence[bool | None],
        about: dict[str, Any],
    ) -> None:
        trace = self.trace
        if trace is None:
            return
        step = getattr(about.get("trainer_state"), "global_step", None)
        nothing = [None] * len(scores)
        ids = [about.get(name) or nothing for name in ("prompt_id", "request_id")]
        append_rows(
            trace,
            (
                trace_row(
                    score,
                    reward,
                    step=step,
                    prompt_id=prompt,
                    request_id=request,
                    cut_off=bool(cut),
                )
                for score, reward, cut, prompt, request in zip(
                    scores, rewards, cut_off, *ids, strict=True
                )
            ),
        )


def _samples(
    completions: Sequence[str],
    problem: Sequence[str] | None,
    domain: Sequence[str] | None,
    teacher_reasoning: Sequence[str | None] | None,
    teacher_structure: Sequence[str | None] | None,
) -> list[Sample]:
    if teacher_reasoning is None and teacher_structure is None:
        raise RlkdError(
            "the reward rlkd_gsrm needs the column teacher_reasoning (or teacher_structure); the "
            "rows of `rlkd prepare` have it"
        )
    problems = _column("problem", problem, completions)
    domains = _column("domain", domain, completions)
    paths = _column("teacher_reasoning", teacher_reasoning, completions, optional=True)
    structures = _column("teacher_structure", teacher_structure, completions, optional=True)
    for row, name in enumerate(domains):
        if name not in DOMAINS:
            raise RlkdError(
                f"the domain of row {row} of the batch is {name!r}; it must be one of "
                f"{', '.join(DOMAINS)}"
            )
    return [
        Sample(completion, problem, domain, path or "", structure)
        for completion, problem, domain, path, structure in zip(
            completions, problems, domains, paths, structures, strict=True
        )
    ]


def _column(
    name: str,
    values: Sequence[Any] | None,
    completions: Sequence[str],
    optional: bool = False,
    of: type = str,
) -> Sequence[Any]:
    """Return a column after checking that it is there, as long as the batch, and of this type."""
    if values is None:
        if not optional:
            raise RlkdError(
                f"the reward rlkd_gsrm needs the column {name}; the rows of `rlkd prepare` have it"
            )
        return [None] * len(completions)
    if len(values) != len(completions):
        raise RlkdError(
            f"the column {name} has {len(values)} values for {len(completions)} completions"
        )
    for row, value in enumerate(values):
        if not (isinstance(value, of) or (optional and value is None)):
            raise RlkdError(
                f"the column {name} has no text but {repr(value)[:200]} in row {row} of a batch"
            )
    return values
