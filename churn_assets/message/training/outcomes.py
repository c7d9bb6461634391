"""What logged sends teach: how a text is taken by whom, and pairs of texts of which the better taken one is preferred.

Every outcome is learned apart, each send weighted by one over the propensity of its variant; trees over which words a
text holds and who reads it. The judge learns from other customers' sends, by another method: see training/judge.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_assets.arms import Arm
from churn_assets.message.config import OUTCOMES
from churn_assets.message.model.judge import said_in_prompt, segments_in, words_of
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.terms import duration_words, in_sentence, worth_words
from churn_assets.message.training.config import OutcomeWorth

Floats = npt.NDArray[np.float64]
Addressed = tuple[Profile, Arm]

MOST_WORDS = 120
LEAST_SHARE = 0.01
"""A word that fewer or almost all texts hold tells nothing that could be learned."""
TREES: Mapping[str, Any] = {
    "learning_rate": 0.05,
    "max_iter": 100,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 100,
    "l2_regularization": 50.0,
    "early_stopping": False,
    "random_state": 0,
}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """Prompt and text → what is expected to come of it.

    Attributes:
        words: What is looked for in texts and prompts.
        trees: A model an outcome.
        worth: What an outcome counts.
    """

    words: tuple[str, ...]
    trees: Mapping[str, Any]
    worth: OutcomeWorth

    @classmethod
    def fit(cls, sends: pd.DataFrame, worth: OutcomeWorth) -> OutcomeModel:
        """Learns from sends, see `Preferences.sends`."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        read = [_read(*row) for row in zip(sends["prompt"], sends["text"], strict=True)]
        told = Counter(word for words, _ in read for word in words)
        few = LEAST_SHARE * len(read)
        known = tuple(word for word, count in told.most_common() if few <= count <= len(read) - few)[
            :MOST_WORDS
        ]
        columns, weight = _columns(read, known), weights_of_sends(sends)
        trees = {
            name: HistGradientBoostingRegressor(**TREES).fit(columns, sends[name], sample_weight=weight)
            for name in OUTCOMES
        }
        return cls(known, trees, worth)

    def expected(self, prompts: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n,) what texts are expected to bring, as `worth` counts it."""
        columns = _columns([_read(*row) for row in zip(prompts, texts, strict=True)], self.words)
        return self.worth.of({name: trees.predict(columns) for name, trees in self.trees.items()})


def weights_of_sends(sends: pd.DataFrame) -> Floats:
    """(n,) one over the propensity, with mean 1."""
    weight = 1 / sends["propensity"].to_numpy(float)
    return np.asarray(weight / weight.mean())


def pairs_by_outcome(
    sends: pd.DataFrame, situations: Sequence[Addressed | None], model: OutcomeModel, count: int, seed: int
) -> pd.DataFrame:
    """Pairs of texts that were sent, both as they would be told to the first's customer about their arm.

    The better by `model` is preferred. Of twice as many, those that differ most are kept: the rest is close to chance.

    Args:
        sends: To draw from; the second text was sent about the same kind of arm to somebody of like tenure.
        situations: (n,) customer and arm of each, where they are known.
        model: Fitted on sends of the customers that the reward model learns from.
        count: How many pairs are made.
        seed: Of the draws.

    Returns:
        Columns prompt, chosen and rejected.
    """
    plain = [
        None if each is None else untold(text, *each)
        for text, each in zip(sends["text"], situations, strict=True)
    ]
    prompts = sends["prompt"].tolist()
    alike: dict[tuple[str, ...], list[int]] = {}
    for row, (each, said) in enumerate(zip(situations, plain, strict=True)):
        if each is not None and said is not None:
            key = (each[1].terms.kind, *segments_in(said_in_prompt(prompts[row]))[1:2])
            alike.setdefault(key, []).append(row)
    group = {row: rows for rows in alike.values() for row in rows}
    made: list[tuple[str, str, str]] = []
    if group:
        rng = np.random.default_rng([seed, 10])
        for row in rng.choice(list(group), size=2 * count).tolist():
            other = group[row][int(rng.integers(len(group[row])))]
            of = situations[row]
            first, second = plain[row], plain[other]
            if of is not None and first is not None and second is not None and first != second:
                made.append((prompts[row], in_sentence(first, *of), in_sentence(second, *of)))
    pairs = pd.DataFrame(made, columns=["prompt", "chosen", "rejected"])
    if not made:
        return pairs
    gap = model.expected(pairs["prompt"], pairs["chosen"]) - model.expected(
        pairs["prompt"], pairs["rejected"]
    )
    turned = gap < 0
    swapped = pairs.rename(columns={"chosen": "rejected", "rejected": "chosen"})[list(pairs.columns)]
    pairs = pairs.where(~pd.Series(turned), swapped)
    kept = np.argsort(-np.abs(gap), kind="stable")[:count]
    return pairs.iloc[np.sort(kept)].reset_index(drop=True)


def untold(text: str, profile: Profile, arm: Arm) -> str | None:
    """The opposite of `in_sentence`, for another customer and arm of the same kind; None if it says another number."""
    for words, sign in (
        (profile.service, "{service}"),
        (worth_words(arm, profile.currency), "{worth}"),
        (duration_words(arm), "{duration}"),
    ):
        text = text.replace(words, sign) if words else text
    return None if _NUMBER.search(text) else text


def _read(prompt: str, text: str) -> tuple[set[str], tuple[float, ...]]:
    """The words of a text and of its prompt, and its numbers: length, sentences, and those of the prompt."""
    facts = said_in_prompt(prompt)
    words = words_of(text, facts, prompt)
    number = _NUMBER.search(facts.get("Offer", ""))
    known = (
        facts.get("Months with us", "nan"),
        facts.get("Bill", "nan"),
        number.group() if number else "nan",
    )
    said = {*words, *map(" ".join, pairwise(words[:4])), *segments_in(facts)}
    return said, (float(len(words)), float(words.count(".")), *map(float, known))


def _columns(read: Sequence[tuple[set[str], tuple[float, ...]]], words: Sequence[str]) -> Floats:
    """(n, 5 + words) numbers, and 1 for each word that is there."""
    return np.array([[*numbers, *(word in said for word in words)] for said, numbers in read], np.float64)
