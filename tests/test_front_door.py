"""The front door: few names, imported when they are used; and the examples of every docstring."""

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import churn_assets

ROOT = Path(__file__).parents[1]


def with_examples():
    """Modules of the library that have an example; no other is imported for it."""
    for path in sorted((ROOT / "churn_assets").rglob("*.py")):
        if ">>> " in path.read_text():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("module", list(with_examples()))
def test_the_examples_of_a_module_come_out_as_they_say(module, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testmod(import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted
    assert not found.failed, "see the output"


@pytest.mark.parametrize("name", churn_assets.__all__)
def test_every_name_is_there(name):
    assert getattr(churn_assets, name).__name__ == name
    assert name in dir(churn_assets)


def test_a_name_that_is_not_there_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="no attribute 'RiskModle'"):
        churn_assets.RiskModle  # noqa: B018 - asking is the test


def test_the_door_opens_without_importing_what_is_behind_it():
    code = "import sys, churn_assets; print([m for m in ('churn_assets.arms', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
