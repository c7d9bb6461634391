"""A policy on the log that its models were fitted on: nobody is decided for by models that saw them, chance counts."""

from dataclasses import dataclass, replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from churn_assets.decision import logged
from churn_assets.decision.logged import DecidedApart, decided_apart
from churn_assets.decision.off_policy import LoggedDecisions

GROUPS = 4


def of_noise(rng, n=4_000, segments=8) -> tuple[LoggedDecisions, DecidedApart]:
    """A log by lot in which two arms change nothing, and a policy that gives each segment the arm that did better."""
    arm, reward = rng.integers(0, 2, n), rng.normal(size=n)
    segment, group = rng.integers(0, segments, n), rng.integers(0, GROUPS, n)
    evidence = LoggedDecisions(arm, reward, np.full((n, 2), 0.5), np.zeros((n, 2)), np.arange(n))

    def chosen(rows) -> np.ndarray:
        better = np.array(
            [
                reward[rows & (segment == each) & (arm == 1)].mean()
                > reward[rows & (segment == each) & (arm == 0)].mean()
                for each in range(segments)
            ]
        )
        return np.eye(2)[better[segment].astype(int)]

    whole, without = chosen(group >= 0), {each: chosen(group != each) for each in range(GROUPS)}
    apart = np.where((group == 0)[:, None], without[0], whole)
    for each in range(1, GROUPS):
        apart[group == each] = without[each][group == each]
    return evidence, DecidedApart(whole, apart, group, without)


def test_a_policy_that_was_learned_from_noise_looks_good_on_its_own_log_and_not_apart():
    own, apart = [], []
    for seed in range(100):
        evidence, decided = of_noise(np.random.default_rng(seed))
        own.append(evidence.estimate(decided.whole).lift.dr.z)
        apart.append(evidence.estimate(decided.apart).lift.dr.z)
    assert np.mean(own) > 1
    assert abs(np.mean(apart)) < 0.4


@pytest.mark.parametrize("segments", [8, 40])
def test_with_what_chance_chose_in_its_width_the_interval_is_as_wide_as_it_must_be(segments):
    """The truth is 0: over logs, squared errors are what the variances say, and intervals hold it as often as told."""
    errors, narrow, wide = [], [], []
    for seed in range(400):
        evidence, decided = of_noise(np.random.default_rng(1_000 + seed), segments=segments)
        found = evidence.estimate(decided.apart).lift.dr
        errors.append(found.value)
        narrow.append(found.standard_error)
        wide.append(found.wider(decided.chance(evidence)).standard_error)
    errors, narrow, wide = map(np.array, (errors, narrow, wide))
    assert (np.abs(errors) <= 1.96 * narrow).mean() < 0.925
    assert (np.abs(errors) <= 1.96 * wide).mean() >= 0.93
    assert np.mean(narrow**2) < 0.8 * np.mean(errors**2)
    assert np.mean(wide**2) == pytest.approx(np.mean(errors**2), rel=0.2)  # its own standard error is .07


def test_what_chance_chose_widens_estimates_and_no_difference():
    evidence, decided = of_noise(np.random.default_rng(0))
    wider = replace(evidence, chance=0.3)
    before, after = evidence.estimate(decided.apart), wider.estimate(decided.apart)
    for name in ("ips", "snips", "dr"):
        assert getattr(after.lift, name).value == getattr(before.lift, name).value
        assert getattr(after.lift, name).standard_error == pytest.approx(
            np.hypot(getattr(before.lift, name).standard_error, 0.3)
        )
    one, two = (each.difference(decided.apart, decided.whole).dr for each in (evidence, wider))
    assert one == two


def test_a_policy_that_no_group_changes_is_as_sure_as_a_fixed_one():
    evidence, decided = of_noise(np.random.default_rng(0))
    fixed = replace(decided, apart=decided.whole, without=dict.fromkeys(range(GROUPS), decided.whole))
    assert fixed.chance(evidence) == 0
    assert replace(decided, without={}).chance(evidence) == 0


def test_pairs_of_groups_are_scored_by_hand():
    evidence, decided = of_noise(np.random.default_rng(1), n=400)
    shift = {
        h: evidence.scores(decided.whole, np.eye(2)[[0] * 400])
        - evidence.scores(decided.without[h], np.eye(2)[[0] * 400])
        for h in range(GROUPS)
    }
    by = {(g, h): shift[h][decided.group == g].sum() / 400 for g, h in permutations(range(GROUPS), 2)}
    expected = 2 * sum(abs(by[g, h] * by[h, g]) for g in range(GROUPS) for h in range(g))
    assert decided.chance(evidence) == pytest.approx(np.sqrt(expected))


@dataclass(frozen=True)
class Refits:
    """A model that says which of its refits is asked."""

    apart: tuple[int, ...]
    asked: int = -1

    def without(self, group: int):
        return replace(self, asked=group) if group >= 0 and self.apart else self


@pytest.mark.parametrize(("accept", "effect"), [((1, 1, 1), (1, 1)), ((), (1, 1)), ((1, 1, 1), ()), ((), ())])
def test_each_customer_is_decided_for_by_the_refits_that_never_saw_them(monkeypatch, accept, effect):
    n = 60
    table = SimpleNamespace(ids=np.arange(n), held_out=np.arange(n) % 5 == 0, fold=np.arange(n))
    log = SimpleNamespace(positions=lambda ids: ids)
    monkeypatch.setattr(logged.ResponseModels, "of", lambda risk, accept, effect, process: (accept, effect))

    def told(policy, table, log, models):
        return np.tile([float(models[0].asked), float(models[1].asked)], (n, 1))

    monkeypatch.setattr(logged, "decisions_on_log", told)
    found = decided_apart(SimpleNamespace(process=None), table, log, None, Refits(accept), Refits(effect))
    for count, column in ((len(accept), 0), (len(effect), 1)):
        expected = np.where(table.held_out | (count == 0), -1, np.arange(n) % max(count, 1))
        np.testing.assert_array_equal(found.apart[:, column], expected)
    assert (found.whole == -1).all()
