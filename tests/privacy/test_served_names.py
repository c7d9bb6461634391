"""A server that must not log ids logs none, says which key asked, and callers notice nothing."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime

import pytest
from kept_release import KEPT, of_kept_release

from benchmarks.served import Project, Server
from churn_assets.customers.names import pseudonym
from churn_assets.offers.records import read_outcomes
from churn_assets.offers.segments import OUTCOMES, scan
from churn_assets.privacy.search import holds
from churn_assets.serving.run import KEYS_FILE
from churn_assets.serving.security import new_key, write_keys
from churn_assets.store.privacy_key import PRIVACY_KEY

KEY = "a secret of this shop"


@pytest.mark.whole
def test_a_log_of_pseudonyms_is_written_while_callers_send_and_get_ids(tmp_path):
    root = of_kept_release(tmp_path / "project")
    with (root / "configs" / "quickstart.yaml").open("a") as file:
        file.write("\nserving: {require_keys: always}\nprivacy: {pseudonyms: true}\n")
    clear, keys = new_key((), "the shop", datetime.now(UTC))
    write_keys(root / "keys.json", keys)
    environment = {PRIVACY_KEY: KEY, KEYS_FILE: str(root / "keys.json")}
    (asked,) = json.loads((KEPT / "questions.json").read_text())[:1]
    with Server(Project(root), environment=environment).start() as server, server.client() as client:
        answer = client.post(
            "/v1/decisions", json={"customers": [asked]}, headers={"authorization": f"Bearer {clear}"}
        )
        assert answer.status_code == 200, answer.text
        (decision,) = answer.json()["decisions"]
        assert decision["customer_id"] == asked["customer_id"]
        answer = client.post(
            "/v1/outcomes",
            json={"outcomes": [{"decision_id": decision["decision_id"], "churned": False}]},
            headers={"authorization": f"Bearer {clear}"},
        )
        assert answer.status_code == 200, answer.text
    log = [path for path in (root / ".churn").rglob("*.log") if path.is_file()]
    assert not any(holds(path, {asked["customer_id"]}) for path in log)
    name = pseudonym(asked["customer_id"], KEY.encode())
    (segment,) = (path for path in log if holds(path, {name}))
    assert holds(segment, {decision["decision_id"]})
    assert b'"asked_by":"the shop"' in segment.read_bytes()
    bodies: list[bytes] = []
    scan(io.BytesIO(segment.read_bytes()), bodies.append)
    (outcomes,) = (each[1:] for each in bodies if each[:1] == OUTCOMES)
    assert read_outcomes(outcomes)[0].churned is False
    assert b'"told_by":"the shop"' in outcomes
    assert segment.stat().st_mode & 0o077 == 0


@pytest.mark.whole
def test_without_the_secret_such_a_server_does_not_start(tmp_path):
    root = of_kept_release(tmp_path / "project")
    with (root / "configs" / "quickstart.yaml").open("a") as file:
        file.write("\nprivacy: {pseudonyms: true}\n")
    assert PRIVACY_KEY not in os.environ
    with pytest.raises(RuntimeError, match="CHURN_PRIVACY_KEY: found 0 bytes"):
        Server(Project(root)).start()
