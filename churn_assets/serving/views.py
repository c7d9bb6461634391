"""What a server tells of itself: the release that answers, its models, whether it is ready."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from churn_assets.arms import Arm
from churn_assets.deciding.trial import SideBySide
from churn_assets.serving.answers import terms_json
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.problems import Problem
from churn_assets.serving.reload import ReleaseFollower, ServedRelease
from churn_assets.serving.schemas import TERMS_REF, ArmId
from churn_assets.serving.supervisor import LoopState
from churn_assets.serving.trial import TrialFollower

RELEASE_MODEL = "release"


class FeatureView(Struct, frozen=True):
    """A feature that every question must have."""

    name: Annotated[str, Meta(description="As a question names it.", examples=["tenure"])]
    kind: Annotated[str, Meta(description="`numeric` or `categorical`.", examples=["numeric"])]
    categories: Annotated[list[str], Meta(description="Texts that are taken; empty for a number.")]
    lowest: Annotated[
        float | None, Meta(description="Smallest number that is taken; null where none is set.")
    ]
    highest: Annotated[
        float | None, Meta(description="Largest number that is taken; null where none is set.")
    ]


class ConditionView(Struct, frozen=True):
    """A condition on a feature. With no comparison, the feature must say yes."""

    column: Annotated[str, Meta(description="The feature that it is about.")]
    one_of: Annotated[list[str | float | bool] | None, Meta(description="Values that are meant.")]
    at_least: Annotated[float | None, Meta(description="Smallest number that keeps it; null: no bound.")]
    at_most: Annotated[float | None, Meta(description="Largest number that keeps it; null: no bound.")]


class MenuArmView(Struct, frozen=True):
    """An arm that the release may decide."""

    id: ArmId
    label: Annotated[str, Meta(description="In a few words, for people.", examples=["20% off for 6 months"])]
    terms: Annotated[
        msgspec.Raw,
        Meta(description="What the customer gets, by its `kind`.", extra_json_schema={"$ref": TERMS_REF}),
    ]
    channel: Annotated[str | None, Meta(description="How the customer is contacted; null for no contact.")]
    contact_cost: Annotated[float, Meta(description="Money that the contact costs, whatever comes of it.")]
    eligible: Annotated[
        list[ConditionView], Meta(description="All conditions that a customer's features must keep.")
    ]


class LiveView(Struct, frozen=True):
    """Whether the process answers at all."""

    live: Annotated[bool, Meta(description="True: it answered.")]


class RulesView(Struct, frozen=True):
    """What holds whoever chooses the arm, and what expected values count. Months."""

    cooldown_months: Annotated[int, Meta(description="Months between two contacts, at least.")]
    max_offers: Annotated[int, Meta(description="Contacts of one customer in an episode, at most.")]
    label_window_months: Annotated[float, Meta(description="Months within which leaving counts as churn.")]
    value_horizon_months: Annotated[int, Meta(description="Months of a customer's margin that count.")]
    currency: Annotated[str, Meta(description="ISO 4217.")]


class TroubleView(Struct, frozen=True):
    """Why what leads the channel does not answer."""

    release: Annotated[str, Meta(description="What leads the channel; empty where that is not known.")]
    kind: Annotated[str, Meta(description="Kind of error.", examples=["CorruptArtifact"])]
    detail: Annotated[str, Meta(description="What is wrong with it.")]


class TrialView(Struct, frozen=True):
    """A trial that runs, and whether this server takes part."""

    candidate: Annotated[str, Meta(description="The release that is tried.")]
    share: Annotated[
        float, Meta(description="Of the customers left to the policy, that it decides for here, now; 0 to 1.")
    ]
    trouble: Annotated[
        TroubleView | None, Meta(description="Why it does not answer here; null where it does.")
    ]


class ReleaseView(Struct, frozen=True):
    """The release that answers, and how it is served."""

    release: Annotated[str | None, Meta(description="Null while none answers.")]
    channel: Annotated[str, Meta(description="The channel that is followed.")]
    experiment: Annotated[str, Meta(description="Whose release it is; empty while none answers.")]
    branches: Annotated[
        list[str],
        Meta(description="What it can do: tell the risk, tell who accepts, decide, write messages."),
    ]
    simulated: Annotated[bool, Meta(description="It learned from a demo world's answers to offers.")]
    loaded_at: Annotated[
        Annotated[datetime, Meta(tz=True)] | None,
        Meta(description="Since when it answers, in UTC; null while none does."),
    ]
    members: Annotated[dict[str, str], Meta(description="Exact version of every asset.")]
    menu: Annotated[list[MenuArmView], Meta(description="Arms in order; the first is no contact.")]
    features: Annotated[list[FeatureView], Meta(description="What every question must have of a customer.")]
    rules: Annotated[RulesView | None, Meta(description="Null where none answers, or it knows no offers.")]
    holdout_share: Annotated[float, Meta(description="Share of customers who are never contacted, 0 to 1.")]
    exploration_share: Annotated[
        float, Meta(description="Share of customers who get an allowed arm at random, 0 to 1.")
    ]
    kill_switch: Annotated[bool, Meta(description="Set by config: no offer to anybody.")]
    trouble: Annotated[TroubleView | None, Meta(description="Null while what leads the channel answers.")]
    trial: Annotated[
        TrialView | None, Meta(description="The candidate that answers beside it; null while no trial runs.")
    ] = None


class LoopView(Struct, frozen=True):
    """How work beside the answers goes."""

    name: Annotated[str, Meta(description="Which work: `release`, `decision_log`, `recovery` or `shipping`.")]
    age_seconds: Annotated[float, Meta(description="Since it last succeeded, or since the start.")]
    failures: Annotated[int, Meta(description="Tries since then that failed; it is tried again.")]
    trouble: Annotated[str, Meta(description="Kind of the last error; empty while all is well.")]


class ReadyView(Struct, frozen=True):
    """Whether a release answers, and its decisions can be recorded."""

    ready: Annotated[bool, Meta(description="Whether it does, and they can.")]
    release: Annotated[str | None, Meta(description="The release that answers; null while none does.")]
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

    name: Annotated[str, Meta(description="What it is.")]
    datatype: Annotated[str, Meta(description="`FP64` for numbers, `BYTES` for texts.")]
    shape: Annotated[list[int], Meta(description="Length of each axis; -1: one for each customer.")]


class ModelView(Struct, frozen=True):
    """A model of the release that answers."""

    name: Annotated[str, Meta(description="Of the model.", examples=["risk_model"])]
    versions: Annotated[list[str], Meta(description="The one version that answers.")]
    platform: Annotated[str, Meta(description="Format in which it is stored.")]
    inputs: Annotated[list[TensorView], Meta(description="What it reads.")]
    outputs: Annotated[list[TensorView], Meta(description="What it gives.")]


def release_view(
    follower: ReleaseFollower, config: ServingConfig, trial: TrialFollower | None = None, *, stopped: bool
) -> ReleaseView:
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
        trial=None if trial is None else _trial_view(trial),
    )


def _trial_view(trial: TrialFollower) -> TrialView | None:
    served, trouble = trial.answering, trial.trouble
    if trouble is not None:
        return TrialView(trouble.release, 0.0, TroubleView(trouble.release, trouble.kind, trouble.detail))
    if served is None or served.candidate is None or not isinstance(served.decider, SideBySide):
        return None
    return TrialView(str(served.candidate.ref), served.decider.share, None)


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
