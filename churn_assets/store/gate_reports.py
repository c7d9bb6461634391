"""Gate reports beside a version: append-only, sealed, outside its digest. Content is not judged here."""

import re
from typing import Any

from churn_assets.store.backend import Backend
from churn_assets.store.canonical import SCHEMA, seal, unseal
from churn_assets.store.errors import ContentError, CorruptArtifact, ObjectExists
from churn_assets.store.names import check_name
from churn_assets.store.reference import ArtifactRef

REPORT_SCHEMA = 1
_KEY = re.compile(r"(?P<check>[^/]+)/(?P<number>[0-9]{6})\.json")


def add_gate_report(backend: Backend, ref: ArtifactRef, check: str, report: dict[str, Any]) -> None:
    """Append ``report`` as the newest of ``check``; nothing happens if the newest already says the same.

    Raises:
        InvalidName: ``check`` is not one plain path segment.
        ValueError: ``report`` holds NaN or an infinity.
    """
    check_name("check", check)
    number = _newest(backend, ref).get(check, 0)
    while number == 0 or _read(backend, ref, check, number) != _document(ref, check, number, report):
        number += 1
        try:
            backend.create(_key(ref, check, number), seal(_document(ref, check, number, report)))
        except ObjectExists:
            # Our own write whose acknowledgement was lost, or another writer's: the loop looks and tells.
            continue
        return


def gate_reports(backend: Backend, ref: ArtifactRef) -> dict[str, dict[str, Any]]:
    """The newest report of every check, by check name.

    Raises:
        CorruptArtifact: A report was altered, moved, or does not belong there.
    """
    newest = _newest(backend, ref)
    return {check: _read(backend, ref, check, number)["report"] for check, number in sorted(newest.items())}


def _newest(backend: Backend, ref: ArtifactRef) -> dict[str, int]:
    newest: dict[str, int] = {}
    for key in backend.list(ref.gates_prefix):
        match = _KEY.fullmatch(key.removeprefix(ref.gates_prefix))
        if match is None:
            raise CorruptArtifact(key, "a foreign object", "<check>/<number>.json", str(ref))
        newest[match["check"]] = int(match["number"])  # keys are sorted, so the last one is the newest
    return newest


def _read(backend: Backend, ref: ArtifactRef, check: str, number: int) -> dict[str, Any]:
    key = _key(ref, check, number)
    try:
        document = unseal(backend.read(key), file=key, schema_version=REPORT_SCHEMA)
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
