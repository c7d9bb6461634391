"""A released project behind `churn serve`, as its user meets it: curl, the docs page, promotion, rollback, messages."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import threading
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright

from benchmarks import served
from churn_assets.customers.table import read_customers
from churn_assets.experiment import load_experiment

DOCS = Path(__file__).parents[2] / "docs" / "serving.md"
CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
QUIET = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
MESSAGE_SECONDS = 2.0


@pytest.fixture
def server(project):
    """`churn serve`, after `churn promote`."""
    assert project.churn("promote", "--reason", "test").exit_code == 0
    behind = served.Project(project.root)
    behind.configure(poll_seconds=0.1, message_seconds=MESSAGE_SECONDS)
    with served.Server(behind).start() as server:
        yield server


def customers(server, number):
    experiment = load_experiment("quickstart", server.project.root / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=server.project.root)
    return served.questions(table)[:number]


def curl_of_the_docs(port):
    (command,) = re.findall(r"^```\n(curl .*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    return shlex.split(command.replace("localhost:8080", f"127.0.0.1:{port}"))


class Watcher(threading.Thread):
    """Asks again and again for one customer, and keeps which release answered."""

    def __init__(self, server, customer):
        super().__init__()
        self.server, self.customer = server, customer
        self.statuses, self.releases, self.stop = set(), [], threading.Event()

    def run(self):
        with self.server.client() as client:
            while not self.stop.is_set():
                answer = client.post("/v1/decisions?message=false", json={"customers": [self.customer]})
                self.statuses.add(answer.status_code)
                self.releases.append(answer.json()["release"])

    def wait_for(self, release):
        until = time.monotonic() + 60
        while self.releases[-1:] != [release]:
            assert time.monotonic() < until, f"{release} does not answer"
            time.sleep(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()


def look_at_the_docs_page(address):
    """As a person does: find the operation, try the example, read the answer. Nothing may come from elsewhere."""
    assert CHROMIUM is not None, "this test needs chromium"
    asked, complaints = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        page.on("request", lambda request: asked.append(request.url))
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        expect.set_options(timeout=120_000)
        page.goto(f"{address}/docs")
        for path in ("/v1/decisions", "/v1/outcomes", "/v1/release", "/v2/health/ready", "/metrics"):
            expect(page.locator(f"[data-path='{path}']")).to_be_visible()
        page.locator("[data-path='/v1/decisions']").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        answer = page.locator(".live-responses-table .highlight-code").first
        expect(answer).to_contain_text("retention_probability")
        browser.close()
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert complaints == []


def test_a_user_asks_reads_the_docs_page_promotes_another_release_while_watching_and_rolls_back(
    project, server
):
    first = httpx.get(f"{server.url}/v1/release").json()["release"]
    done = subprocess.run(curl_of_the_docs(server.port), capture_output=True, text=True, check=True)
    (decision,) = json.loads(done.stdout)["decisions"]
    assert decision["customer_id"] == "7590-VHVEG"
    assert json.loads(done.stdout)["release"] == first
    look_at_the_docs_page(server.url)
    with Watcher(server, customers(server, 1)[0]) as watcher:
        project.configure(lambda content: content["release"].update(golden_customers=5))
        assert project.run("quickstart").returncode == 0
        promoted = project.churn("promote", "--reason", "another")
        assert promoted.exit_code == 0, promoted.output
        second = f"quickstart/release/{project.newest('release').name}"
        watcher.wait_for(second)
        assert project.churn("rollback", "--reason", "complaints").exit_code == 0
        watcher.wait_for(first)
    assert watcher.statuses == {200}
    assert set(watcher.releases) == {first, second}


def test_messages_of_a_release_with_a_text_model_say_who_wrote_them_and_keep_their_time(server):
    question = {"customers": customers(server, 200)}
    with server.client() as client:
        started = time.monotonic()
        answer = client.post("/v1/decisions", json=question).json()
        took = time.monotonic() - started
        without = client.post("/v1/decisions?message=false", json=question).json()
        counted = client.get("/metrics").text
    assert [d["message"] for d in without["decisions"]] == [None] * 200
    contacted = [d for d in answer["decisions"] if d["contact"]]
    assert contacted
    assert [d["message"] for d in answer["decisions"] if not d["contact"]] == [None] * (200 - len(contacted))
    for decision in contacted:
        message = decision["message"]
        assert message["written_by"] in ("model", "template")
        assert (message["reason"] == "") == (message["written_by"] == "model")
        if message["written_by"] == "model":
            assert message["safety"]["safe"]
        assert f"{decision['arm']['terms']['share']:.0%}" in message["text"]
    assert "no text model" not in json.dumps(answer)
    assert took < MESSAGE_SECONDS + 5.0  # the decisions themselves, and a step of the model that is under way
    assert "churn_messages_total" in counted
