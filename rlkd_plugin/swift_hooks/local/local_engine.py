"""The engine of the training process: a GSRM whose weights ms-swift loaded, without a server.

It hands the scheduler's requests to ms-swift's own inference engine, in batches. The scheduler asks
one question at a time; the requests that come until every walk waits for a reply share a batch.
"""

import asyncio
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from swift.infer_engine import InferRequest, RequestConfig, TransformersEngine
from swift.template import Template
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from rlkd_plugin.gsrm import EndpointError, RlkdError
from rlkd_plugin.llm_io.message_text import split_message
from rlkd_plugin.llm_io.prompted_engine import PromptedEngine, Role
from rlkd_plugin.llm_io.replies import Reply
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.llm_io.token_alternatives import read_tokens

TEMPLATE_TOKENS = 64
"""Most tokens that a chat template adds to a prompt."""
BUDGET_STEP = 256
"""Token budgets are rounded up to a multiple of it: paths of similar length share a batch."""
NEUTRAL_GREEDY = {
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "num_beams": 1,
}
"""Values that change nothing; None would be replaced by those of the model's config."""
NEUTRAL = {
    **NEUTRAL_GREEDY,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""The same where tokens are sampled."""
POLL_INTERVAL = 0.01
"""Seconds between two checks whether the model is free."""
QUIET_TURNS = 20
"""Turns of the event loop without a new request after which a batch is run."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """A request for one completion, and the future of its reply."""

    role: Role
    prompt: str
    options: dict[str, Any]
    reply: "asyncio.Future[Reply]"

    @property
    def kind(self) -> tuple[Any, ...]:
        """The options that all requests of a batch share."""
        options = self.options
        shared = options["temperature"], options["max_tokens"], options.get("logprobs", False)
        return self.role, *shared


class _Inference(TransformersEngine):
    """ms-swift's engine; the reply to a text that cannot be encoded is its error.

    The sampling options of the model's `generation_config` are ignored: they are meant for a chat,
    and a repetition penalty acts on tags, digits and formulas.
    """

    strict = False

    def _prepare_generation_config(self, request_config: RequestConfig) -> Any:
        config = super()._prepare_generation_config(request_config)
        for option, value in (NEUTRAL if config.do_sample else NEUTRAL_GREEDY).items():
            setattr(config, option, value)
        return config


class LocalEngine(PromptedEngine):
    """Decomposes and judges with one model in this process.

    With ZeRO-3 every forward pass needs all ranks, so they run in step: each runs a batch, or a
    short dummy one, as long as any rank has a request. The model serves one batch of samples at a
    time; a second one waits in `__aenter__`.

    Args:
        settings: the prompts' kind, the limits and the size of a batch.
        model: a causal language model in evaluation mode.
        template: the model's, of ms-swift.

    Raises:
        RlkdError: with FSDP, where ranks with different numbers of batches would deadlock.
    """

    name = "local"

    def __init__(self, settings: Settings, model: PreTrainedModel, template: Template) -> None:
        if is_fsdp_enabled():
            raise RlkdError(
                "--reward_model_plugin rlkd_gsrm works with DDP and DeepSpeed, not with FSDP; use "
                "DeepSpeed, or a server (--reward_funcs rlkd_gsrm)"
            )
        super().__init__(settings, str(model.config._name_or_path))
        self.model = model
        self.engine = _Inference(model, template=template, max_batch_size=0)
        self._in_step = is_deepspeed_zero3_enabled() and dist.is_initialized()
        self._free = threading.Lock()

    async def __aenter__(self) -> "LocalEngine":
        while not self._free.acquire(blocking=False):  # another loop's batch may have it
            await asyncio.sleep(POLL_INTERVAL)
        self.usage.reset()
        self._waiting: list[_Request] = []
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            while kind is None and self._any_rank_asks(here=False):
                self._reply_to([])
        finally:
            self._free.release()

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the parts that belong to an event loop."""
        return {k: v for k, v in vars(self).items() if k not in ("_waiting", "_runner", "_free")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._free = threading.Lock()

    async def probe(self) -> None:
        """Do nothing: the model is loaded."""

    async def _ask(self, role: Role, prompt: str, **options: Any) -> Reply:
        tokens = len(self.engine.tokenizer(prompt)["input_ids"]) + TEMPLATE_TOKENS
        room = (self.engine.max_model_len or sys.maxsize) - tokens
        if room < options["max_tokens"]:
            raise EndpointError(
                f"a prompt of {tokens} tokens leaves no room for {options['max_tokens']} tokens of "
                f"reply in the model's {self.engine.max_model_len}; lower RLKD_GSRM_MAX_CHARS, to "
                "which paths are clipped",
                status=400,
            )
        steps = -(-options["max_tokens"] // BUDGET_STEP) * BUDGET_STEP
        options["max_tokens"] = min(room, steps) if steps > BUDGET_STEP else options["max_tokens"]
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(role, prompt, options, reply))
        self.usage.add(requests=1)
        answer = await reply
        self.usage.add(
            prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens
        )
        return answer

    async def _run(self) -> None:
        """Reply to the waiting requests, a batch at a time, whenever no new one comes."""
        while True:
            quiet, before = 0, len(self._waiting)
            while quiet < QUIET_TURNS or not self._waiting:
                await asyncio.sleep(0 if self._waiting else 0.001)
                quiet = quiet + 1 if len(self._waiting) == before else 0
                before = len(self._waiting)
            kind = self._waiting[0].kind
            batch = [request for request in self._waiting if request.kind == kind]
            batch = batch[: self.settings.local_batch]
            self._waiting = [request for request in self._waiting if request not in batch]
            try:
                self._any_rank_asks(here=True)
                self._reply_to(batch)
            except Exception as error:  # it is raised where the replies are awaited
                for request in (*batch, *self._waiting):
                    if not request.reply.done():
                        request.reply.set_exception(error)
                self._waiting = []

    def _any_rank_asks(self, *, here: bool) -> bool:
        """Return whether this rank has a request; where ranks run in step, whether any has one."""
        if not self._in_step:
            return here
        flag = torch.tensor([int(here)], device=self.model.device)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag.item())

    def _reply_to(self, batch: list[_Request]) -> None:
        """Run the model once, and give each request its reply."""
        prompts = [_user_message(request.prompt) for request in batch]
        options: dict[str, Any] = batch[0].options if batch else {"temperature": 0.0}
        config = RequestConfig(
            max_tokens=options.get("max_tokens", 1),
            temperature=options["temperature"],
            stop=options.get("stop"),
            logprobs=options.get("logprobs", False),
            top_logprobs=options.get("top_logprobs"),
        )
        nothing = [_user_message("1")]
        answers = self.engine.infer(prompts or nothing, config, use_tqdm=False)
        if self._in_step and all(isinstance(answer, Exception) for answer in answers):
            self.engine.infer(nothing, config, use_tqdm=False)  # the other ranks run the model now
        for request, answer in zip(batch, answers[: len(batch)], strict=True):
            if request.reply.done():
                continue  # its batch was cancelled
            if isinstance(answer, Exception):
                error = EndpointError(f"the model rejected a text: {answer}", status=400)
                request.reply.set_exception(error)
                continue
            request.reply.set_result(_read_reply(answer))


def _user_message(prompt: str) -> InferRequest:
    return InferRequest([{"role": "user", "content": prompt}])


def _read_reply(answer: Any) -> Reply:
    """Return a reply of ms-swift's engine in the form of a server's."""
    choice = answer.choices[0]
    content, reasoning = split_message(vars(choice.message))
    return Reply(
        content,
        choice.finish_reason,
        read_tokens(choice.logprobs),
        reasoning,
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
