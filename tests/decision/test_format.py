"""The policy's files: read back bit-equal, refused by name when they do not fit."""

from __future__ import annotations

import numpy as np
import pytest

from churn_assets.decision.config import PpoConfig, PpoDecisionConfig
from churn_assets.decision.format import PPO_DECISION
from churn_assets.decision.observation import Observer
from churn_assets.decision.ppo import train
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import read_json, read_tensors, write_json, write_tensors

SHORT = PpoDecisionConfig(ppo=PpoConfig(cases=64, total_timesteps=4096, n_envs=256, n_steps=16))


@pytest.fixture(scope="module")
def policy(monthly, make_tables):
    return train(make_tables(30, monthly), monthly, SHORT, seed=0, monitored=4).policy


@pytest.fixture
def folder(policy, tmp_path):
    PPO_DECISION.save(policy, tmp_path)
    return tmp_path


def test_a_policy_is_read_back_with_the_same_answers(policy, folder, monthly, make_tables):
    loaded = PPO_DECISION.load(folder)

    observer = Observer(make_tables(30, monthly), monthly)
    zeros = np.zeros(30, np.int64)
    rows = observer.observe(np.arange(30), zeros, zeros, zeros, np.zeros(30, np.float32))
    assert (loaded.logits(rows) == policy.logits(rows)).all()
    assert loaded.process == policy.process
    assert PPO_DECISION.signature(loaded) == PPO_DECISION.signature(policy)


def test_the_golden_rows_replay_after_loading(policy, folder):
    golden = PPO_DECISION.golden(policy)

    replayed = PPO_DECISION.replay(PPO_DECISION.load(folder), golden.inputs)

    assert np.array(replayed) == pytest.approx(np.array(golden.outputs), rel=golden.rtol, abs=golden.atol)
    assert len(replayed[0]) == 5


def test_equal_policies_are_equal_bytes(policy, folder, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    PPO_DECISION.save(PPO_DECISION.load(folder), again)

    assert {f.name for f in folder.iterdir()} == {"policy.safetensors", "policy.json"}
    for file in folder.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes()


def test_weights_that_do_not_fit_are_refused_by_file_name(folder):
    tensors = read_tensors(folder / "policy.safetensors")
    for change in (
        {"skip": tensors["skip"][:, 1:]},
        {"layer_0.weight": tensors["layer_0.weight"] * np.float32(np.nan)},
        {"layer_9.weight": tensors["skip"]},
    ):
        write_tensors({**tensors, **change}, folder / "policy.safetensors")
        with pytest.raises(CorruptArtifact, match=r"policy\.safetensors"):
            PPO_DECISION.load(folder)


def test_a_description_of_another_process_is_refused_by_file_name(folder):
    described = read_json(folder / "policy.json")
    for change in (
        {"process": {**described["process"], "max_offer": 1}},
        {"process": {}},
        {"extra": 1},
    ):
        write_json({**described, **change}, folder / "policy.json")
        with pytest.raises(CorruptArtifact, match=r"policy\.json"):
            PPO_DECISION.load(folder)
