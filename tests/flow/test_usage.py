"""What making a version takes is measured, and a run whose cost is too high is known before."""

import json
import os
import subprocess
import sys

import pytest

from churn_assets.flow.usage import estimate_run
from churn_assets.store.manifest import ResourceUsage


def usage(seconds, price):
    return ResourceUsage(
        seconds=seconds,
        cpu_seconds=seconds,
        peak_memory_mb=None,
        peak_device_memory_mb=None,
        device="cpu",
        profile="local",
        hourly_price=price,
    )


MEASURED = """
import json, time
import numpy as np
from churn_assets.flow.usage import UsageMeter

before = np.ones(30_000_000)  # 240 MB, gone before the step
del before
meter = UsageMeter("local", 36.0)
held = np.ones(10_000_000)
del held
began = time.process_time()
while time.process_time() - began < 0.05:
    pass
found, after = meter.read(), UsageMeter("local", None).read()
print(json.dumps([found.model_dump(), after.model_dump(), found.cost, after.cost]))
"""


def test_time_and_the_peak_of_memory_are_those_of_the_step():
    # In a process of its own: one that ran other tests may hold freed memory, which a step takes without any growth.
    told = subprocess.run([sys.executable, "-c", MEASURED], check=True, capture_output=True, text=True).stdout
    found, after, cost, unpriced = json.loads(told)
    assert 0.05 <= found["cpu_seconds"] <= found["seconds"] + 0.02
    assert cost == pytest.approx(found["seconds"] / 100)
    assert unpriced is None
    if os.access("/proc/self/clear_refs", os.W_OK):
        assert 60 < found["peak_memory_mb"] - after["peak_memory_mb"] < 200


def test_what_lies_ahead_costs_as_long_as_last_time_at_the_price_of_today():
    found = estimate_run(
        [usage(1800, 2.0), None],
        {"risk_model": usage(3600, 1.0), "ppo_text": usage(7200, 1.0), "release": None},
        {"risk_model": 1.0, "ppo_text": 3.0, "release": 1.0},
    )
    assert (found.spent, found.ahead, found.unknown) == (
        1.0,
        {"risk_model": 1.0, "ppo_text": 6.0},
        ("release",),
    )
    assert found.total == 8.0
    assert found.refusal(8.0, "EUR") is None
    refusal = found.refusal(7.99, "EUR")
    assert "about 8.00 EUR (1.00 spent, then risk_model 1.00, ppo_text 6.00" in refusal
    assert "not known for release" in refusal
    assert "expected at most 7.99 EUR" in refusal
