"""What a release report costs: seconds and size for a million decisions, from their arrays to the page.

The decisions are drawn at random; evidence of the checks is what tests keep. Making decisions is measured elsewhere
(`benchmarks.serving`).
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report import Figure, main
from churn_assets.arms import Catalogue
from churn_assets.release.decided import Decided, Segments, decision_tables
from tests.report_cases import CaseShelf, facts_of, good, publish

ROWS = 1_000_000
FEATURES, LEVELS = 16, 4


@dataclass(frozen=True)
class Drawn:
    """Decisions for customers who do not exist, and how they are told apart."""

    decided: Decided
    segments: Segments
    before: Sequence[str]


def draw(rows: int) -> Drawn:
    """Offers to about half of them."""
    rng = np.random.default_rng(0)
    menu = list(Catalogue().menu([0.0, 0.1, 0.2, 0.3]))
    risk = rng.beta(1, 3, rows)
    arm = np.where(risk > np.median(risk), rng.integers(1, len(menu), rows), 0)
    value = np.where(arm > 0, rng.normal(6, 3, rows), 0.0)
    decided = Decided(
        menu=menu,
        arm=arm,
        risk=risk,
        acceptance=np.where(arm > 0, 0.3, 0.0),
        risk_if_offered=risk * np.where(arm > 0, 0.9, 1.0),
        window=value,
        value=value,
        low=value - 4,
        high=value + 3,
        cost=np.where(arm > 0, rng.uniform(5, 60, rows), 0.0),
        eligible=np.ones(rows, bool),
        worth=arm > 0,
        stopped=np.where(arm > 0, "", "no_offer_pays"),
    )
    names = tuple(f"level {level}" for level in range(LEVELS))
    segments = {f"feature {each}": (names, rng.integers(0, LEVELS, rows)) for each in range(FEATURES)}
    fifths = tuple(f"fifth {each}" for each in range(5))
    segments["risk"] = (fifths, np.minimum((risk.argsort().argsort() * 5) // rows, 4))
    ids = np.array([each.id for each in menu])
    return Drawn(decided, segments, ids[np.roll(arm, 1)].tolist())


def measure() -> list[Figure]:
    """One report, with the drawing library loaded as in a run that trained."""
    import matplotlib.figure  # noqa: F401

    from churn_assets.release.report.page import report_page

    drawn = draw(ROWS)
    with tempfile.TemporaryDirectory() as folder:
        shelf, evidence = CaseShelf(Path(folder)), good()
        start, cpu = time.perf_counter(), time.process_time()
        told = decision_tables(drawn.decided, drawn.segments, drawn.before)
        aggregated, cpu = time.perf_counter() - start, time.process_time() - cpu
        evidence["tables"] |= told
        facts = facts_of(shelf, publish(shelf, evidence))
        start, cpu = time.perf_counter(), cpu - time.process_time()
        page = report_page(facts)
        written, cpu = time.perf_counter() - start, cpu + time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("seconds", aggregated + written, "<=", 5.0, f"{ROWS:,} decisions to one page"),
        Figure("megabytes", len(page.encode()) / 1e6, "<=", 3.0, "of the page, plots among it"),
        Figure("seconds_cpu", cpu, note="of the same: what a machine with nothing else to do takes"),
        Figure("seconds_tables", aggregated, note="from decisions to tables"),
        Figure("seconds_page", written, note="from tables to the page"),
        Figure("peak_memory_mb", peak, note="of the process"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
