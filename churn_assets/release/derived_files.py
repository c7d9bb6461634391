"""Derived forms as files of a release: numbers as safetensors, names and rules as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from churn_assets.customers.schema import CustomerSchema
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import RetentionProcess
from churn_assets.predictors.curves import Curves
from churn_assets.predictors.forest import Forest
from churn_assets.predictors.grid import Grid
from churn_assets.release.derived import DIGEST_BYTES, Derived, EffectForm, Known
from churn_assets.release.outlook import outlook_dtype
from churn_assets.store.errors import CorruptArtifact
from churn_assets.store.files import read_json, read_tensors, write_json, write_tensors

TENSORS, DESCRIPTION = "derived.safetensors", "derived.json"

Array = np.ndarray[Any, Any]


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    customer_schema: CustomerSchema
    process: dict[str, Any]
    observation: tuple[str, ...]
    layers: int
    levels: tuple[int, ...]
    baselines: dict[str, float]
    spline: bool
    effect_centre: float
    effect_counts: tuple[int, int, int, int]
    effect_baseline_size: float


def save_derived(derived: Derived, folder: Path) -> None:
    """Writes both files."""
    policy, effect, known = derived.policy, derived.effect, derived.known
    forests = {"accept": derived.accept, "size": effect.size}
    if derived.boosting is not None:
        forests["boosting"] = derived.boosting
    curves = {"effect": effect.curves}
    if derived.spline is not None:
        curves["spline"] = derived.spline
    tensors: dict[str, Array] = {
        "grid.edges": np.concatenate(derived.grid.edges),
        "grid.counts": np.array([len(edges) for edges in derived.grid.edges]),
        "effect.slopes": effect.slopes,
        "policy.skip": policy.skip,
        "known.digests": known.digests,
    }
    for name, forest in forests.items():
        tensors |= {f"{name}.reachable": forest.reachable, f"{name}.values": forest.values}
    for name, curve in curves.items():
        tensors |= {f"{name}.intercept": curve.intercept, f"{name}.coefficients": curve.coefficients}
    for i, (weight, bias) in enumerate(policy.layers):
        tensors |= {f"policy.{i}.weight": weight, f"policy.{i}.bias": bias}
    for field in known.outlooks.dtype.names or ():
        tensors[f"known.{field}"] = known.outlooks[field]
    write_tensors(tensors, folder / TENSORS)
    described = _Description(
        customer_schema=derived.schema,
        process=derived.process.to_json(),
        observation=policy.observation_names,
        layers=len(policy.layers),
        levels=derived.grid.levels,
        baselines={name: forest.baseline for name, forest in forests.items()},
        spline=derived.spline is not None,
        effect_centre=effect.centre,
        effect_counts=effect.counts,
        effect_baseline_size=effect.baseline_size,
    )
    write_json(described.model_dump(mode="json"), folder / DESCRIPTION)


def load_derived(folder: Path) -> Derived:
    """Reads both files.

    Raises:
        CorruptArtifact: They do not fit together.
    """
    try:
        described = _Description.model_validate(read_json(folder / DESCRIPTION))
        process = RetentionProcess.from_json(described.process)
    except (ValidationError, ValueError) as error:
        raise CorruptArtifact(DESCRIPTION, str(error), "the description of derived forms") from error
    tensors = read_tensors(folder / TENSORS)
    try:
        return _assembled(described, process, tensors)
    except (KeyError, ValueError) as error:
        raise CorruptArtifact(TENSORS, f"{error}", "arrays that fit the description") from error


def _assembled(described: _Description, process: RetentionProcess, tensors: Mapping[str, Array]) -> Derived:
    """KeyError or ValueError where the arrays are not those described."""
    schema, counts = described.customer_schema, tensors["grid.counts"]
    ends = np.cumsum(counts)
    if len(counts) != len(schema.features) + 2 or ends[-1] != len(tensors["grid.edges"]):
        raise ValueError(f"grid.counts {counts.tolist()} of {len(tensors['grid.edges'])} edges")
    grid = Grid(tuple(np.split(tensors["grid.edges"], ends[:-1])), described.levels)

    def forest(name: str) -> Forest:
        reachable, values = tensors[f"{name}.reachable"], tensors[f"{name}.values"]
        _expect(f"{name}.reachable", reachable, (grid.size, len(values)), "u")
        _expect(f"{name}.values", values, (len(values), values.shape[-1]), "f")
        return Forest(described.baselines[name], reachable, values)

    def curves(name: str, outputs: int) -> Curves:
        intercept, coefficients = tensors[f"{name}.intercept"], tensors[f"{name}.coefficients"]
        _expect(f"{name}.intercept", intercept, (outputs,), "f")
        _expect(f"{name}.coefficients", coefficients, (len(coefficients), grid.size, outputs), "f")
        return Curves(intercept, coefficients)

    outputs = sum(described.effect_counts)
    _expect("effect.slopes", tensors["effect.slopes"], (outputs,), "f")
    layers = tuple(
        (tensors[f"policy.{i}.weight"], tensors[f"policy.{i}.bias"]) for i in range(described.layers)
    )
    policy = DecisionPolicy(process, described.observation, layers, tensors["policy.skip"])
    digests, dtype = tensors["known.digests"], outlook_dtype(process, len(schema.features))
    _expect("known.digests", digests, (len(digests), DIGEST_BYTES), "u")
    outlooks = np.empty(len(digests), dtype)
    for name in dtype.names or ():
        _expect(f"known.{name}", tensors[f"known.{name}"], (len(digests), *dtype[name].shape), "f")
        outlooks[name] = tensors[f"known.{name}"]
    return Derived(
        schema=schema,
        policy=policy,
        grid=grid,
        boosting=forest("boosting") if "boosting" in described.baselines else None,
        spline=curves("spline", 1) if described.spline else None,
        accept=forest("accept"),
        effect=EffectForm(
            curves=curves("effect", outputs),
            slopes=tensors["effect.slopes"],
            centre=described.effect_centre,
            counts=described.effect_counts,
            baseline_size=described.effect_baseline_size,
            size=forest("size"),
        ),
        known=Known(digests, outlooks),
    )


def _expect(name: str, found: Array, shape: tuple[int, ...], kind: str) -> None:
    if found.shape != shape or found.dtype.kind != kind or not np.isfinite(found).all():
        raise ValueError(f"{name} is {found.dtype} of shape {found.shape}, expected finite {kind} of {shape}")
