"""How cautiously is planned: by what the best policy would lose at the cautious end of the band."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from churn_assets.decision.caution import STEPS, cautious_enough, planned_process
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.optimum import evaluate, never, solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.offers.economics import Economics

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


def test_more_may_be_asked_of_the_cautious_end_than_any_plan_gains(monthly, tables):
    process = replace(monthly, **BAND, effect_decay_band=(0.0, 1.0))
    assert cautious_enough(tables, process, 1e6) == process.at(process.projections[-1])


UNKNOWN = SimpleNamespace(persistence=None, menu=None)
"""Models that cannot be asked anything: none of the plans below needs them."""


@pytest.mark.parametrize(
    ("gates", "hidden"),
    [({}, {}), ({"min_cautious_gain": 1e6}, {"frailty_band": (1.0, 1.0), "effect_decay_band": (0.0, 0.0)})],
    ids=["nothing is asked for", "there is no band"],
)
def test_the_plan_is_as_configured_and_no_model_is_asked_where(gates, hidden):
    config = PpoDecisionConfig(menu=(0.0, 0.1), gates=gates, hidden=hidden)
    customers = SimpleNamespace(schema=SimpleNamespace(label_window_months=3))
    planned = planned_process(customers, None, None, UNKNOWN, config, (), Economics(), 0)
    assert planned == RetentionProcess.build(config, Economics(), 3)
    assert len(planned.projections) == (3 if not hidden else 1)
