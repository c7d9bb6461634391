"""What retention keeps, what it takes and why, on a sound store and on a broken one."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from shelf import NOTE, publish_note
from store_cases import Crash, Faulty, days, overwrite, promote

from churn_assets.store.acts import ActLog
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.channels import Channel
from churn_assets.store.errors import CorruptArtifact, ObjectMissing, PromotionRefused
from churn_assets.store.local import LocalBackend
from churn_assets.store.retention import RetentionPlan, collect, review

START = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def day(number: float) -> datetime:
    return START + days(number)


@dataclass(frozen=True)
class Shelf:
    """A store whose versions are named by asset and day of minting."""

    store: ArtifactStore

    def put(self, asset: str, at: float, *sources: ArtifactRef) -> ArtifactRef:
        return publish_note(self.store, asset, day(at), *sources)

    def plan(self, at: float) -> RetentionPlan:
        return review(self.store, day(at))

    def fate(self, ref: ArtifactRef, at: float) -> str:
        (row,) = (row for row in self.plan(at).rows if row.ref == ref)
        return f"{'goes' if row.collect else 'stays'}: {row.reason}"


@pytest.fixture
def shelf(backend: Backend) -> Shelf:
    return Shelf(ArtifactStore(backend))


def test_a_version_goes_when_its_successor_is_older_than_two_weeks(shelf: Shelf) -> None:
    old = shelf.put("model", 0)
    new = shelf.put("model", 30)
    assert shelf.fate(old, 31) == "stays: was superseded less than 14 days ago"
    assert shelf.fate(old, 44) == "stays: was superseded less than 14 days ago"
    assert shelf.fate(old, 44.01) == "goes: never led and long superseded"
    assert shelf.fate(new, 400) == "stays: is the newest of its asset"


def test_a_young_version_stays_though_newer_ones_exist(shelf: Shelf) -> None:
    first, second = shelf.put("model", 0), shelf.put("model", 1)
    shelf.put("model", 2)
    assert shelf.fate(first, 14) == "stays: is younger than 14 days"
    assert shelf.fate(second, 15.01) == "stays: was superseded less than 14 days ago"


def test_assets_do_not_supersede_each_other(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    shelf.put("model", 30)
    assert shelf.fate(customers, 400) == "stays: is the newest of its asset"


def test_what_ever_led_any_channel_stays_with_all_it_was_trained_from(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    model = shelf.put("model", 0, customers)
    release = shelf.put("release", 0, model)
    other = shelf.put("model", 0.5, customers)
    for asset in ("customers", "model", "release"):
        shelf.put(asset, 1)
    promote(shelf.store, release, channel="challenger", now=day(1))
    promote(shelf.store, shelf.put("release", 2), channel="challenger", now=day(2))
    assert shelf.fate(release, 400) == "stays: led channel challenger"
    assert shelf.fate(model, 400) == f"stays: was used to train {release}"
    assert shelf.fate(customers, 400) == f"stays: was used to train {model}"
    assert shelf.fate(other, 400).startswith("goes")


def try_beside(shelf: Shelf, release: ArtifactRef, log: str = "champion.trials") -> ActLog:
    trials = ActLog(shelf.store, log)
    details = {"candidate": str(release)}
    trials.append("start", expected_seq=0, actor="ann", reason="newer", now=day(1), details=details)
    return trials


def test_what_was_ever_tried_stays_with_all_it_was_trained_from_and_may_lead_later(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    release = shelf.put("release", 0, customers)
    for asset in ("customers", "release"):
        shelf.put(asset, 1)
    assert shelf.fate(release, 400).startswith("goes")
    trials = try_beside(shelf, release)
    assert shelf.fate(release, 400) == "stays: was tried on channel champion"
    assert shelf.fate(customers, 400) == f"stays: was used to train {release}"
    trials.append("stop", expected_seq=1, actor="ann", reason="seen enough", now=day(300))
    assert shelf.fate(release, 400) == "stays: was tried on channel champion"
    collect(shelf.store, shelf.plan(400))
    assert promote(shelf.store, release, now=day(401)).ref == release


def test_nothing_is_collected_while_a_log_of_trials_does_not_verify(shelf: Shelf) -> None:
    release = shelf.put("release", 0)
    try_beside(shelf, release).append("start", expected_seq=1, actor="x", reason="x", now=day(1))
    with pytest.raises(CorruptArtifact, match="a version that is tried"):
        shelf.plan(400)
    with pytest.raises(PromotionRefused, match="train again"):
        promote(shelf.store, release, now=day(400))


def test_what_the_newest_was_trained_from_stays_however_old(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    model = shelf.put("model", 0.5, customers)
    shelf.put("customers", 1)
    assert shelf.fate(customers, 400) == f"stays: was used to train {model}"


def test_a_collection_removes_what_the_plan_says_and_nothing_else(shelf: Shelf) -> None:
    old = shelf.put("model", 0)
    shelf.store.add_gate_report(old, "sound", {"gates": []})
    kept = [shelf.put("model", 1), shelf.put("model", 30), shelf.put("customers", 0)]
    plan = shelf.plan(31)
    assert [row.ref for row in plan.collected] == [old]
    assert plan.freed == sum(row.size or 0 for row in plan.rows if row.ref == old) > 0
    collect(shelf.store, plan)
    assert shelf.store.backend.list(old.prefix) == []
    assert [row.ref for row in shelf.plan(31).rows] == sorted(kept, key=str)
    for ref in kept:
        shelf.store.load(ref, NOTE)


def test_reviewing_changes_nothing(shelf: Shelf) -> None:
    shelf.put("model", 0)
    shelf.put("model", 1)
    before = shelf.store.backend.list("")
    assert shelf.plan(400).collected
    assert shelf.store.backend.list("") == before


def test_an_unfinished_folder_goes_after_two_weeks_and_a_finished_one_is_spared(
    shelf: Shelf, backend: Backend
) -> None:
    with pytest.raises(Crash):
        publish_note(ArtifactStore(Faulty(backend, 3)), "model", day(0))
    (key,) = backend.list("artifacts/")
    ref = ArtifactRef.parse("/".join(key.split("/")[1:4]))
    assert shelf.fate(ref, 14) == "stays: unfinished for less than 14 days"
    plan = shelf.plan(14.01)
    assert shelf.fate(ref, 14.01) == "goes: unfinished since 14 days"
    assert shelf.put("model", 0) == ref
    collect(shelf.store, plan)
    assert shelf.store.load(ref, NOTE) == f"model of {day(0)}"


def test_drafts_of_killed_writers_go_after_a_day(root: Path) -> None:
    store = ArtifactStore(LocalBackend(root))
    publish_note(store, "model", day(0))
    now = datetime.now(UTC)
    for name, age in (("old", 1.1), ("recent", 0.9)):
        draft = root / ".tmp" / name
        draft.write_bytes(b"half")
        written = (now - days(age)).timestamp()
        os.utime(draft, (written, written))
    collect(store, review(store, now))
    assert [draft.name for draft in (root / ".tmp").iterdir()] == ["recent"]


def test_a_folder_that_is_no_version_is_left_alone(shelf: Shelf, backend: Backend) -> None:
    for key in ("artifacts/shelf/model/notes/manifest.json", "artifacts/shelf/readme.txt"):
        backend.create(key, b"{}")
    backend.create("artifacts/shelf/model/20269922T000000Z-0123456789ab/manifest.json", b"{}")
    assert shelf.plan(4000).rows == ()


def test_nothing_is_collected_while_a_kept_manifest_is_broken_or_lost(shelf: Shelf, backend: Backend) -> None:
    model = shelf.put("model", 0)
    release = shelf.put("release", 0, model)
    shelf.put("model", 1)
    shelf.put("release", 1)
    promote(shelf.store, release, now=day(1))
    backend.delete(model.manifest_key)
    with pytest.raises(
        CorruptArtifact, match=f"{model}.*found nothing, expected a manifest.*used to train {release}"
    ):
        shelf.plan(400)
    overwrite(backend, model.manifest_key, b"{}")
    with pytest.raises(CorruptArtifact, match=str(model)):
        shelf.plan(400)


def test_nothing_is_collected_while_a_log_does_not_verify(shelf: Shelf, backend: Backend) -> None:
    release = shelf.put("release", 0)
    for channel in ("challenger", "challenger", "champion"):
        promote(shelf.store, release, channel=channel, now=day(0))
    backend.delete("channels/challenger/000000000001.json")
    with pytest.raises(CorruptArtifact, match="channel challenger"):
        shelf.plan(400)


def test_a_broken_version_that_nobody_needs_is_collected(shelf: Shelf, backend: Backend) -> None:
    old = shelf.put("model", 0)
    shelf.put("model", 1)
    overwrite(backend, old.manifest_key, b"broken")
    collect(shelf.store, shelf.plan(400))
    assert backend.list(old.prefix) == []


def test_a_release_whose_source_may_be_collected_is_not_promoted_for_the_first_time(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    model = shelf.put("model", 20, customers)
    shelf.put("customers", 13)
    release = shelf.put("release", 20, model)
    assert Channel(shelf.store, "champion").head() is None
    with pytest.raises(PromotionRefused, match=f"comes from {customers}, which .* superseded too long ago"):
        promote(shelf.store, release, now=day(20.01))
    assert promote(shelf.store, release, now=day(20)).ref == release
    assert promote(shelf.store, release, now=day(27), channel="challenger").ref == release


def test_a_release_may_rest_on_what_an_old_version_in_use_was_trained_from(shelf: Shelf) -> None:
    customers = shelf.put("customers", 0)
    model = shelf.put("model", 0, customers)
    shelf.put("customers", 1)
    release = shelf.put("release", 20, model)
    collect(shelf.store, shelf.plan(21))
    assert promote(shelf.store, release, now=day(21)).ref == release


def test_a_release_whose_source_is_gone_is_not_promoted(shelf: Shelf, backend: Backend) -> None:
    model = shelf.put("model", 0)
    release = shelf.put("release", 0, model)
    backend.delete(model.manifest_key)
    with pytest.raises(ObjectMissing, match=str(model)):
        promote(shelf.store, release, now=day(1))


def test_a_release_is_not_promoted_where_what_its_old_model_was_trained_from_is_gone(
    shelf: Shelf, backend: Backend
) -> None:
    customers = shelf.put("customers", 0)
    model = shelf.put("model", 0, customers)
    release = shelf.put("release", 20, model)
    backend.delete(customers.manifest_key)
    with pytest.raises(ObjectMissing, match=str(customers)):
        promote(shelf.store, release, now=day(20))
