"""Tables of databases read as files of the same content do; nothing of who reads is ever shown, and nobody writes."""

import datetime as dt
import decimal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from duckdb_shop import Duck
from postgresql_server import PostgresServer
from pydantic import ValidationError

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, read_customers
from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.config import DatabaseTable, FileReading
from churn_assets.tables.database import QueryError, read_database
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.source import digest_of_rows, source_content

ROWS = 60


def people() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    fee = rng.uniform(5, 90, ROWS).round(2)
    return pd.DataFrame(
        {
            "id": [f"{number:05}" for number in rng.permutation(90_000)[:ROWS]],
            "fee": fee,
            "months": rng.integers(0, 70, ROWS),
            "plan": rng.choice(["basic", "plus", "pro max, é"], ROWS),
            "calls": [None if number > 8 else float(number) for number in rng.integers(0, 10, ROWS)],
            "left": rng.permutation(np.where(np.arange(ROWS) % 3 == 0, "Yes", "No")),
        }
    )


CONFIG = CustomersConfig(
    id="id",
    label={"column": "left", "positive": "Yes", "window_months": 3},
    monthly_revenue="fee",
    tenure="months",
)


@pytest.fixture(params=["postgresql", "duckdb"])
def shop(request, tmp_path):
    return request.getfixturevalue("postgresql") if request.param == "postgresql" else Duck(tmp_path)


def read(shop, root, config=CONFIG, **place):
    source = DatabaseTable(database=shop.location(), **(place or {"table": "people"}))
    return read_customers(config.model_copy(update={"source": source}), seed=1, root=root)


def raw(shop, root, **place):
    source = DatabaseTable(database=shop.location(), **place)
    return read_database(source, root, Problems(str(source)), FileReading(), ())


def refusal(shop, root, **place) -> str:
    with pytest.raises(TableError) as refused:
        raw(shop, root, **place)
    return str(refused.value)


def test_a_table_reads_as_its_csv_and_its_parquet_do(shop, tmp_path):
    frame = people()
    frame.sort_values("id").to_csv(tmp_path / "people.csv", index=False)
    frame.sort_values("id").to_parquet(tmp_path / "people.parquet", index=False)
    shop.put("people", pa.Table.from_pandas(frame.sample(frac=1, random_state=2), preserve_index=False))
    found = read(shop, tmp_path)
    for name in ("people.csv", "people.parquet"):
        twin = read_customers(CONFIG.model_copy(update={"source": name}), seed=1, root=tmp_path)
        pd.testing.assert_frame_equal(twin.frame, found.frame)
        assert twin.schema == found.schema
        assert digest_of_rows(twin.frame) == digest_of_rows(found.frame) == found.source.sha256


TYPED = {
    "postgresql": """select id::uuid as id, fee::numeric(12, 3) as fee, (n * 10)::int2 as months, n::real / 10 as calls,
        n::numeric * 1000000.5 as wide, (case n % 3 when 0 then 'plus' else 'basic' end)::varchar(8) as plan, n = 1 or
        n = 4 as left from (select md5(n::text) as id, 10.1 + n as fee, n from generate_series(1, 20) n) as made""",
    "duckdb": """select md5(n::text)::uuid as id, (10.1 + n)::decimal(12, 3) as fee, (n * 10)::utinyint as months,
        n::float / 10 as calls, n::decimal(20, 1) * 1000000.5 as wide, n = 1 or n = 4 as left,
        (case n % 3 when 0 then 'plus' else 'basic' end)::enum ('basic', 'plus') as plan from range(1, 21) made(n)""",
}


def test_every_type_that_means_something_reads_as_its_text_does(shop, tmp_path):
    query = TYPED["duckdb" if isinstance(shop, Duck) else "postgresql"]
    config = CONFIG.model_copy(update={"label": CONFIG.label.model_copy(update={"positive": True})})
    found = read(shop, tmp_path, config, query=query)
    rows = [
        {
            "id": str(each["id"]),
            "fee": f"{each['fee']}",
            "months": f"{each['months']}",
            "calls": f"{number / 10}",
            "wide": f"{each['wide']}",
            "plan": each["plan"],
            "left": str(each["left"]),
        }
        for each in raw(shop, tmp_path, query=query).frame().sort_values("fee").to_dict("records")
        for number in [round(float(each["fee"]) - 10.1)]
    ]
    pd.DataFrame(rows).sort_values("id").to_csv(tmp_path / "twin.csv", index=False)
    twin = read_customers(config.model_copy(update={"source": "twin.csv"}), seed=1, root=tmp_path)
    assert len(found) == 20
    assert digest_of_rows(found.frame) == digest_of_rows(twin.frame)
    assert {each.name: each.kind for each in found.schema.features}["wide"] == "numeric"


STRANGE = {
    "postgresql": {
        "json": "'{\"a\": 1}'::json",
        "jsonb": "'{\"a\": 1}'::jsonb",
        "int4[]": "array[1, 2]",
        "bytea": "'\\x00ff'::bytea",
        "money": "'5.50'::money",
        "interval": "'1 day'::interval",
        "time": "'10:00'::time",
        "inet": "'10.0.0.1'::inet",
        "xml": "'<a/>'::xml",
        "point": "point(1, 2)",
        "oid": "4000000000::oid",
    },
    "duckdb": {
        "JSON": "'{\"a\": 1}'::json",
        "INTEGER[]": "[1, 2]",
        "STRUCT(a INTEGER)": "{'a': 1}",
        "BLOB": "'ab'::blob",
        "INTERVAL": "interval 1 day",
        "TIME": "'10:00'::time",
        "BIT": "'101'::bit",
        "MAP(VARCHAR, INTEGER)": "map {'a': 1}",
    },
}


def test_types_that_mean_nothing_here_are_all_refused_by_their_names_and_can_be_left_out(shop, tmp_path):
    strange = STRANGE["duckdb" if isinstance(shop, Duck) else "postgresql"]
    columns = {f"c{place}": sql for place, sql in enumerate(strange.values())}
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    query = f"select *, {', '.join(f'{sql} as {name}' for name, sql in columns.items())} from people;"
    with pytest.raises(CustomerTableError) as refused:
        read(shop, tmp_path, query=query)
    told = {each.column: each for each in refused.value.problems}
    assert {name: told[name].found for name in columns} == {
        name: f"type {kind}" for name, kind in zip(columns, strange, strict=True)
    }
    assert all("cast" in each.remedy and f"exclude: ['{name}']" in each.remedy for name, each in told.items())
    config = CONFIG.model_copy(update={"exclude": tuple(columns)})
    assert len(read(shop, tmp_path, config, query=query)) == ROWS


@pytest.mark.parametrize("role", ["id", "left", "fee"])
def test_a_column_that_everything_needs_is_refused_by_its_type_too(shop, tmp_path, role):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    value = "'\\x00'::bytea" if not isinstance(shop, Duck) else "'ab'::blob"
    columns = [name if name != role else f"{value} as {name}" for name in ("id", "fee", "months", "left")]
    with pytest.raises(CustomerTableError, match=rf"column '{role}': found type (bytea|BLOB)"):
        read(shop, tmp_path, query=f"select {', '.join(columns)} from people".replace("left", '"left"'))


def test_rows_are_never_left_out_by_a_column_without_a_meaning(shop, tmp_path):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    value = "'\\x00'::bytea" if not isinstance(shop, Duck) else "'ab'::blob"
    config = CustomersConfig.model_validate(
        CONFIG.model_dump(exclude_unset=True)
        | {"rows": {"tests": {"column": "c", "one_of": ["x"]}}, "exclude": ["c"]}
    )
    with pytest.raises(CustomerTableError, match="column 'c': found type"):
        read(shop, tmp_path, config, query=f"select *, {value} as c from people")


def test_numbers_and_days_without_end_are_refused_by_line(shop, tmp_path):
    frame = people()
    shop.put("people", pa.Table.from_pandas(frame, preserve_index=False))
    first = frame["id"].min()
    infinite = "'infinity'::float8" if not isinstance(shop, Duck) else "'infinity'::double"
    query = f"""select id, fee, months, plan, "left", case when id = '{first}' then {infinite} else calls end as calls,
        case when id = '{first}' then 'infinity'::date else '2025-01-31'::date end as signed,
        case when id = '{first}' then 'infinity'::timestamptz else '2025-01-31'::timestamptz end as seen from people"""
    config = CONFIG.model_copy(update={"dates": ("signed", "seen"), "as_of": dt.date(2026, 1, 1)})
    with pytest.raises(CustomerTableError) as refused:
        read(shop, tmp_path, config, query=query)
    told = {each.column: (each.lines, each.found) for each in refused.value.problems}
    assert told == {"calls": ((2,), "inf"), "signed": ((2,), "'infinity'"), "seen": ((2,), "'infinity'")}


def test_numerics_keep_their_digits_whatever_there_are(postgresql, tmp_path):
    def of(sql):
        return raw(postgresql, tmp_path, query=sql).columns["n"].to_pylist()

    assert of("select n::numeric from (values (1.50), (-2), (null)) as t(n)") == [
        decimal.Decimal("-2.00"), decimal.Decimal("1.50"), None,
    ]  # fmt: skip
    assert of("select 12345678901234567890123456789012345.12::numeric as n") == [
        decimal.Decimal("12345678901234567890123456789012345.12")
    ]
    assert of("select 1e100::numeric as n") == [1e100]
    assert of("select n from (values ('infinity'::numeric), (1.5)) as t(n)") == [1.5, float("inf")]
    assert np.isnan(of("select 'NaN'::numeric as n")[0])


def test_a_wide_number_is_no_id_and_a_number_beyond_all_bounds_is_refused(postgresql, tmp_path):
    postgresql.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    with pytest.raises(CustomerTableError) as refused:
        read(
            postgresql,
            tmp_path,
            query='select 1e60 + months as id, fee, months, plan, 1e100 as calls, "left" from people',
        )
    told = {
        each.column: each.found for each in refused.value.problems if each.found != "an id of several lines"
    }
    assert told["id"] == "a rounded number"
    assert "1e+1" in told["calls"] or "too large" in told["calls"]


def test_the_order_that_a_database_keeps_rows_in_shapes_nothing(postgresql, tmp_path):
    postgresql.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    before = read(postgresql, tmp_path)
    postgresql.run("update people set plan = plan where months > 30")  # moves them to the end
    assert postgresql.ask("select id from people") != [(each,) for each in people()["id"]]
    after = read(postgresql, tmp_path)
    pd.testing.assert_frame_equal(before.frame, after.frame)


def test_lines_count_the_rows_by_their_id(shop, tmp_path):
    frame = people()
    frame.loc[7, "fee"] = -1.0
    shop.put("people", pa.Table.from_pandas(frame, preserve_index=False))
    place = sorted(frame["id"]).index(frame["id"][7])
    with pytest.raises(
        CustomerTableError, match=rf"people: column 'fee', line {place + 2}: found -1, expected"
    ):
        read(shop, tmp_path)


# What is wrong with a place or a query.


def test_a_table_that_is_not_there_is_told_with_the_nearest(shop, tmp_path):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    told = refusal(shop, tmp_path, table="peple")
    assert "peple: found no such table" in told
    assert "did you mean 'people'?" in told


QUERIES = {
    "two statements": "select 1 as a; select 2 as a",
    "a second statement that drops": "select 1 as a; drop table people",
    "a parenthesis too many": "select 1 as a) as t; drop table people; select * from (select 1 as a",
    "insert": "insert into people select * from people",
    "delete that returns": "delete from people returning *",
    "drop": "drop table people",
    "a with that writes": "with gone as (delete from people returning *) select * from gone",
    "nonsense": "selec 1",
    "nothing": ";",
    "no such column": "select nope from people",
    "another session": "set session characteristics as transaction read write",
    "copy to a file": "copy people to '/tmp/churn-copied'",
}


@pytest.mark.parametrize("what", QUERIES)
def test_whatever_is_not_one_select_is_refused_and_changes_nothing(shop, tmp_path, what):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    assert "expected one SELECT" in refusal(shop, tmp_path, query=QUERIES[what])
    assert shop.ask("select count(*) from people") == [(ROWS,)]
    assert not Path("/tmp/churn-copied").exists()


def test_a_comment_at_the_end_and_a_semicolon_do_no_harm(shop, tmp_path):
    assert len(raw(shop, tmp_path, query="select 1 as a -- one")) == 1
    assert len(raw(shop, tmp_path, query="select 1 as a;\n")) == 1


def test_a_name_that_stands_twice_is_refused(shop, tmp_path):
    assert "column 'a': found a name of several columns" in refusal(
        shop, tmp_path, query="select 1 as a, 2 as a"
    )


def test_a_value_that_cannot_be_cast_is_not_shown(shop, tmp_path):
    told = refusal(shop, tmp_path, query="select cast(x as int) as n from (select 'C-4711' as x) as t")
    assert "4711" not in told
    assert "expected one SELECT that the database can answer" in told


def test_a_value_that_cannot_be_cast_is_not_shown_when_it_comes_late_either(shop, tmp_path):
    made = "generate_series(1, 300000)" if not isinstance(shop, Duck) else "range(1, 300000)"
    text = "case when n = 299000 then 'C-4711' else n::text end"
    told = refusal(
        shop, tmp_path, query=f"select cast({text} as int) as n, md5(n::text) as m from {made} as made(n)"
    )
    assert "4711" not in told
    assert "expected one SELECT that the database can answer" in told


def test_a_type_that_the_driver_cannot_read_is_told(postgresql, tmp_path):
    assert "expected one SELECT that" in refusal(postgresql, tmp_path, query="select row(1, 2) as r")


def test_a_query_that_is_ended_is_unreachable(postgresql, tmp_path, monkeypatch):
    monkeypatch.setenv("PGOPTIONS", "-c statement_timeout=100")
    with pytest.raises(DatabaseUnreachable, match="statement timeout"):
        raw(postgresql, tmp_path, query="select pg_sleep(3)::text as s")


def test_settings_that_a_query_would_change_are_refused(postgresql, tmp_path):
    query = "select set_config('transaction_read_only', 'off', true) as s"
    assert "expected one SELECT that" in refusal(postgresql, tmp_path, query=query)


def test_a_wrong_password_is_refused_and_never_shown(postgresql, tmp_path, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "hunter2-wrong")
    with pytest.raises(DatabaseRefused) as refused:
        raw(postgresql, tmp_path, table="people")
    assert str(refused.value).endswith('password authentication failed for user "$PGUSER"')
    assert refused.value.__cause__ is None


def test_no_password_at_all_is_refused(postgresql, tmp_path, monkeypatch):
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(DatabaseRefused, match="no password supplied"):
        raw(postgresql, tmp_path, table="people")


def test_a_user_without_the_right_is_refused(postgresql, tmp_path, monkeypatch):
    postgresql.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    postgresql.run("drop role if exists reader", "create role reader login password 'r'")
    postgresql.run("grant usage on schema public to reader")
    monkeypatch.setenv("PGUSER", "reader")
    monkeypatch.setenv("PGPASSWORD", "r")
    with pytest.raises(DatabaseRefused, match="permission denied for table people"):
        raw(postgresql, tmp_path, table="people")
    postgresql.run("grant select on people to reader")
    assert len(raw(postgresql, tmp_path, table="people")) == ROWS


def test_a_server_or_a_host_that_is_not_there_is_unreachable(postgresql, tmp_path):
    for place in ("postgresql://127.0.0.1:1/shop", "postgresql://no-such-host.invalid/shop"):
        source = DatabaseTable(database=place, table="people")
        with pytest.raises(DatabaseUnreachable, match=place):
            source_content(source, tmp_path)


def test_a_database_that_is_not_there_is_named(postgresql, tmp_path):
    source = DatabaseTable(database=postgresql.location("nowhere"), table="people")
    with pytest.raises(TableError, match='database "nowhere" does not exist'):
        source_content(source, tmp_path)


def test_a_server_that_dies_while_rows_are_read_is_unreachable(tmp_path, monkeypatch):
    import threading

    server = PostgresServer()
    try:
        server.make()
        server.start()
        monkeypatch.setenv("PGUSER", "keeper")
        monkeypatch.setenv("PGPASSWORD", server.password)
        # One row in a tenth of a millisecond: longer than it takes to end the server.
        work = "select sum(m) from generate_series(1, 3000) m where m <> n"
        query = f"select n, ({work}) as s from generate_series(1, 900000) n"
        threading.Timer(1.5, server.kill).start()
        started = time.monotonic()
        with pytest.raises(DatabaseUnreachable, match="server closed the connection"):
            raw(server, tmp_path, query=query)
        assert time.monotonic() - started > 1
    finally:
        server.close()


def test_a_duckdb_file_that_is_none_or_not_there_is_told(tmp_path):
    (tmp_path / "text.duckdb").write_text("hello " * 1000)
    for name, told in (("text.duckdb", "no DuckDB file"), ("nowhere.duckdb", "no such file")):
        source = DatabaseTable(database=f"duckdb://{name}", table="people")
        with pytest.raises(TableError, match=rf"{name}: people: found {told}"):
            read_database(source, tmp_path, Problems(str(source)), FileReading(), ())


def test_a_duckdb_query_reads_no_other_file(tmp_path):
    shop = Duck(tmp_path)
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    (tmp_path / "other.csv").write_text("a\n1\n")
    told = refusal(shop, tmp_path, query=f"select * from read_csv('{tmp_path / 'other.csv'}')")
    assert "reads or writes another file" in told


def test_a_client_that_is_not_installed_is_told_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("churn_assets.tables.duckdb_file.DuckdbFile.client", "no_such_client")
    told = refusal(Duck(tmp_path), tmp_path, table="people")
    assert "no client of duckdb" in told
    assert ".[sql]" in told


def test_no_rows_are_told(shop, tmp_path):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    with pytest.raises(CustomerTableError, match="found no rows"):
        read(shop, tmp_path, query="select * from people where months < 0")


def test_what_means_nothing_is_handed_on_as_it_is(postgresql, tmp_path):
    columns = ", ".join(f"{sql} as c{place}" for place, sql in enumerate(STRANGE["postgresql"].values()))
    frame = raw(postgresql, tmp_path, query=f"select {columns}").frame()
    assert len(frame.columns) == len(STRANGE["postgresql"])
    assert frame["c0"][0] == '{"a": 1}'


# What the config says.

SECRET = "hunter2"


@pytest.mark.parametrize(
    "location",
    [
        f"postgresql://anna:{SECRET}@host/shop",
        f"postgresql://{SECRET}@host/shop",
        f"postgresql://host/shop?password={SECRET}",
        f"postgresql://host/shop?user=a&password={SECRET}",
        f"duckdb://x.duckdb?motherduck_token={SECRET}",
        f"bigquery://{SECRET}@project",
        f"mysql://anna:{SECRET}@host/shop",
        f"postgres://anna:{SECRET}@host/shop",
    ],
)
def test_credentials_in_a_location_are_refused_and_not_shown(location):
    with pytest.raises(ValidationError) as refused:
        DatabaseTable(database=location, table="people")
    (problem,) = refused.value.errors(include_url=False, include_input=False, include_context=False)
    assert SECRET not in problem["msg"]
    assert "expected" in problem["msg"]
    if not location.startswith("mysql"):
        with pytest.raises(ValidationError) as alone:
            CustomersConfig.model_validate(CONFIG.model_dump(exclude_unset=True) | {"source": location})
        (problem,) = alone.value.errors(include_url=False, include_input=False, include_context=False)
        assert SECRET not in problem["msg"]
        assert "database:" in problem["msg"]


def test_a_table_or_a_query_is_needed_and_not_both():
    for given in ({}, {"table": "a", "query": "select 1"}):
        with pytest.raises(ValidationError, match="expected one of them"):
            DatabaseTable(database="duckdb://a.duckdb", **given)


def test_what_is_said_of_files_has_no_meaning_with_a_database():
    place = {"source": {"database": "duckdb://a.duckdb", "table": "a"}, "reading": {"separator": ";"}}
    with pytest.raises(ValidationError, match=r"reading\.separator has no meaning with a database"):
        CustomersConfig.model_validate(CONFIG.model_dump(exclude_unset=True) | place)


# What is noticed.


def test_every_change_is_noticed_and_nothing_else(shop, tmp_path):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    source = DatabaseTable(database=shop.location(), table="people")
    seen = [source_content(source, tmp_path)]
    assert source_content(source, tmp_path) == seen[0]
    for change in (
        "update people set plan = 'other' where months < 9",
        "delete from people where months < 9",
        "insert into people select * from people where months > 60",
        "update people set calls = null where months > 60",
        "update people set plan = plan",
    ):
        shop.run(change)
        seen.append(source_content(source, tmp_path))
    assert len(set(seen[:5])) == 5
    assert seen[5] == seen[4]


def test_a_change_is_noticed_whatever_the_columns_are_called(shop, tmp_path):
    shop.put("people", pa.table({"t": [1, 1], "n": [1, 2], "mark": ["a", "b"], "read": ["x", "y"]}))
    source = DatabaseTable(database=shop.location(), table="people")
    before = source_content(source, tmp_path)
    shop.run("update people set mark = 'c' where n = 2")
    assert source_content(source, tmp_path) != before


def test_a_watermark_is_cheaper_and_notices_what_it_grows_with(shop, tmp_path):
    now = pa.array([dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)], pa.timestamp("us", "UTC"))
    shop.put("people", pa.table({"id": [1, 2, 3], "plan": ["a", "b", "c"], "updated_at": now}))
    source = DatabaseTable(database=shop.location(), table="people", watermark="updated_at")
    before = source_content(source, tmp_path)
    shop.run("update people set plan = 'z'")
    assert source_content(source, tmp_path) == before, "the watermark did not grow"
    shop.run("update people set updated_at = timestamptz '2026-02-01 00:00:00+00' where id = 1")
    grown = source_content(source, tmp_path)
    shop.run("delete from people where id = 2")
    assert len({before, grown, source_content(source, tmp_path)}) == 3


def test_what_is_noticed_does_not_depend_on_who_looks(postgresql, tmp_path, monkeypatch):
    postgresql.run("create table seen as select now() as at, 0.1::float8 as share, date '2026-01-31' as day")
    source = DatabaseTable(database=postgresql.location(), table="seen")
    before = source_content(source, tmp_path)
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    assert source_content(source, tmp_path) == before


def test_a_table_that_is_not_there_has_no_content(shop, tmp_path):
    shop.put("people", pa.Table.from_pandas(people(), preserve_index=False))
    assert source_content(DatabaseTable(database=shop.location(), table="nobody"), tmp_path) == ""
    with pytest.raises(QueryError, match="nope"):
        source_content(DatabaseTable(database=shop.location(), table="people", watermark="nope"), tmp_path)
