"""The models of a release as files: numbers as safetensors, names and rules as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from churn_assets.arms import Menu
from churn_assets.customers.schema import CustomerSchema
from churn_assets.deciding.chance import ServedCampaign, Shares
from churn_assets.deciding.outlook import outlook_dtype, put_in_order
from churn_assets.deciding.release_models import DIGEST_BYTES, Known, ReleaseModels
from churn_assets.deciding.risk_only import DecidingModels, RiskModels
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import RetentionProcess
from churn_assets.decision.responses import ResponseModels
from churn_assets.predictors.arrays import (
    Array,
    pack_curves,
    pack_forest,
    pack_grid,
    take,
    unpack_curves,
    unpack_forest,
    unpack_grid,
)
from churn_assets.predictors.grid import Grid
from churn_assets.response.basis import EffectBasis
from churn_assets.response.left_open import MEANS, LeftOpen
from churn_assets.response.predictor import AcceptPredictor, EffectPredictor
from churn_assets.risk.predictor import RiskPredictor
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.files import read_json, read_tensors, write_json, write_tensors

TENSORS, DESCRIPTION = "models.safetensors", "models.json"


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_schema: CustomerSchema
    process: dict[str, Any]
    observation: tuple[str, ...]
    layers: int
    boosting: bool
    spline: bool
    tried: list[dict[str, Any]]
    effect_centre: float
    effect_counts: tuple[int, int, int, int]
    effect_baseline_size: float
    effect_mediated: tuple[float, float]
    left_open: EffectBasis | None = None

    @field_validator("effect_mediated", mode="before")
    @classmethod
    def _one_for_both(cls, value: object) -> object:
        """Earlier releases believed both parts alike."""
        return (value, value) if isinstance(value, float) else value


class _RiskDescription(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_schema: CustomerSchema
    boosting: bool
    spline: bool
    campaign: str | None = None
    menu: list[dict[str, Any]] = []


def save_models(models: DecidingModels, folder: Path) -> None:
    """Writes both files."""
    described, tensors = packed(models)
    write_tensors(tensors, folder / TENSORS)
    write_json(described, folder / DESCRIPTION)


def packed(models: DecidingModels) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the two files hold: a description and arrays by name."""
    return _packed(models) if isinstance(models, ReleaseModels) else _risk_packed(models)


def _risk_packed(models: RiskModels) -> tuple[dict[str, Any], dict[str, Array]]:
    risk = models.predictor
    campaign = models.campaign
    described = _RiskDescription(
        customer_schema=models.schema,
        boosting=risk.boosting is not None,
        spline=risk.spline is not None,
        campaign=None if campaign is None else campaign.name,
        menu=[] if campaign is None else campaign.shares.menu.to_json(),
    )
    tensors = {**pack_grid("grid", risk.grid), **_packed_risk(risk), "typical": models.typical}
    if campaign is not None:
        tensors |= {"campaign.cuts": campaign.shares.cuts, "campaign.shares": campaign.shares.shares}
    return described.model_dump(mode="json"), tensors


def _packed_risk(risk: RiskPredictor) -> dict[str, Array]:
    boosting = {} if risk.boosting is None else pack_forest("boosting", risk.boosting)
    spline = {} if risk.spline is None else pack_curves("spline", risk.spline)
    return boosting | spline


def _packed(models: ReleaseModels) -> tuple[dict[str, Any], dict[str, Array]]:
    responses, policy, known = models.responses, models.policy, models.known
    risk, accept, effect = responses.risk, responses.accept, responses.effect
    tensors: dict[str, Array] = {
        **pack_grid("grid", responses.grid),
        **pack_forest("accept", accept.forest),
        **pack_forest("boosted", effect.boosted),
        **pack_curves("effect", effect.curves),
        "effect.slopes": effect.slopes,
        "effect.accepting": effect.accepting,
        "policy.skip": policy.skip,
        "known.digests": known.digests,
    }
    tensors |= _packed_risk(risk)
    if (left_open := responses.left_open) is not None:
        tensors |= pack_grid("open.grid", left_open.grid) | pack_forest("open.parted", left_open.parted)
        tensors |= {"open.means": left_open.means, "open.others": left_open.others}
    for i, (weight, bias) in enumerate(policy.layers):
        tensors |= {f"policy.{i}.weight": weight, f"policy.{i}.bias": bias}
    for field in known.outlooks.dtype.names or ():
        tensors[f"known.{field}"] = np.ascontiguousarray(known.outlooks[field])
    described = _Description(
        customer_schema=responses.schema,
        process=models.process.to_json(),
        observation=policy.observation_names,
        layers=len(policy.layers),
        boosting=risk.boosting is not None,
        spline=risk.spline is not None,
        tried=accept.menu.to_json(),
        effect_centre=effect.centre,
        effect_counts=effect.counts,
        effect_baseline_size=effect.baseline_size,
        effect_mediated=effect.mediated,
        left_open=None if responses.left_open is None else responses.left_open.basis,
    )
    return described.model_dump(mode="json"), tensors


def load_models(folder: Path) -> DecidingModels:
    """Reads both files.

    Raises:
        CorruptArtifact: They do not fit together.
    """
    told = read_json(folder / DESCRIPTION)
    read = _read_whole if isinstance(told, dict) and "process" in told else _read_risk
    return read(told, folder)


def _read_risk(told: Any, folder: Path) -> RiskModels:
    try:
        described = _RiskDescription.model_validate(told)
    except ValidationError as error:
        raise CorruptArtifact(DESCRIPTION, str(error), "the description of a release's models") from error
    schema, tensors = described.customer_schema, read_tensors(folder / TENSORS)
    try:
        grid = unpack_grid("grid", tensors, tuple(len(each.categories) for each in schema.features))
        risk = _risk(grid, tensors, boosting=described.boosting, spline=described.spline)
        typical = take("typical", tensors, (len(schema.features),), np.float64)
        campaign = _campaign(described, tensors)
    except (KeyError, ValueError) as error:
        raise CorruptArtifact(TENSORS, f"{error}", "arrays that fit the description") from error
    return RiskModels(schema, risk, typical, campaign)


def _campaign(described: _RiskDescription, tensors: Mapping[str, Array]) -> ServedCampaign | None:
    if described.campaign is None:
        return None
    menu, cuts = Menu.from_json(described.menu), take("campaign.cuts", tensors, (None,), np.float64)
    shares = take("campaign.shares", tensors, (len(cuts) + 1, len(menu)), np.float64)
    return ServedCampaign(described.campaign, Shares(menu, cuts, shares))


def _risk(grid: Grid, tensors: Mapping[str, Array], *, boosting: bool, spline: bool) -> RiskPredictor:
    return RiskPredictor(
        grid,
        unpack_forest("boosting", tensors, grid) if boosting else None,
        unpack_curves("spline", tensors, grid, 1) if spline else None,
    )


def _read_whole(told: Any, folder: Path) -> ReleaseModels:
    try:
        described = _Description.model_validate(told)
        process, tried = RetentionProcess.from_json(described.process), Menu.from_json(described.tried)
    except (ValidationError, ValueError) as error:
        raise CorruptArtifact(DESCRIPTION, str(error), "the description of a release's models") from error
    tensors = read_tensors(folder / TENSORS)
    try:
        return _assembled(described, process, tried, tensors)
    except (KeyError, ValueError) as error:
        raise CorruptArtifact(TENSORS, f"{error}", "arrays that fit the description") from error


def _assembled(
    described: _Description, process: RetentionProcess, tried: Menu, tensors: Mapping[str, Array]
) -> ReleaseModels:
    """KeyError or ValueError where the arrays are not those described."""
    schema = described.customer_schema
    families = (len(tried.families),) if len(tried.families) > 1 else ()
    levels = (*(len(feature.categories) for feature in schema.features), 0, *families, 0)
    grid = unpack_grid("grid", tensors, levels)
    offered = process.n_arms - 1
    outputs = sum(described.effect_counts) + 2 * offered
    responses = ResponseModels(
        schema=schema,
        process=process,
        grid=grid,
        risk=_risk(grid, tensors, boosting=described.boosting, spline=described.spline),
        accept=AcceptPredictor(grid, unpack_forest("accept", tensors, grid), tried),
        effect=EffectPredictor(
            grid=grid,
            curves=unpack_curves("effect", tensors, grid, outputs),
            slopes=take("effect.slopes", tensors, (outputs,), np.float64),
            centre=described.effect_centre,
            counts=described.effect_counts,
            baseline_size=described.effect_baseline_size,
            mediated=described.effect_mediated,
            accepting=take("effect.accepting", tensors, (2, offered), np.float64),
            boosted=unpack_forest("boosted", tensors, grid),
            menu=process.menu,
        ),
        left_open=_left_open(described, process, tensors),
    )
    layers = tuple(
        (tensors[f"policy.{i}.weight"], tensors[f"policy.{i}.bias"]) for i in range(described.layers)
    )
    policy = DecisionPolicy(process, described.observation, layers, tensors["policy.skip"])
    return ReleaseModels(responses, policy, _known(tensors, outlook_dtype(process, len(schema.features))))


def _left_open(
    described: _Description, process: RetentionProcess, tensors: Mapping[str, Array]
) -> LeftOpen | None:
    """None of a release that was built before it was kept."""
    basis = described.left_open
    if basis is None:
        return None
    grid = unpack_grid("open.grid", tensors, basis.levels)
    means = take("open.means", tensors, (None, process.n_arms - 1, MEANS), np.float64)
    others = take("open.others", tensors, (len(means), None), np.float64)
    return LeftOpen(basis, grid, unpack_forest("open.parted", tensors, grid), means, others)


def _known(tensors: Mapping[str, Array], dtype: np.dtype[np.void]) -> Known:
    """The tabled customers; nobody in a release that tabled less of them than is answered now."""
    if "known.window" not in tensors:
        return Known(np.zeros((0, DIGEST_BYTES), np.uint8), np.zeros(0, dtype))
    digests = take("known.digests", tensors, (None, DIGEST_BYTES), np.uint8)
    known = np.zeros(len(digests), dtype)
    kept = [
        name for name in dtype.names or () if name != "best" or "known.best" in tensors
    ]  # since release/7
    for name in kept:
        kind = dtype[name].base.type
        known[name] = take(f"known.{name}", tensors, (len(digests), *dtype[name].shape), kind)
    put_in_order(known)  # up to release/7 the projections stood as they were
    return Known(digests, known)
