"""The console as two people meet it: a real `churn serve`, real Chromium, from the login to the rollback."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from page_weight import PageBudget, weigh
from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.served import Server
from churn_assets.flow.registry import registry
from churn_assets.release.begin_trial import start_trial
from churn_assets.release.bundle import RELEASE

CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
HIDES = """
import sys
HIDDEN = {"dagster", "gymnasium", "matplotlib", "scipy", "sklearn", "stable_baselines3", "torch", "transformers", "trl"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Hidden())
"""
"""The walk is over what the extra `serve` installs: no library that trains, draws or orchestrates can be imported."""
ROOT = Path(__file__).parents[2]
ELSEWHERE = "https://elsewhere.example/"
"""A page of somebody else's, which a test makes itself."""
PATIENCE = 300_000
"""Milliseconds; a loaded machine needs many times what an idle one does."""


@pytest.fixture(scope="module")
def walked(console_built, tmp_path_factory):
    """A server with the console over a copy of the shop."""
    shop = console_built.copy_to(tmp_path_factory.mktemp("walk") / "project")
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "sitecustomize.py").write_text(HIDES)
    environment = {
        "CHURN_API_KEYS": str(shop.key_file),
        "CHURN_ASSIGNMENT_KEY": "k" * 32,
        "PYTHONPATH": os.pathsep.join([str(hidden), str(ROOT)]),
    }
    with Server(shop, environment=environment).start() as server:
        yield server


@pytest.fixture(scope="module")
def person(walked):
    """Opens a browser of its own for a person, on a screen; it may fetch nothing from elsewhere."""
    if CHROMIUM is None:
        pytest.fail("this test needs chromium")
    foreign = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)

        def opened(width: int = 1440, height: int = 900, scheme: str = "light") -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, base_url=walked.url
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE)
            page.on("request", lambda request: foreign.append(request.url))
            return page

        expect.set_options(timeout=PATIENCE)
        yield opened
        browser.close()
    assert [url for url in foreign if not url.startswith((walked.url, "data:", ELSEWHERE))] == []


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Screenshots, for people to look at."""
    folder = Path(os.environ.get("CHURN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(exist_ok=True)
    return folder


def log_in(page: Page, key: str) -> None:
    page.goto("/console")
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Log in").click()


def api(server: Server) -> httpx.Client:
    """As a program asks, with its own key."""
    return server.client(headers={"authorization": f"Bearer {server.project.keys['crm']}"})


def answering(server: Server) -> str:
    with api(server) as client:
        return client.get("/v1/release").json()["release"]


def until_answers(server: Server, page: Page, release: str) -> None:
    """The API and the page say so, without a restart."""
    for _ in range(600):
        if answering(server) == release:
            break
        page.wait_for_timeout(200)
    page.goto("/console/releases")
    expect(page.get_by_text("The release that leads is the one that answers.")).to_be_visible()
    expect(page.locator("section", has_text="Answers now").locator(".big")).to_have_text(
        release.rpartition("/")[2]
    )


def test_a_wrong_key_and_a_forged_request_are_refused(walked, person):
    page = person()
    log_in(page, "churn_wrong")
    expect(page.get_by_role("alert")).to_contain_text("No good key")
    log_in(page, walked.project.keys["anna"])
    expect(page.get_by_role("heading", name="Releases", exact=True)).to_be_visible()
    # A page of somebody else's that posts a form to the console, with the person's browser.
    page.route(ELSEWHERE, lambda route: route.fulfill(
        content_type="text/html",
        body=f'<form method="post" action="{walked.url}/console/acts"><input name="act" value="stop">'
        '<input name="reason" value="forged by a page"><input name="expected" value="0"><button>Win</button></form>',
    ))  # fmt: skip
    page.goto(ELSEWHERE)
    page.get_by_role("button").click()
    page.wait_for_url(f"{walked.url}/console/**")
    assert not page.get_by_text("Offers are stopped").is_visible()
    with api(walked) as client:
        assert client.get("/v1/release").json()["kill_switch"] is False
    page.context.clear_cookies()
    page.goto("/console/audit")
    expect(page.get_by_label("Your key")).to_be_visible()


def test_two_people_promote_watch_the_answer_change_and_roll_back(walked, person, shots):
    shop = walked.project
    first, second = str(shop.first), str(shop.second)
    customer = str(shop.store.load(shop.first, RELEASE).bundle.golden.customers[0]["customerID"])
    assert answering(walked) == first
    anna, ben = person(), person(390, 844, "dark")
    log_in(anna, shop.keys["anna"])
    # The verdict, then a customer, then the promotion.
    anna.get_by_role("link", name=shop.second.version).click()
    expect(anna.locator(".verdict")).to_be_visible()
    expect(anna.frame_locator("iframe").get_by_role("heading")).to_contain_text("Report of")
    anna.screenshot(path=shots / "console-release.png", full_page=True)
    anna.get_by_role("link", name="Customers").click()
    anna.get_by_label("Id of the customer").fill(customer)
    anna.get_by_role("button", name="Look up").click()
    expect(anna.get_by_text("A server answers now")).to_be_visible()
    anna.goto(f"/console/releases/{shop.second.version}")
    ask = anna.get_by_role("button", name="Ask for: promote")
    ask.click()
    assert "/console/releases/" in anna.url, "the browser asks for the reason before anything is sent"
    promote = anna.get_by_role("region", name="Promote this release")
    promote.get_by_label("Why?").fill("the lift holds, see the report")
    ask.click()
    expect(anna.get_by_text("Asked for. Another person approves it below.")).to_be_visible()
    assert not anna.get_by_role("button", name="Approve").is_visible()
    log_in(ben, shop.keys["ben"])
    ben.screenshot(path=shots / "console-approve-phone.png", full_page=True)
    ben.get_by_role("button", name="Approve request 1 and do it").click()
    expect(ben.get_by_text("It is done and written down.")).to_be_visible()
    until_answers(walked, ben, second)
    back = ben.locator("section.card", has_text="The release that led before")
    back.get_by_label("Why?").fill("complaints about calls")
    back.get_by_role("button", name="Roll back").click()
    expect(ben.get_by_text("It is done and written down.")).to_be_visible()
    until_answers(walked, ben, first)
    ben.goto("/console/audit")
    for said in (
        "complaints about calls",
        "the lift holds, see the report",
        "anna, approved by ben (console)",
    ):
        expect(ben.get_by_text(said).first).to_be_visible()


@pytest.fixture(scope="module")
def tried(walked):
    """A trial runs."""
    shop, automation = walked.project, walked.project.experiment.automation
    start_trial(
        shop.store, shop.channel, shop.second, required=registry().checks, policy=automation.promotion,
        guardrails=automation.live.model_dump_json(), actor="anna", reason="newer data", now=datetime.now(UTC),
    )  # fmt: skip
    return walked


PAGES = ("releases", "trial", "live", "spend", "customers", "decisions", "audit")
MOST = PageBudget(requests=3, kilobytes=150, work=1.0)
"""A page of the console: itself, its style, nothing else of weight."""


def test_every_page_of_the_console_is_light(tried, person):
    page, shop = person(390, 844, "light"), tried.project
    log_in(page, shop.keys["anna"])
    paths = (*PAGES, f"releases/{shop.second.version}")
    weights = {path: weigh(page, f"{tried.url}/console/{path}") for path in paths}
    assert {path: over for path, weight in weights.items() if (over := MOST.overrun(weight))} == {}


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing_and_nothing_scrolls_sideways(tried, person, shots, width, scheme):
    page, shop, found = person(width, 844, scheme), tried.project, []

    def look(name):
        page.screenshot(path=shots / f"console-{name}-{width}.png", full_page=True)
        found.extend(Axe().run(page).response["violations"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    page.goto("/console/login")
    look("login")
    log_in(page, shop.keys["anna"])
    for path in (*PAGES, f"releases/{shop.second.version}", "nothing-here"):
        page.goto(f"/console/{path}")
        look(path.replace("/", "-"))
    page.goto("/console/customers")
    golden = shop.store.load(shop.first, RELEASE).bundle.golden
    page.get_by_label("Id of the customer").fill(str(golden.customers[0]["customerID"]))
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_text("A server answers now")).to_be_visible()
    look("customer")
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []


def test_stopped_offers_reach_the_api_at_once(walked, person):
    page = person()
    log_in(page, walked.project.keys["anna"])
    stop = page.locator("section.card", has_text="Stop all offers").last
    stop.get_by_label("Why?").fill("wrong price list")
    stop.get_by_role("button", name="Stop all offers").click()
    expect(page.get_by_role("status").first).to_contain_text("Offers are stopped.")
    with api(walked) as client:
        answer = client.get("/v1/release").json()
    assert answer["kill_switch"] is True
