"""Files of `risk_model`: skops estimators, JSON for schema and metrics, Parquet for out-of-fold risks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue

from churn_assets.customers.golden import golden_customers
from churn_assets.customers.schema import ID, CustomerSchema
from churn_assets.risk.estimators import PARTS, RiskEstimator
from churn_assets.risk.model import RiskModel
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.formats import (
    ArtifactFormat,
    GoldenRows,
    read_json,
    read_parquet,
    read_skops,
    write_json,
    write_parquet,
    write_skops,
)

ESTIMATORS, DESCRIPTION, OUT_OF_FOLD = "estimators.skops", "model.json", "out_of_fold.parquet"


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["logit_mean", "spline_logistic", "boosting"]
    schema_: CustomerSchema
    metrics: dict[str, float]


class RiskModelFormat(ArtifactFormat[RiskModel]):
    """Golden rows are made from the schema: extremes and mean of numbers, every category, a blank."""

    loader: ClassVar[str] = "risk_model/1"
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn", "skops", "numpy")

    def save(self, value: RiskModel, folder: Path) -> None:
        """Writes the three files."""
        write_skops(dict(value.estimator.parts), folder / ESTIMATORS)
        described = _Description(kind=value.estimator.kind, schema_=value.schema, metrics=dict(value.metrics))
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)
        write_parquet(value.out_of_fold, folder / OUT_OF_FOLD)

    def load(self, folder: Path) -> RiskModel:
        """Reads the three files; CorruptArtifact where they do not fit together."""
        try:
            described = _Description.model_validate(read_json(folder / DESCRIPTION))
        except ValueError as error:
            raise CorruptArtifact(
                DESCRIPTION, f"{error}", "kind, schema and metrics of a risk model"
            ) from error
        parts = read_skops(folder / ESTIMATORS)
        names = PARTS[described.kind]
        if not isinstance(parts, Mapping) or set(parts) != set(names):
            raise CorruptArtifact(ESTIMATORS, f"{parts!r:.80}", f"estimators {', '.join(names)}")
        estimator = RiskEstimator(described.kind, {name: parts[name] for name in names})
        out_of_fold = read_parquet(folder / OUT_OF_FOLD)
        _check_risks(out_of_fold)
        return RiskModel(described.schema_, estimator, out_of_fold, described.metrics)

    def signature(self, value: RiskModel) -> dict[str, JsonValue]:
        """Features in order with kind and categories; the risk and its window."""
        inputs: list[JsonValue] = [
            {"name": feature.name, "kind": feature.kind, "categories": list(feature.categories)}
            for feature in value.schema.features
        ]
        return {
            "inputs": inputs,
            "outputs": [{"name": "risk", "window_months": value.schema.label_window_months}],
        }

    def golden(self, value: RiskModel) -> GoldenRows:
        """The risks of a handful of made-up customers."""
        X = golden_customers(value.schema)
        inputs: JsonValue = [[None if np.isnan(cell) else float(cell) for cell in row] for row in X]
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-9, atol=1e-12)

    def replay(self, value: RiskModel, inputs: JsonValue) -> JsonValue:
        """The risks of rows of a design matrix, null for a blank."""
        return [float(risk) for risk in value.predict(np.array(inputs, dtype=np.float64))]


RISK_MODEL = RiskModelFormat()


def _check_risks(out_of_fold: pd.DataFrame) -> None:
    found = {name: str(dtype) for name, dtype in out_of_fold.dtypes.items()}
    if found != {ID: "object", "risk": "float64"}:
        raise CorruptArtifact(OUT_OF_FOLD, f"columns {found}", f"{ID} (text) and risk (float64)")
    risk: NDArray[np.float64] = out_of_fold["risk"].to_numpy()
    if not ((risk > 0) & (risk < 1)).all() or out_of_fold[ID].duplicated().any():
        raise CorruptArtifact(OUT_OF_FOLD, "a risk outside (0, 1) or a customer twice", "one risk a customer")
