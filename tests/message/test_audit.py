"""The second reader of offers: right by itself, of one mind with the rules, and of another make."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from number_words import in_words
from telco_texts import MENU, percent

from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.sentences import EDITS, Choices, offers_of, write_draft
from churn_assets.message.model import audit
from churn_assets.message.model.audit import said, says_another, says_only
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety

OFFER_RULES = {"wrong_discount", "wrong_duration", "other_number"}


@pytest.mark.parametrize(
    ("text", "percents", "months", "others"),
    [
        ("20% off for 6 months.", {20}, {6}, set()),
        ("twenty-five percent off for half a year", {25}, {6}, set()),
        ("twenty per cent off for twenty six weeks", {20}, {6}, set()),
        ("half price for a whole year", {50}, {12}, set()),
        ("half off, 3/4 off, three quarters off, a fifth off", {50, 75, 20}, set(), set()),
        ("½ off for 1½ years", {50}, {18}, set()),
        ("one and a half years", set(), {18}, set()),
        ("two and a half months", set(), {Fraction(5, 2)}, set()),
        ("12.5 percent for the next month", {Fraction(25, 2)}, {1}, set()),
        ("one hundred and five dollars", set(), set(), set()),
        ("two hundred, 1,000 points and a dozen films", set(), set(), {200, 1000, 12}),
        ("one of us, no one, another one", set(), set(), set()),
        ("20-30% off", {30}, set(), {20}),
        ("２０％ off for ６ months", {20}, {6}, set()),
        ("2\u200b0% off for 6 m\u043enths", {20}, {6}, set()),
        ("20pct off for 6mo", {20}, {6}, set()),
        ("every month of all the years", set(), set(), set()),
        ("", set(), set(), set()),
    ],
)
def test_the_reader_knows_what_is_said(text, percents, months, others):
    found = said(text)
    assert (found.percents, found.months, found.others) == (percents, months, others)


def test_only_the_offer_is_only_the_offer():
    offer = percent(0.125, 6)
    assert says_only("Enjoy 12.5% off for six months.", offer, "USD")
    assert not says_only("Enjoy 12.5% off.", offer, "USD")
    assert not says_only("Enjoy 12.5% off for six months and 2 films.", offer, "USD")
    assert says_another("Enjoy 12.5% off for six months and 2 films.", offer, "USD")
    assert not says_another("Enjoy 12.5% off.", offer, "USD")


def test_the_reader_shares_no_code_with_the_rules():
    tree = ast.parse(Path(audit.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} | {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert {name for name in imported if name and name.startswith("churn_assets")} <= {"churn_assets.arms"}
    assert "re" not in imported


def test_reader_and_rules_agree_on_the_messages_of_the_corpus(messages, config):
    safety = Safety(SafetyRules(), config.profile.service_texts)
    known = messages.situations(messages.of("test"))
    for (profile, offer), text in zip(known, messages.of("test")["completion"], strict=True):
        rules = set(safety.check(text, profile, offer).rules)
        assert bool(rules & OFFER_RULES) == says_another(text, offer, "USD"), text
        assert (not rules & {*OFFER_RULES, "missing_offer"}) == says_only(text, offer, "USD"), text


def test_reader_and_rules_agree_on_every_edit(config):
    safety, rng = Safety(SafetyRules(), config.profile.service_texts), np.random.default_rng(11)
    choices = Choices(offers_of(MENU, config.durations), config.profile.service_texts)
    profile = Profile("fiber internet", 57.0, 34, "monthly")
    for edit in EDITS.values():
        for offer in choices.offers:
            text = edit(
                write_draft(profile, offer, choices, 1.0, rng), profile, offer, choices, rng
            ).completion
            rules = set(safety.check(text, profile, offer).rules)
            assert bool(rules & OFFER_RULES) == says_another(text, offer, "USD"), text


NUMBERS = st.integers(1, 99).flatmap(lambda n: st.sampled_from([str(n), in_words(n), f"{n}.0"]))
UNITS = st.sampled_from(
    ["%", " percent", " per cent", " months", "-month", " years", " weeks", " dollars", " films", ""]
)
PHRASES = st.one_of(
    st.tuples(NUMBERS, UNITS).map("".join),
    st.sampled_from(
        ["half price", "half off", "a quarter off", "for half a year", "for a year", "for a whole year",
         "the next month", "one and a half years", "a dozen", "double", "every month", "all the years", "one of us",
         "1/2 off", "two thirds off"]
    ),
)  # fmt: skip


@given(
    phrases=st.lists(PHRASES, min_size=1, max_size=4),
    pct=st.sampled_from([0.05, 0.2, 0.5]),
    months=st.sampled_from([3, 6, 12]),
)
def test_reader_and_rules_agree_on_any_mixture_of_numbers(phrases, pct, months):
    text = f"Hi {{name}}, you get a discount: {', '.join(phrases)}. Thank you, the care team."
    safety = Safety(SafetyRules(), ("fiber internet",))
    found = safety.check(text, Profile("fiber internet", 57.0), percent(pct, months)).violations
    numbers = any(
        each.rule in OFFER_RULES and "as a discount" not in each.reason and "can be read" not in each.reason
        for each in found
    )
    assert numbers == says_another(text, percent(pct, months), "USD")


@given(text=st.text(max_size=200))
def test_any_text_can_be_read(text):
    said(text)
