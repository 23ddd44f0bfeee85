"""The data type in which a CPU computes fastest.

A CPU with AVX512-BF16 or AMX trains in bfloat16 more than twice as fast as in float32. Other CPUs
emulate it, and training takes twenty times as long as in float32.
"""

import torch


def cpu_dtype() -> str:
    """Return this CPU's value of `--torch_dtype`: "bfloat16" where it has instructions for it.

    "float32" elsewhere, and with a torch that is too old to report it.
    """
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
