"""When a release is let lead without a person: a pure decision. Whether it may lead at all is promotion.py's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from churn_assets.gates.estimates import Estimate
from churn_assets.release.config import PromotionPolicy
from churn_assets.release.promotion import PromotionDecision
from churn_assets.store.reference import ArtifactRef


@dataclass(frozen=True)
class Against:
    """What a candidate earns over a leader, or over a share of what that leader earns over no offer.

    Attributes:
        release: The leader.
        keeps: The share; 1 for all of it.
        value: Money a decision, doubly robust, paired on the same decisions.
        standard_error: Of it, clustered by customer.
        lower: Bounds that hold at all looks together, each but for the error of this candidate.
        upper: The same from above.
        more: Decisions still needed for the lower bound to be above 0, if the value stays; None for never.
        alike: The two decide alike everywhere.
    """

    release: str
    keeps: float
    value: float
    standard_error: float
    lower: float
    upper: float
    more: int | None
    alike: bool = False

    @property
    def holds(self) -> bool:
        """The candidate earns more; or as much where less was asked."""
        return self.lower > 0 or (self.alike and self.keeps < 1)

    @property
    def said(self) -> str:
        """For people."""
        version = self.release.rpartition("/")[2]
        over = version if self.keeps == 1 else f"{self.keeps:.0%} of the lift of {version}"
        if self.alike:
            return f"as {version} everywhere"
        return f"{self.value:+.2f} over {over} ({self.lower:+.2f} to {self.upper:+.2f} at all looks)"

    def needed(self, a_day: float | None = None) -> str:
        """What is still needed, for people.

        Args:
            a_day: Decisions with a whole outcome that come a day; None where that is not known.
        """
        if self.more is None:
            return "no number of decisions would do if the estimate stays"
        days = "" if not a_day else f", {max(round(self.more / a_day), 1)} days as they come now,"
        return f"about {self.more} decisions more{days} if the estimate stays"


@dataclass(frozen=True)
class Shadow:
    """The candidate against the leaders so far on live decisions, where it decided nothing.

    Attributes:
        decisions: Live decisions with a whole outcome that compare.
        exploration: Share of them that were drawn at random.
        release: Whether they speak for the candidate.
        reason: Why (not): estimates, bounds that hold at all looks, and what is still needed.
        rejected: They speak against it beyond doubt.
        against: The champion first, as of `comparison.compare`.
    """

    decisions: int
    exploration: float
    release: bool
    reason: str
    rejected: bool = False
    against: tuple[Against, ...] = ()

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Shadow:
        """From the plain form that `asdict` makes of it, as a sensor remembers it."""
        return cls(**{**found, "against": tuple(Against(**each) for each in found["against"])})


@dataclass(frozen=True)
class Standing:
    """A candidate and what it would replace.

    Attributes:
        candidate: The newest release.
        leader: The release that leads; None before the first promotion.
        members: Asset to version, of the candidate.
        leading: The same of the leader.
        considered: What promotion itself says: bytes, gates, comparison with the champion.
        led_before: The candidate led already and was taken back.
        moved_at: When the channel last moved; None if it never did.
        shadow: None while nothing leads, and where an earlier rule says no.
        estimated: The log that it was learned from has no propensities but estimated ones.
        lift: What the log says that a first release earns over no offer; None of a later one, or where no log says it.
    """

    candidate: ArtifactRef
    leader: ArtifactRef | None
    members: Mapping[str, ArtifactRef]
    leading: Mapping[str, ArtifactRef]
    considered: PromotionDecision
    led_before: bool
    moved_at: datetime | None
    shadow: Shadow | None
    estimated: bool = False
    lift: Estimate | None = None


def overtaken(candidate: ArtifactRef, leader: ArtifactRef | None) -> str:
    """Why a release is no successor of the leader; empty where it is one.

    A version is named by when its run began, so an older run's slow training never replaces a newer one's.
    """
    if leader is None or candidate.version > leader.version:
        return ""
    return f"{candidate.version} is not newer than {leader.version}, which leads"


def decide_automatically(standing: Standing, policy: PromotionPolicy, now: datetime) -> PromotionDecision:
    """Would a candidate be promoted without a person? Asks all but whether `policy.mode` lets it.

    A first release has no champion to be compared with on live decisions. Its gates let no policy pass that the log
    says loses; without a person it must be certain, by the log, that it earns more than no offer.

    Args:
        standing: The candidate and the leader.
        policy: The rules.
        now: Aware time.
    """
    why = _not_automatically(standing, policy, now)
    if why:
        return PromotionDecision(promote=False, reason=why)
    said = standing.considered.reason
    if standing.shadow is not None:
        said += f"; on {standing.shadow.decisions} live decisions {standing.shadow.reason}"
    return PromotionDecision(promote=True, reason=said)


def before_shadow(standing: Standing, policy: PromotionPolicy, now: datetime) -> str:
    """The first of the rules that need no live decisions and say no; empty where all hold."""
    if why := overtaken(standing.candidate, standing.leader):
        return why
    older = [
        f"{asset} {version.version}"
        for asset, version in standing.members.items()
        if asset in standing.leading and version.version < standing.leading[asset].version
    ]
    if older:
        return f"made from older versions than lead: {', '.join(older)}"
    if standing.led_before:
        return f"{standing.candidate.version} led before and was taken back"
    if not standing.considered.promote:
        return standing.considered.reason
    if standing.estimated:
        return (
            "offer_log.propensities: estimated: what such a log says is true if nothing hidden decided, which no data "
            "can show; a person promotes it"
        )
    gap = timedelta(hours=policy.min_gap_hours)
    if standing.moved_at is not None and now - standing.moved_at < gap:
        return f"min_gap_hours: the channel moved at {standing.moved_at:%Y-%m-%d %H:%M} UTC"
    return ""


def _not_automatically(standing: Standing, policy: PromotionPolicy, now: datetime) -> str:
    why = before_shadow(standing, policy, now)
    if why:
        return why
    if standing.leader is None:
        return _not_certain(standing.lift)
    shadow = standing.shadow
    if shadow is None:
        return "it was not compared with the champion on live decisions"
    if shadow.decisions < policy.min_decisions:
        return f"min_decisions: {shadow.decisions} live decisions with whole outcomes, needed {policy.min_decisions}"
    if shadow.exploration < policy.min_exploration:
        return f"min_exploration: {shadow.exploration:.1%} of them, needed {policy.min_exploration:.1%}"
    return "" if shadow.release else f"on {shadow.decisions} live decisions {shadow.reason}"


def _not_certain(lift: Estimate | None) -> str:
    """Why a first release waits for a person; empty where its lift is certain, or it makes no offers."""
    if lift is None or lift.lower_bound > 0:
        return ""
    return (
        f"its lift over no offer may be none: {lift.value:+.2f} a decision by the log, of which is certain (95 %) no "
        f"more than {lift.lower_bound:+.2f}; a person promotes a first release of which that is so"
    )
