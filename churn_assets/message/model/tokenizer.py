"""Texts to token ids and back: one format in SFT, reward training, RL and serving. Knows no model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS_AND_EOS, PAD = "</s>", "<pad>"

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_PIECES = Regex(
    r" ?\d+(?:\.\d+)?%| ?\d+ months?"
    r"|'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
"""What merges may not cross: GPT-2's words, numbers and punctuation, but a quantity and its unit stay one piece. Where
`20%` is one token, a tiny reward model can learn to compare it with the offer; with ` 20` and `%` none that was tried
did."""


class TextError(ValueError):
    """A text cannot be given to the model; names the row, found and expected."""


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and its special tokens.

    Attributes:
        definition: tokenizer.json of the tokenizers library; it holds no code.
        eos_id: Ends a message.
        pad_id: Fills batches; never the end of a message, or a reward model could not tell where a text ends.
    """

    definition: str
    eos_id: int
    pad_id: int

    def __post_init__(self) -> None:
        if self.pad_id == self.eos_id:
            msg = f"padding and end of text are both token {self.eos_id}: expected a padding token of its own"
            raise TextError(msg)
        for role, token in (("end of text", self.eos_id), ("padding", self.pad_id)):
            if not 0 <= token < self.size:
                raise TextError(f"{role} is token {token}: expected one of {self.size} tokens")

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        try:
            tokenizer = Tokenizer.from_str(self.definition)
        except Exception as error:  # the library raises nothing narrower
            raise TextError(f"tokenizer.json: {error}; expected the tokenizers library's format") from error
        # A text that spells a special token stays a text: no user's file can end a message early.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    @property
    def size(self) -> int:
        """Ids run from 0 to one less."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        return 1 + max(vocabulary.values(), default=-1)

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text, with what the tokenizer puts before every text, without an end."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]

    def rows(self, prompts: Sequence[str], texts: Sequence[str], ended: Iterable[bool]) -> list[list[int]]:
        """Ids of prompt and text, and of the end where the text ended by itself: what every model is trained on."""
        joined = self.encode(prompt + text for prompt, text in zip(prompts, texts, strict=True))
        return [ids + [self.eos_id] * end for ids, end in zip(joined, ended, strict=True)]

    def supervised(self, prompts: Sequence[str], texts: Sequence[str]) -> list[tuple[list[int], int]]:
        """Ids of prompt and whole text, and how many of them are the prompt's.

        Raises:
            TextError: Some prompt's ids are not where the whole text's start: the model would be trained on
                another prompt than it sees when it writes.
        """
        whole = self.rows(prompts, texts, [True] * len(prompts))
        alone = self.encode(prompts)
        for number, (ids, prompt) in enumerate(zip(whole, alone, strict=True)):
            if ids[: len(prompt)] != prompt:
                raise TextError(
                    f"row {number}: the end of the prompt and the start of the text share a token: expected a prompt "
                    f"that ends without a space and a text that starts with one, found {prompts[number][-12:]!r} and "
                    f"{texts[number][:12]!r}"
                )
        return [(ids, len(prompt)) for ids, prompt in zip(whole, alone, strict=True)]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of ids, without special tokens."""
        return list(self._tokenizer.decode_batch([list(ids) for ids in rows], skip_special_tokens=True))

    def token_bytes(self) -> list[bytes]:
        """The bytes that each token writes; none for special tokens, and where the vocabulary has a gap."""
        definition = json.loads(self.definition)
        special = {each["id"] for each in definition.get("added_tokens", ()) if each.get("special")}
        kinds = _decoders(definition.get("decoder"))
        found = [b""] * self.size
        for token, number in self._tokenizer.get_vocab(with_added_tokens=True).items():
            if number not in special | {self.eos_id, self.pad_id}:
                found[number] = _bytes_of(token, in_alphabet="ByteLevel" in kinds)
        return found

    def transformers_tokenizer(self) -> Any:
        """As transformers and TRL want it."""
        from transformers import PreTrainedTokenizerFast

        tokenizer = Tokenizer.from_str(self.definition)
        tokenizer.encode_special_tokens = True
        eos, pad = (tokenizer.id_to_token(token) for token in (self.eos_id, self.pad_id))
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token=eos, eos_token=eos, pad_token=pad, padding_side="left"
        )


def _decoders(decoder: Any) -> set[str]:
    """Kinds of a decoder and of its parts."""
    if not decoder:
        return set()
    return {decoder["type"]}.union(*map(_decoders, decoder.get("decoders", ())))


@lru_cache
def _alphabet() -> dict[str, int]:
    """The byte that each letter of a byte-level vocabulary stands for, as GPT-2 has it."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = (byte for byte in range(256) if byte not in plain)
    return {chr(byte): byte for byte in plain} | {chr(256 + each): byte for each, byte in enumerate(hidden)}


def _bytes_of(token: str, *, in_alphabet: bool) -> bytes:
    """What a token writes: of a byte-level vocabulary, or of one of SentencePiece (`▁` for a space, `<0x0A>`)."""
    letters = _alphabet()
    if in_alphabet and all(letter in letters for letter in token):
        return bytes(letters[letter] for letter in token)
    if not in_alphabet and (byte := _BYTE.fullmatch(token)):
        return bytes([int(byte.group(1), 16)])
    return token.replace("▁", " ").encode()


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> TextTokenizer:
    """A byte-level BPE tokenizer of these texts; every text starts with `</s>`, as OPT's do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_PIECES, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, BOS_AND_EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pad, eos = 0, 1  # in the order of the special tokens above
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS_AND_EOS} $A", special_tokens=[(BOS_AND_EOS, eos)]
    )
    return TextTokenizer(tokenizer.to_str(), eos, pad)


def batches_of_like_length(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Places of the rows, the shortest first, so many at a time: a pass over some carries little padding."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def padded(
    rows: Sequence[Sequence[int]], pad_id: int, *, left: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, longest) ids and their mask, 1 where a token is; filled on the right, or on the left to write on from."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(longest - len(row), None) if left else slice(0, len(row))
        ids[number, place] = torch.tensor(row, dtype=torch.long)
        mask[number, place] = 1
    return ids, mask
