"""Decisions for a whole customer table, by the one decider, as a server makes them for a first contact."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from churn_assets.customers.features import far_outside, too_far
from churn_assets.customers.table import CustomerTableError, typed
from churn_assets.deciding.budgets import capped_columns, counted_columns
from churn_assets.deciding.columns import (
    DecisionColumns,
    FirstContacts,
    Stopped,
    decide_columns,
    reasons_in_words,
)
from churn_assets.deciding.decider import NO_ROLLOUT, CustomerError, CustomerInput, Decider, Rollout
from churn_assets.deciding.reasons import Told, in_words
from churn_assets.deciding.release_models import canonical
from churn_assets.deciding.trial import SideBySide
from churn_assets.offers.log import propensity_column
from churn_assets.tables.problems import STRUCTURE, Problems, TableProblem, raise_all
from churn_assets.tables.raw import RawTable
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.values import parse_numbers, parse_texts, parse_truths, say_decimals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from churn_assets.arms import Menu
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import Decision
    from churn_assets.deciding.risk_only import AnyDecider
    from churn_assets.decision.limits import Limits

PRIOR_OFFERS = "prior_offers"
UNDECIDED = "could not be decided"

BATCH = 1000
"""Customers whose risk is told at once: more need more memory and no less time."""
BLOCK = 4096
"""Customers decided for at once, as columns: about 10 MB."""

_OFFERS = NumberRule(lowest=0, highest=1000, whole=True)


@dataclass(frozen=True, eq=False)
class TableDecisions:
    """Decisions for a table of which some rows may be wrong.

    Attributes:
        frame: As of `decide_table`, one row a row of the table; where nothing could be decided, `decision` says so and
            `reasons` why.
        problems: What is wrong with which rows, worst first.
        outside: How many customers lie far outside of what was learned, by feature.
        spend: The most that all offers can cost together.
    """

    frame: pd.DataFrame
    problems: Sequence[TableProblem]
    outside: Mapping[str, int]
    spend: float

    @property
    def decided(self) -> NDArray[np.bool_]:
        """(n,) which rows have a decision."""
        return np.asarray(self.frame["decision"] != UNDECIDED)


def decide_table(raw: pd.DataFrame | RawTable, decider: AnyDecider, now: datetime) -> pd.DataFrame:
    """Decide for every customer of a table which offer to make, if any.

    Args:
        raw: Customers with the columns of the training table (the label is not needed). Two columns are
            optional: `prior_offers` (offers in the last 90 days, 0 if absent) and `opted_out` (1: may not be
            contacted, 0 if absent), or what `customers.optional` calls them.
        decider: Of the release that decides.
        now: Time of the decision, aware.

    Returns:
        One row a customer in the order of `raw`: `decision_id`, `customer_id`, `decided_at`, `decision` (`offer` or
        `no contact`), `arm` (its id) and `offer` (its label), `risk` (P(churn) within the label window without
        contact), `acceptance` (of the arm decided), `risk_if_offered` (P(churn) given this decision),
        `expected_value` (what the arm is expected to add over never contacting, in the currency of the price,
        projected over the horizon), `value_low` and `value_high` (the band of it), `window_value` (what it adds by what
        happens in the label window alone),
        `propensity` (probability with which the policy decides so: 1, as it takes its best arm), `reasons`,
        `policy` and `release`; of a release without an offer model also `drivers`, see `RiskModels.drivers`. Where the
        value is of another outcome than leaving, risks are of missing it, and `outcome` and `outcome_if_offered` are
        what is expected of it.

    Raises:
        CustomerTableError: The table is not what the models were trained for: all that is wrong with it.
    """
    return _decisions(asked_of(raw, decider, now), decider, now)[0]


def decisions_of(raw: pd.DataFrame | RawTable, decider: AnyDecider, now: datetime) -> list[Decision]:
    """One decision a customer, with all that is known of every arm; arguments and errors as of `decide_table`."""
    asked = inputs_of(raw, decider, now)
    batches = (asked[start : start + BATCH] for start in range(0, len(asked), BATCH))
    return [each for batch in batches for each in _decided(decider, batch)]


def inputs_of(raw: pd.DataFrame | RawTable, decider: AnyDecider, now: datetime) -> list[CustomerInput]:
    """The customers of a table as the decider is asked about them; arguments and errors as of `decide_table`."""
    return _inputs(asked_of(raw, decider, now), slice(None))


def asked_of(raw: pd.DataFrame | RawTable, decider: AnyDecider, now: datetime) -> Asked:
    """The customers of a table that has nothing wrong in it; arguments and errors as of `decide_table`."""
    table = RawTable.of_frame(raw, "customers")
    problems = Problems(table.where, CustomerTableError)
    asked = asked_about(table, decider.schema, decider.menu, now, problems)
    problems.stop()
    return asked


def decide_rows(raw: RawTable, decider: AnyDecider, now: datetime) -> TableDecisions:
    """Decide for every customer of a table for whom it can be done; arguments as of `decide_table`.

    Raises:
        CustomerTableError: A column is missing or not told by its name, no row can be decided for, or more than the
            configured share lies far outside of what was learned.
    """
    found = decide_part_rows(raw, decider, now)
    if not found.decided.any():
        raise_all(found.problems, CustomerTableError)
    if told := too_far(found.outside, int(found.decided.sum()), decider.schema):
        raise CustomerTableError("\n".join(f"{raw.where}: {each}" for each in told))
    return found


def decide_part_rows(
    raw: RawTable,
    decider: AnyDecider,
    now: datetime,
    *,
    propensities: bool = False,
    stopped: NDArray[np.int64] | None = None,
    rollout: Rollout = NO_ROLLOUT,
) -> TableDecisions:
    """As `decide_rows`, of a part of a table: whether too many rows are wrong or far outside the whole alone can say.

    Args:
        raw: Some rows of a table.
        decider: Of the release that decides.
        now: Time of the decision, aware.
        propensities: Whether to tell that of every arm, in columns named by `propensity_column`.
        stopped: (m, K) of the rows that are not wrong, see `FirstContacts`.
        rollout: Of a decider of two releases: what draws who goes by which.

    Raises:
        CustomerTableError: A column is missing or not told by its name.
    """
    problems = Problems(raw.where, CustomerTableError)
    asked, good = _good_rows(raw, decider, now, problems)
    why = problems.by_row()
    say_decimals(raw)
    outside = far_outside(asked.table.X, decider.schema)
    frame, spend = _decisions(
        asked, decider, now, propensities=propensities, stopped=stopped, rollout=rollout
    )
    if not good.all():
        frame = frame.set_axis(np.flatnonzero(good)).reindex(range(len(raw)))
    undecided = ~good
    told = ["decision", "policy", "release", "decided_at", "reasons"]
    frame[told] = frame[told].astype(object)  # also where nobody of the part was decided for
    frame.loc[undecided, ["decision", "policy", "release"]] = UNDECIDED, decider.policy, decider.release
    frame.loc[undecided, "decided_at"] = now.isoformat(timespec="seconds")
    frame.loc[undecided, "reasons"] = [why[row].said for row in np.flatnonzero(undecided).tolist()]
    return TableDecisions(frame, problems.all, outside, spend)


def _good_rows(
    raw: RawTable, decider: AnyDecider, now: datetime, problems: Problems
) -> tuple[Asked, NDArray[np.bool_]]:
    """The customers whose rows have nothing wrong in them, and (n,) which rows those are."""
    if not len(raw):
        problems.add("no rows", "at least one customer", rank=STRUCTURE)
    asked = asked_about(raw, decider.schema, decider.menu, now, problems)
    if problems.whole:
        problems.stop()
    good = np.ones(len(raw), dtype=bool)
    good[list(problems.by_row())] = False
    return asked.where(good), good


@dataclass(frozen=True, eq=False)
class PartWishes:
    """What the policy wants for the m rows of a part that have nothing wrong in them, as limits see it.

    Attributes:
        value: (m, K) what each arm counts, see `budgets.Wishes`.
        cost: (m, K) the most that it can cost.
        covered: (m, J) which limits a customer draws on.
        capped: (m, K) codes of the rules by which a customer's own caps stop an arm, see `columns.RULES`.
    """

    value: NDArray[np.float64]
    cost: NDArray[np.float64]
    covered: NDArray[np.bool_]
    capped: NDArray[np.int64]


def wanted_of_part(raw: RawTable, decider: Decider, now: datetime, limits: Limits) -> PartWishes:
    """What the policy would do for a part of a table if there were no limit; arguments and errors as above.

    Args:
        raw: As of `decide_part_rows`.
        decider: As there.
        now: As there.
        limits: For its menu.
    """
    asked, _ = _good_rows(raw, decider, now, Problems(raw.where, CustomerTableError))
    able = columns_of(asked, decider, stopped=partial(capped_columns, limits=limits))
    cost = np.where(np.arange(len(decider.menu)) > 0, able.cost, 0.0)
    capped = capped_columns(asked.prior, cost, limits)
    return PartWishes(counted_columns(able), cost, limits.covered(canonical(asked.table.X)), capped)


@dataclass(frozen=True, eq=False)
class Asked:
    """Customers as a table, and what is known of each beside the features.

    Attributes:
        table: n customers.
        opted_out: (n,) may not be contacted.
        prior: (n,) other offers in the recent window.
        eligible: (n,) ids of the arms that may be offered; None for all whose conditions are kept.
    """

    table: CustomerTable
    opted_out: NDArray[np.bool_]
    prior: NDArray[np.int64]
    eligible: NDArray[np.object_]

    def where(self, mask: NDArray[np.bool_]) -> Asked:
        """Those that `mask` (n,) keeps."""
        return Asked(self.table.where(mask), self.opted_out[mask], self.prior[mask], self.eligible[mask])


def asked_about(
    raw: RawTable, schema: CustomerSchema, menu: Menu, now: datetime, problems: Problems
) -> Asked:
    """What a table says of customers; rows that are wrong go to `problems`.

    Args:
        raw: As of `decide_table`.
        schema: Of the features.
        menu: Arms that `eligible` may name.
        now: Aware time.
        problems: What is wrong.
    """
    raw = raw.renamed({})  # the caller's stays as it is
    table = typed(raw, schema, problems, as_of=now.date(), folded=False)
    columns = {role: name for role, name in schema.optional.columns.items() if name in raw.columns}
    opted_out, prior = np.zeros(len(raw)), np.zeros(len(raw))
    eligible = np.full(len(raw), None, dtype=object)
    if "opted_out" in columns:
        opted_out = parse_truths(raw, columns["opted_out"], problems)
    if "prior_offers" in columns:
        prior = parse_numbers(raw, columns["prior_offers"], problems, _OFFERS)
    if "eligible" in columns:
        texts = parse_texts(raw, columns["eligible"], problems)
        eligible[:] = [None if text is None else tuple(text.replace(",", " ").split()) for text in texts]
        known = set(menu.ids)
        wrong = np.array([not known.issuperset(each or ()) for each in eligible], dtype=bool)
        expected = f"ids of {', '.join(menu.ids)}, with spaces between"
        problems.rows(columns["eligible"], wrong, texts, expected, line=raw.line)
    return Asked(table, opted_out == 1, np.nan_to_num(prior).astype(np.int64), eligible)


def _decisions(
    asked: Asked,
    decider: AnyDecider,
    now: datetime,
    *,
    propensities: bool = False,
    stopped: NDArray[np.int64] | None = None,
    rollout: Rollout = NO_ROLLOUT,
) -> tuple[pd.DataFrame, float]:
    """Rows as of `decide_table`, and the most that all offers can cost together."""
    if isinstance(decider, Decider):
        columns, tried = _columns(asked, decider, rollout, stopped)
        frame = columns_as_frame(columns, asked.table.ids, decider, now)
        if isinstance(decider, SideBySide):
            theirs = decider.candidate.release
            frame.loc[tried, "decision_id"] = decision_ids(theirs, asked.table.ids[tried], now)
            frame.loc[tried, "release"] = theirs
        if propensities:
            every = zip(decider.menu.ids, columns.propensities.T, strict=True)
            frame = frame.assign(**{propensity_column(arm): each for arm, each in every})
        return frame, math.fsum(columns.chosen("cost")[columns.arm > 0].tolist())
    starts = range(0, max(len(asked.table), 1), BATCH)
    decided = [_decided(decider, _inputs(asked, slice(start, start + BATCH))) for start in starts]
    frame = pd.concat((as_frame(each, decider, now) for each in decided), ignore_index=True)
    if propensities and len(decider.menu) > 1:
        chances = np.array([each.propensities for batch in decided for each in batch])
        every = zip(decider.menu.ids, chances.T, strict=True)
        frame = frame.assign(**{propensity_column(arm): each for arm, each in every})
    return frame, math.fsum(each.cost for batch in decided for each in batch if each.arm)


def _columns(
    asked: Asked, decider: Decider, rollout: Rollout, stopped: NDArray[np.int64] | None
) -> tuple[DecisionColumns, NDArray[np.bool_]]:
    """What is decided for n customers, and (n,) for whom by the candidate of a trial."""
    ours = columns_of(asked, decider, rollout, stopped=stopped)
    if not isinstance(decider, SideBySide):
        return ours, np.zeros(len(ours), dtype=bool)
    as_read = replace(asked, table=replace(asked.table, schema=decider.candidate.schema))
    theirs = columns_of(as_read, decider.candidate, rollout, stopped=stopped)
    return decider.mixed(ours, theirs, [str(each) for each in asked.table.ids], rollout)


def columns_of(
    asked: Asked,
    decider: Decider,
    rollout: Rollout = NO_ROLLOUT,
    price: float = 0.0,
    stopped: Stopped | None = None,
) -> DecisionColumns:
    """What is decided for n customers of a table, a block of them at a time.

    Args:
        asked: The customers.
        decider: Of the release that decides.
        rollout: Who is not left to the policy.
        price: λ ≥ 0, what a unit of spend is priced at.
        stopped: (n, K), or what says so; see `FirstContacts`.
    """
    ids, rows, n = [str(each) for each in asked.table.ids], canonical(asked.table.X), len(asked.table)
    may_get = _may_get(asked.eligible, decider.menu)
    found = []
    for start in range(0, max(n, 1), BLOCK):
        block = slice(start, start + BLOCK)
        some = FirstContacts(
            ids[block],
            rows[block],
            asked.prior[block].tolist(),
            asked.opted_out[block],
            None if may_get is None else may_get[block],
            stopped if stopped is None or callable(stopped) else stopped[block],
        )
        found.append(decide_columns(decider, some, rollout, price))
    return DecisionColumns.joined(found)


def _may_get(eligible: NDArray[np.object_], menu: Menu) -> NDArray[np.bool_] | None:
    """(n, K) arms that are named; None where nobody's are."""
    if all(each is None for each in eligible):
        return None
    named = (menu.ids if each is None else each for each in eligible)
    return np.array([[arm in each for arm in menu.ids] for each in named], dtype=bool)


def columns_as_frame(
    decided: DecisionColumns, ids: NDArray[np.object_], decider: Decider, now: datetime
) -> pd.DataFrame:
    """Decisions for customers `ids` (n,) as rows of the columns that `decide_table` names."""
    menu, arms = decider.menu, decided.arm
    given = np.arange(len(menu)) > 0
    frame = pd.DataFrame(
        {
            "decision_id": decision_ids(decider.release, ids, now),
            "customer_id": [str(each) for each in ids],
            "decided_at": now.isoformat(timespec="seconds"),
            "decision": np.where(given, "offer", "no contact").astype(object)[arms],
            "arm": np.array(menu.ids, dtype=object)[arms],
            "offer": np.array(menu.labels, dtype=object)[arms],
            "risk": decided.risk,
            **{name: decided.chosen(name) for name in FIGURES},
            "propensity": decided.chosen("propensities"),
            "reasons": reasons_in_words(decided, menu, decider.told),
            "policy": decider.policy,
            "release": decider.release,
        }
    )
    return _with_outcome(frame, decider.told)


def _with_outcome(frame: pd.DataFrame, told: Told) -> pd.DataFrame:
    """Decisions with another outcome than leaving in its own unit, where there is one."""
    if not told.outcome:
        return frame
    names = {"risk": "outcome", "risk_if_offered": "outcome_if_offered"}
    return frame.assign(**{new: told.figure(frame[old].to_numpy()) for old, new in names.items()})


FIGURES = ("acceptance", "risk_if_offered", "expected_value", "value_low", "value_high", "window_value")
"""What is told of the arm decided, in the order of the columns."""


def _inputs(asked: Asked, rows: slice) -> list[CustomerInput]:
    table = asked.table
    names = table.schema.names
    columns = [_values(table.frame[name].iloc[rows]) for name in names]
    features = (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))
    return [
        CustomerInput(str(customer), each, eligible=eligible, opted_out=out, prior_offers=offers)
        for customer, each, eligible, out, offers in zip(
            table.ids[rows],
            features,
            asked.eligible[rows],
            asked.opted_out[rows].tolist(),
            asked.prior[rows].tolist(),
            strict=True,
        )
    ]


def as_frame(decided: Sequence[Decision], decider: AnyDecider, now: datetime) -> pd.DataFrame:
    """Decisions as rows of the columns that `decide_table` names."""
    chosen = [each.chosen for each in decided]
    labels = dict(zip(decider.menu.ids, decider.menu.labels, strict=True))
    frame = pd.DataFrame(
        {
            "decision_id": decision_ids(decider.release, (each.customer_id for each in decided), now),
            "customer_id": [each.customer_id for each in decided],
            "decided_at": now.isoformat(timespec="seconds"),
            "decision": ["offer" if each.arm else "no contact" for each in decided],
            "arm": [each.arm.id for each in chosen],
            "offer": [each.arm.label for each in chosen],
            "risk": np.array([each.risk for each in decided], np.float64),
            "acceptance": np.array([each.acceptance for each in chosen], np.float64),
            "risk_if_offered": np.array([each.risk_if_offered for each in chosen], np.float64),
            "expected_value": np.array([each.expected_value for each in chosen], np.float64),
            "value_low": np.array([each.value_low for each in chosen], np.float64),
            "value_high": np.array([each.value_high for each in chosen], np.float64),
            "window_value": np.array([each.window_value for each in chosen], np.float64),
            "propensity": np.array([each.propensity for each in chosen], np.float64),
            "reasons": [in_words(each.reasons, labels, decider.told) for each in decided],
            "policy": decider.policy,
            "release": decider.release,
        }
    )
    if decider.process is None:
        return frame.assign(drivers=[_drivers(each) for each in decided])
    return _with_outcome(frame, decider.told)


def _drivers(decision: Decision) -> str:
    """What drives the risk, for people: features, each with the change of risk that it alone makes."""
    return "; ".join(f"{each.feature} {each.change:+.1%}" for each in decision.drivers)


def _decided(decider: AnyDecider, batch: Sequence[CustomerInput]) -> list[Decision]:
    try:
        return decider.decide(batch)
    except CustomerError as error:
        raise CustomerTableError(
            f"customers: column {error.field!r}: found {error.found}, expected {error.expected}"
        ) from error


def _values(column: pd.Series) -> list[Any]:
    """Values of a validated column as Python's own, None for a blank."""
    return [None if value != value else value for value in column.tolist()]


def decision_ids(release: str, customers: Iterable[str], now: datetime) -> list[str]:
    """Names of decisions: of one release, at one time, for each of n customers."""
    release_part, at = hashlib.sha256(f"{release}|".encode()), f"|{now.isoformat()}".encode()
    found = []
    for customer in customers:
        digest = release_part.copy()
        digest.update(str(customer).encode("utf-8", "surrogatepass") + at)
        found.append(digest.hexdigest()[:20])
    return found
