"""Shows how often a judge is right, by field and by domain, and pairs that it gets wrong."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from rlkd_plugin.engines.base import Verdict
from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_eval.judge_check import JudgeRun, Pair, rates

PairVerdicts = Sequence[tuple[Pair, Verdict]]
"""Pairs, each with what the judge says of it."""


def show_judge(found: JudgeRun, threshold: float, console: Console, wrong: int = 10) -> None:
    """Print the rates by field and by domain, what they cost, and `wrong` of the wrong verdicts."""
    told = list(zip(found.pairs, found.verdicts, strict=True))
    console.print(_rates_table(told))
    sources = [verdict.source for verdict in found.verdicts]
    counts = ", ".join(f"{sources.count(name)} by {name}" for name in dict.fromkeys(sources))
    usage = found.usage
    console.print(
        f"verdicts: {counts}; threshold {threshold:g}; {usage.requests:,} requests, "
        f"{usage.prompt_tokens:,} tokens in, {found.seconds:.1f} s",
        soft_wrap=True,
    )
    mistakes = [(pair, verdict) for pair, verdict in told if pair.match != verdict.matched]
    for pair, verdict in mistakes[:: max(1, len(mistakes) // wrong)][:wrong] if wrong else []:
        sure = "" if verdict.probability is None else f" ({verdict.probability:.2f})"
        said = "yes" if verdict.matched else "no"
        console.print(f"\nsays {said}{sure}, {pair.domain} {pair.field}:", soft_wrap=True)
        console.print(f"  {pair.first}\n  {pair.second}", soft_wrap=True)


def _rates_table(told: PairVerdicts) -> Table:
    table = Table("", "pairs", "accuracy", "false yes", "false no", "unreadable", "AUC")
    table.columns[0].no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    groups: dict[str, PairVerdicts] = {
        name: [(pair, verdict) for pair, verdict in told if pair.field == name] for name in FIELDS
    }
    for domain in dict.fromkeys(pair.domain for pair, _ in told if pair.domain):
        groups[domain] = [(pair, verdict) for pair, verdict in told if pair.domain == domain]
    groups["all"] = told
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
