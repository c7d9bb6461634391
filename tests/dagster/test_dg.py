"""`dg`, Dagster's own command, finds the project by dg.toml; plain `dagster dev` goes on reading workspace.yaml."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from churn_assets.flow.registry import registry
from jobs.train import DECISIONS
from resources.sources import SOURCES

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dg(tmp_path_factory):
    """`dg` in the project's folder, with a history of its own."""
    home = tmp_path_factory.mktemp("home")
    shutil.copy(PROJECT / "dagster.yaml", home)

    def run(*arguments):
        return subprocess.run(
            [Path(sys.executable).with_name("dg"), *arguments],
            cwd=PROJECT,
            env=os.environ | {"DAGSTER_HOME": str(home), "DG_CLI_CONFIG": str(home / "none.toml")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_definitions_pass_its_check(dg):
    done = dg("check", "defs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All definitions loaded successfully" in done.stdout + done.stderr
    assert "collect usage statistics" not in done.stdout + done.stderr  # dagster.yaml says so


def test_it_lists_what_the_project_has(dg):
    done = dg("list", "defs", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assets = {each["asset_key"] for each in found["assets"]}
    assert assets == {asset.name for asset in registry().assets} | set(SOURCES) | {DECISIONS}
    jobs = {each["name"] for each in found["jobs"]}
    assert {"train", "train_decision", "promote", "rollback"} <= jobs


def test_both_ways_load_the_same_module():
    project = tomllib.loads((PROJECT / "dg.toml").read_text())["project"]
    assert (
        f"module_name: {project['code_location_target_module']}" in (PROJECT / "workspace.yaml").read_text()
    )
