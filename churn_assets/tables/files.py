"""Files as raw tables: CSV of any dialect, Parquet, gzip. What cannot be read as a table is told by line."""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from churn_assets.tables.config import FileReading, other_file
from churn_assets.tables.problems import STRUCTURE, Problems, shown
from churn_assets.tables.raw import FIRST_LINE, RawTable, plain_values

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_BY_MARK = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # begins as UTF-16 does
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PACKED = {
    b"PK\x03\x04": "a ZIP or Excel file",
    b"BZh91AY": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"ARROW1\0": "an Arrow file",
    b"SQLite format 3\0": "an SQLite file",
    _GZIP: "a gzip file within another",
}
"""What is no text, by its first bytes."""
_HEAD = 1 << 20
csv.field_size_limit(_HEAD)  # of what is looked at; Python's own limit is an eighth of it
_OTHERS = {
    "JSON": re.compile(r'\s*(\{\s*"|\[\s*[\[{])'),
    "a page (HTML or XML)": re.compile(r"\s*<(!doctype|!--|html|\?xml)", re.IGNORECASE),
    "a pointer of Git LFS": re.compile("version https://git-lfs"),
}
"""What is no table, by how it begins."""
_IN_THOUSANDS = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_LINES, _MOST_LINES = 100, 2_000
_STATED = re.compile(r"sep=([,;\t|])")
_NEWLINE = re.compile(r"\r\n|\n|\r")
_BLOCK = 1 << 22
_FEW_FIELDS = 4
"""With fewer columns a text of several lines may look like rows of its own."""


DETECTED = FileReading()
"""Nothing is given: all is detected."""


def read_raw(path: Path, problems: Problems, reading: FileReading = DETECTED) -> RawTable:
    """Reads a CSV, every column as text and nothing guessed, or a Parquet file; gzipped or not.

    Args:
        path: The file; its suffix says which kind, in any case.
        problems: What it is called, and where problems go.
        reading: What should not be detected.

    Raises:
        TableError: As of `problems`: there is no such file, or no table in it.
    """
    said: list[str] = []
    with _opened(path, problems, reading, said) as (plain, is_parquet):
        if is_parquet:
            return _parquet(plain, problems, said).read_as(reading)
        return _csv(plain, problems, reading, said)


def read_chunks(path: Path, problems: Problems, reading: FileReading, rows: int) -> Iterator[RawTable]:
    """The same table, some rows at a time: memory does not grow with the file, but of a CSV with quotes.

    Args:
        path: As of `read_raw`.
        problems: As of `read_raw`; rows of a CSV that are none are told behind the last chunk.
        reading: As of `read_raw`.
        rows: About how many at a time.

    Raises:
        TableError: As of `read_raw`.
    """
    said: list[str] = []
    with _opened(path, problems, reading, said) as (plain, is_parquet):
        if is_parquet:
            yield from (raw.read_as(reading) for raw in _parquet_chunks(plain, problems, said, rows))
        else:
            yield from _csv_chunks(plain, problems, reading, said, rows)


@contextmanager
def _opened(
    path: Path, problems: Problems, reading: FileReading, said: list[str]
) -> Iterator[tuple[Path, bool]]:
    """The file without gzip, in UTF-8 if it is a CSV; and whether it is Parquet."""
    if path.is_dir():
        raise _stopped(
            problems, "a folder", "one file: put the files together, or read them by a database's view"
        )
    if (other := other_file(path.name)) is not None:
        found, _, expected = other.partition(", expected ")
        raise _stopped(problems, found, expected)
    if not path.is_file():
        raise _stopped(problems, "no such file", "a CSV or Parquet table")
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in SUFFIXES:
        raise _stopped(
            problems, f"a {suffix or 'nameless'} file", "one that ends in .csv, .tsv, .txt or .parquet"
        )
    if not path.stat().st_size:
        raise _stopped(problems, "an empty file", "a header and at least one line")
    with TemporaryDirectory(prefix="churn-table-") as folder:
        plain = _unzipped(path, Path(folder), problems, said)
        if _head(plain).startswith(_PARQUET):
            yield plain, True
            return
        if suffix in (".parquet", ".pq"):
            raise _stopped(problems, f"text ({shown(_head(plain)[:20].decode('latin-1'))})", "a Parquet file")
        yield _utf8(plain, Path(folder), problems, reading, said), False


def _stopped(problems: Problems, found: str, expected: str, **place: Any) -> Exception:
    """The error of a file that is no table; there is nothing else to say of it."""
    problems.add(found, expected, rank=STRUCTURE, **place)
    try:
        problems.stop()
    except ValueError as error:
        return error
    raise AssertionError("a problem was noted")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _unzipped(path: Path, folder: Path, problems: Problems, said: list[str]) -> Path:
    if not _head(path).startswith(_GZIP):
        return path
    said.append("gzipped")
    target = folder / "plain"
    try:
        with gzip.open(path) as packed, target.open("wb") as file:
            shutil.copyfileobj(packed, file)
    except (OSError, EOFError, zlib.error) as error:
        raise _stopped(problems, f"a gzip file that breaks off ({error})", "a whole one") from error
    return target


def _utf8(path: Path, folder: Path, problems: Problems, reading: FileReading, said: list[str]) -> Path:
    """The same text in UTF-8."""
    head = _head(path)
    marked = next((name for mark, name in _BY_MARK.items() if head.startswith(mark)), None)
    encoding = reading.encoding or marked or "utf-8"
    if marked and not reading.encoding:
        said.append(f"encoding {marked}, by its byte order mark")
    known = codecs.lookup(encoding).name
    packed = next((name for mark, name in _PACKED.items() if head.startswith(mark)), None)
    if packed:
        raise _stopped(
            problems, packed, "a CSV or Parquet table", remedy="unpack it, or export the table as one of them"
        )
    if b"\0" in head and not known.startswith(("utf-16", "utf-32")):
        halves = {"utf-16-le": head[1::2], "utf-16-be": head[0::2]}
        wide = [name for name, half in halves.items() if half.count(0) > len(half) / 2]
        remedy = f"`reading: {{encoding: {wide[0]}}}`" if wide else ""
        raise _stopped(problems, "a binary file", "a CSV", remedy=remedy)
    if known in ("utf-8", "utf-8-sig"):
        return path
    if not known.startswith("utf") and not head.isascii() and _is_utf8(head):
        remedy = "leave `reading: {encoding}` out"
        raise _stopped(problems, "text in UTF-8", f"text in {encoding}", remedy=remedy)
    target = folder / "utf8"
    try:
        with (
            path.open(encoding=encoding, newline="") as text,
            target.open("w", encoding="utf-8", newline="") as file,
        ):
            shutil.copyfileobj(text, file, _BLOCK)
    except UnicodeError as error:
        raise _stopped(problems, str(error), f"text in {encoding}") from error
    return target


def _is_utf8(head: bytes) -> bool:
    """Whether bytes are UTF-8, of which the last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class _Dialect:
    """How a CSV is written: `names` of its columns, what stands between and around fields, lines `above` its header."""

    names: list[str]
    separator: str
    quote: str
    above: int
    kinds: list[Any]


def _csv(path: Path, problems: Problems, reading: FileReading, said: list[str]) -> RawTable:
    dialect = _dialect(path, problems, reading, said)
    table = _parsed(path, dialect, problems)
    return _without_blank_lines(_raw_of_csv(table, dialect, 0, problems, reading, said))


def _raw_of_csv(
    table: Any, dialect: _Dialect, before: int, problems: Problems, reading: FileReading, said: list[str]
) -> RawTable:
    columns = {name: table.column(place) for place, name in enumerate(dialect.names)}
    line = np.arange(table.num_rows) + FIRST_LINE + dialect.above + before
    return RawTable(problems.where, columns, line, said, separator=dialect.separator).read_as(reading)


def _csv_chunks(
    path: Path, problems: Problems, reading: FileReading, said: list[str], rows: int
) -> Iterator[RawTable]:
    dialect, before, given = _dialect(path, problems, reading, said), 0, 0
    dialect = replace(dialect, kinds=[pa.string()] * len(dialect.names))
    for table in _pieces(_parsed_blocks(path, dialect, problems), rows):
        raw = _without_blank_lines(_raw_of_csv(table, dialect, before, problems, reading, said))
        before += table.num_rows
        given += len(raw)
        yield raw
    if not before:
        yield _raw_of_csv(_parsed(path, dialect, problems), dialect, 0, problems, reading, said)


def _pieces(blocks: Iterator[Any], rows: int) -> Iterator[Any]:
    """Blocks of a table put together to tables of exactly so many rows, but for the last."""
    waiting: list[Any] = []
    for block in blocks:
        waiting.append(block)
        while sum(each.num_rows for each in waiting) >= rows:
            table = (
                pa.Table.from_batches(waiting)
                if isinstance(block, pa.RecordBatch)
                else pa.concat_tables(waiting)
            )
            yield table.slice(0, rows)
            waiting = (
                table.slice(rows).to_batches() if isinstance(block, pa.RecordBatch) else [table.slice(rows)]
            )
    waiting = [each for each in waiting if each.num_rows]
    if waiting:
        yield (
            pa.Table.from_batches(waiting)
            if isinstance(waiting[0], pa.RecordBatch)
            else pa.concat_tables(waiting)
        )


def _dialect(path: Path, problems: Problems, reading: FileReading, said: list[str]) -> _Dialect:
    sample = _head(path)
    _refuse_other_encodings(path, problems)
    text = sample.decode("utf-8", "ignore").removeprefix("\ufeff")
    if not text.strip():
        raise _stopped(problems, "only blanks", "a header and at least one line")
    for found, begins in _OTHERS.items():
        if begins.match(text):
            raise _stopped(problems, found, "a CSV or Parquet table", remedy="export the table itself")
    every = _NEWLINE.split(text, _MOST_LINES)
    cut = len(sample) == _HEAD or len(every) > _MOST_LINES
    every = every[:-1] if cut and len(every) > 1 else every  # the last one may be cut, or be many
    lines = [line for line in every if line.strip()][:_LINES]
    above = every.index(lines[0])
    stated = _STATED.fullmatch(lines[0])
    if stated and len(lines) > 1:  # as Excel writes above the header
        lines, above = lines[1:], every.index(lines[1])
    quote = reading.quote or _quote_of(lines[0])
    separator = reading.separator or (stated[1] if stated else _separator_of(lines, quote))
    if separator != "," and not reading.separator:
        said.append(f"separated by {SEPARATORS[separator]}s")
    if quote != '"' and not reading.quote:
        said.append(f"quoted by {quote}")
    names = _names(lines[0], separator, quote)
    if len(names) == 1 and not reading.separator:
        _refuse_titles(lines, quote, above + 1, problems)
    if lines[0].count(quote) % 2:
        remedy = "write each name in one line, and a quote inside of one twice"
        raise _stopped(problems, "a name that goes on in the next line", "a header of one line", lines=[above + 1],
                       remedy=remedy)  # fmt: skip
    _refuse_repeated(names, problems)
    _refuse_open_quotes(path, separator, quote, len(names), problems)
    fields = [
        row for row in csv.reader(lines[1:], delimiter=separator, quotechar=quote) if len(row) == len(names)
    ]
    columns = dict(zip(names, zip(*fields, strict=True), strict=True)) if fields else {}
    for name, column in columns.items():
        if quote == '"' and all(len(field) > 1 and field[0] == field[-1] == "'" for field in column):
            problems.add(
                f"every value within ' ({shown(column[0])})", 'values, or " around them', column=name,
                lines=[above + 2], rank=STRUCTURE, remedy="""`reading: {quote: "'"}`""",
            )  # fmt: skip
        if reading.decimal is None and all(map(_IN_THOUSANDS.fullmatch, column)):
            said.append(
                f"column {name!r}: three digits after every point, taken for a decimal point; if it parts thousands: "
                """`reading: {decimal: ","}`"""
            )
    problems.stop()
    kinds = [_kind(column) for column in columns.values()] or [pa.string()] * len(names)
    return _Dialect(names, separator, quote, above, kinds)


def _refuse_titles(lines: list[str], quote: str, header: int, problems: Problems) -> None:
    """A title or a comment above the header: one field, where most lines have more."""
    for separator in SEPARATORS:
        widths = [len(_fields(line, separator, quote)) for line in lines[1:]]
        usual = max(widths, key=widths.count, default=1)
        if usual >= _FEW_FIELDS and widths.count(usual) > len(widths) / 2:
            remedy = "delete what stands above the header"
            raise _stopped(problems, "1 field", f"{usual}, as in most lines", lines=[header], remedy=remedy)


def _refuse_other_encodings(path: Path, problems: Problems) -> None:
    decoder, before = codecs.getincrementaldecoder("utf-8")(), 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            if (place := block.find(0)) >= 0:
                line = _line_of(path, before + place)
                raise _stopped(problems, "a byte 0", "text; a binary file is none", lines=[line])
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                kept = len(error.object) - len(block)  # of the character that the block before broke off in
                byte = error.object[error.start : error.start + 1]
                expected = (
                    "text in UTF-8; of another encoding: `reading: {encoding: cp1252}`, or as it is called"
                )
                line = _line_of(path, before - kept + error.start)
                raise _stopped(problems, f"the byte 0x{byte.hex()}", expected, lines=[line]) from error
            if not block:
                return
            before += len(block)


def _line_of(path: Path, position: int) -> int:
    """The line of a byte: lines are counted only where something is wrong, as that takes as long as decoding."""
    with path.open("rb") as file:
        return 1 + sum(
            file.read(min(_BLOCK, position - start)).count(b"\n") for start in range(0, position, _BLOCK)
        )


def _quote_of(header: str) -> str:
    fields = [field for separator in SEPARATORS for field in header.split(separator)[:1]]
    single = any(len(field) > 1 and field[0] == field[-1] == "'" for field in fields)
    return "'" if single and '"' not in header else '"'


def _fields(line: str, separator: str, quote: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator, quotechar=quote))


def _separator_of(lines: list[str], quote: str) -> str:
    """What divides the header and most lines into equally many fields; of several the one that gives most."""

    def agreement(separator: str) -> tuple[bool, float, int]:
        width = len(_fields(lines[0], separator, quote))
        alike = sum(len(_fields(line, separator, quote)) == width for line in lines)
        return width > 1, alike / len(lines), width

    return max(SEPARATORS, key=agreement)


def _names(header: str, separator: str, quote: str) -> list[str]:
    """Of the columns, exactly as they stand; what has none is called by its place, as pandas calls it."""
    fields = _fields(header, separator, quote)
    return [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(fields)]


def _refuse_repeated(names: list[str], problems: Problems) -> None:
    plain = [" ".join(name.split()) for name in names]  # an export adds spaces to tell two of a name apart
    for name in dict.fromkeys(name for name in plain if plain.count(name) > 1):
        places = ", ".join(str(place + 1) for place, each in enumerate(plain) if each == name)
        problems.add(
            f"the name in columns {places}", "each name once", column=name, lines=[1], rank=STRUCTURE,
            remedy="rename or remove one of them",
        )  # fmt: skip
    problems.stop()


def _parsed(path: Path, dialect: _Dialect, problems: Problems) -> Any:
    wrong: list[Any] = []
    options = _csv_options(dialect, wrong)
    try:
        table = pyarrow.csv.read_csv(path, **options)
    except pa.ArrowInvalid as error:
        table = _no_lines(error, dialect, problems)
    _refuse_widths(wrong, len(dialect.names), problems, empty=not table.num_rows)
    return table


def _parsed_blocks(path: Path, dialect: _Dialect, problems: Problems) -> Iterator[Any]:
    """Record batches as they are read; rows of another width are told behind the last."""
    wrong: list[Any] = []
    empty = True
    try:
        with pyarrow.csv.open_csv(path, **_csv_options(dialect, wrong)) as reader:
            for block in reader:
                empty = empty and not block.num_rows
                yield block
    except pa.ArrowInvalid as error:
        _no_lines(error, dialect, problems)
    _refuse_widths(wrong, len(dialect.names), problems, empty=empty)


def _csv_options(dialect: _Dialect, wrong: list[Any]) -> dict[str, Any]:
    """How Arrow reads it; rows of another width go to `wrong`."""

    def note(row: Any) -> str:
        wrong.append((row.number, row.actual_columns))
        return "skip"

    text = {f"f{place}": kind for place, kind in enumerate(dialect.kinds)}
    return {
        # One thread knows the number of a row that is wrong.
        "read_options": pyarrow.csv.ReadOptions(
            use_threads=False, block_size=_BLOCK, column_names=list(text), skip_rows=dialect.above + 1
        ),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=dialect.separator, quote_char=dialect.quote, newlines_in_values=True,
            ignore_empty_lines=False, invalid_row_handler=note,
        ),
        "convert_options": pyarrow.csv.ConvertOptions(column_types=text),
    }  # fmt: skip


def _no_lines(error: pa.ArrowInvalid, dialect: _Dialect, problems: Problems) -> Any:
    """A table without rows, where that is all that is wrong."""
    if "Empty CSV" not in str(error) and "Could not skip initial" not in str(error):
        raise _stopped(problems, str(error), "a CSV") from error
    return pa.table({f"f{place}": pa.array([], kind) for place, kind in enumerate(dialect.kinds)})


def _refuse_widths(wrong: list[Any], width: int, problems: Problems, *, empty: bool) -> None:
    widths = _by_width(wrong)
    for count, fields in sorted(widths.items()):
        kind = "few" if count < width else "many"
        remedy = (
            "is line 1 the header?"
            if len(widths) == 1 and empty and count != width + 1
            else "a separator at the end of each line, or row names without a header: write neither"
            if len(widths) == 1 and empty
            else f"too {kind} separators, or a quote missing"
        )
        problems.add(
            f"{count} fields", f"{width}, as in the header", lines=fields, remedy=remedy, rank=STRUCTURE
        )
    problems.stop()


def _kind(sample: Sequence[str]) -> Any:
    """How the texts of a column are held: each once, where few differ."""
    few = len(sample) >= _ENOUGH and len(set(sample)) <= len(sample) / 2
    return pa.dictionary(pa.int32(), pa.string()) if few else pa.string()


_ENOUGH = 20


def _by_width(wrong: list[tuple[int, int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for line, width in wrong:
        found.setdefault(width, []).append(line)
    return found


def _without_blank_lines(raw: RawTable) -> RawTable:
    """Without lines of nothing, as spreadsheets leave them behind."""
    blank = np.ones(len(raw), dtype=bool)
    for values in raw.columns.values():
        blank &= np.asarray(pc.equal(plain_values(values), ""), dtype=bool)
        if not blank.any():
            return raw
    if len(raw.columns) == 1:  # a blank value of the only column
        return raw
    inside = int(blank[: int(np.flatnonzero(~blank).max(initial=-1)) + 1].sum())
    if inside:
        raw.said.append(f"{inside} lines without any value were left out")
    raw.keep(~blank)
    return raw


def _parquet(path: Path, problems: Problems, said: list[str]) -> RawTable:
    try:
        _refuse_repeated(pyarrow.parquet.read_schema(path).names, problems)
        table = pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _stopped(problems, f"a Parquet file that cannot be read ({error})", "a whole one") from error
    raw = RawTable.of_arrow(table, problems.where)
    raw.said.extend(said)
    return raw


def _parquet_chunks(path: Path, problems: Problems, said: list[str], rows: int) -> Iterator[RawTable]:
    before = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            _refuse_repeated(schema.names, problems)
            for table in _pieces(file.iter_batches(batch_size=rows), rows):
                yield _raw_of_parquet(table, before, problems, said)
                before += table.num_rows
            if not before:
                yield _raw_of_parquet(schema.empty_table(), 0, problems, said)
    except (pa.ArrowException, OSError) as error:
        raise _stopped(problems, f"a Parquet file that cannot be read ({error})", "a whole one") from error


def _raw_of_parquet(table: Any, before: int, problems: Problems, said: list[str]) -> RawTable:
    raw = RawTable.of_arrow(table, problems.where)
    raw.line = raw.line + before
    raw.said.extend(said)
    return raw


def _refuse_open_quotes(path: Path, separator: str, quote: str, width: int, problems: Problems) -> None:
    """A quote that never closes would swallow the lines behind it, and the reader would not mind."""
    mark = quote.encode()
    with path.open("rb") as file:
        blocks: Iterator[bytes] = iter(lambda: file.read(_BLOCK), b"")
        if not any(mark in block for block in blocks):
            return
    data = path.read_bytes()
    quotes = _Quotes(np.frombuffer(data, np.uint8), separator, quote)
    for start, found in quotes.faults(data, width):
        expected = "a quote that closes in its own line, before the separator"
        problems.add(
            found,
            expected,
            lines=[quotes.line(start)],
            rank=STRUCTURE,
            remedy=f"close it, or write {quote * 2} for a quote inside",
        )
    problems.stop()


class _Quotes:
    """The quoted fields of a CSV.

    Args:
        data: (bytes,) of the file.
        separator: Between fields.
        quote: Around them.
    """

    def __init__(self, data: NDArray[np.uint8], separator: str, quote: str) -> None:
        self._separator, self._quote = ord(separator), ord(quote)
        self._ends = {self._separator, 10, 13}
        self._data = data
        self._newlines = np.flatnonzero(data == (10 if (data == 10).any() else 13))
        self._fault: tuple[int, str] | None = None
        marks = np.flatnonzero(data == self._quote)
        self.opens, self.closes = (
            (marks[0::2], marks[1::2]) if self._regular(marks) else self._walked(marks.tolist())
        )

    def _regular(self, marks: NDArray[np.intp]) -> bool:
        """Whether every first quote opens a field and every second one closes it; doubled ones are both."""
        if len(marks) % 2:
            return False
        limits = np.array([*self._ends, self._quote], np.uint8)
        opens, closes = marks[0::2], marks[1::2]
        before, after = (
            self._data[np.maximum(opens - 1, 0)],
            self._data[np.minimum(closes + 1, len(self._data) - 1)],
        )
        return bool(np.isin(before, limits).all() and np.isin(after, limits).all())

    def _walked(self, marks: list[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The same, quote by quote, with quotes inside of unquoted fields; stops at the first that is wrong."""
        opens, closes, data, place = [], [], self._data, 0
        size = len(data)
        while place < len(marks):
            start = marks[place]
            place += 1
            before = start - 1
            while before >= 0 and data[before] == 32:
                before -= 1
            if before >= 0 and int(data[before]) not in self._ends and not self._is_mark(before):
                continue  # inside of an unquoted field, where a quote is a quote
            if before < start - 1:
                self._fault = (start, "a space between separator and quote")
                break
            end = None
            while place < len(marks):
                each = marks[place]
                place += 1
                if place < len(marks) and marks[place] == each + 1:
                    place += 1
                    continue
                end = each
                break
            if end is None:
                self._fault = (start, "a quote that never closes")
                break
            if end + 1 < size and int(data[end + 1]) not in self._ends:
                self._fault = (start, "a quoted field with text behind its closing quote")
                break
            opens.append(start)
            closes.append(end)
        return np.array(opens, np.intp), np.array(closes, np.intp)

    def _is_mark(self, place: int) -> bool:
        """Whether a byte order mark ends here."""
        return place == 2 and bytes(self._data[:3]) == codecs.BOM_UTF8

    def line(self, position: int) -> int:
        """The line of a byte: a record that spans several lines of text counts once."""
        before = self._newlines[self._newlines < position]
        return 1 + int((~self._quoted(before)).sum())

    def _quoted(self, positions: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(n,) whether bytes stand inside of quotes."""
        started = np.searchsorted(self.opens, positions)
        return np.asarray(started > np.searchsorted(self.closes, positions))

    def faults(self, data: bytes, width: int) -> list[tuple[int, str]]:
        """Where a field opens that is wrong, and what is: none, or one that hides the rest, or all that hold lines."""
        found = [] if self._fault is None else [self._fault]
        if width < _FEW_FIELDS:
            return found
        swallowing = np.unique(np.searchsorted(self.opens, self._newlines[self._quoted(self._newlines)]) - 1)
        for field in swallowing.tolist():
            start, end = int(self.opens[field]), int(self.closes[field])
            lines = data[start + 1 : end].splitlines()[1:]
            if any(line.count(self._separator) == width - 1 for line in lines):
                found.append((start, "a quote that closes in another line, with whole lines inside"))
        return sorted(found)
