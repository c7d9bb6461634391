"""What the gates of the message branch are measured on: what loaded models write, score and expect. Sets no threshold.

A model runs with as many threads as it was trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from churn_assets.arms import ArmConfig, Catalogue, Menu
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.report import Outcome
from churn_assets.message.config import MessagesConfig, SafetyRules
from churn_assets.message.corpus.data import Messages, Preferences
from churn_assets.message.model import gates
from churn_assets.message.model.audit import says_another, says_only
from churn_assets.message.model.gates import Booleans, Floats
from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.likelihood import divergence, mean_log_ratio, perplexity
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.writing import Message, Situation, situations_of, write_messages
from churn_assets.message.text.profile import profiles_of
from churn_assets.message.text.safety import Safety, safety_of
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.compute import device_of, threads
from churn_assets.message.training.config import PpoTextConfig, RewardModelConfig, SftModelConfig
from churn_assets.message.training.rollouts import TextPolicy, shaped_reward

MEASURED = 256
"""Messages along which KL divergence is measured: of 100 it varies by .004 around .144, of a trained quickstart."""


def menu_of(named: tuple[float | str, ...], arms: tuple[ArmConfig, ...], months: int, currency: str) -> Menu:
    """The arms that messages are about."""
    return Catalogue(arms, months, currency=currency).menu(named)


def safety_rules(rules: SafetyRules, texts: MessagesConfig, menu: Menu) -> Safety:
    """The rules of the experiment."""
    return safety_of(rules, texts.profile.service_texts, menu)


def sft_situations(
    customers: CustomerTable,
    messages: Messages,
    menu: Menu,
    currency: str,
    texts: MessagesConfig,
    config: SftModelConfig,
) -> list[Situation]:
    """Whom the SFT model writes to."""
    return _held_out(customers, messages, menu, currency, texts, config.gates.prompts)


def policy_situations(
    customers: CustomerTable,
    messages: Messages,
    menu: Menu,
    currency: str,
    texts: MessagesConfig,
    config: PpoTextConfig,
) -> list[Situation]:
    """Whom the policy writes to."""
    return _held_out(customers, messages, menu, currency, texts, config.gates.prompts)


def writer_of_sft(sft_model: LanguageModel, config: SftModelConfig) -> Writer:
    """The SFT model, ready to run."""
    return Writer.of(sft_model, str(device_of(config.compute)))


def writer_before(sft_model: LanguageModel, config: PpoTextConfig) -> Writer:
    """The SFT model, ready to run where the policy does."""
    return Writer.of(sft_model, str(device_of(config.compute)))


def writer_of_policy(ppo_text: TextPolicy, config: PpoTextConfig) -> Writer:
    """The policy, ready to run."""
    return Writer.of(ppo_text.model, str(device_of(config.compute)))


def messages_of_policy(
    writer: Writer, held_out: list[Situation], safety: Safety, seed: int, config: PpoTextConfig
) -> list[Message]:
    """What the policy writes to held-out customers, raw and as it would be sent."""
    return _written(writer, held_out, safety, seed, config)


def messages_before(
    before: Writer, held_out: list[Situation], safety: Safety, seed: int, config: PpoTextConfig
) -> list[Message]:
    """The same of the SFT model, for the first of them."""
    return _written(before, held_out[: config.gates.compared_prompts], safety, seed, config)


def learned_the_language(
    model: LanguageModel,  # noqa: ARG001 - its writer is at hand
    writer: Writer,
    messages: Messages,
    config: SftModelConfig,
) -> Outcome:
    """Expects the messages that were written to customers it never saw."""
    of_test = messages.of("test").head(config.gates.prompts)
    with threads(config.compute):
        found = perplexity(writer, of_test["prompt"].tolist(), of_test["completion"].tolist())
    return gates.language(found, config.gates)


def copies_the_offer(
    model: LanguageModel,  # noqa: ARG001 - its writer is at hand
    writer: Writer,
    held_out: list[Situation],
    seed: int,
    config: SftModelConfig,
) -> Outcome:
    """Says just the offer of its prompt to customers it never saw."""
    with threads(config.compute):
        written = generate(
            writer,
            [each.prompt for each in held_out],
            seed=seed,
            max_new_tokens=config.gates.max_new_tokens,
            greedy=True,
        )
    texts = [each[0].text for each in written]
    return gates.copies_offer(held_out, texts, _says_only(held_out, texts), config.gates)


def ranks_pairs(model: RewardModel, preferences: Preferences, config: RewardModelConfig) -> Outcome:
    """Ranks held-out pairs as people labelled them."""
    pairs = preferences.of("test")
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen, rejected = pairs["chosen"].tolist(), pairs["rejected"].tolist()

    def margins(which: Literal["reward", "judge"]) -> Floats:
        better, worse = (_scores(model, which, config, prompts, texts, whole) for texts in (chosen, rejected))
        margin: Floats = better - worse
        return margin

    right = None
    if preferences.simulated:
        known = zip(pairs["customer_id"], preferences.situations(pairs), strict=True)
        of_rows = [Situation(customer, *found) for customer, found in known if found]
        right = gates.labels_by_gold(of_rows, chosen, rejected)
    return gates.ranks_pairs(margins("reward"), margins("judge"), right, pairs["rule"].tolist(), config.gates)


def rewards_are_its_own(
    policy: TextPolicy, reward_model: RewardModel, writer: Writer, before: Writer, config: PpoTextConfig
) -> Outcome:
    """Every reward that the training logged is the reward model's, and the log is of the published weights."""
    logged = policy.rollouts
    prompts, texts, ended = (logged[name].tolist() for name in ("prompt", "text", "ended"))
    rescored = _scores(reward_model, "reward", config, prompts, texts, ended)
    given = shaped_reward(reward_model.reward.standardised(rescored), ended, config)
    last = logged[logged["step"] == gates.course_of(policy, reward_model, config).kept]
    with threads(config.compute):
        own = mean_log_ratio(writer, before, *(last[name].tolist() for name in ("prompt", "text", "ended")))
    return gates.rewards_are_its_own(
        logged["reward_logit"].to_numpy(float),
        rescored,
        logged["reward"].to_numpy(float),
        given.astype(float),
        own,
    )


def stays_close(
    policy: TextPolicy,
    reward_model: RewardModel,
    writer: Writer,
    before: Writer,
    held_out: list[Situation],
    written: list[Message],
    config: PpoTextConfig,
) -> Outcome:
    """Moved away from the SFT model, and no further than the KL target allows."""
    few = written[:MEASURED]
    prompts = [each.prompt for each in held_out[: len(few)]]
    with threads(config.compute):
        nats, places = divergence(
            writer, before, prompts, [each.raw for each in few], [each.ended for each in few]
        )
    return gates.stays_close(nats, places, gates.course_of(policy, reward_model, config), config.gates)


def not_over_optimised(
    policy: TextPolicy,
    reward_model: RewardModel,
    held_out: list[Situation],
    written: list[Message],
    written_before: list[Message],
    config: PpoTextConfig,
) -> Outcome:
    """A second reward model, on which nothing was trained, agrees that what is written is better."""
    compared = held_out[: config.gates.compared_prompts]
    return gates.not_over_optimised(
        _judged(reward_model, written[: len(compared)], compared, config),
        _judged(reward_model, written_before, compared, config),
        gates.course_of(policy, reward_model, config),
        config.judge_window,
        config.gates,
    )


def better_than_sft(
    policy: TextPolicy,  # noqa: ARG001 - what it writes is at hand
    preferences: Preferences,
    reward_model: RewardModel,
    held_out: list[Situation],
    written: list[Message],
    written_before: list[Message],
    config: PpoTextConfig,
) -> Outcome:
    """Better messages than the SFT model's for the same customers."""
    compared = held_out[: config.gates.compared_prompts]
    ours = _quality(preferences, reward_model, written[: len(compared)], compared, config)
    theirs = _quality(preferences, reward_model, written_before, compared, config)
    return gates.better_than_sft(compared, ours, theirs, _by(preferences), config.gates)


def well_formed(
    policy: TextPolicy,  # noqa: ARG001 - what it writes is at hand
    written: list[Message],
    config: PpoTextConfig,
) -> Outcome:
    """Messages come to an end, and customers get messages of their own."""
    return gates.well_formed(written, config.gates)


def safe_to_send(
    policy: TextPolicy,  # noqa: ARG001 - what it writes is at hand
    held_out: list[Situation],
    written: list[Message],
    safety: Safety,
    config: PpoTextConfig,
) -> Outcome:
    """Raw texts seldom break a rule or say another offer; what would be sent never does."""
    pairs = list(zip(held_out, written, strict=True))
    another = [says_another(text.raw, each.arm, each.profile.currency) for each, text in pairs]
    broken = [not safety.check(text.sent.text, each.profile, each.arm).safe for each, text in pairs]
    only = _says_only(held_out, [text.sent.text for text in written])
    return gates.safe_to_send(held_out, written, np.array(another), only, np.array(broken), config.gates)


def no_worse_than(
    policy: TextPolicy,  # noqa: ARG001 - what it writes is at hand
    champion: TextPolicy,
    preferences: Preferences,
    reward_model: RewardModel,
    held_out: list[Situation],
    written: list[Message],
    safety: Safety,
    seed: int,
    config: PpoTextConfig,
) -> Outcome:
    """No worse than the champion's messages for the same customers."""
    compared = held_out[: config.gates.compared_prompts]
    theirs = _written(writer_of_policy(champion, config), compared, safety, seed, config)
    return gates.no_worse_than(
        compared,
        _quality(preferences, reward_model, written[: len(compared)], compared, config),
        _quality(preferences, reward_model, theirs, compared, config),
        _by(preferences),
        config.gates,
    )


def _held_out(
    customers: CustomerTable,
    messages: Messages,
    menu: Menu,
    currency: str,
    texts: MessagesConfig,
    count: int,
) -> list[Situation]:
    """Customers that no model was fitted on, each with an offer; no prompt that was trained on."""
    known = frozenset(messages.of("train")["prompt"])
    profiles = profiles_of(customers.where(customers.held_out), texts.profile, currency)
    return situations_of(profiles, list(profiles), offers_of(menu, texts.durations), count, known)


def _written(
    writer: Writer, held_out: Sequence[Situation], safety: Safety, seed: int, config: PpoTextConfig
) -> list[Message]:
    with threads(config.compute):
        written = write_messages(
            writer,
            held_out,
            safety,
            seed=seed,
            max_new_tokens=config.max_new_tokens,
            sampling=config.sampling,
        )
    return [each[0] for each in written]


def _scores(
    model: RewardModel,
    which: Literal["reward", "judge"],
    config: RewardModelConfig | PpoTextConfig,
    prompts: Sequence[str],
    texts: Sequence[str],
    ended: Sequence[bool],
) -> npt.NDArray[Any]:
    with threads(config.compute):
        scorer = Scorer.of(model, which, str(device_of(config.compute)))
        return score(scorer, prompts, texts, ended).astype(float)


def _says_only(held_out: Sequence[Situation], texts: Sequence[str]) -> Booleans:
    """(n,) whether each text says its offer and no other number, by the second parser."""
    pairs = zip(held_out, texts, strict=True)
    return np.array([says_only(text, each.arm, each.profile.currency) for each, text in pairs], bool)


def _judged(
    reward_model: RewardModel,
    messages: Sequence[Message],
    held_out: Sequence[Situation],
    config: PpoTextConfig,
) -> Floats:
    """(n,) the judge's scores of raw texts, in standard deviations of the SFT model's."""
    prompts, ended = [each.prompt for each in held_out], [each.ended for each in messages]
    raw = _scores(reward_model, "judge", config, prompts, [each.raw for each in messages], ended)
    return reward_model.judge.standardised(raw).astype(float)


def _quality(
    preferences: Preferences,
    reward_model: RewardModel,
    messages: Sequence[Message],
    held_out: Sequence[Situation],
    config: PpoTextConfig,
) -> Floats:
    """(n,) how good raw texts are: by the gold rules where they labelled the pairs, else by the judge."""
    if preferences.simulated:
        return gates.gold_scores(held_out, [each.raw for each in messages])
    return _judged(reward_model, messages, held_out, config)


def _by(preferences: Preferences) -> str:
    """Who says how good a text is."""
    return "the gold rules" if preferences.simulated else "the judge"
