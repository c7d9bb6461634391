"""From what a person calls a release to the release."""

import difflib

from churn_assets.release.bundle import RELEASE_ASSET, champion_release
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import InvalidName
from churn_assets.store.reference import ArtifactRef

CHAMPION, LATEST = "champion", "latest"


class UnknownReleaseError(LookupError):
    """A name under which there is no release.

    Attributes:
        hint: What to do.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def find_release(store: ArtifactStore, experiment: str, channel: str, name: str) -> ArtifactRef:
    """The release that is meant.

    Args:
        store: The store.
        experiment: Name of the experiment.
        channel: The experiment's own channel: what leads it is its `champion`.
        name: `latest`, `champion`, a version, `experiment/release/version`, or the name of a channel of this store.

    Raises:
        UnknownReleaseError: There is no such release.
        StoreError: A channel's log is not sound.
    """
    if name == CHAMPION:
        leader = champion_release(store, channel)
        if leader is None:
            message = f"nothing leads {channel} yet"
            raise UnknownReleaseError(message, "promote a release (churn promote), or name one")
        return leader
    known = store.versions(experiment, RELEASE_ASSET)
    if not known:
        raise UnknownReleaseError(f"no release of {experiment} yet", f"churn run {experiment}")
    if name == LATEST:
        return known[-1]
    found = [ref for ref in known if name in (ref.version, str(ref))]
    if found:
        return found[0]
    if "/" in name and ArtifactRef.parse(name).asset != RELEASE_ASSET:
        raise UnknownReleaseError(f"{name} is no release", f"expected experiment/{RELEASE_ASSET}/version")
    leader = _leader(store, name)
    if leader is not None:
        return leader
    message = f"no release {name!r} of {experiment}"
    near = difflib.get_close_matches(name, [ref.version for ref in known], n=1, cutoff=0.5)
    raise UnknownReleaseError(message, f"did you mean {near[0]}?" if near else "see churn releases")


def _leader(store: ArtifactStore, channel: str) -> ArtifactRef | None:
    try:
        return champion_release(store, channel)
    except InvalidName:
        return None
