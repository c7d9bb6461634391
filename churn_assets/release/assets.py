"""The asset `release`: one immutable, verified set of all models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from churn_assets.arms import NOTHING, ArmConfig
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.decision.limits import BudgetsConfig
from churn_assets.flow.asset import EVERY_MEMBER, Made, Step, Upstream, asset
from churn_assets.flow.registry import registry
from churn_assets.flow.setting import SEED, Setting
from churn_assets.flow.usage import cost_of
from churn_assets.message.config import ProfileConfig, SafetyRules
from churn_assets.message.model.author import OPPONENTS, Authorship, authorship
from churn_assets.message.training.config import Sampling
from churn_assets.offers.economics import Economics
from churn_assets.release.checks import RELEASE
from churn_assets.release.config import ReleaseConfig

if TYPE_CHECKING:
    from churn_assets.store.reference import ArtifactRef

_PROFILE = Setting("messages.profile", ProfileConfig)
_SAFETY = Setting("safety", SafetyRules)
_CURRENCY = Setting("economics.currency", str)
_CAMPAIGN = Setting("campaign", CampaignConfig)
_BUDGETS = Setting("budgets", BudgetsConfig)
_ARMS = Setting("arms", tuple[ArmConfig, ...])
_ECONOMICS = Setting("economics", Economics)
_MAX_NEW_TOKENS = Setting("ppo_text.max_new_tokens", int)
_SAMPLING = Setting("ppo_text.sampling", Sampling)


def _evidence(step: Step[ReleaseConfig]) -> str:
    """Digest of the members' gate reports: a verdict that changed makes another release."""
    from churn_assets.release.build import prove
    from churn_assets.release.evidence import evidence_digest

    return evidence_digest(prove(step.store, step.upstream, registry().checks))


def _authorship(step: Step[ReleaseConfig]) -> Authorship:
    """Who writes the messages, by what the check of the text model measured."""
    stored = step.store.gate_reports(step.upstream["ppo_text"]).get("better_than_sft", {})
    return authorship(stored.get("tables", {}).get(OPPONENTS, ()))


def _expired(step: Step[ReleaseConfig], newest: ArtifactRef) -> str:
    from churn_assets.release.promotion import too_old_to_lead

    return too_old_to_lead(step.store, newest, datetime.now(UTC))


@asset(
    config=ReleaseConfig,
    reads=(
        _PROFILE,
        _SAFETY,
        _CURRENCY,
        _CAMPAIGN,
        _BUDGETS,
        _ARMS,
        _ECONOMICS,
        _MAX_NEW_TOKENS,
        _SAMPLING,
        SEED,
    ),
    inputs=EVERY_MEMBER,
    format="churn_assets.release.bundle:RELEASE",
    checks=RELEASE,
    kinds=("json", "html"),
    description="Exact versions of all members with the proof that each kept its gates, and an HTML report. "
    "Built only if every gate of every member holds; promoted and rolled back as a whole.",
    data=_evidence,
    expired=_expired,
    lazy=True,
)
def release(step: Step[ReleaseConfig], /, **members: Upstream) -> Made:
    from churn_assets.campaigns.assignment import planned_shares
    from churn_assets.deciding.chance import ServedCampaign
    from churn_assets.deciding.messages import MessageWriter, Writing
    from churn_assets.flow.check import LOADS_AND_AGREES
    from churn_assets.message.text.safety import gifts_of
    from churn_assets.offers.economics import catalogue
    from churn_assets.release.build import build_release
    from churn_assets.release.bundle import RELEASE_ASSET
    from churn_assets.release.loaded import Models
    from churn_assets.release.report.shown import shown_report

    def value(asset: str) -> Any:
        return members[asset].load() if asset in members else None

    customers, policy, texts = value("customers"), value("ppo_decision"), value("ppo_text")
    menu, campaign = NOTHING if policy is None else policy.process.menu, step.find(_CAMPAIGN)
    served: ServedCampaign | None = None
    if policy is None and campaign is not None and campaign.served:
        menu = campaign.arms(catalogue(step.read(_ARMS), step.read(_ECONOMICS)))
        risk = value("risk_model").predictor.predict(customers.X)
        served = ServedCampaign(campaign.name, planned_shares(campaign, menu, risk))
    author = _authorship(step) if texts is not None else Authorship("model", "")
    writing = Writing(
        safety=step.read(_SAFETY),
        currency=step.read(_CURRENCY),
        gifts=gifts_of(menu),
        profile=step.find(_PROFILE),
        max_new_tokens=step.find(_MAX_NEW_TOKENS) or 0,
        sampling=step.find(_SAMPLING) or Sampling(),
        seed=step.seed,
        author=author.author,
        author_reason=author.reason,
    )
    simulated = "offer_log" in members and members["offer_log"].manifest.signature["simulated"] is True
    built = build_release(
        step.store,
        step.experiment,
        step.upstream,
        step.config,
        step.champion(RELEASE_ASSET),
        customers=customers,
        models=Models(
            schema=customers.schema,
            risk=value("risk_model"),
            accept=value("accept_model"),
            effect=value("effect_model"),
            policy=policy,
            desk=MessageWriter.of(writing, None if texts is None else texts.model),
            campaign=served,
        ),
        simulated=simulated,
        required=registry().checks,
        reward=members["reward_model"].load() if "reward_model" in members else None,
        budgets=step.find(_BUDGETS),
    )
    shown = shown_report(built.facts, built.verdict)
    return Made(
        built.release,
        metrics={
            "verdict": built.verdict.sentence,
            "simulated": simulated,
            "members": len(members),
            # With the release's own, which run once it is stored: as many as `churn checks` tells of it.
            "checks": sum(map(len, built.release.bundle.evidence.values()))
            + len((LOADS_AND_AGREES, *registry().checks[RELEASE_ASSET])),
            **cost_of(member.manifest.provenance.usage for member in members.values()),
            **({} if texts is None else {"messages_by": author.author, "messages_why": author.reason}),
        },
        tables=shown.tables,
        plots=shown.plots,
    )
