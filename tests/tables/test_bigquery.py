"""What is asked of BigQuery and what is made of its answers, against a local server that answers as its REST pages say.

No BigQuery was ever asked: the server here plans nothing and knows no SQL.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from churn_assets.cli.waves import wave_table
from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.config import DatabaseTable, FileReading
from churn_assets.tables.database import QueryError, read_database
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.source import source_content

FIELDS = {
    "id": "STRING",
    "fee": "NUMERIC",
    "months": "INTEGER",
    "left": "BOOLEAN",
    "seen": "TIMESTAMP",
    "day": "DATE",
}
ROWS = [["b", "2.50", "3", "true", "1767605400000000", "2026-01-05"], ["a", None, "12", "false", None, None]]


class BigqueryPages:
    """A server with one result; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict]] = []
        self.statement, self.fields, self.rows = "SELECT", dict(FIELDS), ROWS
        self.error: tuple[int, str, str] | None = None
        self.files: list[pa.Table] = []
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}"
                kind = self.headers["Content-Type"] or ""
                if kind.startswith("multipart/related"):  # the job, and behind it the file that it loads
                    mark = kind.partition("boundary=")[2].strip("'\"").encode()
                    job, file = (part.partition(b"\r\n\r\n")[2] for part in data.split(b"--" + mark)[1:3])
                    pages.files.append(pq.read_table(pa.BufferReader(file.removesuffix(b"\r\n"))))
                    data = job
                self._answer("POST", json.loads(data))

            def do_GET(self) -> None:
                self._answer("GET", {})

            def _answer(self, method: str, sent: dict) -> None:
                pages.asked.append((method, self.path, sent))
                code, body = pages.answer(self.path, sent)
                data = json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def schema(self) -> dict:
        kinds = {name: (kind.removesuffix("[]"), kind.endswith("[]")) for name, kind in self.fields.items()}
        modes = {True: "REPEATED", False: "NULLABLE"}
        return {"fields": [{"name": n, "type": k, "mode": modes[many]} for n, (k, many) in kinds.items()]}

    def answer(self, path: str, sent: dict) -> tuple[int, dict]:
        if self.error is not None:
            code, reason, message = self.error
            told = {"reason": reason, "message": message}
            return code, {"error": {"code": code, "message": message, "errors": [told]}}
        planned = bool(sent.get("configuration", {}).get("dryRun"))
        job = {"projectId": "shop", "jobId": "j", "location": "EU"}
        if "/queries/" in path or "/data" in path:
            rows = [{"f": [{"v": value} for value in row]} for row in self.rows]
            body = {
                "jobComplete": True,
                "jobReference": job,
                "schema": self.schema,
                "totalRows": str(len(rows)),
            }
            return 200, body | ({} if "maxResults=0" in path else {"rows": rows})
        table = {"projectId": "shop", "datasetId": "d", "tableId": "t"}
        query = sent.get("configuration", {}).get("query", {}) | {"destinationTable": table}
        return 200, {
            "jobReference": job,
            "configuration": {"query": query, "dryRun": planned, "jobType": "QUERY"},
            "status": {"state": "DONE"},
            "statistics": {"query": {"statementType": self.statement, "schema": self.schema}},
        }


class BigqueryTable(BigqueryPages):
    """The same with a table that load jobs append to; an id of a job is taken once, and jobs tell who made them."""

    def __init__(self) -> None:
        super().__init__()
        self.table: list[pa.Table] = []
        self.jobs: dict[str, dict] = {}
        self.clock = 1_767_605_400_000
        self.fails, self.loses_answers, self.hides = False, 0, False

    def answer(self, path: str, sent: dict) -> tuple[int, dict]:
        self.clock += 1
        if path.endswith("/datasets/crm?prettyPrint=false"):
            reference = {"projectId": "shop", "datasetId": "crm"}
            return 200, {"datasetReference": reference, "location": "EU"}
        if "load" in sent.get("configuration", {}):
            return self._load(sent)
        name = path.partition("/jobs/")[2].partition("?")[0]
        if name in self.jobs:
            return 200, self.jobs[name]
        query = sent.get("configuration", {}).get("query", {})
        if "@wave" in query.get("query", ""):
            wave = query["queryParameters"][0]["parameterValue"]["value"]
            there = any(wave in each["wave"].to_pylist() for each in self.table) and not self.hides
            self.fields, self.rows = {"n": "INTEGER"}, [["1"]] if there else []
        code, found = super().answer(path, sent)
        if "@wave" in query.get("query", "") and not self.table:
            found["status"]["errorResult"] = {
                "reason": "notFound",
                "message": "Not found: Table shop:crm.decided",
            }
        found.setdefault("statistics", {})["creationTime"] = str(self.clock)
        return code, found

    def _load(self, sent: dict) -> tuple[int, dict]:
        name = sent["jobReference"]["jobId"]
        if name in self.jobs:
            told = {"reason": "duplicate", "message": f"Already Exists: Job {name}"}
            return 409, {"error": {"code": 409, "message": told["message"], "errors": [told]}}
        status: dict = {"state": "DONE"}
        if self.fails:
            status["errorResult"] = {"reason": "invalid", "message": "Provided Schema does not match"}
        else:
            self.table.append(self.files[-1])
        times = {"creationTime": str(self.clock), "startTime": str(self.clock), "endTime": str(self.clock)}
        self.jobs[name] = sent | {"status": status, "statistics": times | {"load": {}}}
        if self.loses_answers:
            self.loses_answers -= 1
            return 503, {"error": {"code": 503, "message": "try again", "errors": []}}
        return 200, self.jobs[name]


@pytest.fixture
def warehouse(monkeypatch):
    server = BigqueryTable()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    yield server
    server.close()


def write(wave: str, rows: int = 3) -> None:
    frame = pd.DataFrame({"customer_id": [f"{row:03}" for row in range(rows)], "risk": 0.5, "reasons": None})
    wave_table("bigquery://shop", "crm.decided", wave).write(
        frame.assign(decided_at="2026-01-05T09:00:00+00:00")
    )


def test_a_wave_is_loaded_once_with_its_types(warehouse):
    write("2026-01")
    write("2026-02", rows=5)
    assert [(each.num_rows, set(each["wave"].to_pylist())) for each in warehouse.table] == [
        (3, {"2026-01"}),
        (5, {"2026-02"}),
    ]
    kinds = {field.name: str(field.type) for field in warehouse.table[0].schema}
    assert kinds == {
        "wave": "string",
        "customer_id": "string",
        "risk": "double",
        "reasons": "string",
        "decided_at": "timestamp[us, tz=UTC]",
    }
    asked = next(body["configuration"]["load"] for _, path, body in warehouse.asked if "/upload/" in path)
    assert (asked["sourceFormat"], asked["writeDisposition"]) == ("PARQUET", "WRITE_APPEND")
    with pytest.raises(QueryError, match=r"found rows of wave '2026-01' in .*: crm\.decided"):
        write("2026-01")
    assert len(warehouse.table) == 2


def test_of_two_writers_who_both_saw_no_rows_one_writes(warehouse):
    write("2026-01")
    warehouse.hides, warehouse.clock = True, warehouse.clock - 1_000  # as if they had looked before
    with pytest.raises(QueryError, match="found rows of wave '2026-01'"):
        write("2026-01")
    assert len(warehouse.table) == 1


def test_a_wave_whose_rows_were_deleted_or_refused_can_be_written_again(warehouse):
    warehouse.fails = True
    with pytest.raises(
        QueryError, match=r"Provided Schema does not match .*expected a table that takes wave, customer_id"
    ):
        write("2026-01")
    warehouse.fails = False
    write("2026-01")
    warehouse.table.clear()
    write("2026-01")
    assert len(warehouse.table) == 1
    assert sorted(name[-2:] for name in warehouse.jobs) == ["-0", "-1", "-2"]


def test_a_table_without_its_dataset_is_refused(warehouse):
    with pytest.raises(QueryError, match=r"found a table without its dataset in .*expected dataset\.table"):
        wave_table("bigquery://shop", "decided", "a").write(pd.DataFrame({"risk": [0.5]}))
    assert not warehouse.asked


def test_a_lost_answer_is_no_other_writer(warehouse):
    warehouse.loses_answers = 1
    write("2026-01")
    assert len(warehouse.table) == 1


@pytest.fixture
def pages(monkeypatch):
    server = BigqueryPages()
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", server.url)
    yield server
    server.close()


def read(tmp_path, **place):
    source = DatabaseTable(database="bigquery://shop", **(place or {"table": "crm.people"}))
    return read_database(source, tmp_path, Problems(str(source)), FileReading(), ["id"])


def sent(pages):
    return [
        body["configuration"] for method, path, body in pages.asked if method == "POST" and "jobs" in path
    ]


def test_a_query_is_planned_first_and_read_by_the_types_of_its_columns(pages, tmp_path):
    found = read(tmp_path).frame()
    planned, asked = sent(pages)
    assert planned["dryRun"] is True
    assert not asked.get("dryRun")
    assert [each["query"]["query"] for each in (planned, asked)] == ["select * from `crm`.`people`"] * 2
    assert all(each["query"]["useLegacySql"] is False for each in (planned, asked))
    assert found["id"].tolist() == ["a", "b"]
    assert [str(each) for each in found["fee"]] == ["None", "2.500000000"]
    assert found["months"].tolist() == [12, 3]
    assert found["left"].tolist() == [False, True]
    assert str(found["seen"][1]) == "2026-01-05 09:30:00+00:00"


def test_a_statement_that_is_no_select_is_planned_and_never_run(pages, tmp_path):
    pages.statement = "SCRIPT"
    with pytest.raises(TableError, match="found a statement of type SCRIPT, expected one SELECT"):
        read(tmp_path, query="select 1; drop table x")
    assert [each["dryRun"] for each in sent(pages)] == [True]


def test_types_that_mean_nothing_here_are_marked(pages, tmp_path):
    pages.fields = {"id": "STRING", "note": "JSON", "tags": "STRING[]", "blob": "BYTES"}
    pages.rows = [["a", "{}", [{"v": "x"}], "AA=="]]
    assert read(tmp_path).no_meaning == {"note": "JSON", "tags": "STRING[]", "blob": "BYTES"}


def test_what_is_noticed_is_a_checksum_or_the_watermark(pages, tmp_path):
    pages.fields, pages.rows = {"n": "INTEGER", "mark": "STRING"}, [["3", "17"]]
    first = source_content(DatabaseTable(database="bigquery://shop", table="crm.people"), tmp_path)
    assert "farm_fingerprint(to_json_string(churn_rows))" in sent(pages)[-1]["query"]["query"]
    pages.fields, pages.rows = {"n": "INTEGER", "mark": "TIMESTAMP"}, [["3", "1767605400000000"]]
    place = {"database": "bigquery://shop", "table": "crm.people", "watermark": "updated_at"}
    second = source_content(DatabaseTable(**place), tmp_path)
    assert "max(churn_rows.`updated_at`)" in sent(pages)[-1]["query"]["query"]
    assert first != second


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        ((404, "notFound", "Not found: Table shop:crm.people"), TableError, "no such table"),
        ((400, "invalidQuery", "Unrecognized name: nope at [1:8]"), TableError, "Unrecognized name: nope"),
        ((400, "invalidQuery", "Bad int64 value: C-4711"), TableError, "a value that cannot be converted"),
        ((403, "accessDenied", "Access Denied: Table shop:crm.people"), DatabaseRefused, "Access Denied"),
    ],
)
def test_what_bigquery_refuses_is_told_by_its_kind(pages, tmp_path, error, kind, told):
    pages.error = error
    with pytest.raises(kind, match=told) as refused:
        read(tmp_path)
    assert "4711" not in str(refused.value)


def test_a_project_that_does_not_answer_is_unreachable(tmp_path, monkeypatch):
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")
    monkeypatch.setattr("churn_assets.tables.bigquery.PATIENCE", 0.5)
    with pytest.raises(DatabaseUnreachable, match="bigquery://shop"):
        read(tmp_path)


def test_without_credentials_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(DatabaseRefused, match=r"nowhere\.json"):
        read(tmp_path)
