"""The HTML report of a release: one file, no scripts, nothing fetched from elsewhere. Draws what it is given."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from churn_assets.flow.check import CheckSpec
from churn_assets.gates.plots import Plot, render_png
from churn_assets.gates.report import GateReport
from churn_assets.release.config import missing_for_more
from churn_assets.store.manifest import Manifest

Rows = Sequence[Mapping[str, Any]]

_STYLE = """
:root{--ink:#1b1f24;--soft:#57606a;--line:#d8dee4;--good:#0a6e4f;--bad:#b3261e;--paper:#fff;--tint:#f6f8fa}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:72rem;
padding:2rem 1.25rem}
h1{font-size:1.7rem;margin:0 0 .25rem}h2{font-size:1.25rem;margin:2.5rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .25rem}p{margin:.25rem 0 .75rem;color:var(--soft)}
.note{background:#fff8e1;border-left:4px solid #e69f00;color:var(--ink);padding:.5rem .75rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5rem 0 1rem}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th{font-weight:600;color:var(--soft)}td.n{text-align:right}td:not(:last-child){white-space:nowrap}
.passed{color:var(--good);font-weight:600}.FAILED{color:var(--bad);font-weight:600}
.plots{display:flex;flex-wrap:wrap;gap:1rem}
.plots img{flex:0 1 calc(50% - .5rem);min-width:20rem;max-width:100%;height:auto;border:1px solid var(--line)}
.bar{background:#0072b2;height:.9rem;min-width:1px;display:inline-block}
.funnel td:nth-child(3){width:50%}code{font-size:.85em;background:var(--tint);padding:.1rem .25rem}
"""


_TOLD = ("figure", "needed", "detail")
_KNOWN_BY = {
    "logged_chosen": "Of each past decision only the chosen arm's propensity is known. Off-policy estimates need no "
    "more; effects of contact rest on estimates of the others.",
    "randomised": "Propensities of past decisions are the shares that the experiment states, not logged ones.",
    "estimated": "ESTIMATED: nobody wrote down by what chance past decisions were made. Effects, lifts and values are "
    "true if nothing but the customers' features and the time decided who got what; no data can show that. The check "
    "off_policy says how much hidden targeting would undo the lift. Such a release is never promoted automatically.",
    "contacted_only": "Everybody in the log of offers was contacted: who accepts is known; what contact changes, and "
    "who would leave without it, is not.",
}
"""What is to be read with the figures, where a log has no logged propensities."""


@dataclass(frozen=True)
class MemberView:
    """A member as the report shows it."""

    asset: str
    ref: str
    manifest: Manifest
    reports: Mapping[str, GateReport]
    specs: Sequence[CheckSpec]


@dataclass(frozen=True)
class ReportInputs:
    """Everything that the report shows.

    Attributes:
        experiment: Its name.
        branches: What the release can do.
        simulated: Whether the responses to offers are simulated.
        members: In flow order.
        funnel: Rows of `stage` and `customers`, from all to kept.
        offers: Rows of `offer`, `customers`, `mean_window_value` (within the label window) and `mean_expected_value`
            (projected over the horizon) with its band.
        messages: What would be sent to a few golden customers, and who wrote it.
        champion: The release it is compared with; None where nothing leads.
        changes: Rows of `what`, `champion` and `this`.
    """

    experiment: str
    branches: Sequence[str]
    simulated: bool
    members: Sequence[MemberView]
    funnel: Rows
    offers: Rows
    messages: Rows
    champion: str | None
    changes: Rows


def render(inputs: ReportInputs) -> str:
    """The report as one HTML document."""
    gates = [gate for view in inputs.members for report in view.reports.values() for gate in report.gates]
    failed = sum(not gate.passed for gate in gates)
    held = f"{len(gates)} gates of {len(inputs.members)} artifacts, {failed} failed"
    parts = [
        f"<h1>Release of {escape(inputs.experiment)}</h1>",
        f"<p>Branches: {escape(', '.join(inputs.branches))}. {held}.</p>",
        _notes(inputs),
        "<h2>At a glance</h2>",
        _table(_headline(inputs.members)),
        "<h2>From customers to offers</h2>",
        "<p>Customers that no model was fitted on, decided by this release.</p>",
        _funnel(inputs.funnel),
        _table(inputs.offers),
        "<h2>What is written to them</h2>",
        "<p>Golden customers, each made one of the offers in turn. The name is put in when a message is sent.</p>",
        _table(inputs.messages),
        f"<h2>What changed since {escape(inputs.champion)}</h2>"
        if inputs.champion
        else "<h2>First release</h2>",
        _table(inputs.changes)
        if inputs.changes
        else "<p>Nothing leads yet, so there is nothing to compare with.</p>",
        "<h2>Members</h2>",
        _table(
            [
                {
                    "asset": view.asset,
                    "version": view.ref,
                    "digest": view.manifest.digest[:12],
                    "made": f"{view.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC",
                    "run": view.manifest.provenance.run_id[:8],
                }
                for view in inputs.members
            ]
        ),
        *(_member(view) for view in inputs.members),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Release of {escape(inputs.experiment)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )


def _notes(inputs: ReportInputs) -> str:
    notes = []
    if inputs.simulated:
        notes.append(
            "SIMULATED: answers to offers come from the demo world. Customers and labels are real rows; lifts and "
            "values below are not observations of a market."
        )
    logs = [view.manifest.signature for view in inputs.members if view.asset == "offer_log"]
    notes += [_KNOWN_BY[str(log["propensities"])] for log in logs if "propensities" in log]
    if missing := missing_for_more(inputs.branches):
        notes.append("NO OFFER MODEL: this release tells who is likely to leave and makes no offer.")
        notes += [f"It cannot tell {each}." for each in missing]
    elif "message" not in inputs.branches:
        notes.append(
            "This release has no message branch: it decides who is offered what, and every message is the template."
        )
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _headline(members: Sequence[MemberView]) -> list[dict[str, Any]]:
    """The figures that a reader asks for first, as the gates measured them."""
    rows = []
    for view in members:
        for spec in view.specs:
            asked = spec.question and spec.name in view.reports
            for gate in view.reports[spec.name].gates[:1] if asked else ():
                told = gate.row
                rows.append({"question": spec.question} | {name: told[name] for name in _TOLD})
    return rows


def _member(view: MemberView) -> str:
    metrics = [{"metric": name, "value": value} for name, value in view.manifest.provenance.metrics.items()]
    parts = [f"<h2>{escape(view.asset)}</h2>", _table(metrics)]
    plots = {spec.name: spec.plots for spec in view.specs}
    for check, report in view.reports.items():
        description = next((spec.description for spec in view.specs if spec.name == check), "")
        parts += [
            f"<h3>{escape(check)}</h3>",
            f"<p>{escape(description)}</p>" if description else "",
            _table([gate.row for gate in report.gates]),
        ]
        images = [
            _image(plot, report.tables[plot.table])
            for plot in plots.get(check, ())
            if report.tables.get(plot.table)
        ]
        parts.append(f'<div class="plots">{"".join(images)}</div>' if images else "")
    return "\n".join(parts)


def _image(plot: Plot, rows: Rows) -> str:
    data = base64.b64encode(render_png(plot, rows)).decode()
    return f'<img alt="{escape(plot.title)}" src="data:image/png;base64,{data}">'


def _funnel(rows: Rows) -> str:
    largest = max((float(row["customers"]) for row in rows), default=1.0) or 1.0
    body = "".join(
        f"<tr><td>{escape(str(row['stage']))}</td><td class='n'>{_cell(row['customers'])}</td>"
        f"<td><span class='bar' style='width:{100 * float(row['customers']) / largest:.1f}%'></span></td></tr>"
        for row in rows
    )
    return f'<div class="scroll"><table class="funnel"><tbody>{body}</tbody></table></div>'


def _table(rows: Rows) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(_td(value) for value in row.values())}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _td(value: Any) -> str:
    kind = "n" if isinstance(value, int | float) and not isinstance(value, bool) else ""
    verdict = value if value in ("passed", "FAILED") else ""
    return f'<td class="{kind or verdict}">{_cell(value)}</td>'


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return escape(f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value))
