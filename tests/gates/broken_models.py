"""Small models of every stage, trained once, and for each check of theirs a way to break them that it is there for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml

from benchmarks.stages import ROOT, InMemory, project_folder
from churn_assets.customers.schema import CHURNED, FOLD, FeatureSpec
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.definitions import Overrides, build_project
from churn_assets.flow.asset import Step
from churn_assets.flow.check import measure
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Outcome
from churn_assets.message.model.language_model import LanguageModel, RewardNetwork
from churn_assets.response.classifier import classifier_inputs, converted, new_classifier
from churn_assets.response.config import AcceptModelConfig
from churn_assets.risk.config import RiskModelConfig
from churn_assets.risk.estimators import RiskEstimator

EXPERIMENT = "quickstart"

PROFILE = yaml.safe_load((ROOT / "configs" / f"{EXPERIMENT}.yaml").read_text())["messages"]["profile"]
OFFER, MONTHS = 0.3, 6
ALONE = {"threads": 1}
"""Tests share two cores."""

SMALLER_DECISIONS: dict[str, Any] = {
    "offer_log": {"source": "demo_world", "rows": 30_000},
    "ppo_decision": {"menu": [0.0, 0.05, 0.1, 0.2, 0.3], "ppo": {"total_timesteps": 196_608}},
}
SMALLER_MESSAGES: dict[str, Any] = {
    # With one offer to tell, a few hundred steps teach what takes a real model its whole training.
    "ppo_decision": {"menu": [0.0, OFFER]},
    "messages": {
        "source": "corpus",
        "profile": PROFILE,
        "durations": [MONTHS],
        "rows": {"train": 3000, "validation": 100, "test": 600},
    },
    "preferences": {"source": "corpus", "rows": {"train": 2000, "validation": 100, "test": 1000}},
    "sft_model": {
        "base": {"source": "from_scratch", "hidden_size": 64, "intermediate_size": 160, "layers": 2},
        "learning_rate": 5e-3,
        "max_steps": 220,
        "reports": 1,
        "compute": ALONE,
        "gates": {"prompts": 60},
    },
    "reward_model": {
        "counterfactual_pairs": 0,
        "max_steps": 80,
        "reports": 1,
        "compute": ALONE,
        "gates": {"min_accuracy_vs_ceiling": 0.9, "min_rule_accuracy": 0.2},
    },
    "ppo_text": {
        "steps": 8,
        # A policy of eight steps hardly moves where it pays for what the others say: there is one way to say it here.
        "told_often_penalty": 0.0,
        "batch_size": 32,
        "judge_window": 2,
        "stop_when_judge_turns": False,
        "compute": ALONE,
        "gates": {
            "prompts": 80,
            "compared_prompts": 60,
            "min_ended": 0.9,
            "max_unsafe": 0.8,
            "max_replaced": 1.0,  # hardly a sentence of so small a model is one that may be said
            "max_wrong_offer": 0.1,
        },
    },
}
"""What models this small cannot keep has looser gates here; every other threshold is the one of the quickstart."""

Key = tuple[str, str]
Model = TypeVar("Model", LanguageModel, RewardNetwork)
Values = dict[str, Any]
CHECKS = {(asset.name, spec.name): spec for asset in registry().assets for spec in asset.checks}


@dataclass(frozen=True)
class Trained:
    """Every stage's value in memory, and the checks as function calls on it.

    Attributes:
        values: By asset.
        experiments: The whole experiment of each branch, by asset.
    """

    values: Values
    experiments: Mapping[str, Any]
    _made: dict[Any, Any] = field(default_factory=dict)

    def outcome(
        self, asset: str, check: str, changed: Mapping[str, Any] | None = None, champion: Any = None
    ) -> Outcome:
        """What a check says of an asset where some values are other ones, and another leads, if any does."""
        experiment = self.experiments[asset]
        values = self.values | dict(changed or {})
        supply = InMemory(asset, values, lambda path: attrgetter(path)(experiment), champion, self._made)
        return measure(CHECKS[asset, check], supply)


def train_all() -> Trained:
    """Trains what the flow trains, a branch after the other, each smaller than the quickstart."""
    values: Values = {}
    experiments: dict[str, Any] = {}
    for branch, change in ((False, SMALLER_DECISIONS), (True, SMALLER_MESSAGES)):
        with project_folder(EXPERIMENT, change) as folder:
            project = build_project(Overrides(root=folder))
            for asset in registry().assets:
                if asset.lazy or (asset.name in registry().members["message"]) != branch:
                    continue
                step = Step(asset, EXPERIMENT, project)
                values[asset.name] = asset.body(step, **{name: values[name] for name in asset.inputs}).value
                experiments[asset.name] = project.experiment(EXPERIMENT)
    return Trained(values, experiments)


# Customers and offers


def _knows_the_outcome(healthy: Values) -> Values:
    """A column that was written when the customer left."""
    table = healthy["customers"]
    spec = FeatureSpec(name="exit_interviews", kind="numeric", maximum=1.0)
    schema = table.schema.model_copy(update={"features": (*table.schema.features, spec)})
    frame = table.frame.assign(exit_interviews=table.frame[CHURNED].astype(float))
    return {"customers": CustomerTable(frame, schema)}


def _a_customer_on_both_sides(healthy: Values) -> Values:
    table = healthy["customers"]
    fitted = table.frame[~table.held_out].head(1)
    twice = pd.concat([table.frame, fitted.assign(**{FOLD: table.fold.max()})], ignore_index=True)
    return {"customers": CustomerTable(twice, table.schema)}


def _half_a_column_lost(healthy: Values) -> Values:
    table = healthy["customers"]
    known = np.arange(len(table)) % 2 == 0
    frame = table.frame.assign(OnlineSecurity=table.frame["OnlineSecurity"].where(known, None))
    return {"customers": CustomerTable(frame, table.schema)}


def _in_cents(healthy: Values) -> Values:
    table = healthy["customers"]
    frame = table.frame.assign(MonthlyCharges=100 * table.frame["MonthlyCharges"])
    return {"customers": CustomerTable(frame, table.schema)}


def _few_decisions(healthy: Values) -> Values:
    log = healthy["offer_log"]
    return {"offer_log": log.where(np.arange(len(log)) < 400)}


def _propensities_halved(healthy: Values) -> Values:
    """The largest offer was made twice as often as the log says."""
    log = healthy["offer_log"]
    columns = [name for name in log.frame.columns if name.startswith("propensity_")]
    none, largest = columns[0], columns[-1]
    half = log.frame[largest] / 2
    stated = log.frame["propensity"].where(log.arm < len(log.menu) - 1, half)
    frame = log.frame.assign(**{largest: half, none: log.frame[none] + half, "propensity": stated})
    return {"offer_log": replace(log, frame=frame)}


# Risk


def _refitted_risk(healthy: Values, X: Any, y: Any) -> Values:
    """The risk model with an estimator fitted on other features or labels of the same customers."""
    model, rows = healthy["risk_model"], ~healthy["customers"].held_out
    config = RiskModelConfig(kind="spline_logistic")
    estimator = RiskEstimator.fit(X[rows], y[rows], model.schema, config, seed=0)
    return {"risk_model": replace(model, predictor=estimator.converted(X[rows], model.schema))}


def _risk_of_shuffled_labels(healthy: Values) -> Values:
    table = healthy["customers"]
    return _refitted_risk(healthy, table.X, np.random.default_rng(0).permutation(table.y))


def _risk_too_high(healthy: Values) -> Values:
    """Every logit lies one higher, as weights on churners would have it."""
    model = healthy["risk_model"]
    spline = replace(model.predictor.spline, intercept=model.predictor.spline.intercept + 1)
    return {"risk_model": replace(model, predictor=replace(model.predictor, boosting=None, spline=spline))}


def _one_slice_misjudged(healthy: Values) -> Values:
    model, table = healthy["risk_model"], healthy["customers"]
    slice_ = (table.frame["Contract"] == "Two year").to_numpy()
    risk = np.where(slice_, 0.12, model.risk_of(table.ids))
    return {"risk_model": replace(model, out_of_fold=model.out_of_fold.assign(risk=risk))}


def _risk_rises_with_tenure(healthy: Values) -> Values:
    """Fitted without its constraint on tenures that ran backwards."""
    table = healthy["customers"]
    X, tenure = table.X.copy(), table.schema.tenure_index
    X[:, tenure] = X[:, tenure].max() - X[:, tenure]
    return _refitted_risk(healthy, X, table.y)


# Response


def _refitted_acceptance(healthy: Values, accepted: Any, **parameters: Any) -> Values:
    """The acceptance model with a classifier fitted on other answers to the same offers."""
    model, table, log = (healthy[name] for name in ("accept_model", "customers", "offer_log"))
    rows = log.arm > 0
    X = table.X[log.positions(table.ids)][rows]
    inputs = classifier_inputs(X, log.prior_offers[rows].astype(float), log.arm[rows], log.menu)
    classifier = new_classifier(table.schema, log.menu, AcceptModelConfig(max_iter=30)).set_params(
        **parameters
    )
    predictor = converted(classifier.fit(inputs, accepted), inputs, table.schema, log.menu)
    return {"accept_model": replace(model, predictor=predictor)}


def _acceptance_of_shuffled_answers(healthy: Values) -> Values:
    log = healthy["offer_log"]
    return _refitted_acceptance(healthy, np.random.default_rng(0).permutation(log.accepted[log.arm > 0]))


def _acceptance_falls_in_the_offer(healthy: Values) -> Values:
    """Fitted without its constraints on customers who like small offers."""
    log = healthy["offer_log"]
    likes_small = (log.menu.size[log.arm[log.arm > 0]] < 0.2).astype(int)
    return _refitted_acceptance(healthy, likes_small, monotonic_cst=None)


def _effects_turned_round(healthy: Values) -> Values:
    """Contact is said to harm whom it helps."""
    effect = healthy["effect_model"]
    return {"effect_model": replace(effect, size=-1.0)}


def _effects_without_evidence(healthy: Values) -> Values:
    """Full effects although hardly any was found."""
    effect = healthy["effect_model"]
    scarce = replace(effect.overall, value=0.1 * effect.overall.standard_error)
    return {"effect_model": replace(effect, overall=scarce)}


def _no_effects(healthy: Values) -> Values:
    effect = healthy["effect_model"]
    return {"effect_model": replace(effect, size=0.0)}


# Decisions


def _linear(policy: DecisionPolicy, bias: Any, skip: Mapping[tuple[int, str], float]) -> DecisionPolicy:
    """The policy whose logits are these sums of what it is shown."""
    *hidden, (weight, _) = policy.layers
    straight = np.zeros_like(policy.skip)
    for (arm, name), value in skip.items():
        straight[arm, policy.observation_names.index(name)] = value
    last = (np.zeros_like(weight), np.asarray(bias, np.float32))
    return replace(policy, layers=(*hidden, last), skip=straight)


def _for_the_largest_offer(policy: DecisionPolicy, logit: float) -> list[float]:
    return [0.0] * (policy.process.n_arms - 1) + [logit]


def _always_30_percent(healthy: Values) -> Values:
    policy = healthy["ppo_decision"]
    return {"ppo_decision": _linear(policy, _for_the_largest_offer(policy, 5), {})}


def _stronger_than_every_mask(healthy: Values) -> Values:
    """So sure of its offer that it makes it in cooldown too."""
    policy = healthy["ppo_decision"]
    return {"ppo_decision": _linear(policy, _for_the_largest_offer(policy, 1e9), {})}


def _blind_to_value_under_a_budget(healthy: Values) -> Values:
    """Offers 30 % to whoever is at risk, to fewer the dearer money is: what an offer is worth is nothing to it."""
    policy = healthy["ppo_decision"]
    last = policy.process.n_arms - 1
    seen = {(last, "risk"): 1.0, (last, "budget_price"): -1.0}
    return {"ppo_decision": _linear(policy, [0.0, *[-9.0] * (last - 1), 0.3], seen)}


def _offers_for_one_sex(healthy: Values) -> Values:
    """Whatever the risk and the effect, 30 % for one of two groups and nothing for the other."""
    policy, customers = healthy["ppo_decision"], healthy["customers"]
    last = policy.process.n_arms - 1
    schema = customers.schema.model_copy(update={"groups": ("gender",)})
    grouped = replace(
        customers, schema=schema, frame=customers.frame.assign(**{"group:gender": customers.frame["gender"]})
    )
    seen = {(last, "feature:gender"): 5.0}
    return {"ppo_decision": _linear(policy, [0.0, *[-9.0] * (last - 1), 0.0], seen), "customers": grouped}


# Texts to learn from


def _changed(table: Any, **columns: Any) -> Any:
    return replace(table, frame=table.frame.assign(**columns))


def _the_same_messages_again(healthy: Values) -> Values:
    messages = healthy["messages"]
    again = pd.concat([messages.frame.head(1000)] * 2, ignore_index=True)
    return {"messages": replace(messages, frame=again)}


def _a_message_moved_by_hand(healthy: Values) -> Values:
    messages = healthy["messages"]
    first = int(np.flatnonzero(messages.frame["split"] == "train")[0])
    moved = messages.frame["split"].where(messages.frame.index != first, "test")
    return {"messages": _changed(messages, split=moved)}


def _a_personal_number(healthy: Values) -> Values:
    messages = healthy["messages"]
    texts = messages.frame["completion"].copy()
    texts[7] = texts[7] + " Your contract is 4929 1234 5678."
    return {"messages": _changed(messages, completion=texts)}


def _few_pairs(healthy: Values) -> Values:
    pairs = healthy["preferences"]
    kept = pairs.frame[pairs.frame.index % 9 == 0].reset_index(drop=True)
    return {"preferences": replace(pairs, frame=kept)}


def _a_text_to_test_on_in_training(healthy: Values) -> Values:
    pairs = healthy["preferences"]
    texts = pairs.frame["rejected"].copy()
    here, there = (int(np.flatnonzero(pairs.frame["split"] == side)[0]) for side in ("train", "test"))
    texts[there] = texts[here]
    return {"preferences": _changed(pairs, rejected=texts)}


def _labels_turned_round(healthy: Values) -> Values:
    pairs = healthy["preferences"]
    return {"preferences": _changed(pairs, chosen=pairs.frame["rejected"], rejected=pairs.frame["chosen"])}


# Models of texts


def _noisy(model: Model) -> Model:
    """Noise as large as the weights that it is added to."""
    rng = np.random.default_rng(0)
    weights = {
        name: (values + rng.normal(0, values.std() + 0.05, values.shape)).astype(np.float32)
        for name, values in model.weights.items()
    }
    return replace(model, weights=weights)


def _says_another_number(model: LanguageModel) -> LanguageModel:
    """The duration and another number have changed places in its vocabulary."""
    vocabulary: dict[str, int] = json.loads(model.tokenizer.definition)["model"]["vocab"]
    spoken = {token.replace("Ġ", " "): number for token, number in vocabulary.items()}
    other = min(token for token in spoken if re.fullmatch(r" [1-9]\d", token))
    places = [spoken[f" {MONTHS} months"], spoken[other]]
    weights = dict(model.weights)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in weights:
            weights[name] = weights[name].copy()
            weights[name][places] = weights[name][places[::-1]]
    return replace(model, weights=weights)


def _one_text_for_everybody(model: LanguageModel) -> LanguageModel:
    """It sees the last word only, and always takes the likeliest next one."""
    weights = {
        name: np.zeros_like(values) if name.endswith("self_attn.o_proj.weight") else values
        for name, values in model.weights.items()
    }
    weights["model.norm.weight"] = 50 * weights["model.norm.weight"]
    return replace(model, weights=weights)


def _sft_noisy(healthy: Values) -> Values:
    return {"sft_model": _noisy(healthy["sft_model"])}


def _sft_says_another_number(healthy: Values) -> Values:
    return {"sft_model": _says_another_number(healthy["sft_model"])}


def _constant_reward(healthy: Values) -> Values:
    model = healthy["reward_model"]

    def constant(network: RewardNetwork) -> RewardNetwork:
        head = np.zeros_like(network.weights["score.weight"])
        return replace(network, weights={**network.weights, "score.weight": head})

    return {"reward_model": replace(model, reward=constant(model.reward))}


def _policy(healthy: Values, change: Callable[[LanguageModel], LanguageModel]) -> Values:
    policy = healthy["ppo_text"]
    return {"ppo_text": replace(policy, model=change(policy.model))}


def _logged(healthy: Values, **columns: Any) -> Values:
    policy = healthy["ppo_text"]
    return {"ppo_text": replace(policy, rollouts=policy.rollouts.assign(**columns))}


def _rewards_of_one(healthy: Values) -> Values:
    """Trained with 1.0 for every text, as if that were what the reward model said."""
    return _logged(healthy, reward=np.float32(1), reward_logit=np.float32(1))


def _better_before(healthy: Values) -> Values:
    """The judge's score fell by a standard deviation with every step of the training."""
    rollouts, judge = healthy["ppo_text"].rollouts, healthy["reward_model"].judge
    ahead = rollouts["step"].max() - rollouts["step"]
    return _logged(healthy, judge_logit=(rollouts["judge_logit"] + ahead * judge.std).astype(np.float32))


def _policy_noisy(healthy: Values) -> Values:
    return _policy(healthy, _noisy)


def _reward_noisy(healthy: Values) -> Values:
    reward = healthy["reward_model"]
    return {"reward_model": replace(reward, reward=_noisy(reward.reward))}


def _learned_nothing(healthy: Values) -> Values:
    return _policy(healthy, lambda model: replace(healthy["sft_model"], record=model.record))


Breaker = Callable[[Values], Values]

BREAK: dict[Key, Breaker] = {
    ("customers", "no_leakage"): _knows_the_outcome,
    ("customers", "honest_split"): _a_customer_on_both_sides,
    ("customers", "complete"): _half_a_column_lost,
    ("customers", "like_the_champions"): _in_cents,
    ("offer_log", "enough_decisions"): _few_decisions,
    ("offer_log", "true_propensities"): _propensities_halved,
    ("risk_model", "ranks_well"): _risk_of_shuffled_labels,
    ("risk_model", "calibrated"): _risk_too_high,
    ("risk_model", "fair_to_slices"): _one_slice_misjudged,
    ("risk_model", "predicts"): _risk_rises_with_tenure,
    ("risk_model", "no_worse_than_champion"): _risk_too_high,
    ("accept_model", "forecasts_acceptance"): _acceptance_of_shuffled_answers,
    ("accept_model", "rises_with_the_offer"): _acceptance_falls_in_the_offer,
    ("accept_model", "no_worse_than_champion"): _acceptance_of_shuffled_answers,
    ("effect_model", "effects_are_real"): _effects_turned_round,
    ("effect_model", "keeps_to_its_evidence"): _effects_without_evidence,
    ("effect_model", "no_worse_than_champion"): _no_effects,
    ("ppo_decision", "captures_the_gain"): _always_30_percent,
    ("ppo_decision", "pays_when_cautious"): _always_30_percent,
    ("ppo_decision", "keeps_the_rules"): _stronger_than_every_mask,
    ("ppo_decision", "proof_of_use"): _always_30_percent,
    ("ppo_decision", "spends_well"): _blind_to_value_under_a_budget,
    ("ppo_decision", "offers_are_fair"): _offers_for_one_sex,
    ("ppo_decision", "off_policy"): _always_30_percent,
    ("ppo_decision", "no_worse_than_champion"): _always_30_percent,
    ("messages", "enough_messages"): _the_same_messages_again,
    ("messages", "honest_split"): _a_message_moved_by_hand,
    ("messages", "fit_to_imitate"): _a_personal_number,
    ("preferences", "enough_pairs"): _few_pairs,
    ("preferences", "honest_split"): _a_text_to_test_on_in_training,
    ("preferences", "believable_labels"): _labels_turned_round,
    ("sft_model", "learned_the_language"): _sft_noisy,
    ("sft_model", "copies_the_offer"): _sft_says_another_number,
    ("reward_model", "ranks_pairs"): _constant_reward,
    ("ppo_text", "rewards_are_the_models"): _rewards_of_one,
    ("ppo_text", "stays_close"): _policy_noisy,
    ("ppo_text", "not_over_optimised"): lambda healthy: _policy(healthy, _one_text_for_everybody),
    ("ppo_text", "better_than_sft"): _learned_nothing,
    ("ppo_text", "well_formed"): lambda healthy: _policy(healthy, _one_text_for_everybody),
    ("ppo_text", "safe_to_send"): lambda healthy: _policy(healthy, _says_another_number),
    ("ppo_text", "writes_no_worse_than_champion"): _policy_noisy,
}
"""(asset, check) -> what of the healthy values becomes what, so that just this check must fail."""

ALSO: tuple[tuple[str, str, Breaker], ...] = (
    ("ppo_text", "rewards_are_the_models", _policy_noisy),
    ("ppo_text", "rewards_are_the_models", _reward_noisy),
    ("ppo_text", "stays_close", _learned_nothing),
    ("ppo_text", "not_over_optimised", _better_before),
)
"""Other ways to break some of them: in the log of the training, or in the weights that were published."""

HEALTHY_BESIDE: dict[Key, Breaker] = {
    ("ppo_text", "better_than_sft"): _sft_noisy,
    ("ppo_text", "not_over_optimised"): _sft_noisy,
}
"""What stands beside the healthy value: a few steps of PPO do not beat the SFT model, but they beat a spoilt one."""
