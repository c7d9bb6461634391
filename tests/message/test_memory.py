"""What a training needs of memory is told before it begins: as much as a pass keeps, by name where it lacks."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from tiny_models import PPO, REWARD, SFT

from churn_assets.message.training import memory
from churn_assets.message.training.config import ComputeConfig, LoraConfig, PpoTextConfig
from churn_assets.message.training.memory import (
    TextPass,
    TooLittleMemory,
    free_memory,
    shapes_of,
    trained_parameters,
    training_need,
)

CPU = torch.device("cpu")
OPT = transformers.OPTConfig(
    vocab_size=800, hidden_size=128, ffn_dim=512, num_hidden_layers=3, num_attention_heads=2,
    max_position_embeddings=160, word_embed_proj_dim=128, pad_token_id=1,
)  # fmt: skip
LLAMA = transformers.LlamaConfig(
    vocab_size=800, hidden_size=128, intermediate_size=320, num_hidden_layers=3, num_attention_heads=2,
    num_key_value_heads=2,
)  # fmt: skip


def kept(network, rows: int, tokens: int) -> int:
    """Bytes that a forward pass keeps for the backward one, beside the weights."""
    weights = {each.untyped_storage().data_ptr() for each in network.parameters()}
    found: dict[int, int] = {}
    held = []

    def keep(each: torch.Tensor) -> torch.Tensor:
        place = each.untyped_storage()
        if place.data_ptr() not in weights:
            found[place.data_ptr()] = place.nbytes()
            held.append(each)  # so that no other takes its place
        return each

    ids = torch.randint(4, 800, (rows, tokens))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
        network(ids, attention_mask=torch.ones_like(ids), labels=ids)
    return sum(found.values())


@pytest.mark.parametrize("config", [OPT, LLAMA])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_estimate_is_about_what_a_pass_keeps_and_not_below_it(config, dtype):
    network = transformers.AutoModelForCausalLM.from_config(config).train()
    section = SFT.model_copy(update={"compute": ComputeConfig(dtype=dtype)})
    need = training_need(
        shapes_of(network.named_parameters()), config, section, TextPass(4, 128, 128), built=True
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
        found = kept(network, 4, 128)
    assert 0.9 * found <= need.activations <= 2.5 * found, found / need.activations
    assert need.training == 3 * 4 * network.num_parameters()
    assert need.weights == 0


def test_adapters_are_counted_as_peft_makes_them():
    import peft

    network = transformers.OPTForCausalLM(OPT)
    config = LoraConfig(r=4)
    counted = trained_parameters(shapes_of(network.named_parameters()), config)
    made = peft.get_peft_model(network, peft.LoraConfig(r=4, target_modules=list(config.target_modules)))
    assert counted == sum(each.numel() for each in made.parameters() if each.requires_grad)


def test_free_memory_is_what_the_machine_or_the_container_leaves(tmp_path, monkeypatch):
    free = free_memory(CPU)
    assert free is None or free > 1 << 20
    limit, used, told = (tmp_path / each for each in ("max", "current", "meminfo"))
    told.write_text("MemTotal:       9000 kB\nMemAvailable:   8000 kB\n")
    used.write_text("1024\n")
    monkeypatch.setattr(memory, "_MEMINFO", told)
    monkeypatch.setattr(memory, "_CGROUPS", ((limit, used),))
    for most, expected in (("max", 8000 * 1024), ("4096", 3072), (str(1 << 60), 8000 * 1024)):
        limit.write_text(f"{most}\n")
        assert free_memory(CPU) == expected
    told.unlink()
    assert free_memory(CPU) is None


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda _: 100_000)


def test_each_text_stage_is_refused_by_name_before_it_begins(
    little, tiny_sft, tiny_reward, some_messages, some_preferences, tmp_path
):
    from churn_assets.message.training.grpo import train_grpo
    from churn_assets.message.training.ppo import train_ppo
    from churn_assets.message.training.reward import train_reward
    from churn_assets.message.training.sft import train_sft

    grpo = PpoTextConfig.model_validate(PPO.model_dump(exclude_unset=True) | {"algorithm": "grpo"})
    stages = {
        r"sft_model: found 0.0 GB of memory free \(cpu\).* of 4 texts of \d+ tokens; make sft_model.batch_size":
            lambda: train_sft(some_messages, SFT, seed=0, root=tmp_path),
        r"reward_model: .* of 8 texts of \d+ tokens; make reward_model.batch_size":
            lambda: train_reward(some_preferences, tiny_sft, REWARD, seed=0),
        r"ppo_text: .* of 4 texts of \d+ tokens; make ppo_text.mini_batch_size":
            lambda: train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0),
        r"ppo_text: .* for weights":
            lambda: train_grpo(tiny_sft, tiny_reward, some_messages, grpo, seed=0),
    }  # fmt: skip
    for told, train in stages.items():
        with pytest.raises(TooLittleMemory, match=told):
            train()


def test_whoever_knows_better_tries_it_all_the_same(little):
    needs = [memory.MemoryNeed(1 << 40)]
    with pytest.raises(TooLittleMemory, match=r"expected about 1099\.5 GB: 1099\.5 for weights"):
        memory.refuse_beyond_memory("sft_model", SFT, needs)
    tried = SFT.model_copy(update={"compute": ComputeConfig(check_memory=False)})
    memory.refuse_beyond_memory("sft_model", tried, needs)


def test_a_pretrained_model_that_cannot_even_be_read_is_refused_by_name(monkeypatch):
    from churn_assets.message.model import base_model

    monkeypatch.setattr(base_model, "free_memory", lambda _: 1000)
    described = SimpleNamespace(model_type="opt")
    monkeypatch.setattr(
        base_model,
        "ARCHITECTURES",
        {"opt": SimpleNamespace(causal=lambda _: transformers.OPTForCausalLM(OPT))},
    )
    with pytest.raises(TooLittleMemory, match=r"'large': found 0\.0 GB of memory free, expected"):
        base_model._refuse_beyond_memory("large", described)
