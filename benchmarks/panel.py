"""A world run forward, window after window, under one policy: its worth over a horizon, and logs with histories.

For benchmarks and tests; a simulation serves its decisions by the real parts instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from churn_assets.offers.config import DEMO_START
from churn_assets.offers.economics import decision_value
from churn_assets.offers.log import OfferLog, checked_log, propensity_column
from churn_assets.offers.responses import COMPETITOR_TAKES, Someone, sigmoid
from churn_assets.offers.world import (
    POLICY_VERSION,
    PRIOR_OFFERS_MEAN,
    SENSITIVITY_SD,
    WAVES,
    DemoWorld,
    DemoWorldError,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

RECENT_MONTHS = 3
WEEKS_A_MONTH = 365.25 / 12 / 7


@dataclass(frozen=True, eq=False)
class PanelState:
    """What a policy may know of customers who are alive at the start of a wave; all arrays are (n,).

    Attributes:
        month: months since the panel began.
        customer: row of the customer in the world's table.
        tenure: months, aged with the panel.
        prior_offers: offers in the last 90 days.
        months_since_contact: since the panel's own last contact; inf where there was none.
        running: index into the menu of the arm whose benefit runs, 0 where none does.
        months_left: months that the running benefit has left.
        offers_accepted: contacts by the panel so far that were accepted.
        offers_refused: those that were not.
        last_arm: index into the menu of the panel's last contact, 0 where there was none.
        last_accepted: whether it was accepted.
    """

    month: int
    customer: Ints
    tenure: Floats
    prior_offers: Ints
    months_since_contact: Floats
    running: Ints
    months_left: Ints
    offers_accepted: Ints
    offers_refused: Ints
    last_arm: Ints
    last_accepted: Bools
    _frame: pd.DataFrame

    @property
    def offers_used(self) -> Ints:
        """(n,) contacts by the panel so far."""
        return self.offers_accepted + self.offers_refused

    @property
    def frame(self) -> pd.DataFrame:
        """The customers' table rows as they are now: tenure aged, no label."""
        return self._frame.iloc[self.customer].assign(tenure=self.tenure).reset_index(drop=True)


PanelPolicy = Callable[[PanelState], Ints]
"""Chooses an index into the menu for each customer of the state."""


@dataclass(frozen=True, eq=False)
class PanelResult:
    """Simulated outcome of one policy over the horizon, as an expectation per replicate and customer.

    Attributes:
        value: (R, N) discounted value in money.
        spend: (R, N) benefits and gifts given, remaining commitments of survivors included, and contact costs; not
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


@dataclass(eq=False)
class _People:
    """n customers of a world run forward: what they are and what they went through; all arrays are (n,).

    Attributes:
        world: Who answers for them.
        customer: Row in the world's table.
        latent: Price sensitivity beside what features show.
        frailty: On the logit of leaving.
        taste: On the logit of accepting.
        carried: Offers in the 90 days before the first wave.
    """

    world: DemoWorld
    customer: Ints
    latent: Floats
    frailty: Floats
    taste: Floats
    carried: Ints
    since: Floats = field(init=False)
    running: Ints = field(init=False)
    left: Ints = field(init=False)
    accepted: Ints = field(init=False)
    refused: Ints = field(init=False)
    last: Ints = field(init=False)
    took: Bools = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.customer)
        self.since = np.full(n, np.inf)
        self.running, self.left, self.accepted, self.refused, self.last = np.zeros((5, n), np.int64)
        self.took = np.zeros(n, bool)

    def prior_offers(self, month: int) -> Ints:
        return self.carried * (month < RECENT_MONTHS) + (self.since < RECENT_MONTHS)

    def state(self, month: int) -> PanelState:
        tenure = self.world.tenure[self.customer] + month
        return PanelState(
            month, self.customer, tenure, self.prior_offers(month), self.since, self.running, self.left,
            self.accepted, self.refused, self.last, self.took, self.world.frame,
        )  # fmt: skip

    def someone(self, month: int, late: float) -> Someone:
        return self.world.someone(
            self.customer,
            self.latent,
            self.prior_offers(month),
            np.full(len(self.customer), late),
            taste=self.taste,
            offers=self.carried + self.accepted + self.refused,
            months=month,
        )

    def answered(self, arm: Ints, accepted: Bools, months: int) -> None:
        """A window goes by in which they were offered `arm` (n,)."""
        contacted, menu = arm > 0, self.world.menu
        self.since = np.where(contacted, 0.0, self.since) + months
        self.accepted = self.accepted + accepted
        self.refused = self.refused + (contacted & ~accepted)
        self.last, self.took = np.where(contacted, arm, self.last), np.where(contacted, accepted, self.took)
        self.running = np.where(accepted, arm, self.running)
        self.left = np.maximum(np.where(accepted, menu.months[arm], self.left) - months, 0)
        self.running = np.where(self.left > 0, self.running, 0)


def run_panel(
    world: DemoWorld,
    policy: PanelPolicy,
    *,
    seed: int,
    horizon_months: int = 30,
    replicates: int = 8,
    discount_factor: float = 1.0,
    customers: Ints | None = None,
) -> PanelResult:
    """Run a policy forward, wave after wave, over every customer `replicates` times.

    A wave is the label window. Would-be churn in it follows a hidden hazard: the world's score at the
    customer's aged tenure, spread by a persistent normal frailty (see `Hidden`) that no feature
    shows, shifted so that the first wave's mean is the table's churn rate. Contacts are answered by the
    response functions; an accepted benefit runs its months, and while one runs no new offer is made (what the
    policy says is ignored). An offer's effect on churn lasts its wave; where the world only delays, whom it kept leave
    in the next. Survivors age by the window.

    A survivor of a wave is worth its months of margin less the running benefit's; a contact and a gift cost at
    once; a survivor of the last wave is worth the margin of the rest of the value horizon less what is
    left of the benefit. One wave is thus exactly the one-window reward. `discount_factor` is monthly and
    counts from the wave's start.

    Taste, frailty and acceptance are drawn (stratified over the replicates); survival is carried as a
    probability, so the result is an expectation with little noise. All draws depend on `seed` alone, so
    policies run with one seed face the same customers and the same luck: compare them by
    `PanelResult.lift`.

    Args:
        world: Who answers.
        policy: Who decides.
        seed: Of all that is drawn.
        horizon_months: How long.
        replicates: Of each customer.
        discount_factor: Of a month.
        customers: (N,) rows of the world's table; None: all.

    Raises:
        DemoWorldError: the horizon is not a whole number of waves, or the policy's arms are not arms.
    """
    months = _window(world)
    if horizon_months < months or horizon_months % months:
        raise DemoWorldError(
            f"a horizon of {horizon_months} months is not a number of {world.window_months:g}-month waves"
        )
    money, menu = world.economics, world.menu
    rows = np.arange(len(world.ids)) if customers is None else customers
    shape = (replicates, len(rows))
    nature = np.random.default_rng([seed, 1])
    people = _drawn(world, rows, shape, nature)
    customer, price = people.customer, world.price[people.customer]
    monthly, everyone = menu.monthly(price), np.arange(len(people.customer))

    alive, doomed = np.ones(len(customer)), np.zeros(len(customer))
    value, spend, contacts = np.zeros((3, len(customer)))
    alive_share, churn_share, contact_share = [1.0], [], []
    for month in range(0, horizon_months, months):
        arm = np.where(people.left > 0, 0, _checked(policy(people.state(month)), world, customer))
        contacted, uniform = arm > 0, _stratified(nature, shape)
        hazard, accepted, stays, kept = _window_gone(people, month, arm, doomed, uniform)
        owed = np.where(accepted, menu.months[arm], people.left)
        paid = monthly[everyone, np.where(accepted, arm, people.running)] * np.minimum(owed, months)
        people.answered(arm, accepted, months)
        cost = menu.contact_cost[arm] + accepted * menu.given_once[arm]
        contact_share.append(float((alive * contacted).sum() / alive.sum()))
        churn_share.append(float((alive * hazard).sum() / alive.sum()))
        after = alive * stays
        value += discount_factor**month * (after * (money.margin * price * months - paid) - alive * cost)
        spend += after * paid + alive * cost
        contacts += alive * contacted
        alive, doomed = after, world.responses.delays * kept
        alive_share.append(float(alive.mean()))
    owed = monthly[everyone, people.running] * people.left
    rest_value = money.margin * price * (money.value_horizon_months - months) - owed
    value += discount_factor ** (horizon_months - months) * alive * rest_value
    spend += alive * owed
    return PanelResult(
        value.reshape(shape), spend.reshape(shape), contacts.reshape(shape),
        np.array(alive_share), np.array(churn_share), np.array(contact_share),
    )  # fmt: skip


def history_log(
    world: DemoWorld, seed: int, *, windows: int = 4, customers: int | None = None, start: date = DEMO_START
) -> OfferLog:
    """A log in which the logging policy decides about the same customers window after window, until they leave.

    The rows of `DemoWorld.draw` are replicates; these are histories, of the panel's own hazard. Nothing is decided
    while a benefit runs, and so there is no row. `wave` counts weeks; a customer's features are the table's, of the
    first window. In a world that drifts, the drift comes with the weeks.

    Args:
        world: Who answers.
        seed: Same seed, same log.
        windows: Decisions about a customer, at most.
        customers: How many, each once; None: all.
        start: Day of the first wave.

    Raises:
        DemoWorldError: The label window is no whole number of months.
    """
    months, rng = _window(world), np.random.default_rng([seed, 4])
    rows = rng.permutation(len(world.ids))[:customers]
    people = _drawn(world, rows, (1, len(rows)), rng)
    everybody, logging = np.arange(len(rows)), world.logging_policy()[people.customer]
    alive, doomed = np.ones(len(rows), bool), np.zeros(len(rows), bool)
    found = []
    for window in range(windows):
        week, month = round(window * months * WEEKS_A_MONTH), window * months
        who = people.someone(month, min(week / (WAVES - 1), 1.0))
        risk = world.risk_after(month)[people.customer]
        would = world.would_leave(people.customer, risk, people.frailty, who.late, rng) | doomed
        truth = world.truth_of(who, would)
        due = alive & (people.left == 0)
        drawn = world.targeted(people.customer, would)
        arm = (rng.random(len(rows))[:, None] > drawn.cumsum(1)).sum(1).clip(0, len(world.menu) - 1)
        arm = np.where(due, arm, 0)
        did = world.answer(truth, arm, rng)
        churned = did.churned | doomed
        margin = decision_value(world.menu, arm, truth.price, did.accepted, churned, world.economics)
        columns = {
            "customer_id": world.ids[people.customer],
            "decided_at": datetime(start.year, start.month, start.day, tzinfo=UTC) + timedelta(weeks=week),
            "wave": week,
            "arm": np.array(world.menu.ids, dtype=object)[arm],
            "propensity": logging[everybody, arm],
            **{propensity_column(a): logging[:, k] for k, a in enumerate(world.menu.ids)},
            "policy_version": POLICY_VERSION,
            "prior_offers": who.prior_offers,
            "accepted": did.accepted,
            "churned": churned,
            "margin": margin,
        }
        found.append(pd.DataFrame(columns)[due])
        saved = (would == 1) & (churned == 0)
        doomed = saved & (rng.random(len(rows)) < world.responses.delays)
        alive &= churned == 0
        people.answered(arm, did.accepted == 1, months)
    frame = pd.concat(found, ignore_index=True)
    origin = "world with histories"
    return checked_log(frame, world.ids, world.menu, simulated=True, origin=origin, features=world.frame)


def _window(world: DemoWorld) -> int:
    months = round(world.window_months)
    if months != world.window_months or months < 1:
        raise DemoWorldError(f"a label window of {world.window_months:g} months: expected whole months")
    return months


def _drawn(world: DemoWorld, rows: Ints, shape: tuple[int, int], nature: np.random.Generator) -> _People:
    """Replicates of customers with all that is latent."""
    latent, frailty = (
        sd * ndtri(_stratified(nature, shape)) for sd in (SENSITIVITY_SD, world.hidden.frailty)
    )
    carried = nature.poisson(PRIOR_OFFERS_MEAN, latent.size)
    taste = world.hidden.taste * ndtri(_stratified(nature, shape)) if world.hidden.taste else 0 * latent
    return _People(world, np.tile(rows, shape[0]), latent, frailty, taste, carried)


def _window_gone(
    people: _People, month: int, arm: Ints, doomed: Floats, uniform: Floats
) -> tuple[Floats, Bools, Floats, Floats]:
    """What a window does to those who are offered `arm`, all (n,).

    `doomed` is the chance that they leave whatever happens. Gives P(would leave), who accepts (by `uniform`), P(stays)
    given that, and the share of those who stay who would have left.
    """
    world, answers = people.world, people.world.responses
    who = people.someone(month, 1.0)
    risk = world.risk_after(month)[people.customer]
    hazard = sigmoid(world.frail_logit(risk) + people.frailty + world.hazard_shift)
    if answers.drift == "competitor_shock":
        hazard = hazard + (1 - hazard) * COMPETITOR_TAKES * answers.flags.fibre[people.customer]
    hazard = doomed + (1 - doomed) * hazard
    worth = answers.worth[people.customer, arm][:, None]
    accepts = [answers.acceptance(who, np.full(len(arm), y), worth)[:, 0] for y in (0, 1)]
    accepted = uniform < (1 - hazard) * accepts[0] + hazard * accepts[1]
    # P(would leave | accepted or not), then P(stays) given that.
    answered = [np.where(accepted, q, 1 - q) for q in accepts]
    churner = hazard * answered[1] / ((1 - hazard) * answered[0] + hazard * answered[1])
    by_answer, took = answers.stays(who).of(arm), accepted[:, None].astype(np.float64)
    saved, stayed = (by_answer.given(np.full_like(took, y), took)[:, 0] for y in (1.0, 0.0))
    kept = churner * (1 - doomed / hazard) * saved
    stays = kept + (1 - churner) * stayed
    return hazard, accepted, stays, kept / stays


def _stratified(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """(R * N,) uniforms in (0, 1): of a customer's R replicates one in each R-th part, in random order."""
    order = rng.random(shape).argsort(axis=0)
    return ((order + rng.uniform(1e-12, 1, shape)) / shape[0]).reshape(-1)


def _checked(arm: Ints, world: DemoWorld, customer: Ints) -> Ints:
    chosen, count = np.asarray(arm), len(customer)
    if chosen.shape != (count,) or not np.issubdtype(chosen.dtype, np.integer):
        raise DemoWorldError(
            f"a policy gave {chosen.dtype} of shape {chosen.shape}; expected integers of shape ({count},)"
        )
    if count and not (chosen.min() >= 0 and chosen.max() < len(world.menu)):
        raise DemoWorldError(
            f"a policy chose arm {chosen.min()}…{chosen.max()}; the arms are 0…{len(world.menu) - 1}"
        )
    if not world.allowed[customer, chosen].all():
        raise DemoWorldError("a policy chose an arm whose conditions a customer does not keep")
    return chosen.astype(np.int64)
