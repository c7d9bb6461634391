"""A batch as a folder: what is decided with, the rows in parts, the decisions of each part, and what the whole says.

Whoever can read and write the folder can decide one of its parts, by the number: this process, others, a cluster. A
part is one file with a name of its own, made whole or not at all; equal folders give equal bytes. So a batch that was
killed goes on where it was, and a late process changes nothing.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, model_validator

from churn_assets.batch.files import create_json, create_table, read_plain, read_told
from churn_assets.batch.limited import GRANTED, WANTED, Limited, stopped_of, use_of, weigh
from churn_assets.batch.staging import ROWS, STAGED, part_name, set_down_rows, staged_part
from churn_assets.customers.features import too_far
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import NO_ROLLOUT, Decider, Rollout
from churn_assets.deciding.files import load_models, save_models
from churn_assets.deciding.risk_only import AnyDecider, DecidingModels, comparing_no_arms, decider_of
from churn_assets.deciding.secret import assignment_key
from churn_assets.deciding.table import TableDecisions, decide_part_rows
from churn_assets.deciding.trial import SideBySide
from churn_assets.decision.limits import BudgetError, BudgetsConfig, Limits, for_this_run
from churn_assets.tables.problems import TableError, TableProblem, merged_problems, raise_all
from churn_assets.tables.raw import RawTable

JOB, DECIDED = "job.json", "decided"
TRIED = "models.tried"
WRITTEN = "written.json"
"""Set down before a table is written: whoever goes on looks whether it came to that."""
PART_ROWS = 65_536
"""Rows of a part: about 100 MB while it is decided for."""

GOES_ON = timedelta(hours=24)
"""A batch that began longer ago is begun anew, unless a table may have it: its decisions would be of another day."""

MONEY = ("window_value", "expected_value", "value_low", "value_high")


class TrialJob(BaseModel, frozen=True, extra="forbid"):
    """The candidate that decides for a share of a batch. The secret that draws is the environment's, in no file.

    Attributes:
        candidate: The release.
        share: Of the customers, in (0, 1).
        epoch: Of the trial.
        rollout_epoch: `serving.assignment_epoch`: a server gives the same customers to it.
    """

    candidate: str
    share: float
    epoch: str
    rollout_epoch: str


class Job(BaseModel, frozen=True, extra="forbid"):
    """What makes a batch the same batch.

    Attributes:
        release: Who decides.
        source: What messages call the table.
        content: Names what the source held.
        now: Time of all decisions, aware.
        responses: How the answers to offers are known that the release learned from.
        part_rows: Rows of a part.
        propensities: Whether the propensity of every arm is written.
        budgets: What all its rows together may use.
        budget: Most money that they may use beside that.
        wave: Its name, where limits hold for some waves alone.
        trial: Which release decides beside it, and for whom; None for all by one.
    """

    release: str
    source: str
    content: str
    now: datetime
    responses: str
    part_rows: int = PART_ROWS
    propensities: bool = False
    budgets: BudgetsConfig | None = None
    budget: float | None = None
    wave: str | None = None
    trial: TrialJob | None = None

    @property
    def limited(self) -> BudgetsConfig | None:
        """The budgets, that of this run alone among them; None: as much as the offers are worth."""
        return for_this_run(self.budgets, self.budget)

    @model_validator(mode="after")
    def _one_release_within_limits(self) -> Self:
        if self.trial is not None and self.limited is not None:
            raise ValueError("trial: found budgets, expected none: within limits one release decides for all")
        return self

    def same(self, other: Job) -> bool:
        """Whether two batches differ in nothing but when they began."""
        return self.model_copy(update={"now": other.now}) == other

    def of_its_day(self, now: datetime) -> bool:
        """Whether its decisions may still be written as those of now."""
        return timedelta(0) <= now - self.now < GOES_ON


@dataclass(frozen=True)
class BatchOutcome:
    """What is said of a whole batch.

    Attributes:
        rows: Rows of the table.
        undecided: How many of them could not be decided for.
        arms: By id, customers and sums of money (`MONEY`).
        problems: What is wrong with which rows, worst first.
        outside: How many customers lie far outside of what was learned, by feature.
        said: What was detected in reading.
        spend: The most that all offers can cost together.
        releases: How many rows each release decided.
    """

    rows: int
    undecided: int
    arms: Mapping[str, Mapping[str, float]]
    problems: tuple[TableProblem, ...]
    outside: Mapping[str, int]
    said: tuple[str, ...]
    spend: float
    releases: Mapping[str, int]

    @property
    def decided(self) -> int:
        """Rows with a decision."""
        return self.rows - self.undecided


def begin_batch(
    folder: Path, job: Job, models: DecidingModels, candidate: DecidingModels | None = None
) -> Job:
    """Set down what is decided with, or go on with the same batch; returns the batch.

    That is one that began within `GOES_ON`, or any whose decisions may have come to a table: they count, and are
    not decided again.

    Args:
        folder: Of this batch alone; another batch that is there is removed.
        job: What it is.
        models: Of its release.
        candidate: Of the one that is tried beside it, where one is.

    Raises:
        TableError: The folder holds something else.
    """
    if (folder / JOB).exists():
        found = Job.model_validate(read_plain(folder / JOB))
        if found.same(job) and (found.of_its_day(job.now) or (folder / WRITTEN).exists()):
            return found
        end(folder)
    elif folder.exists() and any(
        not each.name.startswith((".draft-", "models.")) for each in folder.iterdir()
    ):
        raise TableError(f"{folder}: found other files, expected a folder of a batch, or none; move it away")
    folder.mkdir(parents=True, exist_ok=True)
    save_models(comparing_no_arms(models), folder)
    if candidate is not None:
        (folder / TRIED).mkdir(exist_ok=True)
        save_models(comparing_no_arms(candidate), folder / TRIED)
    create_json(folder / JOB, job.model_dump(mode="json"))
    return Job.model_validate(read_plain(folder / JOB))


def end(folder: Path) -> None:
    """Removes a batch; its mark last, so that a batch that was removed in part is no batch."""
    _opened.cache_clear()
    for each in (STAGED, DECIDED, GRANTED, WANTED, WRITTEN, ROWS):
        path = folder / each
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.rmtree(folder)


def stage_rows(
    folder: Path, chunks: Callable[[], Iterator[RawTable]], tell: Callable[[int], None] = lambda _: None
) -> int:
    """Set down the rows in parts, unless they are; how many parts.

    Args:
        folder: Of a batch that was begun.
        chunks: Opens the table, `part_rows` at a time.
        tell: Called with the number of rows so far.

    Raises:
        CustomerTableError: As of `staging.set_down_rows`.
    """
    job, decider, _ = _opened(folder)
    if not (folder / STAGED).exists():
        set_down_rows(folder, chunks(), decider.schema, job.source, job.now, tell)
    return int(read_plain(folder / STAGED)["parts"])


def decider_in(folder: Path) -> AnyDecider:
    """Who decides in a batch that was begun."""
    return _opened(folder)[1]


def weigh_part(folder: Path, number: int) -> None:
    """Set down what the customers of one part want of the limits, unless that is done; see `limited`.

    Args:
        folder: Of a batch whose rows are set down, and whose customers share limits.
        number: Of the part, from 0.
    """
    (job, decider, _), limits = _opened(folder), limits_of(folder)
    assert limits is not None
    assert isinstance(decider, Decider)
    weigh(folder, number, decider, job.now, limits)


def decide_part(folder: Path, number: int) -> None:
    """Decide for the customers of one part, unless that is done.

    Args:
        folder: Of a batch whose rows are set down and, where they share limits, granted.
        number: Of the part, from 0.
    """
    path = folder / DECIDED / part_name(number)
    if path.exists():
        return
    job, decider, rollout = _opened(folder)
    limits = limits_of(folder)
    limited = None if limits is None else Limited.read(folder, limits)
    raw = staged_part(folder, number)
    try:
        stopped = None if limited is None else stopped_of(folder, number, limited)
        found = decide_part_rows(
            raw, decider, job.now, propensities=job.propensities, stopped=stopped, rollout=rollout
        )
    except CustomerTableError as error:
        told = {"rows": len(raw), "refused": error.to_json() or [], "message": str(error)}
        create_table(path, pa.table({}), told)
        return
    table = pa.Table.from_pandas(found.frame.assign(responses=job.responses), preserve_index=False)
    told = _told(raw, found)
    if limited is not None:
        arms = found.frame["arm"][found.decided].map(decider.menu.position).to_numpy(np.int64)
        told["used"] = use_of(folder, number, limited, arms)
    create_table(path, table.cast(_typed(table.schema)).replace_schema_metadata(None), told)


def limits_of(folder: Path) -> Limits | None:
    """The limits that all rows of a batch share; None where nothing is limited, or nothing can be offered.

    Raises:
        BudgetError: They do not fit the release, or chance decides in it.
    """
    job, decider, _ = _opened(folder)
    config = job.limited
    if config is None or len(decider.menu) < 2:
        return None
    if not isinstance(decider, Decider):
        raise BudgetError(
            "budgets: found a release that lets chance decide, expected one with ppo_decision; what a campaign uses "
            "is planned by `churn design`"
        )
    return Limits.of(config, decider.menu, decider.schema, job.wave)


def decisions(folder: Path) -> Iterator[tuple[RawTable, pa.Table]]:
    """The rows of every part as their source gives them, and what was decided for each; columns are of one type."""
    parts = range(read_plain(folder / STAGED)["parts"])
    shapes = [pq.read_schema(folder / ROWS / part_name(each)).remove_metadata() for each in parts]
    shape = pa.unify_schemas(shapes, promote_options="permissive")
    for number in parts:
        raw = staged_part(folder, number)
        for name, values in raw.columns.items():
            if name not in raw.no_meaning and values.type != (kind := shape.field(name).type):
                raw.columns[name] = values.cast(kind) if pa.types.is_decimal(kind) else values
        yield raw, pq.read_table(folder / DECIDED / part_name(number)).replace_schema_metadata(None)


def outcome(folder: Path) -> BatchOutcome:
    """What is said of a batch whose parts are all decided.

    Raises:
        CustomerTableError: The table is not what the release takes, nobody can be decided for, or more than the
            configured share lies far outside of what was learned.
    """
    job, decider, _ = _opened(folder)
    staged = read_plain(folder / STAGED)
    told = [read_told(folder / DECIDED / part_name(each)) for each in range(staged["parts"])]
    _refuse(job, told)
    outside = _summed(each["outside"] for each in told)
    rows, undecided = (int(sum(each[name] for each in told)) for name in ("rows", "undecided"))
    if far := too_far(outside, rows - undecided, decider.schema):
        raise CustomerTableError("\n".join(f"{job.source}: {each}" for each in far))
    said = [*staged["said"], *(line for each in told for line in each["said"])]
    arms = {arm: _summed(each["arms"].get(arm, {}) for each in told) for arm in decider.menu.ids}
    problems = merged_problems([TableProblem(**problem) for each in told for problem in each["problems"]])
    given = {arm: sums for arm, sums in arms.items() if sums}
    unlike, spend = tuple(dict.fromkeys(said)), math.fsum(each["spend"] for each in told)
    releases = _summed(each["releases"] for each in told)
    return BatchOutcome(rows, undecided, given, tuple(problems), outside, unlike, spend, releases)


def _refuse(job: Job, told: list[dict[str, Any]]) -> None:
    refused = [each for each in told if "refused" in each]
    if not refused and any(each["rows"] > each["undecided"] for each in told):
        return
    found = [problem for each in told for problem in each.get("refused", each.get("problems", ()))]
    problems = merged_problems([TableProblem(**{**each, "lines": tuple(each["lines"])}) for each in found])
    if problems:
        raise_all(problems, CustomerTableError)
    raise CustomerTableError(refused[0]["message"] if refused else f"{job.source}: found no rows")


def _summed(counts: Any) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total


def _told(raw: RawTable, found: TableDecisions) -> dict[str, Any]:
    """What a part says of its rows, as plain data."""
    by_arm = found.frame.groupby("arm")
    sums, sizes = by_arm[list(MONEY)].sum(), by_arm.size()
    return {
        "rows": len(raw),
        "undecided": int((~found.decided).sum()),
        "arms": {
            arm: {"customers": int(sizes[arm])} | {name: float(sums.loc[arm, name]) for name in MONEY}
            for arm in sizes.index
        },
        "releases": found.frame.loc[found.decided, "release"].value_counts().to_dict(),
        "problems": [asdict(each) for each in found.problems],
        "outside": dict(found.outside),
        "spend": found.spend,
        "said": list(dict.fromkeys(raw.said)),
    }


def _typed(schema: pa.Schema) -> pa.Schema:
    """The same columns in every part, whatever its rows hold: texts and numbers."""
    kinds = {True: pa.float64(), False: pa.string()}
    return pa.schema([(each.name, kinds[pa.types.is_floating(each.type)]) for each in schema])


@lru_cache(maxsize=2)
def _opened(folder: Path) -> tuple[Job, AnyDecider, Rollout]:
    """What a folder decides with; read once a process."""
    job = Job.model_validate(read_plain(folder / JOB))
    decider, trial = decider_of(load_models(folder), job.release), job.trial
    if trial is None:
        return job, decider, NO_ROLLOUT
    candidate = decider_of(load_models(folder / TRIED), trial.candidate)
    assert isinstance(decider, Decider)
    assert isinstance(candidate, Decider)
    both = SideBySide(decider, candidate, trial.share, trial.epoch)
    return job, both, Rollout(assignment_key(os.environ), trial.rollout_epoch)
