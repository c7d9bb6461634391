"""What a language pack holds, and how its grammar is written. No language and no rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

Kind = Literal["greeting", "social", "loyalty", "offer", "call", "accept", "sign_off", "opt_out"]
"""What a clause does."""
RANKS: Mapping[Kind, int] = {
    "greeting": 0, "social": 1, "loyalty": 1, "offer": 2, "call": 3, "accept": 3, "sign_off": 4, "opt_out": 5,
}  # fmt: skip
"""Within a sentence no clause follows one of a higher rank: `reply STOP and you get 20 % off` is no sentence."""

HARMLESS: frozenset[str] = frozenset(
    {
        "each month", "every month", "per month", "each and every month", "the years", "these years", "those years",
        "many years", "your day", "any day", "every day", "good day", "nice day", "great day", "lovely day",
        "wonderful day", "pleasant day", "good week", "nice week", "great week", "your week", "nice month",
        "every year", "every week", "feel free",
    }
)  # fmt: skip
"""What counts, offers and gives nothing, though a word of it would elsewhere; other languages say these in `plain`."""

FaultName = Literal[
    "opt_out", "records", "condition", "other_time", "other_price", "other_offer", "wrong_service", "pressure"
]


@dataclass(frozen=True, eq=False)
class Grammar:
    """Everything that a message may say, as patterns of words.

    A pattern is words, `(one|another)`, `(perhaps)?`, `(often)*` and names of parts. Capitals stand for what is true of
    the arm and the customer: `W` the percent or amount off, `D` its months, `F` the free months, `G` the gift,
    `SERVICE`, `NAME`, `GENERIC` (what else a discount may be on), and for what the offers found.

    Attributes:
        spelled_out: Short forms, and the words that they stand for.
        parts: Patterns by name; a part may name those above it.
        offers: What tells the terms, by the name that clauses call it; those above are looked for first.
        clauses: What may be said, by kind.
        faults: Words that give away what is wrong with a sentence that no clause explains, by the rule.
    """

    spelled_out: Mapping[str, str]
    parts: Mapping[str, str]
    offers: Mapping[str, str]
    clauses: Mapping[Kind, str]
    faults: Mapping[FaultName, str]


@dataclass(frozen=True, eq=False)
class Language:
    """A language pack.

    Attributes:
        grammar: What may be said, over tokens whose numbers and terms are brought down to English.
        plain: Words of the language for numbers, units and terms, and the English tokens that say the same: what reads
            quantities knows those alone.
        offers: How the template tells an arm, by its kind; `{worth}`, `{duration}`, `{months}`.
        month, months: One month, and several: `{months} months`.
        defaults: Keys of the `safety:` section that are other ones in this language.
    """

    grammar: Grammar
    plain: Mapping[str, str]
    offers: Mapping[str, str]
    month: str
    months: str
    defaults: Mapping[str, object]

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that the grammar knows."""
        told = (*self.grammar.parts.values(), *self.grammar.offers.values(), *self.grammar.clauses.values())
        return frozenset(re.findall(r"[^\W\d_]+", " ".join(told)))


def grammar(written: str) -> Grammar:
    """Reads a grammar: `[section]` lines, then `name = pattern` or, for clauses, a pattern a line.

    A line that starts with two spaces goes on with the one above.
    """
    sections: dict[str, list[str]] = {}
    for line in re.sub(r"\n  +", " ", written).splitlines():
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]"), [])
        elif line:
            lines.append(line)
    named = {
        name: {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
        for name, lines in sections.items()
        if name in ("spelled out", "parts", "offers", "faults")
    }
    clauses: dict[Kind, str] = {kind: " | ".join(sections[kind]) for kind in get_args(Kind)}
    before, behind = sections["before an offer"][0], sections["behind an offer"][0]
    clauses["offer"] = f"({before} (,|:|-)?)* ({clauses['offer']}) ((,)? {behind})?"
    return Grammar(named["spelled out"], named["parts"], named["offers"], clauses, faults_of(named["faults"]))


def faults_of(named: Mapping[str, str]) -> dict[FaultName, str]:
    """The faults in the order in which they are looked for, which is that of the file."""
    known: dict[str, FaultName] = {name: name for name in get_args(FaultName)}
    return {known[name]: pattern for name, pattern in named.items()}
