"""The checks of `offer_log`: which gates run on it, and what to do when one fails."""

from churn_assets.flow.check import CheckSpec
from churn_assets.gates.plots import Plot

CAME_OF_IT = ("accepted", "churned", "outcome")
"""Whatever came of decisions: leaving, or another outcome that is configured in its place."""

OFFER_LOG: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="enough_decisions",
        description="Enough decisions, enough of them without contact, none accepted that was not offered.",
        fault="too few decisions to learn from",
        advice="Collect more decisions, or hold more customers out from contact; fewer cannot rank policies.",
        run="churn_assets.offers.gates:volume_gates",
        plots=(
            Plot("arms", "bar", "arm", CAME_OF_IT, "What came of it by arm", "arm", where_there=CAME_OF_IT),
            Plot("waves", "line", "wave", CAME_OF_IT, "Over time", "week", where_there=CAME_OF_IT),
        ),
    ),
    CheckSpec(
        name="true_propensities",
        description="Stated propensities match what was chosen, and every arm was tried often enough to learn from.",
        fault="the stated propensities are not those that chose",
        advice="Log the probability with which the policy really chose, before any cap or filter; explore every arm.",
        run="churn_assets.offers.gates:propensity_gates",
        plots=(
            Plot(
                "calibration", "points", "stated", ("realised",), "Stated and realised propensity", "stated",
                "realised", diagonal=True,
            ),
        ),
    ),
)  # fmt: skip
