"""BigQuery as a source: Google's own client, which gives Arrow page by page. Who reads is in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.database import ROWS, Database, QueryError
from churn_assets.tables.raw import no_meaning

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_CHUNK = 100_000
_WITHOUT_MEANING = {"BYTES", "GEOGRAPHY", "INTERVAL", "JSON", "RANGE", "RECORD", "STRUCT", "TIME"}
PATIENCE = 60.0
"""Seconds for which a request that fails is repeated."""


class BigqueryProject(Database):
    """The tables that a project's account can query; see `Database`. Nothing is written there."""

    form: ClassVar[re.Pattern[str]] = re.compile(r"bigquery://[\w.:-]+")
    expected: ClassVar[str] = (
        "bigquery://project; who reads is read from the environment: GOOGLE_APPLICATION_CREDENTIALS, or the machine's "
        "service account"
    )
    client: ClassVar[str] = "google.cloud.bigquery"
    checksum: ClassVar[str] = (
        f"cast(sum(cast(farm_fingerprint(to_json_string({ROWS})) as bignumeric)) as string)"
    )

    def quoted(self, name: str) -> str:
        """As of `Database`; BigQuery has backticks."""
        return ".".join(f"`{part}`" for part in name.replace("`", "").split("."))

    def fetch(self, query: str) -> pa.Table:
        from google.cloud.bigquery import DEFAULT_RETRY, QueryJobConfig

        patient: dict[str, Any] = {"retry": DEFAULT_RETRY.with_timeout(PATIENCE), "job_retry": None}
        with self._client() as client:
            # Costs nothing, runs nothing, and says what kind of statement it would be.
            planned = client.query(query, QueryJobConfig(dry_run=True, use_query_cache=False), **patient)
            if planned.statement_type != "SELECT":
                raise QueryError(f"a statement of type {planned.statement_type}", "one SELECT")
            found = client.query(query, **patient).result(page_size=_CHUNK, **patient)
            table = found.to_arrow(create_bqstorage_client=False)
        strange = {
            each.name: f"{each.field_type}{'[]' if each.mode == 'REPEATED' else ''}"
            for each in found.schema
            if each.field_type in _WITHOUT_MEANING or each.mode == "REPEATED"
        }
        fields = [
            no_meaning(each, strange[each.name]) if each.name in strange else each for each in table.schema
        ]
        return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))

    def tables(self) -> list[str]:
        with self._client() as client:
            found = [
                each for place in client.list_datasets() for each in client.list_tables(place.dataset_id)
            ]
        return [f"{each.dataset_id}.{each.table_id}" for each in found]

    def append(self, table: str, wave: str, rows: pa.Table) -> None:  # noqa: ARG002 - as of all
        raise QueryError(
            "a table of BigQuery to write to",
            "one of PostgreSQL or DuckDB",
            "write a Parquet file (--out) and load it: `bq load --source_format=PARQUET`",
        )

    @contextmanager
    def _client(self) -> Iterator[Client]:
        from google.api_core import exceptions as api
        from google.auth import exceptions as auth
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery
        from requests import RequestException

        emulated = os.environ.get("BIGQUERY_EMULATOR_HOST")
        anybody = AnonymousCredentials() if emulated else None  # type: ignore[no-untyped-call]
        try:
            with bigquery.Client(self.location.partition("://")[2], credentials=anybody) as client:
                yield client
        except (api.Forbidden, api.Unauthorized, auth.DefaultCredentialsError, auth.RefreshError) as error:
            raise DatabaseRefused(f"{self.location}: {_first_line(error)}") from None
        except api.NotFound as error:
            raise QueryError(
                f"no such table ({_first_line(error)})", "one that is there", missing=True
            ) from None
        except api.BadRequest as error:
            expected = "one SELECT that the database can answer, and columns that are there"
            raise QueryError(_first_line(error), expected) from None
        except (api.GoogleAPIError, auth.GoogleAuthError, RequestException, ConnectionError) as error:
            raise DatabaseUnreachable(f"{self.location}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """What was said, without values that it may quote."""
    line = str(getattr(error, "message", None) or error).partition("\n")[0]
    return re.sub(r"Bad \w+ value: .*", "a value that cannot be converted", line)
