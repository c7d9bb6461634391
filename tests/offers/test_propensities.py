"""Logs as companies have them: how propensities are known is said, and what cannot be known is never made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from churn_assets.arms import ArmConfig, Catalogue, Contact, Menu
from churn_assets.offers.completing import completed_log
from churn_assets.offers.config import OfferLogConfig, OfferLogGates
from churn_assets.offers.economics import Economics
from churn_assets.offers.eligibility import Eligibility
from churn_assets.offers.gates import propensity_gates, volume_gates
from churn_assets.offers.log import OfferLog, OfferLogError, configured_log, propensity_column
from churn_assets.offers.propensity import MOST_TREES, SHAPE, _out_of_fold, _shape

CATALOGUE = Catalogue()
MONEY = Economics()


def failed(outcome) -> list[str]:
    return [gate.name for gate in outcome.gates if not gate.passed]


def read(frame: pd.DataFrame, telco, tmp_path, catalogue=CATALOGUE, **settings) -> OfferLog:
    """As a run reads a file of its own."""
    frame.to_csv(tmp_path / "log.csv", index=False)
    config = OfferLogConfig.model_validate({"source": "log.csv", **settings})
    return configured_log(config, telco, catalogue, tmp_path, MONEY)


def bare(log: OfferLog) -> pd.DataFrame:
    """What a company has: no column about propensities, and none that the log itself tells."""
    gone = [name for name in log.frame if name.startswith("propensity")]
    return log.frame.drop(columns=[*gone, "policy_version", "prior_offers", "wave", "margin"])


def test_many_arms_are_estimated_in_bounded_work():
    """A tree for every arm and round: of 80 arms as many rounds as of five would take hours on a million rows."""
    assert _shape(5) == SHAPE
    many = _shape(80)
    assert many["max_iter"] * 80 <= MOST_TREES
    assert many["learning_rate"] > SHAPE["learning_rate"]
    rng, n = np.random.default_rng(0), 2_000
    arm = rng.integers(80, size=n)
    found = _out_of_fold(rng.normal(size=(n, 2)), arm, np.arange(n) % 5, [False, False])
    assert found.shape == (n, 80)
    assert found.sum(axis=1) == pytest.approx(1.0)


@pytest.fixture(scope="module")
def chance(telco, world) -> OfferLog:
    """20,000 decisions by lot: 40 % without contact, 20 % off for as many, 10 % off for the others."""
    rng, menu = np.random.default_rng(3), CATALOGUE.menu([0.0, 0.1, 0.2])
    shares = np.array([0.4, 0.2, 0.4])
    drawn = world.draw_log(20_000, 3).frame.reset_index(drop=True)
    arm = rng.choice(3, size=len(drawn), p=shares)
    left = rng.random(len(drawn)) < np.array([0.27, 0.25, 0.22])[arm]
    frame = drawn[["customer_id", "decided_at", "wave"]].assign(
        arm=np.array(menu.ids, object)[arm],
        propensity=shares[arm],
        **{propensity_column(each): shares[place] for place, each in enumerate(menu.ids)},
        policy_version="lot",
        prior_offers=0,
        accepted=((arm > 0) & (rng.random(len(drawn)) < 0.3)).astype(int),
        churned=left.astype(int),
        margin=100.0 * ~left - arm,
    )
    return OfferLog(frame, menu, simulated=False)


def test_known_shares_are_the_propensities_of_a_randomised_log(chance, telco, tmp_path):
    shares = {"no_contact": 0.4, "percent_10": 0.2, "percent_20": 0.4}
    log = read(bare(chance), telco, tmp_path, propensities="randomised", shares=shares)
    np.testing.assert_allclose(log.propensities, chance.propensities)
    assert log.known_by == "randomised"
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []
    assert failed(volume_gates(log, OfferLogGates())) == []


def test_shares_differ_by_week_by_a_column_of_the_file_and_by_a_feature(chance, telco, tmp_path):
    place = chance.positions(telco.ids)
    contract = telco.frame["Contract"].to_numpy()[place]
    rng, monthly = np.random.default_rng(5), contract == "Month-to-month"
    arm = np.where(rng.random(len(chance)) < np.where(monthly, 0.7, 0.3), "percent_10", "no_contact")
    frame = bare(chance).assign(arm=arm, group=np.where(monthly, "a", "b"), accepted=0)
    few, many = {"no_contact": 0.7, "percent_10": 0.3}, {"no_contact": 0.3, "percent_10": 0.7}
    by_column = {"a": many, "b": few}
    by_feature = {each: many if each == "Month-to-month" else few for each in np.unique(contract)}
    logs = [
        read(frame, telco, tmp_path, propensities="randomised", shares=shares, stratum=stratum)
        for shares, stratum in ((by_column, "group"), (by_feature, "Contract"))
    ]
    for log in logs:
        np.testing.assert_allclose(log.propensities[:, 1], np.where(monthly, 0.7, 0.3))
        assert failed(propensity_gates(log, telco, OfferLogGates())) == []
    overall = {
        "no_contact": float((arm == "no_contact").mean()),
        "percent_10": float((arm != "no_contact").mean()),
    }
    log = read(frame, telco, tmp_path, propensities="randomised", shares=overall)
    outcome = propensity_gates(log, telco, OfferLogGates())
    assert failed(outcome) == ["propensity_explained"], "the stratum that was forgotten is found"
    assert "Contract Month-to-month" in outcome.gates[1].detail


def test_a_stratum_without_shares_and_an_arm_without_a_share_are_named(chance, telco, tmp_path):
    frame = bare(chance).assign(group="a")
    shares = {"b": {"no_contact": 0.5, "percent_10": 0.5}}
    with pytest.raises(
        OfferLogError, match=r"no shares of stratum 'a' \(group\).*expected shares of each: b"
    ):
        read(frame.replace("percent_20", "percent_10"), telco, tmp_path,
             propensities="randomised", shares=shares, stratum="group")  # fmt: skip
    with pytest.raises(OfferLogError, match=r"column 'arm', lines .* found 'percent_20'"):
        read(frame, telco, tmp_path, propensities="randomised", shares=shares["b"])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"propensities": "randomised"}, "found no shares"),
        ({"shares": {"no_contact": 1.0}}, "found shares and propensities: logged"),
        ({"propensities": "randomised", "shares": {"no_contact": 0.5, "call": 0.4}}, "a sum of 0.9"),
        ({"propensities": "randomised", "shares": {"call": 1.0}}, "with some no_contact"),
        ({"propensities": "randomised", "shares": {"a": {"no_contact": 1.0}}}, "found stratum: None"),
        ({"propensities": "estimated", "stratum": "wave"}, "found stratum: wave and shares of nobody"),
        ({"propensities": "guessed"}, "contacted_only"),
    ],
)
def test_settings_that_say_nothing_or_contradict_are_refused(settings, told):
    with pytest.raises(ValidationError, match=told):
        OfferLogConfig.model_validate({"source": "log.csv", **settings})


def test_a_log_without_propensities_is_told_how_to_say_that(chance, telco, tmp_path):
    with pytest.raises(OfferLogError) as refused:
        read(bare(chance).assign(propensity=0.5, margin=1.0), telco, tmp_path)
    for way in ("logged_chosen", "randomised", "estimated", "contacted_only", "docs/offer-logs.md"):
        assert way in str(refused.value)


def test_the_chosen_arms_propensity_is_kept_and_the_others_are_estimated_and_said(chance, telco, tmp_path):
    frame = bare(chance).assign(propensity=chance.frame["propensity"])
    log = read(frame, telco, tmp_path, propensities="logged_chosen")
    np.testing.assert_array_equal(log.frame["propensity"], chance.frame["propensity"])
    at = np.arange(len(log))
    np.testing.assert_array_equal(log.propensities[at, log.arm], chance.frame["propensity"])
    np.testing.assert_allclose(log.propensities.sum(1), 1)
    np.testing.assert_allclose(log.propensities, chance.propensities, atol=0.1)
    assert any("not chosen are estimated" in said for said in log.said)
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []


def test_a_chosen_propensity_that_is_not_true_is_refused(chance, telco, tmp_path):
    """Whoever writes each arm's share of all, of a log that went by the contract."""
    place = chance.positions(telco.ids)
    monthly = telco.frame["Contract"].to_numpy()[place] == "Month-to-month"
    rng = np.random.default_rng(5)
    arm = np.where(rng.random(len(chance)) < np.where(monthly, 0.6, 0.4), "percent_10", "no_contact")
    share = pd.Series(arm).map(pd.Series(arm).value_counts(normalize=True))
    frame = bare(chance).assign(arm=arm, accepted=0, propensity=share.to_numpy())
    log = read(frame, telco, tmp_path, propensities="logged_chosen")
    assert failed(propensity_gates(log, telco, OfferLogGates())) == ["propensity_explained"]


def test_what_the_file_does_not_say_is_counted_or_computed_and_said(chance, telco, tmp_path):
    shares = {"no_contact": 0.4, "percent_10": 0.2, "percent_20": 0.4}
    log = read(bare(chance), telco, tmp_path, propensities="randomised", shares=shares)
    assert set(log.frame["policy_version"]) == {"not told"}
    frame = log.frame
    customer = frame["customer_id"].value_counts().index[0]
    own = frame[frame["customer_id"] == customer]
    for number in range(len(own)):
        now = own.iloc[number]
        since = now["decided_at"] - pd.Timedelta(days=90)
        before = own.iloc[:number]
        recent = before[(before["decided_at"] >= since) & (before["arm"] != "no_contact")]
        assert now["prior_offers"] == len(recent)
    stays = frame[(frame["churned"] == 0) & (frame["arm"] == "no_contact")]
    price = telco.frame.set_index("customer_id")["MonthlyCharges"]
    np.testing.assert_allclose(stays["margin"], 6 * price[stays["customer_id"]])
    assert any("margins were computed" in said for said in log.said)
    assert any("prior_offers were counted" in said for said in log.said)


def test_names_of_a_companys_own_and_a_single_day_are_read(chance, telco, tmp_path):
    call = Catalogue((ArmConfig(id="call", terms=Contact(), channel="phone"),))
    once = bare(chance).drop_duplicates("customer_id").drop(columns="decided_at")
    frame = once.assign(arm=np.where(once["arm"] == "no_contact", "No E-Mail", "Phone (2026)"))
    settings = {
        "propensities": "randomised",
        "shares": {"no_contact": 0.4, "call": 0.6},
        "start": "2026-03-02",
        "arm_names": {"No E-Mail": "no_contact", "Phone (2026)": "call"},
    }
    log = read(frame, telco, tmp_path, call, **settings)
    assert log.menu.ids == ("no_contact", "call")
    assert set(log.frame["decided_at"].dt.date.astype(str)) == {"2026-03-02"}
    with pytest.raises(OfferLogError, match=r"found arm 'Phone \(2026\)'.*arm_names"):
        read(frame, telco, tmp_path, call, propensities="estimated", start="2026-03-02",
             arm_names={"No E-Mail": "no_contact"})  # fmt: skip


def test_decisions_about_customers_who_left_the_table_are_counted_and_left_out(chance, telco, tmp_path):
    frame = chance.frame.copy()
    gone = frame["customer_id"].isin(telco.ids[:500])
    frame.loc[gone, "customer_id"] = "gone-" + frame.loc[gone, "customer_id"]
    log = read(frame, telco, tmp_path)
    assert (len(log), log.strangers) == ((~gone).sum(), gone.sum())
    assert any(
        said.startswith(f"{gone.sum()} decisions are about customers who are not") for said in log.said
    )


def test_everybody_who_was_called_teaches_acceptance_and_says_what_cannot_be_known(chance, telco, tmp_path):
    called = chance.where(chance.arm > 0)
    frame = bare(called).drop(columns="churned")
    log = read(frame, telco, tmp_path, propensities="contacted_only")
    assert len(log) == len(called)
    assert set(log.frame) == {
        "customer_id", "decided_at", "wave", "arm", "policy_version", "prior_offers", "accepted"
    }  # fmt: skip
    assert failed(volume_gates(log, OfferLogGates())) == []
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []
    assert "cannot be known" in propensity_gates(log, telco, OfferLogGates()).gates[0].detail
    for asked in ("propensities", "churned"):
        with pytest.raises(OfferLogError, match=r"contacted customers only.*branches: \[risk, accept\]"):
            getattr(log, asked)
    with pytest.raises(
        OfferLogError, match=r"column 'arm', lines .*found 'no_contact'.*propensities: estimated"
    ):
        read(bare(chance).drop(columns="churned"), telco, tmp_path, propensities="contacted_only")


def limited(log: OfferLog, telco, barred: np.ndarray, arm: str = "percent_20") -> OfferLog:
    """The log where an arm was impossible for some customers (N,): its share goes to no contact."""
    rows = barred[log.positions(telco.ids)]
    log = log.where(~(rows & (log.frame["arm"] == arm).to_numpy()))
    rows = barred[log.positions(telco.ids)]
    p = log.propensities.copy()
    number = log.menu.position[arm]
    p[rows, number] = 0.0
    p[rows] /= p[rows].sum(1, keepdims=True)
    columns = {propensity_column(each): p[:, place] for place, each in enumerate(log.menu.ids)}
    frame = log.frame.assign(**columns, propensity=p[np.arange(len(log)), log.arm])
    return OfferLog(frame, log.menu, log.simulated)


RULES = {
    "a category": lambda t: t["InternetService"] != "Fiber optic",
    "two categories": lambda t: t["Contract"] == "Month-to-month",
    "a number": lambda t: t["tenure"] < 12,
    "a range": lambda t: (t["tenure"] < 6) | (t["tenure"] > 60),
    "two features": lambda t: (t["tenure"] < 12) | (t["InternetService"] == "No"),
    "either of two": lambda t: (t["tenure"] < 30) & (t["InternetService"] == "No"),
}


@pytest.mark.parametrize("rule", RULES)
def test_an_arm_that_was_impossible_for_some_is_possible_for_nobody_like_them(chance, telco, tmp_path, rule):
    barred = np.asarray(RULES[rule](telco.frame))
    log = read(limited(chance, telco, barred).frame, telco, tmp_path)
    allowed = Eligibility.of(log.menu, telco.schema).allowed(telco.X)
    assert not allowed[barred, 2].any(), "0 of all"
    assert allowed[:, [0, 1]].all()
    assert allowed[~barred, 2].mean() > 0.6
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []
    offered = CATALOGUE.menu([0.0, 0.2]).limited_as(log.menu)
    assert not Eligibility.of(offered, telco.schema).allowed(telco.X)[barred, 1].any()


def test_zeros_that_no_feature_explains_are_refused_and_those_of_a_time_are_not(chance, telco, tmp_path):
    by_lot = np.random.default_rng(1).random(len(telco)) < 0.3
    log = read(limited(chance, telco, by_lot).frame, telco, tmp_path)
    outcome = propensity_gates(log, telco, OfferLogGates())
    assert failed(outcome) == ["never_possible"]
    assert "percent_20" in outcome.gates[-1].detail
    later = chance.where((chance.frame["wave"] > 10).to_numpy() | (chance.arm != 2))
    p = later.propensities.copy()
    p[later.frame["wave"] <= 10, 2] = 0.0
    p /= p.sum(1, keepdims=True)
    columns = {propensity_column(each): p[:, place] for place, each in enumerate(later.menu.ids)}
    frame = later.frame.assign(**columns, propensity=p[np.arange(len(later)), later.arm])
    log = read(frame, telco, tmp_path)
    assert log.menu == chance.menu, "an arm that came later was impossible for nobody"
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []


def test_decisions_that_could_not_have_been_left_alone_are_left_out_and_said(chance, telco, tmp_path):
    frame = chance.frame.copy()
    certain = (frame["arm"] == "percent_10") & (np.arange(len(frame)) % 5 == 0)
    frame.loc[certain, "propensity"] = 1.0
    frame.loc[certain, [propensity_column(each) for each in chance.menu.ids]] = [0.0, 1.0, 0.0]
    log = read(frame, telco, tmp_path)
    assert log.left_out == certain.sum()
    assert any("no chance of no_contact" in said for said in log.said)


@pytest.fixture(scope="module")
def history(world, telco):
    """The demo world's rule, of which nobody wrote down a probability."""
    true = world.draw_log(20_000, 11)
    settings = OfferLogConfig(source="history.csv", propensities="estimated")
    return true, completed_log(replace(true, known_by="estimated"), telco, settings, MONEY)


def test_estimated_propensities_are_near_the_truth_and_say_what_they_rest_on(history, telco):
    true, log = history
    assert len(log) == len(true)
    off = np.sqrt(((log.propensities - true.propensities) ** 2).mean())
    spread = true.propensities.std(axis=0).mean()
    assert off < 0.6 * spread
    np.testing.assert_allclose(log.propensities.sum(1), 1)
    assert any("true if nothing else decided" in said for said in log.said)
    assert failed(propensity_gates(log, telco, OfferLogGates())) == []


def test_where_an_arm_was_all_but_impossible_it_is_so_and_those_decisions_are_left_out(chance, telco):
    barred = np.asarray(telco.frame["tenure"] < 24)
    log = replace(limited(chance, telco, barred), known_by="estimated")
    settings = OfferLogConfig(source="history.csv", propensities="estimated")
    found = completed_log(log, telco, settings, MONEY)
    rows = barred[found.positions(telco.ids)]
    assert (found.propensities[rows, 2] == 0).mean() > 0.95
    assert (found.propensities[~rows, 2] > 0.2).mean() > 0.95
    assert not Eligibility.of(found.menu, telco.schema).allowed(telco.X)[barred, 2].any()


def test_a_negative_control_shows_what_nobody_wrote_down(chance, telco, tmp_path):
    """Who had called before was called more: no feature tells, and last year's calls do."""
    rng = np.random.default_rng(9)
    calls = rng.poisson(1.0, len(chance))
    arm = np.where(rng.random(len(chance)) < 0.4 + 0.1 * np.minimum(calls, 3), "percent_10", "no_contact")
    frame = bare(chance).assign(arm=arm, accepted=0, calls=calls)
    plain = read(frame, telco, tmp_path, propensities="estimated")
    assert failed(propensity_gates(plain, telco, OfferLogGates())) == []
    log = read(frame, telco, tmp_path, propensities="estimated", negative_controls=["calls"])
    outcome = propensity_gates(log, telco, OfferLogGates())
    assert failed(outcome) == ["propensity_explained"]
    assert "negative control calls" in outcome.gates[1].detail


def test_conditions_of_a_log_are_added_to_those_of_an_arm_once():
    menu = CATALOGUE.menu([0.0, 0.1])
    assert menu.limited_as(menu) == menu
    assert isinstance(menu.limited_as(CATALOGUE.menu([0.0, 0.2])), Menu)


@pytest.mark.parametrize("known", ["logged_chosen", "estimated"])
def test_where_something_is_always_shown_it_is_said_how_to_name_what_stands_for_nothing(
    chance, telco, tmp_path, known
):
    """As on a page that shows one of many items."""
    frame = bare(chance).assign(arm=lambda log: log["arm"].replace({"no_contact": "percent_5"}))
    frame = frame.assign(propensity=1 / 6) if known == "logged_chosen" else frame
    with pytest.raises(OfferLogError, match=r"found no decision of no_contact.*arm_names.*contacted_only"):
        read(frame, telco, tmp_path, propensities=known)


def test_a_score_of_somebody_s_own_is_no_arm_where_nobody_asks_for_propensities(chance, telco, tmp_path):
    """`propensity_score`, as in the Open Bandit data."""
    shares = dict.fromkeys(chance.menu.ids, f"1/{len(chance.menu)}")
    log = read(
        bare(chance).assign(propensity_score=0.1), telco, tmp_path, propensities="randomised", shares=shares
    )
    assert log.propensities == pytest.approx(1 / len(chance.menu))
    assert "column 'propensity_score' is not read (propensities: randomised)" in log.said


def test_a_share_that_is_not_the_lot_s_is_told_beside_what_the_log_has(chance, telco):
    wrong = np.full(len(chance.menu), 0.1 / (len(chance.menu) - 1))
    wrong[0] = 0.9
    named = {propensity_column(name): share for name, share in zip(chance.menu.ids, wrong, strict=True)}
    frame = chance.frame.assign(**named, propensity=wrong[chance.arm])
    (gate,) = (
        each
        for each in propensity_gates(
            replace(chance, frame=frame, known_by="randomised"), telco, OfferLogGates()
        ).gates
        if each.name == "propensity_calibration"
    )
    assert not gate.passed
    assert f"the log has no_contact {(chance.arm == 0).mean():.4g}" in gate.detail
