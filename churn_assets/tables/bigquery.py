"""BigQuery, read and written by Google's own client, which gives Arrow page by page. Who does is in the environment."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from os import SEEK_END
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from churn_assets.store.canonical import canonical_json, sha256_bytes
from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.database import ROWS, Database, QueryError, wave_exists
from churn_assets.tables.raw import no_meaning

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_CHUNK = 100_000
_WITHOUT_MEANING = {"BYTES", "GEOGRAPHY", "INTERVAL", "JSON", "RANGE", "RECORD", "STRUCT", "TIME"}
PATIENCE = 60.0
"""Seconds for which a request that fails is repeated."""


class BigqueryProject(Database):
    """The tables that a project's account can query and load; see `Database`."""

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
        from google.cloud.bigquery import QueryJobConfig

        patient: dict[str, Any] = {"retry": self._patient, "job_retry": None}
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

    def append(self, table: str, wave: str, rows: pa.RecordBatchReader) -> None:
        """As of `Database`, by a load job: all rows or none. Its id is made of table and wave, and taken once only."""
        from google.cloud.bigquery import DatasetReference

        *project, dataset, name = ["", *table.split(".")][-3:]
        if not dataset:
            raise QueryError("a table without its dataset", "dataset.table", "name both")
        place = DatasetReference("".join(project) or self._project, dataset)
        first = f"churn-wave-{sha256_bytes(canonical_json([place.project, dataset, name, wave]))[:32]}"
        with self._client() as client, TemporaryFile() as file:
            location = client.get_dataset(place).location
            with pq.ParquetWriter(file, rows.schema) as writer:
                for each in rows:
                    writer.write_batch(each)
            looked, own = self._looked_for(client, table, wave), secrets.token_hex(8)
            for attempt in count():
                made = self._load(client, place.table(name), file, f"{first}-{attempt}", location, own)
                if made.labels.get("writer") == own:
                    made.result(retry=self._patient)
                    return
                if made.state != "DONE" or (made.error_result is None and made.ended >= looked):
                    raise wave_exists(wave)

    def _load(self, client: Client, target: Any, file: IO[bytes], job: str, location: str, own: str) -> Any:
        """The load job of this id: ours, or the one that had it before."""
        from google.api_core.exceptions import Conflict
        from google.cloud.bigquery import LoadJobConfig

        config = LoadJobConfig(
            source_format="PARQUET", write_disposition="WRITE_APPEND", labels={"writer": own}
        )
        places: dict[str, Any] = {"job_id": job, "location": location, "job_config": config}
        try:
            return client.load_table_from_file(
                file, target, rewind=True, size=file.seek(0, SEEK_END), **places
            )
        except Conflict:  # another writer, or our own request whose answer was lost
            return client.get_job(job, location=location)

    def _looked_for(self, client: Client, table: str, wave: str) -> datetime:
        """When it was looked for rows of a wave, by the server's clock; QueryError where there are some."""
        from google.api_core.exceptions import NotFound
        from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

        config = QueryJobConfig(query_parameters=[ScalarQueryParameter("wave", "STRING", wave)])
        query = f"select 1 from {self.quoted(table)} where wave = @wave limit 1"
        job = client.query(query, config, retry=self._patient, job_retry=None)
        try:
            found = job.result(retry=self._patient).total_rows
        except NotFound:  # the table is made by the first wave
            found = 0
        if found:
            raise wave_exists(wave)
        looked: datetime = job.created
        return looked

    @property
    def _project(self) -> str:
        return self.location.partition("://")[2]

    @property
    def _patient(self) -> Any:
        from google.cloud.bigquery import DEFAULT_RETRY

        return DEFAULT_RETRY.with_timeout(PATIENCE)

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
            with bigquery.Client(self._project, credentials=anybody) as client:
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
