"""`churn serve`: decisions over HTTP. `churn keys`: who may ask. `churn log`: what was decided, as an offer log."""

from __future__ import annotations

import os
import socket
from collections import Counter
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.cli.errors import PARTLY, UsageProblemError, guarded
from churn_assets.cli.place import ChannelOption, ExperimentOption, open_place
from churn_assets.cli.screen import out, table
from churn_assets.tables.table_file import TableFile

if TYPE_CHECKING:
    from churn_assets.serving.security import ApiKey


@guarded
def serve(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    store: Annotated[
        str | None, typer.Option("--store", help="Store URI; the experiment's own if left out.")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8080,
    workers: Annotated[int, typer.Option("--workers", min=1, max=64, help="Processes.")] = 1,
) -> None:
    """Serve the release that leads a channel, and follow the channel; stop with Ctrl-C."""
    from churn_assets.serving import run
    from churn_assets.store.privacy_key import privacy_key

    place = open_place(context, experiment)
    privacy_key(os.environ, needed=place.experiment.privacy.pseudonyms)
    _refuse_used_port(host, port)
    budgets, outcome = place.experiment.budgets, place.experiment.economics.outcome
    plan = run.ServerPlan(
        root=str(context.obj),
        experiment=experiment,
        config=place.experiment.serving.model_dump_json(),
        store=store or place.uri,
        channel=place.other(channel).name,
        host=host,
        port=port,
        workers=workers,
        signatures=place.experiment.store.model_dump_json(exclude={"uri"}),
        budgets="" if budgets is None else budgets.model_dump_json(),
        pseudonyms=place.experiment.privacy.pseudonyms,
        outcome="" if outcome is None else outcome.model_dump_json(),
    )
    if not place.experiment.serving.console.enabled:
        run.serve(plan)
        return
    from churn_assets.console.run import serve_console

    serve_console(plan)


def _refuse_used_port(host: str, port: int) -> None:
    """Before anything is loaded: the server itself would end with a code that says the store is broken.

    Raises:
        OSError: Another server listens there, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    socket.create_server((host, port), family=family).close()


@guarded
def keys(
    file: Annotated[
        Path, typer.Argument(help="File of API keys (hashes only); made if it is not there.", dir_okay=False)
    ],
    add: Annotated[
        str | None, typer.Option("--add", help="Make a key for this caller, and show it once.")
    ] = None,
    revoke: Annotated[str | None, typer.Option("--revoke", help="Take this caller's key back.")] = None,
    role: Annotated[
        str | None,
        typer.Option(
            "--role",
            help="The new key is a person's: viewer or promoter. It opens the console, and not the API.",
        ),
    ] = None,
) -> None:
    """List, add and revoke the API keys of a server; it notices within a second."""
    from churn_assets.serving.security import (
        KEY_ROLES,
        held_keys,
        new_key,
        read_keys,
        revoked,
        write_keys,
    )

    given = next((each for each in KEY_ROLES if each == role), None)
    if role is not None and (given is None or not add):
        expected = f"expected {' or '.join(KEY_ROLES)}, with --add"
        raise UsageProblemError(f"--role: found {role!r}, {expected}")
    now, clear = datetime.now(UTC), None
    with held_keys(file) if add or revoke else nullcontext():
        known: tuple[ApiKey, ...] = () if add and not file.exists() else read_keys(file)
        if revoke:
            known = revoked(known, revoke, now)
        if add:
            clear, known = new_key(known, add, now, given)
        if add or revoke:
            write_keys(file, known)
    rows = [
        {
            "caller": key.name,
            "opens": f"console ({key.role})" if key.role else "API",
            "made": f"{key.created_at:%Y-%m-%d %H:%M:%S}",
            "revoked": f"{key.revoked_at:%Y-%m-%d %H:%M:%S}" if key.revoked_at else "",
        }
        for key in known
    ]
    out.print(table(rows, f"API keys of {file}"))
    if clear:
        out.print("The key, shown this once:")
        print(clear)  # noqa: T201 - whole, whatever the width of the terminal


@guarded
def log(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--out", "-o", help="CSV or Parquet, as `offer_log.source` reads it.")
    ],
    experiment: ExperimentOption = "quickstart",
) -> None:
    """Write decisions that were served, joined with their outcomes, as an offer log to learn from.

    Exit code 5: something in the log is no sound segment and was left out.
    """
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.offers.decision_index import DecisionIndex
    from churn_assets.offers.economics import catalogue
    from churn_assets.offers.live import ServedLog
    from churn_assets.offers.offer_rows import offer_rows_of

    place = open_place(context, experiment)
    config, counts = place.experiment, Counter[str]()
    price, folder = config.section(CustomersConfig).monthly_revenue, config.serving.decision_log.folder
    with TemporaryDirectory(prefix="decision-index-") as workspace, TableFile(output) as written:
        index = DecisionIndex(Path(workspace) / "index.sqlite", price, terms=config.served_terms)
        served = ServedLog(place.store.backend, experiment, index, Path(context.obj) / folder)
        served.refresh()
        arms = catalogue(config.arms, config.economics)
        for rows in offer_rows_of(served, config.economics, arms, price, now=datetime.now(UTC)):
            counts.update(rows.counts)
            written.write(rows.frame)
        counts.update(served.index.totals())
        index.close()
    out.print(table([{"decisions": count, "": what} for what, count in counts.items()]))
    out.print(f"Written to {output}")
    for key, why in served.problems.items():
        out.print(f"left out: {key}: {why}")
    if served.problems:
        raise typer.Exit(PARTLY)
