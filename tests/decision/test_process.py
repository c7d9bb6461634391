"""The status numbering: which status follows which, and what each means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.process import ACCEPTED, BASE, IDLE, REFUSED, RetentionProcess
from churn_assets.offers.economics import Economics


def walk(process, status, steps):
    path = [status]
    for _ in range(steps):
        path.append(int(process.successor[path[-1]]))
    return path


def test_a_refusal_uses_its_own_hazard_for_the_label_window_and_is_then_forgotten(monthly):
    path = walk(monthly, monthly.refused_now, 3)

    assert [monthly.hazard_kind[s] for s in path] == [REFUSED, REFUSED, REFUSED, BASE]
    assert path[-1] == IDLE


def test_a_discount_runs_its_months_and_changes_the_hazard_only_within_the_label_window(monthly):
    path = walk(monthly, monthly.discounted(3, 0), 6)

    assert [monthly.discount_pct[s] for s in path] == [0.2] * 6 + [0.0]
    assert [monthly.hazard_kind[s] for s in path] == [ACCEPTED] * 3 + [BASE] * 4
    assert [monthly.months_owed[s] for s in path] == [6, 5, 4, 3, 2, 1, 0]


def test_a_new_offer_waits_for_the_cooldown_and_for_the_end_of_a_discount(monthly):
    refused = walk(monthly, monthly.refused_now, 3)
    discount = walk(monthly, monthly.discounted(1, 0), 6)

    assert [bool(monthly.open[s]) for s in refused] == [False, False, True, True]
    assert [bool(monthly.open[s]) for s in discount] == [False] * 6 + [True]


def test_a_contact_is_recent_for_the_recent_window(monthly):
    assert monthly.open_statuses.tolist() == [IDLE, monthly.refused(2)]
    assert monthly.recently_contacted.tolist() == [0, 1]


def test_during_a_cooldown_the_first_open_status_after_it_is_shown(monthly):
    assert monthly.view[monthly.refused(1)] == monthly.view[monthly.refused(2)] == 1
    assert monthly.view[IDLE] == monthly.view[monthly.discounted(2, 4)] == 0


def test_window_probability_is_the_chance_of_leaving_in_any_of_its_steps(monthly):
    p = np.array([0.0, 0.1, 0.7, 1.0])

    assert 1 - (1 - monthly.hazard(p)) ** 3 == pytest.approx(p)


def test_a_step_as_long_as_the_window_needs_one_status_of_refusal(one_window):
    assert one_window.memory == 1
    assert one_window.discount == 2
    assert one_window.hazard([0.3]) == pytest.approx([0.3])


def test_the_process_survives_json(monthly):
    assert RetentionProcess.from_json(monthly.to_json()) == monthly


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window_months": 0}, "window_months"),
        ({"discount_months": 2}, "discount_months"),
        ({"cooldown_months": 1}, "cooldown_months"),
        ({"value_horizon_months": 0}, "value_horizon_months"),
    ],
)
def test_durations_that_the_statuses_cannot_hold_are_refused_by_name(monthly, change, named):
    with pytest.raises(ValueError, match=named):
        replace(monthly, **change)


@pytest.mark.parametrize(
    ("section", "key", "value", "resolved"),
    [
        ("decision", "menu", (0.0, 0.15), lambda p: p.menu),
        ("decision", "episode_length", 7, lambda p: p.horizon),
        ("decision", "step_months", 2, lambda p: p.step_months),
        ("decision", "cooldown_months", 4, lambda p: p.cooldown_months),
        ("decision", "max_offers", 9, lambda p: p.max_offers),
        ("decision", "recent_window_months", 1, lambda p: p.recent_window_months),
        ("decision", "discount_factor", 0.9, lambda p: p.discount_factor),
        ("economics", "margin", 0.3, lambda p: p.margin),
        ("economics", "contact_cost", 2.5, lambda p: p.contact_cost),
        ("economics", "value_horizon_months", 24, lambda p: p.value_horizon_months),
        ("economics", "discount_months", 8, lambda p: p.discount_months),
    ],
)
def test_every_key_of_the_process_reaches_the_parameter_it_names(section, key, value, resolved):
    decision, economics = PpoDecisionConfig(), Economics()
    if section == "decision":
        decision = PpoDecisionConfig(**{key: value})
    else:
        economics = Economics(**{key: value})

    process = RetentionProcess.build(decision, economics, window_months=3)

    assert resolved(process) == value
    assert resolved(RetentionProcess.build(PpoDecisionConfig(), Economics(), 3)) != value


@pytest.mark.parametrize(
    "wrong",
    [
        {"menu": (0.05, 0.1)},
        {"menu": (0.0, 0.2, 0.1)},
        {"menu": (0.0,)},
        {"cooldown_months": 1},
        {"offers": 4},
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_its_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PpoDecisionConfig(**wrong)
