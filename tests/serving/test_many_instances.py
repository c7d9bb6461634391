"""The decision logs of many servers go to one bucket at once: every record once, whoever is killed on the way."""

import multiprocessing
import os
import signal
from datetime import UTC, datetime

from churn_assets.offers.segments import DECISIONS, Segment, frame, read_sealed, recover
from churn_assets.offers.stored_log import stored_segments
from churn_assets.serving.shipping import ship
from churn_assets.store.gcs import GcsBackend

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
INSTANCES, SEGMENTS, RECORDS = 8, 6, 25


def serve(number, folder, bucket, dies):
    """What a server does with its log: writes, seals, ships; one dies in the middle of a segment."""
    backend = GcsBackend(bucket, "churn")
    for each in range(SEGMENTS):
        segment = Segment(folder, NOW)
        frames = [frame(DECISIONS, f"{number}-{each}-{record}".encode()) for record in range(RECORDS)]
        segment.append(frames, durable=True)
        if dies and each == SEGMENTS - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        segment.seal()
        ship(folder, backend, "shop")


def come_back(folder, bucket):
    recover(folder)
    ship(folder, GcsBackend(bucket, "churn"), "shop")


def test_eight_servers_ship_to_one_bucket_exactly_once(bucket, tmp_path):
    fork = multiprocessing.get_context("fork")
    folders = [tmp_path / f"instance-{number}" for number in range(INSTANCES)]
    servers = [
        fork.Process(target=serve, args=(number, folder, bucket, number % 4 == 3))
        for number, folder in enumerate(folders)
    ]
    for each in servers:
        each.start()
    for each in servers:
        each.join(300)
    assert sorted(each.exitcode for each in servers) == [-9, -9, 0, 0, 0, 0, 0, 0]
    # Whoever takes over a killed server's disk, twice at once: two may think that they are the one.
    heirs = [fork.Process(target=come_back, args=(folders[3 + 4 * (n // 2)], bucket)) for n in range(4)]
    for each in heirs:
        each.start()
    for each in heirs:
        each.join(300)
    backend = GcsBackend(bucket, "churn")
    keys = stored_segments(backend, "shop")
    found = [
        record.payload.decode()
        for key in keys
        for record in read_sealed(backend.read(key), key.rpartition("/")[2].partition(".")[0])
    ]
    everything = [
        f"{number}-{each}-{record}"
        for number in range(INSTANCES)
        for each in range(SEGMENTS)
        for record in range(RECORDS)
    ]
    assert sorted(found) == sorted(everything)
