"""What was sent is held against what was assigned: each way to spoil a campaign is found, a sound one passes."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, kstest

from churn_assets.arms import Catalogue
from churn_assets.campaigns.assignment import assigned, planned_shares
from churn_assets.campaigns.check import LEAST_P, by_chance_p, check_campaign, chi_square_p
from churn_assets.campaigns.config import CampaignConfig
from churn_assets.campaigns.files import Assignment, CampaignError, campaign_log, read_assignment, read_sent
from churn_assets.customers.schema import CustomerSchema, FeatureSpec, FoldsSpec, LabelSpec
from churn_assets.deciding.chance import drawn
from churn_assets.offers.economics import Economics
from churn_assets.offers.log import as_log
from churn_assets.offers.records import LoggedOutcome

N = 4000
KEY = b"a secret of some length"
CONFIG = CampaignConfig(menu=(0.0, 0.1, 0.3), holdout_share=0.3, weekly=1000)
MENU = CONFIG.arms(Catalogue())
RNG = np.random.default_rng(0)
AGE, PLAN = RNG.uniform(18, 80, N), RNG.integers(0, 3, N).astype(float)
SENIOR = (AGE > 65).astype(float)
RISK = RNG.beta(1.2, 3.2, N)
IDS = [f"c{number}" for number in range(N)]
SCHEMA = CustomerSchema(
    id="id",
    label=LabelSpec(column="left", positive="yes", negative="no"),
    label_window_months=3,
    monthly_revenue="age",
    tenure=None,
    features=(
        FeatureSpec(name="age", kind="numeric", minimum=18, maximum=80),
        FeatureSpec(name="plan", kind="categorical", categories=("a", "b", "c"), maximum=2),
        FeatureSpec(name="senior", kind="numeric", maximum=1),
    ),
    folds=FoldsSpec(seed=0, count=5, held_out=1),
)


@pytest.fixture(scope="module")
def frame():
    shares = planned_shares(CONFIG, MENU, RISK)
    start = datetime(2026, 12, 7, tzinfo=UTC)
    return assigned(IDS, RISK, np.ones((N, 3), bool), shares, CONFIG, KEY, start)


@pytest.fixture
def assignment(frame, tmp_path):
    frame.to_csv(tmp_path / "assigned.csv", index=False)
    return read_assignment(tmp_path / "assigned.csv", MENU)


@pytest.fixture
def sent(frame):
    contacts = frame[frame["arm"] != "no_contact"][["customer_id", "arm", "decided_at"]]
    hours = pd.to_timedelta(np.random.default_rng(2).integers(0, 100, len(contacts)), unit="h")
    return contacts.assign(sent_at=pd.to_datetime(contacts["decided_at"]) + hours)


def features(assignment):
    rows = pd.Index(IDS).get_indexer(assignment.frame["customer_id"])
    return np.column_stack([AGE, PLAN, SENIOR])[rows]


def failed(assignment, sent):
    gates = check_campaign(assignment, sent, features(assignment), SCHEMA, KEY).gates
    return {gate.name for gate in gates if not gate.passed}


def test_a_campaign_that_was_sent_as_assigned_passes(assignment, sent):
    assert failed(assignment, sent) == set()


def test_rows_of_no_contact_may_stand_in_what_was_sent(assignment, frame):
    assert failed(assignment, frame[["customer_id", "arm"]]) == set()


def swapped(sent, rows):
    other = sent["arm"].map({"percent_10": "percent_30", "percent_30": "percent_10"})
    return sent.assign(arm=sent["arm"].where(~rows, other))


def extra(frame):
    held = frame[frame["arm"] == "no_contact"].head(30)
    return pd.DataFrame({"customer_id": held["customer_id"], "arm": "percent_10"})


FAULTS = {
    "unsent_share": lambda sent, frame: sent.iloc[200:],
    "sent_to_the_holdout": lambda sent, frame: pd.concat([sent, extra(frame)]),
    "sent_another_arm": lambda sent, frame: swapped(sent, np.arange(len(sent)) < 20),
    "sent_again": lambda sent, frame: pd.concat([sent, sent.head(3)]),
    "sent_unassigned": lambda sent, frame: pd.concat(
        [sent, sent.head(3).assign(customer_id=["x", "y", "z"])]
    ),
}


@pytest.mark.parametrize("gate", FAULTS)
def test_each_way_to_contaminate_a_campaign_is_found(gate, assignment, sent, frame):
    assert gate in failed(assignment, FAULTS[gate](sent, frame))


def test_all_of_them_are_found_at_once(assignment, sent, frame):
    for fault in FAULTS.values():
        sent = fault(sent, frame)
    assert set(FAULTS) <= failed(assignment, sent)


def test_a_few_mistakes_may_be_tolerated_and_more_are_not(assignment, sent, frame):
    few = FAULTS["sent_to_the_holdout"](sent, frame)
    for share, found in ((0.01, set()), (0.005, {"sent_to_the_holdout"})):
        gates = check_campaign(assignment, few, features(assignment), SCHEMA, KEY, share).gates
        assert {gate.name for gate in gates if not gate.passed} == found


def test_an_arm_that_was_sent_less_often_than_planned_is_a_sample_ratio_mismatch(assignment, sent):
    dropped = sent[(sent["arm"] != "percent_30") | (np.arange(len(sent)) % 5 > 0)]
    assert "sample_ratio" in failed(assignment, dropped)


@pytest.mark.parametrize(
    ("name", "column", "picked"),
    [
        ("age", AGE, lambda x: (x > 40) & (x < 52)),  # a middle, of which no straight line tells
        ("plan", PLAN, lambda x: x == 1),
        ("senior", SENIOR, lambda x: x == 1),
    ],
)
def test_arms_that_follow_a_feature_are_found_and_it_is_named(name, column, picked, assignment, sent):
    value = dict(zip(IDS, column, strict=True))
    chosen = picked(np.array([value[each] for each in sent["customer_id"]]))
    larger = sent.assign(arm=np.where(chosen & (np.arange(len(sent)) % 2 == 0), "percent_30", sent["arm"]))
    assert f"random_by_{name}" in failed(assignment, larger)


def test_arms_that_follow_the_time_of_sending_are_found(assignment, sent):
    late = sent.assign(sent_at=sent["sent_at"] + pd.to_timedelta((sent["arm"] == "percent_30") * 3, unit="D"))
    assert failed(assignment, late) == {"random_by_sent_at"}


def test_an_assignment_that_was_edited_is_found(assignment, sent):
    frame = assignment.frame.copy()
    frame.loc[:40, ["arm", "propensity"]] = ["percent_30", frame["propensity_percent_30"].iloc[0]]
    assert "not_as_drawn" in failed(Assignment(frame, MENU), sent)


def test_p_values_of_sound_campaigns_are_uniform():
    rng = np.random.default_rng(5)
    p = rng.dirichlet([3, 2, 2], 1500)
    group = rng.integers(0, 4, 1500)
    found = [by_chance_p(drawn(KEY, f"{each}", IDS[:1500], p)[0], p, group) for each in range(300)]
    assert kstest(found, "uniform").pvalue > 0.001
    assert LEAST_P == 0.001


@pytest.mark.parametrize("freedom", [1, 2, 3, 8, 15, 40])
def test_the_tail_of_the_chi_square_is_scipys(freedom):
    for statistic in (0.0, 0.3, 5.0, 40.0, 120.0):
        expected = chi2.sf(statistic, freedom)
        assert chi_square_p(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_groups_too_small_for_a_chi_square_are_pooled():
    p = np.full((1000, 2), 0.5)
    arm = np.random.default_rng(0).integers(0, 2, 1000)
    assert 1e-3 < by_chance_p(arm, p, np.arange(1000) // 2) <= 1


def outcomes(frame):
    rng = np.random.default_rng(3)
    return [
        LoggedOutcome(
            name, bool(rng.random() < 0.3) if arm != "no_contact" else None, bool(rng.random() < 0.2)
        )
        for name, arm in zip(frame["decision_id"], frame["arm"], strict=True)
    ]


def test_outcomes_make_the_log_that_training_reads(assignment, frame):
    told = outcomes(frame)[:-100]
    price = np.full(N, 50.0)
    log, counts = campaign_log(assignment, told, price, np.zeros(N, np.int64), Economics())
    assert counts == {"assigned": N, "without a whole outcome": 100, "written": N - 100}
    read = as_log(log, IDS, Catalogue(), simulated=False, origin="campaign")
    assert len(read) == N - 100
    assert read.frame["policy_version"].unique().tolist() == ["campaign/first"]
    alone = read.arm == 0
    assert not read.accepted[alone].any()
    assert set(np.round(read.margin[alone], 6)) == {0.0, 300.0}


def test_outcomes_that_are_of_nobody_or_contradict_are_told_at_once(assignment, frame):
    held = frame[frame["arm"] == "no_contact"]["decision_id"].iloc[0]
    name = frame["decision_id"].iloc[0]
    told = [
        LoggedOutcome("who", churned=True),
        LoggedOutcome(name, churned=True),
        LoggedOutcome(name, churned=False),
        LoggedOutcome(held, accepted=True),
    ]
    with pytest.raises(CampaignError) as error:
        campaign_log(assignment, told, np.full(N, 50.0), np.zeros(N, np.int64), Economics())
    assert len(error.value.problems) == 3


def test_an_assignment_that_is_none_says_all_that_is_wrong(frame, tmp_path):
    spoiled = frame.astype({"arm": object})
    spoiled.loc[0, "arm"] = "percent_99"
    spoiled.loc[1, "propensity_percent_10"] = 0.9
    spoiled.loc[2, "decided_at"] = "soon"
    spoiled.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(CampaignError) as error:
        read_assignment(tmp_path / "a.csv", MENU)
    assert {problem.column for problem in error.value.problems} >= {"arm", "propensity_*", "decided_at"}
    frame.drop(columns=["wave", "arm"]).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(CampaignError) as error:
        read_assignment(tmp_path / "b.csv", MENU)
    assert [problem.column for problem in error.value.problems] == ["wave", "arm"]


def test_what_was_sent_must_name_arms_of_the_campaign(tmp_path):
    pd.DataFrame({"customer_id": ["a", None], "arm": ["percent_11", "percent_10"]}).to_csv(
        tmp_path / "sent.csv", index=False
    )
    with pytest.raises(CampaignError) as error:
        read_sent(tmp_path / "sent.csv", MENU)
    assert {problem.column for problem in error.value.problems} == {"customer_id", "arm"}
    assert "'percent_11'" in str(error.value)
