"""Supervised fine-tuning: messages to learn from → `LanguageModel`. Only the message's tokens are learned."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trl

from churn_assets.message.corpus.data import Messages
from churn_assets.message.model.base_model import base_model
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.language_model import LanguageModel, TrainingRecord, describe, weights_of
from churn_assets.message.model.likelihood import perplexity
from churn_assets.message.model.tokenizer import TextTokenizer
from churn_assets.message.training.checkpoint import checkpoint_folder
from churn_assets.message.training.compute import threads
from churn_assets.message.training.config import SftModelConfig
from churn_assets.message.training.progress import Figures, Progress, silent
from churn_assets.message.training.supervised import (
    Reporter,
    curve_of,
    dataset,
    lengths_of,
    lora,
    merged,
    refuse_long_rows,
    run,
    seeded,
    training_arguments,
)

EXAMPLES = 4
SAMPLE_TOKENS = 128
HELD_OUT_ROWS = 128
"""Of the validation split, for the curve: the gate looks at all of the test split."""


def train_sft(
    messages: Messages,
    config: SftModelConfig,
    *,
    seed: int,
    root: Path,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> LanguageModel:
    """Fine-tunes the configured base model on the training split.

    Args:
        messages: What to learn from; the validation split gives the curve of perplexity.
        config: The section `sft_model`.
        seed: Of weights, order and samples; equal seeds give equal bytes on one machine.
        root: The project's folder.
        progress: Told of loss, held-out perplexity and sample texts.
        checkpoints: Folder to keep checkpoints in, and to go on from; none are kept without it.

    Raises:
        TextError: A row is longer than `max_length`, or prompt and text share a token.
        ModelError: The base model cannot be used.
    """
    learned, held_out = messages.of("train"), messages.of("validation").head(HELD_OUT_ROWS)
    texts = [*learned["prompt"], *learned["completion"]]
    with threads(config.compute), tempfile.TemporaryDirectory() as scratch:
        network, tokenizer = base_model(config.base, texts, seed=seed, root=root)
        columns = supervised_columns(tokenizer, learned["prompt"].tolist(), learned["completion"].tolist())
        refuse_long_rows("sft_model", lengths_of(columns), config.max_length)
        folder = (
            Path(scratch)
            if checkpoints is None
            else checkpoint_folder(checkpoints, "sft_model", config, seed, columns, tokenizer.definition)
        )
        prompts, completions = held_out["prompt"].tolist(), held_out["completion"].tolist()

        def report(current: Any) -> tuple[Figures, Sequence[str]]:
            writer = Writer(current, tokenizer)
            return {"perplexity": perplexity(writer, prompts, completions)}, samples(writer, prompts, seed)

        trainer = sft_trainer(
            network,
            tokenizer,
            columns,
            config,
            seed=seed,
            folder=folder,
            keep_checkpoints=checkpoints is not None,
            reporter=Reporter(progress, report, config.reports, {"loss": "loss"}),
        )
        run(trainer, folder)
        trained, curve = merged(trainer.model), curve_of(trainer)
        architecture, shape = describe(trained)
        record = TrainingRecord(
            curve=curve,
            figures={
                "steps": trainer.state.global_step,
                "rows": len(learned),
                "parameters": trained.num_parameters(),
                "perplexity_validation": curve[-1]["perplexity"],
            },
            samples=tuple(samples(Writer(trained, tokenizer), prompts, seed)),
        )
    return LanguageModel(
        architecture, shape, weights_of(trained), tokenizer, tuple(prompts[:EXAMPLES]), record
    )


def supervised_columns(
    tokenizer: TextTokenizer, prompts: Sequence[str], texts: Sequence[str]
) -> dict[str, list[list[int]]]:
    """What TRL learns from: ids, and labels that leave the prompt out (-100)."""
    rows = tokenizer.supervised(prompts, texts)
    return {
        "input_ids": [ids for ids, _ in rows],
        "labels": [[-100] * prompt + ids[prompt:] for ids, prompt in rows],
    }


def sft_trainer(
    network: Any,
    tokenizer: TextTokenizer,
    columns: dict[str, list[list[int]]],
    config: SftModelConfig,
    *,
    seed: int,
    folder: Path,
    keep_checkpoints: bool,
    reporter: Reporter,
) -> Any:
    """TRL's trainer, every parameter as configured."""
    seeded(seed)
    rows = len(columns["input_ids"])
    arguments = training_arguments(
        config, rows=rows, seed=seed, folder=folder, keep_checkpoints=keep_checkpoints
    )
    return trl.SFTTrainer(
        network,
        args=trl.SFTConfig(**arguments),
        train_dataset=dataset(columns, config, seed),
        processing_class=tokenizer.transformers_tokenizer(),
        peft_config=lora(config.lora, "CAUSAL_LM"),
        callbacks=[reporter],
    )


def samples(writer: Writer, prompts: Sequence[str], seed: int, count: int = 3) -> list[str]:
    """A few prompts with what the model writes for them."""
    shown = list(prompts[:count])
    written: list[list[Generated]] = generate(writer, shown, seed=seed, max_new_tokens=SAMPLE_TOKENS)
    return [prompt + each[0].text for prompt, each in zip(shown, written, strict=True)]
