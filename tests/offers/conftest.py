"""The real customers, a demo world on them and one log of it, drawn once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_assets.customers.config import CustomersConfig, LabelConfig
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.offers.economics import Economics
from churn_assets.offers.world import DemoWorld, Draw

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def telco() -> CustomerTable:
    config = CustomersConfig(
        id="customerID",
        label=LabelConfig(column="Churn", positive="Yes", window_months=3),
        monthly_revenue="MonthlyCharges",
        tenure="tenure",
        path_dependent={"TotalCharges": "drop"},
    )
    return read_customers(config, seed=0, root=ROOT)


@pytest.fixture(scope="session")
def world(telco) -> DemoWorld:
    return DemoWorld(telco, Economics())


@pytest.fixture(scope="session")
def draw(world) -> Draw:
    return world.draw(50_000, seed=0)
