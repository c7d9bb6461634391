"""The definitions as Dagster loads them: fast, complete, in flow order, and only in the right folder."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from churn_assets.definitions import Overrides, build_defs
from churn_assets.flow.paths import resolve_format
from churn_assets.flow.registry import registry
from churn_assets.flow.source import training_digest
from churn_assets.release.bundle import RELEASE_ASSET
from jobs.train import DECISIONS
from resources.project import WrongFolderError, require_project_folder

PROJECT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "transformers",
    "trl",
    "stable_baselines3",
    "gymnasium",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandera",
    "accelerate",
    "datasets",
)


def in_a_fresh_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_loading_the_definitions_imports_no_heavy_library():
    done = in_a_fresh_python(
        f"import sys, churn_assets.definitions as d; d.build_defs().resolve_asset_graph(); "
        f"print(sorted(name for name in {HEAVY!r} if name in sys.modules))"
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_definitions_are_fresh_each_time_and_partitioned_by_experiment():
    first, second = build_defs(), build_defs()
    assert first is not second
    graph = first.resolve_asset_graph()
    for key in graph.get_all_asset_keys() - {dg.AssetKey(DECISIONS)}:
        partitions = graph.get(key).partitions_def
        assert partitions is not None
        assert partitions.get_partition_keys() == sorted(
            path.stem for path in (PROJECT / "configs").glob("*.yaml")
        )


def test_groups_sort_in_flow_order_and_every_asset_says_what_it_is():
    specs = {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}
    in_flow = list(registry().names)
    assert sorted(in_flow, key=lambda name: specs[name].group_name) == in_flow
    for spec in map(specs.get, in_flow):
        assert spec.description
        assert spec.owners
        assert spec.kinds


def test_every_check_blocks_has_advice_and_every_asset_has_the_loading_check():
    graph = build_defs().resolve_asset_graph()
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        assert spec.blocking
        assert spec.description
        assert spec.metadata["what_to_do"]
    loading = {
        key.asset_key.to_user_string() for key in graph.asset_check_keys if key.name == "loads_and_agrees"
    }
    assert loading == set(registry().names)


def test_dagster_is_told_the_source_of_every_asset_as_its_code_version():
    told = {spec.key.to_user_string(): spec.code_version for spec in build_defs().resolve_all_asset_specs()}
    files = {source for asset in registry().assets for source in asset.outside}
    made = {asset.name: training_digest(asset) for asset in registry().assets}
    assert told == dict.fromkeys([*files, DECISIONS]) | made


def test_the_decision_branch_has_a_job_of_its_own():
    job = build_defs().resolve_job_def("train_decision")
    selected = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert selected == {*registry().members["decision"], RELEASE_ASSET}


def test_every_format_is_one():
    for asset in registry().assets:
        assert resolve_format(asset.format).loader.startswith(f"{asset.name}/")


def test_another_config_folder_gives_other_partitions(tmp_path):
    (tmp_path / "mine.yaml").write_text("seed: 1\n")
    defs = build_defs(Overrides(config_dir=tmp_path))
    partitions = defs.resolve_asset_graph().get(dg.AssetKey("customers")).partitions_def
    assert partitions.get_partition_keys() == ["mine"]


def test_dagster_started_in_another_folder_fails_loudly_instead_of_keeping_a_second_history(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongFolderError, match="second, empty history"):
        require_project_folder(PROJECT)
    monkeypatch.setenv("DAGSTER_HOME", str(PROJECT))
    with pytest.raises(WrongFolderError):
        require_project_folder(PROJECT)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    require_project_folder(PROJECT)
    monkeypatch.chdir(PROJECT)
    monkeypatch.delenv("DAGSTER_HOME")
    require_project_folder(PROJECT)


def test_the_workspace_loads(tmp_path):
    done = subprocess.run(
        [
            Path(sys.executable).with_name("dagster"),
            "definitions",
            "validate",
            "-w",
            PROJECT / "workspace.yaml",
        ],
        cwd=tmp_path,
        env=os.environ | {"DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_history_is_kept_in_the_projects_folder_and_nothing_is_sent_anywhere(tmp_path, monkeypatch):
    (tmp_path / "dagster.yaml").write_text((PROJECT / "dagster.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert "artifacts" not in instance.storage_directory()
    assert (tmp_path / ".dagster" / "history" / "history" / "runs.db").is_file()
