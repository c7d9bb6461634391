"""Which versions were tried beside a leader: what the logs of trials name may lead later, so it stays."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from churn_assets.store.acts import ActLog, ActRecord, act_logs
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import ContentError, CorruptArtifact, InvalidName
from churn_assets.store.reference import ArtifactRef

START: Literal["start"] = "start"
CANDIDATE = "candidate"
_TRIALS = ".trials"


def trial_log(store: ArtifactStore, channel: str) -> ActLog:
    """The log of the trials of a channel."""
    return ActLog(store, f"{channel}{_TRIALS}")


def candidate_of(record: ActRecord) -> ArtifactRef:
    """The version that a record of kind `START` names.

    Raises:
        CorruptArtifact: It names none.
    """
    found = record.details.get(CANDIDATE)
    try:
        return ArtifactRef.parse(str(found))
    except InvalidName as error:
        subject = f"log {record.log}"
        raise CorruptArtifact(record.key, f"{found!r}", "a version that is tried", subject) from error


def tried_versions(store: ArtifactStore) -> dict[ArtifactRef, str]:
    """Every version that a trial was ever started with, and the first channel beside whose leader.

    Raises:
        CorruptArtifact: A log does not verify, or a record names no version.
        UnsignedContent: Nobody signed a record who may.
    """
    found: dict[ArtifactRef, str] = {}
    for log in _logs(store):
        for ref in _candidates(log):
            found.setdefault(ref, log.name.removesuffix(_TRIALS))
    return found


def tried_anywhere(store: ArtifactStore, ref: ArtifactRef) -> bool:
    """Whether a trial was ever started with a version. A log that is broken vouches for nobody."""
    for log in _logs(store):
        with suppress(ContentError):
            if ref in _candidates(log):
                return True
    return False


def _logs(store: ArtifactStore) -> list[ActLog]:
    return [ActLog(store, name) for name in act_logs(store) if name.endswith(_TRIALS)]


def _candidates(log: ActLog) -> list[ArtifactRef]:
    return [candidate_of(record) for record in log.history() if record.kind == START]
