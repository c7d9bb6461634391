"""Rewards of texts by a reward model: the same format in its training, in RL and afterwards. Trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from churn_assets.message.model.language_model import RewardModel
from churn_assets.message.model.tokenizer import TextTokenizer, batches_of_like_length, padded

BATCH = 64


@dataclass(frozen=True, eq=False)
class Scorer:
    """A reward network ready to run.

    Attributes:
        network: Sequence classifier with one output, in evaluation mode.
        tokenizer: Texts to ids.
    """

    network: Any
    tokenizer: TextTokenizer

    @classmethod
    def of(cls, model: RewardModel, device: str = "cpu") -> Scorer:
        """With a network of its own."""
        return cls(model.network().to(device), model.tokenizer)


def score(
    scorer: Scorer, prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool]
) -> npt.NDArray[np.float32]:
    """(n,) raw rewards of whole messages: `prompt + text`, and the end token where the text ended by itself.

    `RewardNetwork.standardised` puts them on the scale of RL.
    """
    with torch.no_grad():
        rows = scorer.tokenizer.rows(prompts, texts, ended)
        rewards = np.empty(len(rows), np.float32)
        for batch in batches_of_like_length(rows, BATCH):
            ids, mask = padded([rows[row] for row in batch], scorer.tokenizer.pad_id)
            device = scorer.network.device
            answer = scorer.network(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
            rewards[batch] = answer.logits[:, 0].float().cpu().numpy()
        return rewards
