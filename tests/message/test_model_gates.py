"""Each gate of the message models stops the failure that it is for, the predecessor's constant reward among them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from telco_texts import percent

from churn_assets.message.model import gates
from churn_assets.message.model.writing import Message, Situation
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import RuleViolation, Verdict
from churn_assets.message.text.template import Outgoing
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.gate_config import PpoTextGates, RewardGates, SftGates
from churn_assets.message.training.rollouts import shaped_reward

N = 200
SITUATIONS = [
    Situation(
        f"c{n}", Profile("phone plan" if n % 2 else "home internet", 50.0), percent((0.1, 0.3)[n % 4 // 2], 6)
    )
    for n in range(N)
]
PPO = PpoTextGates(prompts=N)


def failed(outcome):
    return {gate.name for gate in outcome.gates if not gate.passed}


def noise(seed, scale=0.1):
    return np.random.default_rng(seed).normal(0, scale, N)


def message(text="Hello {name}.", rules=(), *, ended=True, written_by="model"):
    verdict = Verdict(tuple(RuleViolation(rule, "", "block") for rule in rules))
    return Message(text, ended, Outgoing(text, written_by, verdict, waits=False))


def test_a_model_that_does_not_expect_what_people_write_fails():
    assert failed(gates.language(1.3, SftGates())) == set()
    assert failed(gates.language(9.0, SftGates())) == {"held_out_perplexity"}


def test_a_model_that_says_other_offers_fails_and_the_wrong_texts_are_shown_first():
    texts = [f"text {n}" for n in range(N)]
    right = np.arange(N) != 3
    assert failed(gates.copies_offer(SITUATIONS, texts, right, SftGates())) == set()
    right = np.arange(N) >= 20
    outcome = gates.copies_offer(SITUATIONS, texts, right, SftGates())
    assert failed(outcome) == {"offer_copied_share"}
    assert not any(row["right"] for row in outcome.tables["examples"])


RULES = ["percent", "name", "", ""] * (N // 4)


def ranked(margins, judge=None, right=None):
    return gates.ranks_pairs(margins, margins if judge is None else judge, right, RULES, RewardGates())


def test_a_reward_that_ranks_like_people_passes():
    assert failed(ranked(1.0 + noise(0))) == set()


def test_a_constant_reward_is_caught():
    assert {"accuracy_vs_ceiling", "spread_of_margins"} <= failed(ranked(np.zeros(N)))


def test_a_reward_that_is_no_better_than_chance_is_caught():
    assert "accuracy_vs_ceiling" in failed(ranked(noise(1)))


def test_a_reward_that_one_kind_of_edit_escapes_is_caught_and_the_rule_named():
    margins = np.where([rule == "name" for rule in RULES], -1.0, 1.0) + noise(2)
    outcome = ranked(margins)
    assert "worst_rule_accuracy" in failed(outcome)
    assert next(gate.detail for gate in outcome.gates if gate.name == "worst_rule_accuracy") == "name"


def test_a_judge_that_says_the_opposite_is_caught():
    assert failed(ranked(1.0 + noise(3), judge=-1.0 + noise(4))) == {"judge_disagreement"}


def test_the_ceiling_is_the_share_of_right_labels():
    """Nobody can rank as labelled where the label itself is wrong."""
    right = np.arange(N) % 20 != 0
    margins = np.where(right, 1.0, -1.0) + noise(5)
    assert failed(ranked(margins, right=right)) == set()
    assert "accuracy_vs_ceiling" in failed(
        ranked(np.where(np.arange(N) % 4 == 0, -margins, margins), right=right)
    )


OWN = 0.15


def test_rewards_of_the_published_model_pass_and_a_constant_1_is_caught():
    rewards = noise(6, 1.0)
    assert failed(gates.rewards_are_its_own(rewards, rewards, rewards, rewards, OWN)) == set()
    ones = np.ones(N)
    caught = failed(gates.rewards_are_its_own(ones, rewards, ones, rewards, OWN))
    assert caught == {"difference_from_reward_model", "difference_as_given", "spread_of_rewards"}


def test_rewards_of_another_model_are_caught():
    ours, others = noise(7, 1.0), noise(8, 1.0)
    assert "difference_from_reward_model" in failed(
        gates.rewards_are_its_own(others, ours, others, ours, OWN)
    )


def test_a_log_of_another_policys_training_is_caught():
    rewards = noise(8, 1.0)
    assert failed(gates.rewards_are_its_own(rewards, rewards, rewards, rewards, -0.2)) == {"log_is_its_own"}


def test_a_penalty_that_was_configured_and_ignored_is_caught():
    config, ended = PpoTextConfig(missing_eos_penalty=1.0), [n % 5 > 0 for n in range(N)]
    rewards = noise(9, 1.0)
    given = shaped_reward(rewards.astype(np.float32), [True] * N, config).astype(float)
    expected = shaped_reward(rewards.astype(np.float32), ended, config).astype(float)
    assert failed(gates.rewards_are_its_own(rewards, rewards, given, expected, OWN)) == {
        "difference_as_given"
    }


def test_a_training_that_logged_nothing_is_caught():
    nothing = np.zeros(0)
    assert "rewards_logged" in failed(gates.rewards_are_its_own(nothing, nothing, nothing, nothing, OWN))


def test_messages_that_are_no_better_than_before_are_caught():
    before = noise(10)
    assert failed(gates.better_than_sft(SITUATIONS, before + 0.2 + noise(11), before, "gold", PPO)) == set()
    assert "gain_lower_bound" in failed(gates.better_than_sft(SITUATIONS, before, before, "gold", PPO))


def test_a_gain_that_one_slice_pays_for_is_caught_and_the_slice_named():
    paid = np.array(
        [each.profile.service == "phone plan" and each.arm.terms.share_off == 0.3 for each in SITUATIONS]
    )
    gain = np.where(paid, -0.5, 0.6) + noise(12)
    services = np.where([each.profile.service == "phone plan" for each in SITUATIONS], -0.1, 0.6) + noise(13)
    assert failed(gates.better_than_sft(SITUATIONS, gain, np.zeros(N), "gold", PPO)) == set()
    caught = failed(gates.better_than_sft(SITUATIONS, services, np.zeros(N), "gold", PPO))
    assert caught == {"gain_service_phone plan"}


def test_messages_without_an_end_and_messages_for_everybody_are_caught():
    fine = [message(f"Hello {n}. See you {n}.") for n in range(N)]
    unended = [replace(each, ended=False) for each in fine]
    assert failed(gates.well_formed(SITUATIONS, fine, PPO)) == set()
    assert failed(gates.well_formed(SITUATIONS, unended, PPO)) == {"ended_share"}
    caught = failed(gates.well_formed(SITUATIONS, [message() for _ in range(N)], PPO))
    assert caught == {"unique_share", "common_sentence_share", "same_but_for_facts"}


def test_one_message_for_everybody_with_their_own_facts_is_no_variety():
    texts = [message(f"Your {at.profile.service} costs {n}% less.") for n, at in enumerate(SITUATIONS)]
    other = [message(f"Dear {{name}} number {n}. Take it.") for n in range(N)]
    facts = [
        replace(each, raw=f"Take {worth(at)} off your {at.profile.service}.")
        for each, at in zip(texts, SITUATIONS, strict=True)
    ]
    assert {"common_sentence_share", "same_but_for_facts"} <= failed(
        gates.well_formed(SITUATIONS, facts, PPO)
    )
    assert failed(gates.well_formed(SITUATIONS, other, PPO)) == {"common_sentence_share"}


def worth(situation):
    return f"{100 * situation.arm.terms.share_off:g}%"


def course(judge=None, kept=15):
    steps = np.arange(16)
    rising = steps / 8
    return gates.Course(rising, rising if judge is None else judge, np.full(16, 0.12), kept)


@pytest.mark.parametrize(("kl", "caught"), [(0.12, set()), (0.0, {"kl_at_least"}), (0.6, {"kl_at_most"})])
def test_a_policy_that_did_not_move_or_moved_too_far_is_caught(kl, caught):
    places = np.full(N, 40)
    assert failed(gates.stays_close(kl * places, places, course(), PPO)) == caught


STEPS = np.arange(16)
TURNED = np.where(STEPS < 6, STEPS / 4, 1.5 - (STEPS - 6) / 2)
BEFORE = np.zeros(N)


def over_optimised(judged, **of_training):
    return failed(gates.not_over_optimised(judged + noise(15), BEFORE, course(**of_training), 4, PPO))


def test_a_policy_that_games_its_reward_model_is_caught():
    assert over_optimised(BEFORE + 1.8) == set()
    assert over_optimised(BEFORE - 3, judge=TURNED) == {"judge_fall", "judge_gain"}


def test_a_policy_that_was_stopped_where_the_judge_turned_is_judged_by_the_step_it_kept():
    assert over_optimised(BEFORE + 1.2, judge=TURNED, kept=6) == set()


def test_published_weights_that_write_worse_than_those_that_were_trained_are_caught():
    assert over_optimised(BEFORE + 0.1) == {"judge_fall"}
    assert over_optimised(BEFORE - 0.1, judge=STEPS / 100) == {"judge_gain"}


def test_the_course_of_a_training_is_read_from_what_it_logged(tiny_policy, tiny_reward):
    config = PpoTextConfig()
    found = gates.course_of(tiny_policy, tiny_reward, config)
    rows = tiny_policy.rollouts
    assert len(found.reward) == rows["step"].nunique()
    first = rows[rows["step"] == 0]
    scaled = tiny_reward.reward.standardised(first["reward_logit"].to_numpy(np.float32))
    assert found.reward[0] == pytest.approx(scaled.mean(), abs=1e-5)
    assert found.kl[-1] == pytest.approx(
        np.average(
            rows[rows["step"] == found.kept]["kl"], weights=rows[rows["step"] == found.kept]["tokens"]
        ),
        abs=1e-6,
    )


def safe(messages, another=None, sent_only=None, sent_broken=None):
    no, yes = np.zeros(N, bool), np.ones(N, bool)
    return gates.safe_to_send(
        SITUATIONS,
        messages,
        no if another is None else another,
        yes if sent_only is None else sent_only,
        no if sent_broken is None else sent_broken,
        PPO,
    )


def test_safe_messages_pass_and_each_way_to_be_unsafe_is_caught():
    fine = [message() for _ in range(N)]
    few, one = np.arange(N) < 20, np.arange(N) == 7
    assert failed(safe(fine)) == set()
    broken = [message(rules=("banned_phrase",)) if n % 2 else message() for n in range(N)]
    assert failed(safe(broken)) == {"unsafe_raw_share", "replaced_raw_share"}
    pressing = [message(rules=("pressure",)) if n % 2 else message() for n in range(N)]
    assert failed(safe(pressing)) == {"replaced_raw_share"}
    unfinished = [message(ended=n % 2 == 0) for n in range(N)]
    assert failed(safe(unfinished)) == {"unsafe_raw_share", "replaced_raw_share"}
    assert failed(safe(fine, another=few)) == {"wrong_offer_raw_share"}
    assert failed(safe(fine, sent_only=~one)) == {"wrong_offer_sent"}
    assert failed(safe(fine, sent_broken=one)) == {"unsafe_sent"}


def test_too_few_messages_prove_nothing():
    outcome = gates.safe_to_send(
        SITUATIONS[:5], [message()] * 5, np.zeros(5, bool), np.ones(5, bool), np.zeros(5, bool), PPO
    )
    assert failed(outcome) == {"prompts"}


def test_messages_worse_than_the_champions_are_caught():
    ours = noise(14)
    assert failed(gates.no_worse_than(SITUATIONS, ours, ours, "gold", PPO)) == set()
    assert failed(gates.no_worse_than(SITUATIONS, ours - 0.2, ours, "gold", PPO)) == {
        "difference_from_champion"
    }


def test_labels_are_compared_with_the_gold_rules():
    good = "Hi {name}, thank you. You can now get 10% off your home internet for 6 months. Reply STOP to opt out."
    bad = "Act now. We guarantee you will never pay more."
    assert gates.labels_by_gold(SITUATIONS[:2], [good, bad], [bad, good]).tolist() == [True, False]
    assert pd.Series(gates.gold_scores(SITUATIONS[:1], [good])).between(-1, 1.1).all()
