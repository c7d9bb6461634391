"""What a release keeps of its decisions: a funnel that only narrows, guards on small slices, no customer in it."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from churn_assets.deciding.decider import Decider
from churn_assets.deciding.table import decisions_of, inputs_of
from churn_assets.release.build import as_raw, tables_of
from churn_assets.release.decided import LEAST_CUSTOMERS, Decided, decision_tables, flips, segments_of

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, "toy/release/20260101T000000Z-000000000000")


@pytest.fixture(scope="module")
def people(small):
    return small.everyone.where(np.arange(len(small.everyone)) < 900)


@pytest.fixture(scope="module")
def decisions(decider, people):
    return decisions_of(as_raw(people), decider, NOW)


@pytest.fixture(scope="module")
def tables(decisions, decider, people):
    return tables_of(decisions, decider, people, None)


def test_the_funnel_narrows_and_its_figures_are_those_of_the_decisions(tables, decisions):
    counts = {row["stage"]: row["customers"] for row in tables["funnel"]}
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    made = [each for each in decisions if each.arm]
    assert counts["customers"] == len(decisions)
    assert counts["contacted"] == len(made)
    assert counts["expected to accept"] == pytest.approx(sum(each.chosen.acceptance for each in made))
    kept = sum(each.risk - each.chosen.risk_if_offered for each in made)
    assert counts["expected to be kept by it"] == pytest.approx(kept)


def test_everybody_who_is_not_contacted_has_a_stage_and_a_rule(tables, decisions):
    counts = {row["stage"]: row["customers"] for row in tables["funnel"]}
    by_rule = Counter()
    for row in tables["stopped"]:
        by_rule[row["rule"]] += row["customers"]
    assert by_rule == Counter(each.reasons[-1].code for each in decisions if not each.arm)
    by_stage = Counter()
    for row in tables["stopped"]:
        by_stage[row["not"]] += row["customers"]
    stages = ["customers", "eligible for an offer now", "worth an offer", "contacted"]
    for before, after in itertools.pairwise(stages):
        assert by_stage[after] == counts[before] - counts[after]


def test_the_rules_that_keep_customers_from_any_offer_are_told(decider, people):
    asked = inputs_of(as_raw(people), decider, NOW)[:90]
    told = [replace(each, opted_out=True) for each in asked[:20]]
    told += [replace(each, eligible=()) for each in asked[20:50]]
    decided = Decided.of(decider.decide([*told, *asked[50:]]), list(decider.menu))
    rows = {
        (row["not"], row["rule"]): row["customers"] for row in decision_tables(decided, {}, None)["stopped"]
    }
    assert rows["eligible for an offer now", "opted_out"] == 20
    assert rows["eligible for an offer now", "not_eligible"] == 30


def test_arms_whose_terms_sound_alike_are_told_apart(decider, decisions, tables):
    menu = [arm.model_copy(update={"label": "a message by email"}) for arm in decider.menu]
    rows = decision_tables(Decided.of(decisions, menu), {}, None)["offers"]
    assert len({row["offer"] for row in rows}) == len(rows) > 1
    assert rows[0]["offer"] == "no_contact (a message by email)"
    assert [row["offer"] for row in tables["offers"]] == [
        arm.label for place, arm in enumerate(decider.menu) if any(each.arm == place for each in decisions)
    ]


def test_slices_are_means_of_their_customers_and_few_are_not_told(tables, decisions, people):
    contract = [row for row in tables["slices"] if row["feature"] == "Contract"]
    levels = people.frame["Contract"].to_numpy()
    for row in contract:
        inside = [each for each, level in zip(decisions, levels, strict=True) if level == row["level"]]
        assert row["customers"] == len(inside)
        assert row["expected_value"] == pytest.approx(
            np.mean([each.chosen.expected_value for each in inside])
        )
        offered = sum(value for name, value in row.items() if name.startswith("offer:"))
        assert offered == pytest.approx(1)
    few = segments_of(people, np.array([each.risk for each in decisions]))
    few = {"odd": (("most", "rare"), (np.arange(len(people)) < LEAST_CUSTOMERS - 1).astype(np.int64)), **few}
    menu = [each.arm for each in decisions[0].arms]
    rows = decision_tables(Decided.of(decisions, menu), few, None)["slices"]
    rare = next(row for row in rows if row["level"] == "rare")
    assert rare["customers"] == LEAST_CUSTOMERS - 1
    assert {value for name, value in rare.items() if name not in ("feature", "level", "customers")} == {None}


def test_the_budget_curve_rises_in_money_and_falls_in_price(tables, decisions):
    rows = tables["budget"]
    spend = [row["reserved"] for row in rows]
    price = [row["shadow_price"] for row in rows if row["shadow_price"] is not None]
    assert spend == sorted(spend)
    assert price == sorted(price, reverse=True)
    assert rows[-1]["reserved"] == pytest.approx(sum(each.cost for each in decisions) / len(decisions))
    value = sum(each.chosen.expected_value for each in decisions if each.arm)
    assert rows[-1]["expected_value"] == pytest.approx(value / len(decisions))


def test_flips_say_from_what_to_what():
    rows = flips(["a", "b", "b", "a", "b"], ["a", "a", "a", "b", "b"])
    assert rows == [
        {"before": "a", "now": "b", "customers": 2},
        {"before": "b", "now": "a", "customers": 1},
        {"before": "a", "now": "a", "customers": 1},
        {"before": "b", "now": "b", "customers": 1},
    ]


def test_a_release_that_decides_alike_flips_nobody(decisions, decider, people):
    same = [each.chosen.arm.id for each in decisions]
    rows = tables_of(decisions, decider, people, same)["flips"]
    assert sum(row["customers"] for row in rows if row["before"] != row["now"]) == 0
    assert sum(row["customers"] for row in rows) == len(people)


def test_no_table_names_a_customer_and_all_are_json(tables, people):
    text = json.dumps(tables, allow_nan=False)
    assert [each for each in people.ids if str(each) in text] == []


def test_customers_of_one_value_have_no_thirds(decider, people):
    one = people.where(people.price == people.price[0])
    found = segments_of(one, np.full(len(one), 0.2))
    assert people.schema.monthly_revenue not in found


def test_nobody_to_decide_for_is_a_table_too(decider):
    decided = Decided.of([], list(decider.menu))
    assert decision_tables(decided, {}, [])["funnel"][0]["customers"] == 0
