"""A table file that is written, whole or not at all, in parts as they come. Decides nothing about its content."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = (".csv", ".parquet")
_MODE = 0o640
"""Customers stand in it: its owner and their group read it."""


def _has_blanks(table: Any, kind: Any) -> bool:
    """Whether columns of a kind of whole numbers have any."""
    import pyarrow as pa

    return pa.types.is_integer(kind) and any(each.null_count for each in table.columns if each.type == kind)


class TableFile:
    """A CSV or Parquet file by its suffix; it has its name once all parts are in it.

    Texts that a spreadsheet would run as a formula are marked in a CSV, see `tables.spreadsheets`.

    Raises:
        TableError: The suffix is another.
    """

    def __init__(self, path: Path) -> None:
        self._suffix = path.suffix.lower()
        if self._suffix not in _SUFFIXES:
            from churn_assets.tables.problems import TableError

            raise TableError(f"{path}: found suffix {path.suffix!r}, expected {' or '.join(_SUFFIXES)}")
        self._path = path
        self._draft = path.with_name(f".{path.name}.part")
        self._parts = 0
        self._parquet: Any = None

    def write(self, part: pd.DataFrame) -> None:
        """Add rows; all parts have the columns of the first. An empty part behind another adds nothing."""
        if part.empty and self._parts:
            return
        if not self._parts:
            self._draft.unlink(missing_ok=True)
            self._draft.touch(0o600)
        if self._suffix == ".csv":
            from churn_assets.tables.spreadsheets import marked

            mode, header = ("w", True) if not self._parts else ("a", False)
            marked(part).to_csv(self._draft, index=False, mode=mode, header=header)
        else:
            self._write_parquet(part)
        self._parts += not part.empty or self._suffix == ".csv"

    def write_columns(self, part: Any) -> None:
        """As `write`, of an Arrow table: whole numbers with blanks stay whole."""
        import pandas as pd
        import pyarrow.parquet as pq

        if self._suffix == ".csv":
            whole = {each: pd.Int64Dtype() for each in part.schema.types if _has_blanks(part, each)}
            self.write(part.to_pandas(types_mapper=whole.get))
            return
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._draft, part.schema)
        self._parquet.write_table(part.cast(self._parquet.schema))
        self._parts += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._parquet is not None:
            self._parquet.close()
        if kind is None and self._draft.exists():
            self._draft.chmod(_MODE)
            self._draft.replace(self._path)
        else:
            self._draft.unlink(missing_ok=True)

    def _write_parquet(self, part: pd.DataFrame) -> None:
        """The types are those of the first part with rows: an empty one knows none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._parts == 0:
            if self._parquet is not None:
                self._parquet.close()
            self._parquet = pq.ParquetWriter(self._draft, pa.Schema.from_pandas(part, preserve_index=False))
        self._parquet.write_table(
            pa.Table.from_pandas(part, schema=self._parquet.schema, preserve_index=False)
        )
