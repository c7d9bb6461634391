"""The checks of `risk_model`: which gates run on it, and what to do when one fails."""

from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion
from churn_assets.gates.spec import CheckSpec, GateInputs


def _discrimination(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.risk import gates

    return gates.discrimination(model, inputs.upstream("customers"), inputs.section("risk_model").gates)


def _calibration(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.risk import gates

    return gates.calibration(model, inputs.upstream("customers"), inputs.section("risk_model").gates)


def _slices(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.risk import gates

    return gates.slices(model, inputs.upstream("customers"), inputs.section("risk_model").gates)


def _integrity(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.risk import gates

    return gates.integrity(model, inputs.upstream("customers"), inputs.section("risk_model"))


def _no_worse(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.risk import gates

    led = inputs.champions("risk_model")
    if led is None:
        return no_champion()
    (champion,) = led
    return gates.no_worse_than(
        model, champion, inputs.upstream("customers"), inputs.section("risk_model").gates
    )


RISK_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="ranks_well",
        description="Ranks customers it never saw well, and nobody too well.",
        advice="Too low: look at the features. Too high: one of them knows the outcome; see customers/no_leakage.",
        run=_discrimination,
        sections=("risk_model",),
        plots=(
            Plot(
                "roc", "line", "false_positive_rate", ("true_positive_rate",), "ROC, held-out customers",
                "false positive rate", "true positive rate", diagonal=True,
            ),
        ),
    ),
    CheckSpec(
        name="calibrated",
        description="Risks are probabilities: the calibration error is within the noise of a perfect model.",
        advice="Look at the calibration plot; class weights or an old table are the usual reasons.",
        run=_calibration,
        sections=("risk_model",),
        plots=(
            Plot(
                "calibration", "points", "forecast", ("observed",), "Calibration, held-out customers",
                "forecast risk", "observed churn", diagonal=True,
            ),
        ),
    ),
    CheckSpec(
        name="fair_to_slices",
        description="As many churners as expected, and ranked, in every slice of customers.",
        advice="The slice named in the gate needs a feature that describes it, or more customers.",
        run=_slices,
        sections=("risk_model",),
    ),
    CheckSpec(
        name="predicts",
        description="Real predictions: finite, varied, those of the published table, monotone where they must be.",
        advice="The saved model is not the trained one, or its constraints are lost: materialize it again.",
        run=_integrity,
        sections=("risk_model",),
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's risk model on the same held-out customers.",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run=_no_worse,
        sections=("risk_model",),
        against_champion=True,
    ),
)  # fmt: skip
