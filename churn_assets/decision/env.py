"""Gymnasium views of the retention core, and their registration. Dynamics are in `core`, rules in `process`.

Importing this module registers `churn_assets/Retention-v2`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from churn_assets.decision.core import RetentionCore, Reward, TimeStep
from churn_assets.decision.observation import BOUND, Observations, Observer
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.tables import ResponseTables

Bools = npt.NDArray[np.bool_]
ENV_ID = "churn_assets/Retention-v2"


def observation_space(observer: Observer) -> gym.spaces.Box:
    return gym.spaces.Box(-BOUND, BOUND, (observer.width,), np.float32)


class RetentionEnv(gym.Env):
    """One customer, one episode: every month, make an offer or leave the customer alone.

    ### Description
    A customer pays a monthly price and may leave in any month. The risk model says how likely that is
    without contact; an offer is accepted or refused as the acceptance model says; the effect model says how
    likely the customer leaves after either. What an accepted arm gives runs for its months, or is given at
    once. Contact is not free: it costs money, and it reminds some customers that they could leave (sleeping dogs).

    ### Action space
    `Discrete(K)`: an arm of `process.menu`.

    | Action | Meaning | Default menu |
    |---|---|---|
    | 0 | no contact | |
    | 1 … K - 1 | contact with this arm's terms | 5, 10, 20, 30 % off for six months |

    An arm that the rules forbid (cooldown, a running benefit, the cap on offers, eligibility) acts as 0 and
    sets `info["masked"]`.

    ### Observation space
    `Box(-10, 10, (F + 6 K + 1,), float32)`, or one column more where a taste is hidden; `observer.names` names the
    columns. All transforms are fixed. With F features, K arms and λ the price of a dollar of spend:

    | Columns | Name | Meaning |
    |---|---|---|
    | F | `feature:…` | standardised numbers, categories spread over [0, 1]; tenure advances with time |
    | 1 | `time` | steps done / T |
    | 1 | `risk` | logit/4 of P(churn in the label window) without contact |
    | K - 1 | `risk_if_offered:…` | the same if the arm were offered now, over acceptance and refusal |
    | K - 1 | `acceptance:…` | logit/4 of P(accept the arm now) |
    | K - 1 | `net_value:…` | value less λ · spend that the arm adds if no other offer followed, v |
    | 1 | `wait_value` | what the best single offer at a later step adds, if none is made now (idle) |
    | K | `regret:…` | each arm's value less the best; "no offer" counts as waiting |
    | 1 | `budget_price` | λ / (1 + λ) |
    | K - 1 | `running:…` | months that the accepted arm still runs / its months |
    | 1 | `months_since_contact` | / the months after which a refusal is forgotten; 1 if never |
    | 1 | `offers_used` | / `max_offers` |
    | 1 | `offers_accepted` | / `max_offers`; only where a taste is hidden |
    | K - 1 | `allowed:…` | 1 if the arm may be offered now |

    Values v are in tenths of the customer's monthly margin and shown as v / (1 + √(1 + |v|)).

    ### Rewards
    `realised` (default), in the price's currency:

    | When | Reward |
    |---|---|
    | a step survived | (margin · price - (1 + λ) · benefit that runs) · step_months |
    | an offer made | - (1 + λ) · contact cost of the arm |
    | an offer accepted | - (1 + λ) · cost of what the arm gives at once |
    | the horizon survived | + γ (margin · price · months left - (1 + λ) · benefit owed) |

    where the months left are `value_horizon_months - step_months`.

    `expected_incremental`: what the action adds in expectation against never offering again; 0 for no offer.
    It is the realised reward with potential-based shaping (Ng, Harada & Russell 1999), the potential being
    the value of never offering, in expectation over the step: the same optimal policy, far less noise.

    ### Starting state
    A random customer of a random hidden type (`process.types`), which is not shown and lasts for the episode; no
    contact remembered, no offer used, λ = `budget_price`. `reset(options=…)` takes `customer` (row), `state` (of
    `process`), `offers_used`, `offers_accepted` and, for a single customer, `budget_price`.

    ### End of the episode
    *Terminated* when the customer leaves (whom a contact kept may do so right after its window, if effects decay) or
    survives the horizon of T steps (time is observed). Never truncated.

    ### Info
    `customer`, and after a step `offered`, `accepted`, `churned`, `masked`.

    ### Version history
    * v2: hidden types, decaying effects, answers to earlier offers.
    * v1: arms of any kind; what runs is shown by arm.
    * v0: first version, percents off alone.

    Args:
        tables: the customers and how they respond; there is no default and no synthetic fallback.
        process: the rules, horizon and money.
        reward: see above.
        budget_price: λ of every episode.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as the base class declares it

    def __init__(
        self,
        tables: ResponseTables,
        process: RetentionProcess,
        *,
        reward: Reward = "realised",
        budget_price: float = 0.0,
        render_mode: None = None,
    ) -> None:
        self.render_mode = render_mode
        self.core = _core(tables, process, 1, reward, budget_price)
        self.observer = self.core.observer
        self.observation_space = observation_space(self.observer)
        self.action_space = gym.spaces.Discrete(process.n_arms)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        super().reset(seed=seed)
        self.core.rng = self.np_random
        observation = self.core.reset(**(options or {}))[0]
        return observation, {"customer": int(self.core.customer[0])}

    def step(self, action: np.int64 | int) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        customer = int(self.core.customer[0])
        step = self.core.step(np.array([action], np.int64))
        finished = bool(step.finished[0])
        final = step.final_observations
        observation = final[0] if finished and final is not None else step.observations[0]
        info = {name: bool(values[0]) for name, values in _facts(step).items()}
        return observation, float(step.rewards[0]), finished, False, {"customer": customer, **info}


class RetentionVectorEnv(VectorEnv[Observations, npt.NDArray[np.integer], npt.NDArray[np.generic]]):
    """N customers at once: `RetentionEnv`'s specification, batched, with autoreset in the same step.

    `info` holds `offered`, `accepted`, `churned` and `masked` as (N,) arrays and, when episodes finished,
    `final_obs`.

    Args:
        num_envs: N.
        tables: as for `RetentionEnv`.
        process: as for `RetentionEnv`.
        reward: as for `RetentionEnv`.
        budget_price: as for `RetentionEnv`.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as the base class declares it

    def __init__(
        self,
        num_envs: int,
        tables: ResponseTables,
        process: RetentionProcess,
        *,
        reward: Reward = "realised",
        budget_price: float = 0.0,
        render_mode: None = None,
    ) -> None:
        self.num_envs, self.render_mode = num_envs, render_mode
        self.core = _core(tables, process, num_envs, reward, budget_price)
        self.observer = self.core.observer
        self.single_observation_space = observation_space(self.observer)
        self.single_action_space = gym.spaces.Discrete(process.n_arms)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._everyone, self._nobody = np.ones(num_envs, bool), np.zeros(num_envs, bool)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        super().reset(seed=seed)
        self.core.rng = self.np_random
        observations = self.core.reset(**(options or {}))
        return observations, {"customer": self.core.customer.copy(), "_customer": self._everyone}

    def step(
        self, actions: npt.NDArray[np.integer]
    ) -> tuple[Observations, npt.NDArray[np.float32], Bools, Bools, dict[str, Any]]:
        step = self.core.step(np.asarray(actions))
        info: dict[str, Any] = {}
        for name, values in _facts(step).items():
            info[name], info[f"_{name}"] = values, self._everyone
        if len(step.index) and step.final_observations is not None:
            final = np.empty(self.num_envs, object)
            for env, observation in zip(step.index.tolist(), step.final_observations, strict=True):
                final[env] = observation
            info["final_obs"], info["_final_obs"] = final, step.finished
        return step.observations, step.rewards, step.finished, self._nobody.copy(), info


def _core(
    tables: ResponseTables, process: RetentionProcess, size: int, reward: Reward, budget_price: float
) -> RetentionCore:
    rng = np.random.default_rng()
    return RetentionCore(
        tables, process, size, rng, reward=reward, budget_price=budget_price, final_observations=True
    )


def _facts(step: TimeStep) -> dict[str, npt.NDArray[np.bool_]]:
    return {name: getattr(step, name) for name in ("offered", "accepted", "churned", "masked")}


gym.register(
    id=ENV_ID,
    entry_point="churn_assets.decision.env:RetentionEnv",
    vector_entry_point="churn_assets.decision.env:RetentionVectorEnv",
)
