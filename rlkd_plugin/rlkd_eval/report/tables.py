"""Table 1: a row a model, and columns for pass@1 and pass@k of each test set, in percent."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlkd_plugin.rlkd_eval.report.eval_figures import set_names
from rlkd_plugin.rlkd_eval.results import Evaluation


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `best` marks the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A table with named rows."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""

    @property
    def legend(self) -> str:
        """The note, and the meaning of a star where there is one."""
        starred = any(cell.best for _, cells in self.rows for cell in cells)
        notes = [self.note, "★ and bold: the best of its column" if starred else ""]
        return "; ".join(filter(None, notes))


def table_1(evaluations: Sequence[Evaluation]) -> Table | None:
    """Return Table 1, or None without an evaluation."""
    columns: list[tuple[str, dict[str, float]]] = []
    labels = [evaluation.label for evaluation in evaluations]
    for key, name in set_names(evaluations).items():
        curves = [
            dict(evaluation.sets[key].curve()) if key in evaluation.sets else {}
            for evaluation in evaluations
        ]
        for k in sorted({k for curve in curves for k in curve}):
            found = {
                label: round(100 * curve[k].value, 1)
                for label, curve in zip(labels, curves, strict=True)
                if k in curve
            }
            columns.append((f"{name} pass@{k}", found))
    if not columns:
        return None
    titles = [title for title, _ in columns]
    note = "pass@k: unbiased estimates; their 95% intervals are under the charts below"
    rows = tuple((label, tuple(_cell(label, found) for _, found in columns)) for label in labels)
    return Table(
        "Table 1: pass@1 and pass@k, in percent",
        ("model", *titles),
        rows,
        "; ".join([note, *_differences(evaluations)]),
    )


def _differences(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return the settings and versions in which evaluations differ: numbers may not compare."""
    conditions = [{**e.settings, **e.versions} for e in evaluations]
    return [
        f"different {name}: {', '.join(map(str, values))}"
        for name in dict.fromkeys(name for one in conditions for name in one)
        if len(values := list(dict.fromkeys(str(one.get(name)) for one in conditions))) > 1
    ]


def _cell(label: str, found: dict[str, float]) -> Cell:
    if label not in found:
        return Cell("–")  # noqa: RUF001 - a dash for "none", as in printed tables
    # a number alone in its column is not marked as best
    return Cell(f"{found[label]:.1f}", len(found) > 1 and found[label] == max(found.values()))
