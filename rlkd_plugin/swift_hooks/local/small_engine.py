"""`RLKD_ENGINE=small`: the small GSRM that comes with the plugin, in this process.

A LoRA adapter of SmolLM2-135M-Instruct, trained by `make small-gsrm` on grade-school mathematics
(`small_gsrm/README.md`, the card). A learned stand-in for the paper's 7B model: with it the whole
loop runs on one machine without a server. `engines.word_matcher` matches what it writes.
"""

import hashlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import torch
from swift.model import get_model_processor
from swift.template import Template, get_template
from swift.utils import get_logger
from transformers import PreTrainedModel
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.integrations.fsdp import is_fsdp_enabled

from rlkd_plugin.engines.base import Decomposition, Verdict
from rlkd_plugin.engines.word_matcher import match_by_words
from rlkd_plugin.gsrm import Field, RlkdError, Step, Structure
from rlkd_plugin.llm_io.settings import Settings
from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from rlkd_plugin.swift_hooks.local.grouped_attention import share_keys
from rlkd_plugin.swift_hooks.local.local_engine import LocalEngine

logger = get_logger()

ADAPTER = Path(str(files("rlkd_plugin.swift_hooks.local"))) / "small_gsrm"
MOST_CHARS = 5_000
"""Most characters of a path; a longer one loses its end.

Path, problem and structure share the model's 8,192 tokens. 5,000 tokens of a path fit; a text with
more tokens than characters may be rejected.
"""
MOST_TOKENS = 512
"""Most tokens of a structure, about seven steps. Some never end, and the whole batch waits."""


class SmallEngine(LocalEngine):
    """Decomposes with an adapter that is merged into the base model, and matches by words.

    The prompt and the limits are those of its training; the settings of other engines are ignored.

    Args:
        settings: name the base model, `RLKD_SMALL_MODEL`, and the size of a batch.
        adapter: a folder with a PEFT adapter of that model.

    Raises:
        RlkdError: with ZeRO-3 or FSDP, which would split the model over the ranks; or if the base
            model or the adapter cannot be loaded.
    """

    name = "small"

    def __init__(self, settings: Settings, adapter: Path = ADAPTER) -> None:
        if is_deepspeed_zero3_enabled() or is_fsdp_enabled():
            raise RlkdError(
                "RLKD_ENGINE=small keeps its model whole on every rank, which ZeRO-3 and FSDP do "
                "not allow; use --deepspeed zero2, or RLKD_ENGINE=server"
            )
        options = {
            "gsrm_prompt": "gsrm",
            "gsrm_regex": False,
            "gsrm_body": {},
            "gsrm_revision": "",
            "gsrm_max_chars": min(settings.gsrm_max_chars, MOST_CHARS),
            "gsrm_max_tokens": min(settings.gsrm_max_tokens, MOST_TOKENS),
        }
        model, template, weights = merge_adapter(settings.small_model, adapter)
        super().__init__(settings.model_copy(update=options), model, template)
        self.gsrm_name = f"small {settings.small_model} {weights} without repeats"
        logger.info(
            f"rlkd: small: prompt `gsrm`, paths of at most {self.settings.gsrm_max_chars:,} "
            f"characters, structures of {self.settings.gsrm_max_tokens:,} tokens, no judge; the "
            "settings of the GSRM's prompt and of the judge are ignored"
        )

    async def decompose(self, problem: str, domain: str, path: str) -> Decomposition:
        """Return the structure that the adapter writes for a path, without duplicate steps."""
        found = await super().decompose(problem, domain, path)
        if found.structure is None:
            return found
        return replace(found, structure=drop_duplicates(found.structure))

    async def match(self, field: Field, teacher: str, student: str) -> Verdict:
        """Return whether two texts match by words, numbers and operations."""
        return match_by_words(field, teacher, student)


def drop_duplicates(structure: Structure) -> Structure:
    """Return a structure without the steps whose question and answer an earlier one has.

    The adapter sometimes writes the last step twice, which no path does.
    """
    first: dict[tuple[str, str], Step] = {}
    for step in structure.steps:
        first.setdefault((step.sub_problem, step.answer), step)
    return replace(structure, steps=tuple(first.values()))


def merge_adapter(base: str, adapter: Path) -> tuple[PreTrainedModel, Template, str]:
    """Return the base model with an adapter merged into it, its template and a digest.

    The model is on the device on which this rank trains, in bfloat16, or in float32 on a CPU that
    only emulates bfloat16. The digest, the same on every device, covers the adapter and the base
    model's embeddings.

    Raises:
        RlkdError: if one of them cannot be loaded, or they do not fit each other.
    """
    from accelerate import PartialState
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTuner

    try:
        model, processor = get_model_processor(
            base,
            model_type="llama",
            torch_dtype=torch.float32,
            device_map=str(PartialState().device),  # ms-swift may spread a model over devices
            download_model=True,
        )
    except Exception as error:  # a hub has errors of its own
        raise RlkdError(
            f"RLKD_SMALL_MODEL={base!r} cannot be loaded ({str(error)[:200]}); give "
            "SmolLM2-135M-Instruct: its id, or its folder (from a clone's root, after `make "
            "setup`: models/SmolLM2-135M-Instruct)"
        ) from error
    assert model is not None  # ms-swift was asked to load it
    embeddings = model.get_input_embeddings().get_parameter("weight")
    digest = hashlib.sha256(embeddings.detach().cpu().numpy().tobytes())
    try:
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            digest.update((adapter / name).read_bytes())
        tuner = PeftModel.from_pretrained(model, str(adapter)).base_model
        assert isinstance(tuner, BaseTuner), "its weights cannot be merged"
        merged = tuner.merge_and_unload()
    except Exception as error:  # safetensors has one of its own
        raise RlkdError(
            f"the adapter {adapter} does not fit RLKD_SMALL_MODEL={base!r}: {str(error)[:200]}"
        ) from error
    assert isinstance(merged, PreTrainedModel)  # the base model with other weights
    on_cpu = model.device.type == "cpu"
    merged.to(getattr(torch, cpu_dtype() if on_cpu else "bfloat16"))
    merged.eval().requires_grad_(False)
    if on_cpu:
        share_keys(merged)
    return merged, get_template(processor, template_type="chatml"), digest.hexdigest()[:16]
