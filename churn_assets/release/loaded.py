"""A release in memory: all its models, loaded at their exact versions. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from churn_assets.arms import NOTHING, Menu
from churn_assets.deciding.chance import ServedCampaign
from churn_assets.deciding.release_models import Known, ReleaseModels
from churn_assets.deciding.risk_only import DecidingModels, RiskModels
from churn_assets.flow.paths import resolve_format
from churn_assets.flow.registry import registry
from churn_assets.release.bundle import Bundle

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.deciding.messages import MessageWriter
    from churn_assets.decision.policy import DecisionPolicy
    from churn_assets.decision.process import Floats
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.effect import EffectModel
    from churn_assets.risk.model import RiskModel
    from churn_assets.store.artifacts import ArtifactStore


@dataclass(frozen=True)
class Models:
    """What deciding and writing need.

    Attributes:
        schema: The customers that the models were trained on.
        risk: P(churn) without contact.
        accept: P(accept | offer); None without the branch.
        effect: What contact does to churn, likewise.
        policy: Chooses the offer, likewise.
        desk: Writes the messages.
        campaign: By which chance decides where there is no policy; None: nobody is contacted.
    """

    schema: CustomerSchema
    risk: RiskModel
    accept: AcceptModel | None
    effect: EffectModel | None
    policy: DecisionPolicy | None
    desk: MessageWriter
    campaign: ServedCampaign | None = None

    @property
    def menu(self) -> Menu:
        """What may be offered: nothing, without a policy or a campaign."""
        if self.policy is not None:
            return self.policy.process.menu
        return NOTHING if self.campaign is None else self.campaign.shares.menu

    def deciding(self, X: Floats, known: Known | None = None) -> DecidingModels:
        """What a release of them decides with that knows the customers of a design matrix (n, F).

        Args:
            X: Of the customers.
            known: Their outlooks, where they are tabled already.
        """
        from churn_assets.decision.responses import ResponseModels

        if self.policy is None or self.accept is None or self.effect is None:
            return RiskModels.build(self.schema, self.risk.predictor, X, self.campaign)
        responses = ResponseModels.of(self.risk, self.accept, self.effect, self.policy.process)
        if known is not None:
            return ReleaseModels(responses, self.policy, known)
        return ReleaseModels.build(responses, self.policy, X)


def load_member(store: ArtifactStore, bundle: Bundle, asset: str) -> Any:
    """Load one member of a release: bytes verified, golden rows replayed, digest equal to the bundle's.

    Raises:
        StoreError: It is missing, corrupt, or not what the release was built from.
    """
    member = bundle.member(asset)
    member.confirmed(store.manifest(member.version))
    return store.load(member.version, resolve_format(registry()[asset].format))


def load_desk(store: ArtifactStore, bundle: Bundle) -> MessageWriter:
    """Load what writes a release's messages.

    Raises:
        StoreError: As of `load_member`.
    """
    from churn_assets.deciding.messages import MessageWriter

    model = load_member(store, bundle, "ppo_text").model if "ppo_text" in bundle.members else None
    return MessageWriter.of(bundle.writing, model)


def load_members(store: ArtifactStore, bundle: Bundle) -> Models:
    """Load the models of a release.

    Raises:
        StoreError: As of `load_member`.
    """

    def load(asset: str) -> Any:
        return load_member(store, bundle, asset) if asset in bundle.members else None

    risk: RiskModel = load_member(store, bundle, "risk_model")
    return Models(
        schema=risk.schema,
        risk=risk,
        accept=load("accept_model"),
        effect=load("effect_model"),
        policy=load("ppo_decision"),
        desk=load_desk(store, bundle),
    )
