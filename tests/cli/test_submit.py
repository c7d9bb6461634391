"""`churn submit` hands a training to a real Dagster on another DAGSTER_HOME, and says how it ended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
import requests
import yaml
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.local import LocalBackend

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 300


class Elsewhere:
    """A project, and a Dagster that serves it."""

    def __init__(self, root: Path) -> None:
        self.root, self.home = root, root / "home"
        self.home.mkdir(parents=True)
        (root / "configs").mkdir()
        content = yaml.safe_load((REPOSITORY / "configs" / "first_campaign.yaml").read_text())
        content["store"] = {"uri": "store"}
        content["customers"]["exclude"] = ["PaperlessBilling"]
        (root / "configs" / "shop.yaml").write_text(yaml.safe_dump(content))
        shutil.copy(REPOSITORY / "workspace.yaml", root)
        at_once = {"module": "dagster._core.run_coordinator", "class": "DefaultRunCoordinator"}
        settings = {"telemetry": {"enabled": False}, "run_coordinator": at_once}
        (self.home / "dagster.yaml").write_text(yaml.safe_dump(settings))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self) -> None:
        command = [
            Path(sys.executable).with_name("dagster-webserver"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
        ]
        environment = os.environ | {"DAGSTER_HOME": str(self.home), "CHURN_ROOT": str(self.root)}
        log = (self.root / "webserver.log").open("ab")
        self.process = subprocess.Popen(
            [*command, "-w", self.root / "workspace.yaml"],
            env=environment, cwd=self.root, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        began = time.monotonic()
        while not self._answers():
            if time.monotonic() - began > PATIENCE or self.process.poll() is not None:
                raise TimeoutError((self.root / "webserver.log").read_text()[-4000:])
            time.sleep(0.2)

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def churn(self, *arguments: str):
        return CliRunner().invoke(app, ["--root", str(self.root), *arguments])

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.RequestException:
            return False


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    made = Elsewhere(tmp_path_factory.mktemp("elsewhere") / "shop")
    made.serve()
    yield made
    made.close()


def test_a_training_is_handed_over_and_waited_for(elsewhere):
    done = elsewhere.churn(
        "submit", "shop", "--to", elsewhere.url, "--select", "customers", "--wait", "--json"
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["status"] == "SUCCESS"
    with dg.DagsterInstance.from_config(str(elsewhere.home)) as instance:
        run = instance.get_run_by_id(told["run"])
    assert run.tags["dagster/partition"] == "shop"
    assert run.tags["churn/compute.local"] == "true"
    assert [key.to_user_string() for key in run.asset_selection] == ["customers"]
    store = ArtifactStore(LocalBackend(elsewhere.root / "store"))
    (ref,) = store.versions("shop", "customers")
    assert store.manifest(ref).provenance.run_id == told["run"]


def test_a_training_that_fails_is_exit_4_when_it_is_waited_for(elsewhere):
    # What it needs was never made there.
    done = elsewhere.churn("submit", "shop", "--to", elsewhere.url, "--select", "release", "--wait", "--json")
    assert done.exit_code == 4, done.output
    assert json.loads(done.stdout)["status"] == "FAILURE"


def test_what_dagster_does_not_serve_is_refused_in_a_line(elsewhere):
    done = elsewhere.churn("submit", "shop", "--to", elsewhere.url, "--location", "nowhere")
    assert done.exit_code == 2
    assert "refuses" in done.output


@pytest.mark.parametrize("address", ["dagster:3000", "ftp://dagster", "http://"])
def test_an_address_that_is_none_is_refused(elsewhere, address):
    done = elsewhere.churn("submit", "shop", "--to", address)
    assert done.exit_code == 2
    assert "expected http://host:port" in done.output
