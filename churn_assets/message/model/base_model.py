"""The untrained or pretrained network and tokenizer that SFT starts from, as configured."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from churn_assets.message.model.language_model import (
    ARCHITECTURES,
    ModelError,
    architecture_of,
    build_network,
    weights_of,
)
from churn_assets.message.model.tokenizer import TextTokenizer, train_tokenizer
from churn_assets.message.training.config import Base, FromScratch, Hub, LocalFolder
from churn_assets.message.training.memory import TooLittleMemory, free_memory

_POINTER = b"version https://git-lfs"
_PROBE = "Offer: 20% off for 6 months\nMessage: Hi {name}, thank you."
_LEAST_VOCABULARY = 0.9
"""Of a model's tokens, those that its tokenizer has at least: some models are padded to a round number."""
_WORSE_THAN_CHANCE = 0.5
"""Nats a token. An untrained network is within .1 of chance; with its tokens permuted, a trained one is far above."""


def base_model(config: Base, texts: Iterable[str], *, seed: int, root: Path) -> tuple[Any, TextTokenizer]:
    """The network to fine-tune and its tokenizer.

    Args:
        config: Where it comes from.
        texts: Training texts, for a tokenizer from scratch.
        seed: Of random weights.
        root: The project's folder: a relative path of a local folder starts there.

    Raises:
        ModelError: The folder or repository holds no model that can be used.
    """
    if isinstance(config, FromScratch):
        tokenizer = train_tokenizer(texts, config.vocabulary)
        return _from_scratch(config, tokenizer, seed), tokenizer
    if isinstance(config, LocalFolder):
        folder = root / config.path
        if not (folder / "config.json").is_file():
            msg = f"sft_model.base.path: found no config.json in {folder}, expected the folder of a model"
            raise ModelError(msg)
        _refuse_pointers(folder)
        return _pretrained(str(folder), config, local_files_only=True)
    return _pretrained(config.name, config, revision=config.revision)


def _from_scratch(config: FromScratch, tokenizer: TextTokenizer, seed: int) -> Any:
    shape = transformers.LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        initializer_range=config.init_std,
        bos_token_id=tokenizer.eos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(shape)


def _pretrained(name: str, config: LocalFolder | Hub, **where: Any) -> tuple[Any, TextTokenizer]:
    """Only safetensors and JSON are read; `trust_remote_code` is off, so no code of the repository runs."""
    try:
        described = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, ValueError) as error:
        raise ModelError(f"sft_model.base: found no usable model {name!r} ({error})") from error
    if described.model_type not in ARCHITECTURES:
        msg = f"sft_model.base: {name!r} is a {described.model_type!r} model, expected one of {sorted(ARCHITECTURES)}"
        raise ModelError(msg)
    _refuse_beyond_memory(name, described)
    try:
        network, loading = ARCHITECTURES[described.model_type].causal.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **where
        )
        found = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        msg = f"sft_model.base: found no safetensors and tokenizer.json of {name!r} that fit its config ({error})"
        raise ModelError(msg) from error
    _refuse_other_weights(name, loading)
    tokenizer = _tokenizer(name, found, config)
    # What the file says of special tokens gives way to what is trained with.
    network.config.eos_token_id, network.config.pad_token_id = tokenizer.eos_id, tokenizer.pad_id
    _refuse_other_vocabulary(name, network, tokenizer)
    architecture, shape = architecture_of(network)
    return build_network("causal", architecture, shape, weights_of(network)), tokenizer


def _refuse_beyond_memory(name: str, described: Any) -> None:
    """What is too large to be read would end the process, and say nothing."""
    with torch.device("meta"):
        whole = ARCHITECTURES[described.model_type].causal(described)
    needed = 2 * sum(each.numel() * 4 for each in whole.parameters())
    free = free_memory(torch.device("cpu"))
    if free is not None and needed > free:
        raise TooLittleMemory(
            f"sft_model.base: {name!r}: found {free / 1e9:.1f} GB of memory free, expected {needed / 1e9:.1f} GB: its "
            f"weights, {needed / 2e9:.1f} GB, are there twice while they are read; take a smaller model, or a larger "
            "machine"
        )


def _refuse_pointers(folder: Path) -> None:
    """Files that a clone without Git LFS leaves in place of large ones."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            with path.open("rb") as file:
                if file.read(len(_POINTER)) == _POINTER:
                    raise ModelError(
                        f"sft_model.base.path: {path} is a Git LFS pointer, expected the file itself; run "
                        "`git lfs pull` in the folder it was cloned to"
                    )


def _refuse_other_weights(name: str, loading: Mapping[str, Collection[object]]) -> None:
    """Weights that the file lacks would be drawn at random, and others be left out, in silence."""
    for what, names in loading.items():
        if names:
            first = min(map(str, names))
            raise ModelError(
                f"sft_model.base: {name!r}: found {len(names)} {what.replace('_', ' ')}, such as {first!r}; expected "
                "the weights of its config.json, each under its own name"
            )


def _refuse_other_vocabulary(name: str, network: Any, tokenizer: TextTokenizer) -> None:
    """A tokenizer of another model: of another size, or one whose plain English the network takes for noise."""
    size = network.config.vocab_size
    if not _LEAST_VOCABULARY * size <= tokenizer.size <= size:
        raise ModelError(
            f"sft_model.base: {name!r}: found a tokenizer of {tokenizer.size} tokens, expected that of its model, "
            f"which has {size}"
        )
    ids = torch.tensor(tokenizer.encode([_PROBE]))
    with torch.no_grad():
        nats = float(network(ids, labels=ids).loss)
    if not nats <= math.log(size) + _WORSE_THAN_CHANCE:
        raise ModelError(
            f"sft_model.base: {name!r}: plain English costs it {nats:.1f} nats a token, more than a draw among its "
            f"{size} tokens ({math.log(size):.1f}); expected the tokenizer that it was trained with"
        )


def _tokenizer(name: str, found: Any, config: LocalFolder | Hub) -> TextTokenizer:
    pad = config.pad_token if config.pad_token is not None else found.pad_token
    if pad is None or pad not in found.get_vocab() or pad == found.eos_token:
        raise ModelError(
            f"sft_model.base.pad_token: found {pad!r} for {name!r}, expected a token of its vocabulary that no text "
            f"contains, other than the end of text {found.eos_token!r}"
        )
    tokenizer = TextTokenizer(
        found.backend_tokenizer.to_str(), found.eos_token_id, found.convert_tokens_to_ids(pad)
    )
    probe = [_PROBE]
    theirs = found(probe)["input_ids"]
    if theirs[0][-1] == tokenizer.eos_id:
        raise ModelError(
            f"sft_model.base: {name!r}: its tokenizer ends every text with {found.eos_token!r}, also a prompt; "
            "expected one that adds nothing behind a text (`add_eos_token`, or the post-processor of tokenizer.json)"
        )
    if tokenizer.encode(probe) != theirs:
        msg = f"{name!r}: its tokenizer.json alone gives other tokens than its own tokenizer; it cannot be stored"
        raise ModelError(msg)
    return tokenizer
