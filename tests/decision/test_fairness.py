"""Fair offers: a group that gets less at equal risk and effect is found, and chance is not taken for it."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.format import CUSTOMERS
from churn_assets.customers.table import CustomerTableError, learnable
from churn_assets.decision.config import DecisionGates
from churn_assets.decision.fairness import fair_offers, gap_of
from churn_assets.decision.gates import Yardstick
from churn_assets.decision.tables import build_tables
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable

WIDTH = NormalDist().inv_cdf(0.975)


def people(rng, n=3000):
    risk = rng.random(n)
    controls = np.column_stack([np.ones(n), risk])
    member = rng.random(n) < 0.2 + 0.5 * risk  # a group of higher risk
    return risk, controls, member


def test_a_group_of_higher_risk_that_is_treated_by_its_risk_is_treated_fairly():
    off = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        risk, controls, member = people(rng, 600)
        gap = gap_of(2 * risk + rng.normal(0, 0.1 + risk, 600), member, controls, WIDTH)
        off += abs(gap.value) > gap.noise
    assert off <= 21  # 5 % of 200, and three standard errors


def test_a_gap_is_measured_and_found_as_often_as_is_said():
    found, told = 0, []
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        risk, controls, member = people(rng, 600)
        noise = rng.normal(0, 0.5, 600)
        size = gap_of(2 * risk + noise, member, controls, WIDTH).found
        gap = gap_of(2 * risk - size * member + noise, member, controls, WIDTH)
        found += gap.value < -gap.noise
        told.append(gap.value + size)
    assert abs(np.mean(told)) < 0.02
    assert 0.8 - 0.09 <= found / 200 <= 0.8 + 0.09


def test_a_group_that_the_controls_tell_exactly_is_compared_with_nobody():
    member = np.arange(100) < 50
    controls = np.column_stack([member, ~member]).astype(float)
    assert gap_of(np.ones(100), member, controls, WIDTH).value == 0


@pytest.fixture(scope="module")
def yardstick(small):
    table = small.everyone.where(small.everyone.held_out)
    return Yardstick.of(build_tables(table, small.responses), small.policy.process), table


def grouped(table, code):
    schema = table.schema.model_copy(update={"groups": ("sex",)})
    names = np.where(code, "one", "other").astype(object)
    return replace(table, schema=schema, frame=table.frame.assign(**{"group:sex": names}))


def only_for(policy, feature):
    """30 % for one value of a feature, whatever the risk."""
    *hidden, (weight, _) = policy.layers
    arms, skip = policy.process.n_arms, np.zeros_like(policy.skip)
    skip[-1, policy.observation_names.index(f"feature:{feature}")] = 5.0
    bias = np.array([0.0, *[-9.0] * (arms - 2), 0.0], np.float32)
    return replace(policy, layers=(*hidden, (np.zeros_like(weight), bias)), skip=skip)


def test_a_policy_that_offers_to_one_group_alone_is_stopped_and_a_sound_one_is_not(small, yardstick):
    held, table = yardstick
    customers = grouped(table, (table.frame["gender"] == "Male").to_numpy())
    unfair = fair_offers(only_for(small.policy, "gender"), held, customers, DecisionGates())
    assert not unfair.gates[0].passed
    assert "sex one" in unfair.gates[0].detail or "sex other" in unfair.gates[0].detail
    assert "% of the time" in unfair.gates[0].detail
    assert {row["level"] for row in unfair.tables["groups"]} == {"one", "other"}
    by_lot = grouped(table, np.random.default_rng(0).random(len(table)) < 0.5)
    assert fair_offers(small.policy, held, by_lot, DecisionGates()).gates[0].passed


def test_without_groups_nothing_is_judged_and_small_ones_are_only_counted(small, yardstick):
    held, table = yardstick
    none = fair_offers(small.policy, held, table, DecisionGates())
    assert none.gates[0].passed
    assert none.tables["groups"] == []
    few = fair_offers(small.policy, held, grouped(table, np.arange(len(table)) < 20), DecisionGates())
    assert "no group is judged" in few.gates[0].detail
    assert [row["gap"] for row in few.tables["groups"]] == [None, None]


CONFIG = {
    "label": {"column": "left", "positive": "yes", "window_months": 1},
    "monthly_revenue": "price",
    "id": "id",
    "groups": ["sex", "region"],
    "exclude": ["sex"],
    "max_categories": 4,
}


def table_of(config=CONFIG, **columns):
    import pandas as pd

    n = 200
    frame = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(n)],
            "left": ["yes" if i % 3 else "no" for i in range(n)],
            "price": [10.0 + i % 7 for i in range(n)],
            "sex": ["f" if i % 2 else "m" for i in range(n)],
            "region": [None if i == 5 else "ns"[i % 2] for i in range(n)],
        }
    ).assign(**columns)
    problems = Problems("t.csv", CustomerTableError)
    return learnable(RawTable.of_frame(frame, "t.csv"), CustomersConfig.model_validate(config), 0, problems)


def test_a_group_may_be_no_feature_and_is_kept_beside_them(tmp_path):
    table = table_of()
    assert table.schema.names == ("price", "region")
    assert table.group("sex")[0] == ("f", "m")
    assert table.group("region")[1][5] == -1
    CUSTOMERS.save(table, tmp_path)
    again = CUSTOMERS.load(tmp_path)
    assert again.group("sex")[1].tolist() == table.group("sex")[1].tolist()
    assert again.where(again.held_out).group("sex")[0] == ("f", "m")


def test_a_column_of_many_values_is_no_group():
    with pytest.raises(CustomerTableError, match=r"(?s)sex.*different values"):
        table_of(sex=[str(i) for i in range(200)])
