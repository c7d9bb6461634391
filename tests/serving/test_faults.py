"""A sample of the enumerated faults of the serving half; `python -m benchmarks.faults` tries all of them."""

import itertools

from benchmarks.faults import CLOCKS, STRAYS, Fault, enumerated, tried, verdicts
from churn_assets.offers.segments import Segment

SAMPLE = 80


def test_nothing_is_silent_nothing_stays_broken_and_nothing_is_lost():
    found = verdicts(SAMPLE, seed=18)
    assert len(found) == SAMPLE + len(STRAYS) + len(CLOCKS)
    assert [each for each in found if each.silent or each.unhealed or each.lost] == []


def test_every_call_is_tried_with_every_error():
    found = enumerated()
    assert len(found) >= 2_000
    assert {"os.open", "os.pwritev", "os.fsync", "os.link", "os.rename", "os.scandir"} <= {
        each.operation for each in found
    }


def test_the_injector_finds_a_loss_where_there_is_one(monkeypatch):
    """A log that acknowledges before it writes loses what was acknowledged, and that shows."""
    append = Segment.append

    def careless(self, frames, *, durable):
        try:
            append(self, frames, durable=durable)
        except OSError:
            self.records += len(frames)

    monkeypatch.setattr(Segment, "append", careless)
    calls = [Fault("os.pwritev", number, 5, lasting=True) for number in (2, 3)]
    assert any(tried(fault, itertools.count()).lost for fault in calls)
