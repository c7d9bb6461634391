"""Files of any dialect give the same table, and what is no table is told by its line."""

import codecs
import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from pydantic import ValidationError

from churn_assets.tables.config import FileReading
from churn_assets.tables.files import read_raw
from churn_assets.tables.problems import Problems, TableError

ROWS = [["a-1", "12.5", "é"], ["a-2", "0.25", "x; y"], ["a-3", "-3", 'say "hi"']]
NAMES = ["id", "fee", "note  here"]


def read(path: Path, data: bytes | str, reading: FileReading | None = None):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_raw(path, Problems(path.name), reading or FileReading())


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=NAMES)


CSV = frame().to_csv(index=False)
DIALECTS = {
    "as it is": ("t.csv", CSV, {}),
    "capitals": ("T.CSV", CSV, {}),
    "semicolons": ("t.csv", frame().to_csv(index=False, sep=";"), {}),
    "tabs": ("t.TSV", frame().to_csv(index=False, sep="\t"), {}),
    "bars": ("t.txt", frame().to_csv(index=False, sep="|"), {}),
    "quoted": ("t.csv", frame().to_csv(index=False, quoting=1), {}),
    "single quotes": ("t.csv", frame().to_csv(index=False, quoting=1, quotechar="'"), {}),
    "windows lines": ("t.csv", CSV.replace("\n", "\r\n"), {}),
    "blank lines above and below": ("t.csv", f"\n\n{CSV}\n\n,,\n", {}),
    "a separator that is stated": ("t.csv", f"sep=;\n{frame().to_csv(index=False, sep=';')}", {}),
    "gzip": ("t.csv.gz", gzip.compress(CSV.encode()), {}),
    "gzip under another name": ("t.csv", gzip.compress(CSV.encode()), {}),
    "utf-8 with a mark": ("t.csv", codecs.BOM_UTF8 + CSV.encode(), {}),
    "utf-16": ("t.csv", CSV.encode("utf-16"), {}),
    "utf-32": ("t.csv", CSV.encode("utf-32"), {}),
    "utf-16 without a mark": ("t.csv", CSV.encode("utf-16-le"), {"encoding": "UTF-16LE"}),
    "cp1252": ("t.csv", CSV.encode("cp1252"), {"encoding": "cp1252"}),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_reads_as_the_same_table(tmp_path, dialect):
    name, data, reading = DIALECTS[dialect]
    table = read(tmp_path / name, data, FileReading(**reading))
    pd.testing.assert_frame_equal(table.frame(), frame())


@pytest.mark.parametrize("name", ["t.parquet", "T.PQ"])
def test_parquet_reads_as_the_same_table(tmp_path, name):
    frame().to_parquet(tmp_path / name)
    pd.testing.assert_frame_equal(read_raw(tmp_path / name, Problems(name)).frame(), frame())


def test_what_was_detected_is_said(tmp_path):
    data = gzip.compress(codecs.BOM_UTF8 + frame().to_csv(index=False, sep=";").encode())
    said = read(tmp_path / "t.csv", data).said
    assert said == ["gzipped", "encoding utf-8-sig, by its byte order mark", "separated by semicolons"]
    assert read(tmp_path / "t.csv", CSV).said == []


def test_lines_are_those_of_a_spreadsheet(tmp_path):
    table = read(tmp_path / "t.csv", 'a,b,c,d\n1,"x\ny",3,4\n\n5,6,7,8\n')
    assert table.line.tolist() == [2, 4]
    assert table.said == ["1 lines without any value were left out"]


STRUCTURE = [
    ("t.csv", "", "found an empty file, expected a header"),
    ("t.csv", " \n ", "found only blanks"),
    ("t.csv", b"PK\x03\x04\x00\x00", "found a ZIP or Excel file"),
    ("t.csv", b"a,b\n1,\xe8\n", r"line 2: found the byte 0xe8, expected text in UTF-8; .*encoding: cp1252"),
    ("t.csv", gzip.compress(CSV.encode(), mtime=0)[:30], "found a gzip file that breaks off"),
    ("t.parquet", "hello", r"found text \('hello'\), expected a Parquet file"),
    ("t.xlsx", b"PK", "found a .xlsx file, expected a CSV or Parquet file: save the sheet"),
    ("t.csv", "a,b\n1,2\n3\n4,5\n6\n", "lines 3, 5: found 1 fields, expected 2, as in the header"),
    ("t.csv", "a,b\n1,2\n3,4,5\n", "line 3: found 3 fields, expected 2, as in the header"),
    (
        "t.csv",
        "a,b,a\n1,2,3\n",
        "column 'a', line 1: found the name in columns 1, 3, expected each name once",
    ),
    ("t.csv", 'a,b\n1,2\n3,"4\n5,6\n', "line 3: found a quote that never closes"),
    ("t.csv", 'a,b\n1,2\n3,"4\n5,"6"\n', "line 3: found a quoted field with text behind its closing quote"),
    (
        "t.csv",
        'a,b,c,d\n1,2,3,"4\n5,6,7,8\n9,10,11,12"\n',
        "line 2: found a quote that closes in another line",
    ),
    ("t.csv", 'a,b\n1, "2,3"\n', "line 2: found a space between separator and quote"),
    ("t.csv", 'a,"b\nc",d\n1,2,3\n', "line 1: found a name that goes on in the next line"),
    (
        "t.csv",
        f"# made by us\n\n{'a,b,c,d' + chr(10)}{'1,2,3,4' + chr(10)}",
        "line 1: found 1 field, expected 4",
    ),
    ("t.csv", '[{"a": 1}]', "found JSON, expected a CSV or Parquet table"),
    ("t.csv", '{"a": 1}\n{"a": 2}\n', "found JSON"),
    ("t.csv", "<!DOCTYPE html>\n<html>", r"found a page \(HTML or XML\)"),
    ("t.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "found a pointer of Git LFS"),
    ("t.csv", CSV.encode("utf-16-le"), "found a binary file, .*`reading: {encoding: utf-16-le}`"),
    (
        "t.csv",
        f"a,b\n{'1,2' + chr(10)}".encode() * 1 + b"1,2\n" * 300_000 + b"1,\0\n",
        "line 300003: found a byte 0",
    ),
]


@pytest.mark.parametrize(("name", "data", "message"), STRUCTURE)
def test_what_is_no_table_is_told_by_its_line(tmp_path, name, data, message):
    with pytest.raises(TableError, match=rf"^{name}: .*{message}"):
        read(tmp_path / name, data)


def test_a_quote_inside_of_a_field_is_a_quote(tmp_path):
    table = read(tmp_path / "t.csv", 'a,b,c,d\n1,12" TV,"a ""q"", b",4\n')
    assert table.frame().iloc[0].tolist() == ["1", '12" TV', 'a "q", b', "4"]


def test_a_header_alone_is_a_table_of_no_rows(tmp_path):
    for data in ("a,b", "a,b\n"):
        assert len(read(tmp_path / "t.csv", data)) == 0


def test_what_is_configured_is_not_detected(tmp_path):
    table = read(tmp_path / "t.csv", "a;b,c\n1;2,3\n", FileReading(separator=";"))
    assert table.names == ["a", "b,c"]


def test_every_short_and_long_line_is_told_at_once(tmp_path):
    with pytest.raises(TableError) as refused:
        read(tmp_path / "t.csv", "a,b,c\n1,2\n1,2,3,4\n1\n1,2,3\n")
    found = {(problem.found, problem.lines) for problem in refused.value.problems}
    assert found == {("2 fields", (2,)), ("4 fields", (3,)), ("1 fields", (4,))}


def test_a_field_of_any_length_is_read(tmp_path):
    long = "x" * 300_000
    assert read(tmp_path / "t.csv", f"a,b\n1,{long}\n").frame()["b"].tolist() == [long]


def test_utf8_is_not_read_as_another_encoding(tmp_path):
    with pytest.raises(TableError, match=r"found text in UTF-8, expected text in cp1252; leave `reading"):
        read(tmp_path / "t.csv", "a,b\n1,é\n", FileReading(encoding="cp1252"))


@pytest.mark.parametrize("name", ["nonsense", "base64", "rot13", "undefined"])
def test_an_encoding_that_is_none_is_refused_with_the_config(name):
    with pytest.raises(ValidationError, match=f"found '{name}', expected an encoding of text"):
        FileReading(encoding=name)


def test_a_name_of_several_parquet_columns_is_told(tmp_path):
    pyarrow.parquet.write_table(
        pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), tmp_path / "t.pq"
    )
    with pytest.raises(TableError, match="column 'a', line 1: found the name in columns 1, 2"):
        read_raw(tmp_path / "t.pq", Problems("t.pq"))
