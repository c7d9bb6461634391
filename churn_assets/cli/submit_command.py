"""`churn submit`: hands a training to a Dagster that runs elsewhere, and waits for it if asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from churn_assets.cli.errors import RUN_FAILED, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentArgument, JsonOption, open_place
from churn_assets.cli.screen import note, out, print_json
from churn_assets.cli.shown import styled

if TYPE_CHECKING:
    from dagster_graphql import DagsterGraphQLClient

LOOK_EVERY = 5.0
"""Seconds between two looks at a run that is waited for."""
SILENT_FOR = 600.0
"""Seconds that Dagster may not answer before waiting ends; the run goes on."""
_ANSWER_WITHIN = 60


@guarded
def submit(
    context: typer.Context,
    experiment: ExperimentArgument,
    dagster: Annotated[
        str,
        typer.Option("--to", envvar="CHURN_DAGSTER", help="Address of Dagster, as http://dagster:3000."),
    ],
    select: Annotated[
        str, typer.Option("--select", "-s", help="Assets, as of `churn run`; those of the experiment.")
    ] = "*",
    location: Annotated[
        str | None, typer.Option("--location", help="Code location, where Dagster serves several.")
    ] = None,
    *,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for its end; exit 4 if it fails.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Have an experiment trained by a Dagster that runs elsewhere: its queue, its machines, its history."""
    from churn_assets.cli.running import select_assets
    from churn_assets.definitions import Overrides, build_defs, build_project
    from jobs.train import TRAIN, compute_tags

    open_place(context, experiment)
    overrides = Overrides(root=context.obj)
    project = build_project(overrides)
    defs = build_defs(overrides, project)
    selected = sorted(name for name in select_assets(defs, select) if project.takes_part(experiment, name))
    if not selected:
        raise UsageProblemError(f"--select {select!r} names no asset of experiment {experiment!r}")
    client = _client(dagster)
    tags = {
        "dagster/partition": experiment,
        "churn/trigger": "submit",
        **compute_tags(project.machines(experiment)),
    }
    run_id = _asked(
        dagster,
        lambda: client.submit_job_execution(
            TRAIN,
            repository_location_name=location,
            # The client takes any location unless both are given; of definitions, the repository is called so.
            repository_name=None if location is None else "__repository__",
            tags=tags,
            asset_selection=selected,
        ),
    )
    page = f"{dagster.rstrip('/')}/runs/{run_id}"
    if not wait:
        _tell(run_id, page, "SUBMITTED", as_json=as_json)
        return
    note(f"run {run_id}: {page}")
    status = _ended(dagster, client, run_id)
    _tell(run_id, page, status, as_json=as_json)
    if status != "SUCCESS":
        raise typer.Exit(RUN_FAILED)


def _client(address: str) -> DagsterGraphQLClient:
    from dagster_graphql import DagsterGraphQLClient

    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageProblemError(f"--to: found {address!r}, expected http://host:port or https://host")
    return DagsterGraphQLClient(
        parts.hostname,
        port_number=parts.port,
        use_https=parts.scheme == "https",
        timeout=_ANSWER_WITHIN,
        path_prefix=parts.path.rstrip("/"),
    )


def _asked(address: str, question: Callable[[], str]) -> str:
    from dagster_graphql import DagsterGraphQLClientError

    try:
        return question()
    except DagsterGraphQLClientError as error:
        raise UsageProblemError(
            f"Dagster at {address} refuses: {' '.join(str(error).split())[:400]}",
            "is the experiment, and this version of the code, what its code location serves?",
        ) from error


def _ended(address: str, client: DagsterGraphQLClient, run_id: str) -> str:
    """The status with which a run ended; a Dagster that is silent for long ends the waiting, and not the run."""
    from dagster_graphql import DagsterGraphQLClientError

    answered = time.monotonic()
    while True:
        try:
            status = client.get_run_status(run_id).value
        except DagsterGraphQLClientError as error:
            if time.monotonic() - answered > SILENT_FOR:
                raise UsageProblemError(
                    f"Dagster at {address} did not answer for {SILENT_FOR:g} s; run {run_id} goes on: {error}"
                ) from error
        else:
            answered = time.monotonic()
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return str(status)
        time.sleep(LOOK_EVERY)


def _tell(run_id: str, page: str, status: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": run_id, "page": page, "status": status})
    else:
        colour = "green" if status in ("SUBMITTED", "SUCCESS") else "red"
        out.print(styled(colour, status.lower()), f"  run {run_id}  {page}", soft_wrap=True)
