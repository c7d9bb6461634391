"""A comment in a file of the library remakes just the assets that really import it, whatever folder it stands in."""

from __future__ import annotations

import ast
import dis
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

from churn_assets.flow.paths import module_of
from churn_assets.flow.registry import registry
from churn_assets.flow.setting import Setting
from churn_assets.flow.source import JUDGES, _reachable, shapes, training_digest, verdict_digest

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "churn_assets").rglob("*.py"))
LANGUAGE_MODELS = {"sft_model", "reward_model", "ppo_text"}

PROBE = """
import json, sys
from pathlib import Path
from churn_assets.flow.registry import registry
from churn_assets.flow.source import training_digest, verdict_digest

def digests():
    return {
        kind: {asset.name: digest(asset) for asset in registry().assets}
        for kind, digest in (("training", training_digest), ("verdict", verdict_digest))
    }

def changed(now):
    return {kind: [name for name in now[kind] if now[kind][name] != before[kind][name]] for kind in now}

before, found = digests(), []
for name, old, new in json.load(sys.stdin):
    path = Path(name)
    text = path.read_text()
    path.write_text(text.replace(old, new, 1) if old else text + new)
    found.append(changed(digests()))
    path.write_text(text)
print(json.dumps(found))
"""


def probed(folder: Path, changes: list[tuple[str, str, str]]) -> list[dict[str, list[str]]]:
    """Assets of which a digest changes with each change of a file (old text, new text), in a copy of the library."""
    shutil.copytree(
        ROOT / "churn_assets", folder / "churn_assets", ignore=shutil.ignore_patterns("__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(changes),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# What is imported, found in another way than the library does: by bytecode and by each file alone.


def name_of(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {name_of(file): file for file in FILES}


def imported_by(module: str) -> set[str]:
    """Modules of the library that a file's import statements name, those for type checkers aside."""
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse((ROOT / MODULES[module]).read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {named(node.module or "", each.name) for each in node.names}
        pending += ast.iter_child_nodes(node)
    return found & set(MODULES)


def named(module: str, name: str) -> str:
    return f"{module}.{name}" if f"{module}.{name}" in MODULES else module


def imported_inside(code: CodeType) -> set[str]:
    """Modules that a function imports while it runs."""
    found, names = set(), ()
    for step in dis.get_instructions(code):
        if step.opname == "LOAD_CONST":
            names = step.argval if isinstance(step.argval, tuple) else ()
        elif step.opname == "IMPORT_NAME":
            found |= {named(step.argval, each) for each in names} or {step.argval}
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return found.union(*map(imported_inside, inner))


def used_by(value: object, file: str, seen: set[int]) -> set[str]:
    """Modules that a value of an assets.py leads to: a function's code and globals, a class's or a setting's module."""
    if id(value) in seen:
        return set()
    seen.add(id(value))
    if isinstance(value, ModuleType):
        return {value.__name__}
    if isinstance(value, Setting):
        return used_by(value.kind, file, seen)
    if isinstance(value, FunctionType) and value.__code__.co_filename == file:
        inside = [value.__code__]
        found = imported_inside(value.__code__)
        while inside:
            code = inside.pop()
            inside += [each for each in code.co_consts if isinstance(each, CodeType)]
            for each in code.co_names:
                if each in value.__globals__:
                    found |= used_by(value.__globals__[each], file, seen)
        return found
    return {value.__module__} if getattr(value, "__module__", None) in MODULES else set()


def closure(start: set[str], kept=lambda _module: True) -> set[str]:
    found: set[str] = set()
    pending = [each for each in start if each in MODULES and kept(each)]
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += filter(kept, imported_by(module))
    return found


def trained_with(asset) -> set[str]:
    file, seen = asset.body.__code__.co_filename, set()
    named = (asset.body, asset.config, asset.data, asset.expired, *asset.reads)
    return closure({module_of(asset.format)}.union(*(used_by(each, file, seen) for each in named)), shapes)


def judged_with(asset) -> set[str]:
    functions = [each for spec in asset.checks for each in (spec.run, *spec.given.values())]
    return closure({module_of(each) for each in functions if isinstance(each, str)})


BY_ANY_WAY = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from churn_assets.store import retention
else:
    from churn_assets.store import names
try:
    from churn_assets.store import doctor
except ImportError:
    doctor = None
SIZE = 1
SIZE += 1

def made(step, *, by=doctor, size=SIZE):
    from churn_assets.store import files
    return names, by, retention

async def other():
    return 2
"""


def test_what_a_function_uses_counts_however_it_was_given_its_name():
    found = _reachable(BY_ANY_WAY, "made")
    assert found.modules == {f"churn_assets.store.{name}" for name in ("names", "doctor", "files")}
    assert "SIZE += 1" in found.text
    assert "other" not in found.text
    assert "return 2" in _reachable(BY_ANY_WAY, "other").text


ASSETS = "churn_assets/message/assets.py"
BODIES = {
    "one function": ("    from churn_assets.message.training.sft import train_sft\n", {"sft_model"}),
    "one that others use": ("    names = list(dict.fromkeys(", LANGUAGE_MODELS),
    "one that reads the source": (
        "    if step.config.simulated:\n        return",
        {"messages", "preferences"},
    ),
    "a decorator": ('    kinds=("transformers", "safetensors"),\n', {"ppo_text"}),
}
"""Lines of a file of assets, and the assets that use the function they stand in."""


@pytest.fixture(scope="module")
def remade(tmp_path_factory) -> list[dict[str, list[str]]]:
    """Assets of which a digest changes with a comment at the end of each file, and above each line of `BODIES`."""
    ends = [(file, "", "\n# a comment\n") for file in FILES]
    inside = [(ASSETS, line, f"    # a comment\n{line}") for line, _ in BODIES.values()]
    return probed(tmp_path_factory.mktemp("library"), [*ends, *inside])


@pytest.fixture(scope="module")
def commented(remade) -> dict[str, dict[str, list[str]]]:
    """Assets of which a digest changes with a comment at the end of each file."""
    return dict(zip(FILES, remade, strict=False))


def test_a_comment_remakes_just_the_assets_whose_imports_lead_to_the_file(commented):
    leads = {asset.name: trained_with(asset) for asset in registry().assets}
    for module, file in MODULES.items():
        assert set(commented[file]["training"]) == {name for name in leads if module in leads[name]}, file


def test_a_comment_makes_just_those_verdicts_stale_whose_gates_import_the_file(commented):
    leads = {asset.name: judged_with(asset) for asset in registry().assets}
    for module, file in MODULES.items():
        assert set(commented[file]["verdict"]) == {name for name in leads if module in leads[name]}, file


def test_what_makes_a_value_takes_nothing_from_what_judges_it():
    """A change there would change what is made and remake nothing; a section holds its gates, which shape nothing."""
    taken = {
        (module, judge)
        for asset in registry().assets
        for module in trained_with(asset)
        for judge in imported_by(module)
        if judge.rpartition(".")[2] in JUDGES and not module.endswith(".config")
    }
    assert taken == set()


@pytest.mark.parametrize("file", ["store/gcs.py", "store/doctor.py", "offers/segments.py", "offers/world.py"])
def test_what_no_language_model_imports_remakes_none(commented, file):
    assert not LANGUAGE_MODELS & set(commented[f"churn_assets/{file}"]["training"])


def test_the_world_that_writes_logs_of_offers_and_of_messages_remakes_both(commented):
    assert commented["churn_assets/offers/world.py"]["training"] == ["offer_log", "preferences"]


def test_a_threshold_is_no_reason_to_train_again(commented):
    assert commented["churn_assets/message/training/gate_config.py"]["training"] == []
    assert commented["churn_assets/risk/gates.py"] == {"training": [], "verdict": ["risk_model"]}


def test_within_a_file_of_assets_a_change_counts_for_those_that_use_the_function(remade):
    text = (ROOT / ASSETS).read_text()
    for (line, assets), found in zip(BODIES.values(), remade[len(FILES) :], strict=True):
        assert line in text
        assert set(found["training"]) == assets, line


def test_digests_are_the_same_each_time_and_differ_between_assets():
    digests = [training_digest(asset) for asset in registry().assets]
    assert len(set(digests)) == len(digests)
    assert digests == [training_digest(asset) for asset in registry().assets]
    assert verdict_digest(registry()["risk_model"]) == verdict_digest(registry()["risk_model"])
