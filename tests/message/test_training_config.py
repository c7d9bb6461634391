"""Every key of the three sections reaches the parameter that it names; what would be ignored is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from tiny_models import PPO, REWARD, SFT

from churn_assets.message.model.base_model import base_model
from churn_assets.message.model.language_model import ModelError
from churn_assets.message.model.tokenizer import train_tokenizer
from churn_assets.message.training.compute import DeviceMissing, device_of, precision, threads
from churn_assets.message.training.config import (
    ComputeConfig,
    FromScratch,
    LoraConfig,
    PpoTextConfig,
    RewardModelConfig,
    SftModelConfig,
)
from churn_assets.message.training.diary import Diary
from churn_assets.message.training.grpo import Follower, grpo_trainer
from churn_assets.message.training.ppo import PpoTrainer, train_ppo
from churn_assets.message.training.progress import silent
from churn_assets.message.training.reward import judges_pairs, preference_columns, reward_network
from churn_assets.message.training.sft import supervised_columns
from churn_assets.message.training.supervised import Reporter, supervised_trainer, total_steps

QUIET = Reporter(silent, lambda network: ({}, ()), 1)
SUPERVISED = [
    ("learning_rate", 0.5, "learning_rate"),
    ("batch_size", 3, "per_device_train_batch_size"),
    ("gradient_accumulation_steps", 2, "gradient_accumulation_steps"),
    ("max_steps", 1, "max_steps"),
    ("warmup_steps", 7, "warmup_steps"),
    ("weight_decay", 0.3, "weight_decay"),
    ("adam_beta2", 0.7, "adam_beta2"),
    ("max_grad_norm", 0.4, "max_grad_norm"),
    ("checkpoint_steps", 9, "save_steps"),
]


@pytest.fixture(scope="module")
def trainer_of(tiny_sft, some_messages, some_preferences, tmp_path_factory):
    """A trainer as configured, not run."""

    def make(config):
        folder = tmp_path_factory.mktemp("trainer")
        tokenizer = tiny_sft.tokenizer
        if isinstance(config, SftModelConfig):
            rows = some_messages.of("train").head(8)
            columns = supervised_columns(tokenizer, rows["prompt"].tolist(), rows["completion"].tolist())
            network = tiny_sft.network()
        else:
            columns = preference_columns(tokenizer, some_preferences.of("train").head(8))
            network = reward_network(tiny_sft, 0)
        return supervised_trainer(
            network, tokenizer, columns, config, QUIET, seed=11, folder=folder, keep_checkpoints=True
        )

    return make


@pytest.mark.parametrize("section", [SFT, REWARD], ids=["sft_model", "reward_model"])
@pytest.mark.parametrize(("key", "value", "argument"), SUPERVISED)
def test_every_key_of_a_supervised_stage_reaches_its_trainer(trainer_of, section, key, value, argument):
    trainer = trainer_of(section.model_copy(update={key: value}))

    assert getattr(trainer.args, argument) == value
    assert trainer.args.seed == 11


def test_the_reward_trainer_centres_rewards_as_configured(trainer_of):
    trainer = trainer_of(REWARD.model_copy(update={"center_rewards_coefficient": 0.5}))

    assert trainer.args.center_rewards_coefficient == 0.5


@pytest.mark.parametrize(("schedule", "late"), [("cosine", 0.0), ("constant_with_warmup", 1.0)])
def test_the_learning_rate_falls_or_stays_after_the_warm_up(
    tiny_sft, some_preferences, tmp_path, schedule, late
):
    """The network learns one kind of fact after the other, the last one when a falling rate has all but ended."""
    columns = preference_columns(tiny_sft.tokenizer, some_preferences.of("train").head(8))
    place = {"seed": 11, "folder": tmp_path, "keep_checkpoints": False}
    network = reward_network(tiny_sft, 0)
    trainer = supervised_trainer(
        network, tiny_sft.tokenizer, columns, REWARD, QUIET, **place, schedule=schedule
    )
    steps = trainer.args.max_steps

    trainer.create_optimizer_and_scheduler(steps)
    at_the_end = trainer.lr_scheduler.lr_lambdas[0](steps)

    assert at_the_end == pytest.approx(late, abs=1e-6)


@pytest.mark.parametrize("section", [SFT, REWARD], ids=["sft_model", "reward_model"])
def test_lora_is_applied_where_configured(trainer_of, section):
    lora = LoraConfig(r=3, alpha=5, target_modules=("q_proj", "v_proj"), dropout=0.2)

    trainer = trainer_of(section.model_copy(update={"lora": lora}))

    found = trainer.model.peft_config["default"]
    assert (found.r, found.lora_alpha, found.lora_dropout) == (3, 5, 0.2)
    adapted = {name.split(".")[-4] for name, value in trainer.model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "v_proj"}


@pytest.mark.parametrize("section", [SFT, REWARD], ids=["sft_model", "reward_model"])
def test_bfloat16_is_autocast_and_weights_stay_float32(trainer_of, section):
    compute = ComputeConfig(device="cpu", dtype="bfloat16")

    trainer = trainer_of(section.model_copy(update={"compute": compute}))

    assert trainer.args.bf16
    assert {value.dtype for value in trainer.model.parameters()} == {torch.float32}
    with precision(compute, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("epochs", "accumulation", "max_steps", "steps"),
    [
        (1.0, 1, None, 5),
        (2.0, 1, None, 10),
        (0.5, 1, None, 3),
        (2.0, 2, None, 4),
        (2.0, 1, 7, 7),
        (1.0, 1, 7, 5),
    ],
)
def test_epochs_and_max_steps_give_the_number_of_optimizer_steps(epochs, accumulation, max_steps, steps):
    config = SftModelConfig(
        epochs=epochs, gradient_accumulation_steps=accumulation, max_steps=max_steps, batch_size=4
    )

    assert total_steps(config, rows=18) == steps


def test_a_model_from_scratch_has_the_configured_shape():
    texts = ["Service: phone plan\nMessage:", " Hello {name}, thank you for being our customer."] * 3
    config = FromScratch(
        source="from_scratch",
        vocabulary=280 + 30,
        hidden_size=24,
        intermediate_size=40,
        layers=3,
        heads=2,
        max_positions=77,
        init_std=0.3,
    )

    network, tokenizer = base_model(config, texts, seed=0, root=None)

    shape = network.config
    assert (shape.hidden_size, shape.intermediate_size) == (24, 40)
    assert (shape.num_hidden_layers, shape.num_attention_heads) == (3, 2)
    assert (shape.max_position_embeddings, shape.initializer_range) == (77, 0.3)
    assert shape.vocab_size == tokenizer.size <= 310
    assert network.get_input_embeddings().weight.std().item() == pytest.approx(0.3, rel=0.1)


def test_the_vocabulary_is_as_large_as_configured_where_there_are_words_enough(some_messages):
    texts = some_messages.of("train")["completion"]

    assert train_tokenizer(texts, 333).size == 333


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.1), (0.25, 0.25), (0.5, 0.5)])
def test_the_judge_gets_its_share_of_the_customers_and_shares_none(preferences, share, expected):
    customers = preferences.of("train")["customer_id"]

    judged = judges_pairs(customers, share, seed=0)

    assert customers[judged].nunique() / customers.nunique() == pytest.approx(expected, abs=0.001)
    assert not set(customers[judged]) & set(customers[~judged])


@pytest.mark.parametrize(
    ("key", "value", "resolved"),
    [
        ("learning_rate", 0.01, lambda t: t.optimizer.param_groups[0]["lr"]),
        ("adam_beta2", 0.5, lambda t: t.optimizer.param_groups[0]["betas"][1]),
        ("init_beta", 0.7, lambda t: t.diary.beta),
    ],
)
def test_every_key_of_the_optimizer_reaches_it(tiny_sft, tiny_reward, key, value, resolved):
    config = PPO.model_copy(update={key: value})

    assert resolved(PpoTrainer(tiny_sft, tiny_reward, config, seed=0)) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ppo_epochs", 4),
        ("mini_batch_size", 2),
        ("gradient_accumulation_steps", 2),
        ("max_grad_norm", 1e-4),
        ("clip_range", 1e-4),
        ("value_clip_range", 1e-4),
        ("value_coef", 0.0),
        ("gae_lambda", 0.1),
        ("discount_factor", 0.5),
        ("reward_clip", 0.01),
        ("missing_eos_penalty", 3.0),
        ("init_beta", 2.0),
        ("kl_gain", 0.9),
    ],
)
def test_no_key_of_ppo_is_without_effect(tiny_sft, tiny_reward, tiny_policy, some_messages, key, value):
    """Each one of them changes what is learned; the formulas themselves have tests of their own."""
    config = PPO.model_copy(update={key: value})

    changed = train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0)

    assert changed.model.digest != tiny_policy.model.digest


def test_the_learning_rate_of_ppo_falls_to_nothing_over_the_steps(tiny_sft, tiny_reward, some_messages):
    trainer = PpoTrainer(
        tiny_sft, tiny_reward, PPO.model_copy(update={"steps": 4, "learning_rate": 0.8e-3}), 0
    )
    prompts = some_messages.of("train")["prompt"].tolist()[:8]
    used = []

    for _ in range(4):
        trainer.run_step(prompts)
        used.append(trainer.optimizer.param_groups[0]["lr"])

    assert used == pytest.approx([0.8e-3, 0.6e-3, 0.4e-3, 0.2e-3])


def test_the_weight_of_kl_is_steered_to_the_configured_target(tiny_sft, tiny_reward, some_messages):
    last = []
    for target in (1e-6, 1e3):
        config = PPO.model_copy(
            update={"learning_rate": 3e-2, "steps": 4, "batch_size": 16, "target_kl": target}
        )
        curve = train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0).model.record.curve
        assert curve[1]["kl"] > 1e-6
        last.append(curve[-1]["beta"])

    assert last[0] > PPO.init_beta * 0.9 > last[1]


@pytest.mark.parametrize(("steps", "batch_size", "max_new_tokens"), [(2, 4, 7), (1, 12, 5)])
def test_as_many_messages_of_at_most_that_length_are_written(
    tiny_sft, tiny_reward, some_messages, steps, batch_size, max_new_tokens
):
    config = PPO.model_copy(
        update={"steps": steps, "batch_size": batch_size, "max_new_tokens": max_new_tokens}
    )

    rollouts = train_ppo(tiny_sft, tiny_reward, some_messages, config, seed=0).rollouts

    assert rollouts.groupby("step").size().tolist() == [batch_size] * steps
    assert rollouts["tokens"].max() == max_new_tokens


@pytest.mark.parametrize(
    ("key", "value", "argument", "expected"),
    [
        ("steps", 5, "max_steps", 5 * 2 * 2),
        ("batch_size", 16, "generation_batch_size", 16),
        ("mini_batch_size", 2, "per_device_train_batch_size", 2),
        ("gradient_accumulation_steps", 2, "gradient_accumulation_steps", 2),
        ("ppo_epochs", 3, "num_iterations", 3),
        ("learning_rate", 0.01, "learning_rate", 0.01),
        ("adam_beta2", 0.5, "adam_beta2", 0.5),
        ("max_grad_norm", 0.2, "max_grad_norm", 0.2),
        ("max_new_tokens", 9, "max_completion_length", 9),
        ("init_beta", 0.3, "beta", 0.3),
        ("clip_range", 0.05, "epsilon", 0.05),
        ("num_generations", 4, "num_generations", 4),
        ("checkpoint_steps", 3, "save_steps", 3 * 2 * 2),
    ],
)
def test_every_key_of_grpo_reaches_its_trainer(
    tiny_sft, tiny_reward, tmp_path, key, value, argument, expected
):
    config = PPO.model_copy(update={"algorithm": "grpo", key: value})
    follower = Follower(Diary(tiny_sft, tiny_reward, config), tiny_sft.tokenizer, config, silent)

    trainer = grpo_trainer(
        tiny_sft, ["A", "B"], config, follower, seed=5, folder=tmp_path, keep_checkpoints=True
    )

    assert getattr(trainer.args, argument) == expected
    assert trainer.args.importance_sampling_level == "token"
    assert trainer.args.seed == 5


def test_lora_leaves_the_rest_of_policy_and_critic_as_it_is(tiny_sft, tiny_reward):
    lora = LoraConfig(r=2, alpha=4, target_modules=("q_proj",), dropout=0.5)

    trainer = PpoTrainer(tiny_sft, tiny_reward, PPO.model_copy(update={"lora": lora}), seed=0)

    policy = [name for name, value in trainer.policy.named_parameters() if value.requires_grad]
    critic = [name for name, value in trainer.critic.named_parameters() if value.requires_grad]
    assert all("q_proj.lora_" in name for name in policy)
    assert all("q_proj.lora_" in name or "score" in name for name in critic)
    dropouts = [module.p for module in trainer.policy.modules() if isinstance(module, torch.nn.Dropout)]
    assert set(dropouts) <= {0.0}, "the ratio must start at exactly 1"


def test_a_configured_gpu_that_is_not_there_is_an_error_and_auto_takes_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    assert device_of(ComputeConfig(device="auto")) == torch.device("cpu")
    with pytest.raises(DeviceMissing, match=r"compute\.device: found no GPU"):
        device_of(ComputeConfig(device="cuda"))


def test_threads_are_set_for_the_training_alone():
    before = torch.get_num_threads()

    with threads(ComputeConfig(threads=before + 1)):
        assert torch.get_num_threads() == before + 1

    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"batch_size": 10, "mini_batch_size": 4}, "mini_batch_size 4 does not divide batch_size 10"),
        (
            {"batch_size": 8, "mini_batch_size": 4, "gradient_accumulation_steps": 3},
            "gradient_accumulation_steps 3 does not divide the 2 passes",
        ),
        ({"algorithm": "grpo", "gae_lambda": 0.9}, "gae_lambda has no meaning with algorithm: grpo"),
        ({"num_generations": 4}, "num_generations has no meaning with algorithm: ppo"),
        ({"algorithm": "grpo", "init_beta": 0.0}, "init_beta 0"),
        (
            {"algorithm": "grpo", "num_generations": 3, "mini_batch_size": 16},
            "num_generations 3 does not divide mini_batch_size 16",
        ),
        ({"lr": 1e-5}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_or_would_be_ignored_is_refused(section, message):
    with pytest.raises(ValidationError, match=message):
        PpoTextConfig(**section)


def test_a_width_that_the_heads_do_not_share_is_refused():
    with pytest.raises(ValidationError, match="hidden_size 12 is not an even multiple of heads 4"):
        FromScratch(source="from_scratch", hidden_size=12, heads=4)


@pytest.mark.parametrize("revision", [{}, {"revision": "main"}, {"revision": "0" * 12}])
def test_a_model_of_the_hub_without_its_commit_is_refused(revision):
    base = {"source": "hub", "name": "facebook/opt-350m", **revision}
    with pytest.raises(ValidationError, match="revision"):
        TypeAdapter(SftModelConfig).validate_python({"base": base})


def test_the_production_shape_is_read_as_written():
    lora = {"r": 16, "alpha": 32, "target_modules": ["q_proj", "v_proj"]}
    base = {"source": "hub", "name": "facebook/opt-350m", "revision": "0" * 40}
    sft = TypeAdapter(SftModelConfig).validate_python({"base": base, "lora": lora})
    reward = RewardModelConfig.model_validate({"lora": lora})
    ppo = PpoTextConfig.model_validate(
        {
            "lora": lora,
            "learning_rate": 1.4e-5,
            "batch_size": 16,
            "mini_batch_size": 4,
            "ppo_epochs": 4,
            "steps": 1000,
            "max_new_tokens": 128,
            "init_beta": 0.1,
            "target_kl": 0.15,
        }
    )

    assert sft.base.name == "facebook/opt-350m"
    assert (reward.lora.r, reward.lora.alpha, ppo.lora.target_modules) == (16, 32, ("q_proj", "v_proj"))
    assert (ppo.learning_rate, ppo.steps, ppo.max_new_tokens) == (1.4e-5, 1000, 128)


def test_a_folder_without_a_model_is_an_error_that_names_the_key(tmp_path):
    config = SftModelConfig.model_validate({"base": {"source": "folder", "path": "nowhere"}}).base

    with pytest.raises(ModelError, match=r"sft_model\.base\.path: found no config\.json"):
        base_model(config, [], seed=0, root=tmp_path)
