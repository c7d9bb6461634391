"""What a page costs its reader: requests, bytes, work of a slow machine's main thread, and when something shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Page

SLOWER = 4
"""Lighthouse's phone is that many times slower than the machine that it runs on."""


@dataclass(frozen=True)
class PageWeight:
    """Of one page, loaded without a cache.

    Attributes:
        requests: Files that were asked for.
        kilobytes: Of all answers, unpacked.
        work: Seconds of the main thread's own CPU on a machine `SLOWER` times slower, whatever else the machine does.
        first_content: Seconds until something shows on that machine; grows with what else this one does.
        elements: Of the document.
    """

    requests: int
    kilobytes: float
    work: float
    first_content: float
    elements: int


@dataclass(frozen=True)
class PageBudget:
    """The most of each that a page may cost."""

    requests: int
    kilobytes: float
    work: float

    def overrun(self, weight: PageWeight) -> list[str]:
        """What is more than it may be, with both figures."""
        return [
            f"{name}: {getattr(weight, name):.4g}, at most {getattr(self, name):g}"
            for name in ("requests", "kilobytes", "work")
            if getattr(weight, name) > getattr(self, name)
        ]


def weigh(page: Page, url: str) -> PageWeight:
    """Loads a page anew and says what that cost."""
    cdp = page.context.new_cdp_session(page)
    received: dict[str, float] = {}

    def asked(told: dict[str, Any]) -> None:
        if not told["request"]["url"].startswith("data:"):  # that is a part of the page
            received[told["requestId"]] = 0.0

    def came(told: dict[str, Any]) -> None:
        if told["requestId"] in received:
            received[told["requestId"]] += told["dataLength"]

    cdp.on("Network.requestWillBeSent", asked)
    cdp.on("Network.dataReceived", came)
    cdp.send("Network.enable")
    cdp.send("Network.setCacheDisabled", {"cacheDisabled": True})
    cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto("about:blank")
    before = _metrics(cdp)
    received.clear()
    page.goto(url, wait_until="load")
    page.wait_for_timeout(200)  # what the page does at once when it is there belongs to it
    after = _metrics(cdp)
    counted = dict(received)
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(url, wait_until="load")
    painted = "performance.getEntriesByName('first-contentful-paint').map(each => each.startTime)"
    waited = 0
    # Asked from outside: the page's own policy forbids it to evaluate what a wait within it would.
    while not (at := page.evaluate(painted)):
        assert (waited := waited + 1) < 300, "nothing was painted for 15 seconds"
        page.wait_for_timeout(50)
    shown = at[0] / 1000
    cdp.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    cdp.detach()
    return PageWeight(
        requests=len(counted),
        kilobytes=sum(counted.values()) / 1000,
        work=SLOWER * (after["TaskDuration"] - before["TaskDuration"]),
        first_content=shown,
        elements=page.evaluate("document.getElementsByTagName('*').length"),
    )


def _metrics(cdp) -> dict[str, float]:
    return {each["name"]: each["value"] for each in cdp.send("Performance.getMetrics")["metrics"]}
