"""Which model suits a table: kinds, sizes of trees, learning rates and penalties, compared on customers left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from churn_assets.customers.schema import CustomerSchema
from churn_assets.gates.metrics import brier, log_losses
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.estimators import BOOSTING, PARTS, SPLINE, RiskEstimator, fit_part, logits_of

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Groups = NDArray[np.int64]

SEARCHED_ROWS = 30_000
"""Most customers on whom candidates are compared: a larger table costs no more."""

PENALTIES = (1.0, 0.1, 10.0)
"""Of the splines, as multiples of the configured one."""

FLAT = 1000.0
"""Another such multiple, which leaves hardly more than one risk for everybody. It is taken where all else is worse: a
click in two hundred may have nothing to do with who is asked, and is then learned by heart."""

SIZES: tuple[Mapping[str, float], ...] = (
    {"learning_rate": 0.1},
    {"learning_rate": 0.1, "max_leaf_nodes": 16, "min_samples_leaf": 20, "max_features": 1.0},
    {"learning_rate": 0.1, "max_leaf_nodes": 64, "min_samples_leaf": 20, "max_features": 1.0},
    {"learning_rate": 0.1, "max_leaf_nodes": 64, "min_samples_leaf": 5, "l2_regularization": 1.0, "max_features": 1.0},
)  # fmt: skip
"""Boostings that are tried beside the configured one; the last learns by heart where a table is to be learned so."""

TREES = (25, 50, 75, 100, 150, 200, 300, 400)
"""How many trees of each size are tried: one fit tells of all."""

WORK = 1e9
"""Most leaves of all trees times customers: a table of 400,000 gets 2,500 leaves, one of 30,000 whatever is tried."""

GROWTH, MOST_GROWTH = 0.6, 2.0
"""Half as many trees again for twice as many customers: better than as many, and than twice, on six made-up tables."""


@dataclass(frozen=True, eq=False)
class TriedPart:
    """A part of the model that was tried.

    Attributes:
        config: The section, its kind being that part.
        logits: (K, n) by models that never saw group k nor the customer; NaN but for the neighbours of group k.
    """

    config: RiskModelConfig
    logits: Floats

    def __str__(self) -> str:
        if self.config.kind == SPLINE:
            return f"splines, penalty {self.config.spline_logistic.penalty:g}"
        trees = self.config.boosting
        return (
            f"{trees.max_iter} trees of {trees.max_leaf_nodes} leaves, rate {trees.learning_rate:g}, "
            f"{trees.max_features:.0%} of features"
        )


@dataclass(frozen=True, eq=False)
class Search:
    """What was tried on a table.

    Attributes:
        y: (n,) labels of the customers compared.
        group: (n,) which of K groups each is of.
        splines: Candidates, the configured one first.
        boostings: Likewise.
        flat: What knows hardly more than how many leave.
        growth: What to multiply a number of trees by: a fit on all customers bears more than one on some of them.
    """

    y: Labels
    group: Groups
    splines: tuple[TriedPart, ...]
    boostings: tuple[TriedPart, ...]
    flat: TriedPart
    growth: float

    @classmethod
    def run(
        cls,
        X: Floats,
        y: Labels,
        group: Groups,
        schema: CustomerSchema,
        config: RiskModelConfig,
        *,
        seed: int,
    ) -> Search:
        """Fits every candidate without each pair of neighbours in the ring of groups, and asks it about both.

        Rows and candidates alone bound the work; no clock decides anything.

        Args:
            X: (n, F) design matrix.
            y: (n,) labels.
            group: (n,) of K = `nested_folds` groups, 0 … K - 1.
            schema: The features of X.
            config: The section.
            seed: Of the customers drawn from a large table, and of every fit.
        """
        drawn = sample(len(y), SEARCHED_ROWS, seed)
        more = min(len(y), config.fit_rows) / (len(drawn) * (1 - 2 / config.nested_folds))
        growth = min(MOST_GROWTH, more**GROWTH)
        leaves = WORK / len(y) / growth
        X, y, group = X[drawn], y[drawn], group[drawn]

        def tried(part: RiskModelConfig, trees: Sequence[int] = (0,)) -> list[TriedPart]:
            logits = np.full((len(trees), config.nested_folds, len(y)), np.nan)
            for place in range(config.nested_folds):
                pair = place, (place + 1) % config.nested_folds
                inside = ~np.isin(group, pair)
                fitted = fit_part(X[inside], y[inside], schema, part, seed=seed, stops_early=len(trees) > 1)
                for one, other in (pair, pair[::-1]):
                    rows = group == other
                    logits[:, one, rows] = logits_of(fitted, X[rows], trees)
            return [TriedPart(_with_trees(part, n), found) for n, found in zip(trees, logits, strict=True)]

        spline, boosting = config.spline_logistic, config.boosting
        penalties = [
            spline.model_copy(update={"penalty": spline.penalty * each}) for each in (*PENALTIES, FLAT)
        ]
        *splines, flat = [
            config.model_copy(update={"kind": SPLINE, "spline_logistic": each}) for each in penalties
        ]
        as_configured = config.model_copy(update={"kind": BOOSTING})
        boostings = tried(as_configured, (boosting.max_iter,))
        for size in SIZES:
            trees = [
                each for each in TREES if each * size.get("max_leaf_nodes", boosting.max_leaf_nodes) <= leaves
            ]
            if trees:
                larger = boosting.model_copy(update={"max_iter": trees[-1], **size})
                boostings += tried(as_configured.model_copy(update={"boosting": larger}), trees)
        return cls(
            y,
            group,
            tuple(each for part in splines for each in tried(part)),
            tuple(boostings),
            tried(flat)[0],
            growth,
        )

    def best(self, without: int | None = None) -> RiskModelConfig:
        """The section of what suits the table: as configured, unless something else certainly suits it better.

        Where even that is worse than hardly more than one risk for everybody, that.

        Certainly is by more than a standard error of the difference of log losses.

        Args:
            without: A group of whose labels the choice knows nothing.
        """

        def losses(parts: tuple[TriedPart, ...]) -> Floats:
            return self._losses(parts, without)

        spline, boosting = (
            min(part, key=lambda each: losses((each,)).mean()) for part in (self.splines, self.boostings)
        )
        configured = (self.splines[0], self.boostings[0])
        best = min(((spline, boosting), (spline,), (boosting,)), key=lambda parts: losses(parts).mean())
        lost = losses(configured) - losses(best)
        parts = best if _certain(lost) else configured
        if losses((self.flat,)).mean() < losses(parts).mean():
            return self.flat.config
        chosen: dict[str, Any] = {each.config.kind: getattr(each.config, each.config.kind) for each in parts}
        if boosting in parts and boosting is not self.boostings[0]:
            trees = round(boosting.config.boosting.max_iter * self.growth)
            chosen[BOOSTING] = boosting.config.boosting.model_copy(update={"max_iter": trees})
        kind = "logit_mean" if len(parts) > 1 else parts[0].config.kind
        return parts[0].config.model_copy(update={"kind": kind, **chosen})

    def figures(self) -> dict[str, float]:
        """Log loss and Brier score of every candidate, by a name for people; of a size, its best number of trees."""
        found = {}
        for each in self.splines + self.boostings:
            alike = [other for other in self.splines + self.boostings if _size(other) == _size(each)]
            if each is min(alike, key=lambda other: self._losses((other,), None).mean()):
                found[f"log loss of {each}"] = float(self._losses((each,), None).mean())
                found[f"Brier score of {each}"] = brier(self.y, np.nanmean(expit(each.logits), axis=0))
        return found

    def _losses(self, parts: tuple[TriedPart, ...], without: int | None) -> Floats:
        """Of each customer compared, by the mean logit of the parts; the mean over the models that never saw them."""
        logits = np.mean([each.logits for each in parts], axis=0)
        if without is not None:
            rows = np.isfinite(logits[without])
            return log_losses(self.y[rows], expit(logits[without, rows]))
        return np.asarray(np.nanmean(log_losses(self.y, expit(logits)), axis=0))


@dataclass(frozen=True, eq=False)
class ModelChoice:
    """Which model each fit is of.

    Attributes:
        config: The section.
        search: What was compared; None where the section names a kind.
        apart: Whether groups are made of whole batches, so that a search says what suits without one.
    """

    config: RiskModelConfig
    search: Search | None
    apart: bool

    def of(self, without: int | None) -> RiskModelConfig:
        """The section for a fit without a batch, of whose labels the choice knows nothing; None: for all customers."""
        if self.search is None or (without is not None and not self.apart):
            return self.config
        return self.search.best(None if without is None else without % self.config.nested_folds)

    def figures(self) -> dict[str, float]:
        """What was chosen for all, and what every candidate scored."""
        if self.search is None:
            return {}
        best = self.of(None)
        chosen: dict[str, float] = {}
        for part in PARTS[best.kind]:
            chosen |= {
                f"chosen {part}.{key}": value for key, value in getattr(best, part).model_dump().items()
            }
        return chosen | self.search.figures()


def choose(
    X: Floats,
    y: Labels,
    batch: Groups,
    schema: CustomerSchema,
    config: RiskModelConfig,
    *,
    customer: Groups,
    seed: int,
) -> ModelChoice:
    """Searches where the section asks for it.

    Args:
        X: (n, F) design matrix.
        y: (n,) labels.
        batch: (n,) which cross-fit leaves each customer out, 0 ….
        schema: The features of X.
        config: The section.
        customer: (n,) number of each row's customer: all rows of one are of one group.
        seed: As of `Search.run`.
    """
    if config.kind != "best_by_nested_cv":
        return ModelChoice(config, None, apart=False)
    apart = int(batch.max()) + 1 >= config.nested_folds
    group = batch if apart else np.random.default_rng(seed).permutation(int(customer.max()) + 1)[customer]
    search = Search.run(X, y, group % config.nested_folds, schema, config, seed=seed)
    return ModelChoice(config, search, apart)


def fit_chosen(
    X: Floats,
    y: Labels,
    schema: CustomerSchema,
    config: RiskModelConfig,
    *,
    customer: Groups | None = None,
    seed: int,
) -> RiskEstimator:
    """The estimator of a section; its kind is chosen by these rows where it is still to be chosen.

    Arguments as of `choose`; each row is another customer's where nothing is given.
    """
    one_a_batch = np.arange(len(y)) if customer is None else np.unique(customer, return_inverse=True)[1]
    choice = choose(X, y, one_a_batch, schema, config, customer=one_a_batch, seed=seed)
    return RiskEstimator.fit(X, y, schema, choice.of(None), seed=seed)


def sample(rows: int, most: int, seed: int) -> NDArray[np.intp]:
    """All rows in order, or as many as are allowed, by lot and in order."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _certain(lost: Floats) -> bool:
    """Whether what is lost (n,) shows beyond a standard error."""
    return bool(lost.mean() > lost.std() / np.sqrt(len(lost)))


def _with_trees(config: RiskModelConfig, trees: int) -> RiskModelConfig:
    if config.kind == SPLINE:
        return config
    return config.model_copy(update={"boosting": config.boosting.model_copy(update={"max_iter": trees})})


def _size(candidate: TriedPart) -> RiskModelConfig:
    return _with_trees(candidate.config, 1)
