"""The fitted responses as plain arrays, and their evaluation. Needs numpy and nothing that fits models."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from churn_assets.arms import Arm, ArmError, Menu
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import BitWords, Forest
from churn_assets.predictors.grid import CHUNK, Floats, Grid, Ints
from churn_assets.predictors.probability import between, logistic, logit, mean

LEAST = 1e-6
"""Churn is never less certain than this, nor its opposite."""

NEVER = -1000.0
"""Logit of whoever is not asked: in floats the logistic function of it is 0, or nearly."""


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

    @property
    def asked(self) -> bool:
        """Whether there was anything to accept."""
        return self.forest.baseline > NEVER

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

    def leaves(self, family: Ints, size: Floats) -> BitWords:
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

    def _customers(self, X: Floats, recent: Floats) -> Iterable[tuple[slice, BitWords]]:
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
    """What contact with each arm does to churn. A - 1 arms contact.

    Through acceptance: shifts of the logit, by penalty, that add up over features and the risk's own logit. Beside
    that: shares of would-be churners and stayers, which add up likewise, and trees.

    Attributes:
        grid: The customers' features, in the order of their schema.
        curves: Outputs are shifts without contact, one a penalty; the share of would-be churners that each arm changes,
            and that of would-be stayers; shifts by accepting, by refusing and of waking, one a penalty each.
        slopes: (r,) of those on the centred logit of the risk; of shifts by contact on that of churn without it.
        centre: Of that logit.
        counts: Penalties of the shifts, in that order.
        baseline_size: How much of the shift without contact is believed.
        mediated: How much is believed of what acts through those who accept, and through those who refuse.
        accepting: (2, A - 1) shares of would-be churners and of stayers that change among those who accept alone.
        boosted: What any contact does.
        menu: The arms, no contact first.
    """

    grid: Grid
    curves: Curves
    slopes: Floats
    centre: float
    counts: tuple[int, int, int, int]
    baseline_size: float
    mediated: tuple[float, float]
    accepting: Floats
    boosted: Forest
    menu: Menu

    def consequences(self, X: Floats, risk: Floats) -> tuple[Floats, Floats, Floats]:
        """(n, F) features and (n,) risks -> (n,) churn without contact, (n, A - 1) if accepted and if refused."""
        arms = len(self.menu) - 1
        churn, accepted, refused = np.empty(len(X)), np.empty((len(X), arms)), np.empty((len(X), arms))
        for start in range(0, len(X), CHUNK):
            rows = slice(start, start + CHUNK)
            for cells, within in self.grid.chunks(X[rows]):
                boosted = self.boosted.total(self.boosted.left_by(cells))
                found = self.combined(risk[rows], self.curves.total(cells, within).T, boosted)
                churn[rows], accepted[rows], refused[rows] = (each.T for each in found)
        return churn, accepted, refused

    def combined(self, risk: Floats, shifts: Floats, boosted: Floats) -> tuple[Floats, Floats, Floats]:
        """Churn without contact (…), of those who accept and of those who refuse each arm (A - 1, …).

        Args:
            risk: (…) by the risk model.
            shifts: (r, …) totals of the curves.
            boosted: (…) what any contact does, by the trees.
        """
        idle, accepting, refusing, _ = self.counts
        arms = len(self.menu) - 1
        by_risk = idle + 2 * arms
        slopes = self.slopes.reshape(-1, *[1] * risk.ndim)
        base = logit(risk, LEAST)
        moved = (base - self.centre) * slopes[:by_risk]
        moved += shifts[:by_risk]
        unmoved = mean(logistic(moved[:idle] + base))
        churn = between(LEAST, risk + self.baseline_size * (unmoved - risk), 1 - LEAST)
        kept, driven = moved[idle : idle + arms], moved[idle + arms :]
        base = logit(churn, LEAST)
        moved = (base - self.centre) * slopes[by_risk:]
        moved += shifts[by_risk:]
        contacted = logistic(moved[: accepting + refusing] + base)
        waking = mean(logistic(moved[accepting + refusing :]))
        accepted, shifted = mean(contacted[:accepting]), mean(contacted[accepting:])
        refused = (shifted + churn + (1 - churn) * waking) / 2
        staying = 1 - risk
        kept_on, driven_on = self.accepting.reshape(2, -1, *[1] * risk.ndim)
        either = churn + boosted + risk * kept + staying * driven
        if_accepted = self.mediated[0] * (accepted - churn) + risk * kept_on
        return (
            churn,
            between(LEAST, either + if_accepted + staying * driven_on, 1 - LEAST),
            between(LEAST, either + self.mediated[1] * (refused - churn), 1 - LEAST),
        )

    def on(self, finer: Grid) -> EffectPredictor:
        """The same consequences over the cells of a finer grid, which may have further features."""
        boosted = self.boosted.on(self.grid, finer)
        return replace(self, grid=finer, curves=self.curves.on(self.grid, finer), boosted=boosted)

    def of(self, menu: Menu) -> EffectPredictor:
        """The same for another menu: an arm that was not tried lies between its family's sizes, or at their end.

        Raises:
            ArmError: A family was never tried.
        """
        if menu.ids == self.menu.ids:
            return self
        shares, arms = np.stack([as_tried(arm, self.menu) for arm in menu.arms[1:]]), len(self.menu) - 1
        first = self.counts[0]
        last = first + 2 * arms

        def mixed(values: Floats) -> Floats:
            kept, driven = values[..., first : first + arms], values[..., first + arms : last]
            return np.concatenate(
                [values[..., :first], kept @ shares.T, driven @ shares.T, values[..., last:]], axis=-1
            )

        curves = Curves(mixed(self.curves.intercept), mixed(self.curves.coefficients))
        return replace(
            self, curves=curves, slopes=mixed(self.slopes), accepting=self.accepting @ shares.T, menu=menu
        )


def as_tried(arm: Arm, tried: Menu) -> Floats:
    """(A - 1,) shares of the arms that were tried that make up another arm.

    Raises:
        ArmError: Its family was never tried.
    """
    if arm.id in tried.position:
        return np.asarray(np.arange(1, len(tried)) == tried.position[arm.id], np.float64)
    family = [index for index, each in enumerate(tried.arms) if each.contacts and each.family == arm.family]
    if not family:
        message = (
            f"effect_model: found arm {arm.id} of family {arm.family!r}, which was never tried; expected one of the "
            f"families {', '.join(tried.families)}"
        )
        raise ArmError(message)
    family.sort(key=lambda index: tried[index].size)
    sizes = [tried[index].size for index in family]
    shares = np.zeros(len(tried) - 1)
    for place, index in enumerate(family):
        shares[index - 1] = np.interp(arm.size, sizes, np.arange(len(sizes)) == place)
    return shares
