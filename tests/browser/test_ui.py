"""The UI as a person meets it: real `dagster dev`, real Chromium, from the graph to the report of a release."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import dagster as dg
import pytest
import yaml
from kept_release import of_kept_release
from playwright.sync_api import Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime
from report_cases import CaseShelf, facts_of, good, publish
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.definitions import Overrides, build_project
from churn_assets.release.report.shown import shown_report
from churn_assets.release.report.verdict import report_verdict
from jobs.waves import WAVES
from resources.artifacts import ArtifactIOManager, Kept
from resources.checks import display

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
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


def locations():
    """The project's own code location, and one whose training goes on when a test says so."""
    content = yaml.safe_load((PROJECT / "workspace.yaml").read_text())
    content["load_from"].append({"python_module": {"module_name": "paced_flow", "location_name": "paced"}})
    return yaml.safe_dump(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a kept release that leads, and with the project's own dagster.yaml."""
    made = of_kept_release(tmp_path_factory.mktemp("ui") / "project")
    shutil.copy(PROJECT / "dagster.yaml", made / "dagster.yaml")
    (made / "workspace.yaml").write_text(locations())
    (made / "paced").mkdir()
    (made / "paced" / "slow.yaml").write_text("seed: 1\nstore: {uri: store}\n")
    return made


@pytest.fixture(scope="module")
def address(folder):
    """`dagster dev` in the project."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {
        "CHURN_ROOT": str(folder),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(HERE)]),
    }
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


def launched(page, button):
    """Presses a button that launches a run; the run's id. Leaving the page before the answer would lose the run."""
    with page.expect_response(launches) as answer:
        page.get_by_role("button", name=button).click()
    said = answer.value.text()
    assert "error" not in said.lower()
    return re.search(r'"(?:runId|launchedRunIds|id)": ?\[?"([0-9a-f-]{36})"', said).group(1)


def materialize(page, partition):
    """From the page of an asset; the run's id."""
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Select a partition or create one").click()
    page.get_by_text(partition, exact=True).first.click()
    page.keyboard.press("Escape")
    return launched(page, "Launch 1 run")


def reload_until(page, shown):
    """For pages that do not follow a run by themselves."""
    until = time.monotonic() + PATIENCE
    while not shown.is_visible() and time.monotonic() < until:
        page.wait_for_timeout(2000)
        page.reload()
        page.wait_for_load_state("networkidle")
    expect(shown).to_be_visible()


def chosen(page, path, partition):
    """Opens a launchpad with one partition: the list is asked for anew where it has not come, as a person would."""
    option = page.get_by_text(partition, exact=True).first
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        page.get_by_placeholder("Partition").fill(partition)
        try:
            option.click(timeout=20_000)
        except NotInTime:
            continue
        return
    pytest.fail(f"the launchpad {path} offers no partition {partition}")


def edited(page, *replaced):
    """Writes over what stands in a launchpad's editor, and waits until Dagster finds nothing wrong with it."""
    editor = page.locator(".CodeMirror").first
    editor.click()
    text = editor.evaluate("each => each.CodeMirror.getValue()")
    for before, after in replaced:
        assert before in text, text
        text = text.replace(before, after)
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    expect(page.get_by_text("No errors")).to_be_visible()


@pytest.fixture
def instance(folder, monkeypatch):
    """The server's own, whose paths start at the project.

    It is not entered: what Dagster then sets for this context the browser's greenlets would not take back.
    """
    monkeypatch.chdir(folder)
    opened = dg.DagsterInstance.from_config(str(folder))
    yield opened
    opened.dispose()


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
    materialize(page, "quickstart")
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


def test_a_curve_grows_while_its_run_goes_on_and_the_failed_check_says_what_to_do(page: Page, folder, shots):
    page.goto("/assets/paced_model")
    page.goto(f"/runs/{materialize(page, 'slow')}")
    for number, told in ((1, "1 to 0.5"), (2, "1 to 0.3333")):
        expect(page.get_by_text(told)).not_to_be_visible()
        (folder / "paced" / f"after {number}").touch()
        expect(page.get_by_text(told)).to_be_visible(timeout=PATIENCE * 1000)
        expect(page.get_by_text("Started", exact=True).first).to_be_visible()
    page.screenshot(path=shots / "curve.png")
    for number in (3, 4):
        (folder / "paced" / f"after {number}").touch()
    page.get_by_text("Failure", exact=True).first.wait_for()
    page.goto("/assets/paced_model?view=checks&checkDetail=is_low")
    for shown in ("Failed", "what_to_do", "Train for longer."):
        expect(page.get_by_text(shown, exact=True).first).to_be_visible()
    page.screenshot(path=shots / "failed.png")


def test_a_launchpad_shows_every_needed_field_and_a_promotion_without_a_reason_is_refused(
    page: Page, folder, instance, shots
):
    page.goto("/locations/churn/jobs/promote/playground")
    editor = page.locator(".CodeMirror").first
    for field in ("experiment:", "actor:", "reason:", "release: latest"):
        expect(editor).to_contain_text(field)
    page.screenshot(path=shots / "launchpad.png")
    edited(page, ("experiment: ''", "experiment: quickstart"), ("actor: ''", "actor: anna"))
    run = launched(page, "Launch Run")
    page.get_by_text("Failure", exact=True).first.wait_for()
    (failed,) = [
        each for each in instance.all_logs(run) if each.dagster_event and each.dagster_event.is_step_failure
    ]
    assert "reason" in str(failed.dagster_event.step_failure_data.error)
    page.screenshot(path=shots / "no-reason.png")


def test_an_asset_is_materialized_as_its_launchpad_was_edited(page: Page, folder, instance, shots):
    instance.add_dynamic_partitions(WAVES, ["walk"])
    chosen(page, "/locations/churn/jobs/decide_wave/playground", "quickstart|walk")
    edited(page, ("release: 'champion'", "release: latest"), ("source: ''", "source: customers.csv"))
    launched(page, "Launch Run")
    page.get_by_text("Success", exact=True).first.wait_for()
    page.goto("/assets/customer_decisions?view=events")
    expect(page.get_by_text("quickstart|walk").first).to_be_visible()
    expect(page.get_by_text("79", exact=True).first).to_be_visible()  # customers of the file that was named
    page.screenshot(path=shots / "wave.png")


def test_a_run_of_the_command_line_stands_on_the_timeline(page: Page, folder, shots):
    command = [
        Path(sys.executable).with_name("churn"),
        "--root",
        str(folder),
        "run",
        "quickstart",
        "--select",
        "customers",
    ]
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    page.goto("/overview/timeline?groupBy=job")
    row = page.get_by_text("train", exact=True).first
    expect(row).to_be_visible()
    page.screenshot(path=shots / "timeline.png")


def test_the_page_of_a_release_shows_its_report_and_says_how_the_whole_is_opened(
    page: Page, folder, instance, shots, tmp_path
):
    project = build_project(Overrides(root=folder))
    (ref,) = project.store("quickstart").versions("quickstart", "release")
    shelf = CaseShelf(tmp_path)
    facts = facts_of(shelf, publish(shelf, good()))  # the kept release has no tables of its decisions
    shown = shown_report(facts, report_verdict(facts))
    context = dg.build_output_context(asset_key="release", partition_key="quickstart")
    ArtifactIOManager(project).handle_output(context, Kept(ref))
    metadata = display(shown.tables, shown.plots) | context.get_logged_metadata()
    instance.report_runless_asset_event(
        dg.AssetMaterialization("release", partition="quickstart", metadata=metadata)
    )
    page.goto("/assets/release?view=events")
    command = page.get_by_text(f"churn report {ref.version} -e quickstart --open")
    expect(command).to_be_visible()
    # The reasons stand there, and each plot of the report is a click away.
    expect(page.get_by_text("table/why", exact=True)).to_be_visible()
    expect(page.get_by_text(shown.tables["why"][0]["reason"]).first).to_be_visible()
    page.screenshot(path=shots / "release.png", full_page=True)
    row = page.locator("tr", has=page.get_by_text("plot/What is offered", exact=True)).last
    row.get_by_text("[Show Markdown]").click()
    plot = page.locator("img[alt='What is offered']")
    expect(plot).to_be_visible()
    assert plot.evaluate("image => image.complete && image.naturalWidth") > 300
    page.screenshot(path=shots / "release-plot.png")
    page.keyboard.press("Escape")
    _, *words, _ = command.inner_text().split()
    done = CliRunner().invoke(app, ["--root", str(folder), *words, "--out", str(folder / "report.html")])
    assert done.exit_code == 0, done.output
    page.goto((folder / "report.html").as_uri())
    # The kept release has no checks beside it.
    expect(page.get_by_role("heading", level=1)).to_contain_text("Do not promote: the evidence does not hold")
    page.screenshot(path=shots / "report.png")
