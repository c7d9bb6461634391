"""What PPO and GRPO share: the diary of a training against a reward model, from the first message to the policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from churn_assets.message.model.generation import Generated
from churn_assets.message.model.language_model import (
    LanguageModel,
    ModelError,
    RewardModel,
    TrainingRecord,
    architecture_of,
    weights_of,
)
from churn_assets.message.model.masks import Guide
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.over_optimisation import judge_verdict
from churn_assets.message.training.rollouts import Judged, Jury, TextPolicy, rollout_rows
from churn_assets.message.training.supervised import merged
from churn_assets.store.files import read_json, read_parquet, write_json, write_parquet

SAMPLES = 2
KL_BAND = 0.2
"""Relative distance from the target at which the weight of KL changes as fast as it may."""

LEAST_BETA = 1e-4
"""A weight that is steered never reaches 0, from where it could not rise again."""

_ROLLOUTS, _BEST = "rollouts.parquet", "best.safetensors"


def next_beta(beta: float, kl: float, target: float, gain: float) -> float:
    """The weight of KL in the next step: higher where the policy strayed further than the target, else lower."""
    if not gain or not beta:
        return beta
    error = min(max((kl / target - 1) / KL_BAND, -1.0), 1.0)
    return max(beta * (1 + gain * error), LEAST_BETA)


class Diary:
    """Keeps what a policy wrote and got for it, weighs KL, and heeds the judge.

    Attributes:
        jury: Gives the rewards.
        beta: Weight of KL in the next step.
        turned: Why the judge ends the training; empty where it does not.
    """

    def __init__(
        self, sft: LanguageModel, reward: RewardModel, config: PpoTextConfig, guide: Guide | None = None
    ) -> None:
        """An empty one.

        Args:
            sft: Where the policy starts.
            reward: What it is trained against.
            config: The section `ppo_text`.
            guide: Knows which texts the safety rules forbid.

        Raises:
            ModelError: The reward model reads texts by another tokenizer, or was trained from another SFT model.
        """
        _check_lineage(sft, reward)
        self._sft, self._reward, self._config = sft, reward, config
        self.jury = Jury(reward, config, guide)
        self.beta, self.turned = config.init_beta, ""
        self._curve: list[dict[str, float | None]] = []
        self._rollouts: list[pd.DataFrame] = []
        self._best: dict[str, torch.Tensor] = {}

    @property
    def pages(self) -> int:
        """Steps that were written down."""
        return len(self._curve)

    @property
    def latest(self) -> dict[str, float]:
        """Figures of the last step."""
        return {key: value for key, value in self._curve[-1].items() if key != "step" and value is not None}

    @property
    def shown(self) -> list[str]:
        """A few texts of the last step."""
        rows = self._rollouts[-1].tail(SAMPLES)
        return [prompt + text for prompt, text in zip(rows["prompt"], rows["text"], strict=True)]

    def write(
        self,
        prompts: Sequence[str],
        written: Sequence[Generated],
        judged: Judged,
        *,
        tokens: float,
        by_text: npt.NDArray[np.float32] | None = None,
        **figures: float,
    ) -> None:
        """Writes down the messages of a step.

        Args:
            prompts: Of each message.
            written: The messages.
            judged: What they got.
            tokens: Their mean length.
            by_text: (n,) nats a token of each from the SFT model, where they are known.
            figures: Of the step, besides those that are found here.
        """
        step = self.pages
        kl = np.full(len(written), np.nan, np.float32) if by_text is None else by_text
        self._rollouts.append(rollout_rows(step, prompts, written, judged, kl))
        self._curve.append(
            {
                "step": step,
                "reward": float(judged.standardised.mean()),
                "judge": float(judged.judged.mean()),
                **figures,
                "ended": float(np.mean([each.ended for each in written])),
                "unique": len({each.text for each in written}) / len(written),
                "tokens": tokens,
            }
        )

    def add(self, **figures: float) -> None:
        """Adds figures to those of the last step."""
        self._curve[-1].update(figures)

    def ask_the_judge(self, policy: Any) -> None:
        """Has the judge turned? Else what is trained of the policy is kept, where it wrote the best step so far."""
        config = self._config
        if not config.stop_when_judge_turns:
            return
        verdict = judge_verdict(
            [each["judge"] or 0.0 for each in self._curve],
            [each["reward"] or 0.0 for each in self._curve],
            window=config.judge_window,
            tolerance=config.judge_tolerance,
        )
        if verdict.turned:
            self.turned = verdict.reason
        elif verdict.best_step == self.pages - 1:
            self._best = copied(trainables(policy))

    def steer(self, kl: float) -> None:
        """Sets the weight of KL in the next step, after this one's."""
        self.beta = next_beta(self.beta, kl, self._config.target_kl, self._config.kl_gain)

    def save(self, file: Path, **more: int) -> None:
        """Writes all of it into the folder of a checkpoint, as safetensors, Parquet and JSON; `file` is the last."""
        write_parquet(pd.concat(self._rollouts, ignore_index=True), file.with_name(_ROLLOUTS))
        save_file(self._best, file.with_name(_BEST))
        write_json({"curve": self._curve, "beta": self.beta, **more}, file)

    def restore(self, file: Path) -> dict[str, Any]:
        """Goes on from there; returns what `file` says."""
        self._rollouts = [read_parquet(file.with_name(_ROLLOUTS))]
        self._best = load_file(file.with_name(_BEST))
        described: dict[str, Any] = read_json(file)
        self._curve, self.beta = described["curve"], described["beta"]
        return described

    def finished(self, policy: Any, steps: int) -> TextPolicy:
        """What was trained in so many steps; the judge's best step where it has turned. Nothing can follow."""
        if self.turned:
            load(policy, self._best)
        network = merged(policy)
        architecture, shape = architecture_of(network)
        rollouts = pd.concat(self._rollouts, ignore_index=True)
        record = TrainingRecord(
            curve=tuple(self._curve),
            figures={
                "algorithm": self._config.algorithm,
                "steps": steps,
                "messages": len(rollouts),
                "beta": self.beta,
                "stopped_by_judge": bool(self.turned),
                "judge_said": self.turned or "never turned",
            },
            samples=tuple(self.shown),
        )
        sft, weights = self._sft, weights_of(network)
        model = LanguageModel(architecture, shape, weights, sft.tokenizer, sft.examples, record)
        return TextPolicy(model, rollouts, sft.digest, self._reward.digest)


def _check_lineage(sft: LanguageModel, reward: RewardModel) -> None:
    """Does the reward model belong to this SFT model?

    Raises:
        ModelError: It reads texts by another tokenizer, or was trained from another SFT model.
    """
    if reward.tokenizer != sft.tokenizer:
        msg = "ppo_text: found a reward_model of another tokenizer, expected the tokenizer of sft_model"
        raise ModelError(msg)
    if reward.sft_digest != sft.digest:
        raise ModelError(
            f"ppo_text: found a reward_model trained from sft_model {reward.sft_digest[:12]}, expected "
            f"{sft.digest[:12]}: train reward_model again"
        )


def trainables(network: Any) -> dict[str, torch.Tensor]:
    """Parameters that are learned, by name."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies on the CPU."""
    return {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}


def load(network: Any, weights: dict[str, torch.Tensor]) -> None:
    """Writes these values into the parameters of the same names."""
    found = trainables(network)
    with torch.no_grad():
        for name, value in weights.items():
            found[name].copy_(value)
