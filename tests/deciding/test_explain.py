"""An explanation is what the decider itself says of customers who differ in one thing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from churn_assets.deciding.decider import Budget, Decider
from churn_assets.deciding.explain import explain
from churn_assets.deciding.table import inputs_of
from churn_assets.release.build import as_raw

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, "toy/release/20260101T000000Z-000000000000")


@pytest.fixture(scope="module")
def customers(small, decider):
    return inputs_of(as_raw(small.table).head(60), decider, NOW)


def arm(decider, customer, **options):
    return decider.decide([customer], **options)[0].chosen.arm.id


def test_a_driver_is_the_risk_of_the_same_customer_with_a_typical_value(small, decider, customers):
    found = explain(decider, customers[0], small.table)
    assert found.drivers
    for each in found.drivers:
        other = replace(customers[0], features={**customers[0].features, each.feature: each.typical})
        assert decider.decide([other])[0].risk == each.risk_if_typical
        assert each.adds == pytest.approx(found.decision.risk - each.risk_if_typical)
    sizes = [abs(each.adds) for each in found.drivers]
    assert sizes == sorted(sizes, reverse=True)


def test_a_switch_changes_the_decision_and_no_nearer_value_does(small, decider, customers):
    switched = 0
    for customer in customers[:20]:
        found = explain(decider, customer, small.table)
        for each in found.switches:
            switched += 1
            other = replace(customer, features={**customer.features, each.feature: each.other})
            assert arm(decider, other) == each.arm != found.decision.chosen.arm.id
    assert switched, "of twenty customers somebody's decision hangs on one feature"


def test_the_budget_price_changes_the_decision_and_a_lower_one_does_not(small, decider, customers):
    offered = [each for each in customers if arm(decider, each) != "no_contact"]
    found = explain(decider, offered[0], small.table)
    assert found.budget_price is not None
    assert arm(decider, offered[0], budget=Budget(price=found.budget_price)) == found.priced_arm
    assert arm(decider, offered[0], budget=Budget(price=found.budget_price / 100)) != found.priced_arm


def test_what_is_forbidden_is_said_of_every_arm(small, decider, customers):
    found = explain(decider, replace(customers[0], opted_out=True), small.table)
    assert {each.forbidden for each in found.decision.arms[1:]} == {"opted_out"}
    assert found.switches == []
    assert found.budget_price is None
