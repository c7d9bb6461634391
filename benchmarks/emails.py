"""Two e-mails, randomised, whose order means nothing: one keeps whom the other drives away. Part of `benchmarks.truth`.

As in Hillstrom's experiment a third of the customers get nothing and a third each of two e-mails of the same terms.
The opponents are the best constant arm and a T-learner: one regression an arm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.report import Figure
from benchmarks.served import ROOT
from benchmarks.world import Models, at, one_window
from churn_assets.arms import ArmConfig, Contact
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.optimum import solve
from churn_assets.decision.process import RetentionProcess
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import OfferLog
from churn_assets.offers.responses import Hidden, ResponseFunctions, Someone, Stays, sigmoid
from churn_assets.offers.world import DemoWorld
from churn_assets.risk.model import RiskModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEEDS = (0, 1, 2, 3, 4)
ROWS = 60_000
ARMS = tuple(ArmConfig(id=name, terms=Contact(), contact_cost=0.5) for name in ("news", "tips"))
MENU = ("no_contact", "news", "tips")


class Emails(ResponseFunctions):
    """Either e-mail keeps some, whether it is answered or not: whom the one keeps the other keeps least."""

    hidden = Hidden(labels=False)
    strength = 1.0

    def stays(self, who: Someone) -> Stays:
        flags, n = self.flags, len(who.customer)
        leaning = (
            3.0 * flags.fibre[who.customer]
            - 2.4 * flags.monthly[who.customer]
            + 1.6 * flags.senior[who.customer]
            + 0.04 * (who.tenure - 30)
            + 0.4
        )
        nothing, one, other = np.zeros(n), sigmoid(leaning), sigmoid(-leaning)
        keeps = self.strength * np.column_stack([nothing, 0.10 + 0.20 * one, 0.06 + 0.20 * other])
        drives = self.strength * np.column_stack([nothing, 0.02 * other, 0.02 * one])
        return Stays(keeps, keeps, 1 - drives, 1 - drives)


class Faint(Emails):
    """The same at a third: on the whole an effect of about three standard errors."""

    strength = 0.33


class Randomised(DemoWorld):
    """A world whose past policy draws every arm alike."""

    def logging_policy(self) -> Floats:
        """(N, K) equal chances."""
        return np.full((len(self.ids), len(self.menu)), 1 / len(self.menu))


@dataclass(frozen=True)
class Sent:
    """True gains over no e-mail, money a decision of held-out customers.

    Attributes:
        ours: of the effect model's one-window policy.
        constant: of the better of the two e-mails, for everybody.
        t_learner: of one logistic regression an arm.
        oracle: of who knows the world.
    """

    ours: float
    constant: float
    t_learner: float
    oracle: float


def sent(seed: int, experiment: Experiment, responses: type[Emails] = Emails) -> Sent:
    """Fits both on one randomised log and scores them by the truth."""
    table = read_customers(experiment.customers, seed=seed, root=ROOT)
    economics = experiment.economics
    menu = catalogue(ARMS, economics).menu(MENU)
    world = Randomised(table, economics, menu, responses=responses)
    drawn = world.draw(ROWS, seed)
    log, customer = drawn.log, drawn.log.positions(table.ids)
    models = Models.fit(table, log, experiment, RiskModel.fit(table, experiment.risk_model))
    window = table.schema.label_window_months
    section = one_window(experiment.ppo_decision.model_copy(update={"menu": MENU}), window)
    process = RetentionProcess.build(section, economics, window, ARMS)
    held = np.flatnonzero(table.held_out[customer])
    tables = models.tables(at(table, customer[held]), process, log.prior_offers[held])
    reward = drawn.truth.reward[held]
    known = world.expected_reward(customer[held], log.prior_offers[held], world.hazard[customer[held]])

    def gain(arms: Ints) -> float:
        return float((reward[np.arange(len(held)), arms] - reward[:, 0]).mean())

    return Sent(
        ours=gain(solve(tables, process).evaluation.first.argmax(axis=1)),
        constant=max(gain(np.full(len(held), arm)) for arm in (1, 2)),
        t_learner=gain(t_learner(table, log, held, world)),
        oracle=gain(known.argmax(axis=1)),
    )


def t_learner(table: CustomerTable, log: OfferLog, held: Ints, world: DemoWorld) -> Ints:
    """Arms by one logistic regression of churn an arm (Künzel et al. 2019), at the same money."""
    customer = log.positions(table.ids)
    X = features(table)[customer]
    seen = ~table.held_out[customer]
    leaves = np.column_stack(
        [
            LogisticRegression(max_iter=1000)
            .fit(X[seen & (log.arm == arm)], log.churned[seen & (log.arm == arm)])
            .predict_proba(X[held])[:, 1]
            for arm in range(len(log.menu))
        ]
    )
    money = world.economics
    worth = money.margin * money.value_horizon_months * table.price[customer[held]]
    return np.asarray(((1 - leaves) * worth[:, None] - log.menu.contact_cost).argmax(axis=1))


def features(table: CustomerTable) -> Floats:
    """(N, d) one, standardised numbers, a column a category."""
    columns = [np.ones(len(table))]
    for position, feature in enumerate(table.schema.features):
        values = table.X[:, position]
        if feature.kind == "categorical":
            columns += [(values == code).astype(np.float64) for code in range(len(feature.categories))]
        else:
            columns.append((np.where(np.isnan(values), feature.mean, values) - feature.mean) / feature.std)
    return np.column_stack(columns)


def figures_of(name: str, found: list[Sent], bar: float | None) -> list[Figure]:
    """What was earned over seeds; held to nothing where there is no `bar`."""
    ours, constant, t_learned, oracle = (
        float(np.mean([getattr(each, who) for each in found]))
        for who in ("ours", "constant", "t_learner", "oracle")
    )
    below = sum(each.ours < each.constant for each in found)
    note = f"in the mean; T-learner {t_learned:.2f}"
    return [
        Figure(f"{name}_gain", ours, note="true, money a decision of held-out customers"),
        Figure(f"{name}_below_constant", below, "<=", bar, f"seeds; the best constant {constant:.2f}"),
        Figure(f"{name}_minus_t_learner", ours - t_learned, ">=", bar, note),
        Figure(f"{name}_of_oracle", ours / oracle, note=f"who knows the world {oracle:.2f}"),
    ]


def measure() -> list[Figure]:
    """Every seed, at full strength and at a third of it."""
    experiment = load_experiment("quickstart", ROOT / "configs")
    figures: list[Figure] = []
    for name, responses, bar in (("emails", Emails, 0.0), ("emails_faint", Faint, None)):
        found = []
        for seed in SEEDS:
            found.append(sent(seed, experiment, responses))
            print(f"{name} {seed}: {found[-1]}", flush=True)
        figures += figures_of(name, found, bar)
    return figures
