"""The engine of the training process: a GSRM whose weights ms-swift loaded, without a server.

It gives ms-swift's own inference engine what the scheduler asks for, in batches. The scheduler asks
one question at a time; what is asked until every walk waits for an answer goes together.
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from swift.infer_engine import RequestConfig, TransformersEngine
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.llm_io.prompted_engine import PromptedEngine, Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.settings import Settings

TEMPLATE_TOKENS = 64
"""What a chat template may add to a prompt, at most."""
BUDGET_STEP = 256
"""Budgets of tokens are rounded up to it, so that paths of like length go together."""
QUIET_TURNS = 20
"""The event loop turns so often without a new question when all walks wait."""


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A request that waits for its reply."""

    role: Role
    prompt: str
    options: dict[str, Any]
    reply: "asyncio.Future[Reply]"

    @property
    def kind(self) -> tuple[Any, ...]:
        """What requests of one batch have in common; none changes what another may say."""
        options = self.options
        shared = options["temperature"], options["max_tokens"], options.get("logprobs", False)
        return self.role, *shared


class LocalEngine(PromptedEngine):
    """Decomposes and judges with one model in this process.

    With ZeRO-3 every forward pass needs all ranks. So the ranks go in step: each of them runs a
    batch, or a short one for nothing, as long as any has something to ask.

    Args:
        settings: the prompts' kind, the limits and the size of a batch.
        model: a causal language model in evaluation mode.
        template: ms-swift's, of this model.

    Raises:
        RlkdError: with FSDP, where ranks that go at their own pace would wait for ever.
    """

    name = "local"

    def __init__(self, settings: Settings, model: torch.nn.Module, template: Any) -> None:
        if is_fsdp_enabled():
            raise RlkdError(
                "--reward_model_plugin rlkd_gsrm works with DDP and DeepSpeed, not with FSDP; use "
                "DeepSpeed, or a server (--reward_funcs rlkd_gsrm)"
            )
        super().__init__(settings, str(model.config._name_or_path))
        self.engine = TransformersEngine(model, template=template, max_batch_size=0)
        self.engine.strict = False  # a text that cannot be encoded comes back as its error
        self._in_step = is_deepspeed_zero3_enabled() and dist.is_initialized()

    async def __aenter__(self) -> "LocalEngine":
        self.usage.reset()
        self._waiting: list[_Asked] = []
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._runner.cancel()
        await asyncio.gather(self._runner, return_exceptions=True)
        while kind is None and self._anyone(asks=False):
            self._reply_to([])

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to an event loop."""
        return {k: v for k, v in vars(self).items() if k not in ("_waiting", "_runner")}

    async def probe(self) -> None:
        """Need nothing: the model is there."""

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        tokens = len(self.engine.tokenizer(prompt)["input_ids"]) + TEMPLATE_TOKENS
        room = (self.engine.max_model_len or sys.maxsize) - tokens
        if room < options["max_tokens"]:
            raise EndpointError(
                f"a text of {tokens} tokens leaves no room for {options['max_tokens']} in the "
                f"model's {self.engine.max_model_len}; RLKD_GSRM_MAX_CHARS clips paths",
                status=400,
            )
        steps = -(-options["max_tokens"] // BUDGET_STEP) * BUDGET_STEP
        options["max_tokens"] = min(room, steps) if steps > BUDGET_STEP else options["max_tokens"]
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Asked(role, prompt, options, reply))
        return await reply

    async def _run(self) -> None:
        """Reply to what is asked, a batch at a time, whenever nobody asks anything new."""
        while True:
            quiet, before = 0, len(self._waiting)
            while quiet < QUIET_TURNS or not self._waiting:
                await asyncio.sleep(0 if self._waiting else 0.001)
                quiet = quiet + 1 if len(self._waiting) == before else 0
                before = len(self._waiting)
            kind = self._waiting[0].kind
            batch = [asked for asked in self._waiting if asked.kind == kind]
            batch = batch[: self.settings.local_batch]
            self._waiting = [asked for asked in self._waiting if asked not in batch]
            try:
                self._anyone(asks=True)
                self._reply_to(batch)
            except Exception as error:  # it is raised where the replies are waited for
                for asked in (*batch, *self._waiting):
                    if not asked.reply.done():
                        asked.reply.set_exception(error)
                self._waiting = []

    def _anyone(self, *, asks: bool) -> bool:
        """Say whether any rank asks something, or this one, where they need not go in step."""
        if not self._in_step:
            return asks
        flag = torch.tensor([int(asks)], device=self.engine.model.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def _reply_to(self, batch: list[_Asked]) -> None:
        """Run the model once, and give each request its reply."""
        requests = [{"messages": [{"role": "user", "content": asked.prompt}]} for asked in batch]
        options = batch[0].options if batch else {"temperature": 0.0}
        config = RequestConfig(
            max_tokens=options.get("max_tokens", 1),
            temperature=options["temperature"],
            stop=options.get("stop"),
            logprobs=options.get("logprobs", False),
            top_logprobs=options.get("top_logprobs"),
        )
        nothing = [{"messages": [{"role": "user", "content": "1"}]}]
        answers = self.engine.infer(requests or nothing, config, use_tqdm=False)
        if self._in_step and all(isinstance(answer, Exception) for answer in answers):
            self.engine.infer(nothing, config, use_tqdm=False)  # the others run the model now
        self.usage.requests += len(batch)
        for asked, answer in zip(batch, answers[: len(batch)], strict=True):
            if asked.reply.done():
                continue  # its batch was given up
            if isinstance(answer, Exception):
                error = EndpointError(f"the model does not take a text: {answer}", status=400)
                asked.reply.set_exception(error)
                continue
            reply = _reply(answer)
            self.usage.prompt_tokens += reply.prompt_tokens
            self.usage.completion_tokens += reply.completion_tokens
            asked.reply.set_result(reply)


def _reply(answer: Any) -> Reply:
    """Return what ms-swift's engine says as a server's reply."""
    choice = answer.choices[0]
    entries = (choice.logprobs or {}).get("content") or ()
    tokens = tuple(
        (e["token"], {top["token"]: top["logprob"] for top in e.get("top_logprobs") or ()})
        for e in entries
    )
    return Reply(
        choice.message.content or "",
        choice.finish_reason,
        tokens,
        bool(choice.message.reasoning_content),
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
