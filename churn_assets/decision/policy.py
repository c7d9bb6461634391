"""The trained policy as plain numbers: a masked network in numpy, the same in evaluation and serving.

Training lives in `ppo`; nothing here needs torch or stable-baselines3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_assets.decision.observation import BLOCK, Observations, Observer
from churn_assets.decision.optimum import Choice
from churn_assets.decision.process import Ints, RetentionProcess

Singles = npt.NDArray[np.float32]

MASKED = np.float32(-1e8)
"""Added to the logit of an arm that is not allowed; its probability is exactly 0 in float32."""


@dataclass(frozen=True)
class DecisionPolicy:
    """Observation → arm.

    Attributes:
        process: what it was trained for: menu, rules and money.
        observation_names: the columns it expects, in order; the last K - 1 are the mask.
        layers: (weights (out, in), bias (out,)) float32; tanh between them, the last gives (K,) logits.
        skip: (K, in) float32, straight from the observation to the logits.
    """

    process: RetentionProcess
    observation_names: tuple[str, ...]
    layers: tuple[tuple[Singles, Singles], ...]
    skip: Singles

    def __post_init__(self) -> None:
        width = len(self.observation_names)
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                msg = f"layer {i} has weights {weight.shape} and bias {bias.shape}: expected {width} inputs"
                raise ValueError(msg)
            if weight.dtype != np.float32 or bias.dtype != np.float32:
                msg = f"layer {i} has dtype {weight.dtype}: expected float32"
                raise ValueError(msg)
            width = weight.shape[0]
        expected = (self.process.n_arms, len(self.observation_names))
        if self.skip.shape != expected or self.skip.dtype != np.float32:
            msg = f"the skip has {self.skip.dtype} {self.skip.shape}: expected float32 {expected}"
            raise ValueError(msg)
        if width != self.process.n_arms:
            msg = f"the network has {width} outputs: expected {self.process.n_arms} arms"
            raise ValueError(msg)

    def logits(self, observations: Observations) -> Singles:
        """(m, K) logits, `MASKED` where not allowed."""
        x = observations
        for weight, bias in self.layers[:-1]:
            x = x @ weight.T
            x += bias
            np.tanh(x, out=x)
        weight, bias = self.layers[-1]
        out = x @ weight.T
        out += bias
        out += observations @ self.skip.T
        offers = self.process.n_arms - 1
        out[:, 1:] += np.where(observations[:, -offers:] < 0.5, MASKED, np.float32(0))
        return out

    def probabilities(self, observations: Observations) -> npt.NDArray[np.float64]:
        """(m, K) of the stochastic policy; exactly 0 where not allowed."""
        logits = self.logits(observations).astype(np.float64)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def act(self, observations: Observations) -> npt.NDArray[np.int64]:
        """(m,) the most probable arm."""
        return np.asarray(self.logits(observations).argmax(axis=1))

    def choice(self, observer: Observer, budget_price: float = 0.0, *, greedy: bool = True) -> Choice:
        """The policy as it acts on what the observer shows, for exact evaluation.

        Raises:
            ValueError: the observer shows other columns than the policy was trained on.
        """
        if observer.names != self.observation_names:
            msg = f"the policy expects the observation {self.observation_names}: found {observer.names}"
            raise ValueError(msg)
        process = self.process
        pasts = process.open_pasts
        shape = (len(process.open_states), pasts, observer.size)
        state, past, customer = (
            np.ascontiguousarray(np.broadcast_to(values, shape)).reshape(-1)
            for values in (
                process.open_states[:, None, None],
                np.arange(pasts)[:, None],
                np.arange(observer.size),
            )
        )
        price = np.full(len(customer), budget_price, np.float32)

        def choose(t: int) -> npt.NDArray[np.float32]:
            rows = self._tiled(observer, (customer, np.full(len(customer), t), state, past), price)
            if greedy:
                arms = rows.argmax(axis=1).reshape(shape)
                chosen = (np.arange(process.n_arms)[:, None] == arms[:, :, None]).astype(np.float32)
            else:
                weights = np.exp(rows - rows.max(axis=1, keepdims=True))
                weights /= weights.sum(axis=1, keepdims=True)
                chosen = weights.reshape(*shape, -1).transpose(0, 1, 3, 2)
            exhausted = np.zeros((shape[0], len(process.pasts) - pasts, process.n_arms, shape[2]), np.float32)
            exhausted[:, :, 0] = 1
            return np.concatenate([chosen, exhausted], axis=1)

        return choose

    def _tiled(self, observer: Observer, decisions: tuple[Ints, Ints, Ints, Ints], price: Singles) -> Singles:
        """Logits in blocks that stay in the processor's cache."""
        blocks = []
        for start in range(0, len(price), BLOCK):
            rows = slice(start, start + BLOCK)
            customer, step, state, past = (values[rows] for values in decisions)
            blocks.append(self.logits(observer.observe(customer, step, state, past, price[rows])))
        return np.concatenate(blocks)
