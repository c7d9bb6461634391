"""When does training against a reward model stop paying? Decided by a judge that no policy was trained against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class JudgeVerdict:
    """What the judge's scores say.

    Attributes:
        turned: They fell, by more than the tolerance, below their best.
        best_step: Last step of the window in which they were best.
        reason: In words.
    """

    turned: bool
    best_step: int
    reason: str


def judge_verdict(
    judge: Sequence[float], reward: Sequence[float], *, window: int, tolerance: float
) -> JudgeVerdict:
    """Has the judge turned against what the reward model asks for?

    Args:
        judge: Mean standardised score of each step's messages by the judge.
        reward: The same by the reward model.
        window: Steps that are averaged: single steps of few messages are noise.
        tolerance: Standard deviations below the best that count as turned.

    Raises:
        ValueError: There are no steps.
    """
    if not judge or len(judge) != len(reward):
        raise ValueError(
            f"found {len(judge)} steps of the judge and {len(reward)} of the reward, expected as many"
        )
    window = min(window, len(judge))
    judged, rewarded = (np.convolve(each, np.full(window, 1 / window), "valid") for each in (judge, reward))
    best = int(judged.argmax())
    fell = float(judged[best] - judged[-1])
    reason = (
        f"judge {judged[best]:+.2f} at its best (step {best + window - 1}), {judged[-1]:+.2f} now; "
        f"reward {rewarded[best]:+.2f} then, {rewarded[-1]:+.2f} now"
    )
    return JudgeVerdict(fell > tolerance, best + window - 1, reason)
