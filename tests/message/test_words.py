"""Words that matter: the simulated world, what is sent in it, what outcomes teach, and who is better by them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pandas as pd
import pytest
from telco_texts import MENU
from tiny_models import REWARD

from churn_assets.message.by_outcome import Outcomes, opponents_by_outcome
from churn_assets.message.config import PreferencesGates, SafetyRules
from churn_assets.message.corpus.data import SEND_COLUMNS
from churn_assets.message.corpus.format import PREFERENCES
from churn_assets.message.corpus.gates import pair_volume
from churn_assets.message.corpus.read import MessageFileError, read_sends
from churn_assets.message.corpus.sends import VARIANTS, draw_sends
from churn_assets.message.corpus.sentences import Choices, write_draft
from churn_assets.message.corpus.words_world import WordsWorld, rows_of, truth_of_messages
from churn_assets.message.model import gates
from churn_assets.message.model.author import OPPONENTS, authorship
from churn_assets.message.model.judge import Judge, said_in_prompt, with_signs
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.safety import safety_of
from churn_assets.message.text.template import plain_text
from churn_assets.message.text.terms import in_sentence, offers_of
from churn_assets.message.training.config import OutcomeWorth
from churn_assets.message.training.gate_config import PpoTextGates
from churn_assets.message.training.judge import fit_judge
from churn_assets.message.training.outcomes import LEARNED, OutcomeModel, pairs_by_outcome, untold
from churn_assets.message.training.reward import _sends, judges_pairs, owners, train_reward
from churn_assets.offers.economics import Economics

WORTH = OutcomeWorth()


@pytest.fixture(scope="module")
def world(telco):
    return WordsWorld(telco, MENU, Economics())


@pytest.fixture(scope="module")
def sent(world, telco, config):
    return draw_sends(world, telco, config, SafetyRules(), 10_000, seed=1)


@pytest.fixture(scope="module")
def sends(sent):
    return sent[0]


@pytest.fixture(scope="module")
def taught(sends):
    return OutcomeModel.fit(sends[sends["split"] == "train"].reset_index(drop=True), WORTH, LEARNED)


@pytest.fixture(scope="module")
def chosen(sent, taught, config):
    """Held-out situations, and for each the template's text and the best of some by what came of others' texts."""
    sends, profiles = sent
    known = sends[sends["split"] == "test"].drop_duplicates("customer_id").head(100)
    arms = [MENU[MENU.position[arm]] for arm in known["arm"]]
    situations = [Situation(c, profiles[c], arm) for c, arm in zip(known["customer_id"], arms, strict=True)]
    said = [
        untold(t, profiles[c], MENU[MENU.position[a]])
        for t, c, a in sends[["text", "customer_id", "arm"]].head(400).to_numpy()
    ]
    safety = safety_of(SafetyRules(), config.profile.service_texts, MENU)
    newcomer = replace(situations[0].profile, tenure_months=1)
    sendable = (
        each
        for each in said
        if each and safety.check(in_sentence(each, newcomer, arms[0]), newcomer, arms[0]).safe
    )
    said = list(islice(sendable, 12))
    texts = [[in_sentence(each, at.profile, at.arm) for each in said] for at in situations]
    worth = taught.expected(
        [at.prompt for at in situations for _ in said], [text for row in texts for text in row]
    )
    best = [row[k] for row, k in zip(texts, worth.reshape(-1, len(said)).argmax(1), strict=True)]
    template = [" " + plain_text(at.profile, at.arm, safety) for at in situations]
    return situations, template, best


@pytest.fixture(scope="module")
def composed(telco, world, sent, config):
    """Situations, the template's texts, and the corpus' own: any, and of four those liked best and worst in truth."""
    rng, (_, profiles) = np.random.default_rng(0), sent
    known = sent[0].drop_duplicates("customer_id").head(300)
    arms = [MENU[MENU.position[arm]] for arm in known["arm"]]
    situations = [Situation(c, profiles[c], arm) for c, arm in zip(known["customer_id"], arms, strict=True)]
    choices = Choices(offers_of(MENU, config.durations), config.profile.service_texts)
    drafts = [
        [write_draft(at.profile, at.arm, choices, 1.0, rng).completion for at in situations] for _ in range(4)
    ]
    worth = [_mean_worth(world, situations, each) for each in drafts]
    best, worst = (
        [drafts[place][row] for row, place in enumerate(find(worth, axis=0))]
        for find in (np.argmax, np.argmin)
    )
    safety = safety_of(SafetyRules(), config.profile.service_texts, MENU)
    template = [" " + plain_text(at.profile, at.arm, safety) for at in situations]
    return situations, template, drafts[0], best, worst


def _mean_worth(world, situations, texts, name="one"):
    """(n,) over what is not known of a customer: how sensitive to prices, and how often written to before."""
    known = [(at.customer, at.profile, at.arm) for at in situations]
    drawn = [_worth(truth_of_messages(world, known, {name: texts}, seed)[name]) for seed in range(10)]
    return np.mean(drawn, axis=0)


def _held_out(sends):
    """All of them as if held out: nothing here learns from the rest."""
    return Outcomes.of(sends.assign(split="test"), WORTH)


@pytest.fixture(scope="module")
def many(sends):
    return _held_out(sends)


@pytest.fixture(scope="module")
def indifferent(telco, sent):
    """Outcomes of the same texts in the world where words make no difference."""
    plain, (sends, profiles) = WordsWorld(telco, MENU, Economics(), words=False), sent
    few = sends.head(4000)
    known = [
        (c, profiles[c], MENU[MENU.position[a]]) for c, a in zip(few["customer_id"], few["arm"], strict=True)
    ]
    taken = truth_of_messages(plain, known, {"sent": few["text"].tolist()}, 1)["sent"]
    answers = plain.answer(taken, np.random.default_rng(0))
    return _held_out(few.assign(**{name: answers[name] for name in answers}))


def _worth(taken):
    return WORTH.of({"accepted": taken.accepts, "stayed": taken.stays, "complained": taken.complains})


def of_truth(world, situations, **written):
    return truth_of_messages(world, [(at.customer, at.profile, at.arm) for at in situations], written, 1)


def test_pressure_helps_once_and_hurts_later(sends):
    by = sends.groupby("variant")[["accepted", "stayed", "complained"]].mean()
    others = by.drop(index="pressing").mean()
    assert by.loc["pressing", "accepted"] > others["accepted"] + 0.03
    assert by.loc["pressing", "stayed"] < others["stayed"] - 0.01
    assert by.loc["pressing", "complained"] > others["complained"] + 0.01


def test_a_tone_is_taken_by_each_segment_in_its_own_way(sends):
    monthly = sends["prompt"].str.contains("Contract: monthly")
    accepted = sends.groupby([monthly, "variant"])["accepted"].mean()
    assert accepted[True, "friendly"] > accepted[True, "formal"] + 0.03
    assert accepted[False, "friendly"] < accepted[False, "formal"] - 0.01


def test_without_words_every_text_of_an_arm_is_taken_alike(telco, world, chosen):
    plain = WordsWorld(telco, MENU, Economics(), words=False)
    situations, template, best = chosen
    same, matters = (of_truth(each, situations, template=template, best=best) for each in (plain, world))
    assert np.allclose(same["best"].value, same["template"].value)
    assert np.allclose(same["best"].accepts, same["template"].accepts)
    assert not np.allclose(matters["best"].accepts, matters["template"].accepts)


def test_what_is_sent_says_with_which_propensity(sends):
    assert tuple(sends.columns) == SEND_COLUMNS
    assert sends["propensity"].to_list() == [VARIANTS[each] for each in sends["variant"]]
    shares = sends["variant"].value_counts(normalize=True)
    assert all(abs(shares[name] - share) < 0.02 for name, share in VARIANTS.items())
    assert {*sends["split"]} == {"train", "validation", "test"}


def test_what_outcomes_teach_is_better_than_the_template_in_the_worlds_truth(world, chosen):
    situations, template, best = chosen
    truth = of_truth(world, situations, template=template, best=best)
    assert (truth["best"].accepts - truth["template"].accepts).mean() > 0.015
    assert (truth["best"].value - truth["template"].value).mean() > 1


def test_held_out_outcomes_find_the_better_writer_and_their_interval_holds_the_truth(world, many, composed):
    situations, template, _, best, _ = composed
    (row,) = opponents_by_outcome(many, situations, best, {"template": template})
    true = (
        _mean_worth(world, situations, best) - _mean_worth(world, situations, template, "template")
    ).mean()
    assert 0 < row["low"] < true < row["high"]
    assert row["gain"] == pytest.approx(row["ours"] - row["theirs"])
    assert row["by"] == "outcomes of 10000 sends to held-out customers"
    (turned,) = opponents_by_outcome(many, situations, template, {"template": best})
    assert (turned["low"], turned["high"]) == pytest.approx((-row["high"], -row["low"]))


def test_the_model_writes_where_words_matter_and_the_template_where_not(many, indifferent, composed):
    situations, template, _, best, _ = composed
    rows, plain = (
        opponents_by_outcome(o, situations, best, {"template": template}) for o in (many, indifferent)
    )
    assert authorship(rows).author == "model"
    assert authorship(plain).author == "template"
    assert plain[0]["low"] < 0 < plain[0]["high"]


def test_texts_with_words_that_were_never_sent_are_not_compared_by_outcome(many, composed):
    situations, template, _, best, _ = composed
    strange = [f" Yo!{each}" for each in best]
    assert opponents_by_outcome(many, situations, strange, {"template": template}) == []


def test_a_text_that_was_sent_often_is_known_by_itself_facts_apart(many, composed):
    situations, template, *_ = composed
    (often,) = many.model.space.often
    facts = said_in_prompt(situations[0].prompt)
    assert often == with_signs(template[0], facts, situations[0].prompt).strip()


DRAWS, FEW, HELD = 40, 800, 34


@pytest.mark.parametrize("words", [True, False])
def test_an_interval_by_outcome_holds_the_truth_as_often_as_it_says(telco, sends, composed, words):
    """Of 40 draws of what came of 800 sends in at least 34: .997 of the time at .95, .03 of the time at .7."""
    world, rng = WordsWorld(telco, MENU, Economics(), words=words), np.random.default_rng(3)
    situations, template, *written, _ = composed
    prompts, customers = [at.prompt for at in situations], np.arange(len(situations))
    base = _mean_worth(world, situations, template, "template")
    true = [float((_mean_worth(world, situations, texts) - base).mean()) for texts in written]
    holds, above = np.zeros(2), np.zeros(2)
    arms = np.array([MENU.position[arm] for arm in sends["arm"]])
    services = [said_in_prompt(prompt)["Service"] for prompt in sends["prompt"]]
    for draw in range(DRAWS):
        rows = rng.choice(len(sends), FEW, replace=False)
        some = sends.iloc[rows].reset_index(drop=True)
        who = world.recipients(rows_of(world, some["customer_id"]), arms[rows], draw)
        said = [services[row] for row in rows]
        taken = world.reception(who, some["text"].tolist(), said, (some["variant"] == "template").to_numpy())
        model = OutcomeModel.fit(some.assign(**world.answer(taken, rng)), WORTH)
        for place, texts in enumerate(written):
            low, high = model.mean_gain(prompts, texts, template, customers).interval
            holds[place] += low <= true[place] <= high
            above[place] += true[place] < low
    assert holds.min() >= HELD
    assert above.max() <= 4


def test_too_few_held_out_sends_compare_nothing(sends):
    assert Outcomes.of(sends.head(300), WORTH) is None


def test_a_pair_by_outcome_prefers_what_is_taken_better_in_truth_and_tells_its_own_prompts_facts(
    world, sent, taught
):
    sends, profiles = sent
    train = sends[sends["split"] == "train"].head(1500).reset_index(drop=True)
    known = [
        (profiles[c], MENU[MENU.position[a]]) for c, a in zip(train["customer_id"], train["arm"], strict=True)
    ]
    pairs = pairs_by_outcome(train, known, taught, 300, seed=0)
    assert len(pairs) == 300
    at = {
        prompt: Situation(c, *each)
        for prompt, c, each in zip(train["prompt"], train["customer_id"], known, strict=True)
    }
    truth = of_truth(
        world, [at[each] for each in pairs["prompt"]], one=pairs["chosen"], two=pairs["rejected"]
    )
    gap = _worth(truth["one"]) - _worth(truth["two"])
    assert (gap > 0).mean() > 0.65
    assert gap.mean() > 0.03
    for prompt, *texts in pairs.itertuples(index=False):
        assert all("§other" not in with_signs(text, {"Offer": prompt}, prompt) for text in texts)


def test_the_judge_reads_words_and_facts_and_learns_from_outcomes_too(preferences, sends):
    train, test = preferences.of("train"), preferences.of("test").head(400)
    judged = judges_pairs(train["customer_id"], 1 / 3, 0)
    judge = Judge(fit_judge(train[judged], None, WORTH), 0.0, 1.0)
    whole = [True] * len(test)
    right = judge.score(test["prompt"], test["chosen"], whole) > judge.score(
        test["prompt"], test["rejected"], whole
    )
    assert right.mean() > 0.85
    prompt = "Service: DSL | Contract: monthly | Months with us: 3 | Bill: 50 | Offer: 20% off for 6 months\nMessage:"
    own, other = judge.score(
        [prompt] * 2, [" You get 20% off for 6 months.", " You get 30% off for 6 months."], [True] * 2
    )
    assert own > other


def test_a_judge_who_learned_from_outcomes_tells_the_better_liked_text_by_who_reads_it(
    preferences, sends, composed, world
):
    situations, _, _, best, worst = composed
    gap = _mean_worth(world, situations, best) - _mean_worth(world, situations, worst)
    far = np.argsort(-gap)[: len(gap) // 3]
    prompts, best, worst = (
        [each[row] for row in far] for each in ([at.prompt for at in situations], best, worst)
    )
    whole, right = [True] * len(far), {}
    for name, learned in {"pairs": None, "outcomes": sends[sends["split"] == "train"]}.items():
        judge = Judge(fit_judge(preferences.of("train").head(600), learned, WORTH), 0.0, 1.0)
        found = judge.score(prompts, best, whole) > judge.score(prompts, worst, whole)
        right[name] = found.mean()
    assert right["outcomes"] > max(0.6, right["pairs"] + 0.1)


def test_sends_that_were_drawn_otherwise_than_stated_are_caught(preferences, sent):
    def failed(sends):
        outcome = pair_volume(preferences.with_sends(sends, sent[1]), PreferencesGates())
        return {each.name for each in outcome.gates if not each.passed}

    sends = sent[0]
    assert failed(sends) == set()
    assert failed(sends.assign(propensity=sends["propensity"] * 0.8)) == {"sends_propensity_z"}
    assert failed(sends[sends["variant"] != "pressing"]) == {"sends_propensity_z"}


@pytest.mark.parametrize("better", [True, False])
def test_what_came_of_sends_decides_who_writes_against_what_gold_says(many, composed, better):
    situations, template, _, best, _ = composed
    ours, theirs = (best, template) if better else (template, best)
    rows = opponents_by_outcome(many, situations, ours, {"template": theirs})
    zeros, ones = np.zeros(len(situations)), np.ones(len(situations))
    by_gold = {"template": ones if better else -ones}
    found = gates.better_than_sft(situations, zeros, zeros - 1, "gold", PpoTextGates(), by_gold, rows).tables[
        OPPONENTS
    ]
    assert [each["by"].split()[0] for each in found] == ["outcomes", "gold"]
    decided = authorship(found)
    assert decided.author == ("model" if better else "template")
    assert "outcomes of 10000 sends" in decided.reason


def test_a_reward_learns_from_sends_and_its_judge_from_other_customers(some_preferences, sent, tiny_sft):
    few = sent[0].head(600).reset_index(drop=True)
    with_sends = some_preferences.with_sends(few, sent[1])
    model = train_reward(with_sends, tiny_sft, REWARD.model_copy(update={"outcome_pairs": 20}), seed=0)
    figures = model.record.figures
    assert figures["pairs_by_outcome"] == 20
    assert figures["sends"] + figures["judge_sends"] == (few["split"] == "train").sum()
    assert 0 < figures["judge_sends"] < figures["sends"]
    alone = judges_pairs(owners(some_preferences.of("train")), REWARD.judge_share, 0)
    ours, theirs = _sends(with_sends, {*some_preferences.of("train")["customer_id"][alone]}, REWARD, 0)
    assert not {*ours["customer_id"]} & {*theirs["customer_id"]}
    assert not {*ours["customer_id"]} & {*some_preferences.of("train")["customer_id"][alone]}


def test_errors_that_go_together_are_told_from_those_that_do_not():
    rng = np.random.default_rng(0)
    truth, shared, one, two = rng.normal(size=(4, 3000))
    assert gates.errors_together(truth + one, truth + two, truth) == pytest.approx(0, abs=0.06)
    assert gates.errors_together(truth + shared + one, truth + shared + two, truth) == pytest.approx(
        0.5, abs=0.06
    )
    assert gates.errors_together(truth, truth + two, truth) == 0.0


def test_sends_are_stored_beside_the_pairs(preferences, sent, tmp_path):
    some = preferences.with_sends(sent[0].head(50).reset_index(drop=True), sent[1])
    PREFERENCES.save(some, tmp_path)
    found = PREFERENCES.load(tmp_path)
    pd.testing.assert_frame_equal(found.sends, some.sends)
    (tmp_path / "sends.parquet").unlink()
    assert PREFERENCES.load(tmp_path).sends is None, "as of a version before"


ROW = {
    "arm": "percent_20",
    "months": 6,
    "text": "Hi {name}, 20% off for 6 months.",
    "variant": "a",
    "propensity": 0.5,
}
DONE = {"accepted": 1, "stayed": 1, "complained": 0}


def _file(tmp_path, rows):
    path = tmp_path / "sends.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_sends_of_ones_own_are_read_with_their_prompts(telco, config, tmp_path):
    rows = [{"customer_id": str(each), **ROW, **DONE} for each in telco.ids[:40]]
    frame, profiles = read_sends(_file(tmp_path, rows), telco, config, MENU)
    assert tuple(frame.columns) == SEND_COLUMNS
    assert frame["prompt"].str.contains("Offer: 20% off for 6 months").all()
    assert {*profiles} == {*frame["customer_id"]}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"propensity": 0}, "propensity: found 0, expected a number above 0 and up to 1"),
        ({"accepted": None}, r"accepted: found nothing, expected one of \[0, 1\]"),
        ({"customer_id": "nobody"}, "customer_id: found somebody else, expected one of the"),
        ({"text": " "}, "text: found ' ', expected a text"),
        ({"prompt": "x"}, "prompt: found an unknown field"),
        ({"propensity": 0.4}, "propensity: found 0.4 of 'a', expected 0.5 as in line 1"),
    ],
)
def test_a_wrong_send_is_named_by_line_and_field(telco, config, tmp_path, wrong, said):
    rows = [{"customer_id": str(each), **ROW, **DONE} for each in telco.ids[:40]]
    rows[1] |= wrong
    with pytest.raises(MessageFileError, match=rf"sends\.jsonl:2: {said}"):
        read_sends(_file(tmp_path, rows), telco, config, MENU)
