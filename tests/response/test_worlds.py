"""Effects come true in worlds whose answers have not the form of any model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.truth import played
from benchmarks.worlds import WORLDS


@pytest.fixture(scope="module", params=[name for name in WORLDS if name not in ("demo", "weak")])
def outcome(request, experiment):
    """One world, fitted on its log and scored by its truth."""
    return played(request.param, 3, experiment)


def test_what_the_models_decide_earns_no_less_than_simple_policies_and_most_of_what_can_be_known(outcome):
    simple = max(outcome.opponents.values())
    assert outcome.ours > 0.93 * simple  # of one seed; the mean over five is the benchmark's
    assert outcome.ours > 0.75 * outcome.oracle


def test_the_gain_that_is_said_comes_true(outcome):
    # One seed: logs of these worlds gave .81 to 1.67. That the mean comes true is the benchmark's to show.
    assert 0.5 < outcome.said / outcome.ours < 2.0


def test_the_gates_of_the_effect_model_let_it_through(outcome):
    assert outcome.failed == ()


def test_an_offer_of_nothing_is_worth_nothing_in_any_world(telco_world):
    truth = telco_world.draw(2_000, 0).truth
    assert (truth.acceptance[:, 0] == 0).all()
    np.testing.assert_array_equal(truth.churn[:, 0], truth.would_churn)


@pytest.fixture(params=list(WORLDS))
def telco_world(request, table, experiment):
    from churn_assets.offers.world import DemoWorld

    return DemoWorld(table, experiment.economics, responses=WORLDS[request.param])
