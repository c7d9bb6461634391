"""The command that decides for a customer table: what it writes, what it says of rows that nobody could decide for."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import PARTLY, USAGE, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.row_progress import RowProgress
from churn_assets.cli.screen import figure, note, out, print_json, table
from churn_assets.cli.shown import styled
from churn_assets.cli.table_file import TableFile
from churn_assets.cli.waves import (
    ToOption,
    ToTableOption,
    WaveOption,
    WaveTable,
    customers_source,
    wave_table,
)
from churn_assets.store.canonical import canonical_json, sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from churn_assets.batch.job import BatchOutcome, TrialJob
    from churn_assets.cli.place import Place
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.deciding.budgets import BudgetUse
    from churn_assets.deciding.messages import MessageWriter
    from churn_assets.deciding.risk_only import AnyDecider, DecidingModels
    from churn_assets.deciding.spending import WaveSpending
    from churn_assets.release.bundle import Bundle
    from churn_assets.release.trial import RunningTrial
    from churn_assets.store.reference import ArtifactRef
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

    Of a panel, to the newest row of each customer. Exit code 5: some rows could not be decided for; each says why.
    A large table is decided in parts; run again, a command that was killed goes on where it was. Limits of the
    experiment's `budgets:` hold for all rows together, and --budget beside them; such a table is decided as one.
    While a trial runs, its candidate decides for the customers for whom it does in servers; each row names its release.
    """
    from churn_assets.customers.table import CustomerTableError
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.release.config import missing_for_more
    from churn_assets.release.deciding import load_release
    from churn_assets.tables.problems import TableError

    place = open_place(context, experiment)
    source = customers_source(file, from_table, query)
    limited = place.experiment.budgets is not None or budget is not None
    named_only = limited and to is None and to_table is None
    kept = None if named_only else wave_table(to, to_table, wave)
    target = output or (_beside(source) if kept is None else None)
    decided_file = None if target is None else TableFile(target)
    ref = place.release(release)
    bundle, models = load_release(place.store, ref)
    known = "decision" in bundle.branches
    responses = "simulated" if bundle.simulated else "observed" if known else "no offer model"
    run = _Together(place, budget, wave, context.obj) if limited else None
    tried = _tried(place, ref, bundle, models, limited=limited) if release == "champion" else None
    batch = _Batch(
        folder=_folder(context.obj, target, kept),
        source=source,
        config=place.experiment.section(_customers_config()),
        release=str(ref),
        responses=responses,
        tried=tried,
    )
    try:
        found = batch.run(models) if run is None else run.decide(batch, models)
    except CustomerTableError as error:
        if as_json:
            print_json({"decided": 0, "problems": error.to_json() or [{"found": str(error)}]})
            raise typer.Exit(USAGE) from error
        raise
    decider, writers = decider_of(models, str(ref)), _writers(place, ref, bundle, tried) if messages else {}
    try:
        names = _write(batch.parts() if run is None else run.kept(), decider, writers, decided_file, kept)
    except TableError:  # the wave is refused: who decides again names another
        if run is None:
            batch.end()
        raise
    told = _told(found, decider, names) | {"release": str(ref), "simulated": bundle.simulated}
    told["trial"] = (
        None if tried is None else tried.told | {"decided": found.releases.get(tried.job.candidate, 0)}
    )
    told["missing"] = missing_for_more(bundle.branches)
    told["budgets"] = [] if run is None else [each._asdict() for each in run.uses]
    if run is None:
        batch.end()
    written = [str(each) for each in (target, kept) if each is not None]
    if as_json:
        print_json(told | {"written": ", ".join(written)})
    else:
        _show(told, written)
    if told["undecided"]:
        raise typer.Exit(PARTLY)


def _customers_config() -> type[CustomersConfig]:
    from churn_assets.customers.config import CustomersConfig

    return CustomersConfig


@dataclass(frozen=True)
class _Tried:
    """The candidate of the trial that runs: it decides for its share of the table, as it does in servers."""

    job: TrialJob
    bundle: Bundle
    models: DecidingModels

    @property
    def told(self) -> dict[str, Any]:
        """What is said of it, as plain data."""
        return {"candidate": self.job.candidate, "share": self.job.share}


def _tried(
    place: Place, ref: ArtifactRef, bundle: Bundle, models: DecidingModels, *, limited: bool
) -> _Tried | None:
    """None where no trial runs beside the release, or none can be decided by here: that is said."""
    from churn_assets.deciding.secret import ASSIGNMENT_KEY, SHORTEST_SECRET, assignment_key
    from churn_assets.release.trial import trial_now

    trial = trial_now(place.store, place.channel, datetime.now(UTC))
    if trial is None or trial.design.champion != str(ref):
        return None
    why_not, keyed = "", len(assignment_key(os.environ)) >= SHORTEST_SECRET
    if limited:
        why_not = "a budget is for one release"
    elif not keyed:
        why_not = f"there is no secret to draw with: set {ASSIGNMENT_KEY} as for the servers"
    found = why_not or _candidate(place, trial, ref, bundle, models)
    if isinstance(found, str):
        note(f"{trial.candidate} is tried, but {ref.version} decides for all here: {found}")
        return None
    return found


def _candidate(
    place: Place, trial: RunningTrial, ref: ArtifactRef, bundle: Bundle, models: DecidingModels
) -> _Tried | str:
    """The candidate as it decides for this table; or why it cannot, as in a server."""
    from churn_assets.batch.job import TrialJob
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.release.deciding import load_release
    from churn_assets.release.trial import cannot_be_tried
    from churn_assets.store.errors import BROKEN

    try:
        theirs, their_models = load_release(place.store, trial.candidate)
    except BROKEN as error:
        return str(error)
    other = decider_of(their_models, str(trial.candidate))
    if problem := cannot_be_tried(bundle, decider_of(models, str(ref)), theirs, other):
        return problem
    job = TrialJob(
        candidate=str(trial.candidate),
        share=trial.share,
        epoch=trial.epoch,
        rollout_epoch=place.experiment.serving.assignment_epoch,
    )
    return _Tried(job, theirs, their_models)


def _writers(
    place: Place, ref: ArtifactRef, bundle: Bundle, tried: _Tried | None
) -> dict[str, MessageWriter]:
    """Who writes for the decisions of each release."""
    from churn_assets.release.loaded import load_desk

    found = {str(ref): load_desk(place.store, bundle)}
    return found if tried is None else found | {tried.job.candidate: load_desk(place.store, tried.bundle)}


@dataclass(frozen=True)
class _Batch:
    """What is decided for, with what, and the folder of its parts: a command that was killed goes on there."""

    folder: Path
    source: TablePlace
    config: CustomersConfig
    release: str
    responses: str
    tried: _Tried | None = None

    def run(self, models: DecidingModels) -> BatchOutcome:
        """Decides for all parts, with a bar on a terminal.

        Raises:
            CustomerTableError: The table cannot be decided for; nothing is left of the batch.
        """
        from churn_assets.batch.job import Job, begin_batch, end, outcome, stage_rows
        from churn_assets.batch.workers import decide_parts
        from churn_assets.customers.table import CustomerTableError
        from churn_assets.tables.config import DatabaseTable
        from churn_assets.tables.source import source_content

        # What a database holds is set down once, and not asked for again.
        content = "" if isinstance(self.source, DatabaseTable) else source_content(self.source, Path())
        job = Job(
            release=self.release,
            source=str(self.source),
            content=sha256_bytes(canonical_json([content, self.config.reading.model_dump(mode="json")])),
            now=datetime.now(UTC),
            responses=self.responses,
            trial=None if self.tried is None else self.tried.job,
        )
        try:
            begun = begin_batch(self.folder, job, models, None if self.tried is None else self.tried.models)
        except ValueError as error:
            raise UsageProblemError(f"{error}; move it away") from error
        if begun.now != job.now:
            note(f"going on with the batch that began at {begun.now:%Y-%m-%d %H:%M} UTC")
        try:
            with RowProgress() as progress:
                parts = stage_rows(self.folder, self._chunks, progress.read)
                progress.begin(parts, begun.part_rows)
                decide_parts(self.folder, parts, progress.decided)
            return outcome(self.folder)
        except CustomerTableError:
            end(self.folder)
            raise

    def parts(self) -> Iterator[tuple[RawTable, pa.Table]]:
        """The rows of every part, and what was decided for each."""
        from churn_assets.batch.job import decisions

        return decisions(self.folder)

    def end(self) -> None:
        """Removes the parts: all is written."""
        from churn_assets.batch.job import end

        end(self.folder)

    def _chunks(self) -> Iterator[RawTable]:
        from churn_assets.batch.job import PART_ROWS
        from churn_assets.customers.table import CustomerTableError
        from churn_assets.tables.problems import Problems
        from churn_assets.tables.source import read_source_chunks

        problems = Problems(str(self.source), CustomerTableError)
        return read_source_chunks(self.source, Path(), problems, self.config.reading, self.order, PART_ROWS)

    @property
    def order(self) -> list[str]:
        """Columns by which the rows of a database are put in order."""
        return [] if self.config.id is None else [self.config.id]


class _Together:
    """Decides for a whole table at once: what it may use, all its customers share.

    Attributes:
        uses: How each limit stands after it.
    """

    def __init__(self, place: Place, budget: float | None, wave: str | None, root: Path) -> None:
        self._place, self._budget, self._wave, self._root = place, budget, wave, root
        self.uses: Sequence[BudgetUse] = ()

    def decide(self, batch: _Batch, models: DecidingModels) -> BatchOutcome:
        """As `_Batch.run`, within the limits.

        Raises:
            BudgetError: The limits do not fit the release, or what the table needs is no longer left.
            CustomerTableError: The table cannot be decided for.
        """
        import pyarrow as pa

        from churn_assets.batch.job import outcome_together
        from churn_assets.customers.table import CustomerTableError, keep_newest
        from churn_assets.deciding.risk_only import decider_of
        from churn_assets.deciding.table import Limited, decide_rows
        from churn_assets.tables.problems import Problems
        from churn_assets.tables.source import read_source

        problems = Problems(str(batch.source), CustomerTableError)
        raw, _ = read_source(batch.source, Path(), problems, batch.config.reading, batch.order)
        decider, now = decider_of(models, batch.release), datetime.now(UTC)
        keep_newest(raw, decider.schema, problems, now)
        self._spending = _spending(self._place, self._budget, self._wave, raw, decider, now, self._root)
        share = self._spending
        found = decide_rows(
            raw, decider, now, None if share is None else Limited(share.limits, share.used, share.allow)
        )
        self.uses, self._customers = found.budgets, int(found.decided.sum())
        frame = found.frame.assign(responses=batch.responses)
        self._decided = raw, pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
        return outcome_together(raw, found, decider.menu.ids)

    def kept(self) -> Iterator[tuple[RawTable, pa.Table]]:
        """The rows and what was decided, once the ledger holds what that uses: before anybody can send it."""
        if self._spending is not None and self.uses:
            self._spending.keep(self.uses, self._customers)
        yield self._decided


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


def _folder(root: Path, target: Path | None, kept: WaveTable | None) -> Path:
    """Where the parts of a batch lie until all is written: beside the file, or in the project."""
    if target is not None:
        return target.with_name(f".{target.name}.parts")
    return root / ".dagster" / "batches" / sha256_bytes(str(kept).encode())[:16]


def _write(
    parts: Iterator[tuple[RawTable, pa.Table]],
    decider: AnyDecider,
    writers: Mapping[str, MessageWriter],
    decided_file: TableFile | None,
    kept: WaveTable | None,
) -> dict[str, str]:
    """Writes file and wave, part by part; returns other names of columns that the table has already."""
    import pyarrow as pa

    from churn_assets.tables.raw import plain_values

    names: dict[str, str] = {}
    wave = []
    with decided_file or nullcontext():
        for raw, decided in parts:
            if writers:
                decided = _with_messages(raw, decided, decider, writers)
            if kept is not None:
                wave.append(_with_ids(raw, decided, decider))
            if decided_file is not None:
                added = decided.drop_columns(["customer_id"])
                names = names or _free_names(added.column_names, raw.names)
                given = {name: plain_values(values) for name, values in raw.columns.items()}
                ours = {names.get(each, each): added.column(each) for each in added.column_names}
                decided_file.write_columns(pa.table(given | ours))
        if kept is not None:
            kept.write(pa.concat_tables(wave).to_pandas())
    return names


def _with_ids(raw: RawTable, decided: pa.Table, decider: AnyDecider) -> pa.Table:
    """Who each row is about, whether or not something was decided."""
    import pyarrow as pa

    from churn_assets.tables.text import as_text

    if decider.schema.id not in raw.columns:
        return decided
    ids = pa.array([as_text(each) for each in raw.plain(decider.schema.id).to_pylist()], pa.string())
    return decided.set_column(decided.column_names.index("customer_id"), "customer_id", ids)


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


def _with_messages(
    raw: RawTable, decided: pa.Table, decider: AnyDecider, writers: Mapping[str, MessageWriter]
) -> pa.Table:
    """Decisions, and what to send, by the release that decided; blank where nothing was decided."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from churn_assets.deciding.messages import messages_for

    chosen, by = decided.column("arm").to_pylist(), decided.column("release").to_pylist()
    parts = []
    for release, writer in writers.items():
        rows = np.array(
            [arm is not None and each == release for arm, each in zip(chosen, by, strict=True)], dtype=bool
        )
        good = raw.renamed({})
        good.keep(rows)
        arms = [decider.menu[decider.menu.position[chosen[row]]] for row in np.flatnonzero(rows)]
        parts.append(messages_for(good, arms, decider.schema, writer).set_axis(np.flatnonzero(rows)))
    written = pd.concat(parts).reindex(range(len(raw)), fill_value="")
    for name in written:
        decided = decided.append_column(name, pa.array(written[name], pa.string()))
    return decided


LARGEST_BUDGET = 1e9
"""As of a limit in an experiment."""


def _told(found: BatchOutcome, decider: AnyDecider, names: dict[str, str]) -> dict[str, Any]:
    """What is said of the decisions, as plain data."""
    arms = [
        {"arm": arm.id, "offer": arm.label, **found.arms[arm.id]}
        for arm in decider.menu
        if arm.id in found.arms
    ]
    return {
        "decided": found.decided,
        "undecided": found.undecided,
        "arms": arms,
        "problems": [asdict(each) for each in found.problems],
        "outside": dict(found.outside),
        "said": [
            *found.said,
            *(f"column {old!r} is there already: ours is {new!r}" for old, new in names.items()),
        ],
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
