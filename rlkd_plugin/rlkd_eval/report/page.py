"""One page of HTML that needs no network and runs no script but ours.

Every text is escaped on its way into the markup by the templates (`templates`). Data for the script
is JSON without `<`, `>` and `&`; a content security policy names our scripts by hash and forbids
everything else.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlkd_plugin.rlkd_eval.report.charts import Chart
from rlkd_plugin.rlkd_eval.report.curves import COLOURS
from rlkd_plugin.rlkd_eval.report.tables import Table
from rlkd_plugin.rlkd_eval.report.templates import environment, read_asset

# characters that would end a script element, or a line of a script
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True)
class Section:
    """A part of the page, under a heading of its own.

    Attributes:
        key: names it in the page.
        title: its heading.
        about: one paragraph, ours.
        lead: more paragraphs, from the results.
        tables: in order.
        charts: below the tables.
        notes: below the charts.
    """

    key: str
    title: str
    about: str
    lead: Sequence[str] = ()
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    notes: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it has nothing to show; then the page skips it."""
        return not (self.tables or self.charts or self.notes)


@dataclass(frozen=True)
class Input:
    """A folder that the report reads."""

    name: str
    folder: str
    holds: str
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """The content of a page.

    Attributes:
        title: of the page.
        origin: the program and the time.
        inputs: the folders.
        sections: in order; empty ones are skipped.
        alignment: as `alignment.alignment` returns it.
    """

    title: str
    origin: str
    inputs: Sequence[Input]
    sections: Sequence[Section]
    alignment: Sequence[Mapping[str, Any]] = field(default_factory=list)


def render(page: Page) -> str:
    """Return the page."""
    ours = ["page.js", "page_alignment.js"] if page.alignment else ["page.js"]
    scripts = [get_plotlyjs(), *map(read_asset, ours)]
    sections = [section for section in page.sections if not section.is_empty]
    charts = {
        chart.key: {"title": chart.title, **chart.figure}
        for section in sections
        for chart in section.charts
    }
    data = {"charts": charts, "colours": COLOURS, "alignment": page.alignment}
    return (
        environment()
        .get_template("page.html")
        .render(
            page=page,
            sections=sections,
            policy=_policy(scripts),
            style=Markup(read_asset("page.css")),
            data=Markup(_json(data)),
            scripts=[Markup(script) for script in scripts],
        )
    )


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
