"""With `privacy.pseudonyms` nothing of a project names a customer by their id: not the store, the log nor Dagster."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml
from kept_project import segment
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.customers.format import CUSTOMERS
from churn_assets.customers.names import named, pseudonym
from churn_assets.customers.table import EMBEDDED
from churn_assets.definitions import Overrides, build_defs
from churn_assets.offers.format import OFFER_LOG
from churn_assets.offers.stored_log import segment_key
from churn_assets.privacy.search import holds
from churn_assets.store.location import open_store
from churn_assets.store.privacy_key import PRIVACY_KEY
from churn_assets.store.verify import verify_store
from tests.offers.served import decided, told

ROOT = Path(__file__).parents[2]
KEY = "a secret of this shop"
ARMS = ("no_contact", "percent_10", "percent_20")
EVEN = tuple(1 / 3 for _ in ARMS)


def of(customer):
    return pseudonym(customer, KEY.encode())


def log_file(path, ids):
    """A log of the user's own, by the ids of their table."""
    arm = np.resize(np.array(ARMS), 300)
    days = pd.date_range("2026-01-05", periods=300, freq="h", tz=UTC)
    frame = pd.DataFrame({"customer_id": ids[:300], "decided_at": days.strftime("%Y-%m-%dT%H:%M:%SZ")})
    frame["arm"] = arm
    for name in ARMS:
        frame[f"propensity_{name}"] = 1 / 3
    frame["propensity"] = 1 / 3
    frame["policy_version"] = "trial"
    frame["prior_offers"] = 0
    frame["accepted"] = np.where(arm == ARMS[0], 0, np.arange(300) % 2)
    frame["churned"] = (np.arange(300) % 4 == 0).astype(int)
    frame.to_csv(path, index=False)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv(PRIVACY_KEY, KEY)
    content = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    content["customers"]["source"] = "mine.csv"
    content["offer_log"] = {"source": "offers.csv", "decisions": {"window_days": 1}}
    content["privacy"] = {"pseudonyms": True}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(content))
    table = pd.read_csv(EMBEDDED["telco"], dtype=str).head(1500)
    table.to_csv(tmp_path / "mine.csv", index=False)
    log_file(tmp_path / "offers.csv", table["customerID"])
    return tmp_path, [str(each) for each in table["customerID"]]


def made(root, instance):
    job = build_defs(Overrides(root=root)).resolve_job_def("train")
    result = job.execute_in_process(
        instance=instance,
        partition_key="quickstart",
        asset_selection=[dg.AssetKey("customers"), dg.AssetKey("offer_log")],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    assert result.asset_materializations_for_node("offer_log"), [
        str(event.event_specific_data.error.cause)[:900]
        for event in result.all_events
        if event.is_step_failure
    ]
    store = open_store(".churn/store", root=root)
    return store, *(
        store.load(store.versions("quickstart", name)[-1], form)
        for name, form in (("customers", CUSTOMERS), ("offer_log", OFFER_LOG))
    )


def naming(folder, names):
    return [str(path) for path in folder.rglob("*") if path.is_file() and holds(path, names)]


@pytest.mark.whole
def test_store_log_and_history_name_nobody_and_the_customer_is_found_and_erased_by_their_id(project):
    root, ids = project
    then = datetime.now(UTC) - timedelta(days=2)
    asked = {"arm": ARMS[0], "at": then, "menu": ARMS, "propensities": EVEN, "feature": "MonthlyCharges"}
    records = (decided("aa", customer=of(ids[0]), **asked), decided("bb", customer=ids[1], **asked))
    answers = (told("aa", churned=False), told("bb", churned=False))
    name, data = segment(1, then, *records, *answers)  # one of a log from before, which named by ids
    open_store(".churn/store", root=root).backend.create(segment_key("quickstart", name), data)
    (root / "dagster").mkdir()
    with dg.instance_for_test(temp_dir=str(root / "dagster")) as instance:
        store, table, log = made(root, instance)
        assert set(table.ids) == {of(each) for each in ids}
        assert np.array_equal(table.schema.fold_of(table.ids), table.fold)
        assert list(log.customer_id) == list(named([*ids[:300], *ids[:2]], KEY.encode()))
        plain = naming(root / "dagster", ids) + naming(root / ".churn" / "store" / "artifacts", ids)
        assert plain == []
        result = CliRunner().invoke(app, ["--root", str(root), "erase", ids[2]])
        assert result.exit_code == 0, result.output
        assert naming(root / ".churn", {ids[2], of(ids[2])}) == []
        assert not verify_store(store).problems
        (root / "mine.csv").write_text((root / "mine.csv").read_text() + "\n")
        _, table, log = made(root, instance)
        assert len(table) == len(ids) - 1
        assert not {ids[2], of(ids[2])} & {*table.ids, *log.customer_id}
