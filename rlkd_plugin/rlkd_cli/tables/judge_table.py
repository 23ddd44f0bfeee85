"""Shows how often a judge is right, its best threshold, and pairs that it gets wrong."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_eval.judge_calibration import (
    SwapEffect,
    accuracy_at,
    best_threshold,
    mean_verdict,
    swap_effect,
)
from rlkd_plugin.rlkd_eval.judge_check import JudgeRun, Pair, rates

DEFAULT_THRESHOLD = 0.5
"""The default of `RLKD_JUDGE_THRESHOLD`."""

PairVerdicts = Sequence[tuple[Pair, Verdict]]
"""Pairs, each with the judge's verdict."""


def show_judge(
    found: JudgeRun, threshold: float, console: Console, wrong: int = 10, *, mean: bool = False
) -> None:
    """Print the rates, thresholds, the effect of swapping, and `wrong` of the wrong verdicts.

    Args:
        found: the judge's verdicts.
        threshold: the value of `RLKD_JUDGE_THRESHOLD`.
        console: where to print.
        wrong: how many wrong verdicts to show.
        mean: whether a run takes the mean of both orders (`RLKD_JUDGE_SWAP`).
    """
    means = None
    if found.swapped is not None:
        both = zip(found.verdicts, found.swapped, strict=True)
        means = [mean_verdict(one, other, threshold) for one, other in both]
    verdicts = means if mean and means is not None else found.verdicts
    pair_verdicts = list(zip(found.pairs, verdicts, strict=True))
    console.print(_rates_table(pair_verdicts))
    sources = [verdict.source for verdict in verdicts]
    counts = ", ".join(f"{sources.count(name)} by {name}" for name in dict.fromkeys(sources))
    usage = found.usage
    lines = [
        f"verdicts   {counts}; {usage.requests:,} requests, {usage.prompt_tokens:,} tokens in, "
        f"{found.seconds:.1f} s",
        *_threshold_lines(found.pairs, verdicts, threshold),
    ]
    if found.swapped is not None and means is not None:
        effect = swap_effect(found.pairs, found.verdicts, found.swapped, means)
        lines += _swap_lines(effect, mean)
    elif mean:
        lines.append("swapped    not asked; with RLKD_JUDGE_SWAP=true a run asks both ways")
    console.print("\n".join(lines), soft_wrap=True)
    mistakes = [(pair, verdict) for pair, verdict in pair_verdicts if pair.match != verdict.matched]
    for pair, verdict in mistakes[:: max(1, len(mistakes) // wrong)][:wrong] if wrong else []:
        sure = "" if verdict.probability is None else f" ({verdict.probability:.2f})"
        answer = "yes" if verdict.matched else "no"
        console.print(f"\nsays {answer}{sure}, {pair.domain} {pair.field}:", soft_wrap=True)
        console.print(f"  {pair.first}\n  {pair.second}", soft_wrap=True)


def _threshold_lines(
    pairs: Sequence[Pair], verdicts: Sequence[Verdict], threshold: float
) -> list[str]:
    """Return the shares of right verdicts at the default, the set and the best threshold."""
    best = best_threshold(pairs, verdicts)
    if best is None:
        return ["threshold  no verdict has a probability: RLKD_JUDGE_THRESHOLD changes nothing"]
    names = {DEFAULT_THRESHOLD: "the default", threshold: "RLKD_JUDGE_THRESHOLD"}
    if threshold == DEFAULT_THRESHOLD:
        names = {threshold: "RLKD_JUDGE_THRESHOLD, the default"}
    lines = [
        f"{_percent(accuracy_at(pairs, verdicts, value))} right at {value:g} ({name})"
        for value, name in names.items()
    ]
    lines.append(f"{_percent(best.accuracy)} right at {best.value!r} (the best on these pairs)")
    return [f"{'' if number else 'threshold':<10} {line}" for number, line in enumerate(lines)]


def _swap_lines(effect: SwapEffect, mean: bool) -> list[str]:
    """Return the effect of swapping teacher and student, and whether using both orders pays."""
    change = ""
    if effect.mean_change is not None:
        change = f"; the probability changes by {effect.mean_change:.3f} on average"
    advice = (
        "RLKD_JUDGE_SWAP=true pays: the mean of both ways is clearly better, for twice the requests"
        if effect.pays
        else "RLKD_JUDGE_SWAP=true does not pay here: no clear gain for twice the requests"
    )
    if mean:
        advice += "; it is set, and the table is of the mean"
    return [
        f"swapped    {_percent(effect.changed)} of the verdicts change with the order{change}",
        f"{'':<10} {_percent(effect.one_way)} right as the pairs stand, "
        f"{_percent(effect.other_way)} swapped, {_percent(effect.both_ways)} by the mean of both",
        f"{'':<10} {advice}",
    ]


def _rates_table(pair_verdicts: PairVerdicts) -> Table:
    table = Table("", "pairs", "accuracy", "false yes", "false no", "unreadable", "AUC")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    groups: dict[str, PairVerdicts] = {
        name: [(pair, verdict) for pair, verdict in pair_verdicts if pair.field == name]
        for name in FIELDS
    }
    for domain in dict.fromkeys(pair.domain for pair, _ in pair_verdicts if pair.domain):
        groups[domain] = [
            (pair, verdict) for pair, verdict in pair_verdicts if pair.domain == domain
        ]
    groups["all"] = pair_verdicts
    for name, some in groups.items():
        if some:
            one = rates([pair for pair, _ in some], [verdict for _, verdict in some])
            table.add_row(
                name,
                str(one.pairs),
                _percent(one.accuracy),
                _percent(one.false_positive),
                _percent(one.false_negative),
                _percent(one.unreadable),
                "" if one.auc is None else f"{one.auc:.3f}",
            )
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
