"""Files of `customers`: the validated rows as Parquet, schema and provenance as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, JsonValue

from churn_assets.customers.schema import CHURNED, FOLD, ID, ROW_DATE, CustomerSchema
from churn_assets.customers.table import CustomerTable, CustomerTableError, TableSource, prepare
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import ArtifactFormat, read_json, read_parquet, write_json, write_parquet

ROWS, DESCRIPTION = "customers.parquet", "schema.json"


class _Description(BaseModel, frozen=True, extra="forbid"):
    schema_: CustomerSchema
    source: TableSource | None


class CustomersFormat(ArtifactFormat[CustomerTable]):
    """Rows are validated again when they are read: a table that loads is a valid table."""

    loader: ClassVar[str] = "customers/1"
    packages: ClassVar[tuple[str, ...]] = ("pandas", "pyarrow")

    def save(self, value: CustomerTable, folder: Path) -> None:
        """Writes the two files."""
        described = _Description(schema_=value.schema, source=value.source)
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)
        write_parquet(value.rows.frame, folder / ROWS)

    def load(self, folder: Path) -> CustomerTable:
        """Reads and validates; CorruptArtifact where the rows are not what the schema says."""
        try:
            described = _Description.model_validate(read_json(folder / DESCRIPTION))
        except ValueError as error:
            raise CorruptArtifact(DESCRIPTION, f"{error}", "schema and source of a customer table") from error
        frame = read_parquet(folder / ROWS)
        try:
            same = _as_validated(frame, described.schema_)
        except CustomerTableError as error:
            told = f"rows that do not fit the schema ({error})"
            raise CorruptArtifact(ROWS, told, "validated customers") from error
        if not same:
            raise CorruptArtifact(ROWS, "other columns or types, or another split", "those of the schema")
        return CustomerTable.of_rows(frame, described.schema_, described.source)

    def signature(self, value: CustomerTable) -> dict[str, JsonValue]:
        """Columns with their types, in order, and the roles of the schema."""
        schema = value.schema
        return {
            "columns": [
                {"name": str(name), "type": str(dtype)} for name, dtype in value.rows.frame.dtypes.items()
            ],
            "roles": {"monthly_revenue": schema.monthly_revenue, "tenure": schema.tenure},
            "label_window_months": schema.label_window_months,
        }


def _as_validated(frame: pd.DataFrame, schema: CustomerSchema) -> bool:
    """Whether rows are what reading them again gives; CustomerTableError where they cannot be read."""
    panel = [ROW_DATE] if schema.row_date else []
    if sorted(frame.columns) != sorted([ID, CHURNED, FOLD, *panel, *schema.names, *schema.group_columns]):
        return False
    labels = frame[CHURNED]
    theirs = {ID: schema.id} | ({ROW_DATE: schema.row_date} if schema.row_date else {})
    raw = frame.drop(columns=[CHURNED, FOLD]).rename(columns=theirs)
    again = prepare(raw, schema, where=ROWS).rows.frame
    known = labels.dropna() if panel else labels
    typed_so = labels.dtype == (np.float64 if panel else np.int8)
    return bool(typed_so and known.isin([0, 1]).all() and again.equals(frame[list(again.columns)]))


CUSTOMERS = CustomersFormat()
