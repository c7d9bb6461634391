"""The Gymnasium views: both libraries' checkers accept them, and they agree with each other."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from churn_assets.arms import Catalogue
from churn_assets.decision.env import ENV_ID, RetentionEnv, RetentionVectorEnv


@pytest.fixture
def tables(monthly, make_tables):
    return make_tables(60, monthly)


def test_gymnasiums_checker_accepts_the_environment_without_a_warning(tables, monthly):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium_check_env(RetentionEnv(tables, monthly), skip_render_check=True)


def test_stable_baselines_checker_accepts_the_environment_without_a_warning(tables, monthly):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(RetentionEnv(tables, monthly))


def test_it_is_registered_singly_and_vectorised(tables, monthly):
    single = gym.make(ENV_ID, tables=tables, process=monthly)
    vector = gym.make_vec(ENV_ID, 3, vectorization_mode="vector_entry_point", tables=tables, process=monthly)

    assert isinstance(single.unwrapped, RetentionEnv)
    assert isinstance(vector.unwrapped, RetentionVectorEnv)
    assert single.observation_space == vector.unwrapped.single_observation_space


@pytest.mark.parametrize("taste", [0.0, 0.5])
def test_the_docstring_gives_the_width_and_order_of_the_observation(tables, monthly, taste):
    env = RetentionEnv(tables, replace(monthly, taste=taste))
    features, arms = len(tables.feature_names), monthly.n_arms

    assert env.observation_space.shape == (features + 6 * arms + 1 + bool(taste),)
    groups = list(dict.fromkeys(name.split(":")[0] for name in env.observer.names))
    documented = [
        line.split("|")[2].strip().strip("`").removesuffix(":…")
        for line in RetentionEnv.__doc__.splitlines()
        if line.strip().startswith("|") and "`" in line.split("|")[2]
    ]
    assert groups == [name for name in documented if taste or name != "offers_accepted"]


def test_a_forbidden_action_is_no_offer_and_says_so(tables, monthly):
    env = RetentionEnv(tables, monthly)
    env.reset(seed=0, options={"customer": 3, "state": monthly.refused(2, 1)})

    _, reward, _, _, info = env.step(4)

    assert info["masked"]
    assert not info["offered"]
    assert info["churned"] or reward == pytest.approx(0.5 * tables.price[3])


def test_tables_of_another_horizon_or_menu_are_refused(tables, monthly):
    with pytest.raises(ValueError, match="30 steps and 5 arms: expected 12 and 5"):
        RetentionEnv(tables, replace(monthly, horizon=12))
    with pytest.raises(ValueError, match="30 steps and 5 arms: expected 30 and 2"):
        RetentionEnv(tables, replace(monthly, menu=Catalogue().menu([0.0, 0.1])))


def test_the_horizon_terminates_and_never_truncates(make_tables, monthly):
    process = replace(monthly, horizon=2)
    env = RetentionEnv(make_tables(20, process), process)
    for seed in range(20):
        env.reset(seed=seed)
        steps = 0
        terminated = False
        while not terminated:
            observation, _, terminated, truncated, _ = env.step(0)
            steps += 1
            assert not truncated
        assert steps <= 2
        assert observation[env.observer.names.index("time")] == steps / 2


def test_one_vectorised_customer_behaves_as_the_single_environment(tables, monthly):
    single, vector = RetentionEnv(tables, monthly), RetentionVectorEnv(1, tables, monthly)
    first, _ = single.reset(seed=7)
    batch, _ = vector.reset(seed=7)
    assert (first == batch[0]).all()

    for action in (3, 0, 0, 1, 2):
        observation, reward, terminated, _, _ = single.step(action)
        observations, rewards, ended, _, info = vector.step(np.array([action]))
        assert reward == rewards[0]
        assert terminated == ended[0]
        assert (observation == (info["final_obs"][0] if terminated else observations[0])).all()
        if terminated:
            break


def test_a_vectorised_step_hands_out_the_last_observations_of_finished_episodes(make_tables, monthly):
    process = replace(monthly, horizon=1)
    env = RetentionVectorEnv(16, make_tables(20, process), process)
    env.reset(seed=0)

    observations, _, ended, truncated, info = env.step(np.zeros(16, int))

    time = env.observer.names.index("time")
    assert ended.all()
    assert not truncated.any()
    assert all(row[time] == 1 for row in info["final_obs"])
    assert (observations[:, time] == 0).all()
