"""The tables that the data jobs end with: what became of the rows."""

from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_data.construct import ConstructReport
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts
from rlkd_plugin.rlkd_data.merge import MergeReport
from rlkd_plugin.rlkd_data.prepare import Progress
from rlkd_plugin.rlkd_data.subset_report import NEAR, Similar, SubsetReport
from rlkd_plugin.rlkd_data.teacher_structures import StructureReport

SHOWN = 20
"""Maximum rows shown whose problem is a test item, of each kind."""


def show_prepare(report: Progress, console: Console) -> None:
    """Print what became of the rows of `rlkd prepare`."""
    table = _count_table("rows", "")
    table.add_row(f"{report.kept:,}", "kept")
    if report.without_solution:
        table.add_row(f"{report.without_solution:,}", "of these without a solution to check")
    if report.normalised:
        table.add_row(f"{report.normalised:,}", "of these with a gold answer in another notation")
    _add_refused(table, report.refused.most_common())
    console.print(table)


def show_construct(report: ConstructReport, console: Console) -> None:
    """Print what became of the rows of `rlkd construct`, by domain and by attempt."""
    table = _count_table("rows", "", "domain")
    for (domain, attempt), count in sorted(report.accepted.items()):
        table.add_row(f"{count:,}", f"accepted at attempt {attempt}", domain)
    for (domain, reason), count in sorted(report.discarded.items()):
        table.add_row(f"{count:,}", f"discarded: {reason}", domain)
    if report.cut:
        table.add_row(f"{report.cut:,}", "structures cut off at RLKD_GENERATOR_MAX_TOKENS", "")
    _add_others(table, report)
    console.print(table)
    accepted, discarded = report.accepted.total(), report.discarded.total()
    share = f" ({accepted / report.worked:.1%})" if report.worked else ""
    console.print(f"{accepted:,} accepted{share}, {discarded:,} discarded")


def show_structure(report: StructureReport, console: Console) -> None:
    """Print what became of the rows of `rlkd structure`."""
    table = _count_table("rows", "")
    words = f"written, {report.steps:,} steps, {report.from_cache:,} reused"
    table.add_row(f"{report.written:,}", words)
    if report.clipped:
        words = "of these with a path that RLKD_GSRM_MAX_CHARS clipped"
        table.add_row(f"{report.clipped:,}", words)
    if report.branches_without:
        table.add_row(f"{report.branches_without:,}", "branches of these without a structure")
    for reason, count in report.dropped.most_common():
        table.add_row(f"{count:,}", f"dropped: {reason}")
    _add_others(table, report)
    console.print(table)


def show_merge(report: MergeReport, console: Console) -> None:
    """Print how many lines each part of `rlkd merge` had, and what became of all."""
    table = _count_table("lines", "of")
    for part, count in report.read.items():
        table.add_row(f"{count:,}", str(part))
    console.print(table)
    console.print(report.account.line())


def show_subset(report: SubsetReport, console: Console) -> None:
    """Print the least and most similar rows of `rlkd subset`, and test items in the source."""
    for title, rows in (
        ("least similar", report.least),
        ("most similar", report.most),
        ("the same as a test item", report.exact[:SHOWN]),
        (f"nearly the same ({NEAR} or more)", report.near[:SHOWN]),
    ):
        if rows:
            console.print(_similar_table(title, rows))
    console.print(
        f"{report.rows:,} rows, {report.problems:,} different problems, {report.without_problem:,} "
        f"rows without one; {report.measured_before:,} were measured before"
    )
    for reason, count in report.refused.most_common():
        console.print(f"{count:,} refused: {reason}")
    console.print(
        f"{len(report.exact):,} are the same as a test item, {len(report.near):,} nearly the same"
    )
    if report.rejected:
        console.print(f"{report.rejected:,} problems were rejected by the server and not chosen")
    console.print(f"{report.measured:,} measured now, {report.written:,} rows written")


def _similar_table(title: str, rows: list[Similar]) -> Table:
    table = Table("cosine", "problem", "nearest test item", title=title)
    for row in rows:
        table.add_row(f"{row.similarity:.4f}", _one_line(row.problem), _one_line(row.test_problem))
    return table


def _one_line(text: str) -> str:
    return " ".join(text.split())[:120]


def _count_table(*columns: str) -> Table:
    table = Table(*columns)
    table.columns[0].justify = "right"
    return table


def _add_others(table: Table, counts: RowCounts) -> None:
    if counts.done_before:
        table.add_row(f"{counts.done_before:,}", "done before")
    if counts.duplicates:
        table.add_row(f"{counts.duplicates:,}", "duplicates of another row")
    if counts.other_shards:
        table.add_row(f"{counts.other_shards:,}", "of other shards")
    if counts.rejected:
        words = f"rejected by a server, retried next time: {counts.rejection[:300]}"
        table.add_row(f"{counts.rejected:,}", words)
    _add_refused(table, counts.refused.most_common())
    if counts.left_over:
        words = "in OUT from rows that are not in the source (any more); they stay there"
        table.add_row(f"{counts.left_over:,}", words)


def _add_refused(table: Table, refused: list[tuple[str, int]]) -> None:
    for reason, count in refused:
        table.add_row(f"{count:,}", f"refused: {reason}")
