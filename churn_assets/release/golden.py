"""Golden customers: what a release decides for them and writes to them. Building and judging one both ask it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pandas as pd

from churn_assets.customers.table import prepare
from churn_assets.deciding.risk_only import AnyDecider
from churn_assets.deciding.table import decide_table
from churn_assets.release.loaded import Models

if TYPE_CHECKING:
    from churn_assets.message.model.language_model import RewardModel
    from churn_assets.message.model.writing import Situation

GOLDEN_AT = datetime(2000, 1, 1, tzinfo=UTC)
"""Golden decisions are compared, not sent: their time is fixed so that equal models make equal releases."""
COMPARED = ("customer_id", "arm", "risk", "acceptance", "expected_value")
MESSAGES = 8
"""Golden customers that are written to."""


def golden_frame(customers: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Golden customers as a table, as they would come in."""
    return pd.DataFrame([dict(row) for row in customers])


def golden_decisions(customers: pd.DataFrame, decider: AnyDecider) -> list[dict[str, object]]:
    """What a release decides for golden customers, as JSON rows of the compared columns."""
    decided = decide_table(customers, decider, GOLDEN_AT)[list(COMPARED)]
    return [{str(name): value for name, value in row.items()} for row in decided.to_dict("records")]


def golden_messages(
    customers: pd.DataFrame, models: Models, asked: Sequence[Mapping[str, object]] | None = None
) -> list[dict[str, object]]:
    """What would be sent to golden customers, with each arm of the menu in turn, and the rules that it breaks.

    `asked`: customers and arms of messages that were written before, to write the same ones again.
    """
    desk = models.desk
    situations = golden_situations(customers, models) if asked is None else _asked(customers, models, asked)
    return [
        {
            "customer_id": each.customer,
            "arm": each.arm.id,
            "offer": each.arm.label,
            "text": message.sent.text,
            "written_by": message.sent.written_by,
            "broken": ", ".join(
                violation.rule
                for violation in desk.safety.check(message.sent.text, each.profile, each.arm).blocking
            ),
        }
        for each, (message,) in zip(situations, desk.write(situations), strict=True)
    ]


def golden_situations(customers: pd.DataFrame, models: Models) -> list[Situation]:
    """Golden customers who are written to, each with one of the arms in turn; nobody where nothing may be offered."""
    arms = [arm for arm in models.menu if arm.contacts]
    if not arms:
        return []
    table = prepare(customers.head(MESSAGES), models.schema)
    return models.desk.situations(table, [arms[row % len(arms)] for row in range(len(table))])


def _asked(customers: pd.DataFrame, models: Models, asked: Sequence[Mapping[str, object]]) -> list[Situation]:
    """The situations of messages that were written before: a golden customer who was erased left a gap in their row."""
    if not asked:
        return []
    by_id = {arm.id: arm for arm in models.menu}
    rows = customers.set_index(models.schema.id, drop=False).loc[[each["customer_id"] for each in asked]]
    table = prepare(rows.reset_index(drop=True), models.schema)
    return models.desk.situations(table, [by_id[str(each["arm"])] for each in asked])


def rewards_of(
    model: RewardModel, prompts: Sequence[str], texts: Sequence[str], ended: Sequence[bool]
) -> list[float]:
    """(n,) standardised rewards of texts, each with its prompt and whether it came to an end."""
    from churn_assets.message.model.scoring import Scorer, score

    raw = score(Scorer.of(model), list(prompts), list(texts), list(ended))
    return [round(float(each), 4) for each in model.reward.standardised(raw)]


def unnamed(rows: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    """Rows about golden customers as a report may show them: it does not say who they are."""
    return [{name: value for name, value in row.items() if name != "customer_id"} for row in rows]
