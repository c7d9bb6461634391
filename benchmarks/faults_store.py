"""Faults of the machine under every command on a store: what is silent, what does not heal, is lost, or is a bug.

Each command runs once and its system calls on the store are counted; then it runs again and again, and from one of
these calls on all of its kind fail, with each error in turn, or the process dies there. Then the cause is gone, and the
same command must do its work. Foreign files are laid into every folder, and every command must do as without them. It
runs on a store that asks for signatures and on one that does not; nothing is trained.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from benchmarks.faults import shard
from benchmarks.report import Figure, main
from churn_assets.cli import app
from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.flow.registry import registry
from churn_assets.gates.report import Gate, GateReport
from churn_assets.release.bundle import RELEASE
from churn_assets.store import local
from churn_assets.store.artifacts import ArtifactStore, stage
from churn_assets.store.channels import Channel
from churn_assets.store.errors import StoreError
from churn_assets.store.local import LocalBackend
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.signatures import (
    PRIVATE_KEYS,
    SignaturePolicy,
    Signatures,
    TrustedKey,
    new_signing_key,
)

REPOSITORY = Path(__file__).parents[1]
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE)
KILL = 0
CALLS = frozenset(
    {"open", "mkdir", "link", "unlink", "fsync", "scandir", "sendfile", "fdopen", "pread", "posix_fallocate"}
)
COMMANDS: dict[str, tuple[str, ...]] = {
    "history": ("history",),
    "releases": ("releases",),
    "checks": ("checks", "--release", "latest"),
    "promote": ("promote", "--reason", "better"),
    "rollback": ("rollback", "--reason", "worse"),
    "retention": ("retention", "--apply"),
    "verify": ("store", "verify"),
    "doctor": ("doctor",),
    "copy": ("store", "copy", ".churn/store", "copy"),
}
ACTS = ("promote", "rollback")
FOREIGN = (
    ".DS_Store",
    "000000000001.json~",
    "#x#",
    "notes.txt",
    "Copy of 1.json",
    "backup/000000000002.json",
    "\udcff",
)
MOST = 8
"""System calls that are tried of each command and error, evenly spaced."""


class Killed(BaseException):
    """The process is gone; nothing may catch it."""


class FaultyOs:
    """The `os` module as a folder's store sees it: from its n-th call on, all calls of that name fail."""

    def __init__(self, at: int | None, error: int) -> None:
        self.at, self.error = at, error
        self.calls = 0
        self.failing = ""

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.calls == self.at:
                self.failing = name
            self.calls += 1
            if self.failing and self.error == KILL:
                raise Killed
            if self.failing == name:
                raise OSError(
                    self.error, os.strerror(self.error), args[0] if isinstance(args[0], str) else None
                )
            return real(*args, **kwargs)

        return call


@dataclass
class Counts:
    """What the faults did; each list names the fault."""

    faults: int = 0
    silent: list[str] = field(default_factory=list)
    unhealed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    bugs: list[str] = field(default_factory=list)


@dataclass
class World:
    """A project whose store holds three releases: two led, the third may; and what a command changes in it.

    Attributes:
        pristine: The project as it was made.
        root: Where it is worked on.
        environment: Private keys, where signatures are asked for.
    """

    pristine: Path
    root: Path
    environment: dict[str, str]

    def reset(self) -> None:
        """Everything as it was. Files of a store never change, so a second name is a copy."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.pristine, self.root, copy_function=os.link)

    def run(self, name: str) -> tuple[int, str]:
        """Exit code of a command, and what it printed."""
        done = CliRunner().invoke(app, ["--root", str(self.root), *COMMANDS[name]], env=self.environment)
        return done.exit_code, done.output

    def records(self) -> int:
        """Records of the channel, each verified; -1 where the log is not sound."""
        try:
            return len(
                Channel(ArtifactStore(LocalBackend(self.root / ".churn" / "store")), "quickstart").history()
            )
        except StoreError:
            return -1

    def inodes(self) -> dict[str, int]:
        """What is stored, by key; a file that was replaced is another one."""
        backend = LocalBackend(self.root / ".churn" / "store")
        return {key: (backend.root / key).stat().st_ino for key in backend.list("")}


def make_world(folder: Path, *, signed: bool) -> World:
    """The releases kept for the tests, minted anew and judged, so that one of them may lead."""
    root, keys, environment = folder / "pristine", [], {}
    if signed:
        for role, variable in PRIVATE_KEYS.items():
            pem, public = new_signing_key()
            keys.append(TrustedKey(name=role, role=role, public=public))
            environment[variable] = pem.decode()
    policy = SignaturePolicy(require_signatures=signed, trusted_keys=tuple(keys))
    source = ArtifactStore(LocalBackend(REPOSITORY / "tests" / "kept" / "release-6" / "store"))
    store = ArtifactStore(LocalBackend(root / ".churn" / "store"), None, Signatures(policy, environment))
    (release,) = source.versions("quickstart", "release")
    value = source.load(release, RELEASE)
    for member in value.bundle.members.values():
        _copy(source, store, member.version)
        _judge(store, member.version, None)
    refs = [
        _release(store, value, source.manifest(release).provenance, folder / str(day), day)
        for day in (3, 2, 1)
    ]
    channel = Channel(store, "quickstart")
    for number, ref in enumerate(refs):
        _judge(store, ref, refs[1])
        if number < 2:
            channel.append(
                "promote", ref, expected_seq=number, actor="ann", reason="first", gate_report_digest="",
                now=datetime.now(UTC),
            )  # fmt: skip
    (root / "configs").mkdir()
    config = yaml.safe_load((REPOSITORY / "configs" / "quickstart.yaml").read_text())
    config["store"] |= policy.model_dump(mode="json")
    (root / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(config))
    return World(root, folder / "project", environment)


def _copy(source: ArtifactStore, target: ArtifactStore, ref: ArtifactRef) -> None:
    manifest = source.manifest(ref)
    for entry in manifest.files:
        target.backend.create(ref.prefix + entry.path, source.backend.read(ref.prefix + entry.path))
    data = manifest.to_bytes()
    target.signatures.sign(target.backend, ref.manifest_key, data)
    target.backend.create(ref.manifest_key, data)


def _release(store: ArtifactStore, value: Any, provenance: Any, folder: Path, day: int) -> ArtifactRef:
    minted = datetime.now(UTC).replace(hour=0, minute=0, second=day)
    return store.publish(stage("release", value, RELEASE, folder), provenance, minted)


def _judge(store: ArtifactStore, ref: ArtifactRef, champion: ArtifactRef | None) -> None:
    for check in {LOADS_AND_AGREES, *(spec.name for spec in registry().checks[ref.asset])}:
        report = GateReport(
            check=check, asset=ref.asset, version=ref.version, digest=store.manifest(ref).digest, key="k",
            champion=None if champion is None else str(champion), gates=(Gate("figure", 1.0, ">=", 0.5),), advice="",
        )  # fmt: skip
        store.add_gate_report(ref, check, report.to_json())


@contextmanager
def failing(at: int | None, error: int) -> Iterator[FaultyOs]:
    """A store in a folder whose system calls fail."""
    faulty = FaultyOs(at, error)
    local.os = faulty  # type: ignore[assignment]
    try:
        yield faulty
    finally:
        local.os = os


def spaced(calls: int, most: int) -> list[int]:
    """At most so many of the calls, evenly spaced, the first and the last among them."""
    if calls <= most:
        return list(range(calls))
    return sorted({round(number * (calls - 1) / (most - 1)) for number in range(most)})


def try_command(world: World, name: str, counts: Counts, most: int) -> None:
    """Every error at the chosen calls of one command."""
    world.reset()
    with failing(None, KILL) as counted:
        code, expected = world.run(name)
    assert code == 0, (name, expected)
    done, records = world.inodes(), world.records()
    for error in (*ERRORS, KILL):
        for at in spaced(counted.calls, most):
            world.reset()
            before = world.inodes()
            with failing(at, error) as faulty:
                try:
                    code, shown = world.run(name)
                except Killed:
                    code, shown = -1, ""
            if not faulty.failing:
                continue
            fault = f"{name}, call {at} ({faulty.failing}): {errno.errorcode.get(error, 'killed')}"
            counts.faults += 1
            _judge_outcome(world, name, fault, code, same(shown, expected), before, done, records, counts)


def same(shown: str, expected: str) -> bool:
    """Whether a command said as much: what is measured, such as a clock's skew, aside."""
    return len(shown.splitlines()) == len(expected.splitlines())


def _judge_outcome(
    world: World, name: str, fault: str, code: int, as_expected: bool, before: dict[str, int], done: dict[str, int],
    records: int, counts: Counts,
) -> None:  # fmt: skip
    after = world.inodes()
    if code == 70 or (code == 1 and name not in ("doctor", "checks", "promote", "rollback")):
        counts.bugs.append(f"{fault}: exit {code}")
    if code == 0 and not (as_expected and set(done) <= set(after) | _named_anew(done)):
        counts.silent.append(fault)
    kept = {key: inode for key, inode in before.items() if key in done}
    if any(after.get(key) != inode for key, inode in kept.items()):
        counts.lost.append(fault)
    acted = world.records() == records
    code, _ = (0, "") if acted and name in ACTS else world.run(name)  # once is enough
    if code != 0 or world.records() != records or not set(done) <= set(world.inodes()) | _named_anew(done):
        counts.unhealed.append(f"{fault}: exit {code}")


def _named_anew(done: dict[str, int]) -> set[str]:
    """Keys that differ from try to try: a signature is named by what it signs."""
    return {key for key in done if key.startswith("signatures/channels/")}


def try_foreign(world: World, counts: Counts, names: Sequence[str], commands: Sequence[str]) -> None:
    """A foreign file of each name in every kind of folder, under every command."""
    store = Path(".churn") / "store"
    release = next((world.pristine / store / "artifacts" / "quickstart" / "release").iterdir()).relative_to(
        world.pristine
    )
    places = [
        store,
        store / "channels",
        store / "channels" / "quickstart",
        store / "artifacts",
        release,
        release.parent,
    ]
    for place in places:
        for foreign in names:
            for command in commands:
                world.reset()
                path = world.root / place / foreign
                path.parent.mkdir(exist_ok=True)
                path.write_text("?")
                fault = f"{command}, {foreign!r} in {place}"
                counts.faults += 1
                code, shown = world.run(command)
                if code == 70:
                    counts.bugs.append(fault)
                if code != 0:
                    counts.unhealed.append(f"{fault}: exit {code}: {shown[:200]}")
                if command in ("verify", "doctor") and "ignored" not in shown:
                    counts.silent.append(fault)


def tried(
    most: int = MOST,
    names: Sequence[str] = FOREIGN,
    commands: Sequence[str] = tuple(COMMANDS),
    stores: Sequence[bool] = (False, True),
) -> Counts:
    """All faults, in a folder of their own; foreign files on the last of the stores, which are signed or not."""
    counts = Counts()
    for signed in stores:
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            world = make_world(Path(folder), signed=signed)
            for command in commands:
                try_command(world, command, counts, most)
            if signed == stores[-1]:
                try_foreign(world, counts, names, commands)
    return counts


def measure() -> list[Figure]:
    """The figures."""
    k, n = shard()
    counts = tried(commands=tuple(COMMANDS)[k - 1 :: n])
    told: Callable[[list[str]], str] = lambda found: "; ".join(found[:3])  # noqa: E731
    return [
        Figure(
            "faults_store",
            counts.faults,
            ">=",
            1500 / n,
            "commands × system calls × errors, kills and foreign files",
        ),
        Figure("faults_store_silent", len(counts.silent), "<=", 0, told(counts.silent)),
        Figure("faults_store_unhealed", len(counts.unhealed), "<=", 0, told(counts.unhealed)),
        Figure("faults_store_lost", len(counts.lost), "<=", 0, told(counts.lost)),
        Figure("faults_store_exit_70", len(counts.bugs), "<=", 0, told(counts.bugs)),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
