"""What SFT and reward training share: TRL's trainer from the config, reports while training, LoRA, resuming."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import peft
import torch
import transformers
import trl

from churn_assets.message.model.tokenizer import TextError, TextTokenizer
from churn_assets.message.training.compute import device_of
from churn_assets.message.training.config import LoraConfig, RewardModelConfig, SftModelConfig, TextTraining
from churn_assets.message.training.memory import (
    TextPass,
    refuse_beyond_memory,
    shapes_of,
    training_need,
)
from churn_assets.message.training.progress import Figures, Progress

Report = Callable[[Any], tuple[Figures, Sequence[str]]]
"""Network in evaluation mode → held-out figures and sample texts."""

Columns = Mapping[str, Sequence[Sequence[int]]]
"""Token ids for TRL, by its names."""

LOGS = 25
"""How often the training loss is told."""

TOLD = ("loss", "margin")
"""Those of TRL's figures that are told."""

STATE_FILE = "trainer_state.json"
"""What the trainer writes last into a checkpoint."""

WINDOW = 8
"""Batches whose rows are sorted by length together."""

Supervised = SftModelConfig | RewardModelConfig

Schedule = Literal["cosine", "constant_with_warmup"]
"""What the learning rate does after the warm-up: falls to zero, or stays."""


def total_steps(config: Supervised, rows: int) -> int:
    """Optimizer steps of the whole training."""
    passes = math.ceil(rows / config.batch_size)
    steps = math.ceil(config.epochs * max(1, passes // config.gradient_accumulation_steps))
    return steps if config.max_steps is None else min(steps, config.max_steps)


def fine_tuned(
    network: Any,
    tokenizer: TextTokenizer,
    columns: Columns,
    config: Supervised,
    reporter: Reporter,
    *,
    seed: int,
    folder: Path | None,
    schedule: Schedule = "cosine",
) -> tuple[Any, tuple[dict[str, float | None], ...]]:
    """The network, trained on these rows with adapters merged into it, and every report of the training.

    Args:
        network: What is trained.
        tokenizer: Of the rows.
        columns: What is learned from.
        config: Section of the stage.
        reporter: Told how it goes.
        seed: Of adapters' first weights and of the order.
        folder: Keeps the checkpoints, and is gone on from; None keeps none.
        schedule: Of the learning rate.
    """
    with tempfile.TemporaryDirectory() as scratch:
        trainer = supervised_trainer(
            network,
            tokenizer,
            columns,
            config,
            reporter,
            seed=seed,
            folder=folder or Path(scratch),
            keep_checkpoints=folder is not None,
            schedule=schedule,
        )
        train_from_checkpoint(trainer)
    # Every report, also of what went before an interruption.
    curve = tuple(logs["reported"] for logs in trainer.state.log_history if "reported" in logs)
    return merged(trainer.model), curve


def supervised_trainer(
    network: Any,
    tokenizer: TextTokenizer,
    columns: Columns,
    config: Supervised,
    reporter: Reporter,
    *,
    seed: int,
    folder: Path,
    keep_checkpoints: bool,
    schedule: Schedule = "cosine",
) -> Any:
    """TRL's trainer of the stage, every parameter as configured."""
    lengths = lengths_of(columns)
    _refuse_beyond_memory(network, config, max(lengths))
    torch.manual_seed(seed)  # TRL draws adapters' first weights before it seeds the generator itself
    steps = total_steps(config, len(lengths))
    arguments = {
        **common_arguments(config, seed=seed, folder=folder, keep_checkpoints=keep_checkpoints),
        "max_steps": steps,
        "per_device_train_batch_size": config.batch_size,
        "lr_scheduler_type": schedule,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "train_sampling_strategy": "sequential",  # the rows are in the order that they are learned from
        "max_length": None,  # checked by `refuse_long_rows`: TRL would cut or drop in silence
        "dataloader_num_workers": 0,
        "logging_steps": max(1, steps // LOGS),
        "save_steps": config.checkpoint_steps,
    }
    order = order_of_like_lengths(lengths, config.batch_size, math.ceil(config.epochs), seed)
    common = {
        "train_dataset": datasets.Dataset.from_dict(dict(columns)).select(order),
        "processing_class": tokenizer.transformers_tokenizer(),
        "callbacks": [reporter],
    }
    if isinstance(config, SftModelConfig):
        adapters = lora(config.lora, "CAUSAL_LM")
        return trl.SFTTrainer(network, args=trl.SFTConfig(**arguments), peft_config=adapters, **common)
    centre = config.center_rewards_coefficient
    chosen = trl.RewardConfig(center_rewards_coefficient=centre, **arguments)
    return trl.RewardTrainer(network, args=chosen, peft_config=lora(config.lora, "SEQ_CLS"), **common)


def _refuse_beyond_memory(network: Any, config: Supervised, tokens: int) -> None:
    """Raises TooLittleMemory where a pass over the longest rows would not fit."""
    sft, built = isinstance(config, SftModelConfig), device_of(config.compute).type == "cpu"
    asset, texts, predicted = ("sft_model", 1, tokens) if sft else ("reward_model", 2, 0)
    largest = TextPass(texts * config.batch_size, tokens, predicted)
    shapes = shapes_of(network.named_parameters())
    need = training_need(shapes, network.config, config, largest, built=built)
    refuse_beyond_memory(asset, config, [need])


def common_arguments(
    config: TextTraining, *, seed: int, folder: Path, keep_checkpoints: bool
) -> dict[str, Any]:
    """What TRL's trainers are told alike in every stage."""
    device = device_of(config.compute)
    return {
        "output_dir": str(folder),
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
        "adam_beta2": config.adam_beta2,
        "max_grad_norm": config.max_grad_norm,
        "seed": seed,
        "use_cpu": device.type == "cpu",
        "bf16": config.compute.dtype == "bfloat16",
        "activation_checkpointing": False,
        "dataloader_pin_memory": device.type != "cpu",
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "steps" if keep_checkpoints else "no",
        "save_total_limit": 2,  # the newer one may be cut short by the crash itself
    }


def refuse_long_rows(asset: str, columns: Columns, longest: int) -> None:
    """A row that does not fit is an error.

    Raises:
        TextError: Naming the first one and how many there are.
    """
    lengths = lengths_of(columns)
    long = [row for row, length in enumerate(lengths) if length > longest]
    if long:
        raise TextError(
            f"{asset}.max_length: {len(long)} of {len(lengths)} rows are longer than {longest} tokens, the first in "
            f"row {long[0]} with {lengths[long[0]]}; expected none"
        )


def lengths_of(columns: Columns) -> list[int]:
    """(n,) tokens of the longest text of each row."""
    return [max(map(len, texts)) for texts in zip(*columns.values(), strict=True)]


def order_of_like_lengths(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[int]:
    """Rows in an order that makes batches of texts of about one length, which carry little padding.

    Only `WINDOW` batches at a time are sorted among themselves, and their order is random: the library's own grouping
    goes from long to short again and again, and what is learned late in a text was unlearned meanwhile.

    Args:
        lengths: (n,) tokens of each row.
        batch_size: Rows that are learned from at once.
        epochs: Times that every row occurs.
        seed: Of the order.
    """
    rng = np.random.default_rng([seed, 3])
    rows = np.concatenate([rng.permutation(len(lengths)) for _ in range(epochs)])
    tokens = np.asarray(lengths)
    order: list[int] = []
    for start in range(0, len(rows), WINDOW * batch_size):
        window = rows[start : start + WINDOW * batch_size]
        window = window[np.argsort(tokens[window], kind="stable")]
        batches = np.split(window, range(batch_size, len(window), batch_size))
        whole = len(window) // batch_size
        for place in (*rng.permutation(whole), *range(whole, len(batches))):  # what is left over stays last
            order += batches[place].tolist()
    return order


def lora(config: LoraConfig | None, kind: str) -> Any:
    """The adapter that is configured; None trains every weight.

    Args:
        config: Rank, scale and where.
        kind: peft's task type.
    """
    if config is None:
        return None
    return peft.LoraConfig(
        task_type=kind,
        r=config.r,
        lora_alpha=config.alpha,
        target_modules=list(config.target_modules),
        lora_dropout=config.dropout,
    )


def merged(network: Any) -> Any:
    """The network itself, with adapters merged into its weights."""
    if isinstance(network, peft.PeftModel):
        network = network.merge_and_unload()
    return network.to("cpu").eval()


def train_from_checkpoint(trainer: Any) -> None:
    """Trains, from the newest whole checkpoint in the trainer's folder if there is one.

    TRL writes these itself. They are local to the run, hold an optimizer state that only torch's restricted
    (weights-only) reader opens, and never reach the store.
    """
    trainer.remove_callback(transformers.PrinterCallback)
    found = newest_of_trl(Path(trainer.args.output_dir), STATE_FILE)
    if found is not None:
        state = transformers.TrainerState.load_from_json(str(found / STATE_FILE))
        if state.global_step >= trainer.args.max_steps:
            # Resumed at its last step, the trainer would take one more.
            trainer._load_from_checkpoint(str(found))  # noqa: SLF001 - the only way to load weights or adapters alone
            trainer.state = state
            return
    trainer.train(resume_from_checkpoint=None if found is None else str(found))


def newest_of_trl(folder: Path, last_file: str) -> Path | None:
    """TRL's newest whole checkpoint: one with the file that is written last."""
    found = sorted(folder.glob(f"checkpoint-*/{last_file}"), key=lambda file: int(file.parent.name[11:]))
    return found[-1].parent if found else None


class Reporter(transformers.TrainerCallback):  # type: ignore[misc]  # no types at this border
    """Tells the loss while training, and now and then held-out figures and sample texts.

    Reports stand in the trainer's own log, which is part of a checkpoint: a resumed training tells the whole story.
    """

    def __init__(self, progress: Progress, report: Report, reports: int) -> None:
        """Nothing is reported yet.

        Args:
            progress: Whom to tell.
            report: Held-out figures and samples of the network now.
            reports: How often in the whole training.
        """
        self._progress, self._report, self._reports = progress, report, reports

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if found := _told(logs or {}):
            self._progress(step=state.global_step, total=state.max_steps, samples=(), **found)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:  # noqa: ARG002
        every = max(1, state.max_steps // self._reports)
        if state.global_step % every and state.global_step != state.max_steps:
            return
        training = model.training
        model.eval()
        figures, samples = self._report(model)
        model.train(training)
        self._progress(step=state.global_step, total=state.max_steps, samples=samples, **figures)
        last = next((found for logs in reversed(state.log_history) if (found := _told(logs))), {})
        state.log_history.append({"reported": {"step": state.global_step, **last, **figures}})


def _told(logs: Mapping[str, Any]) -> Figures:
    return {name: float(logs[name]) for name in TOLD if name in logs}
