"""Reading a request's body strictly: what is wrong is named by its path. Decides nothing."""

from __future__ import annotations

import json
import math
import re
from typing import TypeVar

import msgspec

from churn_assets.serving.problems import Problem
from churn_assets.serving.schemas import CustomerQuestion, DecisionsQuestion, FeatureValue, OutcomesQuestion

Q = TypeVar("Q", DecisionsQuestion, OutcomesQuestion)

_PLACE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_FEATURES = re.compile(r"customers\[(\d+)\]\.features\[\.\.\.\]")
_EXPECTED = re.compile(r"^Expected `(?P<expected>[^`]*)`, got `(?P<found>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<name>[^`]*)`$")
_BYTE = re.compile(r"\(byte (\d+)\)")
_LONGEST_NAME = 60
_OF_CUSTOMER = frozenset(CustomerQuestion.__struct_fields__)


def read_body(body: bytes, decoder: msgspec.json.Decoder[Q]) -> Q:
    """The question that a body holds.

    Raises:
        Problem: It is no JSON, or not what the schema says; its detail begins with the path of what is wrong.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Problem(422, "invalid question", _named(body, str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "not JSON", _misspelt(body, str(error))) from error


def path_of(index: int, field: str) -> str:
    """Where a field or a feature of a customer stands in a question.

    >>> path_of(2, "tenure"), path_of(0, "eligible")
    ('customers[2].features.tenure', 'customers[0].eligible')
    """
    return f"customers[{index}].{field if field in _OF_CUSTOMER else f'features.{field}'}"


def _named(body: bytes, message: str) -> str:
    """What the schema says, its path first."""
    place = _PLACE.search(message)
    path = place["path"].removeprefix(".") if place else ""
    text = message[: place.start()] if place else message
    feature = _FEATURES.search(path)
    if feature is not None:
        path = _feature_path(body, int(feature[1])) or path
    for pattern, said in (
        (_UNKNOWN, "found a field that is not known, expected those that /docs describes"),
        (_MISSING, "found nothing, expected this field"),
    ):
        if (found := pattern.match(text)) is not None:
            return f"{_joined(path, found['name'][:_LONGEST_NAME])}: {said}"
    if (kinds := _EXPECTED.match(text)) is not None:
        text = f"found {kinds['found']}, expected {kinds['expected'].replace(' | ', ' or ')}"
    return f"{path or 'the body'}: {text}"


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _feature_path(body: bytes, index: int) -> str | None:
    """The first feature of a customer that is no feature's value."""
    try:
        features = msgspec.json.decode(body, type=_Loose).customers[index].features
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # what follows is no JSON either
        return None
    for name, value in features.items():
        try:
            msgspec.convert(value, FeatureValue)
        except msgspec.ValidationError:
            return path_of(index, name[:_LONGEST_NAME])
    return None


class _LooseCustomer(msgspec.Struct):
    features: dict[str, object]


class _Loose(msgspec.Struct):
    customers: list[_LooseCustomer]


def _misspelt(body: bytes, message: str) -> str:
    """What is no JSON: NaN and Infinity by their path, anything else by its byte."""
    place = _not_finite(body)
    if place is not None:
        path, found = place
        return f"{path}: found {found}, which is no JSON; expected a number, or null for a blank"
    byte = _BYTE.search(message)
    breaks = f"; it breaks at byte {byte[1]}" if byte else ""
    return f"expected one JSON document in UTF-8{breaks}"


def _not_finite(body: bytes) -> tuple[str, str] | None:
    """Path and spelling of the first number of a body that is none, if that is all that is wrong with it.

    Python reads `NaN` and `Infinity`, which no other JSON reader takes.
    """
    spelt: list[str] = []

    def constant(name: str) -> float:
        spelt.append(name)
        return math.nan

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else constant(text[:_LONGEST_NAME])

    try:
        whole = json.loads(body, parse_constant=constant, parse_float=number)
        path = _path_to_nan(whole, "")
    except (ValueError, RecursionError):
        return None
    return None if path is None else (path, spelt[0])


def _path_to_nan(value: object, path: str) -> str | None:
    if isinstance(value, float) and math.isnan(value):
        return path or "the body"
    if isinstance(value, dict):
        inside = ((each, _joined(path, name[:_LONGEST_NAME])) for name, each in value.items())
    elif isinstance(value, list):
        inside = ((each, f"{path}[{place}]") for place, each in enumerate(value))
    else:
        return None
    return next((found for each, where in inside if (found := _path_to_nan(each, where))), None)
