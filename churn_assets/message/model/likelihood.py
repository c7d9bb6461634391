"""How probable a language model finds a text: token by token, as perplexity, and against another model's opinion.

Nothing is sampled or trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from churn_assets.message.model.generation import Writer
from churn_assets.message.model.masks import Guide
from churn_assets.message.model.tokenizer import batches_of_like_length, padded
from churn_assets.message.training.rollouts import mini_batches

BATCH = 64
ROOM = 1 << 12
"""Tokens of a text that is read: as many as need not end it."""
_LOGITS_AT_ONCE = 1 << 22
"""Probabilities of a vocabulary that are held at a time: 16 MB of each model."""


def completion_log_probs(
    network: Any,
    ids: torch.Tensor,
    mask: torch.Tensor,
    prompt_length: int,
    allowed: torch.Tensor | None = None,
) -> torch.Tensor:
    """(n, length - prompt_length) log-probabilities of the tokens behind the first `prompt_length`.

    The vocabulary is projected on for those alone. Masked positions hold numbers without meaning. Where `allowed`
    (n, length - prompt_length, vocabulary) is given, no other tokens could have been drawn.
    """
    hidden = hidden_states(network, ids, mask)[:, prompt_length - 1 : -1]
    logits = network.get_output_embeddings()(hidden).float()
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    return logits.log_softmax(-1).gather(-1, ids[:, prompt_length:, None])[..., 0]


def hidden_states(network: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(n, length, width) last hidden states; positions count tokens, wherever the padding is."""
    places = (mask.cumsum(1) - 1).clamp(min=0)
    # Adapters sit within the layers: without peft's wrapper the network is the same. peft is not imported for it, as
    # whoever reads a saved model comes by here, and serving does without peft.
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    found: torch.Tensor = plain.base_model(
        input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False
    ).last_hidden_state
    return found


def perplexity(writer: Writer, prompts: Sequence[str], texts: Sequence[str]) -> float:
    """Exponential of the mean negative log-likelihood a token of the texts given their prompts, ends included."""
    with torch.no_grad():
        rows = writer.tokenizer.supervised(prompts, texts)
        total, count = 0.0, 0
        for batch in batches_of_like_length([ids for ids, _ in rows], BATCH):
            ids, mask = padded([rows[row][0] for row in batch], writer.tokenizer.pad_id)
            ids, mask = ids.to(writer.network.device), mask.to(writer.network.device)
            log_p = completion_log_probs(writer.network, ids, mask, 1)
            learned = mask[:, 1:].clone()
            for number, row in enumerate(batch):
                learned[number, : rows[row][1] - 1] = 0
            total -= float((log_p * learned).sum(dtype=torch.float64))
            count += int(learned.sum())
        return math.exp(total / count)


def text_kl(
    policy: Writer, reference: Writer, prompts: Sequence[Sequence[int]], written: Sequence[Sequence[int]]
) -> list[float]:
    """Nats a token that each message diverges by from the reference, estimated on its own tokens.

    The mean over messages that the policy drew, weighted by their tokens, estimates KL(policy || reference) a token.

    Args:
        policy: Who wrote them.
        reference: Of the same tokenizer.
        prompts: Ids of each prompt.
        written: Ids that followed it, the end included.
    """
    found = [0.0] * len(written)
    device = policy.network.device
    with torch.no_grad():
        for batch in mini_batches(prompts, written, BATCH, policy.tokenizer.pad_id, device):
            log_p, of_reference = (
                completion_log_probs(each.network, batch.ids, batch.mask, batch.prompt_length)
                for each in (policy, reference)
            )
            kl = ((log_p - of_reference) * batch.written).sum(1) / batch.written.sum(1)
            for row, value in zip(batch.rows, kl.tolist(), strict=True):
                found[row] = value
    return found


def mean_log_ratio(
    policy: Writer, reference: Writer, prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool]
) -> float:
    """Nats a token by which the policy finds the texts more probable than the reference does."""
    rows, alone = policy.tokenizer.rows(prompts, texts, ended), policy.tokenizer.encode(prompts)
    written = [ids[len(prompt) :] for ids, prompt in zip(rows, alone, strict=True)]
    told = [number for number, ids in enumerate(written) if ids]
    by_text = text_kl(policy, reference, [alone[each] for each in told], [written[each] for each in told])
    return float(np.average(by_text, weights=[len(written[each]) for each in told]))


def divergence(
    policy: Writer,
    reference: Writer,
    prompts: Sequence[str],
    texts: Sequence[str],
    ended: Sequence[bool],
    guide: Guide | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """KL(policy || reference) of the next token, over the whole vocabulary, at every place of the texts.

    Unlike `text_kl` it needs no draws of the policy's own: the texts only say where to look.

    Args:
        policy: Whose tokens are expected.
        reference: Of the same tokenizer.
        prompts: One a text.
        texts: What follows them.
        ended: Whether each ends by itself: then the end is one of its places.
        guide: What both may write: tokens that may not follow have no part in it.

    Returns:
        (n,) nats, summed over each text's places, and (n,) how many places there are.
    """
    tokenizer, device = policy.tokenizer, policy.network.device
    rows = tokenizer.rows(prompts, texts, ended)
    starts = [len(ids) for ids in tokenizer.encode(prompts)]
    nats, places = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    with torch.no_grad():
        for batch in batches_of_like_length(rows, BATCH):
            ids, mask = (each.to(device) for each in padded([rows[row] for row in batch], tokenizer.pad_id))
            written = mask[:, 1:].bool()
            for number, row in enumerate(batch):
                written[number, : starts[row] - 1] = False
            whose = written.nonzero()[:, 0].cpu().numpy()
            ours, theirs = (
                hidden_states(each.network, ids, mask)[:, :-1][written] for each in (policy, reference)
            )
            allowed = None
            if guide is not None:
                allowed = _allowed(guide, prompts, rows, starts, batch, policy.network.config.vocab_size)
                allowed = allowed.to(device)
            found = _kl(policy.network, ours, reference.network, theirs, allowed).double().cpu().numpy()
            nats[batch] = np.bincount(whose, found, len(batch))
            places[batch] = np.bincount(whose, minlength=len(batch))
    return nats, places


def _allowed(
    guide: Guide,
    prompts: Sequence[str],
    rows: Sequence[Sequence[int]],
    starts: Sequence[int],
    batch: Sequence[int],
    width: int,
) -> torch.Tensor:
    """(places, width) what may follow at each place of the texts of a batch, text by text."""
    written = [rows[row][starts[row] :] for row in batch]
    found = guide.masks.along(guide.of(prompts[row] for row in batch), written, ROOM, width)
    return torch.cat([each[: len(ids)] for each, ids in zip(found, written, strict=True)])


def _kl(
    policy: Any, ours: torch.Tensor, reference: Any, theirs: torch.Tensor, allowed: torch.Tensor | None
) -> torch.Tensor:
    """(n,) KL divergence of the next token, from (n, width) hidden states of both, over the tokens allowed."""
    heads = [each.get_output_embeddings() for each in (policy, reference)]
    at_once = max(1, _LOGITS_AT_ONCE // heads[0].weight.shape[0])
    found = []
    for start in range(0, len(ours), at_once):
        piece = slice(start, start + at_once)
        logits = [head(hidden[piece]).float() for head, hidden in zip(heads, (ours, theirs), strict=True)]
        if allowed is not None:
            logits = [each.masked_fill(~allowed[piece], -torch.inf) for each in logits]
        log_p, log_q = (each.log_softmax(-1) for each in logits)
        terms = log_p.exp() * (log_p - log_q)
        found.append(torch.where(log_p > -torch.inf, terms, 0.0).sum(-1))
    return torch.cat(found) if found else ours.new_zeros(0)
