"""The real customers, and the embedded corpus on them, written once a session."""

from __future__ import annotations

from pathlib import Path

import pytest
from telco_texts import MENU, PROFILE

from churn_assets.customers.config import CustomersConfig, LabelConfig
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus import write_messages, write_preferences
from churn_assets.message.data import Messages, Preferences

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
def config() -> MessagesConfig:
    return MessagesConfig.model_validate({"profile": PROFILE})


@pytest.fixture(scope="session")
def messages(telco, config) -> Messages:
    return write_messages(telco, config, MENU, seed=0)


@pytest.fixture(scope="session")
def preferences(telco, config) -> Preferences:
    return write_preferences(telco, config, PreferencesConfig(), SafetyRules(), MENU, seed=0)
