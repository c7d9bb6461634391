"""One wave: a table decided for with one release, or with two that are compared, within the limits; written once.

`churn decide` and the asset `customer_decisions` are both this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from churn_assets.batch.files import create_json, lock_of, read_told, unlock
from churn_assets.batch.job import (
    DECIDED,
    PART_ROWS,
    WRITTEN,
    BatchOutcome,
    Job,
    begin_batch,
    decider_in,
    decisions,
    end,
    limits_of,
    outcome,
    stage_rows,
)
from churn_assets.batch.limited import Limited, grant
from churn_assets.batch.staging import customers_of, part_name
from churn_assets.batch.workers import work_parts
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.messages import NOTHING_SENT, messages_for
from churn_assets.deciding.spending import WaveSpending, ledger_of
from churn_assets.decision.limits import BudgetError, BudgetsConfig
from churn_assets.store.canonical import canonical_json, sha256_bytes
from churn_assets.tables.config import DatabaseTable
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.raw import RawTable, plain_values
from churn_assets.tables.source import read_source_chunks, source_content
from churn_assets.tables.values import id_texts

if TYPE_CHECKING:
    from datetime import datetime

    from churn_assets.batch.progress import BatchProgress
    from churn_assets.batch.tried import Tried
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.deciding.budgets import BudgetUse
    from churn_assets.deciding.messages import MessageWriter
    from churn_assets.deciding.risk_only import AnyDecider, DecidingModels
    from churn_assets.tables.config import TablePlace
    from churn_assets.tables.table_file import TableFile
    from churn_assets.tables.wave_table import WaveTable

NO_WRITERS: Mapping[str, MessageWriter] = MappingProxyType({})


@dataclass(frozen=True)
class BatchWave:
    """What is decided for and with what.

    Attributes:
        folder: Of its parts, until all is written: who decides the same again goes on there.
        root: Where relative places of the customers begin.
        ledger: The project's folder, where what is used is kept.
        experiment: Its name, of which the ledger is.
        source: The customers.
        customers: How the table is read.
        release: Who decides.
        responses: How the answers to offers are known that the release learned from.
        budgets: What all offers together may use; None: as much as they are worth.
        budget: Most money that the offers of this wave may cost together, beside that.
        name: Of the wave; what is decided under one name counts once in the ledger.
        propensities: Whether the propensity of every arm is written.
        part_rows: Rows of a part.
        tried: Who decides for a share of the customers beside the release; None within limits.
    """

    folder: Path
    root: Path
    ledger: Path
    experiment: str
    source: TablePlace
    customers: CustomersConfig
    release: str
    responses: str
    budgets: BudgetsConfig | None = None
    budget: float | None = None
    name: str | None = None
    propensities: bool = False
    part_rows: int = PART_ROWS
    tried: Tried | None = None

    def job(self, now: datetime) -> Job:
        """What makes the batch the same batch."""
        # What a database holds is set down once, and not asked for again.
        content = "" if isinstance(self.source, DatabaseTable) else source_content(self.source, self.root)
        limited = self.budgets is not None or self.budget is not None
        return Job(
            release=self.release,
            source=str(self.source),
            content=sha256_bytes(canonical_json([content, self.customers.reading.model_dump(mode="json")])),
            now=now,
            responses=self.responses,
            part_rows=self.part_rows,
            propensities=self.propensities,
            budgets=self.budgets,
            budget=self.budget,
            wave=self.name if limited else None,
            trial=None if self.tried is None else self.tried.job,
        )

    def chunks(self) -> Iterator[RawTable]:
        """The table, some rows at a time; those of a database in the order of their ids."""
        order = [] if self.customers.id is None else [self.customers.id]
        problems = Problems(str(self.source), CustomerTableError)
        return read_source_chunks(
            self.source, self.root, problems, self.customers.reading, order, self.part_rows
        )


@dataclass(frozen=True, eq=False)
class DecidedWave:
    """What was decided, and not yet written.

    Attributes:
        wave: Of what.
        outcome: What is said of all rows.
        uses: How each limit stands after it.
        spending: The ledger's side of it; None where nothing is limited.
        late: When it began, of one that only a table can still show to be of use; None of all others.
        lock: Keeps other processes from the same, until it ends.
    """

    wave: BatchWave
    outcome: BatchOutcome
    uses: Sequence[BudgetUse]
    spending: WaveSpending | None
    late: datetime | None
    lock: IO[bytes]

    @property
    def decider(self) -> AnyDecider:
        """Who decided."""
        return decider_in(self.wave.folder)

    @property
    def arms(self) -> list[dict[str, Any]]:
        """A row for each arm that was decided: customers and sums of money."""
        given = self.outcome.arms
        menu = (each for each in self.decider.menu if each.id in given)
        return [{"arm": arm.id, "offer": arm.label, **given[arm.id]} for arm in menu]

    def write(
        self,
        file: TableFile | None,
        table: WaveTable | None,
        writers: Mapping[str, MessageWriter] = NO_WRITERS,
        before: Mapping[str, tuple[str, ...]] = NOTHING_SENT,
    ) -> Mapping[str, str]:
        """Enter what is used into the ledger, before anybody can send it; then write file and table, part by part.

        A table that has these very decisions, as a process was killed before its file was whole, stays as it is,
        however long ago that was.

        Args:
            file: The rows as they came in, with what was decided.
            table: What was decided, of whom.
            writers: Of messages to everybody who is made an offer, by the release that decides; nobody: no messages.
            before: Texts that customers were sent, by id.

        Returns:
            Other names of columns that the table has already.

        Raises:
            BudgetError: Others used so much meanwhile that it no longer fits.
            TableError: The wave is refused, or was decided on another day and never written. In all cases nothing of
                it is left, and it can be decided anew.
        """
        names: dict[str, str] = {}

        def told() -> Iterator[pa.Table]:
            for raw, decided in decisions(self.wave.folder):
                added = _with_messages(raw, decided, self.decider, writers, before) if writers else decided
                if file is not None:
                    file.write_columns(_beside_the_rows(raw, added.drop_columns(["customer_id"]), names))
                yield added if table is None else _with_ids(raw, added, self.decider)

        try:
            there = table is not None and self._has_come_to(table)
            if self.late is not None and not there:
                raise TableError(
                    f"{self.wave.source}: found decisions of {self.late:%Y-%m-%d %H:%M} UTC, none of which had come "
                    "to the table, expected some of today; nothing was written, and nothing of them is left: run it "
                    "again, and everybody is decided for anew"
                )
            if self.spending is not None and self.uses:
                self.spending.keep(self.uses, self.outcome.decided)
            with file or nullcontext():
                if table is None or there:
                    for _ in told():
                        pass
                else:
                    table.write_parts(told())
        except (BudgetError, TableError):
            self.end()
            raise
        return names

    def _has_come_to(self, table: WaveTable) -> bool:
        """Whether a process that was killed had written the table; it is asked only where one had begun to."""
        if create_json(self.wave.folder / WRITTEN, str(table)):
            return False
        return table.holds(each.column("decision_id") for _, each in decisions(self.wave.folder))

    def end(self) -> None:
        """Removes the parts: all is written."""
        end(self.wave.folder)
        unlock(self.wave.folder, self.lock)


def decide_wave(
    wave: BatchWave,
    models: DecidingModels,
    progress: BatchProgress,
    now: datetime,
    processes: int | None = None,
) -> DecidedWave:
    """Decide for all rows, or go on with it where a process was killed.

    Args:
        wave: What.
        models: Of its release.
        progress: Who is told how far it is.
        now: Aware time.
        processes: As of `work_parts`.

    Raises:
        BudgetError: The limits do not fit the release.
        CustomerTableError: The table cannot be decided for; in both cases nothing is left of the wave.
        TableError: Its folder holds something else, or another process decides the same.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(lock_of(wave.folder))
        found = _decided(wave, models, progress, now, processes, lock)
        stack.pop_all()  # from here on it is held until the wave ends
    return found


def _decided(
    wave: BatchWave,
    models: DecidingModels,
    progress: BatchProgress,
    now: datetime,
    processes: int | None,
    lock: IO[bytes],
) -> DecidedWave:
    job, folder = wave.job(now), wave.folder
    begun = begin_batch(folder, job, models, None if wave.tried is None else wave.tried.models)
    if begun.now != job.now:
        progress.say(f"going on with the batch that began at {begun.now:%Y-%m-%d %H:%M} UTC")
    try:
        limits = limits_of(folder)
        parts = stage_rows(folder, wave.chunks, progress.read)
        spending = None
        if limits is not None:
            progress.begin("weigh", parts, begun.part_rows)
            work_parts("weigh", folder, parts, progress.done, processes, lock)
            spending = _spending(wave, begun)
            grant(folder, limits, spending.used, spending.allow)
        progress.begin("decide", parts, begun.part_rows)
        work_parts("decide", folder, parts, progress.done, processes, lock)
        found, uses = outcome(folder), []
        if limits is not None:
            paths = (folder / DECIDED / part_name(each) for each in range(parts))
            used = [told["used"] for told in map(read_told, paths) if "used" in told]
            uses = Limited.read(folder, limits).uses(used)
    except (CustomerTableError, BudgetError):
        end(folder)
        unlock(folder, lock)
        raise
    late = None if begun.of_its_day(now) else begun.now
    return DecidedWave(wave, found, uses, spending, late, lock)


def _spending(wave: BatchWave, begun: Job) -> WaveSpending:
    """What the wave may use."""
    decider, config = decider_in(wave.folder), begun.limited
    assert config is not None
    customers = np.zeros(0, np.uint64) if wave.name is not None else customers_of(wave.folder, decider.schema)
    ledger = ledger_of(wave.ledger, config, wave.experiment)
    return WaveSpending.begin(config, ledger, decider.menu, decider.schema, customers, wave.name, begun.now)


def _with_ids(raw: RawTable, decided: pa.Table, decider: AnyDecider) -> pa.Table:
    """Who each row is about, whether or not something was decided."""
    if decider.schema.id not in raw.columns:
        return decided
    ids = pa.array(id_texts(raw, decider.schema.id), pa.string())
    return decided.set_column(decided.column_names.index("customer_id"), "customer_id", ids)


def _beside_the_rows(raw: RawTable, added: pa.Table, names: dict[str, str]) -> pa.Table:
    """The rows as they came in and what was decided; `names` gets others for columns that are there already."""
    if not names:
        names |= free_names(added.column_names, raw.names)
    given: dict[str, Any] = {name: plain_values(values) for name, values in raw.columns.items()}
    return pa.table(given | {names.get(each, each): added.column(each) for each in added.column_names})


def free_names(added: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Another name for each added column that the table has already.

    >>> free_names(["arm", "risk"], ["arm", "decided_arm"])
    {'arm': 'decided_decided_arm'}
    """
    names, used = {}, set(taken) | set(added)
    for name in (each for each in added if each in taken):
        new = f"decided_{name}"
        while new in used:
            new = f"decided_{new}"
        used.add(new)
        names[name] = new
    return names


def _with_messages(
    raw: RawTable,
    decided: pa.Table,
    decider: AnyDecider,
    writers: Mapping[str, MessageWriter],
    before: Mapping[str, tuple[str, ...]],
) -> pa.Table:
    """Decisions, and what to send, by the release that decided; blank where nothing was decided."""
    chosen, by = decided.column("arm").to_pylist(), decided.column("release").to_pylist()
    parts = []
    for release, writer in writers.items():
        rows = np.array(
            [arm is not None and each == release for arm, each in zip(chosen, by, strict=True)], dtype=bool
        )
        good = raw.renamed({})
        good.keep(rows)
        arms = [decider.menu[decider.menu.position[chosen[row]]] for row in np.flatnonzero(rows)]
        written = messages_for(good, arms, decider.schema, writer, before)
        parts.append(written.set_axis(np.flatnonzero(rows)))
    told = pd.concat(parts).reindex(range(len(raw)), fill_value="")
    for name in told:
        decided = decided.append_column(name, pa.array(told[name], pa.string()))
    return decided
