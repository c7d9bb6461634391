"""Builds a release from exact member versions: evidence first, then golden decisions, funnel and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.customers.schema import ID
from churn_assets.deciding.risk_only import decider_of
from churn_assets.deciding.table import decide_table
from churn_assets.release.bundle import Bundle, Golden, Member, Release
from churn_assets.release.deciding import load_release
from churn_assets.release.evidence import Evidence, Required, gather
from churn_assets.release.golden import COMPARED, GOLDEN_AT, golden_messages, unnamed
from churn_assets.release.loaded import Models
from churn_assets.release.report import MemberView, ReportInputs, render
from churn_assets.store.errors import StoreError
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.arms import Menu
    from churn_assets.customers.table import CustomerTable
    from churn_assets.release.config import ReleaseConfig
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.manifest import Manifest

# Decisions name the release that made them; while a release is built it has no version yet.
_UNBORN = "unreleased"


class ReleaseRefusedError(Exception):
    """A release cannot be built; one line a problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("no release: " + "; ".join(problems))


@dataclass(frozen=True)
class Built:
    """A release, and how it decided for held-out customers."""

    release: Release
    funnel: list[dict[str, Any]]
    offers: list[dict[str, Any]]


def prove(store: ArtifactStore, members: Mapping[str, ArtifactRef], required: Required) -> list[Evidence]:
    """Evidence of every member.

    Raises:
        ReleaseRefusedError: A member's bytes or gates do not hold.
    """
    evidence = [gather(store, ref, required) for ref in members.values()]
    problems = [problem for each in evidence for problem in each.problems]
    if problems:
        raise ReleaseRefusedError(problems)
    return evidence


def build_release(
    store: ArtifactStore,
    experiment: str,
    members: Mapping[str, ArtifactRef],
    config: ReleaseConfig,
    champion: ArtifactRef | None,
    *,
    customers: CustomerTable,
    models: Models,
    simulated: bool,
    required: Required,
) -> Built:
    """Build a release from proven members.

    Args:
        store: Where the members are.
        experiment: Name of the experiment.
        members: Asset to exact version, in flow order.
        config: The `release:` section.
        champion: The release that leads the channel.
        customers: The member `customers`, loaded.
        models: The other members, loaded.
        simulated: Whether the answers to offers are simulated.
        required: Checks that each member needs.

    Raises:
        ReleaseRefusedError: A member's bytes or gates do not hold, or the template cannot be sent with an arm.
        StoreError: A member cannot be loaded.
    """
    evidence = prove(store, members, required)
    if problems := models.desk.unsendable(models.menu):
        raise ReleaseRefusedError(problems)
    pinned = {each.ref.asset: Member(ref=str(each.ref), digest=each.digest) for each in evidence}
    unborn = ArtifactRef(experiment, "release", _UNBORN)
    unseen = as_raw(customers.where(customers.held_out))
    deciding = models.deciding(customers.X)
    decider = decider_of(deciding, str(unborn))
    decided = decide_table(unseen, decider, GOLDEN_AT)
    golden = min(config.golden_customers, len(unseen))
    messages = golden_messages(unseen.head(golden), models)
    funnel, offers = _funnel(decided), _offers(decided, decider.menu)
    manifests = {asset: store.manifest(member.version) for asset, member in pinned.items()}
    report = render(
        ReportInputs(
            experiment=experiment,
            branches=config.branches,
            simulated=simulated,
            members=[
                MemberView(e.ref.asset, str(e.ref), manifests[e.ref.asset], e.reports, required[e.ref.asset])
                for e in evidence
            ],
            funnel=funnel,
            offers=offers,
            messages=unnamed(messages),
            champion=None if champion is None else str(champion),
            changes=[] if champion is None else _changes(store, champion, manifests, unseen, decided),
        )
    )
    bundle = Bundle(
        experiment=experiment,
        branches=config.branches,
        members=pinned,
        evidence={each.ref.asset: each.report_digests for each in evidence},
        champion=None if champion is None else str(champion),
        simulated=simulated,
        writing=models.desk.writing,
        golden=Golden(
            customers=_json_rows(unseen.head(golden)),
            decisions=_json_rows(decided[list(COMPARED)].head(golden)),
            messages=[dict(row) for row in messages],
        ),
        report_sha256=sha256(report.encode()).hexdigest(),
    )
    return Built(Release(bundle=bundle, report=report, models=deciding), funnel, offers)


def as_raw(customers: CustomerTable) -> pd.DataFrame:
    """Customers as they came in, with the source's id column and without label and fold."""
    schema = customers.schema
    return customers.frame.rename(columns={ID: schema.id})[[schema.id, *schema.names]]


def _funnel(decided: pd.DataFrame) -> list[dict[str, Any]]:
    offered = decided[decided["arm"] != NO_CONTACT_ID]
    churners, kept = float(decided["risk"].sum()), float((offered["risk"] - offered["risk_if_offered"]).sum())
    return [
        {"stage": "customers", "customers": len(decided)},
        {"stage": "expected to leave without contact", "customers": round(churners, 1)},
        {"stage": "offered something now", "customers": len(offered)},
        {"stage": "expected to accept", "customers": round(float(offered["acceptance"].sum()), 1)},
        {"stage": "expected to be kept by it", "customers": round(kept, 1)},
    ]


def _offers(decided: pd.DataFrame, menu: Menu) -> list[dict[str, Any]]:
    grouped = decided.groupby("arm")
    return [
        {
            "offer": arm.label,
            "customers": len(rows),
            "share": len(rows) / len(decided),
            "mean_risk": float(rows["risk"].mean()),
            "mean_window_value": float(rows["window_value"].mean()),
            "mean_expected_value": float(rows["expected_value"].mean()),
            "mean_value_low": float(rows["value_low"].mean()),
            "mean_value_high": float(rows["value_high"].mean()),
        }
        for arm in menu
        if arm.id in grouped.groups
        for rows in (grouped.get_group(arm.id),)
    ]


def _changes(
    store: ArtifactStore,
    champion: ArtifactRef,
    manifests: Mapping[str, Manifest],
    unseen: pd.DataFrame,
    decided: pd.DataFrame,
) -> list[dict[str, Any]]:
    """Versions, metrics and decisions of the champion beside ours."""
    try:
        led, before = load_release(store, champion)
        theirs = {asset: store.manifest(member.version) for asset, member in led.members.items()}
    except StoreError as error:
        return [{"what": "the champion cannot be loaded", "champion": str(error), "this": ""}]
    rows: list[dict[str, Any]] = []
    for asset, ours in manifests.items():
        if asset not in theirs:
            rows.append({"what": asset, "champion": "not a member", "this": ours.version})
            continue
        other = theirs[asset]
        if other.digest == ours.digest:
            rows.append({"what": asset, "champion": "the same bytes", "this": "the same bytes"})
            continue
        rows.append({"what": asset, "champion": other.version, "this": ours.version})
        were, now = other.provenance.metrics, ours.provenance.metrics
        rows += [
            {"what": f"{asset}: {name}", "champion": were.get(name), "this": value}
            for name, value in now.items()
            if were.get(name) != value
        ]
    if before.schema.names != tuple(unseen.columns[1:]):
        return [
            *rows,
            {"what": "customers with another offer", "champion": "reads other features", "this": ""},
        ]
    before_arms = decide_table(unseen, decider_of(before, str(champion)), GOLDEN_AT)["arm"].to_numpy()
    moved = int((before_arms != decided["arm"].to_numpy()).sum())
    rows.append({"what": "held-out customers with another offer", "champion": len(unseen), "this": moved})
    return rows


def _json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON: blanks are None, numbers are Python's own."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
