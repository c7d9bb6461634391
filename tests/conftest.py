"""What every test shares: one thread, as in training; one storage server, a fresh bucket a test.

Competing threads make boosting many times slower.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcs_server import GcsServer
from hypothesis import settings
from small_models import small

__all__ = ["small"]  # a fixture

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# The same examples each time, so that a failure is the change's and not the draw's; `make test-random` draws others. A
# loaded machine takes seconds for what an idle one does in milliseconds, so no example has a deadline.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """A running storage server; tests that kill one start their own."""
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def bucket(gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an empty bucket that clients in this process and its children find; their cache is the test's own."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.url)
    monkeypatch.setenv("CHURN_CACHE_DIR", str(tmp_path / "cache"))
    return gcs_server.create_bucket()
