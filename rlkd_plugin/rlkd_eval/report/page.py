"""One page of HTML that needs no network and runs no script but ours.

Every text is escaped on its way into the markup. Data for the script is JSON without `<`, `>` and
`&`; a content security policy names our scripts by hash and forbids everything else.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from rlkd_plugin.rlkd_eval.report.charts import Chart
from rlkd_plugin.rlkd_eval.report.curves import COLOURS, printable
from rlkd_plugin.rlkd_eval.report.tables import Cell, Table

# what would end a script element, or a line of a script
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Section:
    """A part of the page, under a heading of its own; one with nothing in it is left out."""

    key: str
    title: str
    about: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Input:
    """A folder that the report was made from."""

    name: str
    folder: str
    holds: str
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """All that a page shows; `alignment` is as `alignment.alignment` returns it."""

    title: str
    made: str
    inputs: Sequence[Input]
    sections: Sequence[Section]
    alignment: Sequence[Mapping[str, Any]] = field(default_factory=list)


def render(page: Page) -> str:
    """Return the page."""
    ours = ["page.js", "page_alignment.js"] if page.alignment else ["page.js"]
    scripts = [get_plotlyjs(), *map(_asset, ours)]
    shown = [section for section in page.sections if _holds(section)]
    charts = {chart.key: _figure(chart) for section in shown for chart in section.charts}
    links = [(section.key, section.title) for section in shown]
    links += [("alignment", "Alignment")] if page.alignment else []
    return Template(_asset("page.html")).substitute(
        title=_text(page.title),
        made=_text(page.made),
        policy=_policy(scripts),
        style=_asset("page.css"),
        links="".join(f'<li><a href="#{key}">{_text(title)}</a></li>' for key, title in links),
        inputs="".join(map(_input, page.inputs)),
        sections="".join(map(_section, shown)),
        alignment=_asset("page_alignment.html") if page.alignment else "",
        data=_json({"charts": charts, "colours": COLOURS, "alignment": page.alignment}),
        scripts="".join(f"<script>{script}</script>\n" for script in scripts),
    )


def _holds(section: Section) -> bool:
    return bool(section.tables or section.charts or section.notes)


def _figure(chart: Chart) -> dict[str, Any]:
    return {"title": chart.title, **chart.figure}


def _policy(scripts: Sequence[str]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_UNSAFE)


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _text(text: str) -> str:
    return escape(printable(text))


def _input(one: Input) -> str:
    remarks = "".join(f"<li>{_text(_clipped(remark))}</li>" for remark in one.remarks)
    return (
        f"<li><h3>{_text(one.name)}</h3><p>{_text(one.holds)}</p>"
        f'<p class="path">{_text(one.folder)}</p>'
        + (f'<ul class="remarks">{remarks}</ul>' if remarks else "")
        + "</li>"
    )


def _clipped(text: str, most: int = 400) -> str:
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"


def _section(section: Section) -> str:
    return (
        f'<section aria-labelledby="{section.key}"><h2 id="{section.key}">{_text(section.title)}'
        f"</h2><p>{_text(section.about)}</p>"
        + "".join(map(_table, section.tables))
        + '<div class="charts">'
        + "".join(map(_chart, section.charts))
        + "</div>"
        + "".join(f"<p>{_text(note)}</p>" for note in section.notes)
        + "</section>"
    )


def _chart(chart: Chart) -> str:
    note = f'<p class="note">{_text(_clipped(chart.note, 1000))}</p>' if chart.note else ""
    rows = ((row[0], [Cell(value) for value in row[1:]]) for row in chart.rows)
    key = escape(chart.key)
    return (
        f'<figure><figcaption><h3 id="{key}-title">{_text(chart.title)}</h3>'
        f'<button type="button" class="png" data-chart="{key}" '
        f'aria-label="Save as PNG: {_text(chart.title)}">PNG</button></figcaption>'
        f'<div class="chart" id="chart-{key}" role="group" aria-labelledby="{key}-title" '
        f'style="--names: {_names(chart)}"></div>{note}'
        f"<details><summary>Show the numbers</summary>"
        f"{_grid(chart.title, chart.header, rows)}</details></figure>"
    )


def _names(chart: Chart) -> int:
    """Return how many names the legend has: the chart is higher by so much."""
    names = sum(trace.get("showlegend", True) for trace in chart.figure["data"])
    return names if names > 1 else 0


def _table(table: Table) -> str:
    best = any(cell.best for _, cells in table.rows for cell in cells)
    notes = [table.note, "★ and bold: the best of its column" if best else ""]
    said = f'<p class="note">{_text("; ".join(filter(None, notes)))}</p>'
    return f"<h3>{_text(table.title)}</h3>{_grid(table.title, table.header, table.rows)}{said}"


def _grid(title: str, header: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]]) -> str:
    """Return a table that scrolls sideways where it has to, also by keyboard."""
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in header)
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>{"".join(map(_cell, cells))}</tr>'
        for name, cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_text(title)}, numbers">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return f"<td><strong>★ {text}</strong></td>" if cell.best else f"<td>{text}</td>"
