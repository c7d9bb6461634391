"""How probable a language model finds a text: token by token, and as perplexity. Nothing is sampled or trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import peft
import torch

from churn_assets.message.generation import Writer
from churn_assets.message.rollouts import mini_batches
from churn_assets.message.tokenizer import padded

BATCH = 64


def completion_log_probs(
    network: Any, ids: torch.Tensor, mask: torch.Tensor, prompt_length: int
) -> torch.Tensor:
    """(n, length - prompt_length) log-probabilities of the tokens behind the first `prompt_length`.

    The vocabulary is projected on for those alone. Masked positions hold numbers without meaning.
    """
    hidden = hidden_states(network, ids, mask)[:, prompt_length - 1 : -1]
    logits = network.get_output_embeddings()(hidden).float()
    return logits.log_softmax(-1).gather(-1, ids[:, prompt_length:, None])[..., 0]


def hidden_states(network: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(n, length, width) last hidden states; positions count tokens, wherever the padding is."""
    places = (mask.cumsum(1) - 1).clamp(min=0)
    # Adapters sit within the layers: without peft's wrapper the network is the same.
    plain = network.get_base_model() if isinstance(network, peft.PeftModel) else network
    found: torch.Tensor = plain.base_model(
        input_ids=ids, attention_mask=mask, position_ids=places, use_cache=False
    ).last_hidden_state
    return found


def perplexity(writer: Writer, prompts: Sequence[str], texts: Sequence[str]) -> float:
    """Exponential of the mean negative log-likelihood a token of the texts given their prompts, ends included."""
    with torch.no_grad():
        rows = writer.tokenizer.supervised(prompts, texts)
        rows = sorted(rows, key=lambda row: len(row[0]))
        total, count = 0.0, 0
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            ids, mask = padded([ids for ids, _ in batch], writer.tokenizer.pad_id)
            ids, mask = ids.to(writer.network.device), mask.to(writer.network.device)
            log_p = completion_log_probs(writer.network, ids, mask, 1)
            learned = mask[:, 1:].clone()
            for number, (_, prompt) in enumerate(batch):
                learned[number, : prompt - 1] = 0
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
