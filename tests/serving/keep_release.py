"""Makes a stored release, small, that every later version must decide and serve.

Run `PYTHONPATH=. python tests/serving/keep_release.py` once when the format of a release changes; what was kept before
stays as it is.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from benchmarks.served import EXPERIMENT, Project, fit_models, new_project, publish_release, questions
from churn_assets.customers.table import read_customers
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.table import decide_table
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import RELEASE
from churn_assets.release.deciding import load_release
from churn_assets.release.golden import COMPARED, GOLDEN_AT
from churn_assets.store.reference import ArtifactRef

KEPT = Path(__file__).parents[1] / "kept"
SECTIONS = yaml.safe_load(Path(__file__).with_name("any_offer.yaml").read_text())
CUSTOMERS, ASKED, ROWS, TIMESTEPS = 400, 40, 5_000, 8_192


def decided(project: Project, ref: ArtifactRef, customers: pd.DataFrame) -> pd.DataFrame:
    """What a release decides for customers, without exploration."""
    _, models = load_release(project.store, ref)
    return decide_table(customers, Decider(models, str(ref)), GOLDEN_AT)[list(COMPARED)]


def keep(folder: Path) -> None:
    """Trains a release of a menu of all kinds of arms and stores it with what it decides."""
    with tempfile.TemporaryDirectory() as temporary:
        project = new_project(Path(temporary) / "project")
        path = project.root / "configs" / f"{EXPERIMENT}.yaml"
        content = yaml.safe_load(path.read_text())
        content["arms"] = SECTIONS["arms"]
        content["offer_log"] = {"source": "demo_world", "menu": SECTIONS["menu"]}
        content["ppo_decision"] = content.get("ppo_decision", {}) | {"menu": SECTIONS["menu"]}
        path.write_text(yaml.safe_dump(content))
        experiment = project.experiment
        table = read_customers(experiment.customers, seed=experiment.seed, root=project.root)
        few = np.random.default_rng(0).choice(len(table), CUSTOMERS, replace=False)
        known = table.where(np.isin(np.arange(len(table)), few))
        ref = publish_release(project, fit_models(experiment, known, rows=ROWS, timesteps=TIMESTEPS, seed=1))
        project.lead(ref)
        # Most of those asked about are none of the release's.
        asked = table.where(np.isin(np.arange(len(table)), [*few[:ASKED], *range(ASKED)]))
        answers = decided(project, ref, as_raw(asked))
        shutil.copytree(project.root / ".churn" / "store", folder / "store")
        shutil.copytree(project.root / "configs", folder / "configs")
        as_raw(asked).to_csv(folder / "customers.csv", index=False)
        (folder / "questions.json").write_text(json.dumps(questions(asked)) + "\n")
        (folder / "decisions.json").write_text(json.dumps(answers.to_dict("records")) + "\n")


if __name__ == "__main__":
    keep(KEPT / RELEASE.loader.replace("/", "-"))
