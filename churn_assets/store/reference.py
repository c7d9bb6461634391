"""The name of one artifact version, and how it becomes keys of the store."""

from collections.abc import Iterable
from dataclasses import dataclass

from churn_assets.store.errors import InvalidName
from churn_assets.store.names import ERASED, GATES, MANIFEST, check_name

ARTIFACTS = "artifacts/"


@dataclass(frozen=True)
class ArtifactRef:
    """One immutable version of an asset of an experiment; ``str()`` gives ``experiment/asset/version``.

    Raises:
        InvalidName: A part is not one plain path segment.
    """

    experiment: str
    asset: str
    version: str

    def __post_init__(self) -> None:
        check_name("experiment", self.experiment)
        check_name("asset", self.asset)
        check_name("version", self.version)

    def __str__(self) -> str:
        return f"{self.experiment}/{self.asset}/{self.version}"

    @classmethod
    def parse(cls, text: str) -> "ArtifactRef":
        """The reference that ``str()`` wrote.

        Raises:
            InvalidName: ``text`` is not ``experiment/asset/version``.
        """
        parts = text.split("/")
        if len(parts) != 3:
            raise InvalidName(f"artifact: found {text!r}, expected experiment/asset/version")
        return cls(*parts)

    @property
    def prefix(self) -> str:
        """Key prefix of everything that belongs to this version, with the closing ``/``."""
        return f"{ARTIFACTS}{self}/"

    @property
    def manifest_key(self) -> str:
        """Key of the manifest, whose existence is the commit."""
        return f"{self.prefix}{MANIFEST}"

    @property
    def gates_prefix(self) -> str:
        """Key prefix of the gate reports, with the closing ``/``."""
        return f"{self.prefix}{GATES}/"

    @property
    def erased_prefix(self) -> str:
        """Key prefix of files that stand for others since a person was erased, with the closing ``/``."""
        return f"{self.prefix}{ERASED}/"


def by_version(keys: Iterable[str]) -> tuple[dict[ArtifactRef, list[str]], list[str]]:
    """Keys below `artifacts/` by committed version, oldest version first; and those that belong to none."""
    folders: dict[str, list[str]] = {}
    for key in keys:
        folders.setdefault("/".join(key.removeprefix(ARTIFACTS).split("/")[:3]), []).append(key)
    found: dict[ArtifactRef, list[str]] = {}
    loose: list[str] = []
    for folder, held in folders.items():
        try:
            ref = ArtifactRef.parse(folder)
        except InvalidName:
            loose += held
            continue
        if ref.manifest_key in held:
            found[ref] = held
        else:
            loose += held
    return dict(sorted(found.items(), key=lambda item: (item[0].version, str(item[0])))), loose
