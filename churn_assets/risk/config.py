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
        min_auc: Least ROC AUC on held-out customers.
        max_auc: Largest believable out-of-fold ROC AUC; above it the features know the outcome.
        min_brier_skill: Least share of the Brier score of the mere base rate that the model saves, held out.
        max_deviation: Largest distance of the mean risk, and of its slope, from what was observed, in standard errors.
        max_calibration_ratio: Largest calibration error (ECE) on held-out customers, in multiples of what
            the 95th percentile of a perfectly calibrated model would be.
        min_slice_rows: Levels of categorical features with fewer customers are not judged.
        max_slice_deviation: Largest |observed − expected| churners of such a level, in standard errors.
        min_slice_auc: Least out-of-fold ROC AUC within any such level.
        champion_log_loss_tolerance: How much worse than the champion's the log loss on the same customers
            may be (nats).
    """

    min_auc: Share = 0.7
    max_auc: Share = 0.95
    min_brier_skill: float = 0.05
    max_deviation: Annotated[float, Field(gt=0)] = 3.5
    max_calibration_ratio: Annotated[float, Field(gt=0)] = 1.25
    min_slice_rows: Annotated[int, Field(ge=1)] = 100
    max_slice_deviation: Annotated[float, Field(gt=0)] = 3.5
    min_slice_auc: Share = 0.55
    champion_log_loss_tolerance: Annotated[float, Field(ge=0)] = 0.002


class RiskModelConfig(BaseModel, frozen=True, extra="forbid"):
    """P(churn in the label window), without contact.

    Attributes:
        kind: `logit_mean` of spline logistic and boosting, either alone, or `best_by_nested_cv`: the
            one of the three with the least log loss, chosen inside every cross-fit.
        monotone: Features in which the risk may only rise (`increasing`) or fall (`decreasing`).
        nested_folds: Inner folds by which `best_by_nested_cv` chooses.
        spline_logistic: Its parameters.
        boosting: Its parameters.
        gates: What the model must prove.
    """

    kind: Literal["logit_mean", "spline_logistic", "boosting", "best_by_nested_cv"] = "logit_mean"
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(default_factory=dict)
    nested_folds: Annotated[int, Field(ge=2, le=20)] = 3
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
