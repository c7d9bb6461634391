"""The retention process in numbers: states, their successors, hazards, rewards and rules.

Every consumer (environment, exact optimum, observation, budget) reads the same index maps; no customer data
here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, PlainSerializer, PlainValidator, TypeAdapter

from churn_assets.arms import Menu
from churn_assets.decision.hidden import HiddenTypes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.arms import ArmConfig
    from churn_assets.decision.config import PpoDecisionConfig
    from churn_assets.offers.economics import Economics
    from churn_assets.response.persistence import Persistence

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

IDLE = 0
BASE = 0
"""Kind of the hazard without contact; behind it those of each arm once accepted, then of each once refused."""


def _as_menu(found: Any) -> Menu:
    return found if isinstance(found, Menu) else Menu.from_json(found)


StoredMenu = Annotated[Menu, PlainValidator(_as_menu), PlainSerializer(Menu.to_json)]
"""A menu that is written as the list of its arms."""


class Projection(NamedTuple):
    """How customers go on after a label window.

    Attributes:
        frailty: Standard deviation of what no feature shows, on the logit of the risk.
        effect_decay: Share of the customers whom a contact kept who leave after the window.
    """

    frailty: float = 0.0
    effect_decay: float = 0.0


@dataclass(frozen=True)
class RetentionProcess:
    """One customer's months under a retention policy.

    A *state* is one integer: 0 idle; arm k refused, or accepted, `age` steps ago; or contacted `age` steps ago with
    nothing of it left but that it is recent. Ages run from 0, the step of the contact itself, so that the state
    *during* a step and the state *at* a decision (age ≥ 1, or idle) share one numbering.

    The effect of a contact is on churn within the label window, so that during it no other is made; nor while a benefit
    runs. During a step of that window the hazard of churn is that of the arm as it was answered, then the customer's
    own risk applies again. A customer who survives the step pays; one who survives the horizon is worth the rest of the
    value horizon, less what is still owed of a benefit. What an arm gives at once is paid for when it is accepted.
    Customer value, spend and rewards are in the price's currency.

    Args:
        menu: what may be offered; K arms, the first no contact.
        horizon: steps of an episode, T.
        step_months: months a step.
        window_months: label window of the churn probabilities.
        cooldown_months: months after a contact without another one; the label window at least.
        recent_window_months: how long a contact counts as recent for acceptance.
        max_offers: contacts allowed an episode.
        discount_factor: of one step, γ.
        margin: contribution margin as a fraction of the price.
        value_horizon_months: months of margin that a customer retained now is worth.
        frailty: what no feature shows of the risk, as a standard deviation on its logit: what values are projected at.
        frailty_band: the least and the most that it may be.
        effect_decay: share of the customers whom a contact kept who leave after the label window: what values are
            projected at.
        effect_decay_band: the least and the most that it may be.
        taste: the same of the acceptance.
        outcome: what the value is of where that is not who stays: "churn" is then the share of it that is missed in the
            one step that there is; empty otherwise.
        outcome_unit: the largest outcome, in its own unit.

    Raises:
        ValueError: a duration that the states cannot represent.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    menu: StoredMenu
    horizon: int
    step_months: int
    window_months: float
    cooldown_months: int
    recent_window_months: int
    max_offers: int
    discount_factor: float
    margin: float
    value_horizon_months: int
    frailty: float = 0.0
    frailty_band: tuple[float, float] = (0.0, 0.0)
    effect_decay: float = 0.0
    effect_decay_band: tuple[float, float] = (0.0, 0.0)
    taste: float = 0.0
    outcome: str = ""
    outcome_unit: float = 1.0

    def __post_init__(self) -> None:
        for arm in self.menu:
            if arm.months % self.step_months:
                msg = f"arm {arm.id} runs {arm.months} months: expected a multiple of step_months {self.step_months}"
                raise ValueError(msg)
        if self.window_months <= 0:
            msg = f"window_months is {self.window_months}: expected more than 0"
            raise ValueError(msg)
        if self.cooldown < self.window:
            msg = (
                f"cooldown_months is {self.cooldown_months}, within the label window of {self.window_months:g} months: "
                "no log tells the effect of a contact within the window of another one; expected at least "
                f"{math.ceil(self.window_months)}"
            )
            raise ValueError(msg)
        if self.recent > 2 * self.cooldown:
            msg = f"cooldown_months is {self.cooldown_months}: two contacts could be recent at once"
            raise ValueError(msg)
        if self.value_horizon_months < self.step_months:
            msg = f"value_horizon_months is {self.value_horizon_months}: expected at least one step"
            raise ValueError(msg)

    @classmethod
    def build(
        cls,
        config: PpoDecisionConfig,
        economics: Economics,
        window_months: float,
        arms: Sequence[ArmConfig] = (),
        persistence: Persistence | None = None,
        logged: Menu | None = None,
    ) -> RetentionProcess:
        """The process of an experiment.

        Args:
            config: menu and rules.
            economics: money, and what shorthand percents mean.
            window_months: the customers' label window.
            arms: the arms that the experiment declares.
            persistence: frailty and decay of effects as the log shows them; None: as configured.
            logged: the log's arms: an arm has the conditions under which it was possible there, beside its own.

        Raises:
            ArmError: the menu names an arm that is not there.
            ValueError: a duration that the states cannot represent.
        """
        from churn_assets.offers.economics import catalogue

        hidden, outcome = config.hidden, economics.outcome
        if outcome is not None:
            window_months = config.step_months  # its window is the one step
        menu = catalogue(arms, economics).menu(config.menu)
        return cls(
            menu=menu if logged is None else menu.limited_as(logged),
            horizon=config.episode_length,
            step_months=config.step_months,
            window_months=window_months,
            cooldown_months=config.cooldown(window_months),
            recent_window_months=config.recent_window_months,
            max_offers=config.max_offers,
            discount_factor=config.discount_factor,
            margin=economics.margin,
            value_horizon_months=economics.value_horizon_months,
            frailty=hidden.frailty if persistence is None else persistence.frailty.estimate,
            frailty_band=hidden.frailty_band if persistence is None else persistence.frailty.ends,
            effect_decay=hidden.effect_decay if persistence is None else persistence.decay.estimate,
            effect_decay_band=hidden.effect_decay_band if persistence is None else persistence.decay.ends,
            taste=config.hidden.taste,
            outcome="" if outcome is None else outcome.column,
            outcome_unit=1.0 if outcome is None else outcome.unit,
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; equal processes give equal JSON, whether a whole number was written as 3 or 3.0."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return dict(_fields().dump_python(_fields().validate_python(plain), mode="json"))

    @property
    def types(self) -> HiddenTypes:
        """What no feature shows of customers."""
        return HiddenTypes(self.frailty, self.taste)

    @cached_property
    def projections(self) -> tuple[Projection, ...]:
        """What values are projected at, then the most hopeful and the most cautious, if there is a band."""
        ends = [Projection(*each) for each in zip(self.frailty_band, self.effect_decay_band, strict=True)]
        used = Projection(self.frailty, self.effect_decay)
        return (used, *ends) if ends[0] != ends[1] else (used,)

    def at(self, projection: Projection) -> RetentionProcess:
        """The same, projected otherwise."""
        return replace(self, frailty=projection.frailty, effect_decay=projection.effect_decay)

    @cached_property
    def rules(self) -> RetentionProcess:
        """The same without what is estimated or assumed of customers: what every policy has to keep to."""
        alike: dict[str, Any] = dict.fromkeys(("frailty", "effect_decay", "taste"), 0.0)
        return replace(self, **alike, frailty_band=(0.0, 0.0), effect_decay_band=(0.0, 0.0))

    @cached_property
    def of_one_type(self) -> RetentionProcess:
        """The same for customers of whom nothing is hidden."""
        return replace(self, frailty=0.0, frailty_band=(0.0, 0.0), taste=0.0)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> RetentionProcess:
        """Inverse of `to_json`; ValueError names a field that is missing, unknown or of another type."""
        return _fields().validate_python(stored)

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
    def memory(self) -> int:
        """Steps after which a contact is forgotten of which nothing runs any more."""
        return max(self.cooldown, self.recent)

    @cached_property
    def running_steps(self) -> Ints:
        """(K,) steps that an accepted benefit runs."""
        return np.array([self._steps(arm.months) for arm in self.menu], np.int64)

    @cached_property
    def accepted_steps(self) -> Ints:
        """(K,) steps for which it matters which arm was accepted; 0 for no contact."""
        steps = np.maximum(self.running_steps, self.window)
        steps[0] = 0
        return steps

    @cached_property
    def months_in_window(self) -> tuple[Ints, Ints]:
        """(window, K - 1) months of each arm's benefit that a step of that age gives, and that its start owes."""
        left = np.maximum(self.running_steps[1:] - np.arange(self.window)[:, None], 0)
        return (left > 0) * self.step_months, left * self.step_months

    @cached_property
    def _first_states(self) -> tuple[int, Ints, Ints]:
        """Where the states begin that a contact leaves, and (K,) those of each arm refused and accepted just now."""
        refused = 1 + self.memory - self.window + self.window * (np.arange(self.n_arms) - 1)
        accepted = 1 + self.memory + self.window * (self.n_arms - 2) + self.accepted_steps.cumsum()
        return 1 - self.window, refused, accepted - self.accepted_steps

    @cached_property
    def n_states(self) -> int:
        return 1 + self.memory + self.window * (self.n_arms - 2) + int(self.accepted_steps.sum())

    def contacted(self, age: int) -> int:
        """State at a decision `age` steps after a contact of which only that it is recent is left, idle once forgotten.

        Within the label window it is that after a refusal: no decision depends on whose.
        """
        if age >= self.memory:
            return IDLE
        return self._first_states[0] + age if age >= self.window else self.refused(1, age)

    def refused(self, arm: int, age: int) -> int:
        """State after an arm was refused `age` steps ago, idle once forgotten."""
        self._check_arm(arm)
        return int(self._first_states[1][arm]) + age if age < self.window else self.contacted(age)

    def accepted(self, arm: int, age: int) -> int:
        """State after an arm was accepted `age` steps ago, idle once forgotten."""
        self._check_arm(arm)
        first = self._first_states[2]
        return int(first[arm]) + age if age < self.accepted_steps[arm] else self.contacted(age)

    def _check_arm(self, arm: int) -> None:
        if not 1 <= arm < self.n_arms:
            msg = f"arm {arm}: what is answered has an arm from 1 to {self.n_arms - 1}"
            raise ValueError(msg)

    @cached_property
    def age(self) -> Ints:
        """(S,) steps since the contact; 0 where idle."""
        refused = [np.arange(self.window)] * (self.n_arms - 1)
        accepted = [np.arange(steps) for steps in self.accepted_steps[1:]]
        left = np.arange(self.window, self.memory)
        return np.concatenate([[0], left, *refused, *accepted]).astype(np.int64)

    @cached_property
    def arm(self) -> Ints:
        """(S,) arm that was accepted, 0 for none."""
        accepted = np.repeat(np.arange(self.n_arms), self.accepted_steps)
        return np.concatenate([np.zeros(self.n_states - len(accepted), np.int64), accepted])

    @cached_property
    def running(self) -> Bools:
        """(S,) whether a benefit runs during a step in this state."""
        return np.asarray((self.arm > 0) & (self.age < self.running_steps[self.arm]))

    @cached_property
    def months_owed(self) -> Ints:
        """(S,) months of a benefit still owed at a decision in this state."""
        left = (self.running_steps[self.arm] - self.age) * self.step_months
        return np.where(self.running, left, 0)

    @cached_property
    def months_since_contact(self) -> Ints:
        """(S,) months since the last contact, saturating at the memory; idle counts as forgotten."""
        contacted = np.arange(self.n_states) != IDLE
        return np.where(contacted, np.minimum(self.age, self.memory), self.memory) * self.step_months

    @cached_property
    def successor(self) -> Ints:
        """(S,) state at the next decision after a survived step in this state."""
        after = [IDLE, *(self.contacted(age + 1) for age in range(self.window, self.memory))]
        for arm in range(1, self.n_arms):
            after += [self.refused(arm, age + 1) for age in range(self.window)]
        for arm in range(1, self.n_arms):
            after += [self.accepted(arm, age + 1) for age in range(self.accepted_steps[arm])]
        return np.array(after, np.int64)

    @property
    def n_hazards(self) -> int:
        """Kinds of hazard: without contact, of each arm accepted, of each arm refused."""
        return 2 * self.n_arms - 1

    @cached_property
    def hazard_kind(self) -> Ints:
        """(S,) which hazard applies during a step in this state: `BASE`, k for arm k accepted, K - 1 + k if refused."""
        left = self.memory - self.window
        refused = np.repeat(np.arange(1, self.n_arms), self.window) + self.n_arms - 1
        kind = np.concatenate([np.full(1 + left, BASE), refused, self.arm[1 + left + len(refused) :]])
        kind[self.age >= self.window] = BASE
        return kind

    @cached_property
    def pasts(self) -> Ints:
        """(P, 2) offers used, rising, and how many of them were accepted; the latter is 0 where no taste is hidden."""
        counts = range(self.max_offers + 1)
        accepted = [range(used + 1) if self.taste else range(1) for used in counts]
        return np.array([(used, each) for used in counts for each in accepted[used]], np.int64)

    @cached_property
    def open_pasts(self) -> int:
        """How many of the pasts, the first, leave an offer to be made."""
        return int((self.pasts[:, 0] < self.max_offers).sum())

    def past(self, used: npt.ArrayLike, accepted: npt.ArrayLike) -> Ints:
        """Index into `pasts` of counts that may exceed what is told apart."""
        first, taken = np.broadcast_arrays(np.minimum(np.asarray(used, np.int64), self.max_offers), accepted)
        return first * (first + 1) // 2 + np.minimum(taken, first) if self.taste else first

    @cached_property
    def past_after(self) -> Ints:
        """(P, 2) past after one more offer was refused or accepted."""
        used, accepted = self.pasts.T[:, :, None]
        after = self.past(used + 1, accepted + np.arange(2)).copy()
        spent = self.pasts[:, 0] == self.max_offers
        after[spent] = np.flatnonzero(spent)[:, None]
        return after

    @cached_property
    def leaving(self) -> Ints:
        """(S,) hazard kind in the last step of a label window, after which kept customers may leave; else `BASE`."""
        return np.where(self.age == self.window - 1, self.hazard_kind, BASE)

    @cached_property
    def open(self) -> Bools:
        """(S,) whether an offer may be made at a decision in this state, as far as timing goes."""
        open_ = ~self.running & (self.age >= self.cooldown)
        open_[IDLE] = True
        return np.asarray(open_)

    @cached_property
    def open_states(self) -> Ints:
        """(O,) states in which an offer may be made, idle first."""
        return np.flatnonzero(self.open)

    @cached_property
    def until_open(self) -> Ints:
        """(2, S) steps from each state to the next open one if nobody is contacted, and its place in `open_states`."""
        after, steps = self.successor, np.ones(self.n_states, np.int64)
        while not self.open[after].all():
            closed = ~self.open[after]
            after = np.where(closed, self.successor[after], after)
            steps += closed
        return np.stack([steps, np.searchsorted(self.open_states, after)])

    @cached_property
    def recent_at(self) -> Ints:
        """(V,) 0, and 1 where an offer may be made while the last contact is recent: what acceptance depends on."""
        return np.arange(2 if self.recent > self.cooldown else 1)

    @cached_property
    def shown_at(self) -> Ints:
        """(V,) an open state of each view."""
        return np.array([self.open_states[self.view[self.open_states] == each][0] for each in self.recent_at])

    @cached_property
    def view(self) -> Ints:
        """(S,) index into `recent_at`: whose acceptance and gains an observation shows.

        A state that is closed shows those of the first open one that follows it.
        """
        shown = np.empty(self.n_states, np.int64)
        for state in range(self.n_states):
            following = state
            while not self.open[following]:
                following = int(self.successor[following])
            shown[state] = following != IDLE and self.age[following] < self.recent
        return shown

    @cached_property
    def after_offer(self) -> Ints:
        """(S, K, 2) state during the step, by state at the decision, arm, and whether it was accepted."""
        after = np.empty((self.n_states, self.n_arms, 2), np.int64)
        after[:, 0, :] = np.arange(self.n_states)[:, None]
        _, refused, accepted = self._first_states
        after[:, 1:, 0], after[:, 1:, 1] = refused[1:], accepted[1:]
        return after

    def spend(self, price: npt.ArrayLike) -> Floats:
        """(S, n) money given to a survivor of a step in each state, to customers at (n,) prices a month."""
        given = self.menu.monthly(price).T[self.arm]
        given[~self.running] = 0.0
        return np.asarray(given * self.step_months)

    def owed(self, price: npt.ArrayLike) -> Floats:
        """(S, n) money still owed to a survivor of the horizon."""
        return np.asarray(self.menu.monthly(price).T[self.arm] * self.months_owed[:, None])

    def step_worth(self, price: npt.ArrayLike) -> Floats:
        """(S, n) margin less what is given, of a survivor of the step."""
        return self.margin * self.step_months * np.asarray(price, np.float64) - self.spend(price)

    def final_worth(self, price: npt.ArrayLike) -> Floats:
        """(S, n) worth of a survivor of the horizon."""
        rest = self.margin * (self.value_horizon_months - self.step_months)
        return rest * np.asarray(price, np.float64) - self.owed(price)

    def commitments(self, price: npt.ArrayLike) -> Floats:
        """(n, K) the most that offering an arm can cost, its contact among it; 0 for no contact."""
        return self.menu.commitment(price) + self.menu.contact_cost

    def hazard(self, probability: npt.ArrayLike) -> Floats:
        """Hazard of one step from the probability of churn within the label window."""
        p = np.asarray(probability, np.float64)
        return np.asarray(1.0 - (1.0 - p) ** (self.step_months / self.window_months))


@cache
def _fields() -> TypeAdapter[RetentionProcess]:
    """Reads and writes the fields; it takes 2 ms to make."""
    return TypeAdapter(RetentionProcess)
