"""What is written under the masks says the facts of its prompt, whatever is drawn, and no other number."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from telco_texts import ANY_MENU, MENU, PROFILE

from churn_assets.arms import ArmConfig, Catalogue
from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.sentences import write_sendable
from churn_assets.message.measured import _apart
from churn_assets.message.model.audit import says_only
from churn_assets.message.model.generation import draw_tokens
from churn_assets.message.model.masks import TokenMasks, guide_of
from churn_assets.message.model.tokenizer import TextError, TextTokenizer, train_tokenizer
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.facts import prompt_facts
from churn_assets.message.text.languages.packs import LANGUAGES
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import safety_of
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.config import Sampling

SERVICES = tuple(rule["text"] for rule in PROFILE["services"])
RULES = SafetyRules()
SAFETY = safety_of(RULES, SERVICES, ANY_MENU)
OFFERS = offers_of(ANY_MENU, (3, 6, 12))
ROOM = 96


def situation(service, arm, currency="EUR", tenure=40):
    return Situation("", Profile(service, 50.0, tenure, "monthly", currency), arm)


SITUATIONS = [situation(service, arm) for service in SERVICES for arm in OFFERS]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    rng = np.random.default_rng(0)
    texts = [write_sendable(each.profile, each.arm, 0.8, SAFETY, rng).completion for each in SITUATIONS * 3]
    return train_tokenizer([*(each.prompt for each in SITUATIONS), *texts], 1024)


@pytest.fixture(scope="module")
def masks(tokenizer) -> TokenMasks:
    return TokenMasks(tokenizer, SafetyRules())


def facts(situations, rules=RULES, gifts=True):
    return [
        prompt_facts(each.profile, each.arm, LANGUAGES[rules.language], gifts=gifts) for each in situations
    ]


def draw(masks, tokenizer, situations, seed=0, room=ROOM, gifts=True, rules=RULES):
    """Texts whose tokens are drawn with equal probability from all that may follow."""
    rng = np.random.default_rng(seed)
    followed = masks.follow(facts(situations, rules, gifts), room)
    written = [[] for _ in situations]
    going = np.arange(len(situations))
    while len(going):
        allowed = followed.allowed(tokenizer.size)
        assert allowed.any(1).all()
        tokens = (rng.random(allowed.shape) * allowed).argmax(1)
        for row, token in zip(going, tokens, strict=True):
            written[row].append(int(token))
        on = tokens != tokenizer.eos_id
        followed.advance(tokens)
        followed.keep(on)
        going = going[on]
    return written


@pytest.mark.parametrize("room", [60, ROOM, 160])
def test_random_tokens_say_the_offer_service_and_name_of_every_prompt(masks, tokenizer, room):
    written = draw(masks, tokenizer, SITUATIONS, seed=room, room=room)
    assert max(map(len, written)) <= room
    for each, text in zip(SITUATIONS, tokenizer.decode(written), strict=True):
        assert says_only(_apart(text, each), each.arm, "EUR"), text
        assert each.profile.service.casefold() in text.casefold(), text
        assert "{name}" in text
        assert text.startswith(" ")
        assert text[-1] in ".!?"
        rules = set(SAFETY.check(text, each.profile, each.arm).rules)
        assert not rules & {
            "other_number",
            "missing_name",
            "placeholder",
            "unfinished",
        }


def test_every_message_of_the_corpus_may_be_written(masks, tokenizer):
    rng = np.random.default_rng(1)
    texts = [write_sendable(each.profile, each.arm, 0.6, SAFETY, rng).completion for each in SITUATIONS]
    rows = tokenizer.supervised([each.prompt for each in SITUATIONS], texts)
    written = [ids[start:] for ids, start in rows]
    allowed = masks.along(facts(SITUATIONS), written, 256, tokenizer.size)
    for text, row, ids in zip(texts, allowed, written, strict=True):
        assert row[range(len(ids)), ids].all(), text


@pytest.mark.parametrize(
    "service", ["5G plan", "Café-Tarif", "AT&T 100", "Twenty Plus", "free month club", "plan 6.0"]
)
def test_a_service_of_any_name_is_said_as_it_is(masks, tokenizer, service):
    situations = [situation(service, arm) for arm in OFFERS]
    written = draw(masks, tokenizer, situations, room=140)
    for each, text in zip(situations, tokenizer.decode(written), strict=True):
        assert service.casefold() in text.casefold(), text
        assert (
            says_only(_apart(text.replace(service.upper(), service), each), each.arm, "EUR")
            or service not in text
        ), text


def test_an_offer_of_a_large_menu_is_never_another(tokenizer):
    arms = Catalogue(
        declared=tuple(
            ArmConfig.model_validate(
                {"id": f"off_{place}", "terms": {"kind": "amount_off", "amount": number, "months": 6}}
            )
            for place, number in enumerate((1, 1.5, 10, 100, 105))
        ),
        discount_months=6,
        currency="USD",
    ).menu(("no_contact", 0.01, 0.015, 0.1, 0.125, "off_0", "off_1", "off_2", "off_3", "off_4"))
    situations = [situation("phone plan", arm, "USD") for arm in offers_of(arms, (1, 2, 12, 24))]
    masks = TokenMasks(tokenizer, SafetyRules())
    for each, text in zip(situations, tokenizer.decode(draw(masks, tokenizer, situations)), strict=True):
        assert says_only(_apart(text, each), each.arm, "USD"), text


@pytest.mark.parametrize("language", ["de", "es"])
def test_other_languages_count_in_their_own_words(tokenizer, language):
    rules = SafetyRules(language=language)
    masks = TokenMasks(tokenizer, rules)
    situations = [situation("home internet", arm) for arm in OFFERS]
    for each, text in zip(
        situations, tokenizer.decode(draw(masks, tokenizer, situations, rules=rules)), strict=True
    ):
        for form in (forms for forms in facts([each], rules)[0].required):
            assert any(one.casefold() in text.casefold() for one in form), text
        told = " ".join(form for forms in facts([each], rules)[0].required for form in forms)
        assert {*re.findall(r"\d+", text)} <= {*re.findall(r"\d+", told)}, text


def test_replayed_masks_are_those_that_were_drawn_under(masks, tokenizer):
    written = draw(masks, tokenizer, SITUATIONS[:8])
    allowed = masks.along(facts(SITUATIONS[:8]), written, ROOM, tokenizer.size)
    for row, ids in zip(allowed, written, strict=True):
        assert row[range(len(ids)), ids].all()
        assert row[len(ids) :].all()
        assert not row[: len(ids)].all()


def test_a_prompt_without_known_facts_may_go_on_with_anything(masks, tokenizer):
    followed = masks.follow([None, facts(SITUATIONS[:1])[0]], ROOM)
    free, held = followed.allowed(tokenizer.size + 3)
    assert free.all()
    assert not held.all()
    assert not held[tokenizer.size :].any()


def test_no_draw_falls_on_a_token_that_may_not_follow():
    logits = torch.tensor([[0.0, -torch.inf, 1.0, -torch.inf]]).repeat(3, 1)
    draws = torch.tensor([0.0, 0.5, np.nextafter(np.float32(1), np.float32(0))])
    assert set(draw_tokens(logits, draws, Sampling(top_p=1.0)).tolist()) <= {0, 2}


def test_a_fact_that_is_the_beginning_of_another_is_refused(masks):
    both = [situation("phone", MENU[1]), situation("phone plan", MENU[1])]
    with pytest.raises(TextError, match="that it begins with"):
        masks.follow(facts(both), ROOM)


def test_a_guide_knows_the_facts_of_its_prompts_alone(masks):
    guide = guide_of(masks, SAFETY, SITUATIONS[:2])
    known, unknown = guide.of([SITUATIONS[0].prompt, "Write something."])
    assert known is not None
    assert unknown is None
