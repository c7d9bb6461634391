"""Files of `accept_model` and `effect_model`: safetensors, JSON and Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
import pandas as pd
from pydantic import BaseModel, JsonValue, NonNegativeInt, ValidationError, field_validator

from churn_assets.arms import Arm, ArmError, Menu
from churn_assets.customers.golden import features_json, golden_customers, rows_json
from churn_assets.customers.schema import CustomerSchema
from churn_assets.gates.estimates import Estimate
from churn_assets.predictors.arrays import (
    Array,
    ArrayError,
    pack_forest,
    pack_grid,
    take,
    unpack_forest,
    unpack_grid,
)
from churn_assets.predictors.conversion import ConversionError
from churn_assets.response.accept import AcceptModel
from churn_assets.response.basis import EffectBasis
from churn_assets.response.direct import Boosted
from churn_assets.response.effect import ACCEPTING, MEDIATED, REFUSING, DirectEffect, EffectModel
from churn_assets.response.mediated import Baseline, Mediated
from churn_assets.response.persistence import Persistence
from churn_assets.response.predictor import AcceptPredictor
from churn_assets.response.uncertainty import Uncertainty, open_width
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
    draws: NonNegativeInt = 0
    apart: NonNegativeInt = 0


class AcceptModelFormat(ArtifactFormat[AcceptModel]):
    """Golden rows: every arm for a handful of made-up customers, without and with a recent offer."""

    loader: ClassVar[str] = "accept_model/4"
    reads: ClassVar[tuple[str, ...]] = ("accept_model/2", "accept_model/3")
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn")
    """What predicts, and what fitted: another version of the latter gives another model from the same log."""

    def save(self, value: AcceptModel, folder: Path) -> None:
        """Writes the predictor, its description and the out-of-fold acceptance."""
        arrays = _packed("", value.predictor)
        for number, draw in enumerate(value.draws):
            arrays |= _packed(f"draw {number}.", draw)
        for number, each in enumerate(value.apart):
            arrays |= _packed(f"without {number}.", each)
        write_tensors(arrays, folder / ARRAYS)
        described = _AcceptDescription(
            customer_schema=value.schema,
            menu=value.menu.arms,
            draws=len(value.draws),
            apart=len(value.apart),
        )
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)
        write_parquet(pd.DataFrame(value.out_of_fold, columns=list(value.menu.ids)), folder / OUT_OF_FOLD)

    def load(self, folder: Path) -> AcceptModel:
        """Reads the three files; CorruptArtifact where they do not fit together."""
        described = _described(_AcceptDescription, folder)
        menu = _menu(described.menu)
        arrays = read_tensors(folder / ARRAYS)
        families = [len(menu.families)] if len(menu.families) > 1 else []
        customers = [len(feature.categories) for feature in described.customer_schema.features]
        levels = [*customers, 0, *families, 0]
        try:
            predictor = _unpacked("", arrays, levels, menu)
            draws, apart = (
                tuple(_unpacked(f"{name} {number}.", arrays, levels, menu) for number in range(count))
                for name, count in (("draw", described.draws), ("without", described.apart))
            )
        except ArrayError as error:
            raise CorruptArtifact(ARRAYS, f"{error}", "arrays that fit together") from error
        out_of_fold = read_parquet(folder / OUT_OF_FOLD)
        if list(out_of_fold.columns) != list(menu.ids) or set(out_of_fold.dtypes) != {np.dtype(np.float32)}:
            found = f"{ {str(name): str(kind) for name, kind in out_of_fold.dtypes.items()} }"
            raise CorruptArtifact(OUT_OF_FOLD, found, f"a float32 column for each arm: {', '.join(menu.ids)}")
        acceptance = out_of_fold.to_numpy()
        if not ((acceptance >= 0) & (acceptance <= 1)).all():
            raise CorruptArtifact(OUT_OF_FOLD, "an acceptance outside [0, 1]", "probabilities")
        return AcceptModel(described.customer_schema, predictor, acceptance, draws, apart)

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
    menu: tuple[Arm, ...]
    basis: EffectBasis
    baseline_realised: Estimate
    baseline_size: float
    weights: dict[str, float]
    size: float
    overall: Estimate
    evidence_z: float
    larger: float = 1.0
    persistence: Persistence | None = None
    survival: tuple[float, float] = (0.0, 0.0)
    apart: tuple[dict[str, float], ...] = ()

    @field_validator("weights")
    @classmethod
    def _both_parts(cls, weights: dict[str, float]) -> dict[str, float]:
        """Until version 5 the mediated form had one weight."""
        one = weights.pop("mediated", None)
        return weights if one is None else {ACCEPTING: one, REFUSING: one, **weights}


def _trees(place: str, name: str, tensors: Mapping[str, Array], levels: Sequence[int]) -> Boosted:
    grid = unpack_grid(place, tensors, levels)
    return Boosted(grid, unpack_forest(name, tensors, grid))


def _fit_packed(prefix: str, model: EffectModel) -> dict[str, Array]:
    """Coefficients and trees of one fit."""
    mediated, direct = model.mediated, model.direct
    coefficients = {
        "idle": model.baseline.shifts,
        "accepted": mediated.accepted,
        "refused": mediated.refused,
        "woken": mediated.woken,
        "kept": direct.kept,
        "driven": direct.driven,
        "accepting": direct.accepting,
    }
    boosted = model.boosted
    trees = pack_grid(f"{prefix}grid", boosted.grid) | pack_forest(f"{prefix}boosted", boosted.forest)
    return {f"{prefix}{name}": each for name, each in coefficients.items()} | trees


def _fit_unpacked(
    prefix: str,
    tensors: Mapping[str, Array],
    levels: Sequence[int],
    basis: EffectBasis,
    shape: tuple[int, int],
    described: _EffectDescription,
) -> tuple[Baseline, Mediated, DirectEffect, Boosted]:
    """The same read; of arms that contact and columns.

    Raises:
        ArrayError: Something is missing, or of another shape.
    """
    arms, columns = shape
    rows = {"idle": None, "accepted": None, "refused": None, "woken": None, "kept": arms, "driven": arms}
    parts = {
        name: take(f"{prefix}{name}", tensors, (many, columns), np.float64) for name, many in rows.items()
    }
    if not all(map(len, parts.values())):
        raise ArrayError(
            f"found {[name for name in parts if not len(parts[name])]} without rows, expected some"
        )
    accepting = take(f"{prefix}accepting", tensors, (2, arms), np.float64)
    realised, size, survival = described.baseline_realised, described.baseline_size, described.survival
    return (
        Baseline(basis, parts["idle"], realised, size, survival),
        Mediated(basis, parts["accepted"], parts["refused"], parts["woken"]),
        DirectEffect(parts["kept"], parts["driven"], accepting),
        _trees(f"{prefix}grid", f"{prefix}boosted", tensors, levels),
    )


class EffectModelFormat(ArtifactFormat[EffectModel]):
    """Golden rows: the consequences for made-up customers at three levels of risk."""

    loader: ClassVar[str] = "effect_model/7"
    reads: ClassVar[tuple[str, ...]] = ("effect_model/4", "effect_model/5", "effect_model/6")
    packages: ClassVar[tuple[str, ...]] = ("numpy", "scikit-learn", "scipy")
    """What predicts, and what fitted."""

    def save(self, value: EffectModel, folder: Path) -> None:
        """Writes the coefficients, the trees and the description."""
        tensors = _fit_packed("", value)
        for number, each in enumerate(value.apart):
            tensors |= _fit_packed(f"without {number}.", each)
        parted = value.uncertainty.parted
        tensors |= pack_grid("parted", parted.grid) | pack_forest("leaves", parted.forest)
        tensors["draws"] = value.uncertainty.draws
        write_tensors(tensors, folder / TENSORS)
        described = _EffectDescription(
            customer_schema=value.schema,
            menu=value.menu.arms,
            basis=value.mediated.basis,
            baseline_realised=value.baseline.realised,
            baseline_size=value.baseline.size,
            weights=dict(value.weights),
            size=value.size,
            overall=value.overall,
            evidence_z=value.evidence_z,
            larger=value.uncertainty.larger,
            persistence=value.persistence,
            survival=value.baseline.survival,
            apart=tuple(dict(each.weights) for each in value.apart),
        )
        write_json(described.model_dump(mode="json"), folder / DESCRIPTION)

    def load(self, folder: Path) -> EffectModel:
        """Reads the two files; CorruptArtifact where they do not fit together."""
        described = _described(_EffectDescription, folder)
        menu, schema = _menu(described.menu), described.customer_schema
        _check_basis(described)
        basis, tensors = described.basis, read_tensors(folder / TENSORS)
        probes = golden_customers(schema)
        columns, arms = basis.transform(probes, np.zeros(len(probes))).shape[1], len(menu) - 1
        try:
            levels = [len(feature.categories) for feature in schema.features]
            fit = _fit_unpacked("", tensors, levels, basis, (arms, columns), described)
            # Version 4 stored no draws.
            parted = _trees("parted", "leaves", tensors, levels) if "draws" in tensors else fit[-1]
            width = open_width(arms, columns, parted)
            draws = take("draws", tensors, (None, width), np.float64) if "draws" in tensors else None
            model = EffectModel(
                schema,
                menu,
                *fit,
                weights=described.weights,
                size=described.size,
                overall=described.overall,
                evidence_z=described.evidence_z,
                uncertainty=Uncertainty(
                    parted, np.zeros((0, width)) if draws is None else draws, described.larger
                ),
                persistence=described.persistence,
            )
            for number, weights in enumerate(described.apart):
                baseline, mediated, direct, boosted = _fit_unpacked(
                    f"without {number}.", tensors, levels, basis, (arms, columns), described
                )
                refit = replace(
                    model,
                    baseline=baseline,
                    mediated=mediated,
                    direct=direct,
                    boosted=boosted,
                    weights=weights,
                    apart=(),
                )
                model = replace(model, apart=(*model.apart, refit))
            model.predictor  # noqa: B018 - made here, so that what cannot predict is refused now
        except (ArrayError, ConversionError) as error:
            raise CorruptArtifact(TENSORS, f"{error}", "regressions and trees that fit together") from error
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
            "arms": list(value.menu.ids),
        }

    def golden(self, value: EffectModel) -> GoldenRows:
        """Churn without contact, if accepted and if refused, of made-up customers."""
        inputs = rows_json(golden_customers(value.schema))
        return GoldenRows(inputs=inputs, outputs=self.replay(value, inputs), rtol=1e-9, atol=1e-12)

    def replay(self, value: EffectModel, inputs: JsonValue) -> JsonValue:
        """Churn without contact, then of each arm if accepted and if refused, at risks of .05, .3 and .7."""
        X = np.array(inputs, dtype=np.float64)
        found: list[JsonValue] = []
        for risk in (0.05, 0.3, 0.7):
            churn, accepted, refused = value.consequences(X, np.full(len(X), risk))
            found.append(rows_json(np.column_stack([churn, accepted, refused])))
        return found


ACCEPT_MODEL = AcceptModelFormat()
EFFECT_MODEL = EffectModelFormat()


def _described(kind: type[D], folder: Path) -> D:
    try:
        return kind.model_validate(read_json(folder / DESCRIPTION))
    except ValidationError as error:
        raise CorruptArtifact(DESCRIPTION, str(error), "the description of a response model") from error


def _packed(name: str, predictor: AcceptPredictor) -> dict[str, Array]:
    return pack_grid(f"{name}grid", predictor.grid) | pack_forest(f"{name}forest", predictor.forest)


def _unpacked(name: str, arrays: Mapping[str, Array], levels: Sequence[int], menu: Menu) -> AcceptPredictor:
    grid = unpack_grid(f"{name}grid", arrays, levels)
    return AcceptPredictor(grid, unpack_forest(f"{name}forest", arrays, grid), menu)


def _menu(arms: tuple[Arm, ...]) -> Menu:
    try:
        return Menu(arms)
    except ArmError as error:
        raise CorruptArtifact(DESCRIPTION, f"{error}", "the menu of an offer log") from error


def _check_basis(described: _EffectDescription) -> None:
    """The basis reads the features of the schema, as what they are; weights are weights."""
    schema, basis = described.customer_schema, described.basis
    levels = tuple(len(feature.categories) for feature in schema.features)
    sizes = {len(each) for each in (basis.knots, basis.centre, basis.scale)}
    if basis.names != tuple(schema.names) or basis.levels != levels or sizes != {len(levels)}:
        raise CorruptArtifact(DESCRIPTION, f"a basis of {basis.names!r:.80}", "one of the schema's features")
    ascending = all((np.diff(knots) > 0).all() for knots in basis.knots)
    if not ascending or min(basis.scale, default=1.0) <= 0:
        raise CorruptArtifact(
            DESCRIPTION, "knots out of order or a scale of 0", "ascending knots, scales above 0"
        )
    if not described.weights.keys() >= set(MEDIATED) or min(described.weights.values()) < 0:
        expected = f"weights of at least 0, those of {' and of '.join(MEDIATED)} among them"
        raise CorruptArtifact(DESCRIPTION, f"weights {described.weights}", expected)
