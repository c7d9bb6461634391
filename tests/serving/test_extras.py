"""What serving needs and no more: without the libraries that only training needs a release is served all the same."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shop import Server

from churn_assets.serving.openapi import document

ROOT = Path(__file__).parents[2]
ONLY_TRAINING = (
    "accelerate", "dagster", "datasets", "gymnasium", "matplotlib", "peft", "scipy", "sklearn",
    "stable_baselines3", "trl",
)  # fmt: skip
GENERATOR = "openapi-python-client==0.29.1"
ONLY_TEXTS = ("torch", "transformers")
READS_TEXT_MODELS = "import churn_assets.message.model.format, churn_assets.message.model.generation"
LARGEST = 600_000_000
"""Bytes of all that is installed to serve without messages; 450 MB, half of it pyarrow and pandas. To train: 2.4 GB."""
HIDES = f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {{*{ONLY_TRAINING!r}, *{ONLY_TEXTS!r}}}:
            raise ModuleNotFoundError(f"{{name}} is not installed", name=name)
sys.meta_path.insert(0, Hidden())
"""


def decides(server, customers):
    with server.client() as client:
        answer = client.post("/v1/decisions", json={"customers": customers[:3]})
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["decisions"]) == 3
        assert client.get("/v1/release").status_code == 200
        assert client.get("/docs").status_code == 200


def test_a_release_without_messages_is_served_where_no_training_library_can_be_imported(
    shop, customers, tmp_path
):
    (tmp_path / "sitecustomize.py").write_text(HIDES)
    hidden = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    for name in (*ONLY_TRAINING, *ONLY_TEXTS):
        tried = subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            env=os.environ | hidden,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        assert tried.returncode, name
    with Server(shop, environment=hidden).start() as server:
        decides(server, customers)


@pytest.mark.extras
@pytest.mark.parametrize("extra", ["serve", "serve-text"])
def test_the_extra_is_all_that_serving_needs(extra, shop, customers, tmp_path):
    source, folder = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("churn_assets", "resources", "jobs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    python = folder / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, env=alone)
    asked = shlex.split(os.environ.get("PIP_ARGS", ""))
    install = [python, "-m", "pip", "install", "--quiet", *asked, "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*install, f"{source}[{extra}]"], check=True, env=alone, cwd=tmp_path)
    (packages,) = folder.glob("lib/python*/site-packages")
    absent = ONLY_TRAINING if extra == "serve-text" else ONLY_TRAINING + ONLY_TEXTS
    assert not [name for name in absent if (packages / name).exists()]
    if extra == "serve":
        size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
        assert size < LARGEST
    if (
        extra == "serve-text"
    ):  # the shop's releases write nothing: what reads a model that does is imported at least
        subprocess.run([python, "-c", READS_TEXT_MODELS], check=True, env=alone, cwd=tmp_path)
    with Server(shop, environment={"PYTHONPATH": ""}, churn=folder / "bin" / "churn").start() as server:
        decides(server, customers)


@pytest.mark.extras
def test_a_client_that_is_generated_asks_as_the_docs_say(standing, customers, tmp_path):
    """In an environment of its own, as the generator pins older libraries than the project."""
    bin_, python = tmp_path / "venv" / "bin", tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    install = [python, "-m", "pip", "install", "--quiet", *shlex.split(os.environ.get("PIP_ARGS", ""))]
    subprocess.run([*install, GENERATOR], check=True)
    (tmp_path / "openapi.json").write_text(json.dumps(document(keys=True)))
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    alone["PATH"] = f"{bin_}{os.pathsep}{alone['PATH']}"  # the generator formats with its own ruff
    generate = "openapi-python-client generate --path openapi.json --meta none --fail-on-warning"
    where = ["--output-path", "churn_decisions_client"]
    subprocess.run(
        [bin_ / generate.split()[0], *generate.split()[1:], *where], check=True, env=alone, cwd=tmp_path
    )
    page = (ROOT / "docs" / "serving.md").read_text()
    (snippet,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "Client" in block]
    asked = snippet.replace("http://localhost:8080", standing.url) + "\nprint(type(answer).__name__)\n"
    few = re.compile(r"customer = .*")
    for customer, answer in ((None, "ProblemDetails"), (customers[0], "DecisionsAnswer")):
        code = asked if customer is None else few.sub(lambda _, c=customer: f"customer = {c!r}", asked)
        said = subprocess.run([python, "-c", code], capture_output=True, text=True, env=alone, cwd=tmp_path)
        assert said.stdout.strip() == answer, said.stderr
