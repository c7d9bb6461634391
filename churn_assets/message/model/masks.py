"""Which tokens a text may go on with, so that its facts are right whatever is drawn: `facts.py` over a tokenizer.

A text is finished within its tokens: what is still missing is said while there is room for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from churn_assets.message.config import SafetyRules
from churn_assets.message.model.tokenizer import TextError, TextTokenizer
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.facts import (
    DEAD,
    FAR,
    FactAutomaton,
    FactsError,
    PromptFacts,
    known_words,
    prompt_facts,
)
from churn_assets.message.text.safety import Safety

_Room = npt.NDArray[np.int16]
FREE = -1
"""Key of a text of which no facts are known."""
_MOST_BYTES = 1 << 28
"""Of rows that are kept: 256 MB."""


@dataclass(frozen=True, eq=False)
class _Key:
    """The facts of one prompt, over one automaton.

    Attributes:
        may: (labels,) whether each may be said.
        bit: (labels,) of what each says; 0 for nothing that is missed.
        all_said: Every bit.
        paths: States along each form, bytes to its end, and its bit.
        lengths: Bytes of the shortest form of each bit.
    """

    may: npt.NDArray[np.bool_]
    bit: npt.NDArray[np.int16]
    all_said: int
    paths: tuple[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], int], ...]
    lengths: tuple[int, ...]

    def missing(self, said: int) -> int:
        """Bytes in which all that is not said yet could be said, each behind a space."""
        return sum(1 + length for number, length in enumerate(self.lengths) if not said >> number & 1)


@dataclass
class _Rows:
    """What was worked out of one automaton, to be looked up.

    Attributes:
        tokens: By state, (tokens,) the next states and labels of what is said on the way.
        index: By key, what is said and state: a row of `room`.
        room: (rows, tokens) tokens that must be left behind each one; `FAR` where it may not follow.
    """

    automaton: FactAutomaton
    keys: list[_Key] = field(default_factory=list)
    numbers: dict[PromptFacts, int] = field(default_factory=dict)
    tokens: dict[int, tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]] = field(default_factory=dict)
    distance: dict[tuple[int, int], npt.NDArray[np.int32]] = field(default_factory=dict)
    index: dict[tuple[int, int, int], int] = field(default_factory=dict)
    room: _Room = field(default_factory=lambda: np.zeros((0, 0), np.int16))

    def forget_many(self) -> None:
        """Begins anew where too much is kept."""
        known = 8 * len(self.tokens) * self.room.shape[1]
        if self.room.nbytes + known > _MOST_BYTES:
            self.index.clear()
            self.tokens.clear()
            self.room = self.room[:0]


class TokenMasks:
    """Which tokens of a tokenizer may follow, for the facts of each prompt.

    Args:
        tokenizer: Of the model that writes.
        rules: The `safety:` section: whose language says which words count.
    """

    def __init__(self, tokenizer: TextTokenizer, rules: SafetyRules) -> None:
        self._eos = tokenizer.eos_id
        self._bytes, self._lengths = _padded_bytes(tokenizer)
        self._words = known_words(rules)
        self._rows: _Rows | None = None

    def follow(self, facts: Sequence[PromptFacts | None], max_new_tokens: int) -> MaskedTexts:
        """Texts that are about to be written, one for each of these facts; anything may follow where they are None.

        Where some cannot be said in so many tokens, a text may be cut off before its end, as any other can.

        Raises:
            TextError: A fact cannot be said at all.
        """
        rows = self._known({each for each in facts if each is not None})
        keys = [FREE if each is None else self._key(rows, each) for each in facts]
        most = max((3 + rows.keys[key].missing(0) for key in set(keys) - {FREE}), default=0)
        return MaskedTexts(self, rows, np.array(keys, np.int64), max(max_new_tokens, most))

    def along(
        self,
        facts: Sequence[PromptFacts | None],
        written: Sequence[Sequence[int]],
        max_new_tokens: int,
        width: int,
    ) -> torch.Tensor:
        """(n, longest, width) which tokens might have stood at each place of these texts; all behind their ends.

        Args:
            facts: Of each text's prompt.
            written: Its tokens, drawn under these masks; behind one that could not be, everything might have stood.
            max_new_tokens: Those that there was room for.
            width: Tokens that the model knows.
        """
        longest = max(map(len, written))
        allowed = np.ones((len(written), longest, width), bool)
        followed = self.follow(facts, max_new_tokens)
        rows = np.arange(len(written))
        for place in range(longest):
            going = np.array([len(written[row]) > place for row in rows.tolist()])
            if not going.all():
                rows = rows[going]
                followed.keep(going)
            allowed[rows, place] = followed.allowed(width)
            followed.advance(np.array([written[row][place] for row in rows.tolist()]))
        return torch.from_numpy(allowed)

    def _known(self, facts: Iterable[PromptFacts]) -> _Rows:
        """What was worked out, begun anew where a fact is new."""
        forms = {form for each in facts for alternatives in each.required for form in alternatives}
        if self._rows is None or not forms <= set(self._rows.automaton.forms):
            known = set(self._rows.automaton.forms) if self._rows else set[str]()
            self._rows = _Rows(FactAutomaton(self._words, forms | known))
        return self._rows

    def _key(self, rows: _Rows, facts: PromptFacts) -> int:
        if facts not in rows.numbers:
            rows.numbers[facts] = len(rows.keys)
            rows.keys.append(_key_of(rows.automaton, facts))
        return rows.numbers[facts]

    def row(self, rows: _Rows, key: int, said: int, state: int) -> int:
        """The place in `rows.room` of one state of one text."""
        place = rows.index.get((key, said, state))
        if place is None:
            place = len(rows.index)
            if place == len(rows.room):
                grown = np.empty((max(256, 2 * place), len(self._lengths)), np.int16)
                if place:
                    grown[:place] = rows.room
                rows.room = grown
            rows.room[place] = self._room(rows, key, said, state)
            rows.index[key, said, state] = place
        return place

    def _room(self, rows: _Rows, key: int, said: int, state: int) -> npt.NDArray[np.int32]:
        """(tokens,) those that must be left behind each: bytes will do, as each is a token."""
        facts, (after, event) = rows.keys[key], self.tokens_from(rows, state)
        bits = facts.bit[event] | said
        alive = (after != DEAD) & facts.may[event]
        found = np.where(alive, 1 + self._distance(rows, key, said)[after], np.int32(FAR))
        for token in np.flatnonzero(alive & (bits != said)).tolist():
            found[token] = 1 + self._distance(rows, key, int(bits[token]))[after[token]]
        found[self._eos] = 0 if said == facts.all_said and rows.automaton.ends[state] else FAR
        return np.minimum(found, FAR)

    def _distance(self, rows: _Rows, key: int, said: int) -> npt.NDArray[np.int32]:
        """(states,) bytes to an end from each, where so much is said."""
        found = rows.distance.get((key, said))
        if found is None:
            facts, automaton = rows.keys[key], rows.automaton
            found = automaton.free + facts.missing(said) + 1
            for states, left, bit in facts.paths:
                np.minimum.at(found, states, left + facts.missing(said | bit) + 1)
            if said == facts.all_said:
                found[automaton.ends] = 0
            else:
                found[automaton.space] = facts.missing(
                    said
                )  # the space before the first of them stands there
            rows.distance[key, said] = found
        return found

    def tokens_from(self, rows: _Rows, state: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """(tokens,) the state behind each token, and the label of what is said on its way."""
        found = rows.tokens.get(state)
        if found is None:
            automaton = rows.automaton
            after = np.where(self._lengths > 0, np.int32(state), np.int32(DEAD))
            event = np.zeros_like(after)
            for place in range(self._bytes.shape[1]):
                going = np.flatnonzero((self._lengths > place) & (after != DEAD))
                if not len(going):
                    break
                byte, before = self._bytes[going, place], after[going]
                said = automaton.event[before, byte]
                # A token that says two things at once is none that any text needs.
                twice = (said > 0) & (event[going] > 0)
                event[going] = np.maximum(event[going], said)
                after[going] = np.where(twice, DEAD, automaton.step[before, byte])
            rows.tokens[state] = found = (after, event)
        return found


@dataclass(frozen=True, eq=False)
class Guide:
    """The masks of a tokenizer, and what is known of some prompts; whatever may follow another prompt.

    Attributes:
        masks: Of the tokenizer.
        safety: The rules that texts are held to.
        situations: By prompt, whom and what it is about.
        facts: By prompt.
    """

    masks: TokenMasks
    safety: Safety
    situations: Mapping[str, Situation]
    facts: Mapping[str, PromptFacts]

    def of(self, prompts: Iterable[str]) -> list[PromptFacts | None]:
        """The facts of each prompt."""
        return [self.facts.get(prompt) for prompt in prompts]

    def refused(self, prompts: Sequence[str], texts: Sequence[str]) -> npt.NDArray[np.bool_]:
        """(n,) whether the rules forbid to send each text; none of a prompt that is unknown."""
        found = np.zeros(len(prompts), bool)
        for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
            if (situation := self.situations.get(prompt)) is not None:
                found[row] = not self.safety.check(text, situation.profile, situation.arm).safe
        return found


def guide_of(masks: TokenMasks, safety: Safety, situations: Iterable[Situation]) -> Guide:
    """What guides texts about these situations."""
    known = {each.prompt: each for each in situations}
    facts = {
        prompt: prompt_facts(each.profile, each.arm, safety.language, gifts=safety.tells_gifts)
        for prompt, each in known.items()
    }
    return Guide(masks, safety, known, facts)


@lru_cache(maxsize=2)
def masks_of(tokenizer: TextTokenizer, rules: SafetyRules) -> TokenMasks:
    """The masks of a tokenizer, kept for whoever asks again."""
    return TokenMasks(tokenizer, rules)


class MaskedTexts:
    """Texts while they are written: which tokens may follow, until each has ended."""

    def __init__(
        self, masks: TokenMasks, rows: _Rows, keys: npt.NDArray[np.int64], max_new_tokens: int
    ) -> None:
        self._masks, self._rows, self._keys = masks, rows, keys.copy()
        self._left = max_new_tokens
        self._states = np.full(len(keys), rows.automaton.start, np.int64)
        self._said = np.zeros(len(keys), np.int64)

    def allowed(self, width: int) -> npt.NDArray[np.bool_]:
        """(n, width) tokens that each may go on with; never none."""
        self._rows.forget_many()
        places = zip(self._keys.tolist(), self._said.tolist(), self._states.tolist(), strict=True)
        rows = [FREE if each[0] == FREE else self._masks.row(self._rows, *each) for each in places]
        known = self._rows.room.shape[1]
        allowed = np.zeros((len(rows), width), bool)
        if len(self._rows.room):
            np.less(self._rows.room[rows], self._left, out=allowed[:, :known])
        allowed[self._keys == FREE] = True
        return allowed

    def advance(self, tokens: npt.NDArray[np.int64]) -> None:
        """Goes on behind these; a text that was ended must be left out before the next ones."""
        for row, (state, key, token) in enumerate(
            zip(self._states.tolist(), self._keys.tolist(), tokens.tolist(), strict=True)
        ):
            if key == FREE:
                continue
            after, event = self._masks.tokens_from(self._rows, state)
            if after[token] == DEAD:
                self._keys[row] = FREE
                continue
            self._states[row] = after[token]
            self._said[row] |= self._rows.keys[key].bit[event[token]]
        self._left -= 1

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Those that go on."""
        self._keys, self._states, self._said = self._keys[which], self._states[which], self._said[which]


def _key_of(automaton: FactAutomaton, facts: PromptFacts) -> _Key:
    """The facts over an automaton.

    Raises:
        TextError: One of them cannot be said.
    """
    bit = np.zeros(len(automaton.permitted(facts)), np.int16)
    paths, lengths = [], []
    for number, forms in enumerate(facts.required):
        for form in forms:
            bit[automaton.labels[form]] |= 1 << number
            try:
                states = np.array(automaton.path(form), np.int64)
            except FactsError as error:
                raise TextError(str(error)) from error
            paths.append((states[1:], np.arange(len(states) - 2, -1, -1, dtype=np.int32), 1 << number))
        lengths.append(min(len(form.encode()) for form in forms))
    return _Key(automaton.permitted(facts), bit, (1 << len(lengths)) - 1, tuple(paths), tuple(lengths))


def _padded_bytes(tokenizer: TextTokenizer) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """(tokens, longest) bytes of each token, and how many there are; none of special ones.

    Raises:
        TextError: Some byte is no token of its own, so that not every word can be written.
    """
    found = tokenizer.token_bytes()
    alone = {each for each in found if len(each) == 1}
    if missing := [byte for byte in range(32, 127) if bytes([byte]) not in alone]:
        raise TextError(
            f"tokenizer: found no token for {chr(missing[0])!r} alone, expected one for every byte: no name or number "
            "could be written by construction"
        )
    lengths = np.array([len(each) for each in found])
    padded = np.zeros((len(found), int(lengths.max(initial=1))), np.uint8)
    for row, each in enumerate(found):
        padded[row, : len(each)] = np.frombuffer(each, np.uint8)
    return padded, lengths
