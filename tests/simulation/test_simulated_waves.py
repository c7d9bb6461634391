"""Waves of the demo world as a shop meets them, and how they are scored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from churn_assets.customers.table import read_customers
from churn_assets.deciding.decider import NO_ROLLOUT, ArmOutlook, Decider, Decision
from churn_assets.experiment import load_experiment
from churn_assets.offers.outcome_file import read_outcome_file
from churn_assets.offers.world import DemoWorldError
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.schemas import ArmView, DecisionView, ExpectedValueView, OutlookView
from churn_assets.simulation.picture import draw
from churn_assets.simulation.score import Deciding, WaveScore, score_wave
from churn_assets.simulation.server import WaveDecisions
from churn_assets.simulation.waves import Forward

ROOT = Path(__file__).parents[2]
TEN = "percent_10"
HELD, EXPLORED = 0.10, 0.35
CONFIG = ServingConfig(holdout_share=HELD, exploration_share=EXPLORED)


class AlwaysTenPercent(Decider):
    """Stands for a release."""

    def __init__(self, menu, release="toy", always=TEN):
        self.menu, self.release, self.always = menu, release, always

    def decide(self, batch, rollout=NO_ROLLOUT, budget=None):
        explores = rollout.exploration_share
        chance = (lambda _: 1 / len(self.menu)) if explores else lambda arm: float(arm == self.always)
        arms = tuple(ArmOutlook(arm, None, 0.2, 0.2, 0.0, 0.0, 0.0, 0.0, chance(arm.id)) for arm in self.menu)
        made = {"known": True, "delay_months": 0, "release": self.release, "cost": 1.0}
        ten = self.menu.position[self.always]
        return [
            Decision(each.customer_id, ten, arms, risk=0.3, policy_arm=ten, assigned="policy", **made)
            for each in batch
        ]


def served(wave, forward, rng, error=0.0, preferred=TEN, tried=None, share=0.0):
    """What a server that always prefers one arm answers to a wave; with `tried`, beside a candidate of another arm."""
    menu, decisions = forward.world.menu, []
    value = ExpectedValueView(1.0, 0.8, 1.2, 0.9, "USD", 12)
    asked = [each for call in forward.questions(wave, range(len(wave.cohort))) for each in call]
    for number, (customer, may) in enumerate(zip(asked, wave.cohort.allowed, strict=True)):
        allowed = np.flatnonzero(may)
        choice = menu.position[preferred] if may[menu.position[preferred]] else 0
        propensities = EXPLORED * may / len(allowed)
        propensities[0] += HELD
        propensities[choice] += (1 - HELD - EXPLORED) * (1 - share) + error
        group = rng.random()
        held, explored = group < HELD, HELD <= group < HELD + EXPLORED
        release = "toy"
        if tried is not None:
            propensities[menu.position[tried]] += (1 - HELD - EXPLORED) * share
            if not (held or explored) and rng.random() < share:
                choice, release = menu.position[tried], "candidate"
        arm = 0 if held else int(rng.choice(allowed)) if explored else choice
        made = menu[arm]
        decisions.append(
            DecisionView(
                decision_id=f"{number:024x}-0", customer_id=customer["customer_id"], contact=arm > 0,
                arm=ArmView(made.id, made.label, msgspec.Raw(b"{}"), made.channel, 1.0, value), delay_months=0,
                churn_risk=rng.random(), retention_probability=0.8, acceptance_probability=0.2,
                propensity=propensities[arm], reasons=[], assigned="policy", policy_arm=menu.ids[choice],
                holdout=held, exploration=explored, known=True, message=None, release=release,
                arms=[OutlookView(a, None, p, 0.2, 0.2, 0.0, 0.0) for a, p in zip(menu.ids, propensities, strict=True)],
            )
        )  # fmt: skip
    return WaveDecisions(("toy",), decisions)


def test_a_wave_is_a_function_of_seed_and_number(forward):
    one, same, other = forward.wave(1), forward.wave(1), forward.wave(2)
    assert (one.cohort.customer == same.cohort.customer).all()
    assert (one.cohort.expected == same.cohort.expected).all()
    assert not (one.cohort.customer == other.cohort.customer).all()
    assert (one.drifted, other.drifted) == (False, True)


def test_everybody_is_asked_about_once_a_round_in_calls_that_the_server_takes(forward):
    wave = forward.wave(1)
    rounds = forward.rounds(wave)
    assert sum(map(len, rounds)) == len(wave.cohort) == 8_000
    for places in rounds:
        calls = list(forward.questions(wave, places))
        assert max(map(len, calls)) <= 1_000
        ids = [each["customer_id"] for call in calls for each in call]
        assert len(set(ids)) == len(ids) == len(places)


def test_the_score_of_a_wave_is_the_worlds_own_expectation(forward):
    wave = forward.wave(1)
    found = score_wave(
        forward,
        wave,
        served(wave, forward, np.random.default_rng(0)),
        AlwaysTenPercent(forward.world.menu),
        CONFIG,
    )
    ten = wave.cohort.lift(np.full(len(wave.cohort), forward.world.menu.position[TEN]))
    assert (found.ours, found.static) == (pytest.approx(ten), pytest.approx(ten))
    assert found.ours == pytest.approx(found.static)
    assert found.as_served < found.ours < found.optimum
    assert found.propensity_error < 1e-12
    assert found.group_z < 4


def test_a_wrong_propensity_shows_in_the_score(forward):
    wave = forward.wave(1)
    spoiled = served(wave, forward, np.random.default_rng(0), error=0.01)
    found = score_wave(forward, wave, spoiled, AlwaysTenPercent(forward.world.menu), CONFIG)
    assert found.propensity_error == pytest.approx(0.01)


def test_a_trial_is_scored_by_what_each_release_decided_and_its_propensities_by_the_share_of_each(forward):
    wave, menu = forward.wave(1), forward.world.menu
    found = served(wave, forward, np.random.default_rng(0), tried="percent_20", share=0.5)
    deciders = AlwaysTenPercent(menu), AlwaysTenPercent(menu, "candidate", "percent_20")
    score = score_wave(forward, wave, found, deciders[0], CONFIG, Deciding(*deciders, 0.5))
    assert score.propensity_error < 1e-12
    assert score.group_z < 4
    assert score.tried == pytest.approx(0.5 * (1 - HELD - EXPLORED), abs=0.03)
    other = score_wave(forward, wave, found, deciders[0], CONFIG, Deciding(*deciders, 0.4))
    assert other.propensity_error == pytest.approx(0.1 * (1 - HELD - EXPLORED))
    assert other.group_z > 4


def test_an_arm_that_the_world_does_not_answer_to_is_an_error(forward):
    with pytest.raises(
        DemoWorldError, match="found the arm percent_12, expected one of the world's, no_contact, "
    ):
        forward.arms([TEN, "percent_12"])


def test_a_wave_of_every_kind_of_arm_is_scored_by_what_each_customer_may_get():
    experiment = load_experiment("any_offer", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    forward = Forward.build(table, experiment, seed=1, size=4_000, drift="none", drift_at=None)
    wave = forward.wave(1)
    decided = served(wave, forward, np.random.default_rng(0), preferred="faster_router")
    found = score_wave(forward, wave, decided, AlwaysTenPercent(forward.world.menu), CONFIG)
    assert found.propensity_error < 1e-12
    assert found.optimum > max(found.ours, found.static, found.top_risk)
    answers = forward.answer(wave, forward.arms(decided.arms), range(len(wave.cohort)))
    assert answers.accepted.mean() > 0.05


def test_a_wave_is_added_to_the_crms_file(scratch, forward):
    wave = forward.wave(1)
    decided = served(wave, forward, np.random.default_rng(0))
    answers = forward.answer(wave, forward.arms(decided.arms), range(len(wave.cohort)))
    assert read_outcome_file(scratch.outcomes) == []
    scratch.book(decided, [answers])
    told = read_outcome_file(scratch.outcomes)
    assert [each.decision_id for each in told] == [each.decision_id for each in decided.decisions]
    assert [each.churned for each in told] == [bool(each) for each in answers.churned]
    assert [each.margin for each in told] == answers.margin.tolist()


def test_a_change_of_the_experiment_is_read_back(scratch):
    scratch.change({"serving.assignment_epoch": "wave-3.1"})
    assert scratch.experiment.serving.assignment_epoch == "wave-3.1"
    assert scratch.leader is None


def test_the_picture_is_drawn(tmp_path):
    waves = [
        WaveScore(number, number > 1, "toy", 10, 5.0, 4.0, 4.5, 3.0, 6.0, 0.1, 0.35, 0.0, 0.5)
        for number in (1, 2, 3)
    ]
    draw([waves[0], replace(waves[1], ours=5.5), waves[2]], [True, False, True], tmp_path / "loop.png")
    assert (tmp_path / "loop.png").read_bytes().startswith(b"\x89PNG")
