"""The command that decides for a customer table: what it writes, what it says of rows that nobody could decide for."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import PARTLY, USAGE, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.row_progress import RowProgress
from churn_assets.cli.screen import figure, note, out, print_json, table
from churn_assets.cli.shown import styled
from churn_assets.cli.waves import (
    ToOption,
    ToTableOption,
    WaveOption,
    customers_source,
    wave_table,
)
from churn_assets.store.canonical import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from churn_assets.batch.tried import Leading, Tried
    from churn_assets.batch.wave import DecidedWave
    from churn_assets.cli.place import Place
    from churn_assets.deciding.messages import MessageWriter
    from churn_assets.release.bundle import Bundle
    from churn_assets.tables.config import TablePlace
    from churn_assets.tables.wave_table import WaveTable


@guarded
def decide(
    context: typer.Context,
    file: Annotated[
        str,
        typer.Argument(
            help="Customers, columns as in training: CSV or Parquet (a path or gs://bucket/name), or a database's "
            "location with --table or --query."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="CSV or Parquet; FILE.decided.csv beside it if left out."),
    ] = None,
    from_table: Annotated[
        str | None, typer.Option("--table", help="Table of the database that FILE is, as schema.table.")
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", help="One SELECT for the database that FILE is.")
    ] = None,
    to: ToOption = None,
    to_table: ToTableOption = None,
    wave: WaveOption = None,
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    messages: Annotated[
        bool,
        typer.Option(
            "--messages", help="Write to everybody who is made an offer; about 100 messages a second."
        ),
    ] = False,
    sent: Annotated[
        str | None,
        typer.Option(
            "--sent-before",
            help="CSV or Parquet that an earlier `decide --messages` wrote: whoever got a message in it is told "
            "something else.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, help="Most money that the offers of this run may cost together."),
    ] = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Add decision, arm, reasons, expected value, propensity and release to a customer table.

    Of a panel, to the newest row of each customer. Exit code 5: some rows could not be decided for; each says why.
    A large table is decided in parts; run again, a command that was killed goes on where it was. Limits of the
    experiment's `budgets:` hold for all rows together, and --budget beside them.
    While a trial runs, its candidate decides for the customers for whom it does in servers; each row names its release.
    Within limits one release decides for all.
    """
    from churn_assets.batch.sent import sent_before
    from churn_assets.batch.tried import Leading
    from churn_assets.batch.wave import BatchWave, decide_wave
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.table import CustomerTableError
    from churn_assets.release.config import missing_for_more
    from churn_assets.release.deciding import load_release
    from churn_assets.tables.table_file import TableFile

    place = open_place(context, experiment)
    source = customers_source(file, from_table, query)
    if budget is not None and not 0 <= budget <= LARGEST_BUDGET:
        raise UsageProblemError(f"--budget: found {budget:g}", f"expected money from 0 to {LARGEST_BUDGET:g}")
    if sent is not None and not messages:
        raise UsageProblemError("found --sent-before without --messages", "add --messages, or leave it out")
    before = sent_before(sent, Path(), place.experiment.section(CustomersConfig)) if sent else {}
    limited = place.experiment.budgets is not None or budget is not None
    named_only = limited and to is None and to_table is None
    kept = None if named_only else wave_table(to, to_table, wave)
    target = output or (_beside(source) if kept is None else None)
    decided_file = None if target is None else TableFile(target)
    ref = place.release(release)
    bundle, models = load_release(place.store, ref)
    tried = (
        _tried(place, Leading(place.channel, ref, bundle, models), limited=limited)
        if release == "champion"
        else None
    )
    asked = BatchWave(
        folder=_folder(context.obj, target, kept),
        root=Path(),  # of the table; the ledger is the project's
        ledger=context.obj,
        experiment=place.experiment.name,
        source=source,
        customers=place.experiment.section(CustomersConfig),
        release=str(ref),
        responses=bundle.responses,
        budgets=place.experiment.budgets,
        budget=budget,
        name=wave,
        tried=tried,
    )
    try:
        with RowProgress() as progress:
            decided = decide_wave(asked, models, progress, datetime.now(UTC))
    except CustomerTableError as error:
        if as_json:
            print_json({"decided": 0, "problems": error.to_json() or [{"found": str(error)}]})
            raise typer.Exit(USAGE) from error
        raise
    bundles = {str(ref): bundle} | ({} if tried is None else {tried.job.candidate: tried.bundle})
    names = decided.write(decided_file, kept, _writers(place, bundles) if messages else {}, before)
    told = _told(decided, names) | {"release": str(ref), "simulated": bundle.simulated}
    told["trial"] = None if tried is None else tried.told(decided.outcome)
    told["missing"] = missing_for_more(bundle.branches)
    told["currency"] = bundle.writing.currency
    decided.end()
    written = [str(each) for each in (target, kept) if each is not None]
    if as_json:
        print_json(told | {"written": ", ".join(written)})
    else:
        _show(told, written)
    if told["undecided"]:
        raise typer.Exit(PARTLY)


def _tried(place: Place, leading: Leading, *, limited: bool) -> Tried | None:
    """The candidate of the trial that runs beside the release."""
    from churn_assets.batch.tried import tried_beside
    from churn_assets.deciding.secret import assignment_key

    return tried_beside(
        leading,
        place.store,
        datetime.now(UTC),
        limited=limited,
        key=assignment_key(os.environ),
        rollout_epoch=place.experiment.serving.assignment_epoch,
        say=note,
    )


def _writers(place: Place, bundles: Mapping[str, Bundle]) -> dict[str, MessageWriter]:
    """Who writes for the decisions of each release."""
    from churn_assets.release.loaded import load_desk

    return {release: load_desk(place.store, bundle) for release, bundle in bundles.items()}


def _folder(root: Path, target: Path | None, kept: WaveTable | None) -> Path:
    """Where the parts of a batch lie until all is written: beside the file, or in the project."""
    if target is not None:
        return target.with_name(f".{target.name}.parts")
    return root / ".dagster" / "batches" / sha256_bytes(str(kept).encode())[:16]


def _beside(source: TablePlace) -> Path:
    if not isinstance(source, str) or "://" in source:
        raise UsageProblemError(f"{source} has no place beside it", "say where to write: --out, or --to")
    file = Path(source)
    plain = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    suffix = ".parquet" if plain.suffix.lower() in (".parquet", ".pq") else ".csv"
    return file.with_name(f"{plain.stem}.decided{suffix}")


LARGEST_BUDGET = 1e9
"""As of a limit in an experiment."""


def _told(decided: DecidedWave, names: Mapping[str, str]) -> dict[str, Any]:
    """What is said of the decisions, as plain data."""
    found = decided.outcome
    return {
        "decided": found.decided,
        "undecided": found.undecided,
        "arms": decided.arms,
        "spend": found.spend,
        "problems": [asdict(each) for each in found.problems],
        "outside": dict(found.outside),
        "said": [
            *found.said,
            *(f"column {old!r} is there already: ours is {new!r}" for old, new in names.items()),
        ],
        "budgets": [each._asdict() for each in decided.uses],
    }


def _show(told: dict[str, Any], written: list[str]) -> None:
    from churn_assets.tables.problems import TableProblem

    out.print(f"{told['decided']} decisions of {told['release']}")
    if told["trial"]:
        tried = told["trial"]
        out.print(
            f"{tried['decided']} of them of {tried['candidate']}, which is tried (share {tried['share']:.3g})"
        )
    shown = [
        {
            "arm": row["arm"],
            "offer": row["offer"],
            "customers": row["customers"],
            "within one window": figure(row["window_value"]),
            "projected": figure(row["expected_value"]),
            "least": figure(row["value_low"]),
            "most": figure(row["value_high"]),
        }
        for row in told["arms"]
    ]
    out.print(
        table(shown, f"{told['currency']} of value added over no offer, all customers of a row together")
    )
    if told["budgets"]:
        rows = [
            {
                "limit": row["name"],
                "of": row["unit"],
                "at most": figure(row["most"]),
                "used": figure(row["used"]),
                "by this run": figure(row["decided"]),
                "allowed now": figure(row["now"]),
                "shadow price": figure(row["shadow_price"]),
            }
            for row in told["budgets"]
        ]
        out.print(table(rows, "Budgets"))
    for said in told["said"]:
        out.print(said)
    for name, count in told["outside"].items():
        out.print(f"feature {name!r}: {count} far outside of what was learned")
    if told["undecided"]:
        out.print(styled("yellow", f"{told['undecided']} rows could not be decided for:"))
        for problem in told["problems"]:
            out.print(str(TableProblem(**problem)))
    if told["missing"]:
        no_offer = ": this release tells the risk and makes no offer. To know more:"
        out.print(styled("yellow", "NO OFFER MODEL"), no_offer)
        for missing in told["missing"]:
            out.print(f"- {missing}")
    if told["simulated"]:
        told_by = ": the answers to offers that this release learned from are a demo world's."
        out.print(styled("yellow", "SIMULATED"), told_by)
    for place in written:
        out.print(f"Written to {place}")
