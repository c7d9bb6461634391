"""A candidate beside the best leader so far, by what the off-policy gates stored at each promotion."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from churn_assets.gates.estimates import Z_TWO_SIDED_95, Estimate
from churn_assets.store.channels import ChannelRecord
from churn_assets.store.reference import ArtifactRef

JUDGED = "ppo_decision"
CHECK = "off_policy"
MAY_LOSE = 0.25
"""Share of the best leader's lift that may be lost in all, by the estimates: what the off-policy gate allows once."""


@dataclass(frozen=True)
class OverBest:
    """A candidate beside the best leader so far.

    Attributes:
        best: That leader.
        lift: What it earned over no offer.
        value: What the candidate earns over it: what each promotion between them changed, added up.
        standard_error: Of that, taking each promotion's log for independent of the others'.
    """

    best: ArtifactRef
    lift: float
    value: float
    standard_error: float

    @property
    def holds(self) -> bool:
        """No more than `MAY_LOSE` was lost."""
        return self.value >= -MAY_LOSE * max(self.lift, 0.0)

    @property
    def said(self) -> str:
        """For people."""
        reach = Z_TWO_SIDED_95 * self.standard_error
        ends = f"95 %: {self.value - reach:+.2f} to {self.value + reach:+.2f}"
        return f"{self.value:+.2f} a decision over {self.best.version}, the best leader so far ({ends})"


def lift_of(reports: Mapping[str, Mapping[str, Any]]) -> Estimate | None:
    """What the off-policy gate found of a release, from the gate reports of its policy; None where it did not compare.

    It is money a decision over the release that led before it; of a first one, over no offer.

    Args:
        reports: As plain data, by check.
    """
    rows = reports.get(CHECK, {}).get("tables", {}).get("off_policy", ())
    for row in rows:
        if (row["quantity"], row["estimator"]) == ("tested", "DR") and row["mean"] is not None:
            return Estimate(row["mean"], (row["high_95"] - row["low_95"]) / (2 * Z_TWO_SIDED_95))
    return None


def over_best(
    history: Sequence[ChannelRecord],
    taken_back: Collection[ArtifactRef],
    found: Callable[[ArtifactRef], Estimate | None],
    candidate: Estimate | None,
) -> OverBest | None:
    """The candidate beside the best of those that led; None where the chain of comparisons has a gap.

    Args:
        history: The channel's records, oldest first.
        taken_back: Leaders that were rolled back: what they brought is no measure.
        found: What the gate found of a leader.
        candidate: What it found of the candidate, against the release that leads.
    """
    paths: dict[ArtifactRef, dict[ArtifactRef, Estimate]] = {}
    for record in history:
        before = {} if record.previous is None else paths.get(ArtifactRef.parse(record.previous))
        step = None if record.ref in paths or before is None else found(record.ref)
        if step is not None and before is not None:
            paths[record.ref] = before | {record.ref: step}
    worth = {ref: sum(step.value for step in path.values()) for ref, path in paths.items()}
    known = {ref: value for ref, value in worth.items() if ref not in taken_back}
    leader = history[-1].ref if history else None
    if candidate is None or leader not in known:
        return None
    best = max(known, key=lambda ref: known[ref])
    apart = paths[leader].items() ^ paths[best].items()
    variance = candidate.standard_error**2 + sum(step.standard_error**2 for _, step in apart)
    return OverBest(best, known[best], known[leader] + candidate.value - known[best], math.sqrt(variance))
