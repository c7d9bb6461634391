"""Each file format comes back bit-equal, is deterministic, and refuses what could run code or crash."""

import hashlib
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)

from churn_assets.store.errors import ContentError, CorruptArtifact, UntrustedContent
from churn_assets.store.formats import (
    read_json,
    read_parquet,
    read_skops,
    read_tensors,
    write_json,
    write_parquet,
    write_skops,
    write_tensors,
)

ROWS = 400


def table(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three numeric columns, one with gaps, and one of category codes; a label that depends on them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(ROWS, 4))
    X[:, 3] = rng.integers(0, 5, ROWS)
    y = (X[:, 0] - 0.5 * (X[:, 3] == 2) + rng.normal(size=ROWS) > 0).astype(int)
    X[::17, 1] = np.nan
    return X, y


def columns() -> ColumnTransformer:
    return ColumnTransformer(
        [
            (
                "smooth",
                make_pipeline(SimpleImputer(), StandardScaler(), SplineTransformer(n_knots=4)),
                [0, 1],
            ),
            ("pairs", make_pipeline(SimpleImputer(add_indicator=True), PolynomialFeatures(2)), slice(0, 3)),
            ("codes", OneHotEncoder(handle_unknown="ignore"), [3]),
            ("plain", "passthrough", [2]),
        ]
    )


def models() -> dict[str, Any]:
    boosting = {"max_iter": 8, "categorical_features": [False, False, False, True], "random_state": 0}
    X, y = table()
    positive = np.exp(np.nan_to_num(X[:, 0]))
    return {
        "boosted risk": HistGradientBoostingClassifier(monotonic_cst=[1, 0, -1, 0], **boosting).fit(X, y),
        "boosted, stopped early": HistGradientBoostingClassifier(
            early_stopping=True, max_features=0.5, **boosting
        ).fit(X, y),
        "boosted, numeric only": HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(X, y),
        "boosted, three classes": HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(
            X, y + (X[:, 3] == 1)
        ),
        **{
            f"boosted {loss}": HistGradientBoostingRegressor(
                loss=loss, quantile=0.5 if loss == "quantile" else None, **boosting
            ).fit(X, positive)
            for loss in ("squared_error", "absolute_error", "poisson", "gamma", "quantile")
        },
        "splines and logit": Pipeline([("columns", columns()), ("logit", LogisticRegression(C=0.1))]).fit(
            X, y
        ),
        "ridge": make_pipeline(SimpleImputer(), Ridge()).fit(X, y),
        "boosting in a pipeline": make_pipeline(
            StandardScaler(), HistGradientBoostingClassifier(max_iter=3, random_state=0)
        ).fit(X, y),
    }


def answers(model: Any, X: np.ndarray) -> bytes:
    predict = getattr(model, "predict_proba", None) or model.predict
    return predict(X).tobytes()


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    return models()


def test_every_allowed_model_answers_bit_equal_after_reading_it_back(
    fitted: dict[str, Any], tmp_path: Path
) -> None:
    X, _ = table(1)
    for number, model in enumerate(fitted.values()):
        write_skops(model, tmp_path / f"{number}.skops")
        assert answers(read_skops(tmp_path / f"{number}.skops"), X) == answers(model, X)


def test_several_models_fit_in_one_file(fitted: dict[str, Any], tmp_path: Path) -> None:
    value = {"members": list(fitted.values())[:2], "weights": (0.5, np.array([1.0, 2.0])), "name": None}
    write_skops(value, tmp_path / "m.skops")
    loaded = read_skops(tmp_path / "m.skops")
    assert loaded["weights"][0] == 0.5
    assert answers(loaded["members"][1], table(1)[0]) == answers(value["members"][1], table(1)[0])


PROGRAM = """
import hashlib, sys
from pathlib import Path
from test_formats import models
from churn_assets.store.formats import write_skops
for number, model in enumerate(models().values()):
    path = Path(sys.argv[1]) / f"{number}.skops"
    write_skops(model, path)
    print(hashlib.sha256(path.read_bytes()).hexdigest())
"""


def test_equal_models_are_equal_bytes_in_every_process(fitted: dict[str, Any], tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": "7"}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    expected = []
    for number, model in enumerate(fitted.values()):
        write_skops(model, tmp_path / f"own{number}.skops")
        expected.append(hashlib.sha256((tmp_path / f"own{number}.skops").read_bytes()).hexdigest())
    assert found == expected


def own_code(X: np.ndarray) -> np.ndarray:
    return X


@pytest.mark.parametrize(
    "model",
    [
        FunctionTransformer(own_code),
        FunctionTransformer(np.log1p),
        RandomForestClassifier(2),
        CalibratedClassifierCV(LogisticRegression()),
        partial(os.system, "true"),
        {"f": os.system},
        np.array([os.system], dtype=object),
        b"bytes",
    ],
    ids=lambda model: type(model).__name__,
)
def test_a_type_outside_the_allow_list_is_refused_by_name_when_saving_and_when_reading(
    model: Any, tmp_path: Path
) -> None:
    with pytest.raises(UntrustedContent, match=r"m\.skops: found .*, expected"):
        write_skops(model, tmp_path / "m.skops")
    (tmp_path / "m.skops").write_bytes(skops.io.dumps(model))
    with pytest.raises(UntrustedContent, match=r"m\.skops: found .*, expected"):
        read_skops(tmp_path / "m.skops")


def test_a_renamed_pickle_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    for name, read in (
        ("m.skops", read_skops),
        ("m.parquet", read_parquet),
        ("m.safetensors", read_tensors),
        ("m.json", read_json),
    ):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(ContentError, match=name):
            read(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def rewritten(path: Path, *, compression: int = zipfile.ZIP_STORED, **members: bytes | None) -> None:
    """Replace, add or (None) drop members of a skops archive."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content.update({name: data for name, data in members.items() if data is not None})
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            if members.get(name, b"") is not None:
                archive.writestr(name, data)


@pytest.fixture
def ridge(tmp_path: Path) -> Path:
    X, y = table()
    write_skops(Ridge().fit(np.nan_to_num(X), y), tmp_path / "ridge.skops")
    return tmp_path / "ridge.skops"


def test_a_compressed_archive_is_refused_before_it_is_unpacked(ridge: Path) -> None:
    rewritten(ridge, compression=zipfile.ZIP_DEFLATED, **{"999.npy": b"\0" * (64 << 20)})
    assert ridge.stat().st_size < 1 << 20
    with pytest.raises(UntrustedContent, match="compressed member"):
        read_skops(ridge)


def test_a_foreign_member_is_refused(ridge: Path) -> None:
    rewritten(ridge, **{"../evil.npy": b"x"})
    with pytest.raises(UntrustedContent, match="evil"):
        read_skops(ridge)


@pytest.mark.parametrize("array", [b"\x80\x04.", b"\x93NUMPY\x03\0", b""])
def test_an_unreadable_array_is_refused(array: bytes, ridge: Path) -> None:
    rewritten(ridge, **{"1.npy": array})
    with pytest.raises(CorruptArtifact, match=r"ridge\.skops/1\.npy: found no readable array"):
        read_skops(ridge)


def test_an_array_that_claims_more_than_it_holds_is_refused(ridge: Path) -> None:
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 1 << 40)}
    np.lib.format.write_array_header_1_0(stream, header)
    rewritten(ridge, **{"1.npy": stream.getvalue()})
    with pytest.raises(UntrustedContent, match=r"1\.npy: found 0 bytes of array"):
        read_skops(ridge)


def test_an_array_of_pickled_objects_is_refused(ridge: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    rewritten(ridge, **{"1.npy": stream.getvalue()})
    with pytest.raises(UntrustedContent, match="an array of object"):
        read_skops(ridge)


@pytest.mark.parametrize("schema", [b"[]", b"{}", b'{"protocol":99}', b"[" * 50_000, b"\0"])
def test_a_broken_schema_is_refused(schema: bytes, ridge: Path) -> None:
    rewritten(ridge, **{"schema.json": schema})
    with pytest.raises(ContentError, match=r"ridge\.skops"):
        read_skops(ridge)


def test_a_schema_without_its_array_is_refused(ridge: Path) -> None:
    rewritten(ridge, **{"1.npy": None})
    with pytest.raises(CorruptArtifact, match="cannot be rebuilt"):
        read_skops(ridge)


def tampered_tree(change: Any) -> Any:
    X, y = table()
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[3]).fit(X, y)
    tree = model._predictors[0][0]
    change(model, tree)
    return model


def set_node(field: str, value: int, *, where: str = "is_leaf", equals: int = 0) -> Any:
    def change(model: Any, tree: Any) -> None:
        row = np.flatnonzero(tree.nodes[where] == equals)[0]
        tree.nodes[field][row] = value

    return change


TREE_CHANGES: dict[str, Any] = {
    "left child out of range": set_node("left", 1 << 30),
    "right child out of range": set_node("right", 1 << 30),
    "loop": set_node("left", 0),
    "feature too high": set_node("feature_idx", 4),
    "feature negative": set_node("feature_idx", -1),
    "set out of range": set_node("bitset_idx", 1 << 30, where="is_categorical", equals=1),
    "category split on a number": set_node("is_categorical", 1, where="feature_idx", equals=1),
    # Boosting puts its categorical columns first, so column 3 of the table is feature 0 of the trees.
    "no nodes": lambda model, tree: setattr(tree, "nodes", tree.nodes[:0]),
    "other record": lambda model, tree: setattr(tree, "nodes", np.zeros(3)),
    "narrow sets": lambda model, tree: setattr(tree, "raw_left_cat_bitsets", np.zeros((3, 1), np.uint32)),
    "short mask": lambda model, tree: setattr(model._bin_mapper, "is_categorical_", np.zeros(1, np.uint8)),
    "fewer columns": lambda model, tree: setattr(model, "n_features_in_", 2),
    "huge category": lambda model, tree: model._bin_mapper.bin_thresholds_.__setitem__(0, np.array([1e9])),
}


@pytest.mark.parametrize("name", TREE_CHANGES)
def test_a_tampered_tree_is_refused_before_anything_is_predicted(name: str, tmp_path: Path) -> None:
    write_skops(tampered_tree(TREE_CHANGES[name]), tmp_path / "m.skops")
    with pytest.raises(ContentError, match=r"m\.skops: found"):
        read_skops(tmp_path / "m.skops")


def test_a_tree_without_its_model_is_refused(tmp_path: Path) -> None:
    tree = tampered_tree(lambda model, tree: None)._predictors[0][0]
    write_skops({"tree": tree}, tmp_path / "m.skops")
    with pytest.raises(UntrustedContent, match="outside a boosting model"):
        read_skops(tmp_path / "m.skops")


@pytest.mark.parametrize("attribute", ["_t", "_c", "k"])
def test_a_tampered_spline_is_refused(attribute: str, tmp_path: Path) -> None:
    model = SplineTransformer().fit(np.linspace(0, 1, 50)[:, None])
    spline = model.bsplines_[0]
    change = {"_t": spline._t[::-1].copy(), "_c": spline._c[:2].copy(), "k": 9}
    setattr(spline, attribute, change[attribute])
    write_skops(model, tmp_path / "m.skops")
    with pytest.raises(UntrustedContent, match="found a spline"):
        read_skops(tmp_path / "m.skops")


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
