"""The `churn` command: thin commands over the library. Everything heavy is imported when a command runs."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path
from typing import Annotated

import typer

from churn_assets.cli import (
    decide_command,
    design_command,
    explore_command,
    message_commands,
    offers_command,
    privacy_commands,
    report_commands,
    serve_command,
    simulate_command,
    step_command,
    store_commands,
    submit_command,
    tables_command,
    trial_command,
    upgrade_command,
)
from churn_assets.cli.errors import UsageProblemError, guarded
from churn_assets.cli.place import (
    ROOT,
    ExperimentArgument,
    ExperimentOption,
    JsonOption,
    ReleaseArgument,
    open_place,
)
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import one_line, show_whatever_the_encoding, styled

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 1 a gate or check failed, or a release was refused; 2 wrong input or usage; "
    "3 the store is corrupt, in conflict or lacks something; 4 a run failed for another reason; 5 decided, but not for "
    "every row; 6 the machine said no: a full disk, a permission, a limit; 70 a bug.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"churn {importlib.metadata.version('churn-assets')}")
        raise typer.Exit


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
    version: Annotated[  # noqa: ARG001
        bool,
        typer.Option("--version", help="Show the version and end.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Customers to verified release to decisions."""
    show_whatever_the_encoding()
    context.obj = Path(os.path.realpath(root))


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
        figures = manifest.provenance.metrics
        state = "leads" if str(ref) == leader else "led" if str(ref) in led else ""
        rows.append(
            {
                "release": ref.version,
                "made": f"{manifest.created_at:%Y-%m-%d %H:%M:%S}",
                "channel": f"{state} {place.channel.name}" if state else "",
                "checks": figures.get("checks", figures.get("gates")),  # before, checks were counted as gates
                "responses": "simulated" if figures.get("simulated") else "observed",
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
    as_json: JsonOption = False,
    report: Annotated[str | None, typer.Option("--report", hidden=True)] = None,
) -> None:
    """Show a release: members, figures, and whether it could be promoted now."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.bundle import RELEASE
    from churn_assets.release.config import missing_for_more
    from churn_assets.release.promotion import consider

    if report is not None:
        raise UsageProblemError("show has no --report any more", f"churn report {release} --out {report}")
    place = open_place(context, experiment)
    ref = place.release(release)
    value = place.store.load(ref, RELEASE)
    members = {
        asset: value.bundle.members[asset].version for asset in registry().in_order(value.bundle.members)
    }
    metrics = {asset: place.store.manifest(each).provenance.metrics for asset, each in members.items()}
    decision = consider(place.store, place.channel, ref, registry().checks)
    missing = missing_for_more(value.bundle.branches)
    if as_json:
        print_json(
            {
                "release": str(ref),
                "branches": list(value.bundle.branches),
                "simulated": value.bundle.simulated,
                "missing": missing,
                "members": [
                    {"asset": asset, "version": str(each), "metrics": metrics[asset]}
                    for asset, each in members.items()
                ],
                "promotion": {"promote": decision.promote, "reason": decision.reason},
            }
        )
        return
    observed = "none" if missing else "observed"
    responses = styled("yellow", "simulated") if value.bundle.simulated else observed
    out.print(styled("bold", ref), f"  branches: {', '.join(value.bundle.branches)}  responses: ", responses)
    rows = [
        {
            "member": asset,
            "version": each.version,
            "figures": ", ".join(f"{name} {figure(found)}" for name, found in metrics[asset].items()),
        }
        for asset, each in members.items()
    ]
    out.print(table(rows))
    for each in missing:
        out.print(f"it cannot tell {each}")
    verdict = styled("green", "can") if decision.promote else styled("yellow", "cannot")
    out.print(verdict, one_line(f" be promoted: {decision.reason}"))


for _command in (
    report_commands.report,
    report_commands.checks,
    report_commands.explain,
    store_commands.promote,
    store_commands.rollback,
    store_commands.history,
    store_commands.diff,
    store_commands.retention,
    store_commands.doctor,
    tables_command.tables,
    decide_command.decide,
    design_command.design,
    explore_command.explore,
    message_commands.write,
    serve_command.serve,
    serve_command.keys,
    serve_command.log,
    simulate_command.simulate,
    privacy_commands.erase,
    upgrade_command.upgrade,
    step_command.step,
    submit_command.submit,
):
    app.command()(_command)
app.add_typer(store_commands.store_app, name="store")
app.add_typer(privacy_commands.privacy_app, name="privacy")
app.add_typer(offers_command.offers_app, name="offers")
app.add_typer(trial_command.trial_app, name="trial")
