"""The checks of `release`: which gates run on it, and what to do when one fails."""

from churn_assets.flow.check import CheckSpec, Given

_MODELS: Given = {"models": "churn_assets.release.measured:models"}

RELEASE: tuple[CheckSpec, ...] = (
    CheckSpec(
        name="members_agree",
        description="Every member is there and was trained from the others in this release, not from older ones.",
        fault="members were not trained from each other",
        advice="Run the whole experiment again: part of it was trained alone.",
        run="churn_assets.release.measured:members_agree",
    ),
    CheckSpec(
        name="members_keep_their_gates",
        description="Every member's gate reports exist, are bound to its bytes, and pass when recomputed.",
        fault="a member does not keep its gates",
        advice="See the problem named; run the experiment again. Never edit a stored report.",
        run="churn_assets.release.measured:members_keep_their_gates",
        every_run=True,
    ),
    CheckSpec(
        name="decides_as_built",
        description="Loads end to end and decides for golden customers as it did when it was built.",
        fault="it decides otherwise than when it was built",
        advice="A saved model differs from the trained one: materialize the members again.",
        run="churn_assets.release.measured:decides_as_built",
    ),
    CheckSpec(
        name="models_are_members",
        description="What decisions are made with are the members' own numbers, and so are the tabled outlooks.",
        fault="it decides with other numbers than its members",
        advice="The release was built from other members, or on a processor that rounds otherwise: build it again.",
        run="churn_assets.release.measured:models_are_members",
        given=_MODELS,
    ),
    CheckSpec(
        name="writes_as_built",
        description="Writes to golden customers as it did when it was built, and nothing that may not be sent.",
        fault="unsafe text, or other messages than when it was built",
        advice="A saved model differs from the trained one: materialize the members again.",
        run="churn_assets.release.measured:writes_as_built",
        given=_MODELS,
    ),
    CheckSpec(
        name="report_stands",
        description="The HTML report is its own, names every member and fetches nothing from elsewhere.",
        fault="the stored report is not its own",
        advice="Materialize the release again; never edit its report.",
        run="churn_assets.release.gates:report_stands",
    ),
)
