"""Reading a request's body strictly: what is wrong is named by its field. Decides nothing."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from churn_assets.serving.problems import Problem
from churn_assets.serving.schemas import DecisionsQuestion, FeatureValue, OutcomesQuestion

Q = TypeVar("Q", DecisionsQuestion, OutcomesQuestion)

_FEATURES = re.compile(r"\$\.customers\[(\d+)\]\.features\[\.\.\.\]")
_BYTE = re.compile(r"\(byte (\d+)\)")
_NO_NUMBER = re.compile(rb"-?(?:NaN|Infinity|inf|nan)")
_FIELD = re.compile(rb'"([^"\\\\]{1,100})"\s*:\s*\[?[^"\]}]*$')


def read_body(body: bytes, decoder: msgspec.json.Decoder[Q]) -> Q:
    """The question that a body holds.

    Raises:
        Problem: It is no JSON, or not what the schema says; names the field.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid question", _named(body, str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "not JSON", _misspelt(body, str(error))) from error


def _named(body: bytes, message: str) -> str:
    """What the schema says, with the name of the feature that it is about."""
    place = _FEATURES.search(message)
    if place is None:
        return message
    try:
        features = msgspec.json.decode(body, type=_Loose).customers[int(place[1])].features
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # what follows is no JSON either
        return message
    for name, value in features.items():
        try:
            msgspec.convert(value, FeatureValue)
        except msgspec.ValidationError:
            return message.replace("features[...]", f"features[{name[:60]!r}]")
    return message


class _LooseCustomer(msgspec.Struct):
    features: dict[str, object]


class _Loose(msgspec.Struct):
    customers: list[_LooseCustomer]


def _misspelt(body: bytes, message: str) -> str:
    """What is no JSON, by its field: NaN and Infinity are none."""
    expected = "expected one JSON document in UTF-8"
    byte = _BYTE.search(message)
    if byte is None:
        return expected
    place = int(byte[1])
    found = _NO_NUMBER.match(body, max(place - 1, 0)) or _NO_NUMBER.match(
        body, place
    )  # a minus stands before
    if found is None:
        return f"{expected}; it breaks at byte {place}"
    field = _FIELD.search(body, 0, found.start())
    where = f"field {field[1].decode('utf-8', 'replace')!r}: " if field else ""
    return f"{where}found {found[0].decode()}, which is no JSON; expected a number, or null for a blank"
