"""Many processes on one channel: every acknowledged record stands once, and readers never see a hole or a mixture."""

import multiprocessing
import random
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from shelf import NOTE, publish_note
from store_cases import NOW

from churn_assets.store.artifacts import ArtifactRef, ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.errors import ChannelConflict
from churn_assets.store.location import open_store

PROMOTERS, PROMOTIONS, READERS = 8, 100, 2
CHANNEL = "champion"


@pytest.fixture(params=["local", "gcs"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    return f"gs://{request.getfixturevalue('bucket')}/team"


def opened(uri: str) -> ArtifactStore:
    return open_store(uri, root=Path("/"))


def text_of(name: object) -> str:
    return f"note {name}"


def promote_again_and_again(uri: str, release: str, worker: int) -> list[tuple[int, str]]:
    """Body of a promoting process: decide on the head, append, decide anew where another was faster."""
    channel, ref, rng = Channel(opened(uri), CHANNEL), ArtifactRef.parse(release), random.Random(worker)
    acknowledged: list[tuple[int, str]] = []
    seen = 0
    while len(acknowledged) < PROMOTIONS:
        head = channel.head(since=seen)
        seen = head.seq if head else 0
        nonce = f"{worker}-{len(acknowledged)}"
        try:
            record = channel.append(
                "promote",
                ref,
                expected_seq=seen,
                actor=f"worker {worker}",
                reason="its turn",
                gate_report_digest="0" * 64,
                now=NOW,
                nonce=nonce,
            )
        except ChannelConflict:
            time.sleep(rng.uniform(0.0, 0.4))
            continue
        acknowledged.append((record.seq, record.nonce))
    return acknowledged


def read_until_told(uri: str, texts: dict[str, str], done: Event) -> tuple[int, int]:
    """Body of a reader: polls, and reads whatever leads, whole; returns how often it polled and how often it read."""
    store = opened(uri)
    channel, seen, polls, reads = Channel(store, CHANNEL), 0, 0, 0
    while not done.is_set():
        polls += 1
        if not channel.moved_since(seen):
            time.sleep(0.01)
            continue
        head = channel.head(since=seen)
        assert head is not None
        assert head.seq > seen
        seen = head.seq
        assert store.load(head.ref, NOTE) == texts[head.release]
        reads += 1
    return polls, reads


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ProcessPoolExecutor(PROMOTERS + READERS, mp_context=multiprocessing.get_context("spawn")) as found:
        yield found


def test_no_acknowledged_promotion_is_lost_and_no_reader_sees_a_hole(uri: str, pool: Executor) -> None:
    store = opened(uri)
    refs = [
        publish_note(store, "release", NOW - timedelta(hours=n), text=text_of(n)) for n in range(PROMOTERS)
    ]
    texts = {str(ref): text_of(number) for number, ref in enumerate(refs)}
    with multiprocessing.get_context("spawn").Manager() as manager:
        done = manager.Event()
        readers = [pool.submit(read_until_told, uri, texts, done) for _ in range(READERS)]
        promoters = [
            pool.submit(promote_again_and_again, uri, str(ref), worker) for worker, ref in enumerate(refs)
        ]
        try:
            answers = [each.result() for each in promoters]
        finally:
            done.set()
        read = [each.result() for each in readers]
    history = Channel(store, CHANNEL).history()
    acknowledged = sorted(answer for answers_of_one in answers for answer in answers_of_one)
    assert len(acknowledged) == len(set(acknowledged)) == len(history) == PROMOTERS * PROMOTIONS
    assert acknowledged == [(record.seq, record.nonce) for record in history]
    assert [record.release for record in history] == [str(refs[int(record.actor[7:])]) for record in history]
    assert min(reads for _, reads in read) > 1
