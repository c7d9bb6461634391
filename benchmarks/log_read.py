"""Reading the decision log: memory while it grows to ten million decisions, and what a guardrail's tick takes by then.

The log is made as it is read, segment by segment, so that it needs no disk: calls of 200 customers with 19 features,
and the outcome of each a segment later. `CHURN_LOG_DECISIONS` makes it smaller. What is measured runs in a process of
its own: the index that sensors keep is made, guardrails look at everything, a segment is added, guardrails look again.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.report import Figure, main
from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.live import Tally, breach_in, tallied
from churn_assets.offers.decision_index import DecisionIndex, Reign
from churn_assets.offers.live import ServedLog
from churn_assets.offers.records import decision_payload
from churn_assets.offers.segments import DECISIONS, OUTCOMES, frame
from churn_assets.offers.stored_log import segment_key
from churn_assets.store.backend import ObjectInfo

EXPERIMENT, RELEASE = "toy", "toy/release/1"
CUSTOMERS, CALLS = 200, 30
A_SEGMENT = CUSTOMERS * CALLS
START = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = int(os.environ.get("CHURN_LOG_DECISIONS", "10000000"))
MENU = ("no_contact", *(f"percent_{percent}" for percent in (5, 10, 15, 20, 25, 30)))


class MadeLog:
    """The storage operations that a reader of the log uses, over segments that are made when they are asked for."""

    def __init__(self, segments: int) -> None:
        self.segments = segments
        self._made: tuple[str, bytes] = ("", b"")

    def list(self, prefix: str) -> list[str]:
        del prefix
        return [segment_key(EXPERIMENT, self._name(number)) for number in range(self.segments)]

    def info(self, key: str, most: int | None = None) -> ObjectInfo:
        del most
        return ObjectInfo(len(self._bytes(key)), 0)

    def fetch(self, key: str, size: int, destination: Path) -> str:
        del size
        destination.write_bytes(self._bytes(key))
        return ""

    def _name(self, number: int) -> str:
        return f"{START + timedelta(seconds=5 * number):%Y%m%dT%H%M%SZ}-{number:016x}"

    def _bytes(self, key: str) -> bytes:
        if self._made[0] != key:
            name = key.rsplit("/", 1)[-1].removesuffix(".log")
            self._made = (key, segment(name, int(name.rsplit("-", 1)[-1], 16)))
        return self._made[1]


def segment(name: str, number: int) -> bytes:
    """A sealed segment: calls, and the outcomes of the segment before."""
    rng = np.random.default_rng(number)
    at = START + timedelta(seconds=5 * number)
    records = [call(number, place, at, rng) for place in range(CALLS)]
    if number:
        told = [
            {"decision_id": identity(number - 1, place, who), "churned": bool(left), "accepted": bool(took)}
            for place in range(CALLS)
            for who, (left, took) in enumerate(rng.random((CUSTOMERS, 2)) < (0.2, 0.3))
        ]
        records.append(frame(OUTCOMES, msgspec.json.encode(told)))
    header = frame(b"H", json.dumps({"schema": 1, "segment": name}).encode())
    return b"".join([header, *records, frame(b"E", json.dumps({"records": len(records)}).encode())])


def identity(number: int, place: int, who: int) -> str:
    return f"{number:012x}{place:012x}-{who}"


_FEATURES = {
    f"feature_{place}": "Electronic check" if place % 3 == 0 else float(place) for place in range(18)
}
_OUTLOOK = [
    {"id": arm, "propensity": 1 / len(MENU), "churn_risk": 0.2, "expected_value": 1.5} for arm in MENU
]


def call(number: int, place: int, at: datetime, rng: np.random.Generator) -> bytes:
    """The record of one call."""
    customers, decisions = [], []
    arms, prices, ids = (
        rng.integers(0, len(MENU), CUSTOMERS),
        rng.uniform(20, 120, CUSTOMERS),
        rng.integers(0, 7_000_000, CUSTOMERS),
    )
    for who in range(CUSTOMERS):
        name, arm = f"customer-{ids[who]}", MENU[arms[who]]
        customers.append({"customer_id": name, "features": {**_FEATURES, "price": float(prices[who])}})
        decisions.append(
            {
                "decision_id": identity(number, place, who), "customer_id": name, "contact": arm != "no_contact",
                "arm": {"id": arm, "expected_value": {"amount": 1.5}}, "churn_risk": 0.2,
                "acceptance_probability": 0.3 if arm != "no_contact" else 0.0, "propensity": 1 / len(MENU),
                "assigned": "policy" if who % 4 else "exploration", "arms": _OUTLOOK,
            }
        )  # fmt: skip
    answer = {
        "release": RELEASE, "policy": "ppo_decision", "decided_at": at.isoformat(), "decisions": decisions
    }  # fmt: skip
    payload = decision_payload(msgspec.json.encode({"customers": customers}), msgspec.json.encode(answer))
    return frame(DECISIONS, *payload)


def look(log: ServedLog, judged: int) -> tuple[int, float]:
    """A guardrail's tick: how many tell by now, and the seconds it took."""
    began = time.perf_counter()
    log.refresh()
    now = datetime.now(UTC) + timedelta(days=400)
    log.index.settle(Reign(1, RELEASE, START), now, timedelta(0))
    telling = log.index.counts()[1]

    def tally(start: int, stop: int) -> Tally:
        frames = log.index.by_customer(stop) if start == 0 else [log.index.rows(start, stop, telling=True)]
        return tallied(each.assign(margin=100.0 * (1 - each["churned"])) for each in frames)

    breach_in(telling, tally, LiveConfig(max_churn_increase=1.0, max_loss=1.0), judged)
    return telling, time.perf_counter() - began


def measured(decisions: int) -> dict[str, float]:
    """In this process: a log of so many decisions, then one segment more."""
    backend = MadeLog(max(2, decisions // A_SEGMENT))
    with tempfile.TemporaryDirectory(prefix="log-read-") as folder:
        log = ServedLog(backend, EXPERIMENT, DecisionIndex(Path(folder) / "index.sqlite", "price"))  # type: ignore[arg-type]
        told, all_of_it = look(log, 0)
        backend.segments += 1
        _, one_more = look(log, told)
        read = 0
        for chunk in log.chunks(START + timedelta(days=1, seconds=5 * (backend.segments - 20))):
            read += len(chunk)
        size = sum(each.stat().st_size for each in Path(folder).iterdir())
        log.index.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "peak_mb": peak, "first_s": all_of_it, "tick_s": one_more, "told": told, "read": read, "index_mb": size / 1e6
    }  # fmt: skip


def in_a_process(decisions: int) -> dict[str, float]:
    code = f"import json; from benchmarks.log_read import measured; print(json.dumps(measured({decisions})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure() -> list[Figure]:
    """A log of `SIZE` decisions beside one of a tenth."""
    small, large = in_a_process(SIZE // 10), in_a_process(SIZE)
    return [
        Figure("log_read_decisions", SIZE),
        Figure("log_read_peak_rss_mb", large["peak_mb"], "<=", 300, "whatever the length"),
        Figure("log_read_peak_rss_tenth_mb", small["peak_mb"], note="of a tenth of the log"),
        Figure(
            "log_read_first_seconds", large["first_s"], note="the index is made, and guardrails look at all"
        ),
        Figure("guardrail_tick_seconds", large["tick_s"], note=f"{A_SEGMENT} decisions are new"),
        Figure("guardrail_tick_tenth_seconds", small["tick_s"], note="the same behind a tenth of the log"),
        Figure(
            "guardrail_tick_growth",
            large["tick_s"] / small["tick_s"],
            "<=",
            3,
            "ten times as many lie behind",
        ),
        Figure("log_read_index_mb", large["index_mb"], note="on disk"),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
