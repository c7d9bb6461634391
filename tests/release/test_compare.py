"""Two releases side by side: only what differs is told, in the order of the flow."""

from churn_assets.release.compare import Difference, Facts, differences, facts_of, told_of

MODEL = Facts("v1", {"metric": {"auc": 0.8, "rows": 10}, "file": {"a.json": "1234, 5 bytes"}})


def test_equal_releases_differ_in_nothing():
    assert differences({"risk_model": MODEL}, {"risk_model": MODEL}) == []


def test_what_differs_is_told_and_the_rest_is_not():
    other = Facts("v2", {"metric": {"auc": 0.9, "rows": 10}, "file": {"b.json": "1234, 5 bytes"}})
    assert differences({"risk_model": MODEL}, {"risk_model": other}) == [
        Difference("risk_model", "version", "", "v1", "v2"),
        Difference("risk_model", "metric", "auc", 0.8, 0.9),
        Difference("risk_model", "file", "a.json", "1234, 5 bytes", None),
        Difference("risk_model", "file", "b.json", None, "1234, 5 bytes"),
    ]


def test_a_member_that_only_one_of_them_has_is_one_line_and_the_flow_gives_the_order():
    a = {"release": Facts("r1"), "ppo_decision": Facts("p1"), "customers": Facts("c1")}
    b = {"release": Facts("r2"), "customers": Facts("c2")}
    assert [(each.asset, each.a, each.b) for each in differences(a, b)] == [
        ("customers", "c1", "c2"),
        ("ppo_decision", "p1", None),
        ("release", "r1", "r2"),
    ]


def test_figures_and_thresholds_of_the_stored_reports_are_compared(shelf):
    first, second = shelf.release(0.7), shelf.release(0.8)
    model = shelf.members(second)["risk_model"]
    shelf.report(model, "ranks_well", figure=2.0)
    found = differences(facts_of(shelf.store, first), facts_of(shelf.store, second))
    told = {(each.asset, each.kind, each.name): (each.a, each.b) for each in found}
    assert told["risk_model", "gate", "ranks_well: figure"] == (1.0, 2.0)
    assert ("risk_model", "threshold", "ranks_well: figure") not in told
    assert {asset for asset, _, _ in told} == {"customers", "risk_model", "release"}


def test_the_keys_of_a_config_that_differ_are_told_by_their_path(shelf):
    def model(**tree):
        return shelf.publish(
            "risk_model", 1.0, config={"seed": 7, "risk_model": {"kind": "boosting", "tree": tree}}
        )

    a, b = (
        {"risk_model": Facts(ref.version, told_of(shelf.store.manifest(ref)))}
        for ref in (model(leaves=6, arms=[0, 1]), model(leaves=8, arms=[0, 2]))
    )
    assert [(each.name, each.a, each.b) for each in differences(a, b) if each.kind == "config"] == [
        ("risk_model.tree.arms", "[0, 1]", "[0, 2]"),
        ("risk_model.tree.leaves", 6, 8),
    ]
