"""Faults under sensors and under the commands on personal data: what is silent, does not heal, is lost, or is a bug.

A sensor ticks, and a command runs, on a project with a release, a decision log and outcomes: once to count the calls on
its files, then again and again, and one call fails, or all of its kind from there on, or the process ends there.
Foreign files are laid among what they read, and clocks are wrong. Then the cause is gone, and they go on: a sensor with
the cursor that it has, a command that is run again.

- `silent`: something else came of it than without the fault, and neither an error nor a log line said so.
- `unhealed`: with the cause gone it still does not do its work.
- `lost`: a run that a sensor would have asked for is never asked for; a decision is gone that should stay.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import yaml
from typer.testing import CliRunner

from benchmarks.faults import CODES, Fault, Injector, shard
from benchmarks.report import Figure, main
from churn_assets.cli import app
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.privacy.search import holds
from tests.kept_release import of_kept_release
from tests.privacy.kept_project import EXPERIMENT, backend_of, log_of

FOREIGN = (".DS_Store", "notes.txt", "000000000001.json~", "segment.log", "folder/x", "._quickstart.yaml")
PLACES = (
    "configs",
    ".churn/store/decisions/quickstart",
    ".churn/store/channels/quickstart",
    ".churn/decision_index",
)
CLOCKS = (timedelta(days=366), timedelta(days=-366), timedelta(hours=-1))
COMMANDS: dict[str, tuple[str, ...]] = {
    "erase": ("erase", "5575-GNVDE"),
    "retention": ("privacy", "retention", "--apply"),
    "log": ("log", "--out", "{root}/offers.csv"),
    "upgrade": ("upgrade", "--check"),
    "audit": ("privacy", "audit"),
}
Draw = Callable[[list[Fault]], list[Fault]]
TELLING = ("errno", "Errno", "cannot", "left out", "ignored", "told: ")
"""Words of a tick that says what is wrong; the last is the alert that went out."""


@dataclass
class Counts:
    """What the faults did; each list names the fault."""

    faults: int = 0
    enumerated: int = 0
    silent: list[str] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Tick:
    """What came of one tick."""

    asked: frozenset[str]
    skipped: str
    told: bool
    cursor: str | None


class Worlds:
    """Projects, each a fresh copy of one that was made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pristine = of_kept_release(folder / "pristine")
        backend = backend_of(self._pristine)
        now = datetime.now(UTC)
        log_of(backend, "5575-GNVDE", "7590-VHVEG", now - timedelta(days=200))
        log_of(backend, "5575-GNVDE", "9237-HQITU", now - timedelta(days=3))
        path = self._pristine / "configs" / f"{EXPERIMENT}.yaml"
        config = yaml.safe_load(path.read_text())
        config["privacy"] = {"keep_decisions_days": 100}
        config["automation"] = {"enabled": True}
        path.write_text(yaml.safe_dump(config))
        self._number = itertools.count()

    def fresh(self) -> Path:
        """A project of its own. Files of a store never change, so a second name is a copy."""
        root = self._folder / f"project-{next(self._number)}"
        shutil.copytree(self._pristine, root, copy_function=os.link)
        return root


@contextmanager
def said() -> Iterator[list[str]]:
    """What was logged at WARNING or above."""
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("churn_assets", "dagster")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield found
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class Ticker:
    """One sensor of one project."""

    def __init__(self, root: Path, name: str, defs: dg.Definitions) -> None:
        self._name = name
        self._repository = defs.get_repository_def()
        self._project = build_project(Overrides(root=root))
        self._cursor: str | None = None

    def tick(self) -> Tick:
        """Evaluate it; a tick that raises keeps the cursor, as Dagster does, and shows as failed."""
        with said() as lines, dg.DagsterInstance.ephemeral() as instance:
            context = dg.build_sensor_context(
                instance=instance,
                cursor=self._cursor,
                repository_def=self._repository,
                resources={"project": self._project},
            )
            try:
                result = self._repository.get_sensor_def(self._name).evaluate_tick(context)
            except Exception as error:  # noqa: BLE001 - the daemon catches it, and shows it
                return Tick(frozenset(), f"{type(error).__name__}: {error}", told=True, cursor=self._cursor)
        self._cursor = result.cursor
        asked = frozenset(
            f"{each.job_name} {sorted(each.asset_selection or ())}" for each in result.run_requests or ()
        )
        skipped = result.skip_message or ""
        told = bool(lines) or any(word in skipped for word in TELLING)
        return Tick(asked, skipped, told, result.cursor)


def sensor_names(defs: dg.Definitions) -> list[str]:
    """All sensors of the project."""
    return [each.name for each in defs.get_repository_def().sensor_defs]


def killed(root: Path, fault: Fault, act: Callable[[], object]) -> None:
    """Do something in a child process that ends at the call: its files, locks and connections end with it."""
    child = os.fork()
    if not child:
        try:
            with Injector(root, fault, ends=True).active():
                act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def try_sensor(worlds: Worlds, name: str, defs: dg.Definitions, counts: Counts, draw: Draw) -> None:
    """Every fault that was drawn of one sensor."""
    root = worlds.fresh()
    injector, ticker = Injector(root), Ticker(root, name, defs)
    with injector.active():
        first = ticker.tick()
    wanted = first.asked | ticker.tick().asked
    shutil.rmtree(root)
    found = faults_of(injector)
    counts.enumerated += len(found)
    for fault in draw(found):
        root = worlds.fresh()
        _one_sensor(root, Ticker(root, name, defs), fault, f"{name}: {fault}", first, wanted, counts)
        shutil.rmtree(root)


def _one_sensor(
    root: Path, ticker: Ticker, fault: Fault, what: str, first: Tick, wanted: frozenset[str], counts: Counts
) -> None:
    counts.faults += 1
    asked: frozenset[str] = frozenset()
    if not fault.code:
        killed(root, fault, ticker.tick)
    else:
        with Injector(root, fault).active():
            under = ticker.tick()
        asked = under.asked
        if (under.asked, under.skipped) != (first.asked, first.skipped) and not under.told:
            counts.silent.append(f"{what}: {under.skipped[:200]}")
    later = [ticker.tick() for _ in range(2)]
    asked = asked.union(*(each.asked for each in later))
    if not wanted <= asked:
        counts.lost.append(f"{what}: {sorted(wanted - asked)}")
    if later[-1].told and not first.told:
        counts.unhealed.append(f"{what}: {later[-1].skipped[:200]}")


def faults_of(injector: Injector) -> list[Fault]:
    """Every call that was counted, times every error, alone and lasting, and the end of the process."""
    return [
        Fault(operation, number, code, lasting)
        for operation, calls in sorted(injector.counts.items())
        for number in range(1, calls + 1)
        for code, lasting in [(0, False), *itertools.product(CODES, (False, True))]
    ]


def run(root: Path, name: str) -> tuple[int, str]:
    """Exit code of a command, and what it printed."""
    arguments = [each.format(root=root) for each in COMMANDS[name]]
    done = CliRunner().invoke(app, ["--root", str(root), *arguments])
    return done.exit_code, done.output


def try_command(
    worlds: Worlds, name: str, counts: Counts, draw: Callable[[list[Fault]], list[Fault]]
) -> None:
    """Every fault that was drawn of one command."""
    root = worlds.fresh()
    injector = Injector(root)
    with injector.active():
        code, expected = run(root, name)
    assert code == 0, (name, expected)
    after = _kept(root)
    shutil.rmtree(root)
    found = faults_of(injector)
    counts.enumerated += len(found)
    for fault in draw(found):
        root = worlds.fresh()
        _one_command(root, name, fault, f"{name}: {fault}", after, counts)
        shutil.rmtree(root)


def _kept(root: Path) -> tuple[int, int, bool]:
    """What must be the same in the end: decisions in the log, files of versions, whether the customer is named."""
    keys = backend_of(root).list("")
    store = root / ".churn" / "store"
    named = any(holds(store / key, {COMMANDS["erase"][1]}) for key in keys)
    segments, versions = (sum(key.startswith(each) for key in keys) for each in ("decisions/", "artifacts/"))
    return segments, versions, named


def _one_command(
    root: Path, name: str, fault: Fault, what: str, after: tuple[int, int, bool], counts: Counts
) -> None:
    counts.faults += 1
    if not fault.code:
        killed(root, fault, lambda: run(root, name))
    else:
        with Injector(root, fault).active():
            code, shown = run(root, name)
        if code == 70:
            counts.bugs.append(f"{what}: {shown[-300:]}")
        if code == 0 and _kept(root) != after:
            counts.silent.append(what)
    code, shown = run(root, name)
    if code != 0 or _kept(root)[0] > after[0] or _kept(root)[2] != after[2]:
        counts.unhealed.append(f"{what}: exit {code}: {shown[-200:]}, {_kept(root)}, expected {after}")
    if _kept(root)[0] < after[0]:
        counts.lost.append(f"{what}: {_kept(root)}, expected {after}")


def try_foreign(worlds: Worlds, defs: dg.Definitions, counts: Counts, sensors: Sequence[str]) -> None:
    """A foreign file of each name in each place, under every sensor and command."""
    for place, foreign in itertools.product(PLACES, FOREIGN):
        root = worlds.fresh()
        path = root / place / foreign
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("?")
        for name in sensors:
            counts.faults += 1
            if Ticker(root, name, defs).tick().skipped.startswith(("FileNotFoundError", "OSError")):
                counts.unhealed.append(f"{name}: {foreign!r} in {place}")
        for name in COMMANDS:
            counts.faults += 1
            code, shown = run(root, name)
            if code == 70:
                counts.bugs.append(f"{name}: {foreign!r} in {place}: {shown[-200:]}")
            elif code not in (0, 5):
                counts.unhealed.append(f"{name}: {foreign!r} in {place}: exit {code}: {shown[-200:]}")
        shutil.rmtree(root)


def try_clocks(worlds: Worlds, counts: Counts) -> None:
    """Commands whose clock is wrong: what was done too early or not at all must be right afterwards."""
    for shift, name in itertools.product(CLOCKS, ("retention", "erase", "audit")):
        root = worlds.fresh()
        real = datetime.now

        class Wrong(datetime):
            @classmethod
            def now(cls, tz: Any = None, shift: timedelta = shift, real: Any = real) -> datetime:
                return real(tz) + shift

        counts.faults += 1
        with mock.patch("churn_assets.cli.privacy_commands.datetime", Wrong):
            code, shown = run(root, name)
        if code == 70:
            counts.bugs.append(f"{name}: clock {shift}: {shown[-200:]}")
        if name == "retention" and shift > timedelta(0) and _kept(root)[0] < 2:
            counts.lost.append(f"{name}: clock {shift}: decisions of this week went")
        if run(root, name)[0] != 0:
            counts.unhealed.append(f"{name}: clock {shift}")
        shutil.rmtree(root)


def tried(
    most: int | None = None,
    seed: int = 0,
    *,
    foreign: bool = True,
    only: Sequence[str] = (),
    part: tuple[int, int] = (1, 1),
) -> Counts:
    """All faults, or at most so many of each sensor and command, drawn by lot.

    Args:
        most: Of each; None: all.
        seed: Of the draw.
        foreign: Whether foreign files and clocks are tried.
        only: Names of sensors and commands; all if empty.
        part: As of `benchmarks.faults.shard`; foreign files and clocks are of the first.
    """
    counts, lot = Counts(), random.Random(seed)

    def draw(found: list[Fault]) -> list[Fault]:
        drawn = found if most is None else lot.sample(found, min(most, len(found)))
        return drawn[part[0] - 1 :: part[1]]

    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        worlds = Worlds(Path(place).resolve())
        defs = build_defs(Overrides(root=worlds.fresh()))
        names = [name for name in sensor_names(defs) if not only or name in only]
        for name in names:
            try_sensor(worlds, name, defs, counts, draw)
        for name in COMMANDS:
            if not only or name in only:
                try_command(worlds, name, counts, draw)
        if foreign and part[0] == 1:
            try_foreign(worlds, defs, counts, names)
            try_clocks(worlds, counts)
    return counts


def measure() -> list[Figure]:
    """The figures; `CHURN_FAULTS_MOST` bounds how many of each sensor and command are tried."""
    most, part = os.environ.get("CHURN_FAULTS_MOST"), shard()
    counts = tried(int(most) if most else None, part=part)
    what = "sensors and commands × calls × errors, kills"
    figures = [
        Figure("faults_jobs_enumerated", counts.enumerated, ">=", 2000, f"{what}, by all parts"),
        Figure("faults_jobs", counts.faults, ">=", 1, "tried: all of them, or those that were drawn"),
    ]
    for name, found in (
        ("silent", counts.silent),
        ("unhealed", counts.unhealed),
        ("lost", counts.lost),
        ("exit_70", counts.bugs),
    ):
        figures.append(Figure(f"faults_jobs_{name}", len(found), "<=", 0, "; ".join(found[:3])))
    return figures


if __name__ == "__main__":
    main(__doc__, measure)
