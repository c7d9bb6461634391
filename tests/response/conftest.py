"""Real customers, one log of the demo world with effects and one without, and the models fitted on them once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld, Truth
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.response.gates import HeldOutOffers
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[2]
ROWS = 50_000


@dataclass(frozen=True)
class Fitted:
    """The response models of one world."""

    experiment: Experiment
    table: CustomerTable
    log: OfferLog
    truth: Truth
    risk: RiskModel
    accept: AcceptModel
    effect: EffectModel

    @property
    def held_out(self) -> HeldOutOffers:
        return HeldOutOffers.of(self.table, self.log)


def fit(experiment: Experiment, table: CustomerTable, risk: RiskModel, *, effects: bool) -> Fitted:
    draw = DemoWorld(table, experiment.economics, effects=effects).draw(ROWS, seed=5)
    log = draw.log
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = risk.risk_of(log.customer_id)
    effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    return Fitted(experiment, table, log, draw.truth, risk, accept, effect)


@pytest.fixture(scope="session")
def experiment() -> Experiment:
    return load_experiment("quickstart", ROOT / "configs")


@pytest.fixture(scope="session")
def table(experiment) -> CustomerTable:
    return read_customers(experiment.customers, seed=experiment.seed, root=ROOT)


@pytest.fixture(scope="session")
def risk(experiment, table) -> RiskModel:
    return RiskModel.fit(table, experiment.risk_model)


@pytest.fixture(scope="session")
def fitted(experiment, table, risk) -> Fitted:
    return fit(experiment, table, risk, effects=True)


@pytest.fixture(scope="session")
def without_effects(experiment, table, risk) -> Fitted:
    return fit(experiment, table, risk, effects=False)
