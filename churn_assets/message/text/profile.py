"""What a message may use of a customer, and the one place that writes a prompt. No model, no text of a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from churn_assets.customers.columns import as_text
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import ProfileConfig


class ProfileError(ValueError):
    """A customer's profile cannot be made; names the key, the column or customer, found and expected."""


@dataclass(frozen=True)
class Profile:
    """All that a prompt tells of a customer. Never the name, and never how likely they are to leave.

    Attributes:
        service: What the customer pays for, in the words that a message uses.
        bill: List price a month, in the table's currency.
        tenure_months: Whole months since joining; None where the table does not say.
        contract: The kind of contract, in words; None where the table does not say.
    """

    service: str
    bill: float
    tenure_months: int | None = None
    contract: str | None = None


@dataclass(frozen=True, order=True)
class Offer:
    """A discount: share of the list price (0.2 is 20 %), and for how many months."""

    pct: float
    months: int

    @property
    def percent(self) -> str:
        """The discount as it is written before a percent sign: `20`, `12.5`."""
        return f"{round(100 * self.pct, 6):g}"

    @property
    def duration(self) -> str:
        """The duration in words: `1 month`, `6 months`."""
        return _months(self.months)


def prompt_of(profile: Profile, offer: Offer) -> str:
    """The prompt that every message is written for, in training and serving alike.

    Ends without a space: a completion starts with one, as the tokenizers of GPT-like models expect.
    """
    told = {
        "Service": profile.service,
        "Contract": profile.contract,
        "Months with us": profile.tenure_months,
        "Bill": f"{profile.bill:.0f}",
        "Offer": f"{offer.percent}% off for {offer.duration}",
    }
    return " | ".join(f"{key}: {value}" for key, value in told.items() if value is not None) + "\nMessage:"


def _months(number: int) -> str:
    return f"{number} month" if number == 1 else f"{number} months"


def profiles_of(table: CustomerTable, config: ProfileConfig) -> dict[str, Profile]:
    """The profile of each customer, by id.

    Raises:
        ProfileError: a column that the config names is missing, no service rule fits a customer, or a kind of
            contract has no words.
    """
    services = _services(table, config)
    contracts = _contracts(table, config)
    tenure = table.schema.tenure
    months = None if tenure is None else table.frame[tenure].to_numpy(np.float64)
    return {
        str(customer): Profile(
            service=services[row],
            bill=float(table.price[row]),
            tenure_months=None if months is None else int(months[row]),
            contract=contracts[row],
        )
        for row, customer in enumerate(table.ids)
    }


def _services(table: CustomerTable, config: ProfileConfig) -> list[str]:
    found = np.full(len(table), "", dtype=object)
    for number, rule in enumerate(config.services):
        fits = np.ones(len(table), dtype=bool)
        for column, value in rule.where.items():
            fits &= _texts(table, column, f"messages.profile.services.{number}.where") == as_text(value)
        found[fits & (found == "")] = rule.text
    if (found == "").any():
        customer = table.ids[found == ""][0]
        raise ProfileError(
            f"messages.profile.services: no rule fits customer {customer} ({int((found == '').sum())} in all); "
            "expected a last rule without conditions, or one for them"
        )
    return [str(text) for text in found]


def _contracts(table: CustomerTable, config: ProfileConfig) -> list[str | None]:
    if config.contract is None:
        return [None] * len(table)
    words: Mapping[str, str] = config.contract.texts
    found = _texts(table, config.contract.column, "messages.profile.contract.column")
    unknown = sorted(set(found) - set(words))
    if unknown:
        raise ProfileError(
            f"messages.profile.contract.texts: found {unknown[0]!r} in column {config.contract.column!r}, "
            f"expected one of {sorted(words)}"
        )
    return [words[text] for text in found]


def _texts(table: CustomerTable, column: str, key: str) -> pd.Series:
    if column not in table.schema.names:
        raise ProfileError(f"{key}: found column {column!r}, expected one of {list(table.schema.names)}")
    return table.frame[column].map(as_text)
