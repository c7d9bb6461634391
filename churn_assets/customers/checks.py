"""The checks of `customers`: which gates run on it, and what to do when one fails."""

from churn_assets.flow.check import CheckSpec
from churn_assets.gates.plots import Plot

CUSTOMERS: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="no_leakage",
        description="No feature alone predicts the label: such a feature was written after the outcome.",
        fault="leak: a feature knows who left",
        advice="Exclude all features that the gate names (customers.exclude), or correct the extract so that it holds "
        "values from before.",
        run="churn_assets.customers.gates:leakage",
        plots=(
            Plot(
                "single_feature_auc",
                "bar",
                "feature",
                ("auc",),
                "Each feature alone against the label",
                "feature",
                "AUC",
            ),
        ),
    ),
    CheckSpec(
        name="honest_split",
        description="Every customer stands on one side of the split, by the hash of the id; the sides are alike.",
        fault="the split leaks: held-out customers are not apart from the others",
        advice="Look for repeated ids in the source, and for rows of one customer under ids of their own: let "
        "customers.id name the customer, and customers.row_date the day of each row. Never change folds by hand.",
        run="churn_assets.customers.gates:split",
    ),
    CheckSpec(
        name="complete",
        description="Enough customers, a believable share of churners, few blanks.",
        fault="the customer table is not complete",
        advice="Compare the extract with last month's; a filter or a join may have lost rows or values.",
        run="churn_assets.customers.gates:completeness",
    ),
    CheckSpec(
        name="like_the_champions",
        description="No feature changed its unit, encoding or kind since the table that the champion learned from.",
        fault="a feature changed its unit, codes or kind",
        advice="Look at the feature named in the gate: its unit, its codes, what the extract calls by that name. If "
        "the change is real, raise customers.gates.max_psi and say why.",
        run="churn_assets.customers.gates:like_the_champions",
    ),
)
