"""What customers were sent before, and how a writer says something else the next time. Judges no text otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from churn_assets.message.model.writing import Situation

DRAFTS = 4
"""Drafts of a message to somebody whose first one says again what they were sent before."""
MOST_SAID_AGAIN = 0.5
"""Share of a message's sentences that may have stood in what the customer got before."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SENTENCE = re.compile(r"[^.!?]+[.!?]?")


class RawText(Protocol):
    """What a text model wrote."""

    @property
    def text(self) -> str:
        """As it was written, with the placeholder of the name."""

    @property
    def ended(self) -> bool:
        """The model ended it by itself, within the tokens and the time allowed."""


_T = TypeVar("_T", bound=RawText)


def said_again(situation: Situation, text: str) -> float:
    """Share of a text's sentences that stood in what the customer was sent before, numbers and service apart.

    >>> from churn_assets.arms import Catalogue
    >>> from churn_assets.message.model.writing import Situation
    >>> from churn_assets.message.text.profile import Profile
    >>> before = ("Hello {name}. You get 10% off for 3 months.",)
    >>> at = Situation("a", Profile("phone plan", 40.0), Catalogue().arm(0.2), before)
    >>> said_again(at, "Hi {name}. You get 20% off for 6 months.")
    0.5
    """
    known = {each for old in situation.before for each in _sentences(old, situation.profile.service)}
    told = _sentences(text, situation.profile.service)
    return sum(each in known for each in told) / len(told) if told and known else 0.0


def said_anew(
    situations: Sequence[Situation],
    drafts: Sequence[_T],
    more: Callable[[Sequence[Situation]], Sequence[Sequence[_T]]],
) -> list[_T]:
    """The drafts; where one says too much again, that of `DRAFTS` which says least again, a finished one first.

    Args:
        situations: Whom they are for, with what they were sent before.
        drafts: The first draft of each.
        more: Draws `DRAFTS` drafts of each of some situations.
    """
    found = list(drafts)
    again = [
        row
        for row, each in enumerate(situations)
        if each.before and said_again(each, drafts[row].text) > MOST_SAID_AGAIN
    ]
    for row, others in zip(again, more([situations[row] for row in again]) if again else (), strict=True):
        at = situations[row]
        found[row] = min(others, key=lambda each: (not each.ended, said_again(at, each.text)))
    return found


def _sentences(text: str, service: str) -> list[str]:
    plain = _NUMBER.sub("#", text.replace(service, "§"))
    return [each.strip().casefold() for each in _SENTENCE.findall(plain) if each.strip()]
