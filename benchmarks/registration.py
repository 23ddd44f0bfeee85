"""What registering the plugin adds to ms-swift's own start.

    python -m benchmarks.registration

Imports what `swift rlhf` imports by itself, then the plugin's register file, in fresh processes.
"""

import statistics
import subprocess
import sys

from tools.stand_ins.places import ROOT

MEASURE = """
import sys, time
started = time.perf_counter()
from swift.pipelines import rlhf_main
from swift.arguments import RLHFArguments
import swift.rewards, swift.rlhf_trainers.grpo_trainer
loaded = time.perf_counter()
from swift.utils.utils import import_external_file
import_external_file(sys.argv[1])
print(loaded - started, time.perf_counter() - loaded)
"""


def main() -> None:
    """Measure five times and print the medians."""
    register = str(ROOT / "rlkd_plugin" / "register.py")
    runs = [
        subprocess.run(
            [sys.executable, "-c", MEASURE, register], capture_output=True, text=True, check=True
        )
        for _ in range(5)
    ]
    times = [tuple(map(float, run.stdout.split()[-2:])) for run in runs]
    host, ours = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"median of 5: ms-swift {host:.2f} s, the plugin {ours:.3f} s, {ours / host:.1%}")


if __name__ == "__main__":
    main()
