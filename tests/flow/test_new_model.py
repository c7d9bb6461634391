"""A new model is one folder, and one line that says where its wall stands: everything else finds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STAGE = {
    "__init__.py": '"""How long customers stay."""\n',
    "config.py": '''"""The `loyalty:` section of an experiment."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class LoyaltyGates(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    min_months: float = 1.0


class LoyaltyConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    share: float = 0.5
    gates: LoyaltyGates = LoyaltyGates()
''',
    "model.py": '''"""Months that customers have stayed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churn_assets.customers.table import CustomerTable


@dataclass(frozen=True)
class Loyalty:
    months: float

    @classmethod
    def fit(cls, customers: CustomerTable, share: float) -> Loyalty:
        tenure = customers.frame[customers.schema.tenure].to_numpy(float)
        return cls(float(np.quantile(tenure, share)))
''',
    "format.py": '''"""How `loyalty` is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from churn_assets.loyalty.model import Loyalty
from churn_assets.store.formats import ArtifactFormat, read_json, write_json


class LoyaltyFormat(ArtifactFormat[Loyalty]):
    loader = "loyalty/1"

    def save(self, value: Loyalty, folder: Path) -> None:
        write_json({"months": value.months}, folder / "loyalty.json")

    def load(self, folder: Path) -> Loyalty:
        return Loyalty(**read_json(folder / "loyalty.json"))

    def signature(self, value: Loyalty) -> dict[str, Any]:
        return {}


LOYALTY = LoyaltyFormat()
''',
    "gates.py": '''"""What `loyalty` must prove."""

from __future__ import annotations

from churn_assets.customers.table import CustomerTable
from churn_assets.gates.report import Gate, Outcome
from churn_assets.loyalty.config import LoyaltyGates
from churn_assets.loyalty.model import Loyalty


def long_enough(model: Loyalty, customers: CustomerTable, gates: LoyaltyGates) -> Outcome:
    detail = f"{len(customers)} customers"
    return Outcome((Gate("months", model.months, ">=", gates.min_months, detail),))
''',
    "checks.py": '''"""The checks of `loyalty`."""

from churn_assets.flow.check import CheckSpec

LOYALTY = (
    CheckSpec(
        name="long_enough",
        description="Customers stay.",
        advice="Look at the tenure.",
        run="churn_assets.loyalty.gates:long_enough",
    ),
)
''',
    "assets.py": '''"""The asset `loyalty`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_assets.flow.asset import Made, Step, asset
from churn_assets.loyalty.checks import LOYALTY
from churn_assets.loyalty.config import LoyaltyConfig

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable


@asset(
    config=LoyaltyConfig,
    format="churn_assets.loyalty.format:LOYALTY",
    checks=LOYALTY,
    branch="decision",
    optional=True,
    kinds=("numpy",),
    description="Months that customers stay.",
)
def loyalty(step: Step[LoyaltyConfig], customers: CustomerTable) -> Made:
    from churn_assets.loyalty.model import Loyalty

    return Made(Loyalty.fit(customers, step.config.share))
''',
}

SEEN = """
import json, sys
from pathlib import Path
import dagster as dg
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.experiment import load_experiment
from churn_assets.flow.registry import registry
from churn_assets.release.evidence import gather
from churn_assets.release.report.facts import MemberView, ReportFacts
from churn_assets.release.report.page import report_page

root = Path.cwd()
overrides = Overrides(root=root)
project = build_project(overrides)
defs = build_defs(overrides, project)
specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
checks = defs.resolve_asset_graph().asset_check_keys
with dg.DagsterInstance.ephemeral() as instance:
    run = defs.resolve_job_def("train").execute_in_process(
        instance=instance,
        partition_key="quickstart",
        asset_selection=[dg.AssetKey("customers"), dg.AssetKey("loyalty")],
        raise_on_error=False,
    )
(ref,) = project.store("quickstart").versions("quickstart", "loyalty")
store = project.store("quickstart")
evidence = gather(store, ref, registry().checks)
view = MemberView("loyalty", str(ref), store.manifest(ref), evidence.reports, registry()["loyalty"].checks)
page = report_page(ReportFacts(None, "toy", ["decision"], False, "USD", [view]))
print(json.dumps({
    "names": registry().names,
    "groups": [specs[name].group_name for name in registry().names],
    "checks": sorted(key.name for key in checks if key.asset_key == dg.AssetKey("loyalty")),
    "members": registry().members["decision"],
    "upstream of the release": [key.to_user_string() for key in specs["release"].deps and
        [dep.asset_key for dep in specs["release"].deps]],
    "ran": run.success,
    "problems": evidence.problems,
    "page": page,
    "without": load_experiment("exp_001_mvp", root / "configs").loyalty is None,
    "decision job": "loyalty" in {
        key.to_user_string()
        for key in defs.resolve_job_def("train_decision").asset_layer.selected_asset_keys
    },
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a stage `loyalty`."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("churn_assets", "resources", "jobs", "configs", "data"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", root)
    stage = root / "churn_assets" / "loyalty"
    stage.mkdir()
    for name, text in STAGE.items():
        (stage / name).write_text(text)
    config = root / "configs" / "quickstart.yaml"
    config.write_text(config.read_text() + "\nloyalty:\n  share: 0.6\n")
    return root


@pytest.fixture(scope="module")
def seen(project):
    """What the parts of the platform say of it."""
    done = subprocess.run(
        [sys.executable, "-c", SEEN],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_stands_in_flow_order_with_a_group_of_its_own(seen):
    assert seen["names"].index("customers") < seen["names"].index("loyalty") < seen["names"].index("release")
    assert sorted(seen["groups"]) == seen["groups"]
    assert any(group.endswith("_loyalty") for group in seen["groups"])


def test_it_is_trained_and_judged(seen):
    assert seen["ran"]
    assert seen["checks"] == ["loads_and_agrees", "long_enough"]
    assert seen["problems"] == []


def test_it_is_a_member_of_a_release_and_has_its_line_in_the_report(seen):
    assert "loyalty" in seen["members"]
    assert "loyalty" in seen["upstream of the release"]
    assert seen["decision job"]
    assert 'id="check-loyalty"' in seen["page"]


def test_an_experiment_may_go_without_what_is_optional(seen):
    assert seen["without"]


def test_the_wall_of_its_room_is_the_one_line_elsewhere(project):
    linter = Path(sys.executable).with_name("lint-imports")

    def lint():
        return subprocess.run(
            [linter, "--no-cache"], cwd=project, env=os.environ | {"PYTHONPATH": str(project)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    without = lint()
    assert without.returncode == 1
    assert "churn_assets.loyalty" in without.stdout
    text = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(
        text.replace('    "(risk)",\n', '    "(risk)",\n    "loyalty",\n')
    )
    found = lint()
    (project / "pyproject.toml").write_text(text)
    assert found.returncode == 0, found.stdout
