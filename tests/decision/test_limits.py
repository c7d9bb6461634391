"""Budgets as an experiment says them: what cannot be meant is told at load, all at once, with file and line."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from churn_assets.arms import Catalogue
from churn_assets.customers.schema import CustomerSchema, FeatureSpec, FoldsSpec, LabelSpec
from churn_assets.decision.limits import (
    THIS_RUN,
    BudgetError,
    BudgetsConfig,
    Limits,
    PeriodConfig,
    for_this_run,
)
from churn_assets.decision.pacing import Moment, allowance, expected_ahead
from churn_assets.experiment import ExperimentError, load_experiment

ROOT = Path(__file__).parents[2]

MENU = Catalogue().menu([0.0, 0.1, 0.2])
PERIOD = {"starts": "2026-12-07", "weeks": 4}
SCHEMA = CustomerSchema(
    id="id",
    label=LabelSpec(column="left", positive="1", negative="0"),
    label_window_months=2,
    monthly_revenue="price",
    tenure=None,
    features=(
        FeatureSpec(name="price", kind="numeric"),
        FeatureSpec(name="region", kind="categorical", categories=("north", "south")),
    ),
    folds=FoldsSpec(seed=0, count=5, held_out=1),
)


def budgets(*limits, **others):
    section = {"limits": list(limits), "period": PERIOD, **others}
    return BudgetsConfig.model_validate_json(json.dumps(section))


def test_limits_cover_arms_channels_and_customers():
    config = budgets(
        {"name": "all", "most_cost": 100},
        {"name": "north", "most_contacts": 5, "where": [{"column": "region", "one_of": ["north"]}]},
        {
            "name": "dear",
            "most_cost": 50,
            "arms": ["percent_20"],
            "where": [{"column": "price", "at_least": 30}],
        },
        {"name": "december", "most_cost": 9, "waves": ["december"]},
        share=0.5,
    )
    found = Limits.of(config, MENU, SCHEMA)
    assert found.names == ("all", "north", "dear")
    assert found.most.tolist() == [50, 2, 25]
    assert found.arms.tolist() == [[False, True, True], [False, True, True], [False, False, True]]
    X = np.array([[40.0, 0], [20.0, 1], [np.nan, np.nan]])
    assert found.covered(X).tolist() == [[True, True, True], [True, False, False], [True, False, False]]
    assert "december" in Limits.of(config, MENU, SCHEMA, "december").names


def test_a_release_that_does_not_know_what_a_limit_is_about_is_refused():
    with pytest.raises(
        BudgetError, match="limit x: found arm 'gift', expected one of the release's percent_10"
    ):
        Limits.of(budgets({"name": "x", "most_cost": 1, "arms": ["gift"]}), MENU, SCHEMA)
    where = [{"column": "regoin", "one_of": ["north"]}]
    with pytest.raises(BudgetError, match=r"limit x, eligible: found the column 'regoin'.*region"):
        Limits.of(budgets({"name": "x", "most_cost": 1, "where": where}), MENU, SCHEMA)


SECTION = """
budgets:
  period: {starts: 2026-12-07, weeks: 4, arrivals: [1, 2, 3, 4]}
  customer: {most_cost: 0.5}
  limits:
    - {name: all, most_cost: 1000}
    - {name: all, most_contacts: 9, arms: [percent_11]}
    - {name: same, most_cost: 1000}
    - {name: small, most_cost: 2000, arms: [percent_10]}
    - {name: calls, most_contacts: 3, channels: [phone]}
    - name: nobody
      most_contacts: 1
      where:
        - {column: tenure, at_least: 12}
        - {column: tenure, at_most: 6}
        - {column: customerID, one_of: [a]}
"""


def experiment(tmp_path, section):
    text = (ROOT / "configs" / "quickstart.yaml").read_text()
    (tmp_path / "quickstart.yaml").write_text(text + section)
    return text.count("\n"), load_experiment


def problems_of(tmp_path, section):
    lines, load = experiment(tmp_path, section)
    with pytest.raises(ExperimentError) as error:
        load("quickstart", tmp_path)
    return lines, error.value.problems


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    return problems_of(tmp_path_factory.mktemp("configs"), SECTION)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (4, "customer.most_cost: found 0.5, below the 1"),
        (7, "limits.1.name: found 'all', which is taken"),
        (7, "limits.1.arms: found 'percent_11', expected one of percent_5"),
        (8, "limits.2.most_cost: found 1000, which is never reached: 'all' covers all of it"),
        (9, "limits.3.most_cost: found 2000, which is never reached"),
        (10, "limits.4.channels: found phone, by which none of these arms goes; expected sms"),
        (15, "limits.5.where.1: found a condition on 'tenure' that nobody keeps"),
    ],
)
def test_all_that_cannot_be_meant_is_told_at_once_with_its_line(refused, line, told):
    lines, problems = refused
    found = [each for each in problems if f"budgets.{told}" in each]
    assert len(found) == 1, problems
    assert f"quickstart.yaml:{lines + line}" in found[0]


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("budgets: {period: {starts: 2026-12-07}}", "found neither limits nor customer"),
        ("budgets: {limits: [{name: a, most_cost: 5}]}", "limits must last for a period"),
        (
            "budgets: {period: {starts: 2026-12-07}, limits: [{name: a, most_cost: -5}, {name: b, most_contacts: -1}]}",
            "found -5, expected greater than or equal to 0",
        ),
        (
            "budgets: {period: {starts: 2026-12-07}, limits: [{name: a}, {name: b, most_cost: 1, most_contacts: 1}]}",
            "found neither of most_cost and most_contacts",
        ),
        ("budgets: {period: {starts: 2026-12-07, arrivals: [1]}, limits: [{name: a, most_cost: 5}]}", "arrivals"),
        ("budgets: {period: {starts: soon}, limits: [{name: a, most_cost: 5}]}", "budgets.period.starts"),
        (
            "budgets: {period: {starts: 2026-12-07}, limits: [{name: a, most_cost: 5, where: [{column: Churn}]}]}",
            "limits.0.where.0.column: found column 'Churn', which is the label",
        ),
    ],
)  # fmt: skip
def test_a_section_that_is_none_is_refused(tmp_path, section, told):
    _, problems = problems_of(tmp_path, f"\n{section}\n")
    assert any(told in each for each in problems), problems


def test_budgets_that_can_be_meant_load(tmp_path):
    section = "\nbudgets: {period: {starts: 2026-12-07}, limits: [{name: a, most_cost: 5}]}\n"
    _, load = experiment(tmp_path, section)
    assert load("quickstart", tmp_path).budgets.limits[0].most == 5


def test_the_budget_of_a_run_stands_beside_the_others():
    config = for_this_run(budgets({"name": "a", "most_cost": 5}, share=0.5), 9.0)
    limits = Limits.of(config, MENU, SCHEMA)
    assert dict(zip(limits.names, limits.most, strict=True)) == {"a": 2.5, THIS_RUN: 9}
    assert limits.remembered.tolist() == [True, False]
    assert Limits.of(for_this_run(None, 9.0), MENU, SCHEMA).names == (THIS_RUN,)
    assert for_this_run(None, None) is None


PACE = PeriodConfig(starts=date(2026, 12, 7), weeks=4)


def at(day, hour=0):
    return Moment.of(PACE, datetime(2026, 12, day, hour, tzinfo=UTC))


def test_before_the_first_period_there_is_none_and_after_it_the_next():
    assert at(6) is None
    assert at(7) == Moment(date(2026, 12, 7), 0, 0.0, 4)
    later = Moment.of(PACE, datetime(2027, 1, 4, tzinfo=UTC))
    assert (later.period, later.week) == (date(2027, 1, 4), 0)


@pytest.mark.parametrize(
    ("moment", "forecast", "arrived", "here", "at_once", "ahead"),
    [
        (at(7), (100, 200, 300, 400), [0] * 4, 40, True, 960),
        (at(7), (100, 200, 300, 400), [20, 0, 0, 0], 60, True, 900),
        (at(28), (100, 200, 300, 400), [0] * 4, 400, True, 0),
        (at(10, 12), (100, 200, 300, 400), [0] * 4, 1, False, 950),
        (at(7), None, [0] * 4, 80, True, 240),
        (at(21), None, [100, 0, 0, 0], 80, True, 90),
        (at(21), None, [100, 100, 0, 0], 0, False, 200),
    ],
)
def test_customers_still_to_come(moment, forecast, arrived, here, at_once, ahead):
    assert expected_ahead(moment, forecast, arrived, here, at_once=at_once) == pytest.approx(ahead)


def test_what_may_be_used_now_leaves_their_share_to_those_to_come():
    most, contacts = np.array([100.0, 10.0, 3.0]), np.array([False, True, True])
    found = allowance(most, np.array([20.0, 3.0, 3.0]), 100, 300, contacts)
    assert found.tolist() == [20.0, 1.0, 0.0]
    last = allowance(most, np.array([120.0, 3.0, 2.0]), 100, 0, contacts)
    assert last.tolist() == [0.0, 7.0, 1.0]
