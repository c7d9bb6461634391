"""What the gates of the message branch are measured on: what loaded models write, score and expect. Sets no threshold.

A model runs with as many threads as it was trained with. A check whose first parameter is `_` looks at what the version
under test writes, which is made once for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_assets.arms import Menu
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Floats
from churn_assets.gates.report import Outcome
from churn_assets.message.by_outcome import Outcomes, opponents_by_outcome
from churn_assets.message.config import MessagesConfig
from churn_assets.message.corpus.data import MessageCorpus, Preferences
from churn_assets.message.corpus.sentences import write_sendable
from churn_assets.message.guides import guide_of_messages
from churn_assets.message.model import gates
from churn_assets.message.model.audit import says_another, says_only
from churn_assets.message.model.gates import Booleans
from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.likelihood import divergence, mean_log_ratio, perplexity
from churn_assets.message.model.masks import guide_of, masks_of
from churn_assets.message.model.repeats import said_again
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.writing import Message, Situation, situations_of, write_messages
from churn_assets.message.text.profile import profiles_of
from churn_assets.message.text.safety import SERVICE, Safety
from churn_assets.message.text.template import outgoing
from churn_assets.message.text.terms import offers_of
from churn_assets.message.training.compute import device_of, threads
from churn_assets.message.training.config import PpoTextConfig, RewardModelConfig, SftModelConfig
from churn_assets.message.training.rollouts import TextPolicy, shaped_reward, told_often

MEASURED = 256
"""Messages along which KL divergence is measured: of 100 it varies by .004 around .144, of a trained quickstart."""


TextSection = SftModelConfig | PpoTextConfig


@dataclass(frozen=True)
class Quality:
    """How good raw texts are.

    Attributes:
        by: Who says so.
        of: (n,) quality of messages for situations.
    """

    by: str
    of: Callable[[Sequence[Message], Sequence[Situation]], Floats]


def held_out_situations(
    customers: CustomerTable,
    messages: MessageCorpus,
    menu: Menu,
    currency: str,
    texts: MessagesConfig,
    config: TextSection,
) -> list[Situation]:
    """Customers that no model was fitted on, each with an offer; no prompt that was trained on."""
    known = frozenset(messages.of("train")["prompt"])
    profiles = profiles_of(customers.where(customers.held_out), texts.profile, currency)
    return situations_of(profiles, offers_of(menu, texts.durations), config.gates.prompts, known)


def writer_of_sft(sft_model: LanguageModel, config: TextSection) -> Writer:
    """The SFT model, ready to run where the model under test does."""
    return Writer.of(sft_model, str(device_of(config.compute)))


def writer_of_policy(ppo_text: TextPolicy, config: PpoTextConfig) -> Writer:
    """The policy, ready to run."""
    return Writer.of(ppo_text.model, str(device_of(config.compute)))


def messages_of_policy(
    writer: Writer, held_out: list[Situation], safety: Safety, seed: int, config: PpoTextConfig
) -> list[Message]:
    """What a model writes to held-out customers, raw and as it would be sent."""
    most, sampling = config.max_new_tokens, config.sampling
    with threads(config.compute):
        return write_messages(writer, held_out, safety, seed=seed, max_new_tokens=most, sampling=sampling)


def messages_before(
    before: Writer, held_out: list[Situation], safety: Safety, seed: int, config: PpoTextConfig
) -> list[Message]:
    """The same of the SFT model, for the first of them."""
    return messages_of_policy(before, held_out[: config.gates.compared_prompts], safety, seed, config)


def quality_of(preferences: Preferences, reward_model: RewardModel) -> Quality:
    """By the gold rules where they labelled the pairs, else by the judge."""
    if preferences.simulated:
        return Quality(
            "the gold rules", lambda messages, situations: gates.gold_scores(situations, _raw(messages))
        )
    return Quality("the judge", lambda messages, situations: _judged(reward_model, messages, situations))


def learned_the_language(
    _: LanguageModel, writer: Writer, messages: MessageCorpus, config: SftModelConfig
) -> Outcome:
    """Expects the messages that were written to customers it never saw."""
    of_test = messages.of("test").head(config.gates.prompts)
    with threads(config.compute):
        found = perplexity(writer, of_test["prompt"].tolist(), of_test["completion"].tolist())
    return gates.language(found, config.gates)


def copies_the_offer(
    _: LanguageModel, writer: Writer, held_out: list[Situation], seed: int, config: SftModelConfig
) -> Outcome:
    """Says just the offer of its prompt to customers it never saw."""
    prompts, most = [each.prompt for each in held_out], config.gates.max_new_tokens
    with threads(config.compute):
        written = generate(writer, prompts, seed=seed, max_new_tokens=most, greedy=True)
    texts = [each[0].text for each in written]
    return gates.copies_offer(held_out, texts, _says_only(held_out, texts), config.gates)


def ranks_pairs(model: RewardModel, preferences: Preferences, config: RewardModelConfig) -> Outcome:
    """Ranks held-out pairs as people labelled them."""
    pairs = preferences.of("test")
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen, rejected = pairs["chosen"].tolist(), pairs["rejected"].tolist()
    reward = _scores(model, config, prompts, chosen, whole) - _scores(model, config, prompts, rejected, whole)
    judge = model.judge.score(prompts, chosen, whole) - model.judge.score(prompts, rejected, whole)
    right, truths = None, list[Floats]()
    if preferences.simulated:
        known = zip(pairs["customer_id"], preferences.situations(pairs), strict=True)
        of_rows = [Situation(customer, *found) for customer, found in known if found]
        truths.append(gates.gold_scores(of_rows, chosen) - gates.gold_scores(of_rows, rejected))
        right = truths[0] > 0
        outcomes = None if preferences.sends is None else Outcomes.of(preferences.sends, config.worth)
        if outcomes is not None:  # both learned from outcomes too, of other customers
            truths.append(
                outcomes.model.expected(prompts, chosen) - outcomes.model.expected(prompts, rejected)
            )
    rules = pairs["rule"].tolist()
    return gates.ranks_pairs(reward, judge.astype(float), right, rules, config.gates, truths)


def rewards_are_its_own(
    policy: TextPolicy,
    reward_model: RewardModel,
    writer: Writer,
    before: Writer,
    messages: MessageCorpus,
    safety: Safety,
    config: PpoTextConfig,
) -> Outcome:
    """Every reward that the training logged is the reward model's, and the log is of the published weights."""
    logged = policy.rollouts
    prompts, texts, ended = (logged[name].tolist() for name in ("prompt", "text", "ended"))
    rescored = _scores(reward_model, config, prompts, texts, ended)
    refused = guide_of_messages(policy.model, messages, safety).refused(prompts, texts)
    often = np.zeros(len(logged), np.float32)
    for rows in logged.groupby("step").indices.values():
        often[rows] = told_often([prompts[row] for row in rows], [texts[row] for row in rows])
    given = shaped_reward(reward_model.reward.standardised(rescored), ended, config, refused, often)
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
    safety: Safety,
    config: PpoTextConfig,
) -> Outcome:
    """Moved away from the SFT model, and no further than the KL target allows."""
    few = written[:MEASURED]
    prompts = [each.prompt for each in held_out[: len(few)]]
    guide = guide_of(masks_of(writer.tokenizer, safety.rules), safety, held_out[: len(few)])
    with threads(config.compute):
        nats, places = divergence(writer, before, prompts, _raw(few), [each.ended for each in few], guide)
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
        _judged(reward_model, written[: len(compared)], compared),
        _judged(reward_model, written_before, compared),
        gates.course_of(policy, reward_model, config),
        config.judge_window,
        config.gates,
    )


def better_than_sft(
    _: TextPolicy,
    held_out: list[Situation],
    written: list[Message],
    written_before: list[Message],
    quality: Quality,
    preferences: Preferences,
    safety: Safety,
    messages: MessageCorpus,
    seed: int,
    config: PpoTextConfig,
) -> Outcome:
    """Better messages than the SFT model's for the same customers; what else could be sent beside them."""
    compared = held_out[: config.gates.compared_prompts]
    ours, theirs = (quality.of(each, compared) for each in (written[: len(compared)], written_before))
    texts = messages_of_opponents(compared, safety, seed, composed=messages.simulated)
    others = {name: quality.of(each, compared) for name, each in texts.items()}
    outcomes = None if preferences.sends is None else Outcomes.of(preferences.sends, config.worth)
    by_outcome = []
    if outcomes is not None:
        rivals = {name: _raw(each) for name, each in {**texts, "sft_model": written_before}.items()}
        by_outcome = opponents_by_outcome(outcomes, compared, _raw(written[: len(compared)]), rivals)
    return gates.better_than_sft(compared, ours, theirs, quality.by, config.gates, others, by_outcome)


def messages_of_opponents(
    situations: Sequence[Situation], safety: Safety, seed: int, *, composed: bool
) -> dict[str, list[Message]]:
    """What could be sent instead of a model's messages: the template and, of the embedded corpus, its best sentences.

    Raises:
        TemplateError: The template breaks a rule.
    """
    sent = [outgoing(None, each.profile, each.arm, safety) for each in situations]
    found = {"template": [Message(f" {each.text}", ended=True, sent=each) for each in sent]}
    if composed:
        rng = np.random.default_rng([seed, 7])
        texts = [write_sendable(each.profile, each.arm, 1.0, safety, rng) for each in situations]
        found["composer"] = [
            Message(text.completion, ended=True, sent=each) for text, each in zip(texts, sent, strict=True)
        ]
    return found


def well_formed(
    _: TextPolicy,
    writer: Writer,
    held_out: list[Situation],
    written: list[Message],
    safety: Safety,
    seed: int,
    config: PpoTextConfig,
) -> Outcome:
    """Messages come to an end, customers get messages of their own, and the next one says something else."""
    known = [
        replace(at, before=(each.sent.text,))
        for at, each in zip(held_out, written, strict=True)
        if each.sent.written_by == "model"
    ][: config.gates.again_prompts]
    after = messages_of_policy(writer, known, safety, seed + 1, config)
    again = [
        said_again(at, each.sent.text)
        for at, each in zip(known, after, strict=True)
        if each.sent.written_by == "model"
    ]
    return gates.well_formed(held_out, written, config.gates, again)


def safe_to_send(
    _: TextPolicy, held_out: list[Situation], written: list[Message], safety: Safety, config: PpoTextConfig
) -> Outcome:
    """Raw texts seldom break a rule or say another offer; what would be sent never does."""
    pairs = list(zip(held_out, written, strict=True))
    another = [says_another(_apart(text.raw, each), each.arm, each.profile.currency) for each, text in pairs]
    broken = [not safety.check(text.sent.text, each.profile, each.arm).safe for each, text in pairs]
    only = _says_only(held_out, [text.sent.text for text in written])
    return gates.safe_to_send(held_out, written, np.array(another), only, np.array(broken), config.gates)


def no_worse_than(
    _: TextPolicy,
    champion: TextPolicy,
    held_out: list[Situation],
    written: list[Message],
    quality: Quality,
    safety: Safety,
    seed: int,
    config: PpoTextConfig,
) -> Outcome:
    """No worse than the champion's messages for the same customers."""
    compared = held_out[: config.gates.compared_prompts]
    of_champion = messages_of_policy(writer_of_policy(champion, config), compared, safety, seed, config)
    ours, theirs = (quality.of(each, compared) for each in (written[: len(compared)], of_champion))
    return gates.no_worse_than(compared, ours, theirs, quality.by, config.gates)


def _scores(
    model: RewardModel,
    config: RewardModelConfig | PpoTextConfig,
    prompts: Sequence[str],
    texts: Sequence[str],
    ended: Sequence[bool],
) -> npt.NDArray[Any]:
    with threads(config.compute):
        scorer = Scorer.of(model, str(device_of(config.compute)))
        return score(scorer, prompts, texts, ended).astype(float)


def _apart(text: str, situation: Situation) -> str:
    """The text with a placeholder for the service: the second parser reads no number in its name."""
    return text.replace(situation.profile.service, SERVICE)


def _says_only(held_out: Sequence[Situation], texts: Sequence[str]) -> Booleans:
    """(n,) whether each text says its offer and no other number, by the second parser."""
    pairs = zip(held_out, texts, strict=True)
    return np.array(
        [says_only(_apart(text, each), each.arm, each.profile.currency) for each, text in pairs], bool
    )


def _judged(model: RewardModel, messages: Sequence[Message], situations: Sequence[Situation]) -> Floats:
    """(n,) the judge's scores of raw texts, in standard deviations of the SFT model's."""
    prompts, ended = [each.prompt for each in situations], [each.ended for each in messages]
    raw = model.judge.score(prompts, _raw(messages), ended)
    return model.judge.standardised(raw).astype(float)


def _raw(messages: Sequence[Message]) -> list[str]:
    return [each.raw for each in messages]
