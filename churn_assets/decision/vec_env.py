"""The stable-baselines3 view of the retention core, for training. Episode statistics come from exact evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from churn_assets.decision.core import RetentionCore
from churn_assets.decision.env import observation_space
from churn_assets.decision.observation import Observations


class RetentionVecEnv(VecEnv):  # type: ignore[misc]  # no types at this border
    """N customers at once for stable-baselines3.

    Episodes are only ever terminated, so no `terminal_observation` is needed to bootstrap from, and `infos` is empty.

    Args:
        core: whose customers are stepped.
    """

    def __init__(self, core: RetentionCore) -> None:
        self.core = core
        self.render_mode = None
        self._infos: list[dict[str, Any]] = [{} for _ in range(core.size)]
        super().__init__(
            core.size, observation_space(core.observer), gym.spaces.Discrete(core.process.n_arms)
        )

    def reset(self) -> Observations:
        return self.core.reset()

    def step_async(self, actions: npt.NDArray[np.integer]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[Observations, npt.NDArray[np.float32], npt.NDArray[np.bool_], list[dict[str, Any]]]:
        step = self.core.step(self._actions)
        return step.observations, step.rewards, step.finished, self._infos

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        if seed is not None:
            self.core.rng = np.random.default_rng(seed)
        return [seed] * self.num_envs

    def close(self) -> None:
        """Holds nothing open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        msg = f"customers share one core: {attr_name} cannot be set for single ones ({indices}, {value})"
        raise NotImplementedError(msg)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        msg = f"customers share one core: {method_name}{args}{kwargs} cannot be called on single ones ({indices})"
        raise NotImplementedError(msg)

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: Any = None) -> list[bool]:  # noqa: ARG002
        return [False] * len(list(self._get_indices(indices)))
