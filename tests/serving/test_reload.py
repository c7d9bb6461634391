"""Which release answers, while others are promoted, rolled back, corrupt or not fit to answer here."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref

import pytest
from shop import Load, Server, wait_until

from churn_assets.arms import Catalogue
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.decider import CustomerInput
from churn_assets.release.bundle import RELEASE
from churn_assets.serving.app import utc_now
from churn_assets.serving.reload import UnservableError, load_served, refuse_other_menu, refuse_other_schema
from churn_assets.store.artifacts import stage
from churn_assets.store.manifest import Provenance

ASKED = 25


def offline(shop, ref, customers):
    """What a release decides for customers, without a server."""
    decider = load_served(shop.store, ref, 1.0, utc_now()).decider
    return decider.decide([CustomerInput(c["customer_id"], c["features"]) for c in customers])


def same(online, offline):
    """Bit for bit: JSON keeps every digit of a float."""
    return (
        online["customer_id"] == offline.customer_id
        and online["arm"]["id"] == offline.chosen.arm.id
        and online["arm"]["cost"] == offline.cost
        and online["churn_risk"] == offline.risk
        and online["retention_probability"] == offline.retention_probability
        and [
            (o["id"], o["forbidden"], o["acceptance_probability"], o["churn_risk"], o["expected_value"],
             o["one_window"], o["propensity"]) for o in online["arms"]
        ] == [
            (o.arm.id, o.forbidden, o.acceptance, o.risk_if_offered, o.expected_value, o.window_value, o.propensity)
            for o in offline.arms
        ]
    )  # fmt: skip


def ready(client):
    return client.get("/v2/health/ready").json()


def test_under_load_releases_come_and_go_and_no_request_fails(shop, customers):
    releases = {str(ref): offline(shop, ref, customers[:ASKED]) for ref in (shop.first, shop.second)}
    assert {d.arm for d in releases[str(shop.first)]} | {d.arm for d in releases[str(shop.second)]} > {0}
    bodies = [json.dumps({"customers": [customer]}).encode() for customer in customers[:ASKED]]
    shop.spoil(shop.third)
    with Server(shop).start() as server, server.client() as client, Load(server.port, bodies) as load:
        for turn in range(20):
            shop.lead(shop.second)
            wait_until(lambda: ready(client)["release"] == str(shop.second))
            if turn == 5:
                shop.lead_unverified(shop.third)
                wait_until(lambda: ready(client)["trouble"] == "CorruptArtifact")
                assert ready(client)["release"] == str(shop.second)
            if turn == 10:
                shop.lead(shop.narrower)
                wait_until(lambda: ready(client)["trouble"] == "UnservableError")
                assert ready(client)["leading"] == str(shop.narrower)
            shop.lead(shop.first, "rollback")
            wait_until(lambda: ready(client)["release"] == str(shop.first))
            assert ready(client)["trouble"] is None
    assert len(load.answers) > 100
    assert {status for _, status, _, _ in load.answers} == {200}
    seen = set()
    for place, _, body, _ in load.answers:
        answer = json.loads(body)
        assert same(answer["decisions"][0], releases[answer["release"]][place])
        seen.add(answer["release"])
    assert seen == set(releases)


def test_a_release_that_failed_is_not_tried_again(shop):
    shop.spoil(shop.third)
    with Server(shop).start() as server, server.client() as client:
        for _ in range(2):
            shop.lead_unverified(shop.third)
            wait_until(lambda: ready(client)["trouble"] == "CorruptArtifact")
            shop.lead(shop.first, "rollback")
            wait_until(lambda: ready(client)["trouble"] is None)
        assert 'churn_reloads_total{result="failed"} 1.0' in client.get("/metrics").text
        assert client.get("/v1/release").json()["trouble"] is None
    assert server.output().count("does not answer") == 1


def test_a_server_whose_first_leader_is_broken_is_not_ready_and_waits_for_a_better_one(shop):
    shop.spoil(shop.third)
    shop.lead_unverified(shop.third)
    with Server(shop).start(ready=False) as server, server.client() as client:
        assert client.get("/v2/health/ready").status_code == 503
        assert ready(client)["trouble"] == "CorruptArtifact"
        assert str(shop.third) in client.get("/v1/release").json()["trouble"]["detail"]
        shop.lead(shop.first, "rollback")
        wait_until(lambda: client.get("/v2/health/ready").status_code == 200)


def test_a_release_that_no_longer_answers_leaves_memory_at_once(built):
    gc.disable()  # a search for what refers to itself stops all answers, so none may be needed
    try:
        served = load_served(built.store, built.first, 1.0, utc_now())
        parts = [
            weakref.ref(part) for part in (served, served.decider, served.decider.models, served.messages)
        ]
        del served
        assert [part() for part in parts] == [None] * 4
    finally:
        gc.enable()


def test_a_release_without_messages_is_served_without_any_library_that_trains(shop):
    code = f"""
import sys
from datetime import UTC, datetime
import churn_assets.serving.run
from churn_assets.serving.reload import load_served
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.local import LocalBackend
from churn_assets.store.reference import ArtifactRef
from pathlib import Path
store = ArtifactStore(LocalBackend(Path({str(shop.root)!r}) / ".churn" / "store"))
load_served(store, ArtifactRef.parse({str(shop.first)!r}), 1.0, datetime.now(UTC))
print(sorted({{"sklearn", "torch", "stable_baselines3", "transformers", "trl", "dagster"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def schema_with(schema: CustomerSchema, name, /, **changes):
    features = tuple(f.model_copy(update=changes) if f.name == name else f for f in schema.features)
    return schema.model_copy(update={"features": features})


@pytest.fixture(scope="session")
def schema(built):
    return load_served(built.store, built.first, 1.0, utc_now()).decider.schema


def test_a_release_that_takes_all_that_callers_send_may_come(schema):
    refuse_other_schema(schema, schema)
    refuse_other_schema(
        schema, schema_with(schema, "Contract", categories=("Month-to-month", "New", "One year", "Two year"))
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Contract", {"categories": ("Month-to-month",)}),
        ("tenure", {"lowest": 1.0}),
        ("MonthlyCharges", {"highest": 100.0}),
        ("SeniorCitizen", {"kind": "categorical", "categories": ("0", "1")}),
        ("gender", {"name": "sex"}),
    ],
)
def test_a_release_that_takes_less_may_not(schema, name, changes):
    with pytest.raises(UnservableError):
        refuse_other_schema(schema, schema_with(schema, name, **changes))


def test_a_release_without_an_arm_that_callers_name_or_with_one_of_other_terms_may_not_come():
    six, three = (Catalogue(discount_months=months).menu for months in (6, 3))
    answering = six((0.0, 0.1, 0.2))
    for coming, lacking in (
        (six((0.0, 0.1, 0.3)), "percent_20"),
        (three((0.0, 0.1, 0.2)), "percent_10, percent_20"),
    ):
        with pytest.raises(UnservableError, match=f": {lacking} is not there, or has other terms"):
            refuse_other_menu(answering, coming)
    refuse_other_menu(answering, six((0.0, 0.1, 0.2, 0.3)))


def test_a_release_whose_template_cannot_be_sent_does_not_answer(shop):
    release = shop.store.load(shop.first, RELEASE)
    rules = release.bundle.writing.safety.model_copy(
        update={"template": "{percent}% off for {duration}, guaranteed, {name}. Reply STOP to opt out."}
    )
    writing = release.bundle.writing.model_copy(update={"safety": rules})
    spoilt = release.model_copy(update={"bundle": release.bundle.model_copy(update={"writing": writing})})
    staged = stage("release", spoilt, RELEASE, shop.root / "staging")
    ref = shop.store.publish(staged, Provenance(experiment=shop.first.experiment), utc_now())
    with pytest.raises(
        UnservableError, match=r"arm 'percent_5', service 'monthly bill': safety\.template: banned"
    ):
        load_served(shop.store, ref, 1.0, utc_now())
