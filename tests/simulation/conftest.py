"""A small world run forward."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_assets.customers.table import read_customers
from churn_assets.simulation.project import Scratch
from churn_assets.simulation.waves import Forward

CONFIG = Path(__file__).parents[2] / "configs" / "loop.yaml"


@pytest.fixture
def scratch(tmp_path) -> Scratch:
    return Scratch.make(tmp_path / "project", CONFIG, {"offer_log.seed_offset": 7})


@pytest.fixture
def forward(scratch) -> Forward:
    experiment = scratch.experiment
    table = read_customers(experiment.customers, seed=experiment.seed, root=scratch.root)
    return Forward.build(table, experiment, seed=1, size=8_000, drift="competitor_shock", drift_at=2)
