"""What a policy would have earned, from a log of other decisions: estimators, intervals and the release rule.

Needs the propensities of every arm. Trains no policy, knows no truth, and reads nothing but what it is
handed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.customers.schema import CHURNED
from churn_assets.customers.table import CustomerTable
from churn_assets.gates.estimates import Z_TWO_SIDED_95, Estimate, clustered, clustered_mean
from churn_assets.gates.report import Gate, Outcome
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.config import KnownBy
from churn_assets.offers.log import OfferLog

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NON_INFERIORITY = 0.25
"""A later release may lose this share of what the champion's offers add. A share of a customer's whole value could be
more than all of it. Of the demo world's loop the paired difference had a standard error of a tenth to a quarter of the
lift (20,000 to 100,000 decisions, a third of them exploring): a smaller margin would stop most candidates that are as
good, and a point estimate that must not be negative two in five of those that are better."""

KNOTS = 4
RIDGE_COMMON = 20.0
RIDGE_ARM = 300.0
"""Prior rows that pull an arm's coefficients to the common ones (columns are of unit size). On a 50,000-row
log of the demo world 30 to 5,000 gave standard errors of the lift within 0.3 % of each other."""
ABOVE = 1e-6
"""Money a decision. A bound must lie above its bar, not on it: one that never offers is no first release."""
SUM_TOLERANCE = 1e-6
LARGEST_RATIO = 10.0
"""Of odds: hidden targeting as strong as that is not asked about."""
CERTAIN = 2.58
"""Standard errors: a policy that is as good as the best simple one is called worse once in two hundred logs, and one
that is five standard errors worse is let through as seldom."""
LEAST_UNDONE = 1.05
"""Of odds, where propensities are estimated: a team that knew a twentieth more than its table must not undo a lift. An
honest log of 50,000 decisions of the demo world, read without its propensities, is undone by 1.08."""
TOP_RISK_SHARE = 0.30
USUAL_MONTHS_GIVEN = 1.2
"""Months of the price that a usual offer gives: 20 % off for six months, as retention teams often do."""


class OffPolicyError(ValueError):
    """A policy or a log cannot be evaluated; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Estimates:
    """The same quantity by three estimators.

    Attributes:
        ips: inverse propensity scoring (Horvitz & Thompson 1952); unbiased, noisy.
        snips: self-normalised (Swaminathan & Joachims 2015); slightly biased, less noisy.
        dr: doubly robust with a cross-fitted outcome model (Dudík, Langford & Li 2011); the one to decide by.
    """

    ips: Estimate
    snips: Estimate
    dr: Estimate

    def wider(self, error: float) -> Estimates:
        """With another, independent standard error in each."""
        return Estimates(self.ips.wider(error), self.snips.wider(error), self.dr.wider(error))


@dataclass(frozen=True)
class OffPolicyEstimate:
    """What a log says about a policy.

    Attributes:
        value: mean reward of a decision.
        lift: value over no offer.
        rows: decisions in the log.
        customers: customers in the log.
        effective_rows: Kish's effective sample size of the importance weights.
        largest_weight: largest importance weight.
        least_propensity: smallest propensity of an arm where the policy would choose it.
        agreement: mean probability of the policy for the logged arm.
        moved: mean probability of the policy for arms that could not be chosen, taken as no contact.
        undone_by: hidden targeting that would undo the lift: the factor, 1 or more, by which whoever logged would have
            had to change the odds of the logged arm, knowing more than is logged. 1 where there is no certain lift.
    """

    value: Estimates
    lift: Estimates
    rows: int
    customers: int
    effective_rows: float
    largest_weight: float
    least_propensity: float
    agreement: float
    moved: float
    undone_by: float
    suspected: float


@dataclass(frozen=True)
class Opponent:
    """A simple policy on the same decisions.

    Attributes:
        name: what it does.
        lift: what it earns over no offer.
        over: what the candidate earns over it, paired.
    """

    name: str
    lift: Estimate
    over: Estimate

    @property
    def bound(self) -> float:
        """The most that the candidate can plausibly earn over it."""
        return self.over.value + CERTAIN * self.over.standard_error

    @property
    def verdict(self) -> str:
        """How the candidate compares, in words."""
        if self.bound < 0:
            return "certainly worse"
        certain = self.over.value - CERTAIN * self.over.standard_error > 0
        return "certainly better" if certain else "not certainly better"


@dataclass(frozen=True, eq=False)
class LoggedDecisions:
    """A log made ready to score any policy on its arms; arrays are by decision.

    An arm that could not be chosen is never offered there, whatever a policy would choose: nothing is known of it, and
    an outcome model alone would say what it is worth. It is taken as no contact, as everywhere what is not allowed.

    Attributes:
        arm: (n,) index of the logged arm; arm 0 is no offer.
        reward: (n,) money.
        propensities: (n, A) of the logging policy, in [0, 1]; 0 of an arm that could not be chosen, never of arm 0.
        expected: (n, A) reward of each arm by an outcome model that was fitted without this customer.
        customer: (n,) number of the customer, 0 or more.
        suspected: the factor, 1 or more, by which the odds of churn without contact differ between log and table,
            beyond chance: as if whoever logged had changed the odds of a contact by as much, knowing who would leave.
            A table that is out of date shows the same.
        chance: standard error of what the log chose, in the value of a policy that was learned from it; see
            `logged.DecidedApart`. Differences between policies are without it.
    """

    arm: Ints
    reward: Floats
    propensities: Floats
    expected: Floats
    customer: Ints
    suspected: float = 1.0
    chance: float = 0.0

    @classmethod
    def of(cls, log: OfferLog, table: CustomerTable) -> LoggedDecisions:
        """Fit the outcome model by customer fold and gather what scoring needs.

        Args:
            log: decisions with propensities; `margin` is the reward.
            table: the log's customers (and possibly others).
        """
        customer = log.positions(table.ids)
        known, row = rows_before(log, table)
        expected = cross_fitted_outcomes(
            outcome_design(known),
            row,
            log.prior_offers,
            log.arm,
            log.margin,
            known.fold.astype(np.int64),
            len(log.menu),
        )
        # Of a panel, a decision of whose row it is not known yet who leaves is compared with nothing.
        # Nor are those who were left alone, where labels tell what came of everybody, contacted or not.
        labelled = known.is_labelled[row] & (not log.of_outcome)
        label = known.frame[CHURNED].to_numpy()[row[labelled]].astype(np.int64)
        suspected = suspected_targeting(log.where(labelled), label) if labelled.any() else 1.0
        return cls(log.arm, log.margin, log.propensities, expected, log.clusters(customer), suspected)

    def estimate(self, policy: Floats) -> OffPolicyEstimate:
        """Score a policy.

        Args:
            policy: (n, A) probability of each of the log's arms at each decision.

        Raises:
            OffPolicyError: `policy` is no such table of probabilities.
        """
        chosen = self._checked(policy)
        nothing = np.zeros_like(chosen)
        no_offer = np.zeros_like(chosen)
        no_offer[:, 0] = 1.0
        weight = self._weight(chosen)
        lift = self._contrast(chosen, no_offer).wider(self.chance)
        return OffPolicyEstimate(
            value=self._contrast(chosen, nothing).wider(self.chance),
            lift=lift,
            rows=len(self.arm),
            customers=self._customers,
            effective_rows=float(weight.sum() ** 2 / (weight**2).sum()) if weight.any() else 0.0,
            largest_weight=float(weight.max()),
            least_propensity=float(np.where(chosen > 0, self.propensities, 1.0).min()),
            agreement=float(chosen[np.arange(len(self.arm)), self.arm].mean()),
            moved=float((np.asarray(policy) * (self.propensities == 0)).sum(1).mean()),
            undone_by=self._undone_by(chosen - no_offer, lift.dr.lower_bound),
            suspected=self.suspected,
        )

    def _undone_by(self, contrast: Floats, bound: float) -> float:
        """The least odds ratio of hidden targeting at which a lower bound of a contrast (n, A) may be none.

        The marginal sensitivity model (Tan 2006; Zhao, Small & Bhattacharya 2019): true odds of the logged arm lie
        within this factor of the logged ones, each row's as bad as can be.
        """
        at = np.arange(len(self.arm))
        residual = contrast[at, self.arm] * (self.reward - self.expected[at, self.arm])
        odds = 1 / self.propensities[at, self.arm] - 1  # against the logged arm
        against = np.where(residual > 0, -1.0, 1.0)

        def changed(ratio: float) -> float:
            return float((residual * odds * (ratio**against - 1)).mean())

        if bound <= 0 or bound + changed(LARGEST_RATIO) > 0:
            return 1.0 if bound <= 0 else LARGEST_RATIO
        low, high = 0.0, float(np.log(LARGEST_RATIO))
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if bound + changed(float(np.exp(middle))) > 0 else (low, middle)
        return float(np.exp(low))

    def difference(self, candidate: Floats, champion: Floats) -> Estimates:
        """Value of one policy (n, A) over another on the same decisions: their common noise cancels."""
        return self._contrast(self._checked(candidate), self._checked(champion))

    def against(self, name: str, candidate: Floats, opponent: Floats) -> Opponent:
        """The candidate (n, A) beside a policy (n, A) that needs no model but the risk."""
        nothing = np.zeros_like(self.propensities)
        nothing[:, 0] = 1.0
        lift, over = self.difference(opponent, nothing).dr, self.difference(candidate, opponent).dr
        return Opponent(name, lift, over)

    @cached_property
    def _customers(self) -> int:
        return int(np.count_nonzero(np.bincount(self.customer)))

    def _checked(self, policy: Floats) -> Floats:
        chosen = np.asarray(policy, dtype=np.float64)
        if chosen.shape != self.propensities.shape:
            raise OffPolicyError(
                f"found policy probabilities of shape {chosen.shape}; expected {self.propensities.shape}, "
                "the log's decisions by its arms"
            )
        wrong = ~(chosen >= 0).all(1) | ~(np.abs(chosen.sum(1) - 1) <= SUM_TOLERANCE)
        if wrong.any():
            row = int(wrong.argmax())
            raise OffPolicyError(
                f"row {row}: found probabilities {chosen[row].tolist()}; expected a sum of 1"
            )
        possible = np.where(self.propensities > 0, chosen, 0.0)
        possible[:, 0] += (chosen - possible).sum(1)
        return possible

    def _weight(self, policy: Floats) -> Floats:
        at = np.arange(len(self.arm))
        return np.asarray(policy[at, self.arm] / self.propensities[at, self.arm])

    def scores(self, policy: Floats, reference: Floats) -> Floats:
        """(n,) doubly robust scores of a policy (n, A) over another, whose mean is the difference of their values."""
        return self._scores(self._checked(policy), self._checked(reference))

    def _scores(self, policy: Floats, reference: Floats) -> Floats:
        residual = self.reward - self.expected[np.arange(len(self.arm)), self.arm]
        weight = self._weight(policy) - self._weight(reference)
        return np.asarray(((policy - reference) * self.expected).sum(1) + weight * residual)

    def _contrast(self, policy: Floats, reference: Floats) -> Estimates:
        weight, other = self._weight(policy), self._weight(reference)
        ips = (weight - other) * self.reward
        dr = self._scores(policy, reference)
        snips, influence = _self_normalised(weight, self.reward)
        if other.any():
            subtracted, its_influence = _self_normalised(other, self.reward)
            snips, influence = snips - subtracted, influence - its_influence
        return Estimates(
            ips=clustered_mean(ips, self.customer),
            snips=clustered(snips, influence, self.customer),
            dr=clustered_mean(dr, self.customer),
        )


def _self_normalised(weight: Floats, reward: Floats) -> tuple[float, Floats]:
    """Weighted mean and its influence by row; nan where the policy would make none of the decisions."""
    if not weight.any():
        return float("nan"), np.full(len(weight), np.nan)
    mean = float((weight * reward).sum() / weight.sum())
    return mean, weight * (reward - mean) / weight.mean()


def suspected_targeting(log: OfferLog, label: Ints) -> float:
    """The factor on odds between churn without contact in a log, weighted by propensity, and its labels (n,).

    A negative control: if the propensities are true, whom nobody contacted left as often as the table says. Of the
    factor only what chance does not explain: the end of its 95 % interval that is nearer to 1.
    """
    alone = log.arm == 0
    if not alone.any():
        return 1.0
    weight, left = 1 / log.propensities[alone, 0], log.churned[alone].astype(np.float64)
    people = np.unique(log.customer_id[alone], return_inverse=True)[1]
    by_log, influence = _self_normalised(weight, left)
    rates = (
        clustered(by_log, influence, people),
        clustered_mean(label.astype(np.float64), np.arange(len(label))),
    )
    odds, error = zip(*map(_log_odds, rates), strict=True)
    apart = abs(odds[0] - odds[1]) - Z_TWO_SIDED_95 * float(np.hypot(*error))
    return float(np.exp(max(apart, 0.0)))


def _log_odds(rate: Estimate) -> tuple[float, float]:
    """The logarithm of a rate's odds, and its standard error."""
    share = float(np.clip(rate.value, 1e-6, 1 - 1e-6))
    return float(np.log(share / (1 - share))), rate.standard_error / (share * (1 - share))


def on_log(menu: Menu, probabilities: Floats, log: Menu) -> Floats:
    """Probabilities (n, K) over a policy's menu as (n, A) over a log's.

    Raises:
        OffPolicyError: the menu has an arm that the log never tried.
    """
    strange = [arm for arm in menu.ids if arm not in log.position]
    if strange:
        raise OffPolicyError(
            f"the menu has {', '.join(strange)}, which the log never tried; its arms are {', '.join(log.ids)}"
        )
    spread = np.zeros((len(probabilities), len(log)))
    spread[:, [log.position[arm] for arm in menu.ids]] = probabilities
    return spread


def outcome_design(table: CustomerTable) -> Floats:
    """(N, d) columns in which an arm's expected reward is linear: the price times features bent at quantiles.

    What a customer is worth, and a percent off, are shares of the price: hence the factor. One plain constant stands
    for what is none: contact costs, amounts and gifts.
    """
    columns = [np.ones(len(table))]
    for position, feature in enumerate(table.schema.features):
        values = table.X[:, position]
        if feature.kind == "categorical":
            columns += [
                (values == code).astype(np.float64) for code in range(1, len(feature.categories or ()))
            ]
            continue
        blank = np.isnan(values)
        if blank.any():
            columns.append(blank.astype(np.float64))
        known = (np.where(blank, feature.mean, values) - feature.mean) / feature.std
        inner = np.unique(np.quantile(known, np.linspace(0, 1, KNOTS + 2)[1:-1]))
        columns += [known, *(np.maximum(known - knot, 0) for knot in inner[inner < known.max()])]
    shares = np.column_stack(columns)
    return np.column_stack([np.ones(len(table)), shares * (table.price / table.price.mean())[:, None]])


def cross_fitted_outcomes(
    design: Floats, customer: Ints, prior_offers: Ints, arm: Ints, reward: Floats, fold: Ints, arms: int
) -> Floats:
    """Expected reward of every arm at every decision, fitted without that customer's fold.

    Ridge regressions in closed form: coefficients common to the arms, plus deviations by arm pulled to zero.

    Args:
        design: (N, d) columns of the customers, see `outcome_design`.
        customer: (n,) row in `design` of each decision.
        prior_offers: (n,) offers shortly before the decision.
        arm: (n,) logged arm.
        reward: (n,) money.
        fold: (N,) fold of each customer.
        arms: number of arms, A.

    Returns:
        (n, A) float64.
    """
    fatigue = np.minimum(prior_offers, 3) / 3
    price_like = design[:, 1]
    size = np.sqrt((design**2).mean(0))
    usable = size > 0
    rows = np.column_stack([(design[:, usable] / size[usable])[customer], fatigue * price_like[customer]])
    width = rows.shape[1]
    row_fold = np.unique(fold, return_inverse=True)[1][customer]
    folds = int(row_fold.max()) + 1
    if folds < 2:
        raise OffPolicyError("all decisions are about customers of one fold; cross-fitting needs two")
    gram = np.zeros((folds, arms, width, width))
    moment = np.zeros((folds, arms, width))
    cell = row_fold * arms + arm
    order = np.argsort(cell, kind="stable")
    bounds = np.searchsorted(cell[order], np.arange(folds * arms + 1))
    for number in range(folds * arms):
        take = order[bounds[number] : bounds[number + 1]]
        gram[divmod(number, arms)] = rows[take].T @ rows[take]
        moment[divmod(number, arms)] = rows[take].T @ reward[take]
    expected = np.empty((len(rows), arms))
    whole_gram, whole_moment = gram.sum(0), moment.sum(0)
    identity = np.eye(width)
    for left_out in range(folds):
        inside, target = whole_gram - gram[left_out], whole_moment - moment[left_out]
        common = np.linalg.solve(inside.sum(0) + RIDGE_COMMON * identity, target.sum(0))
        own = np.linalg.solve(inside + RIDGE_ARM * identity, (target - inside @ common)[..., None])[..., 0]
        mine = row_fold == left_out
        expected[mine] = rows[mine] @ (common[:, None] + own.T)
    return expected


@dataclass(frozen=True)
class OffPolicyVerdict:
    """Whether a log speaks for releasing a policy, and why."""

    release: bool
    reason: str
    estimate: OffPolicyEstimate
    tested: Estimates
    threshold: float
    confidence: float

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The verdict as gates: the doubly robust lower bound, and the self-normalised estimate's sign."""
        low, dr, snips = self.tested.dr.lower_bound_at(self.confidence), self.tested.dr, self.tested.snips
        undone, suspected = self.estimate.undone_by, self.estimate.suspected
        shown = (
            "no log shows it"
            if suspected <= 1 or suspected < undone
            else f"churn without contact differs from the customers' table as by a factor of {suspected:.2f}: either "
            "the table is out of date, or whoever logged knew who would leave, and the lift is not to be believed"
        )
        hidden = (
            f"hidden targeting that changes odds by a factor of {undone:.2f} would undo the lift, and {shown}"
        )
        return (
            Gate(
                "lower_bound_over_bar",
                low - self.threshold,
                ">=",
                ABOVE,
                f"DR {_shown(dr)}; {self.reason}; {hidden}",
            ),
            Gate("snips_agrees", snips.value - self.threshold, ">=", ABOVE, f"SNIPS {_shown(snips)}"),
        )


def decide_release(
    evidence: LoggedDecisions,
    candidate: Floats,
    champion: Floats | None,
    confidence: float = 0.5,
) -> OffPolicyVerdict:
    """The off-policy rule for a release.

    A first release must beat no offer: the one-sided lower bound of the doubly robust lift is above 0. A later one must
    not be worse than the champion by more than a quarter of the champion's lift over no offer, by the bound of the
    paired difference. Either way the self-normalised estimate must lie on the same side of the bar. At a confidence
    of 0.5 the bound is the estimate: what the log says loses is not released, and what is not certain is said.

    Args:
        evidence: the log.
        candidate: (n, A) probabilities of the policy that is to be released.
        champion: (n, A) probabilities of the policy in use, None for a first release.
        confidence: of the bound, 0.5 (the estimate itself) to 1.
    """
    estimate = evidence.estimate(candidate)
    if champion is None:
        tested, threshold, bar = estimate.lift, 0.0, "no offer"
    else:
        tested = evidence.difference(candidate, champion)
        adds = max(evidence.estimate(champion).lift.dr.value, 0.0)
        threshold, bar = -NON_INFERIORITY * adds, f"the champion less {NON_INFERIORITY:.0%} of its lift"
    low, side = tested.dr.lower_bound_at(confidence), tested.snips.value
    bound = "the estimate" if confidence == 0.5 else f"the {confidence:.0%} lower bound"
    if champion is None and (candidate[:, 0] == 1).all():
        release, reason = (
            False,
            "nothing to gain: the policy makes no offer to anybody, so there is nothing to release",
        )
    elif not low - threshold >= ABOVE:
        needed = _needed(tested.dr, threshold, estimate.rows, confidence)
        release, reason = (
            False,
            f"{bound} {money(low)} is not above {money(threshold)} ({bar}); {needed}",
        )
    elif not side - threshold >= ABOVE:
        release, reason = False, f"SNIPS {money(side)} disagrees: it is not above {money(threshold)} ({bar})"
    else:
        release, reason = (
            True,
            f"{bound} {money(low)} is above {money(threshold)} ({bar})",
        )
    return OffPolicyVerdict(release, reason, estimate, tested, threshold, confidence)


def _needed(estimate: Estimate, threshold: float, rows: int, confidence: float) -> str:
    """How many decisions the bound would need to be above a threshold, if the estimate stays where it is."""
    above = estimate.value - threshold
    if not above > 0:
        return "no number of decisions would do if the estimate stays"
    times = ((estimate.value - estimate.lower_bound_at(confidence)) / above) ** 2
    return f"about {max(math.ceil(rows * (times - 1)), 1)} decisions more if the estimate stays"


def simple_policies(
    menu: Menu, offered: Sequence[int], risk: Floats, price: Floats, outcome: str = ""
) -> dict[str, Floats]:
    """What a team would do without a policy: nothing, one arm for everybody, a usual one for the riskiest.

    Of another outcome than leaving, a usual one goes to those of whom most is expected.

    Args:
        menu: the log's A arms.
        offered: those among them that the candidate may offer.
        risk: (n,) of each decision's customer.
        price: (n,) likewise.
        outcome: its name; empty where it is leaving.

    Returns:
        (n, A) probabilities by name.
    """

    def one(arm: NDArray[np.int64]) -> Floats:
        return np.asarray(np.arange(len(menu)) == arm[:, None], np.float64)

    given = (menu.commitment(price) / price[:, None]).mean(axis=0)[list(offered)]
    usual = offered[int(np.abs(given - USUAL_MONTHS_GIVEN).argmin())]
    wanted = -risk if outcome else risk
    top = wanted > np.quantile(wanted, 1 - TOP_RISK_SHARE)
    named = f"most {outcome} expected, " if outcome else "riskiest "
    alike = {arm: np.broadcast_to(np.eye(len(menu))[arm], (len(risk), len(menu))) for arm in (0, *offered)}
    return {
        "no offer": alike[0],
        **{f"everyone: {menu.ids[arm]}": alike[arm] for arm in offered},
        f"{named}{TOP_RISK_SHARE:.0%}: {menu.ids[usual]}": one(usual * top),
    }


def off_policy_outcome(
    verdict: OffPolicyVerdict,
    opponents: Sequence[Opponent],
    *,
    simulated: bool,
    known_by: KnownBy = "logged",
) -> Outcome:
    """The verdict for a check: its gates and the tables of estimates and of simple opponents.

    The best of these is the one of which the log shows most, by the lower bound of its lift: of an arm that was hardly
    ever tried the estimate itself is mostly noise.

    Of a log whose propensities are estimated it is asked more: that neither a little hidden targeting would undo the
    lift, nor as much as churn without contact lets suspect beside the customers' table.
    """
    estimate = verdict.estimate
    rows = [
        {
            "quantity": quantity,
            "estimator": name.upper(),
            "mean": each.value,
            "low_95": each.interval[0],
            "high_95": each.interval[1],
            "log": "simulated" if simulated else "observed",
        }
        for quantity, estimates in (
            ("value", estimate.value),
            ("lift over no offer", estimate.lift),
            ("tested", verdict.tested),
        )
        for name, each in (("dr", estimates.dr), ("snips", estimates.snips), ("ips", estimates.ips))
    ]
    support = [
        {"figure": "rows", "value": estimate.rows},
        {"figure": "customers", "value": estimate.customers},
        {"figure": "effective rows", "value": estimate.effective_rows},
        {"figure": "largest weight", "value": estimate.largest_weight},
        {"figure": "least propensity of a chosen arm", "value": estimate.least_propensity},
        {"figure": "agreement with the log", "value": estimate.agreement},
        {"figure": "odds ratio of hidden targeting that would undo the lift", "value": estimate.undone_by},
        {
            "figure": "odds ratio that churn without contact shows beside the table",
            "value": estimate.suspected,
        },
        {"figure": "chosen where impossible, taken as no contact", "value": estimate.moved},
    ]
    strongest = max(opponents, key=lambda each: each.lift.lower_bound)
    simple = Gate(
        "bound_over_simple",
        strongest.bound,
        ">=",
        0,
        f"{strongest.verdict} than the best simple policy, {strongest.name}: {_shown(strongest.over)}",
    )
    compared = [
        {
            "policy": each.name,
            "lift": each.lift.value,
            "lift_at_least": each.lift.lower_bound,
            "candidate_over_it": each.over.value,
            "low_95": each.over.interval[0],
            "high_95": each.over.interval[1],
            "candidate_is": each.verdict,
        }
        for each in opponents
    ]
    first, *others = verdict.gates
    gates = [replace(first, detail=f"propensities: {known_by}; {first.detail}"), *others, simple]
    if known_by == "estimated":
        told = "odds ratio of hidden targeting that would undo the lift, over that which churn without contact shows"
        needed = max(LEAST_UNDONE, estimate.suspected)
        gates.append(Gate("undone_by", estimate.undone_by, ">=", needed, told))
    return Outcome(tuple(gates), {"off_policy": rows, "simple_policies": compared, "support": support})


def _shown(estimate: Estimate) -> str:
    low, high = estimate.interval
    return f"{money(estimate.value)} a decision (95 %: {money(low)} to {money(high)})"


def money(value: float) -> str:
    """Money with its sign, to the cent; what is less than ten cents by its first two digits.

    >>> money(1.234), money(-0.0021), money(0.0)
    ('+1.23', '-0.0021', '+0.00')
    """
    return f"{value:+.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:+.2g}"
