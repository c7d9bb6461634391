"""How cautiously is planned: by what the best policy would lose at the cautious end of the band."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from churn_assets.decision.caution import STEPS, cautious_enough
from churn_assets.decision.optimum import evaluate, never, solve

BAND = {"frailty": 0.5, "frailty_band": (0.0, 1.5), "effect_decay": 0.0}


def gain_at_the_end(tables, planned, process):
    """What the best policy by one process gains at the cautious end of another's band."""
    end = process.at(process.projections[-1])
    idle = evaluate(tables, end, never(end)).value
    return float((evaluate(tables, end, solve(tables, planned).choice(planned)).value - idle).mean())


@pytest.fixture(scope="module")
def tables(monthly, make_tables):
    return make_tables(96, monthly)


def test_the_choice_of_a_plan_is_worth_what_the_plan_says(monthly, tables):
    process = replace(monthly, frailty=1.0)
    best = solve(tables, process)
    assert evaluate(tables, process, best.choice(process)).value == pytest.approx(best.evaluation.value)


def test_what_pays_at_the_cautious_end_is_planned_as_configured(monthly, tables):
    process = replace(monthly, frailty=0.5, frailty_band=(0.0, 0.75), effect_decay_band=(0.0, 0.05))
    assert gain_at_the_end(tables, process, process) > 0
    assert cautious_enough(tables, process, 0.0) == process
    assert cautious_enough(tables, process, None) == process


def test_where_it_would_lose_there_the_plan_is_as_cautious_as_it_must_be_and_no_more(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    assert gain_at_the_end(tables, process, process) < 0
    planned = cautious_enough(tables, process, 0.0)
    share = planned.effect_decay
    assert share * STEPS in range(1, STEPS + 1)
    assert planned.frailty == pytest.approx(0.5 + share)
    assert (planned.frailty_band, planned.effect_decay_band) == ((0.0, 1.5), (0.0, 1.0))
    assert gain_at_the_end(tables, planned, process) >= 0
    before = process.at(
        process.projections[0]._replace(frailty=0.5 + share - 1 / STEPS, effect_decay=share - 1 / STEPS)
    )
    assert gain_at_the_end(tables, before, process) < 0


def regret(tables, planned, process):
    """What the plan of one process misses under another, of what the best plan gains there."""
    values = (
        evaluate(tables, process, solve(tables, each).choice(each)).value for each in (process, planned)
    )
    return float(-np.diff([each.mean() for each in values])[0])


def way(process, step):
    """The process so many steps from as configured to the cautious end."""
    used, _, cautious = process.projections
    return process.at(type(used)(*(a + step / STEPS * (z - a) for a, z in zip(used, cautious, strict=True))))


def test_where_little_caution_is_enough_to_lose_nothing_there_no_more_is_planned(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 0.3))
    losing = [gain_at_the_end(tables, way(process, step), process) < 0 for step in range(STEPS + 1)]
    first = losing.index(False)
    assert first > 0
    assert cautious_enough(tables, process, None) == way(process, first)


def test_where_much_would_be_needed_the_plan_is_of_least_regret_at_either_end(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    ends = process, process.at(process.projections[-1])
    regrets = [max(regret(tables, way(process, step), end) for end in ends) for step in range(STEPS + 1)]
    planned = cautious_enough(tables, process, None)
    assert gain_at_the_end(tables, planned, process) < 0
    assert max(regret(tables, planned, end) for end in ends) == pytest.approx(min(regrets), abs=1e-9)


def test_what_may_be_lost_at_the_cautious_end_is_gained_at_the_hopeful_one(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    planned, hopeful = cautious_enough(tables, process, None), process.at(process.projections[1])
    own = evaluate(tables, hopeful, solve(tables, planned).choice(planned)).value
    gained = float((own - evaluate(tables, hopeful, never(hopeful)).value).mean())
    assert gained + gain_at_the_end(tables, planned, process) >= 0


def test_a_cautious_end_that_allows_no_offer_does_not_forbid_a_plan_that_gains_elsewhere(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    strict, weighed = (cautious_enough(tables, process, least) for least in (0.0, None))
    assert weighed.effect_decay < strict.effect_decay
    assert regret(tables, weighed, process) < regret(tables, strict, process)


def test_more_may_be_asked_of_the_cautious_end_than_any_plan_gains(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    assert cautious_enough(tables, process, 1e6) == process.at(process.projections[-1])


def test_without_a_band_nothing_is_more_cautious(monthly, tables):
    process = replace(monthly, frailty=0.5, frailty_band=(0.5, 0.5), effect_decay_band=(0.0, 0.0))
    assert cautious_enough(tables, process, 1e6) == process
