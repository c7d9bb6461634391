"""Models of the smallest size that still go through every step; what they write makes no sense."""

from __future__ import annotations

import pandas as pd

from churn_assets.message.corpus.data import MessageCorpus, Preferences
from churn_assets.message.training.config import (
    ComputeConfig,
    FromScratch,
    PpoTextConfig,
    RewardModelConfig,
    SftModelConfig,
)

BASE = FromScratch(
    source="from_scratch", vocabulary=300, hidden_size=16, layers=1, heads=2, max_positions=400
)
COMPUTE = ComputeConfig(threads=1)
"""Tests share two cores; threads of several that compete for them are many times slower."""

SFT = SftModelConfig(
    compute=COMPUTE, base=BASE, max_steps=6, batch_size=4, warmup_steps=1, reports=2, max_length=400
)
REWARD = RewardModelConfig(
    compute=COMPUTE,
    counterfactual_pairs=300,
    max_steps=4,
    batch_size=4,
    warmup_steps=1,
    reports=2,
    max_length=400,
    normalisation_samples=16,
    max_new_tokens=12,
)
PPO = PpoTextConfig(
    compute=COMPUTE, steps=3, batch_size=8, mini_batch_size=4, max_new_tokens=12, checkpoint_steps=2
)


def few(table: MessageCorpus | Preferences, rows: int = 60) -> pd.DataFrame:
    """Some rows of every split."""
    return pd.concat(
        [table.of(split).head(rows) for split in ("train", "validation", "test")], ignore_index=True
    )
