"""Models that the version before stored are read, and say of themselves what they do not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from churn_assets.decision.format import PPO_DECISION
from churn_assets.response.format import ACCEPT_MODEL, EFFECT_MODEL
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.local import LocalBackend

KEPT = Path(__file__).parents[1] / "kept" / "release-5" / "store"


@pytest.fixture
def before():
    store = ArtifactStore(LocalBackend(KEPT))
    formats = {"accept_model": ACCEPT_MODEL, "effect_model": EFFECT_MODEL, "ppo_decision": PPO_DECISION}
    return {asset: store.load(store.versions("quickstart", asset)[-1], fmt) for asset, fmt in formats.items()}


def test_models_of_the_version_before_are_read_and_answer_as_they_did(before):
    # Their golden rows were replayed when they were loaded.
    assert before["accept_model"].draws == ()
    assert before["effect_model"].n_draws == 0
    assert before["effect_model"].persistence is None
    assert before["ppo_decision"].process.frailty == 0.0
    assert "offers_accepted" not in before["ppo_decision"].observation_names


def test_an_interval_of_a_model_without_draws_is_refused(before):
    model = before["effect_model"]
    nobody = np.zeros((1, len(model.schema.names)))
    with pytest.raises(ValueError, match="older than they are"):
        model.interval(nobody, np.full(1, 0.2), np.full((1, len(model.menu)), 0.2))
