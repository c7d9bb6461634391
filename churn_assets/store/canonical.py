"""Canonical JSON, digests, and sealed documents. Knows bytes and dictionaries, no artifacts."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NoReturn

from churn_assets.store.errors import CorruptArtifact, IncompatibleArtifact

_CHUNK = 1 << 20
SEAL = "seal"
SCHEMA = "schema_version"


def canonical_json(value: Any) -> bytes:
    """The one byte string that stands for ``value``: sorted keys, no spaces, ASCII.

    Raises:
        ValueError: ``value`` holds NaN or an infinity, which JSON cannot say.
        TypeError: ``value`` holds something that JSON has no word for.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def parse_json(data: bytes, file: str) -> Any:
    """Parse strictly: no NaN, no number beyond all bounds, no key twice, no nesting that exhausts the stack.

    Raises:
        CorruptArtifact: ``data`` is not such JSON.
    """

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"the constant {name}")

    def finite(text: str) -> float:
        if math.isinf(number := float(text)):
            raise ValueError(f"the number {text[:20]}")
        return number

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a key twice in one object")
        return result

    try:
        return json.loads(
            data, parse_constant=refuse_constant, parse_float=finite, object_pairs_hook=refuse_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise CorruptArtifact(file, f"unreadable JSON ({error})", "strict JSON") from error


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits, in bounded memory."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def seal(document: dict[str, Any]) -> bytes:
    """Canonical bytes of ``document`` with its own digest inside, so that any flipped bit shows."""
    return canonical_json({**document, SEAL: sha256_bytes(canonical_json(document))})


def unseal(data: bytes, *, file: str, schema_version: int) -> dict[str, Any]:
    """The document inside sealed bytes, without its seal.

    Args:
        data: What :func:`seal` returned.
        file: Name for messages.
        schema_version: The newest schema this code reads.

    Raises:
        IncompatibleArtifact: The document was written under a newer schema.
        CorruptArtifact: It is not canonical JSON, or its seal does not hold.
    """
    document = parse_json(data, file)
    if not isinstance(document, dict):
        raise CorruptArtifact(file, type(document).__name__, "a JSON object")
    version = document.get(SCHEMA)
    if type(version) is not int or version < 1:
        raise CorruptArtifact(file, f"{SCHEMA} {version!r}", "a positive integer")
    if version > schema_version:
        raise IncompatibleArtifact(
            file, f"{SCHEMA} {version}", f"at most {schema_version}: a newer release of this code wrote it"
        )
    found = document.pop(SEAL, None)
    expected = sha256_bytes(canonical_json(document))
    if found != expected:
        raise CorruptArtifact(file, f"seal {found!r}", f"seal {expected!r} for its content")
    if canonical_json({**document, SEAL: expected}) != data:
        raise CorruptArtifact(file, "bytes in another spelling", "canonical JSON")
    return document
