"""The demo world: how simulated customers answer offers, and the truth about it. No model may import it.

Customers and their would-be outcome without contact, Y(0), are real (the Telco table); only the response to
offers is simulated. The coefficients are choices motivated by the literature (acceptance rising with the
incentive: Tamaddoni 2017; customers whom a contact wakes: Ascarza 2016, 2018; saved share about .3: Verbraken
2013), not published estimates.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from churn_assets.arms import Menu
from churn_assets.customers.schema import CHURNED
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.config import DEMO_OFFERS, DEMO_START, Drift
from churn_assets.offers.economics import Economics, catalogue, decision_value
from churn_assets.offers.eligibility import may_get
from churn_assets.offers.log import OfferLog, checked_log, propensity_column
from churn_assets.offers.responses import (
    CATEGORICAL,
    COMPETITOR_TAKES,
    LATE,
    NUMERIC,
    REFERENCE,
    Hidden,
    ResponseFunctions,
    Someone,
    Stays,
    sigmoid,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

WAVES = 26
POLICY_VERSION = "demo-rules/1"
STRATA = ("sure_thing", "sleeping_dog", "lost_cause", "persuadable")

RISK_CUTS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
HOLDOUT = 0.10
UNIFORM = 0.35
PRIOR_OFFERS_MEAN = 0.6
SENSITIVITY_SD = 0.5
MOST_CONTACTED = 0.98
"""Hidden targeting leaves everybody some chance of no offer, and as much of one."""
RISK_FOLDS = 5
NODES = 5
"""Of the mean over taste."""

_LOGISTIC_NORMAL = (16 * np.sqrt(3) / (15 * np.pi)) ** 2
"""σ(x / sqrt(1 + c·v)) approximates E[σ(x + N(0, v))] with this c (Zeger, Liang & Albert 1988)."""


class DemoWorldError(ValueError):
    """The demo world cannot be built on this table, or was asked for what it does not have."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of n situations, each a customer with their latent state. Never shown to a model.

    Attributes:
        customer: (n,) row of the customer in the world's table.
        would_churn: (n,) 0/1, the outcome without contact, Y(0).
        price: (n,) monthly list price.
        acceptance: (n, K) P(accept | offered that arm of the world's menu); 0 for no contact.
        churn: (n, K) P(churn in the label window | arm).
        reward: (n, K) expected value of the decision in money, see `decision_value`.
        saved: (n,) P(stays | would churn, accepted), κ.
        woken: (n,) P(churns | would stay, contacted and refused).
        strata: (n,) one of STRATA.
        stays: By arm and answer.
    """

    customer: Ints
    would_churn: Ints
    price: Floats
    acceptance: Floats
    churn: Floats
    reward: Floats
    saved: Floats
    woken: Floats
    strata: NDArray[np.str_]
    stays: Stays

    def of(self, rows: slice | Ints) -> Truth:
        """The same of some of the situations."""
        return Truth(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


@dataclass(frozen=True, eq=False)
class Draw:
    """One offer log and, row for row, the truth and the number of the (pseudo-)customer in this draw."""

    log: OfferLog
    truth: Truth
    person: Ints


@dataclass(frozen=True, eq=False)
class Cohort:
    """Customers whom a decision is due for in one wave; all arrays are (n,) unless said otherwise.

    Attributes:
        customer: Row of the customer in the world's table.
        prior_offers: Offers in the last 90 days.
        truth: Of their latent state, as drawn; nobody but the world and its judges sees it.
        expected: (n, K) value of each arm in money as far as it can be known: the mean over everything latent.
        allowed: (n, K) whether the customer keeps the conditions of each arm.
    """

    customer: Ints
    prior_offers: Ints
    truth: Truth
    expected: Floats
    allowed: Bools

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def best(self) -> Ints:
        """(n,) index into the menu of the arm of the greatest expected value among those that the customer may get."""
        return np.asarray(np.where(self.allowed, self.expected, -np.inf).argmax(1), np.int64)

    def lift(self, arms: Ints) -> float:
        """Mean expected value over no offer, in money a decision, of choosing `arms` (n,) index into the menu."""
        return float((self.expected[np.arange(len(arms)), arms] - self.expected[:, 0]).mean())


@dataclass(frozen=True, eq=False)
class WorldOutcomes:
    """What customers did: (n,) accepted and churned, 0 or 1, and the decision's value in money."""

    accepted: Ints
    churned: Ints
    margin: Floats


class DemoWorld:
    """A world that answers offers, built on the real customers. Everything it says is simulated, and says so.

    With s = .6 z(price) - .4 z(tenure) + N(0, .5) the latent price sensitivity, n the offers of the last 90
    days, z standardised over the customers, σ the logistic function and [·] 1 where true:

    - An arm that is worth a share a > 0 is accepted with σ(-3.10 + (2.6 + .5 s)(1 - exp(-a / .12))
      + .40 [month-to-month] - .50 [two-year] + .20 [electronic check] + .25 z(price) - .20 [senior]
      + .45 (Y(0) - .265) - .35 n).
    - a is the share off the price for 6 months that is worth as much to the customer. For m months: of a share b,
      b m / 6; of an amount b, min(b, price) / price · m / 6; free, m / 6. Of a gift that costs us c,
      1.5 c / (6 price). Of a contact that brings nothing, .02. By phone .06 more, by letter .01: somebody listens;
      twice that for a senior citizen.
    - A would-be churner who is contacted stays with κ after accepting and .02 after refusing;
      κ = clip(.92 - .88 lost, .03, .95), lost = σ(-1.6 + 1.8 [fibre] + .9 [no tech support]
      + .5 [electronic check] - 1.4 [tenure > 12] - .9 s). What was accepted makes no difference.
    - A would-be stayer who is contacted and refuses leaves with .10 (month-to-month, automatic payment,
      tenure > 6), .06 (month-to-month, fibre, tenure > 6) or .004; one who accepts stays.

    The logging policy holds 10 % of decisions out from contact; else .35 uniform + .65 softmax around a risk
    tier, the riskiest at the menu's last arm, over the arms whose conditions the customer keeps. The others have a
    propensity of 0, and nobody else has. The rows of a log are independent replicates, not histories: latent state,
    recent offers and hold-out are drawn per row. What persists in a customer over the rows is taste and, where would-be
    outcomes are not the labels, frailty: see `Hidden`.

    Drift, in the log after wave 20 and in a `shifted` cohort: `acceptance_shift` adds .3 to the acceptance
    intercept; `competitor_shock` turns a tenth of the fibre customers who would stay into would-be churners
    and adds 1 to the logit of being a lost cause. Without `effects` offers are accepted as usual and Y(0) is
    what happens.

    Args:
        table: labelled customers with the Telco features NUMERIC and CATEGORICAL.
        economics: what a decision is worth.
        menu: what the past policy offered and the world answers to; by default 5 to 30 % off.
        drift: what changes late in the log.
        effects: False for a world where no offer changes churn.
        responses: How its customers answer.
        hidden: What nobody sees; None: as of `responses`.

    Raises:
        DemoWorldError: the table lacks a feature that the response functions need.
        ArmError: an arm has a condition on a column that the table lacks.
    """

    def __init__(
        self,
        table: CustomerTable,
        economics: Economics,
        menu: Menu | None = None,
        *,
        drift: Drift = "none",
        effects: bool = True,
        responses: type[ResponseFunctions] = ResponseFunctions,
        hidden: Hidden | None = None,
    ) -> None:
        missing = [name for name in (*NUMERIC, *CATEGORICAL) if name not in table.schema.names]
        if missing:
            raise DemoWorldError(
                "the demo world answers for the Telco customers: found no feature "
                f"{', '.join(missing)} in customers; bring them, or set offer_log.source to your own log"
            )
        self.economics = economics
        self.menu = menu or catalogue((), economics).menu(DEMO_OFFERS)
        self.window_months = table.schema.label_window_months
        self.ids = table.ids
        self.would_churn: Ints = table.y.astype(np.int64)
        self.frame = table.frame.drop(columns=[CHURNED])
        self.responses = responses(self.frame, self.menu, drift=drift, effects=effects)
        self.hidden = hidden or responses.hidden
        self.price, self.tenure = self.responses.price, self.responses.tenure
        self.allowed: Bools = may_get(self.menu, self.frame)
        self._score, self._score_fold = _fit_score(self._score_columns(self.tenure), self.would_churn)
        self._aged: dict[int, Floats] = {}
        self.risk: Floats = self.risk_after(0)

    def _score_columns(self, tenure: Floats) -> pd.DataFrame:
        columns = self.frame[list(NUMERIC + CATEGORICAL)].astype(dict.fromkeys(CATEGORICAL, str))
        return columns.assign(tenure=tenure)

    def risk_at(self, months: Floats) -> Floats:
        """(N,) cross-validated P(churn in the window) after each customer has aged by `months` (N,)."""
        columns = self._score_columns(self.tenure + months)
        risk = np.empty(len(columns))
        for fold, model in enumerate(self._score):
            rows = self._score_fold == fold
            risk[rows] = model.predict_proba(columns[rows])[:, 1]
        return risk

    def risk_after(self, months: int) -> Floats:
        """(N,) the same once everybody has aged by as much; remembered."""
        if months not in self._aged:
            self._aged[months] = self.risk_at(np.full(len(self.ids), float(months)))
        return self._aged[months]

    def would_leave(
        self, customer: Ints, risk: Floats, frailty: Floats, late: Floats, rng: np.random.Generator
    ) -> Ints:
        """(n,) Y(0), drawn from the hidden hazard of customers of a risk and a frailty (n,)."""
        hazard = sigmoid(self.frail_logit(risk) + frailty + self.hazard_shift)
        drawn = (rng.random(len(customer)) < hazard).astype(np.int64)
        return self._shocked(customer, drawn, late, rng.random(len(customer)))

    def _shocked(self, customer: Ints, would_churn: Ints, late: Floats, draw: Floats) -> Ints:
        """Y(0) after a competitor's offer took some fibre customers who would have stayed."""
        if self.responses.drift != "competitor_shock":
            return would_churn
        fibre = self.responses.flags.fibre[customer]
        return np.where((late > LATE) & fibre & (draw < COMPETITOR_TAKES), 1, would_churn)

    def someone(
        self,
        customer: Ints,
        latent: Floats,
        prior_offers: Ints,
        late: Floats,
        *,
        taste: Floats | None = None,
        offers: Ints | None = None,
        months: int = 0,
    ) -> Someone:
        """Customers in a situation, `months` after the table was drawn up; see `Someone`.

        Args:
            customer: (n,) row.
            latent: (n,) price sensitivity beside what price and tenure say of it.
            prior_offers: (n,) in the last 90 days.
            late: (n,) when.
            taste: (n,); none by default.
            offers: (n,); by default those of the last 90 days.
            months: By how much their tenure has grown.
        """
        tenure = self.tenure[customer] + months
        sensitivity = self.responses.sensitivity(customer, tenure, latent)
        taste = np.zeros(len(customer)) if taste is None else taste
        offers = prior_offers if offers is None else offers
        return Someone(customer, tenure, sensitivity, taste, prior_offers, offers, late)

    def truth_of(self, who: Someone, would_churn: Ints) -> Truth:
        """What is true of these situations, given Y(0) (n,)."""
        answers = self.responses
        accept = answers.acceptance(who, would_churn, answers.worth[who.customer])
        saved, woken, stays = answers.saved(who), answers.woken(who), answers.stays(who)
        leaving = would_churn[:, None].astype(np.float64)
        stays_accepting = stays.given(leaving, np.ones_like(accept)) * accept
        stays_refusing = stays.given(leaving, np.zeros_like(accept)) * (1 - accept)
        price = self.price[who.customer]
        reward = (
            (stays_accepting + stays_refusing) * self._worth(price)[:, None]
            - stays_accepting * self.menu.monthly(price) * self.menu.months
            - accept * self.menu.given_once
            - self.menu.contact_cost
        )
        persuadable = answers.acceptance(who, would_churn, np.array([[REFERENCE]]))[:, 0] * saved > 0.25
        strata = np.where(
            would_churn == 1,
            np.where(persuadable, "persuadable", "lost_cause"),
            np.where(woken > 0.05, "sleeping_dog", "sure_thing"),
        )
        churn = 1 - stays_accepting - stays_refusing
        return Truth(who.customer, would_churn, price, accept, churn, reward, saved, woken, strata, stays)

    def _worth(self, price: Floats) -> Floats:
        return self.economics.margin * price * self.economics.value_horizon_months

    def expected_reward(
        self,
        customer: Ints,
        prior_offers: Ints,
        churn_probability: Floats,
        late: Floats | None = None,
    ) -> Floats:
        """(n, K) expected value of each arm where price sensitivity and taste are unknown.

        With `churn_probability` (n,) = the labels this is the truth; with the risk score it is the best that
        can be known from features and the response functions. `late` (n,) is when, see `Someone`; None: at the start.
        """
        late = np.zeros(len(customer)) if late is None else late
        if self.responses.drift == "competitor_shock":
            taken = COMPETITOR_TAKES * self.responses.flags.fibre[customer] * (late > LATE)
            churn_probability = churn_probability + (1 - churn_probability) * taken
        reward = np.zeros((len(customer), len(self.menu)))
        tastes = _normal(NODES, self.hidden.taste) if self.hidden.taste else [(0.0, 1.0)]
        for (latent, weight), (taste, share) in product(_normal(9, SENSITIVITY_SD), tastes):
            same = np.ones(len(customer))
            who = self.someone(customer, latent * same, prior_offers, late, taste=taste * same)
            for outcome, chance in ((0, 1 - churn_probability), (1, churn_probability)):
                truth = self.truth_of(who, np.full(len(customer), outcome))
                reward += weight * share * chance[:, None] * truth.reward
        return reward

    @cached_property
    def hazard(self) -> Floats:
        """(N,) P(churn in the window without contact) of the world run forward: the mean over the frailty."""
        nodes, weights = np.transpose(_normal(21, self.hidden.frailty))
        logit = self.frail_logit(self.risk)[:, None] + self.hazard_shift + nodes
        return np.asarray(sigmoid(logit) @ weights)

    def cohort(self, size: int, seed: int, *, shifted: bool = False) -> Cohort:
        """Customers as they stand in the table, each with a latent state of its own, before or after the drift.

        Would-be churn follows a hidden hazard, which no feature shows whole. A wave of them is a window; the next one
        has other latent states, so that a world without drift stays as it is. Whoever comes more than once does so as
        another replicate, as in a log; between two of one customer all others come.
        """
        rng = np.random.default_rng([seed, 2])
        rounds = -(-size // len(self.ids))
        customer = np.concatenate([rng.permutation(len(self.ids)) for _ in range(rounds)])[:size]
        late = np.full(size, float(shifted))
        frailty = self.hidden.frailty * rng.normal(size=size)
        would_churn = self.would_leave(customer, self.risk[customer], frailty, late, rng)
        latent = rng.normal(0, SENSITIVITY_SD, size)
        prior = rng.poisson(PRIOR_OFFERS_MEAN, size)
        who = self.someone(customer, latent, prior, late, taste=self.hidden.taste * rng.normal(size=size))
        return Cohort(
            customer,
            prior,
            self.truth_of(who, would_churn),
            self.expected_reward(customer, prior, self.hazard[customer], late),
            self.allowed[customer],
        )

    def answer(self, truth: Truth, arm: Ints, rng: np.random.Generator) -> WorldOutcomes:
        """What n customers do who are offered `arm` (n,) index into the menu.

        Raises:
            DemoWorldError: A customer is offered what a condition of the arm keeps from them.
        """
        n = len(arm)
        if not self.allowed[truth.customer, arm].all():
            wrong = int(np.flatnonzero(~self.allowed[truth.customer, arm])[0])
            raise DemoWorldError(
                f"customer {self.ids[truth.customer[wrong]]} was offered {self.menu.ids[arm[wrong]]}, whose "
                "conditions they do not keep"
            )
        accepted = (rng.random(n) < truth.acceptance[np.arange(n), arm]).astype(np.int64)
        stays = truth.stays.of(arm).given(
            *(each[:, None].astype(np.float64) for each in (truth.would_churn, accepted))
        )
        churned = (rng.random(n) >= stays[:, 0]).astype(np.int64)
        return WorldOutcomes(
            accepted,
            churned,
            decision_value(self.menu, arm, truth.price, accepted, churned, self.economics),
        )

    def logging_policy(self) -> Floats:
        """(N, K) probabilities of the past policy: later arms for riskier customers, everything tried."""
        tier = np.digitize(self.risk, RISK_CUTS) * (len(self.menu) - 1) / len(RISK_CUTS)
        near: Floats = np.exp(-np.abs(np.arange(len(self.menu))[None, :] - tier[:, None])) * self.allowed
        tried = UNIFORM * self.allowed / self.allowed.sum(1, keepdims=True)
        probability: Floats = (1 - HOLDOUT) * (tried + (1 - UNIFORM) * near / near.sum(1, keepdims=True))
        probability[:, 0] += HOLDOUT
        return probability

    def targeted(self, customer: Ints, would_churn: Ints) -> Floats:
        """(n, K) probabilities by which arms are really drawn for customers with that Y(0); the log says others.

        Would-be churners get a share more offers than written, as far as some are left alone; would-be stayers of the
        same risk get as many fewer, so that what is written holds of all who look alike: see `Hidden`.
        """
        written = self.logging_policy()[customer]
        if not self.hidden.targeting:
            return written
        contacted = 1 - written[:, 0]
        risk = (self.risk if self.hidden.labels else self.hazard)[customer]
        least, most = np.minimum(contacted, 1 - MOST_CONTACTED), np.maximum(contacted, MOST_CONTACTED)
        churners = np.clip(contacted * (1 + self.hidden.targeting), least, most)
        stayers = np.clip((contacted - risk * churners) / (1 - risk), least, most)
        churners = np.clip((contacted - (1 - risk) * stayers) / risk, least, most)
        really = np.where(would_churn == 1, churners, stayers)
        factor = np.divide(really, contacted, out=np.ones_like(really), where=contacted > 0)
        drawn = written * factor[:, None]
        drawn[:, 0] = 1 - really
        return drawn

    def draw_log(self, rows: int, seed: int, *, start: date = DEMO_START) -> OfferLog:
        """A log of `rows` decisions of the logging policy over 26 weekly waves from `start`."""
        return self.draw(rows, seed, start=start).log

    def draw(
        self, rows: int, seed: int, *, start: date = DEMO_START, pseudo_customers: Ints | None = None
    ) -> Draw:
        """Draw a log with its truth; `draw_log` gives the same log for the same arguments.

        Args:
            rows: number of decisions, at most one a customer and wave.
            seed: same seed, same log.
            start: day of the first wave.
            pseudo_customers: rows of the world's table (repeats allowed) that stand for the customers of this
                draw, each under an id of its own; by default the customers themselves. For coverage studies.

        Raises:
            DemoWorldError: `rows` is more than customers times waves.
        """
        rng = np.random.default_rng([seed, 0])
        people = np.arange(len(self.ids)) if pseudo_customers is None else pseudo_customers
        if rows > len(people) * WAVES:
            raise DemoWorldError(
                f"{rows} rows asked for; {len(people)} customers in {WAVES} waves give {len(people) * WAVES}"
            )
        # One decision a customer and wave: sorted by wave, and in random order within it.
        slot = rng.choice(len(people) * WAVES, size=rows, replace=False)
        slot = slot[np.argsort(slot // len(people), kind="stable")]
        wave, person = np.divmod(slot, len(people))
        customer = people[person]
        late = wave / (WAVES - 1)
        latent = rng.normal(0, SENSITIVITY_SD, rows)
        prior = rng.poisson(PRIOR_OFFERS_MEAN, rows)
        unseen = np.random.default_rng([seed, 3])
        frailty, taste = (
            sd * unseen.normal(size=len(people))[person] for sd in (self.hidden.frailty, self.hidden.taste)
        )
        would_churn = (
            self._shocked(customer, self.would_churn[customer], late, rng.random(rows))
            if self.hidden.labels
            else self.would_leave(customer, self.risk[customer], frailty, late, unseen)
        )
        truth = self.truth_of(self.someone(customer, latent, prior, late, taste=taste), would_churn)

        propensities = self.logging_policy()[customer]
        drawn = self.targeted(customer, would_churn)
        arm = (rng.random(rows)[:, None] > drawn.cumsum(1)).sum(1).clip(0, len(self.menu) - 1)
        at = np.arange(rows)
        answers = self.answer(truth, arm, rng)
        ids = self.ids if pseudo_customers is None else _pseudo_ids(self.ids, people)
        begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
        columns = {
            "customer_id": ids[person],
            "decided_at": pd.DatetimeIndex([begin + timedelta(weeks=week) for week in range(WAVES)])[wave],
            "wave": wave,
            "arm": np.array(self.menu.ids, dtype=object)[arm],
            "propensity": propensities[at, arm],
            **{propensity_column(a): propensities[:, k] for k, a in enumerate(self.menu.ids)},
            "policy_version": np.full(rows, POLICY_VERSION, dtype=object),
            "prior_offers": prior,
            "accepted": answers.accepted,
            "churned": answers.churned,
            "margin": answers.margin,
        }
        log = checked_log(
            pd.DataFrame(columns),
            ids,
            self.menu,
            simulated=True,
            origin="demo world",
            features=self.frame.iloc[people],
        )
        return Draw(log, truth, person)

    def frail_logit(self, risk: Floats) -> Floats:
        """Logit that, spread by the frailty, has about `risk` as its mean probability."""
        spread = np.sqrt(1 + _LOGISTIC_NORMAL * self.hidden.frailty**2)
        return np.asarray(np.log(risk / (1 - risk)) * spread)

    @cached_property
    def hazard_shift(self) -> float:
        """Logit shift that makes the mean hazard of the first wave the table's churn rate."""
        nodes, weights = np.transpose(_normal(21, self.hidden.frailty))
        logit = self.frail_logit(self.risk)[:, None] + nodes
        low, high = -2.0, 2.0
        for _ in range(50):
            middle = (low + high) / 2
            mean = float((sigmoid(logit + middle) @ weights).mean())
            low, high = (middle, high) if mean < self.would_churn.mean() else (low, middle)
        return (low + high) / 2


def _fit_score(columns: pd.DataFrame, label: Ints) -> tuple[list[Pipeline], Ints]:
    fold = np.empty(len(label), dtype=np.int64)
    models = []
    splits = StratifiedKFold(RISK_FOLDS, shuffle=True, random_state=0).split(columns, label)
    for number, (train, test) in enumerate(splits):
        fold[test] = number
        smooth = SplineTransformer(n_knots=6, extrapolation="constant")
        one_hot = OneHotEncoder(drop="first", handle_unknown="ignore")
        encode = ColumnTransformer(
            [("number", smooth, list(NUMERIC)), ("category", one_hot, list(CATEGORICAL))]
        )
        models.append(
            make_pipeline(encode, LogisticRegression(max_iter=2000)).fit(columns.iloc[train], label[train])
        )
    return models, fold


def _pseudo_ids(ids: NDArray[np.object_], people: Ints) -> NDArray[np.object_]:
    return np.array([f"{ids[person]}#{copy}" for copy, person in enumerate(people)], dtype=object)


def _normal(nodes: int, sd: float) -> list[tuple[float, float]]:
    """Points of N(0, sd²) and their weights (Gauss & Hermite)."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return list(zip(sd * points, weights / weights.sum(), strict=True))
