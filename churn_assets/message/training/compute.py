"""Where a model runs: device, precision and threads as configured. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from churn_assets.message.training.config import ComputeConfig


class DeviceMissing(ValueError):  # noqa: N818 - what happened reads better
    """The configured device is not there; nothing is trained elsewhere in its place."""


def device_of(compute: ComputeConfig) -> torch.device:
    """The device to train on.

    Raises:
        DeviceMissing: `cuda` is configured and there is none.
    """
    if compute.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if compute.device == "cuda":
        raise DeviceMissing("compute.device: found no GPU, expected one for cuda; auto takes the CPU instead")
    return torch.device("cpu")


def precision(compute: ComputeConfig, device: torch.device) -> AbstractContextManager[None]:
    """Matrix products in bfloat16 where configured; weights stay float32."""
    autocast: AbstractContextManager[None] = torch.autocast(
        device.type, dtype=torch.bfloat16, enabled=compute.dtype == "bfloat16"
    )
    return autocast


@contextmanager
def threads(compute: ComputeConfig) -> Iterator[None]:
    """As many threads as configured, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(compute.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
