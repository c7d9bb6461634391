"""Where a training keeps what it needs to go on after a crash, and what it must have in common with it.

A checkpoint is local and of one training: its folder is named by a digest of everything that the training depends on,
so another config, seed or corpus never finds it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue

from churn_assets.store.canonical import canonical_json


def checkpoint_folder(
    parent: Path | None, stage: str, config: BaseModel, seed: int, rows: Any, *upstream: str
) -> Path | None:
    """The folder of this very training below `parent`; None where no checkpoints are kept.

    Args:
        parent: For all checkpoints of a run; the caller deletes it once the result is published.
        stage: Name of the asset.
        config: Its section.
        seed: Of the training.
        rows: What is learned from, as JSON takes it.
        upstream: Digests of the models it starts from.
    """
    if parent is None:
        return None
    parts: JsonValue = [stage, config.model_dump(mode="json"), seed, rows, list(upstream)]
    return parent / f"{stage}-{hashlib.sha256(canonical_json(parts)).hexdigest()[:16]}"


def write_checkpoint(folder: Path, step: int, write: Callable[[Path], None]) -> None:
    """Has a checkpoint written; the one before is deleted once this one is whole.

    Args:
        folder: Of the training.
        step: Steps done.
        write: Writes the files into a folder that it is given.
    """
    unfinished, place = folder / "unfinished", folder / f"step-{step:06d}"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write(unfinished)
    unfinished.rename(place)
    for other in folder.glob("step-*"):
        if other != place:
            shutil.rmtree(other)


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in the folder; None if there is none."""
    return max(folder.glob("step-*"), default=None)
