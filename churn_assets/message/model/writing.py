"""Messages as they would be sent: a model writes, and where the rules forbid its text the template stands in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.message.text.profile import Offer, Profile, prompt_of
from churn_assets.message.text.safety import Request, Safety
from churn_assets.message.text.template import Outgoing, outgoing
from churn_assets.message.training.config import Sampling

if TYPE_CHECKING:
    from churn_assets.message.model.generation import Writer


@dataclass(frozen=True)
class Situation:
    """A customer and the offer that a message is to make."""

    customer: str
    profile: Profile
    offer: Offer

    @property
    def prompt(self) -> str:
        """What a model is given."""
        return prompt_of(self.profile, self.offer)


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        raw: What the model wrote; empty where none did.
        ended: The model ended it by itself, within the tokens and the time allowed.
        sent: What is sent in the end.
    """

    raw: str
    ended: bool
    sent: Outgoing


def situations_of(
    profiles: Mapping[str, Profile],
    customers: Sequence[str],
    offers: Sequence[Offer],
    count: int,
    known: Collection[str] = (),
) -> list[Situation]:
    """`count` situations of different prompts: every customer once before any comes again, then with another offer.

    Customers with one profile share their prompts, and a prompt's message is one draw: asked for twice, it would be
    counted twice.

    Args:
        profiles: By customer.
        customers: Whom to write to, in order.
        offers: What to offer them, in turn.
        count: How many; fewer where every prompt is there.
        known: Prompts that are left out, such as those that a model was trained on.
    """
    found: list[Situation] = []
    seen = set(known)
    for turn in range(len(offers)):
        for place, customer in enumerate(customers):
            if len(found) == count:
                return found
            each = Situation(customer, profiles[customer], offers[(place + turn) % len(offers)])
            if each.prompt not in seen:
                seen.add(each.prompt)
                found.append(each)
    return found


def write_messages(
    writer: Writer,
    situations: Sequence[Situation],
    safety: Safety,
    *,
    seed: int,
    max_new_tokens: int,
    sampling: Sampling,
    n: int = 1,
    request: Request | None = None,
    deadline_s: float | None = None,
) -> list[list[Message]]:
    """`n` messages for each situation; a text that breaks a rule, or was not finished, is replaced by the template.

    Args:
        writer: The model.
        situations: Whom to write to, about what.
        safety: The rules.
        seed: Of the model's draws.
        max_new_tokens: Most tokens of a message.
        sampling: Which tokens are drawn, and how.
        n: Messages a situation.
        request: How and when they would be sent.
        deadline_s: Seconds after which the model stops; whatever is unfinished then is the template.

    Raises:
        TemplateError: The template is needed and breaks a rule itself.
    """
    from churn_assets.message.model.generation import generate

    written = generate(
        writer,
        [each.prompt for each in situations],
        seed=seed,
        max_new_tokens=max_new_tokens,
        sampling=sampling,
        n=n,
        deadline_s=deadline_s,
    )
    return [
        [
            Message(
                text.text,
                text.ended,
                outgoing(text.text if text.ended else None, each.profile, each.offer, safety, request),
            )
            for text in texts
        ]
        for each, texts in zip(situations, written, strict=True)
    ]


def template_message(situation: Situation, safety: Safety, request: Request | None = None) -> Message:
    """What is sent where no model writes.

    Raises:
        TemplateError: The template breaks a rule itself.
    """
    return Message("", ended=False, sent=outgoing(None, situation.profile, situation.offer, safety, request))
