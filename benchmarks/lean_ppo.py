"""A PPO loop in plain torch on the same environment: how fast training could be without stable-baselines3."""

from __future__ import annotations

import time

import numpy as np
import torch

from churn_assets.decision.config import PpoConfig
from churn_assets.decision.core import RetentionCore
from churn_assets.decision.observation import regret_columns
from churn_assets.decision.policy import MASKED


class LeanPolicy(torch.nn.Module):
    """The same masked actor and critic as the platform's, without a framework around them."""

    def __init__(self, core: RetentionCore, ppo: PpoConfig) -> None:
        super().__init__()
        width, arms = core.observer.width, core.process.n_arms
        self.offers = arms - 1
        self.actor, self.critic = self._network(width, arms, ppo), self._network(width, 1, ppo)
        self.skip = torch.nn.Linear(width, arms, bias=False)
        with torch.no_grad():
            self.skip.weight.zero_()
            self.skip.weight[:, regret_columns(core.observer.n_features, core.process)] = (
                ppo.regret_weight * torch.eye(arms)
            )

    @staticmethod
    def _network(width: int, outputs: int, ppo: PpoConfig) -> torch.nn.Sequential:
        layers: list[torch.nn.Module] = []
        for hidden in ppo.net_arch:
            layers += [torch.nn.Linear(width, hidden), torch.nn.Tanh()]
            width = hidden
        return torch.nn.Sequential(*layers, torch.nn.Linear(width, outputs))

    def log_probabilities(self, obs: torch.Tensor) -> torch.Tensor:
        logits = self.actor(obs) + self.skip(obs)
        logits[:, 1:] += (1 - obs[:, -self.offers :]) * float(MASKED)
        return torch.log_softmax(logits, dim=1)


def lean_steps_per_second(core: RetentionCore, ppo: PpoConfig, total: int, *, seed: int) -> float:
    """Train with the same parameters as the platform and return steps a second of the whole loop."""
    torch.manual_seed(seed)
    policy = LeanPolicy(core, ppo)
    parameters = list(policy.parameters())
    optimizer = torch.optim.Adam(parameters, ppo.learning_rate, eps=1e-5, fused=True)
    n, steps, width = core.size, ppo.n_steps, core.observer.width
    obs = torch.zeros(steps, n, width)
    actions = torch.zeros(steps, n, dtype=torch.long)
    log_ps, rewards, ends = torch.zeros(steps, n), torch.zeros(steps, n), torch.zeros(steps, n)
    seen = core.reset()
    rounds = -(-total // (n * steps))
    start = time.perf_counter()
    for done in range(rounds):
        left = 1 - done / rounds
        entropy_weight = ppo.entropy_end + (ppo.entropy_start - ppo.entropy_end) * left
        for group in optimizer.param_groups:
            group["lr"] = ppo.learning_rate * left
        with torch.inference_mode():
            for t in range(steps):
                obs[t] = torch.from_numpy(seen)
                log_p = policy.log_probabilities(obs[t])
                actions[t] = (log_p - torch.empty_like(log_p).exponential_().log_()).argmax(dim=1)
                log_ps[t] = log_p.gather(1, actions[t][:, None])[:, 0]
                step = core.step(actions[t].numpy())
                seen = step.observations
                rewards[t], ends[t] = torch.from_numpy(step.rewards), torch.from_numpy(step.finished)
            # The critic is asked once a rollout, not once a step.
            values = policy.critic(obs.view(-1, width)).view(steps, n)
            following = policy.critic(torch.from_numpy(np.ascontiguousarray(seen)))[:, 0]
            advantages, running = torch.zeros(steps, n), torch.zeros(n)
            for t in reversed(range(steps)):
                alive = 1 - ends[t]
                delta = rewards[t] + core.process.discount_factor * following * alive - values[t]
                running = delta + core.process.discount_factor * ppo.gae_lambda * alive * running
                advantages[t], following = running, values[t]
            returns = advantages + values
        rollout = [
            x.reshape(n * steps, *x.shape[2:]).clone() for x in (obs, actions, log_ps, advantages, returns)
        ]
        for _ in range(ppo.n_epochs):
            order = torch.randperm(n * steps)
            o, a, old, advantage, target = (x[order] for x in rollout)
            for first in range(0, n * steps, ppo.batch_size):
                rows = slice(first, first + ppo.batch_size)
                log_p = policy.log_probabilities(o[rows])
                ratio = (log_p.gather(1, a[rows][:, None])[:, 0] - old[rows]).exp()
                gain = advantage[rows]
                gain = (gain - gain.mean()) / (gain.std() + 1e-8)
                clipped = ratio.clamp(1 - ppo.clip_range, 1 + ppo.clip_range)
                surrogate = -torch.min(gain * ratio, gain * clipped).mean()
                entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
                error = (policy.critic(o[rows])[:, 0] - target[rows]).pow(2).mean()
                loss = surrogate - entropy_weight * entropy + ppo.value_coef * error
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, ppo.max_grad_norm, foreach=True)
                optimizer.step()
    return rounds * n * steps / (time.perf_counter() - start)
