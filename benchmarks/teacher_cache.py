"""Two processes on one teacher cache, one of them killed in the middle; prints the counts.

    python -m benchmarks.teacher_cache [--operations 10000]

`tools/stand_ins/killed_cache_writer.py` says what has to hold.
"""

import argparse
import tempfile
from pathlib import Path

from tools.stand_ins.killed_cache_writer import check_cache


def main() -> None:
    """Run it in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(check_cache(Path(folder), options.operations))


if __name__ == "__main__":
    main()
