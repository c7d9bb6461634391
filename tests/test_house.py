"""The rules of the house are held: the linters' settings refuse what they must, and loading stays light."""

import json
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HEAVY = {
    "accelerate",
    "datasets",
    "matplotlib",
    "safetensors",
    "sklearn",
    "stable_baselines3",
    "torch",
}
HEAVY |= {"gymnasium", "google.cloud", "peft", "scipy", "transformers", "trl"}
LIGHT = ("assets", "checks", "config")


def light_modules() -> list[str]:
    """Everything that loading the definitions loads."""
    stages = sorted(path for path in ROOT.glob("churn_assets/*/*.py") if path.stem in LIGHT)
    shells = sorted(
        path
        for folder in ("resources", "jobs", "churn_assets", "churn_assets/cli")
        for path in (ROOT / folder).glob("*.py")
    )
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in stages + shells
    ]


def test_loading_the_definitions_loads_no_training_library():
    modules = light_modules()
    assert "churn_assets.risk.assets" in modules
    code = f"""
import importlib, json, sys, time
for name in {modules!r}:
    importlib.import_module(name)
print(json.dumps([sorted({HEAVY!r} & set(sys.modules)), time.process_time()]))
"""
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    heavy, seconds = json.loads(loaded.stdout.splitlines()[-1])
    assert heavy == []
    assert seconds < 8, "CPU seconds that every spawned step would pay; 2 to 3 on an idle machine"


@pytest.mark.parametrize(
    ("module", "code", "rule"),
    [
        ("churn_assets/risk/assets.py", "import torch", "TID253"),
        ("churn_assets/risk/checks.py", "from sklearn.linear_model import LogisticRegression", "TID253"),
        ("churn_assets/decision/config.py", "import gymnasium", "TID253"),
        ("churn_assets/definitions.py", "import trl", "TID253"),
        ("churn_assets/gates/factory.py", "import matplotlib", "TID253"),
        ("resources/project.py", "import sklearn.tree", "TID253"),
        ("jobs/retraining.py", "import stable_baselines3", "TID253"),
        ("churn_assets/risk/model.py", "import pickle", "TID251"),
        ("churn_assets/risk/model.py", "import joblib", "TID251"),
        ("churn_assets/message/policy.py", "import torch\ntorch.load('x')", "TID251"),
        ("churn_assets/store/files.py", "import pandas\npandas.read_pickle('x')", "TID251"),
        ("churn_assets/experiment.py", "import yaml\nyaml.load('x', Loader=yaml.Loader)", "S506"),
        ("churn_assets/risk/model.py", "try:\n    x = 1\nexcept Exception:\n    x = 2", "BLE001"),
        ("churn_assets/risk/model.py", "def f(x):\n    return x", "ANN001"),
        ("churn_assets/risk/model.py", "from . import gates", "TID252"),
        ("churn_assets/risk/model.py", "print(1)", "T201"),
        ("churn_assets/risk/model.py", "x = 1", "D100"),
    ],
)
def test_ruff_refuses(module, code, rule):
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format",
        "json",
        "--stdin-filename",
        module,
        "-",
    ]
    found = subprocess.run(command, input=code + "\n", capture_output=True, text=True, cwd=ROOT, check=False)
    assert rule in {problem["code"] for problem in json.loads(found.stdout)}


def test_ruff_lets_a_library_module_import_what_it_needs():
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--select",
        "TID",
        "--stdin-filename",
        "churn_assets/risk/model.py",
        "-",
    ]
    code = "import sklearn\nimport torch\n"
    subprocess.run(command, input=code, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_import_linter_refuses_what_breaks_the_flow(tmp_path):
    shutil.copytree(
        ROOT / "churn_assets", tmp_path / "churn_assets", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, code in {
        "customers/features.py": "import churn_assets.risk.model",
        "store/files.py": "import churn_assets.customers.schema",
        "response/accept.py": "import churn_assets.offers.world",
        "risk/model.py": "import dagster",
    }.items():
        with (tmp_path / "churn_assets" / module).open("a") as file:
            file.write(f"\n{code}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert found.returncode == 1, found.stdout
    for broken in (
        "churn_assets.customers is not allowed to import churn_assets.risk",
        "churn_assets.store is not allowed to import churn_assets.customers",
        "churn_assets.response.accept -> churn_assets.offers.world",
        "churn_assets.risk.model -> dagster",
    ):
        assert broken in found.stdout


def test_plain_dagster_dev_reads_the_workspace_file():
    """Any [tool.dagster] or [tool.dg] block in pyproject would make it ignore workspace.yaml."""
    assert not {"dagster", "dg"} & set(PYPROJECT["tool"])


def test_every_dependency_is_pinned():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert [specifier.operator for specifier in requirement.specifier] == ["=="], line
            pins[canonicalize_name(requirement.name)] = next(iter(requirement.specifier)).version
    project = PYPROJECT["project"]
    for text in [*project["dependencies"], *chain(*project["optional-dependencies"].values())]:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{text} has no pin"
        assert version in requirement.specifier, f"{text} is pinned to {version}"


@pytest.mark.parametrize("stage", ["customers", "offers", "risk", "response", "decision"])
def test_each_stage_owns_its_config_and_its_seams_to_the_orchestrator(stage):
    names = {path.name for path in (ROOT / "churn_assets" / stage).glob("*.py")}
    assert {"config.py", "assets.py", "checks.py"} <= names
