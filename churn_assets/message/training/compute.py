"""Where a model runs: device, precision and threads as configured. Knows no model."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from churn_assets.message.training.config import ComputeConfig

_log = logging.getLogger(__name__)
_MOST_THREADS = 2
_SLACK = 1.0
"""Load that the program itself, and what just ended before it, may have left in the last minute's mean."""


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


def threads_for(compute: ComputeConfig, load: float, cores: int) -> int:
    """How many threads a training takes: as configured, or as many as the machine has room for.

    Args:
        compute: The section.
        load: Programs that run or wait for a core, over the last minute.
        cores: Of the machine.
    """
    if compute.threads != "auto":
        return compute.threads
    return _MOST_THREADS if load + _MOST_THREADS <= cores + _SLACK else 1


@contextmanager
def threads(compute: ComputeConfig) -> Iterator[None]:
    """As many threads as configured, and afterwards as many as before; says so where the load allows only one."""
    before, load, cores = torch.get_num_threads(), os.getloadavg()[0], os.cpu_count() or 1
    taken = threads_for(compute, load, cores)
    if compute.threads == "auto":
        _log.info("%d of %d cores are taken: %d threads", round(load), cores, taken)
    torch.set_num_threads(taken)
    try:
        yield
    finally:
        torch.set_num_threads(before)
