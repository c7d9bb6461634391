"""A folder of files is one table, and what is wrong with it is told by file and by the file's own line."""

import gzip

import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError, read_customers
from churn_assets.store.inputs import content_of
from churn_assets.tables.source import digest_of_rows

CONFIG = CustomersConfig.model_validate(
    {"source": "months", "id": "account", "monthly_revenue": "fee",
     "label": {"column": "left", "positive": "Yes", "window_months": 3}}
)  # fmt: skip


def table(first: int, rows: int = 40) -> pd.DataFrame:
    places = range(first, first + rows)
    return pd.DataFrame(
        {
            "account": [f"c{place}" for place in places],
            "left": ["Yes" if place % 3 == 0 else "No" for place in places],
            "fee": [20.5 + place % 7 for place in places],
            "plan": [("basic", "plus")[place % 2] for place in places],
        }
    )


@pytest.fixture
def months(tmp_path):
    folder = tmp_path / "months"
    folder.mkdir()
    table(0).to_csv(folder / "2026-01.csv", index=False)
    table(40)[["plan", "fee", "left", "account"]].to_csv(folder / "2026-02.CSV", index=False, sep=";")
    table(80).to_parquet(folder / "2026-03.parquet")
    (folder / "2026-04.csv.gz").write_bytes(gzip.compress(table(120).to_csv(index=False).encode()))
    (folder / "README.md").write_text("What these are.")
    (folder / ".hidden.csv").write_text("x")
    return folder


def test_files_of_any_kind_and_order_of_columns_are_one_table(months):
    found = read_customers(CONFIG, seed=1, root=months.parent)
    table(0, 160).to_csv(months.parent / "one.csv", index=False)
    one = read_customers(CONFIG.model_copy(update={"source": "one.csv"}), seed=1, root=months.parent)
    assert digest_of_rows(found.frame) == digest_of_rows(one.frame)
    assert found.source is not None
    assert "4 files of a folder, 2026-01.csv to 2026-04.csv.gz" in found.source.said
    assert "no tables by their names, and not read: 'README.md'" in found.source.said
    before = content_of("months", months.parent)
    table(160).to_csv(months / "2026-05.csv", index=False)
    assert content_of("months", months.parent) != before


def test_a_wrong_value_is_told_by_its_file_and_the_files_own_line(months):
    wrong = table(40).astype({"fee": object})
    wrong.loc[5, "fee"] = "free"
    wrong.to_csv(months / "2026-02.CSV", index=False)
    table(120).assign(account="c1").to_csv(months / "2026-04.csv", index=False)
    (months / "2026-04.csv.gz").unlink()
    with pytest.raises(CustomerTableError) as found:
        read_customers(CONFIG, seed=1, root=months.parent)
    fee, account = sorted(found.value.problems, key=lambda each: each.column, reverse=True)
    assert (fee.file, fee.lines) == (str(months / "2026-02.CSV"), (7,))
    assert (account.file, account.lines, account.count) == (str(months / "2026-01.csv"), (3,), 41)


def test_every_file_that_is_no_such_table_is_told_at_once(months):
    table(40).rename(columns={"fee": "fees"}).to_csv(months / "2026-02.CSV", index=False)
    (months / "2026-05.csv").write_text("account,left,fee,plan\n1,Yes,20\n")
    with pytest.raises(CustomerTableError) as found:
        read_customers(CONFIG, seed=1, root=months.parent)
    told = {(each.file.rpartition("/")[2], each.column) for each in found.value.problems}
    assert told == {("2026-02.CSV", "fee"), ("2026-02.CSV", "fees"), ("2026-05.csv", "")}
    assert "did you mean 'fees'?" in str(found.value)


def test_a_folder_without_a_table_is_refused(tmp_path):
    (tmp_path / "months").mkdir()
    with pytest.raises(
        CustomerTableError, match="found a folder without a table, expected files that end in"
    ):
        read_customers(CONFIG, seed=1, root=tmp_path)
