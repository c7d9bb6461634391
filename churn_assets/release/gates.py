"""What a release must prove as a whole, measured on the release as loaded from the store. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

import numpy as np

from churn_assets.arms import NO_CONTACT_ID
from churn_assets.customers.table import CustomerTable
from churn_assets.deciding.files import packed
from churn_assets.deciding.outlook import Outlooks
from churn_assets.deciding.release_models import ReleaseModels, canonical
from churn_assets.deciding.risk_only import AnyDecider, DecidingModels
from churn_assets.gates.report import Gate, Outcome
from churn_assets.release.bundle import Bundle, Release, same
from churn_assets.release.evidence import Evidence
from churn_assets.release.golden import COMPARED, golden_decisions, golden_frame, golden_messages, unnamed
from churn_assets.release.loaded import Models
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

# Anything that a browser would fetch from elsewhere.
_EXTERNAL = re.compile(
    r"""(?:src|href)\s*=\s*(?!["']?(?:data:|#))|@import|url\((?!["']?data:)|<script""", re.IGNORECASE
)
TABLED = 400
"""Customers whose tabled outlooks are computed again."""
LARGEST_TABLED = 1e-4
"""Of anything tabled from what is computed, where it is above 1 relative: none on the processor that tabled it, and
single precision rounds otherwise on another."""


def members_agree(bundle: Bundle, manifests: Mapping[str, Manifest], expected: Sequence[str]) -> Outcome:
    """Every member is there, and each was trained from the bytes of the others that are in the release.

    Args:
        bundle: The release.
        manifests: Manifest of every member.
        expected: Assets of the release's branches.
    """
    rows = []
    for asset, manifest in manifests.items():
        for upstream, ref in manifest.provenance.upstream.items():
            member = bundle.members.get(upstream)
            used = ArtifactRef.parse(ref).version.rpartition("-")[2]
            same = member is not None and member.digest.startswith(used)
            rows.append(
                {
                    "member": asset,
                    "trained_from": ref,
                    "in_release": member.ref if member else "",
                    "same": same,
                }
            )
    other = sum(not row["same"] for row in rows)
    missing = sorted(set(expected) ^ set(bundle.members))
    changed = sum(manifest.digest != bundle.members[asset].digest for asset, manifest in manifests.items())
    return Outcome(
        (
            Gate("members_missing_or_extra", len(missing), "==", 0, ", ".join(missing)),
            Gate("members_of_other_bytes", changed, "==", 0, "than the release was built from"),
            Gate("trained_from_others", other, "==", 0, "inputs that are not the release's own"),
        ),
        {"lineage": rows},
    )


def report_stands(release: Release) -> Outcome:
    """The HTML report is the one the release was built with, names every member, and fetches nothing."""
    same = sha256(release.report.encode()).hexdigest() == release.bundle.report_sha256
    unnamed = [
        ref for ref in (member.ref for member in release.bundle.members.values()) if ref not in release.report
    ]
    return Outcome(
        (
            Gate("report_is_its_own", float(same), "==", 1, "sha256 as in the bundle"),
            Gate("members_not_named", len(unnamed), "==", 0, ", ".join(unnamed)),
            Gate(
                "external_references",
                len(_EXTERNAL.findall(release.report)),
                "==",
                0,
                "what a browser would fetch",
            ),
        )
    )


def models_are_members(models: DecidingModels, members: Models, customers: CustomerTable) -> Outcome:
    """What the release decides with are its members, number for number, and the outlooks it tabled are theirs.

    Args:
        models: As loaded with the release.
        members: As loaded from their own versions.
        customers: Whom the release knows.
    """
    theirs = members.deciding(customers.X, models.known if isinstance(models, ReleaseModels) else None)
    if not (isinstance(models, ReleaseModels) and isinstance(theirs, ReleaseModels)):
        return Outcome((_parts_that_differ(models, theirs),))
    X = canonical(customers.X)
    tabled, known = models.outlooks(X, [0] * len(X))
    chosen = np.random.default_rng(0).permutation(len(X))[:TABLED]
    computed = theirs.compute(X[chosen], [0] * len(chosen))
    return Outcome(
        (
            _parts_that_differ(models, theirs),
            Gate(
                "customers_not_known", len(known) - sum(known), "==", 0, "of those the release was built on"
            ),
            Gate("tabled_difference", _largest_difference(tabled[chosen], computed), "<=", LARGEST_TABLED),
        )
    )


def _parts_that_differ(models: DecidingModels, theirs: DecidingModels) -> Gate:
    """Arrays and parts of the description that are not the same on both sides."""
    (described, arrays), (told, numbers) = packed(models), packed(theirs)
    names = [name for name in {**described, **told} if described.get(name) != told.get(name)]
    for name in {**arrays, **numbers}:
        ours, other = arrays.get(name), numbers.get(name)
        if ours is None or other is None or ours.tobytes() != other.tobytes():
            names.append(name)
    return Gate("parts_that_differ", len(names), "==", 0, ", ".join(names))


def _largest_difference(tabled: Outlooks, computed: Outlooks) -> float:
    """Of any field; relative where it is above 1."""
    found = []
    for name in computed.dtype.names or ():
        ours, theirs = tabled[name].astype(np.float64), computed[name].astype(np.float64)
        difference = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)
        # Written so that NaN is no agreement.
        found.append(float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)))
    return max(found)


def decides_as_built(bundle: Bundle, decider: AnyDecider) -> Outcome:
    """End to end: the decider as loaded decides for golden customers as it did when the release was built."""
    golden = bundle.golden
    decided = golden_decisions(golden_frame(golden.customers), decider)
    differing = sum(
        any(not same(found[name], kept[name]) for name in COMPARED)
        for found, kept in zip(decided, golden.decisions, strict=True)
    )
    offered = sum(row["arm"] != NO_CONTACT_ID for row in decided)
    return Outcome(
        (
            Gate("golden_customers", len(golden.customers), ">=", 1),
            Gate("decisions_differing", differing, "==", 0, "from those when the release was built"),
        ),
        {"golden": unnamed(decided), "golden_offers": [{"customers": len(decided), "offered": offered}]},
    )


def writes_as_built(bundle: Bundle, models: Models) -> Outcome:
    """The desk as loaded writes to golden customers as it did when the release was built; no text breaks a rule.

    Nor does the template, which may stand in for any text: with any arm of the menu, for any service.
    """
    unsendable = models.desk.unsendable(models.menu)
    written = golden_messages(golden_frame(bundle.golden.customers), models, bundle.golden.messages)
    differing = sum(found != kept for found, kept in zip(written, bundle.golden.messages, strict=True))
    return Outcome(
        (
            Gate("golden_messages", len(written), ">=", float(len(models.menu) > 1)),
            Gate("messages_differing", differing, "==", 0, "from those when the release was built"),
            Gate(
                "unsafe_messages",
                sum(bool(row["broken"]) for row in written),
                "==",
                0,
                "of what would be sent",
            ),
            Gate("unsendable_templates", len(unsendable), "==", 0, "; ".join(unsendable[:1])),
        ),
        {"messages": unnamed(written)},
    )


def members_keep_their_gates(evidence: Sequence[Evidence]) -> Outcome:
    """Every member's gate reports, read again: they exist, are bound to these bytes, and pass when recomputed."""
    problems = [{"problem": problem} for each in evidence for problem in each.problems]
    gates = sum(len(report.gates) for each in evidence for report in each.reports.values())
    first = problems[0]["problem"] if problems else ""
    return Outcome(
        (
            Gate("member_problems", len(problems), "==", 0, first),
            Gate("member_gates", gates, ">=", len(evidence), "recomputed from stored figures"),
        ),
        {"problems": problems},
    )
