"""Messages from a language model: sampled or greedy, in batches, in bounded time. No training, no judgement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from churn_assets.message.model.language_model import LanguageModel
from churn_assets.message.model.masks import Guide, MaskedTexts
from churn_assets.message.model.tokenizer import TextError, TextTokenizer, batches_of_like_length, padded
from churn_assets.message.training.config import EVERY_TOKEN, Sampling

BATCH = 64
"""Rows written at once. Tokens a second hardly rise beyond it on a CPU."""


@dataclass(frozen=True)
class Generated:
    """One message.

    Attributes:
        text: Without special tokens.
        ended: The model ended it by itself, within the tokens and the time allowed.
        tokens: Ids as they were drawn, the end included.
    """

    text: str
    ended: bool
    tokens: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Writer:
    """A language model ready to run.

    Attributes:
        network: Causal language model in evaluation mode.
        tokenizer: Texts to ids.
    """

    network: Any
    tokenizer: TextTokenizer

    @classmethod
    def of(cls, model: LanguageModel, device: str = "cpu") -> Writer:
        """With a network of its own."""
        return cls(model.network().to(device), model.tokenizer)


def generate(
    writer: Writer,
    prompts: Sequence[str],
    *,
    seed: int,
    max_new_tokens: int,
    n: int = 1,
    greedy: bool = False,
    sampling: Sampling = EVERY_TOKEN,
    guide: Guide | None = None,
    deadline_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[list[Generated]]:
    """Writes `n` messages for every prompt.

    Message `i` of a prompt is drawn by random numbers of its own, from the seed, the prompt and `i`: it does not
    depend on the other prompts, their order or `n`. (But for rounding: a batch of another shape can sum in another
    order, which matters only where a draw lies within a rounding error of the edge between two tokens.)

    Args:
        writer: The model.
        prompts: Ending without a space.
        seed: Of the draws.
        max_new_tokens: Most tokens of a message.
        n: Messages a prompt.
        greedy: The most probable token each time instead of a draw.
        sampling: Which tokens are drawn, and how.
        guide: Keeps to the facts of the prompts that it knows, whatever is drawn; None lets the model write anything.
        deadline_s: Seconds after which writing stops: what is unfinished then is returned as it is, `ended` False,
            and so is, empty, what was not begun.
        clock: Seconds, rising.

    Returns:
        For each prompt its messages.

    Raises:
        TextError: A prompt leaves no room for a message of that length, or a fact that cannot be said.
    """
    stop = None if deadline_s is None else clock() + deadline_s
    repeated = [prompt for prompt in prompts for _ in range(n)]
    draws = None if greedy else uniform_draws(prompts, n, max_new_tokens, seed)
    tokens: list[list[int]] = [[] for _ in repeated]
    encoded = writer.tokenizer.encode(repeated)
    facts = None if guide is None else guide.of(repeated)
    for rows in batches_of_like_length(encoded, BATCH):
        if stop is not None and clock() >= stop:
            break
        found = sample_tokens(
            writer,
            [encoded[row] for row in rows],
            max_new_tokens,
            None if draws is None else draws[rows],
            sampling,
            followed=None
            if guide is None or facts is None
            else guide.masks.follow([facts[row] for row in rows], max_new_tokens),
            expired=None if stop is None else lambda: clock() >= stop,
        )
        for row, ids in zip(rows, found, strict=True):
            tokens[row] = ids
    texts = writer.tokenizer.decode(tokens)
    eos = writer.tokenizer.eos_id
    written = [
        Generated(text, bool(ids) and ids[-1] == eos, tuple(ids))
        for text, ids in zip(texts, tokens, strict=True)
    ]
    return [written[start : start + n] for start in range(0, len(written), n)] if n else [[] for _ in prompts]


def uniform_draws(prompts: Sequence[str], n: int, length: int, seed: int) -> torch.Tensor:
    """(prompts x n, length) float32 in [0, 1), each row from the seed, its prompt and its number alone."""
    rows = [
        np.random.default_rng([seed, number, *prompt.encode()]).random(length, np.float32)
        for prompt in prompts
        for number in range(n)
    ]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros((0, length))


def sample_tokens(
    writer: Writer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    draws: torch.Tensor | None,
    sampling: Sampling = EVERY_TOKEN,
    followed: MaskedTexts | None = None,
    expired: Callable[[], bool] | None = None,
) -> list[list[int]]:
    """Ids of one batch, the end included where the model ended.

    Finished rows leave the batch: the last tokens of the longest message cost next to nothing.

    Args:
        writer: The model.
        prompts: Ids of each prompt.
        max_new_tokens: Most tokens of a message.
        draws: (prompts, max_new_tokens) in [0, 1): where in the cumulative distribution each token is taken; None
            for the most probable one.
        sampling: Which tokens are drawn, and how.
        followed: Says which tokens may follow.
        expired: Asked before every token; writing stops when it says so.

    Raises:
        TextError: A prompt leaves no room for a message of that length.
    """
    with torch.no_grad():
        network, tokenizer = writer.network, writer.tokenizer
        device = network.device
        longest, positions = max(map(len, prompts)), network.config.max_position_embeddings
        if longest + max_new_tokens > positions:
            msg = f"a prompt of {longest} tokens and {max_new_tokens} new ones: expected at most {positions} in all"
            raise TextError(msg)
        ids, mask = (each.to(device) for each in padded(prompts, tokenizer.pad_id, left=True))
        draws = None if draws is None else draws.to(device)
        written: list[list[int]] = [[] for _ in prompts]
        alive = torch.arange(len(prompts), device=device)
        cache, step = None, ids
        for position in range(max_new_tokens):
            if expired is not None and expired():
                break
            places = (mask.cumsum(1) - 1).clamp(min=0)[:, -step.shape[1] :]
            answer = network(
                input_ids=step,
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, logits = answer.past_key_values, answer.logits[:, -1].float()
            if followed is not None:
                logits = masked(logits, followed)
            token = (
                logits.argmax(-1) if draws is None else draw_tokens(logits, draws[alive, position], sampling)
            )
            for row, drawn in zip(alive.tolist(), token.tolist(), strict=True):
                written[row].append(drawn)
            going = token != tokenizer.eos_id
            if not going.all():
                kept = going.nonzero()[:, 0]
                if not len(kept):
                    break
                cache.batch_select_indices(kept)
                alive, token, mask = alive[kept], token[kept], mask[kept]
            if followed is not None:
                followed.keep(going.cpu().numpy())
                followed.advance(token.cpu().numpy())
            step = token[:, None]
            mask = torch.cat([mask, mask.new_ones((len(mask), 1))], 1)
        return written


def masked(logits: torch.Tensor, followed: MaskedTexts) -> torch.Tensor:
    """(n, vocabulary) the logits of the tokens that may follow; no others can be drawn."""
    allowed = torch.from_numpy(followed.allowed(logits.shape[1])).to(logits.device)
    return logits.masked_fill(~allowed, -torch.inf)


def draw_tokens(logits: torch.Tensor, draws: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """(n,) ids: where each draw falls in its row's cumulative distribution."""
    probability = (logits / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        falling, ids = torch.sort(probability, stable=True, dim=-1, descending=True)
        before = falling.cumsum(-1) - falling
        probability = probability.scatter(-1, ids, falling * (before < sampling.top_p))
    cumulative = probability.cumsum(-1)
    # Rounding leaves the last sum a little off 1. Scaled by it, no draw falls behind the last token that can be drawn,
    # nor, where the product is rounded up to it, on one behind that.
    last = cumulative[:, -1:]
    return (cumulative <= draws[:, None] * last).sum(-1).minimum((cumulative < last).sum(-1))
