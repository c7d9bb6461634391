"""One shop, copied for each test that changes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_shop import Browser, ConsoleShop, Served, build_shop


@pytest.fixture(scope="session")
def console_built(tmp_path_factory: pytest.TempPathFactory) -> ConsoleShop:
    return build_shop(tmp_path_factory.mktemp("console") / "project")


@pytest.fixture(scope="module")
def quiet(console_built: ConsoleShop, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A worker for the tests of a file that let nothing lead."""
    return Served(console_built.copy_to(tmp_path_factory.mktemp("quiet") / "project"))


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
