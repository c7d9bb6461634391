"""The UI as a person meets it: real `dagster dev`, real Chromium, one asset materialized from its page."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

PROJECT = Path(__file__).parents[2]
CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = (
    600  # seconds; a loaded machine of two cores needs about 30, and eight other programs ten times as long
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """`dagster dev` in a folder with the project's own dagster.yaml, workspace.yaml and quickstart experiment."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    (folder / "configs").mkdir()
    shutil.copy(PROJECT / "configs" / "quickstart.yaml", folder / "configs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {"CHURN_ROOT": str(folder)}
    with (folder / "dev.log").open("w") as log:
        server = subprocess.Popen(
            [Path(sys.executable).with_name("dagster"), "dev", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(url, server, folder / "dev.log")
            yield url
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(20)
            kill_what_is_left(server.pid)


def wait_for(url, server, log):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            pytest.fail(f"dagster dev ended:\n{log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"dagster dev did not answer in {PATIENCE} s:\n{log.read_text()[-2000:]}")


def kill_what_is_left(group):
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


@pytest.fixture(scope="module")
def page(address):
    if CHROMIUM is None:
        pytest.fail("this test needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        opened = browser.new_page(viewport={"width": 1500, "height": 1000}, base_url=address)
        opened.set_default_timeout(PATIENCE * 1000)
        expect.set_options(timeout=120_000)
        foreign = []
        opened.on(
            "request", lambda request: foreign.append(request.url) if address not in request.url else None
        )
        yield opened
        assert [url for url in foreign if url.startswith("http")] == []
        browser.close()


def launches(response):
    """Is this the answer to the request that launches a run?"""
    asked = response.request.post_data or ""
    return "mutation" in asked and "launch" in asked.lower()


@pytest.fixture
def shots(tmp_path_factory):
    """Screenshots, for people to look at."""
    return Path(os.environ.get("CHURN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))


def test_the_graph_shows_the_flow_in_order(page: Page, shots):
    page.goto("/asset-groups")
    for group in ("1_customers", "2_offers", "3_risk", "4_response", "5_decision", "7_release"):
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    page.goto("/locations/churn/asset-groups/4_response/lineage")
    for asset in ("accept_model", "effect_model"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    page.screenshot(path=shots / "graph.png")


def test_an_asset_materialized_from_its_page_shows_columns_checks_and_plots(page: Page, shots):
    page.goto("/assets/customers")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Select a partition or create one").click()
    page.get_by_text("quickstart", exact=True).first.click()
    page.keyboard.press("Escape")
    with page.expect_response(launches) as answer:  # leaving the page before the answer would lose the run
        page.get_by_role("button", name="Launch 1 run").click()
    assert "error" not in answer.value.text().lower()

    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:  # the page of a check does not follow a run by itself
        page.goto("/assets/customers?view=checks&checkDetail=no_leakage")
        expect(page.get_by_text("Evaluation result")).to_be_visible()
        if page.get_by_text("Passed", exact=True).first.is_visible():
            break
        page.wait_for_timeout(2000)
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    for check in ("complete", "honest_split", "loads_and_agrees", "no_leakage"):
        expect(page.get_by_text(check, exact=True).first).to_be_visible()
    for shown in ("digest", "what_to_do", "single_feature_auc"):
        expect(page.get_by_text(shown, exact=True).first).to_be_visible()
    page.screenshot(path=shots / "check.png")
    page.get_by_text("[Show Markdown]").first.click()
    plot = page.locator("img[alt='Each feature alone against the label']")
    expect(plot).to_be_visible()
    assert plot.evaluate("image => image.complete && image.naturalWidth") > 300
    page.screenshot(path=shots / "plot.png")

    page.goto("/assets/customers?view=overview")
    expect(page.get_by_text("Months since joining.")).to_be_visible()
    expect(page.get_by_text("7,043").first).to_be_visible()
    page.screenshot(path=shots / "asset.png")
