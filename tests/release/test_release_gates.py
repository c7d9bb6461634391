"""A release proves that its parts belong together, that its report is its own, and that members keep their gates."""

from hashlib import sha256

import pytest

from churn_assets.deciding.messages import MessageWriter, Writing
from churn_assets.message.config import SafetyRules
from churn_assets.message.training.config import Sampling
from churn_assets.release.build import ReleaseRefusedError, build_release, prove
from churn_assets.release.bundle import RELEASE
from churn_assets.release.config import ReleaseConfig
from churn_assets.release.evidence import evidence_digest, gather
from churn_assets.release.gates import members_agree, members_keep_their_gates, report_stands
from churn_assets.release.loaded import Models


def figures(outcome):
    return {gate.name: gate.figure for gate in outcome.gates}


def passed(outcome):
    return all(gate.passed for gate in outcome.gates)


@pytest.fixture
def loaded(shelf):
    return shelf.store.load(shelf.release(0.2), RELEASE)


def manifests(shelf, release):
    return {asset: shelf.store.manifest(member.version) for asset, member in release.bundle.members.items()}


def test_members_that_were_trained_from_each_other_agree(shelf, loaded):
    assert passed(members_agree(loaded.bundle, manifests(shelf, loaded), ("customers", "risk_model")))


def test_a_member_trained_from_other_customers_than_the_releases_own_is_noticed(shelf, loaded):
    other = shelf.publish("customers", [7])
    stranger = shelf.publish("risk_model", 0.9, upstream={"customers": str(other)})
    mixed = manifests(shelf, loaded) | {"risk_model": shelf.store.manifest(stranger)}
    found = figures(members_agree(loaded.bundle, mixed, ("customers", "risk_model")))
    assert found["trained_from_others"] == 1
    assert found["members_of_other_bytes"] == 1


def test_a_member_trained_from_equal_bytes_of_another_run_agrees(shelf, loaded):
    again = shelf.publish("customers", [1, 2, 3])
    same = shelf.publish("risk_model", 0.2, upstream={"customers": str(again)})
    mixed = manifests(shelf, loaded) | {"risk_model": shelf.store.manifest(same)}
    assert (
        figures(members_agree(loaded.bundle, mixed, ("customers", "risk_model")))["trained_from_others"] == 0
    )


def test_a_missing_or_extra_member_is_noticed(shelf, loaded):
    outcome = members_agree(
        loaded.bundle, manifests(shelf, loaded), ("customers", "risk_model", "ppo_decision")
    )
    assert figures(outcome)["members_missing_or_extra"] == 1


def test_the_report_must_be_its_own_and_name_every_member(loaded):
    assert passed(report_stands(loaded))
    edited = loaded.model_copy(update={"report": loaded.report.replace("risk_model", "risc_model")})
    assert figures(report_stands(edited)) == {
        "report_is_its_own": 0,
        "members_not_named": 1,
        "external_references": 0,
    }


@pytest.mark.parametrize(
    ("fetched", "count"),
    [
        ('<img src="https://example.org/a.png">', 1),
        ("<link href=//example.org/a.css>", 1),
        ("<script>alert(1)</script>", 1),
        ("<style>@import 'a.css'</style>", 1),
        ("<style>a{background:url(https://example.org/a.png)}</style>", 1),
        ('<img src="data:image/png;base64,AAAA">', 0),
        ('<a href="#members">members</a>', 0),
    ],
)
def test_whatever_a_browser_would_fetch_is_counted(loaded, fetched, count):
    report = loaded.report + fetched
    bundle = loaded.bundle.model_copy(update={"report_sha256": sha256(report.encode()).hexdigest()})
    changed = loaded.model_copy(update={"report": report, "bundle": bundle})
    assert figures(report_stands(changed))["external_references"] == count


def test_members_keep_their_gates_only_while_every_stored_report_holds(shelf, loaded):
    versions = [member.version for member in loaded.bundle.members.values()]
    good = [gather(shelf.store, version, shelf.required) for version in versions]
    assert passed(members_keep_their_gates(good))
    shelf.report(loaded.bundle.members["risk_model"].version, "ranks_well", figure=0.1)
    bad = [gather(shelf.store, version, shelf.required) for version in versions]
    assert figures(members_keep_their_gates(bad))["member_problems"] == 1
    assert evidence_digest(bad) != evidence_digest(good)


def test_a_release_is_not_built_over_a_member_that_was_never_checked(shelf):
    customers = shelf.publish("customers", [1])
    with pytest.raises(ReleaseRefusedError, match="check complete never ran"):
        prove(shelf.store, {"customers": customers}, shelf.required)


def test_a_release_is_not_built_over_a_corrupt_member(shelf):
    customers = shelf.publish("customers", [1])
    shelf.judge(customers)
    shelf.spoil(customers)
    with pytest.raises(ReleaseRefusedError, match=r"value\.json"):
        prove(shelf.store, {"customers": customers}, shelf.required)


def test_a_release_whose_template_cannot_be_sent_with_an_arm_is_not_built(shelf, small):
    rules = SafetyRules(template="{percent}% off for {duration}, guaranteed, {name}. Reply STOP to opt out.")
    writing = Writing(safety=rules, profile=None, max_new_tokens=0, sampling=Sampling(), seed=0)
    models = Models(
        small.schema, small.risk, small.accept, small.effect, small.policy, MessageWriter(writing)
    )
    with pytest.raises(
        ReleaseRefusedError, match=r"no release: arm 'percent_5', .* safety\.template: banned_phrase"
    ):
        build_release(
            shelf.store, "toy", {}, ReleaseConfig(), None,
            customers=small.table, models=models, simulated=True, required={},
        )  # fmt: skip


def build(shelf, small, champion=None):
    writing = Writing(safety=SafetyRules(), profile=None, max_new_tokens=0, sampling=Sampling(), seed=0)
    models = Models(
        small.schema, small.risk, small.accept, small.effect, small.policy, MessageWriter(writing)
    )
    return build_release(
        shelf.store, "toy", {}, ReleaseConfig(), champion,
        customers=small.table, models=models, simulated=True, required={},
    )  # fmt: skip


def test_a_built_release_keeps_the_tables_of_its_report_and_equal_inputs_make_equal_bytes(
    shelf, small, tmp_path
):
    built, again = build(shelf, small), build(shelf, small)
    assert passed(report_stands(built.release))
    assert built.release.report == again.release.report
    assert set(built.release.tables) == {
        "about", "funnel", "stopped", "offers", "slices", "budget", "messages"
    }  # fmt: skip
    assert built.verdict.call == "promote"
    RELEASE.save(built.release, tmp_path)
    assert RELEASE.load(tmp_path).tables == built.release.tables
    (tmp_path / "tables.json").unlink()
    assert RELEASE.load(tmp_path).tables == {}
    assert [each for each in small.table.ids if str(each) in built.release.report] == []


def test_a_successor_tells_who_gets_another_offer_than_by_the_champion(shelf, small):
    first = shelf.publish("release", build(shelf, small).release, RELEASE)
    flips = build(shelf, small, first).release.tables["flips"]
    assert {row["before"] == row["now"] for row in flips} == {True}
    assert sum(row["customers"] for row in flips) == int(small.table.held_out.sum())
