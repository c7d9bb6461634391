"""The quickstart's own customers and models, fitted by plain library calls: where decision benchmarks get tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import ResponseTables, build_tables
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Quickstart:
    """Customers, offer log, fitted models and the process of the experiment `quickstart`."""

    experiment: Experiment
    customers: CustomerTable
    log: OfferLog
    risk: RiskModel
    accept: AcceptModel
    effect: EffectModel
    process: RetentionProcess

    def tables(self, customers: CustomerTable) -> ResponseTables:
        models = ResponseModels.of(self.risk, self.accept, self.effect, self.process)
        return build_tables(customers, models)

    def learners(self) -> ResponseTables:
        return self.tables(self.customers.where(~self.customers.held_out))

    def held_out(self) -> ResponseTables:
        return self.tables(self.customers.where(self.customers.held_out))


@cache
def quickstart() -> Quickstart:
    """Fits the quickstart's models once; about half a minute."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    log = DemoWorld(table, experiment.economics).draw_log(experiment.offer_log.rows, experiment.seed)
    risk = RiskModel.fit(table, experiment.risk_model)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    out_of_fold = risk.risk_of(np.asarray(log.customer_id))
    effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
    window = table.schema.label_window_months
    process = RetentionProcess.build(experiment.ppo_decision, experiment.economics, window)
    return Quickstart(experiment, table, log, risk, accept, effect, process)
