"""The tables that the data jobs end with: what became of the rows."""

from rich.console import Console
from rich.table import Table

from rlkd_plugin.rlkd_data.construct import ConstructReport
from rlkd_plugin.rlkd_data.jobs.source_rows import RowCounts
from rlkd_plugin.rlkd_data.prepare import Progress
from rlkd_plugin.rlkd_data.row_subset import NEAR, Similar, SubsetReport
from rlkd_plugin.rlkd_data.teacher_structures import StructureReport

SHOWN = 20  # test items that the source has, shown of each kind


def show_prepare(report: Progress, console: Console) -> None:
    """Print what became of the rows of `rlkd prepare`."""
    table = _count_table("rows", "")
    table.add_row(f"{report.kept:,}", "kept")
    if report.without_solution:
        table.add_row(f"{report.without_solution:,}", "of these without a solution to check")
    _add_refused(table, report.refused.most_common())
    console.print(table)


def show_construct(report: ConstructReport, console: Console) -> None:
    """Print what became of the rows of `rlkd construct`, by domain and by attempt."""
    table = _count_table("rows", "", "domain")
    for (domain, attempt), count in sorted(report.accepted.items()):
        table.add_row(f"{count:,}", f"accepted at attempt {attempt}", domain)
    for (domain, reason), count in sorted(report.discarded.items()):
        table.add_row(f"{count:,}", f"discarded: {reason}", domain)
    _add_others(table, report)
    console.print(table)
    accepted, discarded = report.accepted.total(), report.discarded.total()
    share = f" ({accepted / report.worked:.1%})" if report.worked else ""
    console.print(f"{accepted:,} accepted{share}, {discarded:,} discarded")


def show_structure(report: StructureReport, console: Console) -> None:
    """Print what became of the rows of `rlkd structure`."""
    table = _count_table("rows", "")
    words = f"written, {report.steps:,} steps, {report.from_cache:,} known before"
    table.add_row(f"{report.written:,}", words)
    for reason, count in report.dropped.most_common():
        table.add_row(f"{count:,}", f"dropped: {reason}")
    _add_others(table, report)
    console.print(table)


def show_subset(report: SubsetReport, console: Console) -> None:
    """Print the ends of what `rlkd subset` measured, and the test items that the source has."""
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
    console.print(
        f"{len(report.exact):,} are the same as a test item, {len(report.near):,} nearly the same"
    )
    if report.refused:
        console.print(f"{report.refused:,} problems were refused by the server and not chosen")
    console.print(f"{report.measured:,} measured now, {report.written:,} rows written")


def _similar_table(title: str, rows: list[Similar]) -> Table:
    table = Table("cosine", "problem", "nearest test item", title=title)
    for row in rows:
        texts = (" ".join(text.split())[:120] for text in (row.problem, row.test_problem))
        table.add_row(f"{row.similarity:.4f}", *texts)
    return table


def _count_table(*columns: str) -> Table:
    table = Table(*columns)
    table.columns[0].justify = "right"
    return table


def _add_others(table: Table, counts: RowCounts) -> None:
    if counts.done_before:
        table.add_row(f"{counts.done_before:,}", "done before")
    if counts.again:
        table.add_row(f"{counts.again:,}", "the same as another row")
    if counts.elsewhere:
        table.add_row(f"{counts.elsewhere:,}", "of other shards")
    if counts.server_refused:
        words = f"refused by a server, asked again next time: {counts.server_words[:300]}"
        table.add_row(f"{counts.server_refused:,}", words)
    _add_refused(table, counts.refused.most_common())


def _add_refused(table: Table, refused: list[tuple[str, int]]) -> None:
    for reason, count in refused:
        table.add_row(f"{count:,}", f"refused: {reason}")
