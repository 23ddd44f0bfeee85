"""Scores a completion as the reward of a training does.

Not here: which completions (`score_job`), and the work that several share (`shared_engine`).
"""

from dataclasses import dataclass

from rlkd_plugin.engines.base import Engine, TeacherCache
from rlkd_plugin.engines.scoring import Sample, Score, score_batch
from rlkd_plugin.engines.tally import reward_of
from rlkd_plugin.engines.trace import TraceRow, trace_row
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.gsrm.prompts import judge_prompt
from rlkd_plugin.llm_io.prompted_engine import body_digest
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.rlkd_data.jobs.record import Maker
from rlkd_plugin.rlkd_data.jobs.result_lines import identity


@dataclass(frozen=True)
class OfflineScorer:
    """Scores completions, one by one.

    Attributes:
        engine: decomposes and matches; entered while it scores.
        cache: of the teachers' structures, or None.
        settings: how a score becomes a reward.
        max_chars: characters of a path that the engine reads.
    """

    engine: Engine
    cache: TeacherCache | None
    settings: Settings
    max_chars: int

    async def score(self, sample: Sample) -> Score:
        """Score one completion.

        Raises:
            EndpointError: if a server fails past the retry deadline, or rejects our requests.
        """
        settings = self.settings
        (score,) = await score_batch(
            [sample], self.engine, self.cache, self.max_chars, settings.scale
        )
        return score

    def trace(
        self, score: Score, sample: Sample, cut_off: bool = False, step: int | None = None
    ) -> TraceRow:
        """Return the trace line of a completion, with its reward."""
        reward = reward_of(score, cut_off, self.settings.scale, self.settings.truncated)
        return trace_row(
            score,
            reward,
            step=step,
            cut_off=cut_off,
            problem=sample.problem,
            completion=sample.completion,
        )

    @property
    def maker(self) -> Maker:
        """The settings that a line depends on beside its completion and its teacher."""
        s, facts = self.settings, self.engine.facts
        judge = {
            "judge": s.judge_model,
            "judge_prompts": f"{identity(*(judge_prompt(name, '', '') for name in FIELDS)):016x}",
            "judge_max_tokens": s.judge_max_tokens,
            "judge_threshold": s.judge_threshold,
            "judge_swap": s.judge_swap,
            "judge_body": body_digest(s.judge_body),
        }
        reward = {
            "reward_scale": s.reward_scale,
            "extra_steps": s.extra_steps,
            "truncated": s.truncated,
            "branches": s.branches,
        }
        has_judge = self.engine.name == "server"
        name = facts.get("gsrm", self.engine.name)
        return Maker(name, {**facts, **(judge if has_judge else {}), **reward})
