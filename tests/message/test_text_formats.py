"""Files of the trained models: what is saved comes back the same, and what is forged or torn is refused by name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from churn_assets.message.model.format import PPO_TEXT, REWARD_MODEL, SFT_MODEL
from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.judge import SIZE
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.files import read_tensors, write_tensors
from churn_assets.store.staging import check_read_back, stage

PROMPTS = ["Bill: 70\nMessage:"]


@pytest.fixture
def sft_folder(tiny_sft, tmp_path):
    SFT_MODEL.save(tiny_sft, tmp_path)
    return tmp_path


def test_a_language_model_read_back_writes_the_same(tiny_sft, sft_folder):
    found = SFT_MODEL.load(sft_folder)

    assert found.digest == tiny_sft.digest
    assert found.record == tiny_sft.record
    first, second = (
        generate(Writer.of(m), PROMPTS, seed=0, max_new_tokens=20, n=5) for m in (tiny_sft, found)
    )
    assert first == second


def test_a_reward_model_read_back_scores_the_same(tiny_reward, tmp_path):
    REWARD_MODEL.save(tiny_reward, tmp_path)

    found = REWARD_MODEL.load(tmp_path)

    assert found.digest == tiny_reward.digest
    ours, theirs = (score(Scorer.of(m), PROMPTS, [" Hello."], [True]) for m in (tiny_reward, found))
    assert ours == theirs
    ours, theirs = (m.judge.score(PROMPTS, [" Hello."], [True]) for m in (tiny_reward, found))
    assert ours == theirs != 0
    for which in ("reward", "judge"):
        assert getattr(found, which).mean == getattr(tiny_reward, which).mean


@pytest.mark.parametrize(
    "tensors",
    [{"other": np.zeros(SIZE, np.float32)}, {"weights": np.zeros(7, np.float32)}],
    ids=["another name", "another size"],
)
def test_a_judge_of_another_layout_is_refused_by_name(tiny_reward, tmp_path, tensors):
    REWARD_MODEL.save(tiny_reward, tmp_path)
    write_tensors(tensors, tmp_path / "judge.safetensors")

    with pytest.raises(CorruptArtifact, match="weights"):
        REWARD_MODEL.load(tmp_path)


def test_a_policy_read_back_tells_the_same_rollouts(tiny_policy, tmp_path):
    PPO_TEXT.save(tiny_policy, tmp_path)

    found = PPO_TEXT.load(tmp_path)

    assert found.model.digest == tiny_policy.model.digest
    assert found.rollouts.equals(tiny_policy.rollouts)
    assert (found.sft_digest, found.reward_digest) == (tiny_policy.sft_digest, tiny_policy.reward_digest)


@pytest.mark.parametrize(
    ("fmt", "fixture"),
    [(SFT_MODEL, "tiny_sft"), (REWARD_MODEL, "tiny_reward"), (PPO_TEXT, "tiny_policy")],
    ids=["sft_model", "reward_model", "ppo_text"],
)
def test_equal_values_are_equal_bytes_of_safe_kinds_and_golden_rows_hold(request, fmt, fixture, tmp_path):
    value = request.getfixturevalue(fixture)

    first, second = (stage(fixture, value, fmt, tmp_path / name) for name in ("a", "b"))

    assert first.digest == second.digest
    assert {entry.path.rpartition(".")[2] for entry in first.files} <= {"json", "parquet", "safetensors"}
    assert first.golden is not None
    assert first.golden.inputs
    check_read_back(fmt, fmt.load(first.folder), first.signature, first.golden)


def test_other_weights_give_other_golden_answers(tiny_sft, tiny_policy):
    golden = SFT_MODEL.golden(tiny_sft)

    assert SFT_MODEL.replay(tiny_policy.model, golden.inputs) != golden.outputs


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("num_hidden_layers", 10**9, r"num_hidden_layers: found 1000000000"),
        ("vocab_size", 2**40, r"vocab_size: found 1099511627776, expected at most"),
        ("hidden_size", 1 << 19, "embed_tokens.weight: found"),
        ("vocab_size", 299, "embed_tokens.weight: found"),
        ("num_attention_heads", 0, "no llama has this shape"),
        ("num_attention_heads", 5, "no llama has this shape"),
        ("auto_map", {"AutoModel": "evil.Model"}, "auto_map: not a key of llama"),
        ("quantization_config", {"quant_method": "x"}, "quantization_config: not a key of llama"),
    ],
)
def test_a_forged_config_is_refused_before_anything_is_built(sft_folder, key, value, message):
    """A config of a few bytes could otherwise ask for a terabyte of memory, or for code."""
    file = sft_folder / "model.json"
    described = json.loads(file.read_text())
    described["config"][key] = value
    file.write_text(json.dumps(described))

    with pytest.raises(CorruptArtifact, match=message):
        SFT_MODEL.load(sft_folder)


def test_another_architecture_is_refused_by_name(sft_folder):
    file = sft_folder / "model.json"
    file.write_text(file.read_text().replace('"llama"', '"bloom"'))

    with pytest.raises(CorruptArtifact, match=r"found 'bloom', expected one of \['llama', 'opt'\]"):
        SFT_MODEL.load(sft_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, values: {}, "found none, expected"),
        (lambda name, values: {name: values, "extra": values}, "extra: found"),
        (lambda name, values: {name: values[:-1]}, "found"),
        (lambda name, values: {name: values.astype(np.float16)}, "found float16"),
        (lambda name, values: {name: np.full_like(values, np.nan)}, "expected finite float32"),
    ],
    ids=["missing", "extra", "misshapen", "other type", "not finite"],
)
def test_weights_that_do_not_fit_are_refused_by_name(sft_folder, change, message):
    file = sft_folder / "model.safetensors"
    tensors = read_tensors(file)
    name = "model.norm.weight"
    values = tensors.pop(name)
    write_tensors({**tensors, **change(name, values)}, file)

    with pytest.raises(CorruptArtifact, match=message):
        SFT_MODEL.load(sft_folder)


@pytest.mark.parametrize("content", [b"{}", b"\xff\xfe", b'{"model": 1'], ids=["empty", "not text", "torn"])
def test_a_tokenizer_that_is_none_is_refused_by_name(sft_folder, content):
    (sft_folder / "tokenizer.json").write_bytes(content)

    with pytest.raises(CorruptArtifact, match=r"tokenizer\.json"):
        SFT_MODEL.load(sft_folder)


def test_a_tokenizer_of_more_tokens_than_the_model_is_refused(sft_folder):
    file = sft_folder / "tokenizer.json"
    described = json.loads(file.read_text())
    described["model"]["vocab"]["beyond"] = 5000
    file.write_text(json.dumps(described))

    with pytest.raises(CorruptArtifact, match="found 5001 tokens, expected at most"):
        SFT_MODEL.load(sft_folder)


def test_rollouts_with_other_columns_are_refused(tiny_policy, tmp_path):
    PPO_TEXT.save(tiny_policy, tmp_path)
    tiny_policy.rollouts.drop(columns="reward").to_parquet(tmp_path / "rollouts.parquet", index=False)

    with pytest.raises(CorruptArtifact, match=r"rollouts\.parquet"):
        PPO_TEXT.load(tmp_path)


@pytest.mark.parametrize("file", ["model.json", "training.json", "tokenizer.json", "model.safetensors"])
def test_a_torn_file_is_refused_by_name(sft_folder, file):
    content = (sft_folder / file).read_bytes()
    (sft_folder / file).write_bytes(content[: len(content) // 2])

    with pytest.raises(CorruptArtifact, match=file):
        SFT_MODEL.load(sft_folder)
    shutil.rmtree(sft_folder)
