"""Config sections of `sft_model`, `reward_model` and `ppo_text`. Nothing here trains, loads or samples anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from churn_assets.message.config import OUTCOMES
from churn_assets.message.training.gate_config import PpoTextGates, RewardGates, SftGates

if TYPE_CHECKING:
    import pandas as pd

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LoraConfig(_Section):
    """Low-rank adapters (peft) instead of training every weight; merged into the weights before anything is saved."""

    r: PositiveInt = 16
    alpha: PositiveInt = 32
    target_modules: Annotated[tuple[str, ...], Field(min_length=1)] = ("q_proj", "v_proj")
    dropout: Share = 0.0
    """During SFT and reward training; off in RL, where the ratio must start at exactly 1."""


class ComputeConfig(_Section):
    """Where and how precisely a model is trained."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where there is one."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of matrix products (autocast). Weights stay float32: bfloat16 would round small updates away."""
    threads: PositiveInt | Literal["auto"] = "auto"
    """On a CPU. Two train the small base 1.6 times as fast as one on a quiet machine, and many times slower beside
    other work: `auto` takes two where the load leaves room for both, else one. Runs repeat bit for bit only at an
    equal number: name it where they must."""
    check_memory: bool = True
    """Refuse a training that needs more memory than is free, before it begins. What it needs is an estimate."""


class FromScratch(_Section):
    """A small Llama with random weights and its own byte-level BPE tokenizer, both from the training texts alone.

    With rotary positions it learned to copy in two thirds of the steps that learned ones needed, and a third layer lets
    the reward model compare what a text says with what its prompt says.
    """

    source: Literal["from_scratch"]
    vocabulary: Annotated[int, Field(ge=300)] = 1024
    """Most tokens; small corpora run out of merges earlier."""
    hidden_size: PositiveInt = 128
    intermediate_size: PositiveInt = 320
    layers: PositiveInt = 3
    heads: PositiveInt = 4
    max_positions: PositiveInt = 320
    init_std: PositiveFloat = 0.08
    """At the usual .02 the tiny model never learned to copy the offer."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> FromScratch:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not an even multiple of heads {self.heads}")
        return self


class _Pretrained(_Section):
    pad_token: str | None = None
    """A token of the vocabulary that no text contains; needed where the tokenizer names none of its own, or names the
    end-of-text token."""


class LocalFolder(_Pretrained):
    """A pretrained model in a local folder: config.json, safetensors, tokenizer.json."""

    source: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    """Relative to the project."""


class Hub(_Pretrained):
    """A pretrained model of the Hugging Face hub; only safetensors are read, and no code of the repository runs."""

    source: Literal["hub"]
    name: Annotated[str, Field(min_length=1)]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    """The commit: a branch is whatever its owner puts there, and what was read is then nobody's word."""


Base = Annotated[FromScratch | LocalFolder | Hub, Field(discriminator="source")]


class TextTraining(_Section):
    """What every training needs."""

    learning_rate: PositiveFloat
    gradient_accumulation_steps: PositiveInt = 1
    """Passes an optimizer step."""
    adam_beta2: Annotated[float, Field(gt=0, lt=1)] = 0.98
    max_grad_norm: PositiveFloat = 1.0
    checkpoint_steps: PositiveInt
    """Steps between checkpoints, where a folder for them is given."""
    lora: LoraConfig | None = None
    compute: ComputeConfig = ComputeConfig()


class _Supervised(TextTraining):
    """What both supervised stages need."""

    batch_size: PositiveInt = 16
    """Rows a forward and backward pass."""
    epochs: PositiveFloat
    max_steps: PositiveInt | None = None
    """Optimizer steps at which training ends even if epochs are left."""
    warmup_steps: Annotated[int, Field(ge=0)] = 20
    """Then the learning rate falls to zero along a cosine."""
    weight_decay: NonNegativeFloat = 0.01
    max_length: PositiveInt = 256
    """Most tokens of prompt and message; a longer row is an error, never cut or dropped."""
    reports: PositiveInt = 5
    """How often the held-out figures and sample texts are made."""
    checkpoint_steps: PositiveInt = 100


class SftModelConfig(_Supervised):
    """Supervised fine-tuning (TRL SFTTrainer) on prompt and message; the loss is the message's alone."""

    base: Base = FromScratch(source="from_scratch")
    learning_rate: PositiveFloat = 3e-3
    epochs: PositiveFloat = 1.5
    gates: SftGates = SftGates()


class OutcomeWorth(_Section):
    """What each outcome of a message counts, where sends and what came of them are known."""

    accepted: float = 0.25
    """An offer that was accepted: it is not all gain, as a discount is paid to some who would have stayed."""
    stayed: float = 1.0
    """A customer who stayed in the label window."""
    complained: float = -0.5
    """A complaint, beside whoever leaves over it."""

    def of(self, outcomes: Mapping[str, npt.NDArray[np.float64]] | pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n,) of outcomes by name, each (n,): 0 or 1, or their chances."""
        return np.asarray(sum(getattr(self, name) * np.asarray(outcomes[name], float) for name in OUTCOMES))


class RewardModelConfig(_Supervised):
    """Reward model (TRL RewardTrainer) on preference pairs, initialised from the SFT model, and its judge.

    Where `preferences` brings sends with what came of them, both learn from these as well, each from its own
    customers'.
    """

    learning_rate: PositiveFloat = 1e-3
    epochs: PositiveFloat = 1.0
    warmup_steps: Annotated[int, Field(ge=0)] = 10
    center_rewards_coefficient: NonNegativeFloat = 0.01
    judge_share: Annotated[float, Field(ge=0.1, le=0.5)] = 1 / 3
    """Share of the customers whose pairs and sends train only the judge: a linear model over words that no policy is
    trained against."""
    outcome_pairs: Annotated[int, Field(ge=0)] = 2400
    """Pairs of texts that were sent, the better taken one preferred, that the reward learns from where there are
    sends."""
    worth: OutcomeWorth = OutcomeWorth()
    counterfactual_pairs: Annotated[int, Field(ge=0)] = 4800
    """Pairs that the reward learns from first, made of preferred texts alone: half are nothing but a fact of a
    prompt over another prompt's, the others texts up to such a fact. Without them single edits of an offer are ranked
    by chance. Their learning rate does not fall after the warm-up: one kind of fact is learned after the other."""
    normalisation_samples: Annotated[int, Field(ge=16)] = 128
    """Messages of the SFT model whose rewards give the fixed mean and standard deviation of the z-score."""
    max_new_tokens: PositiveInt = 96
    """Of those messages."""
    gates: RewardGates = RewardGates()


_GRPO_ONLY = frozenset({"num_generations"})
_PPO_ONLY = frozenset({"discount_factor", "gae_lambda", "value_clip_range", "value_coef"})


class Sampling(_Section):
    """How tokens are drawn from a language model. Its rarest tokens are where a small one goes wrong."""

    temperature: PositiveFloat = 1.0
    """What logits are divided by; below 1, probable tokens become more probable."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Only the most probable tokens are drawn that make up this much of the probability (nucleus sampling); 1 draws
    every token."""


EVERY_TOKEN = Sampling(top_p=1.0)
"""Draws from the model's own distribution."""


class PpoTextConfig(TextTraining):
    """Reinforcement learning against the reward model: PPO, or TRL's critic-free GRPO."""

    algorithm: Literal["ppo", "grpo"] = "ppo"
    steps: PositiveInt = 16
    """Batches of messages written and learned from."""
    batch_size: PositiveInt = 64
    """Messages a step."""
    mini_batch_size: PositiveInt = 16
    """Messages a forward and backward pass."""
    ppo_epochs: PositiveInt = 2
    """Times that a step's messages are learned from."""
    learning_rate: PositiveFloat = 3.5e-4
    """At the start; PPO's falls linearly over the steps, GRPO's stays."""
    max_new_tokens: PositiveInt = 96
    sampling: Sampling = Sampling()
    """Of the messages that are sent, and gated; the policy is trained on draws of every token."""
    init_beta: NonNegativeFloat = 0.1
    """Weight of the KL divergence from the SFT model at the start."""
    target_kl: PositiveFloat = 0.15
    """Nats a token that the weight steers to."""
    kl_gain: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """Most that the weight changes a step, as a share of it; 0 keeps it as it is."""
    clip_range: PositiveFloat = 0.2
    """Of the probability ratio of each token."""
    value_clip_range: PositiveFloat = 0.2
    value_coef: NonNegativeFloat = 0.5
    gae_lambda: Share = 1.0
    """Below 1 the critic says what a beginning is worth, and it starts as a reward of whole texts: at .95 a quickstart
    came to open four of five messages with the name alone, which its reward disliked, and ended at a raw reward of 1.2;
    at 1, at 2.0."""
    discount_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    reward_clip: PositiveFloat = 5.0
    """In standard deviations of the SFT model's rewards."""
    missing_eos_penalty: NonNegativeFloat = 1.0
    """Taken from the reward of a message that does not end by itself."""
    refused_penalty: NonNegativeFloat = 2.0
    """Taken from the reward of a message that the safety rules forbid to send: a template would stand in for it."""
    told_often_penalty: NonNegativeFloat = 4.0
    """Times the share of the step's other messages that say a sentence too, the facts apart, on average over the
    message's sentences. A reward that likes one sentence a little more than others makes everybody say it."""
    num_generations: Annotated[int, Field(ge=2)] = 2
    """GRPO only: messages a prompt, whose rewards are compared."""
    stop_when_judge_turns: bool = True
    """End training, and keep the best step's weights, once the judge's score falls."""
    judge_window: PositiveInt = 4
    """Steps that the judge's score is averaged over."""
    judge_tolerance: NonNegativeFloat = 0.25
    """Standard deviations that the average must lie below its best to count as turned."""
    checkpoint_steps: PositiveInt = 8
    worth: OutcomeWorth = OutcomeWorth()
    """By which its messages are compared with the template's, where sends and what came of them are known."""
    gates: PpoTextGates = PpoTextGates()

    @model_validator(mode="after")
    def _batches_divide(self) -> PpoTextConfig:
        passes, rest = divmod(self.batch_size, self.mini_batch_size)
        if rest:
            msg = f"mini_batch_size {self.mini_batch_size} does not divide batch_size {self.batch_size}"
            raise ValueError(msg)
        if passes % self.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps {self.gradient_accumulation_steps} does not divide the {passes} passes "
                f"of batch_size {self.batch_size} by mini_batch_size {self.mini_batch_size}"
            )
        if self.algorithm == "grpo" and self.mini_batch_size % self.num_generations:
            msg = f"num_generations {self.num_generations} does not divide mini_batch_size {self.mini_batch_size}"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _nothing_ignored(self) -> PpoTextConfig:
        only = _PPO_ONLY if self.algorithm == "grpo" else _GRPO_ONLY
        if ignored := sorted(only & self.model_fields_set):
            msg = f"{', '.join(ignored)} has no meaning with algorithm: {self.algorithm}; leave it out"
            raise ValueError(msg)
        if self.algorithm == "grpo" and not self.init_beta:
            raise ValueError("init_beta 0: GRPO is trained with a reference model, so it must start above 0")
        return self
