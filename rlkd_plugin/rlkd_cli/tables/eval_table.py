"""Shows evaluations side by side, in the layout of the paper's table 1."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.rlkd_eval.benchmarks import BENCHMARKS, OWN, is_own, is_test_set
from rlkd_plugin.rlkd_eval.result_values import Interval, distinguish
from rlkd_plugin.rlkd_eval.results import (
    EVALUATION,
    Evaluation,
    PassAtK,
    SetResult,
    read_evaluation,
)


def show_results(folders: Sequence[Path], console: Console) -> None:
    """Print a table for each test set that one of the evaluations has.

    Raises:
        RlkdError: if a folder holds no evaluation, or one on a test set that is neither ours nor
            the user's (`own:NAME`).
    """
    found = [(folder, read_evaluation(folder)) for folder in folders]
    for folder, result in found:
        if unknown := [repr(name) for name in result.sets if not is_test_set(name)]:
            raise RlkdError(
                f"{folder / EVALUATION} has results on {', '.join(unknown)}, which is no test set "
                f"of this version ({', '.join(BENCHMARKS)}) and does not begin with {OWN}: update "
                "the plugin, or name another folder"
            )
    results = distinguish([(str(folder), result) for folder, result in found])
    own = dict.fromkeys(name for result in results for name in result.sets if is_own(name))
    for name in (*BENCHMARKS, *own):
        if there := [result for result in results if name in result.sets]:
            console.print(_table(name, there))
    console.print(
        "In percent. pass@1 of m: the mean over m responses per problem, with its 95% interval "
        "(problems resampled). pass@k: at least one of the first k is right, and in brackets the "
        "unbiased estimator over all responses, with its interval."
    )


def _table(name: str, results: Sequence[Evaluation]) -> Table:
    sets = [result.sets[name] for result in results]
    runs = sorted({m for scores in sets for m in scores.pass_at_1_of_runs})
    ks = sorted({k for scores in sets for k in scores.pass_at_k})
    title = sets[0].name if is_own(name) else BENCHMARKS[name].title
    table = Table(title=title, title_justify="left")
    table.add_column("model", overflow="fold", min_width=16)
    table.add_column("pro-\nblems", justify="right", no_wrap=True)
    for m in runs:
        table.add_column(f"pass@1\nof {m}", justify="right", no_wrap=True)
    for k in ks:
        table.add_column(f"pass@{k}", justify="right", no_wrap=True)
    table.add_column("cut\noff", justify="right", no_wrap=True)
    for result, scores in zip(results, sets, strict=True):
        cells = [result.label, str(scores.problems)]
        cells += [_pass_at_1(scores, m) for m in runs]
        cells += [_pass_at_k(scores.pass_at_k.get(k)) for k in ks]
        table.add_row(*cells, _percent(scores.cut_off))
    return table


def _pass_at_1(scores: SetResult, runs: int) -> str:
    value = scores.pass_at_1_of_runs.get(runs)
    if value is None:
        return "-"
    return _percent(value) + (_interval(scores.pass_at_1) if runs == scores.samples else "")


def _pass_at_k(value: PassAtK | None) -> str:
    if value is None:
        return "-"
    return f"{_percent(value.any)}\n({_percent(value.unbiased)}){_interval(value.estimate)}"


def _interval(value: Interval) -> str:
    return f"\n{_percent(value.low)} to {_percent(value.high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
