"""A real pretrained model goes through all three stages: SmolLM2-135M, adapters only, a few steps each."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_models import few

from churn_assets.message.model.format import PPO_TEXT
from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.training.config import (
    ComputeConfig,
    LocalFolder,
    LoraConfig,
    PpoTextConfig,
    RewardModelConfig,
    SftModelConfig,
)
from churn_assets.message.training.ppo import train_ppo
from churn_assets.message.training.reward import train_reward
from churn_assets.message.training.sft import train_sft
from churn_assets.store.staging import stage

ROOT = Path(__file__).parents[2]
SHARED = {
    "lora": LoraConfig(r=8, alpha=16, target_modules=("q_proj", "v_proj")),
    "compute": ComputeConfig(device="cpu", threads=2),
}
SUPERVISED = {"batch_size": 4, "warmup_steps": 1, "max_length": 400, "reports": 2, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """The model's folder, as `make smollm2` makes it."""
    folder = ROOT / ".churn" / "models" / "smollm2"
    assert (folder / "config.json").is_file(), "run `make test-slow`, which makes it"
    return folder


@pytest.mark.slow
def test_smollm2_goes_through_all_three_stages(smollm2, messages, preferences, tmp_path):
    few_messages = replace(messages, frame=few(messages, 24))
    few_pairs = replace(preferences, frame=few(preferences, 24))
    base = LocalFolder(source="folder", path=str(smollm2), pad_token="<|endoftext|>")

    sft = train_sft(
        few_messages, SftModelConfig(base=base, max_steps=8, **SUPERVISED, **SHARED), seed=0, root=ROOT
    )
    reward = train_reward(
        few_pairs,
        sft,
        RewardModelConfig(max_steps=4, normalisation_samples=16, max_new_tokens=48, **SUPERVISED, **SHARED),
        seed=0,
    )
    policy = train_ppo(
        sft,
        reward,
        few_messages,
        PpoTextConfig(
            steps=2, batch_size=8, mini_batch_size=4, max_new_tokens=48, learning_rate=1e-4, **SHARED
        ),
        seed=0,
    )

    perplexities = [entry["perplexity"] for entry in sft.record.curve]
    assert perplexities[-1] < perplexities[0] < 60
    assert policy.model.record.curve[0]["kl"] == pytest.approx(0, abs=1e-4)
    assert policy.model.record.curve[1]["kl"] != 0
    assert len(policy.rollouts) == 16
    staged = stage("ppo_text", policy, PPO_TEXT, tmp_path / "staged")
    assert staged.golden is not None
    prompts = few_messages.of("test")["prompt"].tolist()[:20]
    written = generate(Writer.of(policy.model), prompts, seed=0, max_new_tokens=80)
    for prompt, each in zip(prompts, written, strict=True):
        sys.stdout.write(f"{prompt}{each[0].text}\n\n")  # read with -s
    assert sum("%" in each[0].text for each in written) > 0
