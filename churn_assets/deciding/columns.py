"""First contacts of many customers decided at once, as columns: what `Decider.decide` says of each, to the last bit.

A table knows no earlier contact under this policy, so every customer stands at the process's first step. No clock, no
table and no log here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import get_args

import numpy as np

from churn_assets.arms import Menu
from churn_assets.deciding.decider import NO_ROLLOUT, Assigned, Decider, Rollout, Rule
from churn_assets.deciding.outlook import Outlooks
from churn_assets.deciding.reasons import Reason, Told, template
from churn_assets.decision.budget import PRICE_LIMIT
from churn_assets.decision.process import IDLE, Bools, Floats, Ints

RULES: tuple[Rule, ...] = get_args(Rule)
"""Names of the codes of `DecisionColumns.forbidden`, from 1."""
ASSIGNED: tuple[Assigned, ...] = get_args(Assigned)
"""Names of the codes of `DecisionColumns.assigned`."""
POLICY, HOLDOUT, EXPLORATION = (ASSIGNED.index(each) for each in ("policy", "holdout", "exploration"))

OPTED_OUT, NOT_ELIGIBLE, CAP_REACHED, BUDGET = (
    1 + RULES.index(each) for each in ("opted_out", "not_eligible", "cap_reached", "budget")
)
"""Codes of some of `RULES`."""

Stopped = Ints | Callable[[Ints, Floats], Ints]
"""Which arms limits or caps stop, see `FirstContacts`."""


@dataclass(frozen=True, eq=False)
class FirstContacts:
    """m customers to decide for who had no contact under this policy.

    Attributes:
        ids: m, as text.
        rows: (m, F) canonical rows of the design matrix.
        prior_offers: m other offers in the recent window.
        opted_out: (m,) may not be contacted.
        may_get: (m, K) arms that the caller says may be offered; None for all.
        stopped: (m, K) code of the rule by which limits or caps stop an arm, see `RULES`, else 0; None: none does. Or
            what says so of `prior_offers` and of (m, K) what each arm can cost.
    """

    ids: Sequence[str]
    rows: Floats
    prior_offers: Sequence[int]
    opted_out: Bools
    may_get: Bools | None = None
    stopped: Stopped | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class DecisionColumns:
    """What is decided for m customers, with K arms.

    Attributes:
        arm: (m,) index of the arm decided; 0 is no contact.
        policy_arm: (m,) what the policy prefers among the allowed arms.
        assigned: (m,) who chose, as an index into `ASSIGNED`.
        forbidden: (m, K) code of the rule that forbids each arm now, see `RULES`; 0 where it may be made.
        propensities: (m, K) of every arm; rows add up to 1.
        risk: (m,) P(churn) within the label window without contact.
        acceptance: (m, K) P(accept).
        risk_if_offered: (m, K) P(churn) once contacted.
        expected_value: (m, K) money.
        value_low: (m, K) the least of it over the band of projections.
        value_high: (m, K) the most.
        window_value: (m, K) what each arm adds by what happens in the label window.
        cost: (m, K) the most that each arm can cost.
    """

    arm: Ints
    policy_arm: Ints
    assigned: Ints
    forbidden: Ints
    propensities: Floats
    risk: Floats
    acceptance: Floats
    risk_if_offered: Floats
    expected_value: Floats
    value_low: Floats
    value_high: Floats
    window_value: Floats
    cost: Floats

    def __len__(self) -> int:
        return len(self.arm)

    def chosen(self, name: str) -> Floats:
        """(m,) a column of the arm decided."""
        values: Floats = getattr(self, name)
        return np.asarray(values[np.arange(len(self)), self.arm])

    @staticmethod
    def joined(parts: Sequence[DecisionColumns]) -> DecisionColumns:
        """The rows of all parts, in order."""
        names = [each.name for each in fields(DecisionColumns)]
        return DecisionColumns(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def decide_columns(
    decider: Decider,
    asked: FirstContacts,
    rollout: Rollout = NO_ROLLOUT,
    price: float = 0.0,
) -> DecisionColumns:
    """Decide for customers who do not depend on each other.

    Args:
        decider: Of the release that decides.
        asked: m customers.
        rollout: Who is not left to the policy; its kill switch is the server's alone.
        price: λ ≥ 0, what a unit of spend is priced at.

    Raises:
        ValueError: The price is out of its range, or a kill switch is set.
    """
    if not 0 <= price <= PRICE_LIMIT:
        raise ValueError(f"price: found {price}, expected 0 to {PRICE_LIMIT:g}")
    if rollout.kill_switch:
        raise ValueError("rollout: found a kill switch, expected none: with it nobody has to be decided for")
    found, _ = decider.models.outlooks(asked.rows, asked.prior_offers)
    forbidden = _forbidden(decider, found, asked)
    preferred = _preferred(decider, found, forbidden == 0, price)
    arm, assigned, propensities = _assigned(asked.ids, preferred, forbidden == 0, rollout)
    figures = {name: found[field][:, 0].astype(np.float64) for name, field in _FIGURES.items()}
    risk, cost = found["risk"].copy(), found["cost"].copy()
    return DecisionColumns(arm, preferred, assigned, forbidden, propensities, risk, cost=cost, **figures)


_FIGURES = {
    "acceptance": "acceptance",
    "risk_if_offered": "churn",
    "expected_value": "value",
    "value_low": "low",
    "value_high": "high",
    "window_value": "window",
}
"""Fields of an outlook that a column is read from."""


def _forbidden(decider: Decider, found: Outlooks, asked: FirstContacts) -> Ints:
    """(m, K) codes of the rules; no contact is always allowed."""
    allowed = np.ones((len(asked), len(decider.menu)), dtype=bool)
    if any(arm.eligible for arm in decider.menu):
        allowed &= found["allowed"]
    if asked.may_get is not None:
        allowed &= asked.may_get
    stopped = asked.stopped
    if callable(stopped):
        stopped = stopped(np.asarray(asked.prior_offers), found["cost"])
    forbidden = np.where(allowed, 0 if stopped is None else stopped, NOT_ELIGIBLE)
    forbidden[asked.opted_out] = OPTED_OUT
    forbidden[:, 0] = 0
    return forbidden


def _preferred(decider: Decider, found: Outlooks, allowed: Bools, price: float) -> Ints:
    """(m,) the arm that the policy finds best among those allowed."""
    logits = found["logits"].copy()
    count, own = allowed.sum(1), found["allowed"].sum(1)
    rows = np.arange(len(found)) if price else np.flatnonzero((count > 1) & (count != own))
    if len(rows):
        n, arms = len(rows), [np.flatnonzero(each).tolist() for each in allowed[rows]]
        logits[rows] = decider.models.logits(found[rows], [IDLE] * n, [0] * n, arms, price)
    return np.asarray(np.where(allowed, logits, -np.inf).argmax(1))


def _assigned(
    ids: Sequence[str], preferred: Ints, allowed: Bools, rollout: Rollout
) -> tuple[Ints, Ints, Floats]:
    """(m,) arm and who chose, (m, K) propensities over the draw of holdout and exploration."""
    held, explored, n = rollout.holdout_share, rollout.exploration_share, len(preferred)
    propensities, count = np.zeros(allowed.shape), allowed.sum(1)
    propensities[np.arange(n), preferred] = 1.0 - held - explored
    propensities[:, 0] += held
    propensities += np.where(allowed, explored / count[:, None], 0.0)
    arm, assigned = preferred.copy(), np.full(n, POLICY)
    if held or explored:
        group, which = np.array([rollout.draw(each) for each in ids]).reshape(-1, 2).T
        is_held, drawn = group < held, (group >= held) & (group < held + explored)
        arm[is_held], assigned[is_held] = 0, HOLDOUT
        order = np.argsort(~allowed, axis=1, kind="stable")  # the allowed arms first, in order
        place = (which * count).astype(np.int64)
        arm[drawn], assigned[drawn] = order[np.arange(n), place][drawn], EXPLORATION
    return arm, assigned, propensities


def reasons_in_words(decided: DecisionColumns, menu: Menu, told: Told) -> list[str]:
    """A line for each of m customers, as of `reasons.in_words`.

    Args:
        decided: Of m customers.
        menu: Its arms.
        told: As what risks are told.
    """
    kind, about = _kinds(decided)
    rules = rows_alike(decided.forbidden, len(RULES) + 1)
    key = np.ravel_multi_index(
        (rules, decided.assigned, kind, about), (len(rules) + 1, len(ASSIGNED), _WAIT + 1, len(menu))
    )
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    lines = [_line(decided, row, menu, told, int(kind[row]), int(about[row])) for row in first.tolist()]
    rows = np.arange(len(decided))
    one, two, three = (getattr(decided, name)[rows, about] for name in _SAID)
    risk, two = told.figure(decided.risk), told.figure(two)
    if not told.asked:
        one, two = np.where(kind == _ARM, two, one), np.where(kind == _ARM, three, two)
    one = np.where(kind == _RAISES, two, np.where(kind == _ARM, one, three))
    figures = (each.tolist() for each in (group.reshape(-1), risk, one, two, three))
    return [lines[each](*values) for each, *values in zip(*figures, strict=True)]


def rows_alike(codes: Ints, base: int) -> Ints:
    """(m,) a number of each of m rows of codes (m, K) below `base`, the same for rows that are the same.

    >>> rows_alike(np.array([[1, 0], [0, 2], [1, 0]]), 3).tolist()
    [0, 1, 0]
    """
    found = np.zeros(len(codes), np.int64)
    at_once = int(np.log(2**62 / max(len(codes), 1)) / np.log(base))  # columns whose codes fit in one number
    for start in range(0, codes.shape[1], at_once):
        those = codes[:, start : start + at_once].astype(np.int64)
        found = found * base ** those.shape[1] + those @ base ** np.arange(those.shape[1])
        found = np.unique(found, return_inverse=True)[1].reshape(-1)
    return found


_SAID = ("acceptance", "risk_if_offered", "expected_value")
_ARM, _NOTHING, _RAISES, _NO_PAY, _WAIT = range(5)
_CODES = {_RAISES: "contact_raises_risk", _NO_PAY: "no_offer_pays", _WAIT: "waiting_is_worth_more"}


def _kinds(decided: DecisionColumns) -> tuple[Ints, Ints]:
    """(m,) which kind of reason comes last, and the arm that it is about; as `reasons.reasons` decides it."""
    rows = np.arange(len(decided))
    possible = (decided.forbidden == 0) & (decided.assigned == POLICY)[:, None]
    possible[:, 0] = False
    best = np.where(possible, decided.expected_value, -np.inf).argmax(1)
    raises = decided.risk_if_offered[rows, best] > decided.risk
    pays = decided.expected_value[rows, best] > 0
    kind = np.where(raises, _RAISES, np.where(pays, _WAIT, _NO_PAY))
    kind = np.where(decided.arm > 0, _ARM, np.where(possible.any(1), kind, _NOTHING))
    return kind, np.where(decided.arm > 0, decided.arm, best)


def _line(
    decided: DecisionColumns, row: int, menu: Menu, told: Told, kind: int, about: int
) -> Callable[..., str]:
    """What fills the line of all customers of one kind, of whom `row` is one, with their figures."""
    who = ASSIGNED[decided.assigned[row]]
    rules: list[str] = [] if who == "policy" else [who]
    rules += dict.fromkeys(RULES[code - 1] for code in decided.forbidden[row].tolist() if code)
    found = [Reason("risk", None, 0.0), *map(Reason, rules)]
    if kind == _ARM:
        found += [Reason(code, menu.ids[about], 0.0) for code in _SAID[not told.asked :]]
    elif kind != _NOTHING:
        found.append(Reason(_CODES[kind], menu.ids[about], 0.0))
    return template(found, dict(zip(menu.ids, menu.labels, strict=True)), told).format
