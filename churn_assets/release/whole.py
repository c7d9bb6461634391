"""Is all of a store there and as it was written, by what releases and decision logs say as well? Changes nothing."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.gates.report import digest_of
from churn_assets.offers.stored_log import SegmentChains
from churn_assets.release.bundle import BUNDLE_FILE, RELEASE_ASSET
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel, channel_names
from churn_assets.store.erasures import file_places
from churn_assets.store.errors import BROKEN
from churn_assets.store.gate_reports import all_gate_reports
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.verify import Manifests, Verified, verify_store


def verify_whole(store: ArtifactStore, *, every_byte: bool = True) -> Verified:
    """As `verify_store`, with all that the library keeps in a store.

    Raises:
        StoreError: The storage does not answer.
    """
    chains = SegmentChains()
    return verify_store(
        store,
        every_byte=every_byte,
        readers=chains.readers,
        witnesses=(chains.missed, parts_missed),
    )


def parts_missed(store: ArtifactStore, manifests: Manifests) -> Iterator[str]:
    """Members of releases, and gate reports that one was built with, or led with, that are gone."""
    digests = cache(lambda ref: _digests(store, ref))
    for ref, manifest in manifests.items():
        if (
            manifest is None
            or ref.asset != RELEASE_ASSET
            or not manifest.loader.startswith(f"{RELEASE_ASSET}/")
        ):
            continue
        try:
            bundle = _bundle(store, ref, manifest)
            members = {asset: ArtifactRef.parse(each["ref"]) for asset, each in bundle["members"].items()}
            evidence: Mapping[str, Mapping[str, str]] = bundle["evidence"]
        except (*BROKEN, LookupError, TypeError, ValueError):
            continue  # it was named when its bytes were read
        for member in members.values():
            if member not in manifests and str(member) not in manifest.provenance.upstream.values():
                yield f"{member}: found no such version, expected it: {ref} needs it"
        for asset, checks in evidence.items():
            if members.get(asset) in manifests:
                yield from _gone(digests(members[asset]), members[asset], checks, f"{ref} was built with it")
    for name in channel_names(store):
        for release in _led(store, name):
            if release in manifests and not digests(release).get(LOADS_AND_AGREES):
                yield f"{_place(release, LOADS_AND_AGREES)}: found nothing, expected a gate report: it led {name}"


def _gone(
    found: Mapping[str, set[str]], ref: ArtifactRef, checks: Mapping[str, str], why: str
) -> Iterator[str]:
    for check, digest in sorted(checks.items()):
        if digest not in found.get(check, ()):
            others = f"{len(found.get(check, ()))} others" if found.get(check) else "nothing"
            yield f"{_place(ref, check)}: found {others}, expected the gate report {digest[:12]}: {why}"


def _digests(store: ArtifactStore, ref: ArtifactRef) -> dict[str, set[str]]:
    """Digests of all sound reports of a version, by check; what is not sound was named when it was read."""
    found: dict[str, set[str]] = {}
    for check, report in all_gate_reports(store.backend, ref, store.signatures):
        found.setdefault(check, set()).add(digest_of(report))
    return found


def _place(ref: ArtifactRef, check: str) -> str:
    return f"{ref.gates_prefix}{check}"


def _led(store: ArtifactStore, name: str) -> set[ArtifactRef]:
    """Releases that led a channel by what their gates said."""
    try:
        return {each.ref for each in Channel(store, name).history() if each.gate_report_digest}
    except BROKEN:
        return set()  # as above


def _bundle(store: ArtifactStore, ref: ArtifactRef, manifest: Manifest) -> dict[str, Any]:
    """The release's own list of members, as it is now."""
    entries = [entry for entry in manifest.files if entry.path == BUNDLE_FILE]
    (place,) = file_places(store.backend, ref, entries, store.signatures)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        copy = Path(folder) / BUNDLE_FILE
        store.backend.fetch(place.key, place.entry.size, copy)
        return dict(json.loads(copy.read_bytes()))
