"""Checkpoints of a long training in the store, so that another machine goes on where one was lost.

A training writes checkpoints to a folder of its own machine and knows nothing of this. Of each training the newest
whole one is kept below `checkpoints/<experiment>/<asset>/`, its list of files written last: without it, there is none.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from churn_assets.store.backend import Backend, stored
from churn_assets.store.canonical import canonical_json, sha256_file
from churn_assets.store.errors import ObjectMissing, StoreError

CHECKPOINTS = "checkpoints/"
WHOLE = "whole.json"
"""Lists the files of a checkpoint with their SHA-256."""
KEPT_EVERY = 20.0
"""Seconds between two looks for a new checkpoint."""

Note = Callable[[str], None]


def checkpoint_prefix(experiment: str, asset: str) -> str:
    """Key prefix of an asset's checkpoints, with the closing `/`."""
    return f"{CHECKPOINTS}{experiment}/{asset}/"


def restore(backend: Backend, prefix: str, folder: Path, note: Note) -> None:
    """Bring every whole checkpoint of the store to a folder; one that is broken is left, and told.

    Args:
        backend: The store's.
        prefix: Of the asset's checkpoints.
        folder: Where its trainings look for them.
        note: Hears what was found.
    """
    for key in backend.list(prefix):
        if not key.endswith(f"/{WHOLE}"):
            continue
        name = key.removeprefix(prefix).removesuffix(f"/{WHOLE}")
        place, coming = folder / name, folder / f"{name}.coming"
        if place.exists():
            continue
        shutil.rmtree(coming, ignore_errors=True)
        try:
            _fetch(backend, f"{prefix}{name}/", json.loads(backend.read(key)), coming)
        except _BrokenError as error:
            note(f"checkpoint {name} is not used: {error}")
            shutil.rmtree(coming, ignore_errors=True)
            continue
        coming.rename(place)
        note(f"goes on from checkpoint {name} of the store")


def keep(backend: Backend, prefix: str, folder: Path) -> list[str]:
    """Store the newest whole checkpoint of each training in a folder, and remove those before it from the store.

    Returns:
        Names of those that are new in the store.
    """
    new = []
    for training in sorted(path for path in folder.glob("*") if path.is_dir()):
        newest = max(training.glob("step-*[0-9]"), default=None)
        if newest is None:
            continue
        name = f"{training.name}/{newest.name}"
        listed = f"{prefix}{name}/{WHOLE}"
        if not _there(backend, listed):
            files = {
                path.relative_to(newest).as_posix(): path for path in newest.rglob("*") if path.is_file()
            }
            for file, path in files.items():
                stored(backend, f"{prefix}{name}/{file}", path)
            stored(backend, listed, canonical_json({file: sha256_file(path) for file, path in files.items()}))
            new.append(name)
        for key in backend.list(f"{prefix}{training.name}/"):
            if not key.startswith(f"{prefix}{name}/"):
                backend.delete(key)
    return new


def forget_checkpoints(backend: Backend, prefix: str) -> None:
    """Remove an asset's checkpoints from the store; the lists first, so that none is there by half."""
    keys = backend.list(prefix)
    for key in sorted(keys, key=lambda key: not key.endswith(f"/{WHOLE}")):
        backend.delete(key)


@contextmanager
def kept(
    backend: Backend, prefix: str, folder: Path, note: Note, every: float = KEPT_EVERY
) -> Iterator[None]:
    """Go on from the store's checkpoints, keep new ones there while the block works, and forget them once it is done.

    A store that does not answer keeps no checkpoint, which is told; the training goes on.
    """
    restore(backend, prefix, folder, note)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every):
            try:
                for name in keep(backend, prefix, folder):
                    note(f"checkpoint {name} is in the store")
            except (StoreError, OSError) as error:  # as one that its training removes meanwhile
                note(f"no checkpoint was kept: {type(error).__name__}: {error}")

    watcher = threading.Thread(target=watch, name="checkpoints", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    forget_checkpoints(backend, prefix)


class _BrokenError(Exception):
    """A checkpoint of the store is not what its list says."""


def _fetch(backend: Backend, prefix: str, files: dict[str, Any], folder: Path) -> None:
    for file, sha256 in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = backend.fetch(prefix + file, backend.info(prefix + file).size, path)
        except ObjectMissing as error:
            raise _BrokenError(f"{file} is missing") from error
        if found != sha256:
            raise _BrokenError(f"{file} has another digest than its list says")


def _there(backend: Backend, key: str) -> bool:
    try:
        backend.info(key)
    except ObjectMissing:
        return False
    return True
