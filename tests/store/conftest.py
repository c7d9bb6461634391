"""Fixtures of the store's tests: one real, empty store per test, in a folder and in a bucket."""

from pathlib import Path

import pytest

from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture(params=["local", "gcs"])
def backend(request: pytest.FixtureRequest, root: Path) -> Backend:
    """Every backend in turn; a new one joins by one more parameter."""
    if request.param == "local":
        return LocalBackend(root)
    return GcsBackend(request.getfixturevalue("bucket"), "team/churn")


@pytest.fixture
def store(backend: Backend) -> ArtifactStore:
    return ArtifactStore(backend)
