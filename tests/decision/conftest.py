"""Synthetic customers with known responses: persuadables, lost causes, sleeping dogs. Nothing is fitted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from churn_assets.arms import AmountOff, ArmConfig, Catalogue, Contact, FreeMonths, Gift, PercentOff
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.tables import ResponseTables

MONTHLY = RetentionProcess(
    menu=Catalogue().menu([0.0, 0.05, 0.10, 0.20, 0.30]),
    horizon=30,
    step_months=1,
    window_months=3,
    cooldown_months=3,
    recent_window_months=5,
    max_offers=4,
    discount_factor=0.99,
    margin=0.5,
    value_horizon_months=12,
)
ONE_WINDOW = replace(MONTHLY, horizon=1, step_months=3, recent_window_months=3, discount_factor=1.0)
FIVE_KINDS = Catalogue(
    declared=(
        ArmConfig(id="ten_off", terms=PercentOff(share=0.1, months=6), channel="email", contact_cost=0.2),
        ArmConfig(id="eight_dollars", terms=AmountOff(amount=8.0, months=3)),
        ArmConfig(id="free_month", terms=FreeMonths(months=1)),
        ArmConfig(id="router", terms=Gift(gift="a new router", cost=40.0)),
        ArmConfig(id="call", terms=Contact(), channel="phone", contact_cost=4.0),
    )
).menu(["no_contact", "ten_off", "eight_dollars", "free_month", "router", "call"])
"""A menu of every kind of arm."""
ANY_OFFER = replace(MONTHLY, menu=FIVE_KINDS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def synthetic_tables(
    n: int, process: RetentionProcess, seed: int = 0, *, effect: float = 1.0
) -> ResponseTables:
    """Customers whose responses follow formulas; `effect` scales how much contact changes churn."""
    rng = np.random.default_rng(seed)
    tenure = np.clip(rng.gamma(1.1, 30, n), 0, 72).round()
    monthly = rng.random(n) < sigmoid(1.2 - tenure / 25)
    fibre, support, electronic, automatic = (rng.random(n) < p for p in (0.44, 0.29, 0.34, 0.44))
    price = np.where(fibre, rng.normal(91, 12, n), rng.normal(50, 20, n)).clip(18, 119)
    z = (price - 65) / 30
    months = np.arange(process.horizon) * process.step_months
    ages = tenure[:, None] + months
    risk = sigmoid(
        (-2.3 + 1.5 * monthly + 0.8 * fibre + 0.5 * electronic - 0.4 * support)[:, None] - 0.028 * ages
    )
    sensitivity = 0.6 * z[:, None] - 0.016 * (ages - 32)
    worth = process.menu.commitment(price) / price[:, None] / 6
    levels = (1 - np.exp(-worth / 0.12))[:, None, None, :]
    acceptance = sigmoid(
        -3.1
        + (2.6 + 0.5 * sensitivity)[:, :, None, None] * levels
        + (0.4 * monthly + 0.2 * electronic + 0.25 * z)[:, None, None, None]
        + 0.45 * (risk - 0.265)[:, :, None, None]
        - 0.35 * np.arange(2)[None, None, :, None]
    )
    acceptance[..., 0] = 0
    competitor = -1.6 + 1.8 * fibre + 0.9 * ~support + 0.5 * electronic
    lost = sigmoid(competitor[:, None] - 1.4 * (ages > 12) - 0.9 * sensitivity)
    saved = effect * np.clip(0.92 - 0.88 * lost, 0.03, 0.95)
    dog = effect * np.where(monthly & automatic, 0.10, np.where(monthly & fibre, 0.06, 0.004))[:, None]
    stronger = np.linspace(0.9, 1.0, process.n_arms - 1)
    features = np.stack([(tenure - 32) / 24, z, monthly, fibre, support, electronic, automatic], axis=1)
    return ResponseTables(
        price=price,
        features=features.astype(np.float32),
        feature_names=("tenure", "price", "monthly", "fibre", "support", "electronic", "automatic"),
        tenure_column=0,
        tenure_step=process.step_months / 24,
        risk=risk,
        acceptance=acceptance,
        churn_if_accepted=risk[:, :, None] * (1 - saved[:, :, None] * stronger),
        churn_if_refused=((1 - 0.02 * effect) * risk + (1 - risk) * dog)[:, :, None]
        * (1 - 0.01 * effect * np.arange(process.n_arms - 1)),
        allowed=np.ones((n, process.n_arms), bool),
    )


@pytest.fixture(scope="session")
def monthly() -> RetentionProcess:
    return MONTHLY


@pytest.fixture(scope="session")
def any_offer() -> RetentionProcess:
    """The same with a menu of every kind of arm."""
    return ANY_OFFER


@pytest.fixture(scope="session", params=[MONTHLY, ANY_OFFER], ids=["percents", "five kinds"])
def process(request) -> RetentionProcess:
    return request.param


@pytest.fixture(scope="session")
def one_window() -> RetentionProcess:
    return ONE_WINDOW


@pytest.fixture(scope="session")
def make_tables() -> Callable[..., ResponseTables]:
    return synthetic_tables
