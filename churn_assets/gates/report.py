"""A gate, its verdict and the report that is stored beside a version. Pure: no orchestrator, no disk, no clock."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, cast

from churn_assets.store.canonical import canonical_json, sha256_bytes

Bound = Literal[">=", "<=", "=="]
Tables = Mapping[str, Sequence[Mapping[str, Any]]]

SCHEMA = 1
_COMPARE = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "==": lambda a, b: a == b}


class GateReportError(ValueError):
    """A stored gate report is not what it claims to be."""


@dataclass(frozen=True)
class Gate:
    """One figure against one bound.

    Attributes:
        name: What was measured, unique in its report.
        figure: The measured value; None (or NaN, which becomes None) means that it could not be measured.
        bound: How the figure must compare with the threshold.
        threshold: The value that it is compared with.
        detail: One line for the reader, such as the unit or the slice.
    """

    name: str
    figure: float | None
    bound: Bound
    threshold: float
    detail: str = ""

    def __post_init__(self) -> None:
        if self.bound not in _COMPARE:
            message = f"gate {self.name!r}: bound {self.bound!r} is not one of {', '.join(_COMPARE)}"
            raise GateReportError(message)
        if not math.isfinite(self.threshold):
            raise GateReportError(f"gate {self.name!r}: the threshold must be finite, found {self.threshold}")
        figure = None if self.figure is None or not math.isfinite(self.figure) else float(self.figure)
        object.__setattr__(self, "figure", figure)
        object.__setattr__(self, "threshold", float(self.threshold))

    @property
    def passed(self) -> bool:
        """True where the figure keeps its bound; a figure that could not be measured fails."""
        return self.figure is not None and bool(_COMPARE[self.bound](self.figure, self.threshold))

    @property
    def row(self) -> dict[str, str]:
        """A line of a table of gates."""
        return {
            "gate": self.name,
            "figure": "not measured" if self.figure is None else f"{self.figure:.6g}",
            "needed": f"{self.bound} {self.threshold:g}",
            "verdict": "passed" if self.passed else "FAILED",
            "detail": self.detail,
        }

    def __str__(self) -> str:
        """What was found and what was needed, for people."""
        figure = "not measured" if self.figure is None else f"{self.figure:.4g}"
        about = f" ({self.detail})" if self.detail else ""
        return f"{self.name} is {figure}, needed {self.bound} {self.threshold:g}{about}"


@dataclass(frozen=True)
class Outcome:
    """What a pure gate function returns: its gates and the tables that explain them."""

    gates: tuple[Gate, ...]
    tables: Tables = field(default_factory=dict)


def no_champion() -> Outcome:
    """The outcome of a comparison where nothing leads yet, this version does, or what leads cannot be loaded."""
    return Outcome((Gate("other_champions", 0, "==", 0, "there is nothing to compare with"),))


@dataclass(frozen=True)
class GateReport:
    """The verdict of one check on one version, as stored beside it.

    Attributes:
        check: Name of the check.
        asset: Asset that was checked.
        version: Its version.
        digest: Content digest of the version: binds the report to these bytes.
        key: Digest of everything the verdict was computed from.
        champion: The champion's version that this one was compared with, if any.
        gates: The figures and their bounds.
        advice: What to do when it fails.
        tables: Small tables that explain the figures.
    """

    check: str
    asset: str
    version: str
    digest: str
    key: str
    champion: str | None
    gates: tuple[Gate, ...]
    advice: str
    tables: Tables = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True where there is at least one gate and every gate passed."""
        return bool(self.gates) and all(gate.passed for gate in self.gates)

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON, verdicts included for readers; `from_json` recomputes them."""
        return {
            "schema": SCHEMA,
            "check": self.check,
            "asset": self.asset,
            "version": self.version,
            "digest": self.digest,
            "key": self.key,
            "champion": self.champion,
            "passed": self.passed,
            "gates": [
                {
                    "name": gate.name,
                    "figure": gate.figure,
                    "bound": gate.bound,
                    "threshold": gate.threshold,
                    "passed": gate.passed,
                    "detail": gate.detail,
                }
                for gate in self.gates
            ],
            "advice": self.advice,
            "tables": {name: [_plain(row) for row in rows] for name, rows in self.tables.items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read a stored report and recompute its verdicts.

        Raises:
            GateReportError: The schema is unknown, a field is missing or unknown, or a stored verdict
                disagrees with the stored figure.
        """
        if stored.get("schema") != SCHEMA:
            raise GateReportError(f"gate report: schema {stored.get('schema')!r} found, {SCHEMA} expected")
        try:
            report = cls(
                check=stored["check"],
                asset=stored["asset"],
                version=stored["version"],
                digest=stored["digest"],
                key=stored["key"],
                champion=stored["champion"],
                gates=tuple(
                    Gate(gate["name"], gate["figure"], gate["bound"], gate["threshold"], gate["detail"])
                    for gate in stored["gates"]
                ),
                advice=stored["advice"],
                tables=stored["tables"],
            )
        except (KeyError, TypeError) as error:
            message = f"gate report of check {stored.get('check')!r}: malformed ({error!r})"
            raise GateReportError(message) from error
        if report.to_json() != stored:
            raise GateReportError(
                f"gate report of check {report.check!r} on {report.asset} {report.version}: what is stored disagrees "
                f"with its own figures (recomputed verdict: {'passed' if report.passed else 'failed'})"
            )
        return report

    def sha256(self) -> str:
        """Digest of the report, hex."""
        return digest_of(self.to_json())


def digest_of(value: Any) -> str:
    """sha256 (hex) of a JSON value in canonical form."""
    return sha256_bytes(canonical_json(value))


def _plain(value: Any) -> Any:
    """Numpy scalars as Python's own; figures that are not finite as None; mappings and sequences through."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    scalar = cast("Any", value).item() if hasattr(value, "item") else value
    if isinstance(scalar, float) and not math.isfinite(scalar):
        return None
    return scalar
