"""A menu of all kinds of arms, over HTTP, through `churn decide`, and in the decision log."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from shop import Server, Shop
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from benchmarks.served import EXPERIMENT, fit_models, new_project, publish_release, questions
from churn_assets.cli import app
from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.offers.records import read_decision

SECTIONS = yaml.safe_load(Path(__file__).with_name("any_offer.yaml").read_text())
IDS = ["no_contact", "percent_20", "ten_off", "free_month", "router", "call"]
SECRET = {"CHURN_ASSIGNMENT_KEY": "a secret of some length"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A release of small models of such a menu leads; nearly everybody gets one of the allowed arms at random."""
    project = new_project(tmp_path_factory.mktemp("any-offer") / "project")
    path = project.root / "configs" / f"{EXPERIMENT}.yaml"
    content = yaml.safe_load(path.read_text())
    content["arms"] = SECTIONS["arms"]
    content["offer_log"] = {"source": "demo_world", "menu": SECTIONS["menu"]}
    content["ppo_decision"] = content.get("ppo_decision", {}) | {"menu": SECTIONS["menu"]}
    path.write_text(yaml.safe_dump(content))
    project.configure(poll_seconds=0.1, exploration_share=0.99)
    experiment = project.experiment
    table = read_customers(experiment.customers, seed=experiment.seed, root=project.root)
    few = table.where(np.random.default_rng(0).random(len(table)) < 0.2)
    ref = publish_release(project, fit_models(experiment, few, rows=6000, timesteps=32_768, seed=1))
    project.lead(ref)
    return Shop(project.root, ref, ref, ref, ref)


@pytest.fixture(scope="module")
def customers(shop):
    experiment = shop.experiment
    return questions(read_customers(experiment.customers, seed=experiment.seed, root=shop.root))[:600]


@pytest.fixture(scope="module")
def server(shop) -> Iterator[Server]:
    with Server(shop, environment=SECRET).start() as server:
        yield server


@pytest.fixture(scope="module")
def client(server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def decided(client, customers):
    answer = client.post("/v1/decisions", json={"customers": customers})
    assert answer.status_code == 200, answer.text
    return answer.json()["decisions"]


def ask(client, *customers):
    return client.post("/v1/decisions", json={"customers": list(customers)})


def test_the_menu_says_what_each_arm_is_and_who_may_get_it(client):
    menu = {arm["id"]: arm for arm in client.get("/v1/release").json()["menu"]}
    assert list(menu) == IDS
    assert menu["ten_off"]["terms"] == {"kind": "amount_off", "months": 6, "amount": 10.0}
    assert menu["free_month"]["label"] == "1 free month"
    assert menu["router"] == {
        "id": "router",
        "label": "a new router",
        "terms": {"kind": "gift", "months": 0, "gift": "a new router", "cost": 30.0},
        "channel": "letter",
        "contact_cost": 2.0,
        "eligible": [
            {"column": "InternetService", "one_of": ["Fiber optic"], "at_least": None, "at_most": None},
            {"column": "tenure", "one_of": None, "at_least": 6.0, "at_most": None},
        ],
    }
    assert (menu["call"]["terms"]["kind"], menu["call"]["channel"]) == ("contact", "phone")


def most_cost(arm, price):
    return {
        "no_contact": 0.0,
        "percent_20": 0.2 * price * 6 + 1,
        "ten_off": min(10.0, price) * 6 + 1,
        "free_month": price + 1,
        "router": 32.0,
        "call": 5.0,
    }[arm]


def test_every_kind_is_decided_with_its_terms_and_the_most_that_it_can_cost(client, decided, customers):
    menu = {arm["id"]: arm for arm in client.get("/v1/release").json()["menu"]}
    prices = {each["customer_id"]: each["features"]["MonthlyCharges"] for each in customers}
    assert {each["arm"]["id"] for each in decided} == set(IDS)
    for each in decided:
        arm = each["arm"]
        for name in ("label", "terms", "channel"):
            assert arm[name] == menu[arm["id"]][name]
        assert arm["cost"] == pytest.approx(most_cost(arm["id"], prices[each["customer_id"]]))
        assert [outlook["id"] for outlook in each["arms"]] == IDS
        assert each["policy_arm"] in IDS


def test_an_arm_is_forbidden_to_whoever_does_not_keep_its_conditions(decided, customers):
    features = {each["customer_id"]: each["features"] for each in customers}
    kept = set()
    for each in decided:
        asked = features[each["customer_id"]]
        may = asked["InternetService"] == "Fiber optic" and asked["tenure"] >= 6
        (router,) = [outlook for outlook in each["arms"] if outlook["id"] == "router"]
        assert router["forbidden"] == (None if may else "not_eligible")
        assert (router["propensity"] > 0) == may
        kept.add(may)
    assert kept == {True, False}


def test_whoever_may_not_get_an_arm_does_not_get_it_by_naming_it(client, customers):
    without = next(each for each in customers if each["features"]["InternetService"] == "DSL")
    (each,) = ask(client, without | {"eligible": ["router"]}).json()["decisions"]
    assert each["arm"]["id"] == "no_contact"
    assert {outlook["forbidden"] for outlook in each["arms"][1:]} == {"not_eligible"}


@pytest.mark.parametrize("arm", IDS[1:])
def test_a_caller_narrows_the_menu_to_one_arm(client, customers, arm):
    found = ask(client, *(each | {"eligible": [arm]} for each in customers[:100])).json()["decisions"]
    assert {each["arm"]["id"] for each in found} == {"no_contact", arm}


def test_an_unknown_arm_is_named_with_those_that_there_are(client, customers):
    for change in ({"eligible": ["free_months"]}, {"last_contact": {"months_ago": 1, "accepted": "gift"}}):
        answer = ask(client, customers[0] | change)
        assert answer.status_code == 422
        detail = answer.json()["detail"]
        assert next(iter(change)) in detail
        assert "gift" in detail or "free_months" in detail
        assert all(arm in detail for arm in IDS[1:])


@pytest.mark.parametrize(
    ("accepted", "months", "rule"),
    [
        ("ten_off", 4, "offer_running"),
        ("ten_off", 6, None),
        ("free_month", 4, None),
        ("router", 1, "cooldown"),
        ("router", 4, None),
        (None, 1, "cooldown"),
    ],
)
def test_an_accepted_arm_runs_as_long_as_its_terms_say(client, customers, accepted, months, rule):
    contact = {"months_ago": months, "accepted": accepted}
    (each,) = ask(client, customers[0] | {"last_contact": contact, "eligible": IDS[1:4]}).json()["decisions"]
    assert {outlook["forbidden"] for outlook in each["arms"][1:4]} == {rule}


def test_a_message_states_the_terms_of_its_arm(decided):
    said = {
        "percent_20": "20% off",
        "ten_off": "10",
        "free_month": "free",
        "router": "a new router",
        "call": "",
    }
    for each in decided:
        if not each["contact"]:
            assert each["message"] is None
            continue
        message = each["message"]
        assert said[each["arm"]["id"]] in message["text"]
        assert message["safety"] == {"safe": True, "violations": []}


def test_whole_tables_are_decided_with_the_same_arms(shop, tmp_path, client, customers):
    out = tmp_path / "decided.parquet"
    done = CliRunner().invoke(
        app, ["--root", str(shop.root), "decide", str(EMBEDDED["telco"]), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    offline = pd.read_parquet(out).set_index("customerID")
    labels = {arm["id"]: arm["label"] for arm in client.get("/v1/release").json()["menu"]}
    assert (offline["offer"] == offline["arm"].map(labels)).all()
    may = (offline["InternetService"] == "Fiber optic") & (offline["tenure"].astype(float) >= 6)
    assert set(offline.loc[~may, "arm"]) <= set(IDS) - {"router"}
    for each in ask(client, *customers).json()["decisions"]:
        row = offline.loc[each["customer_id"]]
        assert each["policy_arm"] == row["arm"]
        assert each["churn_risk"] == row["risk"]


def test_the_decision_log_is_read_with_arms_and_propensities(shop, customers):
    asked = [
        customers[0] | {"last_contact": {"months_ago": 9, "accepted": "free_month"}},
        customers[1] | {"last_contact": {"months_ago": 9}},
    ]
    with Server(shop, environment=SECRET).start() as server, server.client() as client:
        answer = ask(client, *asked)
        assert answer.status_code == 200, answer.text
        assert server.stop() in (0, -signal.SIGTERM)
    records = [
        read_decision(record.payload) for record in logged_records(shop.store.backend, "quickstart", shop.log)
    ]
    told = {
        decision.decision_id: (question, decision)
        for question, said in records
        for decision in said.decisions
    }
    for each in answer.json()["decisions"]:
        question, logged = told[each["decision_id"]]
        assert [customer.last_contact.accepted for customer in question.customers] == ["free_month", None]
        assert logged.arm.id == each["arm"]["id"]
        assert {arm.id: arm.propensity for arm in logged.arms} == {
            arm["id"]: arm["propensity"] for arm in each["arms"]
        }
