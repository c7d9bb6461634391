"""Messages as they would be sent: a model writes, and where the rules forbid its text the template stands in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_assets.arms import Arm
from churn_assets.message.model.repeats import DRAFTS, said_anew
from churn_assets.message.text.profile import Profile, prompt_of
from churn_assets.message.text.safety import Safety, SendRequest
from churn_assets.message.text.template import Outgoing, outgoing
from churn_assets.message.training.config import Sampling

if TYPE_CHECKING:
    from churn_assets.message.model.generation import Generated, Writer

NOT_IN_TIME, NO_MODEL = "not written in time", "no text model in the release"
"""Why the template is sent where no text was judged."""


@dataclass(frozen=True)
class Situation:
    """A customer and the arm that a message is about.

    Attributes:
        customer: The id.
        profile: What is said of them.
        arm: What is offered.
        before: Texts that they were sent before, with the placeholder of the name.
    """

    customer: str
    profile: Profile
    arm: Arm
    before: tuple[str, ...] = ()

    @property
    def prompt(self) -> str:
        """What a model is given."""
        return prompt_of(self.profile, self.arm)


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        raw: What the model wrote; empty where none did.
        ended: The model ended it by itself, within the tokens and the time allowed.
        sent: What is sent in the end.
        reason: Why the template is; empty for the model's text.
    """

    raw: str
    ended: bool
    sent: Outgoing
    reason: str = ""


def situations_of(
    profiles: Mapping[str, Profile], offers: Sequence[Arm], count: int, known: Collection[str] = ()
) -> list[Situation]:
    """`count` situations of different prompts: every customer once before any comes again, then with another offer.

    Customers with one profile share their prompts, and a prompt's message is one draw: asked for twice, it would be
    counted twice.

    Args:
        profiles: Whom to write to, by customer, in order.
        offers: What to offer them, in turn.
        count: How many; fewer where every prompt is there.
        known: Prompts that are left out, such as those that a model was trained on.
    """
    found: list[Situation] = []
    seen = set(known)
    for turn in range(len(offers)):
        for place, (customer, profile) in enumerate(profiles.items()):
            if len(found) == count:
                return found
            each = Situation(customer, profile, offers[(place + turn) % len(offers)])
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
) -> list[Message]:
    """A message for each situation; a text that breaks a rule, or was not finished, is replaced by the template.

    The facts of each situation are right in every text, whatever is drawn. Who was sent something before is told
    something else, see `said_anew`.

    Args:
        writer: The model.
        situations: Whom to write to, about what.
        safety: The rules.
        seed: Of the model's draws.
        max_new_tokens: Most tokens of a message.
        sampling: Which tokens are drawn, and how.

    Raises:
        TextError: A fact of a situation cannot be said.
        TemplateError: The template is needed and breaks a rule itself.
    """
    from churn_assets.message.model.generation import generate
    from churn_assets.message.model.masks import guide_of, masks_of

    guide = guide_of(masks_of(writer.tokenizer, safety.rules), safety, situations) if situations else None

    def drafts(some: Sequence[Situation], n: int) -> list[list[Generated]]:
        prompts = [each.prompt for each in some]
        return generate(
            writer, prompts, seed=seed, max_new_tokens=max_new_tokens, n=n, sampling=sampling, guide=guide
        )

    first = [each for (each,) in drafts(situations, 1)]
    written = said_anew(situations, first, lambda some: drafts(some, DRAFTS))
    return [
        judged_message(each, text.text, safety, ended=text.ended)
        for each, text in zip(situations, written, strict=True)
    ]


def judged_message(
    situation: Situation, raw: str, safety: Safety, request: SendRequest | None = None, *, ended: bool
) -> Message:
    """What is sent of a raw text: itself if it was finished and keeps the rules, else the template.

    Raises:
        TemplateError: The template is needed and breaks a rule itself.
    """
    sent = outgoing(raw if ended else None, situation.profile, situation.arm, safety, request)
    reason = ""
    if sent.written_by == "template":
        reason = ", ".join(each.rule for each in sent.verdict.blocking) if ended else NOT_IN_TIME
    return Message(raw, ended, sent, reason)
