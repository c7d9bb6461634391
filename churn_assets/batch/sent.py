"""What an earlier wave sent: a table that `decide --messages` wrote. Sends nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.batch.job import PART_ROWS
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.raw import plain_values
from churn_assets.tables.source import read_source_chunks
from churn_assets.tables.values import id_texts

if TYPE_CHECKING:
    from churn_assets.customers.config import CustomersConfig

MESSAGE = "message"


def sent_before(source: str, root: Path, customers: CustomersConfig) -> dict[str, tuple[str, ...]]:
    """Texts by customer id; blank ones apart.

    Args:
        source: CSV or Parquet, a path or gs://bucket/name.
        root: Where relative places begin.
        customers: How tables are read, and the column of the id.

    Raises:
        TableError: It cannot be read, or has not the columns of the id and `message`.
    """
    problems = Problems(source, TableError)
    found: dict[str, tuple[str, ...]] = {}
    for raw in read_source_chunks(source, root, problems, customers.reading, (), PART_ROWS):
        name = customers.id if customers.id in raw.columns else "customer_id"
        missing = [each for each in (name, MESSAGE) if each not in raw.columns]
        if missing:
            raise TableError(
                f"{source}: found no column {missing[0]!r}, expected the id and {MESSAGE!r}, as decide --messages "
                "writes them"
            )
        texts = plain_values(raw.columns[MESSAGE]).to_pylist()
        for customer, text in zip(id_texts(raw, name), texts, strict=True):
            if text and str(text).strip():
                found[str(customer)] = (*found.get(str(customer), ()), str(text))
    return found
