"""The `accept_model:` and `effect_model:` sections of an experiment. Fits nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Share = Annotated[float, Field(ge=0, le=1)]
PenaltyPair = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
Penalties = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)]


class AcceptGates(BaseModel, frozen=True, extra="forbid"):
    """What `accept_model` must prove on the offers made to held-out customers.

    Attributes:
        min_auc: Least ROC AUC of acceptance among contacted rows, less the noise. Where all customers take an arm alike
            there is nothing to rank, and a model that says so is a good one.
        arm_rates_tolerance: How much worse than each arm's own rate the log loss may be (nats), or the noise at 97.5 %
            where that is more.
        max_calibration_ratio: Largest calibration error (ECE), in multiples of what the 95th percentile of a
            perfectly calibrated model would be.
        max_arm_deviation: Largest |observed - expected| acceptances of one arm, in standard errors
            clustered by customer.
        champion_log_loss_tolerance: How much worse than the champion's the log loss on the same rows may be
            (nats), or the noise at 97.5 %
            where that is more.
    """

    min_auc: Share = 0.5
    arm_rates_tolerance: Annotated[float, Field(ge=0)] = 0.002
    max_calibration_ratio: Annotated[float, Field(gt=0)] = 1.75
    max_arm_deviation: Annotated[float, Field(gt=0)] = 3.5
    champion_log_loss_tolerance: Annotated[float, Field(ge=0)] = 0.002


class AcceptModelConfig(BaseModel, frozen=True, extra="forbid"):
    """P(accept | customer, arm): boosting, increasing in an arm's size within its family, decreasing in recent offers.

    On two logs of the demo world seven settings were within .0004 nats of each other, cross-fitted; the defaults
    have the fewest leaves to ask among them.

    Attributes:
        learning_rate: As in scikit-learn's HistGradientBoostingClassifier, like the next four.
        max_iter: Number of trees.
        max_leaf_nodes: Leaves of a tree; 64 is the most that a predictor holds.
        min_samples_leaf: Fewest rows of a leaf.
        l2_regularization: Ridge penalty on leaf values.
        cross_fits: Refits whose predictions on the customers left out become the out-of-fold acceptance.
        draws: Refits with every customer weighed by lot (Bayesian bootstrap, Rubin 1981): what the log leaves open.
        gates: What the model must prove.
    """

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.08
    max_iter: Annotated[int, Field(ge=1)] = 80
    max_leaf_nodes: Annotated[int, Field(ge=2, le=64)] = 6
    min_samples_leaf: Annotated[int, Field(ge=1)] = 60
    l2_regularization: Annotated[float, Field(ge=0)] = 10.0
    cross_fits: Annotated[int, Field(ge=2, le=20)] = 4
    draws: Annotated[int, Field(ge=0, le=1000)] = 8
    gates: AcceptGates = AcceptGates()


class EffectGates(BaseModel, frozen=True, extra="forbid"):
    """What `effect_model` must prove on the offers made to held-out customers.

    Attributes:
        least_size: The realised size of the predicted effects may not be significantly below this.
        largest_size: ... nor significantly above this.
        max_arm_deviation: Largest |predicted - doubly robust| mean effect of any arm, and mean churn without contact,
            in standard errors.
        max_group_deviation: The same for the third of customers whom contact is predicted to harm most, and
            for the third whom it helps most.
        champion_loss_tolerance: Relative increase over the champion's loss on the same rows still accepted, or the
            noise at 97.5 % where that is more.
        least_p_value: What is left of the outcome may depend on contact, on what is given and on the risk by chance, at
            least this often: one sound model in 1 / `least_p_value` is refused.
    """

    least_size: float = 0.6
    largest_size: float = 1.5
    max_arm_deviation: Annotated[float, Field(gt=0)] = 3.5
    max_group_deviation: Annotated[float, Field(gt=0)] = 3.5
    champion_loss_tolerance: Annotated[float, Field(ge=0)] = 0.002
    least_p_value: Annotated[float, Field(gt=0, lt=1)] = 0.001


class EffectModelConfig(BaseModel, frozen=True, extra="forbid"):
    """How contact changes churn: several forms, stacked by what they explain on customers left out.

    Attributes:
        baseline_penalties: Ridge penalties of the shift of the risk logit of customers without contact; the fits are
            averaged.
        shift_penalties: Ridge penalties of the shifts of the baseline's logit; the fits are averaged.
        woken_penalties: Ridge penalties of the chance that a refusing would-be stayer is woken; averaged too.
        linear_penalties: Ridge penalties of each linear R-learner: on what arms share, on what one differs by, in rows.
        learning_rate: Of the boosted R-learner, as in scikit-learn's HistGradientBoostingRegressor, like the next four.
        max_iter: Number of trees.
        max_leaf_nodes: Leaves of a tree; 64 is the most that a predictor holds.
        min_samples_leaf: Fewest rows of a leaf.
        l2_regularization: Ridge penalty on leaf values.
        knots: Quantile bins of a numeric feature; one fewer is the number of hinges of its effect.
        cross_fits: Refits whose effects on the customers left out are compared with the log.
        heterogeneity: How much effects are taken to differ between customers before the log is looked at, as a share of
            how large they are: no log shows it well, and intervals of single customers hang on it.
        draws: Models drawn from what the log leaves open; intervals are their spread.
        evidence_z: Below this many standard errors of evidence for any effect at all, every effect is zero; and below
            as many for any shift of the baseline, it is the risk. Outcomes in another order, or worlds without
            effects, gave -2.4 to .9 in seven logs; a log of 50,000 rows of the demo world 12.
        gates: What the model must prove.
    """

    baseline_penalties: Penalties = (10.0, 30.0, 100.0)
    shift_penalties: Penalties = (100.0, 300.0, 1000.0)
    woken_penalties: Penalties = (3.0, 10.0, 30.0)
    linear_penalties: Annotated[tuple[PenaltyPair, ...], Field(min_length=1)] = (
        (2_000.0, 1e7), (20_000.0, 1e7), (2_000.0, 2e4), (20_000.0, 2e5),
    )  # fmt: skip
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
    max_iter: Annotated[int, Field(ge=1)] = 60
    max_leaf_nodes: Annotated[int, Field(ge=2, le=64)] = 6
    min_samples_leaf: Annotated[int, Field(ge=1)] = 300
    l2_regularization: Annotated[float, Field(ge=0)] = 50.0
    knots: Annotated[int, Field(ge=2, le=20)] = 5
    cross_fits: Annotated[int, Field(ge=2, le=20)] = 4
    heterogeneity: Annotated[float, Field(gt=0, le=10)] = 1.0
    draws: Annotated[int, Field(ge=2, le=1000)] = 128
    evidence_z: Annotated[float, Field(ge=0)] = 3.0
    gates: EffectGates = EffectGates()
