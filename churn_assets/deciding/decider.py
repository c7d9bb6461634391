"""From customers to decisions with one loaded release: models, policy, rules, holdout and exploration.

The one decider: the server, the command line, reports, gates and simulations ask it. No clock, no web, no log here, and
no library that trains.
"""

from __future__ import annotations

import hmac
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from churn_assets.arms import Arm, Menu
from churn_assets.customers.features import FeatureError, RowEncoder, far_outside
from churn_assets.deciding.exploration import Plausible, TopTwo, drawn_arm
from churn_assets.deciding.outlook import ArmFigures, blocks_dtype, figures
from churn_assets.deciding.reasons import Reason, Told, reasons
from churn_assets.deciding.release_models import Foreseen, ReleaseModels, own_arms
from churn_assets.decision.budget import PRICE_LIMIT
from churn_assets.decision.process import IDLE, Floats, RetentionProcess
from churn_assets.tables.rules import id_fault

POLICY = "ppo_decision"

Rule = Literal["opted_out", "not_eligible", "offer_running", "cooldown", "cap_reached", "budget"]
"""Why an offer may not be made now; the first that applies."""

Assigned = Literal["policy", "holdout", "exploration", "kill_switch", "experiment", "no_offer_model"]
"""Who chose: the policy, or one of the groups and switches that go before it; where no model knows offers, the chance
of a campaign, or nobody."""


@dataclass(frozen=True, slots=True)
class LastContact:
    """The last contact of a customer under this policy.

    Attributes:
        months_ago: Whole months since, at least 0.
        accepted: Id of the arm that was accepted then; None for a refusal or no answer.
    """

    months_ago: int
    accepted: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerInput:
    """One customer to decide for.

    Attributes:
        customer_id: As text; draws holdout and exploration.
        features: Exactly the features of the release's signature: numbers, texts, None for a blank.
        eligible: Ids of the arms that may be offered; None for all whose own conditions the customer keeps.
        opted_out: May not be contacted.
        last_contact: None where there was none within the process's memory.
        offers_used: Contacts in the running episode; the release's cap counts them.
        offers_accepted: How many of them were accepted, an accepted last contact at least.
        prior_offers: Other offers in the recent window, not made under this policy.
        stopped: Ids of arms that limits or caps stop, each with the rule; None for none.
    """

    customer_id: str
    features: Mapping[str, float | str | None]
    eligible: Sequence[str] | None = None
    opted_out: bool = False
    last_contact: LastContact | None = None
    offers_used: int = 0
    offers_accepted: int = 0
    prior_offers: int = 0
    stopped: Mapping[str, Rule] | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What all customers of one call share.

    Attributes:
        price: λ, what a dollar of spend is priced at; 0 where the budget is no concern.
        remaining: Money neither spent nor reserved, in the currency of the price; None for no cap. Offers are
            reserved at the most they can cost, the highest value a dollar first, as in `decision.budget`.
    """

    price: float = 0.0
    remaining: float | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """Who is not left to the policy.

    Attributes:
        key: Secret of the keyed hash that draws both groups.
        epoch: Another text draws them anew.
        holdout_share: Share of customers that are never contacted.
        exploration_share: Share of customers that get one of their allowed arms, "no contact" included, by chance.
        kill_switch: No offer to anybody.
        plausible: How likely each arm is for those who explore; None: all alike.
        top_two: The same, by what the log leaves open; in place of `plausible`.
    """

    key: bytes
    epoch: str = ""
    holdout_share: float = 0.0
    exploration_share: float = 0.0
    kill_switch: bool = False
    plausible: Plausible | None = None
    top_two: TopTwo | None = None

    def __post_init__(self) -> None:
        shares = (self.holdout_share, self.exploration_share)
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(
                f"rollout: found shares {shares}, expected two of at least 0 and at most 1 together"
            )
        if not self.key and max(shares):
            raise ValueError("rollout: found no key, expected a secret to draw holdout and exploration with")

    def shares(self, values: Sequence[float], best: Sequence[float]) -> list[float]:
        """How likely each allowed arm of a customer who explores is.

        Args:
            values: What each is expected to be worth.
            best: As of `outlook_dtype`.
        """
        if not self.exploration_share:
            return [0.0] * len(values)
        if self.top_two is not None:
            return self.top_two.shares(best)
        return [1 / len(values)] * len(values) if self.plausible is None else self.plausible.shares(values)

    def draw(self, customer_id: str) -> tuple[float, float]:
        """Two independent numbers in [0, 1) for a customer: which group, and which arm if it explores."""
        text = f"{len(self.epoch)}:{self.epoch}{customer_id}".encode("utf-8", "surrogatepass")
        group, which = _TWO_NUMBERS.unpack_from(hmac.digest(self.key, text, "sha256"))
        return (group >> 11) * 2.0**-53, (which >> 11) * 2.0**-53


_TWO_NUMBERS = struct.Struct(">QQ")

NO_ROLLOUT = Rollout(key=b"")
"""Everybody is left to the policy, as in `churn decide`."""


class ArmOutlook(NamedTuple):
    """One arm of the menu, for one customer.

    Attributes:
        arm: The arm.
        forbidden: The rule that forbids it now; None where it may be made.
        acceptance: P(accept); 0 for no contact.
        risk_if_offered: P(churn) within the label window after it; the risk itself for no contact.
        expected_value: What it is expected to add over never contacting, in the currency of the price: projected over
            the horizon, at the frailty that the policy was trained for.
        value_low: The least of it over the band of projections; never above `value_high`.
        value_high: The most.
        window_value: What it adds by what happens in the label window alone, which a log can show.
        propensity: P(this arm is decided), over the draw of holdout and exploration.
    """

    arm: Arm
    forbidden: Rule | None
    acceptance: float
    risk_if_offered: float
    expected_value: float
    value_low: float
    value_high: float
    window_value: float
    propensity: float


class Driver(NamedTuple):
    """A feature, and by how much it alone makes the risk another one than if it were as most customers have it."""

    feature: str
    change: float


class Decision(NamedTuple):
    """What is decided for one customer.

    Attributes:
        customer_id: Who.
        arm: Index into `arms`; 0 is no contact.
        arms: All arms of the menu in order.
        cost: The most that the arm decided can cost for this customer, its contact among it.
        risk: P(churn) within the label window without contact.
        policy_arm: What the policy prefers among the allowed arms, whoever chose in the end.
        assigned: Who chose.
        known: The model outputs were tabled when the release was built.
        delay_months: 0 for an offer now; months until the rules allow the next one where timing forbids it; None
            where no time is set.
        release: The release that decided.
        drivers: Of the risk, the strongest first, where the release tells nothing but the risk.
    """

    customer_id: str
    arm: int
    arms: tuple[ArmOutlook, ...]
    cost: float
    risk: float
    policy_arm: int
    assigned: Assigned
    known: bool
    delay_months: int | None
    release: str
    drivers: tuple[Driver, ...] = ()

    @property
    def chosen(self) -> ArmOutlook:
        """The arm decided."""
        return self.arms[self.arm]

    @property
    def propensities(self) -> tuple[float, ...]:
        """(K,) of every arm; they add up to 1."""
        return tuple(each.propensity for each in self.arms)

    @property
    def retention_probability(self) -> float:
        """P(the customer stays for the label window) given this decision."""
        return 1.0 - self.arms[self.arm].risk_if_offered

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why, the most telling last."""
        by_policy, menu = self.assigned == "policy", self.arms
        rules: list[str] = [] if by_policy else [self.assigned]
        rules += dict.fromkeys(each.forbidden for each in menu if each.forbidden)
        return reasons(
            0 if self.assigned == "experiment" else self.arm,  # of whose arms nothing is known
            self.risk,
            rules,
            [arm for arm, each in enumerate(menu) if arm and by_policy and each.forbidden is None],
            [each.arm.id for each in menu],
            [each.acceptance for each in menu],
            [each.risk_if_offered for each in menu],
            [each.expected_value for each in menu],
        )


class CustomerError(ValueError):
    """A customer that nothing can be decided for. Its text says no value: it may reach a log.

    Attributes:
        index: Position in the batch.
        field: What is wrong: a feature's name, or a field of `CustomerInput`.
        found: The value, as text.
        expected: What is expected.
    """

    def __init__(self, index: int, field: str, found: str, expected: str) -> None:
        self.index, self.field, self.found, self.expected = index, field, found, expected
        super().__init__(f"customer {index}: {field}: expected {expected}")


class _Situation(NamedTuple):
    """What the rules say about one customer, before anybody chooses."""

    state: int
    past: int
    forbidden: tuple[Rule | None, ...]
    allowed: list[int]


class Decider:
    """Decides with one release; immutable, so any number of threads may ask.

    Args:
        models: What the release decides with.
        release: Its name, for answers.
    """

    policy = POLICY

    def __init__(self, models: ReleaseModels, release: str) -> None:
        self.models, self.release = models, release
        self.process: RetentionProcess = models.process
        self.schema = models.schema
        self.menu: Menu = self.process.menu
        outcome = self.process.outcome
        self.window_months = models.schema.label_window_months if outcome else self.process.window_months
        self.told = Told(
            self.window_months, outcome, self.process.outcome_unit, models.responses.accept.asked
        )
        self._encoder = RowEncoder(models.schema)
        self._free: tuple[Rule | None, ...] = (None,) * len(self.menu)
        self._all = list(range(len(self.menu)))
        self._conditional = any(arm.eligible for arm in self.menu)
        self._views: list[int] = self.process.view.tolist()
        counts = range(self.process.max_offers + 1)
        self._pasts: list[list[int]] = [self.process.past(used, counts).tolist() for used in counts]
        self._blocks = blocks_dtype(models.known.outlooks.dtype)
        self._reach = np.transpose([feature.far for feature in models.schema.features])
        self._open: list[bool] = self.process.open.tolist()
        self._running: list[bool] = self.process.running.tolist()

    def decide(
        self,
        batch: Sequence[CustomerInput],
        rollout: Rollout = NO_ROLLOUT,
        budget: Budget = Budget(),
        foreseen: Foreseen | None = None,
    ) -> list[Decision]:
        """One decision a customer, in order; with no `remaining` budget they do not depend on each other.

        Args:
            batch: m customers.
            rollout: Who is not left to the policy.
            budget: What they share.
            foreseen: What the models say of them, as of `foresee`; None: not asked yet.

        Raises:
            CustomerError: A customer is not as the release's signature says; nothing was decided for anybody.
            ValueError: The budget's price or remainder is out of its range.
        """
        if not 0 <= budget.price <= PRICE_LIMIT:
            raise ValueError(f"budget: found a price of {budget.price}, expected 0 to {PRICE_LIMIT:g}")
        if budget.remaining is not None and not 0 <= budget.remaining < math.inf:
            raise ValueError(
                f"budget: found {budget.remaining} remaining, expected a finite amount of at least 0"
            )
        if not batch:
            return []
        found, known = self.foresee(batch, self.encoded(batch)) if foreseen is None else foreseen
        own = own_arms(found) if self._conditional else [self._all] * len(batch)
        situations = [
            self._situation(index, customer, arms)
            for index, (customer, arms) in enumerate(zip(batch, own, strict=True))
        ]
        states = [situation.state for situation in situations]
        told = figures(found, [self._views[state] for state in states], self._blocks)
        limited = budget.remaining is not None
        if budget.remaining is not None:
            situations = [
                self._affordable(situation, each.cost, budget.remaining)
                for situation, each in zip(situations, told, strict=True)
            ]
        preferred = self.models.preferred(
            found,
            states,
            [situation.past for situation in situations],
            [situation.allowed for situation in situations],
            budget.price,
        )
        order = _by_value(preferred, told) if limited else range(len(batch))
        left = math.inf if budget.remaining is None else budget.remaining
        decided: list[Decision | None] = [None] * len(batch)
        for i in order:
            situation = situations[i]
            if limited:
                situation = self._affordable(situation, told[i].cost, left)
            decision = self._choose(batch[i], situation, preferred[i], told[i], known[i], rollout)
            left -= decision.cost
            decided[i] = decision
        return [decision for decision in decided if decision is not None]

    def faults(self, batch: Sequence[CustomerInput]) -> dict[int, CustomerError]:
        """For whom nothing can be decided, by position, and what is wrong first."""
        found = {}
        for index, customer in enumerate(batch):
            try:
                self._row(index, customer)
                self._situation(index, customer, self._all)
            except CustomerError as error:
                found[index] = error
        return found

    def outside(self, rows: Floats) -> dict[str, int]:
        """How many customers (m, F), as of `encoded`, lie far outside of what was learned, by feature."""
        lowest, highest = self._reach
        if not ((rows < lowest) | (rows > highest)).any():
            return {}
        return far_outside(rows, self.schema)

    def foresee(self, batch: Sequence[CustomerInput], rows: Floats) -> Foreseen:
        """What the models say of customers, and which of them the release knows.

        Args:
            batch: m customers.
            rows: (m, F) of them, as of `encoded`.
        """
        return self.models.outlooks(rows, [customer.prior_offers for customer in batch])

    def encoded(self, batch: Sequence[CustomerInput]) -> Floats:
        """(m, F) rows of the design matrix.

        Raises:
            CustomerError: A customer is not as the release's signature says.
        """
        return np.array([self._row(index, customer) for index, customer in enumerate(batch)])

    def _row(self, index: int, customer: CustomerInput) -> list[float]:
        return encoded_row(self._encoder, index, customer)

    def _situation(self, index: int, customer: CustomerInput, own: list[int]) -> _Situation:
        """What timing, cap, opt-out and eligibility forbid; every rule that must hold whoever chooses.

        Args:
            index: Position in the batch.
            customer: Who.
            own: Arms whose conditions the customer keeps.
        """
        process = self.process
        state = IDLE if customer.last_contact is None else self._state(index, customer.last_contact)
        # A contact that is still remembered was one of the episode's.
        used = min(max(customer.offers_used, int(state != IDLE)), process.max_offers)
        taken = customer.last_contact is not None and customer.last_contact.accepted is not None
        past = self._pasts[used][min(max(customer.offers_accepted, int(taken)), used)]
        rule: Rule | None = None
        if customer.opted_out:
            rule = "opted_out"
        elif not self._open[state]:
            rule = "offer_running" if self._running[state] else "cooldown"
        elif used >= process.max_offers:
            rule = "cap_reached"
        if customer.eligible is not None:
            asked = {self._arm(index, "eligible", arm) for arm in customer.eligible}
            own = [arm for arm in own if arm == 0 or arm in asked]
        if rule is not None:
            return _Situation(state, past, (None, *(rule,) * (len(self.menu) - 1)), [0])
        if len(own) == len(self.menu) and not customer.stopped:
            return _Situation(state, past, self._free, self._all)
        stopped, ids = customer.stopped or {}, self.menu.ids
        return _situation(
            state, past, [stopped.get(ids[arm]) if arm in own else "not_eligible" for arm in self._all[1:]]
        )

    def _state(self, index: int, contact: LastContact) -> int:
        if not 0 <= contact.months_ago <= LARGEST_COUNT:
            found = f"{contact.months_ago!r:.40}"
            raise CustomerError(index, "last_contact", found, f"months from 0 to {LARGEST_COUNT}")
        # Within the month of an offer the next decision is a step away, so its rules apply.
        age = max(contact.months_ago // self.process.step_months, 1)
        if contact.accepted is None:
            return self.process.contacted(age)
        accepted = self._arm(index, "last_contact", contact.accepted)
        if not accepted:
            expected = f"one of {', '.join(self.menu.ids[1:])}, or null for a refusal or no answer"
            raise CustomerError(index, "last_contact", f"{contact.accepted!r} as accepted", expected)
        return self.process.accepted(accepted, age)

    def _arm(self, index: int, field: str, arm: str) -> int:
        found = self.menu.position.get(arm)
        if found is None:
            raise CustomerError(index, field, f"{arm!r:.80}", f"one of {', '.join(self.menu.ids)}")
        return found

    def _affordable(self, situation: _Situation, costs: Sequence[float], remaining: float) -> _Situation:
        rules = zip(situation.forbidden[1:], costs[1:], strict=True)
        return _situation(
            situation.state,
            situation.past,
            [rule if rule is not None or cost <= remaining else "budget" for rule, cost in rules],
        )

    def _choose(
        self,
        customer: CustomerInput,
        situation: _Situation,
        preferred: int,
        told: ArmFigures,
        known: bool,
        rollout: Rollout,
    ) -> Decision:
        forbidden = situation.forbidden
        if forbidden[preferred] is not None:  # the budget ran out since the policy was asked
            preferred = 0
        allowed = situation.allowed
        assigned: Assigned = "policy"
        arm = preferred
        propensity = [0.0] * len(forbidden)
        if rollout.kill_switch:
            assigned, arm = "kill_switch", 0
            propensity[0] = 1.0
        else:
            held, explored = rollout.holdout_share, rollout.exploration_share
            propensity[preferred] = 1.0 - held - explored
            propensity[0] += held
            shares = rollout.shares(
                [told.value[each] for each in allowed], [told.best[each] for each in allowed]
            )
            for each, share in zip(allowed, shares, strict=True):
                propensity[each] += explored * share
            if held or explored:
                group, which = rollout.draw(customer.customer_id)
                if group < held:
                    assigned, arm = "holdout", 0
                elif group < held + explored:
                    assigned, arm = "exploration", allowed[drawn_arm(shares, which)]
        arms = tuple(map(ArmOutlook, self.menu, forbidden, *told[1:-2], propensity))
        delay = (
            0 if arm else self._delay(situation) if forbidden[-1] in ("cooldown", "offer_running") else None
        )
        return Decision(
            customer.customer_id,
            arm,
            arms,
            told.cost[arm],
            told.risk,
            preferred,
            assigned,
            known,
            delay,
            self.release,
        )

    def _delay(self, situation: _Situation) -> int:
        """Months until timing permits an offer again."""
        state, months = situation.state, 0
        while not self._open[state]:
            state, months = int(self.process.successor[state]), months + self.process.step_months
        return months


def encoded_row(encoder: RowEncoder, index: int, customer: CustomerInput) -> list[float]:
    """One row of the design matrix.

    Args:
        encoder: Of the release's signature.
        index: Position in the batch.
        customer: Who.

    Raises:
        CustomerError: The customer is not as the signature says.
    """
    if (expected := id_fault(customer.customer_id)) is not None:
        raise CustomerError(index, "customer_id", "a text that names no customer", expected)
    for field in ("offers_used", "offers_accepted", "prior_offers"):
        if not 0 <= getattr(customer, field) <= LARGEST_COUNT:
            found = f"{getattr(customer, field)!r:.40}"
            raise CustomerError(index, field, found, f"a whole number from 0 to {LARGEST_COUNT}")
    if customer.offers_accepted > customer.offers_used:
        found = f"{customer.offers_accepted} of {customer.offers_used} offers used"
        raise CustomerError(index, "offers_accepted", found, "at most offers_used")
    try:
        return encoder.row(customer.features)
    except FeatureError as error:
        raise CustomerError(index, error.feature, error.found, error.expected) from None


LARGEST_COUNT = 1000
"""Of months and of offers: more is a mistake in the caller's units."""


def _situation(state: int, past: int, rules: Sequence[Rule | None]) -> _Situation:
    """From the rules about offers; no contact is always allowed."""
    return _Situation(
        state, past, (None, *rules), [0, *(arm for arm, rule in enumerate(rules, 1) if rule is None)]
    )


def _by_value(preferred: Sequence[int], told: Sequence[ArmFigures]) -> list[int]:
    """Who is served first from a shared budget: what costs nothing, then the highest value for money."""

    def priority(i: int) -> float:
        if not preferred[i]:
            return -math.inf
        value, cost = told[i].value[preferred[i]], told[i].cost[preferred[i]]
        return value / cost if cost > 0 else math.inf

    return sorted(range(len(preferred)), key=priority, reverse=True)
