"""Columns of a customer table that are no features: opt-out, eligibility, recent offers, language, name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, Field

OptionalName = Annotated[str, Field(min_length=1)]

_NEAR = {
    "opted_out": (
        "optedout", "optout", "optsout", "optoutflag", "donotcontact", "donotcall", "dnc", "nocontact", "nomarketing",
        "unsubscribed", "optedin", "optin",
    ),
    "prior_offers": ("prioroffers", "previousoffers", "recentoffers", "pastoffers", "offersbefore"),
    "eligible": ("eligible", "eligibility", "eligiblearms", "iseligible"),
}  # fmt: skip
"""What the columns may be called elsewhere, without capitals and signs."""
_SURELY = 0.85
_SHORT = 5
"""Letters of a word that is told by all of them: `option` is one letter away from `optin`."""


class OptionalColumns(BaseModel, frozen=True, extra="forbid"):
    """What the table calls them; none of them is a feature.

    Attributes:
        opted_out: 1 (or Yes, True) where a customer may not be contacted; `opted_out` where nothing is given.
        prior_offers: Offers in the 90 days before; `prior_offers` where nothing is given.
        eligible: Ids of the arms that may be offered, between spaces; blank for all whose conditions are kept.
        language: The customer's language.
        name: The customer's name.
    """

    opted_out: OptionalName | None = None
    prior_offers: OptionalName | None = None
    eligible: OptionalName | None = None
    language: OptionalName | None = None
    name: OptionalName | None = None

    def column(self, role: str) -> str | None:
        """The column of a role: as configured, or by the role's own name for opt-out and recent offers."""
        given: str | None = getattr(self, role)
        return given or (role if role in ("opted_out", "prior_offers") else None)

    @property
    def columns(self) -> dict[str, str]:
        """The column of each role that has one."""
        roles = type(self).model_fields
        return {role: column for role in roles if (column := self.column(role)) is not None}

    def near(self, names: Iterable[str], known: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Columns that look like one of these under another name, each with what it looks like.

        Args:
            names: Of the table's columns.
            known: Columns whose meaning is known: features, roles, what is excluded.

        >>> list(OptionalColumns().near(["Opted_Out", "tenure"], ["tenure"]))
        [('Opted_Out', 'opted_out')]
        >>> list(OptionalColumns().near(["option", "No contact"], []))
        [('No contact', 'opted_out')]
        """
        understood = {*known, *self.columns.values()}
        for name in names:
            plain = _plain(name)
            for role, others in _NEAR.items():
                if name not in understood and any(_alike(plain, other) for other in others):
                    yield name, role
                    break

    @staticmethod
    def merely_near(name: str, role: str) -> bool:
        """Whether a column is called by none of the names known for a role, and only something like one."""
        return _plain(name) not in _NEAR[role]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.casefold())


def _alike(plain: str, word: str) -> bool:
    """Whether a name, without capitals and signs, is a word or another spelling of it."""
    if plain == word or len(word) <= _SHORT:
        return plain == word
    return bool(difflib.get_close_matches(plain, [word], 1, _SURELY))
