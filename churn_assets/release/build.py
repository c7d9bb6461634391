"""Builds a release from exact member versions: evidence first, then golden decisions, funnel and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from churn_assets.customers.schema import ID
from churn_assets.deciding.risk_only import AnyDecider, decider_of
from churn_assets.deciding.table import as_frame, decisions_of
from churn_assets.release.bundle import RELEASE, Bundle, Golden, Member, Release
from churn_assets.release.decided import Decided, decision_tables, segments_of
from churn_assets.release.deciding import load_release
from churn_assets.release.evidence import Evidence, Required, gather
from churn_assets.release.golden import (
    COMPARED,
    GOLDEN_AT,
    golden_messages,
    golden_situations,
    rewards_of,
    unnamed,
)
from churn_assets.release.limited import limit_rows
from churn_assets.release.loaded import Models, load_member
from churn_assets.release.report.facts import MemberView, ReportFacts, changes_since
from churn_assets.release.report.page import report_page
from churn_assets.release.report.verdict import ReportVerdict, report_verdict
from churn_assets.store.errors import StoreError
from churn_assets.store.reference import ArtifactRef

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import Decision
    from churn_assets.decision.limits import BudgetsConfig
    from churn_assets.message.model.language_model import RewardModel
    from churn_assets.release.config import ReleaseConfig
    from churn_assets.store.artifacts import ArtifactStore

# Decisions name the release that made them; while a release is built it has no version yet.
_UNBORN = "unreleased"


class ReleaseRefusedError(Exception):
    """A release cannot be built; one line a problem."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("no release: " + "; ".join(problems))


@dataclass(frozen=True)
class Built:
    """A release, and what its report tells.

    Attributes:
        release: To be stored.
        facts: What its report was made from; the release has no version and no checks of its own yet.
        verdict: What the report says first.
    """

    release: Release
    facts: ReportFacts
    verdict: ReportVerdict


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
    reward: RewardModel | None = None,
    budgets: BudgetsConfig | None = None,
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
        reward: What tells good messages from bad ones in the report, if there is such a member.
        budgets: Limits whose use and shadow prices the report shows, if there are any.

    Raises:
        ReleaseRefusedError: A member's bytes or gates do not hold, or the template cannot be sent with an arm.
        StoreError: A member cannot be loaded.
    """
    evidence = prove(store, members, required)
    if problems := models.desk.unsendable(models.menu):
        raise ReleaseRefusedError(problems)
    pinned = {each.ref.asset: Member(ref=str(each.ref), digest=each.digest) for each in evidence}
    unborn = ArtifactRef(experiment, "release", _UNBORN)
    held_out = customers.where(customers.held_out)
    unseen = as_raw(held_out)
    deciding = models.deciding(customers.X)
    decider = decider_of(deciding, str(unborn))
    decisions = decisions_of(unseen, decider, GOLDEN_AT)
    golden = min(config.golden_customers, len(unseen))
    decided = as_frame(decisions[:golden], decider, GOLDEN_AT)
    messages = golden_messages(unseen.head(golden), models)
    tables = {
        **tables_of(
            decisions, decider, held_out, None if champion is None else arms_decided(store, champion, unseen)
        ),
        "messages": _with_rewards(messages, unseen.head(golden), models, reward),
    }
    if limits := limit_rows(decider, unseen, len(customers), budgets):
        tables["limits"] = limits
    leads = None if champion is None else str(champion)
    facts = ReportFacts(
        release=None,
        experiment=experiment,
        branches=config.branches,
        simulated=simulated,
        currency=models.desk.writing.currency,
        members=[
            MemberView(e.ref.asset, str(e.ref), store.manifest(e.ref), e.reports, required[e.ref.asset])
            for e in evidence
        ],
        tables=tables,
        against=leads,
        changes=() if champion is None else changes_since(store, champion, [each.ref for each in evidence]),
    )
    report = report_page(facts)
    bundle = Bundle(
        experiment=experiment,
        branches=config.branches,
        members=pinned,
        evidence={each.ref.asset: each.report_digests for each in evidence},
        champion=leads,
        simulated=simulated,
        writing=models.desk.writing,
        golden=Golden(
            customers=_json_rows(unseen.head(golden)),
            decisions=_json_rows(decided[list(COMPARED)]),
            messages=[dict(row) for row in messages],
        ),
        report_sha256=sha256(report.encode()).hexdigest(),
    )
    release = Release(bundle=bundle, report=report, tables=tables, models=deciding)
    return Built(release, facts, report_verdict(facts))


def _with_rewards(
    messages: Sequence[Mapping[str, object]],
    customers: pd.DataFrame,
    models: Models,
    reward: RewardModel | None,
) -> list[dict[str, Any]]:
    """Golden messages as a report shows them, with their rewards where a model gives any."""
    rows = unnamed(messages)
    if reward is None:
        return rows
    prompts = [each.prompt for each in golden_situations(customers, models)]
    rewards = rewards_of(reward, prompts, [str(row["text"]) for row in rows], [True] * len(rows))
    return [{**row, "reward": each} for row, each in zip(rows, rewards, strict=True)]


def tables_of(
    decisions: Sequence[Decision], decider: AnyDecider, customers: CustomerTable, before: Sequence[str] | None
) -> dict[str, list[dict[str, Any]]]:
    """What a release keeps of its decisions for n customers, for its report.

    Args:
        decisions: n, by the decider.
        decider: Who decided.
        customers: n.
        before: n ids of the arms that the release before decides for the same customers, where it can be asked.
    """
    about = {"customers": len(customers), "window_months": decider.window_months}
    process = decider.process
    if process is None:  # nothing is decided
        return {"about": [about]}
    decided = Decided.of(decisions, list(decider.menu))
    return {
        "about": [about | {"horizon_months": process.horizon * process.step_months}],
        **decision_tables(decided, segments_of(customers, decided.risk), before),
    }


def arms_decided(store: ArtifactStore, release: ArtifactRef, customers: pd.DataFrame) -> list[str] | None:
    """The arm that another release decides for each customer; None where it is broken or reads other features."""
    try:
        _, models = load_release(store, release)
    except StoreError:
        return None
    if models.schema.names != tuple(customers.columns[1:]):
        return None
    return [
        each.chosen.arm.id for each in decisions_of(customers, decider_of(models, str(release)), GOLDEN_AT)
    ]


def tables_anew(
    store: ArtifactStore, release: ArtifactRef, against: ArtifactRef | None
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """What a stored release keeps of its decisions; decided again where it keeps nothing or meets another release.

    Args:
        store: The store.
        release: The release.
        against: The release before; None for the one that it was built against.

    Raises:
        StoreError: The release cannot be read.
    """
    kept = store.load(release, RELEASE)
    built = None if kept.bundle.champion is None else ArtifactRef.parse(kept.bundle.champion)
    other = against or built
    if kept.models is None or (kept.tables and other == built):
        return kept.tables
    customers: CustomerTable = load_member(store, kept.bundle, "customers")
    held_out = customers.where(customers.held_out)
    raw, decider = as_raw(held_out), decider_of(kept.models, str(release))
    decisions = decisions_of(raw, decider, GOLDEN_AT)
    tables = tables_of(
        decisions, decider, held_out, None if other is None else arms_decided(store, other, raw)
    )
    return {**kept.tables, "messages": unnamed(kept.bundle.golden.messages), **tables}


def as_raw(customers: CustomerTable) -> pd.DataFrame:
    """Customers as they came in, with the source's id column and without label and fold."""
    schema = customers.schema
    return customers.frame.rename(columns={ID: schema.id})[[schema.id, *schema.names]]


def _json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON: blanks are None, numbers are Python's own."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
