"""Gate reports beside a version: append-only, sealed, outside its digest. Content is not judged here."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from churn_assets.store.backend import Backend
from churn_assets.store.canonical import SCHEMA, seal, unseal
from churn_assets.store.errors import ContentError, CorruptArtifact, ObjectExists, ObjectMissing
from churn_assets.store.names import check_name
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.signatures import UNSIGNED, Signatures

REPORT_SCHEMA = 1
_KEY = re.compile(r"(?P<check>[A-Za-z0-9][A-Za-z0-9_.-]*)/(?P<number>[0-9]{6})\.json")


def add_gate_report(
    backend: Backend,
    ref: ArtifactRef,
    check: str,
    report: dict[str, Any],
    signatures: Signatures = UNSIGNED,
) -> None:
    """Append ``report`` as the newest of ``check``, signed where it has to be; not if the newest says the same.

    Raises:
        InvalidName: ``check`` is not one plain path segment.
        InvalidSetting: No key is given that may sign it.
        ValueError: ``report`` holds NaN or an infinity.
    """
    check_name("check", check)
    number = _newest(backend, ref).get(check, 0)
    while number == 0 or _read(backend, ref, check, number, signatures) != _document(
        ref, check, number, report
    ):
        number += 1
        key, data = _key(ref, check, number), seal(_document(ref, check, number, report))
        signatures.sign(backend, key, data)
        try:
            backend.create(key, data)
        except ObjectExists:
            # Our own write whose acknowledgement was lost, or another writer's: the loop looks and tells.
            continue
        return


def gate_reports(
    backend: Backend, ref: ArtifactRef, signatures: Signatures = UNSIGNED
) -> dict[str, dict[str, Any]]:
    """The newest report of every check, by check name.

    Raises:
        CorruptArtifact: A report was altered or moved.
        UnsignedContent: Nobody signed it who may.
    """
    newest = _newest(backend, ref)
    return {
        check: _read(backend, ref, check, number, signatures)["report"]
        for check, number in sorted(newest.items())
    }


def verify_gate_reports(
    backend: Backend, ref: ArtifactRef, keys: Iterable[str], signatures: Signatures
) -> Iterator[ContentError | ObjectMissing]:
    """What is wrong with the reports of a version, the older ones included; a number that is skipped is gone.

    Args:
        backend: The store's.
        ref: The version.
        keys: What lies below its reports' prefix; what is no report's is left out.
        signatures: Checks who signed.
    """
    found: dict[str, set[int]] = {}
    for key in keys:
        if match := _KEY.fullmatch(key.removeprefix(ref.gates_prefix)):
            found.setdefault(match["check"], set()).add(int(match["number"]))
    for check, numbers in sorted(found.items()):
        for number in range(1, max(numbers) + 1):
            try:
                _read(backend, ref, check, number, signatures)
            except (ContentError, ObjectMissing) as error:
                yield error


def all_gate_reports(
    backend: Backend, ref: ArtifactRef, signatures: Signatures = UNSIGNED
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Check and content of every sound report of a version, the older ones included."""
    for key in backend.list(ref.gates_prefix):
        if match := _KEY.fullmatch(key.removeprefix(ref.gates_prefix)):
            with suppress(ContentError, ObjectMissing):
                document = _read(backend, ref, match["check"], int(match["number"]), signatures)
                yield match["check"], document["report"]


def is_gate_report(ref: ArtifactRef, key: str) -> bool:
    """Whether a key is one of a version's reports."""
    return key.startswith(ref.gates_prefix) and bool(_KEY.fullmatch(key.removeprefix(ref.gates_prefix)))


def _newest(backend: Backend, ref: ArtifactRef) -> dict[str, int]:
    newest: dict[str, int] = {}
    for key in backend.list(ref.gates_prefix):
        if match := _KEY.fullmatch(key.removeprefix(ref.gates_prefix)):
            newest[match["check"]] = int(match["number"])  # keys are sorted, so the last one is the newest
    return newest


def _read(
    backend: Backend, ref: ArtifactRef, check: str, number: int, signatures: Signatures
) -> dict[str, Any]:
    key = _key(ref, check, number)
    try:
        data = backend.read(key)
        document = unseal(data, file=key, schema_version=REPORT_SCHEMA)
        signatures.check(backend, key, data)
    except ContentError as error:
        raise error.about(str(ref)) from error
    report = document.get("report")
    if not isinstance(report, dict) or document != _document(ref, check, number, report):
        found = (
            f"report {document.get('number')!r} of {document.get('check')!r} on {document.get('artifact')!r}"
        )
        raise CorruptArtifact(key, found, f"report {number} of {check!r}", str(ref))
    return document


def _document(ref: ArtifactRef, check: str, number: int, report: dict[str, Any]) -> dict[str, Any]:
    return {SCHEMA: REPORT_SCHEMA, "artifact": str(ref), "check": check, "number": number, "report": report}


def _key(ref: ArtifactRef, check: str, number: int) -> str:
    return f"{ref.gates_prefix}{check}/{number:06d}.json"
