"""Who writes the messages of a release: the model, or the template where the model was not measured to be better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Author = Literal["model", "template"]
OPPONENTS = "opponents"
"""The table of the check `better_than_sft` that compares the model with what could be sent instead."""


@dataclass(frozen=True)
class Authorship:
    """Who writes.

    Attributes:
        author: The model or the template.
        reason: Why, in words.
    """

    author: Author
    reason: str


def authorship(opponents: Sequence[Mapping[str, Any]]) -> Authorship:
    """The model where its messages were measured better than the template's, else the template.

    Args:
        opponents: Rows with `opponent`, `by`, `ours`, `theirs`, and the ends of the 95 % interval of the difference,
            `low` and `high`. Where none is of the template, the two were never compared, and the model writes.
    """
    for row in opponents:
        if row["opponent"] == "template":
            told = (
                f"by {row['by']}, the model's messages have {row['ours']:.3f} and the template's {row['theirs']:.3f}: "
                f"95 % {row['low']:+.3f} to {row['high']:+.3f}"
            )
            better = row["low"] > 0
            return Authorship("model" if better else "template", f"{told}; {_VERDICT[better]}")
    return Authorship("model", "the model was not compared with the template")


_VERDICT = {True: "the model is better", False: "the model is not better, so the template is sent"}
