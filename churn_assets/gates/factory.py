"""One factory from check declarations to asset checks, and how figures show in the UI. Measures nothing."""

import base64
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from churn_assets.gates.plots import Plot, render_png
from churn_assets.gates.report import Gate, GateReport, GateReportError, Outcome, Tables, digest_of
from churn_assets.gates.source import source_digest
from churn_assets.gates.spec import LOADS_AND_AGREES, CheckSpec, GateInputs, checks_by_name
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.errors import BROKEN, StoreError
from churn_assets.store.manifest import Manifest
from churn_assets.store.reference import ArtifactRef

TABLE_ROWS_SHOWN = 200
_PLOT = "plot/"
_REPORT = "gate_report"
# Evaluations looked through for plots that were drawn before.
_HISTORY = 10


BROKEN_CHAMPION = "broken_champion"
"""Table of a report that had nothing to compare with, as what leads cannot be loaded."""


class Workspace(Protocol):
    """What the checks ask of the `project` resource."""

    def section(self, experiment: str, name: str) -> Any: ...
    def section_digest(self, experiment: str, name: str) -> str: ...
    def store(self, experiment: str) -> ArtifactStore: ...
    def value(self, ref: ArtifactRef, *, reread: bool = False) -> Any: ...
    def champion(self, experiment: str, asset: str) -> ArtifactRef | None: ...
    def made(self, instance: dg.DagsterInstance, experiment: str, asset: str, run_id: str) -> ArtifactRef: ...


def model_checks(
    asset: str,
    specs: Sequence[CheckSpec],
    partitions: dg.PartitionsDefinition,
    sources: Callable[[], Sequence[Path]],
) -> dg.AssetChecksDefinition:
    """The asset checks of one asset: blocking, partitioned by experiment, one step that loads the version once.

    The step reads the version that this run made (else the partition's latest) back from the store, measures
    it with every spec, stores each gate report beside the version and shows it. `loads_and_agrees` is added to the
    specs: digests and golden rows. Where nothing that a verdict depends on changed, the bytes are verified again
    and the stored report is shown.

    Args:
        asset: Name of the asset.
        specs: Its checks.
        partitions: The experiments.
        sources: The files whose change makes stored verdicts stale.
    """
    named = checks_by_name((*specs, _loads_and_agrees()))

    @dg.multi_asset_check(
        name=f"{asset}_checks",
        description=f"Reads {asset} back from the store and measures it.",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=asset,
                description=spec.description,
                blocking=True,
                partitions_def=partitions,
                metadata={"what_to_do": spec.advice},
            )
            for name, spec in named.items()
        ],
        required_resource_keys={"project"},
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        workspace: Workspace = context.resources.project
        experiment = context.partition_key
        ref = workspace.made(context.instance, experiment, asset, context.run.run_id)
        try:
            inspection = Inspection(workspace, ref, source_digest(sources()))
            for name, spec in named.items():
                report, reused = inspection.report(spec)
                drawn = _drawn_before(context.instance, report) if reused else None
                yield dg.AssetCheckResult(
                    asset_key=asset,
                    check_name=name,
                    passed=report.passed,
                    description=_verdict(report),
                    metadata=report_metadata(report, ref, reused=reused)
                    | _tables(report.tables)
                    | (_plots(report.tables, spec.plots) if drawn is None else drawn),
                )
        except StoreError as error:
            raise dg.Failure(
                description=f"{ref} cannot be checked, so it has failed: {type(error).__name__}: {error}",
                metadata={
                    "artifact": str(ref),
                    "what_to_do": "Materialize the asset again; never mend stored bytes.",
                },
                allow_retries=False,
            ) from error

    return checks


class Inspection:
    """Measures one stored version with check declarations; loads its bytes once, and only when a check needs them."""

    def __init__(self, workspace: Workspace, ref: ArtifactRef, gate_source: str) -> None:
        self.workspace = workspace
        self.ref = ref
        self.store = workspace.store(ref.experiment)
        self.manifest: Manifest = self.store.verify(ref)
        self.gate_source = gate_source
        self.stored = self.store.gate_reports(ref)
        self.broken_champion = ""
        self._made: dict[str, Any] = {}

    @functools.cached_property
    def subject(self) -> Any:
        """The value as loaded from the store: digests verified, golden rows replayed."""
        return self.workspace.value(self.ref, reread=True)

    def report(self, spec: CheckSpec) -> tuple[GateReport, bool]:
        """The report of one check, and whether a stored one still holds."""
        champion = (
            self.workspace.champion(self.ref.experiment, self.ref.asset) if spec.against_champion else None
        )
        key = self._key(spec)
        if not spec.every_run and (stored := self._stored(spec.name, key, champion)) is not None:
            return stored, True
        champion = None if champion == self.ref else champion
        self.broken_champion = ""
        outcome = spec.run(self.subject, self._inputs(spec, champion))
        tables = dict(outcome.tables)
        if self.broken_champion:
            tables[BROKEN_CHAMPION] = [{"champion": str(champion), "cannot be loaded": self.broken_champion}]
        report = GateReport(
            check=spec.name,
            asset=self.ref.asset,
            version=self.ref.version,
            digest=self.manifest.digest,
            key=key,
            champion=None if champion is None else str(champion),
            gates=outcome.gates,
            advice=spec.advice,
            tables=tables,
        )
        self.store.add_gate_report(self.ref, spec.name, report.to_json())
        return report, False

    def _stored(self, check: str, key: str, champion: ArtifactRef | None) -> GateReport | None:
        """The stored report where it still holds; one that contradicts itself is measured anew, never believed.

        A version that leads by now keeps the verdict that let it lead: compared with itself nothing is worse. One that
        found its champion broken is compared again, as that may be mended.
        """
        if check not in self.stored:
            return None
        try:
            report = GateReport.from_json(self.stored[check])
        except GateReportError:
            return None
        leads = champion == self.ref
        if BROKEN_CHAMPION in report.tables and not leads:
            return None
        same_champion = leads or report.champion == (None if champion is None else str(champion))
        same = (report.key, report.digest) == (key, self.manifest.digest)
        return report if same and same_champion else None

    def _key(self, spec: CheckSpec) -> str:
        return digest_of(
            {
                "check": spec.name,
                "artifact": self.manifest.digest,
                "upstream": dict(self.manifest.provenance.upstream),
                "sections": {
                    name: self.workspace.section_digest(self.ref.experiment, name)
                    for name in sorted(spec.sections)
                },
                "source": self.gate_source,
            }
        )

    def _load(self, ref: ArtifactRef) -> Any:
        return self._once(str(ref), lambda: self.workspace.value(ref))

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _origin(self, ref: ArtifactRef, asset: str) -> ArtifactRef:
        """The version of an asset that a version was trained from, directly or through others."""
        pending = list(self.store.manifest(ref).provenance.upstream.values())
        seen: dict[str, ArtifactRef] = {}
        while pending:
            found = ArtifactRef.parse(pending.pop(0))
            if found.asset == asset:
                return found
            if found.asset not in seen:
                seen[found.asset] = found
                pending += self.store.manifest(found).provenance.upstream.values()
        message = f"{ref.asset} was not trained from {asset!r}: its upstreams are {sorted(seen)}"
        raise KeyError(message)

    def _inputs(self, spec: CheckSpec, champion: ArtifactRef | None) -> GateInputs:
        def section(name: str) -> Any:
            if name not in spec.sections:
                message = f"check {spec.name!r} reads section {name!r} without declaring it in its sections"
                raise KeyError(message)
            return self.workspace.section(self.ref.experiment, name)

        def champions(*assets: str) -> tuple[Any, ...] | None:
            if champion is None:
                return None
            try:
                return tuple(
                    self._load(champion if asset == champion.asset else self._origin(champion, asset))
                    for asset in assets
                )
            except BROKEN as error:
                self.broken_champion = f"{type(error).__name__}: {error}"
                return None

        return GateInputs(
            ref=self.ref,
            manifest=self.manifest,
            store=self.store,
            upstream=lambda asset: self._load(self._origin(self.ref, asset)),
            section=section,
            champions=champions,
            once=self._once,
        )


def _loads_and_agrees() -> CheckSpec:
    def run(subject: Any, inputs: GateInputs) -> Outcome:  # noqa: ARG001 - it was loaded: that is the proof
        files = len(inputs.manifest.files)
        gates = [
            Gate("files_verified", files, "==", files, "size and sha256 of every file match the manifest")
        ]
        golden = inputs.manifest.golden
        if golden is not None:
            rows = len(golden.outputs) if isinstance(golden.outputs, list) else 1
            detail = "answers of what was loaded equal those before saving"
            gates.append(Gate("golden_rows_replayed", rows, ">=", 1, detail))
        return Outcome(tuple(gates))

    return CheckSpec(
        name=LOADS_AND_AGREES,
        description="Loads from the store; every byte and every golden row agrees with what was saved.",
        advice="The saved form differs from the trained one: do not use it; materialize it again, look at its format.",
        run=run,
    )


def report_metadata(
    report: GateReport, ref: ArtifactRef, *, reused: bool
) -> dict[str, dg.MetadataValue[Any]]:
    """What the UI shows of a report: digest, each figure with its bound, and what to do."""
    metadata: dict[str, dg.MetadataValue[Any]] = {
        "digest": dg.MetadataValue.text(report.digest),
        "artifact": dg.MetadataValue.text(str(ref)),
        _REPORT: dg.MetadataValue.text(report.sha256()),
        "gates": _table(
            [
                {
                    "gate": gate.name,
                    "figure": "not measured" if gate.figure is None else f"{gate.figure:.6g}",
                    "needed": f"{gate.bound} {gate.threshold:g}",
                    "verdict": "passed" if gate.passed else "FAILED",
                    "detail": gate.detail,
                }
                for gate in report.gates
            ]
        ),
        "what_to_do": dg.MetadataValue.text(report.advice),
    }
    if report.champion is not None:
        metadata["compared_with"] = dg.MetadataValue.text(report.champion)
    if reused:
        metadata["unchanged"] = dg.MetadataValue.text(
            "same artifact, upstreams, configuration, champion and gates: bytes verified again, stored report shown"
        )
    for gate in report.gates:
        if gate.figure is not None:
            metadata[f"figure/{gate.name}"] = dg.MetadataValue.float(gate.figure)
    return metadata


def _drawn_before(
    instance: dg.DagsterInstance, report: GateReport
) -> dict[str, dg.MetadataValue[Any]] | None:
    """The plots of an earlier evaluation that showed this very report, so that nothing is drawn twice."""
    key = dg.AssetCheckKey(dg.AssetKey(report.asset), report.check)
    for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=_HISTORY):
        shown = record.evaluation.metadata if isinstance(record.evaluation, dg.AssetCheckEvaluation) else {}
        if _REPORT in shown and shown[_REPORT].value == report.sha256():
            return {name: value for name, value in shown.items() if name.startswith(_PLOT)}
    return None


def display(tables: Tables, plots: Sequence[Plot]) -> dict[str, dg.MetadataValue[Any]]:
    """Tables and the plots drawn from them as metadata."""
    return _tables(tables) | _plots(tables, plots)


def _tables(tables: Tables) -> dict[str, dg.MetadataValue[Any]]:
    return {f"table/{name}": _table(rows) for name, rows in tables.items() if rows}


def _plots(tables: Tables, plots: Sequence[Plot]) -> dict[str, dg.MetadataValue[Any]]:
    drawn = [
        (plot, tables[plot.table]) for plot in plots if tables[plot.table]
    ]  # of no rows there is no picture
    images = {plot.title: base64.b64encode(render_png(plot, rows)).decode() for plot, rows in drawn}
    return {
        f"{_PLOT}{title}": dg.MetadataValue.md(f"![{title}](data:image/png;base64,{image})")
        for title, image in images.items()
    }


def _table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    records = [dg.TableRecord({str(k): _cell(v) for k, v in row.items()}) for row in rows[:TABLE_ROWS_SHOWN]]
    kinds = {str: "string", bool: "bool", int: "int", float: "float"}
    columns = [
        dg.TableColumn(name, kinds.get(type(value), "string"))
        for name, value in (records[0].data if records else {}).items()
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def _cell(value: Any) -> str | int | float | bool:
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float):
        return float(f"{plain:.6g}")
    return plain if isinstance(plain, str | int | bool) else "" if plain is None else str(plain)


def _verdict(report: GateReport) -> str:
    failed = [gate for gate in report.gates if not gate.passed]
    if not failed:
        return "the gate holds" if len(report.gates) == 1 else f"all {len(report.gates)} gates hold"
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{failed[0]}{more}. {report.advice}"
