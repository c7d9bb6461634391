"""What the models of the message branch must prove: thresholds only; gates.py measures and checks.py says when."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Prompts = Annotated[int, Field(ge=1)]


class _Gates(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SftGates(_Gates):
    """Thresholds for `sft_model`.

    Attributes:
        max_perplexity: A token of held-out messages.
        min_offer_copied: Share of greedy messages, for held-out customers, that say exactly the offer of the prompt.
        prompts: How many of those messages are written, and how many held-out ones are read.
        max_new_tokens: Most tokens of a message.
    """

    max_perplexity: Annotated[float, Field(gt=1)] = 1.6
    min_offer_copied: Share = 0.97
    prompts: Prompts = 300
    max_new_tokens: Prompts = 96


class RewardGates(_Gates):
    """Thresholds for `reward_model`.

    Attributes:
        min_accuracy_vs_ceiling: Share of held-out pairs ranked as labelled, over the share whose label is right by
            the gold rules (1 where no gold rules wrote the labels).
        min_hard_accuracy: The same for pairs that differ by a single edit.
        min_rule_accuracy: The same for the edits of each rule.
        min_rule_pairs: Rules with fewer held-out pairs are not judged alone.
        max_judge_disagreement: Share of held-out pairs that reward and judge rank in opposite ways.
        max_error_correlation: Partial correlation of reward and judge given the gold rules, where these wrote the
        labels.
    """

    min_accuracy_vs_ceiling: Share = 0.95
    min_hard_accuracy: Share = 0.85
    min_rule_accuracy: Share = 0.6
    min_rule_pairs: Prompts = 15
    max_judge_disagreement: Share = 0.25
    max_error_correlation: Share = 0.15


class PpoTextGates(_Gates):
    """Thresholds for `ppo_text`. Shares are of raw texts written for held-out customers, unless they say otherwise.

    Attributes:
        prompts: Texts that are written for them.
        compared_prompts: Of these, how many the SFT model (or the champion) answers too.
        min_gain: One-sided 95 % lower bound of the mean quality over the SFT model's.
        min_kl, max_kl: KL divergence of the published policy from the SFT model, nats a token, along those texts.
        min_ended: Texts that the model ended by itself.
        min_unique: Different texts.
        max_common_sentence: Texts that say the sentence that most of them do, the facts apart.
        max_same_but_for_facts: Texts that only repeat another, the facts apart.
        max_told_again: Customers whose next message says mostly what the one before said, though it was known.
        again_prompts: Customers who are written to once more for it.
        max_judge_fall: How far the judge's score of those texts may lie below the best of the training, in standard
            deviations of the SFT model's scores.
        min_judge_gain: How much higher it must be than of the SFT model's.
        max_unsafe: Texts that break a blocking rule about what is said: the template stands in for them.
        max_replaced: Texts for which it does for whatever reason, how things are said among them.
        max_wrong_offer: Texts that say an offer other than theirs, by the second parser: none can be written under the
            masks.
        min_slice_gain: As `min_gain`, for each offer level and each service with at least `min_slice_prompts`.
        min_slice_prompts: Smaller slices are not judged.
        champion_tolerance: How much lower than the champion's the mean quality's upper bound may be.
    """

    prompts: Prompts = 2000
    compared_prompts: Prompts = 600
    min_gain: float = 0.02
    min_kl: Annotated[float, Field(ge=0)] = 0.02
    max_kl: Annotated[float, Field(gt=0)] = 0.25
    min_ended: Share = 0.98
    min_unique: Share = 0.95
    max_common_sentence: Share = 0.6
    max_same_but_for_facts: Share = 0.25
    max_told_again: Share = 0.05
    again_prompts: Prompts = 200
    max_judge_fall: Annotated[float, Field(ge=0)] = 0.5
    min_judge_gain: float = 0.0
    max_unsafe: Share = 0.05
    max_replaced: Share = 0.05
    max_wrong_offer: Share = 0.0
    min_slice_gain: float = 0.0
    min_slice_prompts: Prompts = 40
    champion_tolerance: Annotated[float, Field(ge=0)] = 0.02
