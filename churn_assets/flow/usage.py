"""What making a version takes: wall-clock and CPU time, the peak of its memory, the device; and what that costs."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from churn_assets.store.manifest import ResourceUsage

_PROCESS = Path("/proc/self")
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class UsageMeter:
    """Measures from its making on; for one step at a time, as the peak of memory is the process's.

    Args:
        profile: Profile of `compute` that the step is made with.
        hourly_price: Of an hour there, in the experiment's currency; None where it is not known.

    Example:
        >>> usage = UsageMeter("local", hourly_price=0.5).read()
        >>> usage.device, usage.cost is not None
        ('cpu', True)
    """

    def __init__(self, profile: str, hourly_price: float | None) -> None:
        self._profile, self._price = profile, hourly_price
        self._resettable = _reset_peaks()
        self._began, self._cpu = time.monotonic(), _cpu_seconds()

    def read(self) -> ResourceUsage:
        """What was used since."""
        peak = _PEAK.search((_PROCESS / "status").read_text()) if self._resettable else None
        device, device_peak = _device()
        return ResourceUsage(
            seconds=time.monotonic() - self._began,
            cpu_seconds=_cpu_seconds() - self._cpu,
            peak_memory_mb=None if peak is None else int(peak[1]) * 1024 / 1e6,
            peak_device_memory_mb=device_peak,
            device=device,
            profile=self._profile,
            hourly_price=self._price,
        )


class RunEstimate(NamedTuple):
    """What a run costs, as far as can be known before.

    Attributes:
        spent: What its steps cost so far.
        ahead: Asset to what it cost when it was made last, for those that are to be made.
        unknown: Assets that are to be made and whose cost nothing tells.
    """

    spent: float
    ahead: Mapping[str, float]
    unknown: tuple[str, ...]

    @property
    def total(self) -> float:
        """Money; a lower bound where some are unknown."""
        return self.spent + sum(self.ahead.values())

    def refusal(self, most: float, currency: str) -> str | None:
        """Why the run may not go on; None if it may."""
        if self.total <= most:
            return None
        parts = [f"{name} {cost:.2f}" for name, cost in self.ahead.items()]
        unknown = f"; not known for {', '.join(self.unknown)}" if self.unknown else ""
        return (
            f"compute.most_per_run: found a run of about {self.total:.2f} {currency} ({self.spent:.2f} spent, then "
            f"{', '.join(parts)}, as when they were made last{unknown}), expected at most {most:g} {currency}; raise "
            "the limit, select fewer assets, or make them on a cheaper machine"
        )


def estimate_run(
    spent: Iterable[ResourceUsage | None],
    last: Mapping[str, ResourceUsage | None],
    prices: Mapping[str, float | None],
) -> RunEstimate:
    """What a run costs: what it spent, and each step ahead as long as last time, at today's price.

    Args:
        spent: Of what the run has made.
        last: Asset to the usage of its newest version, None where there is none, for all that is to be made.
        prices: Asset to the price of an hour where it will be made; None where that is not known.
    """
    costs = {
        name: None if usage is None or prices[name] is None else usage.seconds / 3600 * (prices[name] or 0.0)
        for name, usage in last.items()
    }
    return RunEstimate(
        spent=sum(usage.cost or 0.0 for usage in spent if usage is not None),
        ahead={name: cost for name, cost in costs.items() if cost is not None},
        unknown=tuple(name for name, cost in costs.items() if cost is None),
    )


def cost_of(parts: Iterable[ResourceUsage | None]) -> dict[str, float]:
    """Figures of what is made of parts: wall-clock seconds of them all, and their cost where each has a price."""
    known = [usage for usage in parts if usage is not None]
    if not known:
        return {}
    costs = [usage.cost for usage in known if usage.cost is not None]
    priced = {"cost": sum(costs)} if len(costs) == len(known) else {}
    return {"seconds": sum(usage.seconds for usage in known)} | priced


def _cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _reset_peaks() -> bool:
    """Whether the peak of memory can be counted anew, as on Linux; it is then."""
    if "torch" in sys.modules and (torch := sys.modules["torch"]).cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _device() -> tuple[str, float | None]:
    """The device that a training here takes, and the peak of its memory in MB where it is no CPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu", None
    return torch.cuda.get_device_name(), torch.cuda.max_memory_allocated() / 1e6
