"""Explains what a text says, sentence by sentence, by the grammar of its language. Judges no number.

Nothing here searches for what might be wrong: a sentence that no pattern explains is refused, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from churn_assets.message.text.languages.pack import RANKS, FaultName, Grammar, Kind

NAME_SIGN, SERVICE_SIGN, GIFT_SIGN = "\ue000", "\ue001", "\ue002"
"""Stand for name, service and gift in a text that is read: no text of a model may hold these characters."""

_SIGNS = {NAME_SIGN: "NAME", SERVICE_SIGN: "SERVICE", GIFT_SIGN: "G"}
_ENDS, _QUOTES = frozenset(".!?"), frozenset("\"“”„‘'¿¡")
_PIECE = re.compile(r"[()|?*]|[^\s()|?*]+")
_JOINTS = frozenset({",", ";", ":", "-", "–", "—", "and", "und", "y", "e"})
"""What joins two clauses of a sentence, in any language."""
_MOST_JOINTS = 8
_KEPT = 20_000


@dataclass(frozen=True)
class Unexplained:
    """A sentence that nothing allowed explains.

    Attributes:
        words: Its tokens.
        fault: What its words give away; None where they give away nothing.
    """

    words: str
    fault: FaultName | None


class Explainer:
    """The grammar of a language, ready to explain sentences.

    Args:
        grammar: Of the language.
        generic: What a discount may be on, besides the customer's service.
        known: Token lists of sentences that may be said as they stand, with the symbols of the grammar.
    """

    def __init__(self, grammar: Grammar, generic: Sequence[str], known: Iterable[Sequence[str]] = ()) -> None:
        self._grammar = grammar
        self._offers, self._clauses, self._faults = _patterns(grammar, tuple(generic))
        self._explained = lru_cache(_KEPT)(self._explain)
        self._known = frozenset(
            self._told(sentence) for tokens in known for sentence, _ in self._sentences(tokens)
        )

    def kinds(self, tokens: Sequence[str]) -> tuple[frozenset[Kind], list[Unexplained]]:
        """What the sentences of a text do, and those that nothing explains.

        Args:
            tokens: Casefolded tokens; `W`, `D`, `F` where the arm's own terms are said.
        """
        kinds: frozenset[Kind] = frozenset()
        strange = []
        for sentence, end in self._sentences(tokens):
            found = self._explained(sentence)
            if found is None or (end == "?" and "offer" in found):
                strange.append(Unexplained(sentence.strip(), self._fault(sentence)))
            else:
                kinds |= found
        return kinds, strange

    def _sentences(self, tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Every sentence, a space behind each token, and the sign that ends it."""
        words: list[str] = []
        for token in [*tokens, "."]:
            if token not in _ENDS:
                words += [] if token in _QUOTES else self._spelled(token)
            elif words:
                yield "".join(f"{word} " for word in words), token
                words = []

    def _spelled(self, token: str) -> list[str]:
        return self._grammar.spelled_out.get(token, _SIGNS.get(token, token)).split()

    def _told(self, sentence: str) -> str:
        """The sentence with what it offers brought down to one symbol."""
        for name, pattern in self._offers.items():
            sentence = pattern.sub(f"{name} ", sentence)
        return sentence

    def _explain(self, sentence: str) -> frozenset[Kind] | None:
        """What the clauses of a sentence do, in order; None where one is not explained."""
        told = self._told(sentence)
        if told in self._known:
            return frozenset({"offer"}) if "OFFER" in told else frozenset({"social"})
        words, joints = told.split(), _JOINTS
        starts = [0, *(place + 1 for place, word in enumerate(words) if word in joints)]
        if len(starts) > _MOST_JOINTS:
            return None
        ends = [*(start - 1 for start in starts[1:]), len(words)]
        reached: dict[int, dict[int, frozenset[Kind]]] = {0: {0: frozenset()}}
        for number, start in enumerate(starts):
            for rank, before in sorted(reached.get(start, {}).items()):
                if start < len(words) and words[start] in joints:
                    reached.setdefault(start + 1, {}).setdefault(rank, before)
                for end in ends[number:]:
                    for kind in self._of_clause(" ".join((*words[start:end], ""))):
                        if RANKS[kind] >= rank:
                            reached.setdefault(end + 1, {}).setdefault(RANKS[kind], before | {kind})
        whole = reached.get(len(words) + 1)
        return None if whole is None else next(iter(whole.values()))

    def _of_clause(self, words: str) -> Iterator[Kind]:
        return (kind for kind, pattern in self._clauses.items() if pattern.fullmatch(words))

    def _fault(self, sentence: str) -> FaultName | None:
        return next((rule for rule, words in self._faults.items() if words.search(sentence)), None)


@lru_cache
def _patterns(
    grammar: Grammar, generic: tuple[str, ...]
) -> tuple[dict[str, re.Pattern[str]], dict[Kind, re.Pattern[str]], dict[FaultName, re.Pattern[str]]]:
    """What offers something, the clauses by kind, and the faults: once for each language, as it takes a while."""
    parts = {"GENERIC": _compiled(" | ".join(generic) or "SERVICE", {})}
    for name, pattern in grammar.parts.items():
        parts[name] = _compiled(pattern, parts)
    return (
        {
            name: re.compile(rf"(?<!\S){_compiled(pattern, parts)}")
            for name, pattern in grammar.offers.items()
        },
        {kind: re.compile(_compiled(pattern, parts)) for kind, pattern in grammar.clauses.items()},
        {rule: re.compile(rf"(?<!\S){_compiled(words, {})}") for rule, words in grammar.faults.items()},
    )


def _compiled(pattern: str, parts: Mapping[str, str]) -> str:
    """A pattern as a regular expression over tokens with a space behind each."""
    pieces = []
    for piece in _PIECE.findall(pattern):
        if piece == "(":
            pieces.append("(?:")
        elif piece in ")|?*":
            pieces.append(piece)
        else:
            pieces.append(parts[piece] if piece in parts else re.escape(piece) + r"\ ")
    return f"(?:{''.join(pieces)})"
