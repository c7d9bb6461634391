"""What the embedded corpus writes: different texts, honest splits, room to learn, labels as noisy as it says."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from telco_texts import MENU, PROFILE, percent

from churn_assets.arms import Catalogue
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus import gold, phrases
from churn_assets.message.corpus import sentences as corpus
from churn_assets.message.corpus.data import SPLITS, splits_of
from churn_assets.message.corpus.gates import agrees_with_gold
from churn_assets.message.corpus.sentences import AGENTS, EDITS, Choices, CorpusError, edits_of, write_draft
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety
from churn_assets.message.text.terms import offers_of

CHOICES = Choices(offers_of(MENU, (3, 6, 12)), tuple(rule["text"] for rule in PROFILE["services"]))
PERSON = Profile("fiber internet", 57.0, 34, "monthly")
OFFER = percent(0.2, 6)
ONE = Catalogue().menu((0.0, 0.2))
OWN_EDITS = tuple(dict.fromkeys(edits_of(CHOICES, OFFER)))


def drafts(care: float, number: int = 400) -> list[str]:
    rng = np.random.default_rng(5)
    return [write_draft(PERSON, OFFER, CHOICES, care, rng).completion for _ in range(number)]


def quality(texts: list[str]) -> float:
    return float(np.mean([gold.gold_score(PERSON, OFFER, text).total for text in texts]))


def templates() -> list[str]:
    """Every sentence that a message about a percent off is composed of."""
    by_tone = (*phrases.OPENINGS.values(), phrases.LOYAL_OPENINGS.values(), *phrases.SIGN_OFFS.values())
    slots = (
        phrases.PLAIN_OPENINGS, phrases.ACKNOWLEDGEMENTS, phrases.RUDE_ACKNOWLEDGEMENTS, phrases.OFFERS,
        phrases.PLAIN_OFFERS, phrases.VAGUE_OFFERS, phrases.PROMISES, phrases.FILLERS, phrases.CALLS_TO_ACTION,
        phrases.PRESSING_CALLS, phrases.OPT_OUTS, phrases.GUSHES,
    )  # fmt: skip
    return [sentence for group in (*by_tone, *slots) for sentence in group]


def test_at_least_3000_messages_are_distinct_and_none_stands_twice(messages):
    assert messages.frame["completion"].nunique() == len(messages) >= 3000


def test_no_two_templates_are_alike_once_their_placeholders_are_masked():
    masked = [re.sub(r"[^a-z]+", " ", re.sub(r"\{\w+\}", "", text.lower())).strip() for text in templates()]
    assert len(masked) > 70
    assert len(set(masked)) == len(masked)


def test_thousands_of_messages_differ_in_more_than_offer_and_service(messages):
    masked = messages.frame["completion"]
    for service in CHOICES.services:
        masked = masked.str.replace(service, "", regex=False)
    assert masked.str.replace(r"\d+", "", regex=True).nunique() >= 3000


def test_every_tone_is_used_about_equally_often(messages):
    shares = messages.frame["tone"].value_counts(normalize=True)
    assert set(shares.index) == set(phrases.TONES)
    assert shares.min() > 0.2


@pytest.mark.parametrize("table", ["messages", "preferences"])
def test_customers_and_prompts_stand_on_one_side_of_the_split_of_both_tables(table, request, messages, telco):
    both = pd.concat(
        [messages.frame[["split", "prompt"]], request.getfixturevalue(table).frame[["split", "prompt"]]]
    )
    assert (both.groupby("prompt")["split"].nunique() == 1).all()
    frame = request.getfixturevalue(table).frame
    assert (frame["customer_id"].map(splits_of(telco)) == frame["split"]).all()
    assert set(frame["split"]) == set(SPLITS)


def test_every_offer_is_told_equally_often(messages):
    told = messages.of("train").groupby(["arm", "months"]).size()
    assert len(told) == 12
    assert told.max() - told.min() <= 1


def test_careful_agents_write_better_messages_and_faultless_ones_nearly_the_best():
    means = [quality(drafts(care)) for care in (*AGENTS, 1.0)]
    assert means == sorted(means)
    assert means[0] < 0.35
    assert means[-1] > 0.9


def test_every_message_to_imitate_may_be_sent_to_its_customer_about_its_arm(messages):
    safety = Safety(SafetyRules(), CHOICES.services)
    for who, text in zip(messages.situations(), messages.frame["completion"], strict=True):
        assert safety.check(text, *who).violations == (), text


def test_rules_that_let_nothing_of_the_corpus_pass_are_refused(telco, config):
    with pytest.raises(CorpusError, match="the corpus is English"):
        corpus.write_message_corpus(telco, config, SafetyRules(language="de"), MENU, seed=0)


def test_the_mixture_leaves_room_to_learn(messages):
    known = messages.situations()
    totals = [
        gold.gold_score(*who, text).total
        for who, text in zip(known, messages.frame["completion"], strict=True)
    ]
    assert 0.7 < np.mean(totals) < 0.85
    assert np.quantile(totals, 0.1) < 0.75


def test_a_faultless_draft_is_safe():
    safety = Safety(SafetyRules(), CHOICES.services)
    assert all(safety.check(text, PERSON, OFFER).violations == () for text in drafts(1.0))


@pytest.mark.parametrize("rule", OWN_EDITS)
def test_a_single_edit_costs_quality(rule):
    rng = np.random.default_rng(3)
    falls = []
    for _ in range(200):
        draft = write_draft(PERSON, OFFER, CHOICES, 1.0, rng)
        edited = EDITS[rule](draft, PERSON, OFFER, CHOICES, rng)
        falls.append(
            gold.gold_score(PERSON, OFFER, draft.completion).total
            - gold.gold_score(PERSON, OFFER, edited.completion).total
        )
    assert np.mean(np.array(falls) > 0.05) > 0.6


@pytest.mark.parametrize(
    ("rule", "component"),
    [
        ("percent", "wrong_offer"), ("months", "wrong_offer"), ("name", "name"), ("service", "service"),
        ("vague_offer", "exact_offer"), ("promise", "promise"), ("pressure", "rude"), ("sign_off", "sign_off"),
        ("opt_out", "opt_out"), ("truncation", "unfinished"), ("gush", "gush"),
    ],
)  # fmt: skip
def test_an_edit_breaks_the_rule_that_it_is_named_after(rule, component, preferences):
    frame = preferences.frame[preferences.frame["rule"] == rule]
    for who, chosen, rejected in zip(
        preferences.situations(frame), frame["chosen"], frame["rejected"], strict=True
    ):
        before, after = gold.gold_score(*who, chosen), gold.gold_score(*who, rejected)
        if before.total < after.total:
            before, after = after, before
        assert after.components[component] < before.components[component]


def test_hard_pairs_differ_in_one_edit_only(preferences):
    frame = preferences.frame[preferences.frame["rule"].isin(["percent", "months", "name"])]
    for chosen, rejected in zip(frame["chosen"], frame["rejected"], strict=True):
        one, other = chosen.split(), rejected.split()
        assert len(one) == len(other)
        assert 1 <= sum(a != b for a, b in zip(one, other, strict=True)) <= 2


def test_labels_agree_with_the_hidden_rules_but_for_the_noise(preferences):
    turned = 1 - agrees_with_gold(preferences).mean()
    assert turned == pytest.approx(PreferencesConfig().label_noise, abs=0.01)


def test_without_noise_every_label_agrees(telco, config):
    wanted = PreferencesConfig(label_noise=0.0, rows={"train": 300, "validation": 20, "test": 40})
    pairs = corpus.write_preferences(telco, config, wanted, SafetyRules(), MENU, seed=0)
    assert agrees_with_gold(pairs).all()


def test_a_safe_text_loses_to_an_unsafe_one_by_noise_only(preferences):
    safety = Safety(SafetyRules(), CHOICES.services)
    agreed = preferences.frame[agrees_with_gold(preferences)]
    for who, chosen, rejected in zip(
        preferences.situations(agreed), agreed["chosen"], agreed["rejected"], strict=True
    ):
        assert safety.check(chosen, *who).safe or not safety.check(rejected, *who).safe


def test_every_key_of_the_pairs_reaches_them(telco, config):
    wanted = PreferencesConfig(
        rows={"train": 90, "validation": 30, "test": 60}, edit_share=1.0, min_gap=0.6, label_noise=0.0
    )
    pairs = corpus.write_preferences(telco, config, wanted, SafetyRules(), MENU, seed=0)
    assert pairs.frame["split"].value_counts().to_dict() == {"train": 90, "test": 60, "validation": 30}
    assert (pairs.frame["kind"] == "edit").all()
    apart = wanted.model_copy(update={"edit_share": 0.0})
    pairs = corpus.write_preferences(telco, config, apart, SafetyRules(), MENU, seed=0)
    gaps = [
        gold.gold_score(*who, chosen).total - gold.gold_score(*who, rejected).total
        for who, chosen, rejected in zip(
            pairs.situations(),
            pairs.frame["chosen"],
            pairs.frame["rejected"],
            strict=True,
        )
    ]
    assert min(gaps) >= 0.6


def test_every_key_of_the_messages_reaches_them(telco):
    config = MessagesConfig.model_validate(
        {"profile": PROFILE, "durations": [2, 9], "rows": {"train": 50, "validation": 20, "test": 30}}
    )
    made = corpus.write_message_corpus(telco, config, SafetyRules(), MENU, seed=0)
    assert made.frame["split"].value_counts().to_dict() == {"train": 50, "test": 30, "validation": 20}
    assert set(made.frame["months"]) == {2.0, 9.0}


def test_one_seed_writes_one_corpus_and_another_writes_another(telco, config, messages):
    small = config.model_copy(update={"rows": config.rows.model_copy(update={"train": 200})})
    one, same = (
        corpus.write_message_corpus(telco, small, SafetyRules(), MENU, seed=7).frame for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not one["completion"].equals(
        corpus.write_message_corpus(telco, small, SafetyRules(), MENU, seed=8).frame["completion"]
    )


def test_more_messages_than_can_be_written_are_refused(telco, config, monkeypatch):
    monkeypatch.setattr(corpus, "TRIES", 1)
    with pytest.raises(CorpusError, match=r"messages\.rows: found \d+ different messages"):
        corpus.write_message_corpus(telco, config, SafetyRules(), ONE, seed=0)


def test_one_offer_and_one_service_still_make_pairs(telco):
    config = MessagesConfig.model_validate({"profile": {"services": [{"text": "plan"}]}, "durations": [6]})
    wanted = PreferencesConfig(rows={"train": 100, "validation": 10, "test": 10}, edit_share=1.0)
    pairs = corpus.write_preferences(telco, config, wanted, SafetyRules(), ONE, seed=0)
    assert not set(pairs.frame["rule"]) & {"percent", "months", "service"}
