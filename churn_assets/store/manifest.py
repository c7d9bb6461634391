"""The manifest of one artifact version: its model, its digest and its version. Reads and writes no files."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

from churn_assets.store.canonical import canonical_json, seal, sha256_bytes, unseal
from churn_assets.store.errors import CorruptArtifact, InvalidName
from churn_assets.store.names import check_file_path, check_name

MANIFEST_SCHEMA = 3  # 2 added what the config was, beside its digest; 3 what making it took
_DIGEST_DIGITS_IN_VERSION = 12
_SECOND = "%Y%m%dT%H%M%SZ"
_VERSION = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Sealed(BaseModel):
    """Base of everything that is written once as a JSON document and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


_S = TypeVar("_S", bound=Sealed)


class FileEntry(Sealed):
    """One file of an artifact: relative POSIX path, size in bytes, SHA-256 in hex."""

    path: str
    size: Annotated[int, Field(ge=0)]
    sha256: Sha256

    _path_stays_inside = field_validator("path")(check_file_path)


class GoldenRows(Sealed):
    """What the model answered when it was published; it must answer the same after every load.

    A number ``x`` agrees with the recorded ``y`` if ``abs(x - y) <= atol + rtol * abs(y)``; anything else
    must be equal. Both tolerances 0 mean bit-equal numbers.
    """

    inputs: JsonValue
    outputs: JsonValue
    rtol: Annotated[float, Field(ge=0)] = 0.0
    atol: Annotated[float, Field(ge=0)] = 0.0


class ResourceUsage(Sealed):
    """What making an artifact took.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: CPU time of the process and its children.
        peak_memory_mb: Most resident memory of the process, in MB of 10^6 bytes; None where it cannot be told.
        peak_device_memory_mb: Most memory that was allocated on the GPU; None on a CPU.
        device: `cpu`, or the GPU's name.
        profile: Profile of `compute` that it was made with.
        hourly_price: Of an hour there, in the experiment's currency; None where it was not known.
    """

    seconds: Annotated[float, Field(ge=0)]
    cpu_seconds: Annotated[float, Field(ge=0)]
    peak_memory_mb: Annotated[float, Field(gt=0)] | None
    peak_device_memory_mb: Annotated[float, Field(ge=0)] | None
    device: str
    profile: str
    hourly_price: Annotated[float, Field(ge=0)] | None

    @property
    def cost(self) -> float | None:
        """Money; None where no price was known."""
        return None if self.hourly_price is None else self.seconds / 3600 * self.hourly_price


class Provenance(Sealed):
    """Where an artifact comes from. No part of its content digest: equal bytes are equal artifacts.

    Attributes:
        experiment: Experiment (partition) it belongs to.
        upstream: Asset name to ``experiment/asset/version`` of every artifact it was computed from.
        config_digest: Digest of the experiment's sections, and of the outside data, that it used.
        config: What those sections said, by section; for people, who compare two versions.
        seed: Seed of its random generator, if it has one.
        code_version: Hash of the stage's source.
        run_id: Orchestrator run that made it.
        metrics: Flat figures and labels for people and comparisons; finite numbers only.
        usage: What making it took; None if an earlier version of this library made it.
    """

    experiment: str
    upstream: dict[str, str] = {}
    config_digest: str = ""
    config: dict[str, JsonValue] = {}
    seed: int | None = None
    code_version: str = ""
    run_id: str = ""
    metrics: dict[str, float | int | str | bool | None] = {}
    usage: ResourceUsage | None = None

    @field_validator("experiment")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return check_name("experiment", value)


class Manifest(Sealed):
    """Everything the store knows about one version. Its presence in the store is the commit.

    Attributes:
        loader: Name and version of the format that can read the files, such as ``risk_model/1``.
        packages: Versions of the packages that wrote the files.
        signature: Inputs and outputs of the artifact, as its format describes them.
        created_at: When the version was minted; UTC, whole seconds.
    """

    schema_version: Annotated[int, Field(ge=1, le=MANIFEST_SCHEMA)] = MANIFEST_SCHEMA
    asset: str
    files: Annotated[tuple[FileEntry, ...], Field(min_length=1)]
    loader: str
    packages: dict[str, str]
    signature: dict[str, JsonValue]
    golden: GoldenRows | None
    provenance: Provenance
    created_at: datetime

    @field_validator("asset")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return check_name("asset", value)

    @field_validator("files")
    @classmethod
    def _are_sorted_and_distinct(cls, value: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        paths = [entry.path for entry in value]
        if paths != sorted(set(paths)):
            raise ValueError("file paths must be distinct and sorted")
        return value

    @model_validator(mode="after")
    def _is_minted_in_utc(self) -> "Manifest":
        if self.created_at != whole_second(self.created_at) or self.created_at.utcoffset() != UTC.utcoffset(
            None
        ):
            raise ValueError("created_at must be UTC and whole seconds")
        return self

    @property
    def digest(self) -> str:
        """Content digest, 64 hex digits: equal for equal files, loader and signature."""
        return content_digest(self.files, self.loader, self.signature)

    @property
    def version(self) -> str:
        """The version that this manifest must be stored under."""
        return mint_version(self.digest, self.created_at)

    def to_bytes(self) -> bytes:
        """The sealed canonical document."""
        return seal(self.model_dump(mode="json"))

    @classmethod
    def from_bytes(cls, data: bytes, *, file: str) -> "Manifest":
        """Read what :meth:`to_bytes` wrote.

        Raises:
            IncompatibleArtifact: A newer schema wrote it.
            CorruptArtifact: The seal does not hold, or a field is missing, unknown or out of range.
        """
        document = unseal(data, file=file, schema_version=MANIFEST_SCHEMA)
        return parse_sealed(cls, document, file)


def parse_sealed(model: type[_S], document: dict[str, Any], file: str) -> _S:
    """Build a sealed model from its unsealed document.

    Raises:
        CorruptArtifact: The first field that is missing, unknown or out of range.
    """
    try:
        return model.model_validate_json(canonical_json(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise CorruptArtifact(file, f"{field} = {first['input']!r:.200}", first["msg"]) from error


def content_digest(files: tuple[FileEntry, ...], loader: str, signature: dict[str, JsonValue]) -> str:
    """SHA-256 over the canonical list of files, the loader and the signature; 64 hex digits."""
    listing = [entry.model_dump(mode="json") for entry in sorted(files, key=lambda entry: entry.path)]
    return sha256_bytes(canonical_json({"files": listing, "loader": loader, "signature": signature}))


def whole_second(moment: datetime) -> datetime:
    """``moment`` in UTC without its fraction of a second.

    Raises:
        ValueError: ``moment`` has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"time: found {moment.isoformat()} without a time zone, expected an aware datetime")
    return moment.astimezone(UTC).replace(microsecond=0)


def mint_version(digest: str, minted_at: datetime) -> str:
    """Sortable, readable version such as ``20261122T124501Z-0123456789ab``.

    Args:
        digest: Content digest in hex.
        minted_at: Aware time; the same on every retry of the same step.
    """
    return f"{whole_second(minted_at):{_SECOND}}-{digest[:_DIGEST_DIGITS_IN_VERSION]}"


def minting_time(version: str) -> datetime:
    """When a version was minted, to the second.

    Raises:
        InvalidName: The text is no version that :func:`mint_version` writes.
    """
    try:
        if _VERSION.fullmatch(version):
            return datetime.strptime(version.partition("-")[0], _SECOND).replace(tzinfo=UTC)
    except ValueError:  # a thirteenth month, say
        pass
    raise InvalidName(f"version: found {version!r}, expected a minting second and 12 digits of a digest")
