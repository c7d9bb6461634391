"""Small models of real kinds, fitted once for whatever releases and serves them; the policy is made by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.decision.observation import observation_names
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.world import DemoWorld
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class SmallModels:
    """What a release decides with, but for the desk that writes its messages.

    Attributes:
        everyone: all real customers.
        table: the fifth of them that the models were fitted on and whom the release knows.
        models: what the release decides with.
    """

    everyone: CustomerTable
    table: CustomerTable
    risk: RiskModel
    accept: AcceptModel
    effect: EffectModel
    policy: DecisionPolicy
    models: ReleaseModels

    @property
    def schema(self):
        return self.table.schema

    @property
    def responses(self):
        return ResponseModels.of(self.risk, self.accept, self.effect, self.policy.process)

    @property
    def menu(self):
        return self.policy.process.menu

    def deciding(self, X, known=None):
        return ReleaseModels(self.responses, self.policy, self.models.known if known is None else known)


def real_experiment() -> Experiment:
    return load_experiment("quickstart", ROOT / "configs")


def fit_models(customers: CustomersConfig, risk_config: RiskModelConfig, share: float = 0.2) -> SmallModels:
    experiment = real_experiment()
    everyone = read_customers(customers, seed=experiment.seed, root=ROOT)
    table = everyone.where(np.random.default_rng(0).random(len(everyone)) < share)
    log = DemoWorld(table, experiment.economics).draw_log(6000, 3)
    risk = RiskModel.fit(table, risk_config)
    accept = AcceptModel.fit(table, log, experiment.accept_model)
    effect = EffectModel.fit(
        table, log, risk.risk_of(log.customer_id), accept.out_of_fold, experiment.effect_model
    )
    process = RetentionProcess.build(
        # A contact that is recent after the cooldown: what acceptance then depends on is tried too.
        experiment.ppo_decision.model_copy(update={"recent_window_months": 5}),
        experiment.economics,
        table.schema.label_window_months,
    )
    policy = policy_by_hand(table, process)
    responses = ResponseModels.of(risk, accept, effect, process)
    models = ReleaseModels.build(responses, policy, table.X)
    return SmallModels(everyone, table, risk, accept, effect, policy, models)


def policy_by_hand(table: CustomerTable, process: RetentionProcess) -> DecisionPolicy:
    """Prefers arms of little regret, as training starts out, disturbed by a random network."""
    rng = np.random.default_rng(1)
    names = observation_names(table.schema.names, process)
    arms = process.n_arms
    sizes = (len(names), 64, 64, arms)
    layers = tuple(
        (rng.normal(0, 0.1, (out, into)).astype(np.float32), rng.normal(0, 0.1, out).astype(np.float32))
        for into, out in pairwise(sizes)
    )
    skip = np.zeros((arms, len(names)), np.float32)
    first = next(i for i, name in enumerate(names) if name.startswith("regret:"))
    skip[:, first : first + arms] = 16 * np.eye(arms)
    return DecisionPolicy(process, names, layers, skip)


@pytest.fixture(scope="session")
def small() -> SmallModels:
    experiment = real_experiment()
    return fit_models(experiment.customers, experiment.risk_model)
