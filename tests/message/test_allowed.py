"""What may be said is listed: every sentence of a text is explained by the grammar, or the text is refused."""

from __future__ import annotations

import time as clock
from datetime import time

import pytest
from pydantic import ValidationError
from telco_texts import PROFILE, percent

from churn_assets.message.config import MessagesConfig, SafetyRules, ServiceRule
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety, SendRequest
from churn_assets.message.text.template import plain_text

SERVICES = MessagesConfig.model_validate({"profile": PROFILE}).profile.service_texts
SAFETY = Safety(SafetyRules(), SERVICES)
PERSON = Profile("fiber internet", 57.0, 34, "monthly")
NEWCOMER = Profile("fiber internet", 57.0, 2, "monthly")
OFFER = percent(0.2, 6)
TRUE = "Enjoy 20% off your fiber internet for 6 months."
TEXT = (
    "Hi {name}, thank you for being with us. %s Please reply YES to accept. Kind regards, the care team. "
    "Reply STOP to opt out."
)


def rules(said: str, person: Profile = PERSON, safety: Safety = SAFETY) -> tuple[str, ...]:
    return safety.check(TEXT % said, person, OFFER).rules


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("You get 20% off after 6 months.", "other_time"),
        ("You get 20% off within 6 months.", "other_time"),
        ("You get 20% off starting in 6 months.", "other_time"),
        ("Your 20% discount ends in 6 months.", "other_time"),
        ("Get 20% off your next bill when you stay 6 months.", "condition"),
        ("Save 20% on accessories for 6 months.", "wrong_service"),
        ("20% off selected phones for 6 months.", "wrong_service"),
        ("Save 20% on installation for 6 months.", "wrong_service"),
        ("Pay nothing for 6 months, then get 20% off.", "other_time"),
        ("Get 20% off for 6 months, and a router on us.", "other_offer"),
        ("Get 20% off for 6 months with a 24 month contract.", "wrong_duration"),
        ("Get 20% off for 6 months and pay only 39,99 €.", "other_number"),
        ("20% of your bill for 6 months is our discount.", "other_price"),
        ("Pay just 20% of the price for 6 months.", "other_price"),
        ("You save 20% for 6 months, one time only.", "condition"),
        ("Get 20% off for 6 months, twice a year.", "other_number"),
        ("Thanks for 6 months with us: 20% off.", "other_offer"),
        ("You have been with us for 6 months. Enjoy 20% off.", "condition"),
        ("Get 20% off for 6 months, terms apply.", "condition"),
        ("Get 20% cash for 6 months off work.", "other_price"),
    ],
)
def test_another_offer_in_the_right_numbers_is_refused_by_the_rule_that_names_the_fault(said, rule):
    assert rule in rules(said)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ("{name}, our records say you may leave.", "pressure"),
        ("We saw that you may leave.", "records"),
        ("Everybody on your street has left.", "pressure"),
        ("You must answer today.", "pressure"),
        ("Your line is cut off otherwise.", "pressure"),
        ("You cannot opt out.", "opt_out"),
        ("We also give you a tablet on us.", "other_offer"),
        ("We will call you every day.", "other_offer"),
        ("Thank you for all with us.", "unexplained"),
        ("With bills.", "unexplained"),
        ("Please let us any time if you have questions.", "condition"),
        ("Thank you, thank you so much, please enjoy, thank you.", "unexplained"),
        ("Is it 20% off your fiber internet for 6 months?", "other_offer"),
    ],
)
def test_whatever_else_is_said_beside_the_offer_is_refused(said, rule):
    assert rule in rules(f"{TRUE} {said}")


def test_a_condition_stands_in_no_order():
    assert rules("Reply STOP and get 20% off your fiber internet for 6 months.") == ("opt_out",)
    assert rules("Reply YES to get 20% off your fiber internet for 6 months.") == ()


def test_only_those_who_stayed_are_thanked_for_years():
    said = f"Thank you for all the years with us. {TRUE}"
    assert rules(said) == ()
    assert rules(said, NEWCOMER) == ("loyalty",)
    assert rules(said, Profile("fiber internet", 57.0)) == ("loyalty",)
    young = Safety(SafetyRules(loyal_months=2), SERVICES)
    assert rules(said, NEWCOMER, young) == ()


def test_ones_own_sentences_may_be_said_as_they_are_listed():
    mine = "Acme wishes you a sunny day with your {service}."
    assert "unexplained" in rules(f"{TRUE} {mine}")
    own = Safety(SafetyRules(sentences=(mine, "Grab {offer} like a fox!")), SERVICES)
    assert rules(f"{TRUE} {mine}", safety=own) == ()
    assert rules("Grab 20% off your fiber internet for 6 months like a fox!", safety=own) == ()
    assert "wrong_discount" in rules("Grab 30% off your fiber internet for 6 months like a fox!", safety=own)
    assert "other_time" in rules(f"{TRUE} {mine[:-1]} after lunch.", safety=own)


def test_a_text_that_waits_is_held_to_the_grammar_as_well():
    said, night = TEXT % f"{TRUE} You must answer.", SendRequest(local_time=time(23, 0))
    assert "pressure" in SAFETY.check(said, PERSON, OFFER, night).rules


def test_long_nonsense_is_judged_in_bounded_time():
    started = clock.process_time()
    for words in ("enjoy for the next 6 months, ", "thank you for being with us and ", "please just simply "):
        SAFETY.check(TEXT % (words * 8 + "."), PERSON, OFFER)
    assert clock.process_time() - started < 1


@pytest.mark.parametrize(
    "service",
    ["Fiber 100", "Wi-Fi", "TV & Internet", "Cuidado básico", "5G Home", "Unlimited Plan", "Price saver", "Último 4G+",
     "O'Neil TV", "Guaranteed Speed", "योजना"],
)  # fmt: skip
def test_a_service_may_be_called_anything_and_its_name_says_nothing(service):
    safety = Safety(SafetyRules(), (ServiceRule(text=service).text, "phone plan"))
    person = Profile(service, 57.0, 34, "monthly")
    for offer in (
        f"Enjoy 20% off your {service} for 6 months.",
        "Enjoy 20% off your {service} for 6 months.",
    ):
        assert safety.check(TEXT % offer, person, OFFER).violations == ()
    assert safety.check(plain_text(person, OFFER, safety), person, OFFER).violations == ()
    wrong = TEXT % f"Enjoy 25% off your {service} for 6 months."
    assert "wrong_discount" in safety.check(wrong, person, OFFER).rules


@pytest.mark.parametrize("service", ["", "100", "a  b", "{name}", "20% off", "a\nb", "<b>"])
def test_what_is_no_service_is_refused_when_it_is_read(service):
    with pytest.raises(ValidationError):
        ServiceRule(text=service)


@pytest.mark.parametrize("hour", ["21:00+01:00", "21:00Z"])
def test_quiet_hours_with_an_offset_are_refused_when_they_are_read(hour):
    with pytest.raises(ValidationError, match="expected a time without an offset, such as 21:00"):
        SafetyRules.model_validate({"quiet_hours": {"start": hour, "end": "08:00"}})


def test_a_customers_clock_may_carry_its_offset():
    night = SendRequest(local_time=time.fromisoformat("23:00+05:30"))
    assert SAFETY.check(TEXT % TRUE, PERSON, OFFER, night).rules == ("quiet_hours",)
