"""The protocol explored in every interleaving, its mutants caught, and the code held to the model's steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import protocol_model
import pytest
from protocol_model import (
    STEPS,
    TICK,
    Limits,
    Made,
    Model,
    Process,
    Protocol,
    Record,
    Search,
    collection,
    explore,
    moment,
    promotion,
    reader,
    rollback,
    run,
)
from shelf import NOTE, publish_note
from store_cases import Faulty, act, promote

from churn_assets.store import deadlines, retention
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.channels import CHANNELS, Channel
from churn_assets.store.local import LocalBackend
from churn_assets.store.marks import MARKS
from churn_assets.store.names import MANIFEST
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.retention import collect, review

SOUND = Protocol()
# A week at most between a look and the act that rests on it, and between the start of a run and its last commit.
WEEK = Limits(commit=2, pause=2)
# Or: half a week at most for the former, one and a half for the latter.
HALF_WEEK = Limits(commit=3, pause=1)

# What lay in the store long before: a release that leads, and customers superseded twice.
LED_CUSTOMERS = Made("customers", -50, "c0")
LED_MODEL = Made("model", -50, "m0", (LED_CUSTOMERS,))
LED = Made("release", -50, "r0", (LED_MODEL,))
LONG_SUPERSEDED = Made("customers", -40, "c1")
NEWEST = Made("customers", -30, "c2")


def whole(*versions: Made) -> list[tuple[object, ...]]:
    return [(kind, version) for version in versions for kind in ("file", "manifest")]


def log(*versions: Made) -> list[tuple[object, ...]]:
    return [("log", Record(seq, version, f"act {seq}", seq - 1)) for seq, version in enumerate(versions, 1)]


SHOP = whole(LED_CUSTOMERS, LED_MODEL, LED, LONG_SUPERSEDED, NEWEST) + log(LED)
# Reads of what no other process of a scenario changes, and writes that nobody looks at before the commit.
QUIET = (
    *("look for the version", "store files", "compare", "read back"),
    *("decide", "verify", "recognise", "list victim", "delete files"),
)


@dataclass(frozen=True)
class Scenario:
    """Who acts on what, and the steps without which the search would have been about nothing."""

    stored: Sequence[tuple[object, ...]]
    processes: Sequence[Process]
    must_take: frozenset[tuple[str, str]]
    until: int = 0
    retries: bool = True
    at_once: Sequence[str] = ()

    def explore(self, protocol: Protocol = SOUND, limits: Limits = WEEK) -> Search:
        return explore(
            self.stored,
            self.processes,
            Model(protocol, limits),
            until=self.until,
            retries=self.retries,
            at_once=self.at_once,
        )


def begun(name: str, version: Made, *, step: str = "look for the version") -> Process:
    """A run that minted ``version`` when time began."""
    return run(name, version.asset)._replace(step=step, version=version)


OTHERS = [Made("release", 0, name) for name in ("a", "b", "c", "d")]
RELEASE = Made("release", 0, "r", (Made("model", 0, "m", (NEWEST,)),))
SCENARIOS = {
    "promote, promote, roll back, read": Scenario(
        whole(*OTHERS) + log(*OTHERS[:2]),
        [promotion("p", OTHERS[2]), promotion("q", OTHERS[3]), rollback("w", OTHERS[0]), reader("z")],
        frozenset({("p", "recognise"), ("q", "recognise"), ("w", "recognise"), ("z", "read leader")}),
    ),
    "promote, roll back, publish, read": Scenario(
        whole(*OTHERS) + log(*OTHERS[:2]),
        [promotion("p", OTHERS[2]), rollback("w", OTHERS[0]), run("x", "customers"), reader("z")],
        frozenset({("p", "recognise"), ("w", "recognise"), ("x", "read back"), ("z", "read leader")}),
    ),
    "roll back, collect, read": Scenario(
        whole(LED_CUSTOMERS, LED_MODEL, LED, LONG_SUPERSEDED, NEWEST, *OTHERS[:2]) + log(LED, *OTHERS[:2]),
        [rollback("w", LED), collection("g"), collection("h"), reader("z")],
        frozenset({("w", "recognise"), ("g", "delete files"), ("h", "delete files"), ("z", "read leader")}),
    ),
    "a run takes any customers, as newer ones come and a collection goes": Scenario(
        [*SHOP, ("file", Made("customers", 0, "t"))],
        [
            begun("t", Made("customers", 0, "t"), step="commit"),
            run("x", "model", "release", promotes=True),
            collection("g"),
        ],
        frozenset({("t", "commit"), ("x", "append"), ("g", "uncommit")}),
        until=8,
        retries=False,
        at_once=QUIET,
    ),
    "a promotion pauses as newer releases come and a collection goes": Scenario(
        [*SHOP, *whole(*protocol_model.closure(RELEASE))],
        [promotion("p", RELEASE), run("y", "model", "release"), collection("g")],
        frozenset({("p", "append"), ("y", "commit"), ("g", "uncommit")}),
        until=8,
        retries=False,
        at_once=QUIET,
    ),
    "a model comes late, and a release is made of it while a collection goes": Scenario(
        SHOP,
        [
            begun("y", Made("model", 0, "y", (LONG_SUPERSEDED,))),
            run("z", "release", promotes=True),
            collection("g"),
        ],
        frozenset({("y", "commit"), ("z", "append"), ("g", "uncommit")}),
        until=8,
        retries=False,
        at_once=QUIET,
    ),
    "an unfinished version is taken up again while collections go": Scenario(
        [],
        [run("t", "customers"), collection("g"), collection("h")],
        frozenset({("t", "commit"), ("g", "delete files"), ("h", "delete files")}),
        until=7,
        at_once=("read back",),
    ),
}
LOG, PUBLISH, COLLECT, NEWER, PAUSE, LATE, UNFINISHED = SCENARIOS


@pytest.mark.parametrize(("name", "limits"), [(name, WEEK) for name in SCENARIOS] + [(LATE, HALF_WEEK)])
def test_no_interleaving_breaks_the_protocol(
    name: str, limits: Limits, record_property: Callable[[str, object], None]
) -> None:
    scenario = SCENARIOS[name]
    found = scenario.explore(SOUND, limits)
    record_property("states", found.states)
    assert found.violations == {}
    assert scenario.must_take <= found.taken


@pytest.mark.parametrize(
    ("fault", "name", "expected"),
    [
        ("manifest_last", PUBLISH, "a committed version has no files"),
        ("create_only", LOG, "an acknowledged record is lost"),
        ("expects_head", LOG, "a record does not follow the one it was decided on"),
        ("knows_own_record", LOG, "one act is recorded twice"),
        ("keeps_members", COLLECT, "a version that led, or one it was trained from, is gone"),
        ("source_rule", NEWER, "a version that led, or one it was trained from, is gone"),
        ("clock_first", PAUSE, "a version that led, or one it was trained from, is gone"),
        ("uncommits_first", COLLECT, "a committed version has no files"),
    ],
)
def test_a_faulty_protocol_is_caught(fault: str, name: str, expected: str) -> None:
    assert expected in SCENARIOS[name].explore(replace(SOUND, **{fault: False})).violations


@pytest.mark.parametrize("name", [NEWER, PAUSE])
def test_without_the_two_weeks_of_the_successor_a_promoted_member_is_lost(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "COLLECTED_AFTER", timedelta(days=-1))
    assert SCENARIOS[name].explore().violations


def test_without_a_deadline_for_the_first_promotion_a_promoted_member_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "FIRST_PROMOTION_WITHIN", timedelta(days=365))
    assert SCENARIOS[NEWER].explore().violations


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        (PAUSE, Limits(commit=2, pause=3)),
        (LATE, Limits(commit=3, pause=2)),
        (UNFINISHED, Limits(commit=5, pause=1)),
    ],
)
def test_the_limits_are_needed(name: str, limits: Limits) -> None:
    assert SCENARIOS[name].explore(SOUND, limits).violations


def test_the_deadlines_are_whole_ticks_of_the_model() -> None:
    assert deadlines.FIRST_PROMOTION_WITHIN == 2 * TICK
    assert deadlines.COLLECTED_AFTER == 4 * TICK
    assert retention.COLLECTED_AFTER == deadlines.COLLECTED_AFTER


def operation(entry: str) -> str:
    """An operation of the code in the model's words."""
    name, _, key = entry.partition(" ")
    if name == "list":
        folders = key.split("/")
        depths = {
            "acts": ["acts", "acts log"],
            "channels": ["channels", "log"],
            "marks": ["", "marks"],
            "artifacts": ["artifacts", "", "asset", "version"],
        }
        return f"list {depths[folders[0]][len(folders) - 2]}"
    if key.startswith(CHANNELS):
        return f"{name} record"
    if key.startswith(MARKS):
        return f"{name} mark"
    return f"{name} {'manifest' if key.endswith(f'/{MANIFEST}') else 'file'}"


def walked(*steps: str) -> list[str]:
    return [name for step in steps for name in STEPS[step]]


class Trace:
    """The operations of the code, as they were, in the model's words."""

    def __init__(self, backend: Backend) -> None:
        self.faulty = Faulty(backend)
        self.store = ArtifactStore(self.faulty)

    def operations(self) -> list[str]:
        return [operation(entry) for entry in self.faulty.operations]


@pytest.fixture
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return Trace(LocalBackend(tmp_path_factory.mktemp("store")))


@pytest.fixture
def source(trace: Trace) -> ArtifactRef:
    """Customers that a model is trained from, published outside the trace."""
    return publish_note(ArtifactStore(trace.faulty.backend), "customers", moment(0))


@pytest.fixture
def model(trace: Trace, source: ArtifactRef) -> ArtifactRef:
    return publish_note(ArtifactStore(trace.faulty.backend), "model", moment(0), source)


def test_publishing_takes_the_steps_of_the_model(trace: Trace) -> None:
    publish_note(trace.store, "customers", moment(0))
    assert trace.operations() == walked(
        "look for the version", "store files", "compare", "commit", "read back"
    )


def test_promoting_takes_the_steps_of_the_model(
    trace: Trace, source: ArtifactRef, model: ArtifactRef
) -> None:
    promote(ArtifactStore(trace.faulty.backend), source, now=moment(0))
    promote(trace.store, model, now=moment(1))
    assert trace.operations() == walked(
        "read head", "decide", "verify", "check sources", "append", "recognise"
    )


def test_rolling_back_takes_the_steps_of_the_model(trace: Trace, source: ArtifactRef) -> None:
    promote(ArtifactStore(trace.faulty.backend), source, now=moment(0))
    act("rollback", trace.store, source, now=moment(1))
    assert trace.operations() == walked(
        "read head", "decide", "verify", "check return", "append", "recognise"
    )


def test_collecting_takes_the_steps_of_the_model(trace: Trace, source: ArtifactRef) -> None:
    promote(ArtifactStore(trace.faulty.backend), source, now=moment(0))
    collect(trace.store, review(trace.store, moment(9)))
    assert trace.operations() == walked("read logs", "take stock")
    trace.faulty.operations.clear()
    unused = publish_note(ArtifactStore(trace.faulty.backend), "model", moment(0))
    publish_note(ArtifactStore(trace.faulty.backend), "model", moment(1))
    collect(trace.store, review(trace.store, moment(9)))
    assert trace.operations() == [
        *walked("read logs", "take stock"),
        *("read manifest", "read manifest"),  # of the two models
        *walked("list victim", "uncommit", "delete files"),
    ]
    assert trace.faulty.operations[-1].startswith(f"delete {unused.prefix}")


def test_reading_the_leader_takes_the_steps_of_the_model(trace: Trace, source: ArtifactRef) -> None:
    promote(ArtifactStore(trace.faulty.backend), source, now=moment(0))
    head = Channel(trace.store, "champion").head()
    assert head is not None
    trace.store.load(head.ref, NOTE)
    assert trace.operations() == walked("read head", "read leader")
