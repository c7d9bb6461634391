"""What is decided for whom: hard rules before anything else, exact propensities, the same answer in any company."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from traceback import format_exception

import numpy as np
import pytest

from churn_assets.customers.features import RowEncoder
from churn_assets.deciding.decider import (
    Budget,
    CustomerError,
    CustomerInput,
    Decider,
    LastContact,
    Rollout,
    _by_value,
)
from churn_assets.deciding.exploration import Plausible, TopTwo
from churn_assets.deciding.files import save_models
from churn_assets.deciding.outlook import ArmFigures
from churn_assets.deciding.planned import rollout_plan
from churn_assets.deciding.table import decide_table
from churn_assets.decision.budget import within_budget
from churn_assets.release.build import as_raw

KEY = b"a secret of this test"
RELEASE = "toy/release/20260101T000000Z-000000000000"
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def inputs(table, **fields):
    raw = as_raw(table)
    rows = raw.astype(object).where(raw.notna(), None).to_dict("records")
    return [CustomerInput(row.pop(table.schema.id), row, **fields) for row in rows]


@pytest.fixture(scope="module")
def core(small):
    return Decider(small.models, RELEASE)


@pytest.fixture(scope="module")
def customers(small):
    """Known ones and unseen ones."""
    known = inputs(small.table)[:300]
    unseen = [
        replace(
            each, customer_id=f"new-{each.customer_id}", features={**each.features, "tenure": 71.0 - i % 60}
        )
        for i, each in enumerate(known[:100])
    ]
    return known + unseen


@pytest.fixture(scope="module")
def persuadable(core, customers):
    """A known customer whom the policy makes an offer."""
    return next(c for c, d in zip(customers, core.decide(customers), strict=True) if d.arm and d.known)


def one(core, customer, *rest):
    (decision,) = core.decide([customer], *rest)
    return decision


def test_the_row_of_a_customer_is_the_row_of_the_design_matrix_for_every_real_customer(small):
    encoder = RowEncoder(small.schema)
    rows = np.array([encoder.row(each.features) for each in inputs(small.everyone)])
    assert rows.tobytes() == np.where(np.isnan(small.everyone.X), np.nan, small.everyone.X).tobytes()


def test_a_blank_is_the_blank_of_the_design_matrix(small):
    table = small.everyone.where(np.arange(len(small.everyone)) == 0)
    table.frame.loc[0, ["Contract", "SeniorCitizen"]] = None
    (customer,) = inputs(table)
    row = np.array(RowEncoder(small.schema).row(customer.features))
    assert np.isnan(row).sum() == 2
    assert row.tobytes() == table.X[0].tobytes()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_decision_is_the_same_alone_and_in_any_batch(core, customers, size):
    rollout = Rollout(KEY, "e", holdout_share=0.1, exploration_share=0.2)
    together = core.decide(customers, rollout)
    apart = [
        decision
        for start in range(0, len(customers), size)
        for decision in core.decide(customers[start : start + size], rollout)
    ]
    assert apart == together
    assert {decision.known for decision in together} == {True, False}


def test_the_command_decides_as_the_server_does_for_every_real_customer(core, small):
    offline = decide_table(as_raw(small.everyone), core, NOW)
    online = core.decide(inputs(small.everyone))
    assert [each.chosen.arm.id for each in online] == offline["arm"].tolist()
    assert [each.risk for each in online] == offline["risk"].tolist()
    for name, column in (
        ("acceptance", "acceptance"),
        ("risk_if_offered", "risk_if_offered"),
        ("expected_value", "expected_value"),
    ):
        assert [getattr(each.chosen, name) for each in online] == offline[column].tolist()
    assert len({each.arm for each in online}) > 2


def test_prior_offers_lower_the_acceptance_of_the_next(core, persuadable):
    before, after = one(core, persuadable), one(core, replace(persuadable, prior_offers=4))
    assert before.known
    assert not after.known
    assert after.arms[2].acceptance < before.arms[2].acceptance


@pytest.mark.parametrize(
    ("fields", "rule", "delay"),
    [
        ({"opted_out": True}, "opted_out", None),
        ({"last_contact": LastContact(0)}, "cooldown", 2),
        ({"last_contact": LastContact(1)}, "cooldown", 2),
        ({"last_contact": LastContact(2)}, "cooldown", 1),
        ({"last_contact": LastContact(1, accepted="percent_10")}, "offer_running", 5),
        ({"last_contact": LastContact(5, accepted="percent_30")}, "offer_running", 1),
        ({"offers_used": 4}, "cap_reached", None),
        ({"offers_used": 9}, "cap_reached", None),
        ({"eligible": ()}, "not_eligible", None),
        ({"eligible": ("no_contact",)}, "not_eligible", None),
    ],
)
def test_a_rule_that_forbids_an_offer_is_kept_and_named_whoever_chooses(
    core, persuadable, fields, rule, delay
):
    forbidden = replace(persuadable, **fields)
    for rollout in (Rollout(b""), Rollout(KEY, exploration_share=1.0)):
        decision = one(core, forbidden, rollout)
        assert (decision.arm, decision.propensities) == (0, (1.0, 0.0, 0.0, 0.0, 0.0))
        assert [outlook.forbidden for outlook in decision.arms] == [None, *[rule] * 4]
        assert decision.delay_months == delay
        assert rule in [reason.code for reason in decision.reasons]


@pytest.mark.parametrize(
    "contact",
    [
        None,
        LastContact(3),
        LastContact(4),
        LastContact(400),
        LastContact(6, accepted="percent_10"),
    ],
)
def test_an_old_contact_forbids_nothing(core, persuadable, contact):
    decision = one(core, replace(persuadable, last_contact=contact))
    assert not any(outlook.forbidden for outlook in decision.arms)


def test_no_contact_cannot_have_been_accepted_and_what_to_send_is_said(core, persuadable):
    with pytest.raises(CustomerError, match=r"expected one of percent_5, .* null for a refusal") as caught:
        one(core, replace(persuadable, last_contact=LastContact(2, accepted="no_contact")))
    assert (caught.value.field, caught.value.found) == ("last_contact", "'no_contact' as accepted")


def test_a_recent_contact_that_is_no_longer_in_the_cooldown_still_lowers_acceptance(core, persuadable):
    recent, old = (one(core, replace(persuadable, last_contact=LastContact(months))) for months in (4, 5))
    assert recent.arms[1].acceptance < old.arms[1].acceptance


def test_only_eligible_offers_are_made_also_at_random(core, customers):
    few = [replace(each, eligible=("percent_5", "percent_30")) for each in customers]
    for rollout in (Rollout(b""), Rollout(KEY, exploration_share=1.0)):
        decided = {decision.chosen.arm.id for decision in core.decide(few, rollout)}
        assert decided <= {"no_contact", "percent_5", "percent_30"}


def test_the_kill_switch_stops_all_offers_and_every_answer_says_so(core, customers):
    for decision in core.decide(customers, Rollout(KEY, exploration_share=0.5, kill_switch=True)):
        assert (decision.arm, decision.assigned) == (0, "kill_switch")
        assert decision.propensities == (1.0, 0.0, 0.0, 0.0, 0.0)
        assert "kill_switch" in [reason.code for reason in decision.reasons]


def test_propensities_are_the_frequencies_with_which_keys_draw(core, persuadable):
    customer = replace(persuadable, eligible=("percent_5", "percent_10", "percent_30"))
    rollouts = [Rollout(f"key {i}".encode(), "e", 0.15, 0.3) for i in range(4000)]
    decisions = [one(core, customer, rollout) for rollout in rollouts]
    expected = np.array(decisions[0].propensities)
    assert all(decision.propensities == decisions[0].propensities for decision in decisions)
    assert expected.sum() == pytest.approx(1, abs=1e-12)
    found = np.bincount([decision.arm for decision in decisions], minlength=5) / len(decisions)
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / len(decisions))
    assert found[3] == expected[3] == 0
    shares = Counter(decision.assigned for decision in decisions)
    assert shares["holdout"] / len(decisions) == pytest.approx(0.15, abs=0.03)
    assert shares["exploration"] / len(decisions) == pytest.approx(0.3, abs=0.03)


def test_who_explores_plausible_arms_gets_each_by_its_propensity_and_mostly_those_near_the_best(
    core, persuadable
):
    plausible = Plausible(reach=0.5, floor=0.02)
    rollouts = [Rollout(f"key {i}".encode(), "e", 0.05, 0.45, plausible=plausible) for i in range(4000)]
    decisions = [one(core, persuadable, rollout) for rollout in rollouts]
    told = decisions[0]
    stated, values = np.array(told.propensities), np.array([each.expected_value for each in told.arms])
    assert stated.sum() == pytest.approx(1, abs=1e-12)
    assert all(decision.propensities == told.propensities for decision in decisions)
    found = np.bincount([decision.arm for decision in decisions], minlength=len(stated)) / len(decisions)
    assert np.abs(found - stated).max() < 4 * np.sqrt(0.25 / len(decisions))
    explored = (
        stated - 0.05 * (np.arange(len(stated)) == 0) - 0.5 * (np.arange(len(stated)) == told.policy_arm)
    )
    near = values.max() - values <= 0.5 * np.abs(values).max()
    assert explored[~near] == pytest.approx(0.45 * 0.02, abs=1e-12)
    assert explored.min() >= 0.45 * 0.02 - 1e-12
    assert (np.diff(explored[np.argsort(values)]) >= -1e-12).all()


def test_who_explores_by_top_two_gets_what_may_be_the_best_and_propensities_are_the_closed_form(
    small, core, customers
):
    rollout = Rollout(KEY, "e", 0.05, 0.45, top_two=TopTwo(0.02))
    decisions, plain = core.decide(customers, rollout), core.decide(customers)
    asked = core.foresee(customers, core.encoded(customers)).outlooks
    draws = small.effect.n_draws
    apart = 0
    for told, alone, outlook in zip(decisions, plain, asked, strict=True):
        best = outlook["best"][0].astype(float)
        assert best.sum() == pytest.approx(1)
        assert (best * draws) == pytest.approx((best * draws).round(), abs=1e-4), "counted over all draws"
        expected = 0.45 * np.array(TopTwo(0.02).shares(best.tolist()))
        expected[0] += 0.05
        expected[alone.arm] += 0.5
        assert np.array(told.propensities) == pytest.approx(expected, abs=1e-12)
        assert sum(told.propensities) == pytest.approx(1, abs=1e-12)
        apart += 0.05 < best[int(np.argmax([each.expected_value for each in told.arms]))] < 0.95
    assert apart > 20, "the log of these models leaves much open"
    assert core.decide(customers, rollout) == decisions


def test_a_plan_says_what_a_rollout_costs_and_that_plausible_arms_cost_less(core, customers):
    worth = np.full(len(customers), 100.0)

    def plan(**how):
        return rollout_plan(core.decide(customers, Rollout(KEY, "e", 0.05, 0.45, **how)), worth, 10_000)

    uniform, plausible, top_two = plan(), plan(plausible=Plausible()), plan(top_two=TopTwo())
    assert 0 < top_two.cost < uniform.cost
    assert uniform.policy == plausible.policy
    assert 0 < plausible.cost < uniform.cost
    assert plausible.served == pytest.approx(plausible.policy - plausible.cost)
    assert 0 < uniform.standard_error < np.inf
    nobody = rollout_plan(core.decide(customers), worth, 10_000)
    assert nobody.cost == 0
    assert nobody.standard_error == np.inf


def test_holdout_and_exploration_stay_with_a_customer_until_the_epoch_changes(core, customers):
    def groups(epoch):
        return [each.assigned for each in core.decide(customers, Rollout(KEY, epoch, 0.3, 0.3))]

    assert groups("spring") == groups("spring")
    assert groups("spring") != groups("summer")


def test_nobody_in_the_holdout_is_contacted(core, customers):
    decisions = core.decide(customers, Rollout(KEY, "e", 0.5, 0.5))
    held_out = [each for each in decisions if each.assigned == "holdout"]
    assert 0.4 < len(held_out) / len(decisions) < 0.6
    assert not any(each.arm for each in held_out)


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.6, 0.5), (float("nan"), 0.0)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="at most 1 together"):
        Rollout(KEY, "e", *shares)


def test_groups_are_not_drawn_without_a_secret():
    with pytest.raises(ValueError, match="found no key"):
        Rollout(b"", holdout_share=0.1)


def full_costs(core, customers):
    price = np.array([each.features["MonthlyCharges"] for each in customers])
    return core.process.commitments(price)


@pytest.mark.parametrize("remaining", [0.0, 5.0, 100.0, 1000.0])
@pytest.mark.parametrize("exploration", [0.0, 0.6])
def test_offers_never_commit_more_than_the_budget(core, customers, remaining, exploration):
    decisions = core.decide(customers, Rollout(KEY, "e", 0.0, exploration), Budget(0.2, remaining))
    costs = full_costs(core, customers)
    assert sum(costs[i, each.arm] for i, each in enumerate(decisions)) <= remaining
    for i, each in enumerate(decisions):
        assert sum(each.propensities) == pytest.approx(1, abs=1e-12)
        assert each.propensities[each.arm] > 0
        assert all(
            outlook.forbidden == "budget"
            for arm, outlook in enumerate(each.arms)
            if costs[i, arm] > remaining
        )


def test_an_arm_that_costs_nothing_is_served_first_and_no_contact_last():
    nothing = [0.0, 0.0]
    told = [
        ArmFigures(0.2, nothing, nothing, [0.0, value], nothing, nothing, nothing, nothing, [0.0, cost])
        for value, cost in ((9.0, 1.0), (6.0, 3.0), (1.0, 0.0), (8.0, 2.0))
    ]
    assert _by_value([0, 1, 1, 1], told) == [2, 3, 1, 0]


def test_without_exploration_the_budget_is_shared_by_the_rule_of_campaigns(core, customers):
    free = core.decide(customers, Rollout(b""), Budget(0.0, 1e6))
    costs = full_costs(core, customers)
    wanted = [i for i, each in enumerate(free) if each.arm]
    cost = np.array([costs[i, free[i].arm] for i in wanted])
    gain = np.array([free[i].chosen.expected_value for i in wanted])
    # All arms fit each for itself, so that the policy prefers what it preferred; together they do not.
    remaining = max(float(costs.max()), float(cost.sum()) / 3)
    granted = within_budget(cost, remaining, gain / cost)
    capped = core.decide(customers, Rollout(b""), Budget(0.0, remaining))
    assert [i for i, each in enumerate(capped) if each.arm] == [
        i for i, yes in zip(wanted, granted, strict=True) if yes
    ]
    stopped = [capped[i] for i, yes in zip(wanted, granted, strict=True) if not yes]
    assert stopped
    assert all("budget" in [reason.code for reason in each.reasons] for each in stopped)


def test_a_price_of_the_budget_makes_fewer_offers(core, customers):
    offers = [
        sum(bool(d.arm) for d in core.decide(customers, Rollout(b""), Budget(price))) for price in (0.0, 5.0)
    ]
    assert offers[1] < offers[0]


@pytest.mark.parametrize(
    "budget", [Budget(-1.0), Budget(float("nan")), Budget(1e9), Budget(0.0, -1.0), Budget(0.0, float("inf"))]
)
def test_a_budget_that_is_none_is_refused(core, customers, budget):
    with pytest.raises(ValueError, match="budget: found"):
        core.decide(customers[:1], Rollout(b""), budget)


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        ("Contract", "Weekly", "one of"),
        ("Contract", 1, "one of"),
        ("Contract", ["Two year"], "one of"),
        ("tenure", None, "a finite number, at least 0"),
        ("tenure", -1.0, "at least 0"),
        ("tenure", True, "a finite number"),
        ("tenure", "12", "a finite number"),
        ("tenure", 10**400, "a finite number"),
        ("MonthlyCharges", 0.0, "above 0"),
        ("MonthlyCharges", float("nan"), "a finite number"),
        ("MonthlyCharges", float("inf"), "a finite number"),
        ("MonthlyCharges", 1e300, "a finite number"),
        ("Nationality", "any", "no such feature"),
    ],
)
def test_a_feature_that_the_signature_does_not_allow_is_refused_by_name(
    core, customers, feature, value, expected
):
    broken = replace(customers[1], features={**customers[1].features, feature: value})
    with pytest.raises(CustomerError, match=expected) as caught:
        core.decide([customers[0], broken])
    assert (caught.value.index, caught.value.field) == (1, feature)
    assert len(caught.value.found) < 100
    assert "Weekly" not in "".join(format_exception(caught.value))  # no log says what is known of a person


def test_a_missing_feature_is_refused_by_name(core, customers):
    features = dict(customers[0].features)
    del features["Contract"]
    with pytest.raises(CustomerError) as caught:
        core.decide([replace(customers[0], features=features)])
    assert (caught.value.field, caught.value.found) == ("Contract", "nothing")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"eligible": ("percent_7",)}, "eligible"),
        ({"last_contact": LastContact(1, accepted="percent_7")}, "last_contact"),
        ({"last_contact": LastContact(-1)}, "last_contact"),
        ({"offers_used": -1}, "offers_used"),
        ({"prior_offers": 10**9}, "prior_offers"),
    ],
)
def test_a_history_that_cannot_be_is_refused_by_name(core, persuadable, fields, field):
    with pytest.raises(CustomerError) as caught:
        core.decide([replace(persuadable, **fields)])
    assert caught.value.field == field


def test_extreme_but_allowed_numbers_give_finite_answers(core, customers):
    features = {**customers[0].features, "MonthlyCharges": 1e15, "tenure": 1e15, "SeniorCitizen": -1e15}
    decision = one(core, replace(customers[0], features=features))
    assert np.isfinite([figure for outlook in decision.arms for figure in outlook[2:]]).all()


def test_reasons_name_the_figures_of_the_decision(core, persuadable):
    decision = one(core, persuadable)
    figures = {reason.code: (reason.arm, reason.figure) for reason in decision.reasons}
    chosen = decision.chosen
    assert figures == {
        "risk": (None, decision.risk),
        "acceptance": (chosen.arm.id, chosen.acceptance),
        "risk_if_offered": (chosen.arm.id, chosen.risk_if_offered),
        "expected_value": (chosen.arm.id, chosen.expected_value),
    }


def test_an_empty_batch_has_no_decisions(core):
    assert core.decide([]) == []


_ALONE = """
import sys
from pathlib import Path
from churn_assets.deciding.files import load_models
from churn_assets.deciding.decider import CustomerInput, Decider
core = Decider(load_models(Path(sys.argv[1])), "toy")
features = {f.name: f.categories[0] if f.categories else f.mean for f in core.schema.features}
assert core.decide([CustomerInput("a", features)])[0].arms
training = {"sklearn", "scipy", "torch", "stable_baselines3", "gymnasium", "transformers", "trl", "dagster"}
print(sorted(training & set(sys.modules)))
"""


def test_deciding_imports_no_library_that_trains(small, tmp_path):
    save_models(small.models, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, tmp_path], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_a_contact_that_is_remembered_counts_among_the_offers_used(core, persuadable):
    silent, counted = (
        one(core, replace(persuadable, last_contact=LastContact(2), offers_used=used)) for used in (0, 1)
    )
    assert silent == counted
