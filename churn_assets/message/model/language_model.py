"""A trained language or reward model as plain values, and as a network to run. No training and no files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from pydantic import JsonValue

from churn_assets.message.model.judge import JUDGE_WEIGHTS, SIZE, Judge
from churn_assets.message.model.tokenizer import TextTokenizer
from churn_assets.store.canonical import canonical_json

Weights = Mapping[str, npt.NDArray[np.float32]]
NetworkKind = Literal["causal", "reward"]

LARGEST_DIMENSION = 1 << 20
"""No number of a model's config is larger; a forged one could otherwise ask for more memory than there is."""

_VOLATILE = {"_name_or_path", "architectures", "dtype", "id2label", "label2id", "model_type", "problem_type"}
_VOLATILE |= {"transformers_version", "torch_dtype"}
"""What a config says beside the model's shape."""


transformers.utils.logging.disable_progress_bar()  # its bar for loading a dozen tensors would hide the training's own


class ModelError(ValueError):
    """A model is not what its config says, or not one of the architectures that are run; names found and expected."""


class _Architecture(NamedTuple):
    config: Any
    causal: Any
    reward: Any


ARCHITECTURES: Mapping[str, _Architecture] = {
    "opt": _Architecture(
        transformers.OPTConfig, transformers.OPTForCausalLM, transformers.OPTForSequenceClassification
    ),
    "llama": _Architecture(
        transformers.LlamaConfig, transformers.LlamaForCausalLM, transformers.LlamaForSequenceClassification
    ),
}
"""The only code that a stored model can choose, by model type."""


@dataclass(frozen=True)
class TrainingRecord:
    """What is told of a training.

    Attributes:
        curve: One entry a report, first to last: `step` and figures.
        figures: Flat figures and labels of the whole training; no times, so that equal runs are equal bytes.
        samples: Texts that the finished model writes.
    """

    curve: tuple[dict[str, float | None], ...] = ()
    figures: dict[str, float | int | str | bool | None] = field(default_factory=dict)
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """Prompt → message.

    Attributes:
        architecture: A key of `ARCHITECTURES`.
        config: Arguments of its config, without what merely describes a file.
        weights: Every parameter by name, float32; tied ones once.
        tokenizer: Texts to ids.
        examples: Prompts for the golden rows.
        record: How it was trained.
    """

    architecture: str
    config: dict[str, JsonValue]
    weights: Weights
    tokenizer: TextTokenizer
    examples: tuple[str, ...]
    record: TrainingRecord

    def __post_init__(self) -> None:
        check_weights("causal", self.architecture, self.config, self.weights, self.tokenizer)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of everything that decides what it writes: config, weights, tokenizer."""
        return _digest(self.architecture, self.config, self.tokenizer, self.weights)

    def network(self) -> Any:
        """A new network in evaluation mode, on the CPU, whose weights are its own."""
        return build_network("causal", self.architecture, self.config, self.weights)


@dataclass(frozen=True, eq=False)
class RewardNetwork:
    """One trained reward network.

    Attributes:
        weights: Every parameter by name, float32.
        mean: Of its raw rewards of the SFT model's messages.
        std: Their standard deviation, > 0.
    """

    weights: Weights
    mean: float
    std: float

    def standardised(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Raw rewards in standard deviations from the mean of the SFT model's messages."""
        return ((raw - np.float32(self.mean)) / np.float32(self.std)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RewardModel:
    """Prompt and message → reward, and a judge of another kind by which a training against it is judged.

    Attributes:
        architecture: A key of `ARCHITECTURES`.
        config: As in `LanguageModel`.
        tokenizer: The SFT model's.
        reward: What a policy is trained against.
        judge: Fitted on other customers' pairs and sends; no policy is ever trained against it.
        sft_digest: `LanguageModel.digest` of the SFT model that the reward was initialised from.
        examples: Prompt and text, for the golden rows.
        record: How it was trained.
    """

    architecture: str
    config: dict[str, JsonValue]
    tokenizer: TextTokenizer
    reward: RewardNetwork
    judge: Judge
    sft_digest: str
    examples: tuple[tuple[str, str], ...]
    record: TrainingRecord

    def __post_init__(self) -> None:
        check_weights("reward", self.architecture, self.config, self.reward.weights, self.tokenizer)
        if self.judge.weights.shape != (SIZE,) or not np.isfinite(self.judge.weights).all():
            found = self.judge.weights.shape
            raise ModelError(f"judge: found weights {found}, expected {SIZE} finite ones")
        for part in (self.reward, self.judge):
            if not (np.isfinite(part.mean) and np.isfinite(part.std) and part.std > 0):
                msg = f"rewards of mean {part.mean} and standard deviation {part.std}: expected some spread"
                raise ModelError(msg)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of everything that decides what it answers."""
        parts = (self.reward, self.judge)
        statistics: JsonValue = [[part.mean, part.std] for part in parts]
        return _digest(
            self.architecture,
            {**self.config, "": statistics},
            self.tokenizer,
            self.reward.weights,
            {JUDGE_WEIGHTS: self.judge.weights},
        )

    def network(self) -> Any:
        """A new reward network in evaluation mode, on the CPU, whose weights are its own."""
        return build_network("reward", self.architecture, self.config, self.reward.weights)


def architecture_of(network: Any) -> tuple[str, dict[str, JsonValue]]:
    """Architecture and config of a network.

    Raises:
        ModelError: An architecture that is not run here.
    """
    architecture = network.config.model_type
    # Published configs hold keys that no code of this architecture reads, such as `prefix` in OPT's.
    known = set(_architecture(architecture).config().to_dict()) - _VOLATILE
    config = {key: value for key, value in network.config.to_diff_dict().items() if key in known}
    return architecture, config


def weights_of(network: Any) -> dict[str, npt.NDArray[np.float32]]:
    """Copies of every parameter, float32; tied ones under their first name."""
    return {
        name: parameter.detach().to("cpu", torch.float32).numpy().copy()
        for name, parameter in network.named_parameters()
    }


def build_network(
    kind: NetworkKind, architecture: str, config: Mapping[str, JsonValue], weights: Weights
) -> Any:
    """A network in evaluation mode with copies of these weights."""
    tensors = {name: torch.from_numpy(values.copy()) for name, values in weights.items()}
    network, loading = getattr(_architecture(architecture), kind).from_pretrained(
        None,
        config=_config(kind, architecture, config),
        state_dict=tensors,
        dtype=torch.float32,
        output_loading_info=True,
    )
    wrong = {what: sorted(map(str, names)) for what, names in loading.items() if names}
    if wrong:
        raise ModelError(f"the weights do not fit the config: {wrong}")
    return network.eval()


def check_weights(
    kind: NetworkKind,
    architecture: str,
    config: Mapping[str, JsonValue],
    weights: Weights,
    tokenizer: TextTokenizer,
) -> None:
    """Do these weights fit the config? Answered without memory for them, whatever the config claims.

    Raises:
        ModelError: Another architecture, an unknown key, an absurd number, a missing, unexpected or misshapen
            weight, one that is not finite float32, or a tokenizer with more tokens than the model.
    """
    known = _architecture(architecture).config().to_dict()
    unknown = sorted(set(config) - set(known) - {"num_labels"})
    if unknown:
        raise ModelError(f"config.{unknown[0]}: not a key of {architecture}; expected one of {sorted(known)}")
    _refuse_absurd(dict(config), "config")
    layers = config.get("num_hidden_layers", known["num_hidden_layers"])
    if not isinstance(layers, int) or layers > len(weights):
        msg = f"config.num_hidden_layers: found {layers!r}, expected at most one for each of {len(weights)} weights"
        raise ModelError(msg)
    try:
        with torch.device("meta"):
            network = getattr(_architecture(architecture), kind)(_config(kind, architecture, config))
    except (TypeError, ValueError, RuntimeError, KeyError, ZeroDivisionError, StrictDataclassError) as error:
        raise ModelError(f"config: no {architecture} has this shape ({error})") from error
    expected = {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}
    found = {name: tuple(values.shape) for name, values in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            msg = f"weight {name}: found {found.get(name, 'none')}, expected {expected.get(name, 'none')} by the config"
            raise ModelError(msg)
    for name, values in weights.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ModelError(
                f"weight {name}: found {values.dtype} or values that are not finite, expected finite float32"
            )
    if tokenizer.size > network.config.vocab_size:
        msg = f"tokenizer: found {tokenizer.size} tokens, expected at most the model's {network.config.vocab_size}"
        raise ModelError(msg)


def _architecture(name: str) -> _Architecture:
    if name not in ARCHITECTURES:
        raise ModelError(f"architecture: found {name!r}, expected one of {sorted(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def _config(kind: NetworkKind, architecture: str, config: Mapping[str, JsonValue]) -> Any:
    return _architecture(architecture).config(**config, **({"num_labels": 1} if kind == "reward" else {}))


def _refuse_absurd(value: JsonValue, place: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_absurd(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _refuse_absurd(inner, f"{place}[{number}]")
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_DIMENSION:
        raise ModelError(f"{place}: found {value}, expected at most {LARGEST_DIMENSION}")


def _digest(
    architecture: str, config: Mapping[str, JsonValue], tokenizer: TextTokenizer, *weights: Weights
) -> str:
    described = [architecture, dict(config), tokenizer.definition, tokenizer.eos_id, tokenizer.pad_id]
    found = hashlib.sha256(canonical_json(described))
    for part in weights:
        for name in sorted(part):
            found.update(canonical_json([name, list(part[name].shape)]))
            found.update(np.ascontiguousarray(part[name]).data)
    return found.hexdigest()
