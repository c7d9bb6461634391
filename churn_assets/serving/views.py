"""What a server tells of itself: the release that answers, its models, whether it is ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from churn_assets.arms import Arm
from churn_assets.serving.answers import terms_json
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.problems import Problem
from churn_assets.serving.reload import ReleaseFollower, ServedRelease
from churn_assets.serving.schemas import TERMS_REF, ArmId
from churn_assets.serving.supervisor import LoopState

RELEASE_MODEL = "release"


class FeatureView(Struct, frozen=True):
    """A feature that every question must have."""

    name: str
    kind: str
    categories: Annotated[list[str], Meta(description="Texts that are taken; empty for a number.")]
    lowest: float | None
    highest: float | None


class ConditionView(Struct, frozen=True):
    """A condition on a feature. With no comparison, the feature must say yes."""

    column: str
    one_of: Annotated[list[str | float | bool] | None, Meta(description="Values that are meant.")]
    at_least: float | None
    at_most: float | None


class MenuArmView(Struct, frozen=True):
    """An arm that the release may decide."""

    id: ArmId
    label: str
    terms: Annotated[
        msgspec.Raw,
        Meta(description="What the customer gets, by its `kind`.", extra_json_schema={"$ref": TERMS_REF}),
    ]
    channel: str | None
    contact_cost: Annotated[float, Meta(description="Money that the contact costs, whatever comes of it.")]
    eligible: Annotated[
        list[ConditionView], Meta(description="All conditions that a customer's features must keep.")
    ]


class RulesView(Struct, frozen=True):
    """What holds whoever chooses the arm, and what expected values count. Months."""

    cooldown_months: int
    max_offers: int
    label_window_months: float
    value_horizon_months: int
    currency: Annotated[str, Meta(description="ISO 4217.")]


class TroubleView(Struct, frozen=True):
    """Why what leads the channel does not answer."""

    release: str
    kind: str
    detail: str


class ReleaseView(Struct, frozen=True):
    """The release that answers, and how it is served."""

    release: Annotated[str | None, Meta(description="Null while none answers.")]
    channel: str
    experiment: str
    branches: list[str]
    simulated: Annotated[bool, Meta(description="It learned from a demo world's answers to offers.")]
    loaded_at: datetime | None
    members: Annotated[dict[str, str], Meta(description="Exact version of every asset.")]
    menu: Annotated[list[MenuArmView], Meta(description="Arms in order; the first is no contact.")]
    features: list[FeatureView]
    rules: Annotated[RulesView | None, Meta(description="Null where none answers, or it knows no offers.")]
    holdout_share: float
    exploration_share: float
    kill_switch: bool
    trouble: Annotated[TroubleView | None, Meta(description="Null while what leads the channel answers.")]


class LoopView(Struct, frozen=True):
    """How work beside the answers goes."""

    name: str
    age_seconds: Annotated[float, Meta(description="Since it last succeeded, or since the start.")]
    failures: Annotated[int, Meta(description="Tries since then that failed; it is tried again.")]
    trouble: Annotated[str, Meta(description="Kind of the last error; empty while all is well.")]


class ReadyView(Struct, frozen=True):
    """Whether a release answers, and its decisions can be recorded."""

    ready: bool
    release: str | None
    trouble: Annotated[
        str | None, Meta(description="Kind of error that keeps what leads the channel from answering.")
    ]
    leading: Annotated[str | None, Meta(description="What leads the channel, where that is another release.")]
    log_stalled: Annotated[
        bool,
        Meta(description="The disk of the decision log stands still; decisions get 503 until it is back."),
    ]
    log_trouble: Annotated[
        str,
        Meta(
            description="Kind of error for which the decision log cannot be written; empty while it can. It is tried "
            "again every second."
        ),
    ]
    loops: Annotated[
        list[LoopView],
        Meta(description="Following the channel, the open log, taking over and shipping its segments."),
    ]


class TensorView(Struct, frozen=True):
    """An input or output of a model, as the Open Inference Protocol describes one."""

    name: str
    datatype: str
    shape: list[int]


class ModelView(Struct, frozen=True):
    """A model of the release that answers."""

    name: str
    versions: list[str]
    platform: Annotated[str, Meta(description="Format in which it is stored.")]
    inputs: list[TensorView]
    outputs: list[TensorView]


def release_view(follower: ReleaseFollower, config: ServingConfig, *, stopped: bool) -> ReleaseView:
    """The release that answers; a view without one where none does."""
    served, trouble = follower.served, follower.trouble
    decider = served.decider if served else None
    return ReleaseView(
        release=str(served.ref) if served else None,
        channel=follower.channel.name,
        experiment=served.bundle.experiment if served else "",
        branches=list(served.bundle.branches) if served else [],
        simulated=served.bundle.simulated if served else False,
        loaded_at=served.loaded_at if served else None,
        members={asset: member.ref for asset, member in served.bundle.members.items()} if served else {},
        menu=[_menu_arm(arm) for arm in decider.menu] if decider else [],
        features=[
            FeatureView(f.name, f.kind, list(f.categories), f.lowest, f.highest)
            for f in decider.schema.features
        ]
        if decider
        else [],
        rules=RulesView(
            decider.process.cooldown_months,
            decider.process.max_offers,
            decider.process.window_months,
            decider.process.value_horizon_months,
            served.bundle.writing.currency,
        )
        if served and decider and decider.process is not None
        else None,
        holdout_share=config.holdout_share,
        exploration_share=config.exploration_share,
        kill_switch=stopped,
        trouble=TroubleView(trouble.release, trouble.kind, trouble.detail) if trouble else None,
    )


def _menu_arm(arm: Arm) -> MenuArmView:
    conditions = [
        ConditionView(
            each.column, None if each.one_of is None else list(each.one_of), each.at_least, each.at_most
        )
        for each in arm.eligible
    ]
    return MenuArmView(arm.id, arm.label, terms_json(arm), arm.channel, arm.contact_cost, conditions)


def ready_view(follower: ReleaseFollower, log: DecisionLog, loops: Sequence[LoopState]) -> ReadyView:
    """Whether decisions are made and recorded. Told without a key, so no detail of a trouble is in it.

    A loop that fails does not make a server unready: with the release that it has it answers on, and all servers at
    once would be unready where the store is away.
    """
    served, trouble = follower.served, follower.trouble
    return ReadyView(
        ready=served is not None and not log.stalled and not log.trouble,
        release=str(served.ref) if served else None,
        trouble=trouble.kind if trouble else None,
        leading=(trouble.release or None) if trouble else None,
        log_stalled=log.stalled,
        log_trouble=log.trouble,
        loops=[
            LoopView(each.name, round(each.age_seconds, 3), each.failures, each.trouble) for each in loops
        ],
    )


def model_view(served: ServedRelease, name: str) -> ModelView:
    """A model of a release; `release` is all of them together.

    Raises:
        Problem: The release has no such model.
    """
    decider = served.decider
    models = {asset: found for asset, found in served.manifests.items() if "outputs" in found.signature}
    if name == RELEASE_MODEL:
        inputs = [{"name": feature.name, "kind": feature.kind} for feature in decider.schema.features]
        outputs = [
            TensorView("arm", "BYTES", [-1]),
            TensorView("propensity", "FP64", [-1, len(decider.menu)]),
        ]
        return ModelView(name, [served.ref.version], "release", _tensors(inputs), outputs)
    if name not in models:
        raise Problem(404, "no such model", f"expected one of {', '.join((RELEASE_MODEL, *models))}")
    told, manifest = models[name].signature, models[name]
    return ModelView(
        name, [manifest.version], manifest.loader, _tensors(told["inputs"]), _tensors(told["outputs"])
    )


def _tensors(told: Any) -> list[TensorView]:
    """What stands in a signature; what stands there more than once, as for every arm, is one tensor."""
    texts = {each["name"] for each in told if "text" in each.values() or "categorical" in each.values()}
    return [
        TensorView(name, "BYTES" if name in texts else "FP64", [-1] if number == 1 else [-1, number])
        for name, number in Counter(each["name"] for each in told).items()
    ]
