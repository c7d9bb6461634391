"""scikit-learn models as skops files under our own allow-list, audited before anything is built."""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from churn_assets.store.canonical import canonical_json, parse_json
from churn_assets.store.errors import CorruptArtifact, UntrustedContent

# skops trusts every scikit-learn estimator and every numpy function by default; this list is what the
# platform's models are made of (dumped from fitted ones under scikit-learn 1.9.1) and nothing else.
_SKLEARN_OBJECTS = frozenset(
    f"sklearn.{name}"
    for name in (
        "_loss.link.HalfLogitLink",
        "_loss.link.IdentityLink",
        "_loss.link.Interval",
        "_loss.link.LogLink",
        "_loss.link.LogitLink",
        "_loss.link.MultinomialLogit",
        "_loss.loss.AbsoluteError",
        "_loss.loss.HalfBinomialLoss",
        "_loss.loss.HalfGammaLoss",
        "_loss.loss.HalfMultinomialLoss",
        "_loss.loss.HalfPoissonLoss",
        "_loss.loss.HalfSquaredError",
        "_loss.loss.PinballLoss",
        "compose._column_transformer.ColumnTransformer",
        "ensemble._hist_gradient_boosting.binning._BinMapper",
        "ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor",
        "ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "impute._base.MissingIndicator",
        "impute._base.SimpleImputer",
        "linear_model._logistic.LogisticRegression",
        "linear_model._ridge.Ridge",
        "pipeline.Pipeline",
        "preprocessing._data.StandardScaler",
        "preprocessing._encoders.OneHotEncoder",
        "preprocessing._encoders.OrdinalEncoder",
        # What "passthrough" and boosting's own input step become when fitted. Anyone else's holds a function
        # of theirs, and is refused for that function.
        "preprocessing._function_transformer.FunctionTransformer",
        "preprocessing._label.LabelEncoder",
        "preprocessing._polynomial.PolynomialFeatures",
        "preprocessing._polynomial.SplineTransformer",
    )
)
_NUMPY_SCALARS = frozenset(
    f"numpy.{name}"
    for name in (
        "bool",
        "bool_",
        "float32",
        "float64",
        "int8",
        "int32",
        "int64",
        "str_",
        "uint8",
        "uint32",
        "uint64",
    )
)
_PRIMITIVES = frozenset({"builtins.bool", "builtins.float", "builtins.int", "builtins.str"})
_ALLOWED: dict[str, frozenset[str]] = {
    "DTypeNode": frozenset({"numpy.dtype"}),
    "DictNode": frozenset({"builtins.dict"}),
    # check_array is how boosting reads its numeric columns; asarray is how a spline reads its argument.
    "FunctionNode": frozenset(
        {"scipy._lib.array_api_compat.numpy._aliases.asarray", "sklearn.utils.validation.check_array"}
    ),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset(
        f"sklearn._loss._loss.Cy{name}"
        for name in (
            "AbsoluteError",
            "HalfBinomialLoss",
            "HalfGammaLoss",
            "HalfMultinomialLoss",
            "HalfPoissonLoss",
            "HalfSquaredError",
            "PinballLoss",
        )
    ),
    "NdArrayNode": frozenset({"numpy.ndarray"}) | _NUMPY_SCALARS,
    "ObjectNode": _SKLEARN_OBJECTS | {"scipy.interpolate._bsplines.BSpline"},
    "PartialNode": frozenset({"functools.partial"}),
    "RandomGeneratorNode": frozenset({"numpy.random._generator.Generator"}),
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SetNode": frozenset({"builtins.set"}),
    "SliceNode": frozenset({"builtins.slice"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": _PRIMITIVES | _NUMPY_SCALARS,
}
_TRUSTED = sorted(frozenset().union(*_ALLOWED.values()))
_SCHEMA = "schema.json"
_ARRAY_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_MEMBER = re.compile(r"schema\.json|[0-9]{1,20}\.npy")
# Values whose identity means nothing: an id of theirs would only tell two processes apart.
_WITHOUT_IDENTITY = frozenset({"FunctionNode", "JsonNode", "TypeNode"})


def write_skops(model: object, path: Path) -> None:
    """Write a model made of allowed types. Equal models are equal bytes.

    Args:
        model: An estimator, or dictionaries, lists and tuples of estimators, arrays and plain values.
        path: New file.

    Raises:
        UntrustedContent: The model holds a type that :func:`read_skops` would refuse.
    """
    import skops.io

    data = _canonical(skops.io.dumps(model))
    _audit(data, path.name)
    path.write_bytes(data)


def read_skops(path: Path) -> Any:
    """Read a model: audit every type in the file, rebuild it, check the arrays that compiled code indexes by.

    Raises:
        UntrustedContent: A type outside the allow-list, a compressed or foreign member, or tree or spline
            arrays that would read outside their memory.
        CorruptArtifact: It is not a skops file.
    """
    import skops.io

    from churn_assets.store.compiled_arrays import check_compiled_arrays

    data = path.read_bytes()
    _audit(data, path.name)
    try:
        model = skops.io.loads(data, trusted=_TRUSTED)
        check_compiled_arrays(model, path.name)
    except (AttributeError, EOFError, IndexError, KeyError, RecursionError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CorruptArtifact(
            path.name, f"a model that cannot be rebuilt ({reason})", "a skops file"
        ) from error
    return model


def _audit(data: bytes, file: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_members(archive, len(data), file)
            schema = parse_json(archive.read(_SCHEMA), f"{file}/{_SCHEMA}")
            for name in archive.namelist():
                if name != _SCHEMA:
                    _check_array(archive.read(name), f"{file}/{name}")
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise CorruptArtifact(file, f"no readable archive ({error})", "a skops file") from error
    _check_types(schema, file)


def _check_members(archive: zipfile.ZipFile, size: int, file: str) -> None:
    names = archive.namelist()
    if len(set(names)) != len(names) or _SCHEMA not in names:
        raise CorruptArtifact(file, f"members {sorted(names)!r:.200}", f"{_SCHEMA} and distinct arrays")
    for member in archive.infolist():
        if not _MEMBER.fullmatch(member.filename):
            raise UntrustedContent(
                file, f"member {member.filename!r}", f"{_SCHEMA} and numbered .npy arrays only"
            )
        # Nothing compressed and nothing encrypted: the content can then not be larger than the file.
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise UntrustedContent(
                file, f"compressed member {member.filename!r}", "members stored as they are"
            )
    content = sum(member.file_size for member in archive.infolist())
    if content > size:
        raise UntrustedContent(file, f"{content} bytes of content", f"no more than the file's {size}")


def _check_array(data: bytes, file: str) -> None:
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, _, dtype = _ARRAY_HEADERS[version](stream)
    except (KeyError, ValueError) as error:
        raise CorruptArtifact(file, f"no readable array ({error})", "a .npy array") from error
    if dtype.hasobject:
        raise UntrustedContent(file, f"an array of {dtype}", "numbers, booleans or text")
    claimed, present = int(np.prod(shape, dtype=object)) * dtype.itemsize, len(data) - stream.tell()
    if claimed != present:
        raise UntrustedContent(file, f"{present} bytes of array", f"{claimed} for {dtype} {shape}")


def _check_types(schema: Any, file: str) -> None:
    """Check every node, wherever it hides: whatever skops walks is nested in the schema."""
    owners: dict[str, Any] = {}
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            if "__class__" in value or "__loader__" in value:
                _check_type(value, file)
                _check_owner(value, owners, file)
            pending.extend(value.values())


def _check_type(node: dict[str, Any], file: str) -> None:
    loader, name = node.get("__loader__"), f"{node.get('__module__')}.{node.get('__class__')}"
    if not isinstance(loader, str) or name not in _ALLOWED.get(loader, frozenset()):
        raise UntrustedContent(file, f"{name} (read by {loader})", "a type on the platform's allow-list")


def _check_owner(node: dict[str, Any], owners: dict[str, Any], file: str) -> None:
    """Every object of another identity reads its array anew: one array under many would fill any memory."""
    array, identity = node.get("file"), node.get("__id__")
    if isinstance(array, str) and owners.setdefault(array, identity) != identity:
        raise UntrustedContent(file, f"array {array!r} in several objects", "an array of one object")


def _canonical(data: bytes) -> bytes:
    """The same model without memory addresses, set order and clock time, which differ between processes."""
    ids: dict[int, int] = {}
    arrays: dict[str, str] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        schema = json.loads(source.read(_SCHEMA))
        members = {name: source.read(name) for name in source.namelist()}
    _renumber(schema, ids, arrays)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, _SCHEMA, canonical_json(schema))
        for old, new in arrays.items():
            _add(archive, new, members[old])
    return target.getvalue()


def _renumber(node: Any, ids: dict[int, int], arrays: dict[str, str]) -> None:
    if isinstance(node, list):
        for item in node:
            _renumber(item, ids, arrays)
    elif isinstance(node, dict):
        loader = node.get("__loader__")
        if loader in _WITHOUT_IDENTITY:
            node.pop("__id__", None)
        elif "__id__" in node:
            node["__id__"] = ids.setdefault(node["__id__"], len(ids) + 1)
        if loader == "NdArrayNode" and "file" in node:
            node["file"] = arrays.setdefault(node["file"], f"{len(arrays) + 1}.npy")
        if loader == "SetNode":
            node["content"].sort(key=lambda item: str(item.get("content")))
        for value in node.values():
            _renumber(value, ids, arrays)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.create_system = 3
    archive.writestr(member, data)
