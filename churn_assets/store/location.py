"""From the store URI of an experiment to a store. A new backend is registered here and nowhere else."""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import TransferProgress
from churn_assets.store.cache import cache_of
from churn_assets.store.errors import UnsupportedLocation
from churn_assets.store.local import LocalBackend

# /gcs/… is how a bucket appears on Vertex AI. Only its name is taken: a mounted bucket has no atomic creation.
_BUCKET_URI = re.compile(r"(?:gs://|/gcs/)(?P<bucket>[^/]+)(?:/(?P<prefix>.*?))?/*")
_EXPECTED = "a folder, file:///…, gs://bucket/prefix or /gcs/bucket/prefix"

STORE_VARIABLE = "CHURN_STORE"


def store_uri(configured: str) -> str:
    """Where an experiment's store is: what CHURN_STORE says, for every experiment, else what the experiment says."""
    return os.environ.get(STORE_VARIABLE) or configured


def open_store(uri: str, *, root: Path, progress: TransferProgress | None = None) -> ArtifactStore:
    """Open the store at ``uri``; nothing is asked of it before it is used. A remote one gets the local cache.

    Args:
        uri: A folder (``.churn/store``, ``/data/store``), ``file:///data/store``, ``gs://bucket/prefix`` or
            ``/gcs/bucket/prefix``.
        root: Project folder that relative paths start from, whatever the working directory is.
        progress: Told of every transfer from or to a remote store.

    Raises:
        UnsupportedLocation: ``uri`` is empty, has another scheme, or names a remote host or no bucket.
        InvalidName: The bucket or the prefix cannot be one.
        InvalidSetting: The environment asks for a cache that cannot be.
    """
    if not uri.strip():
        raise UnsupportedLocation(f"store uri: found an empty string, expected {_EXPECTED}")
    if bucket := _BUCKET_URI.fullmatch(uri):
        from churn_assets.store.gcs import GcsBackend

        backend = GcsBackend(bucket["bucket"], bucket["prefix"] or "", progress=progress)
        return ArtifactStore(backend, cache_of(os.environ))
    if "://" not in uri:
        return ArtifactStore(LocalBackend(root / Path(uri).expanduser()))
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnsupportedLocation(f"store uri {uri!r}: found scheme {parts.scheme!r}, expected {_EXPECTED}")
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UnsupportedLocation(
            f"store uri {uri!r}: found host {parts.netloc!r}, expected file:///absolute/path"
        )
    return ArtifactStore(LocalBackend(Path(unquote(parts.path))))
