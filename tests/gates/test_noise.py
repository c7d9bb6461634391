"""A gate on an estimate: what just keeps the limit passes, what lies as far beyond as is said is found."""

from statistics import NormalDist

import numpy as np
import pytest

from churn_assets.gates.leaks import lone_band
from churn_assets.gates.metrics import auc, auc_estimate, brier_skill
from churn_assets.gates.noise import NoiseBand, gate_beyond_noise

DRAWN, ROWS = 300, 400


def _auc(y, p):
    return auc_estimate(y, p)


def _clustered_auc(y, p):
    return auc_estimate(np.repeat(y, 3), np.repeat(p, 3), np.repeat(np.arange(len(y)), 3))


def _skill(y, p):
    return brier_skill(y, p, 0.3)


@pytest.mark.parametrize("measured", [_auc, _clustered_auc, _skill])
def test_a_gate_is_wrong_as_seldom_and_finds_as_much_as_it_says(measured):
    rng = np.random.default_rng(4)
    p = rng.beta(0.8, 1.9, ROWS)
    found = [measured((rng.random(ROWS) < p).astype(np.int8), p) for _ in range(DRAWN)]
    truth = float(np.mean([each.value for each in found]))
    bands = [NoiseBand.of(each.standard_error) for each in found]

    def refused(limit):
        gates = [
            gate_beyond_noise("figure", each, ">=", limit(band), band)
            for each, band in zip(found, bands, strict=True)
        ]
        return np.mean([not gate.passed for gate in gates])

    assert refused(lambda band: truth) <= 0.05
    assert refused(lambda band: truth + band.seen) >= 0.8


@pytest.mark.parametrize("churners", [25, 100, 400])
def test_a_column_that_ranks_as_well_as_is_believed_passes_and_one_as_much_better_is_found(churners):
    """The strongest of twenty that are all as strong as is believed; a normal band would reach beyond 1."""
    y = np.repeat([1, 0], [churners, 500]).astype(np.int8)
    band = lone_band(y, 0.9, 20, 0.05)
    assert 0.9 + band.seen < 1

    def refused(true, columns):
        rng = np.random.default_rng(churners)
        shift = np.sqrt(2) * NormalDist().inv_cdf(true)
        drawn = [max(auc(y, rng.normal(size=len(y)) + shift * y) for _ in range(columns)) for _ in range(60)]
        return np.mean(np.array(drawn) > 0.9 + band.width)

    assert refused(0.9, 20) <= 0.1
    assert refused(0.9 + band.seen, 1) >= 0.8


def test_a_copy_of_the_label_is_found_however_few_customers_there_are():
    y = np.repeat([1, 0], [5, 50]).astype(np.int8)
    assert auc(y, y) > 0.9 + lone_band(y, 0.9, 300, 0.0015).width


def test_a_clustered_auc_of_copies_is_as_uncertain_as_the_originals():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, 500)
    y = (rng.random(500) < p).astype(np.int8)
    copies = auc_estimate(np.tile(y, 4), np.tile(p, 4), np.tile(np.arange(500), 4))
    alone = auc_estimate(y, p)
    assert copies.value == pytest.approx(alone.value)
    assert copies.standard_error == pytest.approx(alone.standard_error, rel=0.1)
