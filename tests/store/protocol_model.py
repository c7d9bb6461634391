"""The store's protocol as a small state machine, and a search through every interleaving of it.

Every step is one operation on the store, or several reads of what never changes. Between any two steps any other
process may go on, time may pass, and the process may die; a create may report that the object exists although it was
this process that made it. What retention keeps and what a channel accepts is decided by the code under test
(`plan_retention`, `unfit_to_lead`); `STEPS` names the operations of each step, and a test holds the code to them.

Time goes by half weeks. Nobody waits longer than `Limits` says between a look and the act that rests on it.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple

from churn_assets.store import deadlines
from churn_assets.store.deadlines import unfit_to_lead
from churn_assets.store.manifest import mint_version
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.retention import Inventory, Version, plan_retention

TICK = timedelta(days=3.5)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

# The operations of each step, in order; what is written is always the last of its step.
STEPS = {
    "look for the version": ("info manifest",),
    "store files": ("create file",),
    "compare": ("list version",),
    "commit": ("create manifest",),
    "read back": ("read manifest",),
    "read head": ("list marks", "list log", "read record"),
    "decide": ("read record", "read record"),
    "verify": ("read manifest", "fetch file"),
    "check sources": ("read manifest", "read manifest", "list asset"),
    "check return": ("list marks", "list log", "read record"),
    "append": ("create record",),
    "recognise": ("read record", "create mark"),
    "read logs": ("list channels", "list marks", "list log", "read record", "list acts"),
    "take stock": ("list artifacts", "read manifest"),
    "list victim": ("list version",),
    "uncommit": ("delete manifest",),
    "delete files": ("delete file",),
    "read leader": ("read manifest", "fetch file"),
}


@dataclass(frozen=True)
class Limits:
    """How long, in ticks, a process waits at most: a run until it commits, anybody else between look and act."""

    commit: int = 3
    pause: int = 1


@dataclass(frozen=True)
class Protocol:
    """The protocol, and what may be wrong with it."""

    manifest_last: bool = True
    create_only: bool = True
    expects_head: bool = True
    knows_own_record: bool = True
    source_rule: bool = True
    keeps_members: bool = True
    clock_first: bool = True
    uncommits_first: bool = True


class Made(NamedTuple):
    """A version: asset, when and by whom it was minted, and what it was trained from."""

    asset: str
    minted: int
    by: str
    sources: tuple["Made", ...] = ()


class Record(NamedTuple):
    seq: int
    version: Made
    act: str
    decided_on: int


class Process(NamedTuple):
    """Where a process is and what it remembers."""

    kind: str
    name: str
    step: str
    assets: tuple[str, ...] = ()
    promotes: bool = False
    minted: int = 0
    version: Made | None = None
    looked: int = 0
    head: int = 0
    led: frozenset[Made] = frozenset()
    # (version, whether it is an unfinished folder)
    victims: tuple[tuple[Made, bool], ...] = ()
    retries: int = 0
    died: bool = False


class State(NamedTuple):
    """Everything there is.

    Attributes:
        now: The hour, in ticks.
        stored: Objects, as a kind (file, manifest, log) with a version or record; and, as kinds of their own, what
            the world was told: an acknowledged record, a version that a reader misread.
        processes: Who is still at work; None for who is done.
    """

    now: int
    stored: frozenset[tuple[object, ...]]
    processes: tuple[Process | None, ...]


Next = Iterator[tuple[frozenset[tuple[object, ...]], Process | None]]


def run(name: str, *assets: str, promotes: bool = False) -> Process:
    """Trains the first asset from any version of the one to its left, then the others from each other."""
    return Process("run", name, "start", assets=assets, promotes=promotes)


def promotion(name: str, version: Made) -> Process:
    return Process("promotion", name, "read head", version=version)


def rollback(name: str, version: Made) -> Process:
    return Process("rollback", name, "read head", version=version)


def collection(name: str) -> Process:
    return Process("collection", name, "start")


def reader(name: str) -> Process:
    return Process("reader", name, "read head")


FLOW = ("customers", "model", "release")


def records(stored: frozenset[tuple[object, ...]]) -> dict[int, Record]:
    return {entry[1].seq: entry[1] for entry in stored if entry[0] == "log"}


def committed(stored: frozenset[tuple[object, ...]]) -> list[Made]:
    return sorted((entry[1] for entry in stored if entry[0] == "manifest"), key=reference_text)


def closure(version: Made) -> set[Made]:
    return {version}.union(*(closure(source) for source in version.sources))


@cache
def reference(version: Made) -> ArtifactRef:
    return ArtifactRef(
        "shelf", version.asset, mint_version(version.by.encode().hex().zfill(12), moment(version.minted))
    )


@cache
def reference_text(version: Made) -> str:
    return str(reference(version))


def moment(tick: int) -> datetime:
    return BEGIN + tick * TICK


class Model:
    """The steps of every kind of process under one protocol and one set of limits."""

    def __init__(self, protocol: Protocol, limits: Limits) -> None:
        self.protocol = protocol
        self.limits = limits
        self._plan = cache(self._plan_uncached)
        self._unfit = cache(self._unfit_uncached)

    def steps(self, state: State, process: Process) -> Next:
        """Every way in which the next step of ``process`` can end."""
        steps = {"run": self._run, "reader": self._reader, "collection": self._collection}
        return steps.get(process.kind, self._promotion)(state, process)

    def _run(self, state: State, me: Process) -> Next:
        stored, version = state.stored, me.version
        if me.step in ("read head", "decide", "verify", "check sources", "append", "recognise"):
            yield from self._promotion(state, me)
            return
        if me.step == "start":
            left = FLOW[FLOW.index(me.assets[0]) - 1] if me.assets[0] != FLOW[0] else None
            sources = [(each,) for each in committed(stored) if each.asset == left] if left else [()]
            for picked in sources:
                made = Made(me.assets[0], state.now, me.name, picked)
                yield stored, me._replace(step="look for the version", minted=state.now, version=made)
            return
        assert version is not None
        if state.now - me.minted > self.limits.commit:
            return
        first, last = ("store files", "commit") if self.protocol.manifest_last else ("commit", "store files")
        match me.step:
            case "look for the version":
                there = ("manifest", version) in stored
                yield stored, me._replace(step="read back" if there else first)
            case "store files":
                after = "compare" if self.protocol.manifest_last else "read back"
                yield stored | {("file", version)}, me._replace(step=after)
            case "compare":
                if ("file", version) in stored:
                    yield stored, me._replace(step=last)
                else:
                    yield stored, None
            case "commit":
                after = "read back" if self.protocol.manifest_last else last
                yield stored | {("manifest", version)}, me._replace(step=after)
            case "read back":
                if ("manifest", version) not in stored:
                    yield stored, None
                elif len(me.assets) > 1:
                    made = Made(me.assets[1], me.minted, me.name, (version,))
                    yield stored, me._replace(step="look for the version", assets=me.assets[1:], version=made)
                else:
                    yield stored, me._replace(step="read head") if me.promotes else None

    def _promotion(self, state: State, me: Process) -> Next:
        stored, version = state.stored, me.version
        assert version is not None
        log = records(stored)
        match me.step:
            case "read head":
                yield stored, me._replace(step="decide", head=len(log), looked=state.now)
            case "decide":
                if me.head + 1 in log and self.protocol.expects_head:
                    yield from self._recognise(state, me, me.head + 1)
                else:
                    yield stored, me._replace(step="verify")
            case "verify":
                if {("manifest", version), ("file", version)} <= stored:
                    yield (
                        stored,
                        me._replace(step="check return" if me.kind == "rollback" else "check sources"),
                    )
                else:
                    yield stored, None
            case "check return":
                led = any(record.version == version for record in log.values())
                yield stored, me._replace(step="append") if led else None
            case "check sources":
                led = any(record.version == version for record in log.values())
                fit = led or not self._unfit(version, me.looked, tuple(committed(stored)))
                yield stored, me._replace(step="append") if fit else None
            case "append":
                if state.now - me.looked > self.limits.pause:
                    return
                seq = me.head + 1 if self.protocol.expects_head else len(log) + 1
                mine = Record(seq, version, me.name, me.head)
                if seq not in log:
                    yield stored | {("log", mine)}, me._replace(step="recognise", head=seq - 1)
                    if (
                        not self.protocol.knows_own_record
                    ):  # its acknowledgement lost: it takes itself for another
                        yield stored | {("log", mine)}, self._again(me)
                elif not self.protocol.create_only:
                    yield (stored - {("log", log[seq])}) | {("log", mine)}, me._replace(step="recognise")
                else:
                    yield stored, me._replace(step="recognise")
            case "recognise":
                yield from self._recognise(state, me, me.head + 1)

    def _recognise(self, state: State, me: Process, seq: int) -> Next:
        if records(state.stored)[seq].act == me.name:
            yield state.stored | {("acknowledged", seq, me.name)}, None
        else:
            yield state.stored, self._again(me)

    def _again(self, me: Process) -> Process | None:
        """Another won: look at its record and decide anew."""
        return (
            me._replace(step="read head", head=0, looked=0, retries=me.retries + 1)
            if me.retries < 2
            else None
        )

    def _collection(self, state: State, me: Process) -> Next:
        stored = state.stored
        match me.step:
            case "start":
                yield stored, me._replace(step="read logs", looked=state.now)
            case "read logs":
                led = frozenset(record.version for record in records(stored).values())
                yield stored, me._replace(step="take stock", led=led)
            case "take stock":
                looked = me.looked if self.protocol.clock_first else state.now
                present = frozenset(entry for entry in stored if entry[0] in ("file", "manifest"))
                victims = self._plan(present, me.led, looked)
                after = me._replace(step="list victim", victims=victims, looked=state.now, led=frozenset())
                yield stored, after if victims else None
            case "list victim":
                if state.now - me.looked > self.limits.pause:
                    return
                (victim, unfinished), *_ = me.victims
                if unfinished and ("manifest", victim) in stored:
                    yield stored, self._next_victim(me)
                else:
                    step = "uncommit" if self.protocol.uncommits_first and not unfinished else "delete files"
                    yield stored, me._replace(step=step)
            case "uncommit":
                if state.now - me.looked > self.limits.pause:
                    return
                victim = me.victims[0][0]
                after = (
                    me._replace(step="delete files")
                    if self.protocol.uncommits_first
                    else self._next_victim(me)
                )
                yield stored - {("manifest", victim)}, after
            case "delete files":
                if state.now - me.looked > self.limits.pause:
                    return
                victim = me.victims[0][0]
                after = (
                    self._next_victim(me) if self.protocol.uncommits_first else me._replace(step="uncommit")
                )
                yield stored - {("file", victim)}, after

    def _next_victim(self, me: Process) -> Process | None:
        return me._replace(step="list victim", victims=me.victims[1:]) if me.victims[1:] else None

    def _reader(self, state: State, me: Process) -> Next:
        stored = state.stored
        match me.step:
            case "read head":
                log = records(stored)
                yield stored, me._replace(step="read leader", version=log[len(log)].version)
            case "read leader":
                assert me.version is not None
                needed = {(kind, each) for each in closure(me.version) for kind in ("manifest", "file")}
                yield stored if needed <= stored else stored | {("misread", me.version)}, None

    def _plan_uncached(
        self, present: frozenset[tuple[object, ...]], led: frozenset[Made], tick: int
    ) -> tuple[object, ...]:
        folders = {entry[1] for entry in present}
        by_ref = {reference(each): each for each in folders}
        assert len(by_ref) == len(folders), "two versions of one name"
        whole = {ref for ref, each in by_ref.items() if ("manifest", each) in present}
        inventory = Inventory(
            versions={
                ref: Version(
                    tuple(map(reference, by_ref[ref].sources)) if self.protocol.keeps_members else (), size=1
                )
                for ref in whole
            },
            unfinished=frozenset(by_ref.keys() - whole),
            led={reference(each): "champion" for each in led},
        )
        rows = plan_retention(inventory, moment(tick)).collected
        return tuple((by_ref[row.ref], row.size is None) for row in rows)

    def _unfit_uncached(self, version: Made, tick: int, present: tuple[Made, ...]) -> bool:
        if not self.protocol.source_rule:
            return tick - version.minted > deadlines.FIRST_PROMOTION_WITHIN / TICK
        by_ref = {reference(each): each for each in (*present, version)}
        of_asset = {asset: [reference(each) for each in present if each.asset == asset] for asset in FLOW}
        try:
            return bool(
                unfit_to_lead(
                    reference(version),
                    moment(tick),
                    trained_from=lambda ref: [reference(each) for each in by_ref[ref].sources],
                    versions=lambda ref: of_asset[ref.asset],
                )
            )
        except KeyError:  # a source is not committed
            return True


@dataclass(frozen=True)
class Search:
    """What a search found.

    Attributes:
        states: Number of states reached.
        violations: What must never be, with a shortest way there.
        taken: Every (process, step) that was taken: what the search is about must be among them.
    """

    states: int
    violations: dict[str, tuple[str, ...]]
    taken: frozenset[tuple[str, str]]


def explore(
    stored: Sequence[tuple[object, ...]],
    processes: Sequence[Process],
    model: Model,
    *,
    until: int = 0,
    retries: bool = True,
    at_once: Sequence[str] = (),
) -> Search:
    """Every state that can be reached, or, if something is wrong, those up to the first where it shows.

    That a process dies for good needs no step of its own: it is one that takes none any more.

    Args:
        stored: What lies in the store.
        processes: Who acts.
        model: Their steps.
        until: Ticks that may pass.
        retries: Let each process die and begin its act anew once.
        at_once: Steps taken together with the one before: reads of what no other process here can change.
    """
    start = State(0, frozenset(stored), tuple(processes))
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    sound: set[frozenset[tuple[object, ...]]] = set()
    violations: dict[str, tuple[str, ...]] = {}
    taken: set[tuple[str, str]] = set()
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if state.stored not in sound:
            for problem in problems(state.stored):
                violations[problem] = _way(state, came_from)
            if violations:
                break
            sound.add(state.stored)
        successors = [(state._replace(now=state.now + 1), "a tick")] if state.now < until else []
        for position, process in enumerate(state.processes):
            if process is None:
                continue
            taken.add((process.name, process.step))
            before, behind = state.processes[:position], state.processes[position + 1 :]
            ends = list(model.steps(state, process))
            if retries and (again := retried(process, state.now)):
                ends.append((state.stored, again))
            while ends:
                after, went_on = ends.pop()
                moved = State(state.now, after, (*before, went_on, *behind))
                if went_on and went_on.step in at_once:
                    ends += model.steps(moved, went_on)
                else:
                    successors.append((moved, f"{process.name}: {process.step}"))
        for following, label in successors:
            if following not in came_from:
                came_from[following] = state, label
                queue.append(following)
    return Search(len(came_from), violations, frozenset(taken))


def retried(process: Process, now: int) -> Process | None:
    """The same act begun anew, once, after its process died: same minting time, same nonce, same decision."""
    if process.died or process.kind in ("reader", "collection") or process.step in ("start", "read head"):
        return None
    publishing = process.step in (
        "look for the version",
        "store files",
        "compare",
        "commit",
        "read back",
    )
    if publishing:
        return process._replace(step="look for the version", died=True)
    return process._replace(step="decide", looked=now, died=True)


def problems(stored: frozenset[tuple[object, ...]]) -> list[str]:
    """What must never be so, in any state."""
    log = [entry[1] for entry in stored if entry[0] == "log"]
    found = []
    if sorted(record.seq for record in log) != list(range(1, len(log) + 1)):
        found.append("the log has a gap or a number twice")
    if len({record.act for record in log}) < len(log):
        found.append("one act is recorded twice")
    if any(record.decided_on != record.seq - 1 for record in log):
        found.append("a record does not follow the one it was decided on")
    by_seq = {record.seq: record.act for record in log}
    for kind, *rest in stored:
        if kind == "acknowledged" and by_seq.get(rest[0]) != rest[1]:
            found.append("an acknowledged record is lost")
        elif kind == "manifest" and ("file", rest[0]) not in stored:
            found.append("a committed version has no files")
        elif kind == "misread":
            found.append("a reader of the current release misses an object")
    for record in log:
        if any(
            (kind, each) not in stored for each in closure(record.version) for kind in ("manifest", "file")
        ):
            found.append("a version that led, or one it was trained from, is gone")
    return found


def _way(state: State, came_from: dict[State, tuple[State, str] | None]) -> tuple[str, ...]:
    way = []
    while (step := came_from[state]) is not None:
        state, label = step
        way.append(label)
    return tuple(reversed(way))
