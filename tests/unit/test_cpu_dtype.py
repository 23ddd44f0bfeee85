"""In which type the small models of demo, tests and `small` are computed on a CPU."""

import pytest
import torch

from rlkd_plugin.swift_hooks.local.cpu_dtype import cpu_dtype
from tools.stand_ins.places import ROOT


@pytest.mark.parametrize(
    ("able", "dtype"),
    [
        ({"avx2": True, "avx512_f": False, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, "float32"),
        ({"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ({"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ({"architecture": "aarch64"}, "float32"),
    ],
    ids=["AVX2", "AVX512", "AVX512-BF16", "AMX", "another"],
)
def test_bfloat16_is_for_cpus_that_compute_with_it(
    monkeypatch: pytest.MonkeyPatch, able: dict[str, object], dtype: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert cpu_dtype() == dtype


def test_an_old_torch_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert cpu_dtype() == "float32"


@pytest.mark.parametrize("name", ["demo_grpo_cpu", "gsrm_sft_cpu"])
def test_the_configs_are_for_any_cpu(name: str) -> None:
    assert "\ntorch_dtype: float32 " in (ROOT / "swift_configs" / f"{name}.yaml").read_text("utf-8")
