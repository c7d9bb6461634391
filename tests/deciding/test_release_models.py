"""What a release decides with says what training and gates say, alike in any company, and comes back from its files."""

from dataclasses import replace

import numpy as np
import pytest
from small_models import fit_models, policy_by_hand, real_experiment

from churn_assets.arms import ArmConfig, Catalogue, Condition, PercentOff
from churn_assets.deciding.decider import CustomerInput, Decider
from churn_assets.deciding.files import TENSORS, load_models, save_models
from churn_assets.deciding.release_models import ReleaseModels, canonical, own_arms
from churn_assets.decision.observation import Observer
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import build_tables
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.files import read_tensors, write_tensors

PRICES = (0.0, 0.5, 4.0)


def seen_by_gates(models: ReleaseModels, table, prior, state, used, price):
    """Logits as training, gates and off-policy evaluation have them, of whatever is allowed; nan of the rest."""
    tables = build_tables(table, models.responses, prior_offers=prior)
    n = len(table)
    observed = Observer(tables, models.process).observe(
        np.arange(n), np.zeros(n, np.int64), state, used, np.full(n, price, np.float32)
    )
    logits = models.policy.logits(observed)
    return np.where(logits > -1e6, logits, np.nan)


@pytest.mark.parametrize("price", PRICES)
def test_a_decision_is_shown_what_a_policy_is_trained_and_judged_on(small, price):
    models, rng = small.models, np.random.default_rng(0)
    table = small.everyone.where(np.arange(len(small.everyone)) < 400)
    n, process = len(table), models.process
    prior, used = rng.integers(0, 4, n), rng.integers(0, process.max_offers + 1, n)
    state = rng.integers(0, process.n_states, n)
    expected = seen_by_gates(models, table, prior, state, used, price)

    found = models.compute(canonical(table.X), prior.tolist())
    logits = models.logits(found, state.tolist(), used.tolist(), own_arms(found), price)

    # Single precision, summed in another order; without a price both are shown the very same numbers.
    known = ~np.isnan(expected)
    assert known.any(axis=1).all()
    assert np.abs(logits - expected)[known].max() < 2e-4


@pytest.mark.parametrize("size", [1, 7, 32, 33])
def test_an_outlook_and_its_logits_are_the_same_bytes_in_any_company(small, size):
    X = canonical(small.everyone.X[:1000])
    prior = [i % 3 for i in range(len(X))]
    state = [i % small.policy.process.n_states for i in range(len(X))]
    together = small.models.compute(X, prior)
    logits = small.models.logits(together, state, [0] * len(X), own_arms(together), 0.7)
    for start in range(0, 231, size):
        rows = slice(start, start + size)
        apart = small.models.compute(X[rows], prior[rows])
        assert apart.tobytes() == together[rows].tobytes()
        found = small.models.logits(apart, state[rows], [0] * len(apart), own_arms(apart), 0.7)
        assert found.tobytes() == logits[rows].tobytes()


def test_known_are_customers_whose_features_are_unchanged_and_who_had_no_other_offer(small):
    X = canonical(small.table.X[:4])
    X[1, small.schema.tenure_index] += 1
    found, known = small.models.outlooks(X, [0, 0, 2, 0])
    assert known == [True, False, False, True]
    assert found.tobytes() == small.models.compute(X, [0, 0, 2, 0]).tobytes()


def test_the_least_of_a_band_is_never_above_its_most_for_anybody(small):
    """An offer that costs more the longer a customer stays is worth less where its effect lasts."""
    process = replace(
        small.models.process,
        frailty=1.0,
        frailty_band=(0.0, 1.5),
        effect_decay=0.1,
        effect_decay_band=(0.0, 0.9),
    )
    models = replace(small.models, policy=replace(small.models.policy, process=process))
    found = models.compute(canonical(small.table.X[:500]), [0] * 500)
    offers = (slice(None), slice(None), slice(1, None))
    low, value, high = (found[name][offers] for name in ("low", "value", "high"))
    assert (low <= value).all()
    assert (value <= high).all()
    assert (low < high).mean() > 0.9


def test_the_band_of_a_release_that_kept_it_in_another_order_is_put_in_order(small, tmp_path):
    save_models(small.models, tmp_path)
    tensors = read_tensors(tmp_path / TENSORS)
    value = tensors["known.value"]
    write_tensors(tensors | {"known.low": value + 1, "known.high": value - 1}, tmp_path / TENSORS)
    known = load_models(tmp_path).known.outlooks
    assert (known["low"] == known["value"] - 1).all()
    assert (known["high"] == known["value"] + 1).all()


def test_they_come_back_from_their_files_as_they_were(small, tmp_path):
    save_models(small.models, tmp_path)
    loaded = load_models(tmp_path)
    X = canonical(small.everyone.X[:50])
    assert loaded.compute(X, [1] * 50).tobytes() == small.models.compute(X, [1] * 50).tobytes()
    assert loaded.outlooks(X, [0] * 50)[1] == small.models.outlooks(X, [0] * 50)[1]
    again = tmp_path / "again"
    again.mkdir()
    save_models(loaded, again)
    assert {f.name: f.read_bytes() for f in again.iterdir()} == {
        f.name: f.read_bytes() for f in tmp_path.iterdir() if f.is_file()
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("accept.reachable", lambda array: array[:-1]),
        ("known.risk", lambda array: array[:-1]),
        ("known.allowed", lambda array: array.astype(np.float64)),
        ("spline.coefficients", lambda array: array * np.nan),
        ("policy.0.weight", lambda array: array.T.copy()),
        ("grid.counts", lambda array: array + 1),
        ("boosted.values", lambda array: array.astype(np.int64)),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused_by_name(small, tmp_path, name, change):
    save_models(small.models, tmp_path)
    tensors = read_tensors(tmp_path / TENSORS)
    write_tensors(tensors | {name: change(tensors[name])}, tmp_path / TENSORS)
    with pytest.raises(CorruptArtifact, match=TENSORS):
        load_models(tmp_path)


@pytest.mark.parametrize("kind", ["spline_logistic", "boosting"])
def test_a_risk_model_of_one_part_and_customers_without_tenure_decide_too(kind, tmp_path):
    customers = real_experiment().customers
    plain = customers.model_copy(update={"tenure": None, "exclude": ("gender",)})
    config = real_experiment().risk_model.model_copy(update={"kind": kind, "monotone": {}})
    fitted = fit_models(plain, config, share=0.1)
    save_models(fitted.models, tmp_path)
    nothing = np.zeros(len(fitted.table), np.int64)
    expected = seen_by_gates(fitted.models, fitted.table, nothing, nothing, nothing, 0.0)

    found, known = load_models(tmp_path).outlooks(canonical(fitted.table.X), nothing.tolist())

    assert all(known)
    assert np.abs(found["logits"] - expected).max() < 2e-4


def test_an_arms_own_condition_holds_for_the_known_and_for_anybody_else(small):
    fibre = Condition(column="InternetService", one_of=("Fiber optic",))
    menu = Catalogue(
        declared=(ArmConfig(id="fibre_deal", terms=PercentOff(share=0.25, months=6), eligible=(fibre,)),)
    ).menu([0.0, 0.05, "fibre_deal"])
    process = replace(small.policy.process, menu=menu)
    responses = ResponseModels.of(small.risk, small.accept, small.effect, process)
    models = ReleaseModels.build(responses, policy_by_hand(small.table, process), small.table.X)
    decider = Decider(models, "a release")
    table = small.everyone.where(np.arange(len(small.everyone)) < 300)
    names = table.schema.names
    asked = [
        CustomerInput(
            str(i), {name: None if value != value else value for name, value in zip(names, row, strict=True)}
        )
        for i, row in enumerate(table.frame[list(names)].itertuples(index=False, name=None))
    ]

    decided = decider.decide(asked)

    forbidden = [each.arms[2].forbidden for each in decided]
    wanted = [None if value == "Fiber optic" else "not_eligible" for value in table.frame["InternetService"]]
    assert forbidden == wanted
    assert {each.known for each in decided} == {True, False}
    assert all(each.arm != 2 for each, rule in zip(decided, forbidden, strict=True) if rule)
    assert any(each.arm == 2 for each in decided)
