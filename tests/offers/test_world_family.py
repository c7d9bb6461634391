"""The family of worlds: one interface for log and panel, arms of every kind, and each does what its name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.coverage import one_window_lift
from benchmarks.panel import history_log, run_panel
from benchmarks.world import everybody
from benchmarks.worlds import WORLDS
from churn_assets.experiment import load_experiment
from churn_assets.offers.config import DEMO_OFFERS
from churn_assets.offers.economics import Economics, catalogue
from churn_assets.offers.gates import propensity_gates
from churn_assets.offers.responses import Hidden
from churn_assets.offers.world import DemoWorld

ROOT = Path(__file__).parents[2]
NOBODY = everybody(0)
TEN = DEMO_OFFERS.index(0.10)


@pytest.fixture(scope="session")
def any_offer():
    return load_experiment("any_offer", ROOT / "configs")


@pytest.fixture(scope="session")
def any_menu(any_offer):
    return any_offer.offer_log.demo_menu(catalogue(any_offer.arms, any_offer.economics))


@pytest.fixture(scope="session")
def built(telco, any_menu):
    """Builds each world once, on the usual menu or on arms of five kinds."""
    found = {}

    def build(name, *, any_arms=False):
        if (name, any_arms) not in found:
            menu = any_menu if any_arms else None
            found[name, any_arms] = DemoWorld(telco, Economics(), menu, responses=WORLDS[name])
        return found[name, any_arms]

    return build


@pytest.fixture(params=WORLDS)
def name(request):
    return request.param


def test_in_every_world_arms_of_every_kind_have_answers_and_no_contact_has_none(built, name):
    world = built(name, any_arms=True)
    drawn = world.draw(4_000, 0)
    truth = drawn.truth

    assert drawn.log.menu == world.menu
    assert ((truth.churn >= 0) & (truth.churn <= 1)).all()
    assert (truth.acceptance[:, 0] == 0).all()
    np.testing.assert_array_equal(truth.churn[:, 0], truth.would_churn)
    assert ((truth.acceptance[:, 1:] > 0) & (truth.acceptance[:, 1:] < 1)).all()


@pytest.mark.parametrize("any_arms", [False, True])
def test_in_every_world_the_panels_first_window_is_what_its_waves_and_its_log_are(built, name, any_arms):
    world = built(name, any_arms=any_arms)
    arm = 2  # of both menus one for which everybody is eligible
    none, offered = (
        run_panel(world, everybody(each), seed=0, horizon_months=3, replicates=4) for each in (0, arm)
    )
    wave, log = world.cohort(60_000, 1, shifted=True), world.draw(50_000, 0)

    lift, _ = offered.lift(none)
    assert lift == pytest.approx(one_window_lift(wave.truth, np.full(60_000, arm)), abs=0.8)
    assert lift == pytest.approx(wave.lift(np.full(60_000, arm)), abs=0.4)
    assert none.would_churn[0] == pytest.approx(0.2654, abs=0.001)
    assert log.truth.would_churn.mean() == pytest.approx(0.2654, abs=0.008)


@pytest.mark.parametrize("any_arms", [False, True])
def test_every_world_gives_a_log_of_histories_in_the_logs_own_format(built, name, any_arms):
    world = built(name, any_arms=any_arms)
    frame = history_log(world, 0, windows=3, customers=2_000).frame

    counts = frame.groupby("wave").size()
    assert list(counts.index) == [0, 13, 26]
    assert counts[0] == 2_000 > counts[13] > 0
    assert set(frame["customer_id"]) <= set(world.ids)
    left = frame.loc[frame["churned"] == 1].groupby("customer_id")["wave"].max()
    last = frame.groupby("customer_id")["wave"].max()
    assert (last[left.index] == left).all()  # nobody is decided about who has left
    assert frame["prior_offers"][frame["wave"] > 0].eq(0).all()  # 90 days are over
    accepted = frame[(frame["accepted"] == 1) & (frame["wave"] == 0)]
    if not any_arms:  # six months off run through the next window
        after = frame[frame["wave"] == 13]["customer_id"]
        assert not set(accepted["customer_id"]) & set(after)


def test_a_log_of_histories_is_a_function_of_its_seed_and_is_drawn_by_its_propensities(
    built, any_offer, telco
):
    world = built("frailty", any_arms=True)
    one, same, other = (history_log(world, seed, windows=2).frame for seed in (7, 7, 8))
    assert one.equals(same)
    assert not one.equals(other)
    gates = any_offer.offer_log.gates
    assert [
        each.name for each in propensity_gates(history_log(world, 7), telco, gates).gates if not each.passed
    ] == []


def realised(world):
    """Churn of those left alone in later windows, over what their aged score says: 330 who leave in each log."""
    place = {customer: row for row, customer in enumerate(world.ids)}
    churned = expected = 0.0
    for seed in range(4):
        frame = history_log(world, seed).frame
        rows = frame[(frame["arm"] == "no_contact") & (frame["wave"] > 0)]
        for wave, those in rows.groupby("wave"):
            customer = those["customer_id"].map(place).to_numpy()
            expected += world.risk_after(3 * round(wave / 13))[customer].sum()
            churned += those["churned"].sum()
    return churned / expected


def test_the_frail_leave_first_and_without_frailty_nobody_is(built):
    assert realised(built("frailty")) < 0.88
    assert realised(built("steady")) == pytest.approx(1.0, abs=0.10)


def test_frailty_is_an_argument_and_changes_no_first_window(telco):
    later = []
    for sd in (0.0, 0.8, 1.6):
        world = DemoWorld(telco, Economics(), hidden=Hidden(frailty=sd, labels=False))
        panel = run_panel(world, NOBODY, seed=0, horizon_months=12, replicates=2)
        assert panel.would_churn[0] == pytest.approx(0.2654, abs=0.002)
        assert world.hazard.mean() == pytest.approx(0.2654, abs=0.002)
        later.append(panel.would_churn[3])
    assert later[0] > later[1] + 0.01 > later[2] + 0.02


def again(world):
    """How much likelier those are to accept who accepted their last offer, at the panel's own hands."""
    seen = []

    def record(state):
        seen.append(state)
        return np.full(len(state.customer), TEN)

    run_panel(world, record, seed=0, horizon_months=12, replicates=2)
    first, third = seen[1], seen[3]  # whoever took the first has its benefit through the second window
    took = first.last_accepted
    second = third.offers_accepted - first.offers_accepted
    offered = third.offers_used - first.offers_used
    return second[took].sum() / offered[took].sum() - second[~took].sum() / offered[~took].sum()


def test_who_likes_offers_takes_the_next_one_too(telco, built):
    plain = again(built("frailty"))
    assert again(built("taste")) > plain + 0.08
    strong = DemoWorld(telco, Economics(), hidden=Hidden(taste=2.0, labels=False))
    assert again(strong) > again(built("taste")) + 0.08


def test_taste_shows_in_the_rows_of_one_customer(built):
    def alike(name):
        """Covariance within customers of what acceptance deviates by from its mean over them."""
        log = built(name).draw_log(60_000, 0)
        frame = log.frame[log.arm > 0]
        deviation = frame["accepted"] - frame.groupby("arm")["accepted"].transform("mean")
        sums = deviation.groupby(frame["customer_id"]).agg(["sum", "count"])
        own = (deviation**2).groupby(frame["customer_id"]).sum()
        return float((sums["sum"] ** 2 - own).sum() / (sums["count"] * (sums["count"] - 1)).sum())

    assert alike("taste") > 2 * alike("frailty")


def once(arm):
    return lambda state: np.full(len(state.customer), arm if state.month == 0 else 0)


def test_where_an_offer_only_delays_whom_it_keeps_are_gone_a_window_later(built):
    world = built("delay")
    none, offered = (run_panel(world, each, seed=0, horizon_months=6) for each in (NOBODY, once(TEN)))
    assert offered.alive[1] > none.alive[1] + 0.02
    assert offered.alive[2] < none.alive[2]
    saving = run_panel(built("frailty"), once(TEN), seed=0, horizon_months=6)
    assert saving.alive[1] == pytest.approx(offered.alive[1])
    assert saving.alive[2] > none.alive[2] + 0.01


def test_histories_show_that_an_offer_only_delayed(built):
    def later(name):
        """Churn in the second window of those who were offered something in the first, over those left alone."""
        frame = history_log(built(name), 5, windows=2).frame
        first = frame[frame["wave"] == 0].set_index("customer_id")["arm"] != "no_contact"
        second = frame[frame["wave"] == 13]
        offered = second["customer_id"].map(first)
        return second["churned"][offered].mean() - second["churned"][~offered].mean()

    # A benefit runs on for those who accepted, so that only who refused are decided about again: the saved by a nudge.
    assert later("delay") > later("frailty")


def kept(world, offers, arm=TEN, *, would=1, late=0.0):
    """Mean effect of an arm on staying, of customers with that many offers before it and that Y(0)."""
    n = len(world.ids)
    everyone, zeros = np.arange(n), np.zeros(n)
    who = world.someone(everyone, zeros, np.zeros(n, int), zeros + late, offers=np.full(n, offers))
    churn = world.truth_of(who, np.full(n, would)).churn
    return float((churn[:, 0] - churn[:, arm]).mean())


def test_every_further_offer_keeps_fewer_and_many_drive_away(built):
    tired, demo = built("fatigue"), built("demo")
    assert kept(tired, 0) == pytest.approx(kept(demo, 0))
    assert kept(tired, 1) == pytest.approx(0.5 * kept(demo, 0))
    assert kept(tired, 2) == pytest.approx(0.25 * kept(demo, 0))
    woken = [-kept(tired, offers, would=0) for offers in range(6)]
    assert woken[5] > woken[0] + 0.04
    assert kept(demo, 5) == pytest.approx(kept(demo, 0))


def test_the_panel_tires_its_customers(built):
    def later(name, waves):
        policy = lambda state: np.full(len(state.customer), TEN if state.month // 3 in waves else 0)  # noqa: E731
        return run_panel(built(name), policy, seed=0, horizon_months=12, replicates=4).alive[4]

    for name, tires in (("fatigue", True), ("frailty", False)):
        assert (later(name, (0, 1, 2, 3)) < later(name, ()) - 0.02) == tires


def test_drift_comes_wave_by_wave(built):
    world = built("drifting")
    early, middle, late = (kept(world, 0, late=when) for when in (0.0, 0.5, 1.0))
    assert early > middle > late > 0
    drawn = world.draw(40_000, 0)
    wave, at = drawn.log.frame["wave"].to_numpy(), np.arange(40_000)
    fifths = [drawn.truth.acceptance[wave // 5 == fifth, TEN].mean() for fifth in range(5)]
    assert (np.diff(fifths) > 0).all()
    assert drawn.log.accepted.mean() == pytest.approx(
        drawn.truth.acceptance[at, drawn.log.arm].mean(), abs=0.006
    )


@pytest.mark.parametrize("share", [-0.60, -0.30, -0.15, 0.15, 0.30, 0.60])
def test_hidden_targeting_shows_in_no_propensity(telco, any_offer, share):
    world = DemoWorld(telco, Economics(), hidden=Hidden(targeting=share))
    drawn, honest = world.draw(50_000, 0), DemoWorld(telco, Economics()).draw(50_000, 0)
    log, leaving = drawn.log, drawn.truth.would_churn == 1

    np.testing.assert_array_equal(log.propensities, honest.log.propensities)
    written, made = 1 - log.propensities[:, 0], log.arm > 0
    assert made.mean() == pytest.approx(written.mean(), abs=0.006)
    assert np.sign((made - written)[leaving].mean()) == np.sign(share)
    assert abs((made - written)[leaving].mean()) > 0.3 * min(abs(share), 0.2)
    gates = propensity_gates(log, telco, any_offer.offer_log.gates).gates
    assert [gate.name for gate in gates if not gate.passed] == []


def test_without_effects_nothing_changes_whether_anybody_stays(built):
    world = built("none")
    alive = [
        run_panel(world, each, seed=0, horizon_months=9, replicates=2).alive for each in (NOBODY, once(TEN))
    ]
    assert alive[1] == pytest.approx(alive[0], abs=1e-3)
    assert kept(world, 0) == 0


def test_a_policy_on_the_panel_knows_what_customers_did_with_earlier_offers(built):
    seen = []

    def record(state):
        seen.append(state)
        return np.full(len(state.customer), TEN if state.month else DEMO_OFFERS.index(0.30))

    run_panel(built("demo"), record, seed=0, horizon_months=12, replicates=1)
    start, second, third, fourth = seen
    assert not start.offers_used.any()
    assert not start.last_arm.any()
    took = second.last_accepted
    assert 0.2 < took.mean() < 0.5
    assert (second.last_arm == DEMO_OFFERS.index(0.30)).all()
    assert (second.offers_accepted == took).all()
    assert (second.offers_refused == ~took).all()
    assert (third.last_arm[took] == DEMO_OFFERS.index(0.30)).all()  # its benefit ran: no other was made
    assert (third.last_arm[~took] == TEN).all()
    assert (fourth.offers_accepted + fourth.offers_refused == fourth.offers_used).all()


def test_a_panel_of_some_customers_is_of_those(built):
    world, some = built("demo"), np.array([5, 17, 900])
    result = run_panel(world, everybody(TEN), seed=0, replicates=3, customers=some)
    assert result.value.shape == (3, 3)
    assert result.contacts.min() > 0


def test_what_is_hidden_can_be_chosen_for_any_world(telco):
    calm = replace(WORLDS["taste"].hidden, taste=0.0)
    world = DemoWorld(telco, Economics(), responses=WORLDS["taste"], hidden=calm)
    assert world.draw_log(500, 0).frame.equals(
        DemoWorld(telco, Economics(), responses=WORLDS["frailty"]).draw_log(500, 0).frame
    )
