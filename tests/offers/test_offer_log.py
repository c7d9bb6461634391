"""The offer log's contract: what it reads, and what it refuses by file, column, row, found and expected."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from churn_assets.arms import ArmConfig, Catalogue, Condition, Contact, FreeMonths, Gift, PercentOff
from churn_assets.offers.log import OfferLogError, as_log, read_log

IDS = [f"00{n}" for n in range(6)]
CATALOGUE = Catalogue()
ARMS = {"propensity_0": 0.4, "propensity_5": 0.2, "propensity_12.5": 0.4}


@pytest.fixture
def rows() -> pd.DataFrame:
    """Six decisions over three weeks on three arms."""
    offer = [0.0, 0.05, 0.125, 0.0, 0.125, 0.05]
    return pd.DataFrame(
        {
            "customer_id": IDS,
            "decided_at": [
                "2026-01-05",
                "2026-01-06",
                "2026-01-13",
                "2026-01-13",
                "2026-01-20",
                "2026-01-21",
            ],
            "wave": [0, 0, 1, 1, 2, 2],
            "offer_pct": offer,
            "propensity": [ARMS[f"propensity_{100 * o:g}"] for o in offer],
            **{name: [p] * 6 for name, p in ARMS.items()},
            "policy_version": "rules-7",
            "prior_offers": [0, 1, 0, 2, 0, 0],
            "accepted": [0, 1, 0, 0, 1, 0],
            "churned": [1, 0, 0, 0, 0, 1],
            "margin": [0.0, 310.5, 280.0, 199.0, 250.25, -1.0],
        }
    )


def test_a_valid_table_gives_arms_and_propensities(rows):
    log = as_log(rows, IDS, CATALOGUE, simulated=False, origin="t")
    assert log.menu.ids == ("no_contact", "percent_5", "percent_12_5")
    assert log.arm.tolist() == [0, 1, 2, 0, 2, 1]
    assert log.propensities.tolist() == [[0.4, 0.2, 0.4]] * 6
    assert log.frame["decided_at"].dt.tz is not None
    assert not log.simulated


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_with_other_column_names_reads_as_the_same_log(rows, tmp_path, kind):
    names = {"customer_id": "kunde", "margin": "profit", "propensity_12.5": "p_high", "accepted": "took"}
    path = tmp_path / f"log.{kind}"
    theirs = rows.rename(columns=names).assign(
        note="x", accepted=9
    )  # `accepted` is mapped: this one is not ours
    theirs.to_csv(path, index=False) if kind == "csv" else theirs.to_parquet(path)
    read = read_log(path, names, IDS, CATALOGUE)
    pd.testing.assert_frame_equal(read.frame, as_log(rows, IDS, CATALOGUE, simulated=False, origin="t").frame)


def test_waves_are_weeks_since_the_first_decision_where_the_table_has_none(rows):
    log = as_log(rows.drop(columns="wave"), IDS, CATALOGUE, simulated=False, origin="t")
    assert log.frame["wave"].tolist() == [0, 0, 1, 1, 2, 2]


def test_ids_of_digits_keep_their_zeros(rows, tmp_path):
    path = tmp_path / "log.csv"
    rows.to_csv(path, index=False)
    assert read_log(path, {}, IDS, CATALOGUE).customer_id.tolist() == IDS


def test_positions_place_each_decision_in_the_customer_table(rows):
    log = as_log(rows, IDS, CATALOGUE, simulated=False, origin="t")
    assert log.positions(IDS[::-1]).tolist() == [5, 4, 3, 2, 1, 0]
    with pytest.raises(
        OfferLogError,
        match="column 'customer_id', line 7: found an id that is not there, expected one of the 5",
    ):
        log.positions(IDS[:5])


def test_where_keeps_arms_and_numbers_rows_anew(rows):
    log = as_log(rows, IDS, CATALOGUE, simulated=True, origin="t")
    part = log.where(np.arange(6) > 3)
    assert part.frame.index.tolist() == [0, 1]
    assert (part.menu, part.simulated, len(part)) == (log.menu, True, 2)


def change(column, row, value):
    def apply(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return apply


BROKEN = [
    (change("propensity_5", 2, 0.0), r"column 'propensity_\*', line 4: found 0.8, expected a sum of 1"),
    (change("propensity_5", 2, 1.2), "column 'propensity_5', line 4: found 1.2, expected .* at least 0, at most 1"),
    (change("propensity_5", 2, 0.3), r"column 'propensity_\*', line 4: found 1.1, expected a sum of 1"),
    (change("propensity", 1, 0.4), "column 'propensity', line 3: found 0.4, expected the propensity of"),
    (change("offer_pct", 1, 5.0), "column 'offer_pct', line 3: found 5, expected one of the arms 0, 0.05"),
    (change("offer_pct", 1, 0.1), "column 'offer_pct', line 3: found 0.1, expected one of the arms"),
    (change("accepted", 0, 1), "column 'accepted', line 2: found 1, expected 0 where nothing was offered"),
    (change("accepted", 1, 2), "column 'accepted', line 3: found '2', expected 0 or 1"),
    (change("churned", 1, 0.5), "column 'churned', line 3: found '0.5', expected 0 or 1"),
    (change("churned", 1, None), "column 'churned', line 3: found a blank, expected 0 or 1"),
    (change("prior_offers", 4, -1), "column 'prior_offers', line 6: found -1, expected a whole number"),
    (change("prior_offers", 4, np.inf), "column 'prior_offers', line 6: found inf, expected a whole number"),
    (change("margin", 3, np.inf), "column 'margin', line 5: found inf, expected a finite number"),
    (change("margin", 3, "much"), "column 'margin', line 5: found 'much', expected a finite number$"),
    (change("policy_version", 3, " "), "column 'policy_version', line 5: found a blank, expected a text"),
    (lambda f: f.assign(customer_id=[f"x{n}" for n in range(len(f))]), "column 'customer_id', lines 2.*: found an id"),
    (change("decided_at", 3, "soon"), "column 'decided_at', line 5: found 'soon', expected a date"),
    (change("decided_at", 3, "2026-01-01"), "column 'decided_at', line 5: found '2026-01-01 .*expected decisions in"),
    (lambda f: pd.concat([f, f.iloc[[5]]]), "column 'customer_id', line 8: .*expected one decision a"),
    (lambda f: f.drop(columns="margin"), "column 'margin': found no such column"),
    (lambda f: f.drop(columns=list(ARMS)), "found the arms .* expected propensity_no_contact"),
    (lambda f: f.rename(columns={"propensity_5": "propensity_five"}), "column 'propensity_five': found arm 'five'"),
    (lambda f: f.rename(columns={"propensity_0": "propensity_1"}), "found the arms .* expected propensity_no_con"),
    (lambda f: f.rename(columns={"propensity_5": "propensity_5.0"}), "'propensity_5.0': found the percent '5.0'"),
    (lambda f: f.rename(columns={"propensity_5": "propensity_500"}), "column 'propensity_500': found a share of 5"),
    (lambda f: f.assign(propensity_percent_5=0.0), "found another column of the arm percent_5"),
    (lambda f: f.assign(arm="percent_5"), "found the columns arm and offer_pct, expected one"),
    (lambda f: f.iloc[:0], "found no rows, expected at least one decision"),
]  # fmt: skip


@pytest.mark.parametrize(("breaks", "message"), BROKEN)
def test_a_broken_rule_is_named(rows, breaks, message):
    with pytest.raises(OfferLogError, match=rf"(?s)^offers\.csv.*{message}"):
        as_log(breaks(rows).reset_index(drop=True), IDS, CATALOGUE, simulated=False, origin="offers.csv")


def test_every_broken_rule_of_a_kind_is_listed_with_its_count(rows):
    rows["accepted"] = 7
    rows["churned"] = -1
    with pytest.raises(OfferLogError) as refused:
        as_log(rows, IDS, CATALOGUE, simulated=False, origin="t")
    assert [line.split(": found")[0] for line in str(refused.value).splitlines()] == [
        "t: column 'accepted', lines 2, 3, 4, 5, 6, … (6 in all)",
        "t: column 'churned', lines 2, 3, 4, 5, 6, … (6 in all)",
    ]


def test_a_mapped_column_that_the_file_lacks_is_named_with_its_meaning(rows, tmp_path):
    path = tmp_path / "log.csv"
    rows.to_csv(path, index=False)
    with pytest.raises(OfferLogError, match=r"column 'profit': found no such column \(for margin\)"):
        read_log(path, {"margin": "profit"}, IDS, CATALOGUE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("log.xlsx", "found a .xlsx file, expected a CSV or Parquet file: save the sheet as"),
        ("no.csv", "no.csv: found no such file"),
        ("empty.csv", "found an empty file"),
        ("log.parquet", "found an empty file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, message):
    if name != "no.csv":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(OfferLogError, match=message):
        read_log(tmp_path / name, {}, IDS, CATALOGUE)


KINDS = Catalogue(
    (
        ArmConfig(id="free_month", terms=FreeMonths(months=1)),
        ArmConfig(id="router", terms=Gift(gift="a router", cost=40.0), eligible=(Condition(column="fibre"),)),
        ArmConfig(id="call", terms=Contact(), channel="phone", contact_cost=8.0),
        ArmConfig(id="loyal", terms=PercentOff(share=0.05, months=12)),
    )
)


@pytest.fixture
def named(rows) -> pd.DataFrame:
    """The same decisions on arms of every kind, by id, in an order of its own."""
    arm = ["no_contact", "percent_5", "call", "router", "free_month", "loyal"]
    propensities = {f"propensity_{each}": [1 / 6] * 6 for each in reversed(arm)}
    kept = rows.drop(columns=["offer_pct", *ARMS])
    return kept.assign(arm=arm, accepted=[0, 0, 0, 1, 1, 1], propensity=1 / 6, **propensities)


def features(*fibre):
    return pd.DataFrame({"fibre": list(fibre)})


def test_arms_of_every_kind_are_in_the_order_of_their_declaration_and_percents_behind_them(named):
    log = as_log(named, IDS, KINDS, simulated=False, origin="t")
    assert log.menu.ids == ("no_contact", "free_month", "router", "call", "loyal", "percent_5")
    assert [log.menu.ids[arm] for arm in log.arm] == named["arm"].tolist()
    assert log.menu[4].months == 12


def test_the_shorthand_of_percents_reads_as_the_same_log_as_their_ids(rows):
    names = {"propensity_0": "propensity_no_contact"}
    names |= {
        f"propensity_{percent}": f"propensity_percent_{percent}".replace(".", "_") for percent in (5, 12.5)
    }
    ids = {0.0: "no_contact", 0.05: "percent_5", 0.125: "percent_12_5"}
    canonical = rows.rename(columns=names).assign(arm=rows["offer_pct"].map(ids)).drop(columns="offer_pct")
    short, long = (as_log(each, IDS, CATALOGUE, simulated=False, origin="t") for each in (rows, canonical))
    pd.testing.assert_frame_equal(short.frame, long.frame)
    assert short.menu == long.menu


def test_a_shorthand_percent_is_not_a_declared_one_of_another_duration(rows):
    loyal = as_log(rows, IDS, KINDS, simulated=False, origin="t").menu[1]
    assert (loyal.id, loyal.months) == ("percent_5", 6)


def test_every_unknown_arm_is_named_with_the_nearest_and_where_to_declare_it(named):
    broken = named.rename(
        columns={"propensity_router": "propensity_roter", "propensity_call": "propensity_visit"}
    )
    with pytest.raises(OfferLogError) as refused:
        as_log(broken.drop(columns="margin"), IDS, KINDS, simulated=False, origin="t")
    margin, router, visit = str(refused.value).splitlines()
    assert "column 'propensity_visit': found arm 'visit'" in visit
    assert "did you mean 'router'?; other arms are declared under arms:" in router
    assert "column 'margin': found no such column" in margin


def test_an_arm_without_a_propensity_column_is_named(named):
    named.loc[2, "arm"] = "visit"
    with pytest.raises(OfferLogError) as refused:
        as_log(named, IDS, KINDS, simulated=False, origin="t")
    assert str(refused.value) == (
        "t: column 'arm', line 4: found 'visit', expected one of the arms with a propensity: no_contact, "
        "free_month, router, call, loyal, percent_5"
    )


def test_a_share_that_is_no_arm_is_said_once(rows):
    rows.loc[1, "offer_pct"] = 0.1
    rows.loc[2, "offer_pct"] = None
    with pytest.raises(OfferLogError) as refused:
        as_log(rows, IDS, CATALOGUE, simulated=False, origin="t")
    assert str(refused.value).startswith(
        "t: column 'offer_pct', line 4: found a blank, expected a finite number"
    )
    assert "column 'offer_pct', line 3: found 0.1, expected one of" in str(refused.value).splitlines()[1]
    assert len(str(refused.value).splitlines()) == 2


def test_two_arms_alike_are_an_error_that_names_both(named):
    loyal = ArmConfig(id="loyal", terms=PercentOff(share=0.05, months=6))
    with pytest.raises(OfferLogError, match=r"t: arms loyal and percent_5 are both of size 0\.05 in family"):
        as_log(named, IDS, Catalogue((*KINDS.declared[:3], loyal)), simulated=False, origin="t")


def zero_for_row_2(named):
    named.loc[2, ["propensity_router", "propensity_loyal"]] = [0.0, 2 / 6]
    return named


def test_a_propensity_of_0_stays_where_a_condition_keeps_the_customer_from_the_arm(named):
    barred = features("Yes", "Yes", "No", "Yes", "Yes", "Yes")
    log = as_log(zero_for_row_2(named), IDS, KINDS, simulated=False, origin="t", features=barred)
    assert log.propensities[2, 2] == 0
    assert (len(log), log.left_out) == (6, 0)


@pytest.mark.parametrize("now", [features(*["Yes"] * 6), None], ids=["keeps it by now", "nobody knows"])
def test_whoever_may_get_an_arm_by_now_and_could_not_then_is_left_out_and_counted(named, now):
    """Customers change after a decision: that is no mistake of the log, which was once refused as a whole."""
    log = as_log(zero_for_row_2(named), IDS, KINDS, simulated=False, origin="t", features=now)
    assert log.customer_id.tolist() == [*IDS[:2], *IDS[3:]]
    assert log.left_out == 1
    assert log.frame.index.tolist() == list(range(5))


def test_a_log_of_which_nothing_is_left_is_refused(named):
    named["propensity_loyal"] += named["propensity_router"]
    named["propensity_router"] = 0.0
    with pytest.raises(
        OfferLogError, match=r"t: found a propensity of 0 for a customer who keeps .* in every row"
    ):
        as_log(named[:3], IDS, KINDS, simulated=False, origin="t", features=features(*["Yes"] * 6))


def test_what_was_done_was_possible(named):
    named.loc[3, ["propensity_router", "propensity_loyal", "propensity"]] = [0.0, 2 / 6, 1e-9]
    with pytest.raises(
        OfferLogError, match=r"column 'propensity', line 5: .*expected the propensity of the logged arm"
    ):
        as_log(named, IDS, KINDS, simulated=False, origin="t", features=features(*["No"] * 6))


def test_a_condition_on_a_column_that_is_not_there_names_the_nearest(named):
    named.loc[2, ["propensity_router", "propensity_loyal"]] = [0.0, 2 / 6]
    with pytest.raises(
        OfferLogError, match=r"t: arm router, eligible: found the column 'fibre'.*did you mean 'Fibre'"
    ):
        as_log(
            named,
            IDS,
            KINDS,
            simulated=False,
            origin="t",
            features=features(*["No"] * 6).rename(columns=str.title),
        )
