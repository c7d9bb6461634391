"""The assets of the message branch: texts to learn from, and the models that learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from churn_assets.customers.names import PSEUDONYMS, naming_key
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.setting import SEED
from churn_assets.gates.plots import Plot
from churn_assets.message.checks import (
    ARMS,
    CURRENCY,
    MESSAGES,
    MONTHS,
    NAMED,
    PPO_TEXT,
    PREFERENCES,
    REWARD_MODEL,
    SAFETY,
    SFT_MODEL,
    TEXTS,
    curves,
)
from churn_assets.message.config import MessagesConfig, PreferencesConfig, SendsConfig
from churn_assets.message.training.config import PpoTextConfig, RewardModelConfig, SftModelConfig
from churn_assets.store.inputs import content_of, local_copy

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.arms import Menu
    from churn_assets.customers.table import CustomerTable
    from churn_assets.message.corpus.data import MessageCorpus, Preferences
    from churn_assets.message.model.language_model import LanguageModel, RewardModel, TrainingRecord
    from churn_assets.message.model.masks import Guide
    from churn_assets.message.text.profile import Profile
    from churn_assets.message.training.progress import Progress

_T = TypeVar("_T")
_REPORTS = 40
_MENU = (NAMED, ARMS, MONTHS, CURRENCY)


def _digest_of_pairs(step: Step[PreferencesConfig]) -> str:
    pairs, sends = _file_digest(step), step.config.sends
    if sends is None:
        return pairs
    return f"{pairs} {'simulated' if sends.simulated else content_of(sends.source, step.root) or 'missing'}"


def _file_digest(step: Step[MessagesConfig] | Step[PreferencesConfig]) -> str:
    if step.config.simulated:
        return "simulated"
    # Reading it will say so, with what was expected.
    return content_of(step.config.source, step.root) or "missing"


@asset(
    config=MessagesConfig,
    reads=(SAFETY, *_MENU, SEED, PSEUDONYMS),
    format="churn_assets.message.corpus.format:MESSAGES",
    checks=MESSAGES,
    branch="message",
    kinds=("pandas", "parquet"),
    description="Prompts and messages to imitate. SIMULATED where the source is the embedded corpus: real customers, "
    "messages written by rule.",
    data=_file_digest,
    outside=("message_texts",),
)
def messages(step: Step[MessagesConfig], customers: CustomerTable) -> Made:
    from churn_assets.message.corpus.read import read_messages
    from churn_assets.message.corpus.sentences import write_message_corpus

    config, menu, currency = step.config, _menu(step), step.read(CURRENCY)
    if config.simulated:
        made = write_message_corpus(customers, config, step.read(SAFETY), menu, step.seed, currency)
    else:
        with local_copy(config.source, step.root) as (path, where):
            made = read_messages(path, customers, config, menu, where, currency, _key(step))
    frame = made.frame
    return Made(
        made,
        metrics={
            "messages": len(made),
            "distinct": int(frame["completion"].nunique()),
            "customers": int(frame["customer_id"].nunique()),
            "mean_words": float(frame["completion"].str.split().str.len().mean()),
            "simulated": made.simulated,
        },
        tables={"examples": _examples(made, ("prompt", "completion"))},
        columns=_columns(made),
        rows=len(made),
    )


@asset(
    config=PreferencesConfig,
    reads=(TEXTS, SAFETY, *_MENU, SEED, PSEUDONYMS),
    format="churn_assets.message.corpus.format:PREFERENCES",
    checks=PREFERENCES,
    branch="message",
    kinds=("pandas", "parquet"),
    description="Pairs of texts for one prompt, the preferred one named. SIMULATED where the source is the embedded "
    "corpus: written and labelled by rule, with noise.",
    data=_digest_of_pairs,
    outside=("preference_pairs",),
)
def preferences(step: Step[PreferencesConfig], customers: CustomerTable) -> Made:
    from churn_assets.message.corpus.read import read_preferences
    from churn_assets.message.corpus.sentences import write_preferences

    config, texts, menu, currency = step.config, step.read(TEXTS), _menu(step), step.read(CURRENCY)
    if config.simulated:
        made = write_preferences(customers, texts, config, step.read(SAFETY), menu, step.seed, currency)
    else:
        with local_copy(config.source, step.root) as (path, where):
            made = read_preferences(path, customers, texts, menu, where, currency, _key(step))
    if config.sends is not None:
        made = made.with_sends(*_sends(step, customers, config.sends, menu))
    sends = made.sends
    return Made(
        made,
        metrics={
            "pairs": len(made),
            "edits": int((made.frame["kind"] == "edit").sum()),
            "simulated": made.simulated,
            "sends": 0 if sends is None else len(sends),
        },
        tables={"examples": _examples(made, ("prompt", "chosen", "rejected", "rule"))}
        | ({} if sends is None else {"sends": _by_variant(sends, config.sends)}),
        columns=_columns(made),
        rows=len(made),
    )


def _sends(
    step: Step[PreferencesConfig], customers: CustomerTable, config: SendsConfig, menu: Menu
) -> tuple[pd.DataFrame, dict[str, Profile]]:
    """What was sent, with what came of it, and the profiles of those who got it."""
    texts, currency = step.read(TEXTS), step.read(CURRENCY)
    if not config.simulated:
        from churn_assets.message.corpus.read import read_sends

        with local_copy(config.source, step.root) as (path, where):
            return read_sends(path, customers, texts, menu, where, currency, _key(step))
    from churn_assets.message.corpus.sends import ROWS, draw_sends
    from churn_assets.message.corpus.words_world import WordsWorld
    from churn_assets.offers.economics import Economics

    world = WordsWorld(
        customers.newest_labelled, menu, Economics(currency=currency), words=config.words is not False
    )
    rows = ROWS if config.rows is None else config.rows
    return draw_sends(world, customers, texts, step.read(SAFETY), rows, step.seed, currency)


def _by_variant(sends: pd.DataFrame, config: SendsConfig | None) -> list[dict[str, object]]:
    """What came of each variant; of simulated sends it says so."""
    data = "simulated" if config is not None and config.simulated else "observed"
    shares = ["propensity", "accepted", "stayed", "complained"]
    return [
        {"variant": name, "sends": len(rows), **rows[shares].mean().to_dict(), "data": data}
        for name, rows in sends.groupby("variant")
    ]


def _key(step: Step[Any]) -> bytes:
    return naming_key(pseudonyms=step.read(PSEUDONYMS))


def _menu(step: Step[Any]) -> Menu:
    from churn_assets.message.text.terms import menu_of

    return menu_of(step.read(NAMED), step.read(ARMS), step.read(MONTHS), step.read(CURRENCY))


def _examples(made: MessageCorpus | Preferences, names: tuple[str, ...]) -> list[dict[str, str]]:
    return [
        dict(zip(names, map(str, row), strict=True)) for row in made.frame[list(names)].head(5).to_numpy()
    ]


def _columns(made: MessageCorpus | Preferences) -> dict[str, tuple[str, str]]:
    origin = "Simulated." if made.simulated else "The user's."
    meanings = {
        "customer_id": "The customer; empty where unknown.",
        "split": "train, validation or test.",
        "prompt": "Profile and offer, as every prompt says them.",
        "completion": f"The message. {origin}",
        "chosen": f"The preferred text. {origin}",
        "rejected": f"The other text. {origin}",
        "arm": "Id of the arm that the prompt tells; empty where unknown.",
        "months": "Months that it runs.",
        "tone": "Tone of the message.",
        "kind": "pair: two texts written apart; edit: a text and the same with one edit.",
        "rule": "What the edit breaks.",
    }
    return {str(name): (str(kind), meanings[str(name)]) for name, kind in made.frame.dtypes.items()}


def _follow(running: Step[Any]) -> Progress:
    """Passes on how far a training is, about forty times whatever its length."""

    def told(*, step: int, total: int, samples: Sequence[str] = (), **figures: float) -> None:
        if samples or step == total or step % max(1, total // _REPORTS) == 0:
            running.progress({"step": step, "total": total, **figures}, samples)

    return told


def _base_digest(step: Step[SftModelConfig]) -> str:
    """Digest of a pretrained model in a local folder; other base models are named wholly by their section."""
    base = step.config.base
    return content_of(base.path, step.root) if base.source == "folder" else ""


def _train(train: Callable[..., _T], step: Step[Any], *inputs: Any, **more: Any) -> _T:
    """Calls a training of the branch with what all of them are given."""
    given = {"seed": step.seed, "progress": _follow(step), "checkpoints": step.scratch}
    return train(*inputs, step.config, **given, **more)


def _guide(step: Step[Any], model: LanguageModel, messages: MessageCorpus) -> Guide:
    """Keeps what is written for the prompts of these messages to their facts, where customer and arm are known."""
    from churn_assets.message.guides import guide_of_messages, safety_rules

    safety = safety_rules(step.read(SAFETY), step.read(TEXTS), _menu(step))
    return guide_of_messages(model, messages, safety)


def _trained(value: Any, record: TrainingRecord, *plots: Plot) -> Made:
    names = list(dict.fromkeys(name for entry in record.curve for name in entry))
    return Made(
        value,
        metrics={name: figure for name, figure in record.figures.items() if figure is not None},
        tables={
            "training": [{name: entry.get(name) for name in names} for entry in record.curve],
            "samples": [{"text": text} for text in record.samples],
        },
        plots=tuple(plot for plot in plots if set(plot.y) <= set(names)),
    )


@asset(
    config=SftModelConfig,
    reads=(SEED,),
    format="churn_assets.message.model.format:SFT_MODEL",
    checks=SFT_MODEL,
    branch="message",
    kinds=("transformers", "trl", "safetensors"),
    description="A language model fine-tuned to write as the messages were written.",
    data=_base_digest,
    outside=("base_model",),
)
def sft_model(step: Step[SftModelConfig], messages: MessageCorpus) -> Made:
    from churn_assets.message.training.sft import train_sft

    model = _train(train_sft, step, messages, root=step.root)
    return _trained(
        model,
        model.record,
        curves("Perplexity of held-out messages", "a token", "perplexity"),
        curves("Training loss", "nats a token", "loss"),
    )


@asset(
    config=RewardModelConfig,
    reads=(SEED,),
    format="churn_assets.message.model.format:REWARD_MODEL",
    checks=REWARD_MODEL,
    branch="message",
    kinds=("transformers", "trl", "safetensors"),
    description="Rewards a text as people would prefer it, with a judge of another kind beside it.",
)
def reward_model(step: Step[RewardModelConfig], preferences: Preferences, sft_model: LanguageModel) -> Made:
    from churn_assets.message.training.reward import train_reward

    model = _train(train_reward, step, preferences, sft_model)
    plot = curves("Held-out pairs ranked right", "share", "accuracy")
    return _trained(model, model.record, plot)


@asset(
    config=PpoTextConfig,
    reads=(SAFETY, TEXTS, *_MENU, SEED),
    format="churn_assets.message.model.format:PPO_TEXT",
    checks=PPO_TEXT,
    branch="message",
    kinds=("transformers", "safetensors"),
    description="Writes the message: the SFT model, tuned by PPO against that very reward model.",
)
def ppo_text(
    step: Step[PpoTextConfig], sft_model: LanguageModel, reward_model: RewardModel, messages: MessageCorpus
) -> Made:
    if step.config.algorithm == "grpo":
        from churn_assets.message.training.grpo import train_grpo as train
    else:
        from churn_assets.message.training.ppo import train_ppo as train

    guide = _guide(step, sft_model, messages)
    policy = _train(train, step, sft_model, reward_model, messages, guide=guide)
    return _trained(
        policy,
        policy.model.record,
        curves("Reward and judge", "standard deviations", "reward", "judge"),
        curves("KL divergence and its weight", "nats a token", "kl", "beta"),
    )
