"""A batch as a folder: what is decided with, the rows in parts, the decisions of each part, and what the whole says.

Whoever can read and write the folder can decide one of its parts, by the number: this process, others, a cluster. A
part is one file with a name of its own, made whole or not at all; equal folders give equal bytes. So a batch that was
killed goes on where it was, and a late process changes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from churn_assets.batch.files import create_json, create_table, read_plain, read_told
from churn_assets.batch.staging import ROWS, STAGED, part_name, set_down_rows, staged_part
from churn_assets.customers.features import too_far
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import NO_ROLLOUT, Decider, Rollout
from churn_assets.deciding.files import load_models, save_models
from churn_assets.deciding.risk_only import AnyDecider, DecidingModels, decider_of
from churn_assets.deciding.secret import assignment_key
from churn_assets.deciding.table import TableDecisions, decide_part_rows
from churn_assets.deciding.trial import SideBySide
from churn_assets.tables.problems import TableProblem, merged_problems, raise_all
from churn_assets.tables.raw import RawTable

JOB, DECIDED = "job.json", "decided"
TRIED = "models.tried"
PART_ROWS = 65_536
"""Rows of a part: about 100 MB while it is decided for."""

GOES_ON = timedelta(hours=24)
"""A batch that began longer ago is begun anew: its decisions would be of another day."""

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
        trial: Which release decides beside it, and for whom; None for all by one.
    """

    release: str
    source: str
    content: str
    now: datetime
    responses: str
    part_rows: int = PART_ROWS
    propensities: bool = False
    trial: TrialJob | None = None

    def same(self, other: Job) -> bool:
        """Whether two batches differ in nothing but when they began."""
        return self.model_copy(update={"now": other.now}) == other


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
        releases: How many rows each release decided.
    """

    rows: int
    undecided: int
    arms: Mapping[str, Mapping[str, float]]
    problems: tuple[TableProblem, ...]
    outside: Mapping[str, int]
    said: tuple[str, ...]
    releases: Mapping[str, int] = field(default_factory=dict)

    @property
    def decided(self) -> int:
        """Rows with a decision."""
        return self.rows - self.undecided


def begin_batch(
    folder: Path, job: Job, models: DecidingModels, candidate: DecidingModels | None = None
) -> Job:
    """Set down what is decided with; or go on with the same batch, begun within `GOES_ON`; returns the batch.

    Args:
        folder: Of this batch alone; another batch that is there is removed.
        job: What it is.
        models: Of its release.
        candidate: Of the one that is tried beside it, where one is.

    Raises:
        ValueError: The folder holds something else.
    """
    if (folder / JOB).exists():
        found = Job.model_validate(read_plain(folder / JOB))
        if found.same(job) and timedelta(0) <= job.now - found.now < GOES_ON:
            return found
        end(folder)
    elif folder.exists() and any(
        not each.name.startswith((".draft-", "models.")) for each in folder.iterdir()
    ):
        raise ValueError(f"{folder}: found other files, expected a folder of a batch, or none")
    folder.mkdir(parents=True, exist_ok=True)
    save_models(models, folder)
    if candidate is not None:
        (folder / TRIED).mkdir(exist_ok=True)
        save_models(candidate, folder / TRIED)
    create_json(folder / JOB, job.model_dump(mode="json"))
    return Job.model_validate(read_plain(folder / JOB))


def end(folder: Path) -> None:
    """Removes a batch; its mark last, so that a batch that was removed in part is no batch."""
    _opened.cache_clear()
    for each in (STAGED, DECIDED, ROWS):
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


def decide_part(folder: Path, number: int) -> None:
    """Decide for the customers of one part, unless that is done.

    Args:
        folder: Of a batch whose rows are set down.
        number: Of the part, from 0.
    """
    path = folder / DECIDED / part_name(number)
    if path.exists():
        return
    job, decider, rollout = _opened(folder)
    raw = staged_part(folder, number)
    try:
        found = decide_part_rows(raw, decider, job.now, propensities=job.propensities, rollout=rollout)
    except CustomerTableError as error:
        told = {"rows": len(raw), "refused": error.to_json() or [], "message": str(error)}
        create_table(path, pa.table({}), told)
        return
    table = pa.Table.from_pandas(found.frame.assign(responses=job.responses), preserve_index=False)
    create_table(path, table.cast(_typed(table.schema)).replace_schema_metadata(None), _told(raw, found))


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
    releases = _summed(each.get("releases", {}) for each in told)
    return BatchOutcome(
        rows, undecided, given, tuple(problems), outside, tuple(dict.fromkeys(said)), releases
    )


def outcome_together(raw: RawTable, found: TableDecisions, arms: Sequence[str]) -> BatchOutcome:
    """What is said of a table that was decided for as one.

    Args:
        raw: Its rows.
        found: What was decided.
        arms: Ids, in the order of the menu.
    """
    told = _told(raw, found)
    given = {arm: told["arms"][arm] for arm in arms if arm in told["arms"]}
    said = tuple(dict.fromkeys(raw.said))
    return BatchOutcome(
        told["rows"],
        told["undecided"],
        given,
        tuple(found.problems),
        dict(found.outside),
        said,
        told["releases"],
    )


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
