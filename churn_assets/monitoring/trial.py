"""What the decisions of a trial say: of the candidate beside the leaders, and of harm it does. Reads no storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.decision.off_policy import Floats, LoggedDecisions, OffPolicyError
from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.live import Earned, broken, harm_error, harm_z, sliced
from churn_assets.monitoring.shadow import Scored, beside_leaders, by_chance, whole_rows
from churn_assets.offers.live import FEATURE, LiveLog
from churn_assets.offers.offer_rows import OfferRows
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.policy import Shadow

if TYPE_CHECKING:
    from churn_assets.deciding.risk_only import AnyDecider


@dataclass(frozen=True)
class TrialLook:
    """How a trial stands.

    Attributes:
        shadow: The candidate against the leaders so far, on the trial's own decisions.
        harm: Which guardrail the candidate certainly breaks, and what was found; empty for none.
    """

    shadow: Shadow
    harm: str

    @property
    def ends(self) -> str:
        """Why the trial is to be ended without a promotion; empty where it is not."""
        if self.harm:
            return f"guardrail: {self.harm}"
        return self.shadow.reason if self.shadow.rejected else ""

    def plain(self) -> dict[str, Any]:
        """As a sensor remembers it."""
        return asdict(self)

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> TrialLook:
        """From what `plain` gives."""
        return cls(Shadow.of(found["shadow"]), found["harm"])


def look_at_trial(
    live: LiveLog,
    rows: OfferRows,
    candidate: AnyDecider,
    leaders: Sequence[AnyDecider],
    policy: PromotionPolicy,
    guardrails: LiveConfig,
    number: int,
) -> TrialLook:
    """Judge a trial by the decisions that were logged in it, as often as one likes.

    All by doubly robust differences on the same decisions, with the propensities of the trial's design: what it takes
    for granted is the draw alone. Where the champion decided for certain, that is what was logged.

    Args:
        live: Decisions of the trial.
        rows: Those of them that can be learned from.
        candidate: Of the release that is tried.
        leaders: As of `shadow.shadow`.
        policy: The trial's rule.
        guardrails: The trial's.
        number: Of the comparison, as of `comparison_number`.
    """
    logged = whole_rows(live, rows)
    try:
        scored = Scored.of(logged, rows.arms, [candidate, leaders[0]])
    except OffPolicyError as error:
        found = Shadow(len(logged), by_chance(logged, candidate), release=False, reason=str(error))
        return TrialLook(found, "")
    found = beside_leaders(scored, rows.arms, candidate, leaders, policy, number)
    # Bounds are asymptotic: of few decisions nothing is certain.
    found = replace(found, rejected=found.rejected and len(logged) >= guardrails.min_outcomes)
    return TrialLook(found, harm(scored, scored.choices[0], guardrails))


def harm(scored: Scored, chosen: Floats, config: LiveConfig) -> str:
    """Which guardrail a policy certainly breaks against no contact, of all customers or of a slice; empty for none.

    Args:
        scored: n decisions, oldest first.
        chosen: (n, K) what the policy would decide.
        config: Guardrails.
    """
    count, money, left = len(scored.logged), scored.evidence, scored.left
    if count < config.min_outcomes:
        return ""
    everybody = np.ones(count, bool)
    parts = [("", everybody, harm_z(count, harm_error(config), config))]
    features = [f"{FEATURE}{name}" for name in config.slices]
    levels = scored.logged.reindex(columns=features).astype(str).set_axis(list(config.slices), axis=1)
    for name, inside, z in [*parts, *sliced(levels, config)]:
        found = _earned(_among(money, inside), _among(left, inside), chosen[inside])
        if why := broken(found, z, config):
            return f"{f'{name}: ' if name else ''}{why} over {found.rows} decisions of the trial"
    return ""


def _earned(money: LoggedDecisions, left: LoggedDecisions, chosen: Floats) -> Earned:
    """What a policy earns against no contact, by the decisions of any other."""
    nobody = np.zeros_like(chosen)
    nobody[:, 0] = 1.0
    return Earned(
        rows=len(money.arm),
        value=money.estimate(chosen).value.dr,
        no_contact=money.estimate(nobody).value.dr,
        lift=money.difference(chosen, nobody).dr,
        churn_increase=left.difference(chosen, nobody).dr,
    )


def _among(evidence: LoggedDecisions, inside: NDArray[np.bool_]) -> LoggedDecisions:
    columns = ("arm", "reward", "propensities", "expected", "customer")
    return replace(evidence, **{name: getattr(evidence, name)[inside] for name in columns})


def comparison_number(of_kind: int, *, trial: bool) -> int:
    """The number, from 1, of a comparison among all with one champion, whose error it shares with them.

    Those of trials and those in the shadow take turns, so that neither need know how many of the others there were: a
    candidate that was looked at in the shadow is not looked at twice at one price.

    Args:
        of_kind: Its number, from 1, among those of its kind.
        trial: Whether it is of a trial.
    """
    return 2 * of_kind - 1 if trial else 2 * of_kind
