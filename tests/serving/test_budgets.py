"""Limits of an experiment in real servers and `churn decide`: shared by workers, kept over a kill, never overrun."""

import json
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import yaml
from shop import JSON, Server

from benchmarks.served import CHURN, EXPERIMENT

MOST = 400.0


def limit(shop, **period):
    path = shop.root / "configs" / f"{EXPERIMENT}.yaml"
    content = yaml.safe_load(path.read_text())
    content["budgets"] = {
        "period": {"starts": "2026-01-05", "weeks": 520, **period},
        "limits": [
            {"name": "money", "most_cost": MOST},
            {"name": "large", "most_contacts": 3, "arms": ["percent_20", "percent_30"]},
        ],
    }
    path.write_text(yaml.safe_dump(content))


def decide(client, customers):
    answer = client.post("/v1/decisions", content=json.dumps({"customers": customers}), headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cost(answers):
    return sum(d["arm"]["cost"] for each in answers for d in each["decisions"])


def large(answers):
    return sum(d["arm"]["id"] in ("percent_20", "percent_30") for each in answers for d in each["decisions"])


def test_two_workers_a_kill_and_a_batch_share_one_budget(shop, customers):
    limit(shop, arrivals=0)
    calls = [customers[start : start + 20] for start in range(0, 400, 20)]
    server = Server(shop, options=("--workers", "2")).start()
    with server.client() as client, ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda each: decide(client, each), calls[:10])]
    server.stop(signal.SIGKILL)
    with Server(shop, options=("--workers", "2")) as again:
        again.start()
        with again.client() as client:
            answers += [decide(client, each) for each in calls[10:]]
    assert 0 < cost(answers) <= MOST
    assert large(answers) <= 3
    last = {each["name"]: each for each in answers[-1]["budgets"]}
    assert last["money"]["used"] >= cost(answers) - 1e-6
    assert last["money"]["used"] <= last["money"]["most"] == MOST
    assert all(each["shadow_price"] >= 0 for each in last.values())
    stops = {arm["forbidden"] for each in answers for d in each["decisions"] for arm in d["arms"]}
    assert "budget" in stops

    table = shop.root / "customers.csv"
    rows = [{"customerID": f"b{place}", **each["features"]} for place, each in enumerate(customers[:200])]
    names = list(rows[0])
    lines = [",".join("" if row[name] is None else str(row[name]) for name in names) for row in rows]
    table.write_text("\n".join([",".join(names), *lines]) + "\n")
    command = [CHURN, "--root", shop.root, "decide", table, "--budget", "60", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = {each["name"]: each for each in json.loads(done.stdout)["budgets"]}
    assert told["this_run"]["used"] <= 60
    assert told["money"]["used"] <= MOST
    ledger = shop.root / ".churn" / "budgets" / f"{EXPERIMENT}.sqlite"
    with sqlite3.connect(ledger) as connection:
        (used,) = connection.execute("SELECT SUM(amount) FROM used WHERE name = 'money'").fetchone()
    assert used <= MOST
