"""The type of weights with which a CPU computes fastest.

A CPU with AVX512-BF16 or AMX trains in bfloat16 at more than twice float32's pace. On others it is
emulated, and training takes twenty times as long as in float32.
"""

import torch


def cpu_dtype() -> str:
    """Return what ms-swift's `--torch_dtype` takes: "bfloat16" where this CPU computes with it.

    "float32" elsewhere, and where an old torch does not tell.
    """
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
