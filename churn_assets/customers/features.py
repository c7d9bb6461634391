"""How customers become numbers, shared by training, projection and serving. Tables come validated, rows do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churn_assets.customers.schema import CustomerSchema, FeatureSpec
from churn_assets.tables.rules import LARGEST_NUMBER, NumberRule

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
        unseen = np.isnan(X[:, position])
        if unseen.any() and (unseen := unseen & column.notna().to_numpy()).any():
            raise FeatureError(feature.name, repr(column.to_numpy()[unseen][0]), _categories(feature))
    return X


class RowEncoder:
    """Turns one customer at a time into the row that `design_matrix` makes of it, with the rules of a valid table.

    Args:
        schema: Which features, in which order, with which categories and ranges.
    """

    def __init__(self, schema: CustomerSchema) -> None:
        self.names = schema.names
        self._constants = {each.name: each.constant for each in schema.features if each.constant is not None}
        self._encode = tuple(
            (feature.name, _number(feature, schema.rule(feature)))
            if feature.kind == "numeric"
            else (feature.name, _category(feature))
            for feature in schema.features
        )

    def row(self, features: Mapping[str, object]) -> list[float]:
        """Returns (F,) numbers, NaN for a blank.

        Args:
            features: Exactly the schema's features: numbers, texts of known categories, None for a blank. Constants
                may be left out.

        Raises:
            FeatureError: One is missing or unknown, of another type, out of its range, or a category never seen.
        """
        if self._constants:
            features = self._constants | dict(features)
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
    if feature.blank is not None:
        codes[None] = codes[str(feature.blank)]

    def encode(value: object) -> float:
        if value is None or type(value) is str:
            code = codes.get(value)
            if code is not None:
                return code
        raise FeatureError(feature.name, _shown(value), _categories(feature))

    return encode


def _number(feature: FeatureSpec, rule: NumberRule) -> Callable[[object], float]:
    blank = math.nan if feature.blank is None else float(feature.blank)
    expected = rule.expected if rule.needed else f"{rule.expected}, or null for a blank"

    def encode(value: object) -> float:
        if value is None and (blank == blank or not rule.needed):
            return blank
        if type(value) is float or type(value) is int:
            # Too large an integer is no float. Adding 0 makes -0 equal to 0.
            number = float(value) + 0.0 if abs(value) <= LARGEST_NUMBER else math.nan
            if rule.lowest <= number <= rule.highest and (number > 0 or not rule.above_zero):
                return number
        raise FeatureError(feature.name, _shown(value), expected)

    return encode


def _categories(feature: FeatureSpec) -> str:
    return f"one of {list(feature.categories)}"


def far_outside(X: NDArray[np.float64], schema: CustomerSchema) -> dict[str, int]:
    """How many customers lie far outside of what was learned, by feature; see `FeatureSpec.far`.

    Args:
        X: (n, F) design matrix.
        schema: Its schema.
    """
    counts: dict[str, int] = {}
    for position, feature in enumerate(schema.features):
        if feature.kind == "numeric":
            lowest, highest = feature.far
            far = int(((X[:, position] < lowest) | (X[:, position] > highest)).sum())
            counts |= {feature.name: far} if far else {}
    return counts


def too_far(counts: Mapping[str, int], customers: int, schema: CustomerSchema) -> list[str]:
    """Why customers may not be decided for: a sentence for each feature that too many lie far outside of."""
    told = []
    for name, count in counts.items():
        if count > schema.max_outside_share * customers:
            feature = schema.feature(name)
            told.append(
                f"feature {name!r}: found {count} of {customers} far outside of the {feature.minimum:g} to "
                f"{feature.maximum:g} that was learned, expected at most a share of {schema.max_outside_share:g}; is "
                "it in another unit?"
            )
    return told


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
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return "an integer too large for a number"
    return repr(value[:_SHOWN] if isinstance(value, str) else value)[: _SHOWN + 2]
