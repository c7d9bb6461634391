"""Where a training keeps what it needs to go on after a crash, and what it must have in common with it.

A checkpoint is local and of one training: its folder is named by a digest of everything that the training depends on,
so another config, seed or corpus never finds it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import BaseModel, JsonValue
from safetensors.torch import load_file, save_file

from churn_assets.store.canonical import canonical_json
from churn_assets.store.files import read_json, read_parquet, write_json, write_parquet

_WEIGHTS = ("policy", "critic", "optimizer", "best")


def checkpoint_folder(
    parent: Path, stage: str, config: BaseModel, seed: int, rows: Any, *upstream: str
) -> Path:
    """The folder of this very training below `parent`.

    Args:
        parent: For all checkpoints of a run; the caller deletes it once the result is published.
        stage: Name of the asset.
        config: Its section.
        seed: Of the training.
        rows: What is learned from, as JSON takes it.
        upstream: Digests of the models it starts from.
    """
    parts: JsonValue = [stage, config.model_dump(mode="json"), seed, rows, list(upstream)]
    return parent / f"{stage}-{hashlib.sha256(canonical_json(parts)).hexdigest()[:16]}"


@dataclass(frozen=True, eq=False)
class PpoState:
    """A PPO training between two steps.

    Attributes:
        policy: What is trained of the policy, by name.
        critic: What is trained of the critic.
        optimizer: Its moments and step counts.
        best: The policy at the judge's best step so far; empty before the first.
        rollouts: What was written so far.
        curve: Figures of every step.
        step: Steps done.
        beta: Weight of KL in the next step.
    """

    policy: dict[str, torch.Tensor]
    critic: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    best: Mapping[str, torch.Tensor]
    rollouts: pd.DataFrame
    curve: tuple[dict[str, float | None], ...]
    step: int
    beta: float


def write_checkpoint(state: PpoState, folder: Path) -> None:
    """Writes safetensors, Parquet and JSON; the one before is deleted once this one is whole."""
    unfinished, place = folder / "unfinished", folder / f"step-{state.step:06d}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in _WEIGHTS:
        save_file(dict(getattr(state, name)), unfinished / f"{name}.safetensors")
    write_parquet(state.rollouts, unfinished / "rollouts.parquet")
    described = {"curve": list(state.curve), "step": state.step, "beta": state.beta}
    write_json(described, unfinished / "state.json")
    unfinished.rename(place)
    for other in folder.glob("step-*"):
        if other != place:
            shutil.rmtree(other)


def read_checkpoint(folder: Path) -> PpoState | None:
    """The newest whole checkpoint in the folder; None if there is none."""
    places = sorted(folder.glob("step-*"))
    if not places:
        return None
    place = places[-1]
    described = read_json(place / "state.json")
    return PpoState(
        **{name: load_file(place / f"{name}.safetensors") for name in _WEIGHTS},
        rollouts=read_parquet(place / "rollouts.parquet"),
        curve=tuple(described["curve"]),
        step=described["step"],
        beta=described["beta"],
    )
