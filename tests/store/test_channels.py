"""Promotion and rollback on a sound store: the rules, the conflicts, the log. On every backend."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_cases import NOW, Faulty, act, days, overwrite, promote, published_line

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.channels import Channel, channel_names
from churn_assets.store.errors import (
    ChannelConflict,
    CorruptArtifact,
    InvalidName,
    InvalidSetting,
    ObjectMissing,
    PromotionRefused,
    RecordsLost,
)
from churn_assets.store.local import LocalBackend
from churn_assets.store.marks import SeenRecords


@pytest.fixture
def refs(store: ArtifactStore, tmp_path: Path) -> list[ArtifactRef]:
    return [published_line(store, tmp_path / str(tag), tag) for tag in (1.0, 2.0, 3.0)]


def test_a_channel_starts_empty(store: ArtifactStore) -> None:
    assert Channel(store, "champion").head() is None
    assert Channel(store, "champion").history() == []


def test_the_newest_record_leads_and_the_log_tells_the_story(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    promote(store, refs[0])
    promote(store, refs[1], reason="better")
    act("rollback", store, refs[0], reason="complaints")
    channel = Channel(store, "champion")
    head = channel.head()
    assert head is not None
    assert (head.ref, head.action, head.seq) == (refs[0], "rollback", 3)
    assert [(r.release, r.previous, r.reason) for r in channel.history()] == [
        (str(refs[0]), None, "gates hold"),
        (str(refs[1]), str(refs[0]), "better"),
        (str(refs[0]), str(refs[1]), "complaints"),
    ]
    assert head.at == NOW.replace(microsecond=0)


def test_channels_do_not_see_each_other(store: ArtifactStore, refs: list[ArtifactRef]) -> None:
    promote(store, refs[0])
    promote(store, refs[1], channel="champion-b")
    assert [record.release for record in Channel(store, "champion").history()] == [str(refs[0])]


@pytest.mark.parametrize(
    ("expected_seq", "found"), [(0, "found record 1 by ada"), (2, "no record 2"), (7, "no record 7")]
)
def test_a_decision_on_another_head_conflicts(
    expected_seq: int, found: str, store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    promote(store, refs[0])
    with pytest.raises(ChannelConflict, match=found):
        promote(store, refs[1], expected_seq=expected_seq)
    assert len(Channel(store, "champion").history()) == 1


def test_a_retry_with_its_nonce_finds_its_own_record_even_after_others_moved_on(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    first = promote(store, refs[0], expected_seq=0, nonce="act 1")
    assert promote(store, refs[0], expected_seq=0, nonce="act 1") == first
    assert promote(store, refs[0], expected_seq=1, nonce="act 1") == first
    promote(store, refs[1])
    assert promote(store, refs[0], expected_seq=0, nonce="act 1") == first
    assert len(Channel(store, "champion").history()) == 2


@pytest.mark.parametrize(("age", "allowed"), [(0, True), (7, True), (7.01, False), (-1, True)])
def test_a_first_promotion_comes_within_seven_days(
    age: float, allowed: bool, store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    now = NOW.replace(microsecond=0) + days(age)
    if allowed:
        assert promote(store, refs[0], now=now).seq == 1
    else:
        with pytest.raises(
            PromotionRefused, match=r"7 days ago and never promoted, expected .* within 7 days"
        ):
            promote(store, refs[0], now=now)


def test_a_version_that_led_any_channel_may_be_promoted_at_any_age(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    promote(store, refs[0], channel="challenger")
    promote(store, refs[1])
    assert promote(store, refs[0], now=NOW + days(100)).seq == 2
    assert promote(store, refs[1], now=NOW + days(100)).seq == 3


def test_a_rollback_goes_only_to_a_version_that_has_led_this_channel(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    promote(store, refs[0])
    promote(store, refs[1], channel="challenger")
    with pytest.raises(PromotionRefused, match="has never led it"):
        act("rollback", store, refs[1])
    assert act("rollback", store, refs[0], now=NOW + days(400)).seq == 2


def test_a_rollback_works_while_the_newest_release_is_broken(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    promote(store, refs[0])
    promote(store, refs[1])
    overwrite(backend, f"{refs[1].prefix}about.json", b"broken")
    assert act("rollback", store, refs[0]).ref == refs[0]


def test_a_broken_or_missing_version_is_not_promoted(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    overwrite(backend, f"{refs[0].prefix}about.json", b"broken")
    with pytest.raises(CorruptArtifact, match=r"about\.json"):
        promote(store, refs[0])
    with pytest.raises(ObjectMissing):
        promote(store, ArtifactRef("quickstart", "release", "20261122T124501Z-0123456789ab"))
    assert Channel(store, "champion").head() is None


def test_a_gap_in_the_log_is_refused(store: ArtifactStore, refs: list[ArtifactRef], backend: Backend) -> None:
    for ref in refs:
        promote(store, ref)
    backend.delete("channels/champion/000000000002.json")
    for use in (Channel(store, "champion").head, Channel(store, "champion").history):
        with pytest.raises(CorruptArtifact, match=r"000000000003\.json: found a gap"):
            use()


@pytest.mark.parametrize(
    "name",
    [
        *("latest.json", ".DS_Store", "000000000001.json~", ".000000000001.json.swp", "000000000000.json"),
        *(
            "1.json",
            "0000000000001.json",
            "backup/000000000002.json",
            "Kopie von 000000000001.json",
            "\udcff",
        ),
    ],
)
def test_a_foreign_file_beside_the_log_is_no_record_and_stops_nothing(
    name: str, root: Path, tmp_path: Path
) -> None:
    store = ArtifactStore(LocalBackend(root))
    refs = [published_line(store, tmp_path / str(tag), tag) for tag in (1.0, 2.0)]
    promote(store, refs[0])
    overwrite(root, f"channels/champion/{name}", b"{}")
    overwrite(root, f"channels/{name}", b"{}")
    assert set(channel_names(store)) - {"backup"} == {"champion"}
    assert promote(store, refs[1]).seq == 2
    assert act("rollback", store, refs[0]).seq == 3
    channel = Channel(store, "champion")
    assert channel.head() == channel.history()[-1]


def test_a_folder_where_the_next_record_belongs_is_named_and_nothing_is_written(
    root: Path, tmp_path: Path
) -> None:
    store = ArtifactStore(LocalBackend(root))
    ref = published_line(store, tmp_path / "s", 1.0)
    (root / "channels" / "champion" / "000000000001.json").mkdir(parents=True)
    with pytest.raises(CorruptArtifact, match=r"000000000001\.json: found a symbolic link or another kind"):
        promote(store, ref)
    (root / "channels" / "champion" / "000000000001.json").rmdir()
    assert promote(store, ref).seq == 1


@given(reason=st.text(alphabet=st.characters(exclude_categories=[])), actor=st.text())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_reason_the_record_is_written_once_and_the_log_reads(
    reason: str, actor: str, root: Path, tmp_path: Path
) -> None:
    with TemporaryDirectory() as name:
        store = ArtifactStore(LocalBackend(Path(name) / "store"))
        ref = published_line(store, Path(name) / "s", 1.0)
        record = promote(store, ref, reason=reason, actor=actor)
        assert Channel(store, "champion").history() == [record]


def test_a_reason_that_no_reader_would_take_is_refused_before_it_is_written(
    store: ArtifactStore, refs: list[ArtifactRef]
) -> None:
    with pytest.raises(InvalidSetting, match="reason: found 10001 characters, expected at most 10000"):
        promote(store, refs[0], reason="x" * 10_001)
    assert Channel(store, "champion").head() is None


def test_a_deleted_newest_record_is_seen_from_anywhere(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    promote(store, refs[0])
    promote(store, refs[1])
    backend.delete("channels/champion/000000000002.json")
    channel = Channel(store, "champion")
    for use in (channel.head, channel.history, lambda: act("rollback", store, refs[0])):
        with pytest.raises(RecordsLost, match=r"0002\.json: found nothing, expected a record: 2 were there"):
            use()
    assert channel.forget_lost() == 1
    assert channel.head().ref == refs[0]
    assert promote(store, refs[1]).seq == 2


def test_a_record_that_comes_while_the_log_is_listed_is_none_that_was_lost(
    store: ArtifactStore, refs: list[ArtifactRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(store, refs[0])
    listed, channel, coming = Channel._keys, Channel(store, "champion"), [refs[1]]

    def listed_just_before(log: Channel) -> list[str]:
        keys = listed(log)
        if coming:
            promote(store, coming.pop())
        return keys

    monkeypatch.setattr(Channel, "_keys", listed_just_before)
    head = channel.head()
    assert head is not None
    assert head.ref == refs[0]
    assert [record.ref for record in channel.history()] == refs[:2]


def test_who_deletes_the_marks_too_is_seen_by_every_machine_that_saw_the_record(
    backend: Backend, refs: list[ArtifactRef], tmp_path: Path
) -> None:
    store = ArtifactStore(backend, seen=SeenRecords(tmp_path / "seen"))
    promote(store, refs[0])
    promote(store, refs[1])
    for key in ("channels/champion/000000000002.json", "marks/champion/000000000002.json"):
        backend.delete(key)
    assert Channel(ArtifactStore(backend), "champion").head().ref == refs[0]
    with pytest.raises(RecordsLost, match="2 were there, as this machine has seen"):
        Channel(store, "champion").head()
    promote(ArtifactStore(backend), refs[2])  # and puts another in its place
    for use in (Channel(store, "champion").head, Channel(store, "champion").history):
        with pytest.raises(RecordsLost, match="found sha256"):
            use()
    Channel(store, "champion").forget_lost()
    assert Channel(store, "champion").head().ref == refs[2]


def test_a_machine_that_cannot_remember_says_so_and_goes_on(
    backend: Backend, refs: list[ArtifactRef], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "seen").write_text("a file where a folder should be")
    store = ArtifactStore(backend, seen=SeenRecords(tmp_path / "seen"))
    assert promote(store, refs[0]).seq == 1
    assert "it will prove nothing" in caplog.text


@pytest.mark.parametrize(
    "kept",
    ["", "[]", '{"seq": -5, "sha256": "x"}', '{"seq": 1e400, "sha256": "x"}', '{"seq": null}', "[" * 100_000],
)
def test_what_is_no_memory_proves_nothing_and_is_told(
    kept: str, backend: Backend, refs: list[ArtifactRef], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = ArtifactStore(backend, seen=SeenRecords(tmp_path / "seen"))
    promote(store, refs[0])
    store.seen.path("champion").write_text(kept)
    assert Channel(store, "champion").head().seq == 1
    assert "it proves nothing" in caplog.text


def test_a_record_rewritten_with_a_valid_seal_breaks_the_chain(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    for ref in refs:
        promote(store, ref)
    channel = Channel(store, "champion")
    forged = channel.history()[0].model_copy(update={"reason": "nothing to see"})
    overwrite(backend, "channels/champion/000000000001.json", forged.to_bytes())
    with pytest.raises(CorruptArtifact, match=r"channel champion: .*000000000002\.json: found a link to"):
        channel.history()


def test_a_record_copied_to_another_place_is_refused(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    promote(store, refs[0])
    data = backend.read("channels/champion/000000000001.json")
    overwrite(backend, "channels/other/000000000001.json", data)
    overwrite(backend, "channels/champion/000000000002.json", data)
    with pytest.raises(CorruptArtifact, match="found record 1 of champion, expected record 1 of other"):
        Channel(store, "other").head()
    with pytest.raises(CorruptArtifact, match="found record 1 of champion, expected record 2 of champion"):
        Channel(store, "champion").head()


def test_a_channel_name_stays_in_its_folder(store: ArtifactStore) -> None:
    with pytest.raises(InvalidName, match="channel name"):
        Channel(store, "../artifacts")


def test_whoever_polls_learns_of_a_new_record_with_one_question(
    backend: Backend, refs: list[ArtifactRef]
) -> None:
    asked = Faulty(backend)
    channel = Channel(ArtifactStore(asked), "champion")
    assert not channel.moved_since(0)
    promote(ArtifactStore(backend), refs[0])
    assert channel.moved_since(0)
    assert not channel.moved_since(1)
    assert len(asked.operations) == 3


def test_whoever_knows_a_record_walks_on_from_there(backend: Backend, refs: list[ArtifactRef]) -> None:
    promote(ArtifactStore(backend), refs[0])
    asked = Faulty(backend)
    channel = Channel(ArtifactStore(asked), "champion")
    for ref in refs[1:]:
        promote(ArtifactStore(backend), ref)
    assert (
        channel.head(since=1) == channel.head(since=3) == Channel(ArtifactStore(backend), "champion").head()
    )
    assert not any(operation.startswith("list") for operation in asked.operations)


def test_a_long_log_is_verified_whole(
    store: ArtifactStore, refs: list[ArtifactRef], backend: Backend
) -> None:
    for number in range(20):
        promote(store, refs[number % 2])
    channel = Channel(store, "champion")
    assert [record.seq for record in channel.history()] == list(range(1, 21))
    assert channel.has_led(refs[0])
    assert not channel.has_led(refs[2])
    overwrite(
        backend, "channels/champion/000000000003.json", backend.read("channels/champion/000000000004.json")
    )
    with pytest.raises(CorruptArtifact, match="found record 4 of champion, expected record 3 of champion"):
        channel.history()
