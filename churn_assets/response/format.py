"""Files of `accept_model` and `effect_model`: safetensors, JSON and Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, JsonValue, ValidationError

from churn_assets.arms import Arm, ArmError, Menu
from churn_assets.customers.golden import features_json, golden_customers, rows_json
from churn_assets.customers.schema import CustomerSchema
from churn_assets.gates.estimates import Estimate
from churn_assets.predictors.arrays import ArrayError, pack_forest, pack_grid, unpack_forest, unpack_grid
from churn_assets.response.accept import AcceptModel
from churn_assets.response.basis import EffectBasis
from churn_assets.response.effect import Baseline, Consequences, EffectModel
from churn_assets.response.predictor import AcceptPredictor
from churn_assets.response.segments import Segments, Split
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

D = TypeVar("D", bound=BaseModel)

ARRAYS, DESCRIPTION, OUT_OF_FOLD, TENSORS = (
    "predictor.safetensors",
    "model.json",
    "out_of_fold.parquet",
    "coefficients.safetensors",
)


class _AcceptDescription(BaseModel, frozen=True, extra="forbid"):
    customer_schema: CustomerSchema
    menu: tuple[Arm, ...]


class AcceptModelFormat(ArtifactFormat[AcceptModel]):
    """Golden rows: every arm for a handful of made-up customers, without and with a recent offer."""

    loader: ClassVar[str] = "accept_model/2"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """What predicts, and what fitted: another version of the latter gives another model from the same log."""

    def save(self, value: AcceptModel, folder: Path) -> None:
        """Writes the predictor, its description and the out-of-fold acceptance."""
        predictor = value.predictor
        arrays = pack_grid("grid", predictor.grid) | pack_forest("forest", predictor.forest)
        write_tensors(arrays, folder / ARRAYS)
        described = _AcceptDescription(customer_schema=value.schema, menu=value.menu.arms)
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)
        write_parquet(pd.DataFrame(value.out_of_fold, columns=list(value.menu.ids)), folder / OUT_OF_FOLD)

    def load(self, folder: Path) -> AcceptModel:
        """Reads the three files; CorruptArtifact where they do not fit together."""
        described = _described(_AcceptDescription, folder)
        try:
            menu = Menu(described.menu)
        except ArmError as error:
            raise CorruptArtifact(DESCRIPTION, f"{error}", "the menu of an offer log") from error
        arrays = read_tensors(folder / ARRAYS)
        families = [len(menu.families)] if len(menu.families) > 1 else []
        customers = [len(feature.categories) for feature in described.customer_schema.features]
        try:
            grid = unpack_grid("grid", arrays, [*customers, 0, *families, 0])
            predictor = AcceptPredictor(grid, unpack_forest("forest", arrays, grid), menu)
        except ArrayError as error:
            raise CorruptArtifact(ARRAYS, f"{error}", "arrays that fit together") from error
        out_of_fold = read_parquet(folder / OUT_OF_FOLD)
        if list(out_of_fold.columns) != list(menu.ids) or set(out_of_fold.dtypes) != {np.dtype(np.float32)}:
            found = f"{ {str(name): str(kind) for name, kind in out_of_fold.dtypes.items()} }"
            raise CorruptArtifact(OUT_OF_FOLD, found, f"a float32 column for each arm: {', '.join(menu.ids)}")
        acceptance = out_of_fold.to_numpy()
        if not ((acceptance >= 0) & (acceptance <= 1)).all():
            raise CorruptArtifact(OUT_OF_FOLD, "an acceptance outside [0, 1]", "probabilities")
        return AcceptModel(described.customer_schema, predictor, acceptance)

    def signature(self, value: AcceptModel) -> dict[str, JsonValue]:
        """Features in order, then recent offers and the arm; the acceptance."""
        arms: list[JsonValue] = [{"id": arm.id, "family": arm.family, "size": arm.size} for arm in value.menu]
        return {
            "inputs": [*features_json(value.schema), {"name": "recent_offers"}, {"name": "arm"}],
            "outputs": [{"name": "acceptance"}],
            "arms": arms,
        }

    def golden(self, value: AcceptModel) -> GoldenRows:
        """The acceptance of every arm by made-up customers."""
        inputs = rows_json(golden_customers(value.schema))
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-9, atol=1e-12)

    def replay(self, value: AcceptModel, inputs: JsonValue) -> JsonValue:
        """The acceptance of every arm, without and with one recent offer, for rows of a design matrix."""
        X = np.array(inputs, dtype=np.float64)
        return [
            rows_json(value.predict_arms(X, np.full(len(X), recent), value.menu)) for recent in (0.0, 1.0)
        ]


class _EffectDescription(BaseModel, frozen=True, extra="forbid"):
    customer_schema: CustomerSchema
    arms: tuple[str, ...]
    basis: EffectBasis
    baseline_realised: Estimate
    baseline_size: float
    nodes: tuple[Split | int, ...]
    fill: tuple[float, ...]
    raw_size: tuple[Estimate, ...]
    overall: Estimate
    evidence_z: float


class EffectModelFormat(ArtifactFormat[EffectModel]):
    """Golden rows: the consequences for made-up customers at three levels of risk."""

    loader: ClassVar[str] = "effect_model/3"
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """What predicts, and what grouped the customers into segments."""

    def save(self, value: EffectModel, folder: Path) -> None:
        """Writes the coefficients and the description."""
        fitted = value.fitted
        write_tensors(
            {
                "idle": value.baseline.shifts,
                "accepted": fitted.accepted,
                "refused": fitted.refused,
                "woken": fitted.woken,
                "size": value.size,
                "size_sd": value.size_sd,
            },
            folder / TENSORS,
        )
        described = _EffectDescription(
            customer_schema=value.schema,
            arms=value.arms,
            basis=fitted.basis,
            baseline_realised=value.baseline.realised,
            baseline_size=value.baseline.size,
            nodes=value.segments.nodes,
            fill=value.segments.fill,
            raw_size=value.raw_size,
            overall=value.overall,
            evidence_z=value.evidence_z,
        )
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)

    def load(self, folder: Path) -> EffectModel:
        """Reads the two files; CorruptArtifact where they do not fit together."""
        described = _described(_EffectDescription, folder)
        tensors = read_tensors(folder / TENSORS)
        basis, segments = described.basis, Segments(described.nodes, described.fill)
        _check_tree(segments.nodes)
        _check_basis(described)
        probes = golden_customers(described.customer_schema)
        columns = basis.transform(probes, np.zeros(len(probes))).shape[1]
        shapes = {name: array.shape for name, array in tensors.items()}
        wanted = dict.fromkeys(("idle", "accepted", "refused", "woken"), columns)
        if (
            set(shapes) != {*wanted, "size", "size_sd"}
            or any(shapes[name][1:] != (width,) or not shapes[name][0] for name, width in wanted.items())
            or {shapes["size"], shapes["size_sd"]} != {(segments.count,)}
            or len(described.raw_size) != segments.count
            or not all(np.isfinite(array).all() and array.dtype == np.float64 for array in tensors.values())
        ):
            expected = (
                f"finite float64: {', '.join(wanted)} (·, {columns}), size, size_sd ({segments.count},)"
            )
            raise CorruptArtifact(TENSORS, str(shapes), expected)
        baseline = Baseline(basis, tensors["idle"], described.baseline_realised, described.baseline_size)
        fitted = Consequences(basis, tensors["accepted"], tensors["refused"], tensors["woken"])
        model = EffectModel(
            described.customer_schema,
            described.arms,
            baseline,
            fitted,
            segments,
            tensors["size"],
            tensors["size_sd"],
            described.raw_size,
            described.overall,
            described.evidence_z,
        )
        try:
            model.predictor  # noqa: B018 - made here, so that what cannot predict is refused now
        except ValueError as error:
            raise CorruptArtifact(
                TENSORS, f"{error}", "regressions and segments that fit together"
            ) from error
        return model

    def signature(self, value: EffectModel) -> dict[str, JsonValue]:
        """Features in order, then the risk; churn without contact, the two consequences, and their window."""
        window: JsonValue = value.schema.label_window_months
        return {
            "inputs": [*features_json(value.schema), {"name": "risk"}],
            "outputs": [
                {"name": "churn_without_contact", "window_months": window},
                {"name": "churn_if_accepted", "window_months": window},
                {"name": "churn_if_refused", "window_months": window},
            ],
            "arms": list(value.arms),
        }

    def golden(self, value: EffectModel) -> GoldenRows:
        """Churn without contact, if accepted and if refused, of made-up customers."""
        inputs = rows_json(golden_customers(value.schema))
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-9, atol=1e-12)

    def replay(self, value: EffectModel, inputs: JsonValue) -> JsonValue:
        """The consequences at risks of .05, .3 and .7, for rows of a design matrix."""
        X = np.array(inputs, dtype=np.float64)
        return [
            rows_json(np.stack(value.consequences(X, np.full(len(X), risk)))) for risk in (0.05, 0.3, 0.7)
        ]


ACCEPT_MODEL = AcceptModelFormat()
EFFECT_MODEL = EffectModelFormat()


def _described(kind: type[D], folder: Path) -> D:
    try:
        return kind.model_validate(read_json(folder / DESCRIPTION))
    except ValidationError as error:
        raise CorruptArtifact(DESCRIPTION, str(error), "the description of a response model") from error


def _check_tree(nodes: tuple[Split | int, ...]) -> None:
    """Children follow their parent, so walking the tree ends; leaves are numbered without a gap."""
    leaves = sorted(node for node in nodes if isinstance(node, int))
    forward = all(
        index < child < len(nodes)
        for index, node in enumerate(nodes)
        if not isinstance(node, int)
        for child in (node.yes, node.no)
    )
    if not forward or leaves != list(range(len(leaves))) or not leaves:
        raise CorruptArtifact(
            DESCRIPTION, f"segment nodes {nodes!r:.80}", "a tree whose children follow parents"
        )


def _check_basis(described: _EffectDescription) -> None:
    """The basis and the segments read the features of the schema, as what they are."""
    schema, basis = described.customer_schema, described.basis
    levels = tuple(len(feature.categories) for feature in schema.features)
    sizes = {len(each) for each in (basis.knots, basis.centre, basis.scale, described.fill)}
    if basis.names != tuple(schema.names) or basis.levels != levels or sizes != {len(levels)}:
        raise CorruptArtifact(DESCRIPTION, f"a basis of {basis.names!r:.80}", "one of the schema's features")
    ascending = all((np.diff(knots) > 0).all() for knots in basis.knots)
    if not ascending or min(basis.scale, default=1.0) <= 0:
        raise CorruptArtifact(
            DESCRIPTION, "knots out of order or a scale of 0", "ascending knots, scales above 0"
        )
    for node in described.nodes:
        if isinstance(node, int):
            continue
        inside = 0 <= node.feature < len(levels)
        if (
            not inside
            or (node.threshold is None) != (node.level is not None)
            or bool(levels[node.feature]) != (node.level is not None)
        ):
            raise CorruptArtifact(DESCRIPTION, f"segment split {node!r:.80}", "a rule about a feature")
