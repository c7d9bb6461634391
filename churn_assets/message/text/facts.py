"""What a text must say of its customer and arm, and an automaton over bytes that lets nothing else be said.

Whatever is written along the automaton names no number, money, service or offer but those of its facts, and ends only
after each of them was said. It judges no other wording: that is the safety rules' matter. Knows no tokens.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from churn_assets.arms import Arm
from churn_assets.message.config import SafetyRules
from churn_assets.message.text.currencies import HUNDREDTHS, ONE_OF
from churn_assets.message.text.gifts import gift_core
from churn_assets.message.text.languages.pack import HARMLESS, Language
from churn_assets.message.text.languages.packs import LANGUAGES
from churn_assets.message.text.offer_rules import MONEY_OFF, OFFERED
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.quantities import COUNTING
from churn_assets.message.text.terms import arm_facts, duration_in, worth_words

StateTable = npt.NDArray[np.int32]
WordKind = Literal["never", "money_off", "offered", "free", "given", "monthly"]
"""Of words that are said for some arms only; `never` for none."""

NAME_SAID = "{name}"
DEAD = -1
FAR = 30_000
"""More bytes than any text has."""
_NEUTRAL = -2
_BOUNDARIES = " .,!?;:'\"()-"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_STEPPED_OVER = (
    "full",
    "whole",
    "entire",
    "more",
    "calendar",
    "extra",
    "additional",
    "straight",
    "of",
    "free",
)
"""What may stand in `for a whole month`, which is a length."""
_START, _WORD, _ROOT, _SPACE, _END, _QUOTE = _FIXED = range(6)
"""Nodes that every automaton has: before the text, within a word that no pattern knows, behind a mark, behind a space,
behind the end of a sentence, behind an apostrophe within a word."""
_ROOTS = (_ROOT, _SPACE, _END)


class FactsError(ValueError):
    """The facts of a prompt cannot be held; names what was found and expected."""


@dataclass(frozen=True)
class PromptFacts:
    """What a text for one prompt says.

    Attributes:
        required: Each must be said, in one of its forms.
        said_of: Kinds of words that may be said of this arm.
    """

    required: tuple[tuple[str, ...], ...]
    said_of: frozenset[WordKind]


def prompt_facts(profile: Profile, arm: Arm, language: Language, *, gifts: bool = False) -> PromptFacts:
    """What a text for this customer and arm must say: worth, duration, gift, service, the placeholder of the name.

    Args:
        profile: Of the customer.
        arm: What is offered.
        language: Of the text.
        gifts: Whether the menu has any: then nobody is told of one but those who get it.
    """
    facts = arm_facts(arm, profile.currency)
    worth = worth_words(arm, profile.currency)
    required: list[tuple[str, ...]] = []
    if facts.percent is not None:
        required.append((worth, worth.replace("%", " %")))
    elif facts.free_months is not None:
        required.append((_free_months(arm, worth, language),))
    elif worth:
        required.append((gift_core(worth),))
    if facts.discount:
        required.append((duration_in(arm, language),))
    kinds: set[WordKind] = set()
    if facts.discount:
        kinds |= {"money_off", "free"} if gifts else {"money_off", "free", "given"}
    if not facts.nothing:
        kinds.add("offered")
    if facts.amount is not None:
        kinds.add("monthly")
    return PromptFacts((*required, (profile.service,), (NAME_SAID,)), frozenset(kinds))


def _free_months(arm: Arm, worth: str, language: Language) -> str:
    """`1 free month`, `1 Monat gratis`."""
    told = language.offers["free_months"].split(" ")
    return worth if told[0] == "{worth}" else f"{duration_in(arm, language)} {told[1]}"


@dataclass(frozen=True)
class KnownWords:
    """Words that say a number, money, an offer or a name, by the kinds that each belongs to, and phrases that do not.

    Attributes:
        kinds: Of each word or phrase.
        neutral: Phrases that may always be said, whatever stands in them.
        marks: Characters besides ASCII that may be said.
    """

    kinds: Mapping[str, frozenset[WordKind]]
    neutral: frozenset[str]
    marks: str


def known_words(rules: SafetyRules) -> KnownWords:
    """Those of the language and the rules."""
    language = LANGUAGES[rules.language]
    neutral = {phrase for phrase, plain in language.plain.items() if plain in HARMLESS or plain == phrase}
    kinds: dict[str, set[WordKind]] = {}

    def add(kind: WordKind, words: Iterable[str]) -> None:
        for word in words:
            if word not in HARMLESS and word not in neutral:
                kinds.setdefault(word.casefold(), set()).add(kind)

    def also_elsewhere(words: Iterable[str]) -> Iterator[str]:
        known = frozenset(words)
        yield from known
        yield from (word for word, plain in language.plain.items() if plain in known)

    add("never", also_elsewhere({*COUNTING, *ONE_OF, *HUNDREDTHS} - {"one"}))
    add("never", (word for word, plain in language.plain.items() if _counts(plain)))
    add("never", (f"for {each} a month" for each in _STEPPED_OVER))
    add("never", ("for a month",))
    add("never", (name for name in rules.first_names if name.casefold() not in language.words))
    add("monthly", also_elsewhere({"a month"}))
    add("money_off", also_elsewhere(MONEY_OFF))
    add("offered", also_elsewhere(OFFERED - MONEY_OFF))
    add("free", also_elsewhere({"free"}))
    add("given", (each for each in rules.gift_phrases if each not in ("gift", "gifts")))
    fixed = {word: frozenset(each) for word, each in kinds.items()}
    return KnownWords(fixed, HARMLESS | neutral, rules.extra_characters)


def _counts(plain: str) -> bool:
    """Whether the English words for a phrase say a number or a length of time."""
    words = plain.split()
    return any((word in COUNTING and word != "one") or word[0].isdigit() for word in words)


@dataclass
class _Trie:
    """Patterns as a tree of characters, behind the nodes that every automaton has."""

    children: list[dict[str, int]] = field(default_factory=lambda: [{} for _ in _FIXED])
    own: list[int] = field(default_factory=lambda: [0 for _ in _FIXED])
    parent: list[tuple[int, str]] = field(default_factory=lambda: [(0, "") for _ in _FIXED])

    def add(self, pattern: str, label: int, variants: Mapping[str, str]) -> None:
        """One pattern; `variants` are the characters that mean the same as each of its own."""
        node = _ROOT
        for sign in pattern:
            child = self.children[node].get(sign)
            if child is None:
                child = len(self.own)
                self.children.append({})
                self.own.append(0)
                self.parent.append((node, sign))
            for each in variants.get(sign, sign):
                self.children[node].setdefault(each, child)
            self.children[node][sign] = child
            node = child
        self.own[node] = label


class FactAutomaton:
    """Byte by byte, what a text may say: states, and what was said when a state was left.

    Attributes:
        step: (states, 256) the next state, or `DEAD`.
        event: (states, 256) label of what is said by going on; 0 for nothing.
        free: (states,) bytes to the next place where anything may begin; `FAR` within a fact.
        ends: (states,) whether a text may end there.
        start: First state.
        space: The state behind a space, where anything may begin.

    Args:
        words: What is known of words.
        forms: Every form of every fact: exact words.
    """

    def __init__(self, words: KnownWords, forms: Iterable[str]) -> None:
        self.forms = tuple(sorted(forms))
        kinds = sorted(set(words.kinds.values()), key=sorted)
        self._kinds = {kind: 1 + number for number, kind in enumerate(kinds)}
        self.labels = {form: 1 + len(kinds) + number for number, form in enumerate(self.forms)}
        others = frozenset(words.marks) - {*"€£¥₹"}
        self._letters = frozenset(_LETTERS + _LETTERS.upper()).union(filter(str.isalpha, others))
        self._marks = frozenset(_BOUNDARIES).union(sign for sign in others if not sign.isalnum())
        # What else stands in a fact is said within it alone.
        self._signs = tuple(sorted(self._letters | self._marks | {*"".join(self.forms)}))
        trie = self._patterns(words)
        table, event = self._table(trie)
        self.step, self.event = _in_bytes(table, event, self._signs)
        self._prefixes = len(self.step) // len(table)
        self.start, self.space = _START * self._prefixes, _SPACE * self._prefixes
        self.ends = np.zeros(len(self.step), bool)
        self.ends[_END * self._prefixes] = True
        self.free = self._bytes_to_roots()

    def permitted(self, facts: PromptFacts) -> npt.NDArray[np.bool_]:
        """(labels,) whether each may be said of these facts."""
        may = np.zeros(1 + len(self._kinds) + len(self.forms), bool)
        may[0] = True
        for kind, label in self._kinds.items():
            may[label] = kind <= facts.said_of
        for form in (each for forms in facts.required for each in forms):
            may[self.labels[form]] = True
        return may

    def path(self, form: str) -> list[int]:
        """States while a form is said: before its first byte, behind each of them.

        Raises:
            FactsError: it cannot be said: it begins with another fact.
        """
        state = self.space
        found = [state]
        for byte in form.encode():
            state = int(self.step[state, byte])
            if state == DEAD:
                break
            found.append(state)
        if state == DEAD or self.event[state, ord(".")] != self.labels[form]:
            raise FactsError(
                f"{form!r}: found no way to say it among {list(self.forms)}, expected no other fact that it begins with"
            )
        return found

    def _patterns(self, words: KnownWords) -> _Trie:
        trie, same = _Trie(), _variants(self._letters)
        cases = {sign: "".join({sign, sign.lower(), sign.upper()} & {*self._signs}) for sign in self._signs}
        for phrase in sorted(words.neutral):
            trie.add(phrase, _NEUTRAL, same)
        for word, kind in sorted(words.kinds.items()):
            if all(sign in self._signs for sign in word):
                trie.add(word, self._kinds[kind], same)
        for form, label in self.labels.items():
            trie.add(form, label, {} if form == NAME_SAID else cases)
        for root in (_SPACE, _END):
            trie.children[root] = trie.children[_ROOT]
        return trie

    def _table(self, trie: _Trie) -> tuple[StateTable, StateTable]:
        """(nodes, signs) next node and event."""
        signs = {sign: number for number, sign in enumerate(self._signs)}
        nodes, forms = len(trie.own), min(self.labels.values(), default=FAR)
        table = np.full((nodes, len(signs)), DEAD, np.int32)
        event = np.zeros_like(table)
        letters = [signs[sign] for sign in sorted(self._letters)]
        marks = [(signs[sign], _root_behind(sign)) for sign in sorted(self._marks)]
        _fill_fixed(table, letters, marks, signs, trie)
        fail, label, within = np.full(nodes, _WORD), np.array(trie.own), np.zeros(nodes, bool)
        marked = [number for number, _ in marks]
        stuck = [signs[sign] for sign in "'’‘-" if sign in signs]
        for node in _by_depth(trie):
            parent, sign = trie.parent[node]
            number = signs[sign]
            fail[node] = (
                (_WORD if sign in self._letters else _ROOT)
                if parent == _ROOT
                else table[fail[parent], number]
            )
            hidden = sign in self._marks and label[parent] > 0
            within[node] = within[parent] or hidden or sign not in self._letters | self._marks
            own = label[node]
            whole = own >= forms or own == _NEUTRAL
            label[node] = own or (0 if within[node] or fail[node] < 0 else label[fail[node]])
            if not within[node]:
                table[node], event[node] = table[fail[node]], event[fail[node]]
            if own:
                event[node] = 0
                event[node, marked] = max(own, 0)
                for number, root in marks:
                    table[node, number] = root
                if own >= forms:
                    table[node, [*letters, *stuck]] = DEAD
            for sign, child in trie.children[node].items():
                if not (whole and sign in self._marks):
                    table[node, signs[sign]], event[node, signs[sign]] = child, 0
        return table, event

    def _bytes_to_roots(self) -> StateTable:
        found = np.full(len(self.step), FAR, np.int32)
        found[[root * self._prefixes for root in _ROOTS]] = 0
        open_ = (self.step != DEAD) & (self.event == 0)
        for _ in range(8):
            found = np.minimum(found, 1 + np.where(open_, found[self.step], FAR).min(1))
        return np.minimum(found, FAR)


def _fill_fixed(
    table: StateTable,
    letters: Sequence[int],
    marks: Sequence[tuple[int, int]],
    signs: Mapping[str, int],
    trie: _Trie,
) -> None:
    """Fills in the nodes that every automaton has."""
    table[_START, signs[" "]] = _SPACE
    for node in (_WORD, *_ROOTS):
        table[node, letters] = _WORD
        for number, root in marks:
            table[node, number] = DEAD if _is_odd(node, root) else root
    table[_QUOTE, letters] = _WORD
    for root in _ROOTS:
        for sign, child in trie.children[root].items():
            table[root, signs[sign]] = child


def _by_depth(trie: _Trie) -> Iterator[int]:
    """Every node of a pattern, those of shorter beginnings first."""
    level = sorted(set(trie.children[_ROOT].values()))
    while level:
        yield from level
        level = sorted({child for node in level for child in trie.children[node].values()})


def _is_odd(node: int, root: int) -> bool:
    """Whether a second space, or an apostrophe without a letter before it, would stand there."""
    return (node, root) == (_SPACE, _SPACE) or (node != _WORD and root == _QUOTE)


def _root_behind(sign: str) -> int:
    if sign == "'":
        return _QUOTE
    return _SPACE if sign == " " else _END if sign in ".!?" else _ROOT


def _variants(signs: Iterable[str]) -> dict[str, str]:
    """The letters that read like each one: capitals, accents."""
    alike: dict[str, str] = {}
    for sign in sorted(signs):
        alike[_plain(sign)] = alike.get(_plain(sign), "") + sign
    return {sign: alike[_plain(sign)] for each in alike.values() for sign in each}


@lru_cache(maxsize=1024)
def _plain(sign: str) -> str:
    return unicodedata.normalize("NFKD", sign)[0].casefold()


def _in_bytes(table: StateTable, event: StateTable, signs: Sequence[str]) -> tuple[StateTable, StateTable]:
    """The same over bytes: (nodes x prefixes, 256), where a prefix is what was read of a character of several bytes."""
    encoded = [sign.encode() for sign in signs]
    prefixes = {b"": 0}
    for each in encoded:
        for length in range(1, len(each)):
            prefixes.setdefault(each[:length], len(prefixes))
    count, nodes = len(prefixes), np.arange(len(table))
    step = np.full((len(table), count, 256), DEAD, np.int32)
    said = np.zeros_like(step)
    for number, each in enumerate(encoded):
        alive = table[:, number] != DEAD
        for length in range(1, len(each)):
            place = (nodes[alive], prefixes[each[: length - 1]], each[length - 1])
            step[place] = nodes[alive] * count + prefixes[each[:length]]
        place = (nodes[alive], prefixes[each[:-1]], each[-1])
        step[place], said[place] = table[alive, number] * count, event[alive, number]
    return step.reshape(-1, 256), said.reshape(-1, 256)
