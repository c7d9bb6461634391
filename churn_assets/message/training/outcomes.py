"""What logged sends teach: how a text is taken by whom, and pairs of texts of which the better taken one is preferred.

One model, fitted twice on customers apart: for the reward, and for the gates on who is held out (by_outcome.py). The
judge learns from other customers' sends, by another method: see training/judge.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.linalg import cho_factor, cho_solve

from churn_assets.arms import Arm
from churn_assets.gates.estimates import Estimate, clustered_mean
from churn_assets.message.model.judge import said_in_prompt, segments_in, with_signs, words_of
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.terms import duration_words, in_sentence, worth_words
from churn_assets.message.training.config import OutcomeWorth

Floats = npt.NDArray[np.float64]
Addressed = tuple[Profile, Arm]

MOST_WORDS = 120
LEAST_SHARE = 0.01
"""A word that fewer or almost all texts hold tells nothing that could be learned."""
OFTEN = 0.05
"""Share of the sends from which on a text, the facts apart, is known by itself, as a template is; and a word is
learned for each kind of customer."""
JUDGED, LEARNED = 0.1, 0.03
"""Standard deviation, in those of the outcome, that an effect is expected to have before anything is seen: of a word,
and of what it means to one kind of customer. To judge by, more than in truth: what is shrunk widens an interval, and
what is shrunk too much biases it. To learn from, less, so that noise is not learned: of pairs of 20,000 simulated sends
.93 of the labels were right with .03 (.92 with .015, .88 with .1), and the preferred text was better by .085 in truth.
"""
CANDIDATES = 8
"""Pairs that are drawn for each that is kept: with 2, at an effect of .1, .74 of the labels were right, with 8 .88."""
_FLAT = 1e-4
"""What stands for no expectation at all."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True)
class _Read:
    """What is seen of a prompt and a text."""

    words: frozenset[str]
    length: int
    segments: tuple[str, ...]
    offer: str
    plain: str

    @classmethod
    def of(cls, prompt: str, text: str) -> _Read:
        facts = said_in_prompt(prompt)
        words = words_of(text, facts, prompt)[1:-1]
        number = _NUMBER.search(facts.get("Offer", ""))
        offer = f"offer {number.group() if number else 'none'}"
        return cls(
            frozenset(words),
            len(words),
            tuple(segments_in(facts)),
            offer,
            with_signs(text, facts, prompt).strip(),
        )


@dataclass(frozen=True)
class TextSpace:
    """What texts and prompts are told apart by.

    Attributes:
        words: Words that are looked for in texts, those that tell most texts apart first.
        for_whom: How many of these are learned for each kind of customer.
        often: Texts that were sent often, facts apart.
        segments: Kinds of customers: contract, range of months and of the bill.
        offers: Numbers that are offered.
    """

    words: tuple[str, ...]
    for_whom: int
    often: tuple[str, ...]
    segments: tuple[str, ...]
    offers: tuple[str, ...]

    @classmethod
    def of(cls, read: Sequence[_Read]) -> TextSpace:
        """That of the sends which are learned from. Of words that always come together the first is looked for."""
        count = len(read)
        told = Counter(word for each in read for word in each.words)
        few = LEAST_SHARE * count
        known = sorted(
            (word for word, times in told.items() if few <= times <= count - few),
            key=lambda word: (abs(told[word] - count / 2), word),
        )
        seen: dict[bytes, str] = {}
        for word in known:
            seen.setdefault(np.array([word in each.words for each in read]).tobytes(), word)
        plain, words = Counter(each.plain for each in read), tuple(seen.values())[:MOST_WORDS]
        return cls(
            words,
            sum(OFTEN * count <= told[word] <= (1 - OFTEN) * count for word in words),
            tuple(sorted(text for text, times in plain.items() if times >= OFTEN * count)),
            tuple(sorted({segment for each in read for segment in each.segments})),
            tuple(sorted({each.offer for each in read})),
        )

    def of_prompts(self, read: Sequence[_Read]) -> Floats:
        """(n, 1 + segments + offers) a constant, and what the prompt says."""
        known = [
            [
                1.0,
                *(segment in each.segments for segment in self.segments),
                *(offer == each.offer for offer in self.offers),
            ]
            for each in read
        ]
        return np.array(known, np.float64)

    def of_texts(self, read: Sequence[_Read]) -> Floats:
        """(n, texts) what the text says, and what is seen often again for each kind of customer."""
        said = np.array(
            [
                [
                    each.length / 10,
                    (each.length / 10) ** 2 / 10,
                    *(text == each.plain for text in self.often),
                    *(word in each.words for word in self.words),
                ]
                for each in read
            ],
            np.float64,
        )
        who = np.array([[segment in each.segments for segment in self.segments] for each in read], np.float64)
        often = said[:, : said.shape[1] - len(self.words) + self.for_whom]
        return np.hstack([said, (often[:, :, None] * who[:, None, :]).reshape(len(read), -1)])


@dataclass(frozen=True, eq=False)
class OutcomeModel:
    """Prompt and text → what is expected to come of it: linear in what a text says, to each kind of customer.

    Several sends to one customer share what is particular to them: a random intercept, taken out by weighting (GLS).
    Effects have a normal prior around 0. What is said of a difference is its posterior mean; its standard
    error holds the noise, clustered by customer whatever the form of the noise, and what the prior may have shrunk:
    E[(h'Λβ)²] for h = (Z'Z + Λ)⁻¹c, of weights that balance what texts say (Hirshberg & Wager 2021, arXiv 1712.00038).

    Attributes:
        space: What is told apart.
        coefficients: (p,) of prompts' columns, then texts'.
        center: (texts,) mean of the texts' columns.
        precision: Cholesky factor of Z'Z + Λ, and whether it is the lower one.
        noise: (p, p) sum over customers of their scores' outer products.
        penalty: (p,) diagonal of Λ; 0 where nothing was expected.
        variance: Of the noise within a customer.
    """

    space: TextSpace
    coefficients: Floats
    center: Floats
    precision: tuple[Floats, bool]
    noise: Floats
    penalty: Floats
    variance: float

    @classmethod
    def fit(cls, sends: pd.DataFrame, worth: OutcomeWorth, effect: float = JUDGED) -> OutcomeModel:
        """Learns from sends, see `Preferences.sends`, expecting effects of this size: `JUDGED` or `LEARNED`.

        A variant has one propensity, whoever is written to, so who got it says nothing of it: no send is weighted.
        """
        read = [_Read.of(*row) for row in zip(sends["prompt"], sends["text"], strict=True)]
        space, taken = TextSpace.of(read), worth.of(sends)
        who, texts = space.of_prompts(read), space.of_texts(read)
        center = texts.mean(0)
        columns = np.hstack([who, texts - center])
        customer = np.asarray(pd.factorize(sends["customer_id"])[0], np.int64)
        prior = (effect * float(taken.std())) ** 2
        flat = np.arange(columns.shape[1]) < who.shape[1]
        once = who.shape[1] + 2 + len(space.often) + len(space.words)
        within, between = _variances(columns[:, :once], taken, customer)
        columns, taken = _whitened(columns, taken, customer, between / within)
        penalty = np.where(flat, _FLAT, within / prior)
        gram = columns.T @ columns
        gram[np.diag_indices_from(gram)] += penalty
        precision = cho_factor(gram, lower=True)
        coefficients = cho_solve(precision, columns.T @ taken)
        scores = _sums(columns * (taken - columns @ coefficients)[:, None], customer)
        return cls(
            space, coefficients, center, precision, scores.T @ scores, np.where(flat, 0.0, penalty), within
        )

    def expected(self, prompts: Sequence[str], texts: Sequence[str]) -> Floats:
        """(n,) what texts are expected to bring, as the worth counts it."""
        read = [_Read.of(*row) for row in zip(prompts, texts, strict=True)]
        columns = np.hstack([self.space.of_prompts(read), self.space.of_texts(read) - self.center])
        return np.asarray(columns @ self.coefficients)

    def gains(
        self, prompts: Sequence[str], ours: Sequence[str], theirs: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """(n,) by how much each text is expected to bring more than another, and its standard error."""
        apart = self._apart(prompts, ours, theirs)
        return apart @ self._of_texts, self._errors(apart)

    def mean_gain(
        self,
        prompts: Sequence[str],
        ours: Sequence[str],
        theirs: Sequence[str],
        customer: npt.NDArray[np.int64],
    ) -> Estimate:
        """The mean gain over customers like these (n,): with the spread between them in its standard error."""
        apart = self._apart(prompts, ours, theirs)
        between = clustered_mean(apart @ self._of_texts, customer)
        (error,) = self._errors(apart.mean(0, keepdims=True))
        return Estimate(between.value, float(np.hypot(between.standard_error, error)))

    @property
    def _of_texts(self) -> Floats:
        return self.coefficients[-len(self.center) :]

    def _apart(self, prompts: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> Floats:
        """(n, texts) what one text says beyond another."""
        one, other = (
            self.space.of_texts([_Read.of(*row) for row in zip(prompts, texts, strict=True)])
            for texts in (ours, theirs)
        )
        return np.asarray(one - other)

    def _errors(self, apart: Floats) -> Floats:
        """(n,) standard error of each difference."""
        asked = np.zeros((len(self.coefficients), len(apart)))
        asked[-apart.shape[1] :] = apart.T
        pulled = cho_solve(self.precision, asked)
        noise = (pulled * (self.noise @ pulled)).sum(0)
        hidden = self.variance * (self.penalty[:, None] * pulled**2).sum(0)
        return np.asarray(np.sqrt(noise + hidden))


def weights_of_sends(sends: pd.DataFrame) -> Floats:
    """(n,) one over the propensity, with mean 1."""
    weight = 1 / sends["propensity"].to_numpy(float)
    return np.asarray(weight / weight.mean())


def _variances(columns: Floats, taken: Floats, customer: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Variance of what columns leave of an outcome: within customers, and between them."""
    left = taken - columns @ np.linalg.lstsq(columns, taken, rcond=None)[0]
    sends = np.bincount(customer)
    mean = np.bincount(customer, weights=left) / sends
    whole = float(np.mean(left**2))
    if len(sends) == len(taken):
        return whole, 0.0
    within = float(((left - mean[customer]) ** 2).sum() / (len(taken) - len(sends)))
    return within, max(0.0, whole - within)


def _whitened(
    columns: Floats, taken: Floats, customer: npt.NDArray[np.int64], ratio: float
) -> tuple[Floats, Floats]:
    """Rows whose noise is alike and apart: less a share of their customer's mean."""
    sends = np.bincount(customer)
    share = 1 - 1 / np.sqrt(1 + ratio * sends)
    rows = np.column_stack([columns, taken])
    rows = rows - (share / sends)[customer][:, None] * _sums(rows, customer)[customer]
    return rows[:, :-1], rows[:, -1]


def _sums(rows: Floats, customer: npt.NDArray[np.int64]) -> Floats:
    """(customers, columns) sums of rows, by customers 0 to the last."""
    order = np.argsort(customer, kind="stable")
    starts = np.searchsorted(customer[order], np.arange(customer.max() + 1))
    return np.asarray(np.add.reduceat(rows[order], starts, axis=0))


def pairs_by_outcome(
    sends: pd.DataFrame, situations: Sequence[Addressed | None], model: OutcomeModel, count: int, seed: int
) -> pd.DataFrame:
    """Pairs of texts that were sent, both as they would be told to the first's customer about their arm.

    The better by `model` is preferred. Of several times as many, those that it is surest of are kept: the rest is
    close to chance.

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
        for row in rng.choice(list(group), size=CANDIDATES * count).tolist():
            other = group[row][int(rng.integers(len(group[row])))]
            of = situations[row]
            first, second = plain[row], plain[other]
            if of is not None and first is not None and second is not None and first != second:
                made.append((prompts[row], in_sentence(first, *of), in_sentence(second, *of)))
    pairs = pd.DataFrame(made, columns=["prompt", "chosen", "rejected"])
    if not made:
        return pairs
    gap, error = model.gains(pairs["prompt"], pairs["chosen"], pairs["rejected"])
    turned = gap < 0
    swapped = pairs.rename(columns={"chosen": "rejected", "rejected": "chosen"})[list(pairs.columns)]
    pairs = pairs.where(~pd.Series(turned), swapped)
    kept = np.argsort(-np.abs(gap) / error, kind="stable")[:count]
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
