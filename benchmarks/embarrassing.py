"""Whether a message would embarrass who sends it, read as a customer would: an oracle apart from the safety rules.

It knows no grammar, no arm and no list of the library's; it looks for what was seen in messages that a model wrote.
"""

from __future__ import annotations

import re
from itertools import pairwise

NEWCOMER = 24
"""Months with us below which nobody is thanked for years."""

_RECORDS = re.compile(
    r"\brecords?\b|\bm(ay|ight) leave\b|\bleaving us\b|\bwe (saw|noticed|know) that you\b|\bat risk\b"
    r"|\bour (data|system)|\bcomplain",
    re.I,
)
_PRESSES = re.compile(
    r"\b(last chance|act now|hurry|now or|lose it|do not wait|don't wait|before it is too late|final|expires?|urgent"
    r"|immediately|only today|must reply|or pay|attention)\b",
    re.I,
)
_YEARS = re.compile(r"\b(years|loyal\w*|so long|long way|long time|all this time)\b", re.I)
_RUDE = re.compile(
    r"\byou should have\b|\beveryone deals\b|\bguarantee|\bforever\b|\bnever\b|\bpromise", re.I
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]?")
_WORD = re.compile(r"[\w{}'%-]+")
_DANGLING = re.compile("a|an|the|to|of|for|with|and|or|but|your|our|we|is|are|if|by")


def embarrassing(text: str, months_with_us: int | None) -> list[str]:
    """What embarrasses in a text: `records`, `pressure`, `years`, `rude`, `fragment`; nothing where it may be sent.

    Args:
        text: With the placeholder of the name.
        months_with_us: How long the customer has been there; None: not known.
    """
    found = [
        name
        for name, words in (("records", _RECORDS), ("pressure", _PRESSES), ("rude", _RUDE))
        if words.search(text)
    ]
    if _YEARS.search(text) and (months_with_us is None or months_with_us < NEWCOMER):
        found.append("years")
    if not text.rstrip().endswith((".", "!", "?")) or any(map(_broken, _SENTENCE.findall(_joined(text)))):
        found.append("fragment")
    return found


def _joined(text: str) -> str:
    """Points within numbers are no ends of sentences."""
    return re.sub(r"(\d)\.(\d)", r"\1,\2", text)


def _broken(sentence: str) -> bool:
    """Whether a sentence begins small, ends in the air, or says a word or two words twice in a row."""
    words = [each.lower() for each in _WORD.findall(sentence)]
    if not words:
        return bool(sentence.strip())
    pairs = list(pairwise(words))
    twice = any(one == other for one, other in pairs) or any(
        pair in pairs[place + 2 : place + 4] for place, pair in enumerate(pairs)
    )
    return sentence.strip()[0].islower() or twice or _DANGLING.fullmatch(words[-1]) is not None
