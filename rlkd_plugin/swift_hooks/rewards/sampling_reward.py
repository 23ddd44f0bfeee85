"""`prms["rlkd_gsrm"]`: the structure reward for `swift sample`, best-of-n against a teacher's path.

ms-swift passes no columns: the problem is the last user message, and the teacher's path is the data
set's assistant turn, which ms-swift scores as the last candidate. ms-swift ranks NaN first, and
does not save scores, so they go to a file of our own.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swift.rewards.prm import PRM
from swift.utils import get_logger

from rlkd_plugin.engines.scoring import Sample
from rlkd_plugin.engines.trace import trace_row
from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.llm_io.server_engine import probe_now
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.engine_choice import choose_engine
from rlkd_plugin.swift_hooks.rewards.columns import check_text
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer
from rlkd_plugin.swift_hooks.rewards.trace_file import TraceFile

FILE = "rlkd_sample_scores.jsonl"
"""Name of the file of scores and steps, a JSON line a candidate."""

logger = get_logger()


class RlkdGsrmSampling(PRM):
    """The structure reward of Algorithm 1 for the candidates of one problem.

    Raises:
        RlkdError: if a setting is wrong, or the file of scores cannot be written.
        EndpointError: if a server cannot be used; each is probed with one short request.
    """

    def __init__(self) -> None:
        self.settings = load_settings()
        self.trace = TraceFile((self.settings.trace_dir or Path.cwd()) / FILE)
        engine, cache = choose_engine(self.settings)
        probe_now(engine)
        self.scorer = Scorer(self.settings, engine, cache)
        if self.settings.branches > 1:
            logger.warning(
                f"rlkd: RLKD_BRANCHES={self.settings.branches} has no effect in swift sample: it "
                "passes one path of the teacher for each problem"
            )
        logger.info(f"rlkd: engine {engine.name}; scores and steps: {self.trace.file}")

    def __call__(
        self, infer_requests: Sequence[Any], ground_truths: Sequence[str], **kwargs: Any
    ) -> list[float]:
        """Score the candidates of one problem.

        Args:
            infer_requests: N requests; the last message is the candidate.
            ground_truths: N times the data set's assistant turn, with the teacher's path.
            **kwargs: further arguments of ms-swift's, ignored.

        Returns:
            N rewards, never NaN: in [0, n] for a teacher of n steps with
            `RLKD_REWARD_SCALE=steps`, in [0, 1] with `teacher`; 0 for all where the teacher has
            no structure, so that ms-swift drops the problem (`--prm_threshold`).

        Raises:
            RlkdError: if there is no problem or no teacher's path, or one is not a text.
            EndpointError: if a server fails past the retry deadline, or rejects our requests; or
                if, over a window of the run, the models reject too much or decompose nothing.
        """
        samples = [
            self._read_sample(row, request, truth)
            for row, (request, truth) in enumerate(zip(infer_requests, ground_truths, strict=True))
        ]
        cut_off = [False] * len(samples)  # ms-swift does not report it
        batch = asyncio.run(self.scorer.score(samples, cut_off))
        scores, rewards = batch.scores, [reward or 0.0 for reward in batch.rewards]
        self.trace.append(
            [
                trace_row(
                    score,
                    reward,
                    problem=sample.problem,
                    completion=sample.completion,
                    is_ground_truth=number == len(samples) - 1,
                )
                for number, (score, reward, sample) in enumerate(
                    zip(scores, rewards, samples, strict=True)
                )
            ]
        )
        self.scorer.window.judge(scores)
        if samples and scores[0].teacher.structure is None:
            logger.warning(
                f"rlkd: the teacher's path has no structure ({scores[0].teacher.status}): ms-swift "
                f"drops the problem {samples[0].problem[:100]!r}"
            )
        return rewards

    def _read_sample(self, row: int, request: Any, truth: Any) -> Sample:
        *before, candidate = request.messages
        problems = [message["content"] for message in before if message["role"] == "user"]
        if not problems:
            raise RlkdError(
                f"a row needs a user message with the problem; it has {request.messages!r:.200}"
            )
        return Sample(
            check_text("messages (the candidate)", row, candidate["content"]),
            check_text("messages (the problem)", row, problems[-1]),
            self.settings.sample_domain,
            check_text("messages (the teacher's path)", row, truth),
        )
