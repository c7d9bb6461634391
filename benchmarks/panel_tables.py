"""Several rows a customer: monthly panels as the customers' table, copies under made-up ids, and what comes too late.

The demo table four times, a month apart, under ids of the rows: what its held-out AUC claims, whether it is refused,
and what it is with `id` and `row_date`. A made-up panel with known truth: held-out and out-of-time AUC against that of
customers and months that nobody saw. Honest tables of few values: how often they are taken for copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import pandas as pd

from churn_assets.customers import gates as customer_gates
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.copies import near_copies
from churn_assets.customers.table import CustomerTable, CustomerTableError, learnable
from churn_assets.gates.metrics import auc
from churn_assets.risk import gates
from churn_assets.risk.config import BoostingConfig, RiskGates, RiskModelConfig
from churn_assets.risk.model import RiskModel
from churn_assets.risk.search import fit_chosen
from churn_assets.tables.problems import Problems
from churn_assets.tables.raw import RawTable

ROOT = Path(__file__).parents[1]
SEEDS = range(5)
HONEST = 400
BY_HEART = RiskModelConfig(
    kind="boosting",
    boosting=BoostingConfig(
        learning_rate=0.1,
        max_iter=60,
        max_leaf_nodes=64,
        min_samples_leaf=5,
        l2_regularization=1.0,
        max_features=1.0,
    ),
)
"""Large trees: they remember whoever stands on both sides of a split."""
USUAL = RiskModelConfig(kind="logit_mean")
MONTHS = pd.date_range("2025-01-01", periods=15, freq="MS")


def read(frame: pd.DataFrame, config: CustomersConfig, seed: int) -> CustomerTable:
    """A table in memory, by the rules of any."""
    return learnable(
        RawTable.of_frame(frame, "table.csv"), config, seed, Problems("table.csv", CustomerTableError)
    )


def telco() -> pd.DataFrame:
    """The demo table, a row a customer."""
    frame = pd.read_csv(ROOT / "data" / "telco_customer_churn.csv", dtype=str)
    numbers = ["tenure", "MonthlyCharges", "TotalCharges"]
    return frame.assign(**{name: pd.to_numeric(frame[name], errors="coerce") for name in numbers})


def copied(once: pd.DataFrame, rng: np.random.Generator, times: int = 4) -> pd.DataFrame:
    """Each customer several times, a month apart: tenure and bills grow, usage differs, the label stays."""
    parts = []
    for month in range(times):
        grown = once.assign(
            month=MONTHS[month].date().isoformat(),
            tenure=once["tenure"] + month,
            TotalCharges=(once["TotalCharges"] + month * once["MonthlyCharges"]).round(2),
            calls=rng.poisson(3, len(once)),
            gigabytes=rng.gamma(3, 4, len(once)).round(1),
        )
        parts.append(grown)
    mixed = pd.concat(parts).sample(frac=1, random_state=int(rng.integers(2**31)))
    return mixed.assign(row=[f"row-{number}" for number in range(len(mixed))]).reset_index(drop=True)


def telco_config(**changes: object) -> CustomersConfig:
    """As the quickstart has it, but for some keys."""
    plain = {
        "source": "table.csv",
        "id": "customerID",
        "label": {"column": "Churn", "positive": "Yes", "window_months": 3},
        "monthly_revenue": "MonthlyCharges",
        "tenure": "tenure",
    }
    return CustomersConfig.model_validate(plain | changes)


def monthly_panel(customers: int, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.Series]:
    """Customers who join in the first months, live on from month to month and leave by a hazard that has seen the row.

    Returns:
        A row a customer and month: what is known then, and the day on which the customer leaves, if ever. And the
        chance, at each row, of leaving in the three months after it, were its features to stay.
    """
    fixed = pd.DataFrame(
        {
            "account": [f"c{number}" for number in range(customers)],
            "plan": rng.choice(["basic", "plus", "pro"], customers, p=[0.5, 0.3, 0.2]),
            "pays": rng.choice(["card", "debit", "bill"], customers),
            "region": rng.choice(list("abcdefgh"), customers),
            "fee": rng.choice([19.9, 24.9, 29.9, 39.9, 59.9], customers) + rng.integers(0, 12, customers) / 2,
        }
    )
    hidden, joined = rng.normal(0, 0.5, customers), rng.integers(-30, 6, customers)
    use, left = rng.normal(0, 1, customers), np.zeros(customers, dtype=bool)
    parts, chances = [], []
    leaving = np.full(customers, None, dtype=object)
    for number, day in enumerate(MONTHS):
        use = 0.8 * use + 0.6 * rng.normal(0, 1, customers)
        here = (joined <= number) & ~left
        tenure = number - joined
        logit = (
            -3.4
            - 0.9 * use
            + 0.7 * (fixed["plan"] == "basic")
            + 0.03 * (fixed["fee"] - 30)
            - 0.03 * tenure
            + hidden
        )
        hazard = 1 / (1 + np.exp(-logit.to_numpy()))
        row = fixed.assign(month=day.date().isoformat(), tenure=tenure, use=use.round(2))
        parts.append(row[here])
        chances.append(pd.Series(1 - (1 - hazard[here]) ** 3))
        leaves = here & (rng.random(customers) < hazard)
        leaving[leaves] = (day + pd.Timedelta(days=15)).date().isoformat()
        left |= leaves
    rows = pd.concat(parts, ignore_index=True)
    days = dict(zip(fixed["account"], leaving, strict=True))
    return rows.assign(left_on=rows["account"].map(days)), pd.concat(chances, ignore_index=True)


def panel_config(**changes: object) -> CustomersConfig:
    """Of `monthly_panel`."""
    plain = {
        "source": "table.csv",
        "id": "account",
        "row_date": "month",
        "label": {"column": "left_on", "window_months": 3},
        "monthly_revenue": "fee",
        "tenure": "tenure",
    }
    return CustomersConfig.model_validate(plain | changes)


def measure() -> Sequence[Figure]:
    """All of it: some ten minutes."""
    return [*_copies(), *_panels(), *_honest(), *_too_late()]


def _copies() -> list[Figure]:
    true, claimed, grouped, refused = [], [], [], []
    for seed in SEEDS:
        once, rng = telco(), np.random.default_rng(seed)
        frame = copied(once, rng)
        true.append(_held_out(read(once, telco_config(), seed)))
        by_row = read(frame.drop(columns=["customerID", "month"]), telco_config(id="row"), seed)
        refused.append(
            not all(gate.passed for gate in customer_gates.split(by_row, panel_config().gates).gates)
        )
        claimed.append(_held_out(by_row))
        ahead = {"column": "Churn", "positive": "Yes", "window_months": 3, "ahead": True}
        by_customer = read(frame, telco_config(row_date="month", label=ahead, exclude=["row"]), seed)
        grouped.append(_held_out(by_customer))
    apart = np.abs(np.subtract(grouped, true))
    return [
        Figure(
            "copied_refused", float(np.mean(refused)), ">=", 1.0, "four rows a customer under ids of the rows"
        ),
        Figure("copied_auc_claimed", float(np.mean(claimed)), note="what its held-out AUC would have said"),
        Figure("true_auc", float(np.mean(true)), note="a row a customer"),
        Figure("panel_auc", float(np.mean(grouped)), note="the same rows with id and row_date"),
        Figure(
            "panel_auc_off", float(apart.mean()), "<=", 0.01, f"most {apart.max():.4f} of {len(true)} seeds"
        ),
    ]


def _held_out(table: CustomerTable) -> float:
    """AUC on held-out customers of one fit on the others."""
    rows, judged = table.labelled, table.judged.where(table.judged.held_out)
    seen = rows.where(~rows.held_out)
    customer = np.unique(seen.ids, return_inverse=True)[1]
    fitted = fit_chosen(seen.X, seen.y, table.schema, BY_HEART, customer=customer, seed=0)
    return auc(judged.y, fitted.predict(judged.X))


def _panels() -> list[Figure]:
    off, later, ahead, kept = [], [], [], []
    for seed in SEEDS:
        rng = np.random.default_rng(100 + seed)
        table = read(monthly_panel(6_000, rng)[0], panel_config(), seed)
        others = read(monthly_panel(20_000, rng)[0], panel_config(), seed)
        model = RiskModel.fit(table, USUAL)
        judged = table.judged.where(table.judged.held_out)
        off.append(
            auc(judged.y, model.predict_customers(judged))
            - auc(others.judged.y, model.predict_customers(others.judged))
        )
        outcomes = gates.discrimination(model, table, LENIENT), gates.calibration(model, table, LENIENT)
        figures = {gate.name: gate.figure for outcome in outcomes for gate in outcome.gates}
        later.append(figures["out_of_time_auc"])
        newest = others.labelled.where(np.asarray(others.labelled.days == others.labelled.days.max()))
        ahead.append(figures["out_of_time_auc"] - auc(newest.y, model.predict_customers(newest)))
        kept.append(all(gate.passed for outcome in outcomes for gate in outcome.gates))
    return [
        Figure(
            "panel_held_out_off",
            float(np.mean(off)),
            note="held-out AUC less that of 20,000 customers nobody saw",
        ),
        Figure("panel_held_out_off_size", float(np.abs(np.mean(off))), "<=", 0.01),
        Figure(
            "out_of_time_auc",
            float(np.mean(later)),
            note="the last window, by a model of what was known before",
        ),
        Figure(
            "out_of_time_off",
            float(np.abs(np.mean(ahead))),
            "<=",
            0.02,
            "from the AUC of others in the last month",
        ),
        Figure("panel_gates_kept", float(np.mean(kept)), ">=", 1.0, "of sound models"),
    ]


LENIENT = RiskGates(min_auc=0.6, min_brier_skill=0.0)
"""Of a world in which much is hidden."""


def _honest() -> list[Figure]:
    """Independent rows of few values, of the demo's rows with replacement, and of numbers."""
    base = read(telco(), telco_config(), 0)
    taken = 0
    for seed in range(HONEST):
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(base), int(rng.choice([500, 2_000, 7_000])))
        columns = rng.permutation(len(base.schema.names))[: rng.integers(1, len(base.schema.names) + 1)]
        features = tuple(base.schema.features[column] for column in columns)
        schema = base.schema.model_copy(update={"features": features, "monthly_revenue": features[0].name})
        taken += near_copies(base.X[np.ix_(rows, columns)], schema).share > 0
    return [Figure("honest_taken_for_copies", taken / HONEST, "<=", 0.005, f"of {HONEST} tables")]


def _too_late() -> list[Figure]:
    """A column that is written once the customer has left, a date after its row, and a row after the decision."""
    refused = []
    for seed in SEEDS:
        rng = np.random.default_rng(200 + seed)
        frame, _ = monthly_panel(2_000, rng)
        for changed, settings in (
            (frame.assign(final_bill=frame["left_on"].notna().map({True: "sent", False: "none"})), {}),
            (frame.assign(last_call=frame["left_on"].fillna("2025-01-01")), {"dates": ["last_call"]}),
        ):
            refused.append(_is_refused(changed, panel_config(**settings), seed))
    return [Figure("late_features_refused", float(np.mean(refused)), ">=", 1.0, "by name")]


def _is_refused(frame: pd.DataFrame, config: CustomersConfig, seed: int) -> bool:
    try:
        table = read(frame, config, seed)
    except CustomerTableError as error:
        return "last_call" in str(error)
    outcome = gates.discrimination(RiskModel.fit(table, USUAL), table, LENIENT)
    return any(not gate.passed and "final_bill" in gate.detail for gate in outcome.gates)


if __name__ == "__main__":
    main(__doc__, measure)
