"""Reward modelling: preference pairs, and sends with what came of them → `RewardModel`, with its judge.

The reward starts from a network that learned to tell a text about this prompt's offer from one about another's. A
reward
for whole texts alone never teaches that: the pairs that differ in it are few, and what they differ in is one word. So
two lessons come first: facts alone, each at the one place behind its prompt, then facts where texts tell them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from churn_assets.arms import Arm
from churn_assets.message.corpus.data import Preferences
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.judge import Judge
from churn_assets.message.model.language_model import (
    ARCHITECTURES,
    LanguageModel,
    RewardModel,
    RewardNetwork,
    TrainingRecord,
    architecture_of,
    weights_of,
)
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.tokenizer import TextError, TextTokenizer
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.terms import duration_words, worth_words
from churn_assets.message.training.checkpoint import checkpoint_folder
from churn_assets.message.training.compute import device_of, threads
from churn_assets.message.training.config import RewardModelConfig
from churn_assets.message.training.judge import fit_judge
from churn_assets.message.training.outcomes import LEARNED, OutcomeModel, pairs_by_outcome
from churn_assets.message.training.progress import Figures, Progress, silent
from churn_assets.message.training.supervised import (
    Reporter,
    Schedule,
    fine_tuned,
    refuse_long_rows,
    total_steps,
)

_T = TypeVar("_T")

EXAMPLES = 8
HELD_OUT_ROWS = 128
"""Of the validation split, for the curve: the gate looks at all of the test split."""
ALONE_SHARE = 0.5
"""Of the counterfactual pairs, those of facts alone. A network that only ever saw facts within texts took several times
as many pairs to compare them with its prompt, and from some first weights it never did."""
WHOLE_SHARE = 0.2
"""Of the others, those that are not cut off behind the fact: whole texts are what is rewarded later."""


def train_reward(
    preferences: Preferences,
    sft: LanguageModel,
    config: RewardModelConfig,
    *,
    seed: int,
    progress: Progress = silent,
    checkpoints: Path | None = None,
) -> RewardModel:
    """Trains the reward network, and fits its judge, on the training split, each on its own customers' pairs and sends.

    Args:
        preferences: What to learn from; the validation split gives the curve of accuracy.
        sft: What the reward starts from, and whose messages set the scale of both.
        config: The section `reward_model`.
        seed: Of order, split and samples; equal seeds give equal bytes on one machine.
        progress: Told of loss and held-out accuracy.
        checkpoints: Folder to keep checkpoints in, and to go on from; none are kept without it.

    Raises:
        TextError: A row is longer than `max_length`, or there is nothing for the judge, or only for it.
        ModelError: The rewards of the SFT model's messages have no spread.
    """
    train, held_out = preferences.of("train"), preferences.of("validation").head(HELD_OUT_ROWS)
    judged = judges_pairs(owners(train), config.judge_share, seed)
    if judged.all() or not judged.any():
        raise TextError(
            f"preferences: found {len(train)} training pairs of {owners(train).nunique()} customers or prompts, "
            "expected enough that reward and judge learn from different ones; add pairs, or mend "
            "reward_model.judge_share"
        )
    lessons = _lessons(train, held_out, preferences, config, seed)
    sends, of_judge = _sends(preferences, set(train["customer_id"][judged]), config, seed)
    taken = _pairs_by_outcome(preferences, sends, config, seed)
    pairs = pd.concat([train[~judged], taken], ignore_index=True) if len(taken) else train[~judged]
    parts = (*lessons, _Part("reward", pairs, held_out))
    steps = {part.name: part.steps(config) for part in parts}
    networks: dict[str, Any] = {}
    curve: list[dict[str, float | None]] = []
    device = device_of(config.compute)
    with threads(config.compute):
        start, done = reward_network(sft, seed), 0
        for number, part in enumerate(parts):
            follow = part.follow(progress, done, sum(steps.values()))
            before = [lesson.pairs["rejected"].tolist() for lesson in lessons[:number]]
            network, entries = _train_part(part, start, before, sft, config, seed, follow, checkpoints)
            curve += [{"step": done + (entry["step"] or 0), **part.named(entry)} for entry in entries]
            done += steps[part.name]
            networks[part.name] = network
            if part in lessons:
                start = network
        prompts = train["prompt"].drop_duplicates()
        drawn = prompts.sample(min(config.normalisation_samples, len(prompts)), random_state=seed).tolist()
        writer = Writer.of(sft, str(device))
        written = [
            each[0] for each in generate(writer, drawn, seed=seed, max_new_tokens=config.max_new_tokens)
        ]
        reward = _standardised(networks["reward"].to(device), sft.tokenizer, drawn, written)
    judge = _judge(fit_judge(train[judged], of_judge, config.worth), drawn, written)
    architecture, shape = architecture_of(networks["reward"])
    figures: dict[str, float | int | str | bool | None] = {
        "pairs": int((~judged).sum()),
        "judge_pairs": int(judged.sum()),
        "pairs_by_outcome": len(taken),
        "sends": 0 if sends is None else len(sends),
        "judge_sends": 0 if of_judge is None else len(of_judge),
        **{f"{name}_steps": count for name, count in steps.items()},
        "counterfactual_pairs": sum(len(lesson.pairs) for lesson in lessons),
        **{f"{each.name}_accuracy_validation": _last(curve, f"{each.name}_accuracy") for each in lessons},
        "accuracy_validation": _last(curve, "accuracy"),
        "judge_accuracy_validation": _judges_accuracy(judge, held_out),
    }
    return RewardModel(
        architecture,
        shape,
        sft.tokenizer,
        reward,
        judge,
        sft.digest,
        tuple((prompt, each.text) for prompt, each in zip(drawn[:EXAMPLES], written, strict=False)),
        TrainingRecord(curve=tuple(curve), figures=figures),
    )


def owners(pairs: pd.DataFrame) -> pd.Series:
    """Whose each pair is: the customer's, or the prompt's where no customer is known."""
    return pairs["customer_id"].where(pairs["customer_id"] != "", pairs["prompt"])


def judges_pairs(customers: pd.Series, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """(n,) whose pairs only the judge learns from: whole customers, about that share of them."""
    names = np.unique(customers.to_numpy(str))
    chosen = np.random.default_rng([seed, 1]).permutation(len(names))[: round(share * len(names))]
    return np.isin(customers.to_numpy(str), names[chosen])


def counterfactuals(
    pairs: pd.DataFrame,
    situations: Sequence[tuple[Profile, Arm] | None],
    count: int,
    seed: int,
    *,
    alone: bool,
) -> pd.DataFrame:
    """Pairs of a preferred text over the same with one fact of another prompt: what is given, for how long, or service.

    Most texts are cut off behind the fact, so that what differs is the last that is read. Each kind of fact is drawn
    equally often, where any text tells it and prompts differ in it; there are no pairs where none does.

    Args:
        pairs: With prompt and chosen.
        situations: Customer and arm of each, where they are known.
        count: How many are made.
        seed: Of the draws.
        alone: Whether a text is nothing but the fact.

    Returns:
        Columns prompt, chosen and rejected.
    """
    told: dict[str, list[tuple[int, str]]] = {"worth": [], "duration": [], "service": []}
    values: dict[str, set[str]] = {kind: set() for kind in told}
    prompts, texts = pairs["prompt"].tolist(), pairs["chosen"].tolist()
    for row, situation in enumerate(situations):
        if situation is None:
            continue
        profile, arm = situation
        facts = {
            "worth": worth_words(arm, profile.currency),
            "duration": duration_words(arm),
            "service": profile.service,
        }
        for kind, words in facts.items():
            if not words:
                continue
            fact = f" {words}"
            values[kind].add(fact)
            if fact in texts[row]:
                told[kind].append((row, fact))
    kinds = [kind for kind in told if told[kind] and len(values[kind]) > 1]
    rng = np.random.default_rng([seed, 2, alone])
    made = []
    for number in range(count if kinds else 0):
        kind = kinds[number % len(kinds)]
        row, fact = told[kind][int(rng.integers(len(told[kind])))]
        others = sorted(values[kind] - {fact})
        other = others[int(rng.integers(len(others)))]
        text = fact if alone else texts[row]
        if rng.random() >= WHOLE_SHARE:
            text = text[: text.index(fact)] + fact
        made.append((prompts[row], text, text.replace(fact, other)))
    return pd.DataFrame(made, columns=["prompt", "chosen", "rejected"])


def accuracy(scorer: Scorer, pairs: pd.DataFrame) -> float:
    """Share of pairs whose chosen text gets the higher reward."""
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen = score(scorer, prompts, pairs["chosen"].tolist(), whole)
    rejected = score(scorer, prompts, pairs["rejected"].tolist(), whole)
    return float((chosen > rejected).mean())


def preference_columns(tokenizer: TextTokenizer, pairs: pd.DataFrame) -> dict[str, list[list[int]]]:
    """What TRL learns from: the very ids that `score` gives the network."""
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    return {
        f"{side}_ids": tokenizer.rows(prompts, pairs[side].tolist(), whole) for side in ("chosen", "rejected")
    }


def reward_network(sft: LanguageModel, seed: int) -> Any:
    """The SFT model's trunk with a new head of one output."""
    trunk = sft.network()
    config = type(trunk.config)(**sft.config, num_labels=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ARCHITECTURES[sft.architecture].reward(config)
    network.base_model.load_state_dict(trunk.base_model.state_dict())
    return network


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the trainings: its name, its pairs, those that it is measured on, and its learning rate's course."""

    name: str
    pairs: pd.DataFrame
    held_out: pd.DataFrame
    schedule: Schedule = "cosine"

    def steps(self, config: RewardModelConfig) -> int:
        """Optimizer steps; 0 where there is nothing to learn from."""
        return total_steps(config, len(self.pairs)) if len(self.pairs) else 0

    def named(self, figures: Mapping[str, _T]) -> dict[str, _T]:
        """Figures of this part among those of all: the reward network's keep their names."""
        prefix = "" if self.name == "reward" else f"{self.name}_"
        return {f"{prefix}{key}": value for key, value in figures.items() if key != "step"}

    def follow(self, progress: Progress, done: int, of_all: int) -> Progress:
        """Progress of this part, `done` steps into those of all parts."""

        def told(*, step: int, total: int, samples: Sequence[str] = (), **figures: float) -> None:  # noqa: ARG001
            progress(step=done + step, total=of_all, samples=samples, **self.named(figures))

        return told


def _lessons(
    train: pd.DataFrame,
    held_out: pd.DataFrame,
    preferences: Preferences,
    config: RewardModelConfig,
    seed: int,
) -> tuple[_Part, ...]:
    """What comes before the pairs: facts alone, then facts where texts tell them."""
    alone = round(ALONE_SHARE * config.counterfactual_pairs)

    def lesson(name: str, count: int, *, alone: bool) -> _Part:
        learned, measured = (
            counterfactuals(pairs, preferences.situations(pairs), size, seed, alone=alone)
            for pairs, size in ((train, count), (held_out, len(held_out)))
        )
        return _Part(name, learned, measured, "constant_with_warmup")

    return (
        lesson("facts", alone, alone=True),
        lesson("told_facts", config.counterfactual_pairs - alone, alone=False),
    )


def _train_part(
    part: _Part,
    start: Any,
    before: Sequence[Sequence[str]],
    sft: LanguageModel,
    config: RewardModelConfig,
    seed: int,
    progress: Progress,
    checkpoints: Path | None,
) -> tuple[Any, tuple[dict[str, float | None], ...]]:
    """A copy of `start` that learned a part; `before` tells apart what `start` has learned from."""
    network = copy.deepcopy(start)
    if not part.steps(config):
        return network, ()
    columns = preference_columns(sft.tokenizer, part.pairs)
    refuse_long_rows("reward_model", columns, config.max_length)

    def report(current: Any) -> tuple[Figures, Sequence[str]]:
        return {"accuracy": accuracy(Scorer(current, sft.tokenizer), part.held_out)}, ()

    return fine_tuned(
        network,
        sft.tokenizer,
        columns,
        config,
        Reporter(progress, report, config.reports),
        seed=seed,
        folder=checkpoint_folder(
            checkpoints, f"reward_model-{part.name}", config, seed, [columns, before], sft.digest
        ),
        schedule=part.schedule,
    )


def _standardised(
    network: Any, tokenizer: TextTokenizer, prompts: Sequence[str], written: Sequence[Generated]
) -> RewardNetwork:
    raw = score(
        Scorer(network, tokenizer),
        prompts,
        [each.text for each in written],
        [each.ended for each in written],
    )
    return RewardNetwork(weights_of(network), float(raw.mean()), float(raw.std(ddof=1)))


def _sends(
    preferences: Preferences, of_judge: set[str], config: RewardModelConfig, seed: int
) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """The training split's sends for the reward and for the judge: whole customers each, as of the pairs."""
    if preferences.sends is None:
        return None, None
    sends = preferences.sends[preferences.sends["split"] == "train"].reset_index(drop=True)
    names, paired = sends["customer_id"], set(preferences.of("train")["customer_id"])
    judged = judges_pairs(names, config.judge_share, seed)
    judged = np.where(names.isin(paired), names.isin(of_judge), judged)
    return tuple(sends[rows].reset_index(drop=True) for rows in (~judged, judged))


def _pairs_by_outcome(
    preferences: Preferences, sends: pd.DataFrame | None, config: RewardModelConfig, seed: int
) -> pd.DataFrame:
    if sends is None or not config.outcome_pairs:
        return pd.DataFrame(columns=["prompt", "chosen", "rejected"])
    model = OutcomeModel.fit(sends, config.worth, LEARNED)
    return pairs_by_outcome(sends, preferences.situations(sends), model, config.outcome_pairs, seed)


def _judge(weights: npt.NDArray[np.float32], prompts: Sequence[str], written: Sequence[Generated]) -> Judge:
    judge = Judge(weights, 0.0, 1.0)
    raw = judge.score(prompts, [each.text for each in written], [each.ended for each in written])
    return Judge(weights, float(raw.mean()), float(raw.std(ddof=1)))


def _judges_accuracy(judge: Judge, pairs: pd.DataFrame) -> float:
    prompts, whole = pairs["prompt"].tolist(), [True] * len(pairs)
    chosen, rejected = (judge.score(prompts, pairs[side].tolist(), whole) for side in ("chosen", "rejected"))
    return float((chosen > rejected).mean())


def _last(curve: Sequence[dict[str, float | None]], key: str) -> float | None:
    return next((entry[key] for entry in reversed(curve) if key in entry), None)
