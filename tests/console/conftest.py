"""One shop, copied for each test that changes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_shop import Browser, ConsoleShop, Served, build_shop

from churn_assets.serving.security import RateLimit


@pytest.fixture(scope="session")
def console_built(tmp_path_factory: pytest.TempPathFactory) -> ConsoleShop:
    return build_shop(tmp_path_factory.mktemp("console") / "project")


@pytest.fixture(scope="module")
def quiet(console_built: ConsoleShop, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A worker for the tests of a file that let nothing lead."""
    served = Served(console_built.copy_to(tmp_path_factory.mktemp("quiet") / "project"))
    # Tests ask more often than people: what is bounded is tried with a worker of its own.
    served.app._console._logins = served.app._console._rate = RateLimit(10_000.0, 10_000)
    return served


@pytest.fixture
def desk(console_built: ConsoleShop, tmp_path: Path) -> Served:
    """A worker over a copy of the shop."""
    return Served(console_built.copy_to(tmp_path / "project"))


@pytest.fixture
def anna(desk: Served) -> Browser:
    return desk.browser().log_in("anna")


@pytest.fixture
def ben(desk: Served) -> Browser:
    return desk.browser().log_in("ben")


@pytest.fixture
def vera(quiet: Served) -> Browser:
    return quiet.browser().log_in("vera")
