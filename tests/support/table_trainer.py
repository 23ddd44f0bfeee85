"""ms-swift's GRPO trainer as far as its table of completions: real scoring and logging, no model.

Completions are given, not drawn. A path's steps are its words; the answer of a word that ends with
"~" differs from the teacher's.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from accelerate import PartialState
from swift.callbacks import TrainerCallback
from swift.rl_core.data import GRPOSample
from swift.rlhf_trainers import GRPOTrainer
from swift.rlhf_trainers.rollout_mixin import RolloutTrainerMixin
from transformers import TrainerState

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Field, Step, Structure
from rlkd_plugin.llm_io.settings import load_settings
from rlkd_plugin.swift_hooks.rewards.metrics import RlkdMetrics
from rlkd_plugin.swift_hooks.rewards.scorer import Scorer
from tests.support.table_rows import Drawn, Table

GROUP = 2
"""Completions of a problem."""


class Words(RulesEngine):
    """Each word is a step; a text with "poison" is refused."""

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        if "poison" in path:
            return Decomposition(None, "refused", reply="no")
        words = [(word.removesuffix("~"), word) for word in path.split()]
        return Decomposition(Structure(tuple(Step(plan, plan, word) for plan, word in words)))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        return Verdict(teacher == student, "text")


class Structured:
    """The structure reward, whose name in the log is this class's."""

    def __init__(self, engine: Words | None = None) -> None:
        self.scorer = Scorer(load_settings(), engine or Words(), None)

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        return await self.scorer.rewards(completions, **columns)


class Length:
    """Another reward: the number of characters."""

    def __call__(self, completions: Sequence[str], **columns: Any) -> list[float]:
        return [float(len(text)) for text in completions]


class LogsNothingElse(RolloutTrainerMixin):
    """What stands behind the GRPO trainer's `log`: Transformers' own."""

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        pass


class TableTrainer(GRPOTrainer, LogsNothingElse):
    """A GRPO trainer that only scores and logs.

    Args:
        folder: of `completions.jsonl`.
        batch: completions of a generation batch, of all ranks.
        rewards: functions.
        again: rows that dynamic sampling draws, batch by batch; None without it.
        **args: further training arguments.
    """

    def __init__(
        self,
        folder: Path,
        batch: int,
        rewards: Sequence[Any],
        again: Iterable[Sequence[Drawn]] | None = None,
        **args: Any,
    ) -> None:
        if not torch.distributed.is_initialized():
            PartialState._reset_state()  # an earlier test's process group is gone
        ranks = PartialState(cpu=True)
        options = {
            "log_completions": True,
            "wandb_log_unique_prompts": False,
            "num_completions_to_print": None,
            "log_entropy": False,
            "report_to": [],
        }
        self.args = SimpleNamespace(
            output_dir=str(folder), generation_batch_size=batch, async_generate=False
        )
        vars(self.args).update({**options, **args})
        self.accelerator = SimpleNamespace(
            device=ranks.device,
            is_main_process=ranks.is_main_process,
            process_index=ranks.process_index,
            num_processes=ranks.num_processes,
        )
        self.model = torch.nn.Linear(1, 1)
        self.state = TrainerState(global_step=1)
        self.template = SimpleNamespace(truncation_strategy="delete")
        self.reward_funcs = list(rewards)
        self.reward_func_names = [type(reward).__name__ for reward in rewards]
        self.reward_model_plugins = [None] * len(rewards)
        self.reward_weights = torch.ones(len(rewards))
        self.num_generations = self.num_generations_eval = GROUP
        self.advantage_estimator, self.scale_rewards = "grpo", "group"
        self.kl_in_reward, self.beta, self.top_entropy_quantile = False, 0.0, 1.0
        self.enable_server_multi_turn = self.use_gym_env = self.dynamic_num_samples = False
        self.dynamic_sample, self.max_resample_times = again is not None, 2
        self.dynamic_resample_iterator = map(_rows, again or ())
        self.custom_metrics = {"train": Anything(), "eval": Anything()}
        self._prepare_metrics()

    def begin(self) -> TrainerCallback:
        """Build the callback and begin to train, as ms-swift does."""
        callback = RlkdMetrics(self.args, self)
        callback.on_train_begin(self.args, self.state, SimpleNamespace())
        return callback

    def draw(self, drawn: Sequence[Drawn]) -> None:
        """Score and log this rank's completions of a generation batch, as ms-swift does."""
        self._generate_and_score_completions(_rows(drawn))

    def table(self) -> Table:
        """Log a step, and return the table that it wrote; nothing on another rank than the first.

        Its number is the next one.
        """
        self.log({})
        self.state.global_step += 1
        if not self.accelerator.is_main_process:
            return {}
        lines = (Path(self.args.output_dir) / "completions.jsonl").read_text("utf-8").splitlines()
        return json.loads(lines[-1])

    def _generate_completions(self, samples: list[GRPOSample]) -> list[GRPOSample]:
        for sample in self._add_prompt_id_to_inputs(samples):
            drawn = {"role": "assistant", "content": sample.extra.pop("drawn")}
            sample.messages.append(drawn)
        return samples

    def _prepare_batch_inputs(self, samples: list[GRPOSample]) -> list[dict[str, Any]]:
        return []  # no model is to be trained

    def _postprocess_batch(self, samples: list[GRPOSample], batches: list[dict[str, Any]]) -> None:
        advantages = self._compute_advantages(samples, self._rewards_per_func, batches)
        self._logs["advantages"].extend(advantages.tolist())

    def _apply_chat_template_to_messages_list(self, messages: list[Any]) -> list[str]:
        return [turns[-1]["content"] for turns in messages]


class Anything(dict[str, Any]):
    """Metrics that nobody reads."""

    def __missing__(self, key: str) -> Any:
        return SimpleNamespace(update=lambda values: None)


def _rows(drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "user", "content": teacher}],
            "problem": teacher,
            "domain": "math",
            "teacher_reasoning": teacher,
            "solution": teacher[::-1],
            "drawn": completion,
        }
        for teacher, completion in drawn
    ]
