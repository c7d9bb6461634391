"""What a caller gets: decisions, refusals, outcomes, the release, health, counters."""

from __future__ import annotations

import json
import signal

import httpx
import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families
from shop import Server, questions, wait_until
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from churn_assets.cli import app
from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.offers.records import read_decision
from churn_assets.offers.segments import DECISIONS

PROBLEM = "application/problem+json"


def decide(client, *customers, query="", **options):
    return client.post(f"/v1/decisions{query}", json={"customers": list(customers), **options})


def decisions(client, *customers, **options):
    answer = decide(client, *customers, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["decisions"]


def counters(client):
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def refused(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert set(problem) == {"title", "status", "detail"}
    assert problem["status"] == status
    for word in words:
        assert word in answer.text
    return True


def test_an_answer_names_one_release_and_has_a_decision_for_each_customer_in_order(
    client, standing, customers
):
    answer = decide(client, *customers[:5]).json()
    assert answer["release"] == str(standing.project.first)
    assert answer["policy"] == "ppo_decision"
    assert (answer["simulated"], answer["durable"], answer["kill_switch"]) == (True, True, False)
    assert [d["customer_id"] for d in answer["decisions"]] == [c["customer_id"] for c in customers[:5]]
    assert len({d["decision_id"] for d in answer["decisions"]}) == 5


def test_a_decision_says_what_why_and_what_else_could_have_been(client, customers):
    found = decisions(client, *customers[:200])
    contacted = [d for d in found if d["contact"]]
    assert contacted
    assert len(contacted) < len(found)
    for each in found:
        (chosen,) = [outlook for outlook in each["arms"] if outlook["id"] == each["arm"]["id"]]
        assert chosen["propensity"] == each["propensity"]
        assert chosen["expected_value"] == each["arm"]["expected_value"]["amount"]
        assert chosen["acceptance_probability"] == each["acceptance_probability"]
        assert each["retention_probability"] == 1 - chosen["churn_risk"]
        assert abs(sum(outlook["propensity"] for outlook in each["arms"]) - 1) < 1e-12
        assert each["reasons"][0] == {"code": "risk", "arm": None, "figure": each["churn_risk"]}
        assert {reason["arm"] for reason in each["reasons"][1:]} <= {o["id"] for o in each["arms"]} | {None}
        assert each["known"]


def test_an_arm_says_its_terms_its_channel_and_what_it_can_cost_this_customer(client, customers):
    found = decisions(client, *customers[:200])
    price = {c["customer_id"]: c["features"]["MonthlyCharges"] for c in customers}
    for each in found:
        arm = each["arm"]
        value = arm.pop("expected_value")
        assert (value["currency"], value["horizon_months"]) == ("USD", 12)
        if not each["contact"]:
            nothing = {"kind": "no_contact", "months": 0}
            assert arm == {
                "id": "no_contact", "label": "no contact", "terms": nothing, "channel": None, "cost": 0.0,
            }  # fmt: skip
            assert value["amount"] == 0
            continue
        percent = int(arm["id"].removeprefix("percent_"))
        assert arm["label"] == f"{percent}% off for 6 months"
        assert arm["terms"] == {"kind": "percent_off", "months": 6, "share": percent / 100}
        assert arm["channel"] == "sms"
        assert arm["cost"] == pytest.approx(percent / 100 * price[each["customer_id"]] * 6 + 1)


def test_who_is_contacted_gets_a_safe_message_marked_as_the_template(client, customers):
    for each in decisions(client, *customers[:100]):
        if not each["contact"]:
            assert each["message"] is None
            continue
        message = each["message"]
        assert (message["written_by"], message["reason"]) == ("template", "no text model in the release")
        assert message["safety"] == {"safe": True, "violations": []}
        assert f"{100 * each['arm']['terms']['share']:g}%" in message["text"]
        assert not message["waits"]


def test_no_message_is_written_where_none_is_wanted(client, customers):
    answer = decide(client, *customers[:100], query="?message=false").json()["decisions"]
    assert any(each["contact"] for each in answer)
    assert not any(each["message"] for each in answer)


def test_in_quiet_hours_a_message_waits_until_they_end(client, customers):
    asked = [c | {"local_time": "23:30:00"} for c in customers[:100]]
    message = next(d["message"] for d in decisions(client, *asked) if d["contact"])
    assert message["waits"]
    assert message["delay_hours"] == 8.5
    assert message["safety"]["violations"] == ["quiet_hours"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"opted_out": True}, "opted_out"),
        ({"eligible": []}, "not_eligible"),
        ({"last_contact": {"months_ago": 1}}, "cooldown"),
        ({"last_contact": {"months_ago": 2, "accepted": "percent_10"}}, "offer_running"),
        ({"offers_used": 1000}, "cap_reached"),
    ],
)
def test_hard_rules_forbid_every_offer_and_say_so(client, customers, change, rule):
    for each in decisions(client, *(c | change for c in customers[:60])):
        assert not each["contact"]
        assert {outlook["forbidden"] for outlook in each["arms"][1:]} == {rule}
        assert rule in {reason["code"] for reason in each["reasons"]}


def test_a_budget_is_never_overrun(client, customers):
    asked = customers[:300]
    for budget in (0.0, 50.0, 500.0):
        found = [d for d in decisions(client, *asked, remaining_budget=budget) if d["contact"]]
        assert sum(d["arm"]["cost"] for d in found) <= budget
        assert bool(found) == (budget > 0)


def test_a_large_call_is_answered_as_many_small_ones_are(client, customers):
    large = decisions(client, *customers[:150])
    for one, customer in zip(large[::7], customers[:150:7], strict=True):
        (alone,) = decisions(client, customer)
        assert {**alone, "decision_id": ""} == {**one, "decision_id": ""}


def test_offline_and_online_agree_on_every_customer_of_the_embedded_table(client, standing, tmp_path):
    out = tmp_path / "decided.parquet"
    root = str(standing.project.root)
    done = CliRunner().invoke(app, ["--root", root, "decide", str(EMBEDDED["telco"]), "--out", str(out)])
    assert done.exit_code == 0, done.output
    offline = pd.read_parquet(out).set_index("customerID")
    experiment = standing.project.experiment
    everybody = questions(
        read_customers(experiment.customers, seed=experiment.seed, root=standing.project.root)
    )
    assert len(everybody) == len(offline) == 7043
    for start in range(0, len(everybody), 1000):
        for each in decisions(client, *everybody[start : start + 1000]):
            row = offline.loc[each["customer_id"]]
            assert (each["arm"]["id"], each["arm"]["label"]) == (row["arm"], row["offer"])
            assert each["churn_risk"] == row["risk"]
            assert each["acceptance_probability"] == row["acceptance"]
            assert each["arm"]["expected_value"]["amount"] == row["expected_value"]


def test_a_feature_never_seen_is_computed_and_marked(client, customers):
    features = customers[0]["features"] | {"MonthlyCharges": 77.123}
    (found,) = decisions(client, customers[0] | {"features": features})
    assert not found["known"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": {}}, ["gender", "nothing"]),
        ({"features": {"gender": "Other"}}, ["gender", "Other"]),
        ({"features": {"tenure": "12"}}, ["tenure", "number"]),
        ({"features": {"tenure": -1}}, ["tenure", "-1"]),
        ({"features": {"tenure": True}}, ["bool"]),
        ({"features": {"MonthlyCharges": None}}, ["MonthlyCharges"]),
        ({"features": {"shoe_size": 44}}, ["shoe_size"]),
        ({"eligible": ["percent_7"]}, ["eligible", "percent_7", "percent_10"]),
        ({"eligible": [0.1]}, ["eligible", "str"]),
        ({"last_contact": {"months_ago": 1, "accepted": "percent_7"}}, ["last_contact", "percent_7"]),
        ({"opted_out": 1}, ["opted_out", "bool"]),
        ({"offers_used": 1.5}, ["offers_used", "int"]),
        ({"offers_used": 10**30}, ["offers_used"]),
        ({"local_time": "later"}, ["local_time"]),
        ({"shoe_size": 44}, ["shoe_size"]),
        ({"customer_id": ""}, ["customer_id"]),
        ({"customer_id": "NaN"}, ["customer_id", "an id of somebody"]),
        ({"customer_id": "12.0"}, ["customer_id", "as the customer table has it"]),
        ({"customer_id": 7}, ["customer_id"]),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found(client, customers, change, words):
    customer = dict(customers[0])
    if change.get("features"):
        change = {"features": customer["features"] | change["features"]}
    assert refused(decide(client, customer | change), 422, *words)


def test_the_customer_that_cannot_be_decided_for_is_named_and_the_others_are_decided(client, customers):
    wrong = customers[1] | {"features": customers[1]["features"] | {"gender": "Other"}}
    answer = decide(client, customers[0], wrong, customers[2])
    assert answer.status_code == 207, answer.text
    told = answer.json()
    assert [each["customer_id"] for each in told["decisions"]] == [
        customers[0]["customer_id"],
        customers[2]["customer_id"],
    ]
    (undecided,) = told["undecided"]
    assert (undecided["index"], undecided["customer_id"]) == (1, customers[1]["customer_id"])
    assert (undecided["field"], undecided["found"]) == ("gender", "'Other'")
    assert "Female" in undecided["expected"]
    assert refused(decide(client, wrong), 422, "customers[0]", "gender")


def test_customers_far_outside_of_what_was_learned_are_refused_beyond_a_share(client, customers):
    cents = [
        each | {"features": each["features"] | {"MonthlyCharges": 100 * each["features"]["MonthlyCharges"]}}
        for each in customers[:40]
    ]
    assert refused(decide(client, *cents), 422, "MonthlyCharges", "40 of 40", "unit")
    assert len(decisions(client, cents[0], *customers[1:40])) == 40


@pytest.mark.parametrize(
    ("value", "status", "words"),
    [
        ("NaN", 400, ["SeniorCitizen", "NaN", "null"]),
        ("-Infinity", 400, ["SeniorCitizen", "-Infinity"]),
        ("true", 422, ["SeniorCitizen", "bool"]),
        ("[1]", 422, ["SeniorCitizen", "array"]),
        ("1e16", 422, ["SeniorCitizen"]),
    ],
)
def test_a_value_that_no_feature_takes_is_named_by_its_field(client, customers, value, status, words):
    marked = customers[1] | {"features": customers[1]["features"] | {"SeniorCitizen": "HERE"}}
    body = json.dumps({"customers": [customers[0], marked]}).replace('"HERE"', value)
    answer = client.post("/v1/decisions", content=body, headers={"content-type": "application/json"})
    assert refused(answer, status, *words)


def test_a_call_has_1_to_1000_customers_each_once(client, customers):
    many = [customers[0] | {"customer_id": str(i)} for i in range(1001)]
    assert len(decisions(client, *many[:1000])) == 1000
    assert refused(decide(client, *many), 422, "1000")
    assert refused(decide(client), 422)
    assert refused(decide(client, customers[0], customers[0]), 422, "twice")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff", 400), (b'{"customers": NaN}', 400), (b"[" * 100_000, 422), (b"null", 422),
        (b'{"customers": "\xed\xa0\x80"}', 422), (b'\xef\xbb\xbf{}', 400), (b"{} {}", 422),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(client, body, status):
    answer = client.post("/v1/decisions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (status, 400), answer.text
    assert answer.headers["content-type"] == PROBLEM


def test_only_json_is_taken(client):
    answer = client.post("/v1/decisions", content=b"{}", headers={"content-type": "text/plain"})
    assert refused(answer, 415, "application/json")


@pytest.mark.parametrize("query", ["?message=maybe", "?message", "?messages=false", "?message=false&x=1"])
def test_an_unknown_query_is_refused(client, customers, query):
    assert refused(decide(client, customers[0], query=query), 422, "message")


def test_what_is_not_there_is_a_problem_too(client):
    assert refused(client.get("/v1/nothing"), 404)
    answer = client.get("/v1/decisions")
    assert refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert refused(client.get("/v2/models/gpt"), 404, "risk_model")


def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(client, standing):
    large = b"x" * (5 << 20)
    headers = {"content-type": "application/json"}
    assert refused(client.post("/v1/decisions", content=large, headers=headers), 413)
    with standing.client() as other:
        answer = other.post("/v1/decisions", content=iter([large[: 1 << 20]] * 5), headers=headers)
    assert refused(answer, 413)


def test_the_release_says_what_a_question_needs(client, standing, customers):
    found = client.get("/v1/release").json()
    assert found["release"] == str(standing.project.first)
    assert [f["name"] for f in found["features"]] == list(customers[0]["features"])
    assert [arm["id"] for arm in found["menu"]] == [
        "no_contact", "percent_5", "percent_10", "percent_20", "percent_30",
    ]  # fmt: skip
    assert found["menu"][3] == {
        "id": "percent_20",
        "label": "20% off for 6 months",
        "terms": {"kind": "percent_off", "months": 6, "share": 0.2},
        "channel": "sms",
        "contact_cost": 1.0,
        "eligible": [],
    }
    assert (found["rules"]["currency"], found["rules"]["value_horizon_months"]) == ("USD", 12)
    assert found["members"]["risk_model"].startswith("quickstart/risk_model/")
    assert found["trouble"] is None


def test_a_model_of_the_release_describes_itself(client):
    churn = ("churn_without_contact", "churn_if_accepted", "churn_if_refused")
    models = {
        "release": {"arm": [-1], "propensity": [-1, 5]},
        "risk_model": {"risk": [-1]},
        "accept_model": {"acceptance": [-1]},
        "effect_model": {key: [-1] for key in churn},
        "ppo_decision": {"probability": [-1, 5]},
    }
    for name, outputs in models.items():
        found = client.get(f"/v2/models/{name}").json()
        assert found["name"] == name
        assert found["versions"]
        asked = "regret:percent_20" if name == "ppo_decision" else "tenure"
        assert asked in {tensor["name"] for tensor in found["inputs"]}
        assert {tensor["name"]: tensor["shape"] for tensor in found["outputs"]} == outputs


def test_every_answer_is_counted(client, customers):
    before = counters(client)
    found = decisions(client, *customers[:50])
    decide(client)
    after = counters(client)
    told = {key: after[key] - before.get(key, 0) for key in after}
    assert told["churn_requests_total", "/v1/decisions", "200"] == 1
    assert told["churn_requests_total", "/v1/decisions", "422"] == 1
    for arm in {d["arm"]["id"] for d in found}:
        number = sum(d["arm"]["id"] == arm for d in found)
        assert told["churn_decisions_total", arm] == number
    assert sum(value for key, value in told.items() if key[0] == "churn_decisions_by_risk_total") == 50
    texts = sum(d["contact"] for d in found)
    assert told["churn_messages_total", "no text model in the release", "template"] == texts
    assert after["churn_release_info", "quickstart", client.get("/v1/release").json()["release"]] == 1


def test_the_log_holds_the_very_bytes_that_were_asked_and_answered(shop, customers):
    with Server(shop).start() as server, server.client() as client:
        asked = json.dumps({"customers": customers[:3]}).encode()
        answer = client.post("/v1/decisions", content=asked, headers={"content-type": "application/json"})
        assert server.stop() in (0, -signal.SIGTERM)
    (record,) = logged_records(shop.store.backend, "quickstart", shop.log)
    assert record.kind == DECISIONS
    assert asked in record.payload
    assert record.payload.endswith(answer.content)
    question, said = read_decision(record.payload)
    assert [c.customer_id for c in question.customers] == [d.customer_id for d in said.decisions]


def test_outcomes_are_recorded_and_wrong_ones_refused(client, customers):
    (found,) = decisions(client, customers[0])
    told = {"outcomes": [{"decision_id": found["decision_id"], "churned": False}]}
    assert client.post("/v1/outcomes", json=told).json() == {"recorded": 1, "durable": True}
    for wrong in (
        {"decision_id": "x"},
        {"decision_id": "null", "churned": True},
        {"decision_id": found["decision_id"], "churned": 0},
        {"churned": True},
    ):
        assert refused(client.post("/v1/outcomes", json={"outcomes": [wrong]}), 422)


def test_the_kill_switch_contacts_nobody_and_says_so_in_every_answer(shop, customers):
    shop.configure(kill_switch=True)
    with Server(shop).start() as server, server.client() as client:
        answer = decide(client, *customers[:100]).json()
        assert answer["kill_switch"]
        assert not any(d["contact"] for d in answer["decisions"])
        assert {d["assigned"] for d in answer["decisions"]} == {"kill_switch"}
        assert {d["propensity"] for d in answer["decisions"]} == {1.0}
        assert client.get("/v1/release").json()["kill_switch"]


def test_holdout_and_exploration_are_flagged_with_exact_propensities(shop, customers):
    groups = {"holdout_share": 0.2, "exploration_share": 0.3}
    shop.configure(**groups)
    secret = {"CHURN_ASSIGNMENT_KEY": "a secret of some length"}
    with Server(shop, environment=secret).start() as server, server.client() as client:
        found = decisions(client, *customers[:1000])
        again = decisions(client, *customers[:1000])
    assert [d["assigned"] for d in found] == [d["assigned"] for d in again]
    for flag, share in (("holdout", 0.2), ("exploration", 0.3)):
        assert abs(sum(d[flag] for d in found) / len(found) - share) < 0.05
    for each in found:
        assert all(outlook["propensity"] >= 0.3 / 5 - 1e-12 for outlook in each["arms"])
        if each["holdout"]:
            assert not each["contact"]


def test_with_keys_only_their_holders_are_answered(shop, customers):
    file = shop.root / "keys.json"
    key = CliRunner().invoke(app, ["keys", str(file), "--add", "crm"]).stdout.split()[-1]
    shop.configure(require_keys="always")
    with Server(shop, environment={"CHURN_API_KEYS": str(file)}).start() as server:
        with server.client() as nobody:
            assert refused(decide(nobody, customers[0]), 401)
            assert refused(nobody.get("/metrics"), 401)
            assert nobody.get("/openapi.json").json()["security"] == [{"key": []}]
            assert nobody.get("/docs").status_code == 200
            assert nobody.get("/v2/health/ready").status_code == 200
        with server.client(headers={"authorization": f"Bearer {key}"}) as crm:
            assert decide(crm, customers[0]).status_code == 200
            CliRunner().invoke(app, ["keys", str(file), "--revoke", "crm"])
            wait_until(lambda: decide(crm, customers[0]).status_code != 200)
            assert refused(decide(crm, customers[0]), 401)


def test_a_caller_who_asks_too_fast_is_told_when_to_come_back(shop, customers):
    limits = {"requests_per_second": 1, "burst": 20}
    shop.configure(limits=limits)
    with Server(shop).start() as server, server.client() as client:
        answers = [decide(client, customers[0]) for _ in range(30)]
    late = [answer for answer in answers if answer.status_code == 429]
    assert late
    assert refused(late[0], 429)
    assert int(late[0].headers["retry-after"]) >= 1


def test_before_anything_leads_there_is_no_answer_and_it_says_so(built, tmp_path, customers):
    shop = built.copy_to(tmp_path / "project")
    with Server(shop).start(ready=False) as server, server.client() as client:
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v1/release").json()["release"] is None
        assert refused(decide(client, customers[0]), 503)
        assert refused(client.get("/v2/models/release"), 503)
        shop.lead(shop.first)
        wait_until(lambda: client.get("/v2/health/ready").status_code == 200)
        assert decide(client, customers[0]).status_code == 200


def test_off_loopback_there_is_no_server_without_keys(shop):
    server = Server(shop, ("--host", "0.0.0.0"))
    with pytest.raises(RuntimeError, match="CHURN_API_KEYS"):
        server.start()


def test_two_workers_share_the_log_and_their_counters(shop, customers):
    with Server(shop, ("--workers", "2")).start() as server:
        with httpx.Client(base_url=server.url, headers={"connection": "close"}) as client:
            ids = [d["decision_id"] for _ in range(40) for d in decisions(client, customers[0])]
            told = counters(client)
        assert sum(number for key, number in told.items() if key[0] == "churn_decisions_total") == 40
        server.stop()
    logged = [
        decision.decision_id
        for record in logged_records(shop.store.backend, "quickstart", shop.log)
        for decision in read_decision(record.payload)[1].decisions
    ]
    assert sorted(logged) == sorted(ids)
