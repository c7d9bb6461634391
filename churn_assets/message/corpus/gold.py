"""The hidden quality of a message, by rules: labels the corpus and measures what was learned.

No training code may import it: a policy that knew these rules would be trained on the truth it is judged by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from churn_assets.arms import Arm
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.terms import arm_facts, duration_words, worth_words

WORDS = (25, 60)
TOO_SHORT, TOO_LONG = 12, 75
LEAST_DISTINCT = 0.85
MUCH_POLITENESS = 4

_POLITE = re.compile(r"\b(thank you|please|appreciate|sorry|kind regards|best regards|enjoy)\b", re.I)
_PROMISE = re.compile(r"\b(guarantee|guaranteed|forever|never|promise)\b", re.I)
_RUDE = re.compile(
    r"last chance|act now|reply now|lose it|you should have|your complaint|deals with|attention|records say",
    re.I,
)
_SIGN_OFF = re.compile(r"\b(regards,|wishes,|team\.|support\.)")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_MONTHS = re.compile(r"(\d+) months?\b")
_FREE = re.compile(r"(\d+) free months?\b")
_MONEY = re.compile(r"(\d+(?:\.\d+)?) ([A-Z]{3})\b|\$(\d+)")
_OFFERED = re.compile(r"\b(discount|gift|free|offer|price|lower bill)\b", re.I)


@dataclass(frozen=True)
class Gold:
    """Quality of one text, about -1 to 1.

    Attributes:
        total: Sum of the components.
        components: What each rule added.
    """

    total: float
    components: Mapping[str, float]


def gold_score(profile: Profile, arm: Arm, text: str) -> Gold:
    """Judges a raw text (the name still a placeholder) that was written for this customer and arm."""
    words = text.split()
    polite = len(_POLITE.findall(text))
    worth, lasts, wrong = _offer(profile, arm, text)
    components = {
        "exact_offer": 0.30 * worth,
        "months": 0.10 * lasts,
        "wrong_offer": -0.30 * wrong,
        "service": 0.15 * (profile.service in text),
        "name": 0.10 * ("{name}" in text),
        "polite": 0.10 * min(polite, 2),
        "promise": -0.30 * bool(_PROMISE.search(text)),
        "rude": -0.20 * bool(_RUDE.search(text)),
        "length": _length(len(words)),
        "repetition": -0.30 * (_distinct_trigrams(words) < LEAST_DISTINCT),
        "gush": -0.10 * max(0, polite - MUCH_POLITENESS),
        "sign_off": -0.10 * (_SIGN_OFF.search(text) is None),
        "opt_out": -0.10 * ("STOP" not in text),
        "unfinished": -0.10 * (not text.rstrip().endswith((".", "!", "?"))),
    }
    return Gold(sum(components.values()), components)


def _offer(profile: Profile, arm: Arm, text: str) -> tuple[bool, bool, bool]:
    """Whether a text says what the arm gives, for how long (once given, what does not run), and anything else."""
    facts, worth = arm_facts(arm, profile.currency), worth_words(arm, profile.currency)
    told = [
        *(f"{number}%" for number in _PERCENT.findall(text)),
        *(f"{amount or sign} {code or 'USD'}" for amount, code, sign in _MONEY.findall(text)),
        *(f"{number} free month{'' if number == '1' else 's'}" for number in _FREE.findall(text)),
    ]
    spans = [f"{number} month{'' if number == '1' else 's'}" for number in _MONTHS.findall(text)]
    other = bool(set(told) - {worth} or set(spans) - {duration_words(arm)})
    if facts.nothing:
        offered = other or bool(_OFFERED.search(text))
        return not offered, not offered, offered
    given = worth in text if facts.gift is not None else worth in told
    return given, duration_words(arm) in spans if facts.discount else given, other


def _length(words: int) -> float:
    if WORDS[0] <= words <= WORDS[1]:
        return 0.15
    return -0.15 if words > TOO_LONG or words < TOO_SHORT else 0.0


def _distinct_trigrams(words: list[str]) -> float:
    lowered = [word.lower() for word in words]
    trigrams = list(zip(lowered, lowered[1:], lowered[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0
