"""Does the whole chain earn money? Scored on the demo world's truth, which no model ever sees.

One-window score: policies are trained on the environment with one step of one label window, where its value is the
world's own reward; every customer is decided by models fitted without them. Panel score: the experiment's own policy,
run forward over its horizon. World without effects: nobody may be contacted. Coverage: of the off-policy interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.coverage import dr_coverage, one_window_lift
from benchmarks.panel import PanelPolicy, PanelResult, PanelState, run_panel
from benchmarks.report import Figure, main
from churn_assets.arms import Menu
from churn_assets.customers.schema import FOLD
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.decision.config import PpoDecisionConfig
from churn_assets.decision.observation import Observer
from churn_assets.decision.optimum import evaluate, solve
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.ppo import train
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import ResponseTables, build_tables, drawn_tables
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.economics import catalogue
from churn_assets.offers.log import OfferLog
from churn_assets.offers.world import DemoWorld, Truth
from churn_assets.response.accept import AcceptModel
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel

ROOT = Path(__file__).parents[1]
TRAINING_SITUATIONS = 8_000
"""Rows of the log that the one-window policy is trained on."""

TOP_RISK_SHARE, TOP_RISK_ARM = 0.3, "percent_20"
"""The rule to beat: the 30 % riskiest customers get a 20 % offer."""

MOST_PRIOR_OFFERS = 5
"""Prior offers beyond this many are treated as this many: a chance of 4 in 10,000."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Models:
    """What the chain learned from one world's customers and log."""

    risk: RiskModel
    accept: AcceptModel
    effect: EffectModel

    @classmethod
    def fit(
        cls, table: CustomerTable, log: OfferLog, experiment: Experiment, risk: RiskModel | None = None
    ) -> Models:
        """The chain on a log; `risk` if it was fitted on these customers before."""
        risk = RiskModel.fit(table, experiment.risk_model) if risk is None else risk
        accept = AcceptModel.fit(table, log, experiment.accept_model)
        known, row = rows_before(log, table)
        out_of_fold = risk.risk_of_rows(known)[row]
        effect = EffectModel.fit(table, log, out_of_fold, accept.out_of_fold, experiment.effect_model)
        return cls(risk, accept, effect.following(table, log, risk))

    def process(self, experiment: Experiment, window_months: float) -> RetentionProcess:
        """Of the experiment, with what the log shows of later windows."""
        section, money = experiment.ppo_decision, experiment.economics
        return RetentionProcess.build(section, money, window_months, experiment.arms, self.effect.persistence)

    def tables(
        self, customers: CustomerTable, process: RetentionProcess, prior_offers: Ints
    ) -> ResponseTables:
        return build_tables(customers, self.responses(process), prior_offers=prior_offers)

    def responses(self, process: RetentionProcess) -> ResponseModels:
        """As what a policy is shown and judged by."""
        return ResponseModels.of(self.risk, self.accept, self.effect, process)


def one_window(config: PpoDecisionConfig, window_months: float) -> PpoDecisionConfig:
    """The decision section with one step of one label window, whose value is the demo world's own reward."""
    months = int(window_months)
    ppo = config.ppo.model_copy(update={"total_timesteps": 300_000})
    changes = {
        "step_months": months,
        "episode_length": 1,
        "cooldown_months": months,
        "discount_factor": 1.0,
        "ppo": ppo,
    }
    return config.model_copy(update=changes)


def rotated(table: CustomerTable, turn: int) -> CustomerTable:
    """The same customers with other folds held out: `held_out` folds further on with every turn."""
    folds = table.schema.folds
    turned = (table.fold.astype(np.int64) + turn * folds.held_out) % folds.count
    return replace(table, frame=table.frame.assign(**{FOLD: turned.astype(np.int8)}))


def at(table: CustomerTable, rows: Ints) -> CustomerTable:
    """These rows of a table, repeats allowed."""
    return CustomerTable(table.frame.iloc[rows].reset_index(drop=True), table.schema)


def decided_out_of_sample(
    table: CustomerTable, log: OfferLog, experiment: Experiment, seed: int
) -> tuple[Ints, Ints, Floats]:
    """Arms (index into the log's menu) for each log row by the policy and by the models' exact optimum, and the risk.

    Every row is decided by models and a policy that were fitted without its customer.
    """
    config = one_window(experiment.ppo_decision, table.schema.label_window_months)
    process = RetentionProcess.build(config, experiment.economics, table.schema.label_window_months)
    on_menu = np.array([log.menu.position[arm] for arm in process.menu.ids])
    customer = log.positions(table.ids)
    ours, best = np.zeros(len(log), np.int64), np.zeros(len(log), np.int64)
    risk = np.zeros(len(log))
    folds = table.schema.folds
    for turn in range(folds.count // folds.held_out):
        split = rotated(table, turn)
        models = Models.fit(split, log, experiment)
        held_out = split.held_out[customer]
        seen, unseen = np.flatnonzero(~held_out), np.flatnonzero(held_out)
        seen = np.random.default_rng(seed).choice(seen, TRAINING_SITUATIONS, replace=False)
        training = models.tables(at(split, customer[seen]), process, log.prior_offers[seen])
        policy = train(training, process, config, seed=seed).policy
        tables = models.tables(at(split, customer[unseen]), process, log.prior_offers[unseen])
        decided = evaluate(tables, process, policy.choice(Observer(tables, process)))
        ours[unseen] = on_menu[decided.first.argmax(axis=1)]
        best[unseen] = on_menu[solve(tables, process).evaluation.first.argmax(axis=1)]
        risk[unseen] = models.risk.risk_of(log.customer_id)[unseen]
    return ours, best, risk


def best_constant_lift(truth: Truth, world: DemoWorld, menu: Menu) -> float:
    """Lift of the best arm of the menu given to everybody, chosen by the truth itself."""
    arms = [world.menu.position[arm] for arm in menu.ids]
    return max(one_window_lift(truth, np.full(len(truth.customer), arm)) for arm in arms)


Decide = Callable[[Ints, Ints, Ints, Ints], Ints]
"""Arms of the process's menu by row of the tables, step, state and past, all (n,)."""


def trained(policy: DecisionPolicy, tables: ResponseTables) -> Decide:
    """As a trained policy decides."""
    observer = Observer(tables, policy.process)
    free = np.zeros(len(tables), np.float32)
    return lambda row, *at: policy.act(observer.observe(row, *at, free[row]))


def planned(tables: ResponseTables, process: RetentionProcess) -> Decide:
    """As the exact optimum of the models decides."""
    actions, place = solve(tables, process).actions, np.cumsum(process.open) - 1

    def decide(row: Ints, step: Ints, status: Ints, past: Ints) -> Ints:
        used = process.pasts[past, 0]
        return np.where(process.open[status], actions[step, place[status], used, row], 0)

    return decide


class PanelDecider:
    """A policy of the retention process as the panel asks it: for some customers, at the start of a wave.

    Args:
        deciders: By offers of the last 90 days, 0 to `MOST_PRIOR_OFFERS`; their rows are the customers scored.
        process: Whose states they know.
        world: Whose arms the panel offers.
        scored: (N,) customers of the world who are decided about.
    """

    def __init__(
        self,
        deciders: Sequence[Decide],
        process: RetentionProcess,
        world: DemoWorld,
        scored: NDArray[np.bool_],
    ) -> None:
        self._deciders, self._process = deciders, process
        self._row = np.cumsum(scored) - 1
        self._scored = scored
        self._menu = np.array([world.menu.position[arm] for arm in process.menu.ids])

    def __call__(self, state: PanelState) -> Ints:
        process = self._process
        arms = np.zeros(len(state.customer), np.int64)
        asked = np.flatnonzero(self._scored[state.customer])
        step = state.month // process.step_months
        status = panel_state(process, self._menu, state)[asked]
        carried = np.minimum(
            state.prior_offers - (state.months_since_contact < process.recent_window_months),
            MOST_PRIOR_OFFERS,
        )
        carried = np.where(state.month < process.recent_window_months, carried, 0)[asked]
        past = process.past(state.offers_used, state.offers_accepted)[asked]
        row = self._row[state.customer[asked]]
        for prior, decide in enumerate(self._deciders):
            chosen = np.flatnonzero(carried == prior)
            if len(chosen):
                steps = np.full(len(chosen), step)
                arms[asked[chosen]] = self._menu[decide(row[chosen], steps, status[chosen], past[chosen])]
        return arms


def tables_by_prior_offers(
    models: Models, customers: CustomerTable, process: RetentionProcess
) -> list[ResponseTables]:
    """What the models say of customers by offers of the last 90 days, 0 to `MOST_PRIOR_OFFERS`."""
    priors = range(MOST_PRIOR_OFFERS + 1)
    return [models.tables(customers, process, np.full(len(customers), prior)) for prior in priors]


def panel_state(process: RetentionProcess, on_menu: Ints, state: PanelState) -> Ints:
    """(n,) the process's state of each customer of the panel; `on_menu` (K,) are its arms on the world's menu."""
    found = np.zeros(len(state.customer), np.int64)
    for age in range(1, process.memory):
        found[state.months_since_contact == age * process.step_months] = process.contacted(age)
    for arm, index in enumerate(on_menu):
        for left in np.unique(state.months_left[(state.running == index) & (state.months_left > 0)]):
            age = (process.menu[arm].months - int(left)) // process.step_months
            found[(state.running == index) & (state.months_left == left)] = process.accepted(arm, age)
    return found


def under_the_rules(process: RetentionProcess, rule: PanelPolicy) -> PanelPolicy:
    """A simple rule held to the same cap on offers and cooldown as the policy."""

    def held(state: PanelState) -> Ints:
        may = state.offers_used < process.max_offers
        may &= state.months_since_contact >= process.cooldown_months
        return np.where(may, rule(state), 0)

    return held


def over_horizon(
    world: DemoWorld,
    rule: PanelPolicy,
    process: RetentionProcess,
    seed: int,
    replicates: int,
    customers: Ints | None = None,
) -> PanelResult:
    """A world run forward over a process's own horizon, at its own discount."""
    horizon = process.horizon * process.step_months
    monthly = process.discount_factor ** (1 / process.step_months)
    return run_panel(
        world,
        rule,
        seed=seed,
        horizon_months=horizon,
        replicates=replicates,
        discount_factor=monthly,
        customers=customers,
    )


def everybody(arm: int) -> PanelPolicy:
    """The rule that offers one arm, by its index into the world's menu."""
    return lambda state: np.full(len(state.customer), arm, np.int64)


def panel_lifts(
    world: DemoWorld, models: Models, table: CustomerTable, experiment: Experiment, seed: int, replicates: int
) -> dict[str, float]:
    """Mean value a held-out customer over no offer, over the policy's own horizon, of every contender."""
    process = models.process(experiment, table.schema.label_window_months)
    policy = train_policy(models, table, process, experiment, seed)
    scored = table.held_out
    top, top_arm = (
        world.risk >= np.quantile(world.risk, 1 - TOP_RISK_SHARE),
        world.menu.position[TOP_RISK_ARM],
    )

    def run(rule: PanelPolicy) -> PanelResult:
        return over_horizon(world, rule, process, seed, replicates)

    none = run(everybody(0)).value[:, scored].mean()
    rules: dict[str, PanelPolicy] = {
        "top_risk": under_the_rules(process, lambda state: np.where(top[state.customer], top_arm, 0))
    }
    for arm in process.menu.ids[1:]:
        rules[f"constant_{arm}"] = under_the_rules(process, everybody(world.menu.position[arm]))
    asked = tables_by_prior_offers(models, at(table, np.flatnonzero(scored)), process)
    rules["ours"] = PanelDecider([trained(policy, each) for each in asked], process, world, scored)
    return {name: float(run(rule).value[:, scored].mean() - none) for name, rule in rules.items()}


def train_policy(
    models: Models, table: CustomerTable, process: RetentionProcess, experiment: Experiment, seed: int
) -> DecisionPolicy:
    """The experiment's own policy on the customers that are not held out."""
    customers = table.where(~table.held_out)
    tables = models.tables(customers, process, np.zeros(len(customers), np.int64))
    possible = ResponseModels.drawn(models.risk, models.accept, models.effect, process)
    drawn = drawn_tables(customers, possible, seed=seed)
    return train(tables, process, experiment.ppo_decision, seed=seed, drawn=drawn).policy


def prior_offers(count: int, seed: int) -> Ints:
    """Offers of the last 90 days as the demo world draws them, for customers at the start of an episode."""
    return np.random.default_rng(seed).poisson(0.6, count)


def contact_share_without_effects(table: CustomerTable, experiment: Experiment, seed: int) -> float:
    """Share of held-out customers ever contacted by a policy trained where contact does nothing."""
    world = DemoWorld(table, experiment.economics, effects=False)
    log = world.draw_log(experiment.offer_log.rows, seed)
    models = Models.fit(table, log, experiment)
    process = RetentionProcess.build(
        experiment.ppo_decision, experiment.economics, table.schema.label_window_months
    )
    policy = train_policy(models, table, process, experiment, seed)
    held_out = table.where(table.held_out)
    tables = models.tables(held_out, process, prior_offers(len(held_out), seed))
    return float(evaluate(tables, process, policy.choice(Observer(tables, process))).contacted.mean())


SEEDS = (0, 1, 2, 3, 4)
PANEL_REPLICATES = 4


def measure() -> list[Figure]:
    """Runs every seed, about a minute and a half each, and the coverage."""
    quickstart = load_experiment("quickstart", ROOT / "configs")
    menu = catalogue(quickstart.arms, quickstart.economics).menu(quickstart.ppo_decision.menu)
    lifts: list[dict[str, float]] = []
    panels: list[dict[str, float]] = []
    contacted: list[float] = []
    for seed in SEEDS:
        table = read_customers(quickstart.customers, seed=seed, root=ROOT)
        world = DemoWorld(table, quickstart.economics)
        draw = world.draw(50_000, seed)
        ours, best, risk = decided_out_of_sample(table, draw.log, quickstart, seed)
        top_arm = world.menu.position[TOP_RISK_ARM]
        top = np.where(risk >= np.quantile(risk, 1 - TOP_RISK_SHARE), top_arm, 0)
        lifts.append(
            {
                "ours": one_window_lift(draw.truth, ours),
                "models_optimum": one_window_lift(draw.truth, best),
                "top_risk": one_window_lift(draw.truth, top),
                "best_constant": best_constant_lift(draw.truth, world, menu),
                "contact_share": float((ours > 0).mean()),
            }
        )
        models = Models.fit(table, draw.log, quickstart)
        panels.append(panel_lifts(world, models, table, quickstart, seed, PANEL_REPLICATES))
        contacted.append(contact_share_without_effects(table, quickstart, seed))
        print(f"seed {seed}: one window {_shown(lifts[-1])}; panel {_shown(panels[-1])}; ", end="")
        print(f"without effects {contacted[-1]:.4f} contacted", flush=True)
    table = read_customers(quickstart.customers, seed=quickstart.seed, root=ROOT)
    coverage = dr_coverage(DemoWorld(table, quickstart.economics), table)

    def mean(rows: list[dict[str, float]], name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    def above(rival: str) -> int:
        return sum(row["ours"] > row[rival] for row in lifts)

    constants = {name: mean(panels, name) for name in panels[0] if name.startswith("constant_")}
    best_constant = max(constants, key=lambda name: constants[name])
    top_risk = mean(panels, "top_risk")
    return [
        Figure("lift_ours", mean(lifts, "ours"), ">=", 11.3, "money a customer over no offer, one window"),
        Figure("lift_models_optimum", mean(lifts, "models_optimum"), note="the same models, exact optimum"),
        Figure("lift_top_risk", mean(lifts, "top_risk"), note="the 30 % riskiest at a 20 % offer"),
        Figure("lift_best_constant", mean(lifts, "best_constant")),
        Figure("contact_share", mean(lifts, "contact_share")),
        Figure("seeds", len(SEEDS)),
        Figure("seeds_above_top_risk", above("top_risk"), ">=", 4),
        Figure("seeds_above_best_constant", above("best_constant"), ">=", len(SEEDS)),
        Figure(
            "panel_ours", mean(panels, "ours"), ">=", max(constants[best_constant], top_risk), "30 months"
        ),
        Figure("panel_best_constant", constants[best_constant], note=best_constant),
        Figure("panel_top_risk", top_risk),
        Figure("contact_share_no_effect", max(contacted), "<=", 0.01, "ever contacted, worst seed"),
        Figure("dr_coverage", coverage.coverage, ">=", 0.92, f"{coverage.replications} replications"),
        Figure("dr_coverage_upper", coverage.coverage, "<=", 0.98),
        Figure("dr_half_width", coverage.mean_half_width, note=f"true lift {coverage.truth:.2f}"),
    ]


def _shown(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items())


if __name__ == "__main__":
    main(__doc__, measure)
