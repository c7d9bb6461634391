"""What is counted while serving, for Prometheus; several workers count into files of one folder."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable of the client library: where several processes count together."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_RISK_BANDS = 10


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self._registry = own
        self._requests = Counter(
            "churn_requests", "Requests answered, refused ones too.", ["route", "status"], registry=own
        )
        self._seconds = Histogram(
            "churn_request_seconds", "Time from headers to answer.", ["route"], buckets=_SECONDS, registry=own
        )
        self._arms = Counter("churn_decisions", "Decisions, by arm.", ["arm"], registry=own)
        self._risk = Counter(
            "churn_decisions_by_risk", "Decisions, by band of churn risk.", ["risk"], registry=own
        )
        self._flags = Counter(
            "churn_decisions_flagged", "Decisions under a flag, such as holdout.", ["flag"], registry=own
        )
        self._outside = Counter(
            "churn_features_outside",
            "Customers far outside of what was learned, by feature.",
            ["feature"],
            registry=own,
        )
        self._messages = Counter(
            "churn_messages", "Messages, by who wrote them and why.", ["written_by", "reason"], registry=own
        )
        self._outcomes = Counter("churn_outcomes", "Outcomes received, repeats included.", registry=own)
        self._reloads = Counter(
            "churn_reloads", "Attempts to load a release that leads the channel.", ["result"], registry=own
        )
        self._release = Gauge(
            "churn_release_info",
            "1 for the release that answers.",
            ["channel", "release"],
            registry=own,
            multiprocess_mode="livemostrecent",
        )
        self._flushes = Histogram(
            "churn_log_flush_seconds",
            "Time until the disk had a group of records.",
            buckets=_SECONDS,
            registry=own,
        )
        self._records = Counter("churn_log_records", "Records in the decision log.", registry=own)
        self._shipped = Counter("churn_log_segments_shipped", "Segments stored.", registry=own)
        self._shipping = Counter(
            "churn_log_shipping_failures", "Failed tries to store segments.", registry=own
        )
        self._torn = Counter(
            "churn_log_torn_bytes", "Bytes of unfinished writes after a crash.", registry=own
        )
        self._aside = Counter(
            "churn_log_quarantined", "Files of the log that are no segments, or rotten.", registry=own
        )
        self._failures = Counter(
            "churn_loop_failures", "Turns of background work that failed.", ["loop"], registry=own
        )
        self._success = Gauge(
            "churn_loop_last_success_timestamp_seconds",
            "When background work last succeeded.",
            ["loop"],
            registry=own,
            multiprocess_mode="livemin",
        )
        self._request_of = cache(self._requests.labels)
        self._seconds_of = cache(self._seconds.labels)
        self._arm_of = cache(self._arms.labels)
        self._risk_of = cache(self._risk.labels)
        self._flag_of = cache(self._flags.labels)
        self._message_of = cache(self._messages.labels)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._request_of(route, str(status)).inc()
        self._seconds_of(route).observe(seconds)

    def decisions(self, arms: Sequence[str], risks: Sequence[float]) -> None:
        """Customers were decided for: id of each one's arm, and risk of churn without contact."""
        for arm, number in _counts(arms):
            self._arm_of(arm).inc(number)
        for band, number in _counts([_band(risk) for risk in risks]):
            self._risk_of(band).inc(number)

    def flagged(self, flag: str) -> None:
        """A decision was made under a flag."""
        self._flag_of(flag).inc()

    def outside(self, feature: str, customers: int) -> None:
        """Customers came who lie far outside of what was learned in a feature."""
        self._outside.labels(feature).inc(customers)

    def message(self, written_by: str, reason: str) -> None:
        """A message was made."""
        self._message_of(written_by, reason).inc()

    def outcomes(self, number: int) -> None:
        """Outcomes were received."""
        self._outcomes.inc(number)

    def reload(self, result: str) -> None:
        """A release was loaded, or was not."""
        self._reloads.labels(result).inc()

    def serving(self, channel: str, release: str, before: str | None) -> None:
        """Another release answers from here on."""
        if before is not None:
            self._release.labels(channel, before).set(0)
        self._release.labels(channel, release).set(1)

    def flushed(self, records: int, seconds: float) -> None:
        """A group of records reached the disk."""
        self._records.inc(records)
        self._flushes.observe(seconds)

    def shipped(self, segments: int) -> None:
        """Segments were stored."""
        self._shipped.inc(segments)

    def shipping_failed(self) -> None:
        """Segments could not be stored; they are still here."""
        self._shipping.inc()

    def torn(self, size: int) -> None:
        """A crash had left an unfinished write."""
        self._torn.inc(size)

    def quarantined(self) -> None:
        """A file was moved out of the way of the log's segments."""
        self._aside.inc()

    def turn(self, loop: str, succeeded: bool) -> None:
        """A turn of background work is over."""
        if succeeded:
            self._success.labels(loop).set_to_current_time()
            self._failures.labels(loop)  # shows as 0 before the first failure
        else:
            self._failures.labels(loop).inc()

    def exposition(self) -> bytes:
        """All counters as Prometheus reads them: those of every worker where several count together."""
        if not os.environ.get(SHARED_FOLDER):
            return generate_latest(self._registry)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody)  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


def _counts(names: Sequence[str]) -> Iterable[tuple[str, int]]:
    """Each name with how often it occurs; most calls are about one customer."""
    return [(names[0], 1)] if len(names) == 1 else collections.Counter(names).items()


def _band(risk: float) -> str:
    return _BANDS[min(int(risk * _RISK_BANDS), _RISK_BANDS - 1)]


_BANDS = tuple(f"{each / _RISK_BANDS:g}-{(each + 1) / _RISK_BANDS:g}" for each in range(_RISK_BANDS))
