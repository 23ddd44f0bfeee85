"""ms-swift's sampler with choices that are there already, and four candidates for it to rank."""

import json
from types import SimpleNamespace
from typing import Any

from swift.pipelines.sampling.vanilla_sampler import VanillaSampler
from swift.rewards import orms, prms

from rlkd_plugin.swift_hooks.registry import register_all

OTHER_STEP = "Umbrellas in the hall stand for 7 + 8 = 15 guests."


def make_candidates(path: str) -> list[str] | None:
    """Return a path and three worse ones, best first; None where it has not three equations.

    Changed are: its last answer; its second step; its first step.
    """
    lines = [line for line in path.splitlines() if line.strip()]
    steps = [number for number, line in enumerate(lines) if "=" in line]
    if len(steps) < 3:
        return None
    before, _, after = lines[steps[-1]].rpartition("=")
    digits = "".join(char for char in after if char.isdigit()) or "0"
    changed = f"{before}= {int(digits) + 1}"
    return [
        "\n".join(lines),
        "\n".join([*lines[: steps[-1]], changed]),
        "\n".join([*lines[: steps[1]], OTHER_STEP, *lines[steps[1] + 1 :]]),
        "\n".join([*lines[: steps[0]], OTHER_STEP, *lines[steps[0] + 1 :]]),
    ]


class ChoiceSampler(VanillaSampler):
    """Samples from rows that have their `choices`, without a model."""

    def __init__(self, n_best_to_keep: int, orm_model: str | None) -> None:
        self.args: Any = SimpleNamespace(
            prm_model="rlkd_gsrm",
            orm_model=orm_model,
            n_best_to_keep=n_best_to_keep,
            prm_threshold=0.0,
            easy_query_threshold=None,
        )
        self.prm_model = prms["rlkd_gsrm"]()
        self.orm_model = orms[orm_model]() if orm_model else None

    def generate(self, data: Any) -> Any:
        """Return the rows as they are."""
        return data


def run_sampler(
    rows: list[dict[str, Any]], n_best_to_keep: int = 1, orm_model: str | None = None
) -> list[dict[str, Any]]:
    """Return what ms-swift keeps of rows with `messages` and `choices`, ranked by our PRM.

    Args:
        rows: of the data set.
        n_best_to_keep: choices kept of a row.
        orm_model: an outcome reward by which ms-swift ranks too.
    """
    register_all()
    sampler = ChoiceSampler(n_best_to_keep, orm_model)
    return [json.loads(line) for line in sampler.do_sample(rows)]
