"""`RLKD_ENGINE=small`: the small GSRM and its judge that come with the plugin, in this process.

Two LoRA adapters of SmolLM2-135M-Instruct, trained by `make small-gsrm` on grade-school mathematics
(`small_gsrm/README.md`, the card). A learned stand-in for the paper's 7B models: it lets the whole
loop run on one machine without a server.
"""

import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from swift.model import get_model_processor
from swift.template import get_template
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.engines.rules import RulesEngine
from rlkd_plugin.gsrm import Field, RlkdError
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.local_engine import LocalEngine

ADAPTERS = Path(str(files("rlkd_plugin.swift_hooks"))) / "small_gsrm"
MOST_CHARS = 5_000
"""A longer path loses its end: path, problem and structure share the model's 8,192 tokens. Even
where each character is a token there is room; where it is more, the path is refused."""
MOST_TOKENS = 2_048
NUMBER = re.compile(r"\d")


class SmallEngine(LocalEngine):
    """Decomposes and judges with the adapters of a folder, each merged into the base model.

    Args:
        settings: name the base model, `RLKD_SMALL_MODEL`, and the size of a batch.
        adapters: a folder with `gsrm` and `judge`, PEFT adapters of that model.

    Raises:
        RlkdError: with ZeRO-3 or FSDP, which would split the two models over the ranks; or if the
            base model or an adapter cannot be loaded.
    """

    name = "small"

    def __init__(self, settings: Settings, adapters: Path = ADAPTERS) -> None:
        if is_deepspeed_zero3_enabled() or is_fsdp_enabled():
            raise RlkdError(
                "RLKD_ENGINE=small keeps its models whole on every rank, which ZeRO-3 and FSDP do "
                "not allow; use --deepspeed zero2, or RLKD_ENGINE=server"
            )
        gsrm, judge = (_merged(settings.small_model, adapters / n) for n in ("gsrm", "judge"))
        options = {
            "gsrm_prompt": "gsrm",
            "gsrm_regex": False,
            "gsrm_max_chars": min(settings.gsrm_max_chars, MOST_CHARS),
            "gsrm_max_tokens": min(settings.gsrm_max_tokens, MOST_TOKENS),
            "judge_max_tokens": 1,
        }
        super().__init__(settings.model_copy(update=options), *gsrm, judge=judge)
        self.gsrm_name = f"small {settings.small_model} {_digest(adapters / 'gsrm')}"
        self.rules = RulesEngine()

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return the judge's verdict; of answers with numbers, whether the last ones are equal."""
        if field == "answer" and NUMBER.search(teacher) and NUMBER.search(student):
            return await self.rules.match(field, teacher, student)
        return await super().match(field, teacher, student)


def _merged(base: str, adapter: Path) -> tuple[torch.nn.Module, Any]:
    """Return the base model with an adapter merged into it, in bfloat16, and its template."""
    from peft import PeftModel

    try:
        model, processor = get_model_processor(
            base, model_type="llama", torch_dtype=torch.float32, download_model=True
        )
    except (OSError, ValueError, AssertionError) as error:
        raise RlkdError(
            f"RLKD_SMALL_MODEL={base!r} cannot be loaded ({str(error)[:200]}); it is "
            "SmolLM2-135M-Instruct: its id, or a folder, as `make setup` leaves it in "
            "models/SmolLM2-135M-Instruct"
        ) from error
    try:
        merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    except (OSError, ValueError, RuntimeError) as error:
        raise RlkdError(
            f"the adapter {adapter} does not fit RLKD_SMALL_MODEL={base!r}: {str(error)[:200]}"
        ) from error
    template = get_template(processor, template_type="chatml")
    return merged.to(torch.bfloat16).eval().requires_grad_(False), template


def _digest(adapter: Path) -> str:
    files = (adapter / name for name in ("adapter_config.json", "adapter_model.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
