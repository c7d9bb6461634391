"""The live gate over a year of weekly looks: what it lets lead, what it takes back, how long it needs, what it costs.

Differences are drawn from the demo world: two policies that err in their own way about what an arm is worth, decisions
logged by each design, answers by the world, and doubly robust differences by the library's own code. A history is a
year of weeks drawn from these. The truth is used to centre differences and for what a design costs, and for nothing
else. Releases are not trained and no server runs: `benchmarks.loop` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
from numpy.typing import NDArray

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.deciding.exploration import Plausible
from churn_assets.decision.off_policy import LoggedDecisions, cross_fitted_outcomes, outcome_design
from churn_assets.experiment import load_experiment
from churn_assets.gates.anytime import mixture_z, share_of_error
from churn_assets.monitoring.config import LiveConfig
from churn_assets.monitoring.live import Look, Tally, earned, look_at_all, looks
from churn_assets.offers.world import Cohort
from churn_assets.release.comparison import PLAN
from churn_assets.release.config import PromotionPolicy
from churn_assets.simulation.waves import Forward

ROOT = Path(__file__).parents[1]
HISTORIES, LOOKS = 1_000, 52
WAVE, WAVES = 21_129, 4
WEEKLY = 2_000
"""Decisions between two looks."""
GAIN = 0.3
"""Money a decision that a better candidate brings."""
CANDIDATES = 13
"""Held against one champion in a year: one in four weeks."""
PROMOTIONS = 20
ERRS = 2.0
"""Standard deviation, in money, of what a policy gets wrong about a contact with a customer, and as much about an arm's
size: two policies then differ on about a quarter of the customers, as releases of the loop did."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Design = Callable[["Shop"], Floats]


@dataclass(frozen=True, eq=False)
class Shop:
    """Customers of some waves and what two policies would do with them; (n, K) one-hot choices.

    Attributes:
        cohorts: The waves.
        guessed: (n, K) what the champion takes the arms to be worth.
        champion: Its choices.
        candidate: Those of the other.
        allowed: (n, K).
    """

    cohorts: Sequence[Cohort]
    guessed: Floats
    champion: Floats
    candidate: Floats
    allowed: NDArray[np.bool_]


def make_shop(forward: Forward, seed: int) -> Shop:
    """Two policies of equal skill: the best arm by the truth and an error of their own, smooth in the customers."""
    cohorts = [forward.wave(number).cohort for number in range(1, WAVES + 1)]
    expected = np.concatenate([each.expected for each in cohorts])
    allowed = np.concatenate([each.allowed for each in cohorts])
    customer = np.concatenate([each.customer for each in cohorts])
    rng = np.random.default_rng(seed)
    people, arms = len(forward.table), expected.shape[1]
    guesses = []
    for _ in range(2):
        size = np.linspace(-1, 1, arms)
        wrong = ERRS * (rng.normal(0, 1, (people, 1)) + size * rng.normal(0, 1, (people, 1)))
        wrong[:, 0] = 0
        guesses.append(np.where(allowed, expected + wrong[customer], -np.inf))
    one, other = (np.eye(arms)[each.argmax(1)] for each in guesses)
    return Shop(cohorts, guesses[0], one, other, allowed)


def today(shop: Shop) -> Floats:
    """10 % held out, 35 % uniform."""
    found = 0.55 * shop.champion + 0.35 * shop.allowed / shop.allowed.sum(1, keepdims=True)
    found[:, 0] += 0.10
    return found


def plausible(shop: Shop) -> Floats:
    """5 % no contact, 45 % over plausible arms."""
    found = 0.50 * shop.champion + 0.45 * plausible_shares(shop)
    found[:, 0] += 0.05
    return found


def trial(shop: Shop) -> Floats:
    """Champion and candidate 40 % each, 5 % no contact, 15 % over plausible arms; no server does that yet."""
    found = 0.40 * (shop.champion + shop.candidate) + 0.15 * plausible_shares(shop)
    found[:, 0] += 0.05
    return found


DESIGNS: dict[str, Design] = {"today": today, "plausible": plausible, "trial": trial}


def plausible_shares(shop: Shop) -> Floats:
    """(n, K) of those who explore, by what the champion takes the arms to be worth."""
    design = Plausible()
    found, over = np.zeros_like(shop.guessed), shop.guessed - shop.guessed[:, :1]
    for row, (values, free) in enumerate(zip(over, shop.allowed, strict=True)):
        found[row, free] = design.shares(values[free].tolist())
    return found


@dataclass(frozen=True, eq=False)
class Logged:
    """Decisions of one design, answered by the world.

    Attributes:
        served: What the design earns over no offer, as a share of what the champion's policy does.
        differences: (n,) doubly robust, candidate less champion, of every decision.
        error: Standard error of their mean after one wave.
        differ: Share of customers for whom the two policies differ.
        parts: (n, 6) what `monitoring.live.tallied` sums up, by decision, of a release whose offers do nothing.
    """

    served: float
    differences: Floats
    error: float
    differ: float
    parts: Floats


def logged(forward: Forward, shop: Shop, design: Design, seed: int) -> Logged:
    """Draw decisions by a design, let the world answer, and score both policies as the library does."""
    chances, rng = design(shop), np.random.default_rng(seed)
    arm = drawn(chances, rng)
    wave = [slice(number * WAVE, (number + 1) * WAVE) for number in range(WAVES)]
    reward, idle_margin, idle_churn = np.empty(len(arm)), np.empty(len(arm)), np.empty(len(arm))
    for rows, cohort in zip(wave, shop.cohorts, strict=True):
        reward[rows] = forward.world.answer(cohort.truth, arm[rows], rng).margin
        nothing = forward.world.answer(cohort.truth, 0 * arm[rows], rng)
        idle_margin[rows], idle_churn[rows] = nothing.margin, nothing.churned
    evidence = scored(forward.table, shop, arm, reward, chances)
    differences = pseudo_outcomes(evidence, shop)
    first = LoggedDecisions(
        *(
            getattr(evidence, name)[wave[0]]
            for name in ("arm", "reward", "propensities", "expected", "customer")
        )
    )
    error = first.difference(shop.candidate[wave[0]], shop.champion[wave[0]]).dr.standard_error
    left = rng.random(len(arm)) < 0.5  # whom nobody but the policy decided for
    weight = np.where(arm == 0, 1 / chances[:, 0], 0.0)
    parts = [who * what for who in (left, weight) for what in (idle_margin, idle_churn, 1.0)]
    differ = float((shop.candidate != shop.champion).any(axis=1).mean())
    return Logged(served_share(shop, chances), differences, error, differ, np.stack(parts, axis=1))


def drawn(chances: Floats, rng: np.random.Generator) -> Ints:
    """(n,) an arm of each row by its chances (n, K)."""
    return np.minimum((rng.random((len(chances), 1)) >= chances.cumsum(1)).sum(1), chances.shape[1] - 1)


def scored(table: CustomerTable, shop: Shop, arm: Ints, reward: Floats, chances: Floats) -> LoggedDecisions:
    """The decisions made ready to score, as the sensor does."""
    customer = np.concatenate([each.customer for each in shop.cohorts])
    prior = np.concatenate([each.prior_offers for each in shop.cohorts])
    fold = table.fold.astype(np.int64)
    expected = cross_fitted_outcomes(
        outcome_design(table), customer, prior, arm, reward, fold, chances.shape[1]
    )
    return LoggedDecisions(arm, reward, chances, expected, customer)


def pseudo_outcomes(evidence: LoggedDecisions, shop: Shop) -> Floats:
    """(n,) of which the library's paired difference is the mean."""
    rows, less = np.arange(len(evidence.arm)), shop.candidate - shop.champion
    weight = less[rows, evidence.arm] / evidence.propensities[rows, evidence.arm]
    found = (less * evidence.expected).sum(1) + weight * (
        evidence.reward - evidence.expected[rows, evidence.arm]
    )
    theirs = evidence.difference(shop.candidate, shop.champion).dr.value
    if not abs(found.mean() - theirs) < 1e-9:
        raise AssertionError(f"found a difference of {found.mean()}, the library says {theirs}")
    return np.asarray(found)


def served_share(shop: Shop, chances: Floats) -> float:
    """What a design earns over no offer, of what the champion does where everybody is left to it."""
    expected = np.concatenate([each.expected for each in shop.cohorts])
    gain = expected - expected[:, :1]
    return float((chances * gain).sum() / (shop.champion * gain).sum())


def weeks(pool: Floats, rng: np.random.Generator, histories: int = HISTORIES, looks: int = LOOKS) -> Floats:
    """(histories, looks, 2) sums of differences and of their squares, so far, of weeks drawn from a pool."""
    found = np.empty((histories, looks, 2))
    for history in range(histories):
        drawn_weeks = pool[rng.integers(0, len(pool), (looks, WEEKLY))]
        found[history] = np.stack([drawn_weeks.sum(1), (drawn_weeks**2).sum(1)], axis=1)
    return found.cumsum(axis=1)


def scores(sums: Floats) -> Floats:
    """(histories, looks) how many standard errors the mean is from 0."""
    n = WEEKLY * np.arange(1, sums.shape[1] + 1)
    mean = sums[..., 0] / n
    return np.asarray(mean / np.sqrt((sums[..., 1] / n - mean**2) / n))


def reach(number: int, looks: int, policy: PromotionPolicy) -> Floats:
    """(looks,) how many standard errors the rule asks for at each look of a candidate."""
    error, planned = share_of_error(number, policy.error), PLAN * policy.min_decisions
    return np.array([mixture_z(WEEKLY * look / planned, error) for look in range(1, looks + 1)])


def false_promotions(
    pools: Sequence[Floats], rng: np.random.Generator, policy: PromotionPolicy
) -> dict[str, float]:
    """Share of histories in which a candidate that is no better is ever promoted, by kind of history."""
    calm, shifted = (pool - pool.mean() for pool in pools)
    half = LOOKS // 2
    one = weeks(calm, rng)
    before, after = weeks(calm, rng, looks=half), weeks(shifted, rng, looks=LOOKS - half)
    drifting = np.concatenate([before, before[:, -1:] + after], axis=1)
    each = LOOKS // CANDIDATES
    several = np.zeros(HISTORIES, bool)
    for number in range(1, CANDIDATES + 1):
        several |= (scores(weeks(calm, rng, looks=each)) > reach(number, each, policy)).any(axis=1)
    return {
        "none": float((scores(one) > reach(1, LOOKS, policy)).any(axis=1).mean()),
        "drift": float((scores(drifting) > reach(1, LOOKS, policy)).any(axis=1).mean()),
        "candidates": float(several.mean()),
        "today": float((scores(one) > 1.645).any(axis=1).mean()),
    }


def false_rollbacks(parts: Floats, rng: np.random.Generator, config: LiveConfig) -> float:
    """Share of histories in which a release whose offers do nothing is rolled back at any look: one each week."""
    every = {(look.start, look.stop): look for look in reversed(looks(LOOKS * WEEKLY, config))}
    windows = [every[(k * WEEKLY, (k + 1) * WEEKLY)] for k in range(LOOKS)]
    broken = 0
    for _ in range(HISTORIES):
        week = parts[rng.integers(0, len(parts), (LOOKS, WEEKLY))]
        total, cross = week.sum(axis=1), np.matmul(week.transpose(0, 2, 1), week)
        all_, of_all = total.cumsum(axis=0), cross.cumsum(axis=0)
        broken += any(
            _is_broken(WEEKLY, total[k], cross[k], windows[k])
            or _is_broken((k + 1) * WEEKLY, all_[k], of_all[k], look_at_all((k + 1) * WEEKLY, config))
            for k in range(LOOKS)
        )
    return broken / HISTORIES


def _is_broken(rows: int, total: Floats, cross: Floats, look: Look) -> bool:
    found = earned(Tally(rows, rows, total, cross, possible=True))
    if found is None:
        return False
    most = found.lift.value + look.z * found.lift.standard_error
    least = found.churn_increase.value - look.z * found.churn_increase.standard_error
    return most < 0 or least > 0


def decisions_until(spread: float, z: Floats, look: int, rng: np.random.Generator) -> tuple[float, float]:
    """Median decisions until a candidate of GAIN is certainly better, and how often it is called certainly worse.

    Args:
        spread: Standard deviation of a decision's difference.
        z: (L,) standard errors asked for at each look.
        look: Decisions between two; sums of so many are normal.
        rng: Of the histories.
    """
    number = np.arange(1, len(z) + 1)
    noise = rng.standard_normal((HISTORIES, len(z))).cumsum(axis=1) / np.sqrt(number)
    found = GAIN * np.sqrt(number * look) / spread + noise
    better = found > z
    first = np.where(better.any(axis=1), better.argmax(axis=1) + 1, np.inf)
    worse = found < -z
    rejected = np.where(worse.any(axis=1), worse.argmax(axis=1) + 1, np.inf) < first
    return float(np.median(first) * look), float(rejected.mean())


def as_often_wrong(wrong: float, looks_: int, rng: np.random.Generator) -> float:
    """Standard errors that today's rule, asked at each look, would need to be wrong no more often than `wrong`."""
    noise = rng.standard_normal((20_000, looks_)).cumsum(axis=1) / np.sqrt(np.arange(1, looks_ + 1))
    return float(np.quantile(noise.max(axis=1), 1 - max(wrong, 1e-3)))


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
            z = mixture_z(WAVES * WAVE / (PLAN * policy.min_decisions), share_of_error(number, policy.error))
            holds = bool((over - z * error > -policy.may_lose * np.maximum(worth, 0)).all())
        number += 1
        if holds:
            worth.append(candidate)
            least, number = min(least, candidate / max(worth)), 1
            if len(worth) > PROMOTIONS:
                break
    return least


def designs(forward: Forward, shifted: Forward) -> tuple[dict[str, Logged], Floats]:
    """What each design shows, and the differences of the trial after a drift."""
    shop = make_shop(forward, 1)
    found = {name: logged(forward, shop, design, 2) for name, design in DESIGNS.items()}
    other = make_shop(shifted, 1)
    return found, logged(shifted, other, trial, 3).differences


def measured() -> list[Figure]:
    """All figures."""
    experiment = load_experiment("loop", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)

    def world(drift_at: int | None) -> Forward:
        return Forward.build(
            table, experiment, seed=1, size=WAVE, drift="competitor_shock", drift_at=drift_at
        )

    found, after = designs(world(None), world(1))
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
    ]
    differ = Figure(
        "share_differing", found["trial"].differ, note="customers with another arm by the candidate"
    )
    return [*figures, *speed(found, policy, rng), *chain_figures(found["trial"], rng), *costs(found), differ]


def speed(found: dict[str, Logged], policy: PromotionPolicy, rng: np.random.Generator) -> list[Figure]:
    """How many decisions a better candidate needs: by a trial and the rule, and by today's at as few errors."""
    look, number = 100 * WEEKLY, 200
    planned = PLAN * policy.min_decisions
    error = share_of_error(1, policy.error)
    ours = np.array([mixture_z(look * k / planned, error) for k in range(1, number + 1)])
    quiet = rng.standard_normal((20_000, number)).cumsum(axis=1) / np.sqrt(np.arange(1, number + 1))
    wrong = float((quiet > ours).any(axis=1).mean())
    theirs = np.full(number, as_often_wrong(wrong, number, rng))
    needed, rejected = decisions_until(float(found["trial"].differences.std()), ours, look, rng)
    explored, _ = decisions_until(float(found["plausible"].differences.std()), ours, look, rng)
    today_needed, _ = decisions_until(float(found["today"].differences.std()), theirs, look, rng)
    return [
        Figure("decisions_to_promote_plus_03", needed, note="median; by a trial, at any look"),
        Figure("decisions_to_promote_plus_03_plausible", explored, note="median; by plausible exploration"),
        Figure(
            "decisions_to_promote_plus_03_today", today_needed, note=f"as rarely wrong: z {theirs[0]:.2f}"
        ),
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
