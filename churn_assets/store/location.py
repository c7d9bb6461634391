"""From the store URI of an experiment to a store. A new backend is registered here and nowhere else."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import UnsupportedLocation
from churn_assets.store.local import LocalBackend


def open_store(uri: str, *, root: Path) -> ArtifactStore:
    """Open the store at ``uri``; nothing is written until something is published.

    Args:
        uri: A folder (``.churn/store``, ``/data/store``) or ``file:///data/store``.
        root: Project folder that relative paths start from, whatever the working directory is.

    Raises:
        UnsupportedLocation: ``uri`` is empty, has another scheme, or names a remote host.
    """
    if not uri.strip():
        raise UnsupportedLocation("store uri: found an empty string, expected a folder or file:///…")
    if "://" not in uri:
        return ArtifactStore(LocalBackend(root / Path(uri).expanduser()))
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnsupportedLocation(
            f"store uri {uri!r}: found scheme {parts.scheme!r}, expected a folder or file:///…"
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UnsupportedLocation(
            f"store uri {uri!r}: found host {parts.netloc!r}, expected file:///absolute/path"
        )
    return ArtifactStore(LocalBackend(Path(unquote(parts.path))))
