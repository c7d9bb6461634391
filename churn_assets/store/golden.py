"""Golden rows: does a model read back still answer as recorded? Pure comparison of JSON values."""

from typing import TypeGuard

from pydantic import JsonValue


def first_difference(found: JsonValue, recorded: JsonValue, *, rtol: float, atol: float) -> str | None:
    """Where and how ``found`` departs from ``recorded``; None if they agree.

    Args:
        found: Answer of the loaded model.
        recorded: Answer at publishing.
        rtol: Relative tolerance on numbers.
        atol: Absolute tolerance on numbers.

    Returns:
        A place and both values, such as ``[3].risk: found 0.2, expected 0.3``.
    """
    return _difference(found, recorded, rtol, atol, "")


def _difference(found: JsonValue, recorded: JsonValue, rtol: float, atol: float, place: str) -> str | None:
    if isinstance(found, dict) and isinstance(recorded, dict):
        if found.keys() != recorded.keys():
            return f"{place}: found keys {sorted(found)}, expected {sorted(recorded)}"
        named = [(f"{place}.{key}", found[key], recorded[key]) for key in recorded]
    elif isinstance(found, list) and isinstance(recorded, list):
        if len(found) != len(recorded):
            return f"{place}: found {len(found)} values, expected {len(recorded)}"
        named = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(found, recorded, strict=True))]
    else:
        return (
            None
            if _agree(found, recorded, rtol, atol)
            else f"{place}: found {found!r}, expected {recorded!r}"
        )
    return next((text for name, a, b in named if (text := _difference(a, b, rtol, atol, name))), None)


def _agree(found: JsonValue, recorded: JsonValue, rtol: float, atol: float) -> bool:
    if _is_number(found) and _is_number(recorded):
        # Written so that NaN never agrees.
        return bool(abs(found - recorded) <= atol + rtol * abs(recorded))
    return type(found) is type(recorded) and found == recorded


def _is_number(value: JsonValue) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
