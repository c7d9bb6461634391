"""The section `compute` of an experiment: on which machines each asset is made. Shapes no value of any asset."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from churn_assets.arms import did_you_mean

LOCAL = "local"
"""The profile of an asset that names none: made by the process that runs the step."""

ProfileName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,63}$")]
OWN_LABEL = "churn_step"
"""By this label of a job a step finds it again."""


class RemoteProfile(BaseModel, frozen=True, extra="forbid"):
    """What every kind of remote machine is told.

    Attributes:
        project_folder: Where the project lies there; left out: where it lies here (`ray`), `/app` (`vertex`).
        attempts: How often a step is begun that the machine lost: preempted, out of stock or quota, node gone.
        wait_seconds: Seconds before it is begun again; twice as long each time, at most an hour.
        within_minutes: A step that takes longer is cancelled, and has failed.
        unclear_minutes: How long the engine may be silent, or in a state that this version does not know.
        poll_seconds: Seconds between two looks.
        env: Variables of the step's process, beside `CHURN_STORE` where that is set here. No secrets: they are shown.
    """

    project_folder: Annotated[str, Field(pattern=r"^/")] | None = None
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = 30.0
    within_minutes: Annotated[float, Field(gt=0, le=60 * 24 * 14)] = 60 * 24.0
    unclear_minutes: Annotated[float, Field(gt=0, le=60 * 24)] = 15.0
    poll_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}


class RayProfile(RemoteProfile, frozen=True, extra="forbid"):
    """A job of a Ray cluster.

    Attributes:
        address: Of the cluster's dashboard, where jobs are submitted.
        cpus: CPU cores that the step is given.
        gpus: GPUs, or a share of one.
        memory_gb: Memory that is set aside for it, in GB of 10^9 bytes; left out: none is.
        resources: Custom resources of the node that it needs, by name.
    """

    kind: Literal["ray"] = "ray"
    address: Annotated[str, Field(pattern=r"^https?://[^/]+/?$")]
    cpus: Annotated[float, Field(ge=0)] = 1.0
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    resources: dict[str, Annotated[float, Field(gt=0)]] = {}


class VertexProfile(RemoteProfile, frozen=True, extra="forbid"):
    """A custom job of Vertex AI, of one machine.

    Attributes:
        project: The Google Cloud project.
        region: Where it runs, as `europe-west4`.
        image: The training image, best with its digest (`…@sha256:…`): what runs is then what was tested.
        machine_type: As `n2-standard-8`.
        accelerator_type: As `NVIDIA_L4`; none if left out.
        accelerator_count: How many of them.
        boot_disk_gb: Size of the disk, in GiB.
        spot: A machine that may be taken away at any time, for less money; the step is then begun again.
        service_account: As whom it runs; left out: as the project's default.
        labels: Of the job, for the bill.
        endpoint: Another address of the API, as of a private endpoint; left out: the region's.
        credentials: `default` of the environment; `anonymous` for an endpoint that asks for none.
    """

    kind: Literal["vertex"] = "vertex"
    project: Annotated[str, Field(pattern=r"^[a-z][a-z0-9:.-]{3,62}$")]
    region: Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+$")]
    image: Annotated[str, Field(min_length=1)]
    machine_type: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "n2-standard-8"
    accelerator_type: Annotated[str, Field(pattern=r"^[A-Z0-9_]+$")] | None = None
    accelerator_count: Annotated[int, Field(ge=0, le=16)] = 0
    boot_disk_gb: Annotated[int, Field(ge=100, le=64000)] = 100
    spot: bool = False
    service_account: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")] | None = None
    labels: dict[Label, Label] = {}
    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    credentials: Literal["default", "anonymous"] = "default"

    @field_validator("labels")
    @classmethod
    def _leaves_our_own_label(cls, value: dict[str, str]) -> dict[str, str]:
        if OWN_LABEL in value:
            raise ValueError(f"found {OWN_LABEL!r}, by which a step finds its own job; expected another name")
        return value

    @model_validator(mode="after")
    def _has_as_many_accelerators_as_it_says(self) -> Self:
        if (self.accelerator_type is None) != (self.accelerator_count == 0):
            raise ValueError(
                f"found accelerator_type {self.accelerator_type} with accelerator_count {self.accelerator_count}, "
                "expected both or neither"
            )
        return self


Machine = Annotated[RayProfile | VertexProfile, Field(discriminator="kind")]


class ComputeProfiles(BaseModel, frozen=True, extra="forbid"):
    """On which machines assets are made.

    Attributes:
        profiles: Machines, by a name of one's own.
        assets: Asset to the profile that it is made with; one that is not here is made locally.
        prices: Profile, or `local`, to the price of an hour there, in the currency of `economics`.
        most_per_run: Most money that one run may cost: it is refused before the step by which, with all that follows
            from it, it would cost more, by what each asset took when it was made last.
    """

    profiles: dict[ProfileName, Machine] = {}
    assets: dict[str, str] = {}
    prices: dict[str, Annotated[float, Field(ge=0, le=1e6)]] = {}
    most_per_run: Annotated[float, Field(gt=0, le=1e9)] | None = None

    def of(self, asset: str) -> tuple[str, RayProfile | VertexProfile] | None:
        """Name and content of an asset's profile; None where it is made locally."""
        name = self.assets.get(asset, LOCAL)
        return None if name == LOCAL else (name, self.profiles[name])

    @property
    def used(self) -> list[str]:
        """Names of the profiles with which assets are made elsewhere."""
        return sorted({*self.assets.values()} - {LOCAL})


def wrong_in(compute: ComputeProfiles, made: Collection[str], store: str) -> Iterator[str]:
    """All that is wrong with the section, beginning with the key.

    Args:
        compute: The section.
        made: Assets that the experiment makes.
        store: Where its artifacts go.
    """
    known = [LOCAL, *compute.profiles]
    if LOCAL in compute.profiles:
        yield f"compute.profiles.{LOCAL}: found a profile of this name, expected another: it means this machine"
    for asset, name in compute.assets.items():
        if asset not in made:
            yield (
                f"compute.assets.{asset}: found no such asset{did_you_mean(asset, [*made])}; expected one that this "
                f"experiment makes: {', '.join(made)}"
            )
        if name not in known:
            near = did_you_mean(name, known)
            yield f"compute.assets.{asset}: found {name!r}{near}; expected one of {', '.join(known)}"
    yield from _wrong_prices(compute, made, known)
    for name in compute.profiles:
        if name != LOCAL and name not in compute.assets.values():
            yield (
                f"compute.profiles.{name}: found a profile that no asset uses; name it in compute.assets, or leave it "
                "out"
            )
    for asset, name in compute.assets.items():
        profile: Any = compute.profiles.get(name)
        if isinstance(profile, VertexProfile) and not store.startswith(("gs://", "/gcs/")):
            yield (
                f"compute.assets.{asset}: found {name!r}, a machine of Vertex AI, beside the store {store}; expected "
                "store.uri (or CHURN_STORE) gs://bucket/prefix, which that machine can reach"
            )


def _wrong_prices(compute: ComputeProfiles, made: Collection[str], known: list[str]) -> Iterator[str]:
    for name in compute.prices:
        if name not in known:
            yield (
                f"compute.prices.{name}: found no such profile{did_you_mean(name, known)}; expected one of "
                f"{', '.join(known)}"
            )
    unpriced = sorted({compute.assets.get(asset, LOCAL) for asset in made} - {*compute.prices})
    if compute.most_per_run is not None and unpriced:
        yield (
            f"compute.most_per_run: found no price of an hour of {', '.join(unpriced)}; expected one in compute.prices "
            "of every profile that makes an asset"
        )
