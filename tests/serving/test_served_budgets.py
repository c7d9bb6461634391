"""Limits of an experiment in real servers and `churn decide`: shared by workers, kept over a kill, never overrun."""

import json
import shutil
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from keep_release import KEPT
from shop import JSON, Server

from benchmarks.served import CHURN, EXPERIMENT, Project
from churn_assets.release.bundle import RELEASE

MOST, CALLS = 400.0, 12


@pytest.fixture
def kept(tmp_path):
    """A project in whose store a release leads that was kept: nothing is trained."""
    root = tmp_path / "project"
    shutil.copytree(KEPT / RELEASE.loader.replace("/", "-"), root)
    (root / ".churn").mkdir()
    (root / "store").rename(root / ".churn" / "store")
    return Project(root)


@pytest.fixture
def customers(kept):
    """Customers as they are asked about, again and again under other ids."""
    asked = json.loads((kept.root / "questions.json").read_text())
    return [{**asked[i % len(asked)], "customer_id": f"c{i}"} for i in range(200)]


def limit(kept, **period):
    path = kept.root / "configs" / f"{EXPERIMENT}.yaml"
    content = yaml.safe_load(path.read_text())
    content["budgets"] = {
        "period": {"starts": "2026-01-05", "weeks": 520, **period},
        "limits": [
            {"name": "money", "most_cost": MOST},
            {"name": "calls", "most_contacts": CALLS, "channels": ["phone"]},
        ],
    }
    path.write_text(yaml.safe_dump(content))


def decide(client, customers):
    answer = client.post("/v1/decisions", content=json.dumps({"customers": customers}), headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cost(answers):
    return sum(d["arm"]["cost"] for each in answers for d in each["decisions"])


def called(answers):
    return sum(d["arm"]["channel"] == "phone" for each in answers for d in each["decisions"])


def test_two_workers_a_kill_and_a_batch_share_one_budget(kept, customers):
    limit(kept, arrivals=0)
    calls = [customers[start : start + 20] for start in range(0, 200, 20)]
    server = Server(kept, options=("--workers", "2")).start()
    with server.client() as client, ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda each: decide(client, each), calls[:5])]
    server.stop(signal.SIGKILL)
    with Server(kept, options=("--workers", "2")).start() as again, again.client() as client:
        answers += [decide(client, each) for each in calls[5:]]
    assert 0 < cost(answers) <= MOST
    assert called(answers) <= CALLS
    last = {each["name"]: each for each in answers[-1]["budgets"]}
    assert last["money"]["used"] >= cost(answers) - 1e-6
    assert last["money"]["used"] <= last["money"]["most"] == MOST
    assert all(each["shadow_price"] >= 0 for each in last.values())
    stops = {arm["forbidden"] for each in answers for d in each["decisions"] for arm in d["arms"]}
    assert "budget" in stops

    table = kept.root / "customers.csv"
    command = [CHURN, "--root", kept.root, "decide", table, "--budget", "60", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = {each["name"]: each for each in json.loads(done.stdout)["budgets"]}
    assert told["this_run"]["used"] <= 60
    assert told["money"]["used"] <= MOST
    ledger = kept.root / ".churn" / "budgets" / f"{EXPERIMENT}.sqlite"
    with sqlite3.connect(ledger) as connection:
        (used,) = connection.execute("SELECT SUM(amount) FROM used WHERE name = 'money'").fetchone()
    assert used <= MOST
