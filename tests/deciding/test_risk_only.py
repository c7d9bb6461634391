"""A release that knows the risk alone: it tells risk and drivers, and offers nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import ArmConfig, Catalogue, Condition, Gift
from churn_assets.customers.table import read_customers
from churn_assets.deciding.chance import ServedCampaign, Shares, drawn
from churn_assets.deciding.decider import (
    NO_ROLLOUT,
    Budget,
    CustomerError,
    CustomerInput,
    LastContact,
    Rollout,
)
from churn_assets.deciding.files import DESCRIPTION, TENSORS, load_models, save_models
from churn_assets.deciding.risk_only import RiskDecider, RiskModels, decider_of, risk_of_customers
from churn_assets.deciding.table import decide_rows, decide_table
from churn_assets.experiment import load_experiment
from churn_assets.release.build import as_raw
from churn_assets.release.bundle import Golden
from churn_assets.release.deciding import replay_golden
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.model import RiskModel
from churn_assets.store.errors import CorruptArtifact, GoldenMismatch
from churn_assets.store.reference import ArtifactRef
from churn_assets.tables.raw import RawTable

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 12, 7, tzinfo=UTC)
REF = ArtifactRef("first", "release", "20261207T000000Z-000000000000")


@pytest.fixture(scope="module")
def table():
    experiment = load_experiment("quickstart", ROOT / "configs")
    everybody = read_customers(experiment.customers, seed=1, root=ROOT)
    return everybody.where(np.random.default_rng(0).random(len(everybody)) < 0.2)


@pytest.fixture(scope="module")
def models(table):
    risk = RiskModel.fit(table, RiskModelConfig(kind="spline_logistic"))
    return RiskModels.build(risk.schema, risk.predictor, table.X)


@pytest.fixture
def decider(models):
    return decider_of(models, str(REF))


def asked(table, rows=slice(0, 50)):
    raw = as_raw(table).iloc[rows]
    plain = raw.astype(object).where(raw.notna(), None).to_dict("records")
    return [CustomerInput(row.pop(table.schema.id), row) for row in plain]


def test_everybody_gets_the_risk_and_no_offer_and_it_is_said_why(decider, table, models):
    decided = decider.decide(asked(table))
    assert isinstance(decider, RiskDecider)
    assert [each.risk for each in decided] == models.predictor.predict(table.X[:50]).tolist()
    for each in decided:
        assert (each.arm, each.assigned, each.propensities) == (0, "no_offer_model", (1.0,))
        assert each.retention_probability == 1 - each.risk
        assert [reason.code for reason in each.reasons] == ["risk", "no_offer_model"]


def test_a_switch_is_told_and_groups_change_nothing(decider, table):
    some = asked(table)
    kept = decider.decide(some, Rollout(b"key", holdout_share=0.5, exploration_share=0.5))
    assert kept == decider.decide(some)
    off = decider.decide(some, Rollout(b"", kill_switch=True))
    assert {each.assigned for each in off} == {"kill_switch"}


def test_an_answer_does_not_depend_on_who_else_is_asked_about(decider, table):
    some = asked(table)
    together = decider.decide(some, NO_ROLLOUT)
    assert [decider.decide([each])[0] for each in some] == together


def test_a_driver_is_what_the_risk_would_be_otherwise_if_the_feature_were_typical(models, table):
    X, names = table.X, table.schema.names
    found = models.drivers(X[:40])
    assert any(found)
    for row, drivers in enumerate(found):
        changes = [abs(each.change) for each in drivers]
        assert changes == sorted(changes, reverse=True)
        for each in drivers:
            other = X[row].copy()
            other[names.index(each.feature)] = models.typical[names.index(each.feature)]
            risk = models.predictor.predict(np.stack([X[row], other]))
            assert each.change == pytest.approx(risk[0] - risk[1])


def test_a_typical_customer_has_no_drivers(models):
    assert models.drivers(models.typical[None]) == [()]


def test_a_table_gets_risk_drivers_and_no_offer(decider, table):
    decided = decide_table(as_raw(table), decider, NOW)
    assert set(decided["decision"]) == {"no contact"}
    assert set(decided["policy"]) == {"risk_model"}
    assert decided["reasons"].str.contains("no offer model").all()
    assert decided["drivers"].str.contains("tenure [+-]").any()
    assert decided["risk"].to_numpy() == pytest.approx(risk_of_customers(decider.models, table.X))


def test_rows_that_are_wrong_are_told_and_the_others_decided(decider, table):
    raw = as_raw(table).head(5).astype({"tenure": object}).reset_index(drop=True)
    raw.loc[2, "tenure"] = "long"
    found = decide_rows(RawTable.of_frame(raw, "customers"), decider, NOW)
    assert found.decided.tolist() == [True, True, False, True, True]
    assert pd.isna(found.frame["drivers"].iloc[2])
    assert {each.column for each in found.problems} == {"tenure"}


def test_faults_name_the_customer_and_the_field(decider, table):
    some = asked(table, slice(0, 3))
    some[1] = CustomerInput("x", {**some[1].features, "tenure": "long"})
    assert {index: fault.field for index, fault in decider.faults(some).items()} == {1: "tenure"}


def test_what_is_saved_is_read_back_number_for_number(models, table, tmp_path):
    save_models(models, tmp_path)
    read = load_models(tmp_path)
    assert isinstance(read, RiskModels)
    assert np.array_equal(read.risk(table.X), models.risk(table.X))
    assert read.drivers(table.X[:20]) == models.drivers(table.X[:20])


@pytest.mark.parametrize(
    ("file", "old", "new"), [(DESCRIPTION, b'"boosting":', b'"boosted":'), (TENSORS, b"typical", b"typicel")]
)
def test_files_that_do_not_fit_together_are_refused_by_name(models, tmp_path, file, old, new):
    save_models(models, tmp_path)
    path = tmp_path / file
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    with pytest.raises(CorruptArtifact, match=file):
        load_models(tmp_path)


def test_golden_customers_are_told_the_same_again_or_the_release_is_refused(models, decider, table):
    raw = as_raw(table).head(3)
    decided = decide_table(raw, decider, NOW)[["customer_id", "arm", "risk", "acceptance", "expected_value"]]
    golden = Golden(customers=raw.to_dict("records"), decisions=decided.to_dict("records"), messages=[])
    replay_golden(golden, models, REF)
    golden.decisions[1]["risk"] += 0.01
    with pytest.raises(GoldenMismatch, match="another risk of golden customer 1"):
        replay_golden(golden, models, REF)


FIBRE = Condition(column="InternetService", one_of=("Fiber optic",))
GIFT = ArmConfig(id="fibre_gift", terms=Gift(gift="a router", cost=20.0), eligible=(FIBRE,))
MENU = Catalogue((GIFT,)).menu([0.0, 0.1, "fibre_gift"])
SHARES = Shares(MENU, np.array([0.2]), np.array([[0.4, 0.3, 0.3], [0.2, 0.1, 0.7]]))
ROLLOUT = Rollout(b"a secret of some length", holdout_share=0.3)


@pytest.fixture
def drawing(models):
    """A release that lets chance decide."""
    return decider_of(replace(models, campaign=ServedCampaign("first", SHARES)), str(REF))


def test_in_a_campaign_chance_decides_by_exact_propensities(drawing, table):
    decided = drawing.decide(asked(table, slice(0, 1200)), ROLLOUT)
    stated = np.array([each.propensities for each in decided])
    risk = np.array([each.risk for each in decided])
    fibre = (table.frame["InternetService"] == "Fiber optic").to_numpy()[:1200]
    low = np.where(fibre[:, None], [0.4, 0.3, 0.3], [0.4, 0.6, 0.0])
    high = np.where(fibre[:, None], [0.2, 0.1, 0.7], [0.2, 0.8, 0.0])
    assert stated == pytest.approx(np.where((risk >= 0.2)[:, None], high, low))
    assert {each.assigned for each in decided} == {"experiment"}
    arms = np.array([each.arm for each in decided])
    off = (np.eye(3)[arms] - stated).sum(0) / np.sqrt((stated * (1 - stated)).sum(0))
    assert np.abs(off).max() < 4
    assert (stated[np.arange(1200), arms] > 0).all()


def test_the_file_of_a_campaign_and_the_server_draw_the_same(drawing, table):
    decided = drawing.decide(asked(table, slice(0, 300)), ROLLOUT)
    stated = np.array([each.propensities for each in decided])
    arms, _ = drawn(ROLLOUT.key, "first", [each.customer_id for each in decided], stated)
    assert [each.arm for each in decided] == arms.tolist()


def test_nothing_is_said_of_arms_of_which_nothing_is_known(drawing, table):
    contacted = [each for each in drawing.decide(asked(table, slice(0, 100)), ROLLOUT) if each.arm]
    assert contacted
    for each in contacted:
        assert {reason.code for reason in each.reasons} <= {"risk", "experiment", "not_eligible"}
        assert (each.chosen.acceptance, each.chosen.expected_value) == (0.0, 0.0)
        assert each.cost > 0


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"opted_out": True}, "opted_out"),
        ({"last_contact": LastContact(2)}, "cooldown"),
        ({"offers_used": 1}, "cap_reached"),
        ({"eligible": ()}, "not_eligible"),
    ],
)
def test_rules_hold_whoever_chooses(drawing, table, changes, rule):
    decided = drawing.decide([replace(each, **changes) for each in asked(table)], ROLLOUT)
    assert {each.arm for each in decided} == {0}
    assert {each.propensities for each in decided} == {(1.0, 0.0, 0.0)}
    assert {outlook.forbidden for each in decided for outlook in each.arms[1:]} == {rule}


def test_a_budget_is_shared_so_that_no_draw_depends_on_another(drawing, table):
    some = asked(table)
    decided = drawing.decide(some, ROLLOUT, Budget(remaining=15.0 * len(some)))
    assert sum(each.cost for each in decided) <= 15.0 * len(some)
    assert {outlook.forbidden for each in decided for outlook in each.arms[2:]} <= {"budget", "not_eligible"}


def test_nobody_is_contacted_without_a_secret_or_with_the_switch(drawing, table):
    for rollout, who in ((NO_ROLLOUT, "no_offer_model"), (replace(ROLLOUT, kill_switch=True), "kill_switch")):
        decided = drawing.decide(asked(table), rollout)
        assert {(each.arm, each.assigned) for each in decided} == {(0, who)}


def test_an_unknown_arm_is_a_fault_of_the_question(drawing, table):
    some = [replace(each, eligible=("percent_10", "percent_11")) for each in asked(table, slice(0, 2))]
    with pytest.raises(CustomerError, match="eligible"):
        drawing.decide(some, ROLLOUT)
    assert {fault.field for fault in drawing.faults(some).values()} == {"eligible"}


def test_a_campaign_is_saved_with_its_release(drawing, table, tmp_path):
    save_models(drawing.models, tmp_path)
    again = decider_of(load_models(tmp_path), str(REF))
    assert again.decide(asked(table), ROLLOUT) == drawing.decide(asked(table), ROLLOUT)
