"""The retention process in numbers: statuses, their successors, hazards, rewards and rules.

Every consumer (environment, exact optimum, observation, budget) reads the same index maps; no customer data
here.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, TypeAdapter

if TYPE_CHECKING:
    from churn_assets.decision.config import PpoDecisionConfig
    from churn_assets.offers.economics import Economics

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

IDLE = 0
BASE, ACCEPTED, REFUSED = 0, 1, 2
"""Kinds of hazard, the last axis of `ResponseTables.hazards`."""


@dataclass(frozen=True)
class RetentionProcess:
    """One customer's months under a retention policy.

    A *status* is one integer: 0 idle; refused `age` steps ago; or a discount of level k, accepted `age` steps
    ago. Ages run from 0, the step of the offer itself, so that the status *during* a step and the status *at*
    a decision (age ≥ 1, or idle) share one numbering. A status forgets itself once nothing depends on it any
    more.

    During a step the hazard of churn is that of the window in which it was measured: refusals and young
    discounts use theirs for the label window, then the customer's own risk applies again. A customer who
    survives the step pays; one who survives the horizon is worth the rest of the value horizon, less the
    discount still owed. Customer value, spend and rewards are in the price's currency.

    Args:
        menu: offers as fractions of the price, (K,), the first 0.
        horizon: steps of an episode, T.
        step_months: months a step.
        window_months: label window of the churn probabilities.
        cooldown_months: months after a contact without another one.
        recent_window_months: how long a contact counts as recent for acceptance.
        discount_months: months an accepted discount runs; no new offer meanwhile.
        max_offers: contacts allowed an episode.
        discount_factor: of one step, γ.
        margin: contribution margin as a fraction of the price.
        contact_cost: of one contact.
        value_horizon_months: months of margin that a customer retained now is worth.

    Raises:
        ValueError: a duration that the statuses cannot represent.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    menu: tuple[float, ...]
    horizon: int
    step_months: int
    window_months: float
    cooldown_months: int
    recent_window_months: int
    discount_months: int
    max_offers: int
    discount_factor: float
    margin: float
    contact_cost: float
    value_horizon_months: int

    def __post_init__(self) -> None:
        months = self.discount_months
        if months < self.step_months or months % self.step_months:
            msg = f"discount_months is {months}: expected a multiple of step_months {self.step_months}"
            raise ValueError(msg)
        if self.window_months <= 0:
            msg = f"window_months is {self.window_months}: expected more than 0"
            raise ValueError(msg)
        if self.memory > self.discount:
            needed = self.memory * self.step_months
            msg = f"discount_months is {months}: expected at least cooldown and windows, {needed} months"
            raise ValueError(msg)
        if self.recent > 2 * self.cooldown:
            msg = f"cooldown_months is {self.cooldown_months}: two contacts could be recent at once"
            raise ValueError(msg)
        if self.value_horizon_months < self.step_months:
            msg = f"value_horizon_months is {self.value_horizon_months}: expected at least one step"
            raise ValueError(msg)

    @classmethod
    def build(cls, config: PpoDecisionConfig, economics: Economics, window_months: float) -> RetentionProcess:
        """The process of an experiment; `window_months` is the customers' label window."""
        return cls(
            menu=config.menu,
            horizon=config.episode_length,
            step_months=config.step_months,
            window_months=window_months,
            cooldown_months=config.cooldown_months,
            recent_window_months=config.recent_window_months,
            discount_months=economics.discount_months,
            max_offers=config.max_offers,
            discount_factor=config.discount_factor,
            margin=economics.margin,
            contact_cost=economics.contact_cost,
            value_horizon_months=economics.value_horizon_months,
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; equal processes give equal JSON, whether a whole number was written as 3 or 3.0."""
        return dict(_fields().dump_python(self.from_json(asdict(self)), mode="json"))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> RetentionProcess:
        """Inverse of `to_json`; ValueError names a field that is missing, unknown or of another type."""
        return _fields().validate_python(fields)

    def _steps(self, months: float) -> int:
        return math.ceil(months / self.step_months)

    @property
    def n_arms(self) -> int:
        return len(self.menu)

    @property
    def cooldown(self) -> int:
        """Steps before the next contact; 1 at least, as a step holds one decision."""
        return max(self._steps(self.cooldown_months), 1)

    @property
    def window(self) -> int:
        return self._steps(self.window_months)

    @property
    def recent(self) -> int:
        return self._steps(self.recent_window_months)

    @property
    def discount(self) -> int:
        return self._steps(self.discount_months)

    @property
    def memory(self) -> int:
        """Steps after which a refusal is forgotten."""
        return max(self.cooldown, self.window, self.recent)

    @property
    def n_statuses(self) -> int:
        return 1 + self.memory + (self.n_arms - 1) * self.discount

    @property
    def refused_now(self) -> int:
        """Status during the step of an offer that was refused."""
        return 1

    def refused(self, age: int) -> int:
        """Status of a refusal `age` steps ago, idle once forgotten."""
        return 1 + age if age < self.memory else IDLE

    def discounted(self, arm: int, age: int) -> int:
        """Status of a discount accepted `age` steps ago, idle once it has run out."""
        if not 1 <= arm < self.n_arms:
            msg = f"arm {arm}: a discount has an arm from 1 to {self.n_arms - 1}"
            raise ValueError(msg)
        return 1 + self.memory + (arm - 1) * self.discount + age if age < self.discount else IDLE

    @cached_property
    def age(self) -> Ints:
        """(S,) steps since the contact; 0 where idle."""
        return np.concatenate(
            [[0], np.arange(self.memory), np.tile(np.arange(self.discount), self.n_arms - 1)]
        ).astype(np.int64)

    @cached_property
    def arm(self) -> Ints:
        """(S,) arm of the running discount, 0 for none."""
        levels = np.repeat(np.arange(1, self.n_arms), self.discount)
        return np.concatenate([np.zeros(1 + self.memory, np.int64), levels])

    @cached_property
    def discount_pct(self) -> Floats:
        """(S,) discount in force during a step in this status."""
        return np.asarray(self.menu, np.float64)[self.arm]

    @cached_property
    def months_owed(self) -> Ints:
        """(S,) months of discount still owed at a decision in this status."""
        return np.where(self.arm > 0, (self.discount - self.age) * self.step_months, 0)

    @cached_property
    def months_since_contact(self) -> Ints:
        """(S,) months since the last contact, saturating at the memory; idle counts as forgotten."""
        contacted = np.arange(self.n_statuses) != IDLE
        return np.where(contacted, np.minimum(self.age, self.memory), self.memory) * self.step_months

    @cached_property
    def successor(self) -> Ints:
        """(S,) status at the next decision after a survived step in this status."""
        following = np.arange(self.n_statuses) + 1
        last = np.where(self.arm > 0, self.discount, self.memory) - 1
        return np.where((np.arange(self.n_statuses) == IDLE) | (self.age == last), IDLE, following)

    @cached_property
    def hazard_kind(self) -> Ints:
        """(S,) BASE, ACCEPTED or REFUSED: which hazard applies during a step in this status."""
        kind = np.where(self.arm > 0, ACCEPTED, REFUSED)
        kind[(self.age >= self.window) | (np.arange(self.n_statuses) == IDLE)] = BASE
        return kind

    @cached_property
    def open(self) -> Bools:
        """(S,) whether an offer may be made at a decision in this status, as far as timing goes."""
        open_ = (self.arm == 0) & (self.age >= self.cooldown)
        open_[IDLE] = True
        return np.asarray(open_)

    @cached_property
    def open_statuses(self) -> Ints:
        """(O,) statuses in which an offer may be made, idle first."""
        return np.flatnonzero(self.open)

    @cached_property
    def view(self) -> Ints:
        """(S,) index into `open_statuses`: whose acceptance and gains an observation shows.

        A running discount shows those of an idle customer, a cooldown those of the status that ends it.
        """
        shown = np.zeros(self.n_statuses, np.int64)
        for age in range(self.memory):
            first_open = self.refused(max(age, self.cooldown))
            shown[self.refused(age)] = np.searchsorted(self.open_statuses, first_open)
        return shown

    @cached_property
    def recently_contacted(self) -> Ints:
        """(O,) 1 where the last contact is still recent at a decision in this open status."""
        statuses = self.open_statuses
        return np.asarray((statuses != IDLE) & (self.age[statuses] < self.recent), np.int64)

    @cached_property
    def after_offer(self) -> Ints:
        """(S, K, 2) status during the step, by status at the decision, arm, and whether it was accepted."""
        after = np.empty((self.n_statuses, self.n_arms, 2), np.int64)
        after[:, 0, :] = np.arange(self.n_statuses)[:, None]
        after[:, 1:, 0] = self.refused_now
        after[:, 1:, 1] = [self.discounted(arm, 0) for arm in range(1, self.n_arms)]
        return after

    @cached_property
    def step_margin(self) -> Floats:
        """(S,) margin less discount that a survivor of the step pays, as a multiple of the monthly price."""
        return (self.margin - self.discount_pct) * self.step_months

    @cached_property
    def step_spend(self) -> Floats:
        """(S,) discount given to a survivor of the step, as a multiple of the monthly price."""
        return self.discount_pct * self.step_months

    @cached_property
    def final_spend(self) -> Floats:
        """(S,) discount still owed to a survivor of the horizon, as a multiple of the monthly price."""
        return self.discount_pct * self.months_owed

    @cached_property
    def final_margin(self) -> Floats:
        """(S,) worth of a survivor of the horizon, as a multiple of the monthly price."""
        return self.margin * (self.value_horizon_months - self.step_months) - self.final_spend

    @cached_property
    def commitment(self) -> Floats:
        """(K,) the most that accepting an arm can cost in discounts, as a multiple of the monthly price."""
        return np.asarray(self.menu, np.float64) * self.discount_months

    def hazard(self, probability: npt.ArrayLike) -> Floats:
        """Hazard of one step from the probability of churn within the label window."""
        p = np.asarray(probability, np.float64)
        return np.asarray(1.0 - (1.0 - p) ** (self.step_months / self.window_months))


@cache
def _fields() -> TypeAdapter[RetentionProcess]:
    """Reads and writes the fields; it takes 2 ms to make."""
    return TypeAdapter(RetentionProcess)
