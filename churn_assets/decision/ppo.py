"""Training of the decision policy: stable-baselines3 PPO with a masked policy. Evaluation and serving need none of it.

The recipe (why it does not lose "no offer", why the reward is incremental) is in `PpoConfig` and `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples

from churn_assets.decision.budget import PRICE_LIMIT
from churn_assets.decision.config import BudgetPriceConfig, PpoConfig, PpoDecisionConfig
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.hidden import Drawn
from churn_assets.decision.incremental import Incremental
from churn_assets.decision.observation import Observer, observation_names, regret_columns
from churn_assets.decision.optimum import evaluate, gain_captured, never, regrets, solve
from churn_assets.decision.policy import MASKED, DecisionPolicy
from churn_assets.decision.process import Floats, Ints, RetentionProcess
from churn_assets.decision.tables import ResponseTables
from churn_assets.decision.vec_env import RetentionVecEnv


@dataclass(frozen=True)
class LearningCurvePoint:
    """Where training stands.

    Attributes:
        timesteps: steps done.
        captured: exact share of the attainable gain on the monitored customers; None where there is none to gain.
        contacted: mean probability that a monitored customer is ever contacted.
    """

    timesteps: int
    captured: float | None
    contacted: float


@dataclass(frozen=True)
class Training:
    """What training made.

    Attributes:
        policy: the best of those that progress was measured of, the untrained one among them.
        best: its progress.
        curve: progress, from the untrained policy to the last.
        timesteps: steps of the environment.
    """

    policy: DecisionPolicy
    best: LearningCurvePoint
    curve: tuple[LearningCurvePoint, ...]
    timesteps: int


ADAM_EPSILON = 1e-5
"""stable-baselines3's own default, lost wherever optimizer_kwargs are given. With torch's 1e-8 the noise of vanishing
advantages becomes full-size steps: 13 % of customers were contacted in a world where contact does nothing."""


IMITATED_AT_ONCE = 2048
CLONING_WEIGHT = 0.2
"""Of the optimum's own choice beside its regret: where nothing is at stake, decide as it does."""


def reward_scale(added: Incremental) -> npt.NDArray[np.float64]:
    """(n,) factor on each customer's rewards that evens out how much they weigh in the loss.

    Gains differ between customers by orders of magnitude. Halfway (in logs) between the same weight for every dollar
    and the same weight for every customer learned best, most of all at high budget prices: at a tenth of the
    unconstrained spend .989 of the bound's gain, against .981 with equal dollars (two worlds, two seeds). Scaling a
    customer's rewards leaves the customer's optimal policy as it is.
    """
    size = np.sqrt((added.value[..., 1:].astype(np.float64) ** 2).mean(axis=(1, 2, 3))) + 1e-3
    return np.asarray(1 / np.sqrt(size * size.mean()))


def train(
    tables: ResponseTables,
    process: RetentionProcess,
    config: PpoDecisionConfig,
    *,
    seed: int,
    drawn: ResponseTables | None = None,
    progress: Callable[[LearningCurvePoint], None] | None = None,
    monitored: int = 128,
    reports: int = 8,
) -> Training:
    """Train one policy for every budget price at once.

    Rewards are expected incremental values (the noise of single outcomes would hide the effects), and the untrained
    policy already prefers arms of less regret (from a uniform start "no offer" is easily unlearned for good).

    Args:
        tables: the customers to learn from.
        process: the rules.
        config: budget prices and PPO's parameters.
        seed: of everything random; equal seeds give equal weights.
        drawn: how the customers respond by models that the log leaves possible, where that is not as `tables` say: the
            environment's answers, of which the policy is shown nothing.
        progress: called during training with exact figures.
        monitored: customers whose exact figures are reported.
        reports: how often.
    """
    ppo = config.ppo
    with _one_thread():
        rng = np.random.default_rng(seed)
        chosen = cases(len(tables), ppo.cases, rng)
        learners = tables.subset(chosen)
        answering = learners if drawn is None else drawn.subset(chosen)
        observer = Observer(learners, process)
        config = config.model_copy(update={"budget_prices": reaching(config.budget_prices, observer.added)})
        core = RetentionCore(
            learners,
            process,
            ppo.n_envs,
            rng,
            reward="expected_incremental",
            budget_price=budget_prices(len(learners), config.budget_prices, rng),
            reward_scale=reward_scale(observer.added),
            observer=observer,
            drawn=Drawn.one_each(answering, process, rng),
        )
        model = ppo_model(core, config, seed)
        imitate(model, core, learners, config.ppo, rng)
        schedule = _Schedule(tables.subset(slice(0, monitored)), process, config, progress, reports)
        model.learn(ppo.timesteps, callback=schedule)
        _, best, policy = schedule.best
        return Training(policy, best, tuple(schedule.curve), model.num_timesteps)


def cases(customers: int, count: int, rng: np.random.Generator) -> Ints:
    """(count,) rows to learn from: each customer as often as the others, give or take one."""
    rounds = -(-count // customers)
    return np.concatenate([rng.permutation(customers) for _ in range(rounds)])[:count]


def budget_prices(count: int, config: BudgetPriceConfig, rng: np.random.Generator) -> Floats:
    """(count,) prices of a dollar of spend, from none to the configured maximum."""
    priced = np.expm1(rng.random(count) * np.log1p(config.maximum))
    return np.where(rng.random(count) < config.unpriced_share, 0.0, priced)


SCARCE = 0.2
"""Of the spend of an unlimited budget: what the highest price that is learned leaves at most."""


def reaching(config: BudgetPriceConfig, added: Incremental) -> BudgetPriceConfig:
    """Prices up to that at which one offer now is hardly worth it to anybody: a cent for an e-mail may bring hundreds.

    As configured where those suffice, or where only an unlimited budget is asked for.

    Args:
        config: As it was written.
        added: What each offer adds and costs.
    """
    value, spend = added.value[:, 0, 0], added.spend[:, 0, 0]

    def spent(price: float) -> float:
        return float(spend[np.arange(len(spend)), (value - price * spend).argmax(axis=1)].mean())

    limit = SCARCE * spent(0.0)
    if config.maximum == 0 or spent(config.maximum) <= limit:
        return config
    low, high = np.log1p(config.maximum), np.log1p(PRICE_LIMIT)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(float(np.expm1(middle))) > limit else (low, middle)
    return config.model_copy(update={"maximum": float(np.expm1(high))})


def ppo_model(core: RetentionCore, config: PpoDecisionConfig, seed: int) -> PPO:
    """The untrained stable-baselines3 model, every parameter as configured."""
    ppo = config.ppo
    return PPO(
        MaskedPolicy,
        RetentionVecEnv(core),
        learning_rate=lambda left: ppo.learning_rate * remaining(ppo, left),
        n_steps=ppo.n_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.n_epochs,
        gamma=core.process.discount_factor,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy_start,
        vf_coef=ppo.value_coef,
        max_grad_norm=ppo.max_grad_norm,
        rollout_buffer_class=ContiguousRolloutBuffer,
        policy_kwargs={
            "net_arch": list(ppo.net_arch),
            "no_offer_logit": ppo.no_offer_logit,
            "regret_columns": regret_columns(core.observer.n_features, core.process),
            "regret_weight": ppo.regret_weight,
            "optimizer_kwargs": {"fused": True, "eps": ADAM_EPSILON},
        },
        device="cpu",
        seed=seed,
    )


def imitate(
    model: PPO, core: RetentionCore, learners: ResponseTables, ppo: PpoConfig, rng: np.random.Generator
) -> None:
    """Teaches the untrained actor the optimum's decisions at every learner's price: PPO starts where planning ends.

    What is made small is the regret of the actor's decisions, weighed like PPO's rewards: an arm that is nearly as good
    as the best is nearly as good an answer. Decisions are drawn over customers, steps, open states and offers used.
    """
    process, prices = core.process, core.prices
    lost = regrets(learners, process, prices)
    steps, states, used, _, customers = lost.shape
    used -= 1  # with every offer used there is nothing to decide
    scale = torch.from_numpy(core.reward_scale)
    actor = model.policy
    optimiser = torch.optim.Adam(actor.parameters(), lr=ppo.imitation_rate, eps=ADAM_EPSILON)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, ppo.imitation_steps)
    for _ in range(ppo.imitation_steps):
        step, customer = (rng.integers(0, most, IMITATED_AT_ONCE) for most in (steps, customers))
        # Most decisions are of customers who are idle, with few offers used.
        state, spent = (
            np.minimum(rng.integers(0, most, IMITATED_AT_ONCE), rng.integers(0, most, IMITATED_AT_ONCE))
            for most in (states, used)
        )
        past = process.past(spent, rng.integers(0, spent + 1))
        shown = core.observer.observe(
            customer, step, process.open_states[state], past, prices[customer].astype(np.float32)
        )
        regret = torch.from_numpy(lost[step, state, spent, :, customer])
        log_p = actor.log_probabilities(torch.from_numpy(shown))
        best = torch.nn.functional.nll_loss(log_p, regret.argmin(dim=1))
        forbidden = torch.isinf(regret)
        expected = (log_p.exp() * regret.masked_fill(forbidden, 0.0)).sum(dim=1) * scale[customer]
        loss = expected.mean() + CLONING_WEIGHT * best
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def export(model: PPO, tables: ResponseTables, process: RetentionProcess) -> DecisionPolicy:
    """The trained network as plain float32 arrays."""
    network = [m for m in model.policy.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)]
    layers = tuple(
        (layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy())
        for layer in [*network, model.policy.action_net]
    )
    skip = model.policy.skip.weight.detach().numpy().copy()
    return DecisionPolicy(process, observation_names(tables.feature_names, process), layers, skip)


def remaining(ppo: PpoConfig, left: float) -> float:
    """Share of the updates that were still to come before one after which `left` of the steps are left: in (0, 1]."""
    return min(max(left, 0.0) + 1 / ppo.updates, 1.0)


def entropy_coefficient(ppo: PpoConfig, remaining: float) -> float:
    """Weight of the entropy bonus when this share of the training is left."""
    return ppo.entropy_end + (ppo.entropy_start - ppo.entropy_end) * remaining


def judged_prices(config: BudgetPriceConfig) -> Floats:
    """Prices at which policies are compared: none, and two that cut those trained for in thirds."""
    return np.unique(np.expm1(np.log1p(config.maximum) * np.arange(3) / 3))


class MaskedPolicy(ActorCriticPolicy):  # type: ignore[misc]  # no types at this border
    """Actor and critic whose actor reads the mask from the last K - 1 columns of the observation."""

    def __init__(
        self, *args: Any, no_offer_logit: float, regret_columns: slice, regret_weight: float, **kwargs: Any
    ) -> None:
        self._no_offer_logit = no_offer_logit
        self._regret_columns, self._regret_weight = regret_columns, regret_weight
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Callable[[float], float]) -> None:
        super()._build(lr_schedule)
        arms = self.action_net.out_features
        self.skip = torch.nn.Linear(self.features_dim, arms, bias=False)
        with torch.no_grad():
            self.action_net.bias[0] += self._no_offer_logit
            self.skip.weight.zero_()
            self.skip.weight[:, self._regret_columns] = self._regret_weight * torch.eye(arms)
            # Where no offer pays, all rewards are 0 and a critic's initial error is all that PPO would learn from.
            self.value_net.weight.zero_()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)

    def log_probabilities(self, obs: torch.Tensor) -> torch.Tensor:
        logits = self.action_net(self.mlp_extractor.policy_net(obs)) + self.skip(obs)
        offers = logits.shape[1] - 1
        return torch.log_softmax(
            torch.cat([logits[:, :1], logits[:, 1:] + (1 - obs[:, -offers:]) * float(MASKED)], dim=1), dim=1
        )

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        log_p = self.log_probabilities(obs)
        # Gumbel-max sampling: one draw an arm, without a distribution object.
        scores = log_p if deterministic else log_p - torch.empty_like(log_p).exponential_().log_()
        actions = scores.argmax(dim=1)
        return actions, self.predict_values(obs), log_p.gather(1, actions[:, None]).squeeze(1)

    def evaluate_actions(
        self, obs: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        log_p = self.log_probabilities(obs)
        entropy = -(log_p.exp() * log_p).sum(dim=1)
        return self.predict_values(obs), log_p.gather(1, actions[:, None]).squeeze(1), entropy

    def predict_values(self, obs: torch.Tensor) -> torch.Tensor:
        return self.value_net(self.mlp_extractor.value_net(obs))

    def get_distribution(self, obs: torch.Tensor) -> Any:
        return self.action_dist.proba_distribution(action_logits=self.log_probabilities(obs))


class ContiguousRolloutBuffer(RolloutBuffer):  # type: ignore[misc]  # no types at this border
    """Shuffles once an epoch and hands out slices, where the base class gathers six arrays a minibatch."""

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:
        total = self.buffer_size * self.n_envs
        order = np.random.permutation(total)  # noqa: NPY002 - seeded by stable-baselines3
        shuffled = [
            torch.from_numpy(values.reshape(total, *values.shape[2:])[order])
            for values in (
                self.observations,
                self.actions,
                self.values,
                self.log_probs,
                self.advantages,
                self.returns,
            )
        ]
        for start in range(0, total, batch_size or total):
            rows = slice(start, start + (batch_size or total))
            yield RolloutBufferSamples(*(values[rows] for values in shuffled))


class _Schedule(BaseCallback):  # type: ignore[misc]  # no types at this border
    """Decays the entropy bonus, reports exact figures on a few customers and keeps the best policy by them.

    Attributes:
        curve: what was reported.
        best: of the policy that is worth most over `judged_prices`: how much, its progress and itself.
    """

    best: tuple[float, LearningCurvePoint, DecisionPolicy]

    def __init__(
        self,
        monitored: ResponseTables,
        process: RetentionProcess,
        config: PpoDecisionConfig,
        progress: Callable[[LearningCurvePoint], None] | None,
        reports: int,
    ) -> None:
        super().__init__()
        self._tables, self._process, self._ppo, self._progress = monitored, process, config.ppo, progress
        self._every = max(1, config.ppo.timesteps // max(reports, 1))
        self._observer = Observer(monitored, process)
        self._none = evaluate(monitored, process, never(process)).value
        self._optimum = solve(monitored, process).evaluation.value
        self._prices = judged_prices(config.budget_prices)
        self.curve: list[LearningCurvePoint] = []

    def _on_rollout_start(self) -> None:
        self.model.ent_coef = entropy_coefficient(self._ppo, 1 - self.num_timesteps / self._ppo.timesteps)
        if self.num_timesteps >= len(self.curve) * self._every:
            self._report()

    def _on_training_end(self) -> None:
        self._report()

    def _report(self) -> None:
        policy = export(self.model, self._tables, self._process)
        unpriced, *priced = (
            evaluate(self._tables, self._process, policy.choice(self._observer, price))
            for price in self._prices
        )
        captured = gain_captured(unpriced.value, self._none, self._optimum)
        reached = LearningCurvePoint(self.num_timesteps, captured, float(unpriced.contacted.mean()))
        pairs = zip((unpriced, *priced), self._prices, strict=True)
        worth = float(sum((each.value - price * each.spend).mean() for each, price in pairs))
        self.curve.append(reached)
        if len(self.curve) == 1 or worth > self.best[0]:
            self.best = worth, reached, policy
        if self._progress is not None:
            self._progress(reached)

    def _on_step(self) -> bool:
        return True


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small networks run many times slower when torch's threads compete for cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
