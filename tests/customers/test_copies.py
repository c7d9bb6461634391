"""Near copies under other ids are found by how often equal rows stand together, and told by line."""

import numpy as np
import pytest

from benchmarks.panel_tables import copied, read, telco, telco_config
from churn_assets.customers import copies
from churn_assets.customers.copies import near_copies
from churn_assets.customers.gates import split
from churn_assets.customers.schema import CustomerSchema, FeatureSpec

GATES = telco_config().gates
SCHEMA = read(telco().head(50), telco_config(), 1).schema


def copies_gate(table):
    return {gate.name: gate for gate in split(table, GATES).gates}["copied_share"]


@pytest.mark.parametrize("times", [2, 4, 12])
def test_months_of_customers_under_ids_of_the_rows_are_refused(times):
    frame = copied(telco().sample(1_500, random_state=1), np.random.default_rng(times), times)
    gate = copies_gate(read(frame.drop(columns=["customerID", "month"]), telco_config(id="row"), 1))
    assert not gate.passed
    assert f"{times} rows under ids of their own are alike but for" in gate.detail
    assert "row_date" in gate.detail


def test_examples_are_lines_of_the_file_and_no_ids():
    frame = copied(telco().sample(800, random_state=2), np.random.default_rng(0))
    settings = telco_config(id="row", rows={"old": {"column": "tenure", "at_least": 70}})
    gate = copies_gate(read(frame.drop(columns=["customerID", "month"]), settings, 1))
    lines = [int(part) for part in gate.detail.split("as in lines ")[1].split(";")[0].split(", ")]
    same = frame.iloc[np.subtract(lines, 2)]
    assert len(lines) == 4
    assert same["customerID"].nunique() == 1
    assert not any(row in gate.detail for row in frame["row"])


def test_a_panel_that_names_its_customers_has_none():
    frame = copied(telco().sample(800, random_state=2), np.random.default_rng(0))
    label = {"column": "Churn", "positive": "Yes", "window_months": 3, "ahead": True}
    assert (
        copies_gate(read(frame, telco_config(row_date="month", label=label, exclude=["row"]), 1)).figure == 0
    )


def test_more_may_be_allowed():
    frame = copied(telco().sample(800, random_state=2), np.random.default_rng(0), 2)
    table = read(frame.drop(columns=["customerID", "month"]), telco_config(id="row"), 1)
    lenient = GATES.model_copy(update={"max_copied_share": 0.9})
    assert {gate.name: gate.passed for gate in split(table, lenient).gates}["copied_share"]


def test_the_demo_table_has_none_without_what_moves_neither():
    assert copies_gate(read(telco(), telco_config(exclude=["TotalCharges"]), 1)).figure == 0


def honest(rng: np.random.Generator) -> tuple[np.ndarray, CustomerSchema]:
    """Independent rows of a few classes with few, skewed values, and perhaps counts."""
    rows, columns, counts = (
        int(rng.choice([300, 2_000, 10_000])),
        int(rng.integers(1, 10)),
        int(rng.integers(0, 3)),
    )
    of_class = rng.integers(0, 4, rows)
    X = []
    for _ in range(columns):
        shares = rng.dirichlet(np.full(int(rng.integers(2, 6)), 0.7), 4).cumsum(axis=1)
        X.append((rng.random(rows)[:, None] > shares[of_class, :-1]).sum(axis=1))
    X += [rng.poisson(rng.choice([1, 5, 40]), rows) for _ in range(counts)]
    names = [f"f{place}" for place in range(columns + counts)]
    kinds = ["categorical"] * columns + ["numeric"] * counts
    features = tuple(FeatureSpec(name=name, kind=kind) for name, kind in zip(names, kinds, strict=True))
    changed = {"features": features, "monthly_revenue": names[-1]}
    return np.column_stack(X).astype(float), SCHEMA.model_copy(update=changed)


def test_independent_rows_of_few_values_are_no_copies_however_many_are_equal():
    found = [near_copies(*honest(np.random.default_rng(seed))).share for seed in range(50)]
    assert found == [0.0] * 50


def test_of_a_large_table_whole_cells_are_drawn(monkeypatch):
    """What is found in some of the cells stands for all of them, and honest tables stay honest."""
    frame = copied(telco().sample(4_000, random_state=2), np.random.default_rng(0))
    table = read(frame.drop(columns=["customerID", "month"]), telco_config(id="row"), 1)
    whole = near_copies(table.X, table.schema)
    monkeypatch.setattr(copies, "ENOUGH", len(table) // 5)
    some = near_copies(table.X, table.schema)
    assert some.share == pytest.approx(whole.share, rel=0.1)
    assert (some.rows_each, some.moving) == (whole.rows_each, whole.moving)
    rows = table.X[list(some.examples[0])]
    kept = [name not in some.moving for name in table.schema.names]
    assert (rows[1:, kept] == rows[0, kept]).all()
    assert [near_copies(*honest(np.random.default_rng(seed))).share for seed in range(50)] == [0.0] * 50
