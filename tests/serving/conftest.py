"""Real releases, fitted once, and real servers over them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from made_once import made_once
from shop import Server, Shop, build_shop, open_shop, questions

from churn_assets.release.bundle import RELEASE
from churn_assets.release.loaded import load_member


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Two releases that decide otherwise, and one that reads a feature less; tests must not change it."""
    return open_shop(made_once(tmp_path_factory, "serving_shop", build_shop))


@pytest.fixture
def shop(built: Shop, tmp_path: Path) -> Shop:
    """A copy, to change; the first release leads."""
    copy = built.copy_to(tmp_path / "project")
    copy.lead(copy.first)
    return copy


@pytest.fixture(scope="session")
def customers(built: Shop) -> list[dict[str, Any]]:
    """Customers whom the releases know, as they are asked about."""
    return questions(load_member(built.store, built.store.load(built.first, RELEASE).bundle, "customers"))


@pytest.fixture(scope="module")
def standing(built: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a file that change nothing; the first release leads."""
    copy = built.copy_to(tmp_path_factory.mktemp("standing") / "project")
    copy.lead(copy.first)
    with Server(copy).start() as server:
        yield server


@pytest.fixture
def client(standing: Server) -> Iterator[httpx.Client]:
    with standing.client() as found:
        yield found
