"""The data map says what is true: where an id lies, the map says so, and where the map says so, it lies."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from kept_project import EXPERIMENT, NOW, PRICE, backend_of, log_of, segment
from kept_release import of_kept_release
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.customers.format import CUSTOMERS
from churn_assets.customers.names import PREFIX, pseudonym
from churn_assets.definitions import Overrides, build_defs
from churn_assets.offers.decision_index import DecisionIndex
from churn_assets.offers.live import ServedLog
from churn_assets.offers.pseudonyms import pseudonymous
from churn_assets.offers.records import asked_by, decision_payload, read_decision
from churn_assets.offers.stored_log import READERS, stored_segments
from churn_assets.privacy import audit
from churn_assets.privacy.decision_retention import age_out, evidence_key
from churn_assets.privacy.places import PLACES, place_of, rows
from churn_assets.privacy.search import holds
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import InvalidSetting
from churn_assets.store.privacy_key import PRIVACY_KEY, privacy_key
from churn_assets.store.verify import verify_store
from tests.offers.served import decided

ROOT = Path(__file__).parents[2]
KEY = b"a secret of this shop"


@pytest.fixture
def root(tmp_path):
    return of_kept_release(tmp_path / "project")


def churn(root, *arguments):
    done = CliRunner().invoke(app, ["--root", str(root), *arguments])
    return done.exit_code, done.output


@pytest.fixture
def used(root):
    """A project in which all that names a customer was written, by the commands that write it; and that customer."""
    store = ArtifactStore(backend_of(root))
    bundle = next(key for key in store.backend.list("artifacts/") if key.endswith("bundle.json"))
    golden = json.loads(store.backend.read(bundle))["golden"]["customers"]
    customer = golden[3]["customerID"]
    pd.DataFrame(golden).to_csv(root / "customers.csv", index=False)
    log_of(store.backend, customer, "somebody else")
    folder = root / ".churn" / "decision_log" / "sealed"
    folder.mkdir(parents=True)
    name, data = segment(9, NOW, decided("cc", customer=customer, feature=PRICE))
    (folder / f"{name}.log").write_bytes(data)
    (root / ".churn" / "decision_index").mkdir()
    index = DecisionIndex(root / ".churn" / "decision_index" / "quickstart.sqlite", PRICE)
    ServedLog(store.backend, EXPERIMENT, index).refresh()
    index.close()
    assert churn(root, "decide", str(root / "customers.csv"), "--out", str(root / "decided.csv"))[0] in (0, 5)
    assert churn(root, "explain", customer)[0] == 0
    assert churn(root, "report", "--out", str(root / ".churn" / "reports" / "report.html"))[0] in (0, 2)
    made = trained(root, "customers", "offer_log")
    return root, customer, made


def trained(root, *assets):
    """Rows of `customers`, made anew as the UI would make them, with Dagster's history in the project."""
    (root / ".dagster").mkdir(exist_ok=True)
    with dg.DagsterInstance.local_temp(str(root / ".dagster")) as instance:
        done = build_defs(Overrides(root=root)).resolve_job_def("train").execute_in_process(
            instance=instance, partition_key=EXPERIMENT, asset_selection=[dg.AssetKey(each) for each in assets],
        )  # fmt: skip
        assert done.success
    store = ArtifactStore(backend_of(root))
    return len(store.load(store.versions(EXPERIMENT, "customers")[-1], CUSTOMERS))


@pytest.mark.whole
def test_where_a_customer_is_named_the_map_says_so_and_erasing_leaves_only_your_own_files(used):
    root, customer, before = used
    named = [
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and holds(path, {customer})
    ]
    places = {path: place_of(path) for path in named}
    strange = [path for path, place in places.items() if place is None or place.names != "id"]
    own = {"questions.json", "decisions.json"}  # of the fixture, as a user's own files
    assert set(strange) <= own
    seen = {place.place for path, place in places.items() if path not in own}
    expected = {each.place for each in PLACES if each.names == "id"}
    absent = {each for each in expected if "messages" in each or "CHURN_CACHE_DIR" in each}
    assert seen == expected - absent

    code, said = churn(root, "erase", customer)
    assert code == 0, said
    assert not any(holds(path, {customer}) for path in (root / ".dagster").rglob("*") if path.is_file())
    left = [path for path in named if (root / path).is_file() and holds(root / path, {customer})]
    assert set(left) <= own | {"customers.csv", "decided.csv"}
    assert churn(root, "store", "verify")[0] == 0
    assert trained(root, "customers", "offer_log") == before - 1, "left out, though the source has them"
    assert churn(root, "explain", customer)[0] == 2
    modes = {oct(path.stat().st_mode & 0o027) for path in (root / ".churn" / "audit").rglob("*")}
    assert modes == {"0o0"}
    assert (root / "decided.csv").stat().st_mode & 0o777 == 0o640


def test_the_map_in_the_docs_is_the_declared_one():
    text = (ROOT / "docs" / "privacy.md").read_text()
    for row in rows():
        assert "| " + " | ".join(row.values()) + " |" in text, row["where"]


def test_the_command_shows_the_map(tmp_path):
    code, said = churn(tmp_path, "privacy", "map", "--json")
    assert (code, json.loads(said)) == (0, rows())


def test_who_asked_is_recorded_without_naming_the_customer(tmp_path):
    audit.record(tmp_path, who="ana", did="explain", now=NOW, customers=["c-1"], about="release 1")
    audit.record(tmp_path, who="ben", did="console:customer", now=NOW, customers=["c-2"])
    (tmp_path / audit.AUDIT / "20261201.jsonl").write_bytes(b'{"cut')
    (tmp_path / audit.AUDIT / "20261202.jsonl").write_bytes(b"[" * 100_000)
    os.mkfifo(tmp_path / audit.AUDIT / "20261203.jsonl")
    assert [each["who"] for each in audit.entries(tmp_path)] == ["ana", "ben"]
    assert [each["who"] for each in audit.entries(tmp_path, "c-2")] == ["ben"]
    with pytest.raises(OSError, match="No such device"):  # nobody reads the pipe: nothing is recorded
        audit.record(tmp_path, who="ana", did="explain", now=NOW + timedelta(days=3))
    assert not any(holds(path, {"c-1"}) for path in (tmp_path / audit.AUDIT).iterdir() if path.is_file())
    assert {oct(path.stat().st_mode & 0o777) for path in (tmp_path / audit.AUDIT).glob("2026113*")} == {
        "0o600"
    }


def test_the_log_says_which_key_asked_and_earlier_readers_read_it():
    record = decided("aa")
    question, answer = split(record.payload)
    kept = b"".join(decision_payload(question, asked_by(answer, 'a "key"')))
    assert json.loads(split(kept)[1])["asked_by"] == 'a "key"'
    assert read_decision(kept) == read_decision(record.payload)
    assert asked_by(answer, "") == answer


def split(payload):
    length = int.from_bytes(payload[:4], "little")
    return payload[4 : 4 + length], payload[4 + length :]


def test_a_log_of_pseudonyms_names_nobody_and_joins_with_its_outcomes():
    question, answer = split(decided("aa", customer="7590-VHVEG").payload)
    named = b"".join(decision_payload(*pseudonymous(question, answer, KEY)))
    assert b"7590-VHVEG" not in named
    asked, told = read_decision(named)
    assert asked.customers[0].customer_id == told.decisions[0].customer_id == pseudonym("7590-VHVEG", KEY)
    assert told.decisions[0].decision_id == read_decision(decided("aa").payload)[1].decisions[0].decision_id
    assert pseudonym("7590-VHVEG", b"another secret of it") != pseudonym("7590-VHVEG", KEY)
    assert pseudonym("x", KEY).startswith(PREFIX)


def test_a_privacy_key_that_is_none_is_refused(tmp_path):
    assert privacy_key({}) == b""
    (tmp_path / "key").write_bytes(KEY + b"\n")
    assert privacy_key({PRIVACY_KEY: f"@{tmp_path / 'key'}"}) == KEY
    for found, needed in (({PRIVACY_KEY: "short"}, False), ({}, True)):
        with pytest.raises(InvalidSetting, match="CHURN_PRIVACY_KEY: found"):
            privacy_key(found, needed=needed)


def test_old_decisions_go_and_their_counts_stay(root):
    store = ArtifactStore(backend_of(root))
    old, _ = log_of(store.backend, "c-1", "c-2", datetime.now(UTC) - timedelta(days=400))
    log_of(store.backend, "c-1", "c-2", datetime.now(UTC))
    now = datetime.now(UTC)
    told = age_out(store, EXPERIMENT, 365, now, apply=False)
    assert (len(told.going), told.gone, len(stored_segments(store.backend, EXPERIMENT))) == (2, [], 4)
    early = age_out(store, EXPERIMENT, 365, now + timedelta(days=366), apply=True)
    assert (early.gone, "clock: found" in early.problems[0]) == ([], True)
    done = age_out(store, EXPERIMENT, 365, now, apply=True)
    assert (len(done.gone), done.problems) == (2, [])
    assert len(stored_segments(store.backend, EXPERIMENT)) == 2
    (counts,) = json.loads(store.backend.read(evidence_key(EXPERIMENT, old)))["decisions"]
    assert (counts["decisions"], counts["contacts"], counts["arm"]) == (2, 2, "percent_10")
    assert age_out(store, EXPERIMENT, 365, now, apply=True).going == []
    found = verify_store(store, readers=READERS)
    assert (found.problems, found.foreign) == ([], [])


def test_a_command_says_what_is_too_old(root):
    (root / "configs" / "quickstart.yaml").chmod(0o644)
    assert churn(root, "privacy", "retention")[0] == 2
    with (root / "configs" / "quickstart.yaml").open("a") as file:
        file.write("\nprivacy:\n  keep_decisions_days: 365\n")
    log_of(backend_of(root), "c-1", "c-2", datetime.now(UTC) - timedelta(days=400))
    code, said = churn(root, "privacy", "retention", "--apply")
    assert (code, "2 segments older than 365 days deleted" in said) == (0, True)
