"""The one set of rules for values: ids, truths, numbers, dates, texts. Reads raw columns; knows no stage's columns."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from churn_assets.tables.config import COMPARING, day_of
from churn_assets.tables.problems import ROLE, VALUE, Problems, leave_out, shown
from churn_assets.tables.raw import RawTable, plain_values
from churn_assets.tables.rules import (
    FIRST_DAY,
    LARGEST_NUMBER,
    LAST_DAY,
    LONGEST_ID,
    LONGEST_TEXT,
    LOST_DIGITS,
    NOBODY,
    TOTALS,
    TRUTHS,
    UNPRINTABLE,
    UNPRINTABLE_TEXT,
    NumberRule,
)
from churn_assets.tables.spreadsheets import unmarked
from churn_assets.tables.text import as_text

Codes = NDArray[np.int32]

EARLIEST, LATEST = pd.Timestamp(FIRST_DAY, tz="UTC"), pd.Timestamp(LAST_DAY, tz="UTC")

BLANK_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})
"""What counts as no value in a column of numbers (casefolded). In a text column only the empty text does:
"None" may be a category."""

_POINT = r"^[+-]?((\d+|\d{1,3}(,\d{3})+)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"
_SURELY_COMMA = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+),(\d{1,2}|\d{4,})$|^[+-]?\d{1,3}(\.\d{3})+,\d+$|^[+-]?0,\d+$"
_SURELY_POINT = r"^[+-]?(\d+|\d{1,3}(,\d{3})+)\.(\d{1,2}|\d{4,})$|^[+-]?\d{1,3}(,\d{3})+\.\d+$|^[+-]?0?\.\d+$"
_GROUPED = r"^[+-]?[1-9]\d{0,2}(\.\d{3})+$"
_CODE = r"^0\d+$"
_MONTH = r"(jan|feb|mar|mär|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez|ene|abr|ago|dic|fév|avr|déc)[a-zäéû]*\.?"
_DATE = re.compile(
    r"\d{4}-\d\d?(-\d\d?)?([T ].*)?|\d{1,2}[./-]\d{1,2}[./-](\d{2}|\d{4})( .*)?|\d{4}/\d\d?/\d\d?( .*)?|\d\d?/\d{4}"
    r"|\d{4}[-/ ]?(W|KW|Q|H)\d\d?(-\d)?|(W|KW|Q|H)\d\d?[-/ ]\d{4}"
    rf"|([a-zäéáû]+\.?,? )?(\d\d?\.?[ /-])?{_MONTH}[ /-](\d\d?,? )?(\d{{2}}|\d{{4}})( .*)?",
    re.IGNORECASE,
)
_MONEY = r"(?:[A-Z]{0,2}\$|Rs\.?|kr|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|INR|JPY|MXN|NOK|PLN|SEK|USD|ZAR)"
_SIGNED = re.compile(
    rf"(?:{_MONEY}|[^\w\s(-])?\s?[+-]?\d[\d.,'\s]*\s?(?:{_MONEY}|[^\w\s)])?"
    r"|0x[0-9a-fA-F]+|\d+(\.\d*)?[dD][+-]?\d\d"
    r"|\([\d.,]+\)|\d+(:\d\d){1,2}(\.\d+)?|=\"[\d.,+-]+\""
)
"""A number with a sign of money or percent, in brackets or as time, or with other marks between its digits."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DAYS = ((19_900_101, 21_001_231, 1), (199_001, 210_012, 100))
"""Days as 20250131 and months as 202501: the least, the largest, and what would make days of them."""
_SINCE_1970 = (1_104_537_600, 2_051_222_400)
"""Seconds since 1970 of the years 2005 and 2035."""
_FEW = 3
_NESTED = re.compile(r"\{.*\}|\[\s*([\[{\"].*)?\]", re.DOTALL)
_ERRORS = frozenset({"#n/a", "#ref!", "#value!", "#div/0!", "#name?", "#num!", "#null!"})
"""What a spreadsheet (casefolded) writes for a value that it could not compute."""
_CONTROL = re.compile(UNPRINTABLE_TEXT)


ANY_NUMBER = NumberRule()


def value_type(table: RawTable, name: str) -> Any:
    """The Arrow type of a column's values."""
    kind = table.columns[name].type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(table: RawTable, name: str) -> bool:
    """Whether a column holds texts, as every column of a CSV does."""
    kind = value_type(table, name)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def encoded(table: RawTable, name: str) -> Any:
    """A column as a dictionary of its values and their places; the table keeps it so."""
    values = table.columns[name]
    if isinstance(values, pa.ChunkedArray):
        values = values.unify_dictionaries() if pa.types.is_dictionary(values.type) else values
        values = values.combine_chunks()
    if not pa.types.is_dictionary(values.type):
        values = pc.dictionary_encode(values)
    table.columns[name] = values
    return values


def distinct_texts(table: RawTable, name: str) -> tuple[Codes, list[str]]:
    """A column as the texts that it holds, each once, and (n,) which of them every row has, -1 for a blank."""
    values = encoded(table, name)
    if table.asked is None or table.asked[0] is not values:
        table.asked = values, _distinct(values, {"", *table.blanks})
    codes, texts = table.asked[1]
    return codes, list(texts)


def _distinct(values: Any, blanks: set[str]) -> tuple[Codes, list[str]]:
    codes = pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False)
    used = np.bincount(codes + 1, minlength=len(values.dictionary) + 1)[1:] > 0
    texts = [as_text(value) for value in values.dictionary.to_pylist()]
    there = (text for text, is_there in zip(texts, used, strict=True) if is_there and text not in blanks)
    unique = list(dict.fromkeys(there))
    place = {text: number for number, text in enumerate(unique)}
    renumbered = np.array([*(place.get(text, -1) for text in texts), -1], np.int32)
    return renumbered[codes], unique


def parse_texts(table: RawTable, name: str, problems: Problems) -> NDArray[np.object_]:
    """(n,) texts, None for a blank."""
    table.attempts.pop(name, None)
    if means_nothing(table, name, problems):
        return np.full(len(table), None, dtype=object)
    codes, texts = distinct_texts(table, name)
    values = np.array([*texts, None], dtype=object)[codes]
    if any(len(text) > LONGEST_TEXT for text in texts):
        long = np.array([len(text) > LONGEST_TEXT for text in texts] + [False])[codes]
        expected = f"a text of at most {LONGEST_TEXT} characters"
        problems.rows(name, long, values, expected, line=table.line, remedy=leave_out(name))
    _refuse_errors(table, name, codes, texts, problems)
    return values


def _refuse_errors(table: RawTable, name: str, codes: Codes, texts: list[str], problems: Problems) -> None:
    """Notes texts that are no category: errors of a spreadsheet, and characters that nobody can see."""
    errors = [text for text in texts if text.casefold() in _ERRORS]
    values = np.array([*texts, None], dtype=object)
    for wrong, expected, remedy in (
        (errors, "a value", f"if it is no value: `reading: {{blanks: {errors}}}`"),
        (
            [text for text in texts if _CONTROL.search(text)],
            "a text of printable characters",
            "export it anew",
        ),
    ):
        if wrong:
            among = np.isin(values, np.array(wrong, dtype=object))[codes]
            remedy = f"{remedy}; {leave_out(name)}"
            problems.rows(name, among, values[codes], expected, line=table.line, remedy=remedy)


def means_nothing(table: RawTable, name: str, problems: Problems, *, rank: int = VALUE) -> bool:
    """Notes a column whose type no rule reads, such as a list, bytes or JSON; whether it is one."""
    kind = table.no_meaning.get(name)
    if kind is None:
        return False
    remedy = f"convert it where it comes from (`cast` in a query); {leave_out(name)}"
    problems.add(f"type {kind}", "texts, numbers, truths or dates", column=name, remedy=remedy, rank=rank)
    return True


def parse_ids(table: RawTable, name: str, problems: Problems, *, unique: bool) -> NDArray[np.object_]:
    """(n,) ids as text, empty where one is wrong; `unique`: each may stand once."""
    if means_nothing(table, name, problems, rank=ROLE):
        return np.full(len(table), "", dtype=object)
    texts = _id_texts(table, name)
    expected = "an id with all of its digits"
    remedy = "export the column as text"
    if pa.types.is_floating(value_type(table, name)):
        lost = np.abs(table.columns[name].cast(pa.float64()).to_numpy(zero_copy_only=False)) >= 2.0**53
    else:
        lost = _matches(texts, LOST_DIGITS)
    problems.rows(
        name, lost, None, expected, line=table.line, remedy=remedy, rank=ROLE, found="a rounded number"
    )
    blank = np.asarray(pc.equal(texts, ""), dtype=bool)
    nothing = np.full(len(table), None, dtype=object)
    problems.rows(name, blank, nothing, "an id in every line", line=table.line, rank=ROLE)
    nobody = np.asarray(pc.is_in(pc.utf8_lower(texts), pa.array(sorted(NOBODY))), dtype=bool)
    if nobody.any():
        values = texts.to_numpy(zero_copy_only=False)
        left_out = f"`rows: {{nobody: {{column: {name!r}, one_of: {sorted(set(values[nobody]))}}}}}`"
        remedy = f"such rows: {left_out}" if problems.configured else "leave such lines out"
        problems.rows(name, nobody, values, "an id in every line", line=table.line, remedy=remedy, rank=ROLE)
        blank = blank | nobody
    unfit = np.asarray(pc.greater(pc.utf8_length(texts), LONGEST_ID), dtype=bool)
    if not pc.all(pc.ascii_is_printable(texts)).as_py():
        unfit |= _matches(texts, UNPRINTABLE)
    expected = f"an id of 1 to {LONGEST_ID} printable characters"
    problems.rows(
        name, unfit, None, expected, line=table.line, rank=ROLE, found="a text that the service refuses"
    )
    ids: NDArray[np.object_] = texts.to_numpy(zero_copy_only=False)
    again = unique and (table.repeated is not None or len(pc.unique(texts)) < len(texts))
    twice = _repeated(ids, table.repeated) & ~blank if again else np.zeros(len(table), dtype=bool)
    if twice.any():
        remedy = (
            "leave out the other lines; of a customer's months: `row_date: <the column of the row's day>`"
        )
        found = "an id of several lines"
        problems.rows(
            name, twice, None, "each id once", line=table.line, remedy=remedy, rank=ROLE, found=found
        )
    return ids


def refuse_totals(table: RawTable, problems: Problems) -> None:
    """Notes a last line that is about all others, of a table without ids: by its word, or by a sum."""
    last = np.arange(len(table)) == len(table) - 1
    for name in table.names if len(table) > _ENOUGH_TO_ADD else ():
        if name in table.no_meaning:
            continue
        told = table.columns[name][len(table) - 1].as_py()
        if isinstance(told, str) and told.strip().casefold() in TOTALS:
            codes, _ = distinct_texts(table, name)
            found, way = (codes == codes[-1]).sum() == 1, f"one_of: {[told]}"
        else:
            found, way = _adds_up(attempt_numbers(table, name)[0]), f"at_least: {told}"
            table.attempts.pop(name, None)
        if found:
            remedy = f"if it is: `rows: {{totals: {{column: {name!r}, {way}}}}}`"
            if not problems.configured:
                remedy = "leave such a line out"
            expected = "a customer in every line, and no sum of the others"
            problems.rows(
                name, last, _at(table, name, last), expected, line=table.line, remedy=remedy, rank=ROLE
            )
            return


_ENOUGH_TO_ADD = 10


def _adds_up(numbers: NDArray[np.float64]) -> bool:
    """Whether the last number is the sum of all before, which are many."""
    before, last = numbers[:-1], numbers[-1]
    if np.count_nonzero(np.nan_to_num(before)) < _ENOUGH_TO_ADD or not last > np.nanmax(before):
        return False
    return bool(np.isclose(np.nansum(before), last, rtol=1e-9, atol=1e-6))


def _repeated(ids: NDArray[np.object_], known: NDArray[np.uint64] | None) -> NDArray[np.bool_]:
    """(n,) whether an id stands in several lines, of this table or of the one that it is a part of."""
    if known is not None:
        return np.isin(id_hash(ids), known)
    return np.asarray(pd.Series(ids).duplicated(keep=False))


def id_hash(ids: NDArray[np.object_]) -> NDArray[np.uint64]:
    """(n,) 64 bits of each of n texts; equal for equal texts, on every machine."""
    return np.asarray(pd.util.hash_array(ids, categorize=False), np.uint64)


def id_texts(table: RawTable, name: str) -> NDArray[np.object_]:
    """(n,) ids as text, empty for a blank; right or wrong."""
    texts: NDArray[np.object_] = _id_texts(table, name).to_numpy(zero_copy_only=False)
    return texts


def _id_texts(table: RawTable, name: str) -> Any:
    """(n,) as `as_text` gives them, as one Arrow array."""
    values = plain_values(table.columns[name])
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if pa.types.is_integer(values.type):
        return pc.fill_null(values.cast(pa.string()), "")
    if not is_text(table, name):
        return pa.array([as_text(value) for value in values.to_pylist()], pa.string())
    texts = pc.fill_null(pc.utf8_trim_whitespace(values), "")
    if pc.any(pc.starts_with(texts, '="')).as_py():  # as a spreadsheet keeps leading zeros
        texts = pc.replace_substring_regex(texts, '^="([^"]*)"$', r"\1")
    texts = unmarked(texts)
    if not pc.all(pc.string_is_ascii(texts)).as_py():
        texts = pc.utf8_normalize(texts, form="NFC")
    if pc.any(pc.ends_with(texts, ".0")).as_py() or pc.any(pc.ends_with(texts, "00")).as_py():
        texts = pc.replace_substring_regex(texts, r"^(-?\d+)\.0+$", r"\1")
    if table.blanks:
        texts = pc.if_else(pc.is_in(texts, pa.array(table.blanks)), "", texts)
    return texts


def _matches(texts: Any, pattern: str) -> NDArray[np.bool_]:
    return np.array(pc.match_substring_regex(texts, pattern), dtype=bool)


def parse_truths(
    table: RawTable, name: str, problems: Problems, *, needed: bool = False
) -> NDArray[np.float64]:
    """(n,) 1 and 0 of True, False, 1, 0, Yes and No in any case, NaN for a blank."""
    if means_nothing(table, name, problems):
        return np.full(len(table), np.nan)
    codes, texts = distinct_texts(table, name)
    known = np.array([TRUTHS.get(text.casefold(), np.nan) for text in texts] + [np.nan])
    blank = np.array([text.casefold() in BLANK_NUMBERS for text in texts] + [True])
    wrong = np.isnan(known) & (needed | ~blank)
    expected = "0 or 1 (or False and True, No and Yes)" + ("" if needed else ", or a blank")
    values = np.array([*texts, None], dtype=object)
    problems.rows(name, wrong[codes], values[codes] if wrong.any() else None, expected, line=table.line)
    return known[codes]


def no_truths(table: RawTable, name: str) -> bool:
    """Whether a column holds texts, none of which says True or False in any language that is read."""
    if not is_text(table, name):
        return False
    return not any(text.casefold() in TRUTHS for text in distinct_texts(table, name)[1])


def parse_numbers(
    table: RawTable, name: str, problems: Problems, rule: NumberRule = ANY_NUMBER, *, rank: int = VALUE
) -> NDArray[np.float64]:
    """(n,) numbers, NaN for a blank and for what is wrong."""
    if means_nothing(table, name, problems, rank=rank):
        return np.full(len(table), np.nan)
    numbers, wrong = attempt_numbers(table, name)
    table.attempts.pop(name, None)
    expected = rule.expected + ("" if rule.needed else ", or a blank")
    blank = np.isnan(numbers)
    wrong = wrong | ~(rule.allows(numbers) | (blank & ~wrong & (not rule.needed)))
    if wrong.any():
        values = _at(table, name, wrong)
        if (np.abs(numbers[wrong]) > LARGEST_NUMBER).any():
            expected += f", at most {LARGEST_NUMBER:g} either way"
        remedy = ""
        if problems.configured:
            remedy = _needed_remedy(values, name, table) if rule.needed else ""
            remedy = remedy or _number_remedy(values, name, numbers[wrong])
        problems.rows(name, wrong, values, expected, line=table.line, remedy=remedy, rank=rank)
        numbers = np.where(wrong, np.nan, numbers)
    if problems.configured:
        _say_placeholders(table, name, numbers)
    return numbers + 0.0  # makes -0 equal to 0


def _at(table: RawTable, name: str, wrong: NDArray[np.bool_]) -> NDArray[np.object_]:
    """(n,) values of the first rows that are wrong, None elsewhere."""
    values = np.full(len(wrong), None, dtype=object)
    for row in np.flatnonzero(wrong)[:5].tolist():
        values[row] = table.columns[name][row].as_py()
    return values


def _needed_remedy(values: NDArray[np.object_], name: str, table: RawTable) -> str:
    """Of a column that every row needs: what to do with those that have a blank, or a text that is no number."""
    found = {as_text(value) for value in values if value is not None}
    if any(re.search(r"\d", text) for text in found):
        return ""
    texts = sorted({"" if text in table.blanks else text for text in found})
    unread = [text for text in texts if text]
    means = f"`blank_means: {{{name!r}: <a number>}}`"
    if unread:
        means = f"`reading: {{blanks: {unread}}}` and {means}"
    such = f"such rows: `rows: {{<a name>: {{column: {name!r}, one_of: {texts or ['']}}}}}`"
    return f"{such}; if they mean a number: {means}"


def _number_remedy(values: NDArray[np.object_], name: str, numbers: NDArray[np.float64] | None = None) -> str:
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if any(re.search(r"\d,\d", text) for text in texts):
        return 'if the comma is a decimal comma: `reading: {decimal: ","}`'
    if texts and all(_SIGNED.fullmatch(text) and not re.fullmatch(_PLAIN, text, re.ASCII) for text in texts):
        units = _unit_remedy(texts)
        return f"{units or 'export it as plain numbers, without signs; '}{leave_out(name)}"
    if texts and not re.search(r"\d", texts[0]):
        return f"if it is no value: `reading: {{blanks: [{texts[0]!r}]}}`; {leave_out(name)}"
    most = f"{numbers.max():.15g}" if numbers is not None and (numbers <= 0).all() else "<a number>"
    return f"{leave_out(name)}; such rows: `rows: {{<a name>: {{column: {name!r}, at_most: {most}}}}}`"


def attempt_numbers(table: RawTable, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(n,) a column as numbers, NaN for what is none, and where it is neither number nor blank."""
    if name not in table.attempts:
        table.attempts[name] = _attempted(table, name)
    return table.attempts[name]


def _attempted(table: RawTable, name: str) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, kind = table.columns[name], value_type(table, name)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        numbers = _as_floats(plain_values(values))
        if none := [float(text) for text in table.blanks if re.fullmatch(_PLAIN, text, re.ASCII)]:
            numbers = np.where(np.isin(numbers, none), np.nan, numbers)
        return numbers, np.zeros(len(table), dtype=bool)
    if not is_text(table, name):
        return np.full(len(table), np.nan), np.array(values.is_valid(), dtype=bool)
    plain = not table.blanks and not pa.types.is_dictionary(values.type)
    if table.decimal != "," and plain and name not in table.decimals:
        try:
            numbers = _as_floats(values)
        except pa.ArrowInvalid:
            pass
        else:
            _note_points(table, name, values)
            return numbers, np.isinf(numbers)
    found = encoded(table, name)
    numbers, wrong = _numbers_of_texts(table, name, found.dictionary)
    codes = pc.fill_null(found.indices, len(numbers)).to_numpy(zero_copy_only=False)
    return np.append(numbers, np.nan)[codes], np.append(wrong, False)[codes]


def _as_floats(values: Any) -> NDArray[np.float64]:
    """(n,) NaN for nothing; ArrowInvalid where a text is no number."""
    if pa.types.is_decimal(values.type):  # by way of their texts: Arrow itself rounds twice
        values = values.cast(pa.string())
    numbers = values.cast(pa.float64(), safe=False)
    return np.array(numbers.to_numpy() if isinstance(numbers, pa.ChunkedArray) else numbers, np.float64)


def _note_points(table: RawTable, name: str, texts: Any) -> None:
    """Notes a column of which every point may group thousands: `1.234`."""
    for some in (texts.slice(0, _LOOK), texts):
        dotted = some.filter(pc.match_substring(some, "."))
        if len(dotted) and not pc.all(pc.match_substring_regex(dotted, _GROUPED)).as_py():
            table.pointed.append(name)
            return
    if len(dotted):
        table.grouped[name] = dotted[0].as_py()


_LOOK = 1000


def _numbers_of_texts(
    table: RawTable, name: str, values: Any
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    texts = _without_groups(table, name, _without_units(table, name, pc.utf8_trim_whitespace(values)))
    no_value = pa.array([*BLANK_NUMBERS, *table.blanks])
    blank = pc.or_(pc.is_in(pc.utf8_lower(texts), no_value), pc.is_in(texts, no_value))
    found = table.decimals[name] if name in table.decimals else _decimal_of(texts.filter(pc.invert(blank)))
    decimal = table.decimal or found or None
    pattern = _COMMA if decimal == "," else _PLAIN if decimal is None else _POINT
    good = pc.and_(pc.match_substring_regex(texts, pattern), pc.invert(blank))
    texts = texts.filter(good)
    if decimal == ",":
        texts = pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")
        table.commas.append(name)
    elif decimal == ".":
        _note_points(table, name, texts)
    kept = np.array(good, dtype=bool)
    numbers = np.full(len(kept), np.nan)
    numbers[kept] = _as_floats(pc.replace_substring(pc.utf8_ltrim(texts, "+"), ",", ""))
    return numbers, ~kept & ~np.array(blank, dtype=bool) | np.isinf(numbers)


def _without_units(table: RawTable, name: str, texts: Any) -> Any:
    """Numbers alone, where one of the units that the config names stands around them; several are no one measure."""
    around = [
        (unit, rf"^([+-]?)\s*{re.escape(unit)}\s*([+-]?\d[\d.,]*)$|^([+-]?\d[\d.,]*)\s*{re.escape(unit)}$")
        for unit in table.units
    ]
    found = {unit: pc.match_substring_regex(texts, pattern) for unit, pattern in around}
    there = [(unit, pattern) for unit, pattern in around if pc.any(found[unit]).as_py()]
    if len(there) != 1:
        return texts
    ((unit, pattern),) = there
    told = f"column {name!r}: numbers in {unit}, by `reading`"
    if pc.any(pc.match_substring_regex(texts, r"^[+-]?[\d.,]+$")).as_py():
        told += "; some stand without it"
    table.said += [] if told in table.said else [told]
    return pc.replace_substring_regex(texts, pattern, r"\1\2\3")


def _unit_remedy(texts: list[str]) -> str:
    """The config line that reads numbers with such a unit, where it does."""
    units = list({re.sub(r"[\d\s.,'+-]", "", text) for text in texts} - {""})
    if len(units) != 1 or set(units[0]) & {*':="()', *COMPARING} or units[0][:1] == "x":
        return ""
    unit = re.escape(units[0])
    bare = rf"[+-]?\s?({unit})?\s?[+-]?\d[\d.,]*\s?({unit})?"
    return (
        f"as numbers: `reading: {{units: {units}}}`; "
        if all(re.fullmatch(bare, each) for each in texts)
        else ""
    )


_SPACED = "^[+-]?[1-9]\\d{0,2}([ \u00a0\u202f'\u2019]\\d{3})+([.,]\\d+)?$"
_INDIAN = r"^[+-]?[1-9]\d?(,\d\d)+,\d{3}(\.\d+)?$"


def _without_groups(table: RawTable, name: str, texts: Any) -> Any:
    """Without what can only group digits: spaces and apostrophes before each three, and commas as in India."""
    for pattern, signs, said in (
        (_SPACED, "[ \u00a0\u202f'\u2019]", "spaces or apostrophes"),
        (_INDIAN, ",", "commas"),
    ):
        found = pc.match_substring_regex(texts, pattern)
        if pc.any(found).as_py():
            texts = pc.if_else(found, pc.replace_substring_regex(texts, signs, ""), texts)
            told = f"column {name!r}: {said} group the digits of numbers"
            table.said += [] if told in table.said else [told]
    return texts


def _decimal_of(texts: Any) -> Literal[".", ","] | None:
    """What most numbers of a column are written with; None where they do not say."""
    return decimal_by(*comma_counts(texts))


def comma_counts(texts: Any) -> tuple[bool, int, int]:
    """Whether a comma stands in any of some texts; in how many it is surely decimal, and in how many a point is."""

    def count(pattern: str) -> int:
        return pc.sum(pc.match_substring_regex(texts, pattern)).as_py() or 0

    if not pc.any(pc.match_substring(texts, ",")).as_py():
        return False, 0, 0
    return True, count(_SURELY_COMMA), count(_SURELY_POINT)


def decimal_by(any_comma: bool, commas: int, points: int) -> Literal[".", ","] | None:
    """What most numbers of a column are written with, by `comma_counts`; None where they do not say."""
    if not any_comma:
        return "."
    return None if commas == points == 0 else "," if commas > points else "."


def ambiguous_decimals(table: RawTable, problems: Problems) -> None:
    """Notes columns that may be thousands or fractions: `1.234` in a table of decimal commas."""
    no_comma_divides = table.separator != "," and not table.pointed
    if table.decimal is not None or not (table.commas or no_comma_divides):
        return
    beside = (
        f"decimal commas in column {table.commas[0]!r}" if table.commas else "no other number with a point"
    )
    for name, example in table.grouped.items():
        problems.add(
            f"{shown(example)} beside {beside}",
            "numbers that say what the point is",
            column=name,
            remedy='`reading: {decimal: ","}` where points group thousands, or `{decimal: "."}`',
        )


def say_decimals(table: RawTable) -> None:
    """Says which columns were read with decimal commas, once they are."""
    told = f"decimal commas in {', '.join(map(repr, dict.fromkeys(table.commas)))}"
    if table.commas and table.decimal is None and told not in table.said:
        table.said.append(told)


def parse_dates(table: RawTable, name: str, problems: Problems, *, needed: bool = False) -> pd.DatetimeIndex:
    """(n,) times in UTC, of ISO 8601 texts, dates or timestamps; NaT for a blank and for what is wrong."""
    if means_nothing(table, name, problems):
        return pd.DatetimeIndex([pd.NaT] * len(table), tz="UTC")
    written = f", or as {' or '.join(table.dates)}" if table.dates else ""
    expected = f"a date as 2026-01-31 or 2026-01-31T09:00:00+00:00 (ISO 8601){written}, 1990 to 2100"
    kind = value_type(table, name)
    if pa.types.is_temporal(kind):
        dates = pd.DatetimeIndex(pd.to_datetime(table.columns[name].to_pandas(), utc=True, errors="coerce"))
        wrong = np.zeros(len(table), dtype=bool)
    else:
        dates, wrong = _dates_of_texts(table, name)
        if wrong.any() and not is_text(table, name):
            expected += "; a number is no date"
    dates = dates.as_unit("us")
    absent = np.asarray(dates.isna())
    wrong = wrong | ~absent & ~np.asarray((dates >= EARLIEST) & (dates <= LATEST))
    if needed:
        wrong |= absent
    if wrong.any():
        remedy = _written(_texts_at(table, name, wrong))
        problems.rows(name, wrong, _at(table, name, wrong), expected, line=table.line, remedy=remedy)
        dates = dates.where(~wrong)  # those of other calendars are too far to count with
    return dates


_WAYS = [
    sign.join(parts) + time
    for sign in "./- "
    for parts in (("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%d", "%b", "%Y"), ("%d", "%B", "%Y"),
                  ("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%d", "%b", "%y"),
                  ("%y", "%m", "%d"))
    for time in ("", " %H:%M", " %H:%M:%S")
] + ["%b %d, %Y", "%B %d, %Y", "%Y%m%d"]  # fmt: skip
"""How dates are usually written where they are not ISO 8601."""


def _texts_at(table: RawTable, name: str, wrong: NDArray[np.bool_]) -> list[str]:
    codes, texts = distinct_texts(table, name)
    return [texts[code] for code in np.unique(codes[wrong]).tolist() if code >= 0]


def _written(texts: list[str]) -> str:
    """What to write so that dates are read; of a day and a month that may be either, both."""
    texts = [text for text in texts if not _ISO.match(text)]
    ways = [way for way in _WAYS if texts and all(day_of(text, way) for text in texts)]
    if not ways:
        return ""
    others = " or ".join(f"`{[way]}`" for way in ways[1:])
    either = f" (or {others}: the file does not say which)" if others else ""
    return f"`reading: {{dates: {[ways[0]]}}}`{either}"


def _dates_of_texts(table: RawTable, name: str) -> tuple[pd.DatetimeIndex, NDArray[np.bool_]]:
    """(n,) times, and where a text is none."""
    if is_text(table, name):
        values = plain_values(table.columns[name])
        for zone in ("UTC", None):  # all with an offset, or none with one
            try:
                times = pc.cast(values, pa.timestamp("us", zone))
            except pa.ArrowInvalid:
                continue
            microseconds = np.array(pc.fill_null(times.cast(pa.int64()), pd.NaT.value), np.int64)
            return pd.DatetimeIndex(microseconds.view("M8[us]"), tz="UTC"), np.zeros(len(table), dtype=bool)
    codes, texts = distinct_texts(table, name)
    # A number is a count of something since somewhen, which nobody should guess.
    dated = [None if text.lstrip("+-").replace(".", "").isdigit() else _UTC.sub("Z", text) for text in texts]
    iso, texts_or_none = (pd.Series([*each, None], dtype=object) for each in (dated, texts))
    found = pd.to_datetime(iso, errors="coerce", utc=True, format="ISO8601")
    for written in table.dates:
        found = found.fillna(pd.to_datetime(texts_or_none, errors="coerce", utc=True, format=written))
    dates = pd.DatetimeIndex(found.iloc[codes])
    return dates, np.asarray(dates.isna()) & (codes >= 0)


_UTC = re.compile(r"(?<=\d) ?(UTC|GMT)$")
"""As BigQuery and others write the zone."""


def infer_kind(table: RawTable, name: str, problems: Problems) -> Literal["numeric", "categorical"] | None:
    """Numeric where every value that is not blank is a number, else categorical; None where neither can be told.

    Codes with leading zeros are categories. A column of dates, or one of which more than half of the different values
    are numbers, is a problem.
    """
    if means_nothing(table, name, problems):
        return None
    kind = value_type(table, name)
    if pa.types.is_temporal(kind):
        problems.add(
            "dates", "numbers or texts", column=name, remedy=f"{_date_remedy(name)}; {leave_out(name)}"
        )
        return None
    if pa.types.is_boolean(kind):
        return "categorical"
    numbers, wrong = attempt_numbers(table, name)
    if not wrong.any() and not np.isnan(numbers).all():
        if is_text(table, name) and pc.any(pc.match_substring_regex(_plain(table, name), _CODE)).as_py():
            table.said.append(f"column {name!r}: leading zeros, so these are categories and no numbers")
            return "categorical"
        if _refused_counts(name, numbers, problems):
            return None
        _say_placeholders(table, name, numbers)
        return "numeric"
    codes, texts = distinct_texts(table, name)
    numeric = len(np.unique(codes[~np.isnan(numbers)]))
    if 2 * numeric > len(texts) and wrong.any():
        values = _at(table, name, wrong)
        remedy = f"{_number_remedy(values, name)}; {_categories_remedy(name)}"
        problems.rows(name, wrong, values, "numbers, as in most lines", line=table.line, remedy=remedy)
        return None
    if _refused_texts(table, name, texts, problems):
        return None
    _say_blanks(table, name, texts)
    _say_doubles(table, name, texts)
    return "categorical"


def _refused_counts(name: str, numbers: NDArray[np.float64], problems: Problems) -> bool:
    """Notes a column of days or times that are written as numbers: 20250131, 202501, seconds since 1970."""
    if not np.nanmin(numbers) >= _DAYS[1][0]:
        return False
    known = np.unique(numbers[~np.isnan(numbers)])
    if (known != np.round(known)).any():
        return False
    # One or two ends of a term are days still, as 20250131; as 202501 they may be amounts.
    dated = any(
        low <= known[0] and known[-1] <= high and _are_days(known.astype(np.int64) * days_by + (days_by > 1))
        for low, high, days_by in _DAYS
        if len(known) >= (_FEW if days_by > 1 else 1)
    )
    seconds = any(
        _SINCE_1970[0] * unit <= known[0] and known[-1] <= _SINCE_1970[1] * unit for unit in (1, 1_000)
    )
    if not dated and not (seconds and len(known) > _FEW_COUNTS):
        return False
    numeric = f"if they are numbers: `kinds: {{{name!r}: numeric}}`"
    remedy = f"{_date_remedy(name, [str(int(each)) for each in known])}; {leave_out(name)}; {numeric}"
    found = f"dates as numbers ({shown(known[0])})"
    problems.add(found, "numbers or texts", column=name, remedy=remedy)
    return True


def _say_placeholders(table: RawTable, name: str, numbers: NDArray[np.float64]) -> None:
    """Says that the least or the largest value may stand for none: 9s alone, several times, far from all others."""
    known = numbers[~np.isnan(numbers)]
    for value in (known.min(), known.max()) if len(known) else ():
        text, others = f"{value:.0f}", known[known != value]
        if not re.fullmatch("-?9{2,}", text) or value != float(text) or len(known) - len(others) < _FEW:
            continue
        reach = max(float(np.ptp(others)), 1.0) if len(others) else np.inf
        if value < others.min(initial=np.inf) - reach or value > others.max(initial=-np.inf) + reach:
            told = f"column {name!r}: {text} is a number; `reading: {{blanks: [{text!r}]}}` if it is none"
            table.said += [] if told in table.said else [told]


_FEW_COUNTS = 20


def _are_days(days: NDArray[np.int64]) -> bool:
    """Whether all numbers are days as 20250131."""
    month, day = days // 100 % 100, days % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _refused_texts(table: RawTable, name: str, texts: list[str], problems: Problems) -> bool:
    """Notes a column of dates, or of numbers with signs, which are no categories."""
    dated = [text for text in texts if _DATE.fullmatch(text)]
    if 2 * len(dated) > len(texts) and (len(dated) == len(texts) or len(dated) > _FEW):
        known = not _dates_of_texts(table.of_texts(name, dated), name)[1].any()
        remedy = f"{_date_remedy(name, None if known else dated)}; {leave_out(name)}"
        if others := [text for text in texts if not _DATE.fullmatch(text)]:
            remedy = f"{remedy}; if {shown(others[0])} is no value: `reading: {{blanks: {others[:_FEW]}}}`"
        problems.add(f"dates ({shown(dated[0])})", "numbers or texts", column=name, remedy=remedy)
        return True
    if texts and all(map(_NESTED.fullmatch, texts)):
        remedy = (
            f"give each value inside of it a column of its own; {_categories_remedy(name)}; {leave_out(name)}"
        )
        problems.add(f"JSON ({shown(texts[0])})", "one value in each cell", column=name, remedy=remedy)
        return True
    signed = [text for text in texts if not re.fullmatch(_PLAIN, text, re.ASCII)]
    if len(texts) > 1 and signed and all(map(_SIGNED.fullmatch, texts)):
        found, remedy = (
            f"numbers with signs ({shown(signed[0])})",
            f"{_unit_remedy(signed)}{_categories_remedy(name)}; {leave_out(name)}",
        )
        problems.add(found, "plain numbers", column=name, remedy=remedy)
        return True
    return False


def _say_blanks(table: RawTable, name: str, texts: list[str]) -> None:
    """Says which texts are categories here that elsewhere are no value."""
    found = [text for text in texts if text.casefold() in BLANK_NUMBERS]
    if found:
        table.said.append(
            f"column {name!r}: {shown(found[0])} is a category; `reading: {{blanks: {found}}}` if it is none"
        )


def _say_doubles(table: RawTable, name: str, texts: list[str]) -> None:
    """Says which categories look like one, and which have lost characters."""
    alike: dict[str, list[str]] = {}
    for text in texts:
        alike.setdefault(" ".join(unicodedata.normalize("NFKC", text).casefold().split()), []).append(text)
    told = [", ".join(map(shown, each)) for each in alike.values() if len(each) > 1]
    if told:
        table.said.append(f"column {name!r}: {told[0]} are categories of their own")
    misread = [text for text in [name, *texts] if _MISREAD.search(text)]
    if misread:
        table.said.append(
            f"column {name!r}: {shown(misread[0])} looks like UTF-8 that was read as another encoding"
        )
    if len(texts) > _FEW and all(map(_WITH_UNIT.fullmatch, texts)):
        units = _unit_remedy(texts).removesuffix("; ")
        about = f"column {name!r}: numbers with units, as {shown(texts[0])}, are categories here"
        table.said.append(f"{about}; {units}" if units else about)
    if some := [text for text in texts if _DATE.fullmatch(text)]:
        table.said.append(f"column {name!r}: {shown(some[0])} is a category here, and looks like a date")
    lost = [text for text in texts if "\ufffd" in text]
    if lost:
        table.said.append(f"column {name!r}: {shown(lost[0])} has lost characters where it was exported")


_MISREAD = re.compile("[\xc2\xc3][\x80-\xbf\u0152-\u2122]|\xe2\u20ac")
_WITH_UNIT = re.compile(r"[+-]?\d[\d.,]*\s?[^\W\d_]{1,8}|P(\d+[YMWD])*(T(\d+[HMS])+)?|\d+ days?.*")


def _categories_remedy(name: str) -> str:
    return f"if all are categories: `kinds: {{{name!r}: categorical}}`"


def _plain(table: RawTable, name: str) -> Any:
    """A column of texts, or each of its texts once where that is known."""
    values = table.columns[name]
    return values.dictionary if pa.types.is_dictionary(values.type) else values


def _date_remedy(name: str, unread: list[str] | None = None) -> str:
    """What to write so that a column is read as dates; `unread` are texts that are none as they stand."""
    wanted = f"as months before `as_of`: `dates: [{name!r}]`"
    if not unread:
        return wanted
    way = _written(unread)
    return f"{way} and, {wanted}" if way else f"write them as 2025-01-31, then {wanted}"
