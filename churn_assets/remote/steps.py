"""What is asked of a remote step, what it says that it published, and whether the store bears that out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from churn_assets.gates.report import digest_of
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import StoreError, StoreUnreachable
from churn_assets.store.manifest import Manifest, Sha256, whole_second
from churn_assets.store.reference import ArtifactRef

PUBLISHED = "published"
"""Under this key a step's message says what it published."""
PROGRESS = "progress"
"""Under this key it says how far it is."""
FAILED = "failed"
"""Under this key it says why it failed."""


class RemoteStepError(RuntimeError):
    """A step on another machine did not do what was asked of it."""


class StepOrder(BaseModel, frozen=True, extra="forbid"):
    """What is asked of a remote step. Equal orders are one piece of work, whoever asks, and however often.

    Attributes:
        experiment: Its experiment.
        asset: What is to be made.
        upstream: Asset to the exact version that it is made from.
        config_digest: Digest of the configuration and outside data; the machine must have the same.
        code_version: Digest of the source that makes it; the machine must have the same.
        seed: Of the experiment.
        store: Where the store is, as the machine finds it.
        minted_at: Aware time that names the version, so that every try of the step names it alike.
        run_id: The run that asked first.
    """

    experiment: str
    asset: str
    upstream: dict[str, str]
    config_digest: str
    code_version: str
    seed: int
    store: str
    minted_at: datetime
    run_id: str

    @property
    def key(self) -> str:
        """Names the work: 32 hex digits over all but when and by whom it was asked for."""
        return digest_of(self.model_dump(mode="json", exclude={"minted_at", "run_id"}))[:32]


class PublishedStep(BaseModel, frozen=True, extra="forbid"):
    """What a step says that it published.

    Attributes:
        artifact: The version, as experiment/asset/version.
        digest: Of its content.
        shown: What there is to show of the training, as JSON.
    """

    artifact: str
    digest: Sha256
    shown: dict[str, Any] = {}


EngineState = Literal["waits", "works", "succeeded", "failed", "lost", "cancelled", "unclear"]
"""Of a job: `lost` is what the machine's owner did, and is worth another try; `failed` is what the step did."""

ENDED: frozenset[EngineState] = frozenset({"succeeded", "failed", "lost", "cancelled"})


@dataclass(frozen=True)
class JobState:
    """What an engine says of a job.

    Attributes:
        state: In this library's words.
        detail: In the engine's.
    """

    state: EngineState
    detail: str = ""


def published(messages: Sequence[Mapping[str, Any]]) -> PublishedStep:
    """The one publication that a step reported.

    Raises:
        RemoteStepError: It reported none, two that differ, or one that cannot be read.
    """
    found = [message[PUBLISHED] for message in messages if PUBLISHED in message]
    if not found:
        raise RemoteStepError(
            f"it ended without reporting a published version ({len(messages)} messages came); expected one: "
            "whatever its exit code, nothing proves that it made anything"
        )
    try:
        reported = [PublishedStep.model_validate(each) for each in found]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RemoteStepError(f"its report cannot be read: {where}: {first['msg']}") from error
    if len({each.artifact for each in reported}) > 1:
        raise RemoteStepError(
            f"it reported several versions, expected one: {[each.artifact for each in reported]}"
        )
    return reported[-1]


def accepted(order: StepOrder, reported: PublishedStep, store: ArtifactStore) -> tuple[ArtifactRef, Manifest]:
    """The version that a step reported, if it is in the store, whole, and what was asked for.

    Every byte is read and compared with its digest, as for any other artifact before it is used.

    Raises:
        RemoteStepError: It is not there, not whole, or made from something else.
        StoreUnreachable: Nobody knows whether it is there.
    """
    try:
        ref = ArtifactRef.parse(reported.artifact)
        if (ref.experiment, ref.asset) != (order.experiment, order.asset):
            raise RemoteStepError(
                f"it reported {ref}, expected a version of {order.experiment}/{order.asset}"
            )
        manifest = store.verify(ref)
    except StoreUnreachable:
        raise
    except StoreError as error:
        raise RemoteStepError(
            f"it reported {reported.artifact}, which the store does not bear out: {type(error).__name__}: {error}"
        ) from error
    wrong = [
        f"{name} {found}, expected {wanted}"
        for name, found, wanted in _compared(order, reported, manifest)
        if found != wanted
    ]
    if wrong:
        raise RemoteStepError(f"{ref} is not what was asked for: found {'; '.join(wrong)}")
    return ref, manifest


def _compared(
    order: StepOrder, reported: PublishedStep, manifest: Manifest
) -> list[tuple[str, object, object]]:
    origin = manifest.provenance
    return [
        ("digest", manifest.digest, reported.digest),
        ("config", origin.config_digest, order.config_digest),
        ("source code", origin.code_version, order.code_version),
        ("upstream", _contents(origin.upstream), _contents(order.upstream)),
        ("seed", origin.seed, order.seed),
        ("minting time", manifest.created_at, whole_second(order.minted_at)),
    ]


def _contents(upstream: Mapping[str, str]) -> dict[str, str]:
    """Digests of the inputs' content: equal for equal bytes, whenever they were made."""
    return {asset: ref.rpartition("-")[2] for asset, ref in upstream.items()}
