"""Gives the memory of a model that is gone back to the device, for another process to use."""


def free_device_memory() -> None:
    """Free what no object holds; PyTorch would keep it for the next model of this process."""
    from swift.utils import gc_collect  # imports torch, which few commands need

    gc_collect()
