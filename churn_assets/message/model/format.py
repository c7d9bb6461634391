"""Files of `sft_model`, `reward_model` and `ppo_text`: safetensors, tokenizer.json, JSON and Parquet.

None of them can hold code: the architecture is one of a fixed list, and a config must fit the weights beside it before
a network is built.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from churn_assets.message.model.generation import Writer, generate
from churn_assets.message.model.judge import JUDGE_WEIGHTS, Judge
from churn_assets.message.model.language_model import (
    LanguageModel,
    ModelError,
    RewardModel,
    RewardNetwork,
    TrainingRecord,
)
from churn_assets.message.model.likelihood import perplexity
from churn_assets.message.model.scoring import Scorer, score
from churn_assets.message.model.tokenizer import TextError, TextTokenizer
from churn_assets.message.training.rollouts import COLUMNS, TextPolicy
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import (
    ArtifactFormat,
    GoldenRows,
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)

MODEL, REWARD, JUDGE = "model.safetensors", "reward.safetensors", "judge.safetensors"
TOKENIZER, DESCRIPTION, RECORD = "tokenizer.json", "model.json", "training.json"
ROLLOUTS, LINEAGE = "rollouts.parquet", "lineage.json"

GOLDEN_SEED, GOLDEN_TOKENS = 0, 32
PACKAGES = ("numpy", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Description(_Strict):
    architecture: str
    config: dict[str, Any]
    eos_id: int
    pad_id: int


class _Record(_Strict):
    curve: tuple[dict[str, float | None], ...]
    figures: dict[str, bool | int | float | str | None]
    samples: tuple[str, ...]


class _ModelDescription(_Description):
    examples: tuple[str, ...]


class _Scale(_Strict):
    mean: float
    std: float


class _RewardDescription(_Description):
    reward: _Scale
    judge: _Scale
    sft_digest: str
    examples: tuple[tuple[str, str], ...]


class _Lineage(_Strict):
    sft_digest: str
    reward_digest: str


_S = TypeVar("_S", bound=_Strict)


class LanguageModelFormat(ArtifactFormat[LanguageModel]):
    """Golden rows: texts written with a fixed seed, and how probable the model finds them."""

    loader: ClassVar[str] = "sft_model/1"
    packages: ClassVar[tuple[str, ...]] = PACKAGES

    def save(self, value: LanguageModel, folder: Path) -> None:
        """Writes weights, tokenizer, config and training record."""
        write_tensors(value.weights, folder / MODEL)
        _save_beside_weights(value, folder)

    def load(self, folder: Path) -> LanguageModel:
        """Reads all of them; CorruptArtifact where they do not fit together."""
        described = _read(folder, DESCRIPTION, _ModelDescription)
        tokenizer, record = _tokenizer(folder, described), _record(folder)
        architecture, config, weights = described.architecture, described.config, read_tensors(folder / MODEL)
        try:
            return LanguageModel(architecture, config, weights, tokenizer, described.examples, record)
        except ModelError as error:
            raise CorruptArtifact(MODEL, f"{error}", "weights that fit the config") from error

    def signature(self, value: LanguageModel) -> dict[str, JsonValue]:
        """A prompt in, a message out."""
        return {
            "inputs": [{"name": "prompt", "dtype": "text"}],
            "outputs": [{"name": "message", "dtype": "text"}],
            "architecture": value.architecture,
            "tokens": value.tokenizer.size,
        }

    def golden(self, value: LanguageModel) -> GoldenRows:
        """The example prompts."""
        inputs: JsonValue = list(value.examples)
        # Sums in another order on another machine move a perplexity; the texts must be the same.
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-3, atol=1e-4)

    def replay(self, value: LanguageModel, inputs: JsonValue) -> JsonValue:
        """The text written for each prompt, and the perplexity of them all."""
        prompts = _texts(inputs)
        writer = Writer.of(value)
        written = generate(writer, prompts, seed=GOLDEN_SEED, max_new_tokens=GOLDEN_TOKENS)
        texts = [each[0].text for each in written]
        told = [text if text.startswith(" ") else f" {text}" for text in texts]
        return {"texts": list[JsonValue](texts), "perplexity": perplexity(writer, prompts, told)}


class RewardModelFormat(ArtifactFormat[RewardModel]):
    """Golden rows: raw scores of texts that the SFT model wrote, of the reward and of the judge."""

    loader: ClassVar[str] = "reward_model/2"
    packages: ClassVar[tuple[str, ...]] = PACKAGES

    def save(self, value: RewardModel, folder: Path) -> None:
        """Writes both networks, tokenizer, config, scales and training record."""
        write_tensors(value.reward.weights, folder / REWARD)
        write_tensors({JUDGE_WEIGHTS: value.judge.weights}, folder / JUDGE)
        _save_beside_weights(
            value,
            folder,
            reward={"mean": value.reward.mean, "std": value.reward.std},
            judge={"mean": value.judge.mean, "std": value.judge.std},
            sft_digest=value.sft_digest,
        )

    def load(self, folder: Path) -> RewardModel:
        """Reads all of them; CorruptArtifact where they do not fit together."""
        described = _read(folder, DESCRIPTION, _RewardDescription)
        tokenizer, record = _tokenizer(folder, described), _record(folder)
        scale = described.reward
        reward = RewardNetwork(read_tensors(folder / REWARD), scale.mean, scale.std)
        tensors, scale = read_tensors(folder / JUDGE), described.judge
        if set(tensors) != {JUDGE_WEIGHTS}:
            raise CorruptArtifact(JUDGE, f"tensors {sorted(tensors)[:3]}", JUDGE_WEIGHTS)
        judge = Judge(tensors[JUDGE_WEIGHTS], scale.mean, scale.std)
        try:
            return RewardModel(
                described.architecture,
                described.config,
                tokenizer,
                reward,
                judge,
                described.sft_digest,
                described.examples,
                record,
            )
        except ModelError as error:
            raise CorruptArtifact(REWARD, f"{error}", "weights that fit the config") from error

    def signature(self, value: RewardModel) -> dict[str, JsonValue]:
        """Prompt and message in, two rewards out."""
        return {
            "inputs": [{"name": name, "dtype": "text"} for name in ("prompt", "message")],
            "outputs": [{"name": name, "dtype": "float32"} for name in ("reward", "judge")],
            "architecture": value.architecture,
            "tokens": value.tokenizer.size,
        }

    def golden(self, value: RewardModel) -> GoldenRows:
        """The example prompts and messages."""
        inputs: JsonValue = [[prompt, text] for prompt, text in value.examples]
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-3, atol=1e-3)

    def replay(self, value: RewardModel, inputs: JsonValue) -> JsonValue:
        """Raw rewards, reward and judge, a row a message."""
        rows = [_texts(row) for row in inputs] if isinstance(inputs, list) else []
        prompts, texts = [row[0] for row in rows], [row[1] for row in rows]
        whole = [True] * len(rows)
        found = score(Scorer.of(value), prompts, texts, whole), value.judge.score(prompts, texts, whole)
        return [[float(x) for x in row] for row in zip(*found, strict=True)]


class PpoTextFormat(ArtifactFormat[TextPolicy]):
    """The files of a language model, everything it wrote while it was trained, and what it was trained from."""

    loader: ClassVar[str] = "ppo_text/1"
    packages: ClassVar[tuple[str, ...]] = PACKAGES

    def save(self, value: TextPolicy, folder: Path) -> None:
        """Writes the model, the rollouts and the digests of both upstream models."""
        SFT_MODEL.save(value.model, folder)
        write_parquet(value.rollouts, folder / ROLLOUTS)
        lineage = {"sft_digest": value.sft_digest, "reward_digest": value.reward_digest}
        write_json(lineage, folder / LINEAGE)

    def load(self, folder: Path) -> TextPolicy:
        """Reads all of them; CorruptArtifact where they do not fit together."""
        lineage = _read(folder, LINEAGE, _Lineage)
        rollouts = read_parquet(folder / ROLLOUTS)
        if tuple(rollouts.columns) != COLUMNS:
            raise CorruptArtifact(ROLLOUTS, f"columns {list(rollouts.columns)}", f"{list(COLUMNS)}")
        return TextPolicy(SFT_MODEL.load(folder), rollouts, lineage.sft_digest, lineage.reward_digest)

    def signature(self, value: TextPolicy) -> dict[str, JsonValue]:
        """A prompt in, a message out."""
        return SFT_MODEL.signature(value.model)

    def golden(self, value: TextPolicy) -> GoldenRows:
        """As of the language model."""
        return SFT_MODEL.golden(value.model)

    def replay(self, value: TextPolicy, inputs: JsonValue) -> JsonValue:
        """As of the language model."""
        return SFT_MODEL.replay(value.model, inputs)


def _save_beside_weights(value: LanguageModel | RewardModel, folder: Path, **more: JsonValue) -> None:
    tokenizer = value.tokenizer
    described = {
        "architecture": value.architecture,
        "config": value.config,
        "eos_id": tokenizer.eos_id,
        "pad_id": tokenizer.pad_id,
        "examples": value.examples,
        **more,
    }
    write_json(described, folder / DESCRIPTION)
    (folder / TOKENIZER).write_text(tokenizer.definition, encoding="utf-8")
    write_json(_Record(**asdict(value.record)).model_dump(mode="json"), folder / RECORD)


def _read(folder: Path, file: str, kind: type[_S]) -> _S:
    try:
        return kind.model_validate(read_json(folder / file))
    except ValueError as error:
        raise CorruptArtifact(file, f"{error}", f"{', '.join(kind.model_fields)}") from error


def _record(folder: Path) -> TrainingRecord:
    found = _read(folder, RECORD, _Record)
    return TrainingRecord(found.curve, found.figures, found.samples)


def _tokenizer(folder: Path, described: _Description) -> TextTokenizer:
    try:
        definition = (folder / TOKENIZER).read_bytes().decode("utf-8")
        return TextTokenizer(definition, described.eos_id, described.pad_id)
    except (TextError, UnicodeDecodeError) as error:
        raise CorruptArtifact(TOKENIZER, f"{error}", "a tokenizer that fits the model") from error


def _texts(value: JsonValue) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


SFT_MODEL = LanguageModelFormat()
REWARD_MODEL = RewardModelFormat()
PPO_TEXT = PpoTextFormat()
