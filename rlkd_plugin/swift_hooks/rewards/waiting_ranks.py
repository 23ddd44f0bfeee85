"""Warns at the start if other ranks would time out before a reward gives up.

A rank whose reward retries a server keeps all others waiting in the next collective operation.
Their time-out has to be longer than our retry deadline. Otherwise the run ends with an error of the
communication library, which names neither the server nor the cause.
"""

import os
from typing import Any

import torch.distributed as dist

HCCL_EXEC_TIMEOUT = 1836.0
"""Default of the environment variable of this name, in seconds; 0 there means no limit."""


def waiting_ranks_warnings(args: Any, longest: float) -> list[str]:
    """Return a warning for each time-out that is shorter than a reward may take.

    Args:
        args: ms-swift's training arguments; of them `ddp_timeout`, in seconds.
        longest: most seconds that one request of the reward may take, with its retries.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return []
    timeouts = {}
    if timeout := getattr(args, "ddp_timeout", None):
        timeouts["--ddp_timeout"] = float(timeout)
    if dist.is_initialized() and "hccl" in dist.get_backend():
        timeouts["HCCL_EXEC_TIMEOUT"] = _seconds("HCCL_EXEC_TIMEOUT", HCCL_EXEC_TIMEOUT)
    return [
        f"rlkd: {name} is {seconds:g} s, but a reward may retry its server for {longest:g} s "
        "(RLKD_PATIENCE and RLKD_REQUEST_TIMEOUT): the other ranks would end the run first. Set "
        f"{name} to more than {longest:g}, or RLKD_PATIENCE to less"
        for name, seconds in timeouts.items()
        if 0 < seconds <= longest
    ]


def _seconds(variable: str, default: float) -> float:
    try:
        return float(os.environ.get(variable) or default)
    except ValueError:
        return default
