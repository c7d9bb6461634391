"""Whether a file holds a customer's id, whatever form it is stored in. Changes nothing."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from churn_assets.customers.names import A_NUMBER

_STEP = 1 << 20
_PARQUET = b"PAR1"


def holds(path: Path, ids: Iterable[str]) -> bool:
    """Whether one of these ids stands in a file: in its bytes, or, of a Parquet file, in a text of it.

    Text in another language stands in JSON by escapes: these are searched for too. A part of a longer word is no id;
    few digits, which may be any number, are one between quotation marks alone.

    Args:
        path: Of any file.
        ids: Ids, each of at least one character.

    Raises:
        OSError: It cannot be read.
    """
    wanted = sorted({form for each in ids for form in _forms(each)}, key=len)
    if not wanted:
        return False
    with path.open("rb") as stream:
        if stream.read(4) == _PARQUET:
            return _in_table(path, set(ids), wanted)
        stream.seek(0)
        rest, over = b"", False
        while not over:
            chunk = stream.read(_STEP)
            data, over = rest + chunk, len(chunk) < _STEP
            # What follows a find at the end is known with the next piece.
            if any(over or found.end() < len(data) for found in _finds(data, wanted, min(len(rest), 1))):
                return True
            rest = data[-len(wanted[-1]) - 3 :]
    return False


def spellings(name: str) -> set[str]:
    """Other spellings of an id: what a person or a system writes for the same one."""
    seen = "".join(each for each in name if unicodedata.category(each) != "Cf").strip()
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC") for text in (name, seen)}
    return {text for each in forms for text in (each, each.lower(), each.upper()) if text} - {name}


def _finds(data: bytes, wanted: Iterable[bytes], start: int = 0) -> Iterable[re.Match[bytes]]:
    there = b"|".join(_whole(each) for each in wanted if each in data)  # a pattern of all is slow
    return re.compile(there).finditer(data, start) if there else ()


def _whole(form: bytes) -> bytes:
    quoted = re.escape(form)
    if form.isdigit() and len(form) < A_NUMBER:
        return b'"' + quoted + b'"'
    point = b"." if form.isdigit() else b""
    return b"(?<![0-9A-Za-z" + point + b"])" + quoted + b"(?![0-9A-Za-z" + point + b"])"


def _forms(name: str) -> set[bytes]:
    return {name.encode(), json.dumps(name)[1:-1].encode()}


def _in_table(path: Path, ids: set[str], wanted: Iterable[bytes]) -> bool:
    """Texts alone are read: an id is one of them, whatever its column, or stands within one, as in a message."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False) as parquet:
        texts = [each.name for each in parquet.schema_arrow if _is_text(each.type)]
        for batch in parquet.iter_batches(columns=texts) if texts else ():
            for column in batch.columns:
                there = pc.unique(column.cast(pa.string())).drop_null().to_pylist()
                if not ids.isdisjoint(there) or any(_finds("\n".join(there).encode(), wanted)):
                    return True
    return False


def _is_text(kind: object) -> bool:
    import pyarrow as pa

    plain = getattr(kind, "value_type", kind)  # of a dictionary
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))
