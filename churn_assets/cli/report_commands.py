"""Commands that show what is known: the report of a release, why a customer is decided so, every check."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import REFUSED, UsageProblemError, guarded
from churn_assets.cli.message_commands import known_customer
from churn_assets.cli.place import ExperimentOption, JsonOption, ReleaseArgument, open_place
from churn_assets.cli.privacy_commands import read_by
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.cli.place import Place
    from churn_assets.deciding.explain import Explanation
    from churn_assets.offers.decision_index import FoundDecision
    from churn_assets.offers.economics import OutcomeConfig
    from churn_assets.release.evidence import Evidence
    from churn_assets.release.report.verdict import ReportVerdict


@guarded
def report(
    context: typer.Context,
    release: ReleaseArgument = "latest",
    against: Annotated[
        str | None,
        typer.Option(
            "--against", help="Release to compare with; the champion of when it was built, if left out."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file; .churn/reports/VERSION.html if left out.")
    ] = None,
    show_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Write the report of a release, as its evidence stands now: whether to promote it, and why."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.build import tables_anew
    from churn_assets.release.report.facts import earlier_facts, read_facts
    from churn_assets.release.report.page import report_page
    from churn_assets.release.report.verdict import report_verdict

    if importlib.util.find_spec("matplotlib") is None:
        raise UsageProblemError(
            "a report has plots, and matplotlib is not installed", "pip install 'churn-assets[report]'"
        )
    place = open_place(context, experiment)
    ref = place.release(release)
    other = None if against is None else place.release(against)
    required, now = registry().checks, datetime.now(UTC)
    facts = replace(
        read_facts(
            place.store,
            place.channel,
            ref,
            required,
            against=other,
            now=now,
            tables=tables_anew(place.store, ref, other),
            max_age_days=place.experiment.automation.max_age_days,
        ),
        earlier=earlier_facts(place.store, place.channel, ref, required, now=now),
    )
    target = output or context.obj / ".churn" / "reports" / f"{ref.version}.html"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(report_page(facts), encoding="utf-8")
    except OSError as error:
        raise UsageProblemError(f"--out {target}: cannot be written ({error.strerror})") from None
    verdict = report_verdict(facts)
    if as_json:
        print_json({"release": str(ref), "written": str(target), "leads": facts.leads, **asdict(verdict)})
    else:
        _show_verdict(verdict, target)
        if facts.leads:
            out.print(f"It leads channel {place.channel.name} now.")
    if show_it:
        typer.launch(target.resolve().as_uri())


def _show_verdict(verdict: ReportVerdict, target: Path) -> None:
    colour = {"promote": "green", "discuss": "yellow", "do not promote": "red"}[verdict.call]
    out.print(styled(colour, verdict.sentence))
    for each in verdict.grounds:
        out.print(f"  {each.fault}: {each.said}")
    out.print(f"Report written to {target}")


@guarded
def explain(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="Id of a customer in the release's own table.")],
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Why a customer is decided so: drivers of the risk, the worth of every arm, what would change it, and the past."""
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.names import names_of
    from churn_assets.deciding.decider import Decider
    from churn_assets.deciding.explain import explain as explained
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.deciding.table import inputs_of
    from churn_assets.offers.decision_search import of_customer, search_path, searched_log
    from churn_assets.release.build import as_raw
    from churn_assets.release.deciding import load_release

    place = open_place(context, experiment)
    ref = place.release(release)
    read_by(context, "explain", [customer], about=str(ref))
    bundle, models = load_release(place.store, ref)
    person, everybody = known_customer(place.store, bundle, customer)
    decider = decider_of(models, str(ref))
    if not isinstance(decider, Decider):
        hint = "churn decide tells its risk and drivers"
        raise UsageProblemError(f"{ref} has no offer model: it makes no offer to explain", hint)
    (asked,) = inputs_of(as_raw(person), decider, datetime.now(UTC))
    price, root = place.experiment.section(CustomersConfig).monthly_revenue, context.obj
    file, served = search_path(root, place.uri, experiment), place.experiment.serving.decision_log.folder
    terms = place.experiment.served_terms
    with searched_log(file, price, place.store.backend, experiment, root / served, terms) as index:
        past = of_customer(index, names_of(customer), LATEST_TOLD)
    rows = [history_row(each, place.experiment.economics.outcome) for each in past]
    told = _told(explained(decider, asked, everybody), decider, bundle.writing.currency) | {
        "release": str(ref),
        "history": rows,
    }
    if as_json:
        print_json(told)
    else:
        _show_explanation(told)


LATEST_TOLD = 20
"""Decisions of a customer that are told, the newest first."""


def history_row(decision: FoundDecision, of: OutcomeConfig | None = None) -> dict[str, Any]:
    """A logged decision and what became of it; None: not told. `of`: what the value is of, if not of who stays."""
    outcome = decision.outcome
    came: bool | float | None = None if outcome.churned is None else bool(outcome.churned)
    if of is not None and outcome.churned is not None:
        came = of.unit * (1 - outcome.churned)
    return {
        "at": f"{decision.at:%Y-%m-%d %H:%M}",
        "arm": decision.arm,
        "chosen by": decision.assigned,
        "risk": decision.risk,
        "accepted": None if outcome.accepted is None else bool(outcome.accepted),
        "left" if of is None else of.column: came,
        "margin": outcome.margin,
        "release": decision.release,
    }


def _told(found: Explanation, decider: Any, currency: str) -> dict[str, Any]:
    from churn_assets.deciding.reasons import in_words

    decision, process = found.decision, decider.process
    labels = dict(zip(decider.menu.ids, decider.menu.labels, strict=True))
    arms = [
        {
            "arm": each.arm.id,
            "offer": each.arm.label,
            "acceptance": each.acceptance,
            "risk if offered": each.risk_if_offered,
            "within the window": each.window_value,
            "projected": each.expected_value,
            "least": each.value_low,
            "most": each.value_high,
            "forbidden by": each.forbidden,
        }
        for each in decision.arms
    ]
    return {
        "decision": decision.chosen.arm.id,
        "risk": decision.risk,
        "outcome": decider.told.outcome,
        "why": in_words(decision.reasons, labels, decider.told),
        "currency": currency,
        "window_months": process.window_months,
        "horizon_months": process.horizon * process.step_months,
        "arms": arms,
        "drivers": [asdict(each) for each in found.drivers],
        "would change it": [asdict(each) for each in found.switches],
        "budget_price": found.budget_price,
        "priced_arm": found.priced_arm,
    }


def _show_explanation(told: dict[str, Any]) -> None:
    out.print(styled("bold", told["decision"]), f": {told['why']}")
    money = f"{told['currency']}; within {told['window_months']:g} months, and projected over {told['horizon_months']}"
    rows = [{key: figure(value) for key, value in row.items() if key != "offer"} for row in told["arms"]]
    out.print(f"Every arm, {money} with its band", style="italic", highlight=False)
    out.print(table(rows))
    if told["outcome"]:
        out.print(f"The risk is the share of {told['outcome']} that is missed.")
    moving = [row for row in told["drivers"] if abs(row["adds"]) >= 0.0005][:10]
    rows = [
        {
            "feature": row["feature"],
            "value": figure(row["value"]),
            "typical": figure(row["typical"]),
            "adds to the risk": f"{row['adds']:+.1%}",
            "risk if typical": f"{row['risk_if_typical']:.1%}",
        }
        for row in moving
    ]
    out.print(
        table(
            rows, f"What drives the risk of {told['risk']:.1%}, each feature alone against a typical customer"
        )
    )
    rows = [{key: figure(value) for key, value in row.items()} for row in told["would change it"]]
    if rows:
        out.print("What would change the decision: the nearest other value of one feature", style="italic")
        out.print(table(rows))
    else:
        out.print("No other value of a single feature would change the decision.")
    if told["budget_price"] is not None:
        out.print(f"At a budget price of {told['budget_price']:g} it would be {told['priced_arm']}.")
    if told["history"]:
        rows = [
            {key: figure(value) for key, value in row.items() if key != "release"} for row in told["history"]
        ]
        out.print("What was decided before, newest first, and what became of it", style="italic")
        out.print(table(rows))
    else:
        out.print("Nothing was decided for this customer before that the log has.")


@guarded
def checks(
    context: typer.Context,
    release: Annotated[
        str | None, typer.Option("--release", help="Its members and itself; the newest versions if left out.")
    ] = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Write the verdicts to this file too, as JUnit XML.", dir_okay=False),
    ] = None,
) -> None:
    """Every check's verdict, figures and thresholds, as stored with the versions; exit 1 if one does not hold."""
    place = open_place(context, experiment)
    evidence = _evidence(place, release)
    problems = [problem for each in evidence for problem in each.problems]
    rows = _gate_rows(evidence)
    if junit is not None:
        write_junit(junit, experiment, evidence)
    if as_json:
        print_json({"checks": rows, "problems": problems})
    else:
        shown = [
            row | {"figure": figure(row["figure"]), "threshold": figure(row["threshold"])} for row in rows
        ]
        kept = [{key: value for key, value in row.items() if key != "version"} for row in shown]
        out.print(table(kept, f"Checks of {experiment}"))
        for problem in problems:
            out.print(styled("red", problem))
        if not rows and not problems:
            out.print(f"Nothing is stored of {experiment} yet: churn run {experiment}")
    if problems:
        raise typer.Exit(REFUSED)


def _evidence(place: Place, release: str | None) -> list[Evidence]:
    """Of a release and its members, or of the newest version of every asset."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.bundle import RELEASE
    from churn_assets.release.evidence import gather

    if release is None:
        newest = [place.store.versions(place.experiment.name, asset) for asset in registry().names]
        versions = [found[-1] for found in newest if found]
    else:
        ref = place.release(release)
        members = place.store.load(ref, RELEASE).bundle.members
        versions = [*(members[asset].version for asset in registry().in_order(members)), ref]
    return [gather(place.store, version, registry().checks) for version in versions]


def _gate_rows(evidence: Sequence[Evidence]) -> list[dict[str, Any]]:
    return [
        {
            "asset": each.ref.asset,
            "version": each.ref.version,
            "check": check,
            "gate": gate.name,
            "figure": gate.figure,
            "bound": gate.bound,
            "threshold": gate.threshold,
            "verdict": gate.row["verdict"],
        }
        for each in evidence
        for check, found in each.reports.items()
        for gate in found.gates
    ]


def write_junit(path: Path, experiment: str, evidence: Sequence[Evidence]) -> None:
    """A suite for every version, a case for every check; what is wrong beside a gate is a case of its own."""
    from xml.etree import ElementTree as ET

    suites = ET.Element("testsuites", name=f"checks of {experiment}")
    for each in evidence:
        suite = ET.SubElement(suites, "testsuite", name=str(each.ref))
        told = set()
        for check, found in each.reports.items():
            case = ET.SubElement(suite, "testcase", classname=each.ref.asset, name=check)
            failed = [str(gate) for gate in found.gates if not gate.passed]
            told |= {f"{each.ref}: check {check}: {gate}" for gate in failed}
            if failed:
                ET.SubElement(case, "failure", message="; ".join(failed)).text = found.advice
        for problem in each.problems:
            if problem not in told:
                case = ET.SubElement(suite, "testcase", classname=each.ref.asset, name="evidence")
                ET.SubElement(case, "error", message=problem)
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
    try:
        ET.ElementTree(suites).write(path, encoding="unicode", xml_declaration=True)
    except OSError as error:
        raise UsageProblemError(f"--junit {path}: cannot be written ({error.strerror})") from None
