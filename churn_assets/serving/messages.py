"""The messages of a served release, written beside the event loop and in bounded time, by the writer in deciding."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import time

from churn_assets.arms import Arm
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.messages import UNWRITTEN, MessageWriter, hours_left
from churn_assets.message.model.repeats import RawText
from churn_assets.message.model.writing import Message, Situation
from churn_assets.message.text.safety import SendRequest
from churn_assets.message.text.template import WAITING
from churn_assets.serving.schemas import MessageView, SafetyView

Features = Mapping[str, float | str | None]


@dataclass(frozen=True)
class Wanted:
    """A message to be made.

    Attributes:
        features: Of the customer, as in the question.
        arm: What was decided; one that contacts.
        local_time: The customer's clock; None where nothing is known of it, so no hour is quiet.
        before: Texts that the customer was sent before.
    """

    features: Features
    arm: Arm
    local_time: time | None
    before: tuple[str, ...] = ()


class MessageDesk:
    """The messages of one release.

    Args:
        schema: Of its customers.
        writer: Writes them.
        seconds: Longest time for the messages of one call.

    Raises:
        ProfileError: The release has not the columns that its messages speak of.
    """

    def __init__(self, schema: CustomerSchema, writer: MessageWriter, seconds: float) -> None:
        self._profiles = writer.reader(schema)
        self._writer = writer
        self._seconds = seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="messages") if writer.has_model else None

    async def write(self, wanted: Sequence[Wanted]) -> list[MessageView | None]:
        """What may be sent to each; None where nothing is known that could be said."""
        profiles = [self._profiles.profile(each.features) for each in wanted]
        situations = [
            None if profile is None else Situation("", profile, each.arm, each.before)
            for profile, each in zip(profiles, wanted, strict=True)
        ]
        drafts = iter(await self._drafts([each for each in situations if each is not None]))
        return [
            None if situation is None else self._view(situation, next(drafts), each.local_time)
            for situation, each in zip(situations, wanted, strict=True)
        ]

    async def _drafts(self, situations: Sequence[Situation]) -> list[RawText]:
        """The model's texts; unwritten where there is no model, or its time ran out."""
        if self._thread is None or not situations:
            return [UNWRITTEN] * len(situations)
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._written, situations)
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except TimeoutError:
            return [UNWRITTEN] * len(situations)

    def _written(self, situations: Sequence[Situation]) -> list[RawText]:
        return self._writer.draft_each(situations, deadline_s=self._seconds)

    def _view(self, situation: Situation, draft: RawText, local_time: time | None) -> MessageView:
        message: Message = self._writer.judged(situation, draft, SendRequest(local_time=local_time))
        sent = message.sent
        replaced = self._writer.has_model and draft.ended and sent.written_by == "template"
        rules: list[str] = [rule for rule in sent.verdict.rules if not replaced or rule in WAITING]
        left = hours_left(local_time, self._writer.writing.safety.quiet_hours)
        return MessageView(
            text=sent.text,
            written_by=sent.written_by,
            reason=message.reason,
            safety=SafetyView(safe=not rules if replaced else sent.verdict.safe, violations=rules),
            discarded=[rule for rule in sent.verdict.rules if rule not in rules],
            waits=sent.waits,
            delay_hours=left if sent.waits else 0.0,
        )
