"""The `offer_log:` and `economics:` sections refuse what they would ignore."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from churn_assets.arms import ArmConfig, Catalogue, Contact
from churn_assets.offers.config import OfferLogConfig
from churn_assets.offers.economics import Economics


def test_the_default_is_a_simulated_log_of_50000_rows():
    config = OfferLogConfig()
    assert config.simulated
    assert (config.rows, config.drift, config.effects) == (50_000, "none", True)


def test_a_path_is_not_simulated():
    assert not OfferLogConfig(source="data/offers.parquet", columns={"margin": "profit"}).simulated


@pytest.mark.parametrize("key", ["rows", "menu", "drift", "effects", "seed_offset"])
def test_a_demo_setting_is_refused_beside_a_log_of_ones_own(key):
    value = {
        "rows": 100,
        "menu": (0.0, 0.1),
        "drift": "none",
        "effects": False,
        "seed_offset": 1,
    }[key]
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


def test_a_mapping_may_speak_arm_ids_or_percents_and_not_both():
    for columns in (
        {"arm": "what", "propensity_free_month": "p"},
        {"offer_pct": "pct", "propensity_12.5": "p"},
    ):
        assert OfferLogConfig(source="offers.csv", columns=columns).columns == columns
    with pytest.raises(ValidationError, match="maps both arm and offer_pct"):
        OfferLogConfig(source="offers.csv", columns={"arm": "what", "offer_pct": "pct"})


def test_the_demo_world_offers_what_is_declared_or_percents():
    call = ArmConfig(id="call", terms=Contact(), channel="phone")
    assert OfferLogConfig().demo_menu(Catalogue()).ids[::3] == ("no_contact", "percent_15", "percent_30")
    assert OfferLogConfig().demo_menu(Catalogue((call,))).ids == ("no_contact", "call")
    chosen = OfferLogConfig(menu=("no_contact", 0.1, "call"))
    assert chosen.demo_menu(Catalogue((call,))).ids == ("no_contact", "percent_10", "call")


def test_a_currency_is_a_code():
    assert Economics(currency="EUR").currency == "EUR"
    with pytest.raises(ValidationError, match="currency"):
        Economics(currency="euro")


@pytest.mark.parametrize("cost", [float("inf"), float("nan"), -1.0])
def test_a_contact_costs_a_finite_amount(cost):
    with pytest.raises(ValidationError, match="contact_cost"):
        Economics(contact_cost=cost)
