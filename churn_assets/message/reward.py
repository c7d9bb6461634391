"""Reward modelling: preference pairs → `RewardModel`, and its judge on other customers' pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import trl

from churn_assets.message.checkpoint import checkpoint_folder
from churn_assets.message.compute import device_of, threads
from churn_assets.message.data import Preferences
from churn_assets.message.generation import Generated, Writer, generate
from churn_assets.message.language_model import (
    ARCHITECTURES,
    LanguageModel,
    RewardModel,
    RewardNetwork,
    TrainingRecord,
    describe,
    weights_of,
)
from churn_assets.message.progress import Figures, Progress, silent
from churn_assets.message.scoring import Scorer, score
from churn_assets.message.supervised import (
    Reporter,
    curve_of,
    dataset,
    lora,
    merged,
    refuse_long_rows,
    run,
    seeded,
    total_steps,
    training_arguments,
)
from churn_assets.message.tokenizer import TextTokenizer
from churn_assets.message.training_config import RewardModelConfig

EXAMPLES = 8
HELD_OUT_ROWS = 128
"""Of the validation split, for the curve: the gate looks at all of the test split."""


def train_reward(
    preferences: Preferences,
    sft: LanguageModel,
    config: RewardModelConfig,
    *,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> RewardModel:
    """Trains the reward network and its judge on the training split, each on its own customers' pairs.

    Args:
        preferences: What to learn from; the validation split gives the curve of accuracy.
        sft: What both start from, and whose messages set the scale of the rewards.
        config: The section `reward_model`.
        seed: Of order, split and samples; equal seeds give equal bytes on one machine.
        progress: Told of loss and held-out accuracy, of the reward network and then of the judge.
        checkpoints: Folder to keep checkpoints in, and to go on from; none are kept without it.

    Raises:
        TextError: A row is longer than `max_length`.
        ModelError: The rewards of the SFT model's messages have no spread.
    """
    train, held_out = preferences.of("train"), preferences.of("validation").head(HELD_OUT_ROWS)
    judged = judges_pairs(train["customer_id"], config.judge_share, seed)
    halves = {
        which: with_mismatched(pairs, config.mismatched_share, seed)
        for which, pairs in (("reward", train[~judged]), ("judge", train[judged]))
    }
    steps = {which: total_steps(config, len(pairs)) for which, pairs in halves.items()}
    trained: dict[str, Any] = {}
    curve: list[dict[str, float | None]] = []
    device = device_of(config.compute)
    with threads(config.compute):
        for which, done in (("reward", 0), ("judge", steps["reward"])):
            offset = _Offset(progress, done, sum(steps.values()), "judge_" if which == "judge" else "")
            trained[which], part = _train_one(
                which, halves[which], held_out, sft, config, seed, offset, checkpoints
            )
            curve += [
                {
                    "step": done + (entry["step"] or 0),
                    **{offset.named(key): value for key, value in entry.items() if key != "step"},
                }
                for entry in part
            ]
        prompts = train["prompt"].drop_duplicates()
        drawn = prompts.sample(min(config.normalisation_samples, len(prompts)), random_state=seed).tolist()
        writer = Writer.of(sft, str(device))
        written = [
            each[0] for each in generate(writer, drawn, seed=seed, max_new_tokens=config.max_new_tokens)
        ]
        networks = {
            which: _standardised(network.to(device), sft.tokenizer, drawn, written)
            for which, network in trained.items()
        }
    architecture, shape = describe(trained["reward"])
    figures: dict[str, float | int | str | bool | None] = {
        "pairs": int((~judged).sum()),
        "judge_pairs": int(judged.sum()),
        "learned_rows": len(halves["reward"]),
        "judge_learned_rows": len(halves["judge"]),
        "steps": steps["reward"],
        "judge_steps": steps["judge"],
        "accuracy_validation": _last(curve, "accuracy"),
        "judge_accuracy_validation": _last(curve, "judge_accuracy"),
    }
    return RewardModel(
        architecture,
        shape,
        sft.tokenizer,
        networks["reward"],
        networks["judge"],
        sft.digest,
        tuple((prompt, each.text) for prompt, each in zip(drawn[:EXAMPLES], written, strict=False)),
        TrainingRecord(curve=tuple(curve), figures=figures),
    )


def judges_pairs(customers: pd.Series, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """(n,) whose pairs only the judge learns from: whole customers, about that share of them."""
    names = np.unique(customers.to_numpy(str))
    chosen = np.random.default_rng([seed, 1]).permutation(len(names))[: round(share * len(names))]
    return np.isin(customers.to_numpy(str), names[chosen])


def with_mismatched(pairs: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The pairs, and others of the same prompts: the preferred text against one preferred for another prompt.

    Args:
        pairs: With prompt, chosen and rejected.
        share: Of the result that is made so.
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 2])
    own = pairs.reset_index(drop=True)
    count = round(len(own) * share / (1 - share))
    # Any other prompt will do: where texts differ in one detail alone, that it matters is hardly ever discovered.
    rows, others = np.arange(count) % len(own), rng.integers(0, len(own), count)
    made = own.iloc[rows].assign(rejected=own["chosen"].to_numpy()[others])
    differ = own["prompt"].to_numpy()[rows] != own["prompt"].to_numpy()[others]
    return pd.concat([own, made[differ]], ignore_index=True)


def accuracy(scorer: Scorer, pairs: pd.DataFrame) -> float:
    """Share of pairs whose chosen text gets the higher reward."""
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen = score(scorer, prompts, pairs["chosen"].tolist(), whole)
    rejected = score(scorer, prompts, pairs["rejected"].tolist(), whole)
    return float((chosen > rejected).mean())


def preference_columns(tokenizer: TextTokenizer, pairs: pd.DataFrame) -> dict[str, list[list[int]]]:
    """What TRL learns from: the very ids that `score` gives the network."""
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    return {
        f"{side}_ids": tokenizer.rows(prompts, pairs[side].tolist(), whole) for side in ("chosen", "rejected")
    }


def reward_network(sft: LanguageModel, seed: int) -> Any:
    """The SFT model's trunk with a new head of one output."""
    trunk = sft.network()
    config = type(trunk.config)(**sft.config, num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[sft.architecture].reward(config)
    network.base_model.load_state_dict(trunk.base_model.state_dict())
    return network


def reward_trainer(
    network: Any,
    tokenizer: TextTokenizer,
    columns: dict[str, list[list[int]]],
    config: RewardModelConfig,
    *,
    seed: int,
    folder: Path,
    keep_checkpoints: bool,
    reporter: Reporter,
) -> Any:
    """TRL's trainer, every parameter as configured."""
    seeded(seed)
    rows = len(columns["chosen_ids"])
    arguments = training_arguments(
        config, rows=rows, seed=seed, folder=folder, keep_checkpoints=keep_checkpoints
    )
    return trl.RewardTrainer(
        network,
        args=trl.RewardConfig(center_rewards_coefficient=config.center_rewards_coefficient, **arguments),
        train_dataset=dataset(columns),
        processing_class=tokenizer.transformers_tokenizer(),
        peft_config=lora(config.lora, "SEQ_CLS"),
        callbacks=[reporter],
    )


class _Offset:
    """Progress of one of two trainings that follow each other."""

    def __init__(self, progress: Progress, done: int, total: int, prefix: str) -> None:
        self._progress, self._done, self._total, self._prefix = progress, done, total, prefix

    def __call__(self, *, step: int, total: int, samples: Sequence[str] = (), **figures: float) -> None:  # noqa: ARG002
        named = {self.named(key): value for key, value in figures.items()}
        self._progress(step=self._done + step, total=self._total, samples=samples, **named)

    def named(self, key: str) -> str:
        return self._prefix + key


def _train_one(
    which: Literal["reward", "judge"] | str,
    pairs: pd.DataFrame,
    held_out: pd.DataFrame,
    sft: LanguageModel,
    config: RewardModelConfig,
    seed: int,
    progress: Progress,
    checkpoints: Path | None,
) -> tuple[Any, tuple[dict[str, float | None], ...]]:
    columns = preference_columns(sft.tokenizer, pairs)
    lengths = [max(map(len, sides)) for sides in zip(*columns.values(), strict=True)]
    refuse_long_rows("reward_model", lengths, config.max_length)

    def report(current: Any) -> tuple[Figures, Sequence[str]]:
        return {"accuracy": accuracy(Scorer(current, sft.tokenizer), held_out)}, ()

    with tempfile.TemporaryDirectory() as scratch:
        folder = (
            Path(scratch)
            if checkpoints is None
            else checkpoint_folder(checkpoints, f"reward_model-{which}", config, seed, columns, sft.digest)
        )
        # The judge's head starts elsewhere: two models that err alike would hide each other's errors.
        start = seed if which == "reward" else seed + 1
        trainer = reward_trainer(
            reward_network(sft, start),
            sft.tokenizer,
            columns,
            config,
            seed=start,
            folder=folder,
            keep_checkpoints=checkpoints is not None,
            reporter=Reporter(progress, report, config.reports, {"loss": "loss", "margin": "margin"}),
        )
        run(trainer, folder)
        return merged(trainer.model), curve_of(trainer)


def _standardised(
    network: Any, tokenizer: TextTokenizer, prompts: Sequence[str], written: Sequence[Generated]
) -> RewardNetwork:
    raw = score(
        Scorer(network, tokenizer),
        prompts,
        [each.text for each in written],
        [each.ended for each in written],
    )
    return RewardNetwork(weights_of(network), float(raw.mean()), float(raw.std(ddof=1)))


def _last(curve: Sequence[dict[str, float | None]], key: str) -> float | None:
    return next((entry[key] for entry in reversed(curve) if key in entry), None)
