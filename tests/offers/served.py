"""Records of the decision log as a server writes them, with figures to choose."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from churn_assets.offers.records import decision_payload
from churn_assets.offers.segments import DECISIONS, OUTCOMES, Record
from churn_assets.serving.schemas import DecisionsAnswer, DecisionView, OfferView

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MENU = (0.0, 0.1, 0.3)


def decided(
    name,
    offer=0.1,
    *,
    at=NOW,
    propensities=(0.2, 0.6, 0.2),
    menu=MENU,
    price=100.0,
    last=None,
    customer=None,
    feature="price",
):
    """The record of one decision; `name` is also the customer's, unless that is given."""
    arm, who = menu.index(offer), customer or name
    question = {"customers": [{"customer_id": who, "features": {feature: price}, "last_contact": last}]}
    view = DecisionView(
        decision_id=f"{name:0>24}-0", customer_id=who, contact=offer > 0, offer_level=arm, offer_pct=offer,
        delay_months=0, churn_risk=0.3, retention_probability=0.8, acceptance_probability=0.4, expected_value=1.5,
        propensity=propensities[arm], reasons=[], assigned="policy", policy_offer_pct=offer, holdout=False,
        exploration=False, known=True, message=None,
        offers=[OfferView(pct, None, p, 0.4, 0.3, 1.0) for pct, p in zip(menu, propensities, strict=True)],
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
