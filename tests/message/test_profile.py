"""What a prompt tells of a customer, and which configurations cannot say it."""

from __future__ import annotations

import pytest
from telco_texts import PROFILE, percent

from churn_assets.message.config import MessagesConfig, PreferencesConfig, ProfileConfig
from churn_assets.message.text.profile import Profile, ProfileError, profiles_of, prompt_of


def test_a_prompt_says_profile_and_offer_and_ends_without_a_space():
    prompt = prompt_of(Profile("fiber internet", 57.4, 34, "monthly"), percent(0.2, 6))
    assert prompt == (
        "Service: fiber internet | Contract: monthly | Months with us: 34 | Bill: 57 | "
        "Offer: 20% off for 6 months\nMessage:"
    )


def test_what_a_table_does_not_know_is_left_out():
    assert prompt_of(Profile("plan", 20.0), percent(0.125, 1)) == (
        "Service: plan | Bill: 20 | Offer: 12.5% off for 1 month\nMessage:"
    )


def test_every_real_customer_has_a_profile_by_the_first_rule_that_fits(telco, config):
    profiles = profiles_of(telco, config.profile)
    assert len(profiles) == 7043
    assert profiles["7590-VHVEG"] == Profile("home internet", 29.85, 1, "monthly")
    assert {profile.service for profile in profiles.values()} == set(config.profile.service_texts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"services": [{"text": "plan", "where": {"Internet": "Yes"}}]},
            "services.0.where: found column 'Internet'",
        ),
        (
            {"services": [{"text": "plan", "where": {"PhoneService": "Yes"}}]},
            "no rule fits the customer of row 1 of the table",
        ),
        ({"contract": {"column": "Contract", "texts": {"One year": "yearly"}}}, "found 'Month-to-month'"),
        ({"contract": {"column": "Kind", "texts": {"One year": "yearly"}}}, "found column 'Kind'"),
    ],
)
def test_a_mapping_that_does_not_fit_the_table_names_key_found_and_expected(telco, change, message):
    with pytest.raises(ProfileError, match=message):
        profiles_of(telco, ProfileConfig.model_validate(PROFILE | change))


def test_services_that_stand_within_each_other_are_refused():
    services = [{"text": "fiber internet", "where": {"a": 1}}, {"text": "internet"}]
    with pytest.raises(ValueError, match="stands within another"):
        ProfileConfig.model_validate({"services": services})


@pytest.mark.parametrize("key", ["rows", "edit_share", "min_gap", "label_noise"])
def test_settings_of_the_generator_beside_a_file_are_refused(key):
    default = PreferencesConfig().model_dump()[key]
    with pytest.raises(ValueError, match=f"{key} has no meaning with source: pairs.jsonl"):
        PreferencesConfig.model_validate({"source": "pairs.jsonl", key: default})


def test_rows_beside_a_file_of_messages_are_refused():
    with pytest.raises(ValueError, match="rows has no meaning"):
        MessagesConfig.model_validate({"source": "m.jsonl", "profile": PROFILE, "rows": {"train": 5}})
