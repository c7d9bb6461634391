"""Exploring among plausible arms: probabilities that add up, a floor, and no more of the costs than it must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.deciding.exploration import Plausible, TopTwo, drawn_arm

VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=9)


@given(VALUES, st.floats(0.01, 5), st.floats(0, 0.3))
def test_probabilities_add_up_and_none_is_below_the_floor(values, reach, floor):
    shares = np.array(Plausible(reach, floor).shares(values))
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert shares.min() >= min(floor, 1 / len(values)) - 1e-12
    assert shares[int(np.argmax(values))] == pytest.approx(shares.max())


def test_arms_out_of_reach_have_the_floor_and_those_within_it_more_the_better_they_are():
    shares = Plausible(0.5, 0.01).shares([0.0, 10.0, 9.0, 6.0, 4.0, -30.0])
    assert shares[0] > 0.01, "within 15 of 10, as the largest amount is 30"
    near = Plausible(0.5, 0.01).shares([0.0, 10.0, 9.0, 6.0, 4.0])
    assert near[0] == near[4] == pytest.approx(0.01)
    assert near[1] > near[2] > near[3] > 0.01


def test_where_all_arms_are_worth_nothing_each_is_as_likely():
    assert Plausible().shares([0.0, 0.0]) == pytest.approx([0.5, 0.5])


@given(VALUES, st.floats(0, 1, exclude_max=True))
def test_no_arm_of_probability_zero_is_drawn(values, which):
    shares = Plausible(0.5, 0.0).shares(values)
    assert shares[drawn_arm(shares, which)] > 0


def test_a_design_that_is_none_is_refused():
    with pytest.raises(ValueError, match="reach above 0"):
        Plausible(reach=0)


CHANCES = st.lists(st.integers(0, 128), min_size=1, max_size=9).map(lambda each: [n / 128 for n in each])


@given(CHANCES, st.floats(0, 0.3))
def test_top_two_adds_up_keeps_the_floor_and_prefers_what_may_be_the_best(best, floor):
    shares = np.array(TopTwo(floor).shares(best))
    assert shares.sum() == pytest.approx(1, abs=1e-12)
    assert shares.min() >= min(floor, 1 / len(best)) - 1e-12
    order = np.argsort(best, kind="stable")
    assert (np.diff(shares[order]) >= -1e-12).all()


def test_top_two_is_what_drawing_and_putting_aside_gives():
    best, rng = np.array([0.5, 0.3, 0.2]), np.random.default_rng(5)
    first = rng.choice(3, 200_000, p=best)
    again = np.array(
        [rng.choice(3, 200_000, p=np.where(np.arange(3) == k, 0, best) / (1 - best[k])) for k in range(3)]
    )
    drawn = np.where(rng.random(200_000) < 0.5, first, again[first, np.arange(200_000)])
    found = np.bincount(drawn, minlength=3) / 200_000
    assert found == pytest.approx(TopTwo(0.0).shares(best.tolist()), abs=0.005)
    assert TopTwo(0.01).shares([1.0, 0.0, 0.0]) == pytest.approx([0.98, 0.01, 0.01])
    assert TopTwo(0.01).shares([0.0, 0.0]) == pytest.approx([0.5, 0.5]), "where none ever is the best"
    with pytest.raises(ValueError, match="a floor of 0 to 1"):
        TopTwo(1.0)
