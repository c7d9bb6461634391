"""Turns what a page tells into HTML: one template engine, every value escaped. Reads nothing but templates."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from churn_assets.console.plots import HEIGHT, WIDTH

if TYPE_CHECKING:
    from jinja2 import Environment

_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("churn_assets.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"at": shown_time, "money": shown_money, "share": shown_share, "figure": shown_figure}
    made.globals |= {"plot_width": WIDTH, "plot_height": HEIGHT}
    return made


def page(name: str, **told: Any) -> bytes:
    """A page.

    Args:
        name: Of the template, without its ending.
        told: What it tells.
    """
    return _environment().get_template(f"{name}.html.j2").render(**told).encode()


@cache
def style_sheet() -> bytes:
    """The one style sheet of all pages."""
    return (files("churn_assets.console") / "templates" / "console.css").read_bytes()


def shown_time(at: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M}"


def shown_money(value: float | None, currency: str, *, signed: bool = False) -> str:
    """An amount with its currency; cents only where they matter."""
    if value is None:
        return "–"
    digits = 0 if abs(value) >= 1000 else 2
    return f"{currency} {value:{'+' if signed else ''},.{digits}f}"


def shown_share(value: float | None, *, signed: bool = False) -> str:
    """A share in percent."""
    return "–" if value is None else f"{value:{'+' if signed else ''}.1%}"


def shown_figure(value: object) -> str:
    """A figure in four digits, a truth in words; a text as it is."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def report_policy(html: str) -> str:
    """The content policy of a stored report: no script, nothing from elsewhere, no form, and the very styles it has."""
    hashes = [
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in _STYLE.findall(html)
    ]
    styles = " ".join(f"'sha256-{each}'" for each in hashes) or "'none'"
    return (
        f"sandbox; default-src 'none'; style-src {styles}; img-src data:; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    )
