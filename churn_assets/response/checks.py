"""The checks of `accept_model` and `effect_model`: which gates run on them, and what to do when one fails."""

from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion
from churn_assets.gates.spec import CheckSpec, GateInputs


def _held_out(inputs: GateInputs) -> Any:
    from churn_assets.response.gates import HeldOutOffers

    return HeldOutOffers.of(inputs.upstream("customers"), inputs.upstream("offer_log"))


def _acceptance(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    return gates.acceptance(model, _held_out(inputs), inputs.section("accept_model").gates)


def _accept_integrity(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    return gates.accept_integrity(model, _held_out(inputs))


def _accept_no_worse(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    led = inputs.champions("accept_model")
    if led is None:
        return no_champion()
    (champion,) = led
    return gates.accept_no_worse_than(
        model, champion, _held_out(inputs), inputs.section("accept_model").gates
    )


def _effect(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    risk, accept = inputs.upstream("risk_model"), inputs.upstream("accept_model")
    return gates.effect(model, _held_out(inputs), risk, accept, inputs.section("effect_model").gates)


def _effect_integrity(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    return gates.effect_integrity(model, _held_out(inputs), inputs.upstream("risk_model"))


def _effect_no_worse(model: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.response import gates

    led = inputs.champions("effect_model")
    if led is None:
        return no_champion()
    (champion,) = led
    risk, accept = inputs.upstream("risk_model"), inputs.upstream("accept_model")
    limits = inputs.section("effect_model").gates
    return gates.effect_no_worse_than(model, champion, _held_out(inputs), risk, accept, limits)


ACCEPT_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="forecasts_acceptance",
        description="Ranks and forecasts acceptance of held-out customers, overall and arm by arm.",
        advice="Look at acceptance by arm; an arm rarely made, or drift in the log, is the usual reason.",
        run=_acceptance,
        sections=("accept_model",),
        plots=(
            Plot(
                "acceptance_by_arm", "bar", "label", ("observed", "predicted"), "Acceptance by arm", "arm",
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
        advice="The monotone constraints were lost between training and saving: materialize it again.",
        run=_accept_integrity,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's acceptance model on the same held-out offers.",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run=_accept_no_worse,
        sections=("accept_model",),
        against_champion=True,
    ),
)  # fmt: skip

EFFECT_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="effects_are_real",
        description="Predicted effects have the size that the propensities identify on held-out customers.",
        advice="Too large a claim harms customers: shrink harder (effect_model) or log more offers.",
        run=_effect,
        sections=("effect_model",),
        plots=(
            Plot(
                "effect_by_arm", "line", "arm", ("predicted", "doubly_robust"),
                "Effect of contact on churn, by arm (95 % interval)", "arm", "change in churn",
                band=("lower", "upper"),
            ),
            Plot(
                "effect_by_group", "bar", "who", ("predicted", "doubly_robust"),
                "Effect on churn by predicted effect", "customers", "change in churn",
            ),
        ),
    ),
    CheckSpec(
        name="keeps_to_its_evidence",
        description="Real predictions are probabilities; effects are as large as the model's own evidence supports.",
        advice="The saved model is not the trained one: materialize it again.",
        run=_effect_integrity,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's effect model on the same held-out offers.",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run=_effect_no_worse,
        sections=("effect_model",),
        against_champion=True,
    ),
)  # fmt: skip
