"""Texts that a spreadsheet would run: marked in a CSV that is written, and the same ids when they are read back."""

import pandas as pd
import pyarrow as pa
import pytest

from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems
from churn_assets.tables.spreadsheets import marked, unmarked
from churn_assets.tables.table_file import TableFile
from churn_assets.tables.values import parse_ids

IDS = (
    "=1+1",
    "@SUM(A1)",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "'=already",
    "''@twice",
    "plain",
    "7590-VHVEG",
    "-5",
    "+49170",
    "1e5",
)


def test_no_cell_begins_as_a_formula_and_numbers_stay_numbers():
    found = marked(pd.DataFrame({"id": IDS, "n": range(len(IDS))}))
    texts = list(found["id"])
    assert not [text for text in texts[:6] if not text.startswith("'")]
    assert texts[6:] == list(IDS[6:])
    assert list(found["n"]) == list(range(len(IDS)))


def test_what_was_marked_is_unmarked():
    found = marked(pd.DataFrame({"id": IDS}))["id"]
    assert unmarked(pa.array(found, pa.string())).to_pylist() == list(IDS)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_ids_are_read_back_as_they_were(tmp_path, suffix):
    ids = [each for each in IDS if each not in ("'=already", "''@twice")]
    path = tmp_path / f"decided.{suffix}"
    with TableFile(path) as written:
        written.write(pd.DataFrame({"customer_id": ids[:3]}))
        written.write(pd.DataFrame({"customer_id": ids[3:]}))
    problems = Problems(str(path), ValueError)
    assert list(parse_ids(read_raw(path, problems), "customer_id", problems, unique=True)) == ids


def test_a_table_that_fails_in_the_middle_leaves_what_was_there(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("before")

    def fail():
        with TableFile(path) as written:
            written.write(pd.DataFrame({"a": [1]}))
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
