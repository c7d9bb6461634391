"""Which form of an effect is believed: what must show, and what no correction may say."""

import numpy as np
import pytest
from scipy import stats

from churn_assets.predictors.probability import logistic, logit
from churn_assets.response.direct import LogRows
from churn_assets.response.mediated import risk_of_survivors
from churn_assets.response.stack import Stack, mean_above

ARMS = 3
GIVEN = np.array([0.0, 0.1, 0.3])
EVERY_ROW = np.ones(30_000, bool)
FORMS = [("kept", "driven"), ("noise",)]


def log_of(effects, risk, rng) -> LogRows:
    """Outcomes by a randomised log, given (n, A) true effects."""
    n = len(risk)
    arm = rng.integers(ARMS, size=n)
    residual = rng.random(n) < np.clip(risk + effects[np.arange(n), arm], 0, 1)
    propensities = np.full((n, ARMS), 1 / ARMS)
    columns = np.ones((n, 2))
    mean = risk + (propensities * effects).sum(axis=1)
    group = np.zeros(n, np.int64)
    return LogRows(columns, risk, risk, propensities, arm, propensities, residual - mean, group, 1)


def candidates_of(risk, rng) -> dict[str, np.ndarray]:
    contact = (np.arange(ARMS) > 0).astype(float)
    kept = -np.outer(risk * rng.uniform(0.1, 0.5, len(risk)), contact)
    return {
        "kept": kept,
        "driven": np.outer((1 - risk) * 0.02, contact),
        "noise": 0.03 * rng.normal(size=(len(risk), 1)) * contact,
    }


@pytest.fixture(scope="module")
def risk():
    return np.random.default_rng(0).beta(1, 3, 30_000)


@pytest.mark.parametrize("seed", range(5))
def test_what_others_add_by_chance_is_hardly_believed(risk, seed):
    rng = np.random.default_rng(seed)
    candidates = candidates_of(risk, rng)
    seen = log_of(candidates["kept"] + candidates["driven"], risk, rng)
    stack = Stack.fit(seen, candidates, GIVEN, EVERY_ROW, FORMS)
    assert stack.weights["kept"] == pytest.approx(1, abs=0.2)
    assert stack.weights["noise"] < 0.2


@pytest.mark.parametrize("seed", range(5))
def test_no_correction_keeps_those_who_would_stay(risk, seed):
    """Where fewer of the contacted leave, whoever they are: by chance, or as the baseline is too high."""
    rng = np.random.default_rng(seed)
    candidates = candidates_of(risk, rng)
    fewer = -0.01 * (np.arange(ARMS) > 0) * np.ones((len(risk), 1))
    stack = Stack.fit(log_of(candidates["kept"] + fewer, risk, rng), candidates, GIVEN, EVERY_ROW, FORMS)
    nothing = {name: np.zeros((2, ARMS)) for name in candidates}
    loyal, leaving = stack.effects(np.array([0.0, 0.5]), nothing)
    assert (loyal >= 0).all()
    assert (stack.shares[1] >= 0).all()
    np.testing.assert_allclose(leaving[1:], 0.5 * stack.shares[0] + 0.5 * stack.shares[1])


@pytest.mark.parametrize("much", [-0.06, 0.06])
def test_would_be_churners_are_kept_more_or_less_by_what_an_arm_gives(risk, much):
    rng = np.random.default_rng(1)
    candidates = candidates_of(risk, rng)
    more = np.outer(risk, GIVEN / GIVEN.max() * -much)
    stack = Stack.fit(log_of(candidates["kept"] + more, risk, rng), candidates, GIVEN, EVERY_ROW, FORMS)
    assert -stack.shares[0, -1] * np.sign(much) > 0.01


@pytest.mark.parametrize("mean", [1.0, -1.0, -10.0, -40.0])
def test_a_share_that_cannot_be_below_nothing_is_believed_at_its_mean(mean):
    """Exact for one; 80 standard deviations off nothing is infinite."""
    (found,) = mean_above(np.array([[4.0]]), np.array([4.0 * mean]), np.zeros(1))
    assert found == pytest.approx(stats.truncnorm.mean(-2 * mean, np.inf, mean, 0.5), rel=0.03)


def test_the_mean_of_what_depends_on_each_other_is_that_of_what_is_drawn_and_not_cut():
    precision, moment = np.array([[2.0, 0.9], [0.9, 1.0]]), np.array([0.5, -0.3])
    covariance = np.linalg.inv(precision)
    drawn = np.random.default_rng(1).multivariate_normal(covariance @ moment, covariance, 400_000)
    found = mean_above(precision, moment, np.array([0.0, -np.inf]))
    np.testing.assert_allclose(found, drawn[drawn[:, 0] > 0].mean(axis=0), atol=0.03)
    assert (found == mean_above(precision, moment, np.array([0.0, -np.inf]))).all()


@pytest.mark.parametrize("seed", range(3))
def test_where_a_log_hardly_tells_whether_contact_drives_away_not_nothing_is_believed(risk, seed):
    rng = np.random.default_rng(seed)
    candidates = candidates_of(risk[:2000], rng)
    seen = log_of(candidates["kept"], risk[:2000], rng)
    stack = Stack.fit(seen, candidates, GIVEN, EVERY_ROW[:2000], FORMS)
    assert (stack.shares[1] > 0.002).all()


def test_who_stayed_is_more_loyal_by_as_much_as_is_said():
    risk, survived = np.array([0.2, 0.2, 0.6]), np.array([0.0, 1.0, 1.0])
    found = risk_of_survivors(risk, survived, (-0.5, -0.25), float(logit(0.2, 1e-6)))
    shift = np.log(2) * np.array([0.0, -0.5, -0.5 - 0.25 * (logit(0.6, 1e-6) - logit(0.2, 1e-6))])
    np.testing.assert_allclose(found, logistic(logit(risk, 1e-6) + shift))
    assert risk_of_survivors(risk, 0 * survived, (-0.5, -0.25), 0.0) is risk
