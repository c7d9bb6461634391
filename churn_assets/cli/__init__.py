"""The `churn` command: thin commands over the library. Everything heavy is imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from churn_assets.cli import (
    decide_command,
    design_command,
    message_commands,
    serve_command,
    simulate_command,
    store_commands,
    tables_command,
)
from churn_assets.cli.errors import REFUSED, guarded
from churn_assets.cli.place import (
    ExperimentArgument,
    ExperimentOption,
    JsonOption,
    ReleaseArgument,
    open_place,
)
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import one_line, show_whatever_the_encoding, styled

ROOT = Path(__file__).resolve().parents[2]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 1 a gate or check failed, or a release was refused; 2 wrong input or usage; "
    "3 the store is corrupt, in conflict or lacks something; 4 a run failed for another reason; 5 decided, but not for "
    "every row; 6 the machine said no: a full disk, a permission, a limit; 70 a bug.",
)


@app.callback()
def main(
    context: typer.Context,
    root: Annotated[
        Path,
        typer.Option(
            envvar="CHURN_ROOT",
            help="The project's folder.",
            exists=True,
            file_okay=False,
            show_default=False,
        ),
    ] = ROOT,
) -> None:
    """Customers to verified release to decisions."""
    show_whatever_the_encoding()
    context.obj = root.resolve()


@app.command()
@guarded
def run(
    context: typer.Context,
    experiment: ExperimentArgument,
    select: Annotated[
        str,
        typer.Option(
            "--select", "-s", help="Assets, as in Dagster: `risk_model`, `risk_model+`, `+release`."
        ),
    ] = "*",
) -> None:
    """Train, check and release; skips what is unchanged and says why."""
    from churn_assets.cli.running import run_experiment

    open_place(context, experiment)  # a wrong experiment stops here, before anything is launched
    run_experiment(context.obj, experiment, select, out)


@app.command()
@guarded
def releases(
    context: typer.Context, experiment: ExperimentOption = "quickstart", as_json: JsonOption = False
) -> None:
    """List the releases of an experiment, newest first."""
    place = open_place(context, experiment)
    history = place.channel.history()
    leader = history[-1].release if history else None
    led = {record.release: record for record in history}
    rows = []
    for ref in reversed(place.store.versions(experiment, "release")):
        manifest = place.store.manifest(ref)
        state = "leads" if str(ref) == leader else "led" if str(ref) in led else ""
        rows.append(
            {
                "release": ref.version,
                "made": f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
                "channel": f"{state} {place.channel.name}" if state else "",
                "gates": manifest.provenance.metrics.get("gates"),
                "responses": "simulated" if manifest.provenance.metrics.get("simulated") else "observed",
            }
        )
    if as_json:
        print_json(rows)
    elif rows:
        out.print(table(rows, f"Releases of {experiment} in {place.uri}"))
    else:
        out.print(f"No release of {experiment} yet: churn run {experiment}")


@app.command()
@guarded
def show(
    context: typer.Context,
    release: ReleaseArgument = "latest",
    experiment: ExperimentOption = "quickstart",
    report: Annotated[
        Path | None, typer.Option("--report", help="Write the HTML report to this file.")
    ] = None,
) -> None:
    """Show a release: members, figures, and whether it could be promoted now."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.bundle import RELEASE
    from churn_assets.release.config import missing_for_more
    from churn_assets.release.promotion import consider

    place = open_place(context, experiment)
    ref = place.release(release)
    value = place.store.load(ref, RELEASE)
    missing = missing_for_more(value.bundle.branches)
    observed = "none" if missing else "observed"
    responses = styled("yellow", "simulated") if value.bundle.simulated else observed
    out.print(styled("bold", ref), f"  branches: {', '.join(value.bundle.branches)}  responses: ", responses)
    rows = []
    for asset in registry().in_order(value.bundle.members):
        member = value.bundle.members[asset]
        metrics = place.store.manifest(member.version).provenance.metrics
        figures = ", ".join(f"{name} {figure(found)}" for name, found in metrics.items())
        rows.append({"member": asset, "version": member.version.version, "figures": figures})
    out.print(table(rows))
    for each in missing:
        out.print(f"it cannot tell {each}", highlight=False)
    decision = consider(place.store, place.channel, ref, registry().checks)
    verdict = styled("green", "can") if decision.promote else styled("yellow", "cannot")
    out.print(verdict, one_line(f" be promoted: {decision.reason}"))
    if report is not None:
        report.write_text(value.report, encoding="utf-8")
        out.print(f"Report written to {report}")


@app.command()
@guarded
def checks(
    context: typer.Context,
    release: Annotated[
        str | None, typer.Option("--release", help="Its members and itself; the newest versions if left out.")
    ] = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Every check's verdict, figures and thresholds, as stored with the versions; exit 1 if one does not hold."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.bundle import RELEASE
    from churn_assets.release.evidence import gather

    place = open_place(context, experiment)
    if release is None:
        newest = [place.store.versions(experiment, asset) for asset in registry().names]
        versions = [found[-1] for found in newest if found]
    else:
        ref = place.release(release)
        members = place.store.load(ref, RELEASE).bundle.members
        versions = [*(members[asset].version for asset in registry().in_order(members)), ref]
    evidence = [gather(place.store, version, registry().checks) for version in versions]
    problems = [problem for each in evidence for problem in each.problems]
    rows = [
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
        for check, report in each.reports.items()
        for gate in report.gates
    ]
    if as_json:
        print_json({"checks": rows, "problems": problems})
    else:
        shown = [
            row | {"figure": figure(row["figure"]), "threshold": figure(row["threshold"])} for row in rows
        ]
        out.print(
            table(
                [{k: v for k, v in row.items() if k != "version"} for row in shown], f"Checks of {experiment}"
            )
        )
        for problem in problems:
            out.print(styled("red", problem))
        if not rows and not problems:
            out.print(f"Nothing is stored of {experiment} yet: churn run {experiment}")
    if problems:
        raise typer.Exit(REFUSED)


for _command in (
    store_commands.promote,
    store_commands.rollback,
    store_commands.history,
    store_commands.diff,
    store_commands.retention,
    store_commands.doctor,
    tables_command.tables,
    decide_command.decide,
    design_command.design,
    message_commands.write,
    serve_command.serve,
    serve_command.keys,
    serve_command.log,
    simulate_command.simulate,
):
    app.command()(_command)
app.add_typer(store_commands.store_app, name="store")
