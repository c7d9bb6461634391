"""What a text stage needs of memory, said before it begins: an error by name in place of a process that is killed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch

from churn_assets.message.model.language_model import ARCHITECTURES, LanguageModel
from churn_assets.message.training.compute import device_of
from churn_assets.message.training.config import LoraConfig, PpoTextConfig, TextTraining

_FLOAT32 = 4
_MOMENTS = 2
"""Of AdamW, beside the gradient."""
_AUTOCAST = 2.6
"""Bytes of a kept number where products are bfloat16: norms and sums stay float32. Measured, as what follows, on one
forward and backward pass of 4 layers of 256 on a CPU: the estimate was .91 to 1.22 of what came."""
_OF_LOGIT = 12
"""Bytes of each logit: as they come, in float32, and their gradient."""
_MEMINFO = Path("/proc/meminfo")
_CGROUPS = tuple(
    (Path("/sys/fs/cgroup") / most, Path("/sys/fs/cgroup") / used)
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    )
)


class TooLittleMemory(ValueError):  # noqa: N818 - what happened reads better
    """A training would not fit; nothing of it has begun."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a training takes at once, beside what the process holds already.

    Attributes:
        weights: Of networks that are still to be built.
        training: Gradients and the optimizer's moments.
        activations: What a pass keeps for its gradients.
        of: What the pass is of, in words.
    """

    weights: int
    training: int = 0
    activations: int = 0
    of: str = "a pass"

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.training + self.activations


class TextPass(NamedTuple):
    """A forward and backward pass.

    Attributes:
        rows: Texts of it.
        tokens: Of the longest text.
        predicted: Of these, whose logits are computed.
    """

    rows: int
    tokens: int
    predicted: int


Shapes = Mapping[str, Sequence[int]]
"""Of every parameter of a network, by name; tied ones once."""


def shapes_of(weights: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Shapes:
    """The shapes of weights by name."""
    return {name: tuple(each.shape) for name, each in dict(weights).items()}


def trained_parameters(shapes: Shapes, lora: LoraConfig | None) -> int:
    """How many numbers of a network are trained: all of them, or its adapters'.

    >>> trained_parameters({"a.q_proj.weight": (8, 8), "a.q_proj.bias": (8,)}, LoraConfig(r=2))
    32
    """
    if lora is None:
        return sum(map(prod, shapes.values()))
    adapted = [
        shape
        for name, shape in shapes.items()
        if name.endswith(".weight") and name.split(".")[-2] in lora.target_modules
    ]
    return lora.r * sum(map(sum, adapted))


def training_need(
    shapes: Shapes, shape: Any, config: TextTraining, of: TextPass, *, built: bool
) -> MemoryNeed:
    """What training one network takes.

    Args:
        shapes: Of its parameters.
        shape: Its config, of one of `ARCHITECTURES`.
        config: Section of the stage.
        of: The largest pass.
        built: Whether its weights are where it is trained.
    """
    weights = 0 if built else _FLOAT32 * trained_parameters(shapes, None)
    trained = trained_parameters(shapes, config.lora) * _FLOAT32 * (1 + _MOMENTS)
    kept = _AUTOCAST if config.compute.dtype == "bfloat16" else _FLOAT32
    plain = getattr(shape, "ffn_dim", None)  # OPT's; Llama's layer has a gate beside it
    inner = 5 * shape.intermediate_size + 2 * shape.hidden_size if plain is None else 3 * plain
    layers = shape.num_hidden_layers * (14 * shape.hidden_size + inner) * kept * of.tokens
    logits = _OF_LOGIT * shape.vocab_size * of.predicted
    return MemoryNeed(
        weights, trained, int(of.rows * (layers + logits)), f"{of.rows} texts of {of.tokens} tokens"
    )


def policy_needs(
    model: LanguageModel, prompts: Sequence[str], config: PpoTextConfig
) -> tuple[MemoryNeed, ...]:
    """What reinforcement learning takes: the policy, PPO's critic, the reference, and the reward network."""
    shapes, shape = shapes_of(model.weights), ARCHITECTURES[model.architecture].config(**model.config)
    longest = max(map(len, model.tokenizer.encode(list(prompts)))) + config.max_new_tokens
    learned = TextPass(config.mini_batch_size, longest, config.max_new_tokens)
    policy = training_need(shapes, shape, config, learned, built=False)
    others = MemoryNeed(2 * _FLOAT32 * trained_parameters(shapes, None))
    if config.algorithm == "grpo":
        return policy, others
    critic = training_need(shapes, shape, config, learned._replace(predicted=0), built=False)
    return policy, critic, others


def free_memory(device: torch.device) -> int | None:
    """Bytes that this process can still get there; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not _MEMINFO.exists():
        return None
    told = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    found = [int(told["MemAvailable"].split()[0]) * 1024]
    for most, used in _CGROUPS:
        if most.exists() and (limit := most.read_text().strip()).isdigit():
            found.append(int(limit) - int(used.read_text()))
    return min(found)


def refuse_beyond_memory(asset: str, config: TextTraining, needs: Sequence[MemoryNeed]) -> None:
    """Refuse to begin what would not fit.

    Args:
        asset: Whose section is to be mended.
        config: The section.
        needs: Of all networks that are there at once.

    Raises:
        TooLittleMemory: What is needed for what, what is there, and what to change.
    """
    device = device_of(config.compute)
    free, total = free_memory(device), sum(each.total for each in needs)
    if not config.compute.check_memory or free is None or total <= free:
        return
    parts = {
        "weights": sum(each.weights for each in needs),
        "gradients and the optimizer": sum(each.training for each in needs),
        f"a pass of {needs[0].of}": sum(each.activations for each in needs),
    }
    told = ", ".join(f"{size / 1e9:.1f} for {what}" for what, size in parts.items())
    batch = "mini_batch_size" if isinstance(config, PpoTextConfig) else "batch_size"
    adapters = "" if config.lora is not None else ", train adapters (lora)"
    raise TooLittleMemory(
        f"{asset}: found {free / 1e9:.1f} GB of memory free ({device}), expected about {total / 1e9:.1f} GB: {told}; "
        f"make {asset}.{batch} smaller and gradient_accumulation_steps larger{adapters}, or take a larger machine; "
        f"{asset}.compute.check_memory: false tries it all the same"
    )
