"""A plugin file for `swift sft`: the callback `step_times` prints each step's seconds at the end.

A step lasts from the end of one to the end of the next, so it includes fetching and counting its
batches; the first, which warms up, is skipped.
"""

import json
import time
from pathlib import Path
from typing import Any

from swift.callbacks import TrainerCallback, callbacks_map


class StepTimes(TrainerCallback):
    """Prints `step_times {"seconds": [...], "peak_kb": ...}`."""

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start an empty list."""
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Record the time at which the step ends."""
        self.ends.append(time.perf_counter())

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Print the steps and the process's largest memory."""
        seconds = [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]
        status = Path("/proc/self/status").read_text("utf-8")
        peak = int(status.partition("VmHWM:")[2].split()[0])
        print("step_times", json.dumps({"seconds": seconds, "peak_kb": peak}), flush=True)


callbacks_map["step_times"] = StepTimes
