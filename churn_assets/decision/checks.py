"""The checks of `ppo_decision`: which gates run on it, and what to do when one fails."""

from churn_assets.arms import ArmConfig
from churn_assets.flow.check import CheckSpec, Given
from churn_assets.flow.setting import Setting
from churn_assets.gates.plots import Plot
from churn_assets.offers.economics import Economics

_GIVEN: Given = {
    "yardstick": "churn_assets.decision.gates:held_out_yardstick",
    "process": "churn_assets.decision.caution:planned_process",
    "arms": Setting("arms", tuple[ArmConfig, ...]),
    "economics": Setting("economics", Economics),
}

PPO_DECISION: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="captures_the_gain",
        description="Captures most of what can be gained with customers it never saw, or leaves them alone.",
        fault="the policy captures little of what can be gained",
        advice="Look at the training curve: more steps, or back to the known recipe (ppo_decision.ppo).",
        run="churn_assets.decision.gates:gain",
        given=_GIVEN,
        plots=(
            Plot(
                "policies", "bar", "policy", ("gain_captured",), "Gain captured, baselines and optimum", "policy",
                "share of the attainable gain", lowest=-1.0,
            ),
            Plot("first_offers", "bar", "arm", ("policy", "optimum"), "First offers", "arm", "share"),
        ),
    ),
    CheckSpec(
        name="pays_when_cautious",
        description="Loses no more if customers differ, and effects fade, as much as they may than it gains if not.",
        fault="the policy loses more money if customers differ as much as they may than it gains if not",
        advice="More frailty or effect_decay (ppo_decision.hidden) makes a more cautious policy; a narrower band needs "
        "a log that follows customers over several windows.",
        run="churn_assets.decision.gates:projection",
        given=_GIVEN,
        plots=(Plot("projected", "bar", "projection", ("gain",), "Gain a customer, projected", "", "money"),),
        told_at_promotion=True,
    ),
    CheckSpec(
        name="keeps_the_rules",
        description="Never chooses what cooldown, caps, running discounts or eligibility forbid.",
        fault="the policy makes offers that the rules forbid",
        advice="The saved policy is not of this experiment's process: materialize it again.",
        run="churn_assets.decision.gates:rules",
        given=_GIVEN,
    ),
    CheckSpec(
        name="proof_of_use",
        description="Risk, acceptance and effect matter: permuting one model's predictions costs part of the gain.",
        fault="the policy ignores a model that it is shown",
        advice="The policy ignores an upstream model: look at the observation and at what that model says.",
        run="churn_assets.decision.gates:proof_of_use",
        given=_GIVEN,
        plots=(
            Plot(
                "permuted", "bar", "shown", ("gain_captured",), "What the policy is shown", "predictions",
                "share of the attainable gain",
            ),
        ),
    ),
    CheckSpec(
        name="spends_well",
        description="Spends a scarce budget well by its price, and never more than it.",
        fault="the policy spends a budget badly, or more than it",
        advice="Widen the range of prices it trains for (ppo_decision.budget_prices) or train longer.",
        run="churn_assets.decision.gates:budget",
        given=_GIVEN,
    ),
    CheckSpec(
        name="offers_are_fair",
        description="No group certainly gets more or less than customers of the same risk and expected effect.",
        fault="customers of one group get less at equal risk and expected effect",
        advice="See the table of groups: a condition of an arm, or a feature, stands for the group. Loosen it, exclude "
        "the feature, or write down why in ppo_decision.gates.max_unfair_months.",
        run="churn_assets.decision.fairness:fair_offers",
        given=_GIVEN,
    ),
    CheckSpec(
        name="off_policy",
        description="The log speaks for it: better than no offer, or not worse than the champion (95 %).",
        fault="the log does not speak for the policy",
        advice="Do not release. More logged decisions narrow the interval; a negative estimate needs another policy.",
        run="churn_assets.decision.gates:off_policy",
        told_at_promotion=True,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="Captures about as much of the gain as the champion on the same held-out customers.",
        fault="the policy is worse than the champion",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run="churn_assets.decision.gates:no_worse_than",
        given=_GIVEN,
    ),
)  # fmt: skip
