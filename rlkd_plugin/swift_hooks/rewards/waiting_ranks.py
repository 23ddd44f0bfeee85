"""Says at the start where other ranks would stop waiting before a reward gives up.

A rank whose reward waits for a server keeps all others waiting in the next collective operation.
Their time-out has to be longer than our patience; else the run ends with an error of the
communication library, which names neither the server nor the cause.
"""

import os
from typing import Any

import torch.distributed as dist

HCCL_EXEC_TIMEOUT = 1836.0
"""Seconds that HCCL waits where the variable of this name is not set; 0 in it is for ever."""


def waiting_ranks_warnings(args: Any, longest: float) -> list[str]:
    """Return a sentence for each time-out that is shorter than a reward may take.

    Args:
        args: ms-swift's training arguments; of them `ddp_timeout`, in seconds.
        longest: seconds for which one request of the reward may be tried.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) == 1:
        return []
    timeouts = {}
    if timeout := getattr(args, "ddp_timeout", None):
        timeouts["--ddp_timeout"] = float(timeout)
    if dist.is_initialized() and "hccl" in dist.get_backend():
        timeouts["HCCL_EXEC_TIMEOUT"] = _seconds("HCCL_EXEC_TIMEOUT", HCCL_EXEC_TIMEOUT)
    return [
        f"rlkd: {name} is {seconds:g} s, but a reward may wait for its server for {longest:g} s "
        "(RLKD_PATIENCE and RLKD_REQUEST_TIMEOUT): the other ranks would end the run before the "
        f"server is given up. Set {name} to more than {longest:g}, or our patience to less"
        for name, seconds in timeouts.items()
        if 0 < seconds <= longest
    ]


def _seconds(variable: str, default: float) -> float:
    try:
        return float(os.environ.get(variable) or default)
    except ValueError:
        return default
