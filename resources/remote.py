"""How a step of an asset that is made on another machine is wired: its order, its engine, and who hears of it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
from dagster_pipes import (
    DAGSTER_PIPES_CONTEXT_ENV_VAR,
    DAGSTER_PIPES_MESSAGES_ENV_VAR,
    PipesMessage,
    encode_param,
)

from churn_assets.flow.asset import Made
from churn_assets.flow.making import PlannedVersion, from_shown
from churn_assets.remote.attempts import AttemptRecord
from churn_assets.remote.engines import engine_of
from churn_assets.remote.following import RemoteStep
from churn_assets.remote.steps import PROGRESS, RemoteStepError, StepOrder
from churn_assets.store.location import STORE_VARIABLE
from churn_assets.store.reference import ArtifactRef
from resources.artifacts import run_start
from resources.project import Project

ORDER = "order"
"""Name of the order among the extras of Dagster Pipes."""
PREFIX = "prefix"
"""Name of the key prefix of a step's messages among their parameters."""
MADE_ON = "made_on"


@dataclass(frozen=True)
class MadeElsewhere:
    """A version that another machine published, proven.

    Attributes:
        ref: The version.
        digest: Of its content.
        made: What there is to show.
        metadata: Where it was made.
    """

    ref: ArtifactRef
    digest: str
    made: Made
    metadata: Mapping[str, Any]


def made_elsewhere(context: dg.AssetExecutionContext, planned: PlannedVersion) -> MadeElsewhere | None:
    """Have a version made by the machine that the experiment names; None where it names none.

    Raises:
        Failure: The step failed there, or does not prove what it published.
    """
    project: Project = context.resources.project
    step = planned.step
    chosen = project.machine(step.experiment, step.asset.name)
    if chosen is None:
        return None
    name, profile = chosen
    order = StepOrder(
        experiment=step.experiment,
        asset=step.asset.name,
        upstream={asset: str(ref) for asset, ref in step.upstream.items()},
        config_digest=planned.recipe.config,
        code_version=planned.recipe.source,
        seed=planned.seed,
        store=project.store_place(step.experiment),
        minted_at=run_start(context.instance, context.run.run_id, step.asset.name),
        run_id=context.run.run_id,
    )
    engine = engine_of(profile, project.root)
    with _listening(context, step.tell) as listener:
        work = RemoteStep(
            order=order,
            engine=engine,
            profile=profile,
            store=project.store(step.experiment),
            listener=listener,
            environment=lambda attempt: {**profile.env, **listener.variables(attempt)},
        )
        try:
            ref, manifest, report = work.run()
        except RemoteStepError as error:
            raise dg.Failure(
                description=f"{step.asset.name} on {name} ({engine.place}): {error}", allow_retries=False
            ) from error
    metadata = {MADE_ON: name, "engine": engine.place}
    return MadeElsewhere(ref, manifest.digest, from_shown(report.shown), metadata)


class _StoreMessages(dg.PipesMessageReader):
    """The messages of a step come through its store, which every machine reaches; who follows the step reads them."""

    def __init__(self) -> None:
        self.handler: dg.PipesMessageHandler | None = None

    @property
    def expected_writer_count(self) -> int:
        """One process reports."""
        return 1

    @contextmanager
    def read_messages(self, handler: dg.PipesMessageHandler) -> Iterator[dict[str, Any]]:
        self.handler = handler
        yield {}

    def no_messages_debug_text(self) -> str:
        return "The step reports through its store, below steps/."


class _Listener:
    """Hands a step's messages to Dagster, and its progress to the run's events."""

    def __init__(
        self, context: dg.AssetExecutionContext, session: Any, reader: _StoreMessages, tell: Any
    ) -> None:
        self._context, self._session, self._reader, self._tell = context, session, reader, tell

    def variables(self, attempt: AttemptRecord) -> dict[str, str]:
        """Variables by which the step's process finds its order, its store, and where to report."""
        content = self._session.get_bootstrap_params()[DAGSTER_PIPES_CONTEXT_ENV_VAR]
        # A job that is joined keeps the order that it was begun for, with its minting time.
        extras = {ORDER: json.loads(attempt.order.model_dump_json())}
        content = {**content, "data": {**content["data"], "extras": extras}}
        return {
            DAGSTER_PIPES_CONTEXT_ENV_VAR: encode_param(content),
            DAGSTER_PIPES_MESSAGES_ENV_VAR: encode_param({PREFIX: attempt.prefix}),
            STORE_VARIABLE: attempt.order.store,
        }

    def message(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        if message["method"] != "report_custom_message":
            if self._reader.handler is not None:
                self._reader.handler.handle_message(cast("PipesMessage", message))
            return None
        told: Mapping[str, Any] = message["params"]["payload"]
        if PROGRESS in told:
            self._tell(told[PROGRESS]["figures"], told[PROGRESS]["samples"])
            return None
        return told

    def note(self, text: str) -> None:
        self._context.log.info(text)


@contextmanager
def _listening(context: dg.AssetExecutionContext, tell: Any) -> Iterator[_Listener]:
    reader = _StoreMessages()
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesEnvContextInjector(),
        message_reader=reader,
    ) as session:
        yield _Listener(context, session, reader, tell)
