"""GRPO, the critic-free alternative to PPO: TRL's own trainer with token-level importance sampling.

Rewards of several messages for one prompt are compared with each other instead of with a critic's expectation. The
weight of KL is steered to its target by a callback.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import torch
import transformers
import trl
from safetensors.torch import load_file, save_file

from churn_assets.message.corpus.data import Messages
from churn_assets.message.model.generation import Generated
from churn_assets.message.model.language_model import (
    LanguageModel,
    RewardModel,
    TrainingRecord,
    describe,
    weights_of,
)
from churn_assets.message.model.scoring import Scorer
from churn_assets.message.training.checkpoint import checkpoint_folder
from churn_assets.message.training.compute import device_of, threads
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.over_optimisation import judge_verdict
from churn_assets.message.training.ppo import check_lineage, copied, load, next_beta, trainables
from churn_assets.message.training.progress import Progress, silent
from churn_assets.message.training.rollouts import Jury, TextPolicy, rollout_rows
from churn_assets.message.training.supervised import lora, merged, newest_checkpoint, seeded
from churn_assets.store.files import read_json, read_parquet, write_json, write_parquet

SAMPLES = 2
_FOLLOWED = "followed.json"


def train_grpo(
    sft: LanguageModel,
    reward: RewardModel,
    messages: Messages,
    config: PpoTextConfig,
    *,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> TextPolicy:
    """Trains the SFT model against the reward model, on the prompts of the training split; arguments as `train_ppo`.

    Raises:
        ModelError: The reward model belongs to another SFT model.
    """
    check_lineage(sft, reward)
    prompts = list(dict.fromkeys(messages.of("train")["prompt"]))
    with threads(config.compute), tempfile.TemporaryDirectory() as scratch:
        folder = (
            Path(scratch)
            if checkpoints is None
            else checkpoint_folder(checkpoints, "ppo_text", config, seed, prompts, sft.digest, reward.digest)
        )
        follower = Follower(sft, reward, config, progress)
        keep = checkpoints is not None
        trainer = grpo_trainer(
            sft, prompts, config, follower, seed=seed, folder=folder, keep_checkpoints=keep
        )
        found = newest_checkpoint(folder, _FOLLOWED)
        if found is not None:
            follower.restore(found)
        trainer.train(resume_from_checkpoint=None if found is None else str(found))
        follower.keep_best(trainer.model)
        policy = merged(trainer.model)
    architecture, shape = describe(policy)
    rollouts = pd.concat(follower.rollouts, ignore_index=True)
    record = TrainingRecord(
        curve=tuple(follower.curve),
        figures={
            "algorithm": "grpo",
            "steps": len(follower.curve),
            "messages": len(rollouts),
            "beta": follower.beta,
            "stopped_by_judge": bool(follower.turned),
            "judge_said": follower.turned or "never turned",
        },
        samples=tuple(follower.shown()),
    )
    model = LanguageModel(architecture, shape, weights_of(policy), sft.tokenizer, sft.examples, record)
    return TextPolicy(model, rollouts, sft.digest, reward.digest)


def grpo_trainer(
    sft: LanguageModel,
    prompts: Sequence[str],
    config: PpoTextConfig,
    follower: Follower,
    *,
    seed: int,
    folder: Path,
    keep_checkpoints: bool,
) -> Any:
    """TRL's trainer, every parameter as configured."""
    seeded(seed)
    start = folder / "sft"
    sft.network().save_pretrained(start)  # TRL reads its reference model by path
    device = device_of(config.compute)
    passes = config.batch_size // config.mini_batch_size
    updates = passes // config.gradient_accumulation_steps * config.ppo_epochs
    arguments = trl.GRPOConfig(
        output_dir=str(folder),
        max_steps=config.steps * updates,
        per_device_train_batch_size=config.mini_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        steps_per_generation=passes,
        num_iterations=config.ppo_epochs,
        num_generations=config.num_generations,
        max_completion_length=config.max_new_tokens,
        temperature=1.0,
        top_k=0,
        learning_rate=config.learning_rate,
        lr_scheduler_type="constant",
        adam_beta2=config.adam_beta2,
        weight_decay=0.0,
        max_grad_norm=config.max_grad_norm,
        beta=config.init_beta,
        epsilon=config.clip_range,
        importance_sampling_level="token",
        loss_type="bnpo",
        scale_rewards="batch",
        disable_dropout=True,
        seed=seed,
        use_cpu=device.type == "cpu",
        bf16=config.compute.dtype == "bfloat16",
        activation_checkpointing=False,
        dataloader_pin_memory=device.type != "cpu",
        report_to="none",
        save_strategy="steps" if keep_checkpoints else "no",
        save_steps=config.checkpoint_steps * updates,
        save_total_limit=2,  # the newer one may be cut short by the crash itself
        disable_tqdm=True,
        logging_steps=updates,
    )
    trainer = trl.GRPOTrainer(
        str(start),
        follower.reward,
        arguments,
        train_dataset=datasets.Dataset.from_dict({"prompt": list(prompts)}),
        processing_class=sft.tokenizer.transformers_tokenizer(),
        peft_config=lora(config.lora, "CAUSAL_LM"),
        callbacks=[follower],
    )
    trainer.remove_callback(transformers.PrinterCallback)
    follower.trainer = trainer
    return trainer


class Follower(transformers.TrainerCallback):  # type: ignore[misc]  # no types at this border
    """Gives the rewards, steers the weight of KL, and watches the judge."""

    def __init__(
        self, sft: LanguageModel, reward: RewardModel, config: PpoTextConfig, progress: Progress
    ) -> None:
        device = str(device_of(config.compute))
        self._config, self._progress, self._tokenizer = config, progress, sft.tokenizer
        self._jury = Jury(
            Scorer.of(reward, "reward", device),
            Scorer.of(reward, "judge", device),
            reward.reward,
            reward.judge,
        )
        self.trainer: Any = None
        self.beta, self.turned = config.init_beta, ""
        self.curve: list[dict[str, float | None]] = []
        self.rollouts: list[pd.DataFrame] = []
        self._best: dict[str, torch.Tensor] = {}

    def reward(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        """What TRL asks for once a step, before it learns from these messages."""
        written = [
            Generated(text, bool(ids) and ids[-1] == self._tokenizer.eos_id, tuple(ids))
            for text, ids in zip(completions, completion_ids, strict=True)
        ]
        ended = [each.ended for each in written]
        judged = self._jury.of(prompts, completions, ended, self._config)
        step = len(self.curve)
        self.rollouts.append(
            rollout_rows(step, prompts, written, judged, np.full(len(written), np.nan, np.float32))
        )
        self.curve.append(
            {
                "step": step,
                "reward": float(judged.standardised.mean()),
                "judge": float(judged.judged.mean()),
                "ended": float(np.mean(ended)),
                "unique": len(set(completions)) / len(completions),
                "tokens": float(np.mean([len(ids) for ids in completion_ids])),
            }
        )
        if self._config.stop_when_judge_turns:
            self._ask_the_judge(step)
        return [float(each) for each in judged.reward]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        control.should_training_stop |= bool(self.turned)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if logs is None or "kl" not in logs:
            return
        kl = float(logs["kl"])
        self.curve[-1].update(kl=kl, beta=self.beta)
        config = self._config
        self.beta = self.trainer.beta = next_beta(self.beta, kl, config.target_kl, config.kl_gain)
        figures = {key: value for key, value in self.curve[-1].items() if key != "step" and value is not None}
        self._progress(step=len(self.curve), total=config.steps, samples=self.shown(), **figures)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Adds to TRL's checkpoint what is known here."""
        place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_parquet(pd.concat(self.rollouts, ignore_index=True), place / "rollouts.parquet")
        save_file(self._best, place / "best.safetensors")
        write_json({"curve": self.curve, "beta": self.beta}, place / _FOLLOWED)

    def restore(self, place: Path) -> None:
        """Goes on from such a checkpoint."""
        self.rollouts = [read_parquet(place / "rollouts.parquet")]
        self._best = load_file(place / "best.safetensors")
        described = read_json(place / _FOLLOWED)
        self.curve, self.beta = described["curve"], described["beta"]
        self.trainer.beta = self.beta

    def shown(self) -> list[str]:
        """A few texts of the last step."""
        rows = self.rollouts[-1].tail(SAMPLES)
        return [prompt + text for prompt, text in zip(rows["prompt"], rows["text"], strict=True)]

    def keep_best(self, network: Any) -> None:
        """Where the judge has turned, the weights of its best step."""
        if self.turned:
            load(network, self._best)

    def _ask_the_judge(self, step: int) -> None:
        verdict = judge_verdict(
            [each["judge"] or 0.0 for each in self.curve],
            [each["reward"] or 0.0 for each in self.curve],
            window=self._config.judge_window,
            tolerance=self._config.judge_tolerance,
        )
        if verdict.turned:
            self.turned = verdict.reason
        elif verdict.best_step == step:
            self._best = copied(trainables(self.trainer.model))
