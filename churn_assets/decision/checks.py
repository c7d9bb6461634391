"""The checks of `ppo_decision`: which gates run on it, and what to do when one fails."""

from typing import Any

from churn_assets.gates.plots import Plot
from churn_assets.gates.report import Outcome, no_champion
from churn_assets.gates.spec import CheckSpec, GateInputs

_SECTIONS = ("ppo_decision", "arms", "economics")


def _trial(inputs: GateInputs) -> Any:
    """Held-out customers with the upstream models' answers; made once for all checks."""

    def make() -> Any:
        from churn_assets.decision.gates import Trial
        from churn_assets.decision.process import RetentionProcess
        from churn_assets.decision.responses import ResponseModels
        from churn_assets.decision.tables import UPSTREAM, build_tables

        customers = inputs.upstream("customers")
        window = customers.schema.label_window_months
        process = RetentionProcess.build(
            inputs.section("ppo_decision"), inputs.section("economics"), window, inputs.section("arms")
        )
        models = [inputs.upstream(name) for name in UPSTREAM]
        unseen = customers.where(customers.held_out)
        return Trial.of(build_tables(unseen, ResponseModels.of(*models, process)), process)

    return inputs.once("trial", make)


def _gain(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.decision import gates

    return gates.gain(policy, _trial(inputs), inputs.section("ppo_decision").gates)


def _rules(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.decision import gates

    return gates.rules(policy, _trial(inputs))


def _proof_of_use(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.decision import gates

    return gates.proof_of_use(policy, _trial(inputs), inputs.section("ppo_decision").gates)


def _budget(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.decision import gates

    return gates.budget(policy, _trial(inputs), inputs.section("ppo_decision").gates)


def _no_worse(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.decision import gates

    led = inputs.champions("ppo_decision")
    if led is None:
        return no_champion()
    (champion,) = led
    return gates.no_worse_than(policy, champion, _trial(inputs), inputs.section("ppo_decision").gates)


def _off_policy(policy: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.decision.logged import decisions_on_log
    from churn_assets.decision.off_policy import Evidence, decide_release, off_policy_outcome
    from churn_assets.decision.responses import ResponseModels
    from churn_assets.decision.tables import UPSTREAM

    customers, log = inputs.upstream("customers"), inputs.upstream("offer_log")
    ours = ResponseModels.of(*(inputs.upstream(name) for name in UPSTREAM), policy.process)
    candidate = decisions_on_log(policy, customers, log, ours)
    led = inputs.champions("ppo_decision", *UPSTREAM)
    theirs = None
    if led is not None:
        champion, *models = led
        seen = CustomerTable(
            customers.frame, models[0].schema
        )  # the same people, with the features that it reads
        theirs = decisions_on_log(champion, seen, log, ResponseModels.of(*models, champion.process))
    verdict = decide_release(Evidence.of(log, customers), candidate, theirs)
    return off_policy_outcome(verdict, simulated=log.simulated)


PPO_DECISION: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="captures_the_gain",
        description="Captures most of what can be gained with customers it never saw, or leaves them alone.",
        advice="Look at the training curve: more steps, or back to the known recipe (ppo_decision.ppo).",
        run=_gain,
        sections=_SECTIONS,
        plots=(
            Plot(
                "policies", "bar", "policy", ("gain_captured",), "Gain captured, baselines and optimum", "policy",
                "share of the attainable gain", lowest=-1.0,
            ),
            Plot("first_offers", "bar", "offer", ("policy", "optimum"), "First offers", "offer", "share"),
        ),
    ),
    CheckSpec(
        name="keeps_the_rules",
        description="Never chooses what cooldown, caps, running discounts or eligibility forbid.",
        advice="The saved policy is not of this experiment's process: materialize it again.",
        run=_rules,
        sections=_SECTIONS,
    ),
    CheckSpec(
        name="proof_of_use",
        description="Risk, acceptance and effect matter: permuting one model's predictions costs part of the gain.",
        advice="The policy ignores an upstream model: look at the observation and at what that model says.",
        run=_proof_of_use,
        sections=_SECTIONS,
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
        advice="Widen the range of prices it trains for (ppo_decision.budget_prices) or train longer.",
        run=_budget,
        sections=_SECTIONS,
    ),
    CheckSpec(
        name="off_policy",
        description="The log speaks for it: better than no offer, or not worse than the champion (95 %).",
        advice="Do not release. More logged decisions narrow the interval; a negative estimate needs another policy.",
        run=_off_policy,
        against_champion=True,
    ),
    CheckSpec(
        name="no_worse_than_champion",
        description="Captures about as much of the gain as the champion on the same held-out customers.",
        advice="Keep the champion; find out what changed in data, configuration or code.",
        run=_no_worse,
        sections=_SECTIONS,
        against_champion=True,
    ),
)  # fmt: skip
