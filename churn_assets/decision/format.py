"""Files of `ppo_decision`: safetensors and JSON. Nothing of stable-baselines3 or torch is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, JsonValue

from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import RetentionProcess
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import (
    ArtifactFormat,
    GoldenRows,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)

TENSORS, DESCRIPTION = "policy.safetensors", "policy.json"
GOLDEN_ROWS = 16


class _Description(BaseModel, frozen=True, extra="forbid"):
    process: dict[str, Any]
    observation: tuple[str, ...]
    layers: int


class PpoDecisionFormat(ArtifactFormat[DecisionPolicy]):
    """Golden rows: the probabilities at made-up observations, with and without masked arms."""

    loader: ClassVar[str] = "ppo_decision/3"
    reads: ClassVar[tuple[str, ...]] = ("ppo_decision/2",)
    packages: ClassVar[tuple[str, ...]] = ("numpy", "safetensors", "stable-baselines3", "torch")

    def save(self, value: DecisionPolicy, folder: Path) -> None:
        """Writes the weights and what they belong to."""
        tensors = {"skip": value.skip}
        for i, (weight, bias) in enumerate(value.layers):
            tensors[f"layer_{i}.weight"], tensors[f"layer_{i}.bias"] = weight, bias
        write_tensors(tensors, folder / TENSORS)
        described = _Description(
            process=value.process.to_json(), observation=value.observation_names, layers=len(value.layers)
        )
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)

    def load(self, folder: Path) -> DecisionPolicy:
        """Reads both files; CorruptArtifact where they do not fit together."""
        try:
            described = _Description.model_validate(read_json(folder / DESCRIPTION))
            process = RetentionProcess.from_json(described.process)
        except ValueError as error:
            raise CorruptArtifact(DESCRIPTION, f"{error}", "process, observation and layers") from error
        tensors = read_tensors(folder / TENSORS)
        parts = [f"layer_{i}.{part}" for i in range(described.layers) for part in ("weight", "bias")]
        if set(tensors) != {"skip", *parts}:
            raise CorruptArtifact(
                TENSORS, f"tensors {sorted(tensors)}", f"skip and {described.layers} layers"
            )
        if not all(np.isfinite(values).all() for values in tensors.values()):
            raise CorruptArtifact(TENSORS, "weights that are not finite", "finite weights")
        layers = tuple(
            (tensors[f"layer_{i}.weight"], tensors[f"layer_{i}.bias"]) for i in range(described.layers)
        )
        try:
            return DecisionPolicy(process, described.observation, layers, tensors["skip"])
        except ValueError as error:
            raise CorruptArtifact(TENSORS, f"{error}", "weights that fit the observation") from error

    def signature(self, value: DecisionPolicy) -> dict[str, JsonValue]:
        """The observation's columns in order; the probability of every arm of the menu."""
        return {
            "inputs": [{"name": name, "dtype": "float32"} for name in value.observation_names],
            "outputs": [{"name": "probability", "arm": arm} for arm in value.process.menu.ids],
        }

    def golden(self, value: DecisionPolicy) -> GoldenRows:
        """Made-up observations; every other row with all arms allowed."""
        rng = np.random.default_rng(0)
        offers = value.process.n_arms - 1
        rows = rng.normal(0, 1, (GOLDEN_ROWS, len(value.observation_names))).astype(np.float32)
        rows[:, -offers:] = rng.random((GOLDEN_ROWS, offers)) < 0.5
        rows[::2, -offers:] = 1
        inputs: JsonValue = [[float(x) for x in row] for row in rows]
        # Matrix products may be summed in another order on another machine.
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-4, atol=1e-6)

    def replay(self, value: DecisionPolicy, inputs: JsonValue) -> JsonValue:
        """The probabilities of every arm, a row an observation."""
        probabilities = value.probabilities(np.array(inputs, np.float32))
        return [[float(p) for p in row] for row in probabilities]


PPO_DECISION = PpoDecisionFormat()
