"""How customers become numbers, shared by training, projection and serving. Tables come validated, rows do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema, FeatureSpec

if TYPE_CHECKING:  # a server turns single customers into numbers, and needs no tables for that
    import pandas as pd


class FeatureError(ValueError):
    """A customer's feature is not what the schema says.

    Attributes:
        feature: Its name.
        found: The value, as text; nothing for a feature that is not there.
        expected: What the schema expects.
    """

    def __init__(self, feature: str, found: str, expected: str) -> None:
        self.feature, self.found, self.expected = feature, found, expected
        super().__init__(f"feature {feature!r}: found {found}, expected {expected}")


def category_codes(feature: FeatureSpec) -> dict[str | None, float]:
    """The number of every category, NaN for a blank (None)."""
    codes: dict[str | None, float] = {name: float(code) for code, name in enumerate(feature.categories)}
    return codes | {None: math.nan}


def design_matrix(frame: pd.DataFrame, schema: CustomerSchema) -> NDArray[np.float64]:
    """Turns customers into numbers.

    Args:
        frame: Validated customers; holds at least the schema's features, in any order.
        schema: Which features, in which order, with which categories.

    Returns:
        (n, F) float64. Numbers as they are, categories as their position in the schema; a blank is NaN.

    Raises:
        ValueError: A feature is missing, or a category is not in the schema.
    """
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise ValueError(f"features {missing} are missing; found columns {list(frame.columns)}")
    X = np.empty((len(frame), len(schema.features)), dtype=np.float64)
    for position, feature in enumerate(schema.features):
        column = frame[feature.name]
        if feature.kind == "numeric":
            X[:, position] = column.to_numpy(dtype=np.float64)
            continue
        X[:, position] = column.map(category_codes(feature)).to_numpy(dtype=np.float64)
        unseen = np.isnan(X[:, position]) & column.notna().to_numpy()
        if unseen.any():
            raise FeatureError(feature.name, repr(column.to_numpy()[unseen][0]), _categories(feature))
    return X


class RowEncoder:
    """Turns one customer at a time into the row that `design_matrix` makes of it, with the rules of a valid table.

    Args:
        schema: Which features, in which order, with which categories and ranges.
    """

    def __init__(self, schema: CustomerSchema) -> None:
        needed = (schema.monthly_revenue, schema.tenure)
        self.names = schema.names
        self._encode = tuple(
            (feature.name, _number(feature, feature.name in needed, feature.name == schema.monthly_revenue))
            if feature.kind == "numeric"
            else (feature.name, _category(feature))
            for feature in schema.features
        )

    def row(self, features: Mapping[str, object]) -> list[float]:
        """Returns (F,) numbers, NaN for a blank.

        Args:
            features: Exactly the schema's features: numbers, texts of known categories, None for a blank.

        Raises:
            FeatureError: One is missing or unknown, of another type, out of its range, or a category never seen.
        """
        try:
            row = [encode(features[name]) for name, encode in self._encode]
        except KeyError as error:
            raise FeatureError(str(error.args[0]), "nothing", "a value, or null for a blank") from None
        if len(features) != len(row):
            unknown = sorted(set(features) - set(self.names))[0]
            raise FeatureError(unknown[:_SHOWN], "a value", f"no such feature, only {', '.join(self.names)}")
        return row


def _category(feature: FeatureSpec) -> Callable[[object], float]:
    codes = category_codes(feature)

    def encode(value: object) -> float:
        if value is None or type(value) is str:
            code = codes.get(value)
            if code is not None:
                return code
        raise FeatureError(feature.name, _shown(value), _categories(feature))

    return encode


def _number(feature: FeatureSpec, needed: bool, price: bool) -> Callable[[object], float]:
    lowest = -math.inf if feature.lowest is None else feature.lowest
    highest = math.inf if feature.highest is None else feature.highest

    def encode(value: object) -> float:
        if value is None and not needed:
            return math.nan
        if type(value) is float or type(value) is int:
            # Too large an integer is no float. Adding 0 makes -0 equal to 0.
            number = float(value) + 0.0 if abs(value) <= _LARGEST else math.nan
            if lowest <= number <= highest and (number > 0 or not price):
                return number
        raise FeatureError(feature.name, _shown(value), expected)

    parts = ["a finite number"]
    parts += ["above 0"] if price else [f"at least {lowest:g}"] if lowest > -math.inf else []
    parts += [f"at most {highest:g}"] if highest < math.inf else []
    expected = ", ".join(parts) if needed else f"{', '.join(parts)}, or null for a blank"
    return encode


_LARGEST = 1e15
"""Whatever is larger is no customer's number, and its powers would overflow."""


def _categories(feature: FeatureSpec) -> str:
    return f"one of {list(feature.categories)}"


def aged(X: NDArray[np.float64], schema: CustomerSchema, months: float) -> NDArray[np.float64]:
    """Returns the same customers some months later, nothing else changed: tenure moves on, if there is one.

    Args:
        X: (n, F) design matrix.
        schema: Its schema.
        months: How much later.

    Returns:
        (n, F) float64, a copy.
    """
    later = X.copy()
    if schema.tenure_index is not None:
        later[:, schema.tenure_index] += months
    return later


_SHOWN = 60


def _shown(value: object) -> str:
    """A value as a message may quote it; whoever sent it may have sent anything."""
    if isinstance(value, int) and abs(value) > _LARGEST:
        return "an integer too large for a number"
    return repr(value[:_SHOWN] if isinstance(value, str) else value)[: _SHOWN + 2]
