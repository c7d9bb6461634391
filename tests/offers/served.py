"""Records of the decision log as a server writes them, with figures to choose."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from churn_assets.offers.records import decision_payload
from churn_assets.offers.segments import DECISIONS, OUTCOMES, Record
from churn_assets.serving.schemas import (
    ArmView,
    DecisionsAnswer,
    DecisionView,
    ExpectedValueView,
    OutlookView,
)

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MENU = ("no_contact", "percent_10", "percent_30")


def decided(
    name,
    arm="percent_10",
    *,
    at=NOW,
    propensities=(0.2, 0.6, 0.2),
    menu=MENU,
    price=100.0,
    last=None,
    customer=None,
    feature="price",
    features=None,
):
    """The record of one decision; `name` is also the customer's, unless that is given."""
    who = customer or name
    asked = {feature: price} | (features or {})
    question = {"customers": [{"customer_id": who, "features": asked, "last_contact": last}]}
    made = ArmView(
        arm, arm, msgspec.Raw(b"{}"), "sms", 60.0, ExpectedValueView(1.5, 1.0, 2.0, 1.2, "USD", 12)
    )
    view = DecisionView(
        decision_id=f"{name:0>24}-0", customer_id=who, contact=arm != "no_contact", arm=made, delay_months=0,
        churn_risk=0.3, retention_probability=0.8, acceptance_probability=0.4, propensity=propensities[menu.index(arm)],
        reasons=[], assigned="policy", policy_arm=arm, holdout=False, exploration=False, known=True, message=None,
        arms=[OutlookView(each, None, p, 0.4, 0.3, 1.0, 0.8) for each, p in zip(menu, propensities, strict=True)],
    )  # fmt: skip
    answer = DecisionsAnswer(
        release="toy/release/1", policy="ppo_decision", simulated=False, decided_at=at, kill_switch=False,
        durable=True, decisions=[view],
    )  # fmt: skip
    return Record(
        DECISIONS, b"".join(decision_payload(msgspec.json.encode(question), msgspec.json.encode(answer)))
    )


def told(name, **outcome):
    return Record(OUTCOMES, msgspec.json.encode([{"decision_id": f"{name:0>24}-0", **outcome}]))
