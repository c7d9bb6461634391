"""How a value becomes files and is read back: the contract that each stage's ``format.py`` fulfils."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from pydantic import JsonValue

from churn_assets.store.files import (
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)
from churn_assets.store.manifest import GoldenRows

__all__ = [
    "ArtifactFormat",
    "GoldenRows",
    "read_json",
    "read_parquet",
    "read_tensors",
    "write_json",
    "write_parquet",
    "write_tensors",
]

T = TypeVar("T")


class ArtifactFormat(ABC, Generic[T]):
    """Reads and writes one kind of artifact.

    Equal values must become equal bytes, or every run looks like a change. Neither method may execute
    anything found in a file: use the readers and writers of this module.

    Attributes:
        loader: Name and version, such as ``risk_model/1``; a new layout of the files gets a new number.
        reads: Loaders of versions before that `load` reads as well.
        packages: Distributions whose versions the manifest records.
    """

    loader: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def save(self, value: T, folder: Path) -> None:
        """Write all files of ``value`` into the empty ``folder``; subfolders are fine."""

    @abstractmethod
    def load(self, folder: Path) -> T:
        """Read the value wholly into memory: ``folder`` is gone afterwards."""

    @abstractmethod
    def signature(self, value: T) -> dict[str, JsonValue]:
        """Inputs and outputs: names, types, order. Part of the content digest; checked after every load."""

    def golden(self, value: T) -> GoldenRows | None:  # noqa: ARG002 - for formats that override it
        """Rows whose answers must stay the same; None for artifacts that answer nothing, such as tables."""
        return None

    def replay(self, value: T, inputs: JsonValue) -> JsonValue:  # noqa: ARG002
        """What ``value`` answers to the inputs of its golden rows.

        Raises:
            TypeError: This format records none.
        """
        raise TypeError(f"{self.loader} records no golden rows, so there is nothing to replay")
