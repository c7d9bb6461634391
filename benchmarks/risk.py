"""Churn risk: our estimator against LightGBM, XGBoost and CatBoost on the same folds of Telco.

Repeated stratified 5-fold over all 19 columns; the pipeline itself drops TotalCharges, which no projection
keeps honest. Needs the extra `benchmarks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import catboost  # isort: skip
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from sklearn.model_selection import RepeatedStratifiedKFold

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.experiment import load_experiment
from churn_assets.gates.metrics import auc, brier, calibration_error, calibration_noise, log_losses
from churn_assets.risk.search import fit_chosen

ROOT = Path(__file__).parents[1]
FOLDS, REPEATS, SEED = 5, 3, 0

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Contender = Callable[[Floats, Labels, Floats], Floats]
"""(X, y) to fit on and X to predict -> risks."""


def contenders(table: CustomerTable) -> dict[str, Contender]:
    """Ours as in the quickstart, and each peer with the best of a few settings tried for it on this table."""
    categorical = [i for i, feature in enumerate(table.schema.features) if feature.kind == "categorical"]
    config = load_experiment("quickstart", ROOT / "configs").risk_model

    def ours(X: Floats, y: Labels, new: Floats) -> Floats:
        return fit_chosen(X, y, table.schema, config, seed=SEED).predict(new)

    def light(X: Floats, y: Labels, new: Floats) -> Floats:
        model = lightgbm.LGBMClassifier(
            n_estimators=150,
            learning_rate=0.05,
            num_leaves=6,
            min_child_samples=40,
            reg_lambda=5,
            subsample=0.8,
            subsample_freq=1,
            colsample_bytree=0.5,
            n_jobs=1,
            verbose=-1,
            random_state=SEED,
        )
        model.fit(pd.DataFrame(X), y, categorical_feature=categorical)
        return model.predict_proba(pd.DataFrame(new))[:, 1]

    def extreme(X: Floats, y: Labels, new: Floats) -> Floats:
        model = xgboost.XGBClassifier(
            n_estimators=200,
            learning_rate=0.05,
            max_depth=3,
            min_child_weight=5,
            reg_lambda=5,
            subsample=0.8,
            colsample_bytree=0.5,
            n_jobs=1,
            random_state=SEED,
            enable_categorical=True,
            feature_types=["c" if i in categorical else "q" for i in range(X.shape[1])],
        )
        return model.fit(X, y).predict_proba(new)[:, 1]

    def cat(X: Floats, y: Labels, new: Floats) -> Floats:
        def typed(values: Floats) -> pd.DataFrame:
            return pd.DataFrame(values).astype(dict.fromkeys(categorical, int))

        model = catboost.CatBoostClassifier(
            iterations=300,
            learning_rate=0.05,
            depth=4,
            l2_leaf_reg=5,
            cat_features=categorical,
            thread_count=1,
            random_seed=SEED,
            verbose=0,
            allow_writing_files=False,
        )
        return model.fit(typed(X), y).predict_proba(typed(new))[:, 1]

    return {"ours": ours, "lightgbm": light, "xgboost": extreme, "catboost": cat}


def scores(y: Labels, risk: Floats) -> tuple[float, float, float]:
    """AUC, Brier score and log loss."""
    return auc(y, risk), brier(y, risk), float(log_losses(y, risk).mean())


def measure() -> Sequence[Figure]:
    """Scores every contender on every fold."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    config = experiment.customers.model_copy(update={"path_dependent": {"TotalCharges": "freeze"}})
    table = read_customers(config, seed=experiment.seed, root=ROOT)
    X, y = np.array(table.X), table.y
    fits = contenders(table)
    scored: dict[str, list[tuple[float, float, float]]] = {name: [] for name in fits}
    pooled = np.empty((REPEATS, len(y)))
    split = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=SEED)
    for number, (fitted, left_out) in enumerate(split.split(X, y)):
        for name, fit in fits.items():
            risk = fit(X[fitted], y[fitted], X[left_out])
            scored[name].append(scores(y[left_out], risk))
            if name == "ours":
                pooled[number // FOLDS, left_out] = risk
    rng = np.random.default_rng(SEED)
    ece = float(np.mean([calibration_error(y, risk) for risk in pooled]))
    noise = np.array([calibration_noise(risk, rng) for risk in pooled])
    seldom = float(np.quantile(noise, 0.95))
    return [
        *_against_peers(scored),
        Figure(
            "ece", ece, "<=", seldom, "15 equal-mass bins, pooled over folds; bar: by chance once in twenty"
        ),
        Figure("ece_noise_floor", float(noise.mean()), note="a perfectly calibrated model, on average"),
    ]


def _against_peers(scored: Mapping[str, Sequence[tuple[float, float, float]]]) -> list[Figure]:
    means = {name: np.mean(rows, axis=0) for name, rows in scored.items()}
    errors = {name: np.std(rows, axis=0, ddof=1) / np.sqrt(len(rows)) for name, rows in scored.items()}
    peers = [name for name in scored if name != "ours"]
    ours: list[Figure] = []
    theirs: list[Figure] = []
    for column, (key, sign) in enumerate([("auc", 1), ("brier", -1), ("log_loss", -1)]):
        best = max(peers, key=lambda name: sign * means[name][column])
        bar = float(means[best][column] - sign * errors[best][column] / 2)
        note = f"bar: half a standard error ({errors[best][column]:.4f}) worse than {best}"
        ours.append(Figure(key, float(means["ours"][column]), ">=" if sign > 0 else "<=", bar, note))
        theirs.append(Figure(f"best_peer_{key}", float(means[best][column]), note=best))
        theirs += [Figure(f"{name}_{key}", float(means[name][column])) for name in peers]
    return [*ours, *theirs]


if __name__ == "__main__":
    main(__doc__, measure)
