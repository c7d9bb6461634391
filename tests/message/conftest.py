"""The real customers, and the embedded corpus on them, written once a session."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from telco_texts import MENU, PROFILE
from tiny_models import PPO, REWARD, SFT, few

from churn_assets.customers.config import CustomersConfig, LabelConfig
from churn_assets.customers.table import CustomerTable, read_customers
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SafetyRules
from churn_assets.message.corpus.data import MessageCorpus, Preferences
from churn_assets.message.corpus.sentences import write_message_corpus, write_preferences

if TYPE_CHECKING:
    from churn_assets.message.model.language_model import LanguageModel, RewardModel
    from churn_assets.message.training.rollouts import TextPolicy

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def telco() -> CustomerTable:
    config = CustomersConfig(
        id="customerID",
        label=LabelConfig(column="Churn", positive="Yes", window_months=3),
        monthly_revenue="MonthlyCharges",
        tenure="tenure",
        path_dependent={"TotalCharges": "drop"},
    )
    return read_customers(config, seed=0, root=ROOT)


@pytest.fixture(scope="session")
def config() -> MessagesConfig:
    return MessagesConfig.model_validate({"profile": PROFILE})


@pytest.fixture(scope="session")
def messages(telco, config) -> MessageCorpus:
    return write_message_corpus(telco, config, SafetyRules(), MENU, seed=0)


@pytest.fixture(scope="session")
def preferences(telco, config) -> Preferences:
    return write_preferences(telco, config, PreferencesConfig(), SafetyRules(), MENU, seed=0)


@pytest.fixture(scope="session")
def some_messages(messages) -> MessageCorpus:
    return replace(messages, frame=few(messages))


@pytest.fixture(scope="session")
def some_preferences(preferences) -> Preferences:
    return replace(preferences, frame=few(preferences))


@pytest.fixture(scope="session")
def tiny_sft(some_messages) -> LanguageModel:
    from churn_assets.message.training.sft import train_sft

    return train_sft(some_messages, SFT, seed=0, root=ROOT)


@pytest.fixture(scope="session")
def tiny_reward(some_preferences, tiny_sft) -> RewardModel:
    from churn_assets.message.training.reward import train_reward

    return train_reward(some_preferences, tiny_sft, REWARD, seed=0)


@pytest.fixture(scope="session")
def reward_that_is_opposed(tiny_reward) -> RewardModel:
    """The same rewards, and a judge who likes the opposite of what is rewarded."""
    from churn_assets.message.model.judge import Judge
    from churn_assets.message.model.scoring import Scorer, score

    scorer = Scorer.of(tiny_reward)

    class Opposed(Judge):
        def score(self, prompts, texts, ended):
            return -score(scorer, prompts, texts, ended)

    judge = Opposed(tiny_reward.judge.weights, -tiny_reward.reward.mean, tiny_reward.reward.std)
    return replace(tiny_reward, judge=judge)


@pytest.fixture(scope="session")
def tiny_policy(tiny_sft, tiny_reward, some_messages) -> TextPolicy:
    from churn_assets.message.training.ppo import train_ppo

    return train_ppo(tiny_sft, tiny_reward, some_messages, PPO, seed=0)
