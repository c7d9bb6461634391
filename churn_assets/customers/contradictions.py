"""What contradicts itself in a `customers:` section, whatever table it reads. Reads no data."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from churn_assets.tables.rules import FIRST_DAY, LARGEST_NUMBER, LAST_DAY, TRUTHS

if TYPE_CHECKING:
    from churn_assets.customers.config import CustomersConfig


def contradictions(config: CustomersConfig) -> list[str]:
    """All of them, a sentence each; empty where the section can be kept by some table."""
    return [*_roles(config), *_labels(config), *_numbers(config)]


def _roles(config: CustomersConfig) -> Iterator[str]:
    """Columns that two keys want for different things."""
    named = {role: column for role in ("id", "row_date") if (column := getattr(config, role))}
    named |= {"label.column": config.label.column}
    priced = named | {"monthly_revenue": config.monthly_revenue}
    optional = {f"optional.{role}": column for role in type(config.optional).model_fields
                if (column := getattr(config.optional, role))}  # fmt: skip
    left_out = {"exclude": set(config.exclude) - set(config.groups)}
    taken = {role: {column} for role, column in optional.items()}
    for key, others in {
        "dates": {role: {column} for role, column in priced.items()} | left_out | taken,
        "constants": {role: {column} for role, column in named.items()}
        | left_out
        | {"dates": {*config.dates}},
        "blank_means": {role: {column} for role, column in named.items()} | left_out,
        "kinds": taken,
    }.items():
        for column in getattr(config, key):
            for other, columns in others.items():
                if column in columns:
                    yield f"{key}: column {column!r} is {other}, too; leave it out of one of them"
    seen = {column: role for role, column in config.role_columns.items()}
    for role, column in optional.items():
        if column in config.exclude:
            yield f"exclude: column {column!r} is {role}, which is no feature anyway; leave it out of one of them"
        if column in seen:
            yield f"{role}: column {column!r} is {seen[column]}, too; one column means one thing"
        seen[column] = role
    dropped = {column for column, rule in config.path_dependent.items() if rule == "drop"}
    for column in config.groups:
        for role, columns in {"path_dependent, which drops it": dropped, "constants": {*config.constants},
                              "dates": {*config.dates}}.items():  # fmt: skip
            if column in columns:
                yield f"groups: column {column!r} is {role}, too; to keep it as a group alone, write it under exclude"
    for column in config.dates:
        if config.kinds.get(column) == "categorical":
            yield f"kinds.{column}: a column of dates is a number of months, found categorical"


def _labels(config: CustomersConfig) -> Iterator[str]:
    """Values of the label that mean two things, or nothing."""
    label, meant = config.label, dict[str, str]()
    positive = label.positive if isinstance(label.positive, tuple) else (label.positive,)
    if label.positive is not None and not all(str(each).strip() for each in positive or ("",)):
        yield "label.positive: found no value, expected what means that a customer left"
    for key, values in (("positive", positive), ("negative", label.negative or ()), ("ignore", label.ignore)):
        for value in values:
            text = str(value).strip()
            text = str(TRUTHS.get(text.casefold(), text))
            if value is not None and meant.setdefault(text, key) != key:
                yield f"label.{key}: {value!r} is {meant[text]}, too; one value means one thing"
            if key != "ignore" and value is not None and str(value).strip() in config.reading.blanks:
                yield f"reading.blanks: {value!r} is no value there, and label.{key}"


def _numbers(config: CustomersConfig) -> Iterator[str]:
    """Values that their own columns do not take."""
    numeric = {config.monthly_revenue, config.tenure, *config.dates, *config.ranges}
    numeric |= {name for name, kind in config.kinds.items() if kind == "numeric"}
    for key in ("constants", "blank_means"):
        for column, value in getattr(config, key).items():
            if isinstance(value, str):
                if column in numeric:
                    yield f"{key}.{column}: found {value!r}, expected a number, as the column holds"
                continue
            low, high = config.ranges.get(column, (-LARGEST_NUMBER, LARGEST_NUMBER))
            too_small = (column == config.monthly_revenue and value <= 0) or (
                column == config.tenure and value < 0
            )
            if too_small or not low <= value <= high:
                yield f"{key}.{column}: found {value:g}, which the column does not take"
            if key == "constants" and config.kinds.get(column) == "categorical":
                yield f"kinds.{column}: everybody has a number there by constants, found categorical"
    for column, (_, high) in config.ranges.items():
        if (column == config.monthly_revenue and high <= 0) or (column == config.tenure and high < 0):
            yield f"ranges.{column}: found {high:g} at most, which leaves no value that the column takes"
    if config.as_of is not None and not FIRST_DAY <= config.as_of <= LAST_DAY:
        yield f"as_of: found {config.as_of}, expected a day from 1990 to 2100, as all dates"
    elif config.as_of is not None and config.as_of > (
        tomorrow := datetime.now(UTC).date() + timedelta(days=1)
    ):
        yield f"as_of: found {config.as_of}, expected a day up to {tomorrow}: features describe no later one"
