"""From decisions to texts that may be sent: the model's within its time, else the template, marked. Trains nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import time
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Protocol

from churn_assets.customers.columns import as_text
from churn_assets.customers.schema import CustomerSchema
from churn_assets.message.config import ProfileConfig, QuietHours, ServiceRule
from churn_assets.message.text.profile import Offer, Profile, ProfileError, prompt_of
from churn_assets.message.text.safety import Request, Safety
from churn_assets.message.text.template import Outgoing, outgoing
from churn_assets.release.bundle import Writing
from churn_assets.release.messages import WHOLE_BILL
from churn_assets.serving.schemas import MessageView, SafetyView

if TYPE_CHECKING:
    from churn_assets.message.model.language_model import LanguageModel

Features = Mapping[str, float | str | None]

_NO_PROFILE = ProfileConfig(services=(ServiceRule(text=WHOLE_BILL),))
"""What a message says of a customer where the release does not say what may be said."""

_TEMPLATES_KEPT = 4096


class MessageWriter(Protocol):
    """What a release's text model looks like to the server."""

    def write(self, asked: Sequence[tuple[Profile, Offer]], seconds: float) -> Sequence[str | None]:
        """A text for each, in order, with the placeholder of the name; None for what was not done in time.

        Args:
            asked: For whom, and the offer to be told.
            seconds: Longest time for all of them together.
        """


class ModelWriter:
    """The text model of a release. Needs torch, which a release without the message branch does not.

    Args:
        model: As loaded.
        writing: How its messages are written.
    """

    def __init__(self, model: LanguageModel, writing: Writing) -> None:
        from churn_assets.message.model.generation import Writer

        self._writer = Writer.of(model)
        self._writing = writing

    def write(self, asked: Sequence[tuple[Profile, Offer]], seconds: float) -> Sequence[str | None]:
        """See `MessageWriter`; a text that the model did not end by itself is none."""
        from churn_assets.message.model.generation import generate

        written = generate(
            self._writer,
            [prompt_of(profile, offer) for profile, offer in asked],
            seed=self._writing.seed,
            max_new_tokens=self._writing.max_new_tokens,
            sampling=self._writing.sampling,
            deadline_s=seconds,
        )
        return [text.text if text.ended else None for (text,) in written]


@dataclass(frozen=True)
class Wanted:
    """A message to be made.

    Attributes:
        features: Of the customer, as in the question.
        offer_pct: The offer decided, above 0.
        local_time: The customer's clock; None where nothing is known of it, so no hour is quiet.
    """

    features: Features
    offer_pct: float
    local_time: time | None


class ProfileReader:
    """Reads from one customer's features what a message may say, as `message.profile` reads it from a table.

    Args:
        schema: Of the release.
        config: Which columns mean what.

    Raises:
        ProfileError: A column of the config is no feature of the release.
    """

    def __init__(self, schema: CustomerSchema, config: ProfileConfig) -> None:
        columns = {column for rule in config.services for column in rule.where}
        columns |= {config.contract.column} if config.contract else set()
        unknown = sorted(columns - set(schema.names))
        if unknown:
            raise ProfileError(
                f"messages.profile: found column {unknown[0]!r}, expected one of {list(schema.names)}"
            )
        self._schema = schema
        self._contract = config.contract
        self._services = tuple(
            (rule.text, tuple((column, as_text(value)) for column, value in rule.where.items()))
            for rule in config.services
        )

    def profile(self, features: Features) -> Profile | None:
        """The profile; None where no rule names the customer's service, so that nothing can be said."""
        service = next(
            (
                text
                for text, where in self._services
                if all(as_text(features[column]) == value for column, value in where)
            ),
            None,
        )
        if service is None:
            return None
        tenure = features[self._schema.tenure] if self._schema.tenure else None
        contract = None
        if self._contract is not None:
            contract = self._contract.texts.get(as_text(features[self._contract.column]))
        return Profile(
            service=service,
            bill=float(features[self._schema.monthly_revenue] or 0),
            tenure_months=None if tenure is None else int(float(tenure)),
            contract=contract,
        )


class Messages:
    """The messages of one release.

    Args:
        schema: Of its customers.
        writing: How its messages are written.
        writer: Its text model; None where it has none.
        seconds: Longest time for the messages of one call.

    Raises:
        ProfileError: The release has not the columns that its messages speak of.
    """

    def __init__(
        self, schema: CustomerSchema, writing: Writing, writer: MessageWriter | None, seconds: float
    ) -> None:
        profile = writing.profile or _NO_PROFILE
        self._profiles = ProfileReader(schema, profile)
        self._months = writing.months
        self._safety = Safety(writing.safety, profile.service_texts)
        self._quiet = writing.safety.quiet_hours
        self._writer = writer
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="messages") if writer else None
        # Not a method's: a writer that refers to itself would outlive its release until memory is searched for it.
        self._template = lru_cache(_TEMPLATES_KEPT)(partial(_judged_template, self._safety, self._quiet))

    async def write(self, wanted: Sequence[Wanted]) -> list[MessageView | None]:
        """What may be sent to each; None where nothing is known that could be said."""
        profiles = [self._profiles.profile(each.features) for each in wanted]
        asked = [
            (profile, Offer(each.offer_pct, self._months))
            for profile, each in zip(profiles, wanted, strict=True)
            if profile is not None
        ]
        texts = iter(await self._texts(asked))
        return [
            None if profile is None else self._view(next(texts), profile, each)
            for profile, each in zip(profiles, wanted, strict=True)
        ]

    async def _texts(self, asked: Sequence[tuple[Profile, Offer]]) -> Sequence[str | None]:
        """The model's texts; None where there is no model, or its time ran out."""
        nothing: list[str | None] = [None] * len(asked)
        if self._writer is None or self._thread is None or not asked:
            return nothing
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, self._writer.write, asked, self._seconds
        )
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except TimeoutError:
            return nothing

    def _view(self, text: str | None, profile: Profile, wanted: Wanted) -> MessageView:
        offer = Offer(wanted.offer_pct, self._months)
        left = _hours_left(wanted.local_time, self._quiet)
        if text is None:
            made = self._template(profile.service, offer, left > 0)
            reason = "no text model in the release" if self._writer is None else "not written in time"
        else:
            made = outgoing(text, profile, offer, self._safety, Request(local_time=wanted.local_time))
            reason = ", ".join(v.rule for v in made.verdict.blocking) if made.written_by == "template" else ""
        return MessageView(
            text=made.text,
            written_by=made.written_by,
            reason=reason,
            safety=SafetyView(safe=made.verdict.safe, violations=list(made.verdict.rules)),
            waits=made.waits,
            delay_hours=left if made.waits else 0.0,
        )


def _judged_template(
    safety: Safety, hours: QuietHours | None, service: str, offer: Offer, quiet: bool
) -> Outgoing:
    """The template depends on no more of a customer than the service: it is judged once for all of them."""
    quiet_at = hours.start if quiet and hours else None
    return outgoing(None, Profile(service, bill=0.0), offer, safety, Request(local_time=quiet_at))


def _hours_left(now: time | None, quiet: QuietHours | None) -> float:
    """Hours until quiet hours end; 0 outside of them."""
    if now is None or quiet is None:
        return 0.0
    length = _minutes(quiet.start, quiet.end)
    since = _minutes(quiet.start, now)
    return (length - since) / 60 if since < length else 0.0


def _minutes(start: time, end: time) -> float:
    """Minutes from one clock time to the next other."""
    seconds = (end.hour - start.hour) * 3600 + (end.minute - start.minute) * 60 + end.second - start.second
    return seconds % 86_400 / 60
