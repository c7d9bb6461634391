"""Fixtures of the store's tests: one real local store per test."""

from pathlib import Path

import pytest

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.local import LocalBackend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> ArtifactStore:
    return ArtifactStore(LocalBackend(root))
