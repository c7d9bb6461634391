"""Every kind of arm in prompt, template, rules, audit and corpus: what is true passes, what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from telco_texts import ANY_MENU, EVERY_KIND, MENU, PROFILE, percent
from tiny_models import PPO, REWARD, SFT, few

from churn_assets.arms import NO_CONTACT, ArmConfig, Catalogue
from churn_assets.experiment import ExperimentError, load_experiment
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus import gold
from churn_assets.message.corpus.format import MESSAGES, PREFERENCES
from churn_assets.message.corpus.gates import (
    agrees_with_gold,
    message_volume,
    message_wording,
    pair_labels,
    pair_volume,
)
from churn_assets.message.corpus.phrases import SAID
from churn_assets.message.corpus.read import MessageFileError, read_messages
from churn_assets.message.corpus.sentences import (
    EDITS,
    Choices,
    edits_of,
    write_draft,
    write_message_corpus,
    write_preferences,
)
from churn_assets.message.model.audit import says_another, says_only
from churn_assets.message.text.profile import Profile, profiles_of, prompt_of
from churn_assets.message.text.quantities import read_quantities
from churn_assets.message.text.safety import SendRequest, safety_of
from churn_assets.message.text.template import TemplateError, check_templates, plain_text
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.reward import counterfactuals

ROOT = Path(__file__).parents[2]
SERVICES = MessagesConfig.model_validate({"profile": PROFILE}).profile.service_texts
PERSON = Profile("fiber internet", 57.4, 34, "monthly", "EUR")
SAFETY = safety_of(SafetyRules(), SERVICES, ANY_MENU)
ARMS = {arm.id: arm for arm in ANY_MENU}
CHOICES = Choices(offers_of(ANY_MENU, (3, 6, 12)), SERVICES, "EUR")
TEXT = "Hi {name}, thank you for being with us. %s Please reply. Kind regards, the care team. Reply STOP to opt out."
TOLD = {
    "percent_20": "Enjoy 20% off your fiber internet for 6 months.",
    "ten_off": "Enjoy 10 EUR off your fiber internet each month for 6 months.",
    "free_month": "Enjoy 1 free month of your fiber internet.",
    "router": "Enjoy a new router for your fiber internet.",
    "call": "We would like to hear how your fiber internet is working.",
}
OFFER_RULES = {
    "wrong_discount", "wrong_duration", "other_number", "other_offer", "unclear_offer", "missing_offer",
    "banned_phrase", "wrong_service",
}  # fmt: skip


def rules(arm_id: str, said: str) -> set[str]:
    return set(SAFETY.check(TEXT % said, PERSON, ARMS[arm_id]).rules)


@pytest.mark.parametrize(
    ("arm_id", "offer"),
    [
        ("percent_20", "20% off for 6 months"),
        ("ten_off", "10 EUR off a month for 6 months"),
        ("free_month", "1 free month"),
        ("router", "a new router"),
        ("call", "none, a call"),
    ],
)
def test_a_prompt_tells_the_terms_of_any_arm(arm_id, offer):
    assert prompt_of(PERSON, ARMS[arm_id]) == (
        f"Service: fiber internet | Contract: monthly | Months with us: 34 | Bill: 57 | Offer: {offer}\nMessage:"
    )


def test_what_is_true_of_an_arm_passes_and_is_another_arms_lie():
    for arm_id, said in TOLD.items():
        assert rules(arm_id, said) == set(), said
        assert says_only(TEXT % said, ARMS[arm_id], "EUR"), said
        for other in set(TOLD) - {arm_id}:
            assert rules(other, said) & OFFER_RULES, (other, said)
            assert not says_only(TEXT % said, ARMS[other], "EUR") or other == "call", (other, said)


@pytest.mark.parametrize(
    ("arm_id", "said"),
    [
        ("ten_off", "Take ten euros off your bill every month for half a year."),
        ("ten_off", "For the next 6 months you get EUR 10 off a month."),
        ("ten_off", "Save 10.00 euros on your monthly bill for six months."),
        ("ten_off", "Get 10 eur/month off your {service} for 6 months."),
        ("free_month", "Enjoy one month of your fiber internet free."),
        ("free_month", "A free month of your {service} is yours, feel free to ask."),
        ("free_month", "You get one month free."),
        ("router", "Enjoy your NEW ROUTER, as a thank you from us."),
        ("router", "As a small gift we send you a free new router."),
        ("call", "Feel free to tell us what you think of your {service}."),
    ],
)
def test_true_statements_in_other_words_pass(arm_id, said):
    assert rules(arm_id, said) == set()


@pytest.mark.parametrize(
    ("arm_id", "said", "rule"),
    [
        ("ten_off", "Enjoy 15 EUR off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy 10 USD off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy $10 off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy ten pounds off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy 10 cents off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy 10% off each month for 6 months.", "wrong_discount"),
        ("ten_off", "Pay 10 EUR more each month for 6 months.", "wrong_discount"),
        ("ten_off", "Enjoy 10 EUR off each month for 12 months.", "wrong_duration"),
        ("ten_off", "Enjoy up to 10 EUR off each month for 6 months.", "unclear_offer"),
        ("ten_off", "You do not get 10 EUR off each month for 6 months.", "unclear_offer"),
        ("ten_off", "Enjoy 10 EUR off for 6 months.", "unclear_offer"),
        ("ten_off", "Enjoy 10 off each month for 6 months.", "other_number"),
        ("ten_off", "Enjoy 10 EUR off each month.", "missing_offer"),
        ("ten_off", "Enjoy 10 EUR off each month for 6 months and a new router.", "other_offer"),
        ("ten_off", "Enjoy 10 EUR off your phone plan each month for 6 months.", "wrong_service"),
        ("percent_20", "Enjoy 20 EUR off each month for 6 months.", "other_number"),
        ("percent_20", "Enjoy 20% off for 6 months and a free tablet.", "other_offer"),
        ("percent_20", "Enjoy 20% off for 6 months and 1 free month.", "banned_phrase"),
        ("free_month", "Enjoy 2 free months of your fiber internet.", "wrong_duration"),
        ("free_month", "Enjoy a free year.", "wrong_duration"),
        ("free_month", "Enjoy one month of your fiber internet.", "unclear_offer"),
        ("free_month", "Enjoy at least 1 free month.", "unclear_offer"),
        ("free_month", "You get 1 free month if you stay.", "unclear_offer"),
        ("free_month", "Enjoy 1 free month and free films.", "other_offer"),
        ("free_month", "Enjoy 1 free month and 20% off.", "wrong_discount"),
        ("free_month", "Enjoy 1 free month and save money.", "other_offer"),
        ("free_month", "Enjoy 1 free month of your phone plan.", "wrong_service"),
        ("free_month", "We have something for you.", "missing_offer"),
        ("router", "Enjoy a new tablet.", "other_offer"),
        ("router", "Enjoy a new router and a pair of headphones.", "other_offer"),
        ("router", "Enjoy 2 new routers.", "other_number"),
        ("router", "Enjoy a new router and 1 free month.", "wrong_duration"),
        ("router", "Enjoy a new router and 10 EUR back.", "other_number"),
        ("router", "Enjoy a new router at a discount.", "other_offer"),
        ("router", "You may not get a new router.", "unclear_offer"),
        ("router", "You get a new router if you stay.", "unclear_offer"),
        ("router", "We have something for you.", "missing_offer"),
        ("call", "Enjoy 10% off.", "wrong_discount"),
        ("call", "We have an offer for you.", "other_offer"),
        ("call", "We have a better price for you.", "other_offer"),
        ("call", "Enjoy a free month.", "other_offer"),
        ("call", "Enjoy a new router.", "other_offer"),
        ("call", "Let us talk for 6 months.", "wrong_duration"),
        ("call", "We pay you 5 euros.", "other_number"),
    ],
)
def test_what_is_not_the_arms_is_named(arm_id, said, rule):
    assert rule in rules(arm_id, said)


def test_a_gift_may_be_called_by_words_that_are_banned_elsewhere():
    config = ArmConfig.model_validate(
        {"id": "card", "terms": {"kind": "gift", "gift": "a gift card of 5 GB", "cost": 5}}
    )
    menu = Catalogue(declared=(config,)).menu(("no_contact", "card"))
    safety = safety_of(SafetyRules(), SERVICES, menu)
    text = TEXT % "Enjoy a gift card of 5 GB for your fiber internet."
    assert safety.check(text, PERSON, menu[1]).violations == ()
    assert says_only(text, menu[1], "EUR")
    assert "banned_phrase" in SAFETY.check(text, PERSON, ARMS["router"]).rules


def test_an_arm_says_over_which_channel_its_text_goes():
    silent = (
        "Hi {name}, we would like to hear how your fiber internet is working. Kind regards, the care team."
    )
    assert SAFETY.check(silent, PERSON, ARMS["call"]).rules == ()
    assert SAFETY.check(silent, PERSON, ARMS["call"], SendRequest(channel="email")).rules == ("opt_out",)
    assert "opt_out" in SAFETY.check(silent, PERSON, ARMS["router"]).rules


@pytest.mark.parametrize(
    ("text", "value", "means"),
    [
        ("$10", 10, "USD"), ("10 $", 10, "USD"), ("10 EUR", 10, "EUR"), ("EUR 10", 10, "EUR"), ("€9.50", 9.5, "EUR"),
        ("9,50 €", 9.5, "EUR"), ("ten euros", 10, "EUR"), ("a 10-euro discount", 10, "EUR"), ("£1,000", 1000, "GBP"),
        ("50 cents", 0.5, "USD"), ("one dollar", 1, "USD"), ("twenty five Swiss", 25, ""), ("10 kr", 10, "SEK"),
        ("5 ALL", 5, "ALL"), ("100 JPY", 100, "JPY"),
    ],
)  # fmt: skip
def test_money_is_read_in_signs_codes_and_words(text, value, means):
    (quantity,) = read_quantities(text).found
    assert quantity.value == value
    assert quantity.unit == ("money" if means else "none")
    assert not means or means in quantity.currencies


def test_a_currency_belongs_to_one_number():
    found = read_quantities("10 EUR 5 films").found
    assert [(each.value, each.unit) for each in found] == [(10, "money"), (5, "none")]


@given(amount=st.integers(1, 200), currency=st.sampled_from(["EUR", "USD", "GBP", "SEK"]))
def test_exactly_the_arms_amount_and_currency_pass(amount, currency):
    said = f"Enjoy {amount} {currency} off your fiber internet each month for 6 months."
    assert (rules("ten_off", said) == set()) == (amount == 10 and currency == "EUR")
    assert says_only(TEXT % said, ARMS["ten_off"], "EUR") == (amount == 10 and currency == "EUR")


@given(
    parts=st.lists(
        st.sampled_from([*TOLD.values(), "Take 5 EUR off.", "2 free months.", "For a year."]), max_size=3
    )
)
def test_rules_and_audit_agree_on_what_is_another_offer_in_numbers(parts):
    for arm_id in ("percent_20", "ten_off"):
        text = TEXT % " ".join(parts)
        broken = set(SAFETY.check(text, PERSON, ARMS[arm_id]).rules) & {"wrong_duration", "other_number"}
        wrong = [
            each for each in SAFETY.check(text, PERSON, ARMS[arm_id]).violations if "says '" in each.reason
        ]
        broken |= {each.rule for each in wrong if each.rule == "wrong_discount"}
        assert bool(broken) == says_another(text, ARMS[arm_id], "EUR"), (arm_id, text)


def test_the_template_says_every_arm_safely():
    for service in SERVICES:
        profile = Profile(service, 20.0, currency="EUR")
        for arm in offers_of(ANY_MENU, (1, 3, 12)):
            text = plain_text(profile, arm, SAFETY)
            assert SAFETY.check(text, profile, arm).violations == ()
            assert says_only(text, arm, "EUR")
    assert "10 EUR off your fiber internet each month for 6 months" in plain_text(
        PERSON, ARMS["ten_off"], SAFETY
    )
    assert "1 free month of your fiber internet" in plain_text(PERSON, ARMS["free_month"], SAFETY)
    assert "offer you a new router." in plain_text(PERSON, ARMS["router"], SAFETY)
    assert "offer" not in plain_text(PERSON, ARMS["call"], SAFETY)


def test_a_template_of_percents_says_percents_and_names_the_key_for_any_other_arm():
    old = SafetyRules(
        template="Hi {name}, enjoy {percent}% off your {service} for {duration}. Reply STOP to opt out."
    )
    check_templates(old, MENU)
    text = plain_text(PERSON, percent(0.2, 6), safety_of(old, SERVICES, MENU))
    assert text == "Hi {name}, enjoy 20% off your fiber internet for 6 months. Reply STOP to opt out."
    wanted = r"safety\.template: found \{percent\}, which says nothing of arm 'ten_off'.*expected \{offer\}"
    with pytest.raises(TemplateError, match=wanted):
        check_templates(old, ANY_MENU)
    with pytest.raises(TemplateError, match=wanted):
        plain_text(PERSON, ARMS["ten_off"], safety_of(old, SERVICES, ANY_MENU))
    check_templates(old, (NO_CONTACT, ARMS["call"]))


def test_an_experiment_whose_template_cannot_say_its_menu_is_not_read(tmp_path):
    text = (ROOT / "configs" / "any_offer.yaml").read_text()
    template = "Hi {name}, enjoy {percent}% off your {service} for {duration}. Reply STOP to opt out."
    (tmp_path / "any_offer.yaml").write_text(
        text.replace("safety: {}", f'safety: {{ template: "{template}" }}')
    )
    with pytest.raises(
        ExperimentError, match=r"safety\.template: found \{percent\}, which says nothing of arm"
    ):
        load_experiment("any_offer", tmp_path)


def test_a_contact_template_that_offers_something_is_refused():
    with pytest.raises(ValueError, match=r"found \{offer\}; expected a text that offers nothing"):
        SafetyRules(contact_template="Hi {name}, we have {offer} for you.")


def test_every_arm_is_told_by_duration_only_where_it_runs():
    told = [(arm.id, arm.months) for arm in offers_of(ANY_MENU, (3, 6))]
    assert told == [
        ("percent_10", 3), ("percent_10", 6), ("percent_20", 3), ("percent_20", 6), ("ten_off", 3), ("ten_off", 6),
        ("free_month", 1), ("router", 0), ("call", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("arm", CHOICES.offers, ids=lambda arm: f"{arm.id}-{arm.months}")
def test_a_faultless_draft_about_any_arm_is_safe_and_nearly_the_best(arm):
    rng = np.random.default_rng(5)
    texts = [write_draft(PERSON, arm, CHOICES, 1.0, rng).completion for _ in range(150)]
    for text in texts:
        assert SAFETY.check(text, PERSON, arm).violations == (), text
        assert says_only(text, arm, "EUR"), text
    assert np.mean([gold.gold_score(PERSON, arm, text).total for text in texts]) > 0.85


def test_every_sentence_that_says_an_arm_is_true_of_it():
    for arm_id in TOLD:
        for sentence in (*SAID[ARMS[arm_id].terms.kind].told, *SAID[ARMS[arm_id].terms.kind].plain):
            assert "{percent}" not in sentence


@pytest.mark.parametrize("arm", CHOICES.offers, ids=lambda arm: f"{arm.id}-{arm.months}")
def test_a_single_edit_of_a_text_about_any_arm_costs_quality(arm):
    for rule in dict.fromkeys(edits_of(CHOICES, arm)):
        rng = np.random.default_rng(3)
        falls = []
        for _ in range(60):
            draft = write_draft(PERSON, arm, CHOICES, 1.0, rng)
            edited = EDITS[rule](draft, PERSON, arm, CHOICES, rng)
            before, after = (gold.gold_score(PERSON, arm, each.completion).total for each in (draft, edited))
            falls.append(before - after)
        assert np.mean(np.array(falls) > 0.05) > 0.3, rule


@pytest.fixture(scope="module")
def every_config(config) -> MessagesConfig:
    return config.model_copy(update={"rows": config.rows.model_copy(update={"train": 1500, "test": 600})})


@pytest.fixture(scope="module")
def any_messages(telco, every_config):
    return write_message_corpus(telco, every_config, SafetyRules(), ANY_MENU, 0, "EUR")


@pytest.fixture(scope="module")
def any_pairs(telco, config):
    # As many as configs/any_offer.yaml tests with: each kind of arm has edits of its own.
    asked = PreferencesConfig.model_validate({"rows": {"test": 1_500}})
    return write_preferences(telco, config, asked, SafetyRules(), ANY_MENU, 0, "EUR")


def test_the_corpus_tells_every_arm_equally_often_and_passes_its_gates(any_messages):
    train = any_messages.of("train")
    assert len(train.groupby(["arm", "months"])) == len(CHOICES.offers) == 12
    told = train.groupby("arm").size()
    assert told.max() - told.min() <= 3  # a round of all offers tells each arm three times
    gates = MessagesConfig.model_validate({"profile": PROFILE}).gates.model_copy(
        update={"min_distinct": 2000}
    )
    assert all(gate.passed for gate in message_volume(any_messages, gates).gates)
    assert all(gate.passed for gate in message_wording(any_messages, SAFETY, gates).gates)
    prompts = [prompt_of(*each) for each in any_messages.situations() if each is not None]
    assert prompts == any_messages.frame["prompt"].tolist()


def test_pairs_of_any_arm_pass_their_gates_and_break_every_rule_often_enough(any_pairs):
    config = PreferencesConfig()
    assert all(gate.passed for gate in pair_volume(any_pairs, config.gates).gates)
    assert all(gate.passed for gate in pair_labels(any_pairs, SAFETY, config).gates)
    assert agrees_with_gold(any_pairs).mean() == pytest.approx(1 - config.label_noise, abs=0.015)
    assert "percent" not in set(any_pairs.frame["rule"])
    assert "terms" in set(any_pairs.frame["rule"])


def test_facts_of_any_arm_are_set_against_another_prompts(any_pairs):
    pairs = any_pairs.of("train").head(600)
    made = counterfactuals(pairs, any_pairs.situations(pairs), 120, seed=0, alone=True)
    assert len(made) == 120
    for prompt, chosen, rejected in made.itertuples(index=False):
        assert chosen in prompt
        assert rejected not in prompt
    assert {" a new router", " 10 EUR", " 1 free month"} & set(made["chosen"])


def test_tables_of_any_arm_are_stored_and_come_back(any_messages, any_pairs, tmp_path):
    for form, table in ((MESSAGES, any_messages), (PREFERENCES, any_pairs)):
        folder = tmp_path / form.loader.split("/")[0]
        folder.mkdir()
        form.save(table, folder)
        read = form.load(folder)
        assert read.arms == table.arms
        assert read.situations() == table.situations()


def rows_about(telco, config, **other):
    arm = ARMS["free_month"]
    profiles = profiles_of(telco, config.profile, "EUR")
    plain = [{"prompt": f"Write to customer {n}.", "completion": f"Hello, number {n}."} for n in range(60)]
    customer = str(telco.ids[0])
    row = {"prompt": prompt_of(profiles[customer], arm), "completion": "Hi.", "customer_id": customer}
    return [row | {"arm": "free_month"} | other, *plain]


def test_ones_own_texts_name_any_arm_by_its_id(telco, config, tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows_about(telco, config))))
    made = read_messages(path, telco, config, ANY_MENU, currency="EUR")
    (known,) = [each for each in made.situations() if each is not None]
    assert known[1] == ARMS["free_month"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arm": "free_months"}, r":1: arm: found 'free_months', expected one of \['call', 'free_month'"),
        ({"arm": "ten_off"}, r":1: months: found nothing, expected one of \[3, 6, 12\]"),
        ({"months": 2}, r":1: months: found 2, expected one of \[1\]"),
        ({"offer_pct": 0.2}, r":1: arm: found beside offer_pct and offer_months"),
        ({"arm": "router"}, r":1: prompt: found .*, expected .*Offer: a new router"),
    ],
)
def test_an_arm_that_does_not_fit_is_named(telco, config, tmp_path, change, message):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n".join(map(json.dumps, rows_about(telco, config, **change))))
    with pytest.raises(MessageFileError, match=message):
        read_messages(path, telco, config, ANY_MENU, currency="EUR")


def test_the_menu_of_every_kind_has_every_kind():
    assert {arm.terms.kind for arm in ANY_MENU if arm.contacts} == set(SAID)
    assert EVERY_KIND.currency == "EUR"


def test_models_are_trained_on_texts_about_any_arm(any_messages, any_pairs):
    from churn_assets.message.training.ppo import train_ppo
    from churn_assets.message.training.reward import train_reward
    from churn_assets.message.training.sft import train_sft

    messages, pairs = (replace(table, frame=few(table)) for table in (any_messages, any_pairs))
    sft = train_sft(messages, SFT, seed=0, root=ROOT)
    reward = train_reward(pairs, sft, REWARD, seed=0)
    policy = train_ppo(sft, reward, messages, PPO, seed=0)
    assert reward.record.figures["counterfactual_pairs"] == REWARD.counterfactual_pairs
    assert set(policy.rollouts["prompt"]) <= set(messages.of("train")["prompt"])
