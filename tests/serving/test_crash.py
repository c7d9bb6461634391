"""A server that is killed while it answers: what it acknowledged is there, once."""

from __future__ import annotations

import json
import signal

import pandas as pd
from shop import Load, Server, wait_until
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from churn_assets.cli import app
from churn_assets.offers.records import read_decision
from churn_assets.offers.segments import DECISIONS


def logged(shop):
    return [
        decision.decision_id
        for record in logged_records(shop.store.backend, "quickstart", shop.log)
        if record.kind == DECISIONS
        for decision in read_decision(record.payload)[1].decisions
    ]


def test_every_acknowledged_decision_survives_kill_9_and_none_is_there_twice(shop, customers):
    shop.configure(decision_log={"ship_seconds": 0.3, "segment_bytes": 65_536})
    bodies = [json.dumps({"customers": [customer]}).encode() for customer in customers[:20]]
    acknowledged = []
    for options in ((), ("--workers", "2")):
        with Server(shop, options).start() as server, Load(server.port, bodies, callers=4) as load:
            wait_until(lambda load=load: len(load.answers) > 300)
            server.stop(signal.SIGKILL)
        acknowledged += [json.loads(body)["decisions"][0]["decision_id"] for _, _, body, _ in load.answers]
    with Server(shop).start() as server:
        server.stop()
    found = logged(shop)
    assert len(set(found)) == len(found)
    assert set(acknowledged) <= set(found)
    assert not list((shop.log / "sealed").iterdir())
    assert "of a killed process" in server.output()


def test_decisions_and_outcomes_told_three_times_become_rows_to_learn_from_once(shop, customers, tmp_path):
    shop.configure(exploration_share=0.5)
    secret = {"CHURN_ASSIGNMENT_KEY": "a secret of some length"}
    with Server(shop, environment=secret).start() as server, server.client() as client:
        decided = client.post("/v1/decisions", json={"customers": customers[:50]}).json()["decisions"]
        told = [
            {"decision_id": d["decision_id"], "churned": i % 3 == 0, "accepted": d["contact"] and i % 2 == 0}
            for i, d in enumerate(decided)
        ]
        for _ in range(3):
            assert client.post("/v1/outcomes", json={"outcomes": told}).status_code == 200
        server.stop()
    out = tmp_path / "rows.parquet"
    done = CliRunner().invoke(app, ["--root", str(shop.root), "log", "--out", str(out)])
    assert done.exit_code == 0, done.output
    rows = pd.read_parquet(out)
    assert sorted(rows["customer_id"]) == sorted(d["customer_id"] for d in decided)
    assert rows["churned"].sum() == sum(each["churned"] for each in told)
    assert rows["accepted"].sum() == sum(each["accepted"] for each in told)


def test_a_stopped_server_finishes_what_was_begun_and_leaves_nothing_behind(shop, customers):
    bodies = [json.dumps({"customers": customers[:30]}).encode()]
    with Server(shop).start() as server, Load(server.port, bodies, callers=4) as load:
        wait_until(lambda: len(load.answers) > 20)
        server.stop()
    assert {status for _, status, _, _ in load.answers} == {200}
    acknowledged = {d["decision_id"] for _, _, body, _ in load.answers for d in json.loads(body)["decisions"]}
    assert acknowledged <= set(logged(shop))
    assert not list((shop.log / "open").iterdir())
    assert not list((shop.log / "sealed").iterdir())
