"""A customer is erased: nothing names them any more, everything else verifies and answers as before."""

from __future__ import annotations

import io
import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from kept_project import EXPERIMENT, NOW, PRICE, backend_of, log_of, segment, store_files
from kept_release import of_kept_release

from benchmarks.faults import Fault, Injector, Killed
from churn_assets.customers.format import CUSTOMERS
from churn_assets.message.corpus.data import Preferences
from churn_assets.message.corpus.format import PREFERENCES
from churn_assets.message.text.profile import Profile
from churn_assets.offers.decision_index import DecisionIndex
from churn_assets.offers.format import OFFER_LOG
from churn_assets.offers.live import ServedLog
from churn_assets.offers.segments import (
    SEALED,
    SegmentOrigin,
    frame,
    origin_of,
    sealed_bytes,
    sealed_segments,
)
from churn_assets.offers.stored_log import READERS, earlier_keys, read_segment, segment_key, stored_segments
from churn_assets.privacy.erasure import ErasedPlace, erase
from churn_assets.privacy.search import holds
from churn_assets.privacy.tables import PERSONS
from churn_assets.release.bundle import RELEASE
from churn_assets.release.deciding import load_release
from churn_assets.release.whole import verify_whole
from churn_assets.risk.format import RISK_MODEL
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.erasures import Subjects, replacements
from churn_assets.store.errors import InvalidSetting, RequestRefused, UnsignedContent
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.reference import ArtifactRef
from churn_assets.store.resigning import sign_store
from churn_assets.store.signatures import SignaturePolicy, Signatures
from churn_assets.store.transfer import copy_store
from churn_assets.store.verify import verify_store
from tests.offers.served import decided
from tests.store.signed_store import KEYS, environment

CUSTOMER = "5575-GNVDE"


def newest(store, asset):
    return store.versions(EXPERIMENT, asset)[-1]


def customer_of(store):
    return str(store.load(newest(store, "customers"), CUSTOMERS).ids[7])


def other_of(store):
    return str(store.load(newest(store, "customers"), CUSTOMERS).ids[8])


def erased(store, root, customer, *, logs=(), now=NOW, key=b""):
    place = ErasedPlace(store, root, dict(logs), frozenset({PRICE}))
    names = lambda name: frozenset({name})  # noqa: E731
    return erase(place, customer, names, Subjects(store.backend, key), who="tester", now=now)


@pytest.fixture
def root(tmp_path):
    return of_kept_release(tmp_path / "project")


@pytest.fixture
def store(root):
    return ArtifactStore(backend_of(root))


def naming(folder, name):
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and holds(path, {name})
    ]


def test_a_search_finds_an_id_in_every_form(tmp_path):
    pd.DataFrame({"customer_id": ["Müller 7"], "n": [1]}).to_parquet(
        tmp_path / "t.parquet", compression="zstd"
    )
    (tmp_path / "escaped.json").write_text(json.dumps({"id": "Müller 7"}))
    (tmp_path / "plain.json").write_text(json.dumps({"id": "Müller 7"}, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "nothing.json").write_text("{}")
    pd.DataFrame({"text": ["stay", "Dear Müller 7, stay."]}).to_parquet(tmp_path / "within.parquet")
    pd.DataFrame({"text": ["stay", "Dear Müller 75"]}).to_parquet(tmp_path / "another.parquet")
    assert sorted(naming(tmp_path, "Müller 7")) == [
        "escaped.json",
        "plain.json",
        "t.parquet",
        "within.parquet",
    ]


def test_texts_of_a_customer_go_the_sent_ones_too_and_the_table_is_read_as_before(tmp_path):
    profile = Profile("fiber", 84.0, 3)
    pair = {
        "customer_id": "x",
        "split": "train",
        "prompt": "p",
        "chosen": " a",
        "rejected": " b",
        "arm": "",
        "months": 0.0,
    }
    send = {"customer_id": "x", "split": "train", "prompt": "p", "text": " a", "arm": "", "months": 0.0}
    send |= {"variant": "one", "propensity": 1.0, "accepted": 1, "stayed": 1, "complained": 0}
    rows = pd.DataFrame([pair, pair | {"customer_id": "other"}]).assign(kind="pair", rule="")
    sends = pd.DataFrame([send, send | {"customer_id": "other"}, send | {"customer_id": "third"}])
    people = dict.fromkeys(("x", "other", "third"), profile)
    PREFERENCES.save(Preferences(rows, people, {}, simulated=False, sends=sends), tmp_path)
    for who in ("x", "third"):
        assert "sends.parquet" in PERSONS["preferences"](tmp_path, who, "nobody")
        assert naming(tmp_path, who) == []
    left = PREFERENCES.load(tmp_path)
    assert (
        list(left.frame["customer_id"]) == list(left.sends["customer_id"]) == list(left.profiles) == ["other"]
    )


@pytest.mark.parametrize(
    ("name", "text", "there"),
    [
        ("cust-1", '{"customer_id":"cust-12"}', False),
        ("cust-1", '{"text":"for cust-1, and others"}', True),
        ("42", '{"seq":42,"share":0.42,"id":"142"}', False),
        ("42", '{"customer_id":"42"}', True),
        ("7001234", '{"share":0.7001234,"id":7001234}', True),
        ("7001234", '{"share":0.7001234}', False),
        ("x", "y" * ((1 << 20) - 2) + " x", True),
        ("xx", "y" * ((1 << 20) - 3) + " xxx", False),
        ("xx", "y" * ((1 << 20) - 2) + " xx y", True),
    ],
)
def test_a_part_of_another_id_or_number_is_nobodys_name(tmp_path, name, text, there):
    (tmp_path / "file").write_text(text)
    assert bool(naming(tmp_path, name)) is there


def test_who_is_asked_for_in_another_spelling_is_told_and_not_taken_for_erased(root, store):
    customer = customer_of(store)
    wide = "".join(chr(ord(each) + 0xFEE0) if each.isdigit() else each for each in customer)
    for given in (f" {customer}", customer.lower(), f"{customer}\u200b", wide):
        done = erased(store, root, given)
        assert (done.files, done.segments, done.alike) == ([], [], [customer])
    assert erased(store, root, "nobody of ours").alike == []
    assert erased(store, root, customer).alike == []


def test_after_it_nothing_in_store_log_and_index_names_the_customer_and_all_verifies(root, store):
    customer, other = customer_of(store), other_of(store)
    log_of(store.backend, customer, other)
    before = naming(root / ".churn", customer)
    assert len(before) == 5, "customers, offer log, out-of-fold risks, a golden customer and one segment"

    done = erased(store, root, customer)

    assert done.problems == []
    assert sorted(each.artifact.split("/")[1] for each in done.files) == [
        "customers",
        "offer_log",
        "release",
        "risk_model",
    ]
    assert len(done.segments) == 2, "its decision, and the outcome that was told of it"
    assert naming(root / ".churn", customer) == []
    found = verify_store(store, readers=READERS)
    assert (found.problems, found.foreign) == ([], [])
    assert naming(root / ".churn", other) != []


def test_the_release_loads_and_decides_as_before_without_its_golden_customer(root, store):
    ref = newest(store, "release")
    golden = store.load(ref, RELEASE).bundle.golden
    erased(store, root, customer_of(store))
    bundle, _ = load_release(store, ref)
    assert len(bundle.golden.decisions) == len(golden.decisions) - 1


def test_tables_stay_aligned_and_the_row_is_nobodys(root, store):
    customer = customer_of(store)
    log, risks = (
        store.load(newest(store, a), f) for a, f in (("offer_log", OFFER_LOG), ("risk_model", RISK_MODEL))
    )
    people = store.load(newest(store, "customers"), CUSTOMERS)
    erased(store, root, customer)
    now = store.load(newest(store, "customers"), CUSTOMERS)
    assert len(now) == len(people)
    (nobody,) = set(now.ids) - set(people.ids)
    assert len(store.load(newest(store, "offer_log"), OFFER_LOG)) == len(log)
    known = store.load(newest(store, "risk_model"), RISK_MODEL)
    assert (
        set(known.out_of_fold["customer_id"])
        == set(now.ids)
        == set(risks.out_of_fold["customer_id"]) ^ {customer, nobody}
    )
    theirs = people.frame[people.ids == customer].iloc[0]
    left = now.frame[now.ids == nobody].iloc[0]
    assert any(left[name] != theirs[name] for name in now.schema.names)


def test_evidence_of_decisions_stays_of_nobody(root, store):
    customer, other = customer_of(store), other_of(store)
    log_of(store.backend, customer, other)
    before = frame_of(store)
    erased(store, root, customer)
    after = frame_of(store)
    assert len(after) == len(before) == 2
    kept = ["arm", "propensity", "assigned", "risk", "accepted", "churned", f"feature_{PRICE}"]
    assert after[kept].to_dict("records") == before[kept].to_dict("records")
    assert customer not in set(after["customer_id"])
    assert after["feature_gender"].isna().tolist() == [each != other for each in after["customer_id"]]
    assert not set(after["decision_id"]) >= set(before["decision_id"])


def frame_of(store, folder=None):
    """What is served and known, from the store; or, of a server's own log, as it would be after it was shipped."""
    if folder is not None:
        shutil.rmtree(store.backend.root / "decisions", ignore_errors=True)
        for path in sealed_segments(folder):
            store.backend.create(segment_key(EXPERIMENT, path.stem), path)
    log = ServedLog(store.backend, EXPERIMENT, DecisionIndex(None, PRICE))
    log.refresh()
    frame = pd.concat([chunk.frame for chunk in log.chunks() if len(chunk)], ignore_index=True)
    return frame.sort_values(f"feature_{PRICE}", kind="stable", ignore_index=True)


def test_a_second_erasure_changes_nothing(root, store):
    customer = customer_of(store)
    log_of(store.backend, customer, other_of(store))
    first = erased(store, root, customer)
    keys = store.backend.list("")
    second = erased(store, root, customer)
    assert (second.files, second.segments, second.problems, second.certificate) == ([], [], [], "")
    assert second.before == 1
    assert store.backend.list("") == keys
    certificate = json.loads(store.backend.read(first.certificate))
    assert certificate["by"] == "tester"
    assert customer not in json.dumps(certificate)


def test_what_is_erased_later_in_the_log_is_certified_too(root, store):
    customer = customer_of(store)
    erased(store, root, customer)
    log_of(store.backend, customer, other_of(store))
    assert len(erased(store, root, customer).segments) == 2
    assert len(Subjects(store.backend).certificates(customer)) == 2


def test_segments_on_a_server_are_made_anew_and_what_is_open_is_told(root, store):
    customer = customer_of(store)
    folder = root / ".churn" / "decision_log"
    (folder / SEALED).mkdir(parents=True)
    (folder / "open").mkdir()
    name, data = segment(9, NOW, decided("cc", customer=customer, feature=PRICE))
    (folder / SEALED / f"{name}.log").write_bytes(data)
    (folder / "open" / "x.log").write_bytes(data)
    done = erased(store, root, customer, logs=[(EXPERIMENT, folder)])
    assert naming(folder / SEALED, customer) == []
    (problem,) = done.problems
    assert "x.log: names the customer and is open" in problem


def test_an_erased_customer_is_not_learned_from_again(store, root):
    customer = customer_of(store)
    subjects = Subjects(store.backend)
    assert subjects.among([customer, "b"]) == [False, False]
    erased(store, root, customer)
    assert Subjects(store.backend).among([customer, "b"]) == [True, False]


def test_whoever_lacks_the_secret_of_an_erasure_is_told_and_learns_from_nobody_by_mistake(store, root):
    customer, other, key = customer_of(store), other_of(store), b"a secret of this shop"
    erased(store, root, customer)
    erased(store, root, other, key=key)
    assert Subjects(store.backend, key).among([customer, other, "b"]) == [True, True, False]
    for wrong, found in ((b"", "nothing"), (b"another secret of it", "another one")):
        with pytest.raises(InvalidSetting, match=f"CHURN_PRIVACY_KEY: found {found}"):
            Subjects(store.backend, wrong).among([customer])
    assert verify_store(store, readers=READERS).foreign == []


class CrashError(Exception):
    pass


class CrashingBackend:
    """The process ends before its n-th write or deletion."""

    def __init__(self, backend, after):
        self._backend, self._left = backend, after

    def __getattr__(self, name):
        real = getattr(self._backend, name)
        if name not in ("create", "delete"):
            return real

        def act(*arguments):
            if self._left == 0:
                raise CrashError
            self._left -= 1
            return real(*arguments)

        return act


def test_a_crash_at_any_point_is_finished_by_the_next_erasure(root, store):
    customer = customer_of(store)
    log_of(store.backend, customer, other_of(store))
    steps = 0
    while True:
        try:
            erased(ArtifactStore(CrashingBackend(store.backend, steps % 3 + 1)), root, customer)
            break
        except CrashError:
            steps += 1
    assert steps >= 3
    done = erased(store, root, customer)
    assert done.problems == []
    assert naming(root / ".churn" / "store", customer) == []
    assert verify_store(store, readers=READERS).problems == []
    assert len(frame_of(store)) == 2


def test_wherever_it_was_cut_off_each_decision_is_there_once_with_its_outcome(tmp_path):
    """The new segment is stored before the old one is deleted: between the two both are there."""
    wanted, steps = None, 0
    while wanted is None or steps < wanted:
        store = ArtifactStore(LocalBackend(tmp_path / f"{steps}" / ".churn" / "store"))
        log_of(store.backend, "ann", "bob")
        crashing = CrashingBackend(store.backend, steps)
        cut = True
        try:
            erased(ArtifactStore(crashing), tmp_path, "ann")
            cut = False
        except CrashError:
            erased(store, tmp_path, "ann")
        frame = frame_of(store)
        assert len(frame) == frame["decision_id"].nunique() == 2, steps
        assert frame["churned"].notna().all(), steps
        assert len(stored_segments(store.backend, EXPERIMENT)) == 2, steps
        assert naming(store.backend.root, "ann") == []
        wanted = None if cut else steps
        steps += 1
    assert steps > 5


@pytest.mark.parametrize("operation", ["os.rename", "os.unlink", "os.open", "os.fsync"])
def test_wherever_a_servers_own_log_was_cut_off_each_decision_is_there_once(root, store, operation):
    folder = root / ".churn" / "decision_log"
    kept = folder.with_name("kept")
    (kept / SEALED).mkdir(parents=True)
    for number in (7, 8):
        records = [decided(f"{number}{each}", customer=each, feature=PRICE) for each in ("ann", "bob")]
        name, data = segment(number, NOW, *records)
        (kept / SEALED / f"{name}.log").write_bytes(data)
    call, cut = 0, True
    while cut:
        call += 1
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(store.backend.root / "decisions", ignore_errors=True)  # of the trial before
        shutil.copytree(kept, folder)
        injector = Injector(folder, Fault(operation, call, 0, lasting=False))
        cut = False
        try:
            with injector.active():
                erased(store, root, "ann", logs=[(EXPERIMENT, folder)])
        except Killed:
            cut = True
            injector.let_go()
            erased(store, root, "ann", logs=[(EXPERIMENT, folder)])
        frame = frame_of(store, folder)
        assert len(frame) == frame["decision_id"].nunique() == 4, call
        assert len(list((folder / SEALED).glob("*.log"))) == 2, call
        assert naming(folder / SEALED, "ann") == []
    assert call > 2


@pytest.mark.parametrize("waiting", [False, True])
def test_a_second_erasure_upon_one_that_was_cut_off_finishes_both(tmp_path, waiting):
    """Of the same customer and of another, wherever the first ended; in the store, and in a server's own log too."""
    for who in ("ann", "bob"):
        wanted, steps = None, 0
        while wanted is None or steps < wanted:
            root = tmp_path / who / str(steps)
            store, folder = (
                ArtifactStore(LocalBackend(root / ".churn" / "store")),
                root / ".churn" / "decision_log",
            )
            log_of(store.backend, "ann", "bob")
            (folder / SEALED).mkdir(parents=True)
            logs = [(EXPERIMENT, folder)] if waiting else []
            if waiting:  # what was told of a decision lies on the server, the decision in the store
                (key,) = [key for key in stored_segments(store.backend, EXPERIMENT) if "0002." in key]
                shutil.move(store.backend.root / key, folder / SEALED / key.rpartition("/")[2])
            cut = False
            try:
                erased(ArtifactStore(CrashingBackend(store.backend, steps)), root, "ann", logs=logs)
            except CrashError:
                cut = True
                assert erased(store, root, who, logs=logs).problems == [], (who, steps)
            for each in {"ann", who}:
                assert erased(store, root, each, logs=logs).problems == [], (who, steps)
                assert naming(root / ".churn", each) == [], (who, steps)
            for path in sealed_segments(folder):
                store.backend.create(segment_key(EXPERIMENT, path.stem), path)
            frame = frame_of(store)
            assert len(frame) == frame["decision_id"].nunique() == 2, (who, steps)
            assert frame["churned"].notna().all(), (who, steps)
            assert frame["customer_id"].nunique() == 2, (who, steps)
            assert naming(root / ".churn", "bob") == [] or who == "ann"
            assert verify_store(store, readers=READERS).problems == []
            wanted = None if cut else steps
            steps += 1
        assert steps > (4 if waiting else 5)


def test_a_version_from_which_an_erasure_was_cut_off_is_finished_by_that_of_another_customer(root, store):
    ann, bob = customer_of(store), other_of(store)
    steps, cut = 0, True
    while cut:
        copy = root.with_name(f"copy-{steps}")
        shutil.copytree(root, copy)
        backend = backend_of(copy)
        try:
            erased(ArtifactStore(CrashingBackend(backend, steps)), copy, ann)
            cut = False
        except CrashError:
            ours = ArtifactStore(backend)
            for each in (bob, ann):
                assert erased(ours, copy, each).problems == [], (steps, each)
                assert naming(copy / ".churn", each) == [], (steps, each)
            found = verify_store(ours, readers=READERS)
            assert (found.problems, found.foreign) == ([], []), steps
        shutil.rmtree(copy)
        steps += 1 if steps < 4 else 3
    assert steps > 9


def test_a_segment_that_was_shipped_and_is_still_on_its_server_is_made_anew_once(root, store):
    """A server that was killed between the two leaves both."""
    folder = root / ".churn" / "decision_log"
    (folder / SEALED).mkdir(parents=True)
    names = log_of(store.backend, "ann", "bob")
    for name in names:
        (folder / SEALED / f"{name}.log").write_bytes(
            read_segment(store.backend, segment_key(EXPERIMENT, name))
        )
    done = erased(store, root, "ann", logs=[(EXPERIMENT, folder)])
    assert done.problems == []
    assert sealed_segments(folder) == []
    frame = frame_of(store)
    assert len(frame) == frame["decision_id"].nunique() == 2
    assert frame["churned"].notna().all()


class SlowBackend(LocalBackend):
    """A store on which another process always comes in between."""

    def create(self, key, source):
        time.sleep(0.02)
        return super().create(key, source)

    def delete(self, key):
        time.sleep(0.02)
        super().delete(key)


def test_two_erasures_at_once_leave_each_decision_once(tmp_path):
    store = ArtifactStore(SlowBackend(tmp_path / ".churn" / "store"))
    log_of(store.backend, "ann", "bob")
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda each: erased(store, tmp_path, each), ("ann", "bob")))
    assert [each.problems for each in done] == [[], []]
    frame = frame_of(store)
    assert len(frame) == frame["decision_id"].nunique() == 2
    assert naming(tmp_path, "ann") == naming(tmp_path, "bob") == []


class LockedBackend:
    """A bucket whose retention policy lets nothing be deleted."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def delete(self, key):
        raise RequestRefused(f"{key}: retained until 2027-01-01 by the bucket's policy")


def test_what_a_locked_bucket_keeps_is_told_file_by_file(root, store):
    customer = customer_of(store)
    log_of(store.backend, customer, other_of(store))
    done = erased(ArtifactStore(LockedBackend(store.backend)), root, customer)
    told = "\n".join(done.problems)
    for asset in ("customers", "offer_log", "release", "risk_model", "decision log"):
        assert asset in told
    assert "retained until 2027-01-01" in told
    later = erased(store, root, customer)
    assert later.problems == []
    assert naming(root / ".churn" / "store", customer) == []


def test_in_a_signed_store_a_promoter_signs_what_stands_for_what_was_built(root, store):
    customer = customer_of(store)
    policy = SignaturePolicy(require_signatures=True, trusted_keys=KEYS)
    ours = ArtifactStore(store.backend, None, Signatures(policy, environment()))
    sign_store(ours, vouch=True)
    assert erased(ours, root, customer).problems == []
    found = verify_store(ours, readers=READERS)
    assert (found.problems, found.signed) == ([], True)
    ref = newest(ours, "customers")
    record = replacements(store.backend, ref)["customers.parquet"]
    thief = ArtifactStore(store.backend)
    file = root / "forged"
    file.write_bytes(b"PAR1 something else")
    from churn_assets.store.erasures import file_places, replace

    (old,) = (
        each
        for each in file_places(thief.backend, ref, thief.manifest(ref).files)
        if each.entry == record.now
    )
    replace(thief.backend, ref, old, file, rows=1, now=NOW)
    with pytest.raises(UnsignedContent):
        ours.load(ref, CUSTOMERS)


def test_a_copy_of_the_store_forgets_the_customer_when_it_is_brought_up_to_date(root, store, tmp_path):
    customer, other = customer_of(store), other_of(store)
    log_of(store.backend, customer, other)
    target = ArtifactStore(LocalBackend(tmp_path / "copy"))
    copy_store(store, target, lambda *_: None, earlier_keys)
    for each in (customer, other):
        erased(store, root, each)
    assert copy_store(store, target, lambda *_: None, earlier_keys).problems == []
    assert naming(tmp_path / "copy", customer) == naming(tmp_path / "copy", other) == []
    assert stored_segments(target.backend, EXPERIMENT) == stored_segments(store.backend, EXPERIMENT)
    assert verify_whole(target).problems == []


def test_a_segment_that_was_made_anew_is_still_missed_by_its_old_names(root, store):
    """Each says what its server wrote before; erasing twice changes both names."""
    names = [f"{NOW:%Y%m%dT%H%M%SZ}-{number:016x}" for number in (1, 2)]
    for number, (name, after) in enumerate(zip(names, ("", names[0]), strict=True)):
        records = [decided(f"{number}{each}", customer=each, feature=PRICE) for each in ("ann", "bob")]
        data = sealed_bytes(name, [frame(each.kind, each.payload) for each in records], SegmentOrigin(after))
        store.backend.create(segment_key(EXPERIMENT, name), data)
    for each in ("ann", "bob"):
        assert len(erased(store, root, each).segments) == 2
        assert verify_whole(store).problems == []
    for key in stored_segments(store.backend, EXPERIMENT):
        data = read_segment(store.backend, key)
        if not origin_of(io.BytesIO(data)).after:
            store.backend.delete(key)
    (problem,) = verify_whole(store).problems
    assert f"{names[0]}.log: found nothing, expected a segment" in problem


@pytest.mark.whole
def test_a_customer_is_erased_from_a_bucket(bucket, tmp_path):
    store = ArtifactStore(GcsBackend(bucket, "shop"))
    store_files(store.backend)
    customer = customer_of(store)
    log_of(store.backend, customer, other_of(store))
    done = erased(store, tmp_path, customer)
    assert (done.problems, len(done.files), len(done.segments)) == ([], 4, 2)
    assert verify_store(store, readers=READERS).problems == []
    assert len(stored_segments(store.backend, EXPERIMENT)) == 2


def test_what_was_replaced_needs_its_record(root, store):
    customer = customer_of(store)
    erased(store, root, customer)
    ref = newest(store, "customers")
    assert isinstance(ref, ArtifactRef)
    store.backend.delete(f"{ref.erased_prefix}000001.json")
    assert any(
        "customers.parquet: found nothing" in each for each in verify_store(store, readers=READERS).problems
    )
