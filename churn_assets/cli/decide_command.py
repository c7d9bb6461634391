"""The command that decides for a customer table: what it writes, what it says of rows that nobody could decide for."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import PARTLY, USAGE, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import styled
from churn_assets.cli.table_file import TableFile
from churn_assets.cli.waves import ToOption, ToTableOption, WaveOption, customers_source, wave_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from churn_assets.cli.place import Place
    from churn_assets.deciding.messages import MessageWriter
    from churn_assets.deciding.risk_only import AnyDecider
    from churn_assets.deciding.spending import WaveSpending
    from churn_assets.deciding.table import TableDecisions
    from churn_assets.tables.config import TablePlace
    from churn_assets.tables.raw import RawTable


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
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, help="Most money that the offers of this run may cost together."),
    ] = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Add decision, arm, reasons, expected value, propensity and release to a customer table.

    Of a panel, to the newest row of each customer. Limits of the experiment's `budgets:` hold for all rows together,
    and --budget beside them. Exit code 5: some rows could not be decided for; each says why.
    """
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.table import CustomerTableError, keep_newest
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.deciding.table import Limited, decide_rows
    from churn_assets.release.config import missing_for_more
    from churn_assets.release.deciding import load_release
    from churn_assets.tables.problems import Problems
    from churn_assets.tables.source import read_source

    place = open_place(context, experiment)
    source = customers_source(file, from_table, query)
    limited_run = place.experiment.budgets is not None or budget is not None
    named_only = limited_run and to is None and to_table is None
    kept = None if named_only else wave_table(to, to_table, wave)
    target = output or (_beside(source) if kept is None else None)
    decided_file = None if target is None else TableFile(target)
    config = place.experiment.section(CustomersConfig)
    order = [] if config.id is None else [config.id]
    try:
        problems = Problems(str(source), CustomerTableError)
        raw, _ = read_source(source, Path(), problems, config.reading, order)
        ref = place.release(release)
        bundle, models = load_release(place.store, ref)
        decider, now = decider_of(models, str(ref)), datetime.now(UTC)
        keep_newest(raw, decider.schema, problems, now)
        spending = _spending(place, budget, wave, raw, decider, now, context.obj)
        limited = None if spending is None else Limited(spending.limits, spending.used, spending.allow)
        found = decide_rows(raw, decider, now, limited)
    except CustomerTableError as error:
        if as_json:
            print_json({"decided": 0, "problems": error.to_json() or [{"found": str(error)}]})
            raise typer.Exit(USAGE) from error
        raise
    known = "decision" in bundle.branches
    responses = "simulated" if bundle.simulated else "observed" if known else "no offer model"
    decided = found.frame.assign(responses=responses)
    if messages:
        from churn_assets.release.loaded import load_desk

        decided = decided.join(_messages(raw, found, decider, load_desk(place.store, bundle)))
    if spending is not None and found.budgets:
        spending.keep(found.budgets, int(found.decided.sum()))
    if kept is not None:
        kept.write(decided.assign(customer_id=_ids_of(raw, found, decider)))
    added = decided.drop(columns=["customer_id"])
    names = {} if target is None else _free_names(list(added.columns), raw.names)
    if decided_file is not None:
        with decided_file:
            decided_file.write(raw.frame().join(added.rename(columns=names)))
    told = _told(found, decider, raw, names) | {"release": str(ref), "simulated": bundle.simulated}
    told["missing"] = missing_for_more(bundle.branches)
    written = [str(each) for each in (target, kept) if each is not None]
    if as_json:
        print_json(told | {"written": ", ".join(written)})
    else:
        _show(told, written)
    if told["undecided"]:
        raise typer.Exit(PARTLY)


def _spending(
    place: Place,
    budget: float | None,
    wave: str | None,
    raw: RawTable,
    decider: AnyDecider,
    now: datetime,
    root: Path,
) -> WaveSpending | None:
    """What the run may use; None where nothing is limited, or nothing can be offered."""
    from churn_assets.deciding.spending import WaveSpending, ledger_of
    from churn_assets.decision.limits import for_this_run
    from churn_assets.tables.text import as_text

    if budget is not None and not 0 <= budget <= LARGEST_BUDGET:
        raise UsageProblemError(f"--budget: found {budget:g}", f"expected money from 0 to {LARGEST_BUDGET:g}")
    config = for_this_run(place.experiment.budgets, budget)
    if config is None or len(decider.menu) < 2:
        return None
    if decider.schema.id in raw.columns:
        ids = [as_text(each) for each in raw.plain(decider.schema.id).to_pylist()]
    else:  # the lines alone would make one wave of all tables
        ids = [str(row) for row in raw.frame().itertuples(index=False)]
    ledger = ledger_of(root, config, place.experiment.name)
    return WaveSpending.begin(config, ledger, decider.menu, decider.schema, ids, wave, now)


def _ids_of(raw: RawTable, found: TableDecisions, decider: AnyDecider) -> list[str]:
    """Who each row is about, whether or not something was decided."""
    from churn_assets.tables.text import as_text

    if decider.schema.id not in raw.columns:
        return [str(each) for each in found.frame["customer_id"]]
    return [as_text(each) for each in raw.plain(decider.schema.id).to_pylist()]


def _beside(source: TablePlace) -> Path:
    if not isinstance(source, str) or "://" in source:
        raise UsageProblemError(f"{source} has no place beside it", "say where to write: --out, or --to")
    file = Path(source)
    plain = file.with_suffix("") if file.suffix.lower() == ".gz" else file
    suffix = ".parquet" if plain.suffix.lower() in (".parquet", ".pq") else ".csv"
    return file.with_name(f"{plain.stem}.decided{suffix}")


def _free_names(added: list[str], taken: list[str]) -> dict[str, str]:
    """Another name for each added column that the table has already."""
    names, used = {}, set(taken) | set(added)
    for name in (each for each in added if each in taken):
        new = f"decided_{name}"
        while new in used:
            new = f"decided_{new}"
        used.add(new)
        names[name] = new
    return names


def _messages(
    raw: RawTable, found: TableDecisions, decider: AnyDecider, writer: MessageWriter
) -> pd.DataFrame:
    """What to send, by row; blank where nothing was decided."""
    import numpy as np

    from churn_assets.deciding.messages import messages_for

    rows: NDArray[np.intp] = np.flatnonzero(found.decided)
    arms = [decider.menu[decider.menu.position[arm]] for arm in found.frame["arm"].iloc[rows]]
    good = raw.renamed({})
    good.keep(found.decided)
    written = messages_for(good, arms, decider.schema, writer)
    return written.set_axis(rows).reindex(range(len(raw)), fill_value="")


LARGEST_BUDGET = 1e9
"""As of a limit in an experiment."""
_MONEY = ("window_value", "expected_value", "value_low", "value_high")


def _told(found: TableDecisions, decider: AnyDecider, raw: RawTable, names: dict[str, str]) -> dict[str, Any]:
    """What is said of the decisions, as plain data."""
    from dataclasses import asdict

    by_arm = found.frame.groupby("arm")
    sums, sizes = by_arm[list(_MONEY)].sum(), by_arm.size()
    arms = [
        {"arm": arm.id, "offer": arm.label, "customers": int(sizes[arm.id])}
        | {name: float(sums.loc[arm.id, name]) for name in _MONEY}
        for arm in decider.menu
        if arm.id in sizes.index
    ]
    decided = int(found.decided.sum())
    return {
        "decided": decided,
        "undecided": len(raw) - decided,
        "arms": arms,
        "problems": [asdict(each) for each in found.problems],
        "outside": dict(found.outside),
        "budgets": [each._asdict() for each in found.budgets],
        "said": [
            *dict.fromkeys(raw.said),
            *(f"column {old!r} is there already: ours is {new!r}" for old, new in names.items()),
        ],
    }


def _show(told: dict[str, Any], written: list[str]) -> None:
    from churn_assets.tables.problems import TableProblem

    out.print(f"{told['decided']} decisions of {told['release']}")
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
    out.print(table(shown))
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
