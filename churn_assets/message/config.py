"""The `messages:`, `preferences:` and `safety:` sections: what is written, from what, and what may be sent."""

from __future__ import annotations

from datetime import time
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from churn_assets.message.text.languages.packs import LANGUAGES

CORPUS, DEMO_WORLD = "corpus", "demo_world"
OUTCOMES = ("accepted", "stayed", "complained")
"""What may come of a message that was sent: accepted its offer, stayed in the label window, complained."""

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Words = Annotated[str, Field(min_length=1)]
ContactChannel = Literal["sms", "email", "letter", "phone"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServiceRule(_Section):
    """What a message calls the service of the customers whose columns hold these values."""

    text: Annotated[str, Field(pattern=r"^[\p{L}\p{M}\p{N}&+'’./-]+( [\p{L}\p{M}\p{N}&+'’./-]+)*$")]
    """Words of letters of any script, digits and `&+'’./-`; with a letter somewhere."""
    where: dict[Words, str | int | float | bool] = Field(default_factory=dict)
    """Column and value, compared as text; all must hold. Without any, the rule fits everybody."""

    @field_validator("text")
    @classmethod
    def _some_letter(cls, text: str) -> str:
        if not any(map(str.isalpha, text)):
            raise ValueError(f"found {text!r}, expected a name with a letter in it")
        return text


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


class PairRows(MessageRows):
    """How many pairs the embedded corpus writes for each side of the split."""

    test: Count = 1000


class MessagesGates(_Section):
    """What the messages must prove before a model may imitate them."""

    min_distinct: Count = 3000
    """Fewest different texts."""
    min_offer_balance: Share = 0.5
    """Least share of the training rows that the rarest offer has, of what it had if all were told equally often."""
    min_safe_share: Share = 0.95
    """Least share of texts that say nothing that must not be said: a model writes what it was shown."""
    min_sendable_share: Share = 0.9
    """Least share of texts that could be sent as they are, by how they say it too: the others teach what the template
    must stand in for."""


class PreferencesGates(_Section):
    """What the pairs must prove before a reward may be learned from them."""

    min_train: Count = 2000
    min_test: Count = 500
    min_rule_pairs: Count = 20
    """Fewest test pairs of each single edit, where there are such pairs."""
    max_unsafe_preferred: Share = 0.15
    """Largest share of pairs of which a text that must not be sent was preferred to one that may be."""
    max_contradicting: Share = 0.05
    """Largest share of pairs whose opposite stands in the table as well, for the same prompt."""
    max_propensity_z: Annotated[float, Field(gt=0)] = 4.5
    """Largest distance, in standard errors, between a variant's share of the sends and its propensity."""
    max_noise_z: Annotated[float, Field(gt=0)] = 4.0
    """Largest distance, in standard errors, between the labels turned round and `label_noise` (simulated pairs)."""


class _Texts(_Section):
    """Where texts come from: the embedded generator or a file."""

    source: Words = CORPUS

    GENERATED: ClassVar[tuple[str, ...]] = ("rows",)
    """Keys of the generator alone."""

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        ignored = [key for key in self.GENERATED if key in self.model_fields_set]
        if ignored and not self.simulated:
            raise ValueError(f"{', '.join(ignored)} has no meaning with source: {self.source}; leave it out")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the embedded generator writes them."""
        return self.source == CORPUS


class MessagesConfig(_Texts):
    """Where messages to learn from come from.

    `source` is `corpus` (written by the embedded generator: simulated) or a JSONL file (path or `gs://bucket/name`)
    with rows `{"prompt", "completion"}`, see read.py.
    """

    profile: ProfileConfig
    durations: Annotated[tuple[Count, ...], Field(min_length=1)] = (3, 6, 12)
    """Months that an offer may run."""
    rows: MessageRows = MessageRows()
    gates: MessagesGates = MessagesGates()

    @field_validator("durations")
    @classmethod
    def _rising(cls, durations: tuple[int, ...]) -> tuple[int, ...]:
        if list(durations) != sorted(set(durations)):
            raise ValueError(f"found {list(durations)}, expected months that rise")
        return durations


class SendsConfig(_Section):
    """Where messages that were sent, and what came of them, come from.

    `source` is `demo_world` (drawn, and answered by simulated customers: SIMULATED) or a JSONL file, see read.py.
    """

    source: Words = DEMO_WORLD
    rows: Count | None = None
    """How many the demo world answers; 40,000 by default."""
    words: bool | None = None
    """Whether words make a difference in the demo world, as they do by default."""

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        ignored = [name for name in ("rows", "words") if getattr(self, name) is not None]
        if ignored and not self.simulated:
            raise ValueError(f"{', '.join(ignored)} has no meaning with source: {self.source}; leave it out")
        return self

    @property
    def simulated(self) -> bool:
        """Whether the demo world answers."""
        return self.source == DEMO_WORLD


class PreferencesConfig(_Texts):
    """Where preference pairs come from: `corpus`, or a JSONL file with rows `{"prompt", "chosen", "rejected"}`."""

    GENERATED: ClassVar[tuple[str, ...]] = ("edit_share", "label_noise", "min_gap", "rows")
    rows: PairRows = PairRows()
    edit_share: Share = 0.4
    """Share of hard pairs: one text, and the same text with a single edit that breaks one named rule."""
    min_gap: Annotated[float, Field(gt=0, le=2)] = 0.4
    """Least difference in quality of two texts written apart: closer ones are labelled by chance. Measured on a tiny
    reward model, 2,000 pairs: it agrees with 94 % of such labels, with 90 % at 0.25."""
    label_noise: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of pairs whose label is turned round, in every split alike."""
    sends: SendsConfig | None = None
    """Messages that were sent, with what came of them: the rewards, the judge and who writes are then by outcome."""
    gates: PreferencesGates = PreferencesGates()


RuleId = Literal[
    "wrong_discount", "wrong_duration", "missing_offer", "unclear_offer", "other_offer", "other_number",
    "placeholder", "missing_name", "missing_service", "wrong_service", "length", "unfinished", "repetition",
    "banned_phrase", "pressure", "personal_data", "other_person", "characters", "opt_out", "quiet_hours",
    "condition", "other_time", "other_price", "records", "loyalty", "unexplained",
]  # fmt: skip
"""Every rule that a text can break; safety.py says what each means."""

BANNED = (
    "guarantee", "guarantees", "guaranteed", "promise", "promises", "promised", "forever", "never", "for life",
    "lifetime", "permanent", "permanently", "indefinitely", "for good", "until", "as long as you", "risk free",
    "no risk", "locked in", "price lock", "best price", "lowest price", "cheapest", "unlimited", "for free",
    "free month", "free months", "month free", "months free", "free of charge", "free gift", "no charge",
    "at no cost", "gift card", "voucher", "cash back", "cashback", "refund", "password", "pin code",
    "social security", "credit card", "card number", "bank account", "date of birth",
)  # fmt: skip
PRESSURE = (
    "last chance", "act now", "reply now", "lose it", "do not wait", "final notice", "urgent", "immediately",
    "you should have", "your complaint", "everyone deals with", "attention", "records say",
)  # fmt: skip
GIFTS = (
    "gift", "gifts", "giveaway", "bonus", "bonuses", "upgrade", "upgrades", "router", "routers", "modem", "tablet",
    "laptop", "headset", "headphones", "earphones", "speaker", "smart watch", "console", "set top box", "sim card",
    "new phone", "free phone", "power bank", "mug", "t shirt", "movie tickets", "cinema tickets",
)  # fmt: skip
FIRST_NAMES = (
    "Aisha", "Alice", "Amanda", "Amara", "Anna", "Anthony", "Barbara", "Betty", "Brian", "Carlos", "Carol", "Charles",
    "Christopher", "Daniel", "David", "Deborah", "Donald", "Dorothy", "Edward", "Elena", "Elizabeth", "Emily", "Emma",
    "Fatima", "George", "Hannah", "Helen", "Ivan", "James", "Jason", "Jennifer", "Jessica", "John", "Jose", "Joseph",
    "Joshua", "Julia", "Karen", "Kenneth", "Kevin", "Kimberly", "Kofi", "Laura", "Linda", "Lisa", "Lucas", "Luis",
    "Margaret", "Maria", "Matthew", "Mei", "Melissa", "Michael", "Michelle", "Mohammed", "Nancy", "Noah", "Olivia",
    "Omar", "Patricia", "Paul", "Peter", "Priya", "Rebecca", "Richard", "Robert", "Ronald", "Ryan", "Samantha",
    "Sandra", "Sarah", "Sharon", "Sofia", "Stephanie", "Steven", "Susan", "Thomas", "Timothy", "Tom", "Wei", "William",
    "Zara",
)  # fmt: skip


class QuietHours(_Section):
    """When nobody is written to, by the customer's own clock: from `start` until before `end`, over midnight or not."""

    start: time = time(21, 0)
    end: time = time(8, 0)

    @model_validator(mode="after")
    def _some_hours(self) -> Self:
        for name, hour in (("start", self.start), ("end", self.end)):
            if hour.tzinfo is not None:
                raise ValueError(
                    f"{name}: found {hour.isoformat()}, expected a time without an offset, such as {hour:%H:%M}: quiet "
                    "hours are by each customer's own clock"
                )
        if self.start == self.end:
            raise ValueError(
                f"start and end are both {self.start:%H:%M}; leave quiet_hours out (null) for none"
            )
        return self


class SafetyRules(_Section):
    """The `safety:` section: what a text may and must say to be sent. safety.py holds texts to it."""

    language: str = "en"
    """What texts are written and judged in: a language pack of message/text/languages, by its ISO 639 code. Its pack
    brings its own defaults of the keys below."""
    min_words: Count = 8
    max_words: Count = 90
    required: tuple[Literal["offer", "name", "service"], ...] = ("offer",)
    """What a text must say: whatever its arm offers, the placeholder of the name, the service."""
    banned_phrases: tuple[Words, ...] = BANNED
    """Guarantees, promises and things that a message must not ask for."""
    pressure_phrases: tuple[Words, ...] = PRESSURE
    gift_phrases: tuple[Words, ...] = GIFTS
    """Words for things given: said of an arm's own gift only, where the menu has a gift or the arm is no discount."""
    generic_services: tuple[Words, ...] = ("bill", "monthly bill", "price", "plan", "service", "account")
    """What a discount may be on, besides the customer's service."""
    first_names: tuple[Words, ...] = FIRST_NAMES
    """Names that give away that a text speaks of somebody: the customer's own is a placeholder."""
    extra_characters: str = "’‘“”–—…"
    """Allowed besides printable ASCII and line breaks."""
    opt_out_channels: tuple[ContactChannel, ...] = ("sms", "email")
    """Channels on which a text must say how to be left alone."""
    opt_out_phrases: Annotated[tuple[Words, ...], Field(min_length=1)] = ("opt out", "unsubscribe")
    quiet_hours: QuietHours | None = QuietHours()
    sentences: tuple[Words, ...] = ()
    """More sentences that may be said, as they stand here, besides those that the language's grammar and the templates
    explain. `{offer}` (or `{percent}%` and `{duration}`), `{service}` and `{name}` stand for what is true."""
    loyal_months: Count = 24
    """From how many months with us on somebody may be thanked for years."""
    warn: tuple[RuleId, ...] = ()
    """Rules that are reported only; a text that breaks any other is not sent."""
    template: Words = (
        "Hello {name}, thank you for being our customer. We would like to offer you {offer}. Please reply YES to "
        "accept. Kind regards, your support team. Reply STOP to opt out."
    )
    """What is sent instead of such a text. `{offer}` says any arm; `{percent}` and `{duration}` only percents off."""
    contact_template: Words = (
        "Hello {name}, thank you for being our customer. We would like to hear how your {service} is working for you. "
        "Please tell us a good time to talk. Kind regards, your support team. Reply STOP to opt out."
    )
    """The same for a contact that brings nothing."""

    @model_validator(mode="after")
    def _of_the_language(self) -> Self:
        if self.language not in LANGUAGES:
            raise ValueError(
                f"language: found {self.language!r}, expected one of {', '.join(sorted(LANGUAGES))}: a language "
                "without a pack cannot be judged"
            )
        for name, value in LANGUAGES[self.language].defaults.items():
            if name not in self.model_fields_set:
                object.__setattr__(self, name, value)  # frozen from here on
        return self

    @field_validator("template")
    @classmethod
    def _says_the_offer(cls, template: str) -> str:
        missing = [name for name in ("{percent}%", "{duration}") if name not in template]
        if "{offer}" not in template and missing:
            raise ValueError(
                f"{' and '.join(missing)} is missing; expected a text that says the offer, by {{offer}} or by both"
            )
        return template

    @field_validator("contact_template")
    @classmethod
    def _says_no_offer(cls, template: str) -> str:
        said = [name for name in ("{offer}", "{percent}", "{duration}") if name in template]
        if said:
            raise ValueError(f"found {said[0]}; expected a text that offers nothing")
        return template

    @model_validator(mode="after")
    def _some_length(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        return self
