"""Assets made on a real Ray cluster of two nodes: the same as here, and through every loss of node, driver and word."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from pathlib import Path

import dagster as dg
import pytest
import yaml
from ray_cluster import RayCluster

from churn_assets.definitions import Overrides, build_defs, build_project

ROOT = Path(__file__).parents[2]
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"
ON_CLUSTER = ("there", "node", "driver", "silent")


class Shop:
    """A project whose experiments are made here, or on the cluster."""

    def __init__(self, root: Path, cluster: RayCluster) -> None:
        self.root, self.cluster = root, cluster
        (root / "configs").mkdir(parents=True)
        for name in ("here", *ON_CLUSTER):
            self.configure(name)
        overrides = Overrides(root=root)
        self.project = build_project(overrides)
        self.defs = build_defs(overrides, self.project)

    def configure(self, name: str) -> None:
        content = yaml.safe_load((ROOT / "configs" / "first_campaign.yaml").read_text())
        content |= {"store": {"uri": "store"}, "risk_model": {"kind": "spline_logistic"}}
        if name in ON_CLUSTER:
            machine = {
                "kind": "ray",
                "address": self.cluster.address,
                "poll_seconds": 0.2,
                "wait_seconds": 0.5,
            }
            if name == "silent":
                machine["env"] = {"PATH": f"{self.root / 'silent'}:{PATH}"}
            assets = dict.fromkeys(("customers", "risk_model"), "cluster")
            content["compute"] = {"profiles": {"cluster": machine}, "assets": assets}
        (self.root / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(content))

    def run(self, experiment: str, *assets: str) -> dg.ExecuteInProcessResult:
        with dg.DagsterInstance.ephemeral() as instance:
            return self.defs.resolve_job_def("train").execute_in_process(
                instance=instance,
                partition_key=experiment,
                asset_selection=[dg.AssetKey(asset) for asset in assets],
                raise_on_error=False,
            )

    def made_here(self) -> list[str]:
        """Digests of the customers as they are made on this machine, once."""
        if not self.digests("here", "customers"):
            assert self.run("here", "customers").success
        return self.digests("here", "customers")

    def run_beside(self, experiment: str) -> Beside:
        return Beside(lambda: self.run(experiment, "customers"))

    def digests(self, experiment: str, asset: str) -> list[str]:
        store = self.project.store(experiment)
        return [store.verify(ref).digest for ref in store.versions(experiment, asset)]


class Beside(threading.Thread):
    """A run that goes on while the test does harm."""

    def __init__(self, run) -> None:
        super().__init__(daemon=True)
        self._run, self.result = run, None
        self.start()

    def run(self) -> None:
        self.result = self._run()

    def ended(self) -> dg.ExecuteInProcessResult:
        self.join(600)
        assert self.result is not None
        return self.result


@pytest.fixture(scope="module")
def shop():
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
    cluster = RayCluster(folder / "t", {"PATH": PATH, "PYTHONPATH": str(ROOT)})
    try:
        cluster.start()
        yield Shop(folder / "shop", cluster)
    finally:
        cluster.close()
        shutil.rmtree(folder, ignore_errors=True)


def a_step_works(shop):
    """Waits until a step is in the middle of its work on a node."""
    return shop.cluster.until(
        lambda: shop.cluster.steps() and shop.project.store("there").backend.list("steps/")
    )


def test_what_the_cluster_makes_is_what_is_made_here(shop):
    there = shop.run("there", "customers", "risk_model")
    assert there.success
    here = shop.run("here", "customers", "risk_model")
    assert here.success
    for asset in ("customers", "risk_model"):
        assert len(shop.digests("there", asset)) == 1
        assert shop.digests("there", asset) == shop.digests("here", asset)
        (event,) = there.asset_materializations_for_node(asset)
        (local,) = here.asset_materializations_for_node(asset)
        assert event.metadata["made_on"].value == "cluster"
        assert {*local.metadata} <= {*event.metadata}  # tables and plots came along


def test_a_driver_that_is_killed_is_begun_again(shop):
    run = shop.run_beside("driver")
    a_step_works(shop)
    killed = shop.cluster.until(shop.cluster.steps)
    for each in killed:
        each.kill()
    assert run.ended().success
    assert shop.digests("driver", "customers") == shop.made_here()
    statuses = sorted(
        job["status"] for job in shop.cluster.jobs() if job["metadata"]["experiment"] == "driver"
    )
    assert statuses == ["FAILED", "SUCCEEDED"]


def test_a_step_that_exits_0_without_publishing_has_failed(shop):
    (shop.root / "silent").mkdir()
    program = shop.root / "silent" / "churn"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    result = shop.run("silent", "customers")
    assert not result.success
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "ended without reporting a published version" in failure.event_specific_data.error_display_string
    assert shop.digests("silent", "customers") == []


def test_a_node_that_is_killed_in_the_middle_of_a_step_is_replaced_and_its_orphan_changes_nothing(shop):
    run = shop.run_beside("node")
    a_step_works(shop)
    orphans = shop.cluster.steps()
    shop.cluster.kill_newest()
    shop.cluster.add_node()
    assert run.ended().success
    shop.cluster.until(lambda: not [each for each in orphans if each.is_running()])
    assert shop.digests("node", "customers") == shop.made_here()
