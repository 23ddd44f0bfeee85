"""Reads each reward's share of a run's advantages, and the rewards of cut-off completions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlkd_plugin.gsrm import FormatError, RlkdError
from rlkd_plugin.llm_io.training_args import ARGS, read_training_args
from rlkd_plugin.rlkd_eval.completion_tables import (
    COMPLETIONS,
    CompletionTable,
    completion_tables,
    groups_of,
)
from rlkd_plugin.rlkd_eval.cut_off_rewards import (
    Ends,
    ends_of_table,
    ends_of_traces,
    pool_ends,
    read_ranks,
)
from rlkd_plugin.rlkd_eval.reward_shares import Spread, pool, spread_of

UNKNOWN = "which reward steers is not known"


@dataclass(frozen=True)
class RunRewards:
    """A run's rewards, as far as its folder has them.

    Attributes:
        weights: by reward, in ms-swift's order; empty where the shares are not known.
        spreads: by step, in order; a step in which no group has spread has none.
        ends: by reward, its means over whole and cut-off completions.
        remarks: on missing values, with the reason.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[int, Spread] = field(default_factory=dict)
    ends: Mapping[str, Ends] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def overall(self) -> Spread | None:
        """The spread of all steps together, or None where no group of any step has one."""
        return pool(self.spreads.values())


@dataclass(frozen=True)
class Mixing:
    """How ms-swift makes advantages of rewards: its options, as far as they matter here."""

    weights: Sequence[float]
    group_size: int
    is_gdpo: bool


@dataclass
class _Tables:
    """The values of a run's tables by step, and the counts of skipped ones."""

    weights: dict[str, float] = field(default_factory=dict)
    spreads: dict[int, Spread | None] = field(default_factory=dict)
    ends: dict[int, dict[str, Ends] | None] = field(default_factory=dict)
    groups: int = 0
    foreign: int = 0
    faults: list[str] = field(default_factory=list)


def read_rewards(
    folder: Path, names: Sequence[str], steps: Collection[int], traces: Sequence[Path]
) -> RunRewards:
    """Read a run's rewards from its completions and traces.

    Args:
        folder: of the run, with its `args.json`.
        names: of the rewards in its log; a single one has no share to show.
        steps: in its log.
        traces: of its ranks.
    """
    ranks = read_ranks(traces)
    file = folder / COMPLETIONS
    if not file.is_file():
        lacking = f"{UNKNOWN}: there is no {COMPLETIONS} (`log_completions: true` writes it)"
        remarks = [lacking] if len(names) > 1 else []
        return RunRewards(ends=ends_of_traces(ranks), remarks=remarks)
    mixing, remarks = None, []
    if len(names) > 1:
        try:
            mixing = _mixing(read_training_args(folder), names)
        except RlkdError as error:
            remarks.append(f"{UNKNOWN}: {error}")
    tables = _Tables()
    for table in completion_tables(file, names, steps):
        if isinstance(table, FormatError):
            tables.faults.append(str(table))
            continue
        tables.ends[table.step] = ends_of_table(table, ranks)
        if mixing:
            _add_spreads(tables, table, mixing)
    ends = pool_ends(one for one in tables.ends.values() if one)
    return RunRewards(
        tables.weights,
        {step: s for step, s in sorted(tables.spreads.items()) if s},
        ends or ends_of_traces(ranks),
        [*remarks, *_list_remarks(tables, bool(ranks))],
    )


def _mixing(args: Mapping[str, Any], names: Sequence[str]) -> Mixing:
    """Return how the rewards of a run become advantages.

    Raises:
        RlkdError: if an option is missing or does not fit the rewards.
    """
    weights, size = args.get("reward_weights"), args.get("num_generations")
    if not isinstance(size, int) or size < 1:
        raise RlkdError(f"there is no num_generations in {ARGS}")
    if weights is None:
        weights = [1.0] * len(names)  # as ms-swift does
    if not isinstance(weights, list) or len(weights) != len(names):
        raise RlkdError(
            f"{ARGS} has the reward_weights {weights}, the log has the rewards {', '.join(names)}"
        )
    # with this estimator ms-swift has no gdpo, and reads it as "none"
    knows_gdpo = args.get("advantage_estimator") != "reinforce_plus_plus"
    is_gdpo = knows_gdpo and args.get("scale_rewards") == "gdpo"
    return Mixing([float(weight) for weight in weights], size, is_gdpo)


def _add_spreads(tables: _Tables, table: CompletionTable, mixing: Mixing) -> None:
    """Add the spreads of a table's groups; groups with other advantages are counted as foreign."""
    try:
        groups = groups_of(table, mixing.group_size)
    except FormatError as error:
        tables.faults.append(f"step {table.step}: {error}")
        return
    found = []
    for group in groups:
        try:
            spread = spread_of(group, mixing.weights, mixing.is_gdpo)
        except FormatError:
            tables.foreign += 1
            continue
        found += [spread] if spread else []
    tables.groups += len(groups)
    tables.weights = dict(zip(table.rewards, mixing.weights, strict=True))
    tables.spreads[table.step] = pool(found)


def _list_remarks(tables: _Tables, has_traces: bool) -> list[str]:
    remarks = []
    if tables.faults:
        first = tables.faults[0]
        remarks.append(f"tables of {COMPLETIONS}, skipped: {len(tables.faults):,}; {first}")
    if tables.foreign:
        remarks.append(
            f"groups whose advantages do not come from the weighted rewards alone (kl_in_reward, "
            f"for example), skipped: {tables.foreign:,} of {tables.groups:,}"
        )
    lacking = sum(one is None for one in tables.ends.values())
    if lacking:
        why = "the traces have other rewards" if has_traces else "there is no trace"
        remarks.append(
            f"steps whose cut-off completions are not known: {lacking:,} of "
            f"{len(tables.ends):,}; {why}"
        )
    return remarks
