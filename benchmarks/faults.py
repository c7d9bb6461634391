"""Faults of the serving half, enumerated: every call that touches the disk or the store, times what may go wrong.

A scene writes decisions, tends, takes over and ships segments, follows a channel whose release moved, and reads the log
as sensors do, with the real parts. It is run once to count its calls, and then again for every call and fault: the call
alone fails, or all of its kind from there on. Afterwards the cause is taken away, and the loops go on as they would.

- `silent`: something was refused, left or not followed, and neither the log nor a loop's state said so.
- `unhealed`: with the cause gone, something still does not work, without a restart.
- `lost`: an acknowledged decision is not in the log afterwards, or is there twice.

They take long: `CHURN_FAULTS_SHARD=3/8` tries the third of eight parts, here, in `benchmarks.faults_store` and in
`benchmarks.faults_jobs`; the figures of all parts add up.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import io
import itertools
import logging
import os
import random
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from benchmarks.report import Figure, main
from churn_assets.arms import Catalogue
from churn_assets.offers.segments import DECISIONS, OPEN, SEALED
from churn_assets.offers.stored_log import logged_segments
from churn_assets.serving.background import Background
from churn_assets.serving.config import DecisionLogConfig, ServingConfig
from churn_assets.serving.decision_log import DecisionLog, LogUnavailableError
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.reload import ReleaseFollower
from churn_assets.serving.switch import OfferSwitch, switch_log
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore, stage
from churn_assets.store.channels import Channel
from churn_assets.store.formats import ArtifactFormat, read_json, write_json
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Provenance

CODES = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE)
CALLS = {
    os: (
        *(
            "open",
            "pwritev",
            "pread",
            "fsync",
            "ftruncate",
            "fstat",
            "stat",
            "lstat",
            "mkdir",
            "rename",
            "replace",
        ),
        *("unlink", "link", "scandir", "fchmod", "utime"),
    ),
    io: ("open",),
    fcntl: ("flock",),
}
"""The functions that touch the disk, by module; `pathlib` calls these."""
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
EXPERIMENT = "toy"
STRAYS = (".DS_Store", "notes.log", "folder.log/", "segment.log~", "20261123T090000Z-0123456789abcdef.log")
CLOCKS = (timedelta(days=366), timedelta(days=-366), timedelta(hours=-1))


def shard() -> tuple[int, int]:
    """(k, n) of `CHURN_FAULTS_SHARD`: the k-th of n parts, from 1, is tried; all where it is not set."""
    k, n = os.environ.get("CHURN_FAULTS_SHARD", "1/1").split("/")
    return int(k), int(n)


class Killed(BaseException):
    """The process ends in the middle of a call."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong: the `call`-th call of an operation, or all from there on; `code` 0 ends the process."""

    operation: str
    call: int
    code: int
    lasting: bool

    def __str__(self) -> str:
        what = errno.errorcode.get(self.code, "kill")
        return f"{self.operation} {self.call}{'+' if self.lasting else ''} {what}"


@dataclass(frozen=True)
class Verdict:
    """What came of a fault."""

    fault: str
    silent: bool = False
    unhealed: str = ""
    lost: str = ""


class Injector:
    """Wraps the functions of `CALLS` while it is active, for whatever lies below a folder.

    Args:
        folder: What lies below it is struck.
        fault: What goes wrong; None to count the calls.
        ends: Whether this process is a child of a trial, which a kill really ends.
    """

    def __init__(self, folder: Path, fault: Fault | None = None, *, ends: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._ends = ends
        self.kills = fault is not None and not fault.code
        self._folder = os.path.realpath(folder)
        self._fault = fault
        self._lock = threading.Lock()

    @contextmanager
    def active(self) -> Iterator[None]:
        held = [(module, name, getattr(module, name)) for module, names in CALLS.items() for name in names]
        try:
            for module, name, function in held:
                setattr(module, name, self._wrapped(f"{module.__name__}.{name}", function))
            yield
        finally:
            for module, name, function in held:
                setattr(module, name, function)

    def _wrapped(self, operation: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._concerns(arguments, options):
                return function(*arguments, **options)
            with self._lock:
                self.counts[operation] += 1
                self._strike(operation, self.counts[operation], str(arguments[0]))
            return function(*arguments, **options)

        return call

    def let_go(self) -> None:
        """Close what a killed process held below the folder: its locks end with it."""
        for entry in list(Path("/proc/self/fd").iterdir()):
            with suppress(OSError):
                if str(entry.readlink()).startswith(self._folder):
                    os.close(int(entry.name))

    def _strike(self, operation: str, number: int, what: str) -> None:
        fault = self._fault
        if fault is None or fault.operation != operation or number < fault.call:
            return
        if number > fault.call and not fault.lasting:
            return
        if not fault.code and self._ends:
            os._exit(9)
        if not fault.code:
            raise Killed(operation)
        raise OSError(fault.code, os.strerror(fault.code), what)

    def _concerns(self, arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
        about = arguments[0] if arguments else None
        if isinstance(about, str | os.PathLike) and os.fspath(about)[:1] == "/":
            return os.fspath(about).startswith(self._folder)
        number = about if isinstance(about, int) else options.get("dir_fd", options.get("src_dir_fd"))
        if not isinstance(number, int):
            return False
        try:
            return str(Path(f"/proc/self/fd/{number}").readlink()).startswith(self._folder)
        except OSError:
            return False


class _Note(ArtifactFormat[str]):
    loader: ClassVar[str] = "fault-note/1"

    def save(self, value: str, folder: Path) -> None:
        write_json(value, folder / "note.json")

    def load(self, folder: Path) -> str:
        return str(read_json(folder / "note.json"))

    def signature(self, value: str) -> dict[str, Any]:
        return {"length": len(value)}


@dataclass
class World:
    """A log, a store with two releases of which the first leads, and the server's own parts over both."""

    folder: Path
    shift: timedelta = timedelta(0)
    acknowledged: list[bytes] = field(default_factory=list)
    leads: ArtifactRef | None = None
    refused: int = 0

    def __post_init__(self) -> None:
        self.store = ArtifactStore(LocalBackend(self.folder / "store"))
        self.channel = Channel(self.store, EXPERIMENT)
        self.log_folder = self.folder / "log"

    def publish(self, text: str, at: datetime) -> ArtifactRef:
        with tempfile.TemporaryDirectory() as workspace:
            staged = stage("release", text, _Note(), Path(workspace) / "s")
            return self.store.publish(staged, Provenance(experiment=EXPERIMENT), at)

    def lead(self, ref: ArtifactRef) -> None:
        head = self.channel.head()
        self.channel.append(
            "promote", ref, expected_seq=head.seq if head else 0, actor="faults", reason="", gate_report_digest="",
            now=NOW,
        )  # fmt: skip

    def serve(self) -> None:
        """A server's parts, as a new process makes them."""
        config = ServingConfig(decision_log=DecisionLogConfig(segment_bytes=4096))
        self.metrics = Metrics()
        self.follower = ReleaseFollower(self.channel, self._load, self.metrics.reload, monotonic=self._later)
        self.log = DecisionLog(
            self.log_folder, config.decision_log, lambda: datetime.now(UTC) + self.shift, self.metrics.flushed
        )
        switch = OfferSwitch(switch_log(self.store, self.channel.name))
        self.background = Background(
            EXPERIMENT, config, self.follower, switch, self.log, self.log_folder, self.metrics
        )

    async def ask(self, number: int) -> None:
        payload = f"{number:08d}".encode() * 150
        try:
            await self.log.append(DECISIONS, payload)
        except LogUnavailableError:
            self.refused += 1
        else:
            self.acknowledged.append(payload)

    async def turns(self) -> None:
        for loop in self.background.loops:
            await loop.turn()

    @property
    def told(self) -> bool:
        """Whether a loop, the log or the follower says that something is wrong."""
        return bool(
            self.log.trouble
            or self.follower.trouble
            or any(state.trouble for state in self.background.states)
        )

    def kept(self) -> tuple[Counter[bytes], list[str]]:
        """What a reader of the log finds, and what it is told that it ignored."""
        ignored: list[str] = []
        found: Counter[bytes] = Counter()
        told = lambda key, _: ignored.append(key)  # noqa: E731 - one line
        for segment in logged_segments(self.store.backend, EXPERIMENT, self.log_folder, ignored=told):
            found.update(record.payload for record in segment.records)
        return found, ignored

    def _load(self, ref: ArtifactRef) -> Any:
        self.store.verify(ref)
        schema = SimpleNamespace(features=())
        return SimpleNamespace(
            ref=ref, decider=SimpleNamespace(schema=schema, menu=Catalogue().menu((0.0, 0.1)))
        )

    def _later(self) -> float:
        """Each look is an hour after the one before: what waits for its next try has waited long enough."""
        self._hours = getattr(self, "_hours", 0.0) + 3600.0
        return self._hours


@contextmanager
def told_in_log() -> Iterator[list[str]]:
    """What the library's log says at WARNING or above."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("churn_assets")
    logger.addHandler(handler)
    before, logger.propagate = logger.propagate, False
    try:
        yield found
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


async def scene(world: World, injector: Injector, numbers: Iterator[int]) -> bool:
    """What a server does while the fault lasts; whether anything of it did not succeed."""
    with injector.active():
        for _ in range(4):
            for _ in range(3):
                await world.ask(next(numbers))
            await world.turns()
    followed = world.follower.served is not None and world.follower.served.ref == world.leads
    left = any(path.suffix == ".log" for path in (world.log_folder / SEALED).glob("*"))
    return bool(world.refused or left or not followed)


async def recovered(world: World, numbers: Iterator[int]) -> str:
    """What does not work although the cause is gone; the loops have gone on for a while."""
    for _ in range(3):
        await world.turns()
    before = world.refused
    await world.ask(next(numbers))
    if world.refused > before or world.log.trouble:
        return f"the log is refused: {world.log.trouble}"
    await world.turns()
    await world.log.close()
    await world.turns()
    if trouble := [state for state in world.background.states if state.trouble]:
        return f"loops in trouble: {trouble}"
    if world.follower.served is None or world.follower.served.ref != world.leads or world.follower.trouble:
        return f"the release that leads does not answer: {world.follower.trouble}"
    if left := [path for name in (OPEN, SEALED) for path in (world.log_folder / name).glob("*.log")]:
        return f"segments are left: {left}"
    return ""


def prepared(folder: Path, shift: timedelta = timedelta(0)) -> World:
    """A server that has answered for a while; the channel moves in the scene."""
    world = World(folder, shift)
    first, second = world.publish("first", NOW), world.publish("second", NOW + timedelta(seconds=1))
    world.lead(first)
    world.serve()
    world.leads = second
    return world


def tried(
    fault: Fault | None, numbers: Iterator[int], stray: str = "", shift: timedelta = timedelta(0)
) -> Verdict:
    """One fault in a world of its own."""
    name = str(fault) if fault else f"stray {stray}" if stray else f"clock {shift}"
    with tempfile.TemporaryDirectory(prefix="faults-") as place, told_in_log() as said:
        world, injector = prepared(Path(place).resolve()), Injector(Path(place), fault)
        return asyncio.run(_tried(world, injector, numbers, (name, stray, shift), said))


async def _tried(
    world: World,
    injector: Injector,
    numbers: Iterator[int],
    what: tuple[str, str, timedelta],
    said: list[str],
) -> Verdict:
    name, stray, shift = what
    await world.ask(next(numbers))
    await world.turns()
    world.lead(world.leads)
    if stray:
        strew(world, stray)
    world.shift = shift
    try:
        failed = await scene(world, injector, numbers)
    except Killed:
        failed = False
    if injector.kills:
        injector.let_go()
        world.serve()
        failed = False
    silent = failed and not (said or world.told)
    world.shift = timedelta(0)
    unhealed = await recovered(world, numbers)
    (kept, ignored), asked = world.kept(), set(world.acknowledged)
    silent |= bool(stray) and not stray.endswith("/") and not ignored
    missing, twice = asked - set(kept), [one for one, number in kept.items() if number > 1]
    lost = f"{len(missing)} missing, {len(twice)} twice" if missing or twice else ""
    return Verdict(name, silent, unhealed, lost)


def strew(world: World, name: str) -> None:
    """Put a stray file wherever segments are."""
    for folder in (
        world.log_folder / OPEN,
        world.log_folder / SEALED,
        world.folder / "store" / "decisions" / EXPERIMENT,
        world.folder / "store" / "decisions" / EXPERIMENT / f"{NOW:%Y%m%d}",
    ):
        folder.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            (folder / name).mkdir(exist_ok=True)
        else:
            (folder / name).write_bytes(b"an editor's backup")


def enumerated() -> list[Fault]:
    """Every call of the scene, times every error, alone and lasting, and the end of the process."""
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        injector = Injector(Path(place))
        asyncio.run(
            _tried(prepared(Path(place).resolve()), injector, itertools.count(), ("", "", timedelta(0)), [])
        )
    return [
        Fault(operation, number, code, lasting)
        for operation, calls in sorted(injector.counts.items())
        for number in range(1, calls + 1)
        for code, lasting in [(0, False), *itertools.product(CODES, (False, True))]
    ]


def verdicts(faults: int | None = None, seed: int = 0, part: tuple[int, int] = (1, 1)) -> list[Verdict]:
    """What came of all faults, or of so many of them, drawn by lot; and of every stray file and wrong clock.

    Args:
        faults: How many are drawn; None: all.
        seed: Of the draw.
        part: As of `shard`; stray files and clocks are of the first.
    """
    found, numbers = enumerated(), itertools.count()
    if faults is not None:
        found = random.Random(seed).sample(found, min(faults, len(found)))
    made = [tried(fault, numbers) for fault in found[part[0] - 1 :: part[1]]]
    if part[0] > 1:
        return made
    made += [tried(None, numbers, stray=stray) for stray in STRAYS]
    return made + [tried(None, numbers, shift=shift) for shift in CLOCKS]


def measure() -> list[Figure]:
    """Every fault of the serving half."""
    part = shard()
    found = verdicts(part=part)
    wrong = {name: [each for each in found if getattr(each, name)] for name in ("silent", "unhealed", "lost")}
    figures = [
        Figure("faults_serving", len(found), ">=", 1000 / part[1], "call x error, kills, stray files, clocks")
    ]
    return figures + [
        Figure(f"faults_serving_{name}", len(each), "<=", 0, "; ".join(map(str, each[:3])))
        for name, each in wrong.items()
    ]


if __name__ == "__main__":
    main(__doc__, measure)
