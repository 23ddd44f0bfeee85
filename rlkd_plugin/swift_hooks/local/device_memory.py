"""Returns the memory of a deleted model to the device, for other processes."""


def free_device_memory() -> None:
    """Free unused memory, which PyTorch would keep for the next model of this process."""
    from swift.utils import gc_collect  # imports torch, which few commands need

    gc_collect()
