"""A release is decided with only if all its bytes are there and it decides as it did when it was built."""

from traceback import format_exception

import pytest

from churn_assets.deciding.decider import Decider
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE, Golden, Release
from churn_assets.release.deciding import load_release
from churn_assets.release.gates import decides_as_built
from churn_assets.release.golden import COMPARED, golden_decisions
from churn_assets.store.errors import CorruptArtifact, GoldenMismatch


@pytest.fixture
def decider(small):
    return Decider(small.models, "toy")


@pytest.fixture
def golden(small, decider):
    raw = as_raw(small.table).head(12)
    decisions = golden_decisions(raw, decider)
    assert {row["arm"] for row in decisions} > {"no_contact"}
    plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
    return Golden(customers=plain, decisions=decisions, messages=[])


@pytest.fixture
def publish(shelf, small, golden):
    """A release of toy members that decides with real models, with something changed."""

    def make(**changes):
        toy = shelf.store.load(shelf.release(0.2), RELEASE)
        bundle = toy.bundle.model_copy(update={"golden": changes.get("golden", golden)})
        release = Release(bundle=bundle, report=toy.report, models=changes.get("models", small.models))
        return shelf.publish("release", release, RELEASE)

    return make


def test_a_sound_release_is_loaded_to_decide_with(shelf, small, publish):
    bundle, models = load_release(shelf.store, publish())
    assert bundle.golden.customers
    assert models.known.outlooks.tobytes() == small.models.known.outlooks.tobytes()


def test_a_corrupt_member_is_noticed_though_it_is_not_needed(shelf, publish):
    ref = publish()
    shelf.spoil(shelf.members(ref)["risk_model"])
    with pytest.raises(CorruptArtifact):
        load_release(shelf.store, ref)


def test_a_member_of_other_bytes_than_the_release_was_built_from_is_noticed(shelf, small, golden):
    toy = shelf.store.load(shelf.release(0.2), RELEASE)
    member = toy.bundle.members["risk_model"].model_copy(update={"digest": "0" * 64})
    bundle = toy.bundle.model_copy(update={"members": toy.bundle.members | {"risk_model": member}})
    ref = shelf.publish("release", Release(bundle=bundle, report="", models=small.models), RELEASE)
    with pytest.raises(CorruptArtifact, match="risk_model: found digest"):
        load_release(shelf.store, ref)


def test_a_release_without_models_does_not_decide(shelf, publish):
    with pytest.raises(CorruptArtifact, match="models to decide with"):
        load_release(shelf.store, publish(models=None))


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("arm", lambda arm: f"{arm}0"),
        ("risk", lambda risk: risk + 1e-4),
        ("expected_value", lambda x: x + 0.01),
    ],
)
def test_a_release_that_decides_otherwise_than_when_it_was_built_does_not(
    shelf, golden, publish, column, change
):
    first, *others = golden.decisions
    changed = golden.model_copy(update={"decisions": [{**first, column: change(first[column])}, *others]})
    with pytest.raises(GoldenMismatch, match=f"another {column} of golden customer 0") as caught:
        load_release(shelf.store, publish(golden=changed))
    for told in (first["customer_id"], str(first["risk"])):
        assert told not in str(caught.value)  # what may reach a log says nothing of a person


def test_a_golden_customer_that_the_schema_does_not_take_is_refused_without_a_value(shelf, golden, publish):
    first, *others = golden.customers
    changed = golden.model_copy(update={"customers": [{**first, "Contract": "Weekly"}, *others]})
    with pytest.raises(CorruptArtifact, match="a value of 'Contract' that is none of the schema's") as caught:
        load_release(shelf.store, publish(golden=changed))
    assert "Weekly" not in "".join(format_exception(caught.value))


def test_rounding_of_another_processor_is_no_other_decision(shelf, golden, publish):
    first, *others = golden.decisions
    rounded = {**first, "risk": first["risk"] * (1 + 1e-12)}
    load_release(shelf.store, publish(golden=golden.model_copy(update={"decisions": [rounded, *others]})))


def test_the_gate_compares_what_the_command_decides(shelf, small, golden, publish):
    bundle, models = load_release(shelf.store, publish())
    outcome = decides_as_built(bundle, Decider(models, "toy"))
    assert all(gate.passed for gate in outcome.gates)
    assert set(golden.decisions[0]) == set(COMPARED)
