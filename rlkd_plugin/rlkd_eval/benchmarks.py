"""The test sets of section 4.1, with evalscope's names, and GSM8K for small models.

Results may also be on a user's own test sets: their keys begin with `own:`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlkd_plugin.gsrm import RlkdError


@dataclass(frozen=True)
class Benchmark:
    """A test set.

    Attributes:
        title: name in tables.
        evalscope: name of its adapter, which has the prompt, the data set's id and the scoring.
        file: name of a local copy, by its split.
        texts: columns of a local copy that hold texts, or numbers.
        others: more columns that it needs.
        samples: m, responses to each problem.
        ks: values of k for which the paper reports pass@k.
        options: options of the adapter that are not its defaults.
        local: more of them for a local copy, which has no subset but `default`.
        integers: whether every `answer` is an integer.
        is_math: whether a problem is asked without choices.
    """

    title: str
    evalscope: str
    file: str
    texts: tuple[str, ...]
    samples: int
    ks: tuple[int, ...]
    others: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)
    integers: bool = False
    is_math: bool = True


BENCHMARKS = {
    "aime24": Benchmark(
        title="AIME24",
        evalscope="aime24",
        file="test.jsonl",
        texts=("problem", "answer"),
        samples=64,
        ks=(4, 8, 16, 32, 64),
        integers=True,
    ),
    "math500": Benchmark(
        title="MATH-500",
        evalscope="math_500",
        file="test.jsonl",
        texts=("problem", "answer"),
        others=("level", "unique_id", "solution"),
        samples=4,
        ks=(4,),
    ),
    "gpqa_diamond": Benchmark(
        title="GPQA-Diamond",
        evalscope="gpqa_diamond",
        file="train.jsonl",
        texts=(
            "Question",
            "Correct Answer",
            "Incorrect Answer 1",
            "Incorrect Answer 2",
            "Incorrect Answer 3",
        ),
        samples=8,
        ks=(4, 8),
        is_math=False,
    ),
    "gsm8k": Benchmark(
        title="GSM8K",
        evalscope="gsm8k",
        file="test.jsonl",
        texts=("question", "answer"),
        samples=8,
        ks=(4, 8),
        options={"few_shot_num": 0},
        local={"subset_list": ["default"]},
    ),
}
"""The test sets by our names. m is the paper's: 64 for AIME, 4 for MATH-500, 8 for GPQA."""


OWN = "own:"
"""Prefix of the key of a user's own test set; no command of ours evaluates on it."""


def is_own(key: str) -> bool:
    """Return whether a key is that of a user's own test set."""
    return key.startswith(OWN) and key != OWN


def is_test_set(key: str) -> bool:
    """Return whether a key is that of one of our test sets or of a user's own."""
    return key in BENCHMARKS or is_own(key)


def benchmark(name: str) -> Benchmark:
    """Return a test set.

    Raises:
        RlkdError: if there is none of this name.
    """
    if name not in BENCHMARKS:
        raise RlkdError(f"there is no test set {name!r}; there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
