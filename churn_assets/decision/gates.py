"""What `ppo_decision` must prove, measured exactly on held-out customers with the policy as loaded. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from churn_assets.customers.table import CustomerTable
from churn_assets.decision.baselines import baselines
from churn_assets.decision.budget import BudgetNotKeptError, budget_bound, price_for_budget, run_campaign
from churn_assets.decision.config import DecisionGates
from churn_assets.decision.incremental import within_window
from churn_assets.decision.logged import decided_apart
from churn_assets.decision.observation import Observer
from churn_assets.decision.off_policy import (
    LoggedDecisions,
    decide_release,
    off_policy_outcome,
    simple_policies,
)
from churn_assets.decision.optimum import Choice, Evaluation, evaluate, gain_captured, never, solve
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import IDLE, Bools, Floats, Ints, RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import UPSTREAM, ResponseTables, build_tables
from churn_assets.gates.estimates import clustered_mean
from churn_assets.gates.report import Gate, Outcome, no_champion
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.log import OfferLog
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel

SEED = 20_261_122
"""Of permutations, probes and campaigns: the same verdict every time the same policy is checked."""

PROBES = 4096
"""Random decisions at which the rules are tried."""

BUDGETED_CUSTOMERS = 600
"""Customers who share the budget that is tried: enough for a mean spend, few enough for many exact evaluations."""

PERMUTATIONS = 3
"""Times that an upstream model's predictions are permuted; the mean counts."""

ROUNDING = 1e-9
"""Values that differ by a smaller share are the same."""

BUDGET_SHARE = 0.25
CAMPAIGNS = 5


@dataclass(frozen=True)
class Yardstick:
    """Customers that no model was fitted on, and what is attainable with them.

    Attributes:
        tables: n customers.
        process: the rules of the experiment.
        observer: what a policy is shown about them.
        none: value of never offering.
        best: the exact optimum.
    """

    tables: ResponseTables
    process: RetentionProcess
    observer: Observer
    none: Floats
    best: Evaluation
    _worth: dict[int, tuple[DecisionPolicy, Evaluation]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, tables: ResponseTables, process: RetentionProcess) -> Yardstick:
        return cls(
            tables,
            process,
            Observer(tables, process),
            evaluate(tables, process, never(process)).value,
            solve(tables, process).evaluation,
        )

    def captured(self, value: Floats) -> float | None:
        """Share of the attainable gain; None where there is nothing to gain."""
        return gain_captured(value, self.none, self.best.value)

    def evaluate(self, choice: Choice) -> Evaluation:
        return evaluate(self.tables, self.process, choice)

    def worth(self, policy: DecisionPolicy) -> Evaluation:
        """What a policy is worth to them that is shown what it was trained for; found once for all gates."""
        if id(policy) not in self._worth:
            self._worth[id(policy)] = policy, self.evaluate(policy.choice(self.observer))
        return self._worth[id(policy)][1]


def held_out_yardstick(
    customers: CustomerTable,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    effect_model: EffectModel,
    process: RetentionProcess,
) -> Yardstick:
    """Held-out customers with the upstream models' answers: what most gates are measured on."""
    models = ResponseModels.of(risk_model, accept_model, effect_model, process)
    return Yardstick.of(build_tables(customers.where(customers.held_out), models), process)


def gain(policy: DecisionPolicy, yardstick: Yardstick, gates: DecisionGates) -> Outcome:
    """Captures most of what can be gained; where there is nothing to gain, leaves customers alone."""
    ours = yardstick.worth(policy)
    captured = yardstick.captured(ours.value)
    contacted = float(ours.contacted.mean())
    if captured is None:
        limit = gates.max_contact_share_without_gain
        gate = Gate("contacted", contacted, "<=", limit, "customers ever contacted: there is nothing to gain")
    else:
        detail = "(V - V_none) / (V* - V_none), exact, held-out customers"
        gate = Gate("gain_captured", captured, ">=", gates.min_gain_captured, detail)

    def row(name: str, found: Evaluation) -> dict[str, Any]:
        return {
            "policy": name,
            "gain_captured": yardstick.captured(found.value),
            "value": float(found.value.mean()),
            "spend": float(found.spend.mean()),
            "contacted": float(found.contacted.mean()),
        }

    simple = baselines(yardstick.tables, yardstick.process)
    rows = [row("policy", ours), row("optimum", yardstick.best)]
    rows += [row(name, yardstick.evaluate(choice)) for name, choice in simple.items()]
    mix = [
        {"arm": arm.id, "offer": arm.label, "policy": float(share), "optimum": float(best)}
        for arm, share, best in zip(
            yardstick.process.menu, ours.first.mean(axis=0), yardstick.best.first.mean(axis=0), strict=True
        )
    ]
    return Outcome((gate,), {"policies": rows, "first_offers": mix})


def projection(policy: DecisionPolicy, yardstick: Yardstick, gates: DecisionGates) -> Outcome:
    """Worth having over the horizon even if what is not known is as bad as the band allows.

    Unless the experiment asks for more, no more may be lost then than is gained if it is as good as it may be.

    Beside it stands what the models say of the label window alone, which the log can contradict.
    """
    process, tables = yardstick.process, yardstick.tables
    if yardstick.captured(yardstick.best.value) is None:
        return gain(policy, yardstick, gates)
    choice, ours = policy.choice(yardstick.observer), yardstick.worth(policy)
    gained = [float((ours.value - yardstick.none).mean())]
    for each in process.projections[1:]:
        other = process.at(each)
        kept = evaluate(tables, other, choice).value - evaluate(tables, other, never(process)).value
        gained.append(float(kept.mean()))
    told, cautious, hopeful = gained[0], gained[-1], gained[min(1, len(gained) - 1)]
    window = _in_window(yardstick, ours.first)
    months = process.horizon * process.step_months
    detail = (
        f"worth {told:.2f} a customer over {months} months, projected ({cautious:.2f} to {hopeful:.2f}); "
        f"the first decisions {window:.2f} within their {process.window_months:g} months"
    )
    names = ("as planned", "hopeful", "cautious")
    rows = [
        {"projection": name, "frailty": at.frailty, "effect_decay": at.effect_decay, "gain": value}
        for name, at, value in zip(names, process.projections, gained, strict=False)
    ]
    rows.append({"projection": "first window alone", "frailty": None, "effect_decay": None, "gain": window})
    least = -hopeful if gates.min_cautious_gain is None else gates.min_cautious_gain
    return Outcome((Gate("cautious_gain", cautious, ">=", least, detail),), {"projected": rows})


def _in_window(yardstick: Yardstick, first: Floats) -> float:
    """Mean over customers of what the arms decided first add in their label window."""
    tables = yardstick.tables
    added = within_window(
        tables.risk[:, :1, None],
        tables.acceptance[:, 0, :1, 1:],
        tables.churn_if_accepted[:, :1],
        tables.churn_if_refused[:, :1],
        tables.price,
        yardstick.process.menu.monthly(tables.price),
        yardstick.process,
    )
    return float((first[:, 1:] * added[:, 0]).sum(axis=1).mean())


def rules(policy: DecisionPolicy, yardstick: Yardstick) -> Outcome:
    """Real decisions at random states: nothing that cooldown, caps, discounts or eligibility forbid is chosen."""
    rng = np.random.default_rng(SEED)
    process, observer = yardstick.process, yardstick.observer
    customer, step, state, past = (
        rng.integers(0, end, PROBES)
        for end in (len(yardstick.tables), process.horizon, process.n_states, len(process.pasts))
    )
    price = rng.exponential(1.0, PROBES).astype(np.float32)
    affordable = rng.random((PROBES, process.n_arms - 1)) < 0.5
    rows = observer.observe(customer, step, state, past, price, affordable)
    forbidden = np.zeros((PROBES, process.n_arms), bool)
    closed = _closed(process, state, process.pasts[past, 0])[:, None]
    forbidden[:, 1:] = closed | ~yardstick.tables.allowed[customer, 1:] | ~affordable
    probabilities, arms = policy.probabilities(rows), policy.act(rows)
    same = policy.process == process and policy.observation_names == observer.names
    most = float(probabilities[forbidden].max())
    deviation = float(np.abs(probabilities.sum(axis=1) - 1).max())
    chosen = int(forbidden[np.arange(PROBES), arms].sum())
    return Outcome(
        (
            Gate(
                "same_process",
                float(same),
                "==",
                1,
                "trained for the rules and the observation of the experiment",
            ),
            Gate("forbidden_chosen", chosen, "==", 0, f"of {PROBES} random decisions"),
            Gate("forbidden_probability", most, "==", 0, "largest, of the stochastic policy"),
            Gate("probability_deviation", deviation, "<=", 1e-9, "of their sum from 1"),
        )
    )


def _closed(process: RetentionProcess, state: Ints, used: Ints) -> Bools:
    """(m,) where nothing may be offered, by the rules in months: not by the mask that a policy is shown."""
    since, accepted = process.age[state] * process.step_months, process.arm[state]
    cooling = (state != IDLE) & (since < max(process.cooldown_months, process.step_months))
    running = since < process.menu.months[accepted]
    return np.asarray(cooling | running | (used >= process.max_offers))


def proof_of_use(policy: DecisionPolicy, yardstick: Yardstick, gates: DecisionGates) -> Outcome:
    """Each upstream model matters: showing the policy its answers to other questions certainly costs value.

    The customers keep responding as they do; only what the policy is shown changes. Where there is nothing to gain
    nothing can be lost, and the policy must leave customers alone instead. Of another outcome than leaving the risk is
    only what effects are told against, and one arm may be the best for everybody: then no model of single customers is
    of use, and what is captured counts.
    """
    ours = yardstick.worth(policy)
    captured = yardstick.captured(ours.value)
    outcome = bool(yardstick.process.outcome)
    if captured is None or (outcome and (ours.first == ours.first[0]).all()):
        return gain(policy, yardstick, gates)
    accepted = not outcome or yardstick.tables.acceptance.max() > ROUNDING
    asked = [each for each in UPSTREAM[outcome:] if each != "accept_model" or accepted]
    rng = np.random.default_rng(SEED)
    verdicts: list[Gate] = []
    rows: list[dict[str, Any]] = [
        {"shown": "as predicted", "gain_captured": captured, "decided_otherwise": 0.0}
    ]
    for upstream in asked:
        others = []
        for _ in range(PERMUTATIONS):
            shown = Observer(yardstick.tables.permuted(upstream, rng), yardstick.process)
            others.append(yardstick.evaluate(policy.choice(shown)))
        value = np.mean([each.value for each in others], axis=0)
        otherwise = float(np.mean([(each.first != ours.first).any(axis=1) for each in others]))
        lost = clustered_mean(ours.value - value, np.arange(len(value)))
        certain = lost.z if abs(lost.value) > ROUNDING * float(ours.value.mean()) else 0.0
        detail = (
            f"standard errors of the value lost when its predictions are permuted, {lost.value:.3g} a customer; "
            f"{otherwise:.0%} decided otherwise"
        )
        limit = gates.min_standard_errors_lost
        verdicts.append(Gate(f"{upstream}_matters", certain, ">=", limit, detail))
        rows.append(
            {"shown": upstream, "gain_captured": yardstick.captured(value), "decided_otherwise": otherwise}
        )
    return Outcome(tuple(verdicts), {"permuted": rows})


def budget(policy: DecisionPolicy, yardstick: Yardstick, gates: DecisionGates) -> Outcome:
    """Spends a scarce budget well by its price, and never more than it, whatever happens."""
    tables, process = yardstick.tables.subset(slice(0, BUDGETED_CUSTOMERS)), yardstick.process
    few = Yardstick.of(tables, process)
    rng, n = np.random.default_rng(SEED), len(tables)
    limit = BUDGET_SHARE * float(few.best.spend.mean())
    share, price = None, 0.0
    detail = "of the dual bound's gain, at a quarter of the unconstrained spend"
    if few.captured(few.best.value) is not None:
        bound, none = budget_bound(tables, process, limit), float(few.none.mean())
        try:
            kept = price_for_budget(policy, few.observer, tables, limit)
        except BudgetNotKeptError as error:
            share, detail = 0.0, f"{detail}; {error}"
        else:
            price, share = kept.budget_price, (kept.worth(limit) - none) / (bound.value - none)
    runs = [
        run_campaign(policy, few.observer, tables, budget=scarce * n * limit, budget_price=told, rng=rng)
        for _ in range(CAMPAIGNS)
        for scarce, told in ((1.0, price), (0.5, 0.0))
    ]
    stop = Gate(
        "hard_stop_violations", sum(run.violations for run in runs), "==", 0, f"{len(runs)} campaigns"
    )
    if share is None:
        return Outcome((stop,))
    return Outcome((Gate("budget_share", share, ">=", gates.min_budget_share, detail), stop))


def no_worse_than(
    policy: DecisionPolicy, champion: DecisionPolicy, yardstick: Yardstick, gates: DecisionGates
) -> Outcome:
    """Captures about as much as the champion on the same customers.

    It is shown values at the frailty that it was trained for, which a newer log may estimate otherwise. A champion of
    another menu or other rules cannot be asked about these customers; the release compares their values.
    """
    process, before = yardstick.process, champion.process
    # Whether answers to earlier offers are told apart is part of how decisions are numbered.
    if before.rules != process.rules or bool(before.taste) != bool(process.taste):
        return no_champion()
    shown = Observer(yardstick.tables, before)
    if champion.observation_names != shown.names:
        return no_champion()
    ours = yardstick.captured(yardstick.worth(policy).value)
    theirs = yardstick.captured(yardstick.evaluate(champion.choice(shown)).value)
    if ours is None or theirs is None:
        return gain(policy, yardstick, gates)
    limit = -gates.champion_captured_tolerance
    rows = [{"policy": "new", "gain_captured": ours}, {"policy": "champion", "gain_captured": theirs}]
    return Outcome(
        (Gate("captured_over_champion", ours - theirs, ">=", limit, "same held-out customers"),),
        {"captured": rows},
    )


def off_policy(
    policy: DecisionPolicy,
    customers: CustomerTable,
    offer_log: OfferLog,
    risk_model: RiskModel,
    accept_model: AcceptModel,
    effect_model: EffectModel,
    champion: DecisionPolicy | None,
    champion_risk_model: RiskModel | None,
    champion_accept_model: AcceptModel | None,
    champion_effect_model: EffectModel | None,
    gates: DecisionGates,
) -> Outcome:
    """The log does not speak against it: better than no offer, or not worse than the champion by its own models.

    Of both, each customer is decided for by models that were fitted without them.
    """
    decided = decided_apart(policy, customers, offer_log, risk_model, accept_model, effect_model)
    candidate = decided.apart
    theirs = None
    if (
        champion is not None
        and champion_risk_model is not None
        and champion_accept_model is not None
        and champion_effect_model is not None
    ):
        # The same people, with the features that it reads.
        seen = customers.seen_by(champion_risk_model.schema)
        models = champion_risk_model, champion_accept_model, champion_effect_model
        theirs = decided_apart(champion, seen, offer_log, *models).apart
    evidence = LoggedDecisions.of(offer_log, customers)
    evidence = replace(evidence, chance=decided.chance(evidence))
    offered = [offer_log.menu.position[arm] for arm in policy.process.menu.ids[1:]]
    known, row = rows_before(offer_log, customers)
    risk = risk_model.risk_of_rows(known)[row]
    opponents = simple_policies(offer_log.menu, offered, risk, known.price[row], policy.process.outcome)
    verdict = decide_release(evidence, candidate, theirs, gates.release_confidence)
    return off_policy_outcome(
        verdict,
        [evidence.against(name, candidate, each) for name, each in opponents.items()],
        simulated=offer_log.simulated,
        known_by=offer_log.known_by,
    )
