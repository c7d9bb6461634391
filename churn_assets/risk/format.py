"""Files of `risk_model`: safetensors for the predictor, JSON for schema and metrics, Parquet for out-of-fold risks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, JsonValue

from churn_assets.customers.golden import features_json, golden_customers, rows_json
from churn_assets.customers.schema import ID, ROW_DATE, CustomerSchema
from churn_assets.predictors.arrays import (
    ArrayError,
    pack_curves,
    pack_forest,
    pack_grid,
    unpack_curves,
    unpack_forest,
    unpack_grid,
)
from churn_assets.risk.model import RiskModel
from churn_assets.risk.predictor import RiskModelKind, RiskPredictor
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import (
    ArtifactFormat,
    GoldenRows,
    read_json,
    read_parquet,
    read_tensors,
    write_json,
    write_parquet,
    write_tensors,
)

TENSORS, DESCRIPTION, OUT_OF_FOLD = "predictor.safetensors", "model.json", "out_of_fold.parquet"
OUT_OF_TIME = "out_of_time.parquet"


class _Description(BaseModel, frozen=True, extra="forbid"):
    kind: RiskModelKind
    schema_: CustomerSchema
    metrics: dict[str, float]


class RiskModelFormat(ArtifactFormat[RiskModel]):
    """Golden rows are made from the schema: extremes and mean of numbers, every category, a blank."""

    loader: ClassVar[str] = "risk_model/2"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """What predicts, and what fitted: another version of the latter gives another model from the same table."""

    def save(self, value: RiskModel, folder: Path) -> None:
        """Writes the three files, and a fourth where later windows were held out."""
        write_tensors(_packed(value.predictor), folder / TENSORS)
        described = _Description(kind=value.predictor.kind, schema_=value.schema, metrics=dict(value.metrics))
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)
        write_parquet(value.out_of_fold, folder / OUT_OF_FOLD)
        if value.out_of_time is not None:
            write_parquet(value.out_of_time, folder / OUT_OF_TIME)

    def load(self, folder: Path) -> RiskModel:
        """Reads the files; CorruptArtifact where they do not fit together."""
        try:
            described = _Description.model_validate(read_json(folder / DESCRIPTION))
        except ValueError as error:
            raise CorruptArtifact(
                DESCRIPTION, f"{error}", "kind, schema and metrics of a risk model"
            ) from error
        predictor = _unpacked(described, read_tensors(folder / TENSORS))
        panel = described.schema_.row_date is not None
        out_of_fold = _risks(folder / OUT_OF_FOLD, panel=panel)
        later = folder / OUT_OF_TIME
        out_of_time = _risks(later, panel=panel) if later.is_file() else None
        return RiskModel(described.schema_, predictor, out_of_fold, described.metrics, out_of_time)

    def signature(self, value: RiskModel) -> dict[str, JsonValue]:
        """Features in order with kind and categories; the risk and its window."""
        return {
            "inputs": features_json(value.schema),
            "outputs": [{"name": "risk", "window_months": value.schema.label_window_months}],
        }

    def golden(self, value: RiskModel) -> GoldenRows:
        """The risks of a handful of made-up customers."""
        inputs = rows_json(golden_customers(value.schema))
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-9, atol=1e-12)

    def replay(self, value: RiskModel, inputs: JsonValue) -> JsonValue:
        """The risks of rows of a design matrix, null for a blank."""
        return [float(risk) for risk in value.predict(np.array(inputs, dtype=np.float64))]


RISK_MODEL = RiskModelFormat()


def _packed(predictor: RiskPredictor) -> dict[str, NDArray[Any]]:
    arrays = pack_grid("grid", predictor.grid)
    if predictor.boosting is not None:
        arrays |= pack_forest("boosting", predictor.boosting)
    if predictor.spline is not None:
        arrays |= pack_curves("spline", predictor.spline)
    return arrays


def _unpacked(described: _Description, arrays: Mapping[str, NDArray[Any]]) -> RiskPredictor:
    levels = [len(feature.categories) for feature in described.schema_.features]
    try:
        grid = unpack_grid("grid", arrays, levels)
        predictor = RiskPredictor(
            grid,
            None if described.kind == "spline_logistic" else unpack_forest("boosting", arrays, grid),
            None if described.kind == "boosting" else unpack_curves("spline", arrays, grid, 1),
        )
    except ArrayError as error:
        raise CorruptArtifact(TENSORS, f"{error}", "arrays that fit together") from error
    if unknown := sorted(set(arrays) - set(_packed(predictor))):
        raise CorruptArtifact(TENSORS, f"arrays {unknown}", f"those of kind {described.kind} only")
    return predictor


def _risks(file: Path, *, panel: bool) -> pd.DataFrame:
    """Risks by customer, of a panel by customer and day."""
    found = read_parquet(file)
    keys = [ID, ROW_DATE] if panel else [ID]
    if sorted(found.columns) != sorted([*keys, "risk"]) or found["risk"].dtype != np.float64:
        types = {name: str(dtype) for name, dtype in found.dtypes.items()}
        raise CorruptArtifact(file.name, f"columns {types}", f"{', '.join(keys)} and risk (float64)")
    risk: NDArray[np.float64] = found["risk"].to_numpy()
    if not ((risk > 0) & (risk < 1)).all() or found.duplicated(keys).any():
        raise CorruptArtifact(
            file.name, "a risk outside (0, 1) or a customer twice", "one risk a customer or row"
        )
    return found
