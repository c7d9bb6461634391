"""The fitted responses as plain arrays, and their evaluation. Needs numpy and nothing that fits models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from churn_assets.arms import Arm, ArmError, Menu
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest, Words
from churn_assets.predictors.grid import CHUNK, Floats, Grid, Ints
from churn_assets.predictors.probability import between, logistic, logit, mean

LEAST = 1e-6
"""Churn is never less certain than this, nor its opposite."""


@dataclass(frozen=True, eq=False)
class AcceptPredictor:
    """P(accept | customer, recent offers, arm). Every row gets the same bits in any company.

    Attributes:
        grid: The customers' F features in the order of their schema, recent offers, the family of the arm where
            there is more than one, and its size.
        forest: Trees of the logit.
        menu: The arms that were tried; of their families, in order, the codes.
    """

    grid: Grid
    forest: Forest
    menu: Menu

    @property
    def features(self) -> int:
        """F, which is also the number of the feature that recent offers are."""
        return len(self.grid.levels) - 2 - (len(self.menu.families) > 1)

    def knows(self, arm: Arm) -> bool:
        """Whether its family was tried, in whatever size; or it is no contact."""
        return not arm.contacts or arm.family in self.menu.families

    def codes(self, arms: Iterable[Arm]) -> tuple[Ints, Floats]:
        """(K,) families and (K,) sizes of arms; anything for no contact, which nobody accepts.

        Raises:
            ArmError: A family was never tried.
        """
        arms = tuple(arms)
        for arm in arms:
            if not self.knows(arm):
                message = (
                    f"accept_model: found arm {arm.id} of family {arm.family!r}, which was never tried; expected "
                    f"one of the log's families {', '.join(self.menu.families)}"
                )
                raise ArmError(message)
        family = [self.menu.families.index(arm.family) if arm.contacts else 0 for arm in arms]
        return np.array(family, np.int64), np.array([arm.size for arm in arms], np.float64)

    def leaves(self, family: Ints, size: Floats) -> Words:
        """(K,) families and (K,) sizes -> (K, trees) leaves that such arms leave."""
        last = len(self.grid.levels) - 1
        cells = [self.grid.cells_of(last, size)]
        if len(self.menu.families) > 1:
            cells.append(self.grid.starts[last - 1] + family)
        return self.forest.left_by(np.stack(cells, axis=-1))

    def predict(self, X: Floats, recent: Floats, family: Ints, size: Floats) -> Floats:
        """P(accept) of arms that contact.

        Args:
            X: (n, F) customer features, NaN for a blank.
            recent: (n,) offers received in the last 90 days.
            family: (K,) codes.
            size: (K,) within the family.

        Returns:
            (n, K) probabilities.
        """
        arms = self.leaves(family, size)
        found = np.empty((len(X), len(size)))
        for rows, customers in self._customers(X, recent):
            found[rows] = logistic(self.forest.total(customers[:, None] & arms))
        return found

    def predict_one(self, X: Floats, recent: Floats, family: Ints, size: Floats, arm: Ints) -> Floats:
        """(n,) P(accept) of one of K arms a row, `arm` (n,); other arguments as of `predict`."""
        arms = self.leaves(family, size)
        found = np.empty(len(X))
        for rows, customers in self._customers(X, recent):
            found[rows] = logistic(self.forest.total(customers & arms.take(arm[rows], axis=0)))
        return found

    def _customers(self, X: Floats, recent: Floats) -> Iterable[tuple[slice, Words]]:
        """Leaves left by customers and their recent offers, some rows at a time."""
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            cells = self.grid.cells(np.column_stack([X[rows], recent[rows]]))
            yield rows, self.forest.left_by(cells)

    def on(self, finer: Grid) -> AcceptPredictor:
        """The same acceptance over the cells of a finer grid of the same features."""
        return AcceptPredictor(finer, self.forest.on(self.grid, finer), self.menu)


@dataclass(frozen=True, eq=False)
class EffectPredictor:
    """What contact does to churn: shifts of the logit, by penalty, that add up over features and the risk's own logit.

    Attributes:
        grid: The customers' features, in the order of their schema.
        curves: Outputs are those of no contact, of accepting, of refusing and of waking, one a penalty each.
        slopes: (r,) on the centred logit of the risk, of all but the first those on the logit of churn without contact.
        centre: Of that logit.
        counts: Penalties of the four.
        baseline_size: How much of the shift without contact is believed.
        size: How much of the fitted effect is believed, a tree of segments.
    """

    grid: Grid
    curves: Curves
    slopes: Floats
    centre: float
    counts: tuple[int, int, int, int]
    baseline_size: float
    size: Forest

    def consequences(self, X: Floats, risk: Floats) -> tuple[Floats, Floats, Floats]:
        """(n, F) features and (n,) risks -> (n,) churn without contact, if accepted and if refused."""
        found = [np.empty((3, 0))]
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            for cells, within in self.grid.chunks(X[rows]):
                size = self.size.total(self.size.left_by(cells))
                found.append(np.stack(self.combined(risk[rows], self.curves.total(cells, within), size)))
        idle, accepted, refused = np.concatenate(found, axis=1)
        return idle, accepted, refused

    def combined(self, risk: Floats, shifts: Floats, size: Floats) -> tuple[Floats, Floats, Floats]:
        """Churn without contact, of those who accept and of those who refuse, each (…).

        Args:
            risk: (…) by the risk model.
            shifts: (…, r) totals of the curves.
            size: (…) how much of the effect is believed.
        """
        idle, first, second, _ = self.counts
        base = logit(risk, LEAST)
        moved = shifts[..., :idle] + (base - self.centre)[..., None] * self.slopes[:idle]
        unmoved = mean(logistic(moved + base[..., None]))
        churn = between(LEAST, risk + self.baseline_size * (unmoved - risk), 1 - LEAST)
        base = logit(churn, LEAST)
        moved = shifts[..., idle:] + (base - self.centre)[..., None] * self.slopes[idle:]
        contacted = logistic(moved[..., : first + second] + base[..., None])
        woken = mean(logistic(moved[..., first + second :]))
        accepted, shifted = mean(contacted[..., :first]), mean(contacted[..., first:])
        refused = (shifted + churn + (1 - churn) * woken) / 2
        return (
            churn,
            between(LEAST, churn + size * (accepted - churn), 1 - LEAST),
            between(LEAST, churn + size * (refused - churn), 1 - LEAST),
        )

    def on(self, finer: Grid) -> EffectPredictor:
        """The same consequences over the cells of a finer grid, which may have further features."""
        return EffectPredictor(
            finer,
            self.curves.on(self.grid, finer),
            self.slopes,
            self.centre,
            self.counts,
            self.baseline_size,
            self.size.on(self.grid, finer),
        )
