"""What this version of the library makes of a store that another one wrote. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from churn_assets.flow.paths import resolve_format
from churn_assets.offers.stored_log import logged_segments, stored_segments
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, channel_names
from churn_assets.store.errors import BROKEN, IncompatibleArtifact
from churn_assets.store.manifest import MANIFEST_SCHEMA
from churn_assets.store.reference import ARTIFACTS, ArtifactRef, by_version

MADE_AGAIN = "make it again: churn run"


@dataclass(frozen=True)
class UpgradeFinding:
    """One thing that was looked at.

    Attributes:
        what: Asset, channel, log or experiment.
        found: How it was written.
        read: Whether this version reads it.
        needed: What to do; empty where nothing is.
    """

    what: str
    found: str
    read: bool
    needed: str = ""


def check_store(store: ArtifactStore, formats: Mapping[str, str]) -> list[UpgradeFinding]:
    """Everything in a store that a version of the library may read or not.

    Args:
        store: The store.
        formats: Import path of each asset's format.

    Raises:
        StoreError: The storage does not answer.
    """
    versions, _ = by_version(store.backend.list(ARTIFACTS))
    leads = {ref: name for name in channel_names(store) for ref in _led_by(store, name)}
    found: dict[tuple[str, str, bool], list[str]] = {}
    for ref in versions:
        loader, read = _readable(store, ref, formats)
        found.setdefault((ref.asset, loader, read), []).append(leads.get(ref, ""))
    rows = []
    for (asset, loader, read), leading in sorted(found.items()):
        led = ", ".join(sorted({each for each in leading if each}))
        needed = "" if read else MADE_AGAIN
        if led and not read:
            needed += f"; it leads {led}: until then go on with the version that wrote it"
        rows.append(UpgradeFinding(asset, f"{len(leading)} of {loader}", read, needed))
    return rows + _channels(store) + _log(store)


def _led_by(store: ArtifactStore, channel: str) -> list[ArtifactRef]:
    """The release that leads a channel, and what it is made of; nothing where its log cannot be read."""
    try:
        head = Channel(store, channel).head()
        if head is None:
            return []
        upstream = store.manifest(head.ref).provenance.upstream.values()
        return [head.ref, *map(ArtifactRef.parse, upstream)]
    except BROKEN:
        return []


def _readable(store: ArtifactStore, ref: ArtifactRef, formats: Mapping[str, str]) -> tuple[str, bool]:
    try:
        manifest = store.manifest(ref)
    except IncompatibleArtifact as error:
        return f"a manifest of {error.found}, newer than {MANIFEST_SCHEMA}", False
    except BROKEN as error:
        return f"a broken manifest ({type(error).__name__})", False
    if ref.asset not in formats:
        return f"{manifest.loader}, of an asset that is no more", True
    fmt = resolve_format(formats[ref.asset])
    return manifest.loader, manifest.loader in (fmt.loader, *fmt.reads)


def _channels(store: ArtifactStore) -> list[UpgradeFinding]:
    rows = []
    for name in channel_names(store):
        try:
            history = Channel(store, name).history()
        except BROKEN as error:
            rows.append(
                UpgradeFinding(f"channel {name}", str(error), read=False, needed="churn store verify")
            )
            continue
        rows.append(UpgradeFinding(f"channel {name}", f"{len(history)} records", read=True))
    return rows


def _log(store: ArtifactStore) -> list[UpgradeFinding]:
    """The newest segment of each decision log: all before it were written by no newer version."""
    experiments = sorted(
        {key.split("/")[1] for key in store.backend.list("decisions/") if key.count("/") > 1}
    )
    rows = []
    for experiment in experiments:
        segments = stored_segments(store.backend, experiment)
        ignored: dict[str, str] = {}
        names = {key.rsplit("/", 1)[-1].removesuffix(".log") for key in segments[:-1]}
        read = list(logged_segments(store.backend, experiment, ignored=ignored.__setitem__, known=names))
        needed = (
            ""
            if read or not segments
            else "read it with the version that wrote it; churn store verify names it"
        )
        rows.append(
            UpgradeFinding(f"decision log of {experiment}", f"{len(segments)} segments", not needed, needed)
        )
    return rows
