"""Reads the user's own messages and preference pairs from JSONL, row by row. Writes and judges none.

A row is one JSON object a line. Required are the texts, in TRL's names: `prompt` and `completion`, or `prompt`,
`chosen` and `rejected`. `customer_id` and `arm` (its id) come together or not at all, with `months` where the arm is
told for several durations; for a percent off, `offer_pct` (a share) and `offer_months` may stand instead. With them,
the prompt must be the one that this platform writes for that customer and arm, and the row is split as the customer
is; without them, a hash of the prompt splits it, and no gate can say whether the text tells the right offer. `tone`
is a free label of a message. A completion may start with or without its space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from churn_assets.arms import Arm, Menu
from churn_assets.customers.folds import folds
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import MessagesConfig
from churn_assets.message.corpus.data import (
    MESSAGE_COLUMNS,
    PREFERENCE_COLUMNS,
    SPLITS,
    Messages,
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


class MessageFileError(ValueError):
    """A JSONL file breaks its contract.

    Attributes:
        problems: Every problem, one line each: file and line, field, found, expected.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = f"\n(and {len(problems) - SHOWN} more)" if len(problems) > SHOWN else ""
        super().__init__("\n".join(problems[:SHOWN]) + more)


@dataclass(frozen=True)
class _Row:
    line: int
    values: Mapping[str, Any]
    split: str
    arm: Arm | None


def read_messages(
    path: Path,
    table: CustomerTable,
    config: MessagesConfig,
    menu: Menu,
    where: str | None = None,
    currency: str = "USD",
) -> Messages:
    """Reads messages, one `{"prompt", "completion"}` a line; see the module for the optional fields.

    Args:
        path: The file.
        table: The customers that rows may name; their folds decide the split.
        config: The `messages:` section: profile and durations.
        menu: What may be offered.
        where: What errors call the file, if not by its path.
        currency: Of all money, ISO 4217.

    Raises:
        MessageFileError: a row is not as it must be, stands twice, or a text of one split stands in another.
    """
    profiles, where = profiles_of(table, config.profile, currency), where or str(path)
    rows = _rows(path, where, ("completion",), ("tone",), table, profiles, config, menu)
    frame = pd.DataFrame(
        [
            (
                *_who(row),
                row.values["prompt"],
                row.values["completion"],
                *_arm(row),
                row.values.get("tone", ""),
            )
            for row in rows
        ],
        columns=list(MESSAGE_COLUMNS),
    )
    return Messages(frame, _used(profiles, frame), arms_of(menu), simulated=False)


def read_preferences(
    path: Path,
    table: CustomerTable,
    config: MessagesConfig,
    menu: Menu,
    where: str | None = None,
    currency: str = "USD",
) -> Preferences:
    """Reads pairs, one `{"prompt", "chosen", "rejected"}` a line; else as `read_messages`.

    Raises:
        MessageFileError: as of `read_messages`, or both texts of a row are the same.
    """
    profiles, where = profiles_of(table, config.profile, currency), where or str(path)
    rows = _rows(path, where, ("chosen", "rejected"), (), table, profiles, config, menu)
    same = [row for row in rows if row.values["chosen"] == row.values["rejected"]]
    if same:
        raise MessageFileError(
            [f"{where}:{row.line}: rejected: found the text of chosen, expected another" for row in same]
        )
    frame = pd.DataFrame(
        [
            (
                *_who(row),
                *(row.values[name] for name in ("prompt", "chosen", "rejected")),
                *_arm(row),
                "pair",
                "",
            )
            for row in rows
        ],
        columns=list(PREFERENCE_COLUMNS),
    )
    return Preferences(frame, _used(profiles, frame), arms_of(menu), simulated=False)


def _who(row: _Row) -> tuple[str, str]:
    return row.values.get("customer_id", ""), row.split


def _arm(row: _Row) -> tuple[str, float]:
    return ("", np.nan) if row.arm is None else (row.arm.id, float(row.arm.months))


def _used(profiles: Mapping[str, Profile], frame: pd.DataFrame) -> dict[str, Profile]:
    return {customer: profiles[customer] for customer in frame["customer_id"].unique() if customer}


def _rows(
    path: Path,
    where: str,
    texts: Sequence[str],
    labels: Sequence[str],
    table: CustomerTable,
    profiles: Mapping[str, Profile],
    config: MessagesConfig,
    menu: Menu,
) -> list[_Row]:
    if not path.is_file():
        raise MessageFileError([f"{where}: there is no such file"])
    splits = splits_of(table)
    offers = offers_of(menu, config.durations)
    problems: list[str] = []
    rows: list[_Row] = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            values = _parsed(line)
            _check_fields(values, ("prompt", *texts), labels)
            arm = _situation(values, profiles, offers)
        except _RowError as wrong:
            problems.append(f"{where}:{number}: {wrong}")
            continue
        values |= {name: " " + values[name].strip() for name in texts}
        schema = table.schema
        split = (
            splits[values["customer_id"]]
            if "customer_id" in values
            else split_of_fold(
                int(folds([values["prompt"]], schema.folds.seed, schema.folds.count)[0]), schema.folds
            )
        )
        rows.append(_Row(number, values, split, arm))
    problems = problems or _repeated(where, rows, texts) or _leaked(where, rows, texts)
    problems = problems or [
        f"{where}: found no row for {split} among {len(rows)}, expected at least one"
        for split in SPLITS
        if not any(row.split == split for row in rows)
    ]
    if problems:
        raise MessageFileError(problems)
    return rows


class _RowError(ValueError):
    pass


def _parsed(line: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise _RowError(f"found a field twice among {[name for name, _ in pairs]}, expected each once")
        return values

    try:
        values = json.loads(line.decode("utf-8"), object_pairs_hook=once, parse_constant=_no_number)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _RowError(f"found no JSON in UTF-8 ({error}), expected one object a line") from error
    if not isinstance(values, dict):
        raise _RowError(f"found {type(values).__name__}, expected an object")
    return values


def _no_number(name: str) -> float:
    raise _RowError(f"found {name}, expected a number")


def _check_fields(values: Mapping[str, Any], texts: Sequence[str], labels: Sequence[str]) -> None:
    known = (*texts, *SITUATION, *BY_SHARE[1:], *labels)
    for name in values:
        if name not in known:
            raise _RowError(f"{name}: found an unknown field, expected one of {', '.join(known)}")
    for name in texts:
        if not isinstance(values.get(name), str) or not values[name].strip():
            raise _RowError(f"{name}: found {_shown(values.get(name))}, expected a text")
    if values["prompt"] != values["prompt"].rstrip():
        raise _RowError(
            "prompt: found white space at its end, expected none: a completion starts with its space"
        )
    for name in labels:
        if not isinstance(values.get(name, ""), str):
            raise _RowError(f"{name}: found {_shown(values[name])}, expected a text")


def _situation(
    values: Mapping[str, Any], profiles: Mapping[str, Profile], offers: Sequence[Arm]
) -> Arm | None:
    """The arm of a row; None where it names neither customer nor arm."""
    if not any(name in values for name in (*SITUATION, *BY_SHARE)):
        return None
    by_share = any(name in values for name in BY_SHARE[1:])
    needed = BY_SHARE if by_share else SITUATION[:2]
    for name in SITUATION[1:]:
        if by_share and name in values:
            raise _RowError(
                f"{name}: found beside offer_pct and offer_months, expected one way to name the arm"
            )
    given = [name for name in needed if name in values]
    if len(given) < len(needed):
        missing = next(name for name in needed if name not in values)
        raise _RowError(f"{missing}: found nothing, expected a value beside {' and '.join(given)}")
    customer = values["customer_id"]
    if not isinstance(customer, str) or customer not in profiles:
        raise _RowError(
            f"customer_id: found {_shown(customer)}, expected one of the {len(profiles)} customers"
        )
    arm = _by_share(values, offers) if by_share else _by_id(values, offers)
    expected = prompt_of(profiles[customer], arm)
    if values["prompt"] != expected:
        raise _RowError(
            f"prompt: found {_shown(values['prompt'])}, expected {expected!r} for customer and offer"
        )
    return arm


def _by_share(values: Mapping[str, Any], offers: Sequence[Arm]) -> Arm:
    percents = [arm for arm in offers if arm.terms.share_off is not None]
    _one_of("offer_pct", values["offer_pct"], [arm.terms.share_off for arm in percents])
    fitting = [arm for arm in percents if arm.terms.share_off == values["offer_pct"]]
    _one_of("offer_months", values["offer_months"], [arm.months for arm in fitting])
    return next(arm for arm in fitting if arm.months == values["offer_months"])


def _by_id(values: Mapping[str, Any], offers: Sequence[Arm]) -> Arm:
    _one_of("arm", values["arm"], [arm.id for arm in offers])
    fitting = [arm for arm in offers if arm.id == values["arm"]]
    if len(fitting) == 1 and "months" not in values:
        return fitting[0]
    _one_of("months", values.get("months"), [arm.months for arm in fitting])
    return next(arm for arm in fitting if arm.months == values["months"])


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
        key = tuple(row.values[name] for name in ("prompt", *texts))
        if first.setdefault(key, row.line) != row.line:
            problems.append(f"{where}:{row.line}: found the row of line {first[key]} again, expected it once")
    return problems


def _leaked(where: str, rows: Sequence[_Row], texts: Sequence[str]) -> list[str]:
    """Prompts and texts of one split that stand in another: what is tested must not have been trained on."""
    problems = []
    for names in (("prompt",), tuple(texts)):
        first: dict[str, _Row] = {}
        for row in rows:
            for name in names:
                before = first.setdefault(row.values[name], row)
                if before.split != row.split:
                    problems.append(
                        f"{where}:{row.line}: {name}: found in split {row.split} the text of line {before.line}, "
                        f"which is in split {before.split}; expected every text in one split"
                    )
    return problems
