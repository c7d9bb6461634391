"""Which names, file paths and keys the store accepts. Checked here once, so nothing can leave its folder."""

import re

from churn_assets.store.errors import InvalidName

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
MANIFEST = "manifest.json"
GATES = "gates"
ERASED = "erased"
CHANNELS = "channels/"
ACTS = "acts/"
"""Logs of what people did, see `acts`."""
LOGS = (CHANNELS, ACTS)
"""Where append-only logs are, see `records`. A log is named as its channel is, or ``acts/NAME``."""
LONGEST_REASON = 10_000
"""Characters that an actor or a reason may have; a log of longer ones would soon be more than a reader takes."""
ACCESS = "access/"
"""Who looked at what, see `access`."""
_RECORD = re.compile(
    r"(?P<place>channels/|acts/)(?P<name>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})/(?P<seq>[0-9]{12})\.json"
)


def check_name(kind: str, name: str) -> str:
    """Return ``name`` if it is one plain path segment.

    Args:
        kind: What is named ("asset", "channel", …), for the message.
        name: Letters, digits, ``_ . -``; starts with a letter or digit; at most 128 characters.

    Raises:
        InvalidName: It is anything else.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{kind} name: found {name!r}, expected 1 to 128 letters, digits, '_', '.' or '-', "
            "starting with a letter or digit"
        )
    return name


def check_file_path(path: str) -> str:
    """Return ``path`` if it is a file's place inside an artifact: relative, plain segments, not reserved.

    Raises:
        InvalidName: It is absolute, has empty, ``.`` or ``..`` segments or odd characters, or is a place
            that the store keeps for itself (the manifest, the gate reports, what erasures left).
    """
    segments = path.split("/")
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise InvalidName(f"file path: found {path!r}, expected a relative path of plain segments")
    if path == MANIFEST or segments[0] in (GATES, ERASED):
        raise InvalidName(f"file path: found {path!r}, which the store keeps for itself")
    return path


def check_key(key: str) -> str:
    """Return ``key`` if every segment is plain.

    Raises:
        InvalidName: A segment is empty, hidden, ``..``, or has odd characters.
    """
    if not is_key(key):
        raise InvalidName(f"store key: found {key!r}, expected plain segments joined by '/'")
    return key


def is_key(key: str) -> bool:
    """Whether the store could have written something there: an editor's or a system's own files are hidden or odd."""
    return all(_SEGMENT.fullmatch(segment) for segment in key.split("/"))


def record_key(log: str, seq: int) -> str:
    """Where a record of a log is."""
    return f"{'' if log.startswith(ACTS) else CHANNELS}{log}/{seq:012d}.json"


def record_place(key: str) -> tuple[str, int] | None:
    """Log and number of the record that a key is of; None for whatever else lies there."""
    found = _RECORD.fullmatch(key)
    if not found or not int(found["seq"]):
        return None
    return (found["place"] if found["place"] == ACTS else "") + found["name"], int(found["seq"])


def mark_place(key: str) -> tuple[str, int] | None:
    """Log and number of the record that a mark is of, by its key below where marks are; None for whatever else."""
    return record_place(key if key.startswith(ACTS) and key.count("/") == 2 else CHANNELS + key)


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if it is empty or a key followed by one ``/``: a folder, never half a name.

    Raises:
        InvalidName: It is neither.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
        if not prefix.endswith("/"):
            raise InvalidName(f"store prefix: found {prefix!r}, expected it to end with '/'")
    return prefix
