"""What a message may use of a customer, and the one place that writes a prompt. No model, no text of a message."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from churn_assets.arms import Arm
from churn_assets.customers.schema import CustomerSchema
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import ContractWords, ProfileConfig
from churn_assets.message.text.terms import prompt_words
from churn_assets.tables.text import as_text

Features = Mapping[str, float | str | None]


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
        currency: Of the bill and of whatever is taken off it, ISO 4217.
    """

    service: str
    bill: float
    tenure_months: int | None = None
    contract: str | None = None
    currency: str = "USD"


def prompt_of(profile: Profile, arm: Arm) -> str:
    """The prompt that every message is written for, in training and serving alike.

    Ends without a space: a completion starts with one, as the tokenizers of GPT-like models expect.
    """
    told = {
        "Service": profile.service,
        "Contract": profile.contract,
        "Months with us": profile.tenure_months,
        "Bill": f"{profile.bill:.0f}",
        "Offer": prompt_words(arm, profile.currency),
    }
    return " | ".join(f"{key}: {value}" for key, value in told.items() if value is not None) + "\nMessage:"


class ProfileReader:
    """Reads what a message may say of a customer, from one customer's features or from a table, by the same rules.

    Args:
        schema: Of the customers.
        config: Which columns mean what.
        currency: Of their bills, ISO 4217.

    Raises:
        ProfileError: A column that the config names is no feature.
    """

    def __init__(self, schema: CustomerSchema, config: ProfileConfig, currency: str = "USD") -> None:
        self._schema = schema
        self._currency = currency
        self._contract = config.contract
        self._constants = {each.name: each.constant for each in schema.features if each.constant is not None}
        self._services = [
            (rule.text, {column: as_text(value) for column, value in rule.where.items()})
            for rule in config.services
        ]
        self._where = frozenset(column for _, where in self._services for column in where)
        for number, rule in enumerate(config.services):
            for column in rule.where:
                self._known(column, f"messages.profile.services.{number}.where")
        if config.contract is not None:
            self._known(config.contract.column, "messages.profile.contract.column")

    def profile(self, features: Features) -> Profile | None:
        """One customer's; None where no rule names the service, so that nothing can be said.

        A kind of contract without words is left out: whoever asks may know a new one.
        """
        features = self._constants | dict(features)
        texts = {name: as_text(features[name]) for name in self._where}
        service = next((service for service, where in self._services if where.items() <= texts.items()), None)
        if service is None:
            return None
        kind = self._contract
        contract = None if kind is None else kind.texts.get(as_text(features[kind.column]))
        tenure = features[self._schema.tenure] if self._schema.tenure else None
        months = None if tenure is None or tenure != tenure else int(float(tenure))
        bill = float(features[self._schema.monthly_revenue] or 0)
        return Profile(service, bill, months, contract, self._currency)

    def profiles(self, table: CustomerTable) -> list[Profile]:
        """(n,) the profile of each row.

        Raises:
            ProfileError: No service rule fits a customer, or a kind of contract has no words.
        """
        if self._contract is not None:
            self._refuse_unknown(self._contract, table)
        names = self._schema.names
        rows = zip(*(table.frame[name].tolist() for name in names), strict=True)
        found = [self.profile(dict(zip(names, row, strict=True))) for row in rows]
        if None in found:
            raise ProfileError(
                f"messages.profile.services: no rule fits the customer of row {found.index(None) + 1} of the table "
                f"({found.count(None)} in all); expected a last rule without conditions, or one for them"
            )
        return [profile for profile in found if profile is not None]

    def _refuse_unknown(self, contract: ContractWords, table: CustomerTable) -> None:
        if unknown := sorted(set(table.frame[contract.column].map(as_text)) - set(contract.texts)):
            raise ProfileError(
                f"messages.profile.contract.texts: found {unknown[0]!r} in column {contract.column!r}, "
                f"expected one of {sorted(contract.texts)}"
            )

    def _known(self, column: str, key: str) -> None:
        if column not in self._schema.names:
            raise ProfileError(f"{key}: found column {column!r}, expected one of {list(self._schema.names)}")


def profiles_of(table: CustomerTable, config: ProfileConfig, currency: str = "USD") -> dict[str, Profile]:
    """The profile of each customer, by id.

    Raises:
        ProfileError: A column that the config names is missing, no service rule fits a customer, or a kind of
            contract has no words.
    """
    found = ProfileReader(table.schema, config, currency).profiles(table)
    return dict(zip(map(str, table.ids), found, strict=True))
