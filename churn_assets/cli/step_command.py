"""`churn step`: one asset made on this machine for a run elsewhere, which asked for it and waits for proof."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, open_place

if TYPE_CHECKING:
    from dagster_pipes import PipesContext, PipesMessageWriter

    from churn_assets.flow.asset import Step, Upstream
    from churn_assets.flow.making import PlannedVersion
    from churn_assets.remote.steps import PublishedStep, StepOrder
    from churn_assets.store.backend import Backend
    from resources.project import Project

MESSAGES_EVERY = 1.0
"""Seconds between two writes of messages to the store."""


@guarded
def step(
    context: typer.Context,
    asset: Annotated[str, typer.Argument(help="The asset.")],
    experiment: ExperimentOption,
    config_digest: Annotated[
        str, typer.Option("--config-digest", help="Digest of the configuration that the run asked for.")
    ],
) -> None:
    """Make one asset for a run on another machine (see `compute` of an experiment): publish it, and report it.

    A run submits this command by itself, to Ray or Vertex AI; by hand there is nobody to report to.
    """
    from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes

    from churn_assets.remote.steps import FAILED

    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ:
        raise UsageProblemError(
            "no run asked for this step: DAGSTER_PIPES_CONTEXT is not set",
            f"`churn run {experiment} --select {asset}` makes it here, or where `compute` says",
        )
    place = open_place(context, experiment)
    with open_dagster_pipes(message_writer=_store_messages(place.store.backend)) as pipes:
        try:
            _make(context.obj, asset, experiment, config_digest, pipes)
        except Exception as error:
            pipes.report_custom_message({FAILED: f"{type(error).__name__}: {error}"})
            raise


def _make(root: Path, asset: str, experiment: str, config_digest: str, pipes: PipesContext) -> None:
    from churn_assets.definitions import Overrides, build_project
    from churn_assets.flow.making import planned_version
    from churn_assets.remote.checkpoints import checkpoint_prefix, kept
    from churn_assets.remote.steps import PUBLISHED, StepOrder
    from resources.remote import ORDER

    order = StepOrder.model_validate(pipes.extras[ORDER])
    if (order.asset, order.experiment, order.config_digest) != (asset, experiment, config_digest):
        raise UsageProblemError(
            f"this process was asked to make {asset} of {experiment} with config {config_digest}, and its order says "
            f"{order.asset} of {order.experiment} with {order.config_digest}"
        )
    project = build_project(Overrides(root=root))
    inputs = _inputs(project, order)
    planned = planned_version(_step(project, order, pipes), project)
    _refuse_another_recipe(order, planned)
    prefix = checkpoint_prefix(experiment, asset)
    with kept(project.store(experiment).backend, prefix, planned.step.scratch, pipes.log.info):
        report = _published_before(project, order, planned) or _published_now(project, order, planned, inputs)
    pipes.report_custom_message({PUBLISHED: report.model_dump(mode="json")})


def _inputs(project: Project, order: StepOrder) -> dict[str, Upstream]:
    from churn_assets.flow.asset import Upstream
    from churn_assets.store.reference import ArtifactRef

    store, found = project.store(order.experiment), {}
    for name, text in order.upstream.items():
        ref = ArtifactRef.parse(text)
        found[name] = Upstream(ref, store.manifest(ref), partial(project.value, ref))
    return found


def _step(project: Project, order: StepOrder, pipes: PipesContext) -> Step[Any]:
    from churn_assets.flow.asset import Step
    from churn_assets.flow.registry import registry
    from churn_assets.remote.steps import PROGRESS
    from churn_assets.store.reference import ArtifactRef

    def tell(figures: Mapping[str, float], samples: Sequence[str]) -> None:
        pipes.report_custom_message({PROGRESS: {"figures": dict(figures), "samples": list(samples)}})

    return Step(
        asset=registry()[order.asset],
        experiment=order.experiment,
        workspace=project,
        upstream={name: ArtifactRef.parse(text) for name, text in order.upstream.items()},
        tell=tell,
    )


def _refuse_another_recipe(order: StepOrder, planned: PlannedVersion) -> None:
    """What would be made here must be what was asked for: an image of another state of the project makes nothing."""
    found = (planned.recipe.config, planned.recipe.source, planned.seed)
    wanted = (order.config_digest, order.code_version, order.seed)
    names = ("configuration or source data", "source code", "seed")
    wrong = [name for name, here, asked in zip(names, found, wanted, strict=True) if here != asked]
    if wrong:
        raise UsageProblemError(
            f"{order.asset}: found another {' and another '.join(wrong)} on this machine than the run asks for",
            "build the image (or fill the cluster's folder) from the same commit as the run's, with the same data",
        )


def _published_before(project: Project, order: StepOrder, planned: PlannedVersion) -> PublishedStep | None:
    """What an earlier try of the same order published before its machine was lost."""
    from churn_assets.flow.asset import Made
    from churn_assets.flow.making import reusable, to_show
    from churn_assets.remote.steps import PublishedStep
    from churn_assets.store.manifest import minting_time, whole_second

    store = project.store(order.experiment)
    for ref in store.versions(order.experiment, order.asset):
        if minting_time(ref.version) == whole_second(order.minted_at):
            manifest, _ = reusable(store.verify, ref, planned.recipe)
            if manifest is not None:
                figures = {
                    name: each for name, each in manifest.provenance.metrics.items() if each is not None
                }
                shown = to_show(Made(None, figures))
                return PublishedStep(artifact=str(ref), digest=manifest.digest, shown=shown)
    return None


def _published_now(
    project: Project, order: StepOrder, planned: PlannedVersion, inputs: Mapping[str, Upstream]
) -> PublishedStep:
    from churn_assets.flow.making import make_version, to_show
    from churn_assets.remote.steps import PublishedStep
    from resources.artifacts import in_time

    made, fresh = make_version(planned, inputs, project, order.run_id)
    with fresh.folder:
        store = project.store(order.experiment)
        ref = store.publish(fresh.staged, fresh.provenance, in_time(order.minted_at, datetime.now(UTC)))
    return PublishedStep(artifact=str(ref), digest=fresh.staged.digest, shown=to_show(made))


def _store_messages(backend: Backend) -> PipesMessageWriter[Any]:
    """Writes the messages of Dagster Pipes to the store, in chunks, each once."""
    from dagster_pipes import PipesBlobStoreMessageWriter, PipesBlobStoreMessageWriterChannel

    from churn_assets.remote.attempts import message_key
    from churn_assets.store.errors import ObjectExists
    from resources.remote import PREFIX

    class Channel(PipesBlobStoreMessageWriterChannel):
        def __init__(self, prefix: str) -> None:
            super().__init__(interval=MESSAGES_EVERY)
            self.prefix = prefix

        def upload_messages_chunk(self, payload: StringIO, index: int) -> None:
            """The next number that is free: a process that the machine lost may still write, late."""
            content = payload.read().encode()
            for number in count(index):
                with suppress(ObjectExists):
                    backend.create(message_key(self.prefix, number), content)
                    return

    class Writer(PipesBlobStoreMessageWriter[Channel]):
        def make_channel(self, params: Mapping[str, Any]) -> Channel:
            return Channel(params[PREFIX])

    return Writer(interval=MESSAGES_EVERY)
