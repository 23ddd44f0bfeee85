"""The tables of a run's rewards in `rlkd curves`: their shares, and what cut-offs earn."""

from rich.table import Table

from rlkd_plugin.rlkd_eval.cut_off_rewards import Mean
from rlkd_plugin.rlkd_eval.reward_shares import Spread, pool
from rlkd_plugin.rlkd_eval.run_rewards import RunRewards

WINDOWS = 10  # of the table of shares; more steps share a row

SHARE_CAPTION = (
    "Each reward's share of the advantage's variance inside groups, the completions of one problem "
    "in one step; the largest share steers. The shares of a row add up to 100%. A share below 0 "
    "works against the other rewards. No share says how large advantages are, or whether a reward "
    "is right."
)
ENDS_CAPTION = (
    "Means of each reward, before its weight, over completions that ended by themselves and over "
    "those that were cut off at the length limit. A completion without this reward counts in "
    "neither."
)


def share_table(rewards: RunRewards) -> Table | None:
    """Return the rewards' shares by windows of steps and overall, or None where none is known."""
    overall = rewards.overall
    if overall is None:
        return None
    table = _table("Where the reward comes from", SHARE_CAPTION)
    table.add_column("steps", justify="right")
    for name, weight in rewards.weights.items():
        table.add_column(f"{name}\nweight {weight:g}", justify="right")
    table.add_column("groups with spread", justify="right")
    for steps, spread in windows(rewards):
        table.add_row(steps, *_shares(spread))
    table.add_section()
    table.add_row("all", *_shares(overall))
    return table


def windows(rewards: RunRewards, most: int = WINDOWS) -> list[tuple[str, Spread]]:
    """Return (steps, spread) of at most `most` windows of equally many steps."""
    steps = list(rewards.spreads)
    width = max(1, -(-len(steps) // most))
    found = []
    for start in range(0, len(steps), width):
        part = steps[start : start + width]
        spread = pool(rewards.spreads[step] for step in part)
        if spread:
            name = str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}"
            found.append((name, spread))
    return found


def ends_table(rewards: RunRewards) -> Table | None:
    """Return the rewards of whole and of cut-off completions, or None where nothing is known."""
    if not rewards.ends:
        return None
    table = _table("Rewards of whole and of cut-off completions", ENDS_CAPTION)
    table.add_column("reward")
    for header in ("whole completions", "mean", "cut-off completions", "mean"):
        table.add_column(header, justify="right")
    for name, ends in rewards.ends.items():
        table.add_row(name, *_mean(ends.whole), *_mean(ends.cut_off))
    return table


def _table(title: str, caption: str) -> Table:
    return Table(title=title, title_justify="left", caption=caption, caption_justify="left")


def _shares(spread: Spread) -> list[str]:
    return [*(f"{share:.1%}" for share in spread.shares.values()), f"{spread.groups:,}"]


def _mean(mean: Mean) -> tuple[str, str]:
    return f"{mean.count:,}", "-" if mean.value is None else f"{mean.value:.3f}"
