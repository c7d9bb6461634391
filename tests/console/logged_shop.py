"""A decision log with a true lift, written into a shop's store as a server writes one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from churn_assets.offers.records import decision_payload
from churn_assets.offers.segments import DECISIONS, OUTCOMES, Segment, frame
from churn_assets.serving.schemas import (
    ArmView,
    DecisionsAnswer,
    DecisionView,
    ExpectedValueView,
    OutlookView,
)
from churn_assets.serving.shipping import ship

ARM, HELD_OUT = "percent_20", 0.2


def log_decisions(shop, release, rows=600, *, since=None, seed=0, calls=6, told=True):
    """Decisions of `rows` customers over 30 days; the offer keeps every fourth who would leave."""
    draws, since = np.random.default_rng(seed), since or datetime.now(UTC) + timedelta(minutes=5)
    folder = shop.root / ".churn" / "logged"
    for call in range(calls):
        at = since + timedelta(days=30 * call / calls)
        segment = Segment(folder, at)
        frames = []
        customers, views, outcomes = [], [], []
        for row in range(rows // calls):
            customer, held = f"c{call}-{row}", draws.random() < HELD_OUT
            left = draws.random() < (0.4 if held else 0.3)
            took = not held and draws.random() < 0.5
            customers.append({"customer_id": customer, "features": {"MonthlyCharges": 70.0}})
            views.append(_view(f"{call:012x}{row:012x}-0", customer, held))
            outcomes.append({"decision_id": views[-1].decision_id, "accepted": took, "churned": left})
        answer = DecisionsAnswer(
            release=str(release), policy="ppo_decision", simulated=False, decided_at=at, kill_switch=False,
            durable=True, decisions=views,
        )  # fmt: skip
        question = msgspec.json.encode({"customers": customers})
        frames.append(frame(DECISIONS, *decision_payload(question, msgspec.json.encode(answer))))
        if told:
            frames.append(frame(OUTCOMES, msgspec.json.encode(outcomes)))
        segment.append(frames, durable=False)
        segment.seal()
    assert ship(folder, shop.store.backend, "quickstart").shipped == calls


def _view(decision, customer, held):
    arm = "no_contact" if held else ARM
    made = ArmView(
        arm, arm, msgspec.Raw(b"{}"), None if held else "sms", 0.0 if held else 85.0,
        ExpectedValueView(0.0 if held else 12.0, 0.0, 20.0, 3.0, "USD", 12),
    )  # fmt: skip
    return DecisionView(
        decision_id=decision, customer_id=customer, contact=not held, arm=made, delay_months=0, churn_risk=0.4,
        retention_probability=0.6, acceptance_probability=0.0 if held else 0.5,
        propensity=HELD_OUT if held else 1 - HELD_OUT, reasons=[], assigned="holdout" if held else "policy",
        policy_arm=ARM, holdout=held, exploration=False, known=True, message=None,
        arms=[
            OutlookView("no_contact", None, HELD_OUT, 0.0, 0.4, 0.0, 0.0),
            OutlookView(ARM, None, 1 - HELD_OUT, 0.5, 0.3, 12.0, 3.0),
        ],
    )  # fmt: skip
