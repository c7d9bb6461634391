"""How limits last for their weeks: what a batch may use now, as so many customers are still to come. Keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from churn_assets.decision.limits import PeriodConfig
from churn_assets.decision.process import Bools, Floats

WEEK = timedelta(days=7)
WHOLE = 0.5
"""Of a week's forecast: if so many came at once, nobody else is expected in it."""


@dataclass(frozen=True)
class Moment:
    """Where a time lies in its period.

    Attributes:
        period: First day of the period.
        week: Of the period, from 0.
        gone: Share of the week that is over.
        weeks: Of the period.
    """

    period: date
    week: int
    gone: float
    weeks: int

    @classmethod
    def of(cls, config: PeriodConfig, now: datetime) -> Moment | None:
        """Where an aware time lies; None before the first period.

        >>> Moment.of(PeriodConfig(starts=date(2026, 12, 7), weeks=2), datetime(2026, 12, 24, 12, tzinfo=UTC))
        Moment(period=datetime.date(2026, 12, 21), week=0, gone=0.5, weeks=2)
        """
        first = datetime.combine(config.starts, time(), UTC)
        if now < first:
            return None
        weeks, rest = divmod(now - first, WEEK)
        period, week = divmod(weeks, config.weeks)
        return cls(config.starts + period * config.weeks * WEEK, week, rest / WEEK, config.weeks)


def expected_ahead(
    moment: Moment, forecast: Sequence[int] | None, arrived: Sequence[int], here: int, *, at_once: bool
) -> float:
    """Customers that are still expected in the period, those here apart.

    Args:
        moment: Now.
        forecast: Customers of each week; None: as many as so far.
        arrived: Customers that were decided for in each week.
        here: Customers of this batch.
        at_once: A week's customers come together, or in a few parts; otherwise evenly over the week.
    """
    week, gone = moment.week, moment.gone
    later = moment.weeks - week - 1
    if forecast is None:
        so_far = sum(arrived[: week + 1]) + here
        passed = [each for each in (*arrived[:week], arrived[week] + here) if each]
        if at_once:  # weeks in which nobody came say that there was no wave
            return later * so_far / max(len(passed), 1)
        return so_far / max(week + gone, 1e-3) * (later + 1 - gone)
    come = arrived[week] + here
    part = 0 if come >= WHOLE * forecast[week] else forecast[week] - come
    rest = part if at_once else forecast[week] * (1 - gone)
    return float(sum(forecast[week + 1 :]) + rest)


def allowance(most: Floats, used: Floats, here: float, ahead: float, contacts: Bools) -> Floats:
    """(J,) what some customers may use: what is left, shared with those still expected; all of it with the last.

    What one batch leaves is the next one's. Of contacts at least one may be used while any is left.

    Args:
        most: (J,) of the period.
        used: (J,) of it already.
        here: Customers now.
        ahead: Customers still expected.
        contacts: (J,) whether a limit counts contacts, which are whole.

    >>> allowance(np.array([90.0]), np.array([30.0]), 100, 200, np.array([False])).tolist()
    [20.0]
    """
    left = np.maximum(most - used, 0.0)
    fair = left * (here / (here + ahead)) if here + ahead > 0 else left
    return np.where(contacts, np.minimum(np.maximum(np.floor(fair), 1.0), np.floor(left)), fair)
