"""Fits the judge: pairs of customers that the reward model never learns from and, where there are any, their sends.

Nothing of it comes from the SFT model or its tokenizer: it starts from nothing, reads words by itself, and is linear.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from churn_assets.message.model.judge import SIZE, hashed
from churn_assets.message.training.config import OutcomeWorth
from churn_assets.message.training.outcomes import weights_of_sends

INVERSE_PENALTY = 3.0
"""Of a logistic regression, for pairs, which say nothing of who reads. Of 1,000 held-out pairs of one quickstart .903
are ranked right, and errors correlate with the reward's by .13 given gold; at 1, .913 and .15; by who reads too, .907
and .18."""
PENALTY = 100.0
"""Of what sends teach. Of 1,000 held-out pairs of one quickstart .891 are ranked right, and errors correlate with the
reward's by .15 given gold and what words do in the simulated world; at 300, .901 and .17."""


def fit_judge(
    pairs: pd.DataFrame, sends: pd.DataFrame | None, worth: OutcomeWorth
) -> npt.NDArray[np.float32]:
    """Weights of a judge: what tells the chosen text of a pair apart, and what was taken well; both count alike.

    Args:
        pairs: With prompt, chosen and rejected.
        sends: See `Preferences.sends`; None or empty: by pairs alone.
        worth: What an outcome counts.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen, rejected = (
        features(prompts, pairs[side].tolist(), whole, for_whom=False) for side in ("chosen", "rejected")
    )
    apart = chosen - rejected
    signs = np.where(np.arange(len(pairs)) % 2, -1.0, 1.0)  # a logistic regression wants both classes
    model = LogisticRegression(C=INVERSE_PENALTY, fit_intercept=False, max_iter=500)
    weights = model.fit(apart.multiply(signs[:, None]).tocsr(), signs).coef_[0]
    found = weights / (chosen @ weights).std()
    if sends is not None and len(sends):
        read = features(sends["prompt"].tolist(), sends["text"].tolist(), [True] * len(sends))
        outcome = worth.of(sends)
        taken = (
            Ridge(alpha=PENALTY, solver="lsqr")
            .fit(read, outcome, sample_weight=weights_of_sends(sends))
            .coef_
        )
        found = found + taken / (read @ taken).std()
    return np.asarray(found, np.float32)


def features(
    prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool], *, for_whom: bool = True
) -> sparse.csr_matrix:
    """(n, SIZE) 1 where a text has a feature; see `hashed`."""
    columns, ends = hashed(prompts, texts, ended, for_whom=for_whom)
    return sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), (len(texts), SIZE))
