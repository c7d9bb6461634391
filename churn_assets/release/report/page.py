"""The page of a report: the template that lays out what the sections tell. Judges nothing."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from churn_assets.release.report import sections
from churn_assets.release.report.verdict import missing_parts, report_verdict

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

    from churn_assets.release.report.facts import ReportFacts


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("churn_assets.release.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["told"] = _told
    return environment.get_template("report.html.j2")


def _told(text: str) -> Markup:
    """A text whose `code` is set as such; nothing else of it is markup."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def report_page(facts: ReportFacts) -> str:
    """The report as one HTML document: no script, and nothing fetched from elsewhere. Equal facts give equal pages."""
    return _template().render(
        facts=facts,
        verdict=report_verdict(facts),
        glance=sections.glance(facts),
        sections=sections.all_sections(facts),
        checks=sections.checked(facts),
        missing=missing_parts(facts),
    )
