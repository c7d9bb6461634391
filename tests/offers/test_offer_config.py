"""The `offer_log:` and `economics:` sections refuse what they would ignore."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from churn_assets.offers.config import OfferLogConfig
from churn_assets.offers.economics import Economics


def test_the_default_is_a_simulated_log_of_50000_rows():
    config = OfferLogConfig()
    assert config.simulated
    assert (config.rows, config.drift, config.effects) == (50_000, "none", True)


def test_a_path_is_not_simulated():
    assert not OfferLogConfig(source="data/offers.parquet", columns={"margin": "profit"}).simulated


@pytest.mark.parametrize("key", ["rows", "drift", "effects", "seed_offset", "start"])
def test_a_demo_setting_is_refused_beside_a_log_of_ones_own(key):
    value = {"rows": 100, "drift": "none", "effects": False, "seed_offset": 1, "start": "2026-03-02"}[key]
    with pytest.raises(ValidationError, match=f"{key} has no meaning with source: offers.csv"):
        OfferLogConfig(source="offers.csv", **{key: value})


def test_a_column_mapping_is_refused_beside_the_demo_world():
    with pytest.raises(ValidationError, match="columns has no meaning with source: demo_world"):
        OfferLogConfig(columns={"margin": "profit"})


def test_a_mapping_of_an_unknown_column_names_the_columns_there_are():
    with pytest.raises(ValidationError, match=r"maps \['profit'\].*expected names: customer_id"):
        OfferLogConfig(source="offers.csv", columns={"profit": "margin"})


def test_a_mistyped_key_is_refused():
    with pytest.raises(ValidationError, match="contact_costs"):
        Economics(contact_costs=2.0)
