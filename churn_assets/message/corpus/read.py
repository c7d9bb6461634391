"""Reads the user's own messages, preference pairs and sends from JSONL, row by row. Writes and judges none.

A row is one JSON object a line. Required are the texts, in TRL's names: `prompt` and `completion`, or `prompt`,
`chosen` and `rejected`. `customer_id` and `arm` (its id) come together or not at all, with `months` where the arm is
told for several durations; for a percent off, `offer_pct` (a share) and `offer_months` may stand instead. With them,
the prompt must be the one that this platform writes for that customer and arm, and the row is split as the customer
is; without them, a hash of the prompt splits it, and no gate can say whether the text tells the right offer. `tone`
is a free label of a message. A completion may start with or without its space.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from churn_assets.arms import Arm, Menu
from churn_assets.customers.folds import folds
from churn_assets.customers.names import A_NUMBER, pseudonym
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import OUTCOMES, MessagesConfig
from churn_assets.message.corpus.data import (
    MESSAGE_COLUMNS,
    PREFERENCE_COLUMNS,
    SEND_COLUMNS,
    SPLITS,
    MessageCorpus,
    Preferences,
    arms_of,
    split_of_fold,
    splits_of,
)
from churn_assets.message.text.profile import Profile, profiles_of, prompt_of
from churn_assets.message.text.terms import offers_of

SITUATION = ("customer_id", "arm", "months")
BY_SHARE = ("customer_id", "offer_pct", "offer_months")
"""The same for a percent off, named by its share."""
SHOWN = 5
_MOST_DIGITS = 18


class MessageFileError(ValueError):
    """A JSONL file breaks its contract.

    Attributes:
        problems: Every problem, one line each: file and line, field, found, expected.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = f"\n(and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        super().__init__("\n".join(problems[:SHOWN]) + more)


def read_messages(
    path: Path,
    table: CustomerTable,
    config: MessagesConfig,
    menu: Menu,
    where: str | None = None,
    currency: str = "USD",
    key: bytes = b"",
) -> MessageCorpus:
    """Reads messages, one `{"prompt", "completion"}` a line; see the module for the optional fields.

    Args:
        path: The file.
        table: The customers that rows may name; their folds decide the split.
        config: The `messages:` section: profile and durations.
        menu: What may be offered.
        where: What errors call the file, if not by its path.
        currency: Of all money, ISO 4217.
        key: Secret by which `table` names customers; empty: by their ids.

    Raises:
        MessageFileError: a row is not as it must be, stands twice, or a text of one split stands in another.
    """
    reader = _Reader(where or str(path), table, config, menu, currency, key)
    frame = pd.DataFrame(reader.rows(path, MessageCorpus.TEXTS, ("tone",)), columns=list(MESSAGE_COLUMNS))
    return MessageCorpus(frame, reader.profiles_in(frame), arms_of(menu), simulated=False)


def read_preferences(
    path: Path,
    table: CustomerTable,
    config: MessagesConfig,
    menu: Menu,
    where: str | None = None,
    currency: str = "USD",
    key: bytes = b"",
) -> Preferences:
    """Reads pairs, one `{"prompt", "chosen", "rejected"}` a line; else as `read_messages`.

    Raises:
        MessageFileError: as of `read_messages`, or both texts of a row are the same.
    """
    reader = _Reader(where or str(path), table, config, menu, currency, key)
    rows = reader.rows(path, Preferences.TEXTS)
    if same := [row["line"] for row in rows if row["chosen"] == row["rejected"]]:
        wrong = "rejected: found the text of chosen, expected another"
        raise MessageFileError([f"{reader.where}:{line}: {wrong}" for line in same])
    frame = pd.DataFrame(rows, columns=list(PREFERENCE_COLUMNS)).assign(kind="pair", rule="")
    return Preferences(frame, reader.profiles_in(frame), arms_of(menu), simulated=False)


def read_sends(
    path: Path,
    table: CustomerTable,
    config: MessagesConfig,
    menu: Menu,
    where: str | None = None,
    currency: str = "USD",
    key: bytes = b"",
) -> tuple[pd.DataFrame, dict[str, Profile]]:
    """Reads messages that were sent, and what came of each, one a line.

    A row has `customer_id` and `arm` as above, `text` (with `{name}` where the name stood), `variant` (the name of
    what was
    drawn), `propensity` (with which that variant was drawn: the same in every row of it), and 0 or 1 of `accepted`,
    `stayed` (in the label window) and `complained`.

    Returns:
        Columns SEND_COLUMNS, and the profiles of the customers.

    Raises:
        MessageFileError: A row is not as it must be, a variant has several propensities, or a split has no row.
    """
    reader = _Reader(where or str(path), table, config, menu, currency, key)
    rows = reader.each(path, reader.send)
    first: dict[str, _Row] = {}
    problems = [
        f"{reader.where}:{row['line']}: propensity: found {row['propensity']} of {row['variant']!r}, expected "
        f"{before['propensity']} as in line {before['line']}: a variant is drawn with one propensity for all"
        for row in rows
        if (before := first.setdefault(row["variant"], row))["propensity"] != row["propensity"]
    ]
    problems = problems or reader.empty_splits(rows)
    if problems:
        raise MessageFileError(problems)
    frame = pd.DataFrame(rows, columns=list(SEND_COLUMNS))
    return frame, reader.profiles_in(frame)


_Row = dict[str, Any]
"""The values of a row, with its line, split, arm (id) and months; what it does not say is empty or NaN."""


class _Reader:
    """What rows may speak of.

    Args:
        where: What errors call the file.
        table: The customers.
        config: The `messages:` section.
        menu: What may be offered.
        currency: Of all money.
        key: Secret by which the table names customers; empty: by their ids.
    """

    def __init__(
        self, where: str, table: CustomerTable, config: MessagesConfig, menu: Menu, currency: str, key: bytes
    ) -> None:
        self.where, self._key = where, key
        # Texts say the same words over again.
        self._name_of = cache(partial(pseudonym, key=key)) if key else str
        self._profiles = profiles_of(table, config.profile, currency)
        self._offers = offers_of(menu, config.durations)
        self._splits, self._folds = splits_of(table), table.schema.folds

    def profiles_in(self, frame: pd.DataFrame) -> dict[str, Profile]:
        """Those of the customers in a table."""
        return {customer: self._profiles[customer] for customer in frame["customer_id"].unique() if customer}

    def rows(self, path: Path, texts: Sequence[str], labels: Sequence[str] = ()) -> list[_Row]:
        """Every row of the file, with these texts besides the prompt, and free labels."""
        rows = self.each(path, lambda values: self._row(values, texts, labels))
        problems = _repeated(self.where, rows, texts) or _leaked(self.where, rows, texts)
        problems = problems or self.empty_splits(rows)
        if problems:
            raise MessageFileError(problems)
        return rows

    def each(self, path: Path, read: Callable[[Mapping[str, Any]], _Row]) -> list[_Row]:
        """Every row of the file, with its line, as `read` makes it of the values."""
        if not path.is_file():
            raise MessageFileError([f"{self.where}: there is no such file"])
        problems: list[str] = []
        rows: list[_Row] = []
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                rows.append({"line": number, **read(self._named(_parsed(line)))})
            except _RowError as wrong:
                problems.append(f"{self.where}:{number}: {wrong}")
        if problems:
            raise MessageFileError(problems)
        return rows

    def empty_splits(self, rows: Sequence[_Row]) -> list[str]:
        """What is wrong where a split has no row."""
        return [
            f"{self.where}: found no row for {split} among {len(rows)}, expected at least one"
            for split in SPLITS
            if not any(row["split"] == split for row in rows)
        ]

    def send(self, values: Mapping[str, Any]) -> _Row:
        """A message that was sent, with what came of it."""
        known = ("text", "variant", "propensity", *OUTCOMES, *SITUATION, *BY_SHARE[1:])
        if strange := [name for name in values if name not in known]:
            raise _RowError(f"{strange[0]}: found an unknown field, expected one of {', '.join(known)}")
        for name in OUTCOMES:
            _one_of(name, values.get(name), (0, 1))
        share = values.get("propensity")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise _RowError(f"propensity: found {_shown(share)}, expected a number above 0 and up to 1")
        if not isinstance(values.get("variant"), str) or not values["variant"]:
            raise _RowError(f"variant: found {_shown(values.get('variant'))}, expected a name")
        arm = self._arm(values)
        if arm is None:
            raise _RowError("customer_id: found nothing, expected who was written to, and the arm")
        told = {name: values[name] for name in ("customer_id", "text", "variant") if name in values}
        prompt = prompt_of(self._profiles[values["customer_id"]], arm)
        _check_fields({**told, "prompt": prompt}, ("prompt", "text"), ("variant",))
        return {
            **told,
            "split": self._split(told),
            "prompt": prompt,
            "text": " " + told["text"].strip(),
            "arm": arm.id,
            "months": float(arm.months),
            "propensity": float(share),
            **{name: int(values[name]) for name in OUTCOMES},
        }

    def _named(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with the customer's name in place of the id, which stands in none of its texts either."""
        customer = values.get("customer_id")
        for field, text in values.items():
            if field != "customer_id" and isinstance(text, str) and self._tells(text):
                raise _RowError(
                    f"{field}: found the id of a customer, expected none, as a model that learned it could not forget "
                    "it; leave it out"
                )
        if not self._key or not isinstance(customer, str) or not customer:
            return values
        return {**values, "customer_id": self._name_of(customer)}

    def _tells(self, text: str) -> bool:
        """Whether a word of a text is somebody's id; few digits may be any number."""
        words = (word for word in _WORD.findall(text) if not word.isdigit() or len(word) >= A_NUMBER)
        return any(self._name_of(word) in self._splits for word in words)

    def _row(self, values: Mapping[str, Any], texts: Sequence[str], labels: Sequence[str]) -> _Row:
        _check_fields(values, ("prompt", *texts), labels)
        arm = self._arm(values)
        return {
            "customer_id": "",
            **dict.fromkeys(labels, ""),
            **values,
            **{name: " " + values[name].strip() for name in texts},
            "split": self._split(values),
            "arm": "" if arm is None else arm.id,
            "months": np.nan if arm is None else float(arm.months),
        }

    def _split(self, values: Mapping[str, Any]) -> str:
        if "customer_id" in values:
            return self._splits[values["customer_id"]]
        fold = folds([values["prompt"]], self._folds.seed, self._folds.count)[0]
        return split_of_fold(int(fold), self._folds)

    def _arm(self, values: Mapping[str, Any]) -> Arm | None:
        """The arm of a row; None where it names neither customer nor arm."""
        if not any(name in values for name in (*SITUATION, *BY_SHARE)):
            return None
        by_share = any(name in values for name in BY_SHARE[1:])
        for name in SITUATION[1:]:
            if by_share and name in values:
                raise _RowError(
                    f"{name}: found beside offer_pct and offer_months, expected one way to name the arm"
                )
        needed = BY_SHARE if by_share else SITUATION[:2]
        if missing := [name for name in needed if name not in values]:
            given = " and ".join(name for name in needed if name in values)
            raise _RowError(f"{missing[0]}: found nothing, expected a value beside {given}")
        customer = values["customer_id"]
        if not isinstance(customer, str) or customer not in self._profiles:
            found = "somebody else" if isinstance(customer, str) else type(customer).__name__
            raise _RowError(
                f"customer_id: found {found}, expected one of the {len(self._profiles)} customers"
            )
        arm = self._offered(values, by_share=by_share)
        expected = prompt_of(self._profiles[customer], arm)
        if values.get("prompt", expected) != expected:
            raise _RowError(
                f"prompt: found {_shown(values['prompt'])}, expected {expected!r} for customer and offer"
            )
        return arm

    def _offered(self, values: Mapping[str, Any], *, by_share: bool) -> Arm:
        """The arm that a row names by its share or id, and by months where several have that."""
        name, months = BY_SHARE[1:] if by_share else SITUATION[1:]
        called = [(arm.terms.share_off if by_share else arm.id, arm) for arm in self._offers]
        _one_of(name, values[name], [each for each, _ in called if each is not None])
        fitting = [arm for each, arm in called if each == values[name]]
        if len(fitting) == 1 and months not in values:
            return fitting[0]
        _one_of(months, values.get(months), [arm.months for arm in fitting])
        return next(arm for arm in fitting if arm.months == values[months])


# What stands between spaces, without the signs around it.
_WORD = re.compile(r"\w(?:\S*\w)?")
_NO_TEXT = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f]")


class _RowError(ValueError):
    pass


def _parsed(line: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise _RowError(f"found a field twice among {[name for name, _ in pairs]}, expected each once")
        return values

    if line.startswith(codecs.BOM_UTF8):
        raise _RowError("found a byte order mark, expected plain UTF-8; save the file without one")
    try:
        values = json.loads(
            line.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_number, parse_int=_whole
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise _RowError(f"found no JSON in UTF-8 ({error}), expected one object a line") from error
    if not isinstance(values, dict):
        raise _RowError(f"found {type(values).__name__}, expected an object")
    return values


def _whole(digits: str) -> float:
    """A whole number; infinite where it has more digits than any that is meant."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(f"{digits[:1].strip('0123456789')}inf")


def _no_number(name: str) -> float:
    raise _RowError(f"found {name}, expected a number")


def _check_fields(values: Mapping[str, Any], texts: Sequence[str], labels: Sequence[str]) -> None:
    known = (*texts, *SITUATION, *BY_SHARE[1:], *labels)
    for name in values:
        if name not in known:
            raise _RowError(f"{name}: found an unknown field, expected one of {', '.join(known)}")
        if values[name] is None and name not in texts:
            raise _RowError(f"{name}: found null, expected a value; leave the field out where it is unknown")
    for name in texts:
        if not isinstance(values.get(name), str) or not values[name].strip():
            raise _RowError(f"{name}: found {_shown(values.get(name))}, expected a text")
    for name, value in values.items():
        if isinstance(value, str) and (odd := _NO_TEXT.search(value)):
            raise _RowError(
                f"{name}: found U+{ord(odd.group()):04X} at character {odd.start()}, expected a text without lone "
                "surrogates and control characters"
            )
    if values["prompt"] != values["prompt"].rstrip():
        raise _RowError(
            "prompt: found white space at its end, expected none: a completion starts with its space"
        )
    for name in labels:
        if not isinstance(values.get(name, ""), str):
            raise _RowError(f"{name}: found {_shown(values[name])}, expected a text")


def _one_of(name: str, value: Any, allowed: Sequence[Any]) -> None:
    expected = sorted(set(allowed))
    if isinstance(value, bool) or value not in expected:
        raise _RowError(f"{name}: found {_shown(value)}, expected one of {expected}")


def _shown(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _repeated(where: str, rows: Sequence[_Row], texts: Sequence[str]) -> list[str]:
    first: dict[tuple[str, ...], int] = {}
    problems = []
    for row in rows:
        key = tuple(row[name] for name in ("prompt", *texts))
        if first.setdefault(key, row["line"]) != row["line"]:
            problems.append(
                f"{where}:{row['line']}: found the row of line {first[key]} again, expected it once"
            )
    return problems


def _leaked(where: str, rows: Sequence[_Row], texts: Sequence[str]) -> list[str]:
    """Prompts and texts of one split that stand in another: what is tested must not have been trained on."""
    problems = []
    for names in (("prompt",), tuple(texts)):
        first: dict[str, _Row] = {}
        for row in rows:
            for name in names:
                before = first.setdefault(row[name], row)
                if before["split"] != row["split"]:
                    problems.append(
                        f"{where}:{row['line']}: {name}: found in split {row['split']} the text of line "
                        f"{before['line']}, which is in split {before['split']}; expected every text in one split"
                    )
    return problems
