"""A real project, trained once: the quickstart with a smaller log and a shorter training."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from made_once import made_once
from typer.testing import CliRunner

from churn_assets.cli import app

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Project:
    """A project folder, and `churn` in it."""

    root: Path

    def churn(self, *arguments: object) -> Result:
        """In this process: for commands that train nothing."""
        return CliRunner().invoke(app, ["--root", str(self.root), *map(str, arguments)])

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """`churn run` as a person starts it, from somewhere else."""
        environment = {k: v for k, v in os.environ.items() if k not in ("DAGSTER_HOME", "CHURN_ROOT")}
        return subprocess.run(
            [Path(sys.executable).with_name("churn"), "--root", self.root, "run", *arguments],
            cwd=self.root.parent,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )

    def configure(self, change: Callable[[dict[str, Any]], None], experiment: str = "quickstart") -> None:
        path = self.root / "configs" / f"{experiment}.yaml"
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))

    def newest(self, asset: str) -> Path:
        folders = (self.root / ".churn" / "store" / "artifacts" / "quickstart" / asset).iterdir()
        return max(folders, key=lambda folder: folder.name)

    def spoil(self, asset: str, file: str) -> None:
        path = self.newest(asset) / file
        path.chmod(0o644)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def smaller(content: dict[str, Any]) -> None:
    content["offer_log"] = {"source": "demo_world", "rows": 30_000}
    content["ppo_decision"] = {
        "menu": [0.0, 0.1, 0.3],
        "episode_length": 12,
        "ppo": {"total_timesteps": 131_072},
        "gates": {"min_gain_captured": 0.5, "min_budget_share": 0.5, "min_standard_errors_lost": 0.0},
    }
    content["messages"]["rows"] = {"train": 600, "validation": 64, "test": 300}
    content["messages"]["gates"] = {"min_distinct": 300}
    content["preferences"] = {
        "source": "corpus",
        "rows": {"train": 300, "validation": 64, "test": 200},
        "gates": {"min_train": 300, "min_test": 200, "min_rule_pairs": 1},
    }
    alone = {"threads": 1}  # tests share two cores
    # Too short to learn anything: what the gates would say of it is tested where they are.
    nothing = {"min_accuracy_vs_ceiling": 0.0, "min_hard_accuracy": 0.0, "min_rule_accuracy": 0.0}
    content["sft_model"] |= {
        "max_steps": 40,
        "compute": alone,
        "gates": {"max_perplexity": 500.0, "min_offer_copied": 0.0, "prompts": 40},
    }
    content["reward_model"] = {
        "max_steps": 4,
        "compute": alone,
        "gates": nothing | {"max_judge_disagreement": 1.0, "max_error_correlation": 1.0},
    }
    content["ppo_text"] = {
        "steps": 2,
        "batch_size": 16,
        "compute": alone,
        "gates": {
            "prompts": 60, "compared_prompts": 30, "min_gain": -2.0, "min_slice_gain": -2.0, "min_kl": 0.0,
            "max_kl": 9.0, "min_ended": 0.0, "min_unique": 0.0, "max_judge_fall": 99.0, "min_judge_gain": -99.0,
            "max_unsafe": 1.0, "max_replaced": 1.0, "max_wrong_offer": 1.0,
            "max_common_sentence": 1.0, "max_same_but_for_facts": 1.0,
        },
    }  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Trained with both branches, checked and released, once for all test processes; tests must not change it."""
    return Project(made_once(tmp_path_factory, "trained", train))


def train(root: Path) -> None:
    project = Project(root)
    (project.root / "configs").mkdir(parents=True)
    for name in ("dagster.yaml", "workspace.yaml", "configs/quickstart.yaml"):
        shutil.copy(REPOSITORY / name, project.root / name)
    project.configure(smaller)
    done = project.run("quickstart")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def project(trained: Project, tmp_path: Path) -> Project:
    """A copy of the trained project, to change."""
    root = tmp_path / "project"
    shutil.copytree(trained.root, root)
    return Project(root)


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project that was never run."""
    root = tmp_path / "empty"
    (root / "configs").mkdir(parents=True)
    for name in ("dagster.yaml", "workspace.yaml", "configs/quickstart.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    return Project(root)
