"""What a policy wrote while it was trained, as tensors to learn from and as rows to prove it by."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from churn_assets.message.model.generation import Generated
from churn_assets.message.model.judge import said_in_prompt, with_signs
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.masks import Guide
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.tokenizer import batches_of_like_length
from churn_assets.message.training.compute import device_of
from churn_assets.message.training.config import PpoTextConfig

_SENTENCE = re.compile(r"[^.!?]+[.!?]?")
COLUMNS = ("step", "prompt", "text", "ended", "tokens", "reward", "reward_logit", "judge_logit", "kl")


@dataclass(frozen=True, eq=False)
class TextPolicy:
    """A language model trained against a reward model, with everything it wrote and was rewarded for on the way.

    Attributes:
        model: The policy.
        rollouts: One row a message in the order of training: step, prompt, text, ended (by itself), tokens,
            reward (as the policy got it: standardised, clipped, less penalties, without KL),
            reward_logit and judge_logit (raw), kl (nats a token from the SFT model; NaN where the algorithm does not
            tell it).
        sft_digest: Of the model that it started from.
        reward_digest: Of the reward model that it was trained against.
    """

    model: LanguageModel
    rollouts: pd.DataFrame
    sft_digest: str
    reward_digest: str


@dataclass(frozen=True, eq=False)
class Judged:
    """Rewards of some messages; each array is (n,) float32.

    Attributes:
        reward: As the policy gets it.
        standardised: By the reward model's statistics, before clip and penalty.
        judged: The judge's, standardised by its own.
        logit: Raw reward.
        judge_logit: Raw score of the judge.
    """

    reward: npt.NDArray[np.float32]
    standardised: npt.NDArray[np.float32]
    judged: npt.NDArray[np.float32]
    logit: npt.NDArray[np.float32]
    judge_logit: npt.NDArray[np.float32]


class Jury:
    """The reward network and the judge, ready to run."""

    def __init__(self, reward: RewardModel, config: PpoTextConfig, guide: Guide | None = None) -> None:
        self._reward, self._config, self._guide = reward, config, guide
        self._scorer = Scorer.of(reward, str(device_of(config.compute)))

    def of(self, prompts: Sequence[str], written: Sequence[Generated]) -> Judged:
        """Scores messages as configured."""
        texts, ended = [each.text for each in written], [each.ended for each in written]
        logit = score(self._scorer, prompts, texts, ended)
        judge_logit = self._reward.judge.score(prompts, texts, ended)
        standardised = self._reward.reward.standardised(logit)
        judged = self._reward.judge.standardised(judge_logit)
        refused = None if self._guide is None else self._guide.refused(prompts, texts)
        return Judged(
            shaped_reward(standardised, ended, self._config, refused, told_often(prompts, texts)),
            standardised,
            judged,
            logit,
            judge_logit,
        )


def shaped_reward(
    standardised: npt.NDArray[np.float32],
    ended: Sequence[bool],
    config: PpoTextConfig,
    refused: npt.NDArray[np.bool_] | None = None,
    often: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.float32]:
    """(n,) what the policy gets at the end of each message, KL apart.

    Args:
        standardised: (n,) rewards in standard deviations of the SFT model's.
        ended: (n,) whether each message came to an end.
        config: What is taken for what.
        refused: (n,) whether the safety rules forbid to send it, where that is known.
        often: (n,) how much of it the step's other messages say, see `told_often`.
    """
    found = standardised.clip(-config.reward_clip, config.reward_clip)
    found = found - config.missing_eos_penalty * ~np.asarray(ended, bool)
    if refused is not None:
        found = found - config.refused_penalty * refused
    if often is not None:
        found = found - config.told_often_penalty * often
    return found.astype(np.float32)


def told_often(prompts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """(n,) mean over a message's sentences of the share of the other messages that say it too, the facts apart."""
    said = [
        {each.strip() for each in _SENTENCE.findall(with_signs(text, said_in_prompt(prompt), prompt))}
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    count, others = Counter(sentence for each in said for sentence in each), max(1, len(texts) - 1)
    shares = [sum(count[each] - 1 for each in of) / others / len(of) if of else 0.0 for of in said]
    return np.array(shares, np.float32)


def rollout_rows(
    step: int,
    prompts: Sequence[str],
    written: Sequence[Generated],
    judged: Judged,
    kl: npt.NDArray[np.float32],
) -> pd.DataFrame:
    """One step's rows of `TextPolicy.rollouts`."""
    return pd.DataFrame(
        {
            "step": np.full(len(written), step, np.int64),
            "prompt": list(prompts),
            "text": [each.text for each in written],
            "ended": [each.ended for each in written],
            "tokens": np.array([len(each.tokens) for each in written], np.int64),
            "reward": judged.reward,
            "reward_logit": judged.logit,
            "judge_logit": judged.judge_logit,
            "kl": kl.astype(np.float32),
        }
    )


def prompts_of_step(prompts: Sequence[str], step: int, count: int, seed: int) -> list[str]:
    """The prompts of one step: every prompt is used once before any is used again, in an order of the seed's."""
    places = np.arange(step * count, (step + 1) * count)
    found: list[str] = []
    for round_ in np.unique(places // len(prompts)):
        order = np.random.default_rng([seed, int(round_)]).permutation(len(prompts))
        found += [prompts[row] for row in order[places[places // len(prompts) == round_] % len(prompts)]]
    return found


def seed_of_step(seed: int, step: int, purpose: int) -> int:
    """A seed of its own for everything random in a step, so that a resumed training needs no generator's state."""
    return int(np.random.SeedSequence([seed, step, purpose]).generate_state(1)[0])


@dataclass(frozen=True, eq=False)
class MiniBatch:
    """Messages of about one length, (n, length) each, prompts on the left.

    Attributes:
        rows: (n,) their places in the step.
        ids: Prompt and message, padded on both sides.
        mask: 1 where a token is.
        prompt_length: Columns that hold prompts.
        written: (n, length - prompt_length) float, 1 where the policy wrote a token.
    """

    rows: list[int]
    ids: torch.Tensor
    mask: torch.Tensor
    prompt_length: int
    written: torch.Tensor


def mini_batches(
    prompts: Sequence[Sequence[int]],
    written: Sequence[Sequence[int]],
    size: int,
    pad_id: int,
    device: torch.device,
) -> list[MiniBatch]:
    """Groups messages by length, so that a pass carries little padding."""
    batches = []
    for rows in batches_of_like_length(written, size):
        left, right = max(len(prompts[row]) for row in rows), max(len(written[row]) for row in rows)
        ids = torch.full((len(rows), left + right), pad_id)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            whole = [*prompts[row], *written[row]]
            place = slice(left - len(prompts[row]), left + len(written[row]))
            ids[number, place], mask[number, place] = torch.tensor(whole), 1
        batches.append(
            MiniBatch(rows, ids.to(device), mask.to(device), left, mask[:, left:].float().to(device))
        )
    return batches
