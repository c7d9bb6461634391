"""Supervised fine-tuning: what is learned, what is refused, and what it starts from."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from tiny_models import SFT

from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.language_model import ModelError
from churn_assets.message.model.likelihood import perplexity
from churn_assets.message.model.tokenizer import TextError, train_tokenizer
from churn_assets.message.training.config import FromScratch, LocalFolder, LoraConfig
from churn_assets.message.training.sft import supervised_columns, train_sft


def test_only_the_message_and_its_end_are_learned(tiny_sft):
    columns = supervised_columns(tiny_sft.tokenizer, ["Bill: 70\nMessage:"], [" Hello {name}."])

    (ids,), (labels,) = columns["input_ids"], columns["labels"]
    learned = [token for token in labels if token != -100]
    assert tiny_sft.tokenizer.decode([learned]) == [" Hello {name}."]
    assert learned[-1] == tiny_sft.tokenizer.eos_id
    assert ids[-len(learned) :] == learned


def test_training_lowers_the_perplexity_of_customers_it_never_saw(some_messages):
    base = FromScratch(source="from_scratch", vocabulary=400, hidden_size=32, layers=1, heads=2)
    config = SFT.model_copy(update={"base": base, "max_steps": 30, "learning_rate": 3e-3, "reports": 3})
    told = []

    def listen(*, step, total, samples=(), **figures):
        told.append((step, total, len(samples), figures))

    model = train_sft(some_messages, config, seed=0, root=None, progress=listen)

    curve = [entry["perplexity"] for entry in model.record.curve]
    assert curve[-1] < 0.8 * curve[0]
    held_out = some_messages.of("validation")
    texts = held_out["prompt"].tolist(), held_out["completion"].tolist()
    assert perplexity(Writer.of(model), *texts) == pytest.approx(curve[-1], rel=1e-4)
    assert any(texts == 3 for _, _, texts, _ in told)
    assert any("loss" in figures for _, _, _, figures in told)
    assert [step for step, *_ in told] == sorted(step for step, *_ in told)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tiny_sft, some_messages):
    again = train_sft(some_messages, SFT, seed=0, root=None)
    other = train_sft(some_messages, SFT, seed=1, root=None)

    assert again.digest == tiny_sft.digest
    assert again.record == tiny_sft.record
    assert other.digest != tiny_sft.digest


def test_a_message_longer_than_allowed_is_an_error_and_not_cut(some_messages):
    with pytest.raises(TextError, match=r"sft_model\.max_length: \d+ of \d+ rows are longer than 20 tokens"):
        train_sft(some_messages, SFT.model_copy(update={"max_length": 20}), seed=0, root=None)


def test_held_out_texts_teach_neither_model_nor_tokenizer(tiny_sft, some_messages):
    frame = some_messages.frame.copy()
    held_out = frame["split"] != "train"
    frame.loc[held_out, "completion"] = " Zyx wvut zyx."

    other = train_sft(replace(some_messages, frame=frame), SFT, seed=0, root=None)

    assert other.digest == tiny_sft.digest


@pytest.fixture
def local_folder(tiny_sft, tmp_path):
    tiny_sft.network().save_pretrained(tmp_path / "base")
    tiny_sft.tokenizer.transformers_tokenizer().save_pretrained(tmp_path / "base")
    return tmp_path


def test_a_local_folder_is_started_from(tiny_sft, local_folder, some_messages):
    base = LocalFolder(source="folder", path="base")
    config = SFT.model_copy(update={"base": base, "max_steps": 1, "learning_rate": 1e-12})

    model = train_sft(some_messages, config, seed=0, root=local_folder)

    prompts = ["Bill: 70\nMessage:"]
    assert (model.tokenizer.eos_id, model.tokenizer.pad_id) == (1, 0)
    first, second = (
        generate(Writer.of(each), prompts, seed=0, max_new_tokens=10) for each in (tiny_sft, model)
    )
    assert first == second


def test_a_padding_token_that_ends_texts_is_refused_by_name(local_folder, some_messages):
    base = LocalFolder(source="folder", path="base", pad_token="</s>")

    with pytest.raises(ModelError, match=r"sft_model\.base\.pad_token: found '</s>'"):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_another_kind_of_model_is_refused_by_name(local_folder, some_messages):
    config = local_folder / "base" / "config.json"
    config.write_text(config.read_text().replace('"model_type": "llama"', '"model_type": "gpt2"'))
    base = LocalFolder(source="folder", path="base")

    with pytest.raises(ModelError, match=r"is a 'gpt2' model, expected one of \['llama', 'opt'\]"):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_code_that_comes_with_a_model_does_not_run(local_folder, some_messages, tmp_path):
    """A repository can name a module of its own as the model's code."""
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')\n"
    (local_folder / "base" / "evil.py").write_text(code)
    config = local_folder / "base" / "config.json"
    hooks = (
        '"auto_map": {"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M", "AutoTokenizer": "evil.T"},'
    )
    config.write_text(config.read_text().replace("{", "{" + hooks, 1))
    base = LocalFolder(source="folder", path="base")

    train_sft(some_messages, SFT.model_copy(update={"base": base, "max_steps": 1}), seed=0, root=local_folder)

    assert not trap.exists()


def test_pickled_weights_are_not_read(local_folder, some_messages):
    weights = local_folder / "base" / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    base = LocalFolder(source="folder", path="base")

    with pytest.raises(ModelError, match="found no safetensors"):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def changed_weights(folder, change):
    path = folder / "base" / "model.safetensors"
    weights = load_file(path)
    save_file(dict(change(name, values) for name, values in weights.items()), path, {"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: changed_weights(folder, lambda n, v: (f"module.{n}", v)), r"missing keys.*each under its"),
        (
            lambda folder: changed_weights(folder, lambda n, v: (n.replace("o_proj", "other"), v)),
            r"1 (missing|unexpected) keys, such as 'model\.layers\.0\.self_attn\.(o_proj|other)\.weight'",
        ),
        (lambda folder: changed_weights(folder, lambda n, v: (n, v[:8].clone())), "that fit its config|mismatched"),
        (
            lambda folder: (folder / "base" / "model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 538090408\n"
            ),
            r"model\.safetensors is a Git LFS pointer.*git lfs pull",
        ),
        (lambda folder: (folder / "base" / "model.safetensors").write_bytes(b"\x00" * 64), "found no safetensors"),
    ],
)  # fmt: skip
def test_weights_that_are_not_the_models_are_refused_by_name(local_folder, some_messages, spoil, message):
    spoil(local_folder)
    base = LocalFolder(source="folder", path="base")
    with pytest.raises(ModelError, match=message):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_a_tokenizer_that_ends_every_text_is_refused_by_name(local_folder, some_messages):
    path = local_folder / "base" / "tokenizer.json"
    told = json.loads(path.read_text())
    told["post_processor"]["single"].append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    path.write_text(json.dumps(told))
    base = LocalFolder(source="folder", path="base")
    with pytest.raises(ModelError, match="its tokenizer ends every text with '</s>'"):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_a_tokenizer_of_another_size_is_refused_by_name(local_folder, some_messages):
    other = train_tokenizer(["Hello there, this is another text."] * 9, 259)
    other.transformers_tokenizer().save_pretrained(local_folder / "base")
    base = LocalFolder(source="folder", path="base")
    with pytest.raises(
        ModelError, match=r"found a tokenizer of 2\d\d tokens, expected that of its model.* 300"
    ):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_a_model_that_takes_english_for_noise_has_another_vocabulary(local_folder, some_messages):
    changed_weights(local_folder, lambda n, v: (n, v * 40 if n.endswith("embed_tokens.weight") else v))
    base = LocalFolder(source="folder", path="base")
    with pytest.raises(ModelError, match=r"plain English costs it .* nats a token, more than a draw"):
        train_sft(some_messages, SFT.model_copy(update={"base": base}), seed=0, root=local_folder)


def test_adapters_are_merged_before_anything_is_kept(some_messages, tiny_sft):
    lora = LoraConfig(r=4, alpha=8, target_modules=("q_proj", "v_proj"))
    config = SFT.model_copy(update={"lora": lora, "learning_rate": 0.05})

    model = train_sft(some_messages, config, seed=0, root=None)

    assert set(model.weights) == set(tiny_sft.weights)
    untouched = train_sft(
        some_messages, config.model_copy(update={"learning_rate": 1e-12}), seed=0, root=None
    )
    changed = {
        name.split(".")[-2]
        for name in model.weights
        if (model.weights[name] != untouched.weights[name]).any()
    }
    assert changed == {"q_proj", "v_proj"}
