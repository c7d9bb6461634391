"""The demo world run forward, wave after wave, under one policy: what the policy is worth over its own horizon.

For benchmarks and tests; a simulation serves its decisions by the real parts instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtri

from churn_assets.offers.responses import COMPETITOR_TAKES, Someone, sigmoid
from churn_assets.offers.world import (
    FRAILTY_SD,
    PRIOR_OFFERS_MEAN,
    SENSITIVITY_SD,
    DemoWorld,
    DemoWorldError,
    frail_logit,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RECENT_MONTHS = 3


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
        offers_used: contacts by the panel so far.
    """

    month: int
    customer: Ints
    tenure: Floats
    prior_offers: Ints
    months_since_contact: Floats
    running: Ints
    months_left: Ints
    offers_used: Ints
    _frame: pd.DataFrame

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


def run_panel(
    world: DemoWorld,
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
    response functions; an accepted benefit runs its months, and while one runs no new offer is made (what the
    policy says is ignored). An offer's effect on churn lasts its wave. Survivors age by the
    window.

    A survivor of a wave is worth its months of margin less the running benefit's; a contact and a gift cost at
    once; a survivor of the last wave is worth the margin of the rest of the value horizon less what is
    left of the benefit. One wave is thus exactly the one-window reward. `discount_factor` is monthly and
    counts from the wave's start.

    Taste, frailty and acceptance are drawn (stratified over the replicates); survival is carried as a
    probability, so the result is an expectation with little noise. All draws depend on `seed` alone, so
    policies run with one seed face the same customers and the same luck: compare them by
    `PanelResult.lift`.

    Raises:
        DemoWorldError: the horizon is not a whole number of waves, or the policy's arms are not arms.
    """
    months = round(world.window_months)
    if months != world.window_months or months < 1 or horizon_months < months or horizon_months % months:
        raise DemoWorldError(
            f"a horizon of {horizon_months} months is not a number of {world.window_months:g}-month waves"
        )
    money, menu, answers = world.economics, world.menu, world.responses
    shape = (replicates, len(world.ids))
    customer = np.tile(np.arange(len(world.ids)), replicates)
    price = world.price[customer]
    monthly = menu.monthly(price)
    everyone = np.arange(len(customer))
    nature = np.random.default_rng([seed, 1])
    latent = SENSITIVITY_SD * ndtri(_stratified(nature, shape))
    frailty = FRAILTY_SD * ndtri(_stratified(nature, shape)) + world.hazard_shift
    carried = nature.poisson(PRIOR_OFFERS_MEAN, len(customer))
    shifted = np.ones(len(customer), dtype=bool)

    alive = np.ones(len(customer))
    value, spend, contacts = np.zeros(len(customer)), np.zeros(len(customer)), np.zeros(len(customer))
    since = np.full(len(customer), np.inf)
    running, left, used = (np.zeros(len(customer), dtype=np.int64) for _ in range(3))
    alive_share, churn_share, contact_share = [1.0], [], []
    for month in range(0, horizon_months, months):
        tenure = world.tenure[customer] + month
        prior = carried * (month < RECENT_MONTHS) + (since < RECENT_MONTHS)
        state = PanelState(month, customer, tenure, prior, since, running, left, used, world.frame)
        arm = np.where(left > 0, 0, _checked(policy(state), world, customer))
        contacted = arm > 0

        score = world.risk_at(np.full(len(world.ids), float(month)))[customer]
        hazard = sigmoid(frail_logit(score) + frailty)
        if answers.drift == "competitor_shock":
            hazard = hazard + (1 - hazard) * COMPETITOR_TAKES * answers.flags.fibre[customer]
        sensitivity = answers.sensitivity(customer, tenure, latent)
        stays_by_answer = answers.stays(Someone(customer, tenure, sensitivity, shifted)).of(arm)
        worth = answers.worth[customer, arm][:, None]
        accepts = [
            answers.acceptance(customer, sensitivity, np.full(len(customer), y), prior, shifted, worth)[:, 0]
            for y in (0, 1)
        ]
        acceptance = (1 - hazard) * accepts[0] + hazard * accepts[1]
        accepted = _stratified(nature, shape) < acceptance
        # P(would churn | accepted or not), then P(stay) given that.
        answered = [np.where(accepted, q, 1 - q) for q in accepts]
        churner = hazard * answered[1] / ((1 - hazard) * answered[0] + hazard * answered[1])
        stays = stays_by_answer.given(churner[:, None], accepted[:, None].astype(np.float64))[:, 0]

        since = np.where(contacted, 0.0, since) + months
        used = used + contacted
        running = np.where(accepted, arm, running)
        left = np.where(accepted, menu.months[arm], left)
        benefit = monthly[everyone, running]
        paid = benefit * np.minimum(left, months)
        cost = menu.contact_cost[arm] + accepted * menu.given_once[arm]
        contact_share.append(float((alive * contacted).sum() / alive.sum()))
        churn_share.append(float((alive * hazard).sum() / alive.sum()))
        after = alive * stays
        value += discount_factor**month * (after * (money.margin * price * months - paid) - alive * cost)
        spend += after * paid + alive * cost
        contacts += alive * contacted
        alive = after
        alive_share.append(float(alive.mean()))
        left = np.maximum(left - months, 0)
        running = np.where(left > 0, running, 0)
    owed = monthly[everyone, running] * left
    rest_value = money.margin * price * (money.value_horizon_months - months) - owed
    value += discount_factor ** (horizon_months - months) * alive * rest_value
    spend += alive * owed
    return PanelResult(
        value.reshape(shape), spend.reshape(shape), contacts.reshape(shape),
        np.array(alive_share), np.array(churn_share), np.array(contact_share),
    )  # fmt: skip


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
