"""The rules of the house are held: the linters' settings refuse what they must, and loading stays light."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
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
HEAVY |= {"gymnasium", "peft", "ray", "scipy", "transformers", "trl"}
# `google.cloud` itself is a namespace, which a .pth file of one of these makes when the interpreter starts.
HEAVY |= {"google.cloud.storage", "google.cloud.bigquery", "google.cloud.aiplatform_v1"}
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
        ("churn_assets/gates/plots.py", "import matplotlib", "TID253"),
        ("churn_assets/flow/source.py", "import sklearn", "TID253"),
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


ROOMS = [
    name.strip("()")
    for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
    if contract["id"] == "rooms"
    for name in reversed(contract["layers"])
    if (ROOT / "churn_assets" / f"{name.strip('()')}.py").exists()
    or (ROOT / "churn_assets" / name.strip("()")).is_dir()
]
"""Those of the library, bottom up."""
ABOVE = [*(f"churn_assets.{room}" for room in ROOMS[:-2]), "resources", "jobs"]
ABOVE += [f"churn_assets.{room}" for room in ROOMS[-2:]]
"""Those of everything, bottom up."""


def linted(folder, added):
    """What the import linter says of a copy of the project with some lines added to some modules."""
    for package in ("churn_assets", "resources", "jobs"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for module, code in added.items():
        with (folder / module).open("a") as file:
            file.write(f"\n{code}\n")
    linter = Path(sys.executable).with_name("lint-imports")
    command = [linter, "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def a_module_of(room):
    """A file of a room, by its import path."""
    path = Path(*room.split("."))
    if (ROOT / path).with_suffix(".py").exists():
        return path.with_suffix(".py").as_posix()
    return next(
        each.relative_to(ROOT).as_posix()
        for each in sorted((ROOT / path).glob("*.py"))
        if each.name not in ("__init__.py", "assets.py", "checks.py")
    )


def test_every_room_has_its_place():
    folders = {path.name for path in (ROOT / "churn_assets").iterdir() if path.is_dir()} - {"__pycache__"}
    files = {path.stem for path in (ROOT / "churn_assets").glob("*.py")} - {"__init__"}
    assert set(ROOMS) == folders | files


def test_the_import_linter_refuses_whatever_a_room_imports_from_above(tmp_path):
    pairs = [(ABOVE[place], above) for place in range(len(ABOVE)) for above in ABOVE[place + 1 :][:1]]
    found = linted(tmp_path, {a_module_of(room): f"import {above}" for room, above in pairs})
    assert found.returncode == 1, found.stdout
    for room, above in pairs:
        assert f"{room} is not allowed to import {above}" in found.stdout, (room, above)


def test_the_import_linter_refuses_a_library_that_knows_who_wires_it(tmp_path):
    rooms = [room for room in ROOMS if room not in ("cli", "definitions")]
    code = "from resources.stage import Step\nfrom jobs.scene import Scene\nimport dagster"
    found = linted(tmp_path, {a_module_of(f"churn_assets.{room}"): code for room in rooms})
    assert found.returncode == 1, found.stdout
    for room in rooms:
        for above in ("resources", "jobs", "dagster"):
            assert f"churn_assets.{room} is not allowed to import {above}" in found.stdout, (room, above)


@pytest.mark.parametrize(
    ("module", "code", "broken"),
    [
        ("churn_assets/store/names.py", "from resources.stage import Step", "import resources"),
        ("churn_assets/store/names.py", "from jobs.scene import Scene", "import jobs"),
        ("churn_assets/risk/assets.py", "import dagster", "import dagster"),
        ("resources/project.py", "import jobs.train", "resources is not allowed to import jobs"),
        ("resources/project.py", "import churn_assets.definitions", "import churn_assets.definitions"),
        ("jobs/scene.py", "import churn_assets.cli", "jobs is not allowed to import churn_assets.cli"),
        (
            "churn_assets/response/accept.py",
            "import churn_assets.offers.world",
            "-> churn_assets.offers.world",
        ),
        ("churn_assets/message/model/scoring.py", "import churn_assets.risk.model", "churn_assets.risk"),
    ],
)
def test_the_import_linter_refuses(tmp_path, module, code, broken):
    found = linted(tmp_path, {module: code})
    assert found.returncode == 1, found.stdout
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
        if requirement.name == project["name"]:
            continue  # another of its own extras
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{text} has no pin"
        assert version in requirement.specifier, f"{text} is pinned to {version}"


@pytest.mark.parametrize("stage", ["customers", "offers", "risk", "response", "decision"])
def test_each_stage_owns_its_config_and_its_seams_to_the_orchestrator(stage):
    names = {path.name for path in (ROOT / "churn_assets" / stage).glob("*.py")}
    assert {"config.py", "assets.py", "checks.py"} <= names


SAME_MEANING = {
    "a check: `measured.py` loads and measures what `gates.py` judges": {
        *("better_than_sft", "not_over_optimised", "ranks_pairs", "rewards_are_its_own", "safe_to_send"),
        *("stays_close", "well_formed"),
        *(
            "decides_as_built",
            "members_agree",
            "members_keep_their_gates",
            "models_are_members",
            "writes_as_built",
        ),
    },
    "a check against the champion, of whichever model": {"no_worse_than"},
    "a command, and what it calls": {"erase", "explain", "promote", "rollback", "serve"},
}
"""Why a public name may be defined in two modules, and which are."""


def meanings(path):
    """Public classes, functions and type aliases of a module, each with what tells two meanings apart."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, path.relative_to(ROOT).as_posix()
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            # The same type under the same name is one meaning, wherever it is written down.
            alias = ast.unparse(node.value).replace("npt.", "")
            yield from (
                (name.id, alias)
                for name in targets
                if isinstance(name, ast.Name) and re.fullmatch(r"[A-Z]\w*[a-z]\w*", name.id)
            )


def test_a_public_name_has_one_meaning():
    found = defaultdict(set)
    for package in ("churn_assets", "resources", "jobs"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, meaning in meanings(path):
                if not name.startswith("_"):
                    found[name].add(meaning)
    twice = {name: sorted(where) for name, where in found.items() if len(where) > 1}
    allowed = set(chain(*SAME_MEANING.values()))
    assert {name: where for name, where in twice.items() if name not in allowed} == {}
    assert allowed <= set(twice), "these are defined once now"


def test_no_two_modules_of_tests_share_a_name():
    """They are imported by their names alone: the second one is not collected."""
    names = Counter(path.stem for path in (ROOT / "tests").rglob("*.py"))
    assert [name for name, count in names.items() if count > 1 and name not in ("conftest", "__init__")] == []
