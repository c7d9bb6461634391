"""What every test shares: one thread, as in training; one storage server, a fresh bucket a test.

Competing threads make boosting many times slower.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gcs_server import GcsServer
from hypothesis import settings
from postgresql_server import ADMIN, PostgresServer
from small_models import small

__all__ = ["small"]  # a fixture

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# The same examples each time, so that a failure is the change's and not the draw's; `make test-random` draws others. A
# loaded machine takes seconds for what an idle one does in milliseconds, so no example has a deadline.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("repeatable")

# What makes a test one of the whole machinery, which `make test-fast` leaves out: it uses one of these fixtures, or
# stands in one of these files.
_WHOLE_FIXTURES = frozenset(
    {
        "address", "built", "built_site", "calm_shop", "checking_server", "daemon", "empty", "fitted", "forward",
        "gcs_server",
        "kept", "loop", "mortal_server", "postgresql_server", "project",
        "shop", "standing", "tiny_policy", "tiny_reward", "tiny_sft",
        "toy", "trained",
    }
)  # fmt: skip
_WHOLE_FILES = frozenset(
    {
        "test_accept_model", "test_adaptive", "test_automation", "test_concurrency", "test_console_acts",
        "test_console_pages", "test_console_results", "test_console_walk", "test_corpus",
        "test_crashes", "test_demo_world", "test_dg", "test_drift", "test_effect_model", "test_every_check",
        "test_faults", "test_faults_store", "test_first_campaign", "test_gcs_end_to_end", "test_generation",
        "test_grpo", "test_hostile_store", "test_intervals", "test_kept_releases", "test_likelihood",
        "test_live", "test_model_gates", "test_offer_panel", "test_panel_risk", "test_ppo",
        "test_postgres_storage", "test_precision", "test_predecessor", "test_pretrained", "test_production",
        "test_protocol_model", "test_ray_cluster",
        "test_report_page", "test_response_gates", "test_resume", "test_reward", "test_risk_config",
        "test_risk_gates", "test_risk_model", "test_risk_search", "test_served", "test_sft",
        "test_signatures", "test_simulate_command", "test_simulated_waves", "test_submit", "test_supervised",
        "test_table_gates", "test_text_formats", "test_text_ppo", "test_training_config", "test_ui",
        "test_watched_shop", "test_world_family", "test_worlds", "test_writing",
    }
)  # fmt: skip
# Minutes each: started first, so that no process is left with one of them at the end.
_LONGEST = (
    "test_every_check", "test_watched_shop", "test_automation", "test_simulated_waves", "test_store_commands",
    "test_commands", "test_crashes", "test_text_ppo",
)  # fmt: skip
_IN_BUCKET = "gcs"  # of a test that runs on both backends


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Does not even import the files of which nothing would be run: the training libraries alone take half a minute."""
    fast = "not whole" in config.option.markexpr
    return True if fast and collection_path.stem in _WHOLE_FILES else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what trains, simulates at length, or starts a server, daemon or browser `whole`; the longest come first."""
    started = {stem: place for place, stem in enumerate(_LONGEST)}
    items.sort(key=lambda item: started.get(item.path.stem, len(started)))
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = item.callspec.id.split("-") if hasattr(item, "callspec") else []
        if fixtures & _WHOLE_FIXTURES or item.path.stem in _WHOLE_FILES or _IN_BUCKET in parameters:
            item.add_marker(pytest.mark.whole)


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GcsServer]:
    """A running storage server; tests that kill one start their own."""
    server = GcsServer(tmp_path_factory.mktemp("gcs"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresServer]:
    """A running database server; tests that kill one start their own."""
    server = PostgresServer()
    server.make()
    server.start()
    yield server
    server.close()


@pytest.fixture
def postgresql(postgresql_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server with nothing in it; who may do everything in it is in the environment."""
    postgresql_server.run(
        "drop schema if exists public cascade", "create schema public", "drop schema if exists crm cascade"
    )
    monkeypatch.setenv("PGUSER", ADMIN)
    monkeypatch.setenv("PGPASSWORD", postgresql_server.password)
    return postgresql_server


@pytest.fixture
def bucket(gcs_server: GcsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an empty bucket that clients in this process and its children find; their cache is the test's own."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.url)
    monkeypatch.setenv("CHURN_CACHE_DIR", str(tmp_path / "cache"))
    return gcs_server.create_bucket()
