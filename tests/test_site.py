"""The site of the documentation: it builds without a warning, its reference says everything, and it loads nothing."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import typer
import yaml
from axe_playwright_python.sync_playwright import Axe
from page_weight import PageBudget, weigh
from playwright.sync_api import TimeoutError as NotInTime
from playwright.sync_api import sync_playwright

from churn_assets.cli import app
from churn_assets.experiment import Experiment
from churn_assets.flow.registry import registry
from docsite import architecture, reference

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
PRIVATE = ("desk", "outlook", "derived form", "lets it lead", "standing")
"""Words of the code's writers that a reader has no reason to know."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_whole_sentences_in_the_field_s_own_words(page):
    prose = CODE.sub("", page.read_text())
    assert not re.findall(r".*(?:…|\.\.\.).*", prose)
    assert [word for word in PRIVATE if re.search(rf"\b{word}\b", prose, re.IGNORECASE)] == []


def test_every_config_key_has_a_meaning():
    silent = [
        f"{path or 'experiment'}.{name}: say it below the field in {model.__module__}.{model.__name__}"
        for path, model in reference.sections(Experiment)
        for name in model.model_fields
        if not reference.meaning_of(model, name)
    ]
    assert silent == []


def test_no_meaning_of_a_key_is_kept_that_no_key_has():
    names = {name for _, model in reference.sections(Experiment) for name in model.model_fields}
    assert set(reference.FIELDS_WORDS) <= names


def test_the_page_of_keys_tells_every_section_with_defaults():
    page = reference.config_page()
    for path, _ in reference.sections(Experiment):
        assert f"## `{path}`" in page or not path
    assert (
        "| `holdout_share` | number, at least 0, below 1 | `0.0` | Customers who are never contacted" in page
    )


def test_the_page_of_the_command_tells_every_command_and_option():
    page, group = reference.cli_page(), typer.main.get_command(app)
    for name, command in group.commands.items():
        assert f"## `churn {name}" in page
        for parameter in command.params:
            assert getattr(parameter, "hidden", False) or parameter.opts[-1] in page.replace(
                f"`{parameter.name.upper()}`", parameter.opts[-1]
            )
    assert str(ROOT) not in page


def test_the_page_of_python_tells_every_name_of_the_front_door():
    import churn_assets

    page = reference.python_page()
    assert all(f"## `{name}`" in page for name in churn_assets.__all__)
    assert page.count("```") % 2 == 0


def test_the_picture_shows_every_asset_left_of_what_is_made_from_it_and_is_the_same_each_time():
    assets = registry().assets
    drawn = ET.fromstring(architecture.picture())
    told = {text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {asset.name for asset in assets} <= told
    column = architecture.columns(assets)
    for asset in assets:
        assert all(column[each] < column[asset.name] for each in (*asset.inputs, *asset.outside))
    assert architecture.picture() == architecture.picture()


@pytest.fixture(scope="module")
def built_site(tmp_path_factory):
    """The built site; nothing else may be in the folder."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Nothing."""


@pytest.fixture(scope="module")
def address(built_site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built_site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def places(entry):
    """Every page that the navigation names."""
    if isinstance(entry, str):
        return [entry]
    return [
        place for each in (entry.values() if isinstance(entry, dict) else entry) for place in places(each)
    ]


def test_every_page_of_the_navigation_is_built(built_site):
    for place in places(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]):
        assert (built_site / place).with_suffix(".html").is_file(), place


def search(page, words):
    """Types until something is found: what is typed before the page has loaded its index is lost."""
    field, found = page.get_by_placeholder("Search"), page.locator(".md-search-result__item").first
    for _ in range(12):
        field.fill("")
        field.press_sequentially(words)
        with contextlib.suppress(NotInTime):
            found.wait_for(timeout=10_000)
            return
    pytest.fail(f"the search finds no page with {words}")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.fail("this test needs chromium")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, address):
    """A page of some width that may load nothing from elsewhere."""
    opened = []

    def open_page(width=1440, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(120_000)
        page.on("request", lambda request: asked.append(request.url))
        opened.append(page)
        return page

    asked: list[str] = []
    yield open_page
    for page in opened:
        page.close()
    assert [url for url in asked if url.startswith("http") and not url.startswith(address)] == []


def every_page(built_site):
    """All pages of the site, those that are made from the code among them."""
    pages = [each.relative_to(built_site).as_posix() for each in sorted(built_site.rglob("*.html"))]
    assert len(pages) > 25
    return [each for each in pages if each != "404.html"]


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_axe_finds_nothing_on_any_page_and_none_scrolls_sideways(visit, address, built_site, width, scheme):
    page, found, wide = visit(width, scheme), [], []
    for name in every_page(built_site):
        page.goto(f"{address}/{name}")
        found += [
            (name, each["id"], each["nodes"][0]["html"][:200])
            for each in Axe().run(page).response["violations"]
        ]
        wide += [] if page.evaluate("document.documentElement.scrollWidth <= innerWidth") else [name]
    assert (found, wide) == ([], [])


MOST = PageBudget(requests=12, kilobytes=1500, work=3.0)
"""A page of the site with the theme's own style, script and fonts; the longest are made from the code."""


def test_every_page_is_light(visit, address, built_site):
    page = visit(390)
    weights = {name: weigh(page, f"{address}/{name}") for name in every_page(built_site)}
    assert {name: over for name, weight in weights.items() if (over := MOST.overrun(weight))} == {}


def test_the_search_finds_a_config_key(visit, address, built_site):
    assert "holdout_share" in (built_site / "search" / "search_index.json").read_text(), "no browser needed"
    page = visit()
    page.goto(f"{address}/index.html")
    search(page, "holdout_share")
