"""All append-only logs of a store, channels and acts alike, for whoever walks every one of them."""

from typing import Any

from churn_assets.store.acts import ActLog, act_logs
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, channel_names
from churn_assets.store.names import ACTS
from churn_assets.store.records import RecordLog


def log_names(store: ArtifactStore) -> list[str]:
    """Logs that have a record: channels by their names, and those of acts as ``acts/NAME``; sorted."""
    return sorted([*channel_names(store), *(f"{ACTS}{name}" for name in act_logs(store))])


def open_log(store: ArtifactStore, log: str) -> RecordLog[Any]:
    """A log by its name as of `log_names`.

    Raises:
        InvalidName: It is none.
    """
    return ActLog(store, log.removeprefix(ACTS)) if log.startswith(ACTS) else Channel(store, log)
