"""The embedded tables pass their gates, and a table with one thing wrong fails the gate that is about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from churn_assets.message.config import MessagesGates, PreferencesConfig, PreferencesGates, SafetyRules
from churn_assets.message.corpus.data import MessageCorpus, Preferences
from churn_assets.message.corpus.format import MESSAGES, PREFERENCES
from churn_assets.message.corpus.gates import (
    agrees_with_gold,
    message_volume,
    message_wording,
    pair_labels,
    pair_volume,
    separate_splits,
)
from churn_assets.message.text.safety import Safety
from churn_assets.store.errors import CorruptArtifact


def failed(outcome) -> list[str]:
    return [gate.name for gate in outcome.gates if not gate.passed]


def changed(table, **columns):
    return replace(table, frame=table.frame.assign(**columns))


@pytest.fixture(scope="module")
def safety(config) -> Safety:
    return Safety(SafetyRules(), config.profile.service_texts)


def small(preferences) -> Preferences:
    return replace(preferences, frame=preferences.frame.iloc[::6].reset_index(drop=True))


def test_the_embedded_messages_pass(messages, telco, safety):
    assert failed(message_volume(messages, MessagesGates())) == []
    assert failed(separate_splits(messages, telco)) == []
    assert failed(message_wording(messages, safety, MessagesGates())) == []
    assert "generator" in message_volume(messages, MessagesGates()).gates[0].detail


def test_the_embedded_pairs_pass(preferences, telco, safety):
    assert failed(pair_volume(preferences, PreferencesGates())) == []
    assert failed(separate_splits(preferences, telco)) == []
    assert failed(pair_labels(small(preferences), safety, PreferencesConfig())) == []


def test_repeated_messages_fail_volume(messages):
    again = pd.concat([messages.frame.head(2900)] * 2, ignore_index=True)
    outcome = message_volume(replace(messages, frame=again), MessagesGates())
    assert failed(outcome) == ["distinct_messages", "rows_twice"]


def test_an_offer_hardly_told_fails_the_balance(messages):
    frame = messages.frame
    kept = frame[(frame["arm"] != "percent_30") | (frame.index % 5 == 0)].reset_index(drop=True)
    assert failed(message_volume(replace(messages, frame=kept), MessagesGates())) == ["offer_balance"]


def test_messages_with_an_address_or_foreign_characters_fail(messages, safety):
    texts = messages.frame["completion"].copy()
    texts[7], texts[8] = " Write to me@example.com.", " Привет."
    assert failed(message_wording(changed(messages, completion=texts), safety, MessagesGates())) == [
        "personal_data",
        "characters",
    ]


def test_messages_that_name_a_person_fail_and_the_report_says_the_row_and_not_the_name(messages, safety):
    texts = messages.frame["completion"].copy()
    texts[:] = " Hi Ottilie, thank you for being with us."
    outcome = message_wording(changed(messages, completion=texts), safety, MessagesGates())
    assert "other_person" in failed(outcome)
    (gate,) = (each for each in outcome.gates if each.name == "sendable_share")
    assert "break other_person, one is in row 1" in gate.detail or "other_person" not in gate.detail
    assert not any("Ottilie" in each.detail for each in outcome.gates)


@pytest.mark.parametrize("text", [" Dear Ottilie, it is good to have you.", " Write to me@example.com."])
@pytest.mark.parametrize("column", ["chosen", "rejected"])
def test_pairs_of_the_user_that_name_a_person_fail_by_row(preferences, safety, column, text):
    own = replace(small(preferences), simulated=False)
    own = replace(own, frame=own.frame[own.frame["rule"] == ""].reset_index(drop=True))
    assert failed(pair_labels(own, safety, PreferencesConfig())) == []
    texts = own.frame[column].copy()
    texts[3] = text
    outcome = pair_labels(changed(own, **{column: texts}), safety, PreferencesConfig())
    assert failed(outcome) == ["texts_that_name_somebody"]
    (gate,) = (each for each in outcome.gates if not each.passed)
    assert f"the first is {column} of row 4" in gate.detail


def test_sends_that_name_a_person_fail(preferences, safety):
    sends = pd.DataFrame({"text": [" Hi {name}, stay.", " Hello Ottilie, stay."]})
    outcome = pair_labels(replace(small(preferences), sends=sends), safety, PreferencesConfig())
    assert failed(outcome) == ["texts_that_name_somebody"]


def test_messages_that_could_not_be_sent_fail(messages, safety):
    spoilt = changed(messages, completion=messages.frame["completion"] + " Guaranteed.")
    outcome = message_wording(spoilt, safety, MessagesGates())
    assert failed(outcome) == ["safe_share", "sendable_share"]
    (gate,) = (each for each in outcome.gates if each.name == "sendable_share")
    assert "6400 break banned_phrase, one says '" in gate.detail


def test_texts_of_unknown_offers_are_held_to_the_other_rules(messages, safety):
    unknown = changed(messages, customer_id="", arm="", months=np.nan)
    outcome = message_wording(replace(unknown, profiles={}), safety, MessagesGates())
    assert failed(outcome) == []
    assert outcome.tables["quality"] == []


def test_a_row_moved_by_hand_fails_the_split(messages, telco):
    moved = messages.frame["split"].where(messages.frame.index != 3, "test")
    assert "rows_on_another_side" in failed(separate_splits(changed(messages, split=moved), telco))


def test_a_test_text_in_train_fails_the_split(messages, preferences, telco):
    for table, column in ((messages, "completion"), (preferences, "rejected")):
        texts = table.frame[column].copy()
        here, there = (int(np.flatnonzero(table.frame["split"] == side)[0]) for side in ("train", "test"))
        texts[there] = texts[here]
        assert failed(separate_splits(changed(table, **{column: texts}), telco)) == ["texts_on_two_sides"]


def test_a_test_prompt_in_train_fails_the_split(messages, telco):
    prompts = messages.frame["prompt"].copy()
    prompts[len(prompts) - 1] = prompts[0]
    assert failed(separate_splits(changed(messages, prompt=prompts), telco)) == ["prompts_on_two_sides"]


def test_few_pairs_and_a_text_against_itself_fail_volume(preferences):
    few = replace(
        preferences, frame=preferences.frame[preferences.frame.index % 9 == 0].reset_index(drop=True)
    )
    assert failed(pair_volume(few, PreferencesGates())) == ["train_pairs", "test_pairs", "rule_test_pairs"]
    same = preferences.frame["rejected"].where(preferences.frame.index != 5, preferences.frame["chosen"])
    assert failed(pair_volume(changed(preferences, rejected=same), PreferencesGates())) == [
        "pairs_of_one_text"
    ]


def test_labels_turned_round_fail(preferences, safety):
    pairs = small(preferences)
    turned = changed(pairs, chosen=pairs.frame["rejected"], rejected=pairs.frame["chosen"])
    assert failed(pair_labels(turned, safety, PreferencesConfig())) == ["unsafe_preferred", "label_noise_z"]


def test_pairs_that_contradict_each_other_are_told_and_fail_where_they_are_many(preferences, safety):
    frame = preferences.frame.head(60)
    opposite = frame.head(20).assign(chosen=frame["rejected"].head(20), rejected=frame["chosen"].head(20))
    both = replace(preferences, frame=pd.concat([frame, opposite], ignore_index=True))
    outcome = pair_labels(both, safety, PreferencesConfig())
    (gate,) = (each for each in outcome.gates if each.name == "contradicting_pairs")
    assert (gate.passed, gate.detail) == (False, "40 pairs are preferred the other way round as well")
    assert len(outcome.tables["contradicting"]) == 5


def test_less_noise_than_was_said_fails_too(preferences, safety):
    pairs = small(preferences)
    right = replace(pairs, frame=pairs.frame[agrees_with_gold(pairs)].reset_index(drop=True))
    assert failed(pair_labels(right, safety, PreferencesConfig())) == ["label_noise_z"]


def test_the_hidden_rules_judge_no_pair_of_an_unknown_offer(preferences):
    with pytest.raises(ValueError, match="row 0: customer and offer are unknown"):
        agrees_with_gold(replace(preferences, frame=preferences.frame.head(2), profiles={}))


def test_stored_tables_come_back_equal_and_equal_tables_are_equal_bytes(messages, preferences, tmp_path):
    for form, table in ((MESSAGES, messages), (PREFERENCES, preferences)):
        folders = [tmp_path / f"{form.loader.split('/')[0]}{n}" for n in range(2)]
        for folder in folders:
            folder.mkdir()
            form.save(table, folder)
        read = form.load(folders[0])
        pd.testing.assert_frame_equal(read.frame, table.frame)
        assert (read.profiles, read.simulated) == (table.profiles, True)
        assert form.signature(read) == form.signature(table)
        for path in folders[0].iterdir():
            assert path.read_bytes() == (folders[1] / path.name).read_bytes()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: replace(m, frame=m.frame.drop(columns="tone")), "columns"),
        (lambda m: changed(m, split="somewhere"), "somewhere"),
        (lambda m: replace(m, profiles={}), "without a profile"),
    ],
)
def test_a_stored_table_that_does_not_fit_together_is_refused(messages, tmp_path, spoil, message):
    MESSAGES.save(spoil(messages), tmp_path)
    with pytest.raises(CorruptArtifact, match=message):
        MESSAGES.load(tmp_path)


def test_an_unknown_side_of_the_split_is_an_error(messages: MessageCorpus):
    with pytest.raises(ValueError, match="expected one of train, validation, test"):
        messages.of("holdout")
