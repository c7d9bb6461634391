"""What the decisions of a trial say: a comparison by the design's propensities, harm by who was offered what."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_shadow import served

from churn_assets.deciding.decider import Decider
from churn_assets.gates.anytime import share_of_error
from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.reigns import reign_of, trials_beside
from churn_assets.monitoring.shadow import newest_learnable
from churn_assets.monitoring.trial import (
    TrialLook,
    comparison_number,
    look_at_trial,
)
from churn_assets.offers.live import LiveLog
from churn_assets.offers.offer_rows import OfferRows
from churn_assets.release.config import PromotionPolicy

GUARDRAILS = LiveConfig(min_outcomes=200)
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def decided(small, churn):
    """Decisions with whether the customer left, drawn by (frame) -> (n,) probabilities."""
    champion = Decider(small.models, "toy/release/champion")
    live, rows = served(small, champion)
    many = [
        (live.frame.assign(customer_id=live.frame["customer_id"] + f"-{i}"), rows.frame) for i in range(3)
    ]
    frames = pd.concat([each for each, _ in many], ignore_index=True)
    frames["decision_id"] = [f"d{place}" for place in range(len(frames))]
    frames["decided_at"] = pd.date_range("2026-11-01", "2026-11-11", len(frames), tz="UTC")
    rng = np.random.default_rng(3)
    frames["churned"] = (rng.random(len(frames)) < churn(frames)).astype(float)
    frames["margin"] = 100.0 * (1 - frames["churned"])
    features = [name for name in frames if name.startswith("feature_")]
    log = frames.drop(columns=["decision_id", "assigned", "release", *features])
    return champion, LiveLog(frames, {}), OfferRows(log, rows.arms, {})


def looked(small, churn, policy=None, **guardrails):
    champion, live, rows = decided(small, churn)
    candidate = Decider(small.models, "toy/release/candidate")
    config = GUARDRAILS.model_copy(update=guardrails)
    rule = policy or PromotionPolicy(rule="not_worse")
    return look_at_trial(live, rows, candidate, [champion], rule, config, 1)


def contacted(frame):
    return (frame["arm"] != "no_contact").to_numpy(float)


def test_a_candidate_that_harms_nobody_and_decides_as_the_champion_goes_on_or_leads(small):
    found = looked(small, lambda frame: 0.3 - 0.1 * contacted(frame))
    assert (found.harm, found.ends) == ("", "")
    assert found.shadow.release
    assert TrialLook.of(found.plain()) == found, "as a sensor remembers it"


def test_a_candidate_whose_offers_drive_customers_away_is_stopped_and_the_reason_says_by_how_much(small):
    found = looked(small, lambda frame: 0.1 + 0.6 * contacted(frame))
    assert found.ends.startswith("guardrail: lift over no contact is at most -")
    assert found.ends.endswith("decisions of the trial")
    few = looked(small, lambda frame: 0.1 + 0.6 * contacted(frame), min_outcomes=100_000)
    assert few.harm == ""


def test_harm_to_a_slice_that_others_make_up_for_is_found_by_its_name(small):
    column = next(each.name for each in small.table.schema.features if each.kind == "categorical")

    def churn(frame):
        first = (frame[f"feature_{column}"] == frame[f"feature_{column}"].iloc[0]).to_numpy()
        return 0.5 + np.where(first, 0.3, -0.5) * contacted(frame)

    level = decided(small, churn)[1].frame[f"feature_{column}"].iloc[0]
    found = looked(small, churn, slices=(column,))
    assert found.harm.startswith(f"{column} {level}: ")


def test_only_decisions_of_the_trial_count(small):
    _, live, rows = decided(small, contacted)
    middle = live.frame["decided_at"].iloc[len(live) // 2]
    whole, learned = newest_learnable([live], [rows], since=middle)
    assert whole.frame["decided_at"].min() == learned.frame["decided_at"].min() == middle


def act(seq, kind, at, **details):
    return SimpleNamespace(seq=seq, kind=kind, at=at, details=details)


def test_trials_of_a_leader_are_known_from_the_log_and_leave_its_own_time():
    day = timedelta(days=1)
    log = [
        act(1, "start", NOW, candidate="toy/release/1", record=1),
        act(2, "start", NOW + day, candidate="toy/release/2", record=2),
        act(3, "stop", NOW + 2 * day),
        act(4, "start", NOW + 3 * day, candidate="toy/release/3", record=2),
    ]
    first, second = trials_beside(log, 2)
    assert (first.seq, first.end, second.seq) == (2, NOW + 2 * day, 4)
    assert second.end.year == 9999
    head = SimpleNamespace(seq=2, release="toy/release/0", at=NOW)
    assert reign_of(head, log).without == ((NOW + day, NOW + 2 * day), (NOW + 3 * day, second.end))


@pytest.mark.parametrize("error", [0.05, 0.4])
def test_comparisons_in_trials_and_in_the_shadow_share_one_error(error):
    numbers = [comparison_number(k, trial=trial) for k in range(1, 500) for trial in (True, False)]
    assert len(set(numbers)) == len(numbers)
    assert sum(share_of_error(number, error) for number in numbers) < error
