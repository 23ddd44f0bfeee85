"""Scores completions for ms-swift: columns in, rewards, metrics and the trace out.

ms-swift builds and calls its integrations in different ways (`grpo_reward`, `reward_model`,
`sampling_reward`); their common work is here. Not here: how a score becomes a reward
(`engines.tally`), and when a run is ended (`engines.run_window`).
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swift.utils import get_logger
from swift.utils.logger import info_once

from rlkd_plugin.engines.base import Engine, TeacherCache, Usage, usage_of_batch
from rlkd_plugin.engines.run_window import RunWindow
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.tally import branch_metrics, metrics_of, reward_of
from rlkd_plugin.engines.trace import trace_row
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.rewards.columns import read_flags, read_ids, read_samples
from rlkd_plugin.swift_hooks.rewards.metrics import publish
from rlkd_plugin.swift_hooks.rewards.remarks import Remarks
from rlkd_plugin.swift_hooks.rewards.shared_rounds import rounds_of_next_reward
from rlkd_plugin.swift_hooks.rewards.structure_columns import show_structures
from rlkd_plugin.swift_hooks.rewards.trace_file import TraceFile

REMEDIES = {
    "server": "What to change: start its server without --reasoning-parser, which mistakes "
    "structures for thinking; set RLKD_GSRM_PROMPT=construct (and RLKD_GSRM_REGEX=true) for a "
    "model that was not trained as a GSRM; correct RLKD_GSRM_MODEL where another model is served; "
    "raise RLKD_GSRM_MAX_TOKENS where replies break off. `rlkd check` tests it as the reward uses "
    "it",
    "local": "What to change: set RLKD_GSRM_PROMPT=construct for a --reward_model that was not "
    "trained as a GSRM; raise RLKD_GSRM_MAX_TOKENS where replies break off",
    "small": "RLKD_ENGINE=small knows only grade-school mathematics; for other texts use "
    "RLKD_ENGINE=server",
}
"""Remedies where nearly no student's path has a structure, by the engine's name."""

logger = get_logger()


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """The scores and rewards of N samples, and the usage of the engine."""

    scores: Sequence[Score]
    rewards: list[float | None]
    usage: Usage


class Scorer:
    """Scores the batches of a run; it may be called several times at once.

    Args:
        settings: how a score becomes a reward.
        engine: decomposes and matches; entered for each batch.
        cache: of the teachers' structures, or None.
        output_dir: the folder of the trace if no setting names one; may be set until the first
            batch.

    Raises:
        RlkdError: if the trace cannot be written.
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
        self.window = RunWindow(rounds_of_next_reward(), REMEDIES.get(engine.name, ""))
        self.remarks = Remarks()
        self.output_dir = output_dir
        self._trace: TraceFile | None = None
        self._open_trace()

    @property
    def trace(self) -> Path | None:
        """The file of this rank's trace."""
        folder = self.settings.trace_dir or self.output_dir
        if folder is None:
            return None
        return Path(folder) / f"rlkd_trace_rank{os.environ.get('RANK') or 0}.jsonl"

    def _open_trace(self) -> TraceFile | None:
        """Return the trace, opened if need be, or None while its folder is unknown."""
        file = self.trace  # a reward that was pickled may be on another rank now
        if self._trace is None or self._trace.file != file:
            self._trace = TraceFile(file) if file else None
        return self._trace

    async def score(self, samples: Sequence[Sample], cut_off: Sequence[bool]) -> ScoredBatch:
        """Score N samples; the run's window does not count them yet.

        Args:
            samples: completions with their teachers.
            cut_off: whether each completion ended at the length limit.

        Raises:
            EndpointError: if a server fails past the retry deadline, or rejects our requests.
        """
        # an engine that prompts has settings, and the small one other limits than the run
        of_engine = getattr(self.engine, "settings", self.settings)
        with usage_of_batch() as usage:
            async with self.engine as engine:
                scores = await score_batch(
                    samples, engine, self.cache, of_engine.gsrm_max_chars, self.settings.scale
                )
        self.remarks.on_teachers(samples, scores, of_engine.gsrm_max_chars)
        scale, truncated = self.settings.scale, self.settings.truncated
        rewards = [
            reward_of(score, cut, scale, truncated)
            for score, cut in zip(scores, cut_off, strict=True)
        ]
        return ScoredBatch(scores, rewards, usage)

    async def rewards(
        self,
        completions: Sequence[str],
        problem: Sequence[str] | None = None,
        domain: Sequence[str] | None = None,
        teacher_reasoning: Sequence[str | None] | None = None,
        teacher_structure: Sequence[str | None] | None = None,
        teacher_branches: Sequence[Sequence[str] | None] | None = None,
        teacher_structures: Sequence[Sequence[str | None] | None] | None = None,
        is_truncated: Sequence[bool | None] | None = None,
        **kwargs: Any,
    ) -> list[float | None]:
        """Score a batch of completions.

        Args:
            completions: N texts.
            problem: N problems.
            domain: N of "math", "science", "code", "puzzle", in any letter case.
            teacher_reasoning: N teacher paths; may be missing if `teacher_structure` is there.
            teacher_structure: N structure texts computed ahead, or None for some or all; where one
                is unreadable, the path is decomposed.
            teacher_branches: N lists of the teacher's paths, or None; read where `RLKD_BRANCHES`
                is more than 1.
            teacher_structures: N lists of their structure texts computed ahead, or None.
            is_truncated: N flags, ms-swift's own.
            **kwargs: further columns; `prompt_id`, `request_id` and `trainer_state` go into the
                trace, the others are ignored.

        Returns:
            N rewards: in [0, n] for a teacher of n steps with `RLKD_REWARD_SCALE=steps`, in
            [0, 1] with `teacher`; None for all completions of a prompt whose teacher has no
            structure.

        Raises:
            RlkdError: if a column is missing or of another length, or a value is not allowed; or
                if too many of the run's prompts have no teacher structure.
            EndpointError: if a server fails past the retry deadline, or rejects our requests; or
                if, over a window of the run, the models reject too much or decompose nothing.
        """
        started = time.monotonic()
        trace = self._open_trace()
        samples = read_samples(
            completions,
            problem,
            domain,
            teacher_reasoning,
            teacher_structure,
            teacher_branches,
            teacher_structures,
            self.settings.branches,
        )
        cut_off = read_flags("is_truncated", is_truncated, completions)
        prompts = read_ids("prompt_id", kwargs.get("prompt_id"), completions)
        requests = read_ids("request_id", kwargs.get("request_id"), completions)
        batch = await self.score(samples, cut_off)
        step = getattr(kwargs.get("trainer_state"), "global_step", None)
        columns = zip(batch.scores, batch.rewards, cut_off, prompts, requests, strict=True)
        rows = [
            trace_row(score, reward, step=step, prompt_id=prompt, request_id=request, cut_off=cut)
            for score, reward, cut, prompt, request in columns
        ]
        show_structures(rows)
        lost = trace.append(rows) if trace else 0
        numbers = metrics_of(batch.scores, batch.rewards, cut_off)
        if self.settings.branches > 1:
            numbers |= branch_metrics(batch.scores, batch.rewards)
        _publish(batch, numbers, lost, time.monotonic() - started)
        self.window.judge(batch.scores, samples)
        return batch.rewards


def _publish(
    batch: ScoredBatch, numbers: dict[str, list[float]], lost: int, seconds: float
) -> None:
    """Publish a batch's metrics in ms-swift's log, or log once which option that needs."""
    published = publish(
        {
            **numbers,
            "rlkd/stopped_early": [float(s.student.stopped_early) for s in batch.scores],
            "rlkd/trace_lost": [float(lost > 0)] * len(batch.scores),
            "rlkd/requests": [batch.usage.requests],
            "rlkd/retries": [batch.usage.retries],
            "rlkd/seconds": [seconds],
        }
    )
    if not published:
        info_once(
            logger,
            "rlkd: add `--callbacks rlkd_metrics` to see the reward's numbers in the logs",
        )
