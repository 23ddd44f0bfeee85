"""Two ranks score and log completions in one table, without a model; a script.

Each rank is a process of its own in a gloo group, as in a training. The first table is of a batch
of two groups a rank. For the second, dynamic sampling drops the first rank's first group and takes
one that the same rank draws later, so that samples move from rank to rank.
"""

import os
import sys
from pathlib import Path

import torch.distributed as dist

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.support.table_rows import EQUAL, FIRST, SECOND
from tests.support.table_trainer import Structured, TableTrainer


def main() -> None:
    rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
    again = (FIRST[:2] + EQUAL, EQUAL + EQUAL)[rank]
    trainer = TableTrainer(folder, 8, [Structured()], [again])
    trainer.begin()
    for drawn in (FIRST, SECOND), (EQUAL + FIRST[2:], SECOND):
        trainer.draw(drawn[rank])
        trainer.table()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
