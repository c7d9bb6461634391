"""Many limits at once: always kept, near the best, and the bound is one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from churn_assets.decision import knapsack
from churn_assets.decision.knapsack import InParts, Knapsacks, allocate, dual_bound, fitting, shadow_prices


def instance(n, k, j, seed, *, whole=False, tight=0.4):
    """Random customers under random limits of both kinds; of some arms and customers only."""
    rng = np.random.default_rng(seed)
    cost = np.cumsum(rng.gamma(2.0, 5.0, (n, k)), axis=1)
    if whole:
        cost = np.round(cost)
    cost[:, 0] = 0
    value = cost * rng.gamma(2.0, 0.7, (n, k)) + rng.normal(0, 4, (n, k))
    value[rng.random((n, k)) < 0.1] = -np.inf
    value[:, 0] = 0
    contacts = rng.random(j) < 0.4
    arms = rng.random((j, k)) < 0.7
    arms[:, 0] = False
    covered = rng.random((n, j)) < rng.uniform(0.1, 1, j)
    most = np.where(contacts, n * tight, np.round(tight * 20.0 * n)) * rng.random(j)
    limit = np.where(contacts | whole, np.floor(most), most)
    return Knapsacks.of(value, cost, limit, contacts, arms, covered)


def exact_optimum(problem):
    """By branch and bound (HiGHS)."""
    n, k = problem.value.shape
    possible = np.isfinite(problem.value).ravel()
    uses = np.stack([problem.use(i, a) for i in range(n) for a in range(k)], axis=1)
    each = np.kron(np.eye(n), np.ones(k))
    found = milp(
        -np.where(possible, problem.value.ravel(), 0.0),
        constraints=[LinearConstraint(each, 1, 1), LinearConstraint(uses, -np.inf, problem.limit)],
        integrality=np.ones(n * k),
        bounds=Bounds(0, possible.astype(float)),
        options={"mip_rel_gap": 0},
    )
    assert found.success
    return -found.fun


def recounted(problem, arm):
    """What is used, customer by customer: another way than the code's own."""
    return sum((problem.use(i, int(a)) for i, a in enumerate(arm)), np.zeros(len(problem.limit)))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(2, 5),
    st.integers(1, 10),
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from([0.02, 0.3, 2.0]),
)
def test_no_limit_is_ever_overrun_and_nobody_gets_what_is_not_theirs(n, k, j, seed, whole, tight):
    problem = instance(n, k, j, seed, whole=whole, tight=tight)
    found = allocate(problem)
    assert (found.used <= problem.limit).all()
    assert recounted(problem, found.arm) == pytest.approx(found.used)
    assert np.isfinite(problem.value[np.arange(n), found.arm]).all()
    assert found.value <= found.bound * (1 + 1e-12) + 1e-9
    assert (found.price >= 0).all()


@pytest.mark.parametrize("seed", range(12))
def test_the_bound_lies_above_the_exact_optimum_and_that_above_what_is_allocated(seed):
    rng = np.random.default_rng(seed)
    problem = instance(int(rng.integers(5, 25)), int(rng.integers(2, 5)), int(rng.integers(1, 6)), seed)
    found, best = allocate(problem), exact_optimum(problem)
    assert found.value <= best + 1e-6 <= found.bound + 2e-6
    assert found.value >= 0.85 * best - 1e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.floats(0, 50), min_size=4, max_size=4))
def test_any_prices_give_a_bound(seed, price):
    problem = instance(12, 3, 4, seed)
    assert dual_bound(problem, np.array(price)) >= exact_optimum(problem) - 1e-6


def test_thousands_of_customers_are_served_to_a_thousandth_of_the_bound():
    problem = instance(20_000, 5, 10, 3)
    found = allocate(problem)
    assert found.value >= 0.999 * found.bound


def test_prices_found_on_some_of_the_customers_are_those_of_all(monkeypatch):
    problem = instance(6_000, 4, 5, 8)
    whole = allocate(problem)
    monkeypatch.setattr("churn_assets.decision.knapsack.SAMPLE", 1_000)
    sampled = allocate(problem)
    assert sampled.bound == pytest.approx(whole.bound, rel=1e-3)
    assert sampled.value == pytest.approx(whole.value, rel=2e-3)


def test_limits_that_do_not_bind_have_no_price_and_change_nothing():
    problem = instance(500, 4, 3, 5)
    loose = Knapsacks(
        problem.value,
        problem.cost,
        np.full(3, 1e9),
        problem.contacts,
        problem.arms,
        problem.group,
        problem.covers,
    )
    found = allocate(loose)
    assert found.price.tolist() == [0, 0, 0]
    assert found.arm.tolist() == problem.value.argmax(axis=1).tolist()
    assert found.value == pytest.approx(found.bound)


def test_a_limit_of_nothing_stops_every_arm_that_it_covers():
    value, cost = np.array([[0.0, 5.0, 6.0]] * 3), np.array([[0.0, 1.0, 1.0]] * 3)
    arms = np.array([[False, False, True]])
    problem = Knapsacks.of(value, cost, np.zeros(1), np.array([False]), arms, np.ones((3, 1), bool))
    assert allocate(problem).arm.tolist() == [1, 1, 1]


def test_a_limit_may_be_used_to_its_last_unit():
    value, cost = np.array([[0.0, 5.0]] * 3), np.array([[0.0, 0.1]] * 3)
    arms, everybody = np.array([[False, True]]), np.ones((3, 1), bool)
    found = allocate(Knapsacks.of(value, cost, np.array([0.1 * 3]), np.array([False]), arms, everybody))
    assert found.arm.tolist() == [1, 1, 1]
    counted = allocate(Knapsacks.of(value, cost, np.array([2.0]), np.array([True]), arms, everybody))
    assert counted.used.tolist() == [2.0]


def test_the_price_is_what_another_unit_brings():
    problem = instance(4_000, 4, 1, 11, tight=0.5)
    more = Knapsacks(
        problem.value, problem.cost, problem.limit * 1.01, problem.contacts, problem.arms, problem.group,
        problem.covers,
    )  # fmt: skip
    found = allocate(problem)
    brings = (allocate(more).bound - found.bound) / (0.01 * problem.limit[0])
    assert brings == pytest.approx(found.price[0], rel=0.03)


def test_what_is_taken_back_is_worth_least():
    value, cost = np.array([[0.0, 9.0], [0.0, 3.0], [0.0, 6.0]]), np.array([[0.0, 2.0]] * 3)
    arms = np.array([[False, True]])
    problem = Knapsacks.of(value, cost, np.array([4.0]), np.array([False]), arms, np.ones((3, 1), bool))
    assert fitting(problem, np.array([1, 1, 1]), np.zeros(1)).tolist() == [1, 0, 1]


def test_nobody_and_no_limit_are_no_trouble():
    none = instance(0, 3, 2, 0)
    assert allocate(none).arm.tolist() == []
    free = Knapsacks.of(
        np.array([[0.0, 1.0]]), np.zeros((1, 2)), np.zeros(0), np.zeros(0, bool), np.zeros((0, 2), bool),
        np.zeros((1, 0), bool),
    )  # fmt: skip
    assert allocate(free).arm.tolist() == [1]
    assert shadow_prices(none, None).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"limit": np.array([-1.0])}, "limits"),
        ({"limit": np.array([np.nan])}, "limits"),
        ({"cost": np.array([[0.0, -1.0]])}, "out of range"),
        ({"value": np.array([[1.0, 1.0]])}, "arm 0"),
        ({"arms": np.array([[True, True]])}, "arm 0"),
        ({"covered": np.ones((2, 1), bool)}, "do not fit"),
    ],
)
def test_a_problem_that_is_none_is_refused(changed, told):
    given_ = {
        "value": np.array([[0.0, 1.0]]),
        "cost": np.array([[0.0, 1.0]]),
        "limit": np.array([1.0]),
        "contacts": np.array([False]),
        "arms": np.array([[False, True]]),
        "covered": np.ones((1, 1), bool),
    }
    with pytest.raises(ValueError, match=told):
        Knapsacks.of(**{**given_, **changed})


def in_parts(whole: Knapsacks, size: int) -> InParts:
    """The same customers, read some at a time."""

    def read():
        for start in range(0, len(whole), size):
            yield whole.pick(np.arange(start, min(start + size, len(whole))))

    return InParts(read, len(whole), whole.limit, whole.contacts)


@pytest.mark.parametrize("seed", range(4))
def test_customers_who_are_read_in_parts_get_what_they_get_at_once(seed):
    whole = instance(700, 4, 5, seed)
    found, expected = allocate(in_parts(whole, 150)), allocate(whole)
    assert found.arm.tolist() == expected.arm.tolist()
    assert (found.value, found.price.tolist()) == (expected.value, expected.price.tolist())


def test_prices_of_a_sample_are_made_better_in_passes_over_all_parts(monkeypatch):
    whole = instance(3000, 4, 5, 7)
    best = allocate(whole)
    monkeypatch.setattr(knapsack, "SAMPLE", 400)
    found = allocate(in_parts(whole, 700))
    assert (recounted(whole, found.arm) <= whole.limit).all()
    assert found.value <= min(found.bound, best.bound)
    assert found.value >= 0.998 * best.value
    assert found.bound <= 1.0005 * best.bound
