"""Scores completions for ms-swift: columns in, rewards, metrics and the trace out.

ms-swift builds and calls its integrations in different ways (`grpo_reward`, `reward_model`,
`sampling_reward`); what they do is here. What a score is worth is decided in `engines.tally`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swift.utils import get_logger
from swift.utils.logger import info_once

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.tally import TeacherRecord, check_refused, metrics_of, reward_of
from rlkd_plugin.engines.trace import append_rows, trace_row
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.rewards.columns import check_column, read_samples
from rlkd_plugin.swift_hooks.rewards.metrics import publish

logger = get_logger()


class Scorer:
    """Scores the batches of a run.

    Args:
        settings: how a score becomes a reward.
        engine: decomposes and matches; entered for each batch.
        cache: of the teachers' structures, or None.
        output_dir: the folder of the trace if no setting names one.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        cache: TeacherCache | None,
        output_dir: str | Path | None = None,
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

    async def score(
        self, samples: Sequence[Sample], cut_off: Sequence[bool]
    ) -> tuple[list[Score], list[float | None]]:
        """Return the score and the reward of each of N samples.

        Args:
            samples: completions with their teachers.
            cut_off: whether each completion ended at the length limit.

        Raises:
            EndpointError: if a server fails past the retry deadline, or rejects our requests.
        """
        async with self.engine as engine:
            scores = await score_batch(samples, engine, self.cache)
        scale, truncated = self.settings.reward_scale, self.settings.truncated
        rewards = [
            reward_of(score, cut, scale, truncated)
            for score, cut in zip(scores, cut_off, strict=True)
        ]
        return scores, rewards

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
            teacher_reasoning: N teacher paths; may be missing if `teacher_structure` is there.
            teacher_structure: N structure texts computed ahead, or None for some or all.
            is_truncated: N flags, ms-swift's own.
            **kwargs: further columns; `prompt_id`, `request_id` and `trainer_state` go into the
                trace, the others are ignored.

        Returns:
            N rewards: in [0, n] for a teacher of n steps with `RLKD_REWARD_SCALE=steps`, in
            [0, 1] with `teacher`; None for all completions of a prompt whose teacher has no
            structure.

        Raises:
            RlkdError: if a column is missing or of another length, or a value is not allowed.
            EndpointError: if a server fails past the retry deadline, or rejects our requests.
        """
        started = time.monotonic()
        samples = read_samples(completions, problem, domain, teacher_reasoning, teacher_structure)
        flags = check_column("is_truncated", is_truncated, completions, optional=True, of=object)
        cut_off = [bool(flag) for flag in flags]
        scores, rewards = await self.score(samples, cut_off)
        self._write_trace(scores, rewards, cut_off, kwargs)
        published = publish(
            {
                **metrics_of(scores, rewards, cut_off),
                "rlkd/requests": [self.engine.usage.requests],
                "rlkd/retries": [self.engine.usage.retries],
                "rlkd/seconds": [time.monotonic() - started],
            }
        )
        if not published:
            info_once(
                logger,
                "rlkd: add `--callbacks rlkd_metrics` to see the reward's numbers in the logs",
            )
        check_refused(scores)
        self.teachers.check([(s.problem, s.teacher_reasoning) for s in samples], scores)
        return rewards

    def _write_trace(
        self,
        scores: Sequence[Score],
        rewards: Sequence[float | None],
        cut_off: Sequence[bool],
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
                    cut_off=cut,
                )
                for score, reward, cut, prompt, request in zip(
                    scores, rewards, cut_off, *ids, strict=True
                )
            ),
        )
