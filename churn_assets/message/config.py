"""The `messages:`, `preferences:` and `safety:` sections: what is written, from what, and what may be sent."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

CORPUS = "corpus"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Words = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceRule(_Section):
    """What a message calls the service of the customers whose columns hold these values."""

    text: Annotated[str, Field(pattern=r"^[A-Za-z]+( [A-Za-z]+)*$")]
    where: dict[Words, str | int | float | bool] = Field(default_factory=dict)
    """Column and value, compared as text; all must hold. Without any, the rule fits everybody."""


class ContractWords(_Section):
    """What a prompt calls each kind of contract."""

    column: Words
    texts: Annotated[dict[str, Words], Field(min_length=1)]


class ProfileConfig(_Section):
    """How a customer's row becomes what a message may use of it. Bill and tenure have their roles already."""

    services: Annotated[tuple[ServiceRule, ...], Field(min_length=1)]
    """The first rule that fits names the service."""
    contract: ContractWords | None = None

    @model_validator(mode="after")
    def _services_can_be_told_apart(self) -> Self:
        texts = [text.casefold() for text in self.service_texts]
        for text in texts:
            if any(text in other for other in texts if other != text):
                raise ValueError(
                    f"services: {text!r} stands within another service's text: they cannot be told apart"
                )
        return self

    @property
    def service_texts(self) -> tuple[str, ...]:
        """Every service that a message may name, once each."""
        return tuple(dict.fromkeys(rule.text for rule in self.services))


class MessageRows(_Section):
    """How many rows the embedded corpus writes for each side of the split."""

    train: Count = 4000
    validation: Count = 400
    test: Count = 2000


class PairRows(_Section):
    """How many pairs the embedded corpus writes for each side of the split."""

    train: Count = 4000
    validation: Count = 400
    test: Count = 1000


class MessagesConfig(_Section):
    """Where messages to learn from come from.

    `source` is `corpus` (written by the embedded generator: simulated) or the path of a JSONL file with rows
    `{"prompt", "completion"}`, see read.py.
    """

    source: Words = CORPUS
    profile: ProfileConfig
    durations: Annotated[tuple[Count, ...], Field(min_length=1)] = (3, 6, 12)
    """Months that an offer may run."""
    rows: MessageRows = MessageRows()

    @field_validator("durations")
    @classmethod
    def _rising(cls, durations: tuple[int, ...]) -> tuple[int, ...]:
        if list(durations) != sorted(set(durations)):
            raise ValueError(f"found {list(durations)}, expected months that rise")
        return durations

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        if not self.simulated and "rows" in self.model_fields_set:
            raise ValueError(f"rows has no meaning with source: {self.source}; leave it out")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the embedded generator writes the messages."""
        return self.source == CORPUS


class PreferencesConfig(_Section):
    """Where preference pairs come from: `corpus`, or a JSONL file with rows `{"prompt", "chosen", "rejected"}`."""

    source: Words = CORPUS
    rows: PairRows = PairRows()
    edit_share: Share = 0.4
    """Share of hard pairs: one text, and the same text with a single edit that breaks one named rule."""
    min_gap: Annotated[float, Field(gt=0, le=2)] = 0.25
    """Least difference in quality of two texts written apart. Nobody could label closer ones but by chance."""
    label_noise: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of pairs whose label is turned round, in every split alike."""

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        ignored = sorted({"rows", "edit_share", "min_gap", "label_noise"} & self.model_fields_set)
        if ignored and not self.simulated:
            raise ValueError(f"{', '.join(ignored)} has no meaning with source: {self.source}; leave it out")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the embedded generator writes the pairs."""
        return self.source == CORPUS
