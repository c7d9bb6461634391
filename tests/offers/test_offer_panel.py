"""The world run forward: consistent with one window, with its own money rules and with plain simulation."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coverage import one_window_lift
from benchmarks.panel import run_panel
from churn_assets.offers import world as demo
from churn_assets.offers.economics import Economics
from churn_assets.offers.responses import sigmoid
from churn_assets.offers.world import DemoWorld, DemoWorldError

ARMS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)


def constant(offer):
    return lambda state: np.full(len(state.customer), ARMS.index(offer))


NOBODY = constant(0.0)


@pytest.fixture(scope="module")
def nobody(world):
    return run_panel(world, NOBODY, seed=0)


def test_the_first_wave_has_the_real_churn_rate(nobody):
    assert nobody.would_churn[0] == pytest.approx(0.2654, abs=0.001)
    assert nobody.alive[1] == pytest.approx(1 - 0.2654, abs=0.001)
    assert (np.diff(nobody.would_churn) < 0).all()  # the frail leave first


@pytest.mark.parametrize("offer", [0.10, 0.20, 0.30])
def test_one_wave_is_the_one_window_score(world, draw, offer):
    none = run_panel(world, NOBODY, seed=0, horizon_months=3)
    lift, error = run_panel(world, constant(offer), seed=0, horizon_months=3).lift(none)
    one_window = one_window_lift(draw.truth, np.full(len(draw.log), ARMS.index(offer)))
    # Not equal: here would-be churn is drawn from a score, there it is the label.
    assert lift == pytest.approx(one_window, abs=0.5)
    assert error < 0.3


def test_one_wave_without_contact_is_worth_a_year_of_margin_of_those_who_stay(world):
    result = run_panel(world, NOBODY, seed=0, horizon_months=3)
    stays = result.value / (0.5 * 12 * world.price)
    assert stays.mean() == pytest.approx(1 - 0.2654, abs=0.001)
    assert (result.spend == 0).all()
    assert (result.contacts == 0).all()


def test_expectation_agrees_with_plain_simulation(world):
    """An independent run in which customers really leave, one replicate after another."""
    policy = constant(0.20)
    expected = run_panel(world, policy, seed=0, horizon_months=9, replicates=8, discount_factor=0.99)
    rng = np.random.default_rng(5)
    values = [simulate(world, policy, rng, waves=3, discount_factor=0.99) for _ in range(10)]
    error = np.std([v.mean() for v in values]) / np.sqrt(len(values))
    assert np.mean(values) == pytest.approx(expected.value.mean(), abs=4 * error + 0.3)


def simulate(world, policy, rng, *, waves, discount_factor):
    count = len(world.ids)
    everyone = np.arange(count)
    latent, frailty = rng.normal(0, demo.SENSITIVITY_SD, count), rng.normal(0, world.hidden.frailty, count)
    carried = rng.poisson(demo.PRIOR_OFFERS_MEAN, count)
    value, alive = np.zeros(count), np.ones(count, dtype=bool)
    pct, left = np.zeros(count), np.zeros(count, dtype=int)
    for wave in range(waves):
        month = 3 * wave
        prior = carried if wave == 0 else np.zeros(count, dtype=int)
        risk = world.risk_at(np.full(count, float(month)))
        hazard = sigmoid(world.frail_logit(risk) + world.hazard_shift + frailty)
        leaves = (rng.random(count) < hazard).astype(int)
        truth = world.truth_of(world.someone(everyone, latent, prior, np.ones(count), months=month), leaves)
        arm = np.where(left > 0, 0, policy(type("State", (), {"customer": everyone})))
        accepted = rng.random(count) < truth.acceptance[everyone, arm]
        pct, left = np.where(accepted, np.asarray(ARMS)[arm], pct), np.where(accepted, 6, left)
        saves = rng.random(count) < np.where(accepted, truth.saved, 0.02)
        wakes = rng.random(count) < truth.woken
        stays = np.where(leaves == 1, (arm > 0) & saves, ~((arm > 0) & ~accepted & wakes))
        value -= alive * (arm > 0) * discount_factor**month
        alive = alive & stays
        for _ in range(3):
            value += alive * world.price * (0.5 - np.where(left > 0, pct, 0)) * discount_factor**month
            left = np.maximum(left - 1, 0)
    rest = world.price * (0.5 * 9 - np.where(left > 0, pct, 0) * left)
    return value + alive * rest * discount_factor ** (3 * (waves - 1))


def test_the_policy_sees_who_is_who_and_how_they_stand_but_no_label(world):
    seen = []

    def record(state):
        seen.append((state, state.frame))
        return np.full(len(state.customer), ARMS.index(0.30))

    run_panel(world, record, seed=0, horizon_months=12, replicates=2)
    (first, start), (second, aged), (third, _), _ = seen
    assert [state.month for state, _ in seen] == [0, 3, 6, 9]
    assert "churned" not in start.columns
    assert (aged["tenure"] == start["tenure"] + 3).all()
    assert (aged["customer_id"].to_numpy() == np.tile(world.ids, 2)).all()
    assert np.isinf(first.months_since_contact).all()
    assert (second.months_since_contact == 3).all()
    assert first.prior_offers.mean() == pytest.approx(0.6, abs=0.05)
    assert (second.prior_offers == 0).all()  # 90 days are over
    took = second.running > 0
    assert 0.2 < took.mean() < 0.5
    assert (second.months_left == np.where(took, 3, 0)).all()
    assert (second.offers_used == 1).all()
    assert (third.offers_used == np.where(took, 1, 2)).all()  # none while a discount runs


def test_policies_with_one_seed_face_the_same_luck(world, nobody):
    again = run_panel(world, NOBODY, seed=0)
    assert nobody.lift(again) == (0.0, 0.0)
    lift, error = run_panel(world, constant(0.10), seed=0).lift(nobody)
    other, _ = run_panel(world, constant(0.10), seed=1).lift(run_panel(world, NOBODY, seed=1))
    assert error < 0.3
    assert lift == pytest.approx(other, abs=4 * error)


def test_the_hazard_is_not_what_the_score_says(world):
    """Frailty that no feature shows: survivors leave less than their score would have it."""
    survived = run_panel(world, NOBODY, seed=0, horizon_months=3).value.mean(0) / (world.price * (0.5 * 12))
    by_score = np.average(world.risk_at(np.full(len(world.ids), 3.0)), weights=survived)
    assert run_panel(world, NOBODY, seed=0, horizon_months=6).would_churn[1] < by_score - 0.01


def test_without_effects_every_contact_costs(telco):
    idle = DemoWorld(telco, Economics(), effects=False)
    none = run_panel(idle, NOBODY, seed=0, replicates=2)
    lift, error = run_panel(idle, constant(0.05), seed=0, replicates=2).lift(none)
    assert lift < -5 * error
    assert run_panel(idle, constant(0.05), seed=0, replicates=2).alive == pytest.approx(none.alive, abs=1e-3)


def test_a_competitor_shock_raises_the_hazard(telco, nobody):
    shocked = run_panel(DemoWorld(telco, Economics(), drift="competitor_shock"), NOBODY, seed=0, replicates=2)
    assert shocked.would_churn[0] > nobody.would_churn[0] + 0.015


def test_spend_and_contacts_are_counted_while_alive(world):
    result = run_panel(world, constant(0.05), seed=0, horizon_months=3)
    assert (result.contacts == 1).all()
    assert result.spend.mean() == pytest.approx(1 + 0.11 * 0.05 * 6 * world.price.mean(), abs=0.8)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (lambda s: np.full(len(s.customer), 0.2), "found|float64"),
        (lambda s: np.zeros(3, dtype=int), r"shape \(3,\)"),
        (lambda s: np.full(len(s.customer), 7), "arms are 0…6"),
    ],
)
def test_what_is_no_arm_is_refused(world, policy, message):
    with pytest.raises(DemoWorldError, match=message):
        run_panel(world, policy, seed=0, replicates=1)


def test_a_horizon_between_waves_is_refused(world):
    with pytest.raises(DemoWorldError, match="31 months is not a number of 3-month waves"):
        run_panel(world, NOBODY, seed=0, horizon_months=31)
