"""The checks of `offer_log`: which gates run on it, and what to do when one fails."""

from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome
from churn_assets.gates.spec import CheckSpec, GateInputs


def _volume(log: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.offers import gates

    return gates.volume_gates(log, inputs.section("offer_log").gates)


def _propensities(log: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.offers import gates

    return gates.propensity_gates(log, inputs.section("offer_log").gates)


OFFER_LOG: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_decisions",
        description="Enough decisions, enough of them without contact, none accepted that was not offered.",
        advice="Collect more decisions, or hold more customers out from contact; fewer cannot rank policies.",
        run=_volume,
        sections=("offer_log",),
        plots=(
            Plot("arms", "bar", "arm", ("accepted", "churned"), "Accepted, churned by arm", "arm", "share"),
            Plot("waves", "line", "wave", ("accepted", "churned"), "Over time", "week", "share"),
        ),
    ),
    CheckSpec(
        name="true_propensities",
        description="Stated propensities match what was chosen, and every arm was tried often enough to learn from.",
        advice="Log the probability with which the policy really chose, before any cap or filter; explore every arm.",
        run=_propensities,
        sections=("offer_log",),
        plots=(
            Plot(
                "calibration", "points", "stated", ("realised",), "Stated and realised propensity", "stated",
                "realised", diagonal=True,
            ),
        ),
    ),
)  # fmt: skip
