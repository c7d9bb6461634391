"""The messages of a release: one writer, for a whole table and for one customer of a request alike. Decides nothing.

Without a text model every message is the template. With one, its text is sent where it was finished in time and keeps
the rules; else the template stands in, and the message says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel, ConfigDict

from churn_assets.arms import Arm
from churn_assets.customers.schema import CustomerSchema
from churn_assets.message.config import ContactChannel, ProfileConfig, QuietHours, SafetyRules, ServiceRule
from churn_assets.message.model.author import Author
from churn_assets.message.model.repeats import DRAFTS, RawText, said_anew
from churn_assets.message.model.writing import (
    NO_MODEL,
    NOT_IN_TIME,
    Message,
    Situation,
    judged_message,
)
from churn_assets.message.text.profile import Profile, ProfileReader
from churn_assets.message.text.safety import Safety, SendRequest
from churn_assets.message.text.template import Outgoing, TemplateError, outgoing
from churn_assets.message.training.config import Sampling

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.customers.table import CustomerTable
    from churn_assets.message.model.language_model import LanguageModel
    from churn_assets.tables.raw import RawTable

WHOLE_BILL = "monthly bill"
"""What a discount is on where no profile says what the customer pays for."""
_NO_PROFILE = ProfileConfig(services=(ServiceRule(text=WHOLE_BILL),))
_TEMPLATES_KEPT = 4096
NOTHING_SENT: Mapping[str, tuple[str, ...]] = MappingProxyType({})


class Writing(BaseModel):
    """How a release's messages are written.

    Attributes:
        safety: What every text must keep to be sent, and the template that is sent in place of one that does not.
        currency: Of bills and amounts, ISO 4217.
        gifts: Every gift of the menu, in the words of a message: no text speaks of another than its arm's.
        profile: How a customer's row becomes what a prompt says of them; None without the message branch.
        max_new_tokens: Most tokens of a message; 0 without the message branch.
        sampling: Which tokens are drawn, and how.
        seed: Of the model's draws.
        author: Who writes: the template also where a model is there that is not better.
        author_reason: Why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    safety: SafetyRules
    currency: str = "USD"
    gifts: tuple[str, ...] = ()
    profile: ProfileConfig | None
    max_new_tokens: int
    sampling: Sampling
    seed: int
    author: Author = "model"
    author_reason: str = ""


class TextModel(Protocol):
    """Whatever writes raw texts."""

    def write(
        self, situations: Sequence[Situation], n: int, deadline_s: float | None
    ) -> Sequence[Sequence[RawText]]:
        """`n` texts for each situation; those that are not done after `deadline_s` seconds are not `ended`."""


class ReleasedModel:
    """The language model of a release, drawn from as its `Writing` says. Needs torch.

    Args:
        model: As loaded.
        writing: How its messages are written.
        device: Where it runs.
    """

    def __init__(self, model: LanguageModel, writing: Writing, device: str = "cpu") -> None:
        from churn_assets.message.model.generation import Writer
        from churn_assets.message.model.masks import TokenMasks

        self._writer = Writer.of(model, device)
        self._writing = writing
        self._masks = TokenMasks(model.tokenizer, writing.safety)
        self._safety = _safety(writing)

    def write(
        self, situations: Sequence[Situation], n: int, deadline_s: float | None
    ) -> Sequence[Sequence[RawText]]:
        """See `TextModel`."""
        from churn_assets.message.model.generation import generate
        from churn_assets.message.model.masks import guide_of

        return generate(
            self._writer,
            [each.prompt for each in situations],
            guide=guide_of(self._masks, self._safety, situations),
            seed=self._writing.seed,
            max_new_tokens=self._writing.max_new_tokens,
            sampling=self._writing.sampling,
            n=n,
            deadline_s=deadline_s,
        )


@dataclass(frozen=True)
class _Unwritten:
    text: str = ""
    ended: bool = False


UNWRITTEN: RawText = _Unwritten()
"""The raw text of a model that had no time."""


class MessageWriter:
    """Writes the messages of one release.

    Args:
        writing: Its rules.
        texts: Its text model; None where the release has no message branch: then every text is the template.
    """

    def __init__(self, writing: Writing, texts: TextModel | None = None) -> None:
        self.writing = writing
        self.safety = _safety(writing)
        self._texts = texts
        # Not a method's: a writer that refers to itself would outlive its release until memory is searched for it.
        self._template = lru_cache(_TEMPLATES_KEPT)(
            partial(_judged_template, self.safety, writing.safety.quiet_hours)
        )

    @classmethod
    def of(cls, writing: Writing, model: LanguageModel | None, device: str = "cpu") -> MessageWriter:
        """The writer of a release whose language model was loaded, or that has none; the template where that writes."""
        unused = model is None or writing.author == "template"
        return cls(writing, None if model is None or unused else ReleasedModel(model, writing, device))

    @property
    def _profile_config(self) -> ProfileConfig:
        return _profile_of(self.writing)

    @property
    def _no_model(self) -> str:
        return self.writing.author_reason if self.writing.author == "template" else NO_MODEL

    @property
    def has_model(self) -> bool:
        """Whether a model writes at all."""
        return self._texts is not None

    def reader(self, schema: CustomerSchema) -> ProfileReader:
        """What reads the profiles of customers of this schema.

        Raises:
            ProfileError: The schema has not the columns that the messages speak of.
        """
        return ProfileReader(schema, self._profile_config, self.writing.currency)

    def unsendable(self, arms: Iterable[Arm]) -> list[str]:
        """Why the template cannot be sent: a line for each arm and service that it cannot say within the rules."""
        problems = []
        for arm in (each for each in arms if each.contacts):
            for service in sorted(self._profile_config.service_texts):
                try:
                    self._plain(
                        Situation("", Profile(service, 0.0, currency=self.writing.currency), arm), None
                    )
                except TemplateError as error:
                    problems.append(f"arm {arm.id!r}, service {service!r}: {error}")
        return problems

    def situations(
        self, table: CustomerTable, arms: Sequence[Arm], before: Mapping[str, tuple[str, ...]] = NOTHING_SENT
    ) -> list[Situation]:
        """Each customer with the arm that was decided, and what they were sent before.

        Raises:
            ProfileError: No service fits a customer.
        """
        profiles = self.reader(table.schema).profiles(table)
        return [
            Situation(str(customer), profile, arm, before.get(str(customer), ()))
            for customer, profile, arm in zip(table.ids, profiles, arms, strict=True)
        ]

    def write(
        self,
        situations: Sequence[Situation],
        *,
        n: int = 1,
        request: SendRequest | None = None,
        deadline_s: float | None = None,
    ) -> list[list[Message]]:
        """`n` messages for each situation; one where no model writes.

        Raises:
            TemplateError: The template is needed and cannot say an arm, or breaks a rule itself.
        """
        drafts = self.drafts(situations, n=n, deadline_s=deadline_s)
        return [
            [self.judged(each, draft, request) for draft in of_each]
            for each, of_each in zip(situations, drafts, strict=True)
        ]

    def drafts(
        self, situations: Sequence[Situation], *, n: int = 1, deadline_s: float | None = None
    ) -> Sequence[Sequence[RawText]]:
        """The slow half of `write`: raw texts, judged by nobody yet."""
        if self._texts is None or not situations:
            return [[UNWRITTEN] for _ in situations]
        return self._texts.write(situations, n, deadline_s)

    def draft_each(
        self, situations: Sequence[Situation], *, deadline_s: float | None = None
    ) -> list[RawText]:
        """A draft for each, which says something else than what they were sent before; see `said_anew`."""
        first = [of_each[0] for of_each in self.drafts(situations, deadline_s=deadline_s)]
        if self._texts is None:
            return first
        return said_anew(situations, first, lambda some: self.drafts(some, n=DRAFTS, deadline_s=deadline_s))

    def judged(self, situation: Situation, draft: RawText, request: SendRequest | None = None) -> Message:
        """The quick half of `write`: what is sent of a raw text.

        Raises:
            TemplateError: As of `write`.
        """
        if self._texts is not None and draft.ended:
            return judged_message(situation, draft.text, self.safety, request, ended=True)
        reason = self._no_model if self._texts is None else NOT_IN_TIME
        return Message(draft.text, ended=False, sent=self._plain(situation, request), reason=reason)

    def _plain(self, situation: Situation, request: SendRequest | None) -> Outgoing:
        profile, channel = situation.profile, None if request is None else request.channel
        now = None if request is None else request.local_time
        waits = hours_left(now, self.writing.safety.quiet_hours) > 0
        return self._template(profile.service, profile.currency, situation.arm, channel, waits)


def _profile_of(writing: Writing) -> ProfileConfig:
    return writing.profile or _NO_PROFILE


def _safety(writing: Writing) -> Safety:
    return Safety(writing.safety, _profile_of(writing).service_texts, writing.gifts)


def _judged_template(
    safety: Safety,
    hours: QuietHours | None,
    service: str,
    currency: str,
    arm: Arm,
    channel: ContactChannel | None,
    quiet: bool,
) -> Outgoing:
    """The template depends on no more of a customer than the service: it is judged once for all of them."""
    request = SendRequest(channel, hours.start if quiet and hours else None)
    return outgoing(None, Profile(service, bill=0.0, currency=currency), arm, safety, request)


def hours_left(now: time | None, quiet: QuietHours | None) -> float:
    """Hours until quiet hours end; 0 outside of them, or where the customer's clock is unknown."""
    if now is None or quiet is None:
        return 0.0
    length = _minutes(quiet.start, quiet.end)
    since = _minutes(quiet.start, now)
    return (length - since) / 60 if since < length else 0.0


def _minutes(start: time, end: time) -> float:
    """Minutes from one clock time to the next other."""
    seconds = (end.hour - start.hour) * 3600 + (end.minute - start.minute) * 60 + end.second - start.second
    return seconds % 86_400 / 60


def messages_for(
    raw: pd.DataFrame | RawTable,
    arms: Sequence[Arm],
    schema: CustomerSchema,
    writer: MessageWriter,
    before: Mapping[str, tuple[str, ...]] = NOTHING_SENT,
) -> pd.DataFrame:
    """What to send to everybody who is contacted, with the placeholder of the name.

    Args:
        raw: Customers as they came in.
        arms: What was decided for each, in the same order.
        schema: What the release takes for a customer.
        writer: The release's.
        before: Texts that customers were sent, by id: they are told something else.

    Returns:
        One row a customer, indexed by position: `message` (empty without a contact), `written_by` (`model`, `template`
        or empty) and `refused_because` (rules that the model's text broke).
    """
    import numpy as np
    import pandas as pd

    from churn_assets.customers.table import prepare

    contacted = np.array([arm.contacts for arm in arms], bool)
    rows = pd.DataFrame({"message": "", "written_by": "", "refused_because": ""}, index=range(len(arms)))
    if contacted.any():
        table = prepare(raw, schema).where(contacted)
        situations = writer.situations(table, [arm for arm in arms if arm.contacts], before)
        drafts = writer.draft_each(situations)
        written = [writer.judged(*each) for each in zip(situations, drafts, strict=True)]
        rows.loc[contacted, "message"] = [each.sent.text for each in written]
        rows.loc[contacted, "written_by"] = [each.sent.written_by for each in written]
        rows.loc[contacted, "refused_because"] = [", ".join(each.sent.verdict.rules) for each in written]
    return rows
