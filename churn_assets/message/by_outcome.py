"""Messages compared by what came of others that were sent to held-out customers.

A text that a model writes was never sent, word for word. What is known is how texts with these words were taken, and
by whom: a model of the held-out sends (training/outcomes.py), which variants were drawn for by chance, says by how much
a writer's texts are taken better, and how far off that may be, for noise and for what it shrank. It assumes that what
a text says beyond its words and length makes no difference. Nothing is used that a reward or judge was trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_assets.gates.estimates import Estimate
from churn_assets.message.model.judge import said_in_prompt, words_of
from churn_assets.message.model.writing import Situation
from churn_assets.message.training.config import OutcomeWorth
from churn_assets.message.training.outcomes import OutcomeModel

LEAST_SUPPORT = 0.9
"""Share of a writer's messages all of whose words were sent: with less, outcomes say nothing of it."""
LEAST_TIMES = 10
"""Held-out sends of a word below which nothing is known of it."""
LEAST_SENDS = 400
"""Held-out sends below which nothing is compared by them."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What held-out sends say of texts that were never sent.

    Attributes:
        model: Fitted on them.
        sends: How many.
        words: Those that were sent often enough to know anything of them.
    """

    model: OutcomeModel
    sends: int
    words: frozenset[str]

    @classmethod
    def of(cls, sends: pd.DataFrame, worth: OutcomeWorth) -> Outcomes | None:
        """Those of held-out customers; None where there are too few."""
        sends = sends[sends["split"] == "test"].reset_index(drop=True)
        if len(sends) < LEAST_SENDS:
            return None
        told = Counter(
            word for row in zip(sends["prompt"], sends["text"], strict=True) for word in _words(*row)
        )
        known = frozenset(word for word, times in told.items() if times >= LEAST_TIMES)
        return cls(OutcomeModel.fit(sends, worth), len(sends), known)

    def against(
        self, situations: Sequence[Situation], ours: Sequence[str], theirs: Sequence[str]
    ) -> Comparison | None:
        """Our messages against another writer's to the same held-out customers; None where their words were not sent.

        Args:
            situations: (n,) whom and what they were written for.
            ours: (n,) raw texts.
            theirs: (n,) raw texts.
        """
        prompts = [each.prompt for each in situations]
        for texts in (ours, theirs):
            known = [_words(*row) <= self.words for row in zip(prompts, texts, strict=True)]
            if np.mean(known) < LEAST_SUPPORT:
                return None
        customer = _codes([each.customer for each in situations])
        gain = self.model.mean_gain(prompts, ours, theirs, customer)
        means = [float(self.model.expected(prompts, texts).mean()) for texts in (ours, theirs)]
        return Comparison(means[0], means[1], gain, self.sends)


@dataclass(frozen=True)
class Comparison:
    """Two writers by what came of texts with their words.

    Attributes:
        ours: Mean worth of our messages.
        theirs: Of theirs.
        gain: The difference; its standard error counts customers, not sends.
        sends: Held-out sends that say so.
    """

    ours: float
    theirs: float
    gain: Estimate
    sends: int


def opponents_by_outcome(
    outcomes: Outcomes,
    situations: Sequence[Situation],
    ours: Sequence[str],
    theirs: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """A row for each writer that ours could be compared with: as in the table `opponents`."""
    rows = []
    for name, texts in theirs.items():
        found = outcomes.against(situations, ours, texts)
        if found is not None:
            low, high = found.gain.interval
            by = f"outcomes of {found.sends} sends to held-out customers"
            figures = {"ours": found.ours, "theirs": found.theirs, "gain": found.gain.value}
            rows.append(
                {"opponent": name, "by": by, "prompts": len(ours), **figures, "low": low, "high": high}
            )
    return rows


def _words(prompt: str, text: str) -> frozenset[str]:
    return frozenset(words_of(text, said_in_prompt(prompt), prompt)[1:-1])


def _codes(customers: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.asarray(pd.factorize(np.array(customers, object))[0], np.int64)
