"""Results go to a table of a database once a wave, whole or not at all."""

import threading

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
from duckdb_shop import Duck

from churn_assets.cli.errors import UsageProblemError
from churn_assets.cli.waves import wave_table
from churn_assets.store.errors import DatabaseRefused, DatabaseUnreachable
from churn_assets.tables.database import QueryError


@pytest.fixture(params=["postgresql", "duckdb"])
def shop(request, tmp_path):
    return request.getfixturevalue("postgresql") if request.param == "postgresql" else Duck(tmp_path)


def decisions(count: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": [f"{number:03}" for number in range(count)],
            "decided_at": "2026-01-05T09:00:00+00:00",
            "risk": [0.25, None, *[0.5] * (count - 2)],
            "reasons": ["high risk, ü", None, *["'; drop table decided; --"] * (count - 2)],
        }
    )


def wave(shop, name: str, table: str = "decided"):
    return wave_table(shop.location(), table, name)


def test_a_wave_is_written_and_the_next_one_beside_it(shop):
    wave(shop, "2026-01").write(decisions())
    wave(shop, "2026-02").write(decisions(5).assign(reasons=None))
    assert shop.ask("select wave, count(*) from decided group by wave order by wave") == [
        ("2026-01", 3), ("2026-02", 5),
    ]  # fmt: skip
    (row,) = shop.ask("select risk, reasons, extract(hour from decided_at at time zone 'UTC') from decided where "
                      "customer_id = '000' and wave = '2026-01'")  # fmt: skip
    assert (row[0], row[1], int(row[2])) == (0.25, "high risk, ü", 9)
    assert shop.ask("select count(*) from decided where risk is null") == [(2,)]


def test_a_wave_that_was_written_is_refused_by_name_and_nothing_is_added(shop):
    wave(shop, "2026-01").write(decisions())
    with pytest.raises(
        QueryError, match=r"found rows of wave '2026-01' in .*: decided, expected a wave that was never"
    ):
        wave(shop, "2026-01").write(decisions(4))
    assert shop.ask("select count(*) from decided") == [(3,)]


def test_rows_that_the_table_refuses_leave_nothing_of_their_wave(shop):
    shop.run("create table decided (wave text, customer_id text, decided_at timestamptz, "
             "risk double precision check (risk < 0.4), reasons text)")  # fmt: skip
    with pytest.raises(QueryError, match="decided"):
        wave(shop, "2026-01").write(decisions())
    assert shop.ask("select count(*) from decided") == [(0,)]
    wave(shop, "2026-01").write(decisions().assign(risk=0.1))
    assert shop.ask("select count(*) from decided") == [(3,)]


def test_a_table_with_other_types_gets_the_values_and_one_with_other_columns_none(shop):
    shop.run("create table decided (reasons varchar, wave varchar, decided_at date, customer_id bigint, note text, "
             "risk numeric(6, 3))")  # fmt: skip
    wave(shop, "2026-01").write(decisions().assign(customer_id=["1", "2", "3"]).drop(columns=["customer_id"]))
    assert shop.ask(
        "select risk::text, wave, decided_at::text from decided where risk is not null limit 1"
    ) == [("0.250", "2026-01", "2026-01-05")]
    with pytest.raises(QueryError):
        wave(shop, "2026-02").write(decisions().assign(more=1.0))
    assert shop.ask("select count(*) from decided") == [(3,)]


def test_of_writers_at_once_one_writes_the_wave(postgresql):
    told = []

    def write() -> None:
        try:
            wave(postgresql, "2026-01").write(decisions(400))
        except QueryError as error:
            told.append(str(error))

    writers = [threading.Thread(target=write) for _ in range(6)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert postgresql.ask("select count(*) from decided") == [(400,)]
    assert len(told) == 5
    assert all("rows of wave '2026-01'" in each for each in told)


def test_who_may_only_add_rows_can_and_who_may_not_is_refused(postgresql, monkeypatch):
    wave(postgresql, "2026-01").write(decisions())
    postgresql.run("drop role if exists writer", "create role writer login password 'secret'")
    postgresql.run("grant usage on schema public to writer")
    monkeypatch.setenv("PGUSER", "writer")
    monkeypatch.setenv("PGPASSWORD", "secret")
    with pytest.raises(DatabaseRefused, match="permission denied"):
        wave(postgresql, "2026-02").write(decisions())
    postgresql.run("grant select, insert on decided to writer")
    wave(postgresql, "2026-02").write(decisions())
    assert postgresql.ask("select count(*) from decided") == [(6,)]


def test_a_schema_is_part_of_the_name(postgresql):
    postgresql.run("create schema crm")
    wave(postgresql, "a", "crm.decided").write(decisions())
    assert postgresql.ask("select count(*) from crm.decided") == [(3,)]
    with pytest.raises(QueryError, match="nowhere"):
        wave(postgresql, "a", "nowhere.decided").write(decisions())


def test_a_duckdb_file_that_another_program_holds_is_unreachable(tmp_path):
    import subprocess
    import sys

    shop = Duck(tmp_path)
    hold = f"import duckdb, sys; c = duckdb.connect({str(shop.path)!r}); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(DatabaseUnreachable, match="another program may hold the file"):
            wave(shop, "a").write(decisions())
        holder.stdin.close()
    wave(shop, "a").write(decisions())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("duckdb://a.duckdb", None, "a"), "expected all of them"),
        ((None, "t", "a"), "expected all of them"),
        (("duckdb://a.duckdb", "t", "a b"), "--wave: found 'a b'"),
        (("a.csv", "t", "a"), "begins with postgresql://"),
        (("postgresql://me:hunter2@host/shop", "t", "a"), "may hold a password"),
    ],
)
def test_what_is_missing_or_wrong_is_told_without_a_secret(given, told):
    with pytest.raises(UsageProblemError, match=told) as refused:
        wave_table(*given)
    assert "hunter2" not in str(refused.value)


def test_nothing_is_written_where_nothing_is_asked_for():
    assert wave_table(None, None, None) is None


def test_the_same_columns_whatever_a_wave_holds(tmp_path):
    shop = Duck(tmp_path)
    wave(shop, "a").write(decisions().assign(reasons=None, risk=0.5))
    with duckdb.connect(shop.path) as connection:
        kinds = connection.sql("select * from decided").to_arrow_table().schema
    assert kinds.field("reasons").type in (pa.string(), pa.string_view())
