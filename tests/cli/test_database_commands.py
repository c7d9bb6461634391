"""Commands that read customers from a database and write results into one."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from duckdb_shop import Duck

from churn_assets.customers.table import EMBEDDED

KEPT = Path(__file__).parents[1] / "kept" / "release-6"
MEMBER = "9650-VBUOG"
"""A customer of the release's own table."""


@pytest.fixture
def kept_shop(empty):
    """A project with a release that decides and writes no messages."""
    shutil.copytree(KEPT / "store", empty.root / ".churn" / "store")
    shutil.copy(KEPT / "configs" / "quickstart.yaml", empty.root / "configs")
    return empty


@pytest.fixture
def customers():
    return pd.read_csv(KEPT / "customers.csv", dtype=str, keep_default_na=False).head(40)


@pytest.fixture(params=["postgresql", "duckdb"])
def database(request, tmp_path):
    return request.getfixturevalue("postgresql") if request.param == "postgresql" else Duck(tmp_path)


def typed(frame: pd.DataFrame) -> pa.Table:
    """As a database would have them: numbers as numbers."""
    numbers = {"tenure": float, "MonthlyCharges": float, "SeniorCitizen": float}
    return pa.Table.from_pandas(
        frame.astype({k: v for k, v in numbers.items() if k in frame}), preserve_index=False
    )


def decide(project, *arguments):
    return project.churn("decide", *arguments, "--release", "latest", "--json")


def test_customers_of_a_database_get_the_decisions_that_their_file_gets(
    kept_shop, database, customers, tmp_path
):
    database.put("people", typed(customers))
    customers.to_csv(tmp_path / "people.csv", index=False)
    named = [
        (database.location(), "--table", "people", "--out", tmp_path / "a.csv"),
        (tmp_path / "people.csv",),
    ]
    for arguments in named:
        shown = decide(kept_shop, *arguments)
        assert shown.exit_code == 0, shown.output
    columns = ["customerID", "arm", "expected_value", "reasons"]
    found, expected = (
        pd.read_csv(path).sort_values("customerID", ignore_index=True)[columns]
        for path in (tmp_path / "a.csv", tmp_path / "people.decided.csv")
    )
    pd.testing.assert_frame_equal(found, expected)


def test_decisions_go_to_a_table_once_a_wave(kept_shop, database, customers):
    customers.loc[3, "MonthlyCharges"] = "-4"
    database.put("people", typed(customers))
    command = (
        database.location(),
        "--query",
        "select * from people",
        "--to",
        database.location(),
        "--to-table",
        "decided",
    )
    shown = decide(kept_shop, *command, "--wave", "2026-11")
    assert shown.exit_code == 5, shown.output
    assert json.loads(shown.stdout)["written"].endswith("decided, wave 2026-11")
    rows = database.ask("select customer_id, decision, arm from decided where wave = '2026-11'")
    assert {row[0] for row in rows} == set(customers["customerID"])
    assert [row[1:] for row in rows if row[0] == customers["customerID"][3]] == [
        ("could not be decided", None)
    ]

    again = decide(kept_shop, *command, "--wave", "2026-11")
    assert again.exit_code == 2
    assert "rows of wave '2026-11'" in again.output
    assert database.ask("select count(*) from decided") == [(40,)]
    assert decide(kept_shop, *command, "--wave", "2026-12").exit_code == 5
    assert database.ask("select count(*) from decided") == [(80,)]


def test_messages_go_to_a_table_once_a_wave(kept_shop, database):
    command = ("write", MEMBER, "--offer", "20", "--release", "latest", "--to", database.location(),
               "--to-table", "sent", "--wave", "a")  # fmt: skip
    shown = kept_shop.churn(*command)
    assert shown.exit_code == 0, shown.output
    ((customer, arm, message),) = database.ask("select customer_id, arm, message from sent where wave = 'a'")
    assert (customer, arm) == (MEMBER, "percent_20")
    assert "20%" in message
    assert kept_shop.churn(*command).exit_code == 2
    assert database.ask("select count(*) from sent") == [(1,)]


def test_a_wave_that_is_refused_leaves_no_file_either(kept_shop, database, customers, tmp_path):
    database.put("people", typed(customers))
    command = (
        database.location(),
        "--table",
        "people",
        "--to",
        database.location(),
        "--to-table",
        "decided",
        "--wave",
        "a",
    )
    assert decide(kept_shop, *command).exit_code == 0
    assert decide(kept_shop, *command, "--out", tmp_path / "out.csv").exit_code == 2
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "code", "told"),
    [
        ("PGPASSWORD", "hunter2-wrong", ("{at}", "--table", "people"), 3, "password authentication failed"),
        ("PGUSER", "nobody-else", ("{at}", "--table", "people"), 3, '"$PGUSER"'),
        ("X", "", ("postgresql://127.0.0.1:1/shop", "--table", "people"), 3, "Connection refused"),
        ("X", "", ("{at}", "--table", "peple"), 2, "did you mean 'people'?"),
        ("X", "", ("{at}", "--query", "drop table people"), 2, "expected one SELECT"),
        ("X", "", ("{at}",), 2, "neither; expected one of them"),
        ("X", "", ("postgresql://me:hunter2@host/shop", "--table", "people"), 2, "PGPASSWORD"),
        ("X", "", ("some.csv", "--table", "people"), 2, "for a database's location"),
        ("X", "", ("{at}", "--table", "people"), 2, "say where to write"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code_and_never_a_password(
    kept_shop, postgresql, customers, monkeypatch, tmp_path, variable, value, arguments, code, told
):
    postgresql.put("people", typed(customers))
    secret = postgresql.password
    monkeypatch.setenv(variable, value)
    out = [] if told.startswith("say") else ["--out", tmp_path / "out.csv"]
    given = [each.replace("{at}", postgresql.location()) for each in arguments]
    shown = kept_shop.churn("decide", *given, *out, "--release", "latest")
    said = shown.output.replace("\n", " ")
    assert shown.exit_code == code, shown.output
    assert told in said
    assert "hunter2" not in said
    assert secret not in said
    assert "Traceback" not in said


def test_tables_reads_all_three_from_a_database_and_says_what_was_read(kept_shop, database):
    frame = pd.read_csv(EMBEDDED["telco"], dtype=str, keep_default_na=False).head(900)
    database.put("people", typed(frame))
    database.put("outcomes", pa.table({"decision_id": ["a", "b"], "churned": [True, None]}))

    def configured(content):
        content["customers"]["source"] = {"database": database.location(), "table": "people"}
        content["offer_log"]["decisions"] = {
            "window_days": 30, "outcomes": {"database": database.location(), "query": "select * from outcomes"},
        }  # fmt: skip

    kept_shop.configure(configured)
    shown = kept_shop.churn("tables", "quickstart", "--json")
    assert shown.exit_code in (0, 1), shown.output
    said = json.loads(shown.stdout)["said"]
    assert "outcomes from elsewhere: 2" in said
    digest = next(each for each in said if each.startswith("content of the customers: "))

    frame.sample(frac=1, random_state=1).to_csv(kept_shop.root / "twin.csv", index=False)
    kept_shop.configure(lambda content: content["customers"].update(source="twin.csv"))
    assert digest in json.loads(kept_shop.churn("tables", "quickstart", "--json").stdout)["said"]


def test_a_wrong_key_of_a_source_is_named_with_its_line(kept_shop):
    place = {"database": "duckdb://a.duckdb", "tabel": "people"}
    kept_shop.configure(lambda content: content["customers"].update(source=place))
    shown = kept_shop.churn("tables", "quickstart")
    assert shown.exit_code == 2
    said = shown.output.replace("\n", "")
    assert "customers.source.tabel: unknown key; did you mean 'table'?; expected one of" in said
