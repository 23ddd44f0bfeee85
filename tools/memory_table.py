"""Calculates what each recipe needs of a training device's memory, from the YAMLs.

    python tools/memory_table.py

Nothing here is measured. The models are Qwen2's 7B; a gigabyte is 10^9 bytes, and a device of 64 GB
has 65.4 of them for us (60.96 GiB, as vllm-ascend's logs show it). Counted are:

- what ZeRO-3 shards over four devices: weights, gradients (bfloat16), Adam's two moments and the
  weights themselves in float32; frozen models in bfloat16. Offloaded, only the gradients stay;
- gathered: the layers that a pass holds at once (`stage3_max_live_parameters`, 10^9);
- activations with checkpointing: every layer's input, and one layer in full;
- logits of the tokens that have a loss: logits, log-softmax and the gradients of both in bfloat16
  for GRPO, the float32 copy that Transformers makes in training for SFT;
- beside: 4 GB for the runtime, communication buffers and fragmentation, an assumption.

The other peak is when a whole model is together on each device: GRPO hands the weights to the
rollout server, PPO writes its completions, keeping float32 logits twice while it joins them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).resolve().parents[1] / "swift_configs"
RECIPES = ("rlkd", "rlkd_zero", "grpo", "shift_rlkd", "sft_distill", "shift_sft")
DEVICES = 4
DEVICE_GB = 65.4
BESIDE = 4.0
BF16, FP32 = 2, 4
ADAM = 3 * FP32
"""Bytes a parameter: two moments and the weight in float32."""
GIGA = 1e9


@dataclass(frozen=True)
class Model:
    """The shape that Qwen2.5-7B, its Math and its DeepSeek-R1-Distill model share (config.json)."""

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

    def activations(self, tokens: int) -> float:
        """Bytes of a checkpointed pass."""
        one_layer = 7 * self.hidden + 2 * self.kv_width + 4 * self.inner
        return tokens * BF16 * (self.layers * self.hidden + one_layer)


MODEL = Model()


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
        """What a forward and backward pass needs."""
        return self.kept + self.gathered + self.activations + self.logits + BESIDE * GIGA

    @property
    def kept(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.frozen

    @property
    def highest(self) -> float:
        return max(self.step, self.other_peak)


def need(config: dict[str, Any]) -> Need:
    """Calculate it for a recipe."""
    kind = config.get("rlhf_type", "sft")
    rows = config["per_device_train_batch_size"]
    trained, frozen = MODEL.parameters, 0
    if kind == "grpo":
        frozen = MODEL.parameters if config["beta"] else 0
    elif kind == "rm":
        trained = MODEL.backbone
        rows *= 2  # the preferred one and the other
    elif kind == "ppo":
        trained = MODEL.parameters + MODEL.backbone
        frozen = MODEL.parameters + MODEL.backbone
    answer = config.get("max_completion_length", 0)
    tokens = rows * (config["max_length"] + answer)
    scored = {"sft": tokens, "rm": 0}.get(kind, rows * answer)
    logits_bytes = 2 * (BF16 + FP32) if kind == "sft" else 4 * BF16
    offloaded = config["deepspeed"].endswith("offload")
    one = 1 / DEVICES
    weights, optimizer = (0.0, 0.0) if offloaded else (BF16 * trained, ADAM * trained)
    parts = {
        "weights": weights * one,
        "gradients": BF16 * trained * one,
        "optimizer": optimizer * one,
        "frozen": BF16 * frozen * one,
    }
    whole = BF16 * MODEL.parameters
    if kind == "ppo":  # all completions of a step, their logits twice while they are joined
        kept = rows * config["gradient_accumulation_steps"] * answer * MODEL.vocabulary
        whole += 2 * FP32 * kept + MODEL.kv_bytes * tokens
    return Need(
        **parts,
        gathered=BF16 * 1e9,
        activations=MODEL.activations(tokens),
        logits=float(scored * MODEL.vocabulary * logits_bytes),
        other_peak=sum(parts.values()) + whole + BESIDE * GIGA if kind in ("grpo", "ppo") else 0.0,
    )


def table() -> str:
    """Return the recipes' needs as a Markdown table, in GB a device."""
    lines = [
        "| recipe | weights | gradients | optimizer | frozen models | gathered | activations "
        "| logits | a step | other peak | of 65.4 GB |",
        "| --- |" + " ---: |" * 10,
    ]
    for name in (*RECIPES, "ppo_reward", "ppo"):
        config = yaml.safe_load((CONFIGS / f"{name}_npu.yaml").read_text("utf-8"))
        n = need(config)
        parts = [n.weights, n.gradients, n.optimizer, n.frozen, n.gathered, n.activations, n.logits]
        cells = [f"{part / GIGA:.1f}" for part in (*parts, n.step)]
        cells.append(f"{n.other_peak / GIGA:.1f}" if n.other_peak else "")
        share = n.highest / GIGA / DEVICE_GB
        lines.append(f"| `{name}` | " + " | ".join(cells) + f" | {share:.0%} |")
    return "\n".join(lines)


def server_table() -> str:
    """Return what is left for the KV cache of a 7B server, by the share of a device it is given."""
    lines = [
        "| `--gpu-memory-utilization` | of a 64 GB device | weights | other | KV cache "
        "| tokens in it |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for share in (0.29, 0.45, 0.9):
        given = share * DEVICE_GB * GIGA
        weights, other = BF16 * MODEL.parameters, 1.5 * GIGA
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
