"""Calculates the memory that each recipe needs on a training device, from the YAMLs.

    python tools/memory_table.py

Nothing here is measured. The models are Qwen2's 7B; a gigabyte is 10^9 bytes, and a device of 64 GB
has 65.4 of them for us (60.96 GiB, as vllm-ascend's logs show it). The sum has these parts:

- what ZeRO-3 shards over four devices or two: weights, gradients (bfloat16), Adam's two moments
  and the weights themselves in float32; frozen models in bfloat16. With offload all of it is in the
  host's memory;
- gathered: the layers that a pass holds at once (`stage3_max_live_parameters`, 10^9);
- activations with checkpointing: every layer's input, and one layer in full. ms-swift's PPO has
  none (it follows trl): all layers in full, of student and value model;
- logits of the tokens that have a loss: for GRPO four bfloat16 tensors (logits, log-softmax, the
  gradients of both); for SFT Transformers' loss, three float32 tensors beside the logits, for the
  GSRM of the tokens of a structure alone; for PPO as for GRPO, and the float32 logits of all
  completions of a step, which it keeps;
- other: 4 GB for the runtime, communication buffers and fragmentation, an assumption.

The other peak is when whole models are together on each device: GRPO hands the weights to the
rollout server; PPO writes its completions with student and value model gathered (trl's
`unwrap_model_for_generation`), and has the logits of a step three times while it joins them: those
of the step before, the parts, and the whole. Or it is when an offloaded teacher reads completions:
its shard is there then, with the activations of one layer and two of the four tensors of logits.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).resolve().parents[1] / "swift_configs"
RECIPES = ("rlkd", "rlkd_kl", "rlkd_zero", "grpo", "shift_rlkd", "sft_distill", "shift_sft")
DEVICES = 4
DEVICE_GB = 65.4
BESIDE = 4.0
SERVER_BESIDE = 1.5
"""GB of a server beside weights and cache: activations, graphs, buffers; an assumption."""
STRUCTURE_TOKENS = 4096
"""The longest structure that the reward asks a GSRM for (RLKD_GSRM_MAX_TOKENS)."""
BF16, FP32 = 2, 4
ADAM = 3 * FP32
"""Bytes a parameter: two moments and the weight in float32."""
GIGA = 1e9


@dataclass(frozen=True)
class Model:
    """A shape of Qwen2 (config.json); by default what the Qwen2.5 models of 7B share."""

    hidden: int = 3584
    inner: int = 18944
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    vocabulary: int = 152064

    @property
    def kv_width(self) -> int:
        return self.hidden // self.heads * self.kv_heads

    @property
    def backbone(self) -> int:
        """Parameters without the output layer: a value or reward model."""
        attention = 2 * self.hidden**2 + self.hidden + 2 * self.kv_width * (self.hidden + 1)
        layer = attention + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + self.hidden + self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        return self.backbone + self.vocabulary * self.hidden

    @property
    def kv_bytes(self) -> int:
        """Bytes that a token takes in the KV cache."""
        return 2 * self.layers * self.kv_width * BF16

    def activations(self, tokens: int, checkpointed: bool = True) -> float:
        """Bytes of a pass; the two norms of a layer keep their input in float32."""
        one_layer = BF16 * (7 * self.hidden + 4 * self.kv_width + 4 * self.inner)
        one_layer += 2 * FP32 * self.hidden
        if not checkpointed:
            return tokens * float(self.layers * one_layer)
        return tokens * float(self.layers * BF16 * self.hidden + one_layer)


MODEL = Model()
TEACHERS = {
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": Model(
        hidden=5120, inner=13824, layers=48, heads=40, kv_heads=8
    ),
}
"""The models that a recipe names as `teacher_model`."""


@dataclass(frozen=True)
class Need:
    """Bytes on one training device."""

    weights: float
    gradients: float
    optimizer: float
    frozen: float
    gathered: float
    activations: float
    logits: float
    other_peak: float

    @property
    def step(self) -> float:
        """The memory of a forward and backward pass."""
        return self.kept + self.gathered + self.activations + self.logits + BESIDE * GIGA

    @property
    def kept(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.frozen

    @property
    def highest(self) -> float:
        return max(self.step, self.other_peak)


def need(config: dict[str, Any], devices: int = DEVICES) -> Need:
    """Calculate the memory that a recipe needs on each of its training devices."""
    kind = config.get("rlhf_type", "sft")
    rows = config["per_device_train_batch_size"]
    trained, frozen = MODEL.parameters, 0
    if kind == "grpo":
        frozen = MODEL.parameters if config["beta"] else 0
    elif kind == "rm":
        trained = MODEL.backbone
        rows *= 2  # the preferred one and the other
    elif kind == "ppo":  # student and value model; reference and reward model
        trained = frozen = MODEL.parameters + MODEL.backbone
    on_device = 0 if config["deepspeed"].endswith("offload") else 1 / devices
    parts = {
        "weights": BF16 * trained * on_device,
        "gradients": BF16 * trained * on_device,
        "optimizer": ADAM * trained * on_device,
        "frozen": BF16 * frozen * on_device,
    }
    answer = config.get("max_completion_length", 0)
    tokens = rows * (config["max_length"] + answer)
    activations = MODEL.activations(tokens)
    scored = {"sft": tokens, "rm": 0}.get(kind, rows * answer)
    if "rlkd_structured" in config.get("loss_scale", ""):
        scored = rows * STRUCTURE_TOKENS
    logits = scored * MODEL.vocabulary * (BF16 + 3 * FP32 if kind == "sft" else 4 * BF16)
    other_peak = 0.0
    if kind == "grpo":
        other_peak = sum(parts.values()) + BF16 * MODEL.parameters + BESIDE * GIGA
        if name := config.get("teacher_model"):
            assert config["offload_teacher_model"]  # else it is one of the frozen models
            teacher = TEACHERS[name]
            reads = BF16 * (teacher.parameters / devices + 1e9) + logits / 2 + BESIDE * GIGA
            reads += teacher.activations(tokens, checkpointed=False) / teacher.layers
            other_peak = max(other_peak, sum(parts.values()) + reads)
    elif kind == "ppo":
        kept = FP32 * scored * config["gradient_accumulation_steps"] * MODEL.vocabulary
        logits += kept
        activations = 2 * MODEL.activations(tokens, checkpointed=False)
        other_peak = BF16 * trained + 3 * kept + MODEL.kv_bytes * tokens + BESIDE * GIGA
    return Need(
        **parts,
        gathered=BF16 * 1e9,
        activations=activations,
        logits=float(logits),
        other_peak=other_peak,
    )


def table() -> str:
    """Return the recipes' needs as a Markdown table, in GB a device."""
    lines = [
        "| recipe | weights | gradients | optimizer | frozen models | gathered | activations "
        "| logits | a step | other peak | of 65.4 GB |",
        "| --- |" + " ---: |" * 10,
    ]
    rows = [(name, DEVICES) for name in ("gsrm_sft", *RECIPES, "ppo_reward", "ppo")]
    for name, devices in [*rows, ("gsrm_sft", 2)]:
        file = CONFIGS / (f"{name}.yaml" if name == "gsrm_sft" else f"{name}_npu.yaml")
        config = yaml.safe_load(file.read_text("utf-8"))
        n = need(config, devices)
        parts = [n.weights, n.gradients, n.optimizer, n.frozen, n.gathered, n.activations, n.logits]
        cells = [f"{part / GIGA:.1f}" for part in (*parts, n.step)]
        cells.append(f"{n.other_peak / GIGA:.1f}" if n.other_peak else "")
        share = n.highest / GIGA / DEVICE_GB
        title = f"`{name}`" if devices == DEVICES else f"`{name}` on two devices"
        lines.append(f"| {title} | " + " | ".join(cells) + f" | {share:.0%} |")
    return "\n".join(lines)


def server_table() -> str:
    """Return what is left for the KV cache of a 7B server, by the share of a device it is given."""
    lines = [
        "| `--gpu-memory-utilization` | of a 64 GB device | weights | other | KV cache "
        "| tokens in it |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for share in (0.3, 0.45, 0.9):
        given = share * DEVICE_GB * GIGA
        weights, other = BF16 * MODEL.parameters, SERVER_BESIDE * GIGA
        cache = given - weights - other
        lines.append(
            f"| {share} | {given / GIGA:.1f} | {weights / GIGA:.1f} | {other / GIGA:.1f} "
            f"| {cache / GIGA:.1f} | {int(cache // MODEL.kv_bytes) // 1000},000 |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
    print()
    print(server_table())
