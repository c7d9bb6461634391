"""A small table of another company: other names, no label text, blanks, booleans."""

import numpy as np
import pandas as pd
import pytest

from churn_assets.customers.config import CustomersConfig


@pytest.fixture
def raw() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 60
    frame = pd.DataFrame(
        {
            "account": np.arange(1000, 1000 + n),
            "left": rng.integers(0, 2, n),
            "fee": rng.uniform(5, 90, n).round(2),
            "plan": rng.choice(["basic", "plus", "pro"], n),
            "autopay": rng.random(n) < 0.5,
            "calls": rng.integers(0, 9, n).astype(float),
            "notes": [f"call {i} about something" for i in range(n)],
        }
    )
    frame.loc[3, "calls"] = np.nan
    return frame


@pytest.fixture
def config() -> CustomersConfig:
    return CustomersConfig(
        source="table.csv",
        id="account",
        label={"column": "left", "positive": 1, "window_months": 1},
        monthly_revenue="fee",
        exclude=("notes",),
    )
