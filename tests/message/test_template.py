"""What is sent instead of an unsafe text, and how a name is put in."""

from __future__ import annotations

from datetime import time

import pytest
from telco_texts import MENU, percent

from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.sentences import offers_of
from churn_assets.message.model.audit import says_only
from churn_assets.message.text.profile import Profile, profiles_of
from churn_assets.message.text.safety import Safety, SendRequest
from churn_assets.message.text.template import (
    RenderError,
    TemplateError,
    fill_placeholders,
    outgoing,
    plain_text,
)

PERSON = Profile("fiber internet", 57.0, 34, "monthly")
OFFER = percent(0.2, 6)
GOOD = "Hi {name}, enjoy 20% off your fiber internet for 6 months. Kind regards, the care team. Reply STOP to opt out."


@pytest.fixture(scope="module")
def safety(config) -> Safety:
    return Safety(SafetyRules(), config.profile.service_texts)


def test_the_template_is_safe_for_every_service_and_offer(telco, config, safety):
    people = {profile.service: profile for profile in profiles_of(telco, config.profile).values()}
    assert len(people) == 8
    for profile in people.values():
        for offer in (*offers_of(MENU, (1, 3, 6, 12)), percent(0.125, 24)):
            text = plain_text(profile, offer, safety)
            assert safety.check(text, profile, offer).violations == ()
            assert says_only(text, offer, "USD")


def test_a_safe_text_is_sent_as_it_was_written(safety):
    sent = outgoing(" " + GOOD, PERSON, OFFER, safety)
    assert (sent.text, sent.written_by, sent.verdict.safe, sent.waits) == (GOOD, "model", True, False)


def test_an_unsafe_text_is_replaced_and_the_verdict_says_why(safety):
    sent = outgoing(GOOD.replace("20%", "30%"), PERSON, OFFER, safety)
    assert sent.written_by == "template"
    assert sent.text == plain_text(PERSON, OFFER, safety)
    assert "wrong_discount" in sent.verdict.rules


def test_without_a_model_the_template_is_sent(safety):
    sent = outgoing(None, PERSON, OFFER, safety)
    assert (sent.written_by, sent.verdict.safe) == ("template", True)


@pytest.mark.parametrize("written", [GOOD, None])
def test_in_the_quiet_hours_a_text_waits_and_is_not_replaced(safety, written):
    sent = outgoing(written, PERSON, OFFER, safety, SendRequest(local_time=time(23, 0)))
    assert (sent.waits, sent.written_by) == (True, "model" if written else "template")


def test_a_template_that_breaks_the_rules_is_an_error(config):
    rules = SafetyRules(
        template="Hi {name}, {percent}% off for {duration}, guaranteed. Reply STOP to opt out."
    )
    with pytest.raises(TemplateError, match=r"safety\.template: banned_phrase: says 'guaranteed'"):
        plain_text(PERSON, OFFER, Safety(rules, config.profile.service_texts))


def test_a_template_without_the_offer_is_refused():
    with pytest.raises(ValueError, match=r"\{percent\}% is missing"):
        SafetyRules(template="Hi {name}, we have something for you for {duration}.")


def test_name_and_service_are_put_in():
    assert fill_placeholders("Hi {name}, your {service}.", PERSON, "Ana María O’Neil-Smith") == (
        "Hi Ana María O’Neil-Smith, your fiber internet."
    )


@pytest.mark.parametrize(
    "name",
    ["प्रिया", "ปรีชา", "Ten", "Six", "Erik ten Hag", "Zoë", "Nguyễn Thị Ánh", "محمد", "李小龍", "O'Neil-Smith Jr.",
     "J. R. Ewing", "Žofie", "می‌نا", "A"],
)  # fmt: skip
def test_a_name_of_any_script_is_put_in(name):
    assert fill_placeholders("Hi {name}.", PERSON, name) == f"Hi {name}."


@pytest.mark.parametrize(
    "name",
    ["Twenty Percent Off", "Six Months", "Ten Euros",
     "\u0301Ana", "Ana\u202e", "Ana--Bob", "Ten Free", "-Ana",
     "Ana-", "", " ", "Ana, 50% off", "Fifty Percent", "R2D2", "{name}", "Ana\nStop", "A" * 41,
     "<b>Ana</b>",
     "a@b.com", "Twenty Off"],
)  # fmt: skip
def test_what_is_no_name_is_not_put_into_a_judged_text(name):
    with pytest.raises(RenderError, match="name: found"):
        fill_placeholders("Hi {name}.", PERSON, name)


def test_another_placeholder_is_refused():
    with pytest.raises(RenderError, match="and no other placeholder"):
        fill_placeholders("Hi {name}, {discount} off.", PERSON, "Ana")
