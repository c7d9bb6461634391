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
import torch
import transformers
import trl

from churn_assets.message.corpus.data import MessageCorpus
from churn_assets.message.model.generation import Generated
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.masks import Guide
from churn_assets.message.model.tokenizer import TextTokenizer
from churn_assets.message.training.checkpoint import checkpoint_folder
from churn_assets.message.training.compute import threads
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.diary import Diary
from churn_assets.message.training.memory import policy_needs, refuse_beyond_memory
from churn_assets.message.training.progress import Progress, silent
from churn_assets.message.training.rollouts import TextPolicy
from churn_assets.message.training.supervised import common_arguments, lora, newest_of_trl

_FOLLOWED = "followed.json"


def train_grpo(
    sft: LanguageModel,
    reward: RewardModel,
    messages: MessageCorpus,
    config: PpoTextConfig,
    *,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
    guide: Guide | None = None,
) -> TextPolicy:
    """Trains the SFT model against the reward model, on the prompts of the training split; arguments as `train_ppo`.

    TRL draws the messages itself, of every token: `guide` only says which of them the safety rules forbid.

    Raises:
        ModelError: The reward model belongs to another SFT model.
    """
    prompts = list(dict.fromkeys(messages.of("train")["prompt"]))
    refuse_beyond_memory("ppo_text", config, policy_needs(sft, prompts, config))
    folder = checkpoint_folder(checkpoints, "ppo_text", config, seed, prompts, sft.digest, reward.digest)
    diary = Diary(sft, reward, config, guide)
    with threads(config.compute), tempfile.TemporaryDirectory() as scratch:
        place = folder or Path(scratch)
        follower = Follower(diary, sft.tokenizer, config, progress)
        trainer = grpo_trainer(
            sft, prompts, config, follower, seed=seed, folder=place, keep_checkpoints=folder is not None
        )
        found = newest_of_trl(place, _FOLLOWED)
        if found is not None:
            follower.restore(found)
        trainer.train(resume_from_checkpoint=None if found is None else str(found))
        return diary.finished(trainer.model, diary.pages)


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
    torch.manual_seed(seed)  # TRL draws adapters' first weights before it seeds the generator itself
    start = folder / "sft"
    sft.network().save_pretrained(start)  # TRL reads its reference model by path
    passes = config.batch_size // config.mini_batch_size
    updates = passes // config.gradient_accumulation_steps * config.ppo_epochs
    arguments = trl.GRPOConfig(
        **common_arguments(config, seed=seed, folder=folder, keep_checkpoints=keep_checkpoints),
        max_steps=config.steps * updates,
        per_device_train_batch_size=config.mini_batch_size,
        steps_per_generation=passes,
        num_iterations=config.ppo_epochs,
        num_generations=config.num_generations,
        max_completion_length=config.max_new_tokens,
        temperature=1.0,
        top_k=0,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        beta=config.init_beta,
        epsilon=config.clip_range,
        importance_sampling_level="token",
        loss_type="bnpo",
        scale_rewards="batch",
        disable_dropout=True,
        save_steps=config.checkpoint_steps * updates,
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
    """Gives the rewards, steers the weight of KL, and asks the judge."""

    def __init__(
        self, diary: Diary, tokenizer: TextTokenizer, config: PpoTextConfig, progress: Progress
    ) -> None:
        self._diary, self._tokenizer, self._config, self._progress = diary, tokenizer, config, progress
        self.trainer: Any = None

    def reward(
        self, prompts: list[str], completions: list[str], completion_ids: list[list[int]], **_: Any
    ) -> list[float]:
        """What TRL asks for once a step, before it learns from these messages."""
        written = [
            Generated(text, bool(ids) and ids[-1] == self._tokenizer.eos_id, tuple(ids))
            for text, ids in zip(completions, completion_ids, strict=True)
        ]
        judged = self._diary.jury.of(prompts, written)
        self._diary.write(
            prompts, written, judged, tokens=float(np.mean([len(each.tokens) for each in written]))
        )
        self._diary.ask_the_judge(self.trainer.model)
        return [float(each) for each in judged.reward]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        control.should_training_stop |= bool(self._diary.turned)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if logs is None or "kl" not in logs:
            return
        diary, kl = self._diary, float(logs["kl"])
        diary.add(kl=kl, beta=diary.beta)
        diary.steer(kl)
        self.trainer.beta = diary.beta
        self._progress(step=diary.pages, total=self._config.steps, samples=diary.shown, **diary.latest)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Adds to TRL's checkpoint what is known here."""
        self._diary.save(Path(args.output_dir) / f"checkpoint-{state.global_step}" / _FOLLOWED)

    def restore(self, place: Path) -> None:
        """Goes on from such a checkpoint."""
        self._diary.restore(place / _FOLLOWED)
        self.trainer.beta = self._diary.beta
