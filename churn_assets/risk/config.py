"""The `risk_model:` section of an experiment: which model, its parameters, its gates. Fits nothing."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]

SIGNS = {"increasing": 1, "decreasing": -1}
"""Of a step in the direction of `monotone`."""


class SplineLogisticConfig(BaseModel, frozen=True, extra="forbid"):
    """Ridge logistic regression on splines of the numbers and on the categories, all scaled to unit variance.

    Products of pairs of features were tried and left out: on Telco they cost .001–.004 AUC.

    Attributes:
        n_knots: Knots of a spline, at quantiles.
        degree: Degree of a spline.
        penalty: Ridge penalty on the coefficients (1 / C of scikit-learn).
    """

    n_knots: Annotated[int, Field(ge=2, le=50)] = 5
    degree: Annotated[int, Field(ge=1, le=5)] = 3
    penalty: Annotated[float, Field(gt=0)] = 20.0


class BoostingConfig(BaseModel, frozen=True, extra="forbid"):
    """Small histogram gradient boosting; keys are scikit-learn's own names.

    The defaults were tuned on the Telco table by repeated stratified 5-fold. A predictor holds trees of at most 64
    leaves.
    """

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_iter: Annotated[int, Field(ge=1)] = 150
    max_leaf_nodes: Annotated[int, Field(ge=2, le=64)] = 6
    min_samples_leaf: Annotated[int, Field(ge=1)] = 40
    l2_regularization: Annotated[float, Field(ge=0)] = 5.0
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.5


class RiskGates(BaseModel, frozen=True, extra="forbid"):
    """What `risk_model` must prove.

    Attributes:
        min_auc: Least ROC AUC on held-out customers, less the noise. How well risk can be ranked is the table's: where
            one is known of such customers, write it. Of cross-fitted customers it must certainly be above .5, but not
            where this is .5, which asks for no ranking.
        max_auc: Largest believable out-of-fold ROC AUC, and the noise, where one is known of such customers; left out,
            any that no single column gives is believed.
        max_single_feature_auc: A column that alone ranks better, beyond the noise, knows the outcome, and so does one
            with a value that only leavers have.
        known_before: Columns that are known to be written before the outcome, though only leavers have some value.
        min_brier_skill: Least share of the Brier score of the mere base rate that the model saves, held
            out and less the noise.
        min_spread: Least standard deviation of the risks of held-out customers: of a constant it is 0.
        least_p_value: How unlikely a figure may be of a sound model: each gate, and each over all slices or columns,
            refuses one such model in 1 / `least_p_value`, and no set of them more than one in 200.
        tolerated_error: Share of customers by which a mean, a slice or a calibration error may be off without
            consequence: what is beyond it must be within the noise.
        tolerated_change: Share of customers by which the churn of a panel's last label window may be off what was
            expected by what was known before, beyond the noise.
        tolerated_slope: What `tolerated_error` is, of the calibration slope, from 1.
        min_slice_rows: Levels of categorical features with fewer customers are not judged.
        min_slice_auc: Least out-of-fold ROC AUC within any such level, less the noise; or what its risks promise, where
            that is less.
        champion_log_loss_tolerance: How much worse than the champion's the log loss on the same customers
            may be (nats), or the noise at 97.5 %
            where that is more.
    """

    min_auc: Share = 0.55
    max_auc: Share | None = None
    max_single_feature_auc: Annotated[float, Field(gt=0.5, le=1)] = 0.9
    known_before: tuple[str, ...] = ()
    min_brier_skill: float = 0.0
    min_spread: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    least_p_value: Annotated[float, Field(gt=0, lt=1)] = 0.0015
    tolerated_error: Annotated[float, Field(ge=0, lt=1)] = 0.01
    tolerated_change: Annotated[float, Field(ge=0, lt=1)] = 0.05
    tolerated_slope: Annotated[float, Field(ge=0, lt=1)] = 0.1
    min_slice_rows: Annotated[int, Field(ge=1)] = 100
    min_slice_auc: Share = 0.55
    champion_log_loss_tolerance: Annotated[float, Field(ge=0)] = 0.002


class RiskModelConfig(BaseModel, frozen=True, extra="forbid"):
    """P(churn in the label window), without contact.

    Attributes:
        kind: `logit_mean` of spline logistic and boosting, either alone, or `best_by_nested_cv`: kind, sizes of trees,
            learning rate, number of trees and penalty that suit the table, chosen for every cross-fit without the
            customers that it leaves out; the logit mean of the two sections below unless something else is certainly
            better.
        monotone: Features in which the risk may only rise (`increasing`) or fall (`decreasing`).
        nested_folds: Groups of customers by which `best_by_nested_cv` chooses; see `risk/search.py`.
        fit_rows: Most customers that one fit is made on, drawn by lot; more change less than the choice of seed.
        spline_logistic: Its parameters.
        boosting: Its parameters.
        gates: What the model must prove.
    """

    kind: Literal["logit_mean", "spline_logistic", "boosting", "best_by_nested_cv"] = "best_by_nested_cv"
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(default_factory=dict)
    nested_folds: Annotated[int, Field(ge=3, le=10)] = 4
    fit_rows: Annotated[int, Field(ge=1_000)] = 100_000
    spline_logistic: SplineLogisticConfig = SplineLogisticConfig()
    boosting: BoostingConfig = BoostingConfig()
    gates: RiskGates = RiskGates()

    @model_validator(mode="after")
    def _nothing_ignored(self) -> Self:
        idle = {"boosting": "spline_logistic", "spline_logistic": "boosting"}.get(self.kind)
        unread = {idle} if idle else set()
        unread |= {"nested_folds"} if self.kind != "best_by_nested_cv" else set()
        if ignored := sorted(unread & self.model_fields_set):
            raise ValueError(f"{', '.join(ignored)}: not read with kind: {self.kind}; leave it out")
        return self
