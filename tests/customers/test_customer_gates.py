"""A table whose features know the outcome, or whose split mixes customers, is stopped."""

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig, CustomersGates
from churn_assets.customers.gates import completeness, leakage, like_the_champions, split
from churn_assets.customers.schema import FOLD
from churn_assets.customers.table import CustomerTable, read_customers

GATES = CustomersGates()


def made(tmp_path, **columns) -> CustomerTable:
    rng = np.random.default_rng(3)
    n = 800
    left = rng.random(n) < 0.3
    frame = pd.DataFrame({"id": np.arange(n), "left": left.astype(int), "fee": rng.uniform(5, 90, n)})
    frame = frame.assign(**{name: column(left, rng) for name, column in columns.items()})
    frame.to_csv(tmp_path / "t.csv", index=False)
    label = {"column": "left", "positive": 1, "window_months": 1}
    config = CustomersConfig(source="t.csv", id="id", label=label, monthly_revenue="fee", max_categories=255)
    return read_customers(config, seed=1, root=tmp_path)


def verdict(outcome) -> dict[str, bool]:
    return {gate.name: gate.passed for gate in outcome.gates}


@pytest.mark.parametrize(
    ("leak", "column"),
    [
        ("a copy of the label", lambda left, rng: np.where(left, "closed", "open")),
        ("written after the outcome", lambda left, rng: np.where(left, rng.uniform(200, 300, len(left)), 0)),
        ("lower for churners", lambda left, rng: rng.normal(0, 1, len(left)) - 3 * left),
        (
            "blank unless they left",
            lambda left, rng: np.where(left, rng.integers(0, 99, len(left)).astype(float), np.nan),
        ),
        (
            "neither high nor low",
            lambda left, rng: np.where(left, rng.normal(0, 0.1, len(left)), rng.choice([-3, 3], len(left))),
        ),
    ],
)
def test_a_feature_that_knows_the_outcome_is_found(tmp_path, leak, column):
    outcome = leakage(
        made(tmp_path, leaking=column, honest=lambda left, rng: rng.normal(size=len(left))), GATES
    )
    assert not verdict(outcome)["single_feature_auc"], leak
    assert "leaking" in outcome.gates[0].detail
    assert outcome.tables["single_feature_auc"][0]["feature"] == "leaking"


def test_many_rare_categories_without_information_are_no_leak(tmp_path):
    table = made(tmp_path, branch=lambda left, rng: rng.integers(0, 200, len(left)).astype(str) + "b")
    outcome = leakage(table, GATES)
    assert outcome.gates[0].figure < 0.6


def test_an_informative_feature_is_no_leak(tmp_path):
    table = made(tmp_path, calls=lambda left, rng: rng.normal(0, 1, len(left)) + left)
    outcome = leakage(table, GATES)
    assert 0.7 < outcome.gates[0].figure < 0.85
    assert outcome.gates[0].passed


def test_a_sound_split_passes(tmp_path):
    assert all(verdict(split(made(tmp_path), GATES)).values())


def test_customers_on_both_sides_of_the_split_are_found(tmp_path):
    table = made(tmp_path)
    frame = table.frame.copy()
    twice = frame[table.held_out].head(5).assign(**{FOLD: np.int8(0)})
    mixed = CustomerTable(pd.concat([frame, twice], ignore_index=True), table.schema)
    found = verdict(split(mixed, GATES))
    assert not found["customers_twice"]
    assert not found["customers_on_both_sides"]
    assert not found["customers_in_another_fold"]


def test_a_split_by_outcome_is_found(tmp_path):
    table = made(tmp_path)
    sorted_by_outcome = table.frame.assign(**{FOLD: np.where(table.y == 1, 9, 0).astype(np.int8)})
    assert not verdict(split(CustomerTable(sorted_by_outcome, table.schema), GATES))["split_churn_rate_z"]


def test_too_few_customers_rare_churners_and_blanks_are_found(tmp_path):
    table = made(tmp_path, calls=lambda left, rng: np.where(rng.random(len(left)) < 0.5, np.nan, 1.5))
    strict = CustomersGates(min_rows=900, min_label_rate=0.4, max_label_rate=0.2)
    assert not any(verdict(completeness(table, strict)).values())
    assert verdict(completeness(table, GATES)) == {
        "customers": True, "churn_rate_low": True, "churn_rate_high": True, "blank_share": False,
    }  # fmt: skip


@pytest.mark.parametrize("key", list(CustomersGates.model_fields))
def test_every_threshold_of_the_config_is_a_threshold_of_a_gate(tmp_path, key):
    value = 700 if key == "min_rows" else 0.61803
    table, changed = made(tmp_path), GATES.model_copy(update={key: value})
    outcomes = (
        leakage(table, changed),
        split(table, changed),
        completeness(table, changed),
        like_the_champions(table, table, changed),
    )
    gates = [gate for outcome in outcomes for gate in outcome.gates]
    assert sum(gate.threshold == value or f"{value} and the noise" in gate.detail for gate in gates) == 1


def plan(_left, rng):
    return rng.choice(["basic", "full"], 800, p=[0.4, 0.6])


def usage(_left, rng):
    return rng.gamma(4, 15, 800)


@pytest.mark.parametrize(
    ("change", "gate", "said"),
    [
        ({"usage": lambda left, rng: 1000 * usage(left, rng)}, "psi", "usage moved most: median 5"),
        (
            {"plan": lambda left, rng: np.char.upper(plan(left, rng))},
            "psi",
            "plan moved most: mostly 'full' for the champion, mostly 'FULL' here",
        ),
        (
            {"usage": lambda left, rng: np.where(usage(left, rng) > 50, "high", "low")},
            "features_of_another_kind",
            "usage",
        ),
    ],
    ids=["unit", "codes", "kind"],
)
def test_a_feature_that_is_another_one_by_the_same_name_is_found(tmp_path, change, gate, said):
    champion = made(tmp_path, usage=usage, plan=plan)
    outcome = like_the_champions(made(tmp_path, **({"usage": usage, "plan": plan} | change)), champion, GATES)
    (failed,) = [each for each in outcome.gates if not each.passed]
    assert failed.name == gate
    assert failed.detail.startswith(said)


@pytest.mark.parametrize(
    "change",
    [
        {"usage": lambda left, rng: 1.25 * usage(left, rng)},
        {"plan": lambda left, rng: rng.choice(["basic", "full"], 800, p=[0.6, 0.4])},
        {"region": lambda left, rng: rng.choice(["north", "south"], 800)},
    ],
    ids=["dearer", "moved on", "new column"],
)
def test_what_changes_in_the_course_of_business_is_no_other_feature(tmp_path, change):
    champion = made(tmp_path, usage=usage, plan=plan)
    outcome = like_the_champions(made(tmp_path, **({"usage": usage, "plan": plan} | change)), champion, GATES)
    assert all(verdict(outcome).values())


def test_tables_without_a_common_feature_are_not_compared(tmp_path):
    champion, table = made(tmp_path, usage=usage), made(tmp_path, plan=plan)
    apart = champion.schema.model_copy(update={"features": champion.schema.features[1:]})
    outcome = like_the_champions(table, CustomerTable(champion.frame, apart), GATES)
    assert outcome.gates[1].detail == "no feature in common"
    assert all(verdict(outcome).values())


def test_all_features_that_know_the_outcome_are_named_at_once_with_the_line_to_write(tmp_path):
    def copy(left, rng):
        return np.where(left, "closed", "open")

    outcome = leakage(
        made(tmp_path, one=copy, two=copy, honest=lambda left, rng: rng.normal(size=len(left))), GATES
    )
    assert "`customers.exclude: ['one', 'two']`" in outcome.gates[0].detail


def copied(tmp_path, tenure) -> CustomerTable:
    """Four rows a customer, each under an id of its own."""
    rng = np.random.default_rng(4)
    once = pd.DataFrame(
        {"left": rng.integers(0, 2, 200), "fee": rng.uniform(5, 90, 200).round(2), "months": 1}
    )
    months = [once.assign(months=once["months"] + tenure * number) for number in range(4)]
    frame = pd.concat(months, ignore_index=True)
    frame.assign(id=[f"row {number}" for number in range(len(frame))]).to_csv(tmp_path / "t.csv", index=False)
    label = {"column": "left", "positive": 1, "window_months": 1}
    config = CustomersConfig(source="t.csv", id="id", label=label, monthly_revenue="fee", tenure="months")
    return read_customers(config, seed=1, root=tmp_path)


@pytest.mark.parametrize("tenure", [0, 1], ids=["the same row", "another month"])
def test_rows_of_one_customer_under_ids_of_their_own_are_no_split(tmp_path, tenure):
    assert not verdict(split(copied(tmp_path, tenure), GATES))["copied_share"]


def test_customers_alike_by_chance_are_no_copies(tmp_path):
    table = made(tmp_path, fee=lambda left, rng: rng.choice([10.0, 20.0], len(left)))
    assert verdict(split(table, GATES))["copied_share"]
