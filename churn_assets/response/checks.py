"""The checks of `accept_model` and `effect_model`: which gates run on them, and what to do when one fails."""

from churn_assets.flow.check import CheckSpec, Given
from churn_assets.gates.plots import Plot

_GIVEN: Given = {"offers": "churn_assets.response.gates:held_out_offers"}

ACCEPT_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="forecasts_acceptance",
        description="Ranks and forecasts acceptance of held-out customers, overall and arm by arm.",
        fault="acceptance is miscalibrated or not ranked",
        advice="Look at acceptance by arm; an arm rarely made, or drift in the log, is the usual reason.",
        run="churn_assets.response.gates:acceptance",
        given=_GIVEN,
        plots=(
            Plot(
                "acceptance_by_arm", "bar", "arm", ("observed", "predicted"), "Acceptance by arm", "arm",
                "share accepted",
            ),
            Plot(
                "roc", "line", "false_positive_rate", ("true_positive_rate",), "ROC, held-out customers",
                "false positive rate", "true positive rate", diagonal=True,
            ),
            Plot(
                "calibration", "points", "forecast", ("observed",), "Calibration, held-out customers",
                "forecast acceptance", "observed", diagonal=True,
            ),
        ),
    ),
    CheckSpec(
        name="rises_with_the_offer",
        description="Real predictions: 0 without an offer, rising with an arm's size, falling in recent offers.",
        fault="acceptance does not rise with the offer",
        advice="The monotone constraints were lost between training and saving: materialize it again.",
        run="churn_assets.response.gates:accept_integrity",
        given=_GIVEN,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's acceptance model on the same held-out offers.",
        fault="acceptance is forecast worse than by the champion",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run="churn_assets.response.gates:accept_no_worse_than",
        given=_GIVEN,
    ),
)  # fmt: skip

EFFECT_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="effects_are_real",
        description="Predicted effects have the size that the propensities identify on held-out customers.",
        fault="no effect: what was claimed does not show on unseen customers",
        advice="Too large a claim harms customers: shrink harder (effect_model) or log more offers.",
        run="churn_assets.response.gates:effect",
        given=_GIVEN,
        plots=(
            Plot(
                "effect_by_arm", "interval", "arm", ("doubly_robust", "predicted"),
                "Effect by arm (95 % by the log)", "", "change of the share", band=("lower", "upper"),
            ),
            Plot(
                "effect_by_group", "interval", "who", ("doubly_robust", "predicted"),
                "Effect by who is predicted helped (95 % by the log)", "", "change of the share",
                band=("lower", "upper"),
            ),
        ),
    ),
    CheckSpec(
        name="keeps_to_its_evidence",
        description="Real predictions are probabilities; effects are as large as the model's own evidence supports.",
        fault="effects larger than their evidence",
        advice="The saved model is not the trained one: materialize it again.",
        run="churn_assets.response.gates:effect_integrity",
        given=_GIVEN,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's effect model on the same held-out offers.",
        fault="effects are worse than the champion's",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run="churn_assets.response.gates:effect_no_worse_than",
        given=_GIVEN,
    ),
)  # fmt: skip
