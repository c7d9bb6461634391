"""What comes into the flow from outside, as observable source assets: the lineage starts at the file.

A source is observed, never made. Its data version names its content, so that Dagster shows what was read, and when that
changed. Reading, validating and splitting it is the work of the stage that reads it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg

from churn_assets.experiment import ExperimentError
from churn_assets.store.errors import StoreError
from churn_assets.tables.problems import TableError

if TYPE_CHECKING:
    from churn_assets.tables.config import TablePlace
    from resources.project import Project

DATA_VERSION = "dagster/data_version"
"""Tag of an event that Dagster reads a data version from."""
GROUP = "0_sources"
"""UI group, left of every stage."""
MISSING = "missing"
"""Data version of a file that is configured and not there; reading it says so, with what was expected."""

Origin = Literal["file", "database", "embedded", "simulated", "served"]


@dataclass(frozen=True)
class SourceState:
    """A source as one experiment has it.

    Attributes:
        origin: `file`: the user's; `database`: a table of theirs; `embedded`: comes with the project; `simulated`:
            written by the project itself, so there is no file; `served`: what the experiment's own server decided.
        where: Path, relative to the project, `gs://bucket/name`, or location and table; what the experiment names in
            its place.
        version: Names the content.
    """

    origin: Origin
    where: str
    version: str


@dataclass(frozen=True)
class Source:
    """Something outside the flow that an asset reads.

    Attributes:
        name: Of the source asset.
        description: What it is.
        kind: Technology, as a badge in the UI.
        look: (project, experiment) -> what is there now; None where the experiment reads no such thing.
    """

    name: str
    description: str
    kind: str
    look: Callable[[Project, str], SourceState | None]


def _users(project: Project, source: TablePlace) -> SourceState:
    from churn_assets.tables.source import source_content

    origin: Origin = "file" if isinstance(source, str) else "database"
    return SourceState(origin, str(source), source_content(source, project.root) or MISSING)


def _customer_table(project: Project, experiment: str) -> SourceState:
    from churn_assets.customers.table import EMBEDDED

    source: TablePlace = project.section(experiment, "customers").source
    if isinstance(source, str) and source in EMBEDDED:
        return replace(_users(project, str(EMBEDDED[source])), origin="embedded", where=source)
    return _users(project, source)


def _source_of(section: str) -> Callable[[Project, str], SourceState | None]:
    """The `source` of a section, which may be simulated instead."""

    def look(project: Project, experiment: str) -> SourceState | None:
        config = project.section(experiment, section)
        if config is None:
            return None
        if config.simulated:
            return SourceState("simulated", config.source, "simulated")
        return _users(project, config.source)

    return look


def _outcome_table(project: Project, experiment: str) -> SourceState | None:
    decisions = project.section(experiment, "offer_log.decisions")
    return None if decisions is None or decisions.outcomes is None else _users(project, decisions.outcomes)


def _decision_log(project: Project, experiment: str) -> SourceState | None:
    """Segments are immutable and named by their content, so their names are their content."""
    if project.section(experiment, "offer_log.decisions") is None:
        return None
    from churn_assets.gates.report import digest_of
    from churn_assets.offers.stored_log import stored_segments

    store = project.store(experiment)
    segments = stored_segments(store.backend, experiment)
    return SourceState("served", project.store_uri(experiment), digest_of(segments) if segments else "empty")


def _base_model(project: Project, experiment: str) -> SourceState | None:
    base = project.section(experiment, "sft_model.base")
    if base is None or base.source == "from_scratch":
        return None
    if base.source == "hub":
        return SourceState("file", f"hub: {base.name}", f"{base.name}@{base.revision}")
    return _users(project, base.path)


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source(
            "customer_table",
            "The customers, as a CSV or Parquet file or a table of a database.",
            "file",
            _customer_table,
        ),
        Source(
            "offer_log_table",
            "Past offer decisions, as a file or a table of a database. SIMULATED where the demo world writes them.",
            "file",
            _source_of("offer_log"),
        ),
        Source(
            "outcome_table",
            "Outcomes that a CRM exported, as a file or a table of a database.",
            "file",
            _outcome_table,
        ),
        Source(
            "decision_log",
            "What the experiment's own server decided, and the outcomes that it was told.",
            "file",
            _decision_log,
        ),
        Source(
            "message_texts",
            "Messages to imitate, as a JSONL file. SIMULATED where the embedded corpus writes them.",
            "file",
            _source_of("messages"),
        ),
        Source(
            "preference_pairs",
            "Pairs of texts of which one was preferred, as a JSONL file. SIMULATED where the corpus writes them.",
            "file",
            _source_of("preferences"),
        ),
        Source(
            "base_model",
            "The pretrained language model that is fine-tuned, where there is one.",
            "huggingface",
            _base_model,
        ),
    )
}
"""By name. A stage names those that it reads."""


def source_observation(project: Project, experiment: str, source: Source) -> dg.AssetObservation | None:
    """What a source holds now, as an event; None where the experiment reads no such thing."""
    found = source.look(project, experiment)
    if found is None:
        return None
    return dg.AssetObservation(
        asset_key=source.name,
        partition=experiment,
        metadata={"origin": found.origin, "where": found.where},
        tags={DATA_VERSION: found.version},
    )


def source_assets(names: Iterable[str], partitions: dg.PartitionsDefinition) -> list[Any]:
    """The source assets of that name, partitioned by experiment as the flow is."""
    with warnings.catch_warnings():
        # Observable source assets are in beta: dagster is pinned exactly, and tests hold what we use of them.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_source_asset(SOURCES[name], partitions) for name in sorted(set(names))]


def _source_asset(source: Source, partitions: dg.PartitionsDefinition) -> Any:
    nothing_more = dg.DataVersionsByPartition({})  # what was seen is logged, with where it was found

    @dg.observable_source_asset(
        name=source.name,
        description=source.description,
        group_name=GROUP,
        partitions_def=partitions,
        required_resource_keys={"project"},
        tags={f"dagster/kind/{source.kind}": ""},
    )
    def observe(context: dg.OpExecutionContext) -> dg.DataVersionsByPartition:
        """Observes the experiment of the run, or every one where the run names none, as the UI's button does.

        Those that cannot be looked at are named together, after all others were observed.
        """
        project: Project = context.resources.project
        named = [context.partition_key] if context.has_partition_key else project.names()
        broken = []
        for experiment in named:
            try:
                event = source_observation(project, experiment, source)
            except (ExperimentError, StoreError, TableError, OSError) as error:
                broken.append(f"{experiment}: {error}")
                continue
            if event is None:
                context.log.info(f"{experiment} reads no {source.name}")
            else:
                context.log_event(event)
        if broken:
            raise dg.Failure(description="\n".join(broken), allow_retries=False)
        return nothing_more

    return observe
