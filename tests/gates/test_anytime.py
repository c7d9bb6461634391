"""Inference that may be looked at every day keeps its error over all looks; oracles that share no line with it."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from churn_assets.gates.anytime import bounds_at, evidence_above, mixture_z, more_needed, share_of_error
from churn_assets.gates.estimates import Estimate, clustered_mean

LOOKS, HISTORIES = 52, 1_000


def allowed(error, histories=HISTORIES):
    """What noise may add to a share that is at most `error`."""
    return error + 3 * math.sqrt(error * (1 - error) / histories)


@pytest.mark.parametrize("error", [0.05, 0.01, 1e-4])
@pytest.mark.parametrize("progress", [0.05, 1.0, 20.0])
def test_the_bound_is_where_the_mixed_likelihood_ratio_says_but_for_a_closed_form_that_is_no_tighter(
    progress, error
):
    """The boundary solves an integral; the closed form lies above it, and by less than a tenth."""
    told = -2 * math.log(2 * error)
    variance = progress * (
        told + math.log1p(told)
    )  # in units of r: the drift is half normal with variance 1 / r

    def evidence(z):
        total = z * math.sqrt(variance)

        def exponent(drift):
            return drift * total - drift**2 * variance / 2

        mode = total / variance
        found, _ = integrate.quad(
            lambda drift: 2 * error * math.exp(exponent(drift) - drift**2 / 2) / math.sqrt(2 * math.pi),
            0,
            2 * mode + 10,
            points=[mode],
            limit=100,
        )
        return found - 1

    exact = optimize.brentq(evidence, 0.5, 12)
    assert exact <= mixture_z(progress, error) <= 1.1 * exact


def test_shares_of_an_error_add_up_to_it_however_many_there_are():
    spent = sum(share_of_error(number, 0.05) for number in range(1, 100_000))
    assert 0.0499 < spent < 0.05


@pytest.mark.parametrize("again", [0.0, 0.5, 1.0], ids=["new customers", "half of them again", "the same"])
def test_bounds_hold_at_all_looks_of_heavy_tailed_differences_whoever_comes_again(again):
    """A doubly robust difference is 0 for most and far out for a few; a customer's luck stays with them."""
    rng = np.random.default_rng(5)
    missed = [0, 0]
    for _ in range(200):
        held = differences(rng, 400)
        values, names = np.empty(0), np.empty(0, np.int64)
        wrong = [False, False]
        for look in range(16):
            fresh = differences(rng, 400)
            same = rng.random(400) < again
            values = np.concatenate([values, np.where(same, held, fresh)])
            names = np.concatenate([names, np.where(same, np.arange(400), 400 * (look + 1) + np.arange(400))])
            found = bounds_at(clustered_mean(values, names), len(values), 5_000, 0.05)
            wrong = [wrong[0] or found.lower > 0, wrong[1] or found.upper < 0]
        missed = [missed[0] + wrong[0], missed[1] + wrong[1]]
    assert max(missed) / 200 <= allowed(0.05, 200)


def differences(rng, rows):
    happens = rng.random(rows) < 0.27
    return happens * rng.choice([-2.0, 2.0], rows) * (200 * (rng.random(rows) < 0.8) - 160)


def test_a_fixed_sample_bound_would_not_hold():
    rng = np.random.default_rng(6)
    sums = rng.standard_normal((HISTORIES, LOOKS)).cumsum(axis=1)
    z = sums / np.sqrt(np.arange(1, LOOKS + 1))
    assert (z > 1.645).any(axis=1).mean() > 0.2
    reach = np.array([mixture_z(look / LOOKS, 0.05) for look in range(1, LOOKS + 1)])
    assert (z > reach).any(axis=1).mean() <= allowed(0.05)


def test_candidates_one_after_another_share_one_error():
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(HISTORIES):
        for number in range(1, 14):
            z = rng.standard_normal(4).cumsum() / np.sqrt(np.arange(1, 5))
            reach = [mixture_z(look / 4, share_of_error(number, 0.05)) for look in range(1, 5)]
            if (z > reach).any():
                wrong += 1
                break
    assert wrong / HISTORIES <= allowed(0.05)


def test_what_is_still_needed_is_what_it_takes():
    now = bounds_at(Estimate(1.0, 1.0), 2_000, 5_000, 0.05)
    more = more_needed(now, 2_000, 5_000)
    times = (2_000 + more) / 2_000
    then = bounds_at(Estimate(1.0, 1.0 / math.sqrt(times)), 2_000 + more, 5_000, 0.05)
    assert 0 < then.lower < 1e-3
    assert more_needed(then, 2_000 + more, 5_000) == 0
    assert more_needed(bounds_at(Estimate(-1.0, 1.0), 2_000, 5_000, 0.05), 2_000, 5_000) is None
    assert more_needed(bounds_at(Estimate(math.nan, math.nan), 1, 5_000, 0.05), 1, 5_000) is None


@pytest.mark.parametrize("limit", [0.002, 0.05, 0.4])
def test_evidence_that_a_rate_exceeds_a_limit_is_rarely_wrong_whenever_one_stops(limit):
    rng = np.random.default_rng(8)
    wrong = sum(evidence_above((rng.random(2_000) < limit).astype(float), limit) >= 20 for _ in range(200))
    assert wrong / 200 <= allowed(0.05, 200)


@pytest.mark.parametrize(("limit", "rate"), [(0.002, 0.008), (0.05, 0.08), (0.4, 0.46)])
def test_evidence_of_a_rate_above_its_limit_grows(limit, rate):
    rng = np.random.default_rng(9)
    found = [evidence_above((rng.random(5_000) < rate).astype(float), limit) >= 20 for _ in range(50)]
    assert sum(found) >= 45


def test_evidence_is_a_likelihood_ratio_mixed_over_rates():
    """Of one bet it is the binomial likelihood ratio; of the grid no more than the best of them."""
    values = np.array([1.0, 0, 1, 1, 0, 1])
    best = stats.binom.pmf(4, 6, 4 / 6) / stats.binom.pmf(4, 6, 0.3)
    assert 1 < evidence_above(values, 0.3) < best
    assert evidence_above(np.empty(0), 0.3) == 1
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        evidence_above(np.array([1.5]), 0.3)
