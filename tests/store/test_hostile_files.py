"""Files made to exhaust memory or to run code: refused by name, from every backend, in little memory."""

import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_cases import ASSET, NOW, provenance

from churn_assets.store.artifacts import ArtifactStore, StagedArtifact
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import parse_json
from churn_assets.store.digests import digests_of
from churn_assets.store.errors import ContentError, CorruptArtifact, UntrustedContent
from churn_assets.store.formats import (
    ArtifactFormat,
    read_json,
    read_parquet,
    read_tensors,
)
from churn_assets.store.manifest import FileEntry, content_digest

READERS = {".parquet": read_parquet, ".safetensors": read_tensors, ".json": read_json}
ALLOWED_MB = 200


def zeros_that_compress(path: Path) -> None:
    """1.6 GB of zeros in a file of less than 1 MB."""
    zeros = pa.table({"x": np.zeros(10_000_000)})
    with pq.ParquetWriter(path, zeros.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(20):
            writer.write_table(zeros)


def equal_cells(path: Path) -> None:
    """A hundred million equal cells in a few hundred bytes: one dictionary entry, one run."""
    cells = pa.table({"x": pa.array(np.ones(100_000_000, np.int8))})
    pq.write_table(cells, path, compression="none", use_dictionary=True, row_group_size=100_000_000)


def one_text_in_every_row(path: Path) -> None:
    """10 GB of text: 100 kB, and a run of 100,000 rows that say so."""
    rows = pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), pa.array(["x" * 100_000]))
    pq.write_table(pa.table({"x": rows}), path, store_schema=False)


def varint(number: int) -> bytes:
    """A positive integer as Parquet's footer spells it."""
    number *= 2
    spelled = bytearray()
    while number > 127:
        spelled.append(number & 127 | 128)
        number >>= 7
    return bytes([*spelled, number])


def zeros_under_a_modest_footer(path: Path) -> None:
    """As :func:`zeros_that_compress`, with a footer that claims a quarter."""
    zeros_that_compress(path)
    data = path.read_bytes()
    (length,) = struct.unpack("<I", data[-8:-4])
    body, footer = data[: -8 - length], data[-8 - length :]
    claimed = pq.ParquetFile(path).metadata.row_group(0).column(0).total_uncompressed_size
    modest = varint(claimed // 4)
    assert len(modest) == len(varint(claimed))
    assert footer.count(varint(claimed)) >= 20
    path.write_bytes(body + footer.replace(varint(claimed), modest))


def oversized_header(path: Path) -> None:
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", 90 << 20))
        stream.truncate(100 << 20)


BOMBS: dict[str, Callable[[Path], None]] = {
    "zeros.parquet": zeros_that_compress,
    "cells.parquet": equal_cells,
    "text.parquet": one_text_in_every_row,
    "modest.parquet": zeros_under_a_modest_footer,
    "header.safetensors": oversized_header,
}
READ_AND_MEASURE = """
import sys
from pathlib import Path
from churn_assets.store import formats
from churn_assets.store.errors import ContentError

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))

path = Path(sys.argv[1])
read = getattr(formats, sys.argv[2])
import pyarrow.compute, pyarrow.parquet, safetensors.numpy
idle = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
try:
    read(path)
except ContentError as error:
    print(status("VmHWM") - idle, type(error).__name__, error)
"""


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_made_to_exhaust_memory_is_refused_in_little_of_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    BOMBS[name](path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reading = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(path), READERS[path.suffix].__name__],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
        timeout=300,
    )
    megabytes, error, message = reading.stdout.split(maxsplit=2)
    assert (error, message.startswith(f"{name}: found ")) == ("UntrustedContent", True)
    assert float(megabytes) < ALLOWED_MB


def test_a_table_that_repeats_itself_within_reason_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame({"plan": ["monthly contract, electronic check"] * 200_000, "fold": np.int8(3)})
    frame.to_parquet(tmp_path / "t.parquet", compression="zstd")
    assert (tmp_path / "t.parquet").stat().st_size < 20_000
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "t.parquet"), frame)


def test_a_nested_table_and_a_table_by_another_writer_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": [[1, 2], [3]]}), path)
    with pytest.raises(UntrustedContent, match=r"nested column 'x\.list\.element'"):
        read_parquet(path)
    pq.write_table(pa.table({"x": [1]}), path)
    path.write_bytes(path.read_bytes().replace(b"parquet-cpp-arrow", b"somebody-or-other"))
    with pytest.raises(UntrustedContent, match="a table by 'somebody-or-other"):
        read_parquet(path)


def test_any_garbled_table_is_refused_by_name_or_read_in_bounds(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    frame = pd.DataFrame({"id": ["a", "b", None] * 20, "x": np.arange(60.0), "n": np.arange(60)})
    frame.to_parquet(path, compression="zstd")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for _ in range(300):
        data = bytearray(whole)
        data[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        try:
            read_parquet(path)
        except ContentError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith("t.parquet: found ") for message in messages)


class Marked:
    """Leaves a mark if anybody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._mark),)


class OneFile(ArtifactFormat[Path]):
    """Reads the one file of an artifact by its suffix, as the stages' formats do."""

    loader: ClassVar[str] = "one_file/1"

    def load(self, folder: Path) -> Any:
        (path,) = folder.iterdir()
        return READERS[path.suffix](path)

    def save(self, value: Path, folder: Path) -> None:
        raise NotImplementedError

    def signature(self, value: Any) -> dict[str, Any]:
        return {}


def hostile(name: str, folder: Path) -> Path:
    path = folder / name
    if name in BOMBS:
        BOMBS[name](path)
    else:
        path.write_bytes(pickle.dumps(Marked(folder.parent / "exploded")))
    return path


@pytest.mark.parametrize(
    "name",
    ["pickle.parquet", "pickle.safetensors", "pickle.json", "text.parquet", "header.safetensors"],
)
def test_a_hostile_file_under_a_sound_manifest_is_refused_and_runs_nothing(
    name: str, backend: Backend, tmp_path: Path
) -> None:
    folder = tmp_path / "staged"
    folder.mkdir()
    sha256, info = digests_of(hostile(name, folder))
    files = (FileEntry(path=name, size=info.size, sha256=sha256),)
    digest = content_digest(files, OneFile.loader, {})
    staged = StagedArtifact(folder, ASSET, OneFile(), files, {name: info}, {}, None, digest)
    store = ArtifactStore(backend)
    ref = store.publish(staged, provenance(), NOW)
    store.verify(ref)
    with pytest.raises((CorruptArtifact, UntrustedContent), match=f"{ref}: {name}"):
        store.load(ref, OneFile())
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" * 5000])
def test_a_number_beyond_all_bounds_is_no_strict_json(number):
    with pytest.raises(CorruptArtifact, match="unreadable JSON"):
        parse_json(f'{{"size": {number}}}'.encode(), "manifest.json")
