"""The asset `release`: one immutable, verified set of all models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn_assets.release.bundle import MEMBERS, RELEASE_ASSET
from resources.stage import Made, Step, stage_asset

if TYPE_CHECKING:
    from churn_assets.release.config import ReleaseConfig
    from churn_assets.store.reference import ArtifactRef
    from resources.artifacts import Upstream


def _evidence(step: Step) -> str:
    """Digest of the members' gate reports: a verdict that changed makes another release."""
    from churn_assets.release.build import prove
    from churn_assets.release.evidence import evidence_digest
    from churn_assets.release.required import MEMBER_CHECKS

    return evidence_digest(prove(step.store, step.upstream, MEMBER_CHECKS))


def _expired(step: Step, newest: ArtifactRef) -> str:
    from churn_assets.release.promotion import too_old_to_lead

    return too_old_to_lead(step.store, newest, datetime.now(UTC))


@stage_asset(
    stage="release",
    format="churn_assets.release.bundle:RELEASE",
    sections=(
        "release",
        "messages.profile",
        "safety",
        "economics.currency",
        "ppo_text.max_new_tokens",
        "ppo_text.sampling",
        "seed",
    ),
    inputs=(*MEMBERS["decision"], *MEMBERS["message"]),
    kinds=("json", "html"),
    description="Exact versions of all members with the proof that each kept its gates, and an HTML report. "
    "Built only if every gate of every member holds; promoted and rolled back as a whole.",
    data=_evidence,
    expired=_expired,
    lazy=True,
)
def release(step: Step, *members: Upstream) -> Made:
    from churn_assets.deciding.messages import MessageWriter, Writing
    from churn_assets.message.text.safety import gifts_of
    from churn_assets.message.training.config import Sampling
    from churn_assets.release.build import build_release
    from churn_assets.release.loaded import Models
    from churn_assets.release.required import MEMBER_CHECKS

    config: ReleaseConfig = step.section("release")
    handles = {member.ref.asset: member for member in members}
    policy = handles["ppo_decision"].load()
    writing = Writing(
        safety=step.section("safety"),
        currency=step.section("economics.currency"),
        gifts=gifts_of(policy.process.menu),
        profile=step.section("messages.profile"),
        max_new_tokens=step.section("ppo_text.max_new_tokens") or 0,
        sampling=step.section("ppo_text.sampling") or Sampling(),
        seed=step.section("seed"),
    )
    customers = handles["customers"].load()
    simulated = handles["offer_log"].manifest.signature["simulated"] is True
    built = build_release(
        step.store,
        step.experiment,
        step.upstream,
        config,
        step.champion(RELEASE_ASSET),
        customers=customers,
        models=Models(
            schema=customers.schema,
            risk=handles["risk_model"].load(),
            accept=handles["accept_model"].load(),
            effect=handles["effect_model"].load(),
            policy=policy,
            desk=MessageWriter.of(
                writing, handles["ppo_text"].load().model if "ppo_text" in handles else None
            ),
        ),
        simulated=simulated,
        required=MEMBER_CHECKS,
    )
    return Made(
        built.release,
        metrics={
            "simulated": simulated,
            "members": len(members),
            "gates": sum(len(checks) for checks in built.release.bundle.evidence.values()),
        },
        tables={"funnel": built.funnel, "offers": built.offers},
    )
