"""One draw for a household: its decisions are one proof, and no rule is seen where only the draw was shared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_features_of_a_log import CONFIG
from test_outcomes import VISIT, config, loaded

from benchmarks.panel_tables import read
from churn_assets.arms import Catalogue
from churn_assets.customers.table import read_customers
from churn_assets.decision.off_policy import LoggedDecisions
from churn_assets.offers.config import OfferLogConfig, OfferLogGates
from churn_assets.offers.dependence import dependence
from churn_assets.offers.economics import Economics, catalogue
from churn_assets.offers.gates import detectable_effect, propensity_gates
from churn_assets.offers.log import OfferLogError, configured_log
from churn_assets.response.gates import HeldOutOffers

HOUSES, SIZE = 300, 6
HALF = {"no_contact": 0.5, "percent_10": 0.5}


@pytest.fixture(scope="module")
def street():
    """Customers of whom those of a house are alike."""
    rng = np.random.default_rng(1)
    house = np.repeat(np.arange(HOUSES), SIZE)
    rows = len(house)
    table = pd.DataFrame(
        {
            "account": [f"c{each}" for each in range(rows)],
            "fee": rng.uniform(20, 40, HOUSES)[house].round(2),
            "tenure": rng.integers(12, 60, HOUSES)[house],
            "plan": rng.choice(["small", "large"], HOUSES)[house],
            "use": rng.uniform(0, 10, HOUSES)[house].round(2),
            "left_on": np.where(rng.random(rows) < 0.3, "2026-01-09", None),
        }
    )
    return read(table, CONFIG, 1), house


def log_of(street, folder, **settings):
    """By lot, a house at a time; whether somebody leaves goes by the house."""
    table, house = street
    rng = np.random.default_rng(2)
    contacted = (rng.random(HOUSES) < 0.5)[house]
    leaves = rng.uniform(0, 0.8, HOUSES)[house]
    at = pd.Timestamp("2026-02-02", tz="UTC") + pd.to_timedelta(np.arange(len(house)), unit="min")
    pd.DataFrame(
        {
            "customer_id": table.ids,
            "decided_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "arm": np.where(contacted, "percent_10", "no_contact"),
            "accepted": 0,
            "churned": (rng.random(len(house)) < leaves).astype(int),
            "house": house,
        }
    ).to_csv(folder / "log.csv", index=False)
    given = {"source": "log.csv", "propensities": "randomised", "shares": HALF} | settings
    return configured_log(OfferLogConfig.model_validate(given), table, Catalogue(), folder, Economics())


def test_a_house_that_was_drawn_at_once_is_no_rule_of_targeting(street, tmp_path):
    table, _ = street
    apart = log_of(street, tmp_path)
    together = log_of(street, tmp_path, drawn_together="house")
    refused = [gate for gate in propensity_gates(apart, table, OfferLogGates()).gates if not gate.passed]
    assert any("offer_log.drawn_together" in gate.detail for gate in refused)
    assert all(gate.passed for gate in propensity_gates(together, table, OfferLogGates()).gates)
    assert dependence(together, table).p_value > 0.05


def test_its_decisions_are_one_proof_everywhere(street, tmp_path):
    table, house = street
    apart, together = log_of(street, tmp_path), log_of(street, tmp_path, drawn_together="house")
    assert detectable_effect(together) > 1.3 * detectable_effect(apart)
    assert len(np.unique(HeldOutOffers.of(table, together).customer)) <= HOUSES
    evidence = LoggedDecisions.of(together, table)
    assert pd.factorize(evidence.customer)[0].tolist() == house.tolist()
    always = np.tile([0.0, 1.0], (len(together), 1))
    errors = [
        LoggedDecisions.of(log, table).estimate(always).lift.dr.standard_error for log in (apart, together)
    ]
    assert errors[1] > 1.2 * errors[0]


def test_rows_that_are_kept_keep_who_was_drawn_together(street, tmp_path):
    together = log_of(street, tmp_path, drawn_together="house")
    some = together.where(np.arange(len(together)) % 2 == 0)
    assert len(np.unique(some.clusters(np.arange(len(some))))) == HOUSES
    plain = replace(together, frame=together.frame.drop(columns="drawn_together"))
    assert plain.clusters(np.arange(len(plain))).tolist() == list(range(len(plain)))


def test_a_column_that_is_not_there_is_named(street, tmp_path):
    with pytest.raises(OfferLogError, match="'flat'"):
        log_of(street, tmp_path, drawn_together="flat")


def test_of_one_file_it_is_no_feature(tmp_path):
    content = config(VISIT)
    content["offer_log"] |= {"drawn_together": "house"}
    content["customers"] = {"source": "mailing.csv", "exclude": ["spend"]}
    rng = np.random.default_rng(0)
    rows = 900
    pd.DataFrame(
        {
            "recency": rng.integers(1, 13, rows),
            "house": rng.integers(0, 400, rows),
            "segment": rng.choice(["No E-Mail", "Mens E-Mail", "Womens E-Mail"], rows),
            "visit": rng.integers(0, 2, rows),
            "spend": 0.0,
        }
    ).to_csv(tmp_path / "mailing.csv", index=False)
    experiment = loaded(tmp_path, content)
    customers = read_customers(experiment.customers, seed=1, root=tmp_path)
    assert "house" not in customers.schema.names
    arms = catalogue(experiment.arms, experiment.economics)
    log = configured_log(experiment.offer_log, customers, arms, tmp_path, experiment.economics)
    assert len(np.unique(log.clusters(np.arange(rows)))) < 400
