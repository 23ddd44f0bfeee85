"""Runs `swift sft` or `swift rlhf` as on a device, with gloo for the ranks' communication.

    torchrun ... tools/stand_ins/on_cpu.py rlhf x.yaml

DeepSpeed uses the process group that this file opens; the run's options stay as they are. Its
collectives in shared memory, which it would compile for a minute, are off: devices have none.
"""

import atexit
import os
import sys

import deepspeed
import deepspeed.comm.torch as transport
import torch.distributed as dist

if __name__ == "__main__":
    transport.build_shm_op = lambda: None
    deepspeed.init_distributed(dist_backend="gloo")
    from swift.cli.main import parse_yaml_args
    from swift.pipelines import rlhf_main, sft_main

    command, *words = sys.argv[1:]
    parse_yaml_args(words)
    {"sft": sft_main, "rlhf": rlhf_main}[command](words)
    if dist.is_initialized():
        dist.barrier()  # a rank that ends first breaks the connections of the others
        dist.destroy_process_group()
    atexit._run_exitfuncs()  # one tells the rollout server that this trainer has ended
    # threads of gloo may abort a process that clears up: "terminate called without an exception"
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
