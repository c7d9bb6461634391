"""A candidate is held against every leader so far: promoted, kept waiting or rejected, with what is still needed."""

import numpy as np
import pytest

from churn_assets.decision.off_policy import LoggedDecisions
from churn_assets.release.comparison import compare
from churn_assets.release.config import PromotionPolicy

BETTER = PromotionPolicy(min_decisions=1_000)
NOT_WORSE = PromotionPolicy(min_decisions=1_000, rule="not_worse", may_lose=0.1)
ARMS = 4
ROWS = 8_000


def decisions(rewards, rows=ROWS, spread=5.0, seed=3):
    """Uniform decisions over arms that bring these rewards, no matter to whom."""
    rng = np.random.default_rng(seed)
    arm = rng.integers(0, ARMS, rows)
    mean = np.array(rewards, float)
    reward = mean[arm] + rng.normal(0, spread, rows)
    expected = np.tile(mean, (rows, 1))
    return LoggedDecisions(arm, reward, np.full((rows, ARMS), 1 / ARMS), expected, np.arange(rows))


def always(arm, rows=ROWS):
    return np.eye(ARMS)[np.full(rows, arm)]


EVIDENCE = decisions([0.0, 10.0, 11.5, 9.3])


def test_what_earns_more_follows_and_what_earns_less_is_rejected():
    better = compare(EVIDENCE, always(2), [("a/release/one", always(1))], BETTER, 1)
    assert better.verdict == "promote"
    assert "over one (" in better.reason
    assert "at all looks" in better.reason
    worse = compare(EVIDENCE, always(1), [("a/release/two", always(2))], BETTER, 1)
    assert worse.verdict == "reject"
    assert worse.reason.startswith("certainly worse: -1.5")


def test_what_is_not_certain_waits_and_says_how_long():
    few = decisions([0.0, 10.0, 10.3, 9.3], rows=2_000)
    found = compare(few, always(2, 2_000), [("a/release/one", always(1, 2_000))], BETTER, 1)
    assert found.verdict == "wait"
    (against,) = found.against
    assert against.lower < 0 < against.value < against.upper
    assert against.more > 0
    assert f"about {against.more} decisions more" in found.reason


def test_a_small_loss_may_be_made_once_and_not_again_and_again():
    """Each is worth .93 of the one before: the second is refused, as it is worth .86 of the first."""
    first, second, third = always(1), always(3), np.zeros((ROWS, ARMS))
    third[:, 3], third[:, 0] = 0.93, 0.07
    sure = decisions([0.0, 10.0, 11.5, 9.3], rows=ROWS, spread=0.5)
    assert compare(sure, second, [("one", first)], NOT_WORSE, 1).verdict == "promote"
    assert compare(sure, third, [("two", second)], NOT_WORSE, 1).verdict == "promote"
    chain = compare(sure, third, [("two", second), ("one", first)], NOT_WORSE, 1)
    assert chain.verdict == "reject"
    assert "90% of the lift of one" in chain.reason


@pytest.mark.parametrize(("policy", "verdict"), [(BETTER, "wait"), (NOT_WORSE, "promote")])
def test_what_decides_alike_is_not_better_and_not_worse(policy, verdict):
    found = compare(EVIDENCE, always(1), [("one", always(1))], policy, 1)
    assert found.verdict == verdict
    assert "as one everywhere" in found.reason


def test_the_tenth_candidate_must_be_surer_than_the_first():
    first, tenth = (compare(EVIDENCE, always(2), [("one", always(1))], BETTER, k).against[0] for k in (1, 10))
    assert first.value == tenth.value
    assert tenth.lower < first.lower
