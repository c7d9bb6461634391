"""The checks of `risk_model`: which gates run on it, and what to do when one fails."""

from churn_assets.flow.check import CheckSpec
from churn_assets.gates.plots import Plot

RISK_MODEL: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="ranks_well",
        description="Ranks customers it never saw well, by no column that knows the outcome.",
        fault="churners are not ranked above stayers, or a column knows who left (leak)",
        advice="Too low: look at the features. Leaking columns: exclude those that are named, all at once.",
        run="churn_assets.risk.gates:discrimination",
        plots=(
            Plot(
                "roc", "line", "false_positive_rate", ("true_positive_rate",), "ROC, held-out customers",
                "false positive rate", "true positive rate", diagonal=True,
            ),
        ),
    ),
    CheckSpec(
        name="calibrated",
        description="Risks are probabilities: right in the mean, in the slope, and bin by bin, within the noise.",
        fault="miscalibrated: the risks are not probabilities",
        advice="Look at the calibration plot; class weights or an old table are the usual reasons.",
        run="churn_assets.risk.gates:calibration",
        plots=(
            Plot(
                "calibration", "points", "forecast", ("observed",), "Calibration, held-out customers",
                "forecast risk", "observed churn", diagonal=True,
            ),
        ),
    ),
    CheckSpec(
        name="fair_to_slices",
        description="As many churners as expected, and ranked, in every slice of customers, within the noise of all.",
        fault="risks are wrong for a slice of customers",
        advice="The slice named in the gate needs a feature that describes it, or more customers.",
        run="churn_assets.risk.gates:slices",
    ),
    CheckSpec(
        name="predicts",
        description="Real predictions: finite, varied, those of the published table, monotone where they must be.",
        fault="the risk model does not predict as it was trained",
        advice="The saved model is not the trained one, or its constraints are lost: materialize it again.",
        run="churn_assets.risk.gates:integrity",
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="No worse than the champion's risk model on the same held-out customers.",
        fault="risks are worse than the champion's",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run="churn_assets.risk.gates:no_worse_than",
    ),
)  # fmt: skip
