"""The checks of `release`: which gates run on it, and what to do when one fails."""

from typing import Any

from churn_assets.gates.report import Outcome
from churn_assets.gates.spec import CheckSpec, GateInputs


def _models(release: Any, inputs: GateInputs) -> Any:
    from churn_assets.release.loaded import load_models

    bundle = release.bundle
    return inputs.once("models", lambda: load_models(inputs.store, bundle))


def _deciding(release: Any) -> Any:
    if release.models is None:
        raise ValueError("the release holds no models to decide with")
    return release.models


def _members_agree(release: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.release import gates
    from churn_assets.release.bundle import MEMBERS

    bundle = release.bundle
    manifests = {asset: inputs.store.verify(member.version) for asset, member in bundle.members.items()}
    expected = [asset for branch in bundle.branches for asset in MEMBERS[branch]]
    return gates.members_agree(bundle, manifests, expected)


def _members_keep_their_gates(release: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.release import gates
    from churn_assets.release.evidence import gather
    from churn_assets.release.required import MEMBER_CHECKS

    members = release.bundle.members.values()
    return gates.members_keep_their_gates(
        [gather(inputs.store, each.version, MEMBER_CHECKS) for each in members]
    )


def _decides_as_built(release: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.deciding.decider import Decider
    from churn_assets.release import gates

    return gates.decides_as_built(release.bundle, Decider(_deciding(release), str(inputs.ref)))


def _models_are_members(release: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.release import gates

    return gates.models_are_members(
        _deciding(release), _models(release, inputs), inputs.upstream("customers")
    )


def _writes_as_built(release: Any, inputs: GateInputs) -> Outcome:
    from churn_assets.release import gates

    return gates.writes_as_built(release.bundle, _models(release, inputs))


def _report_stands(release: Any, inputs: GateInputs) -> Outcome:  # noqa: ARG001 - the release holds its report
    from churn_assets.release import gates

    return gates.report_stands(release)


RELEASE: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="members_agree",
        description="Every member is there and was trained from the others in this release, not from older ones.",
        advice="Run the whole experiment again: part of it was trained alone.",
        run=_members_agree,
    ),
    CheckSpec(
        name="members_keep_their_gates",
        description="Every member's gate reports exist, are bound to its bytes, and pass when recomputed.",
        advice="See the problem named; run the experiment again. Never edit a stored report.",
        run=_members_keep_their_gates,
        every_run=True,
    ),
    CheckSpec(
        name="decides_as_built",
        description="Loads end to end and decides for golden customers as it did when it was built.",
        advice="A saved model differs from the trained one: materialize the members again.",
        run=_decides_as_built,
    ),
    CheckSpec(
        name="models_are_members",
        description="What decisions are made with are the members' own numbers, and so are the tabled outlooks.",
        advice="The release was built from other members, or on a processor that rounds otherwise: build it again.",
        run=_models_are_members,
    ),
    CheckSpec(
        name="writes_as_built",
        description="Writes to golden customers as it did when it was built, and nothing that may not be sent.",
        advice="A saved model differs from the trained one: materialize the members again.",
        run=_writes_as_built,
    ),
    CheckSpec(
        name="report_stands",
        description="The HTML report is its own, names every member and fetches nothing from elsewhere.",
        advice="Materialize the release again; never edit its report.",
        run=_report_stands,
    ),
)
