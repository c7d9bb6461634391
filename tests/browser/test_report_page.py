"""The report as a person meets it: a wide screen, a phone, print and dark mode in real Chromium, axe-core over all."""

import os
import re
import shutil
from pathlib import Path

import pytest
from page_weight import PageBudget, weigh
from playwright.sync_api import sync_playwright
from report_cases import (
    FAULTS,
    LATER,
    CaseShelf,
    against_champion,
    by_visits,
    facts_of,
    good,
    limited,
    publish,
    without,
)

from churn_assets.release.report.page import report_page
from churn_assets.release.report.verdict import report_verdict

CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
SCREENS = {"wide": (1440, 900), "phone": (390, 844)}
TEXTS = ("messages", "preferences", "sft_model", "reward_model", "ppo_text")
MOST_PAGES = 10
TALLEST = 20_000
"""Pixels on a phone."""


def _risk_alone():
    evidence = good()
    others = [each for each in evidence["members"] if each not in ("customers", "risk_model", "release")]
    return without(evidence, *others) | {"tables": {}}


def _faulty(name):
    evidence = good()
    FAULTS[name].plant(evidence)
    return evidence


def _successor():
    evidence = good()
    against_champion(evidence, 0.37, -0.21, 0.95, 1.9)
    return evidence


def _limited():
    evidence = good()
    limited(evidence)
    return evidence


def _visits():
    evidence = good()
    by_visits(evidence)
    return evidence


CASES = {
    "another outcome": (_visits, ("promote", "0.065", "visit")),
    "limits": (_limited, ("promote", "without its limits")),
    "good": (good, ("promote", "8.28")),
    "successor": (_successor, ("discuss", "champion")),
    "no messages": (lambda: without(good(), *TEXTS), ("promote", "over no offer")),
    "risk alone": (_risk_alone, ("promote",)),
    **{
        name: (lambda name=name: _faulty(name), (fault.call, fault.words[0]))
        for name, fault in FAULTS.items()
    },
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A file for each case, with its verdict."""
    folder = tmp_path_factory.mktemp("reports")
    found = {}
    for name, (evidence, _) in CASES.items():
        shelf = CaseShelf(folder / name)
        ref = publish(shelf, evidence())
        facts = facts_of(shelf, ref, shelf.now + (FAULTS[name].after if name in FAULTS else LATER))
        path = folder / f"{name.replace(' ', '_')}.html"
        path.write_text(report_page(facts), encoding="utf-8")
        found[name] = (path, report_verdict(facts))
    return found


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.fail("this test needs chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, reports):
    """A page that shows a report; it may fetch nothing but itself."""
    contexts = []

    def show(name, screen="wide", scheme="light"):
        width, height = SCREENS[screen]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        fetched = []
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(reports[name][0].as_uri())
        assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
        return page

    yield show
    for each in contexts:
        each.close()


@pytest.fixture
def shots(tmp_path_factory):
    """Screenshots, for people to look at."""
    folder = Path(os.environ.get("CHURN_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(exist_ok=True)
    return folder


IN_VIEW = """() => [...document.querySelectorAll('h1, h2, p, li, data')]
    .filter(e => { const at = e.getBoundingClientRect(); return at.top >= 0 && at.bottom <= innerHeight && at.width })
    .map(e => e.innerText).join(' \\n ')"""


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_seen_unscrolled_names_verdict_and_fault(opened, reports, shots, name, screen):
    page = opened(name, screen)
    seen = page.evaluate(IN_VIEW)
    page.screenshot(path=shots / f"report-{name.replace(' ', '_')}-{screen}.png")
    assert reports[name][1].sentence in seen
    assert [word for word in CASES[name][1] if word.lower() not in seen.lower()] == []
    # Never sideways, and a figure at once.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert re.search(r"USD [-+]|ROC AUC", seen)


@pytest.mark.parametrize(("screen", "scheme"), [("wide", "light"), ("phone", "dark")])
@pytest.mark.parametrize("name", ["good", "successor", "unsafe text", "risk alone", "limits"])
def test_axe_finds_nothing(opened, name, screen, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(name, screen, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []


MOST = PageBudget(requests=1, kilobytes=1000, work=1.5)
"""A report is mailed and opened on a phone: one file below a megabyte, there within Lighthouse's 1.8 s."""


@pytest.mark.parametrize("name", ["successor", "limits", "leak"])
def test_a_report_is_one_light_file_that_a_slow_phone_shows_soon(browser, reports, name):
    page = browser.new_page()
    weight = weigh(page, reports[name][0].as_uri())
    page.close()
    assert MOST.overrun(weight) == []


def test_dark_mode_is_dark_and_its_plots_too(opened, shots):
    page = opened("successor", "wide", "dark")
    page.screenshot(path=shots / "report-dark.png")
    shades = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(shades[:3]) < 40


def test_a_phone_gets_cards_and_no_endless_page(opened, shots):
    page = opened("successor", "phone")
    page.screenshot(path=shots / "report-phone-whole.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollHeight") < TALLEST
    page.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "whatever is unfolded"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.grid:not(.slim) .row')).display") == "block"
    )
    # Two columns have room beside each other.
    assert page.evaluate("getComputedStyle(document.querySelector('.grid.slim .row')).display") == "table-row"


@pytest.mark.parametrize("name", ["good", "successor", "leak", "limits"])
def test_it_prints_on_ten_pages_with_every_figure(opened, shots, name):
    pdf = opened(name).pdf(prefer_css_page_size=True, path=shots / f"report-{name}.pdf")
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", pdf)) <= MOST_PAGES
