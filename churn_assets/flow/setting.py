"""Values of an experiment that are read besides a section of one's own, each with its type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class Setting(Generic[T]):
    """A section of the experiment, or one value in it, so that a change elsewhere in that section changes nothing.

    Attributes:
        path: Where it stands in the experiment: `economics`, `customers.monthly_revenue`. Where the experiment goes
            without the section, the value is None.
        kind: Its type.
    """

    path: str
    kind: type[T]


SEED = Setting("seed", int)
"""Of everything that is drawn or initialised at random."""
