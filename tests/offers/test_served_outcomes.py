"""Served decisions of an experiment whose value is another outcome than leaving: told, joined and learned from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import yaml
from served import NOW, decided, told
from test_outcomes import SPEND, VISIT, config, loaded, mailing, read
from test_served_offer_log import make, serve

from churn_assets.experiment import ExperimentError, load_experiment
from churn_assets.offers.economics import OutcomeConfig, ServedTerms, catalogue
from churn_assets.offers.live import join
from churn_assets.offers.log import OfferLogError
from churn_assets.offers.offer_rows import append, offer_rows
from churn_assets.offers.outcome_file import read_outcome_file
from churn_assets.offers.records import LoggedOutcome

MENU = ("no_contact", "mens", "womens")
ASKED = {"recency": 3.0, "womens": 1.0, "channel": "Web"}


def asked_of(name, arm="mens", **more):
    """A decision by lot about the customer of a line; nobody needs to ask with the largest outcome."""
    return decided(
        name, arm, menu=MENU, propensities=(0.4, 0.3, 0.3), price=None, feature="note", features=ASKED, **more
    )


def rows(experiment, *records, reports=()):
    live = join(((NOW, record) for record in records), reports, experiment.served_terms)
    arms = catalogue(experiment.arms, experiment.economics)
    return offer_rows(live, experiment.economics, arms, "largest_outcome", now=NOW + timedelta(days=60))


def test_a_visit_that_was_told_is_a_row_with_its_worth_and_nobody_needs_to_accept_an_email(tmp_path):
    experiment, customers, log = read(tmp_path, VISIT, mailing(600))
    found = rows(
        experiment,
        asked_of("a", customer="line-2"),
        asked_of("b", "no_contact", customer="line-3", at=NOW + timedelta(days=1)),
        told("a", outcome=1),
        told("b", outcome=0),
    )
    assert found.frame["margin"].tolist() == pytest.approx([2.0 - 0.05, 0.0])
    both = append(log, found, customers.ids, customers.frame, experiment.economics.outcome)
    assert len(both) == len(log) + 2
    assert both.frame["outcome"].tolist()[-2:] == [1, 0]
    assert both.churned.tolist()[-2:] == [0, 1]
    assert both.accepted.tolist()[-2:] == [0, 0]
    assert both.of_outcome


def test_an_amount_is_learned_as_the_share_missed_and_counts_up_to_the_largest(tmp_path):
    experiment, customers, log = read(tmp_path, SPEND, mailing(600))
    found = rows(
        experiment,
        asked_of("a", customer="line-2"),
        asked_of("b", customer="line-3"),
        told("a", outcome=50.0),
        told("b", outcome=900.0),
    )
    both = append(log, found, customers.ids, customers.frame, experiment.economics.outcome)
    assert both.churned.tolist()[-2:] == pytest.approx([0.75, 0.0])
    assert both.frame["outcome"].tolist()[-2:] == pytest.approx([50.0, 200.0])
    assert both.margin.tolist()[-2:] == pytest.approx([0.5 * 50 - 0.05, 0.5 * 200 - 0.05])


def test_what_was_told_twice_and_otherwise_contradicts_and_another_kind_of_outcome_is_counted(tmp_path):
    experiment, _, _ = read(tmp_path, VISIT, mailing(600))
    found = rows(experiment, asked_of("a"), told("a", outcome=1), told("a", outcome=0))
    assert found.counts["with outcomes that contradict"] == 1
    found = rows(experiment, asked_of("a"), told("a", churned=True))
    assert found.counts["without a whole outcome"] == 1
    assert found.counts["outcomes of another kind than economics says"] == 1


def test_where_an_arm_gives_something_it_must_be_told_who_accepted():
    voucher = {"id": "voucher", "terms": {"kind": "gift", "gift": "a mug", "cost": 3}}
    experiment = config(VISIT)
    from churn_assets.arms import ArmConfig
    from churn_assets.offers.economics import Economics

    economics = Economics.model_validate(
        {"outcome": VISIT, "value_horizon_months": 1, "discount_months": 1, "margin": 1.0}
    )
    arms = [ArmConfig.model_validate(each) for each in [*experiment["arms"], voucher]]
    terms = ServedTerms.of(arms, economics, {})
    live = join(((NOW, each) for each in [asked_of("a"), told("a", outcome=1)]), (), terms)
    assert live.frame["accepted"].isna().all()
    assert live.frame["churned"].tolist() == [0]


def test_a_file_of_outcomes_has_the_experiments_own_column(tmp_path):
    path = tmp_path / "told.csv"
    path.write_text("decision_id,visit\na-0,yes\nb-0,\n", encoding="utf-8")
    visit = OutcomeConfig.model_validate(VISIT)
    assert read_outcome_file(path, outcome=visit) == [LoggedOutcome("a-0", outcome=1.0), LoggedOutcome("b-0")]
    path.write_text("decision_id,spend\na-0,12.5\n", encoding="utf-8")
    spend = OutcomeConfig.model_validate(SPEND)
    assert read_outcome_file(path, outcome=spend) == [LoggedOutcome("a-0", outcome=12.5)]
    path.write_text("decision_id,spend\na-0,-1\n", encoding="utf-8")
    with pytest.raises(OfferLogError, match=r"'spend'.*-1"):
        read_outcome_file(path, outcome=spend)
    path.write_text("decision_id,churned\na-0,1\n", encoding="utf-8")
    with pytest.raises(OfferLogError, match=r"expected one of .*spend"):
        read_outcome_file(path, outcome=spend)


def test_a_decision_is_learned_from_no_earlier_than_its_outcome_has_come(tmp_path):
    content = config(VISIT)
    content["offer_log"] |= {"decisions": {"window_days": 7}}
    with pytest.raises(ExperimentError, match=r"window_days: found 7 beside .*14"):
        loaded(tmp_path, content)


def test_the_loop_closes_for_an_email_experiment(tmp_path):
    """The asset takes in what was served, with what was posted and what a file told."""
    content = config(VISIT, channel="quickstart", store={"uri": ".churn/store"})
    content["offer_log"] |= {"decisions": {"window_days": 14, "outcomes": "told.csv"}}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    table = mailing(900)
    table.to_csv(tmp_path / "mailing.csv", index=False)
    ago = datetime.now(UTC) - timedelta(days=20)
    number, third = np.arange(3), f"{'c':0>24}-0"
    pd.DataFrame({"decision_id": [third], "visit": ["yes"]}).to_csv(tmp_path / "told.csv", index=False)
    served = [asked_of(name, at=ago, customer=f"line-{2 + n}") for name, n in zip("abc", number, strict=True)]
    serve(tmp_path, *served, told("a", outcome=1), told("b", outcome=0))
    import dagster as dg

    with dg.instance_for_test() as instance:
        found = make(tmp_path, instance)
    assert (found["metric/rows"], found["metric/served"]) == (903, 3)
    assert found["metric/outcome"] == pytest.approx((table["visit"].sum() + 2) / 903)
    assert load_experiment("quickstart", tmp_path / "configs").served_terms.asks is False
