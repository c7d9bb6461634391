"""What SFT and reward training share: TRL arguments from the config, reports while training, LoRA, resuming."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import peft
import torch
import transformers

from churn_assets.message.model.tokenizer import TextError
from churn_assets.message.training.compute import device_of
from churn_assets.message.training.config import LoraConfig, RewardModelConfig, SftModelConfig
from churn_assets.message.training.progress import Figures, Progress

Report = Callable[[Any], tuple[Figures, Sequence[str]]]
"""Network in evaluation mode → held-out figures and sample texts."""

LOGS = 25
"""How often the training loss is told."""

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


def training_arguments(
    config: Supervised,
    *,
    rows: int,
    seed: int,
    folder: Path,
    keep_checkpoints: bool,
    schedule: Schedule = "cosine",
) -> dict[str, Any]:
    """Arguments of TRL's config classes that both stages share."""
    device = device_of(config.compute)
    steps = total_steps(config, rows)
    return {
        "output_dir": str(folder),
        "max_steps": steps,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": schedule,
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "adam_beta2": config.adam_beta2,
        "max_grad_norm": config.max_grad_norm,
        "train_sampling_strategy": "sequential",  # `dataset` has the order
        "max_length": None,  # checked by `refuse_long_rows`: TRL would cut or drop in silence
        "seed": seed,
        "use_cpu": device.type == "cpu",
        "bf16": config.compute.dtype == "bfloat16",
        "activation_checkpointing": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.type != "cpu",
        "report_to": "none",
        "disable_tqdm": True,
        "logging_steps": max(1, steps // LOGS),
        "save_strategy": "steps" if keep_checkpoints else "no",
        "save_steps": config.checkpoint_steps,
        "save_total_limit": 2,  # the newer one may be cut short by the crash itself
    }


def refuse_long_rows(asset: str, lengths: Sequence[int], longest: int) -> None:
    """A row that does not fit is an error.

    Raises:
        TextError: Naming the first one and how many there are.
    """
    long = [row for row, length in enumerate(lengths) if length > longest]
    if long:
        msg = (
            f"{asset}.max_length: {len(long)} of {len(lengths)} rows are longer than {longest} tokens, the first in "
            f"row {long[0]} with {lengths[long[0]]}; expected none"
        )
        raise TextError(msg)


def dataset(columns: Mapping[str, Sequence[Any]], config: Supervised, seed: int) -> Any:
    """Rows of token ids for TRL, in memory, in the order that they are learned from, every epoch's anew."""
    lengths = lengths_of(columns)
    order = order_of_like_lengths(lengths, config.batch_size, math.ceil(config.epochs), seed)
    return datasets.Dataset.from_dict(dict(columns)).select(order)


def lengths_of(columns: Mapping[str, Sequence[Any]]) -> list[int]:
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


def run(trainer: Any, folder: Path) -> None:
    """Trains, from the newest whole checkpoint in `folder` if there is one.

    TRL writes these itself. They are local to the run, hold an optimizer state that only torch's restricted
    (weights-only) reader opens, and never reach the store.
    """
    trainer.remove_callback(transformers.PrinterCallback)
    found = newest_checkpoint(folder, STATE_FILE)
    if found is not None:
        state = transformers.TrainerState.load_from_json(str(found / STATE_FILE))
        if state.global_step >= trainer.args.max_steps:
            # Resumed at its last step, the trainer would take one more.
            trainer._load_from_checkpoint(str(found))  # noqa: SLF001 - the only way to load weights or adapters alone
            trainer.state = state
            return
    trainer.train(resume_from_checkpoint=None if found is None else str(found))


def newest_checkpoint(folder: Path, last_file: str) -> Path | None:
    """TRL's newest whole checkpoint: one with the file that is written last."""
    found = sorted(folder.glob(f"checkpoint-*/{last_file}"), key=lambda file: int(file.parent.name[11:]))
    return found[-1].parent if found else None


class Reporter(transformers.TrainerCallback):  # type: ignore[misc]  # no types at this border
    """Tells the loss while training, and now and then held-out figures and sample texts.

    Reports stand in the trainer's own log, which is part of a checkpoint: a resumed training tells the whole story.
    """

    def __init__(self, progress: Progress, report: Report, reports: int, names: dict[str, str]) -> None:
        """Nothing is reported yet.

        Args:
            progress: Whom to tell.
            report: Held-out figures and samples of the network now.
            reports: How often in the whole training.
            names: Which of TRL's figures are told, and what they are called here.
        """
        self._progress, self._report, self._reports, self._names = progress, report, reports, names

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        if found := self._named(logs or {}):
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
        last = next((found for logs in reversed(state.log_history) if (found := self._named(logs))), {})
        state.log_history.append({"reported": {"step": state.global_step, **last, **figures}})

    def _named(self, logs: dict[str, Any]) -> Figures:
        return {ours: float(logs[theirs]) for theirs, ours in self._names.items() if theirs in logs}


def curve_of(trainer: Any) -> tuple[dict[str, float | None], ...]:
    """Every report of the training, also of what went before an interruption."""
    return tuple(logs["reported"] for logs in trainer.state.log_history if "reported" in logs)


def seeded(seed: int) -> None:
    """TRL draws adapters' first weights from the global generator before it seeds that itself."""
    torch.manual_seed(seed)
