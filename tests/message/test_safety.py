"""What may be sent: each rule breaks where it should and nowhere else, whatever the text."""

from __future__ import annotations

import time as clock
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from number_words import in_words
from telco_texts import PROFILE, percent

from churn_assets.message.config import BANNED, MessagesConfig, SafetyRules
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety, SendRequest

PERSON = Profile("fiber internet", 57.0, 34, "monthly")
OFFER = percent(0.2, 6)
SERVICES = MessagesConfig.model_validate({"profile": PROFILE}).profile.service_texts
SAFETY = Safety(SafetyRules(), SERVICES)

TEXT = (
    "Hi {name}, thank you for being with us. %s Please reply YES to accept. Kind regards, the care team. %s"
)
OPT_OUT = "Reply STOP to opt out."


def text(offer: str = "Enjoy 20% off your fiber internet for 6 months.", last: str = OPT_OUT) -> str:
    return TEXT % (offer, last)


def rules(written: str, request: SendRequest | None = None, **config) -> set[str]:
    safety = Safety(SafetyRules.model_validate(config), SERVICES) if config else SAFETY
    return set(safety.check(written, PERSON, OFFER, request).rules)


@pytest.mark.parametrize(
    "offer",
    [
        "Enjoy 20% off your fiber internet for 6 months.",
        "Enjoy twenty percent off your fiber internet for six months.",
        "Take 20 per cent off your bill for half a year.",
        "Get a 20 percent discount for 26 weeks.",
        "You save 20.0% for six full months.",
        "Get a fifth off your bill for half of a year.",
        "For six-months you get twenty-percent off.",
        "Get 20 pct off for 6 mo.",
        "For the next 6 months you get 20% off your {service}.",
        "One of our team set aside 20% off for 6 months, and feel free to ask no one else.".replace(
            "no one", "anyone"
        ),
        "After all the years with us, and every month, you get 20% off for 6 months.",
    ],
)
def test_the_offer_in_any_plain_words_is_safe(offer):
    assert SAFETY.check(text(offer), PERSON, OFFER).violations == ()


@pytest.mark.parametrize(
    ("offer", "rule"),
    [
        ("Enjoy 25% off for 6 months.", "wrong_discount"),
        ("Enjoy twenty-five percent off for 6 months.", "wrong_discount"),
        ("Enjoy half price for 6 months.", "wrong_discount"),
        ("We halve your bill for 6 months.", "wrong_discount"),
        ("Enjoy 20% off for 6 months and ten percent after.", "wrong_discount"),
        ("Enjoy 3/4 off films and 20% off for 6 months.", "wrong_discount"),
        ("Enjoy three quarters off films and 20% off for 6 months.", "wrong_discount"),
        ("Enjoy XX percent, no: 20% off for 6 months.", "wrong_discount"),
        ("Enjoy 20-30% off for 6 months.", "wrong_discount"),
        ("Enjoy 120% off for 6 months.", "wrong_discount"),
        ("Enjoy 2.0% off for 6 months.", "wrong_discount"),
        ("We raise your bill by 20% for 6 months.", "wrong_discount"),
        ("Pay 20% more for 6 months.", "wrong_discount"),
        ("We set your price 20% above ours for 6 months.", "wrong_discount"),
        ("Enjoy 20% off for 12 months.", "wrong_duration"),
        ("Enjoy 20% off for a year.", "wrong_duration"),
        ("Enjoy 20% off for a whole year.", "wrong_duration"),
        ("Enjoy 20% off for one and a half years.", "wrong_duration"),
        ("Enjoy 20% off for 6 weeks.", "wrong_duration"),
        ("Enjoy 20% off for two years and 6 months.", "wrong_duration"),
        ("Enjoy 20% off for a couple of months, 6 months.", "wrong_duration"),
        ("Enjoy 20% off for the next month, 6 months.", "wrong_duration"),
        ("Enjoy 20% off for 34 months with us.", "wrong_duration"),
        ("Enjoy 20% off for 6 months, then several months more.", "wrong_duration"),
        ("Enjoy 20% off.", "missing_offer"),
        ("We have something for you for 6 months.", "missing_offer"),
        ("We have a special discount for you.", "missing_offer"),
        ("Enjoy up to 20% off for 6 months.", "unclear_offer"),
        ("Enjoy 20% off for at least 6 months.", "unclear_offer"),
        ("You do not get 20% off for 6 months.", "unclear_offer"),
        ("You don't get 20% off for 6 months.", "unclear_offer"),
        ("20% off for 6 months if you sign.", "unclear_offer"),
        ("Enjoy 20% off for 6 months plus $50.", "other_number"),
        ("Enjoy 20% off for 6 months, twenty five dollars back.", "other_number"),
        ("Enjoy 20% off for 6 months. Double it today.", "other_number"),
        ("Enjoy 20% off for 6 months with a dozen films.", "other_number"),
        ("Enjoy 20% off for 3-6 months.", "other_number"),
        ("Enjoy 20% off for 6 months, 1,000 points.", "other_number"),
        ("Enjoy 2 0 % off, 20% off for 6 months.", "other_number"),
        ("Enjoy 5O% off, 20% off for 6 months.", "other_number"),
        ("Enjoy 20% off your TV package for 6 months.", "wrong_service"),
        ("Enjoy 20% off your phone plan for 6 months.", "wrong_service"),
        ("Your phone plan? Enjoy 20% off your fiber internet for 6 months.", "wrong_service"),
        ("Enjoy {discount} off, 20% off for 6 months.", "placeholder"),
        ("Dear {{name}}, enjoy 20% off for 6 months.", "placeholder"),
        ("Dear [Name], enjoy 20% off for 6 months.", "placeholder"),
        ("Dear <name>, enjoy 20% off for 6 months.", "placeholder"),
        ("Dear {first_name}, enjoy 20% off for 6 months.", "placeholder"),
        ("Enjoy 20% off for 6 months, guaranteed.", "banned_phrase"),
        ("Enjoy 20% off for 6 months. Risk-free.", "banned_phrase"),
        ("Enjoy 20% off for 6 months. It is yours for\nlife.", "banned_phrase"),
        ("Send us your password. Enjoy 20% off for 6 months.", "banned_phrase"),
        ("This is your last chance. 20% off for 6 months.", "pressure"),
        ("Write to care@example.com. 20% off for 6 months.", "personal_data"),
        ("See www.example.com. 20% off for 6 months.", "personal_data"),
        ("See bit.ly/x. 20% off for 6 months.", "personal_data"),
        ("Call 555 123 4567. 20% off for 6 months.", "personal_data"),
        ("Card 4111-1111-1111-1111. 20% off for 6 months.", "personal_data"),
        ("Your number is 7590-VHVEG. 20% off for 6 months.", "personal_data"),
        ("Maria says hello. 20% off for 6 months.", "other_person"),
        ("Dear Gwendolyn, 20% off for 6 months.", "other_person"),
        ("Dear Mr. Smith, 20% off for 6 months.", "other_person"),
        ("Еnjoy 20% off for 6 months.", "characters"),
        ("Enjoy 20% off for 6 months\u200b.", "characters"),
        ("Enjoy \u202e20% off for 6 months.", "characters"),
        ("Enjoy 20% off for ６ months.", "characters"),
        ("Enjoy 20% off for 6 months 🎉.", "characters"),
        ("Enjoy 20% off\x00 for 6 months.", "characters"),
        ("Enjoy 20% off for 6 months. We g u a r a n t e e it.", "characters"),
        ("Enjoy 20% off for 6 months. We f-o-r-e-v-e-r it.", "characters"),
        ("Enjoy ½ off and 20% off for 6 months.", "wrong_discount"),
        ("Enjoy 20% off for 6 months. " * 2, "repetition"),
        ("Enjoy 20% off you get this, you get this, 20% off for 6 months you get this you get this.", "repetition"),
        ("Enjoy 20% off for 6 months. " + "We like you " * 25 + ".", "length"),
    ],
)  # fmt: skip
def test_a_nasty_text_breaks_the_rule_that_is_about_it(offer, rule):
    assert rule in rules(text(offer))


def test_a_text_that_was_cut_off_is_unfinished():
    assert "unfinished" in rules(text()[:-12])


def test_a_few_words_are_too_short():
    assert "length" in rules("20% off for 6 months.")


def test_the_way_out_is_told_where_the_channel_needs_it():
    silent = text(last="Have a good day.")
    assert rules(silent) == {"opt_out"}
    assert rules(silent, SendRequest(channel="letter")) == set()
    assert rules(silent, opt_out_channels=["email"]) == set()


@pytest.mark.parametrize(
    ("hour", "quiet"), [("20:59", False), ("21:00", True), ("23:30", True), ("07:59", True), ("08:00", False)]
)
def test_the_customers_clock_decides_the_quiet_hours(hour, quiet):
    assert rules(text(), SendRequest(local_time=time.fromisoformat(hour))) == (
        {"quiet_hours"} if quiet else set()
    )


def test_quiet_hours_may_lie_within_a_day_or_be_left_out():
    noon = SendRequest(local_time=time(12, 30))
    assert rules(text(), noon, quiet_hours={"start": "12:00", "end": "13:00"}) == {"quiet_hours"}
    assert rules(text(), SendRequest(local_time=time(23, 0)), quiet_hours=None) == set()


@pytest.mark.parametrize(
    ("config", "written", "rule"),
    [
        ({"min_words": 40}, text(), "length"),
        ({"max_words": 20}, text(), "length"),
        ({"required": ["name"]}, text().replace("Hi {name}, ", ""), "missing_name"),
        ({"required": ["service"]}, text("Enjoy 20% off for 6 months."), "missing_service"),
        ({"banned_phrases": ["kind regards"]}, text(), "banned_phrase"),
        ({"pressure_phrases": ["reply yes"]}, text(), "pressure"),
        ({"generic_services": ["bill"]}, text("Enjoy 20% off your plan for 6 months."), "wrong_service"),
        ({"first_names": ["Yes"]}, text("Yes. Enjoy 20% off for 6 months."), "other_person"),
        ({"opt_out_phrases": ["leave the list"]}, text(), "opt_out"),
    ],
)
def test_every_key_reaches_its_rule(config, written, rule):
    assert rule in rules(written, **config)
    assert rule not in rules(text("Enjoy 20% off your fiber internet for 6 months. Please leave the list."))


def test_allowed_characters_are_config():
    assert "characters" in rules(text("Enjoy 20% off for 6 months, señor."))
    assert "characters" not in rules(text("Enjoy 20% off for 6 months, señor."), extra_characters="ñ")


def test_a_rule_that_only_warns_does_not_forbid():
    hurried = text("Act now. Enjoy 20% off for 6 months.")
    mild = Safety(SafetyRules(warn=("pressure",)), SERVICES).check(hurried, PERSON, OFFER)
    assert (set(mild.rules), mild.safe) == ({"pressure"}, True)
    strict = SAFETY.check(hurried, PERSON, OFFER)
    assert (strict.rules, strict.safe) == (("pressure",), False)


def test_a_violation_says_rule_reason_and_severity():
    (violation,) = SAFETY.check(text("Enjoy 25% off, 20% off for 6 months."), PERSON, OFFER).violations
    assert (violation.rule, violation.severity) == ("wrong_discount", "block")
    assert violation.reason == "says '25 %', expected 20%"


@given(
    pct=st.integers(1, 99),
    words=st.booleans(),
    unit=st.sampled_from(["%", " percent", " per cent", "-percent"]),
)
def test_exactly_the_offers_percentage_passes_in_digits_and_words(pct, words, unit):
    said = f"{in_words(pct) if words else pct}{' percent' if words and unit == '%' else unit}"
    assert ("wrong_discount" in rules(text(f"Enjoy {said} off for 6 months."))) == (pct != 20)


@given(number=st.integers(1, 99), words=st.booleans(), unit=st.sampled_from([("month", 1), ("year", 12)]))
def test_exactly_the_offers_duration_passes_in_digits_and_words(number, words, unit):
    name, months = unit
    said = f"{in_words(number) if words else number} {name}{'s' if number > 1 else ''}"
    assert ("wrong_duration" in rules(text(f"Enjoy 20% off for {said}."))) == (number * months != 6)


@given(number=st.integers(2, 10**7), words=st.booleans())
def test_any_further_number_is_refused(number, words):
    said = in_words(number % 98 + 2) if words else str(number)
    assert "other_number" in rules(text(f"Enjoy 20% off for 6 months and {said} films."))


@given(written=st.text(max_size=300))
def test_any_text_whatever_gets_a_verdict_and_always_the_same(written):
    first = SAFETY.check(written, PERSON, OFFER)
    assert first == SAFETY.check(written, PERSON, OFFER)
    assert first.safe == (not any(violation.severity == "block" for violation in first.violations))


@given(
    character=st.characters(exclude_categories=["Cs"]).filter(
        lambda c: not (" " <= c <= "~") and c not in "\n’‘“”–—…"
    )
)
def test_no_character_of_another_script_passes(character):
    assert "characters" in rules(text(f"Enjoy{character} 20% off for 6 months."))


@given(phrase=st.sampled_from(BANNED), upper=st.booleans(), gap=st.sampled_from([" ", "  ", "-", "\n"]))
def test_banned_phrases_are_found_however_they_are_set(phrase, upper, gap):
    said = phrase.replace(" ", gap)
    assert "banned_phrase" in rules(
        text(f"We say {said.upper() if upper else said} here, 20% off for 6 months.")
    )


def test_a_verdict_takes_well_under_a_millisecond():
    started = clock.process_time()
    for _ in range(500):
        SAFETY.check(text(), PERSON, OFFER)
    assert (clock.process_time() - started) / 500 < 5e-4
