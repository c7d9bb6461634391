"""The decision branch of the quickstart on a bucket: one line of its configuration is another, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import requests
import yaml

from churn_assets.flow.registry import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def churn(gcs_server, tmp_path_factory):
    """`churn` as a person starts it, in a project whose store is a bucket; trained, checked and released."""
    root = tmp_path_factory.mktemp("project")
    (root / "configs").mkdir()
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, root / name)
    content = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    uri = f"gs://{gcs_server.create_bucket()}/retention"
    without = {
        name: section for name, section in content.items() if name not in registry().members["message"]
    }
    without |= {"store": {"uri": uri}, "release": {"branches": ["decision"]}}
    (root / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(without))
    named = ("DAGSTER_HOME", "CHURN_ROOT", "CHURN_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in named} | {
        "STORAGE_EMULATOR_HOST": gcs_server.url,
        "CHURN_CACHE_DIR": str(root / "cache"),
    }

    def command(*arguments, **changes):
        return subprocess.run(
            [Path(sys.executable).with_name("churn"), "--root", root, *map(str, arguments)],
            cwd=root.parent,
            env=environment | changes,
            capture_output=True,
            text=True,
            timeout=900,
        )

    command.root, command.uri, command.server = root, uri, gcs_server
    done = command("run", "quickstart")
    assert done.returncode == 0, done.stdout + done.stderr
    return command


def answer(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def objects(churn):
    bucket, _, prefix = churn.uri.removeprefix("gs://").partition("/")
    url = f"{churn.server.url}/storage/v1/b/{bucket}/o"
    listed = requests.get(url, params={"prefix": f"{prefix}/"}, timeout=10).json()["items"]
    return {item["name"].removeprefix(f"{prefix}/") for item in listed}


def test_everything_lies_in_the_bucket_and_nothing_in_the_project(churn):
    keys = objects(churn)
    assets = {key.split("/")[2] for key in keys if key.endswith("/manifest.json")}
    assert assets >= {"customers", "offer_log", "risk_model", "ppo_decision", "release"}
    assert not (churn.root / ".churn").exists()


def test_a_release_is_promoted_decides_and_is_left_unchanged_by_a_second_run(churn, tmp_path):
    (release,) = answer(churn("releases", "--json"))
    promoted = churn("promote", "--reason", "first")
    assert promoted.returncode == 0, promoted.stderr
    (record,) = answer(churn("history", "--json"))
    assert record["release"].endswith(release["release"])
    assert "channels/quickstart/000000000001.json" in objects(churn)

    some = tmp_path / "some.csv"
    table = pd.read_csv(ROOT / "data" / "telco_customer_churn.csv", dtype=str, keep_default_na=False)
    table.head(20).to_csv(some, index=False)
    decided = churn("decide", some, "--out", tmp_path / "decided.csv")
    assert decided.returncode == 0, decided.stderr
    assert set(pd.read_csv(tmp_path / "decided.csv")["release"]) == {record["release"]}

    before = objects(churn)
    again = churn("run", "quickstart")
    assert again.returncode == 0, again.stdout + again.stderr
    assert " 0 made" in again.stdout
    assert objects(churn) == before


def test_what_people_ask_of_a_store_is_answered_of_a_bucket(churn):
    assert answer(churn("diff", "latest", "latest", "--json"))["differences"] == []
    assert answer(churn("checks", "--json"))["problems"] == []
    plan = answer(churn("retention", "--json"))
    assert plan["versions"]
    assert not any(row["collect"] for row in plan["versions"])
    assert all(row["passed"] for row in answer(churn("doctor", "--json")))
    assert not any(key.startswith("doctor/") for key in objects(churn))


def test_the_bucket_moves_to_a_folder_and_decides_there(churn, tmp_path):
    copied = churn("store", "copy", churn.uri, tmp_path / "moved")
    assert copied.returncode == 0, copied.stderr
    there = str(tmp_path / "moved")
    assert answer(churn("releases", "--json", CHURN_STORE=there)) == answer(churn("releases", "--json"))
    assert answer(churn("checks", "--json", CHURN_STORE=there))["problems"] == []
