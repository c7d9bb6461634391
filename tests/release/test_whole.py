"""Whatever a store held and holds no more is named, file or folder, as far as something that is left tells of it."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from churn_assets.offers.segments import DECISIONS, SegmentOrigin, frame, sealed_bytes, sealed_segments
from churn_assets.offers.stored_log import SEGMENTS, segment_key
from churn_assets.privacy.decision_retention import age_out
from churn_assets.release.whole import verify_whole
from churn_assets.serving.config import DecisionLogConfig
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.shipping import ship
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.names import GATES
from churn_assets.store.reference import ArtifactRef
from tests.store.signed_store import signed

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(params=["plain", "signed"])
def led(request, shelf):
    """A shelf with a release that led and one that leads; where it is signed, by keys of both roles."""
    if request.param == "signed":
        store = signed(shelf.store.backend)
        shelf = replace(shelf, store=store, channel=Channel(store, "toy"))
    first = shelf.release(0.2)
    shelf.promote(first)
    shelf.promote(shelf.release(0.3, champion=first))
    assert verify_whole(shelf.store).problems == []
    return shelf


def is_signed(shelf):
    return bool(shelf.store.signatures.policy.trusted_keys)


def units(shelf):
    """Every object but marks and signatures, and every folder of them."""
    keys = [key for key in shelf.store.backend.list("") if not key.startswith(("marks/", "signatures/"))]
    folders = {"/".join(key.split("/")[:depth]) for key in keys for depth in range(1, key.count("/") + 1)}
    return sorted({*keys, *folders})


def without(shelf, unit):
    """What is told of a store from which a file or folder is gone."""
    place, aside = shelf.root / "store" / unit, shelf.root / "aside"
    place.rename(aside)
    try:
        return verify_whole(shelf.store).problems
    finally:
        aside.rename(place)


def nobody_knows(shelf, unit):
    """What only a signature tells of: a release's own reports but the one that every version has."""
    parts = unit.split("/")
    return not is_signed(shelf) and parts[2:3] == ["release"] and "members_agree" in parts


def test_whatever_file_or_folder_is_gone_is_named(led):
    found = units(led)
    assert len(found) > 40
    silent = [unit for unit in found if not nobody_knows(led, unit) and not without(led, unit)]
    assert silent == []


def test_a_folder_of_gate_reports_that_is_gone_is_named_with_who_needs_it(led):
    release = led.channel.head().ref
    for ref in (*led.members(release).values(), release):
        problems = without(led, f"{ref.prefix}{GATES}")
        assert problems, ref
        assert all(f"{ref.prefix}{GATES}/" in each for each in problems), problems


def test_the_newest_report_that_a_release_was_built_with_is_missed_though_an_older_one_is_there(shelf):
    customers = shelf.publish("customers", [1])
    shelf.report(customers, "complete", figure=0.7)
    shelf.judge(customers)
    model = shelf.publish("risk_model", 0.1, upstream={"customers": str(customers)})
    shelf.judge(model)
    shelf.bundle({"customers": customers, "risk_model": model}, ("decision",))
    (problem,) = without(shelf, f"{customers.gates_prefix}complete/000002.json")
    assert f"{customers.gates_prefix}complete: found 1 others, expected the gate report" in problem


def test_what_was_made_from_a_version_that_is_gone_tells_of_it(shelf):
    customers = shelf.publish("customers", [1])
    model = shelf.publish("risk_model", 0.1, upstream={"customers": str(customers)})
    (problem,) = without(shelf, customers.prefix.rstrip("/"))
    assert problem == f"{customers}: found no such version, expected it: {model} needs it"


@pytest.mark.parametrize("led", ["signed"], indirect=True)
def test_a_version_whose_writer_was_killed_before_the_manifest_is_none_that_is_gone(led):
    ref = led.publish("customers", [7])
    led.store.backend.delete(ref.manifest_key)
    found = verify_whole(led.store)
    assert (found.problems, len(found.unfinished)) == ([], 1)


# -- decision segments


def served(folder, backend, days=(0, 0, 0, 0), experiment="toy"):
    """Names of the segments that one server wrote and shipped, each of a day."""
    clock = iter(NOW + timedelta(days=day, seconds=number) for number, day in enumerate(days))
    config = DecisionLogConfig(segment_bytes=4096, flush=False)

    async def write():
        log = DecisionLog(folder, config, lambda: next(clock), lambda records, seconds: None)
        for number in range(len(days)):
            await log.append(DECISIONS, f"{number}".encode() * 5000)
        await log.close()

    asyncio.run(write())
    names = [path.stem for path in sealed_segments(folder)]
    assert len(names) == len(days)
    ship(folder, backend, experiment)
    return names


def key_of(store, name):
    (key,) = [key for key in store.backend.list(SEGMENTS) if name in key]
    return key


def test_a_segment_that_is_gone_is_named_by_the_one_that_its_server_wrote_next(shelf, tmp_path):
    names = served(tmp_path / "log", shelf.store.backend)
    assert verify_whole(shelf.store).problems == []
    for name, successor in pairwise(names):
        (problem,) = without(shelf, key_of(shelf.store, name))
        assert problem.startswith(f"{key_of(shelf.store, name)}: found nothing, expected a segment")
        assert successor in problem


@pytest.mark.parametrize("after", ["../../channels/toy/000000000001", "x", "20261123T090000Z-/../.."])
def test_a_segment_that_names_no_segment_before_it_is_named_itself(shelf, after):
    name = f"{NOW:%Y%m%dT%H%M%SZ}-0123456789abcdef"
    shelf.store.backend.create(
        segment_key("toy", name), sealed_bytes(name, [frame(DECISIONS, b"x")], SegmentOrigin(after))
    )
    (problem,) = verify_whole(shelf.store).problems
    assert f"segment {name}: found" in problem


def test_segments_that_went_with_their_age_are_not_missed(shelf, tmp_path):
    served(tmp_path / "log", shelf.store.backend, days=(0, 0, 3, 4))
    done = age_out(shelf.store, "toy", 2, NOW + timedelta(days=4), apply=True)
    assert len(done.gone) == 2
    assert verify_whole(shelf.store).problems == []


def test_a_release_of_another_store_may_be_copied_and_is_whole_there(led, tmp_path):
    target = tmp_path / "other"
    shutil.copytree(led.root / "store", target)
    store = ArtifactStore(type(led.store.backend)(target), None, led.store.signatures)
    assert verify_whole(store).problems == []
    ref: ArtifactRef = led.channel.head().ref
    shutil.rmtree(target / ref.gates_prefix)
    assert verify_whole(store).problems != []
