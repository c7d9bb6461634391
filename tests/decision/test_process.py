"""The state numbering: which state follows which, and what each means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from churn_assets.decision.config import HiddenConfig, PpoDecisionConfig
from churn_assets.decision.process import BASE, IDLE, RetentionProcess
from churn_assets.offers.economics import Economics
from churn_assets.response.persistence import Interval, Persistence


def walk(process, state, steps):
    path = [state]
    for _ in range(steps):
        path.append(int(process.successor[path[-1]]))
    return path


def refusal(process, arm):
    return process.n_arms - 1 + arm


def test_a_refusal_uses_its_own_hazard_for_the_label_window_and_is_then_only_recent(monthly):
    path = walk(monthly, monthly.refused(2, 0), 5)

    assert [monthly.hazard_kind[s] for s in path] == [refusal(monthly, 2)] * 3 + [BASE] * 3
    assert path[3:] == [monthly.contacted(3), monthly.contacted(4), IDLE]


def test_a_discount_runs_its_months_and_changes_the_hazard_only_within_the_label_window(monthly):
    path = walk(monthly, monthly.accepted(3, 0), 6)

    assert [monthly.spend([100.0])[s, 0] for s in path] == pytest.approx([20.0] * 6 + [0.0])
    assert [monthly.hazard_kind[s] for s in path] == [3] * 3 + [BASE] * 4
    assert [monthly.months_owed[s] for s in path] == [6, 5, 4, 3, 2, 1, 0]


def test_a_new_offer_waits_for_the_cooldown_and_for_the_end_of_a_discount(monthly):
    refused = walk(monthly, monthly.refused(1, 0), 4)
    discount = walk(monthly, monthly.accepted(1, 0), 6)

    assert [bool(monthly.open[s]) for s in refused] == [False, False, False, True, True]
    assert [bool(monthly.open[s]) for s in discount] == [False] * 6 + [True]


def test_a_contact_is_recent_for_the_recent_window(monthly):
    assert monthly.open_states.tolist() == [IDLE, monthly.contacted(3), monthly.contacted(4)]
    assert [monthly.recent_at[monthly.view[state]] for state in monthly.open_states] == [0, 1, 1]
    never = replace(monthly, recent_window_months=3)
    assert never.open_states.tolist() == [IDLE]
    assert never.recent_at.tolist() == [0]


def test_during_a_cooldown_the_first_open_state_after_it_is_shown(monthly):
    assert monthly.view[monthly.refused(1, 1)] == monthly.view[monthly.contacted(4)] == 1
    assert monthly.view[IDLE] == monthly.view[monthly.accepted(2, 4)] == 0


def test_every_state_is_one_answer_and_age_and_no_decision_asks_whose_refusal_it_was(any_offer):
    arms = range(1, any_offer.n_arms)
    numbered = [IDLE, *(any_offer.contacted(age) for age in range(3, 5))]
    numbered += [any_offer.refused(arm, age) for arm in arms for age in range(3)]
    for arm in arms:
        numbered += [any_offer.accepted(arm, age) for age in range(max(3, any_offer.running_steps[arm]))]

    assert numbered == list(range(any_offer.n_states))
    assert any_offer.contacted(1) == any_offer.refused(1, 1)
    assert any_offer.contacted(5) == any_offer.refused(4, 5) == any_offer.accepted(5, 5) == IDLE


def test_what_is_given_at_once_is_remembered_as_long_as_a_refusal_and_nothing_runs(any_offer):
    for name in ("router", "call"):
        arm = any_offer.menu.position[name]
        path = walk(any_offer, any_offer.accepted(arm, 0), 3)
        assert not any_offer.running[path].any()
        assert [any_offer.hazard_kind[s] for s in path] == [arm, arm, arm, BASE]
        assert [bool(any_offer.open[s]) for s in path] == [False, False, False, True]


def test_a_short_benefit_runs_out_before_its_contact_is_forgotten(any_offer):
    path = walk(any_offer, any_offer.accepted(any_offer.menu.position["free_month"], 0), 5)

    assert any_offer.spend([80.0])[path, 0].tolist() == [80.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert path[-1] == IDLE
    assert any_offer.recent_at[any_offer.view[path[2]]] == 1


def test_an_amount_is_never_more_than_the_price(any_offer):
    state = any_offer.accepted(any_offer.menu.position["eight_dollars"], 0)

    assert any_offer.spend([5.0, 50.0])[state].tolist() == [5.0, 8.0]
    assert any_offer.owed([50.0])[state, 0] == 24.0


def test_the_most_that_an_arm_can_cost(any_offer):
    assert any_offer.commitments([50.0])[0].tolist() == pytest.approx([0.0, 30.2, 25.0, 51.0, 41.0, 4.0])


def test_window_probability_is_the_chance_of_leaving_in_any_of_its_steps(monthly):
    p = np.array([0.0, 0.1, 0.7, 1.0])

    assert 1 - (1 - monthly.hazard(p)) ** 3 == pytest.approx(p)


def test_a_step_as_long_as_the_window_needs_one_state_of_refusal(one_window):
    assert one_window.memory == 1
    assert one_window.running_steps.tolist() == [0, 2, 2, 2, 2]
    assert one_window.hazard([0.3]) == pytest.approx([0.3])


def test_the_process_survives_json(monthly):
    assert RetentionProcess.from_json(monthly.to_json()) == monthly


def test_a_process_of_any_arms_survives_json(any_offer):
    assert RetentionProcess.from_json(any_offer.to_json()) == any_offer


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"window_months": 0}, "window_months"),
        ({"step_months": 4}, "arm percent_5 runs 6 months: expected a multiple of step_months 4"),
        (
            {"cooldown_months": 2},
            "cooldown_months is 2, within the label window of 3 months: .* expected at least 3",
        ),
        ({"recent_window_months": 7}, "cooldown_months is 3: two contacts could be recent at once"),
        ({"value_horizon_months": 0}, "value_horizon_months"),
    ],
)
def test_durations_that_the_states_cannot_hold_are_refused_by_name(monthly, change, named):
    with pytest.raises(ValueError, match=named):
        replace(monthly, **change)


@pytest.mark.parametrize(
    ("section", "key", "value", "resolved"),
    [
        ("decision", "menu", ("no_contact", 0.15), lambda p: (p.menu.ids[0], *p.menu.size[1:])),
        ("decision", "episode_length", 7, lambda p: p.horizon),
        ("decision", "step_months", 2, lambda p: p.step_months),
        ("decision", "cooldown_months", 4, lambda p: p.cooldown_months),
        ("decision", "max_offers", 9, lambda p: p.max_offers),
        ("decision", "recent_window_months", 1, lambda p: p.recent_window_months),
        ("decision", "discount_factor", 0.9, lambda p: p.discount_factor),
        ("economics", "margin", 0.3, lambda p: p.margin),
        ("economics", "contact_cost", 2.5, lambda p: p.menu[1].contact_cost),
        ("economics", "value_horizon_months", 24, lambda p: p.value_horizon_months),
        ("economics", "discount_months", 8, lambda p: p.menu[1].months),
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


def test_without_a_cooldown_of_its_own_it_is_two_months_or_the_label_window():
    built = [RetentionProcess.build(PpoDecisionConfig(), Economics(), months) for months in (1, 2.5, 4)]
    assert [process.cooldown_months for process in built] == [2, 3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"menu": (0.05, 0.1)},
        {"menu": ("no_contact", "Ten Off")},
        {"menu": (0.0, "call", "call")},
        {"menu": (0.0, 0.2, 0.1)},
        {"menu": (0.0,)},
        {"cooldown_months": -1},
        {"offers": 4},
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_its_key(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PpoDecisionConfig(**wrong)


def test_what_the_log_shows_of_later_windows_goes_before_what_is_configured():
    config = PpoDecisionConfig()
    shown = Persistence(Interval(0.6, 0.4, 0.9), Interval(0.2, 0.0, 0.5), 2_000, 5_000)
    built = RetentionProcess.build(config, Economics(), 3, persistence=shown)
    assert built.projections == ((0.6, 0.2), (0.4, 0.0), (0.9, 0.5))
    assert built.taste == config.hidden.taste
    plain = RetentionProcess.build(config, Economics(), 3)
    assert plain.projections == ((1.0, 0.0), (0.0, 0.0), (1.5, 0.5))


@pytest.mark.parametrize("wrong", [{"frailty": 2.0}, {"effect_decay": 0.9}, {"frailty_band": (1.2, 1.4)}])
def test_a_point_outside_its_band_is_refused(wrong):
    with pytest.raises(ValidationError, match="lies outside"):
        HiddenConfig(**wrong)
