"""What a comparison on live decisions says where it cannot be made: what is wrong, and nothing of a person."""

from types import SimpleNamespace

import pandas as pd

from churn_assets.customers.table import CustomerTableError
from churn_assets.monitoring import shadow
from churn_assets.release.config import PromotionPolicy


def test_a_live_decision_that_a_release_does_not_take_is_told_without_its_values(monkeypatch):
    def refuse(*_):
        raise CustomerTableError("live decisions: column 'Contract': found 'Weekly' of customer 7")

    monkeypatch.setattr(shadow, "_evidence", refuse)
    decided = pd.DataFrame({"customer_id": ["7", "8"], "decided_at": ["monday", "monday"]})
    live = SimpleNamespace(frame=decided.assign(assigned="policy"))
    rows = SimpleNamespace(frame=decided, arms=("no_contact", "call"))
    found = shadow.shadow(
        live, rows, SimpleNamespace(schema=None), [SimpleNamespace(schema=None)], PromotionPolicy(), 1
    )
    assert not found.release
    assert found.reason == (
        "they cannot be compared: the features of a live decision are none that both releases take"
    )
