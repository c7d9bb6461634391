"""From the store URI of an experiment to a store. A new backend is registered here and nowhere else."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import TransferProgress
from churn_assets.store.cache import cache_of
from churn_assets.store.errors import InvalidSetting, UnsupportedLocation
from churn_assets.store.local import LocalBackend
from churn_assets.store.marks import seen_in
from churn_assets.store.signatures import UNSIGNED, SignaturePolicy, Signatures

# /gcs/… is how a bucket appears on Vertex AI. Only its name is taken: a mounted bucket has no atomic creation.
_BUCKET_URI = re.compile(r"(?:gs://|/gcs/)(?P<bucket>[^/]+)(?:/(?P<prefix>.*?))?/*")
_EXPECTED = "a folder, file:///…, gs://bucket/prefix or /gcs/bucket/prefix"

STORE_VARIABLE = "CHURN_STORE"
SHARED_VARIABLE = "CHURN_STORE_SHARED"
"""Environment variable: 1 lets the group of a local store read it; without, only its owner does."""


def store_uri(configured: str) -> str:
    """Where an experiment's store is: what CHURN_STORE says, for every experiment, else what the experiment says."""
    return os.environ.get(STORE_VARIABLE) or configured


def open_store(
    uri: str,
    *,
    root: Path,
    progress: TransferProgress | None = None,
    policy: SignaturePolicy | None = None,
) -> ArtifactStore:
    """Open the store at ``uri``; nothing is asked of it before it is used. A remote one gets the local cache.

    Args:
        uri: A folder (``.churn/store``, ``/data/store``), ``file:///data/store``, ``gs://bucket/prefix`` or
            ``/gcs/bucket/prefix``.
        root: Project folder that relative paths start from, whatever the working directory is.
        progress: Told of every transfer from or to a remote store.
        policy: Whose signatures it needs, as the experiment says; nobody's if left out.

    Raises:
        UnsupportedLocation: ``uri`` is empty, has another scheme, or names a remote host or no bucket.
        InvalidName: The bucket or the prefix cannot be one.
        InvalidSetting: The environment asks for a cache that cannot be.
    """
    if not uri.strip():
        raise UnsupportedLocation(f"store uri: found an empty string, expected {_EXPECTED}")
    if "\0" in uri:
        raise UnsupportedLocation(f"store uri {uri!r}: found a byte 0, expected {_EXPECTED}")
    signatures = UNSIGNED if policy is None else Signatures(policy)
    if bucket := _BUCKET_URI.fullmatch(uri):
        from churn_assets.store.gcs import GcsBackend

        remote = GcsBackend(bucket["bucket"], bucket["prefix"] or "", progress=progress)
        seen = seen_in(root, f"gs://{remote.bucket}/{remote.prefix}")
        return ArtifactStore(remote, cache_of(os.environ), signatures, seen)
    local = LocalBackend(_folder(uri, root), shared=_shared(os.environ))
    return ArtifactStore(local, None, signatures, seen_in(root, str(local.root)))


def _folder(uri: str, root: Path) -> Path:
    if "://" not in uri:
        try:
            return root / Path(uri).expanduser()
        except RuntimeError as error:
            raise UnsupportedLocation(f"store uri {uri!r}: found no home folder of that user") from error
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnsupportedLocation(f"store uri {uri!r}: found scheme {parts.scheme!r}, expected {_EXPECTED}")
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise UnsupportedLocation(
            f"store uri {uri!r}: found host {parts.netloc!r}, expected file:///absolute/path"
        )
    return Path(unquote(parts.path))


def _shared(environment: Mapping[str, str]) -> bool:
    """Whether the group of a folder may read what is stored there.

    Raises:
        InvalidSetting: The variable says neither.
    """
    found = environment.get(SHARED_VARIABLE, "")
    if found not in ("", "0", "1"):
        raise InvalidSetting(f"{SHARED_VARIABLE}: found {found!r}, expected 1 or 0")
    return found == "1"
