"""The demo world: how simulated customers answer offers, and the truth about it. No model may import it.

Customers and their would-be outcome without contact, Y(0), are real (the Telco table); only the response to
offers is simulated. The coefficients are choices motivated by the literature (acceptance rising with the
incentive: Tamaddoni 2017; customers whom a contact wakes: Ascarza 2016, 2018; saved share about .3: Verbraken
2013), not published estimates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from churn_assets.customers.schema import CHURNED
from churn_assets.customers.table import CustomerTable
from churn_assets.offers.config import DEMO_START, Drift
from churn_assets.offers.economics import Economics
from churn_assets.offers.log import OfferLog, as_log, propensity_column

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

ARMS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
"""Offers of the logging policy, shares of the list price; 0 is no contact."""
WAVES = 26
DRIFT_AFTER_WAVE = 20
RECENT_MONTHS = 3
POLICY_VERSION = "demo-rules/1"
STRATA = ("sure_thing", "sleeping_dog", "lost_cause", "persuadable")

NUMERIC = ("tenure", "MonthlyCharges")
CATEGORICAL = (
    "Contract", "PaymentMethod", "InternetService", "TechSupport", "SeniorCitizen", "OnlineSecurity",
    "PaperlessBilling", "MultipleLines", "StreamingTV", "StreamingMovies", "PhoneService",
)  # fmt: skip

RISK_CUTS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
HOLDOUT = 0.10
UNIFORM = 0.35
PRIOR_OFFERS_MEAN = 0.6
SENSITIVITY_SD = 0.5
FRAILTY_SD = 0.8
COMPETITOR_TAKES = 0.10
RISK_FOLDS = 5

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
        acceptance: (n, A) P(accept | offered that arm); 0 for no contact.
        churn: (n, A) P(churn in the label window | arm).
        reward: (n, A) expected value of the decision in money, see Economics.
        saved: (n,) P(stays | would churn, accepted), κ.
        woken: (n,) P(churns | would stay, contacted and refused).
        strata: (n,) one of STRATA.
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

    def of(self, rows: slice) -> Truth:
        """The same of some of the situations."""
        return Truth(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def one_window_lift(self, arms: Ints) -> float:
        """Mean value over no offer, in money a situation, of choosing `arms` (n,) index into ARMS."""
        return float((self.reward[np.arange(len(arms)), arms] - self.reward[:, 0]).mean())


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
        expected: (n, A) value of each arm in money as far as it can be known: the mean over everything latent.
    """

    customer: Ints
    prior_offers: Ints
    truth: Truth
    expected: Floats

    def __len__(self) -> int:
        return len(self.customer)

    def lift(self, arms: Ints) -> float:
        """Mean expected value over no offer, in money a decision, of choosing `arms` (n,) index into ARMS."""
        return float((self.expected[np.arange(len(arms)), arms] - self.expected[:, 0]).mean())


@dataclass(frozen=True, eq=False)
class Answers:
    """What customers did: (n,) accepted and churned, 0 or 1, and the decision's value in money."""

    accepted: Ints
    churned: Ints
    margin: Floats


@dataclass(frozen=True, eq=False)
class PanelState:
    """What a policy may know of customers who are alive at the start of a wave; all arrays are (n,).

    Attributes:
        month: months since the panel began.
        customer: row of the customer in the world's table.
        tenure: months, aged with the panel.
        prior_offers: offers in the last 90 days.
        months_since_contact: since the panel's own last contact; inf where there was none.
        discount_pct: running discount, 0 where there is none.
        discount_months_left: months that the running discount has left.
        offers_used: contacts by the panel so far.
    """

    month: int
    customer: Ints
    tenure: Floats
    prior_offers: Ints
    months_since_contact: Floats
    discount_pct: Floats
    discount_months_left: Ints
    offers_used: Ints
    _frame: pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """The customers' table rows as they are now: tenure aged, no label."""
        return self._frame.iloc[self.customer].assign(tenure=self.tenure).reset_index(drop=True)


PanelPolicy = Callable[[PanelState], Ints]
"""Chooses an index into ARMS for each customer of the state."""


@dataclass(frozen=True, eq=False)
class PanelResult:
    """Simulated outcome of one policy over the horizon, as an expectation per replicate and customer.

    Attributes:
        value: (R, N) discounted value in money.
        spend: (R, N) discounts paid, remaining commitments of survivors included, and contact costs; not
            discounted.
        contacts: (R, N) number of contacts.
        alive: (W + 1,) share alive at the start of each wave and at the end.
        would_churn: (W,) share of those alive who would leave in the wave without contact.
        contact_share: (W,) share of those alive who are contacted.
    """

    value: Floats
    spend: Floats
    contacts: Floats
    alive: Floats
    would_churn: Floats
    contact_share: Floats

    def lift(self, other: PanelResult) -> tuple[float, float]:
        """Mean value over `other`, run with the same seed, and its Monte Carlo standard error (from above).

        The error is that of the simulation for these customers, not of drawing other customers.
        """
        difference = self.value - other.value
        noise = difference.var(axis=0, ddof=1).sum() / len(difference)
        return float(difference.mean()), float(np.sqrt(noise) / difference.shape[1])


class DemoWorld:
    """A world that answers offers, built on the real customers. Everything it says is simulated, and says so.

    With s = .6 z(price) - .4 z(tenure) + N(0, .5) the latent price sensitivity, n the offers of the last 90
    days, z standardised over the customers, σ the logistic function and [·] 1 where true:

    - An offer a > 0 is accepted with σ(-3.10 + (2.6 + .5 s)(1 - exp(-a / .12)) + .40 [month-to-month]
      - .50 [two-year] + .20 [electronic check] + .25 z(price) - .20 [senior] + .45 (Y(0) - .265) - .35 n).
    - A would-be churner who is contacted stays with κ after accepting and .02 after refusing;
      κ = clip(.92 - .88 lost, .03, .95), lost = σ(-1.6 + 1.8 [fibre] + .9 [no tech support]
      + .5 [electronic check] - 1.4 [tenure > 12] - .9 s).
    - A would-be stayer who is contacted and refuses leaves with .10 (month-to-month, automatic payment,
      tenure > 6), .06 (month-to-month, fibre, tenure > 6) or .004; one who accepts stays.

    The logging policy holds 10 % of decisions out from contact; else .35 uniform + .65 softmax around a risk
    tier. The rows of a log are independent replicates, not histories: latent state, recent offers and
    hold-out are drawn per row.

    Drift, in the log after wave 20 and in the panel throughout: `acceptance_shift` adds .3 to the acceptance
    intercept; `competitor_shock` turns a tenth of the fibre customers who would stay into would-be churners
    and adds 1 to the logit of being a lost cause. Without `effects` offers are accepted as usual and Y(0) is
    what happens.

    Args:
        table: labelled customers with the Telco features NUMERIC and CATEGORICAL.
        economics: what a decision is worth.
        drift: what changes late in the log.
        effects: False for a world where no offer changes churn.

    Raises:
        DemoWorldError: the table lacks a feature that the response functions need.
    """

    def __init__(
        self, table: CustomerTable, economics: Economics, *, drift: Drift = "none", effects: bool = True
    ) -> None:
        missing = [name for name in (*NUMERIC, *CATEGORICAL) if name not in table.schema.names]
        if missing:
            raise DemoWorldError(
                "the demo world answers for the Telco customers: found no feature "
                f"{', '.join(missing)} in customers; bring them, or set offer_log.source to your own log"
            )
        self.economics = economics
        self.drift = drift
        self.effects = effects
        self.window_months = table.schema.label_window_months
        self.ids = table.ids
        self.would_churn: Ints = table.y.astype(np.int64)
        self.price = table.frame["MonthlyCharges"].to_numpy(np.float64)
        self._frame = table.frame.drop(columns=[CHURNED])
        self._tenure: Floats = table.frame["tenure"].to_numpy(np.float64)
        self._z_price = (self.price - self.price.mean()) / self.price.std()
        self._flags = _flags(table.frame)
        self._score, self._score_fold = _fit_score(self._score_columns(self._tenure), self.would_churn)
        self.risk: Floats = self.risk_at(np.zeros(len(self.ids)))

    def _score_columns(self, tenure: Floats) -> pd.DataFrame:
        columns = self._frame[list(NUMERIC + CATEGORICAL)].astype(dict.fromkeys(CATEGORICAL, str))
        return columns.assign(tenure=tenure)

    def risk_at(self, months: Floats) -> Floats:
        """(N,) cross-validated P(churn in the window) after each customer has aged by `months` (N,)."""
        columns = self._score_columns(self._tenure + months)
        risk = np.empty(len(columns))
        for fold, model in enumerate(self._score):
            rows = self._score_fold == fold
            risk[rows] = model.predict_proba(columns[rows])[:, 1]
        return risk

    def _sensitivity(self, customer: Ints, tenure: Floats, latent: Floats) -> Floats:
        z_tenure = (tenure - self._tenure.mean()) / self._tenure.std()
        return np.asarray(0.6 * self._z_price[customer] - 0.4 * z_tenure + latent)

    def _acceptance(
        self,
        customer: Ints,
        sensitivity: Floats,
        would_churn: Ints,
        prior_offers: Ints,
        shifted: Bools,
        offer: Floats,
    ) -> Floats:
        """(n, k) for `offer` (n, k) or (1, k)."""
        f = self._flags
        level = (
            -3.10
            + 0.40 * f.monthly[customer]
            - 0.50 * f.two_year[customer]
            + 0.20 * f.electronic_check[customer]
            + 0.25 * self._z_price[customer]
            - 0.20 * f.senior[customer]
            + 0.45 * (would_churn - 0.265)
            - 0.35 * prior_offers
            + 0.30 * (shifted & (self.drift == "acceptance_shift"))
        )
        appeal = (2.6 + 0.5 * sensitivity)[:, None] * (1 - np.exp(-offer / 0.12))
        return np.where(offer > 0, _sigmoid(level[:, None] + appeal), 0.0)

    def _saved(self, customer: Ints, tenure: Floats, sensitivity: Floats, shifted: Bools) -> Floats:
        f = self._flags
        lost = _sigmoid(
            -1.6
            + 1.8 * f.fibre[customer]
            + 0.9 * ~f.tech_support[customer]
            + 0.5 * f.electronic_check[customer]
            - 1.4 * (tenure > 12)
            - 0.9 * sensitivity
            + 1.0 * (shifted & (self.drift == "competitor_shock"))
        )
        return np.clip(0.92 - 0.88 * lost, 0.03, 0.95) if self.effects else np.zeros(len(customer))

    def _woken(self, customer: Ints, tenure: Floats) -> Floats:
        if not self.effects:
            return np.zeros(len(customer))
        f = self._flags
        settled = f.monthly[customer] & (tenure > 6)
        return np.where(
            settled & f.automatic[customer], 0.10, np.where(settled & f.fibre[customer], 0.06, 0.004)
        )

    @property
    def _nudge(self) -> float:
        """P(stays | would churn, contacted and refused)."""
        return 0.02 if self.effects else 0.0

    def _shocked(self, customer: Ints, would_churn: Ints, shifted: Bools, draw: Floats) -> Ints:
        """Y(0) after a competitor's offer took some fibre customers who would have stayed."""
        if self.drift != "competitor_shock":
            return would_churn
        return np.where(shifted & self._flags.fibre[customer] & (draw < COMPETITOR_TAKES), 1, would_churn)

    def _truth(
        self,
        customer: Ints,
        tenure: Floats,
        latent: Floats,
        would_churn: Ints,
        prior_offers: Ints,
        shifted: Bools,
    ) -> Truth:
        sensitivity = self._sensitivity(customer, tenure, latent)
        offer = np.asarray(ARMS)[None, :]
        accept = self._acceptance(customer, sensitivity, would_churn, prior_offers, shifted, offer)
        saved = self._saved(customer, tenure, sensitivity, shifted)
        woken = self._woken(customer, tenure)
        contacted = offer > 0
        churner = would_churn[:, None] == 1
        stays_accepting = np.where(churner, accept * saved[:, None], accept)
        stays_refusing = np.where(churner, self._nudge * contacted, 1 - woken[:, None] * contacted) * (
            1 - accept
        )
        price = self.price[customer]
        reward = (
            (stays_accepting + stays_refusing) * self._worth(price)[:, None]
            - stays_accepting * offer * price[:, None] * self.economics.discount_months
            - contacted * self.economics.contact_cost
        )
        persuadable = accept[:, ARMS.index(0.20)] * saved > 0.25
        strata = np.where(
            would_churn == 1,
            np.where(persuadable, "persuadable", "lost_cause"),
            np.where(woken > 0.05, "sleeping_dog", "sure_thing"),
        )
        churn = 1 - stays_accepting - stays_refusing
        return Truth(customer, would_churn, price, accept, churn, reward, saved, woken, strata)

    def _worth(self, price: Floats) -> Floats:
        return self.economics.margin * price * self.economics.value_horizon_months

    def expected_reward(
        self, customer: Ints, prior_offers: Ints, churn_probability: Floats, *, shifted: bool = False
    ) -> Floats:
        """(n, A) expected value of each arm where price sensitivity is unknown, before or (`shifted`) after the drift.

        With `churn_probability` (n,) = the labels this is the truth; with the risk score it is the best that
        can be known from features and the response functions.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(9)
        tenure = self._tenure[customer]
        late = np.full(len(customer), shifted)
        if shifted and self.drift == "competitor_shock":
            taken = COMPETITOR_TAKES * self._flags.fibre[customer]
            churn_probability = churn_probability + (1 - churn_probability) * taken
        reward = np.zeros((len(customer), len(ARMS)))
        for outcome, share in ((0, 1 - churn_probability), (1, churn_probability)):
            would_churn = np.full(len(customer), outcome)
            for node, weight in zip(nodes, weights / weights.sum(), strict=True):
                latent = np.full(len(customer), SENSITIVITY_SD * node)
                truth = self._truth(customer, tenure, latent, would_churn, prior_offers, late)
                reward += weight * share[:, None] * truth.reward
        return reward

    @cached_property
    def hazard(self) -> Floats:
        """(N,) P(churn in the window without contact) of the world run forward: the mean over the frailty."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(21)
        logit = _frail_logit(self.risk)[:, None] + self._hazard_shift() + FRAILTY_SD * nodes
        return np.asarray(_sigmoid(logit) @ weights / weights.sum())

    def cohort(self, size: int, seed: int, *, shifted: bool = False) -> Cohort:
        """Customers as they stand in the table, each with a latent state of its own, before or after the drift.

        Would-be churn follows the panel's hidden hazard. A wave of them is a window; the next one has other latent
        states, so that a world without drift stays as it is. (Ageing survivors are the panel's.) Whoever comes more
        than once does so as another replicate, as in a log; between two of one customer all others come.
        """
        rng = np.random.default_rng([seed, 2])
        rounds = -(-size // len(self.ids))
        customer = np.concatenate([rng.permutation(len(self.ids)) for _ in range(rounds)])[:size]
        late = np.full(size, shifted)
        frailty = FRAILTY_SD * rng.normal(size=size) + self._hazard_shift()
        hazard = _sigmoid(_frail_logit(self.risk[customer]) + frailty)
        drawn = (rng.random(size) < hazard).astype(np.int64)
        would_churn = self._shocked(customer, drawn, late, rng.random(size))
        latent = rng.normal(0, SENSITIVITY_SD, size)
        prior = rng.poisson(PRIOR_OFFERS_MEAN, size)
        return Cohort(
            customer,
            prior,
            self._truth(customer, self._tenure[customer], latent, would_churn, prior, late),
            self.expected_reward(customer, prior, self.hazard[customer], shifted=shifted),
        )

    def answer(self, truth: Truth, arm: Ints, rng: np.random.Generator) -> Answers:
        """What n customers do who are offered `arm` (n,) index into ARMS."""
        n = len(arm)
        accepted = (rng.random(n) < truth.acceptance[np.arange(n), arm]).astype(np.int64)
        stays = self._stay_probability(truth.would_churn, arm > 0, accepted == 1, truth.saved, truth.woken)
        churned = (rng.random(n) >= stays).astype(np.int64)
        discount = np.asarray(ARMS)[arm] * truth.price * self.economics.discount_months
        margin = (1 - churned) * (
            self._worth(truth.price) - accepted * discount
        ) - self.economics.contact_cost * (arm > 0)
        return Answers(accepted, churned, margin)

    def logging_policy(self) -> Floats:
        """(N, A) probabilities of the past policy: larger offers for riskier customers, everything tried."""
        tier = np.digitize(self.risk, RISK_CUTS)
        near: Floats = np.exp(-np.abs(np.arange(len(ARMS))[None, :] - tier[:, None]))
        chosen = UNIFORM / len(ARMS) + (1 - UNIFORM) * near / near.sum(1, keepdims=True)
        probability: Floats = (1 - HOLDOUT) * chosen
        probability[:, 0] += HOLDOUT
        return probability

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
        shifted = wave > DRIFT_AFTER_WAVE
        latent = rng.normal(0, SENSITIVITY_SD, rows)
        prior = rng.poisson(PRIOR_OFFERS_MEAN, rows)
        would_churn = self._shocked(customer, self.would_churn[customer], shifted, rng.random(rows))
        truth = self._truth(customer, self._tenure[customer], latent, would_churn, prior, shifted)

        propensities = self.logging_policy()[customer]
        arm = (rng.random(rows)[:, None] > propensities.cumsum(1)).sum(1).clip(0, len(ARMS) - 1)
        at = np.arange(rows)
        answers = self.answer(truth, arm, rng)
        ids = self.ids if pseudo_customers is None else _pseudo_ids(self.ids, people)
        begin = datetime(start.year, start.month, start.day, tzinfo=UTC)
        columns = {
            "customer_id": ids[person],
            "decided_at": pd.DatetimeIndex([begin + timedelta(weeks=week) for week in range(WAVES)])[wave],
            "wave": wave,
            "offer_pct": np.asarray(ARMS)[arm],
            "propensity": propensities[at, arm],
            **{propensity_column(a): propensities[:, k] for k, a in enumerate(ARMS)},
            "policy_version": np.full(rows, POLICY_VERSION, dtype=object),
            "prior_offers": prior,
            "accepted": answers.accepted,
            "churned": answers.churned,
            "margin": answers.margin,
        }
        return Draw(as_log(pd.DataFrame(columns), ids, simulated=True, origin="demo world"), truth, person)

    def _stay_probability(
        self, would_churn: Ints, contacted: Bools, accepted: Bools, saved: Floats, woken: Floats
    ) -> Floats:
        """(n,) P(stay in the window) once it is known who accepted."""
        churner = np.where(accepted, saved, np.where(contacted, self._nudge, 0.0))
        stayer = np.where(contacted & ~accepted, 1 - woken, 1.0)
        return np.where(would_churn == 1, churner, stayer)

    def panel(
        self,
        policy: PanelPolicy,
        *,
        seed: int,
        horizon_months: int = 30,
        replicates: int = 8,
        discount_factor: float = 1.0,
    ) -> PanelResult:
        """Run a policy forward, wave after wave, over every customer `replicates` times.

        A wave is the label window. Would-be churn in it follows a hidden hazard: the world's score at the
        customer's aged tenure, spread by a persistent normal frailty (sd .8 on the logit) that no feature
        shows, shifted so that the first wave's mean is the table's churn rate. Contacts are answered by the
        response functions; an accepted discount runs its months, and while one runs no new offer is made
        (what the policy says is ignored). An offer's effect on churn lasts its wave. Survivors age by the
        window.

        A survivor of a wave is worth its months of margin less the running discount's; a contact costs at
        once; a survivor of the last wave is worth the margin of the rest of the value horizon less what is
        left of the discount. One wave is thus exactly the one-window reward. `discount_factor` is monthly and
        counts from the wave's start.

        Taste, frailty and acceptance are drawn (stratified over the replicates); survival is carried as a
        probability, so the result is an expectation with little noise. All draws depend on `seed` alone, so
        policies run with one seed face the same customers and the same luck: compare them by
        `PanelResult.lift`.

        Raises:
            DemoWorldError: the horizon is not a whole number of waves, or the policy's arms are not arms.
        """
        months = round(self.window_months)
        if months != self.window_months or months < 1 or horizon_months < months or horizon_months % months:
            raise DemoWorldError(
                f"a horizon of {horizon_months} months is not a number of {self.window_months:g}-month waves"
            )
        money = self.economics
        shape = (replicates, len(self.ids))
        customer = np.tile(np.arange(len(self.ids)), replicates)
        price = self.price[customer]
        nature = np.random.default_rng([seed, 1])
        latent = SENSITIVITY_SD * ndtri(_stratified(nature, shape))
        frailty = FRAILTY_SD * ndtri(_stratified(nature, shape)) + self._hazard_shift()
        carried = nature.poisson(PRIOR_OFFERS_MEAN, len(customer))
        shifted = np.ones(len(customer), dtype=bool)

        alive = np.ones(len(customer))
        value, spend, contacts = np.zeros(len(customer)), np.zeros(len(customer)), np.zeros(len(customer))
        since = np.full(len(customer), np.inf)
        discount, left = np.zeros(len(customer)), np.zeros(len(customer), dtype=np.int64)
        used = np.zeros(len(customer), dtype=np.int64)
        alive_share, churn_share, contact_share = [1.0], [], []
        for month in range(0, horizon_months, months):
            tenure = self._tenure[customer] + month
            prior = carried * (month < RECENT_MONTHS) + (since < RECENT_MONTHS)
            state = PanelState(month, customer, tenure, prior, since, discount, left, used, self._frame)
            arm = np.where(left > 0, 0, _checked(policy(state), len(customer)))
            contacted = arm > 0
            offer = np.asarray(ARMS)[arm]

            score = self.risk_at(np.full(len(self.ids), float(month)))[customer]
            hazard = _sigmoid(_frail_logit(score) + frailty)
            if self.drift == "competitor_shock":
                hazard = hazard + (1 - hazard) * COMPETITOR_TAKES * self._flags.fibre[customer]
            sensitivity = self._sensitivity(customer, tenure, latent)
            saved, woken = self._saved(customer, tenure, sensitivity, shifted), self._woken(customer, tenure)
            accepts = [
                self._acceptance(
                    customer, sensitivity, np.full(len(customer), y), prior, shifted, offer[:, None]
                )[:, 0]
                for y in (0, 1)
            ]
            acceptance = (1 - hazard) * accepts[0] + hazard * accepts[1]
            accepted = _stratified(nature, shape) < acceptance
            # P(would churn | accepted or not), then P(stay) given that.
            answered = [np.where(accepted, q, 1 - q) for q in accepts]
            churner = hazard * answered[1] / ((1 - hazard) * answered[0] + hazard * answered[1])
            stays = sum(
                share * self._stay_probability(np.full(len(customer), y), contacted, accepted, saved, woken)
                for y, share in ((0, 1 - churner), (1, churner))
            )

            since = np.where(contacted, 0.0, since) + months
            used = used + contacted
            discount = np.where(accepted, offer, discount)
            left = np.where(accepted, money.discount_months, left)
            paid = discount * price * np.minimum(left, months)
            cost = money.contact_cost * contacted
            contact_share.append(float((alive * contacted).sum() / alive.sum()))
            churn_share.append(float((alive * hazard).sum() / alive.sum()))
            after = alive * stays
            value += discount_factor**month * (after * (money.margin * price * months - paid) - alive * cost)
            spend += after * paid + alive * cost
            contacts += alive * contacted
            alive = after
            alive_share.append(float(alive.mean()))
            left = np.maximum(left - months, 0)
            discount = np.where(left > 0, discount, 0.0)
        owed = discount * price * left
        rest_value = money.margin * price * (money.value_horizon_months - months) - owed
        value += discount_factor ** (horizon_months - months) * alive * rest_value
        spend += alive * owed
        return PanelResult(
            value.reshape(shape), spend.reshape(shape), contacts.reshape(shape),
            np.array(alive_share), np.array(churn_share), np.array(contact_share),
        )  # fmt: skip

    def _hazard_shift(self) -> float:
        """Logit shift that makes the mean hazard of the first wave the table's churn rate."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(21)
        logit = _frail_logit(self.risk)[:, None] + FRAILTY_SD * nodes[None, :]
        low, high = -2.0, 2.0
        for _ in range(50):
            middle = (low + high) / 2
            mean = float((_sigmoid(logit + middle) @ weights).mean() / weights.sum())
            low, high = (middle, high) if mean < self.would_churn.mean() else (low, middle)
        return (low + high) / 2


@dataclass(frozen=True, eq=False)
class _Flags:
    """(N,) what the response functions ask of a customer."""

    monthly: Bools
    two_year: Bools
    electronic_check: Bools
    automatic: Bools
    senior: Bools
    fibre: Bools
    tech_support: Bools


def _flags(customers: pd.DataFrame) -> _Flags:
    text = {name: customers[name].astype(str) for name in CATEGORICAL}
    return _Flags(
        monthly=(text["Contract"] == "Month-to-month").to_numpy(),
        two_year=(text["Contract"] == "Two year").to_numpy(),
        electronic_check=(text["PaymentMethod"] == "Electronic check").to_numpy(),
        automatic=text["PaymentMethod"].str.contains("automatic").to_numpy(bool),
        senior=text["SeniorCitizen"].isin(["1", "1.0", "Yes"]).to_numpy(),
        fibre=(text["InternetService"] == "Fiber optic").to_numpy(),
        tech_support=(text["TechSupport"] == "Yes").to_numpy(),
    )


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


def _stratified(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """(R * N,) uniforms in (0, 1): of a customer's R replicates one in each R-th part, in random order."""
    order = rng.random(shape).argsort(axis=0)
    return ((order + rng.uniform(1e-12, 1, shape)) / shape[0]).reshape(-1)


def _checked(arm: Ints, count: int) -> Ints:
    chosen = np.asarray(arm)
    if chosen.shape != (count,) or not np.issubdtype(chosen.dtype, np.integer):
        raise DemoWorldError(
            f"a policy gave {chosen.dtype} of shape {chosen.shape}; expected integers of shape ({count},)"
        )
    if count and not (chosen.min() >= 0 and chosen.max() < len(ARMS)):
        raise DemoWorldError(
            f"a policy chose arm {chosen.min()}…{chosen.max()}; the arms are 0…{len(ARMS) - 1}"
        )
    return chosen.astype(np.int64)


def _frail_logit(risk: Floats) -> Floats:
    """Logit that, spread by the frailty, has about `risk` as its mean probability."""
    spread = np.sqrt(1 + _LOGISTIC_NORMAL * FRAILTY_SD**2)
    return np.asarray(np.log(risk / (1 - risk)) * spread)


def _sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))
