"""Earlier offers and what came of them as features: leak-free, and the same in training and in serving."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from served import NOW, decided, told

from benchmarks.panel_tables import panel_config, read
from churn_assets.arms import ArmConfig, Catalogue
from churn_assets.customers.features import FeatureError, RowEncoder
from churn_assets.gates.metrics import auc
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.config import OfferLogConfig
from churn_assets.offers.economics import Economics
from churn_assets.offers.history import History, HistoryFeature, history_features
from churn_assets.offers.live import join
from churn_assets.offers.log import OfferLogError, configured_log
from churn_assets.offers.offer_rows import append, offer_rows
from churn_assets.response.accept import AcceptModel
from churn_assets.response.config import AcceptModelConfig
from churn_assets.response.gates import HeldOutOffers

ARMS = Catalogue(
    tuple(
        ArmConfig.model_validate(each)
        for each in (
            {"id": "mug", "terms": {"kind": "gift", "gift": "a mug", "cost": 3}},
            {"id": "call", "terms": {"kind": "contact"}, "channel": "phone"},
        )
    )
).menu(["no_contact", "mug", "call"])
WINDOW = 30.0
WANTED = {
    "offers": HistoryFeature(count="offers"),
    "mugs": HistoryFeature(count="offers", of="mug"),
    "accepted": HistoryFeature(count="accepted"),
    "soon": HistoryFeature(count="accepted", after_days=0),
    "gap": HistoryFeature(count="days_since_offer"),
}


def log(*rows):
    frame = pd.DataFrame(rows, columns=["customer_id", "day", "arm", "accepted"])
    start = pd.Timestamp("2026-01-01", tz="UTC")
    return frame.assign(decided_at=start + pd.to_timedelta(frame["day"], "D"))


def found(frame):
    return pd.DataFrame(history_features(frame, ARMS, WANTED, WINDOW))


def naive(frame):
    """A loop over all pairs of decisions."""
    rows = []
    for now in frame.itertuples():
        past = frame[(frame["customer_id"] == now.customer_id) & (frame["decided_at"] < now.decided_at)]
        past = past[past["arm"] != "no_contact"]
        days = (now.decided_at - past["decided_at"]).dt.total_seconds() / 86400
        rows.append(
            {
                "offers": float(len(past)),
                "mugs": float((past["arm"] == "mug").sum()),
                "accepted": float(((past["accepted"] == 1) & (days >= WINDOW)).sum()),
                "soon": float((past["accepted"] == 1).sum()),
                "gap": float(days.min()) if len(past) else np.nan,
            }
        )
    return pd.DataFrame(rows)


ROWS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 90),
        st.sampled_from(["no_contact", "mug", "call"]),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_they_are_what_a_loop_over_all_earlier_decisions_counts(rows):
    frame = log(
        *sorted(
            ((who, day, arm, took * (arm != "no_contact")) for who, day, arm, took in rows),
            key=lambda row: row[1],
        )
    )
    pd.testing.assert_frame_equal(found(frame), naive(frame))


def test_a_later_decision_and_one_of_the_same_moment_change_nothing():
    earlier = [("a", 0, "mug", 1), ("b", 3, "call", 0), ("a", 40, "no_contact", 0)]
    before = found(log(*earlier))
    after = found(log(*earlier, ("a", 40, "call", 1), ("a", 41, "mug", 1), ("b", 60, "mug", 1)))
    pd.testing.assert_frame_equal(after.head(3), before)


def test_what_came_of_an_offer_counts_once_its_window_is_over():
    frame = log(("a", 0, "mug", 1), ("a", 29, "no_contact", 0), ("a", 30, "no_contact", 0))
    assert found(frame)["accepted"].tolist() == [0, 0, 1]
    assert found(frame)["soon"].tolist() == [0, 1, 1]
    assert found(frame)["offers"].tolist() == [0, 1, 1]


def test_an_unknown_arm_and_a_setting_without_meaning_are_named():
    with pytest.raises(ValueError, match=r"found of: 'mugs', expected an arm or family of the log: mug"):
        history_features(log(("a", 0, "mug", 1)), ARMS, {"x": HistoryFeature(count="offers", of="mugs")}, 30)
    read = TypeAdapter(History).validate_python
    assert read({"x": "offers"}) == {"x": HistoryFeature(count="offers")}
    with pytest.raises(ValidationError, match="after_days"):
        read({"x": {"count": "offers", "after_days": 3}})


CUSTOMERS = 900
ROUNDS = 6
TABLE = panel_config(
    row_date=None, tenure=None, label={"column": "left", "positive": "yes", "window_months": 3}
)


def people(taken: np.ndarray, gap: np.ndarray):
    """Customers as they are now, with what they took so far and days since they were asked."""
    rng = np.random.default_rng(1)
    return read(
        pd.DataFrame(
            {
                "account": [f"c{each}" for each in range(CUSTOMERS)],
                "fee": rng.uniform(20, 40, CUSTOMERS).round(2),
                "plan": rng.choice(["small", "large"], CUSTOMERS),
                "taken": taken,
                "gap": gap,
                "left": np.where(rng.random(CUSTOMERS) < 0.3, "yes", "no"),
            }
        ),
        TABLE,
        1,
    )


def world(folder):
    """Whoever took an offer takes the next: nothing else tells who does. Every two months somebody is asked by lot."""
    rng = np.random.default_rng(5)
    taken, rows = np.zeros(CUSTOMERS), []
    last = np.full(CUSTOMERS, np.nan)
    for number in range(ROUNDS):
        day = 60.0 * number
        contacted = rng.random(CUSTOMERS) < 0.7
        chance = np.where(taken > 0, 0.75, 0.15)
        took = contacted & (rng.random(CUSTOMERS) < chance)
        at = pd.Timestamp("2025-01-06", tz="UTC") + pd.Timedelta(days=day)
        rows.append(
            pd.DataFrame(
                {
                    "customer_id": [f"c{each}" for each in range(CUSTOMERS)],
                    "decided_at": f"{at:%Y-%m-%d}",
                    "arm": np.where(contacted, "percent_10", "no_contact"),
                    "accepted": took.astype(int),
                    "churned": (rng.random(CUSTOMERS) < 0.2).astype(int),
                    "true_taken": taken,
                    "true_gap": day - last,
                }
            )
        )
        taken, last = taken + took, np.where(contacted, day, last)
    frame = pd.concat(rows, ignore_index=True)
    frame.drop(columns=["true_taken", "true_gap"]).to_csv(folder / "log.csv", index=False)
    return frame, taken, 60.0 * ROUNDS - last


SETTINGS = {
    "source": "log.csv",
    "propensities": "randomised",
    "shares": {"no_contact": 0.3, "percent_10": 0.7},
}
BEFORE = {"taken": {"count": "accepted", "after_days": 30}, "gap": "days_since_offer"}


def log_of(table, folder, **more):
    config = OfferLogConfig.model_validate(SETTINGS | more)
    return configured_log(config, table, Catalogue(), folder, Economics())


def test_the_log_s_histories_are_the_features_of_every_model_as_they_were_then(tmp_path):
    frame, taken, gap = world(tmp_path)
    table = people(taken, gap)
    log = log_of(table, tmp_path, history=BEFORE)
    known, row = rows_before(log, table)
    assert known.frame["taken"].to_numpy()[row].tolist() == frame["true_taken"].tolist()
    np.testing.assert_array_equal(known.frame["gap"].to_numpy()[row], frame["true_gap"])
    assert (
        known.frame["fee"].to_numpy()[row].tolist()
        == table.frame["fee"].to_numpy()[log.positions(table.ids)].tolist()
    )


def test_what_is_asked_with_is_encoded_as_it_was_learned_and_nothing_missing_is_guessed(tmp_path):
    _, taken, gap = world(tmp_path)
    table = people(taken, gap)
    known, row = rows_before(log_of(table, tmp_path, history=BEFORE), table)
    last = known.frame.iloc[row[-1]]
    asked = {name: last[name] if name == "plan" else float(last[name]) for name in table.schema.names}
    asked["gap"] = None if np.isnan(last["gap"]) else asked["gap"]
    encoder = RowEncoder(table.schema)
    np.testing.assert_array_equal(encoder.row(asked), known.X[row[-1]])
    del asked["taken"]
    with pytest.raises(FeatureError) as refused:
        encoder.row(asked)
    assert refused.value.feature == "taken"


def forecast(table, folder, **more):
    """How well held-out customers' answers are ranked."""
    log = log_of(table, folder, **more)
    model = AcceptModel.fit(table, log, AcceptModelConfig(draws=0))
    offers = HeldOutOffers.of(table, log)
    asked = offers.log.arm > 0
    recent = offers.log.prior_offers[asked].astype(float)
    told = model.predict(offers.X[asked], offers.log.arm[asked], recent)
    return auc(offers.log.accepted[asked], told)


def test_a_world_in_which_they_matter_shows_it_and_what_is_known_today_is_not_taken_for_it(tmp_path):
    _, taken, gap = world(tmp_path)
    blind = people(np.random.default_rng(3).permutation(taken), np.random.default_rng(3).permutation(gap))
    known = forecast(people(taken, gap), tmp_path, history=BEFORE)
    assert known > forecast(blind, tmp_path) + 0.15
    assert known > 0.7
    assert forecast(people(taken, gap), tmp_path) > known + 0.1, "today's count tells what was accepted later"


def test_a_feature_that_the_customers_do_not_have_is_named_with_what_to_do(tmp_path):
    _, taken, gap = world(tmp_path)
    with pytest.raises(
        OfferLogError, match=r"offer_log.history with 'took'.*'taken'|give the customers a column 'took'"
    ):
        log_of(people(taken, gap), tmp_path, history={"took": "accepted"})
    with pytest.raises(OfferLogError, match="expected an arm or family of the log: percent_10"):
        log_of(people(taken, gap), tmp_path, history={"taken": {"count": "offers", "of": "mug"}})


def test_a_served_decision_has_the_history_that_it_was_asked_with(tmp_path):
    _, taken, gap = world(tmp_path)
    table = people(taken, gap)
    log = log_of(table, tmp_path, history=BEFORE)
    asked = {"plan": "small", "taken": 2.0, "gap": None}
    menu, even = ("no_contact", "percent_10"), (0.5, 0.5)
    served = [
        decided(name, "no_contact", at=NOW + timedelta(days=number), menu=menu, propensities=even, feature="fee",
                price=30.0, customer=f"c{number}", features=asked | {"taken": float(number)})
        for number, name in enumerate("ab")
    ]  # fmt: skip
    live = join((NOW, each) for each in [*served, told("a", churned=False), told("b", churned=True)])
    now = NOW + timedelta(days=300)
    rows = offer_rows(live, Economics(), Catalogue(), "fee", now=now, features=tuple(BEFORE))
    both = append(log, rows, table.ids, table.frame)
    assert len(both) == len(log) + 2
    assert both.own_features["taken"].tolist()[-2:] == [0.0, 1.0]
    assert both.own_features["gap"].isna().tolist()[-2:] == [True, True]
    assert both.own_features["taken"].tolist()[:-2] == log.own_features["taken"].tolist()
    with pytest.raises(OfferLogError, match="found no feature never"):
        offer_rows(live, Economics(), Catalogue(), "fee", now=now, features=("never",))
