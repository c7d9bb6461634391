"""The checks of `customers`: which gates run on it, and what to do when one fails."""

from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion
from churn_assets.gates.spec import CheckSpec, GateInputs


def _leakage(table: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.customers import gates

    return gates.leakage(table, inputs.section("customers").gates)


def _split(table: Any, inputs: GateInputs) -> Outcome:  # noqa: ARG001 - needs nothing else
    from churn_assets.customers import gates

    return gates.split(table)


def _completeness(table: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.customers import gates

    return gates.completeness(table, inputs.section("customers").gates)


def _like_the_champions(table: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.customers import gates

    led = inputs.champions("customers")
    if led is None:
        return no_champion()
    (champion,) = led
    return gates.like_the_champions(table, champion, inputs.section("customers").gates)


CUSTOMERS: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="no_leakage",
        description="No feature alone predicts the label: such a feature was written after the outcome.",
        advice="Exclude the feature (customers.exclude), or correct the extract so that it holds values from before.",
        run=_leakage,
        sections=("customers",),
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
        description="Every customer stands once, on one side of the split, by the hash of the id; the sides are alike.",
        advice="Look for repeated ids in the source; never change folds by hand.",
        run=_split,
        sections=(),
    ),
    CheckSpec(
        name="complete",
        description="Enough customers, a believable share of churners, few blanks.",
        advice="Compare the extract with last month's; a filter or a join may have lost rows or values.",
        run=_completeness,
        sections=("customers",),
    ),
    CheckSpec(
        name="like_the_champions",
        description="No feature changed its unit, encoding or kind since the table that the champion learned from.",
        advice="Look at the feature named in the gate: its unit, its codes, what the extract calls by that name. If "
        "the change is real, raise customers.gates.max_psi and say why.",
        run=_like_the_champions,
        sections=("customers",),
        against_champion=True,
    ),
)
