"""Another outcome than leaving: an e-mail experiment with visits and spend, by config alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from churn_assets.customers.table import read_customers
from churn_assets.deciding.reasons import Reason, Told, in_words
from churn_assets.decision.off_policy import LoggedDecisions, simple_policies
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import build_tables
from churn_assets.experiment import ExperimentError, load_experiment
from churn_assets.offers.economics import catalogue
from churn_assets.offers.gates import volume_gates
from churn_assets.offers.log import OfferLogError, configured_log
from churn_assets.response.accept import AcceptModel
from churn_assets.response.config import EffectModelConfig
from churn_assets.response.effect import EffectModel, _Fitting
from churn_assets.response.gates import HeldOutOffers, accept_integrity, acceptance, effect
from churn_assets.risk.model import RiskModel

ROWS = 9000
VISIT = {"column": "visit", "window_days": 14, "worth": 2.0}
SPEND = {"column": "spend", "window_days": 14, "largest": 200}


def mailing(rows: int = ROWS, seed: int = 3) -> pd.DataFrame:
    """Customers of whom chance decided who got which e-mail: women's goods bring those who bought such before."""
    rng = np.random.default_rng(seed)
    womens = (rng.random(rows) < 0.5).astype(int)
    segment = rng.integers(3, size=rows)
    recency = rng.integers(1, 13, rows)
    chance = (
        0.25
        - 0.01 * recency
        + np.select([segment == 1, segment == 2], [0.1, np.where(womens, 0.2, 0.02)], 0.0)
    )
    visit = (rng.random(rows) < chance).astype(int)
    spend = visit * (rng.random(rows) < 0.5) * np.round(rng.gamma(2.0, 30.0, rows), 2)
    return pd.DataFrame(
        {
            "recency": recency,
            "womens": womens,
            "channel": rng.choice(["Phone", "Web"], rows),
            "segment": np.array(["No E-Mail", "Mens E-Mail", "Womens E-Mail"])[segment],
            "visit": visit,
            "spend": spend,
        }
    )


def config(outcome: dict[str, object], **changes: object) -> dict[str, object]:
    """The experiment of docs/outcomes.md."""
    other = "spend" if outcome["column"] == "visit" else "visit"
    return {
        "seed": 1,
        "store": {"uri": "store"},
        "channel": "mailing",
        "economics": {"contact_cost": 0.05, "outcome": outcome},
        "arms": [{"id": name, "terms": {"kind": "contact"}, "channel": "email"} for name in ("mens", "womens")],
        "customers": {"source": "mailing.csv", "exclude": ["segment", other], "folds": {"count": 4, "held_out": 2}},
        "offer_log": {
            "source": "mailing.csv",
            "start": "2026-03-20",
            "columns": {"arm": "segment"},
            "arm_names": {"Mens E-Mail": "mens", "Womens E-Mail": "womens", "No E-Mail": "no_contact"},
            "propensities": "randomised",
            "shares": {"no_contact": 0.3334, "mens": 0.3333, "womens": 0.3333},
        },
        "risk_model": {},
        "accept_model": {"draws": 2},
        "effect_model": {"draws": 2},
        "ppo_decision": {"menu": ["no_contact", "mens", "womens"]},
        "release": {"branches": ["decision"]},
    } | changes  # fmt: skip


def loaded(folder: Path, content: dict[str, object]):
    (folder / "mailing.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_experiment("mailing", folder)


def read(folder: Path, outcome: dict[str, object], table: pd.DataFrame | None = None):
    """The experiment, its customers and its log."""
    experiment = loaded(folder, config(outcome))
    (mailing() if table is None else table).to_csv(folder / "mailing.csv", index=False)
    customers = read_customers(experiment.customers, seed=experiment.seed, root=folder)
    arms, money = catalogue(experiment.arms, experiment.economics), experiment.economics
    return experiment, customers, configured_log(experiment.offer_log, customers, arms, folder, money)


def test_a_visit_is_worth_what_it_brings_less_the_mail_and_needs_no_answer_and_no_churn(tmp_path):
    table = mailing(600)
    _, customers, log = read(tmp_path, VISIT, table)
    assert (log.churned == 1 - table["visit"]).all()
    assert not log.accepted.any()
    assert log.margin == pytest.approx(2.0 * table["visit"] - 0.05 * (log.arm > 0))
    assert (customers.y == 1 - table["visit"]).all()
    assert {"outcome", "arm"} <= set(log.by_arm()[0])


def test_an_amount_counts_up_to_the_largest_and_its_margin_is_ours(tmp_path):
    table = mailing(600)
    table.loc[5, ["visit", "spend"]] = 1, 900.0
    _, customers, log = read(tmp_path, SPEND, table)
    counted = np.minimum(table["spend"], 200)
    assert log.churned == pytest.approx(1 - counted / 200)
    assert log.margin == pytest.approx(0.5 * counted - 0.05 * (log.arm > 0))
    more = int((table["spend"] > 200).sum())
    assert f"spend: {more} of more than 200 count as much" in log.said
    assert (customers.y == (table["spend"] == 0)).all()


def test_a_missing_column_and_an_amount_below_nothing_are_named(tmp_path):
    with pytest.raises(OfferLogError, match="'visits'"):
        read_log_only(tmp_path, VISIT | {"column": "visits"})
    table = mailing(600)
    table.loc[3, "spend"] = -4.0
    with pytest.raises(OfferLogError, match=r"'spend'.*-4"):
        read(tmp_path, SPEND, table)


def read_log_only(folder: Path, outcome: dict[str, object]) -> None:
    label = {"column": "visit", "positive": False, "window_months": 1}
    content = config(outcome)
    content["customers"] = content["customers"] | {"label": label, "exclude": ["segment", "spend"]}  # type: ignore[operator]
    experiment = loaded(folder, content)
    mailing(600).to_csv(folder / "mailing.csv", index=False)
    customers = read_customers(experiment.customers, seed=1, root=folder)
    arms = catalogue(experiment.arms, experiment.economics)
    configured_log(experiment.offer_log, customers, arms, folder, experiment.economics)


def test_what_the_log_reads_of_its_own_file_is_no_feature_unless_it_is_asked_for(tmp_path):
    content = config(VISIT)
    content["customers"] = {"source": "mailing.csv", "exclude": ["spend"]}
    table = mailing(600).assign(propensity_mens=0.3)
    experiment = loaded(tmp_path, content)
    table.to_csv(tmp_path / "mailing.csv", index=False)
    found = read_customers(experiment.customers, seed=1, root=tmp_path)
    assert set(found.schema.names) == {"recency", "womens", "channel", "largest_outcome"}
    assert found.source is not None
    assert "no features, as the offer log reads them: 'segment', 'propensity_mens'" in found.source.said
    content["customers"] |= {"kinds": {"segment": "categorical"}}  # type: ignore[operator]
    asked = read_customers(loaded(tmp_path, content).customers, seed=1, root=tmp_path)
    assert "segment" in asked.schema.names


def test_a_file_of_calls_alone_says_who_accepted_by_what_came_of_them(tmp_path):
    calls = {"source": "mailing.csv", "start": "2026-03-20", "propensities": "contacted_only"}
    content = config(VISIT, offer_log=calls, release={"branches": ["risk", "accept"]})
    content["arms"] = [{"id": "call", "terms": {"kind": "contact"}, "channel": "phone"}]
    del content["ppo_decision"], content["effect_model"]
    experiment, table = loaded(tmp_path, content), mailing(600)
    assert experiment.effect_model is None
    table.to_csv(tmp_path / "mailing.csv", index=False)
    customers = read_customers(experiment.customers, seed=1, root=tmp_path)
    arms = catalogue(experiment.arms, experiment.economics)
    for columns in ({}, {"accepted": "visit"}):
        settings = experiment.offer_log.model_copy(update={"columns": columns})
        log = configured_log(settings, customers, arms, tmp_path, experiment.economics)
        assert set(log.frame["arm"]) == {"call"}
        assert (log.accepted == table["visit"]).all()
        assert (log.frame["outcome"] == table["visit"]).all()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"economics": {"outcome": VISIT | {"largest": 3}}}, "expected one of worth"),
        ({"economics": {"outcome": VISIT, "value_horizon_months": 6}}, "value_horizon_months: found beside outcome"),
        ({"economics": {"outcome": VISIT, "margin": 0.3}}, "margin: found beside outcome"),
        ({"campaign": {"menu": [0.0, "mens"]}}, "campaign: found beside economics.outcome"),
        ({"ppo_decision": {"menu": [0.0, 0.1]}}, "percent_10 of an outcome that has no price"),
        (
            {"arms": [{"id": "mens", "terms": {"kind": "free_months", "months": 3}, "channel": "email"}],
             "ppo_decision": {"menu": ["no_contact", "mens"]}},
            "which run on after the outcome's one window",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_beside_another_outcome_is_refused_by_name(tmp_path, changes, told):
    with pytest.raises(ExperimentError, match=told):
        loaded(tmp_path, config(VISIT, **changes))


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Experiment, customers, log, risk, acceptance and effect of the mailing."""
    experiment, customers, log = read(tmp_path_factory.mktemp("visits"), VISIT)
    risk = RiskModel.fit(customers, experiment.risk_model)
    accept = AcceptModel.fit(customers, log, experiment.accept_model)
    scored = risk.risk_of(log.customer_id)
    model = EffectModel.fit(customers, log, scored, accept.out_of_fold, experiment.effect_model)
    return experiment, customers, log, risk, accept, model


def test_effects_on_visits_are_found_and_nobody_accepts(visits):
    experiment, customers, log, risk, accept, model = visits
    offers = HeldOutOffers.of(customers, log)
    outcomes = [
        volume_gates(log, experiment.offer_log.gates),
        acceptance(accept, offers, experiment.accept_model.gates),
        accept_integrity(accept, offers),
        effect(model, offers, risk, accept, experiment.effect_model.gates),
    ]
    assert not [gate for each in outcomes for gate in each.gates if not gate.passed]
    assert model.size > 0.5
    assert accept.predict_arms(offers.X, np.zeros(len(offers.log)), log.menu).max() < 1e-300


def test_the_policy_is_one_step_and_not_worse_than_the_best_arm_for_everybody(visits):
    experiment, customers, log, risk, accept, model = visits
    window = customers.schema.label_window_months
    process = RetentionProcess.build(
        experiment.ppo_decision, experiment.economics, window, experiment.arms, None, model.menu
    )
    tables = build_tables(customers, ResponseModels.of(risk, accept, model, process))
    found = solve(tables, process).evaluation
    expected = 2.0 * (1 - tables.risk[:, 0])
    assert evaluate(tables, process, never(process)).value == pytest.approx(expected)
    held = customers.held_out[log.positions(customers.ids)]
    evidence, chosen = (
        LoggedDecisions.of(log.where(held), customers),
        found.first[log.positions(customers.ids)][held],
    )
    assert evidence.suspected == 1.0
    scored = risk.risk_of(log.customer_id)[held]
    opponents = simple_policies(log.menu, (1, 2), scored, np.full(held.sum(), 2.0), process.outcome)
    assert "most visit expected, 30%: mens" in opponents
    against = [evidence.against(name, chosen, each) for name, each in opponents.items()]
    assert all(each.over.value > -each.over.standard_error for each in against)


def test_one_effect_an_arm_for_everybody_is_asked_about_where_customers_do_not_differ(visits):
    _, customers, log, risk, accept, _ = visits
    config = EffectModelConfig(draws=2)
    fitting = _Fitting.of(customers, log, risk.risk_of(log.customer_id), accept.out_of_fold, config)
    effects, fits = fitting.alike()
    came = [
        1 - log.churned[(log.arm == arm) & ~customers.held_out[log.positions(customers.ids)]]
        for arm in range(3)
    ]
    raised = [each.mean() - came[0].mean() for each in came[1:]]
    assert -effects[:, 1:].mean(axis=0) == pytest.approx(raised, abs=0.03)
    assert len(fits) == config.cross_fits + 1
    assert all(-each.kept[:, 0] == pytest.approx(raised, abs=0.03) for each in fits)
    assert fitting.shown(effects).z > 3


def test_that_customers_differ_by_risk_shows_beside_one_effect_for_everybody(visits):
    """Told alone, one effect for everybody would claim too much of some, and its own gate would refuse it."""
    _, customers, log, risk, accept, _ = visits
    config = EffectModelConfig(draws=2)
    fitting = _Fitting.of(customers, log, risk.risk_of(log.customer_id), accept.out_of_fold, config)
    seen, rng = fitting.seen, np.random.default_rng(0)
    contacted = seen.arm > 0
    churn = rng.permutation(np.linspace(0.2, 0.8, len(contacted)))
    seen = replace(seen, churn=churn)

    def found(effect):
        left = (rng.random(len(churn)) < churn + contacted * effect).astype(float)
        one = np.where(np.arange(3) > 0, effect.mean(), 0.0) * np.ones((len(churn), 1))
        return replace(fitting, seen=seen, churned=left).differs(one, np.zeros(3))

    assert not found(np.full(len(churn), -0.1))
    assert found(-0.1 - 0.6 * (churn - 0.5))


def test_reasons_name_what_is_expected_in_its_own_unit():
    found = (Reason("risk", None, 0.9), Reason("risk_if_offered", "mens", 0.8))
    assert in_words(found, {"mens": "an e-mail"}, Told(14 / 30.4375, "visit")) == (
        "visit expected 10.0% within 14 days; visit if offered 20.0%"
    )
    asked = (*found, Reason("acceptance", "mens", 0.0))
    assert in_words(asked, {"mens": "an e-mail"}, Told(1.0, "spend", 200.0, asked=False)) == (
        "spend expected 20.00 within 30 days; spend if offered 40.00"
    )
