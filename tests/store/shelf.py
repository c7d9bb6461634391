"""A shelf of notes: the smallest artifacts there can be, trained from each other, minted when a test says."""

import tempfile
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from churn_assets.store.manifest import Provenance

SHELF = "shelf"


class NoteFormat(ArtifactFormat[str]):
    """A text in one file."""

    loader: ClassVar[str] = "note/1"

    def save(self, value: str, folder: Path) -> None:
        write_json(value, folder / "note.json")

    def load(self, folder: Path) -> str:
        return str(read_json(folder / "note.json"))

    def signature(self, value: str) -> dict[str, object]:  # type: ignore[override]
        return {"length": len(value)}


NOTE = NoteFormat()


def publish_note(
    store: ArtifactStore, asset: str, at: datetime, *sources: ArtifactRef, text: str = ""
) -> ArtifactRef:
    """One version of ``asset``, trained from ``sources``; its text tells it from others of the same second."""
    provenance = Provenance(experiment=SHELF, upstream={source.asset: str(source) for source in sources})
    with tempfile.TemporaryDirectory() as folder:
        return store.publish(
            stage(asset, text or f"{asset} of {at}", NOTE, Path(folder) / "s"), provenance, at
        )
