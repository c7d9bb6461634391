"""From customers to decisions with one loaded release: models, policy, rules, holdout and exploration.

No clock, no web, no log here, and no library that trains.
"""

from __future__ import annotations

import hmac
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from churn_assets.customers.features import FeatureError, RowEncoder
from churn_assets.decision.budget import PRICE_LIMIT, commitments
from churn_assets.decision.process import IDLE, RetentionProcess
from churn_assets.release.derived import Derived
from churn_assets.release.reasons import Reason, reasons

POLICY = "ppo_decision"

Rule = Literal["opted_out", "not_eligible", "discount_running", "cooldown", "cap_reached", "budget"]
"""Why an offer may not be made now; the first that applies."""

Assigned = Literal["policy", "holdout", "exploration", "kill_switch"]
"""Who chose: the policy, or one of the groups and switches that go before it."""


@dataclass(frozen=True, slots=True)
class Contact:
    """The last contact of a customer under this policy.

    Attributes:
        months_ago: Whole months since, at least 0.
        accepted: The offer that was accepted then, as a fraction of the price; None for a refusal or no answer.
    """

    months_ago: int
    accepted: float | None = None


@dataclass(frozen=True, slots=True)
class CustomerInput:
    """One customer to decide for.

    Attributes:
        customer_id: As text; draws holdout and exploration.
        features: Exactly the features of the release's signature: numbers, texts, None for a blank.
        eligible: Offers that may be made, as fractions of the price; None for the whole menu.
        opted_out: May not be contacted.
        last_contact: None where there was none within the process's memory.
        offers_used: Contacts in the running episode; the release's cap counts them.
        prior_offers: Other offers in the recent window, not made under this policy.
    """

    customer_id: str
    features: Mapping[str, float | str | None]
    eligible: Sequence[float] | None = None
    opted_out: bool = False
    last_contact: Contact | None = None
    offers_used: int = 0
    prior_offers: int = 0


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
        exploration_share: Share of customers that get one of their allowed arms, "no contact" included, with equal
            probability.
        kill_switch: No offer to anybody.
    """

    key: bytes
    epoch: str = ""
    holdout_share: float = 0.0
    exploration_share: float = 0.0
    kill_switch: bool = False

    def __post_init__(self) -> None:
        shares = (self.holdout_share, self.exploration_share)
        if not (min(shares) >= 0 and sum(shares) <= 1):
            raise ValueError(
                f"rollout: found shares {shares}, expected two of at least 0 and at most 1 together"
            )
        if not self.key and max(shares):
            raise ValueError("rollout: found no key, expected a secret to draw holdout and exploration with")

    def draw(self, customer_id: str) -> tuple[float, float]:
        """Two independent numbers in [0, 1) for a customer: which group, and which arm if it explores."""
        text = f"{len(self.epoch)}:{self.epoch}{customer_id}".encode("utf-8", "surrogatepass")
        group, which = _TWO_NUMBERS.unpack_from(hmac.digest(self.key, text, "sha256"))
        return (group >> 11) * 2.0**-53, (which >> 11) * 2.0**-53


_TWO_NUMBERS = struct.Struct(">QQ")

NO_ROLLOUT = Rollout(key=b"")
"""Everybody is left to the policy, as in `churn decide`."""


class Offer(NamedTuple):
    """One arm of the menu, for one customer.

    Attributes:
        offer_pct: Fraction of the list price; 0 is no contact.
        forbidden: The rule that forbids it now; None where it may be made.
        acceptance: P(accept); 0 for no contact.
        risk_if_offered: P(churn) within the label window after it; the risk itself for no contact.
        expected_value: What it is expected to add over never contacting, in the currency of the price.
        propensity: P(this arm is decided), over the draw of holdout and exploration.
    """

    offer_pct: float
    forbidden: Rule | None
    acceptance: float
    risk_if_offered: float
    expected_value: float
    propensity: float


class Decision(NamedTuple):
    """What is decided for one customer.

    Attributes:
        customer_id: Who.
        arm: Index into `offers`; 0 is no contact.
        offers: All arms of the menu in order.
        risk: P(churn) within the label window without contact.
        policy_arm: What the policy prefers among the allowed arms, whoever chose in the end.
        assigned: Who chose.
        known: The model outputs were tabled when the release was built.
        delay_months: 0 for an offer now; months until the rules allow the next one where timing forbids it; None
            where no time is set.
        release: The release that decided.
    """

    customer_id: str
    arm: int
    offers: tuple[Offer, ...]
    risk: float
    policy_arm: int
    assigned: Assigned
    known: bool
    delay_months: int | None
    release: str

    @property
    def chosen(self) -> Offer:
        """The arm decided."""
        return self.offers[self.arm]

    @property
    def propensities(self) -> tuple[float, ...]:
        """(K,) of every arm; they add up to 1."""
        return tuple(offer.propensity for offer in self.offers)

    @property
    def retention_probability(self) -> float:
        """P(the customer stays for the label window) given this decision."""
        return 1.0 - self.offers[self.arm].risk_if_offered

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why, the most telling last."""
        by_policy, menu = self.assigned == "policy", self.offers
        rules: list[str] = [] if by_policy else [self.assigned]
        rules += dict.fromkeys(offer.forbidden for offer in menu if offer.forbidden)
        return reasons(
            self.arm,
            self.risk,
            rules,
            [arm for arm, offer in enumerate(menu) if arm and by_policy and offer.forbidden is None],
            [offer.offer_pct for offer in menu],
            [offer.acceptance for offer in menu],
            [offer.risk_if_offered for offer in menu],
            [offer.expected_value for offer in menu],
        )


class CustomerError(ValueError):
    """A customer that nothing can be decided for.

    Attributes:
        index: Position in the batch.
        field: What is wrong: a feature's name, or a field of `CustomerInput`.
        found: The value, as text.
        expected: What is expected.
    """

    def __init__(self, index: int, field: str, found: str, expected: str) -> None:
        self.index, self.field, self.found, self.expected = index, field, found, expected
        super().__init__(f"customer {index}: {field}: found {found}, expected {expected}")


class _Situation(NamedTuple):
    """What the rules say about one customer, before anybody chooses."""

    status: int
    used: int
    forbidden: tuple[Rule | None, ...]
    allowed: list[int]


class DecisionCore:
    """Decides with one release; immutable, so any number of threads may ask.

    Args:
        derived: The release's derived forms.
        release: Its name, for answers.
    """

    def __init__(self, derived: Derived, release: str) -> None:
        self.derived, self.release = derived, release
        self.process: RetentionProcess = derived.process
        self.schema = derived.schema
        self.menu = tuple(float(offer) for offer in self.process.menu)
        self._encoder = RowEncoder(derived.schema)
        self._arms = {offer: arm for arm, offer in enumerate(self.menu)}
        self._free: tuple[Rule | None, ...] = (None,) * len(self.menu)
        self._all = list(range(len(self.menu)))
        self._views: list[int] = self.process.view.tolist()

    def decide(
        self, batch: Sequence[CustomerInput], rollout: Rollout = NO_ROLLOUT, budget: Budget = Budget()
    ) -> list[Decision]:
        """One decision a customer, in order; with no `remaining` budget they do not depend on each other.

        Args:
            batch: m customers.
            rollout: Who is not left to the policy.
            budget: What they share.

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
        rows, situations = self._read(batch)
        prior = [customer.prior_offers for customer in batch]
        outlooks, known = self.derived.outlooks(np.array(rows), prior)
        costs: list[list[float]] | None = None
        if budget.remaining is not None:
            costs = commitments(self.process, outlooks["price"]).tolist()
            situations = [
                self._affordable(situation, cost, budget.remaining)
                for situation, cost in zip(situations, costs, strict=True)
            ]
        status = [situation.status for situation in situations]
        preferred = self.derived.preferred(
            outlooks,
            status,
            [situation.used for situation in situations],
            [situation.allowed for situation in situations],
            budget.price,
        )
        figures = _Figures(
            outlooks["risk"].tolist(),
            outlooks["churn_if_accepted"].tolist(),
            outlooks["churn_if_refused"].tolist(),
            [each[self._views[s]] for each, s in zip(outlooks["acceptance"].tolist(), status, strict=True)],
            [each[self._views[s]] for each, s in zip(outlooks["value"].tolist(), status, strict=True)],
        )
        order = range(len(batch)) if costs is None else _by_value(preferred, figures.value, costs)
        left = math.inf if budget.remaining is None else budget.remaining
        decided: list[Decision | None] = [None] * len(batch)
        for i in order:
            situation = situations[i]
            if costs is not None:
                situation = self._affordable(situation, costs[i], left)
            decision = self._choose(batch[i], situation, preferred[i], figures, i, known[i], rollout)
            if costs is not None:
                left -= costs[i][decision.arm]
            decided[i] = decision
        return [decision for decision in decided if decision is not None]

    def _read(self, batch: Sequence[CustomerInput]) -> tuple[list[list[float]], list[_Situation]]:
        rows, situations = [], []
        for index, customer in enumerate(batch):
            try:
                rows.append(self._encoder.row(customer.features))
            except FeatureError as error:
                raise CustomerError(index, error.feature, error.found, error.expected) from error
            situations.append(self._situation(index, customer))
        return rows, situations

    def _situation(self, index: int, customer: CustomerInput) -> _Situation:
        """What timing, cap, opt-out and eligibility forbid; every rule that must hold whoever chooses."""
        process = self.process
        for field in ("offers_used", "prior_offers"):
            if not 0 <= getattr(customer, field) <= LARGEST_COUNT:
                found = f"{getattr(customer, field)!r:.40}"
                raise CustomerError(index, field, found, f"a whole number from 0 to {LARGEST_COUNT}")
        status = IDLE if customer.last_contact is None else self._status(index, customer.last_contact)
        # A contact that is still remembered was one of the episode's.
        used = min(max(customer.offers_used, int(status != IDLE)), process.max_offers)
        rule: Rule | None = None
        if customer.opted_out:
            rule = "opted_out"
        elif not process.open[status]:
            rule = "discount_running" if process.arm[status] else "cooldown"
        elif used >= process.max_offers:
            rule = "cap_reached"
        if rule is not None:
            return _Situation(status, used, (None, *(rule,) * (len(self.menu) - 1)), [0])
        if customer.eligible is None:
            return _Situation(status, used, self._free, self._all)
        eligible = {self._arm(index, "eligible", offer) for offer in customer.eligible}
        return _situation(
            status, used, [None if arm in eligible else "not_eligible" for arm in range(1, len(self.menu))]
        )

    def _status(self, index: int, contact: Contact) -> int:
        if not 0 <= contact.months_ago <= LARGEST_COUNT:
            found = f"{contact.months_ago!r:.40}"
            raise CustomerError(index, "last_contact", found, f"months from 0 to {LARGEST_COUNT}")
        # Within the month of an offer the next decision is a step away, so its rules apply.
        age = max(contact.months_ago // self.process.step_months, 1)
        if not contact.accepted:
            return self.process.refused(age)
        return self.process.discounted(self._arm(index, "last_contact", contact.accepted), age)

    def _arm(self, index: int, field: str, offer: float) -> int:
        arm = self._arms.get(offer)
        if arm is None:
            raise CustomerError(index, field, f"{offer!r:.40}", f"one of {list(self.menu)}")
        return arm

    def _affordable(self, situation: _Situation, costs: Sequence[float], remaining: float) -> _Situation:
        rules = zip(situation.forbidden[1:], costs[1:], strict=True)
        return _situation(
            situation.status,
            situation.used,
            [rule if rule is not None or cost <= remaining else "budget" for rule, cost in rules],
        )

    def _choose(
        self,
        customer: CustomerInput,
        situation: _Situation,
        preferred: int,
        figures: _Figures,
        i: int,
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
            for each in allowed:
                propensity[each] += explored / len(allowed)
            if held or explored:
                group, which = rollout.draw(customer.customer_id)
                if group < held:
                    assigned, arm = "holdout", 0
                elif group < held + explored:
                    assigned, arm = "exploration", allowed[int(which * len(allowed))]
        risk, accepted, refused = figures.risk[i], figures.accepted[i], figures.refused[i]
        offers = tuple(
            Offer(offer, rule, q, q * accepted + (1 - q) * refused if offer else risk, value, p)
            for offer, rule, q, value, p in zip(
                self.menu, forbidden, figures.acceptance[i], figures.value[i], propensity, strict=True
            )
        )
        delay = (
            0
            if arm
            else self._delay(situation)
            if forbidden[-1] in ("cooldown", "discount_running")
            else None
        )
        return Decision(
            customer.customer_id, arm, offers, risk, preferred, assigned, known, delay, self.release
        )

    def _delay(self, situation: _Situation) -> int:
        """Months until timing permits an offer again."""
        status, months = situation.status, 0
        while not self.process.open[status]:
            status, months = int(self.process.successor[status]), months + self.process.step_months
        return months


LARGEST_COUNT = 1000
"""Of months and of offers: more is a mistake in the caller's units."""


class _Figures(NamedTuple):
    """Model outputs of a batch as Python's own numbers, a customer each."""

    risk: list[float]
    accepted: list[float]
    refused: list[float]
    acceptance: list[list[float]]
    value: list[list[float]]


def _situation(status: int, used: int, rules: Sequence[Rule | None]) -> _Situation:
    """From the rules about offers; no contact is always allowed."""
    return _Situation(
        status, used, (None, *rules), [0, *(arm for arm, rule in enumerate(rules, 1) if rule is None)]
    )


def _by_value(
    preferred: Sequence[int], value: Sequence[Sequence[float]], costs: Sequence[Sequence[float]]
) -> list[int]:
    """Who is served first from a shared budget: the highest value a dollar, as the policy would have it."""

    def priority(i: int) -> float:
        return value[i][preferred[i]] / costs[i][preferred[i]] if preferred[i] else -math.inf

    return sorted(range(len(preferred)), key=priority, reverse=True)
