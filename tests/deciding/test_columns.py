"""Many first contacts decided as columns are what the decider says of each of them alone, to the last bit."""

from dataclasses import fields
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from churn_assets.deciding.columns import ASSIGNED, BUDGET, RULES, rows_alike
from churn_assets.deciding.decider import NO_ROLLOUT, Budget, Decider, Rollout
from churn_assets.deciding.table import as_frame, asked_of, columns_as_frame, columns_of, inputs_of
from churn_assets.decision.budget import value_per_unit, within_budget
from churn_assets.release.build import as_raw

NOW = datetime(2026, 11, 22, tzinfo=UTC)
DRAWN = Rollout(b"a secret to draw with", "epoch 1", holdout_share=0.2, exploration_share=0.3)


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, "toy/release/20260101T000000Z-000000000000")


@pytest.fixture(scope="module")
def raw(small, decider):
    """Known and unseen customers; some opted out, some who may get few arms, some with other offers."""
    rng, frame = np.random.default_rng(3), as_raw(small.everyone).head(400)
    named = [f"{decider.menu.ids[2]}, {decider.menu.ids[1]}", "", decider.menu.ids[3], "no_contact"]
    return frame.assign(
        opted_out=(rng.random(400) < 0.1).astype(int),
        prior_offers=rng.integers(0, 3, 400),
        eligible=rng.choice(named, 400, p=[0.2, 0.6, 0.1, 0.1]),
    )


@pytest.fixture(scope="module")
def telling(decider, small):
    """The decider reads who may get what from a column of the table."""
    optional = small.models.schema.optional.model_copy(update={"eligible": "eligible"})
    before = decider.schema
    decider.schema = before.model_copy(update={"optional": optional})
    yield decider
    decider.schema = before


@pytest.mark.parametrize(("rollout", "price"), [(NO_ROLLOUT, 0.0), (DRAWN, 0.0), (DRAWN, 0.7)])
def test_columns_say_what_the_decider_says_of_each_customer(telling, raw, rollout, price):
    asked = asked_of(raw, telling, NOW)
    found = columns_of(asked, telling, rollout, price)
    one_by_one = telling.decide(inputs_of(raw, telling, NOW), rollout, Budget(price))
    assert found.arm.tolist() == [each.arm for each in one_by_one]
    assert found.policy_arm.tolist() == [each.policy_arm for each in one_by_one]
    assert [ASSIGNED[each] for each in found.assigned] == [each.assigned for each in one_by_one]
    assert found.propensities.tolist() == [list(each.propensities) for each in one_by_one]
    rules = [[RULES[code - 1] if code else None for code in row] for row in found.forbidden.tolist()]
    assert rules == [[arm.forbidden for arm in each.arms] for each in one_by_one]
    expected = as_frame(one_by_one, telling, NOW)
    pd.testing.assert_frame_equal(
        columns_as_frame(found, asked.table.ids, telling, NOW), expected, check_exact=True
    )
    kinds = {each.reasons[-1].code for each in one_by_one}
    assert {"expected_value", "waiting_is_worth_more"} <= kinds


def test_a_shared_budget_is_granted_to_the_same_customers(decider, raw):
    raw = raw.drop(columns="eligible")
    asked = asked_of(raw, decider, NOW)
    first = columns_of(asked, decider)
    cost, value = (
        getattr(first, name)[np.arange(len(first)), first.policy_arm] for name in ("cost", "expected_value")
    )
    remaining = float(cost.sum()) / 2
    wanted = np.flatnonzero(first.policy_arm)
    granted = np.zeros(len(first), bool)
    granted[wanted] = within_budget(cost[wanted], remaining, value_per_unit(value[wanted], cost[wanted]))
    refused = ~granted & (first.policy_arm > 0)
    stopped = np.where(refused[:, None] & (np.arange(len(decider.menu)) > 0), BUDGET, 0)
    found = columns_of(asked, decider, stopped=stopped)
    one_by_one = decider.decide(inputs_of(raw, decider, NOW), budget=Budget(remaining=remaining))
    assert found.arm.tolist() == [each.arm for each in one_by_one]
    assert found.chosen("cost").sum() <= remaining
    words = columns_as_frame(found, asked.table.ids, decider, NOW)["reasons"]
    assert (
        words[(first.arm > 0) & (found.arm == 0)].str.endswith("the budget does not cover some offers").all()
    )


def test_caps_that_go_by_what_arms_cost_are_kept_in_one_pass(telling, raw, monkeypatch):
    decider = telling
    asked = asked_of(raw, decider, NOW)
    dear = np.median(columns_of(asked, decider).cost[:, 1:])

    def capped(prior, cost):
        return np.where((cost > dear) & (np.arange(len(decider.menu)) > 0), BUDGET, 0) + 0 * prior[:, None]

    told = columns_of(asked, decider, stopped=capped(asked.prior, columns_of(asked, decider).cost))
    seen, real = [], type(decider.models).outlooks
    monkeypatch.setattr(
        type(decider.models), "outlooks", lambda *given: seen.append(len(given[1])) or real(*given)
    )
    found = columns_of(asked, decider, stopped=capped)
    assert sum(seen) == len(asked.table), "everybody is foreseen once"
    assert (found.forbidden == BUDGET).any()
    for each in fields(found):
        np.testing.assert_array_equal(getattr(found, each.name), getattr(told, each.name))


def test_a_kill_switch_or_a_price_beyond_all_is_refused(decider, raw):
    asked = asked_of(raw.drop(columns="eligible"), decider, NOW)
    with pytest.raises(ValueError, match="found a kill switch"):
        columns_of(asked, decider, Rollout(b"", kill_switch=True))
    with pytest.raises(ValueError, match="price: found -1"):
        columns_of(asked, decider, price=-1)


@pytest.mark.parametrize("arms", [1, 5, 22, 60, 200])
def test_customers_of_other_rules_share_no_line_however_many_arms_there_are(arms):
    """Codes of some twenty arms fill a number of 64 bits: beyond it, rows that differ must not meet."""
    rng = np.random.default_rng(arms)
    codes = rng.integers(0, 7, (400, arms))
    codes[200:300] = codes[:100]
    codes[300:] = codes[:100]
    codes[300:, -1] = (codes[300:, -1] + 1) % 7
    found = rows_alike(codes, 7)
    _, expected = np.unique(codes, axis=0, return_inverse=True)
    assert len(set(zip(found.tolist(), expected.reshape(-1).tolist(), strict=True))) == len(
        set(found.tolist())
    )
    assert len(set(found.tolist())) == len(np.unique(codes, axis=0))
