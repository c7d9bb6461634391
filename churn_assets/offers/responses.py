"""What moves simulated customers: who accepts an arm, is saved by it, or is woken. No model may import it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Arm, Menu
from churn_assets.offers.config import Drift

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

NUMERIC = ("tenure", "MonthlyCharges")
CATEGORICAL = (
    "Contract", "PaymentMethod", "InternetService", "TechSupport", "SeniorCitizen", "OnlineSecurity",
    "PaperlessBilling", "MultipleLines", "StreamingTV", "StreamingMovies", "PhoneService",
)  # fmt: skip

COMPETITOR_TAKES = 0.10
LATE = 0.8
"""The share of a log's waves after which the drift has happened."""
USUAL_MONTHS = 6
"""Acceptance was set for percents off that run this long; other arms are worth to a customer what such a percent is."""
GIFT_WORTH = 1.5
"""A gift is worth its price in a shop to a customer, which is more than it costs us."""
BARE_CONTACT = 0.02
"""What a contact without anything is worth, as a share of the price: somebody cares."""
LISTENED = {"phone": 0.06, "letter": 0.01}
"""What being talked to is worth beside the terms, by channel; twice as much to senior citizens."""
REFERENCE = 0.20
"""Whoever would accept this share off, and stay then, is persuadable."""


@dataclass(frozen=True, eq=False)
class Flags:
    """(N,) what the response functions ask of a customer."""

    monthly: Bools
    two_year: Bools
    electronic_check: Bools
    automatic: Bools
    senior: Bools
    fibre: Bools
    tech_support: Bools


@dataclass(frozen=True)
class Hidden:
    """What no log and no feature shows of a world.

    Attributes:
        frailty: Standard deviation, on the logit of leaving, of what persists in a customer.
        taste: Standard deviation, on the logit of accepting, of what persists in a customer, whatever is offered.
        labels: Whether the would-be outcomes of a log are the table's; else they follow the hazard that waves and
            panels follow, each customer with a frailty and a taste of their own.
        targeting: What share more (below 0: fewer) offers would-be churners get than the log's propensities say, at the
            cost of stayers who look alike: whoever logged knew something.
    """

    frailty: float = 0.8
    taste: float = 0.0
    labels: bool = True
    targeting: float = 0.0


@dataclass(frozen=True, eq=False)
class Someone:
    """n situations of customers, as far as what they do depends on them.

    Attributes:
        customer: (n,) row of the customer.
        tenure: (n,) months.
        sensitivity: (n,) to price, latent.
        taste: (n,) for offers, added to the logit of accepting any; latent.
        prior_offers: (n,) in the last 90 days.
        offers: (n,) before this one that the customer remembers: all that the world made, and those of 90 days.
        late: (n,) when: 0 in a log's first wave, 1 in its last and ever after.
    """

    customer: Ints
    tenure: Floats
    sensitivity: Floats
    taste: Floats
    prior_offers: Ints
    offers: Ints
    late: Floats

    @property
    def shifted(self) -> Bools:
        """(n,) whether the drift has happened."""
        return np.asarray(self.late > LATE)


@dataclass(frozen=True, eq=False)
class Stays:
    """(n, K) chances to stay in the window by arm, of those who would churn without contact and who would stay."""

    churner_accepting: Floats
    churner_refusing: Floats
    stayer_accepting: Floats
    stayer_refusing: Floats

    def given(self, would_churn: Floats, acceptance: Floats) -> Floats:
        """(n, K) P(stay), where P(would churn) (n, 1) and P(accept) (n, K or 1) are known."""
        churner = acceptance * self.churner_accepting + (1 - acceptance) * self.churner_refusing
        stayer = acceptance * self.stayer_accepting + (1 - acceptance) * self.stayer_refusing
        return would_churn * churner + (1 - would_churn) * stayer

    def __getitem__(self, rows: slice) -> Stays:
        return Stays(*(getattr(self, each.name)[rows] for each in fields(self)))

    def of(self, arm: Ints) -> Stays:
        """The same of one arm (n,) a situation, (n, 1)."""
        at = arm[:, None]
        return Stays(*(np.take_along_axis(getattr(self, each.name), at, axis=1) for each in fields(self)))


class ResponseFunctions:
    """The response functions of `DemoWorld`, of N customers and the K arms of a menu.

    Attributes:
        menu: The arms.
        drift: What may change.
        effects: False: no contact changes churn.
        flags: What the functions ask of a customer.
        tenure: (N,) months.
        price: (N,) list price a month.
        worth: (N, K) what an arm is worth to a customer: the share off the price, for 6 months, that is worth as much.
        hidden: What nobody sees, by default.
        delays: Share of the would-be churners that a contact keeps who leave in the next window whatever happens.
    """

    hidden = Hidden()
    delays = 0.0

    def __init__(self, customers: pd.DataFrame, menu: Menu, *, drift: Drift, effects: bool) -> None:
        self.menu = menu
        self.drift = drift
        self.effects = effects
        self.flags = _flags(customers)
        self.tenure: Floats = customers["tenure"].to_numpy(np.float64)
        self.price: Floats = customers["MonthlyCharges"].to_numpy(np.float64)
        self._z_price = (self.price - self.price.mean()) / self.price.std()
        self.worth: Floats = np.stack([_worth(arm, self.price, self.flags.senior) for arm in menu], axis=1)

    def sensitivity(self, customer: Ints, tenure: Floats, latent: Floats) -> Floats:
        z_tenure = (tenure - self.tenure.mean()) / self.tenure.std()
        return np.asarray(0.6 * self._z_price[customer] - 0.4 * z_tenure + latent)

    def acceptance(self, who: Someone, would_churn: Ints, share: Floats) -> Floats:
        """(n, k) P(accept) of what is worth (n, k) or (1, k) shares of the price to the customer, see `worth`."""
        f, customer = self.flags, who.customer
        level = (
            -3.10
            + 0.40 * f.monthly[customer]
            - 0.50 * f.two_year[customer]
            + 0.20 * f.electronic_check[customer]
            + 0.25 * self._z_price[customer]
            - 0.20 * f.senior[customer]
            + 0.45 * (would_churn - 0.265)
            - 0.35 * who.prior_offers
            + 0.30 * (who.shifted & (self.drift == "acceptance_shift"))
            + who.taste
        )
        appeal = (2.6 + 0.5 * who.sensitivity)[:, None] * (1 - np.exp(-share / 0.12))
        return np.where(share > 0, sigmoid(level[:, None] + appeal), 0.0)

    def saved(self, who: Someone) -> Floats:
        """(n,) P(stays | would churn, accepted)."""
        f, customer = self.flags, who.customer
        lost = sigmoid(
            -1.6
            + 1.8 * f.fibre[customer]
            + 0.9 * ~f.tech_support[customer]
            + 0.5 * f.electronic_check[customer]
            - 1.4 * (who.tenure > 12)
            - 0.9 * who.sensitivity
            + 1.0 * (who.shifted & (self.drift == "competitor_shock"))
        )
        return np.clip(0.92 - 0.88 * lost, 0.03, 0.95) if self.effects else np.zeros(len(customer))

    def woken(self, who: Someone) -> Floats:
        """(n,) P(churns | would stay, contacted and refused)."""
        f, customer = self.flags, who.customer
        if not self.effects:
            return np.zeros(len(customer))
        settled = f.monthly[customer] & (who.tenure > 6)
        return np.where(
            settled & f.automatic[customer], 0.10, np.where(settled & f.fibre[customer], 0.06, 0.004)
        )

    @property
    def nudge(self) -> float:
        """P(stays | would churn, contacted and refused)."""
        return 0.02 if self.effects else 0.0

    def stays(self, who: Someone) -> Stays:
        """P(stay in the window) by arm and answer: here an accepted arm saves, a refused contact wakes."""
        contacted = self.contacts
        saved, woken = self.saved(who), self.woken(who)
        return Stays(
            churner_accepting=saved[:, None] * contacted,
            churner_refusing=np.full((len(saved), 1), self.nudge) * contacted,
            stayer_accepting=np.ones((len(saved), len(contacted))),
            stayer_refusing=1 - woken[:, None] * contacted,
        )

    @property
    def contacts(self) -> Floats:
        """(K,) 1 for the arms that contact."""
        return np.array([float(arm.contacts) for arm in self.menu])


def _flags(customers: pd.DataFrame) -> Flags:
    text = {name: customers[name].astype(str) for name in CATEGORICAL}
    return Flags(
        monthly=(text["Contract"] == "Month-to-month").to_numpy(),
        two_year=(text["Contract"] == "Two year").to_numpy(),
        electronic_check=(text["PaymentMethod"] == "Electronic check").to_numpy(),
        automatic=text["PaymentMethod"].str.contains("automatic").to_numpy(bool),
        senior=text["SeniorCitizen"].isin(["1", "1.0", "Yes"]).to_numpy(),
        fibre=(text["InternetService"] == "Fiber optic").to_numpy(),
        tech_support=(text["TechSupport"] == "Yes").to_numpy(),
    )


def _worth(arm: Arm, price: Floats, senior: Bools) -> Floats:
    """(N,) as of `ResponseFunctions.worth`: never less for a larger arm of a family."""
    if not arm.contacts:
        return np.zeros_like(price)
    terms, months = arm.terms, arm.months / USUAL_MONTHS
    share = terms.share_off
    paid = np.full_like(price, share * months) if share is not None else terms.monthly(price) / price * months
    given = GIFT_WORTH * terms.given_once / (USUAL_MONTHS * price)
    listened = LISTENED.get(arm.channel or "", 0.0) * (1 + senior)
    bare = 0.0 if terms.months or terms.given_once else BARE_CONTACT
    return np.asarray(paid + given + listened + bare)


def sigmoid(x: Floats) -> Floats:
    """The logistic function."""
    return 1 / (1 + np.exp(-x))
