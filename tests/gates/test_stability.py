"""The population stability index, against its formula and at its edges."""

import numpy as np
import pandas as pd
import pytest

from churn_assets.gates.stability import population_stability


def test_it_is_the_formula_over_categories():
    reference = pd.Series(["a"] * 600 + ["b"] * 400)
    current = pd.Series(["a"] * 300 + ["b"] * 700)
    psi, degrees = population_stability(reference, current)
    shares = [(np.array(counts) + 0.5) / 1001 for counts in ((600, 400), (300, 700))]
    assert psi == pytest.approx(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum(), rel=1e-12)
    assert degrees == 1


def test_a_number_is_compared_by_the_deciles_of_the_reference():
    reference = pd.Series(np.arange(1000.0))
    assert population_stability(reference, reference) == (0.0, 9)
    assert population_stability(reference, 100 * reference)[0] > 2


@pytest.mark.parametrize("sides", [(0, 1), (1, 0)])
def test_a_column_without_any_value_is_far_from_one_with_values(sides):
    columns = pd.Series([np.nan] * 500), pd.Series(np.arange(500.0))
    psi, _ = population_stability(*(columns[side] for side in sides))
    assert psi > 5


@pytest.mark.parametrize(
    ("ones_then", "ones_now", "least", "most"),
    [(0.05, 0.6, 1.0, 9.0), (0.0, 0.5, 1.0, 9.0), (0.05, 0.05, 0.0, 0.01)],
)
def test_a_number_that_is_nearly_always_the_same_is_compared_by_how_often_it_is_another(
    ones_then, ones_now, least, most
):
    rng = np.random.default_rng(7)
    then, now = (pd.Series((rng.random(5_000) < share).astype(float)) for share in (ones_then, ones_now))
    psi, _ = population_stability(then, now)
    assert least <= psi <= most
