"""Signatures: what nobody signed who may is not loaded, judged, promoted or served, whoever owns the bucket."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from shelf import NOTE, publish_note
from signed_store import BUILDER, KEYS, PROMOTER, environment, signed, trusted
from store_cases import NOW, LineFormat, act, days, overwrite, promote, published_line

from churn_assets.store.acts import ActLog
from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import canonical_json, seal, sha256_bytes, unseal
from churn_assets.store.channels import Channel
from churn_assets.store.erasures import file_places, replace
from churn_assets.store.errors import ContentError, InvalidSetting, ObjectMissing, UnsignedContent
from churn_assets.store.gcs import GcsBackend
from churn_assets.store.local import LocalBackend
from churn_assets.store.manifest import Manifest, mint_version
from churn_assets.store.marks import SeenRecords
from churn_assets.store.resigning import sign_store
from churn_assets.store.retention import collect, review
from churn_assets.store.signatures import SIGNATURES, SignaturePolicy, Signatures, new_signing_key
from churn_assets.store.transfer import copy_store
from churn_assets.store.verify import verify_store

REPORT = {"gates": [{"name": "sound", "figure": 1.0}]}


@pytest.fixture
def store(backend: Backend) -> ArtifactStore:
    return signed(backend)


@pytest.fixture
def ref(store: ArtifactStore, tmp_path: Path) -> ArtifactRef:
    found = published_line(store, tmp_path / "s", 1.0)
    store.add_gate_report(found, "sound", REPORT)
    promote(store, found)
    return found


def test_what_is_signed_is_loaded_judged_and_leads(store: ArtifactStore, ref: ArtifactRef) -> None:
    head = Channel(store, "champion").head()
    assert head is not None
    assert head.ref == ref
    assert store.load(ref, LineFormat())["about"] == {"tag": 1.0}
    assert store.gate_reports(ref) == {"sound": REPORT}
    found = verify_store(store)
    assert found.problems == []
    assert found.signed


def test_a_reader_needs_no_private_key(backend: Backend, ref: ArtifactRef) -> None:
    reader = signed(backend, given={})
    assert reader.load(ref, LineFormat())["about"] == {"tag": 1.0}
    assert [record.release for record in Channel(reader, "champion").history()] == [str(ref)]


def test_a_signature_is_a_dsse_envelope_around_an_in_toto_statement_that_other_tools_read(
    store: ArtifactStore, ref: ArtifactRef, backend: Backend, tmp_path: Path
) -> None:
    (key,) = backend.list(f"{SIGNATURES}{ref.manifest_key}/")
    envelope = json.loads(backend.read(key))
    payload = base64.b64decode(envelope["payload"])
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": ref.manifest_key, "digest": {"sha256": sha256_bytes(backend.read(ref.manifest_key))}}
    ]
    kind = envelope["payloadType"].encode()
    (tmp_path / "signed").write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    (tmp_path / "public.der").write_bytes(base64.b64decode(BUILDER[1]))
    done = subprocess.run(
        ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public.der", "-keyform", "DER", "-rawin",
         "-in", "signed", "-sigfile", "sig"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Success" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "CHURN_BUILDER_KEY: not set, expected the private key of a builder"),
        (environment(builder=new_signing_key()), "found a key that is not in store.trusted_keys"),
        (
            environment(builder=PROMOTER),
            "found key 'promoter' of a promoter, expected that of a trusted builder",
        ),
        ({"CHURN_BUILDER_KEY": "no key"}, "CHURN_BUILDER_KEY: its value is no PEM"),
    ],
)
def test_nothing_is_committed_that_could_not_be_signed(
    given: dict[str, str], message: str, backend: Backend, tmp_path: Path
) -> None:
    store = signed(backend, given=given)
    with pytest.raises(InvalidSetting, match=message):
        published_line(store, tmp_path / "s", 1.0)
    assert store.versions("quickstart", "risk_model") == []


def test_a_builder_promotes_nothing_and_a_promoter_builds_nothing(
    backend: Backend, ref: ArtifactRef, tmp_path: Path
) -> None:
    builder = signed(backend, given=environment(promoter=None))
    newer = published_line(builder, tmp_path / "t", 2.0)
    with pytest.raises(InvalidSetting, match="CHURN_PROMOTER_KEY: not set"):
        promote(builder, newer)
    promoter = signed(backend, given=environment(builder=None))
    with pytest.raises(InvalidSetting, match="CHURN_BUILDER_KEY: not set"):
        promoter.add_gate_report(ref, "other", REPORT)
    assert promote(promoter, newer).seq == 2


def test_a_key_may_be_named_by_its_file(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(BUILDER[0])
    store = signed(backend, given={"CHURN_BUILDER_KEY": f"@{tmp_path / 'key.pem'}"})
    assert published_line(store, tmp_path / "s", 1.0)


def test_keys_change_without_a_break(backend: Backend, ref: ArtifactRef, tmp_path: Path) -> None:
    second = new_signing_key()
    both = (*KEYS, trusted("second", "builder", second))
    store = signed(backend, both, environment(builder=second))
    newer = published_line(store, tmp_path / "t", 2.0)
    for reader in (store, signed(backend, both, {})):
        assert reader.load(ref, LineFormat())
        assert reader.load(newer, LineFormat())
    with pytest.raises(UnsignedContent):
        signed(backend).load(newer, LineFormat())


def test_nothing_that_a_revoked_key_signed_is_trusted_until_somebody_signs_it_anew(
    backend: Backend, ref: ArtifactRef
) -> None:
    second = new_signing_key()
    rotated = (
        trusted("builder", "builder", BUILDER, revoked=True),
        KEYS[1],
        trusted("second", "builder", second),
    )
    store = signed(backend, rotated, environment(builder=second))
    with pytest.raises(UnsignedContent, match="a signature by key 'builder', which is revoked"):
        store.load(ref, LineFormat())
    signed_now, refused = sign_store(store, vouch=False)
    assert (signed_now, len(refused)) == (1, 2)  # the record; manifest and report are nobody's now
    assert sign_store(store, vouch=True) == (3, [])
    assert store.load(ref, LineFormat())
    assert verify_store(store).problems == []


def test_before_a_key_is_revoked_all_it_signed_is_signed_by_the_next(
    backend: Backend, ref: ArtifactRef
) -> None:
    second = new_signing_key()
    both = (*KEYS, trusted("second", "builder", second))
    assert sign_store(signed(backend, both, environment(second)), vouch=False) == (3, [])
    rotated = (trusted("builder", "builder", BUILDER, revoked=True), *both[1:])
    assert signed(backend, rotated, {}).load(ref, LineFormat())


def test_an_unsigned_store_is_adopted_by_who_vouches_for_it_and_only_where_it_is_whole(
    backend: Backend, tmp_path: Path
) -> None:
    plain = ArtifactStore(backend)
    whole, broken = (published_line(plain, tmp_path / str(tag), tag) for tag in (1.0, 2.0))
    overwrite(backend, f"{broken.prefix}about.json", b"broken")
    promote(plain, whole)
    store = signed(backend)
    with pytest.raises(
        UnsignedContent, match="found no signature by a trusted key, expected one by a trusted"
    ):
        Channel(store, "champion").head()
    _, refused = sign_store(store, vouch=True)
    assert len(refused) == 1
    assert str(broken) in refused[0]
    assert store.load(whole, LineFormat())
    with pytest.raises(UnsignedContent):
        store.manifest(broken)


def test_a_store_that_asks_for_nothing_still_signs_with_the_keys_it_is_given(
    backend: Backend, tmp_path: Path
) -> None:
    policy = SignaturePolicy(trusted_keys=KEYS)
    store = ArtifactStore(backend, None, Signatures(policy, environment()))
    ref = published_line(store, tmp_path / "s", 1.0)
    assert signed(backend).load(ref, LineFormat())
    published_line(ArtifactStore(backend), tmp_path / "t", 2.0)
    found = verify_store(store)
    assert not found.signed
    assert found.problems == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trusted_keys": KEYS[:1]}, "found trusted keys of builder, expected a builder's and a promoter's"),
        ({"trusted_keys": (*KEYS, KEYS[0])}, "found name 'builder' twice"),
        ({"trusted_keys": (*KEYS, trusted("again", "builder", BUILDER))}, "found id .* twice"),
    ],
)
def test_a_policy_that_protects_nothing_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SignaturePolicy.model_validate({"require_signatures": True, **change})


@pytest.mark.parametrize("public", ["", "AAAA", "not base64!", base64.b64encode(BUILDER[0]).decode()])
def test_what_is_no_public_key_is_refused(public: str) -> None:
    with pytest.raises(ValueError, match="expected a public key as one line of base64"):
        trusted("x", "builder", (b"", public))


def test_a_copy_keeps_its_signatures(store: ArtifactStore, ref: ArtifactRef, tmp_path: Path) -> None:
    target = LocalBackend(tmp_path / "target")
    copy_store(store, ArtifactStore(target), lambda *_: None)
    assert signed(target, given={}).load(ref, LineFormat())
    assert verify_store(signed(target, given={})).problems == []


def test_retention_takes_the_signatures_of_what_it_takes(backend: Backend) -> None:
    store = signed(backend)
    old = publish_note(store, "customers", NOW - days(40))
    publish_note(store, "customers", NOW - days(20))
    assert backend.list(f"{SIGNATURES}{old.prefix}")
    collect(store, review(store, NOW))
    assert backend.list(f"{SIGNATURES}{old.prefix}") == []


def test_a_record_that_a_signature_knows_of_is_missed_even_where_all_marks_are_gone(
    store: ArtifactStore, ref: ArtifactRef, backend: Backend, tmp_path: Path
) -> None:
    newer = published_line(store, tmp_path / "t", 2.0)
    promote(store, newer)
    published_line(store, tmp_path / "u", 3.0)
    for folder in ("channels/champion", "marks/champion", f"{SIGNATURES}channels/champion"):
        for key in backend.list(f"{folder}/"):
            if "000000000002" in key:
                backend.delete(key)
    (problem,) = verify_store(signed(backend, given={})).problems
    assert "channel champion: found 1 records, expected at least 2: so many were there when" in problem


def test_verifying_needs_no_training_library_and_no_orchestrator() -> None:
    code = "import sys, churn_assets.store.verify, churn_assets.store.location; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "dagster", "sklearn"} & set(done.stdout.split())
    assert "cryptography" in done.stdout.split()


# -- the thief: somebody who may write everything, knows the code, and has no private key


class Thief:
    """Changes a signed store so that all digests, seals and links agree again."""

    def __init__(self, backend: Backend, random: np.random.Generator) -> None:
        self.backend = backend
        self.random = random
        self.plain = ArtifactStore(backend)

    def put(self, key: str, data: bytes) -> None:
        overwrite(self.backend, key, data)

    def head(self) -> tuple[str, dict[str, object]]:
        key = self.backend.list("channels/champion/")[-1]
        return key, unseal(self.backend.read(key), file=key, schema_version=1)

    def resealed_record(self) -> None:
        """Another release, actor or reason in the newest record."""
        key, record = self.head()
        releases = [str(ref) for ref in self.plain.versions("shelf", "release")]
        field, value = [
            ("release", str(self.random.choice(releases))),
            ("actor", "mallory"),
            ("reason", "trust me"),
        ][self.random.integers(3)]
        record[field] = value if record[field] != value else "shelf/release/20260101T000000Z-0123456789ab"
        self.put(key, seal(record))

    def forged_record(self) -> None:
        """One record more, chained as it should be, to a version that is really there."""
        promote(self.plain, self.some_release(), now=NOW)

    def rewritten_file(self) -> None:
        """Other bytes, with a manifest and a version that fit them, put in the leader's place."""
        ref = self.leader()
        manifest = Manifest.from_bytes(self.backend.read(ref.manifest_key), file="")
        evil = canonical_json(f"evil {self.random.integers(1 << 30)}")
        entry = manifest.files[0].model_copy(update={"size": len(evil), "sha256": sha256_bytes(evil)})
        changed = manifest.model_copy(
            update={"files": (entry,), "signature": {"length": len(json.loads(evil))}}
        )
        new = ArtifactRef(ref.experiment, ref.asset, mint_version(changed.digest, manifest.created_at))
        self.put(f"{new.prefix}{entry.path}", evil)
        self.put(new.manifest_key, changed.to_bytes())
        key, record = self.head()
        self.put(key, seal({**record, "release": str(new)}))

    def moved_signature(self) -> None:
        """The signatures of an honest version beside a forged record or manifest."""
        self.rewritten_file() if self.random.integers(2) else self.resealed_record()
        key, _ = self.head()
        donors = self.backend.list(SIGNATURES)
        data = self.backend.read(str(self.random.choice(donors)))
        ref = ArtifactRef.parse(str(self.head()[1]["release"]))
        for place in (key, ref.manifest_key):
            with suppress(ObjectMissing):
                digest = sha256_bytes(self.backend.read(place))[:16]
                for signer in KEYS:
                    self.put(f"{SIGNATURES}{place}/{signer.id}-{digest}.json", data)

    def own_key(self) -> None:
        """Everything re-signed with a key of the thief's, under the names of trusted ones."""
        mine = new_signing_key()
        own = trusted("mine", "promoter", mine)
        self.resealed_record()
        key, _ = self.head()
        policy = SignaturePolicy(trusted_keys=(own,))
        Signatures(policy, environment(promoter=mine)).sign(self.backend, key, self.backend.read(key))
        (made,) = [each for each in self.backend.list(f"{SIGNATURES}{key}/") if own.id in each]
        self.put(made.replace(own.id, KEYS[1].id), self.backend.read(made))

    def truncated(self) -> None:
        """The newest record gone, with its mark and signatures: an older release would lead."""
        key, _ = self.head()
        name = key.rpartition("/")[2]
        for place in (key, f"marks/champion/{name}", *self.backend.list(f"{SIGNATURES}{key}/")):
            self.backend.delete(place)

    def replayed(self) -> None:
        """An older signed record under a newer number, or another channel's log in this one's place."""
        keys = self.backend.list("channels/champion/")
        self.again(keys[0], f"channels/champion/{len(keys) + int(self.random.integers(2)):012d}.json")

    def swapped_manifests(self) -> None:
        """Two honest versions with each other's files and manifests."""
        refs = self.plain.versions("shelf", "release")
        ref, other = self.leader(), next(each for each in refs if each != self.leader())
        for file in ("note.json", "manifest.json"):
            self.put(f"{ref.prefix}{file}", self.backend.read(f"{other.prefix}{file}"))
        digest = sha256_bytes(self.backend.read(ref.manifest_key))[:16]
        signature = self.backend.read(f"{SIGNATURES}{other.manifest_key}/{KEYS[0].id}-{digest}.json")
        self.put(f"{SIGNATURES}{ref.manifest_key}/{KEYS[0].id}-{digest}.json", signature)

    def unsigned(self) -> None:
        """The signatures of what leads taken away, or spoilt by one bit."""
        key, _ = self.head()
        place = str(self.random.choice([key, self.leader().manifest_key]))
        for each in self.backend.list(f"{SIGNATURES}{place}/"):
            data = bytearray(self.backend.read(each))
            at = data.index(b'"sig":"') + 10
            data[at] = ord("A") if data[at] != ord("A") else ord("B")
            self.put(each, bytes(data)) if self.random.integers(2) else self.backend.delete(each)

    def lifted_stop(self) -> None:
        """Offers made again: the record of the stop deleted, rewritten as another act, or answered by a forged one."""
        key = self.backend.list(f"acts/{SWITCH}/")[-1]
        stop = unseal(self.backend.read(key), file=key, schema_version=1)
        kind = self.random.integers(4)
        if kind == 0:
            for each in (key, f"marks/{key}", *self.backend.list(f"{SIGNATURES}{key}/")):
                self.backend.delete(each)
        elif kind == 1:
            self.put(key, seal({**stop, "kind": "resume"}))
        elif kind == 2:
            ActLog(self.plain, SWITCH).append("resume", expected_seq=2, actor="mallory", reason="", now=NOW)
        else:  # the first record, which made offers, again behind the stop
            first = self.backend.list(f"acts/{SWITCH}/")[0]
            self.again(first, f"acts/{SWITCH}/000000000003.json")

    def forged_erasure(self) -> None:
        """Another file in the place of the leader's, as if a customer had been erased from it."""
        ref = self.leader()
        (old,) = file_places(self.backend, ref, self.plain.manifest(ref).files)
        with tempfile.TemporaryDirectory() as folder:
            evil = Path(folder) / "evil.json"
            evil.write_bytes(canonical_json(f"evil {self.random.integers(1 << 30)}"))
            replace(self.backend, ref, old, evil, rows=1, now=NOW)

    def again(self, old: str, target: str) -> None:
        """A signed record and its signature in another place."""
        data = self.backend.read(old)
        digest = sha256_bytes(data)[:16]
        signature = self.backend.read(f"{SIGNATURES}{old}/{KEYS[1].id}-{digest}.json")
        self.put(target, data)
        self.put(f"{SIGNATURES}{target}/{KEYS[1].id}-{digest}.json", signature)

    def leader(self) -> ArtifactRef:
        return ArtifactRef.parse(str(self.head()[1]["release"]))

    def some_release(self) -> ArtifactRef:
        return self.plain.versions("shelf", "release")[int(self.random.integers(3))]


KINDS = (
    Thief.resealed_record, Thief.forged_record, Thief.rewritten_file, Thief.moved_signature, Thief.own_key,
    Thief.truncated, Thief.replayed, Thief.swapped_manifests, Thief.unsigned, Thief.lifted_stop, Thief.forged_erasure,
)  # fmt: skip
SWITCH = "champion.offers"


def served(store: ArtifactStore) -> tuple[str, str, str] | None:
    """What a server would answer with that starts now: the release that leads, loaded; and whether it makes offers."""
    head, switch = Channel(store, "champion").head(), ActLog(store, SWITCH).head()
    return None if head is None or switch is None else (head.release, store.load(head.ref, NOTE), switch.kind)


@pytest.fixture(params=["local", "gcs"])
def stolen(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Backend, Path, int]:
    """A place that a thief owns: as readers reach it, where it is on this disk, and how often it is stolen."""
    if request.param == "local":
        return LocalBackend(tmp_path / "stolen"), tmp_path / "stolen", 220
    bucket = request.getfixturevalue("bucket")
    return GcsBackend(bucket), request.getfixturevalue("gcs_server").folder / bucket, 2 * len(KINDS)


def test_of_200_consistent_mutations_by_who_owns_the_bucket_none_is_served_and_each_is_named(
    stolen: tuple[Backend, Path, int], tmp_path: Path
) -> None:
    backend, root, mutations = stolen
    seen = SeenRecords(tmp_path / "seen")
    store = signed(backend, seen=seen)
    for age in (3, 2, 1):
        promote(store, publish_note(store, "release", NOW - days(age)))
    publish_note(store, "release", NOW - days(0.5))
    for seq, kind in enumerate(("resume", "stop")):
        ActLog(store, SWITCH).append(kind, expected_seq=seq, actor="anna", reason="why", now=NOW)
    expected = served(store)
    shutil.copytree(seen.folder, tmp_path / "remembered")
    shutil.copytree(root, tmp_path / "honest")
    random = np.random.default_rng(18)
    unnamed, wrong = [], []
    for number in range(mutations):
        kind = KINDS[number % len(KINDS)]
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "honest", root)
        kind(Thief(backend, random))
        shutil.rmtree(seen.folder)
        shutil.copytree(tmp_path / "remembered", seen.folder)
        reader = signed(backend, given={}, seen=seen)
        try:
            if served(reader) != expected:
                wrong.append(kind.__name__)
        except (ContentError, ObjectMissing):
            pass
        if not verify_store(reader).problems:
            unnamed.append(kind.__name__)
    assert (wrong, unnamed) == ([], [])


def test_a_promoter_is_not_fooled_by_a_forged_gate_report(
    store: ArtifactStore, ref: ArtifactRef, backend: Backend
) -> None:
    ArtifactStore(backend).add_gate_report(ref, "sound", {"gates": [{"name": "sound", "figure": 2.0}]})
    with pytest.raises(UnsignedContent, match=r"gates/sound/000002\.json: found no signature"):
        store.gate_reports(ref)
    assert "gates/sound/000002.json" in " ".join(verify_store(store).problems)


def test_a_rollback_goes_on_beside_an_unsigned_newest_release(
    store: ArtifactStore, ref: ArtifactRef, backend: Backend, tmp_path: Path
) -> None:
    newer = published_line(store, tmp_path / "t", 2.0)
    promote(store, newer)
    for key in backend.list(f"{SIGNATURES}{newer.prefix}"):
        backend.delete(key)
    assert act("rollback", store, ref).ref == ref
    assert os.environ.get("CHURN_BUILDER_KEY") is None
