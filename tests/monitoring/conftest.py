"""Fixtures of the watched shop."""

import dagster as dg
import pytest
from watched_shop import build_watched_shop


@pytest.fixture(scope="session")
def calm_shop(tmp_path_factory):
    """A shop in which nothing is wrong; tests that change it copy it."""
    return build_watched_shop(tmp_path_factory.mktemp("shop") / "calm")


@pytest.fixture
def shop(calm_shop, tmp_path):
    return calm_shop.copy_to(tmp_path / "shop")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made
