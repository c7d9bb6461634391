"""Outcomes as they are posted: of what the experiment's value is of, and of nothing else."""

from __future__ import annotations

import asyncio
import json

import pytest

from churn_assets.offers.economics import OutcomeConfig
from churn_assets.offers.records import read_outcomes
from churn_assets.serving.app import DecisionDesk, Parts
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.problems import Problem

VISIT = OutcomeConfig(column="visit", window_days=14, worth=2.0)
SPEND = OutcomeConfig(column="spend", window_days=14, largest=200)
DECISION = "6f1c0d2e9b7a45c8d3e2f1a0-0"


class Kept:
    """A log in memory."""

    def __init__(self):
        self.payloads = []

    async def append(self, _, *payload):
        self.payloads.append(b"".join(payload))


def post(of, **told):
    """What was logged of it."""
    log = Kept()
    parts = Parts(ServingConfig(), None, None, None, log, None, Metrics(), None, lambda: None, outcome=of)
    body = json.dumps({"outcomes": [{"decision_id": DECISION, **told}]}).encode()
    asyncio.run(DecisionDesk(parts).record(body, b""))
    (payload,) = log.payloads
    return read_outcomes(payload)[0]


@pytest.mark.parametrize(("outcome", "value"), [(VISIT, 1), (VISIT, 0), (SPEND, 12.5), (SPEND, 900)])
def test_what_came_is_logged_in_its_own_unit(outcome, value):
    assert post(outcome, outcome=value).outcome == value


def test_a_complaint_is_told_without_an_outcome():
    assert post(VISIT, complained=True).complained


@pytest.mark.parametrize(
    ("outcome", "told", "expected"),
    [
        (VISIT, {"churned": False}, "outcomes[0].churned: found a value, expected `outcome`: visit"),
        (VISIT, {"outcome": 3}, "outcomes[0].outcome: found 3, expected 0 or 1: visit"),
        (None, {"outcome": 1}, "outcomes[0].outcome: found a value, expected `churned`"),
        (SPEND, {"outcome": -1}, "outcome"),
    ],
)
def test_what_the_value_is_not_of_is_refused_by_name(outcome, told, expected):
    with pytest.raises(Problem) as refused:
        post(outcome, **told)
    assert refused.value.status == 422
    assert expected in str(refused.value.detail)
