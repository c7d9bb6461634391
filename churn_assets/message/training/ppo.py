"""PPO on text: a policy, a critic and a frozen reference against a reward model. TRL has none since 1.13.

The loop follows Ziegler et al. 2019 (arXiv:1909.08593): KL divergence from the SFT model in the reward of every token,
its weight steered to a target; the reward model's score on the last. Clipped surrogate and value loss as in Schulman et
al. 2017 (arXiv:1707.06347), advantages by GAE (arXiv:1506.02438).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from churn_assets.message.corpus.data import MessageCorpus
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.language_model import LanguageModel, RewardModel
from churn_assets.message.model.likelihood import completion_log_probs, hidden_states
from churn_assets.message.model.masks import Guide
from churn_assets.message.training.checkpoint import checkpoint_folder, newest_checkpoint, write_checkpoint
from churn_assets.message.training.compute import device_of, precision, threads
from churn_assets.message.training.config import PpoTextConfig
from churn_assets.message.training.diary import Diary, copied, load, trainables
from churn_assets.message.training.memory import policy_needs, refuse_beyond_memory
from churn_assets.message.training.progress import Progress, silent
from churn_assets.message.training.rollouts import (
    MiniBatch,
    TextPolicy,
    mini_batches,
    prompts_of_step,
    seed_of_step,
)
from churn_assets.message.training.supervised import lora

_STATE = "state.json"


@dataclass(frozen=True, eq=False)
class Experience:
    """A minibatch with what was found before learning from it; (n, written) each, and 0 where nothing was written.

    Attributes:
        batch: The messages.
        log_p: Of the policy that wrote them.
        reference: Of the SFT model.
        values: Of the critic then.
        allowed: (n, written, vocabulary) the tokens that could be drawn; None for all.
    """

    batch: MiniBatch
    log_p: torch.Tensor
    reference: torch.Tensor
    values: torch.Tensor
    allowed: torch.Tensor | None


def learning_rate(config: PpoTextConfig, step: int) -> float:
    """Of a step: it falls linearly to nothing, so that the last steps stay where KL was steered to."""
    return config.learning_rate * (1 - step / config.steps)


def advantages(
    rewards: torch.Tensor,
    values: torch.Tensor,
    written: torch.Tensor,
    discount_factor: float,
    gae_lambda: float,
) -> torch.Tensor:
    """Generalised advantage estimates, (n, length); nothing follows a message's last token."""
    found = torch.zeros_like(rewards)
    ahead, value_ahead = torch.zeros(len(rewards)).to(rewards), torch.zeros(len(rewards)).to(rewards)
    for t in range(rewards.shape[1] - 1, -1, -1):
        surprise = rewards[:, t] + discount_factor * value_ahead - values[:, t]
        ahead = (surprise + discount_factor * gae_lambda * ahead) * written[:, t]
        found[:, t] = ahead
        value_ahead = values[:, t] * written[:, t]
    return found


def token_rewards(score: torch.Tensor, kl: torch.Tensor, written: torch.Tensor, beta: float) -> torch.Tensor:
    """(n, length): the price of each token's divergence, and the message's score on its last token."""
    rewards = -beta * kl
    last = written.sum(1).long() - 1
    rewards[torch.arange(len(rewards)), last] += score
    return rewards * written


def policy_loss(
    log_p: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor, clip_range: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clipped surrogate loss of each token, and its probability ratio."""
    ratio = (log_p - old).exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return torch.max(-advantage * ratio, -advantage * clipped), ratio


def value_loss(
    value: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip_range: float
) -> torch.Tensor:
    """Clipped squared error of each token."""
    near = old + (value - old).clamp(-clip_range, clip_range)
    return 0.5 * torch.max((value - returns) ** 2, (near - returns) ** 2)


def train_ppo(
    sft: LanguageModel,
    reward: RewardModel,
    messages: MessageCorpus,
    config: PpoTextConfig,
    *,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
    guide: Guide | None = None,
) -> TextPolicy:
    """Trains the SFT model against the reward model, on the prompts of the training split.

    Args:
        sft: Where the policy starts, and what it is kept close to.
        reward: What it is trained against; its judge decides when to stop.
        messages: Only the prompts are used.
        config: The section `ppo_text`.
        seed: Of prompts, messages and order; equal seeds give equal bytes on one machine.
        progress: Told of reward, judge, KL, its weight and sample texts after every step.
        checkpoints: Folder to keep checkpoints in, and to go on from; none are kept without it.
        guide: Keeps what is written to the facts of its prompt; ratio and KL are of what could be drawn under it.

    Raises:
        ModelError: The reward model belongs to another SFT model.
        TextError: A prompt leaves no room for a message.
    """
    prompts = list(dict.fromkeys(messages.of("train")["prompt"]))
    refuse_beyond_memory("ppo_text", config, policy_needs(sft, prompts, config))
    folder = checkpoint_folder(checkpoints, "ppo_text", config, seed, prompts, sft.digest, reward.digest)
    with threads(config.compute):
        trainer = PpoTrainer(sft, reward, config, seed, guide)
        if folder is not None and (found := newest_checkpoint(folder)) is not None:
            trainer.restore(found)
        while trainer.step < config.steps:
            goes_on = trainer.run_step(prompts_of_step(prompts, trainer.step, config.batch_size, seed))
            diary = trainer.diary
            progress(step=trainer.step, total=config.steps, samples=diary.shown, **diary.latest)
            if not goes_on:
                break
            if folder is not None and trainer.step % config.checkpoint_steps == 0:
                write_checkpoint(folder, trainer.step, trainer.save)
        return trainer.finished()


class PpoTrainer:
    """One training: the networks, the optimizer and what was written so far.

    Everything random in a step comes from the seed and the step's number, so that a resumed training goes on bit for
    bit.

    Attributes:
        step: Steps done.
        diary: What was written so far, and what is made of it.
        first_ratios: Probability ratios of the first pass of the last step: all 1, as nothing was learned yet.
    """

    def __init__(
        self,
        sft: LanguageModel,
        reward: RewardModel,
        config: PpoTextConfig,
        seed: int,
        guide: Guide | None = None,
    ) -> None:
        """Builds policy, reference, critic, reward network and judge.

        Raises:
            ModelError: The reward model belongs to another SFT model.
        """
        self._tokenizer, self._scale, self._config, self._seed = sft.tokenizer, reward.reward, config, seed
        self._device, self._guide = device_of(config.compute), guide
        self.diary = Diary(sft, reward, config, guide)
        torch.manual_seed(seed)  # of adapters' first weights
        self.policy = self._trainable(sft.network(), "CAUSAL_LM")
        self.critic = self._trainable(reward.network(), "SEQ_CLS")
        self._reference = without_dropout(sft.network()).to(self._device)
        self.optimizer = torch.optim.AdamW(
            [*trainables(self.policy).values(), *trainables(self.critic).values()],
            lr=config.learning_rate,
            betas=(0.9, config.adam_beta2),
            weight_decay=0.0,
            fused=True,
        )
        self.step = 0
        self.first_ratios = torch.ones(0)

    def run_step(self, prompts: Sequence[str]) -> bool:
        """Writes a message for every prompt and learns from them.

        Returns:
            False where the judge has turned: nothing was learned then, and training is over.
        """
        config, diary = self._config, self.diary
        written, batches = self._write(prompts)
        # Float32, as the published reward model answers: what is logged is what anybody finds.
        judged = diary.jury.of(prompts, written)
        kl = torch.cat([(each.log_p - each.reference).sum(1) for each in batches])
        tokens = torch.cat([each.batch.written.sum(1) for each in batches])
        kl_a_token = float(kl.sum() / tokens.sum())
        by_text = np.empty(len(written), np.float32)
        by_text[[row for each in batches for row in each.batch.rows]] = (kl / tokens).cpu().numpy()
        diary.write(
            prompts,
            written,
            judged,
            tokens=float(tokens.mean()),
            by_text=by_text,
            kl=kl_a_token,
            beta=diary.beta,
        )
        diary.ask_the_judge(self.policy)
        if diary.turned:
            return False
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        diary.add(**self._learn(batches, torch.from_numpy(judged.reward).to(self._device)))
        diary.steer(kl_a_token)
        self.step += 1
        return True

    def save(self, folder: Path) -> None:
        """Writes all that is needed to go on."""
        moments = {
            f"{number}.{name}": value
            for number, values in self.optimizer.state_dict()["state"].items()
            for name, value in values.items()
        }
        for name, tensors in (
            ("policy", trainables(self.policy)),
            ("critic", trainables(self.critic)),
            ("optimizer", moments),
        ):
            save_file(copied(tensors), folder / f"{name}.safetensors")
        self.diary.save(folder / _STATE, step=self.step)

    def restore(self, folder: Path) -> None:
        """Goes on from there."""
        load(self.policy, load_file(folder / "policy.safetensors"))
        load(self.critic, load_file(folder / "critic.safetensors"))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in load_file(folder / "optimizer.safetensors").items():
            number, _, part = name.partition(".")
            moments.setdefault(int(number), {})[part] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step = self.diary.restore(folder / _STATE)["step"]

    def finished(self) -> TextPolicy:
        """The trained policy; nothing can be learned afterwards."""
        return self.diary.finished(self.policy, self.step)

    def _trainable(self, network: Any, kind: str) -> Any:
        network = without_dropout(network)
        if self._config.lora is not None:
            network = without_dropout(peft.get_peft_model(network, lora(self._config.lora, kind)))
        return network.to(self._device)

    def _write(self, prompts: Sequence[str]) -> tuple[list[Generated], list[Experience]]:
        config, tokenizer = self._config, self._tokenizer
        seed, most = seed_of_step(self._seed, self.step, 0), config.max_new_tokens
        with torch.no_grad(), precision(config.compute, self._device):
            writer = Writer(self.policy, tokenizer)
            written = [
                each[0]
                for each in generate(writer, prompts, seed=seed, max_new_tokens=most, guide=self._guide)
            ]
            batches = mini_batches(
                tokenizer.encode(prompts),
                [each.tokens for each in written],
                config.mini_batch_size,
                tokenizer.pad_id,
                self._device,
            )
            learned = [self._experience(batch, prompts, written) for batch in batches]
        return written, learned

    def _experience(
        self, batch: MiniBatch, prompts: Sequence[str], written: Sequence[Generated]
    ) -> Experience:
        allowed = None
        if self._guide is not None:
            facts = self._guide.of(prompts[row] for row in batch.rows)
            tokens, most = [written[row].tokens for row in batch.rows], self._config.max_new_tokens
            allowed = self._guide.masks.along(facts, tokens, most, self.policy.config.vocab_size)
            allowed = allowed.to(self._device)
        log_p, reference = (
            self._log_probs(network, batch, allowed) for network in (self.policy, self._reference)
        )
        return Experience(batch, log_p, reference, self._values(batch), allowed)

    def _log_probs(self, network: Any, batch: MiniBatch, allowed: torch.Tensor | None) -> torch.Tensor:
        found = completion_log_probs(network, batch.ids, batch.mask, batch.prompt_length, allowed)
        return found * batch.written

    def _values(self, batch: MiniBatch) -> torch.Tensor:
        """On the scale of the rewards, which the critic starts from."""
        hidden = hidden_states(self.critic, batch.ids, batch.mask)[:, batch.prompt_length - 1 : -1]
        raw = value_head(self.critic)(hidden)[..., 0].float()
        return (raw - self._scale.mean) / self._scale.std * batch.written

    def _learn(self, batches: Sequence[Experience], score: torch.Tensor) -> dict[str, float]:
        config = self._config
        gains, returns = [], []
        for each in batches:
            written = each.batch.written
            rewards = token_rewards(
                score[each.batch.rows], each.log_p - each.reference, written, self.diary.beta
            )
            gains.append(advantages(rewards, each.values, written, config.discount_factor, config.gae_lambda))
            returns.append(gains[-1] + each.values)
        explained = explained_variance(
            torch.cat([found[each.batch.written > 0] for found, each in zip(returns, batches, strict=True)]),
            torch.cat([each.values[each.batch.written > 0] for each in batches]),
        )
        gains = whitened(gains, [each.batch.written for each in batches])
        order = np.random.default_rng(seed_of_step(self._seed, self.step, 1))
        sums = {"policy_loss": 0.0, "value_loss": 0.0, "clipped": 0.0}
        passes = config.gradient_accumulation_steps
        updates = 0
        for _ in range(config.ppo_epochs):
            turn = order.permutation(len(batches))
            for start in range(0, len(turn), passes):
                group = turn[start : start + passes]
                tokens = sum(batches[i].batch.written.sum() for i in group)
                for i in group:
                    each = batches[i]
                    written = each.batch.written
                    with precision(config.compute, self._device):
                        log_p = self._log_probs(self.policy, each.batch, each.allowed)
                        values = self._values(each.batch)
                    surrogate, ratio = policy_loss(log_p, each.log_p, gains[i], config.clip_range)
                    error = value_loss(values, each.values, returns[i], config.value_clip_range)
                    # Divided by the group's tokens: as if its passes had been one.
                    policy_part, value_part = ((part * written).sum() / tokens for part in (surrogate, error))
                    (policy_part + config.value_coef * value_part).backward()
                    if not updates and i == group[0]:
                        self.first_ratios = ratio.detach()[written > 0]
                    beyond = ((ratio.detach() - 1).abs() > config.clip_range) * written
                    sums["policy_loss"] += float(policy_part.detach())
                    sums["value_loss"] += float(value_part.detach())
                    sums["clipped"] += float(beyond.sum() / tokens)
                for network in (self.policy, self.critic):
                    nn.utils.clip_grad_norm_(trainables(network).values(), config.max_grad_norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                updates += 1
        return {key: value / updates for key, value in sums.items()} | {"explained_variance": explained}


def whitened(values: Sequence[torch.Tensor], written: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Each less the mean of all and in units of their standard deviation; 0 where nothing was written."""
    count = sum(mask.sum() for mask in written)
    mean = sum((each * mask).sum() for each, mask in zip(values, written, strict=True)) / count
    spread = sum((((each - mean) ** 2) * mask).sum() for each, mask in zip(values, written, strict=True))
    scale = torch.rsqrt(spread / count + 1e-8)
    return [(each - mean) * scale * mask for each, mask in zip(values, written, strict=True)]


def explained_variance(returns: torch.Tensor, values: torch.Tensor) -> float:
    """Share of the returns' variance that the critic foresaw; 1 is all, below 0 is worse than their mean."""
    return float(1 - ((returns - values) ** 2).mean() / (returns.var(correction=0) + 1e-8))


def value_head(critic: Any) -> Any:
    """The linear layer that makes a value of a hidden state."""
    return (critic.get_base_model() if isinstance(critic, peft.PeftModel) else critic).score


def without_dropout(network: Any) -> Any:
    """The network without any: probability ratios start at exactly 1."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for key in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
        if hasattr(network.config, key):
            setattr(network.config, key, 0.0)
    return network
