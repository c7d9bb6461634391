"""Config section of `ppo_decision`. Nothing here trains, loads or evaluates anything."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, Field, field_validator, model_validator

from churn_assets.arms import NO_CONTACT_ID, Slug

Share = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(ge=1)]
StepMonths = Annotated[int, Field(ge=1)]

USUAL_COOLDOWN = 2
"""Months."""


class _Section(BaseModel, frozen=True, extra="forbid"):
    """Fixed once it is read, and nothing unknown in it."""


class BudgetPriceConfig(_Section):
    """The prices of a dollar of spend that the policy is trained for: it learns all of them at once."""

    maximum: Annotated[float, Field(ge=0)] = 6.0
    """Largest price, or more where offers bring more for what they cost; 0 trains for an unlimited budget only."""
    unpriced_share: Share = 0.4
    """Share of training cases without a price; the others have one drawn evenly in log(1 + price)."""


Spread = Annotated[float, Field(ge=0, le=4)]


class HiddenConfig(_Section):
    """How much customers of equal features differ, as standard deviations on a logit.

    A label of one window cannot tell it. Of the churn of contracts, which no feature explains, a beta distribution
    has a polarisation of .18 to .35 (Fader & Hardie 2007); at a risk of .25 that is a spread of 1.1 to 1.9, of which
    features explain a part.
    """

    frailty: Spread = 1.0
    """Of the risk: what values are projected at, so the policy too. More is more cautious."""
    frailty_band: tuple[Spread, Spread] = (0.0, 1.5)
    """The least and the most that it may be: the band that projected values are shown with."""
    effect_decay: Share = 0.0
    """Share of the customers whom a contact kept who leave after the label window: what values are projected at."""
    effect_decay_band: tuple[Share, Share] = (0.0, 0.5)
    """The least and the most that it may be."""
    taste: Spread = 0.5
    """Of the acceptance: by how much some like all offers more than others."""

    @model_validator(mode="after")
    def _within_the_band(self) -> HiddenConfig:
        for name in ("frailty", "effect_decay"):
            used, (low, high) = getattr(self, name), getattr(self, f"{name}_band")
            if not low <= used <= high:
                raise ValueError(f"{name} {used:g} lies outside {name}_band {[low, high]}")
        return self


class PpoConfig(_Section):
    """Proximal policy optimisation (stable-baselines3)."""

    cases: PositiveInt = 4096
    """Customers to learn from, each with one budget price; fewer are repeated, of more some are drawn."""
    imitation_steps: Annotated[int, Field(ge=0)] = 1000
    """Gradient steps on the exact optimum's decisions before PPO begins; 0 starts from the regret alone."""
    imitation_rate: Annotated[float, Field(gt=0)] = 5e-3
    """Their learning rate; decays linearly to zero."""
    total_timesteps: PositiveInt = 500_000
    """At least; whole rollouts are made."""
    n_envs: PositiveInt = 1024
    n_steps: PositiveInt = 64
    batch_size: Annotated[int, Field(ge=2)] = 1024
    n_epochs: PositiveInt = 3
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """Of the first update; decays linearly, to nothing after the last."""
    gae_lambda: Share = 0.95
    clip_range: Annotated[float, Field(gt=0)] = 0.2
    value_coef: Annotated[float, Field(ge=0)] = 0.5
    max_grad_norm: Annotated[float, Field(gt=0)] = 0.5
    entropy_start: Annotated[float, Field(ge=0)] = 0.001
    entropy_end: Annotated[float, Field(ge=0)] = 0.0003
    """The entropy bonus decays linearly."""
    regret_weight: Annotated[float, Field(ge=0)] = 16.0
    """How steeply the untrained policy prefers arms of less regret. It starts near the best single offer and learns to
    do better; from a uniform start, PPO needs the "no offer" logit below or loses that action for good."""
    no_offer_logit: float = 0.0
    """Added to the untrained policy's logit of "no offer"."""
    net_arch: tuple[PositiveInt, ...] = (64, 64)

    @property
    def updates(self) -> int:
        """How often the policy is updated: once a rollout."""
        return -(-self.total_timesteps // (self.n_envs * self.n_steps))

    @property
    def timesteps(self) -> int:
        """`total_timesteps` in whole rollouts."""
        return self.updates * self.n_envs * self.n_steps

    @model_validator(mode="after")
    def _batches_fit_the_rollout(self) -> PpoConfig:
        if (self.n_envs * self.n_steps) % self.batch_size:
            rollout = self.n_envs * self.n_steps
            msg = f"batch_size {self.batch_size} does not divide n_envs x n_steps = {rollout}"
            raise ValueError(msg)
        return self


class DecisionGates(_Section):
    """What `ppo_decision` must prove on held-out customers."""

    min_gain_captured: float = 0.95
    """Least share of the attainable gain over never offering."""
    min_cautious_gain: float | None = None
    """Least money a customer over the horizon at the cautious end of what values are projected at: the policy is
    planned nearer to that end until it gains as much there. Left out: no more may be lost there than is gained at the
    hopeful end, and the policy is planned as configured."""
    max_contact_share_without_gain: Share = 0.01
    """Most customers ever contacted where there is nothing to gain."""
    min_standard_errors_lost: Annotated[float, Field(ge=0)] = 2.0
    """How certainly value must be lost when one upstream model's predictions are permuted; by how much says nothing
    about use, for where acceptance hardly differs little depends on it."""
    min_budget_share: Share = 0.90
    """Least share of the best gain under a budget of a quarter of the unconstrained spend."""
    release_confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.5
    """How sure the log must be that a release is better than no offer, or of a later one that it keeps three quarters
    of the champion's lift: of the one-sided lower bound, which at 0.5 is the estimate itself. Where 95 % are not
    reached the report says "discuss"; automation leaves a first release to a person then, and asks live decisions of a
    later one."""
    max_unfair_months: Annotated[float, Field(ge=0)] = 0.25
    """Most that offers to a group of `customers.groups` may certainly be worth more or less than those to customers of
    the same risk and expected effect, in months of the bill: 20 % off for half a year is 1.2 of them."""
    champion_captured_tolerance: Annotated[float, Field(ge=0)] = 0.01
    """How much less of the attainable gain than the champion may be captured on the same customers."""


class PpoDecisionConfig(_Section):
    """The retention process, and how the policy is trained on it."""

    menu: Annotated[tuple[Share | Slug, ...], Field(min_length=2)] = (0.0, 0.05, 0.10, 0.20, 0.30)
    """What may be offered: ids of `arms:`, or percents off as fractions of the list price (for
    `economics.discount_months`). The first is no contact (`no_contact`, or 0)."""
    episode_length: PositiveInt = 30
    """Steps; the horizon ends the episode (terminated, never truncated)."""
    step_months: StepMonths = 1
    cooldown_months: Annotated[int, Field(ge=0)] | None = None
    """Months after a contact without another one, the label window at least: no log tells what a contact does within
    the window of another. None: two months, or the label window where that is longer."""
    max_offers: PositiveInt = 4
    """Contacts allowed an episode."""
    recent_window_months: Annotated[int, Field(ge=0)] = 3
    """How long a contact lowers the acceptance of the next."""
    discount_factor: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Of one step."""
    hidden: HiddenConfig = HiddenConfig()
    budget_prices: BudgetPriceConfig = BudgetPriceConfig()
    ppo: PpoConfig = PpoConfig()
    gates: DecisionGates = DecisionGates()

    @field_validator("menu")
    @classmethod
    def _starts_with_no_contact_and_rises(cls, menu: tuple[float | str, ...]) -> tuple[float | str, ...]:
        shares = [each for each in menu if not isinstance(each, str)]
        if menu[0] not in (0, NO_CONTACT_ID) or shares != sorted(set(shares)) or len(set(menu)) < len(menu):
            msg = f"the menu starts with 0 or no_contact, and its fractions rise: found {list(menu)}"
            raise ValueError(msg)
        return menu

    def cooldown(self, window_months: float) -> int:
        """Months after a contact without another one, where effects are on churn within `window_months`."""
        if self.cooldown_months is None:
            return max(USUAL_COOLDOWN, math.ceil(window_months))
        return self.cooldown_months
