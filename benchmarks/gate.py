"""The live gate over a year of weekly looks: what it lets lead, what it takes back, how long it needs, what it costs.

Two real releases of the demo world, trained on logs of their own, decide about its customers by each design: the trial
is `deciding.trial.SideBySide`, as a server asks it. Answers are the world's, and the decisions are scored by the
functions that the sensors call. A history is a year of weeks drawn from these. The truth is used to centre differences
and for what a design costs, and for nothing else. No server runs: `benchmarks.loop` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial, reduce
from itertools import accumulate, islice
from operator import add
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import pandas as pd
from numpy.typing import NDArray

from benchmarks.served import FittedModels, fit_models
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.deciding.decider import CustomerInput, Decider, Decision, Rollout
from churn_assets.deciding.exploration import Plausible
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.trial import SideBySide
from churn_assets.decision.incremental import incremental
from churn_assets.decision.off_policy import LoggedDecisions
from churn_assets.decision.responses import ResponseModels
from churn_assets.experiment import load_experiment
from churn_assets.gates.anytime import mixture_z, share_of_error
from churn_assets.gates.estimates import Estimate, clustered_mean
from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.live import Earned, Tally, breach_in, broken, earned, harm_error, harm_z, looks
from churn_assets.monitoring.shadow import Scored, whole_rows
from churn_assets.monitoring.trial import comparison_number, look_at_trial
from churn_assets.offers.live import FEATURE, LiveLog
from churn_assets.offers.log import propensity_column
from churn_assets.offers.offer_rows import OfferRows, append
from churn_assets.offers.world import Cohort
from churn_assets.release.comparison import PLAN, OverLeader, verdict_on
from churn_assets.release.config import PromotionPolicy
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.simulation.waves import Forward

ROOT = Path(__file__).parents[1]
HISTORIES, LOOKS = 1_000, 52
WAVE, WAVES = 21_129, 4
WEEKLY = 2_000
"""Decisions between two looks."""
SPEED_LOOK = 50 * WEEKLY
"""The same where it is counted how many a better candidate needs."""
GAIN = 0.3
"""Money a decision that a better candidate brings."""
CANDIDATES = 13
"""Held against one champion in a year: one in four weeks."""
PROMOTIONS = 20
FIRST_LOG = 40_000
"""Decisions that a release was trained on."""
TIMESTEPS = 65_536
"""Of the two policies, which begin at the imitated optimum; a decision is worth its one window here."""
NEXT_MODELS = 3
"""Waves of other luck that a next model is trained on, by each design."""
KEY = b"a secret of some length"
START = datetime(2026, 7, 6, tzinfo=UTC)
"""Behind the first logs of both releases, whose last decisions are of 29 June 2026."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
UNKNOWN = Estimate(0.0, float("nan"))
"""Of what no guardrail asks here."""


@dataclass(frozen=True, eq=False)
class Shop:
    """Customers of some waves, and two releases.

    Attributes:
        forward: The world.
        champion: What the one decides with.
        candidate: The other.
        fitted: What the champion's models became.
    """

    forward: Forward
    champion: Decider
    candidate: Decider
    fitted: FittedModels

    @cached_property
    def cohorts(self) -> list[Cohort]:
        """The waves."""
        return [self.forward.wave(number).cohort for number in range(1, WAVES + 1)]

    @cached_property
    def asked(self) -> list[list[CustomerInput]]:
        """The customers of each wave, as a decider is asked about them."""
        waves = [self.forward.wave(number) for number in range(1, WAVES + 1)]
        return [
            [
                CustomerInput(each["customer_id"], each["features"], prior_offers=each["prior_offers"])
                for batch in self.forward.questions(wave, range(WAVE))
                for each in batch
            ]
            for wave in waves
        ]

    @cached_property
    def choices(self) -> tuple[Floats, Floats]:
        """(n, K) one-hot, of champion and candidate, over the world's menu."""
        return _one_hot(self, self.champion), _one_hot(self, self.candidate)


def make_shop(table: CustomerTable, forward: Forward, pair: Sequence[FittedModels]) -> Shop:
    """Two releases of equal standing, that were trained on different logs of the same world."""
    names = ("demo/release/champion", "demo/release/candidate")
    deciders = [
        Decider(ReleaseModels.build(each.responses, each.policy, table.X), name)
        for each, name in zip(pair, names, strict=True)
    ]
    return Shop(forward, *deciders, pair[0])


def _one_hot(shop: Shop, decider: Decider) -> Floats:
    arms = [each.policy_arm for wave in shop.asked for each in decider.decide(wave)]
    return np.eye(len(decider.menu))[arms][:, _places(shop)]


def _places(shop: Shop) -> Ints:
    """Where each arm of the world's menu stands on the releases'."""
    position = shop.champion.menu.position
    return np.array([position[arm] for arm in shop.forward.world.menu.ids])


def today(shop: Shop) -> tuple[Decider, Rollout]:
    """10 % held out, 35 % uniform."""
    return shop.champion, Rollout(KEY, "", 0.10, 0.35)


def plausible(shop: Shop) -> tuple[Decider, Rollout]:
    """5 % held out, 45 % over plausible arms."""
    return shop.champion, Rollout(KEY, "", 0.05, 0.45, plausible=Plausible())


def trial(shop: Shop) -> tuple[Decider, Rollout]:
    """5 % held out, 15 % over plausible arms; of the others half go by the candidate."""
    both = SideBySide(shop.champion, shop.candidate, 0.5, "trial 1")
    return both, Rollout(KEY, "", 0.05, 0.15, plausible=Plausible())


DESIGNS: dict[str, Callable[[Shop], tuple[Decider, Rollout]]] = {
    "today": today,
    "plausible": plausible,
    "trial": trial,
}


@dataclass(frozen=True, eq=False)
class Logged:
    """Decisions of one design, answered by the world.

    Attributes:
        rows: As they are learned from.
        served: What the design earns over no offer, as a share of what the champion's policy does.
        differences: (n,) doubly robust, candidate less champion, of every decision.
        over_nobody: (n, 2) the same of the candidate over no contact, of money and of who left.
        error: Standard error of the first after one wave, by the trial's own look.
        differ: Share of customers for whom the two policies differ.
        off: The most that the propensities of a decision are off a sum of 1.
        parts: (n, 6) what `monitoring.live.tallied` sums up, by decision, of a release whose offers do nothing.
    """

    rows: OfferRows
    served: float
    differences: Floats
    over_nobody: Floats
    error: float
    differ: float
    off: float
    parts: Floats


def logged(shop: Shop, design: Callable[[Shop], tuple[Decider, Rollout]], seed: int) -> Logged:
    """Decide by a design, let the world answer, and score both policies as the sensors do."""
    decider, rollout = design(shop)
    decided = [each for wave in shop.asked for each in decider.decide(wave, rollout)]
    chances = np.array([each.propensities for each in decided])
    off = float(np.abs(chances.sum(1) - 1).max())
    live, rows = _frames(shop, decided, seed)
    champion, candidate = shop.choices
    scored = Scored.of(whole_rows(live, rows), rows.arms, [shop.champion])
    told = [_one_hot_in(shop, each) for each in (candidate, champion)]
    if not np.array_equal(scored.choices[0], told[1]):
        raise AssertionError("the sensors take the champion to decide otherwise than it did")
    nobody = np.zeros_like(champion)
    nobody[:, 0] = 1.0
    return Logged(
        rows,
        served_share(shop, chances[:, _places(shop)]),
        pseudo_outcomes(scored.evidence, *told),
        np.stack([pseudo_outcomes(each, told[0], nobody) for each in (scored.evidence, scored.left)], axis=1),
        _error_of_look(shop, live, rows),
        float((candidate != champion).any(axis=1).mean()),
        off,
        _doing_nothing(shop, decided, np.random.default_rng([seed, 1])),
    )


def _one_hot_in(shop: Shop, choices: Floats) -> Floats:
    """Choices over the world's menu as over the releases'."""
    found = np.empty_like(choices)
    found[:, _places(shop)] = choices
    return found


def _error_of_look(shop: Shop, live: LiveLog, rows: OfferRows) -> float:
    """Of candidate less champion, as the trial's look says after one wave."""
    first = LiveLog(live.frame.head(WAVE), {}), OfferRows(rows.frame.head(WAVE), rows.arms, {})
    policy = PromotionPolicy(rule="better")
    found = look_at_trial(*first, shop.candidate, [shop.champion], policy, LiveConfig(), 1)
    return found.shadow.against[0].standard_error


def _frames(shop: Shop, decided: Sequence[Decision], seed: int) -> tuple[LiveLog, OfferRows]:
    """The decisions with the world's answers, as they are logged and learned from."""
    asked = [each for wave in shop.asked for each in wave]
    arms = shop.champion.menu.ids
    frame = pd.DataFrame(
        {
            "decision_id": [f"d{place}" for place in range(len(asked))],
            "customer_id": [each.customer_id for each in decided],
            "decided_at": pd.date_range(START, periods=len(asked), freq="min"),
            "release": [each.release for each in decided],
            "assigned": [each.assigned for each in decided],
            "arm": [each.chosen.arm.id for each in decided],
            "propensity": [each.chosen.propensity for each in decided],
            "prior_offers": [each.prior_offers for each in asked],
        }
    )
    frame[list(map(propensity_column, arms))] = [each.propensities for each in decided]
    places, parts = shop.forward.arms(frame["arm"].tolist()), []
    for number, cohort in enumerate(shop.cohorts):
        luck = np.random.default_rng([seed, 0, number])
        arm = places[number * WAVE : (number + 1) * WAVE]
        parts.append(shop.forward.world.answer(cohort.truth, arm, luck))
    for name in ("accepted", "churned", "margin"):
        frame[name] = np.concatenate([getattr(each, name) for each in parts])
    features = pd.DataFrame([each.features for each in asked]).add_prefix(FEATURE)
    log = frame.drop(columns=["decision_id", "assigned", "release"]).assign(policy_version=frame["release"])
    return LiveLog(pd.concat([frame, features], axis=1), {}), OfferRows(log, arms, {})


def _doing_nothing(shop: Shop, decided: Sequence[Decision], rng: np.random.Generator) -> Floats:
    """(n, 6) of `Logged.parts`."""
    parts = []
    for cohort in shop.cohorts:
        nothing = shop.forward.world.answer(cohort.truth, np.zeros(len(cohort), np.int64), rng)
        parts.append(np.stack([nothing.margin, nothing.churned], axis=1))
    margin, churned = np.concatenate(parts).T
    left = np.array([each.assigned == "policy" for each in decided])  # whom nobody but the policy decided for
    idle = np.array([each.arms[0].propensity if each.arm == 0 else np.inf for each in decided])
    return np.stack([who * what for who in (left, 1 / idle) for what in (margin, churned, 1.0)], axis=1)


def pseudo_outcomes(evidence: LoggedDecisions, candidate: Floats, champion: Floats) -> Floats:
    """(n,) of which the library's paired difference is the mean."""
    rows, less = np.arange(len(evidence.arm)), candidate - champion
    weight = less[rows, evidence.arm] / evidence.propensities[rows, evidence.arm]
    found = (less * evidence.expected).sum(1) + weight * (
        evidence.reward - evidence.expected[rows, evidence.arm]
    )
    theirs = evidence.difference(candidate, champion).dr
    ours = clustered_mean(found, evidence.customer)
    if not abs(ours.value - theirs.value) + abs(ours.standard_error - theirs.standard_error) < 1e-9:
        raise AssertionError(f"found a difference of {ours}, the library says {theirs}")
    return np.asarray(found)


def served_share(shop: Shop, chances: Floats) -> float:
    """What a design earns over no offer, of what the champion does where everybody is left to it."""
    expected = np.concatenate([each.expected for each in shop.cohorts])
    gain = expected - expected[:, :1]
    return float((chances * gain).sum() / (shop.choices[0] * gain).sum())


def next_lift(shop: Shop, found: Logged, wave: int) -> float:
    """True lift of the arms that the next model takes to be best, trained on the first log and a wave of a design.

    Args:
        shop: The champion's risk model, table and first log.
        found: Decisions of the design.
        wave: Which of its waves, from 0; the lift is that of the next one.
    """
    fitted, rows = shop.fitted, slice(wave * WAVE, (wave + 1) * WAVE)
    table, experiment = fitted.table, fitted.experiment
    served = OfferRows(found.rows.frame.iloc[rows].reset_index(drop=True), found.rows.arms, {})
    log = append(fitted.log, served, table.ids, table.frame)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = fitted.risk.risk_of(np.asarray(log.customer_id))
    effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    responses = ResponseModels.of(fitted.risk, accept, effect, fitted.policy.process)
    cohort = shop.cohorts[(wave + 1) % WAVES]
    asked = responses.responses(table.X[cohort.customer], cohort.prior_offers.astype(np.float64))
    worth = incremental(asked, fitted.policy.process).value[:, 0, 0][:, _places(shop)]
    return cohort.lift(np.asarray(np.where(cohort.allowed, worth, -np.inf).argmax(1), np.int64))


def weeks(pool: Floats, rng: np.random.Generator, looks: int = LOOKS) -> Floats:
    """(histories, looks, 2, C) sums and sums of squares so far, of weeks that are drawn from a pool of (n, C)."""
    found = np.empty((HISTORIES, looks, 2, pool.shape[1]))
    for history in range(HISTORIES):
        week = pool[rng.integers(0, len(pool), looks * WEEKLY)].reshape(looks, WEEKLY, -1)
        found[history] = np.stack([week.sum(axis=1), np.einsum("lwc,lwc->lc", week, week)], axis=1)
    return found.cumsum(axis=1)


def estimates(sums: Floats) -> Floats:
    """(histories, looks, 2, C) the mean at each look and its standard error, of `weeks`."""
    n = WEEKLY * np.arange(1, sums.shape[1] + 1)[:, None]
    mean = sums[:, :, 0] / n
    return np.stack([mean, np.sqrt((sums[:, :, 1] / n - mean**2) / (n - 1))], axis=2)


def verdict(found: Floats, rows: int, policy: PromotionPolicy, number: int) -> str:
    """What the rule says of the number-th trial beside one champion, by (2,) an estimate and its error."""
    difference = OverLeader("champion", 1.0, Estimate(float(found[0]), float(found[1])))
    return verdict_on([difference], rows, policy, comparison_number(number, trial=True)).verdict


def ever(wanted: str, sums: Floats, policy: PromotionPolicy, number: int = 1) -> Bools:
    """(histories,) whether the rule says this at any look, of the first column of `weeks`."""
    found = estimates(sums)[..., 0]
    return np.array(
        [
            any(
                verdict(each, WEEKLY * look, policy, number) == wanted for look, each in enumerate(history, 1)
            )
            for history in found
        ]
    )


def false_promotions(
    pools: Sequence[Floats], rng: np.random.Generator, policy: PromotionPolicy
) -> dict[str, float]:
    """Share of histories in which a candidate that is no better is ever promoted, by kind of history."""
    calm, shifted = ((pool - pool.mean())[:, None] for pool in pools)
    half = LOOKS // 2
    one = weeks(calm, rng)
    before, after = weeks(calm, rng, half), weeks(shifted, rng, LOOKS - half)
    drifting = np.concatenate([before, before[:, -1:] + after], axis=1)
    several = np.zeros(HISTORIES, bool)
    for number in range(1, CANDIDATES + 1):
        several |= ever("promote", weeks(calm, rng, LOOKS // CANDIDATES), policy, number)
    told = estimates(one)[..., 0]
    return {
        "none": float(ever("promote", one, policy).mean()),
        "drift": float(ever("promote", drifting, policy).mean()),
        "candidates": float(several.mean()),
        "today": float((told[..., 0] > 1.645 * told[..., 1]).any(axis=1).mean()),
    }


def false_rollbacks(parts: Floats, rng: np.random.Generator, config: LiveConfig) -> float:
    """Share of histories in which a release whose offers do nothing is rolled back at any look of its guardrails."""
    all_ = Tally.of(len(parts), parts, possible=True)
    off = earned(all_)
    assert off is not None
    policy, calm = parts[:, 2], parts.copy()
    calm[:, 0] -= off.lift.value * policy  # the luck of those that are drawn from: nothing must differ
    calm[:, 1] -= off.churn_increase.value * policy
    rows = LOOKS * WEEKLY
    edges = np.unique([place for look in looks(rows, config) for place in (look.start, look.stop)])
    broken_ = 0
    for _ in range(HISTORIES):
        pieces = np.split(calm[rng.integers(0, len(calm), rows)], edges[1:-1])
        tallies = [Tally.of(len(each), each, possible=True) for each in pieces]
        so_far = list(accumulate(tallies, initial=Tally.of(0, calm[:0], possible=True)))
        broken_ += breach_in(rows, partial(_between, edges, tallies, so_far), config) is not None
    return broken_ / HISTORIES


def _between(edges: Ints, pieces: Sequence[Tally], so_far: Sequence[Tally], start: int, stop: int) -> Tally:
    """Of the decisions from one edge to another."""
    first, last = np.searchsorted(edges, [start, stop])
    return so_far[last] if first == 0 else reduce(add, pieces[first:last])


def false_ends(found: Logged, rng: np.random.Generator, policy: PromotionPolicy, config: LiveConfig) -> float:
    """Share of histories in which a trial is ended whose candidate is as good as the champion and as no contact.

    By its rule, where it is certainly worse, or by a guardrail, where it certainly does harm: at any look.
    """
    pool = np.column_stack([found.differences, found.over_nobody])
    sums = weeks(pool - pool.mean(axis=0), rng)
    harmed = [
        any(_harmful(each, WEEKLY * look, config) for look, each in enumerate(history, 1))
        for history in estimates(sums)
    ]
    return float((ever("reject", sums, policy) | harmed).mean())


def _harmful(found: Floats, rows: int, config: LiveConfig) -> bool:
    """Whether a guardrail of all customers says so, by (2, C) estimates and errors; as of `monitoring.trial.harm`."""
    money, left = (Estimate(float(value), float(error)) for value, error in found[:, 1:].T)
    told = Earned(rows, UNKNOWN, UNKNOWN, money, left)
    return bool(broken(told, harm_z(rows, harm_error(config), config), config))


def decisions_until(
    spread: float, policy: PromotionPolicy, number: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Median decisions until the rule lets a candidate of GAIN lead, and how often it rejects it.

    Args:
        spread: Standard deviation of a decision's difference.
        policy: The rule.
        number: Most looks; `SPEED_LOOK` decisions lie between two, and sums of so many are normal.
        rng: Of the histories.
    """
    until, rejected = np.full(HISTORIES, np.inf), 0
    rows = SPEED_LOOK * np.arange(1, number + 1)
    for history in range(HISTORIES):
        noise = rng.normal(0, spread * np.sqrt(SPEED_LOOK), number).cumsum() / rows
        for n, off in zip(rows.tolist(), noise, strict=True):
            said = verdict(np.array([GAIN + off, spread / np.sqrt(n)]), n, policy, 1)
            if said != "wait":
                until[history] = n if said == "promote" else np.inf
                rejected += said == "reject"
                break
    return float(np.median(until)), rejected / HISTORIES


def today_until(spread: float, z: float, number: int, rng: np.random.Generator) -> float:
    """The same median by a bound of so many standard errors that is asked at each look."""
    looks_ = np.arange(1, number + 1)
    noise = rng.standard_normal((HISTORIES, number)).cumsum(axis=1) / np.sqrt(looks_)
    better = GAIN * np.sqrt(looks_ * SPEED_LOOK) / spread + noise > z
    return float(np.median(np.where(better.any(axis=1), (better.argmax(axis=1) + 1.0) * SPEED_LOOK, np.inf)))


def chains(rng: np.random.Generator, policy: PromotionPolicy | None, spread: float) -> Floats:
    """(histories,) the least that a leader was ever worth of the best leader before, over PROMOTIONS promotions.

    Candidates are worth the champion's 12 a decision and a difference of standard deviation .5, biased down by .2: most
    are a little worse. Each has noise of its own, common to all comparisons it takes part in, at four waves' decisions.

    Args:
        rng: Of the histories.
        policy: The rule; None for today's: not worse than the champion by a quarter of its lift.
        spread: Standard deviation of a decision's difference.
    """
    return np.array([_chain(rng, policy, spread) for _ in range(HISTORIES)])


def _chain(rng: np.random.Generator, policy: PromotionPolicy | None, spread: float) -> float:
    error = spread / np.sqrt(WAVES * WAVE)
    worth, least, number = [12.0], 1.0, 1
    for _ in range(40 * PROMOTIONS):
        candidate = worth[-1] + rng.normal(-0.2, 0.5)
        noise = rng.normal(0, error / np.sqrt(2), len(worth) + 1)
        over = candidate + noise[-1] - np.array(worth) - noise[:-1]
        if policy is None:
            holds = over[-1] - 1.645 * error > -0.25 * worth[-1]
        else:
            holds = _may_follow(over, worth, error, policy, number)
        number += 1
        if holds:
            worth.append(candidate)
            least, number = min(least, candidate / max(worth)), 1
            if len(worth) > PROMOTIONS:
                break
    return least


def _may_follow(over: Floats, worth: list[float], error: float, policy: PromotionPolicy, number: int) -> bool:
    """What the rule says, by what a candidate was found to earn over each leader so far, the newest last."""
    loses = policy.may_lose
    differences = [
        OverLeader(f"leader {place}", 1 - loses, Estimate(float(above + loses * max(leader, 0.0)), error))
        for place, (above, leader) in enumerate(zip(over, worth, strict=True))
    ]
    compared = comparison_number(number, trial=True)
    return verdict_on(differences[::-1], WAVES * WAVE, policy, compared).verdict == "promote"


def designs(shop: Shop) -> dict[str, Logged]:
    """What each design shows."""
    return {name: logged(shop, design, 2) for name, design in DESIGNS.items()}


def measured() -> list[Figure]:
    """All figures."""
    experiment = load_experiment("loop", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    fits = (
        fit_models(experiment, table, rows=FIRST_LOG, timesteps=TIMESTEPS, seed=seed) for seed in range(1, 9)
    )
    pair = list(islice((each for each in fits if each.effect.size > 0), 2))  # else nobody is offered anything

    def shop(drift_at: int | None) -> Shop:
        forward = Forward.build(
            table, experiment, seed=1, size=WAVE, drift="competitor_shock", drift_at=drift_at
        )
        return make_shop(table, forward, pair)

    calm = shop(None)
    found, after = designs(calm), logged(shop(1), trial, 3).differences
    rng, policy = np.random.default_rng(20261130), PromotionPolicy()
    wrong = false_promotions((found["trial"].differences, after), rng, policy)
    figures = [
        Figure(
            "false_promotion_ever",
            wrong["none"],
            "<=",
            0.05,
            f"{HISTORIES} years of {LOOKS} looks, no difference",
        ),
        Figure(
            "false_promotion_ever_drift", wrong["drift"], "<=", 0.05, "the world changes after half a year"
        ),
        Figure(
            "false_promotion_ever_candidates",
            wrong["candidates"],
            "<=",
            0.05,
            f"{CANDIDATES} one after another",
        ),
        Figure("false_promotion_ever_today", wrong["today"], note="a 95 % bound above 0, asked at each look"),
        Figure(
            "false_rollback_ever",
            false_rollbacks(found["trial"].parts, rng, LiveConfig()),
            "<=",
            0.05,
            "offers that do nothing",
        ),
        Figure(
            "false_trial_end_ever",
            false_ends(found["trial"], rng, policy, LiveConfig()),
            "<=",
            0.05,
            "a candidate as good as the champion, and as no contact",
        ),
        Figure("propensity_error", max(each.off for each in found.values()), "<=", 1e-12),
    ]
    differ = Figure(
        "share_differing", found["trial"].differ, note="customers with another arm by the candidate"
    )
    return [
        *figures,
        *speed(found, policy, rng),
        *chain_figures(found["trial"], rng),
        *costs(found),
        differ,
        *next_models(calm, found),
    ]


def next_models(shop: Shop, found: dict[str, Logged]) -> list[Figure]:
    """What the next model brings that learns from each design."""
    lifts = {
        name: float(np.mean([next_lift(shop, each, wave) for wave in range(NEXT_MODELS)]))
        for name, each in found.items()
    }
    return [
        *(
            Figure(f"next_model_lift_{name}", lift, note=f"mean of {NEXT_MODELS} waves")
            for name, lift in lifts.items()
        ),
        Figure("next_model_lift_trial_vs_uniform", lifts["trial"] / lifts["today"], ">=", 0.98),
    ]


def speed(found: dict[str, Logged], policy: PromotionPolicy, rng: np.random.Generator) -> list[Figure]:
    """How many decisions a better candidate needs: by a trial and the rule, and by today's at as few errors."""
    number = 400
    error = share_of_error(comparison_number(1, trial=True), policy.error)
    planned = PLAN * policy.min_decisions
    ours = np.array([mixture_z(SPEED_LOOK * k / planned, error) for k in range(1, number + 1)])
    quiet = rng.standard_normal((20_000, number)).cumsum(axis=1) / np.sqrt(np.arange(1, number + 1))
    z = float(np.quantile(quiet.max(axis=1), 1 - max(float((quiet > ours).any(axis=1).mean()), 1e-3)))
    spread = {name: float(each.differences.std()) for name, each in found.items()}
    needed, rejected = decisions_until(spread["trial"], policy, number, rng)
    explored, _ = decisions_until(spread["plausible"], policy, number, rng)
    today_needed = today_until(spread["today"], z, number, rng)
    return [
        Figure("decisions_to_promote_plus_03", needed, note="median; by a trial, at any look"),
        Figure("decisions_to_promote_plus_03_plausible", explored, note="median; by plausible exploration"),
        Figure("decisions_to_promote_plus_03_today", today_needed, note=f"as rarely wrong: z {z:.2f}"),
        Figure("decisions_to_promote_vs_today", needed / today_needed, "<=", 0.25),
        Figure("better_rejected", rejected, "<=", 0.1, f"{GAIN} better and called certainly worse"),
    ]


def chain_figures(trial_log: Logged, rng: np.random.Generator) -> list[Figure]:
    """What is left of the best leader after many promotions, by rule."""
    spread = float(trial_log.differences.std())
    ours = chains(rng, PromotionPolicy(rule="not_worse"), spread)
    today_ = chains(rng, None, spread)
    note = f"of histories, {PROMOTIONS} promotions"
    return [
        Figure("leader_above_09_of_best", float((ours >= 0.9).mean()), ">=", 0.99, f"{note}, rule not_worse"),
        Figure("leader_above_09_of_best_today", float((today_ >= 0.9).mean()), note=note),
        Figure("leader_least_of_best_1st_percentile", float(np.quantile(ours, 0.01))),
    ]


def costs(found: dict[str, Logged]) -> list[Figure]:
    """What each design costs and how exactly it tells."""
    return [
        *(
            Figure(
                f"served_over_policy_{name}",
                each.served,
                *((">=", 0.93) if name == "trial" else (None, None)),
            )
            for name, each in found.items()
        ),
        *(
            Figure(
                f"se_candidate_minus_champion_{name}",
                each.error,
                *(("<=", 1.5) if name == "trial" else (None, None)),
                f"after one wave of {WAVE} decisions",
            )
            for name, each in found.items()
        ),
    ]


if __name__ == "__main__":
    main(__doc__, measured)
