"""Real customers and the quickstart's risk model, fitted once."""

from pathlib import Path

import pytest

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import load_experiment
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def experiment():
    return load_experiment("quickstart", ROOT / "configs")


@pytest.fixture(scope="session")
def table(experiment) -> CustomerTable:
    return read_customers(experiment.customers, seed=experiment.seed, root=ROOT)


@pytest.fixture(scope="session")
def model(experiment, table) -> RiskModel:
    return RiskModel.fit(table, experiment.risk_model)
