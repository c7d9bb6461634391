"""What a policy is shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.incremental import incremental
from churn_assets.decision.observation import BOUND, Observer

NO_PRICE = np.zeros(1, np.float32)


def shown(observer, process, *, customer=0, step=0, state=0, used=0, price=0.0, affordable=None):
    row = observer.observe(
        *(np.array([v]) for v in (customer, step, state, used)), np.array([price], np.float32), affordable
    )
    return dict(zip(observer.names, row[0].tolist(), strict=True))


@pytest.fixture
def tables(monthly, make_tables):
    return make_tables(30, monthly)


@pytest.fixture
def observer(tables, monthly):
    return Observer(tables, monthly)


def test_tenure_moves_on_and_other_features_do_not(observer, monthly, tables):
    first, later = (shown(observer, monthly, step=t) for t in (0, 12))

    assert later["feature:tenure"] - first["feature:tenure"] == pytest.approx(12 * tables.tenure_step)
    assert later["feature:price"] == first["feature:price"]
    assert later["time"] == pytest.approx(0.4)


def test_an_offer_of_more_value_is_shown_as_more_and_the_best_has_no_regret(observer, monthly, tables):
    net = incremental(tables.responses, monthly).net(0.0)[:, 0, 0]
    customer = int(net.max(axis=1).argmax())

    row = shown(observer, monthly, customer=customer)
    values = [row[f"net_value:{arm}"] for arm in monthly.menu.ids[1:]]
    regrets = [row[f"regret:{arm}"] for arm in monthly.menu.ids]

    assert np.argsort(values).tolist() == np.argsort(net[customer, 1:]).tolist()
    assert regrets[int(net[customer].argmax())] == 0
    assert max(regrets) == 0
    assert regrets[0] < 0


def test_a_budget_price_lowers_every_net_value(observer, monthly):
    free, priced = (shown(observer, monthly, price=p) for p in (0.0, 2.0))

    for arm in monthly.menu.ids[1:]:
        assert priced[f"net_value:{arm}"] < free[f"net_value:{arm}"]
    assert priced["budget_price"] == pytest.approx(2 / 3)


def test_a_recent_contact_shows_the_lower_acceptance_and_a_cooldown_masks(observer, monthly):
    idle, cooling, open_ = (
        shown(observer, monthly, step=4, state=s) for s in (0, monthly.refused(1, 1), monthly.contacted(3))
    )

    assert open_["acceptance:percent_20"] < idle["acceptance:percent_20"]
    assert [row["allowed:percent_20"] for row in (idle, cooling, open_)] == [1, 0, 1]
    assert idle["months_since_contact"] == 1
    assert open_["months_since_contact"] == pytest.approx(3 / 5)


def test_caps_eligibility_and_the_remaining_budget_mask_their_arms(tables, monthly):
    allowed = tables.allowed.copy()
    allowed[0, 4] = False
    observer = Observer(replace(tables, allowed=allowed), monthly)

    assert shown(observer, monthly)["allowed:percent_30"] == 0
    assert shown(observer, monthly, customer=1)["allowed:percent_30"] == 1
    assert shown(observer, monthly, used=monthly.max_offers)["allowed:percent_5"] == 0
    affordable = np.array([[True, False, False, False]])
    row = shown(observer, monthly, customer=1, affordable=affordable)
    assert [row[f"allowed:{arm}"] for arm in monthly.menu.ids[1:]] == [1, 0, 0, 0]


def test_what_runs_is_shown_with_its_share_of_months_left(observer, monthly):
    row = shown(observer, monthly, state=monthly.accepted(4, 2))

    assert row["running:percent_30"] == pytest.approx(4 / 6)
    assert row["running:percent_5"] == 0
    assert row["allowed:percent_5"] == 0


def test_every_observation_is_finite_and_within_the_bound(observer, monthly):
    rng = np.random.default_rng(0)
    m = 2000
    rows = observer.observe(
        rng.integers(0, 30, m),
        rng.integers(0, monthly.horizon + 1, m),
        rng.integers(0, monthly.n_states, m),
        rng.integers(0, monthly.max_offers + 1, m),
        np.expm1(rng.uniform(0, 30, m)).astype(np.float32),
    )

    assert np.isfinite(rows).all()
    assert np.abs(rows).max() <= BOUND
    assert rows.dtype == np.float32
