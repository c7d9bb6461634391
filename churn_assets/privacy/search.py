"""Whether a file holds a customer's id, whatever form it is stored in. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

_STEP = 1 << 20
_PARQUET = b"PAR1"


def holds(path: Path, ids: Iterable[str]) -> bool:
    """Whether one of these ids stands in a file: in its bytes, or, of a Parquet file, in a value of it.

    Text in another language stands in JSON by escapes: these are searched for too.

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
            return _in_table(path, set(ids))
        stream.seek(0)
        rest = b""
        while chunk := stream.read(_STEP):
            data = rest + chunk
            if any(each in data for each in wanted):
                return True
            rest = data[-len(wanted[-1]) :]
    return False


def _forms(name: str) -> set[bytes]:
    return {name.encode(), json.dumps(name)[1:-1].encode()}


def _in_table(path: Path, ids: set[str]) -> bool:
    """Texts alone are read: an id is one, whatever column it stands in."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=False) as parquet:
        texts = [each.name for each in parquet.schema_arrow if _is_text(each.type)]
        for batch in parquet.iter_batches(columns=texts) if texts else ():
            for column in batch.columns:
                if pc.any(pc.is_in(column.cast(pa.string()), value_set=pa.array(sorted(ids)))).as_py():
                    return True
    return False


def _is_text(kind: object) -> bool:
    import pyarrow as pa

    plain = getattr(kind, "value_type", kind)  # of a dictionary
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))
