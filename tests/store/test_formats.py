"""Each file format comes back bit-equal, is deterministic, and refuses what could run code or crash."""

import json
import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from churn_assets.store.errors import ContentError, CorruptArtifact, UntrustedContent
from churn_assets.store.formats import (
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)


def test_a_renamed_pickle_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    for name, read in (
        ("m.parquet", read_parquet),
        ("m.safetensors", read_tensors),
        ("m.json", read_json),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ContentError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


SHAPES = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(st.characters(categories=["Ll"]), min_size=1, max_size=5),
        st.sampled_from(["<f4", "<f8", ">f8", "<i8", "|u1", "|b1"]).flatmap(
            lambda dtype: arrays(dtype, SHAPES)
        ),
        max_size=3,
    )
)
def test_tensors_come_back_bit_equal_whatever_their_layout(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, np.ndarray]
) -> None:
    path = tmp_path_factory.mktemp("t") / "m.safetensors"
    views = {name: array.T for name, array in tensors.items()}
    write_tensors(views, path)
    loaded = read_tensors(path)
    assert loaded.keys() == views.keys()
    for name, array in views.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].tobytes() == array.astype(array.dtype.newbyteorder("<")).tobytes()


@pytest.mark.parametrize("header", [1 << 62, 1 << 40, 200])
def test_a_safetensors_header_beyond_its_file_is_refused(header: int, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", header) + b"{}")
    with pytest.raises(UntrustedContent, match=f"header of {header} bytes, expected at most 2"):
        read_tensors(path)


def test_a_safetensors_header_larger_than_any_model_needs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", 90 << 20))
        stream.truncate(100 << 20)
    with pytest.raises(UntrustedContent, match=f"expected at most {16 << 20}"):
        read_tensors(path)


@pytest.mark.parametrize("offsets", [[0, 1 << 50], [8, 0], [0, 4]])
def test_safetensors_offsets_outside_the_file_are_refused(offsets: list[int], tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F64", "shape": [1], "data_offsets": offsets}}).encode()
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    with pytest.raises(CorruptArtifact, match="no readable tensors"):
        read_tensors(path)


def test_a_table_comes_back_with_its_types_and_bits(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "customer_id": ["7590-VHVEG", "ü", None],
            "fold": np.array([0, 1, 9], dtype=np.int8),
            "risk": [0.1 + 0.2, np.nan, -0.0],
            "plan": pd.Categorical(["b", "a", None], categories=["b", "a"]),
            "decided_at": pd.to_datetime(["2026-01-01", None, "2026-03-01"], utc=True),
            "accepted": [True, False, True],
        }
    )
    write_parquet(frame, tmp_path / "t.parquet")
    loaded = read_parquet(tmp_path / "t.parquet")
    pd.testing.assert_frame_equal(loaded, frame, check_exact=True)
    assert loaded["risk"].to_numpy().tobytes() == frame["risk"].to_numpy().tobytes()
    write_parquet(loaded, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "t.parquet").read_bytes()


def test_a_table_whose_index_would_be_lost_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows numbered from 0"):
        write_parquet(pd.DataFrame({"a": [1]}, index=["x"]), tmp_path / "t.parquet")


def test_json_comes_back_equal_and_refuses_nan(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True, "ü"], "a": {"x": 1e-300}}
    write_json(value, tmp_path / "v.json")
    assert read_json(tmp_path / "v.json") == value
    assert (tmp_path / "v.json").read_bytes().startswith(b'{"a":')
    with pytest.raises(ValueError, match="JSON"):
        write_json({"x": float("nan")}, tmp_path / "n.json")
