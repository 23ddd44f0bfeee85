"""The results of `rlkd score` by folder: a table, the mean rewards, and cautions.

The numbers are those that the command prints at its end (`scores.figures`).
"""

from collections.abc import Sequence
from itertools import combinations

from rlkd_plugin.gsrm import FIELDS
from rlkd_plugin.rlkd_data.jobs.record import Facts, differences
from rlkd_plugin.rlkd_eval.report.chart_numbers import NO_NUMBER, number
from rlkd_plugin.rlkd_eval.report.charts import Chart
from rlkd_plugin.rlkd_eval.report.forest import Estimate, Numbers, forest_chart
from rlkd_plugin.rlkd_eval.report.sources import Source
from rlkd_plugin.rlkd_eval.report.tables import Cell, Table
from rlkd_plugin.rlkd_eval.scores.figures import Figures
from rlkd_plugin.rlkd_eval.scores.scored import Scored

COUNTS = {
    "undecomposable": "undecomposable",
    "refused": "rejected",
    "no_teacher": "without a teacher's structure",
    "cut_off": "cut off",
    "beyond_teacher": "beyond the teacher's last step",
    "other_branch": "won by another branch",
}
"""Columns of counts, by the name in `Figures.counts`; all but the first are omitted where they are
zero in all folders."""
TABLE_NOTE = (
    "mean reward: on the scale of the settings, over completions with a reward; n: the teacher's "
    "steps; matched: of the steps reached"
)
CHART_NOTE = (
    "bars: 95% intervals, from a thousand resamplings of the problems; each is of its row alone: "
    "on the same problems, rows may differ though their intervals overlap"
)
NUMBERS = ("folder", "mean reward", "95% interval", "problems", "completions with a reward")
LONGEST = 60
"""Characters of a setting's value that are shown."""


def score_table(sources: Sequence[Source]) -> Table | None:
    """Return a row of figures a folder, None without a folder of scores."""
    found = _score_folders(sources)
    names = [
        name
        for place, name in enumerate(COUNTS)
        if not place or any(scored.figures.counts[name] for _, scored in found)
    ]
    header = (
        "folder",
        "completions",
        "mean reward",
        "mean r / n",
        "mean matched depth",
        *(f"matched {name.replace('_', '-')}" for name in FIELDS),
        *(COUNTS[name] for name in names),
    )
    rows = [(folder, _cells(scored.figures, names)) for folder, scored in found]
    title = "Mean reward, matched depth and matched shares"
    return Table(title, header, tuple(rows), TABLE_NOTE) if rows else None


def reward_charts(sources: Sequence[Source]) -> list[Chart]:
    """Return the chart of the mean rewards, none where no folder has one."""
    estimates, rows = [], []
    for folder, scored in _score_folders(sources):
        mean = scored.figures.mean_reward
        if mean is None:
            continue
        found = scored.interval()
        low, high = (found.low, found.high) if found else (mean, mean)
        estimates.append(Estimate(folder, "mean reward", mean, low, high))
        rows.append(
            (
                folder,
                _number(mean),
                f"{_number(low)} to {_number(high)}" if found else NO_NUMBER,
                f"{len(scored.problems):,}",
                f"{scored.figures.valued:,}",
            )
        )
    if not estimates:
        return []
    key, title = "scores-reward", "Mean reward of scored completions"
    numbers = Numbers(NUMBERS, rows)
    return [forest_chart(key, title, "mean reward", estimates, numbers, CHART_NOTE)]


def cautions(sources: Sequence[Source]) -> list[str]:
    """Return why the rows of the table are not comparable, a sentence each."""
    found = _score_folders(sources)
    if len(found) < 2:
        return []
    said = []
    known = [(s.name, s.maker) for s in sources if s.scored and s.maker is not None]
    if unlike := _unlike(known):
        said.append(f"The rows are not comparable: {'; '.join(unlike)}.")
    if len(known) < len(found):
        lacking = ", ".join(s.name for s in sources if s.scored and s.maker is None)
        said.append(f"Whether the rows are comparable is not known: {lacking} has no record.")
    problems = [set(scored.problems) for _, scored in found]
    shared = set.intersection(*problems)
    if any(one != shared for one in problems):
        sizes = ", ".join(
            f"{len(one):,} in {folder}" for (folder, _), one in zip(found, problems, strict=True)
        )
        said.append(
            f"The rows are of different problems: {sizes}; {len(shared):,} are in all of them."
        )
    return said


def _score_folders(sources: Sequence[Source]) -> list[tuple[str, Scored]]:
    return [(source.name, source.scored) for source in sources if source.scored]


def _cells(figures: Figures, names: Sequence[str]) -> tuple[Cell, ...]:
    texts = (
        f"{figures.rows:,}",
        _number(figures.mean_reward),
        number(figures.mean_share, percent=True),
        _number(figures.mean_depth),
        *(number(figures.matched_share(name), percent=True) for name in FIELDS),
        *(f"{figures.counts[n]:,} ({figures.counts[n] / figures.rows:.1%})" for n in names),
    )
    return tuple(map(Cell, texts))


def _number(value: float | None) -> str:
    return NO_NUMBER if value is None else f"{value:.4f}"


def _unlike(known: Sequence[tuple[str, Facts]]) -> list[str]:
    """Return each setting in which folders differ, with its values and their folders."""
    pairs = combinations((facts for _, facts in known), 2)
    texts = (text for first, second in pairs for text in differences(first, second))
    said = []
    for name in dict.fromkeys(text.partition(":")[0] for text in texts):
        folders: dict[str, list[str]] = {}
        for folder, facts in known:
            folders.setdefault(str(facts.get(name)), []).append(folder)
        values = ", ".join(
            f"{value:.{LONGEST}} ({', '.join(those)})" for value, those in folders.items()
        )
        said.append(f"{name}: {values}")
    return said
