"""Derived forms answer as the models they are derived from, and to the last bit alike whoever else is asked about."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from churn_assets.release.agreement import derived_forms_agree, made_up
from churn_assets.release.derive import boosting_trees
from churn_assets.release.derived import canonical
from churn_assets.release.derived_files import TENSORS, load_derived, save_derived
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from small_models import fit_models, real_experiment

from churn_assets.customers.table import prepare
from churn_assets.decision.tables import build_tables
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid, edges_of
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.files import read_tensors, write_tensors


def differences(small, table, prior):
    """Largest difference of any probability at any step, form against model."""
    process, largest, X = small.policy.process, 0.0, canonical(table.X)
    with np.errstate(over="ignore"):  # the models' own, for numbers far beyond what they were fitted on
        tables = build_tables(table, small.risk, small.accept, small.effect, process, prior_offers=prior)
    for start in range(0, len(X), 250):
        rows = slice(start, start + 250)
        responses = small.derived.responses(X[rows], prior[rows].astype(float))
        pairs = (
            (responses.risk, tables.risk),
            (responses.churn_if_accepted, tables.churn_if_accepted),
            (responses.churn_if_refused, tables.churn_if_refused),
            (responses.acceptance, tables.acceptance[..., 1:]),
            (responses.features, tables.features),
        )
        largest = max(largest, *(float(np.abs(form - model[rows]).max()) for form, model in pairs))
    return largest


def failed(outcome):
    return {gate.name for gate in outcome.gates if not gate.passed}


def test_every_real_customer_gets_the_probabilities_of_the_models(small):
    prior = np.random.default_rng(0).integers(0, 4, len(small.everyone))
    assert differences(small, small.everyone, prior) < 1e-12


def test_customers_nobody_has_seen_get_them_too(small):
    table = prepare(made_up(small.table, np.random.default_rng(7)), small.schema)
    assert np.isnan(table.X).any()
    assert differences(small, table, np.zeros(len(table), np.int64)) < 1e-12


@pytest.fixture(scope="module")
def customers(small):
    """A strategy for customers of the schema."""

    def values(feature):
        blank = feature.name not in (small.schema.monthly_revenue, small.schema.tenure)
        if feature.kind == "categorical":
            known = st.sampled_from(feature.categories)
        else:
            least = max(feature.lowest or 0.0, 0.01 if feature.name == small.schema.monthly_revenue else 0.0)
            known = st.floats(least, 1e6) | st.sampled_from(
                sorted(set(edges_near(small, feature.name, least)))
            )
        return known | st.none() if blank else known

    return st.fixed_dictionaries({feature.name: values(feature) for feature in small.schema.features})


def edges_near(small, name, least):
    """Where rules change, and the numbers just beside."""
    edges = small.derived.grid.edges[small.schema.names.index(name)]
    beside = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf)])
    return beside[beside >= least].tolist() or [least]


def test_any_customer_gets_them_also_on_the_edge_of_a_rule(small, customers):
    @settings(max_examples=40, deadline=None)
    @given(st.lists(customers, min_size=1, max_size=4), st.integers(0, 1000))
    def agree(rows, prior):
        raw = pd.DataFrame(rows).assign(**{small.schema.id: [str(i) for i in range(len(rows))]})
        table = prepare(raw, small.schema)
        largest = max(1.0, prior, float(np.nanmax(np.abs(table.X), initial=0.0)))
        rounding = 1e-9 + 64 * np.finfo(np.float64).eps * largest  # of sums of terms as large as a million
        assert differences(small, table, np.full(len(table), prior)) < rounding

    agree()


@pytest.mark.parametrize(
    "change",
    [
        lambda derived: replace(
            derived, accept=replace(derived.accept, values=derived.accept.values * (1 + 1e-6))
        ),
        lambda derived: replace(
            derived, spline=replace(derived.spline, intercept=derived.spline.intercept + 1e-6)
        ),
        lambda derived: replace(derived, effect=replace(derived.effect, centre=derived.effect.centre + 1e-6)),
    ],
    ids=["acceptance", "risk", "effect"],
)
def test_a_form_that_answers_otherwise_than_its_model_is_not_passed(small, change):
    assert not failed(derived_forms_agree(small.derived, small, small.table))
    assert "probability_difference" in failed(derived_forms_agree(change(small.derived), small, small.table))


def test_another_network_is_not_passed(small):
    (weights, bias), *others = small.policy.layers
    policy = replace(small.policy, layers=((weights, bias + np.float32(0.1)), *others))
    other = replace(small.derived, policy=policy)
    assert failed(derived_forms_agree(other, small, small.table)) >= {"logit_difference"}


def test_a_table_that_holds_anything_else_than_what_would_be_computed_is_not_passed(small):
    outlooks = small.derived.known.outlooks.copy()
    outlooks["risk"] += 1e-3
    other = replace(small.derived, known=replace(small.derived.known, outlooks=outlooks))
    assert failed(derived_forms_agree(other, small, small.table)) == {"tabled_difference"}


@pytest.mark.parametrize("size", [1, 7, 32, 33])
def test_an_outlook_and_its_logits_are_the_same_bytes_in_any_company(small, size):
    X = canonical(small.everyone.X[:1000])
    prior = [i % 3 for i in range(len(X))]
    status = [i % small.policy.process.n_statuses for i in range(len(X))]
    arms = [[0, 1, 2, 3, 4]] * len(X)
    together = small.derived.compute(X, prior)
    logits = small.derived.logits(together, status, [0] * len(X), arms, 0.7)
    for start in range(0, 231, size):
        rows = slice(start, start + size)
        apart = small.derived.compute(X[rows], prior[rows])
        assert apart.tobytes() == together[rows].tobytes()
        count = len(apart)
        found = small.derived.logits(apart, status[rows], [0] * count, arms[:count], 0.7)
        assert found.tobytes() == logits[rows].tobytes()


def test_known_are_customers_whose_features_are_unchanged_and_who_had_no_other_offer(small):
    X = canonical(small.table.X[:4])
    X[1, small.schema.tenure_index] += 1
    outlooks, known = small.derived.outlooks(X, [0, 0, 2, 0])
    assert known == [True, False, False, True]
    assert outlooks.tobytes() == small.derived.compute(X, [0, 0, 2, 0]).tobytes()


def test_forms_come_back_from_their_files_as_they_were(small, tmp_path):
    save_derived(small.derived, tmp_path)
    loaded = load_derived(tmp_path)
    X = canonical(small.everyone.X[:50])
    assert loaded.compute(X, [1] * 50).tobytes() == small.derived.compute(X, [1] * 50).tobytes()
    assert loaded.outlooks(X, [0] * 50)[1] == small.derived.outlooks(X, [0] * 50)[1]
    again = tmp_path / "again"
    again.mkdir()
    save_derived(loaded, again)
    assert {f.name: f.read_bytes() for f in again.iterdir()} == {
        f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("accept.reachable", lambda array: array[:-1]),
        ("known.risk", lambda array: array[:-1]),
        ("spline.coefficients", lambda array: array * np.nan),
        ("policy.0.weight", lambda array: array.T.copy()),
        ("grid.counts", lambda array: array + 1),
        ("size.values", lambda array: array.astype(np.int64)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused_by_name(small, tmp_path, name, change):
    save_derived(small.derived, tmp_path)
    tensors = read_tensors(tmp_path / TENSORS)
    write_tensors(tensors | {name: change(tensors[name])}, tmp_path / TENSORS)
    with pytest.raises(CorruptArtifact, match=TENSORS):
        load_derived(tmp_path)


@pytest.mark.parametrize("kind", ["spline_logistic", "boosting"])
def test_a_risk_model_of_one_part_and_customers_without_tenure_have_forms_too(kind):
    customers = real_experiment().customers
    plain = customers.model_copy(update={"tenure": None, "exclude": ("gender",)})
    config = real_experiment().risk_model.model_copy(update={"kind": kind, "monotone": {}})
    fitted = fit_models(plain, config, share=0.1)
    assert not failed(derived_forms_agree(fitted.derived, fitted, fitted.table))


@pytest.mark.parametrize("leaves", [2, 8, 9, 31, 64])
def test_trees_of_up_to_64_leaves_fit_into_words(leaves):
    rng = np.random.default_rng(leaves)
    X = rng.normal(0, 1, (3000, 4)).round(1)
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nan_to_num(X).prod(axis=1) + rng.normal(0, 0.3, len(X)) > 0
    model = HistGradientBoostingClassifier(max_iter=7, max_leaf_nodes=leaves, min_samples_leaf=3).fit(X, y)
    trees = boosting_trees(model)
    edges = [
        [node.edge for tree in trees for node in tree if getattr(node, "feature", None) == f]
        for f in range(4)
    ]
    grid = Grid(edges_of(edges), (0, 0, 0, 0))
    forest = Forest.build(trees, float(model._baseline_prediction[0, 0]), grid)
    logits = forest.total(forest.left_by(grid.cells(X)))
    assert np.abs(logits - model.decision_function(X)).max() < 1e-12


def test_a_tree_of_more_leaves_is_refused():
    branch = SimpleNamespace(feature=0)
    with pytest.raises(ValueError, match="a tree of 65 leaves, expected at most 64"):
        Forest.build([[branch] * 64 + [1.0] * 65], 0.0, Grid((np.zeros(0),), (0,)))
