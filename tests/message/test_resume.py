"""A training that died goes on as if it had not: bit for bit, and only from a checkpoint of its own."""

from __future__ import annotations

import json

import pytest
from tiny_models import PPO, REWARD, SFT

from churn_assets.message.training.checkpoint import newest_checkpoint
from churn_assets.message.training.config import LoraConfig
from churn_assets.message.training.grpo import train_grpo
from churn_assets.message.training.ppo import train_ppo
from churn_assets.message.training.reward import train_reward
from churn_assets.message.training.sft import train_sft
from churn_assets.remote.checkpoints import keep, restore
from churn_assets.store.local import LocalBackend


class Died(Exception):  # noqa: N818 - what happened
    pass


def dying_at(last):
    def listen(*, step, total, samples=(), **figures):
        if step >= last:
            raise Died

    return listen


def test_sft_resumed_is_sft_uninterrupted(some_messages, tmp_path):
    config = SFT.model_copy(update={"checkpoint_steps": 2})
    whole = train_sft(some_messages, config, seed=0, root=None)

    with pytest.raises(Died):
        train_sft(some_messages, config, seed=0, root=None, checkpoints=tmp_path, progress=dying_at(5))
    seen = []
    resumed = train_sft(
        some_messages,
        config,
        seed=0,
        root=None,
        checkpoints=tmp_path,
        progress=lambda *, step, total, samples=(), **figures: seen.append(step),
    )

    assert min(seen) > 4
    assert resumed.digest == whole.digest
    assert resumed.record == whole.record


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)], ids=["every weight", "adapters"])
def test_reward_training_resumed_is_reward_training_uninterrupted(some_preferences, tiny_sft, tmp_path, lora):
    config = REWARD.model_copy(update={"checkpoint_steps": 2, "lora": lora})
    whole = train_reward(some_preferences, tiny_sft, config, seed=0)

    for last in (3, 7, 11):  # while facts, while told facts, and while pairs are learned
        with pytest.raises(Died):
            train_reward(
                some_preferences, tiny_sft, config, seed=0, checkpoints=tmp_path, progress=dying_at(last)
            )
    resumed = train_reward(some_preferences, tiny_sft, config, seed=0, checkpoints=tmp_path)

    assert resumed.digest == whole.digest
    assert resumed.record == whole.record


@pytest.mark.parametrize("lora", [None, LoraConfig(r=2)], ids=["every weight", "adapters"])
def test_ppo_resumed_is_ppo_uninterrupted(some_messages, tiny_sft, tiny_reward, tmp_path, lora):
    config = PPO.model_copy(update={"steps": 5, "lora": lora, "stop_when_judge_turns": False})
    whole = train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0)

    with pytest.raises(Died):
        train_ppo(
            tiny_sft,
            tiny_reward,
            some_messages,
            config,
            seed=0,
            checkpoints=tmp_path,
            progress=dying_at(4),
        )
    seen = []
    resumed = train_ppo(
        tiny_sft,
        tiny_reward,
        some_messages,
        config,
        seed=0,
        checkpoints=tmp_path,
        progress=lambda *, step, total, samples=(), **figures: seen.append(step),
    )

    assert seen == [3, 4, 5]
    assert resumed.model.digest == whole.model.digest
    assert resumed.rollouts.equals(whole.rollouts)
    assert resumed.model.record == whole.model.record


def test_ppo_goes_on_from_the_store_on_another_machine(
    some_messages, tiny_sft, tiny_reward, tiny_policy, tmp_path
):
    backend, prefix = LocalBackend(tmp_path / "store"), "checkpoints/tiny/ppo_text/"
    lost, elsewhere = tmp_path / "lost", tmp_path / "elsewhere"
    with pytest.raises(Died):
        train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0, checkpoints=lost, progress=dying_at(3))
    keep(backend, prefix, lost)
    restore(backend, prefix, elsewhere, print)
    seen = []
    resumed = train_ppo(
        tiny_sft,
        tiny_reward,
        some_messages,
        PPO,
        seed=0,
        checkpoints=elsewhere,
        progress=lambda *, step, total, samples=(), **figures: seen.append(step),
    )

    assert seen == [3]
    assert resumed.model.digest == tiny_policy.model.digest


def test_grpo_resumed_is_grpo_uninterrupted(some_messages, tiny_sft, tiny_reward, tmp_path):
    config = PPO.model_copy(update={"steps": 4, "algorithm": "grpo"})
    whole = train_grpo(tiny_sft, tiny_reward, some_messages, config, seed=0)

    with pytest.raises(Died):
        train_grpo(
            tiny_sft,
            tiny_reward,
            some_messages,
            config,
            seed=0,
            checkpoints=tmp_path,
            progress=dying_at(3),
        )
    resumed = train_grpo(tiny_sft, tiny_reward, some_messages, config, seed=0, checkpoints=tmp_path)

    assert resumed.model.digest == whole.model.digest
    assert resumed.rollouts.equals(whole.rollouts)
    assert resumed.model.record == whole.model.record


def test_a_checkpoint_of_ppo_holds_nothing_that_could_run(some_messages, tiny_sft, tiny_reward, tmp_path):
    train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0, checkpoints=tmp_path)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]

    assert {path.suffix for path in files} == {".safetensors", ".parquet", ".json"}
    state = next(path for path in files if path.name == "state.json")
    assert json.loads(state.read_text())["step"] == 2


def test_another_config_seed_or_upstream_model_finds_no_checkpoint(
    some_messages, tiny_sft, tiny_reward, tiny_policy, tmp_path
):
    train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=1, checkpoints=tmp_path)

    found = train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0, checkpoints=tmp_path)

    assert found.model.digest == tiny_policy.model.digest
    assert len(list(tmp_path.iterdir())) == 2


def test_a_checkpoint_that_was_cut_short_is_not_read(tmp_path):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "policy.safetensors").write_bytes(b"half")

    assert newest_checkpoint(tmp_path) is None
