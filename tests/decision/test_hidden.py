"""What no feature shows of customers: means are kept, the kept are more likely to leave, values agree with sampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.arms import ArmConfig, Catalogue, FreeMonths, Gift, PercentOff
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.hidden import HiddenTypes
from churn_assets.decision.incremental import OneOffer, Worths, incremental
from churn_assets.decision.observation import Observer
from churn_assets.decision.optimum import evaluate, never, solve


@pytest.fixture
def hidden(monthly):
    return replace(monthly, frailty=1.2, frailty_band=(0.0, 1.5), effect_decay=0.4, taste=0.8)


def by_type(types, values):
    return values.reshape(-1, len(types), *values.shape[1:])


@pytest.mark.parametrize(
    "types", [HiddenTypes(0.7), HiddenTypes(3.5), HiddenTypes(0.0, 1.0), HiddenTypes(1.2, 0.8)]
)
def test_the_types_of_a_customer_are_on_average_the_customer(monthly, make_tables, types):
    tables = make_tables(50, monthly)
    spread = types.tables(tables)
    for name in ("risk", "acceptance", "churn_if_accepted", "churn_if_refused"):
        mean = np.tensordot(by_type(types, getattr(spread, name)), types.share, axes=(1, 0))
        np.testing.assert_allclose(mean, getattr(tables, name), atol=1e-7)


def test_frailty_is_a_spread_of_the_logit(monthly, make_tables):
    types = HiddenTypes(0.7)
    risk = by_type(types, types.tables(make_tables(50, monthly)).risk)
    logits = np.log(risk / (1 - risk))
    mean = np.tensordot(logits, types.share, axes=(1, 0))
    variance = np.tensordot((logits - mean[:, None]) ** 2, types.share, axes=(1, 0))
    np.testing.assert_allclose(variance, 0.7**2, rtol=0.02)


def test_of_every_type_the_same_share_is_kept_or_driven_away(monthly, make_tables):
    types, tables = HiddenTypes(1.2), make_tables(50, monthly)
    spread = types.tables(tables)
    risk = by_type(types, spread.risk)[..., None]
    for name in ("churn_if_accepted", "churn_if_refused"):
        churn, of_type = getattr(tables, name), by_type(types, getattr(spread, name))
        kept = churn < tables.risk[..., None]
        share = np.where(kept[:, None], of_type / risk, (1 - of_type) / (1 - risk))
        np.testing.assert_allclose(share, share[:, :1].repeat(len(types), axis=1), rtol=1e-6)


def one_offer(process, arm, step):
    """Everybody gets one arm at one step, and nothing else."""

    def choice(t):
        weights = np.zeros((1, 1, process.n_arms, 1))
        weights[:, :, arm if t == step else 0] = 1
        return weights

    return choice


MENU = Catalogue(
    declared=(
        ArmConfig(id="a_year", terms=PercentOff(share=0.2, months=12)),
        ArmConfig(id="a_month", terms=FreeMonths(months=1)),
        ArmConfig(id="router", terms=Gift(gift="a new router", cost=40.0)),
    )
).menu([0.0, "a_year", 0.1, "a_month", "router"])
"""Benefits longer and shorter than the label window, and none."""


@pytest.mark.parametrize(
    ("horizon", "to_go"), [(30, 30), (30, 23), (30, 7), (30, 2), (9, 9), (9, 3), (9, 1), (2, 2), (2, 1)]
)
def test_what_an_offer_adds_is_told_of_customers_whose_type_nobody_knows(hidden, make_tables, horizon, to_go):
    step, hidden = horizon - to_go, replace(hidden, horizon=horizon, menu=MENU)
    tables = make_tables(40, hidden, seed=2)
    added = incremental(tables.responses, hidden)
    none = evaluate(tables, hidden, never(hidden))
    reached = added.survival[:, :step].prod(axis=1)
    for arm in (1, 2, 3, 4):
        once = evaluate(tables, hidden, one_offer(hidden, arm, step))
        np.testing.assert_allclose(
            reached * added.value[:, step, 0, arm], once.value - none.value, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(reached * added.spend[:, step, 0, arm], once.spend, rtol=1e-4, atol=1e-4)


def test_the_frail_are_worth_less_to_keep_and_those_who_are_left_are_more_loyal(monthly, make_tables):
    tables = make_tables(200, monthly, seed=2)
    frail = replace(monthly, frailty=1.2)
    plain, seen = (solve(tables, each).evaluation.value for each in (monthly, frail))
    left, left_frail = (evaluate(tables, each, never(each)).value for each in (monthly, frail))
    assert left_frail.mean() > 1.02 * left.mean()
    assert 0 < (seen - left_frail).mean() < 0.9 * (plain - left).mean()


def test_planning_with_the_types_beats_planning_on_means_where_they_are_true(monthly, make_tables):
    tables, frail = make_tables(300, monthly, seed=3), replace(monthly, frailty=1.5)
    on_means = solve(tables, monthly).actions
    arms = np.arange(monthly.n_arms)[:, None]
    blind = evaluate(tables, frail, lambda t: arms == on_means[t][:, :, None])
    planned = solve(tables, frail).evaluation
    assert planned.value.mean() > blind.value.mean() + 0.01


@pytest.mark.parametrize("reward", ["realised", "expected_incremental"])
def test_sampled_episodes_of_hidden_types_are_worth_what_the_exact_evaluation_says(
    hidden, make_tables, reward
):
    process = replace(hidden, horizon=12)
    tables = make_tables(4, process, seed=4)
    actions = solve(tables, process).actions
    exact = solve(tables, process).evaluation.value.mean()
    none = evaluate(tables, process, never(process)).value.mean()
    size = 60_000
    core = RetentionCore(tables, process, size, np.random.default_rng(1), reward=reward)
    core.reset()
    total, running = np.zeros(size), np.ones(size, bool)
    for t in range(process.horizon):
        view = process.view[core.state]
        step = core.step(actions[core.step_number, view, core.used, core.customer].astype(np.int64))
        total += process.discount_factor**t * step.rewards * running
        running &= ~step.finished
    expected = exact - none if reward == "expected_incremental" else exact
    assert total.mean() == pytest.approx(expected, abs=4 * total.std() / size**0.5)


def test_prepared_observations_of_types_are_those_asked_for(hidden, make_tables):
    tables = make_tables(30, hidden)
    core = RetentionCore(tables, hidden, 64, np.random.default_rng(0))
    shown = core.reset()
    rng = np.random.default_rng(1)
    for _ in range(20):
        past = hidden.past(core.used, core.accepted)
        asked = core.observer.observe(core.customer, core.step_number, core.state, past, core.budget_price)
        np.testing.assert_array_equal(shown, asked)
        shown = core.step(rng.integers(0, hidden.n_arms, 64)).observations


def test_answers_are_counted_and_shown(hidden, make_tables):
    tables = make_tables(30, hidden)
    observer = Observer(tables, hidden)
    accepted = observer.names.index("offers_accepted")
    core = RetentionCore(tables, hidden, 2000, np.random.default_rng(0))
    core.reset()
    rng, used, taken = np.random.default_rng(1), np.zeros(2000, int), np.zeros(2000, int)
    for _ in range(25):
        step = core.step(rng.integers(0, hidden.n_arms, 2000))
        used, taken = used + step.offered, taken + step.accepted
        used[step.finished], taken[step.finished] = 0, 0
        np.testing.assert_array_equal(core.used, used)
        np.testing.assert_array_equal(core.accepted, taken)
        np.testing.assert_allclose(step.observations[:, accepted], taken / hidden.max_offers, rtol=1e-6)
    assert used.max() == hidden.max_offers


def test_who_took_offers_before_is_more_likely_to_take_the_next(hidden, make_tables):
    process = replace(hidden, horizon=30, max_offers=6)
    core = RetentionCore(make_tables(30, process), process, 20_000, np.random.default_rng(0))
    core.reset()
    rates: dict[tuple[int, int], list[int]] = {}
    for _ in range(30):
        used, taken = core.used, core.accepted
        step = core.step(np.full(core.size, 4))
        for key in ((2, 0), (2, 2)):
            asked = step.offered & (used == key[0]) & (taken == key[1])
            rates.setdefault(key, []).extend(step.accepted[asked].tolist())
    assert np.mean(rates[2, 2]) > np.mean(rates[2, 0]) + 0.1


def test_projections_go_from_hopeful_to_cautious_and_are_those_of_processes_so_configured(
    monthly, make_tables
):
    process = replace(
        monthly, frailty=1.0, frailty_band=(0.0, 1.5), effect_decay=0.1, effect_decay_band=(0.0, 0.5)
    )
    tables = make_tables(300, process, seed=2)
    worths = Worths(tables.responses, OneOffer(process, process.projections))
    gained, _ = worths.gained(tables.responses.acceptance[:, :1])
    told = gained.transpose(2, 0, 1)
    for value, projection in zip(told, process.projections, strict=True):
        alone = incremental(tables.responses, process.at(projection))
        np.testing.assert_allclose(value, alone.value[:, 0, 0, 1:], rtol=1e-5, atol=1e-5)
    pays = told[1] > 5
    assert pays.any()
    assert (told[1][pays] > told[0][pays]).all()
    assert (told[0][pays] > told[2][pays]).all()


def test_whoever_leaves_for_sure_is_worth_no_more_than_the_offer_costs(hidden, make_tables):
    tables = make_tables(20, hidden, seed=2)
    certain = replace(
        tables, risk=np.ones_like(tables.risk), churn_if_accepted=tables.churn_if_accepted * 0 + 1
    )
    added = incremental(replace(certain, churn_if_refused=certain.churn_if_accepted).responses, hidden)
    assert np.isfinite(added.value).all()
    assert np.isfinite(added.survival).all()
    # Of a probability at most 1 - 1e-9 is believed, a thousandth of a month's survival.
    assert np.abs(added.value[..., 1:] + hidden.menu.contact_cost[1:]).max() < 1e-3 * tables.price.max()


def test_where_effects_fade_whole_an_offer_brings_what_is_paid_in_its_window_alone(monthly, make_tables):
    """Everybody who is kept leaves right after: their margin in the window is all that is gained."""
    process = replace(monthly, effect_decay=1.0)
    tables = make_tables(300, process, seed=2)
    gained = incremental(tables.responses, process).value[:, 0, 0, 1:]
    window = process.margin * process.window_months * tables.price
    kept = tables.risk[:, :1] - np.minimum(tables.churn_if_accepted, tables.churn_if_refused)[:, 0]
    assert (gained <= window[:, None] * np.maximum(kept, 0) + 1e-3).all()
    assert (incremental(tables.responses, monthly).value[:, 0, 0, 1:] > window[:, None] * kept).any()
