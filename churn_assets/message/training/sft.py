"""Supervised fine-tuning: messages to learn from → `LanguageModel`. Only the message's tokens are learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from churn_assets.message.corpus.data import MessageCorpus
from churn_assets.message.model.base_model import base_model
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.language_model import (
    LanguageModel,
    TrainingRecord,
    architecture_of,
    weights_of,
)
from churn_assets.message.model.likelihood import perplexity
from churn_assets.message.model.tokenizer import TextTokenizer
from churn_assets.message.training.checkpoint import checkpoint_folder
from churn_assets.message.training.compute import threads
from churn_assets.message.training.config import SftModelConfig
from churn_assets.message.training.progress import Figures, Progress, silent
from churn_assets.message.training.supervised import Reporter, fine_tuned, refuse_long_rows, total_steps

EXAMPLES = 4
SAMPLE_TOKENS = 128
HELD_OUT_ROWS = 128
"""Of the validation split, for the curve: the gate looks at all of the test split."""


def train_sft(
    messages: MessageCorpus,
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
    rows, held_out = messages.of("train"), messages.of("validation").head(HELD_OUT_ROWS)
    prompts, completions = held_out["prompt"].tolist(), held_out["completion"].tolist()
    with threads(config.compute):
        network, tokenizer = base_model(
            config.base, [*rows["prompt"], *rows["completion"]], seed=seed, root=root
        )
        columns = supervised_columns(tokenizer, rows["prompt"].tolist(), rows["completion"].tolist())
        refuse_long_rows("sft_model", columns, config.max_length)

        def report(current: Any) -> tuple[Figures, Sequence[str]]:
            writer = Writer(current, tokenizer)
            return {"perplexity": perplexity(writer, prompts, completions)}, samples(writer, prompts, seed)

        trained, curve = fine_tuned(
            network,
            tokenizer,
            columns,
            config,
            Reporter(progress, report, config.reports),
            seed=seed,
            folder=checkpoint_folder(checkpoints, "sft_model", config, seed, columns, tokenizer.definition),
        )
        record = TrainingRecord(
            curve=curve,
            figures={
                "steps": total_steps(config, len(rows)),
                "rows": len(rows),
                "parameters": trained.num_parameters(),
                "perplexity_validation": curve[-1]["perplexity"],
            },
            samples=tuple(samples(Writer(trained, tokenizer), prompts, seed)),
        )
    architecture, shape = architecture_of(trained)
    examples = tuple(prompts[:EXAMPLES])
    return LanguageModel(architecture, shape, weights_of(trained), tokenizer, examples, record)


def supervised_columns(
    tokenizer: TextTokenizer, prompts: Sequence[str], texts: Sequence[str]
) -> dict[str, list[list[int]]]:
    """What TRL learns from: ids, and labels that leave the prompt out (-100)."""
    rows = tokenizer.supervised(prompts, texts)
    return {
        "input_ids": [ids for ids, _ in rows],
        "labels": [[-100] * prompt + ids[prompt:] for ids, prompt in rows],
    }


def samples(writer: Writer, prompts: Sequence[str], seed: int, count: int = 3) -> list[str]:
    """A few prompts with what the model writes for them."""
    shown = list(prompts[:count])
    written: list[list[Generated]] = generate(writer, shown, seed=seed, max_new_tokens=SAMPLE_TOKENS)
    return [prompt + each[0].text for prompt, each in zip(shown, written, strict=True)]
