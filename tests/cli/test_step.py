"""`churn step` works for a run that asked, makes only what was asked, and says in the store why it makes nothing."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from dagster_pipes import encode_param
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.remote.attempts import begin
from churn_assets.remote.steps import FAILED, StepOrder
from churn_assets.store.local import LocalBackend
from resources.remote import ORDER, PREFIX

ROOT = Path(__file__).parents[2]


def test_by_hand_there_is_nobody_to_report_to(monkeypatch):
    monkeypatch.delenv("DAGSTER_PIPES_CONTEXT", raising=False)
    done = CliRunner().invoke(app, ["step", "customers", "-e", "quickstart", "--config-digest", "ab"])
    assert done.exit_code == 2
    assert "no run asked for this step" in done.output


def test_an_image_of_another_commit_makes_nothing_and_says_so(tmp_path):
    order = StepOrder(
        experiment="first_campaign",
        asset="customers",
        upstream={},
        config_digest="another",
        code_version="another",
        seed=20261122,
        store=str(tmp_path),
        minted_at=datetime.now(UTC),
        run_id="run",
    )
    attempt = begin(LocalBackend(tmp_path), order, "token")
    asked = {
        "extras": {ORDER: json.loads(order.model_dump_json())},
        **dict.fromkeys(
            ("asset_keys", "code_version_by_asset_key", "provenance_by_asset_key", "partition_key")
        ),
        **dict.fromkeys(("partition_key_range", "partition_time_window", "job_name")),
        "run_id": "run",
        "retry_number": 0,
    }
    variables = {
        "DAGSTER_PIPES_CONTEXT": encode_param({"data": asked}),
        "DAGSTER_PIPES_MESSAGES": encode_param({PREFIX: attempt.prefix}),
        "CHURN_STORE": order.store,
    }
    command = [Path(sys.executable).with_name("churn"), "--root", ROOT, "step", "customers"]
    done = subprocess.run(
        [*command, "-e", "first_campaign", "--config-digest", "another"],
        env=os.environ | variables, capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "found another configuration or source data and another source code" in done.stderr
    backend = LocalBackend(tmp_path)
    assert backend.list("artifacts/") == []
    told = [
        message["params"]["payload"]
        for chunk in iter(attempt.next_messages, None)
        for message in chunk
        if message["method"] == "report_custom_message"
    ]
    assert "another source code" in told[-1][FAILED]
