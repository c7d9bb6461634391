"""What later windows show: frailty and decay where they are, and nothing where a log does not follow customers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.panel import history_log
from benchmarks.worlds import WORLDS
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld
from churn_assets.response.persistence import Windows, persistence, windows_of

WINDOW = 3.0


def followed(
    frailty: float,
    decay: float,
    *,
    seed: int = 0,
    customers: int = 8_000,
    windows: int = 4,
    kept: float = 0.35,
) -> Windows:
    """Customers decided for window after window, until they leave; three in five are contacted."""
    rng = np.random.default_rng(seed)
    features, hidden = rng.normal(-1.3, 0.9, customers), frailty * rng.normal(size=customers)
    at, weight = np.polynomial.hermite_e.hermegauss(31)
    risk = (1 / (1 + np.exp(-features[:, None] - frailty * at))) @ weight / weight.sum()
    hazard = 1 / (1 + np.exp(-features - hidden))
    alive, delayed = np.ones(customers, bool), np.zeros(customers, bool)
    found = []
    for window in range(windows):
        keeps = np.where(rng.random(customers) < 0.6, kept, 0.0)
        would = rng.random(customers) < hazard
        saved = would & (rng.random(customers) < keeps)
        leaves = delayed | (would & ~saved)
        who = np.flatnonzero(alive)
        ones = np.ones(len(who), np.int64)
        contacted = risk * (1 - keeps)
        found.append(
            (who, WINDOW * window * ones, risk[who], contacted[who], leaves[who].astype(np.int64), ones)
        )
        delayed = saved & ~leaves & (rng.random(customers) < decay)
        alive &= ~leaves
    return Windows(*(np.concatenate(each) for each in zip(*found, strict=True)))


@pytest.mark.parametrize(("frailty", "decay"), [(0.0, 0.0), (0.8, 0.0), (1.2, 0.3), (0.0, 1.0), (0.8, 0.6)])
def test_the_intervals_hold_what_made_the_log_and_are_narrow(frailty, decay):
    found = persistence(followed(frailty, decay), WINDOW)
    assert found.frailty.low <= frailty + 0.02
    assert frailty <= found.frailty.high
    assert found.frailty.high - found.frailty.low < 0.7
    assert found.decay.low - 0.03 <= decay <= found.decay.high + 0.03
    assert found.decay.high - found.decay.low < 0.5


def test_rows_in_any_order_give_the_same():
    seen = followed(0.8, 0.3, customers=3_000)
    order = np.random.default_rng(1).permutation(len(seen.customer))
    mixed = Windows(*(getattr(seen, name)[order] for name in Windows.__dataclass_fields__))
    assert persistence(mixed, WINDOW) == persistence(seen, WINDOW)


def test_a_log_whose_customers_come_back_shows_nothing():
    seen = followed(0.8, 0.3, customers=3_000)
    rng = np.random.default_rng(0)
    assert (
        persistence(replace(seen, churned=(rng.random(len(seen.churned)) < 0.2).astype(np.int64)), WINDOW)
        is None
    )


def test_decisions_within_one_window_show_nothing():
    seen = followed(0.8, 0.3, customers=3_000)
    assert persistence(replace(seen, months=seen.months / 3), WINDOW) is None


def test_a_log_of_one_window_shows_nothing():
    assert persistence(followed(0.8, 0.3, windows=1), WINDOW) is None


def test_windows_in_which_nothing_was_decided_are_counted_by_their_length():
    """Half the customers are not asked in the second window: one row stands for it and the third."""
    seen = followed(1.0, 0.0, windows=4)
    second, third = seen.months == WINDOW, seen.months == 2 * WINDOW
    skipped = (seen.customer % 2 == 0) & second & (seen.risk == seen.contacted)
    left_later = np.isin(seen.customer, seen.customer[third & (seen.churned == 1)])
    plain = np.isin(seen.customer, seen.customer[third & (seen.risk == seen.contacted)]) | (seen.churned == 1)
    merged = skipped & plain
    drop = third & np.isin(seen.customer, seen.customer[merged])
    joined = replace(
        seen,
        churned=np.where(merged, np.maximum(seen.churned, left_later), seen.churned),
        length=np.where(merged, 2, 1),
    )
    kept = Windows(*(getattr(joined, name)[~drop] for name in Windows.__dataclass_fields__))
    assert (kept.length == 2).sum() > 500
    found = persistence(kept, WINDOW)
    assert found.frailty.low <= 1.0 <= found.frailty.high


def test_customers_held_out_change_nothing_that_is_estimated(fitted):
    """Their answers are what figures are judged by."""
    table = fitted.table
    log = history_log(
        DemoWorld(table, fitted.experiment.economics, responses=WORLDS["frailty"]), 0, windows=4
    )
    held = table.held_out[log.positions(table.ids)]
    turned = np.where(held, 1 - log.churned, log.churned)
    other = OfferLog(log.frame.assign(churned=turned), log.menu, log.simulated)
    ours, theirs = (windows_of(table, each, fitted.risk, fitted.effect) for each in (log, other))
    for name in Windows.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    assert not table.held_out[ours.customer].any()
