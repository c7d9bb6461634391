"""The fast forms of a release's models: built from them, compared with them, served in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from churn_assets.decision.observation import situation_rows
from churn_assets.release.outlook import Outlooks, Responses, observations, outlooks_of

if TYPE_CHECKING:
    from churn_assets.customers.schema import CustomerSchema
    from churn_assets.decision.process import RetentionProcess
    from churn_assets.release.loaded import Models


@dataclass(frozen=True)
class Derived:
    """What deciding needs."""

    models: Models

    @property
    def schema(self) -> CustomerSchema:
        return self.models.schema

    @property
    def process(self) -> RetentionProcess:
        return self.models.policy.process

    def outlooks(self, rows: Sequence[Sequence[float]], prior: Sequence[int]) -> tuple[Outlooks, list[bool]]:
        """Outlooks of customers, and which of them were tabled."""
        import pandas as pd

        from churn_assets.customers.table import CustomerTable
        from churn_assets.decision.tables import build_tables

        X = np.array(rows, np.float64)
        frame = pd.DataFrame()
        table = CustomerTable(frame, self.schema)
        price = X[:, self.schema.names.index(self.schema.monthly_revenue)]
        table.__dict__["X"] = X
        frame[self.schema.monthly_revenue] = price
        t = build_tables(
            table,
            self.models.risk,
            self.models.accept,
            self.models.effect,
            self.process,
            prior_offers=np.array(prior),
        )
        responses = Responses(
            t.price, t.features, t.risk, t.churn_if_accepted, t.churn_if_refused, t.acceptance[..., 1:]
        )
        return outlooks_of(responses, self.process), [False] * len(rows)

    def logits(
        self,
        outlooks: Outlooks,
        status: npt.NDArray[np.int64],
        used: npt.NDArray[np.int64],
        allowed: npt.NDArray[np.bool_],
        budget_price: float,
    ) -> npt.NDArray[np.float32]:
        """(m, K) logits of the policy."""
        process = self.process
        situation = situation_rows(process)[status * (process.max_offers + 1) + used]
        situation[:, 4:] *= allowed
        observed = observations(outlooks, process.view[status], situation, budget_price, process)
        return self.models.policy.logits(observed)
