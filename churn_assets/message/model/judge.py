"""A judge of messages that is no neural network: a linear model over what a text says, made by nobody's tokenizer.

It reads words, pairs and triples of words, length and repetition; whether a number or service is the prompt's own; and
each word beside each fact of the prompt. Trains nothing.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

JUDGE_WEIGHTS = "weights"
SIZE = 1 << 17
"""Columns that features are hashed to."""
LONG, DEAR = (12, 24, 48), (40, 80)
"""Ends of the ranges of months and money that a prompt's numbers are read as."""
_TOKEN = re.compile(r"\{name\}|§\w+|[^\W\d_]+|[%.,!?:]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?%?")
_MANY_WORDS, _WORDS_A_STEP = 90, 6


@dataclass(frozen=True, eq=False)
class Judge:
    """Prompt and message → score.

    Attributes:
        weights: (SIZE,) float32, of the hashed features.
        mean: Of its raw scores of the SFT model's messages.
        std: Their standard deviation, > 0.
    """

    weights: npt.NDArray[np.float32]
    mean: float
    std: float

    def score(
        self, prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool]
    ) -> npt.NDArray[np.float32]:
        """(n,) raw scores of messages, and of whether each ended by itself."""
        columns, ends = hashed(prompts, texts, ended)
        return np.add.reduceat(self.weights[columns], ends[:-1]) if len(texts) else np.zeros(0, np.float32)

    def standardised(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Raw scores in standard deviations from the mean of the SFT model's messages."""
        return ((raw - np.float32(self.mean)) / np.float32(self.std)).astype(np.float32)


def hashed(
    prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool], *, for_whom: bool = True
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Columns of the features that each of n texts has, one text after another, and (n + 1,) where each begins.

    Without `for_whom`, of the texts alone: nothing of who reads them.
    """
    rows = [
        sorted(
            {
                zlib.crc32(each.encode("utf-8", "surrogatepass")) % SIZE
                for each in _named(*row, for_whom=for_whom)
            }
        )
        for row in zip(prompts, texts, ended, strict=True)
    ]
    ends = np.cumsum([0, *map(len, rows)])
    return np.array([column for row in rows for column in row], np.int64), ends


def said_in_prompt(prompt: str) -> dict[str, str]:
    """What a prompt says, by key; empty for one of another form."""
    lines = prompt.partition("\n")[0].split(" | ")
    return dict(each.split(": ", 1) for each in lines if ": " in each)


def with_signs(text: str, facts: Mapping[str, str], prompt: str) -> str:
    """A text with signs for the prompt's own service and numbers, and for other numbers."""
    own = set(_NUMBER.findall(facts.get("Offer", prompt)))
    if service := facts.get("Service"):
        text = text.replace(service, "§service")
    return _NUMBER.sub(lambda found: "§own" if found.group() in own else "§other", text)


def segments_in(facts: Mapping[str, str]) -> list[str]:
    """What is known of the customer, numbers as ranges."""
    found = [f"contract {facts.get('Contract', '')}"]
    for key, ends in (("Months with us", LONG), ("Bill", DEAR)):
        number = facts.get(key, "")
        if number.isdigit():
            found.append(f"{key} {int(np.searchsorted(ends, int(number)))}")
    return found


def words_of(text: str, facts: Mapping[str, str], prompt: str) -> list[str]:
    """The words of a text, in lower case, between its ends."""
    return ["^", *(each.lower() for each in _TOKEN.findall(with_signs(text, facts, prompt))), "$"]


def _named(prompt: str, text: str, ended: bool, *, for_whom: bool) -> Iterator[str]:
    facts = said_in_prompt(prompt)
    words = words_of(text, facts, prompt)
    triples = [" ".join(each) for each in zip(words, words[1:], words[2:], strict=False)]
    again = 10 * (1 - len(set(triples)) / max(1, len(triples)))
    yield f"length {min(len(words), _MANY_WORDS) // _WORDS_A_STEP}"
    yield f"repeats {int(again)}"
    yield f"ended {ended}"
    yield from words
    yield from map(" ".join, itertools.pairwise(words))
    yield from triples
    segments = segments_in(facts) if for_whom else []
    yield from segments
    yield from (f"{word} for {segment}" for word in {*words} for segment in segments)
