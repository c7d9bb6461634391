"""Logs of acts and of looks: append-only, chained, refused where they were touched, verified with the whole store."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from shelf import publish_note
from signed_store import signed

from churn_assets.offers.stored_log import READERS
from churn_assets.store.access import AccessRecord, looks_on, note_access
from churn_assets.store.acts import ActLog
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import (
    ChannelConflict,
    ContentError,
    InvalidName,
    InvalidSetting,
    RecordsLost,
    UnsignedContent,
)
from churn_assets.store.local import LocalBackend
from churn_assets.store.logs import log_names
from churn_assets.store.marks import SeenRecords
from churn_assets.store.names import record_key
from churn_assets.store.resigning import sign_store
from churn_assets.store.signatures import SignaturePolicy, Signatures, TrustedKey, new_signing_key
from churn_assets.store.transfer import copy_store
from churn_assets.store.verify import verify_store

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def local(tmp_path):
    return ArtifactStore(LocalBackend(tmp_path / "store"))


@pytest.fixture
def log(local):
    return ActLog(local, "quickstart.offers")


def act(log, seq, kind="stop", **more):
    return log.append(kind, expected_seq=seq, actor="anna", reason="why", now=NOW, **more)


def file_of(local, seq):
    return local.backend.root / record_key("acts/quickstart.offers", seq)


def test_acts_stand_in_order_and_the_newest_says_how_things_are(log, local):
    assert (log.head(), log.history()) == (None, [])
    act(log, 0, details={"request": 1})
    act(log, 1, "resume")
    assert [each.kind for each in log.history()] == ["stop", "resume"]
    assert log.head().kind == "resume"
    assert [each.seq for each in log.history(since=1)] == [2]
    assert (log.moved_since(1), log.moved_since(2)) == (True, False)
    assert log_names(local) == ["acts/quickstart.offers"]


def test_of_two_who_act_at_once_one_is_refused(log):
    act(log, 0)
    with pytest.raises(ChannelConflict, match="found record 1 by anna, expected none"):
        act(log, 0)
    assert len(log.history()) == 1


@pytest.mark.parametrize("touch", ["alter", "remove", "swap"])
def test_what_was_touched_is_refused_by_name(log, local, touch):
    for seq in range(3):
        act(log, seq)
    path = file_of(local, 2)
    if touch == "alter":
        path.chmod(0o644)
        path.write_text(path.read_text().replace("anna", "ben_"))
    elif touch == "remove":
        path.unlink()
    else:
        other = ActLog(ArtifactStore(LocalBackend(local.backend.root.parent / "other")), "quickstart.offers")
        act(other, 0)
        act(other, 1, "resume")
        path.chmod(0o644)
        path.write_bytes(other.store.backend.read(record_key("acts/quickstart.offers", 2)))
    with pytest.raises(ContentError, match=r"log quickstart\.offers"):
        log.history()


@pytest.mark.parametrize("witness", ["mark", "seen", "signature"])
def test_a_newest_act_that_was_deleted_is_missed(local, tmp_path, witness):
    """Else whoever deletes the record of a stop lets every server that starts make offers again."""
    seen = SeenRecords(tmp_path / "seen") if witness == "seen" else None
    store = signed(local.backend, seen=seen)
    log = ActLog(store, "quickstart.offers")
    act(log, 0, "resume")
    act(log, 1)
    publish_note(store, "release", NOW)  # its signature says how long the log was
    gone = file_of(local, 2).relative_to(local.backend.root).as_posix()
    keys = [gone, *local.backend.list(f"signatures/{gone}/")]
    keys += [f"marks/{gone}"] if witness != "mark" else []
    for key in keys:
        local.backend.delete(key)
    problems = verify_store(store).problems
    assert problems
    assert all(each.startswith("log quickstart.offers: ") for each in problems)
    if witness != "signature":
        with pytest.raises(RecordsLost, match="found nothing, expected a record: 2 were there"):
            log.head()
        assert log.forget_lost() == 1
    assert log.head().kind == "resume"


def test_a_text_that_is_none_is_kept_as_its_codes(log):
    assert log.append("stop", expected_seq=0, actor="anna", reason="\udcff", now=NOW).reason == "\\udcff"


def test_names_and_reasons_are_bounded(local, log):
    with pytest.raises(InvalidName):
        ActLog(local, "../x")
    with pytest.raises(InvalidSetting, match="10001 characters"):
        log.append("stop", expected_seq=0, actor="anna", reason="x" * 10_001, now=NOW)


def test_where_signatures_are_asked_for_a_promoter_signs(local, log):
    private, public = new_signing_key()
    keys = (
        TrustedKey(name="builder", role="builder", public=new_signing_key()[1]),
        TrustedKey(name="boss", role="promoter", public=public),
    )
    policy = SignaturePolicy(require_signatures=True, trusted_keys=keys)
    act(log, 0)  # before they were asked for
    strict = ArtifactStore(local.backend, None, Signatures(policy, {}))
    asking = ActLog(strict, "quickstart.offers")
    with pytest.raises(UnsignedContent):
        asking.head()
    able = ArtifactStore(local.backend, None, Signatures(policy, {"CHURN_PROMOTER_KEY": private.decode()}))
    assert sign_store(able, vouch=True) == (1, [])
    assert asking.head().seq == 1
    with pytest.raises(InvalidSetting, match="CHURN_PROMOTER_KEY: not set"):
        act(asking, 1)
    act(ActLog(able, "quickstart.offers"), 1, "resume")
    assert [each.kind for each in asking.history()] == ["stop", "resume"]


def test_looks_are_kept_by_day_newest_first(local):
    for minutes, who in enumerate(("anna", "ben", "anna")):
        at = NOW + timedelta(minutes=minutes)
        note_access(
            local.backend, "quickstart", AccessRecord(who=who, what="customer", whom=f"c{minutes}", at=at)
        )
    found = looks_on(local.backend, "quickstart", NOW.date())
    assert [(each.who, each.whom) for each in found] == [("anna", "c2"), ("ben", "c1"), ("anna", "c0")]
    assert len(looks_on(local.backend, "quickstart", NOW.date(), most=1)) == 1
    assert looks_on(local.backend, "quickstart", (NOW + timedelta(days=1)).date()) == []


def test_a_whole_store_is_verified_and_copied_with_them(local, log, tmp_path):
    act(log, 0)
    note_access(local.backend, "quickstart", AccessRecord(who="anna", what="customer", whom="c", at=NOW))
    found = verify_store(local, readers=READERS)
    assert (found.problems, found.foreign, found.records, found.others) == ([], [], 1, 1)
    copy = ArtifactStore(LocalBackend(tmp_path / "copy"))
    assert copy_store(local, copy, lambda *_: None).problems == []
    assert ActLog(copy, "quickstart.offers").history() == log.history()
    path = file_of(local, 1)
    path.chmod(0o644)
    path.write_text(json.dumps({"schema_version": 1}))
    assert any("acts/quickstart.offers" in each for each in verify_store(local, readers=READERS).problems)
