"""What a comparison on live decisions says where it cannot be made: what is wrong, and nothing of a person."""

from itertools import tee
from types import SimpleNamespace

import pandas as pd

from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import CustomerInput, Decider, Rollout
from churn_assets.monitoring import shadow
from churn_assets.offers.live import LiveLog
from churn_assets.offers.log import propensity_column
from churn_assets.offers.offer_rows import OfferRows
from churn_assets.release.build import as_raw
from churn_assets.release.config import PromotionPolicy


def test_a_live_decision_that_a_release_does_not_take_is_told_without_its_values(monkeypatch):
    def refuse(*_):
        raise CustomerTableError("live decisions: column 'Contract': found 'Weekly' of customer 7")

    monkeypatch.setattr(shadow, "_evidence", refuse)
    decided = pd.DataFrame({"customer_id": ["7", "8"], "decided_at": ["monday", "monday"]})
    live = SimpleNamespace(frame=decided.assign(assigned="policy", release="toy/release/champion"))
    rows = SimpleNamespace(frame=decided, arms=("no_contact", "call"))
    decider = SimpleNamespace(schema=None, release="toy/release/other")
    found = shadow.shadow(live, rows, decider, [decider], PromotionPolicy(), 1)
    assert not found.release
    assert found.reason == (
        "they cannot be compared: the features of a live decision are none that both releases take"
    )


def segment(number, rows=3):
    """The number-th segment of a log: each decision of a customer of its own."""
    names = [f"c{number}-{row}" for row in range(rows)]
    days = pd.Timestamp("2026-11-01", tz="UTC") + pd.Timedelta(days=number)
    frame = pd.DataFrame({"customer_id": names, "decided_at": days, "decision_id": names})
    return LiveLog(frame, {}), OfferRows(frame[["customer_id", "decided_at"]], ("no_contact", "call"), {})


def test_only_as_much_of_the_log_is_read_as_is_compared():
    read = []

    def newest_first():
        for number in range(9, -1, -1):
            read.append(number)
            yield segment(number)

    shown, asked = tee(newest_first())
    live, rows = shadow.newest_learnable((each for each, _ in shown), (each for _, each in asked), most=5)
    assert read == [9, 8]
    assert list(rows.frame["customer_id"]) == ["c8-1", "c8-2", "c9-0", "c9-1", "c9-2"], "in the order of time"
    assert list(live.frame["decision_id"]) == list(rows.frame["customer_id"])
    live, rows = shadow.newest_learnable([], [])
    assert (len(live), len(rows.frame)) == (0, 0)


def served(small, decider):
    """Real decisions of a release, most of them drawn by chance, over ten days; contact brings 5 and nobody leaves."""
    raw = as_raw(small.table)
    plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
    asked = [CustomerInput(row.pop(small.table.schema.id), row) for row in plain]
    decided = decider.decide(asked, Rollout(b"a secret of some length", "e", 0.1, 0.8))
    arms = decider.menu.ids
    rows = pd.DataFrame(
        {
            "decision_id": [f"d{place}" for place in range(len(asked))],
            "customer_id": [each.customer_id for each in decided],
            "decided_at": pd.date_range("2026-11-01", "2026-11-11", len(asked), tz="UTC"),
            "assigned": [each.assigned for each in decided],
            "release": [each.release for each in decided],
            "arm": [each.chosen.arm.id for each in decided],
            "prior_offers": 0,
            "margin": [100.0 + 5 * (each.arm > 0) for each in decided],
        }
    )
    chances = pd.DataFrame(
        [each.propensities for each in decided], columns=[propensity_column(arm) for arm in arms]
    )
    features = pd.DataFrame([each.features for each in asked]).add_prefix("feature_")
    whole = pd.concat([rows, chances, features], axis=1)
    log = whole.drop(columns=["decision_id", "assigned", "release", *features])
    return LiveLog(whole, {}), OfferRows(log, arms, {})


def test_a_candidate_is_compared_with_the_leaders_so_far_on_real_decisions(small):
    champion = Decider(small.models, "toy/release/champion")
    candidate = Decider(small.models, "toy/release/candidate")
    stranger = SimpleNamespace(release="toy/release/old", menu=SimpleNamespace(ids=("no_contact", "pony")))
    live, rows = served(small, champion)
    policy = PromotionPolicy(rule="not_worse")
    found = shadow.shadow(live, rows, candidate, [champion, stranger], policy, 1)
    assert (found.decisions, found.release, found.rejected) == (len(live), True, False)
    assert found.exploration > 0.7
    assert (
        found.reason
        == "as champion everywhere; toy/release/old takes other features or arms and is not held against"
    )
    waits = shadow.shadow(live, rows, candidate, [champion], PromotionPolicy(), 1)
    assert not waits.release
    assert waits.reason.startswith("not certain yet: as champion everywhere")
    (against,) = found.against
    assert (against.release, against.keeps) == ("toy/release/champion", 0.9)
