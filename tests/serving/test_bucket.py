"""A server whose store is a bucket: what it follows, and where its log goes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from shop import Server, Shop, wait_until
from typer.testing import CliRunner

from benchmarks.logged import logged_records
from churn_assets.cli import app
from churn_assets.offers.records import read_decision
from churn_assets.offers.segments import DECISIONS
from churn_assets.offers.stored_log import SEGMENTS
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.location import open_store


@dataclass(frozen=True)
class BucketShop(Shop):
    """A shop whose store is a bucket."""

    uri: str = ""

    @property
    def store(self) -> ArtifactStore:
        return open_store(self.uri, root=self.root)


@pytest.fixture
def in_bucket(shop, bucket, monkeypatch):
    uri = f"gs://{bucket}/retention"
    copied = CliRunner().invoke(app, ["store", "copy", str(shop.root / ".churn" / "store"), uri])
    assert copied.exit_code == 0, copied.output
    monkeypatch.setenv("CHURN_STORE", uri)
    return BucketShop(**vars(shop), uri=uri)


def test_a_server_follows_a_channel_in_a_bucket_and_ships_its_log_there(in_bucket, customers):
    shop, decided = in_bucket, []
    shop.configure(poll_seconds=0.2, decision_log={"ship_seconds": 0.3, "segment_seconds": 0.5})
    with Server(shop).start() as server, server.client() as client:
        for leads in (shop.first, shop.second, shop.first):
            if leads != shop.channel.head().ref:
                shop.lead(leads)
            wait_until(lambda leads=leads: client.get("/v2/health/ready").json()["release"] == str(leads))
            answer = client.post("/v1/decisions", json={"customers": customers[:10]}).json()
            assert answer["release"] == str(leads)
            decided += [decision["decision_id"] for decision in answer["decisions"]]
        wait_until(lambda: shop.store.backend.list(SEGMENTS) != [])
        server.stop()
    logged = [
        decision.decision_id
        for record in logged_records(shop.store.backend, "quickstart", shop.log)
        if record.kind == DECISIONS
        for decision in read_decision(record.payload)[1].decisions
    ]
    assert sorted(logged) == sorted(decided)
    assert not list((shop.log / "sealed").iterdir())
