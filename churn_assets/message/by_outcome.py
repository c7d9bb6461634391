"""Messages compared by what came of others that were sent to held-out customers: off-policy, by propensities.

A text that a model writes was never sent, word for word. What is known is how texts of its kind were taken: sends are
reweighted from the kinds that were drawn (with known propensities) to the kinds that a writer writes to like
customers, and a model of the rest within a kind, fitted on the other half of the held-out customers, is corrected by
them. This is the doubly robust estimator of marginalised propensities (Saito & Joachims 2022, arXiv 2202.06317); it
assumes that what the model does not see makes no difference within a kind. Nothing is used that a reward or judge was
trained on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from churn_assets.customers.folds import folds
from churn_assets.gates.estimates import Estimate, Floats, clustered_mean
from churn_assets.message.model.judge import said_in_prompt, segments_in, with_signs, words_of
from churn_assets.message.model.writing import Situation
from churn_assets.message.training.config import OutcomeWorth
from churn_assets.message.training.outcomes import OutcomeModel

LEAST_SUPPORT = 0.9
"""Share of a writer's messages whose kind was sent at all: with less, outcomes say nothing of it."""
LEAST_CHANCE = 0.01
OFTEN = 0.05
"""Share of the sends from which on a text, the facts apart, is a kind of its own, as a template is."""
LEAST_SENDS = 400
"""Held-out sends below which nothing is compared by them."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Held-out sends, ready to value texts that were never sent.

    Attributes:
        customers: (N,) who got each.
        kinds: (N,) kind of each text.
        strata: (N,) what kind of customer got it.
        taken: (N,) what came of it, as `worth` counts it.
        expected: (N,) the same, by a model of the other half of the customers.
        chances: Propensity of each kind.
        often: Texts that were sent often, see `kind_of`.
        models: By half, fitted on the other one.
    """

    customers: npt.NDArray[np.object_]
    kinds: Sequence[str]
    strata: Sequence[str]
    taken: Floats
    expected: Floats
    chances: Mapping[str, float]
    often: frozenset[str]
    models: tuple[OutcomeModel, OutcomeModel]

    @classmethod
    def of(cls, sends: pd.DataFrame, worth: OutcomeWorth) -> Outcomes | None:
        """Those of held-out customers; None where there are too few."""
        sends = sends[sends["split"] == "test"].reset_index(drop=True)
        half = _half(sends["customer_id"])
        if len(sends) < LEAST_SENDS or min(half.sum(), (1 - half).sum()) < LEAST_SENDS // 4:
            return None
        models = (
            OutcomeModel.fit(sends[half == 1].reset_index(drop=True), worth),
            OutcomeModel.fit(sends[half == 0].reset_index(drop=True), worth),
        )
        prompts, texts = sends["prompt"].tolist(), sends["text"].tolist()
        told = Counter(_plain(*row) for row in zip(prompts, texts, strict=True))
        often = frozenset(text for text, count in told.items() if count >= OFTEN * len(sends))
        kinds = [kind_of(*row, often) for row in zip(prompts, texts, strict=True)]
        return cls(
            sends["customer_id"].to_numpy(object),
            kinds,
            [_stratum(each) for each in prompts],
            worth.of(sends),
            _expected(models, half, prompts, texts),
            _chances(sends, kinds),
            often,
            models,
        )

    @property
    def model(self) -> OutcomeModel:
        """What texts are expected to bring; fitted on one half of the held-out customers."""
        return self.models[0]

    def against(
        self, situations: Sequence[Situation], ours: Sequence[str], theirs: Sequence[str]
    ) -> Comparison | None:
        """Our messages against another writer's to the same held-out customers; None where their kinds were not sent.

        Args:
            situations: (n,) whom and what they were written for.
            ours: (n,) raw texts.
            theirs: (n,) raw texts.
        """
        prompts = [each.prompt for each in situations]
        customers = pd.Series([each.customer for each in situations], dtype=object)
        half, strata = _half(customers), [_stratum(each) for each in prompts]
        valued = []
        for texts in (ours, theirs):
            kinds = [kind_of(*row, self.often) for row in zip(prompts, texts, strict=True)]
            if np.mean([self.chances.get(each, 0.0) >= LEAST_CHANCE for each in kinds]) < LEAST_SUPPORT:
                return None
            valued.append((_expected(self.models, half, prompts, texts), self._correction(kinds, strata)))
        (mine, my_correction), (other, their_correction) = valued
        modelled = clustered_mean(mine - other, _codes(customers))
        corrected = clustered_mean(my_correction - their_correction, _codes(pd.Series(self.customers)))
        error = hypot(modelled.standard_error, corrected.standard_error)
        means = [float(each.mean() + more.mean()) for each, more in valued]
        gain = Estimate(modelled.value + corrected.value, error)
        return Comparison(means[0], means[1], gain, len(self.taken))

    def _correction(self, kinds: Sequence[str], strata: Sequence[str]) -> Floats:
        """(N,) what each send adds to what is expected of a writer who writes these kinds to these customers."""
        written, of_stratum = Counter(zip(strata, kinds, strict=True)), Counter(strata)
        weight = [
            written[stratum, kind] / of_stratum[stratum] / self.chances[kind] if of_stratum[stratum] else 0.0
            for stratum, kind in zip(self.strata, self.kinds, strict=True)
        ]
        return np.asarray(np.array(weight) * (self.taken - self.expected))


@dataclass(frozen=True)
class Comparison:
    """Two writers by what came of texts of their kinds.

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


def kind_of(prompt: str, text: str, often: Collection[str] = ()) -> str:
    """How a text begins: its first word, and whether anybody is thanked in its first sentence.

    Of a text that was sent often, such as a template, the whole, facts apart: what came of it is known by itself.
    """
    if (plain := _plain(prompt, text)) in often:
        return plain
    words = words_of(text, said_in_prompt(prompt), prompt)[1:]
    first = words[: words.index(".")] if "." in words else words
    return f"{words[0]} {'thanks' if {'thank', 'thanks', 'appreciate'} & {*first} else ''}".strip()


def _plain(prompt: str, text: str) -> str:
    return with_signs(text, said_in_prompt(prompt), prompt).strip()


def _chances(sends: pd.DataFrame, kinds: Sequence[str]) -> dict[str, float]:
    """Propensity of each kind: of every variant, and of the kind among the variant's texts."""
    chance: dict[str, float] = {}
    for _, rows in sends.assign(kind=kinds).groupby("variant"):
        for kind, share in rows["kind"].value_counts(normalize=True).items():
            chance[str(kind)] = chance.get(str(kind), 0.0) + float(rows["propensity"].iloc[0]) * float(share)
    return chance


def _stratum(prompt: str) -> str:
    return segments_in(said_in_prompt(prompt))[0]


def _half(customers: pd.Series) -> npt.NDArray[np.int64]:
    """(n,) 0 or 1 by a hash of the customer."""
    return np.asarray(folds(customers.tolist(), 17, 2), np.int64)


def _codes(customers: pd.Series) -> npt.NDArray[np.int64]:
    return np.asarray(pd.factorize(customers)[0], np.int64)


def _expected(
    models: tuple[OutcomeModel, OutcomeModel],
    half: npt.NDArray[np.int64],
    prompts: Sequence[str],
    texts: Sequence[str],
) -> Floats:
    """(n,) by the model that was fitted without each customer's half."""
    found = np.empty(len(texts))
    for side, model in enumerate(models):
        rows = np.flatnonzero(half == side).tolist()
        if rows:
            found[rows] = model.expected([prompts[row] for row in rows], [texts[row] for row in rows])
    return found
