"""How the checks of an asset become Dagster asset checks, and how figures show in the UI. Measures nothing."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from churn_assets.flow.asset import AssetSpec
from churn_assets.flow.check import checks_by_name
from churn_assets.flow.inspection import Inspection, loads_and_agrees
from churn_assets.flow.source import verdict_digest
from churn_assets.gates.plots import Plot, render_png
from churn_assets.gates.report import GateReport, Tables
from churn_assets.monitoring.requests import REFUSED
from churn_assets.store.errors import StoreError
from churn_assets.store.reference import ArtifactRef
from resources.project import Project

TABLE_ROWS_SHOWN = 200
_PLOT = "plot/"
_REPORT = "gate_report"
# Evaluations looked through for plots that were drawn before.
_HISTORY = 10


def asset_checks(asset: AssetSpec, partitions: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """The asset checks of one asset: blocking, partitioned by experiment, one step that loads the version once.

    The step reads the version that this run made (else the partition's latest) back from the store, measures
    it with every check, stores each gate report beside the version and shows it. `loads_and_agrees` is added to
    those declared: digests and golden rows. Where nothing that a verdict depends on changed, the bytes are verified
    again and the stored report is shown.

    Args:
        asset: The asset.
        partitions: The experiments.
    """
    named = checks_by_name((*asset.checks, loads_and_agrees()))

    @dg.multi_asset_check(
        name=f"{asset.name}_checks",
        description=f"Reads {asset.name} back from the store and measures it.",
        specs=[
            dg.AssetCheckSpec(
                name,
                asset=asset.name,
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
        project: Project = context.resources.project
        ref = project.made(context.instance, context.partition_key, asset.name, context.run.run_id)
        try:
            inspection = Inspection(project, ref, verdict_digest(asset))
            for name, spec in named.items():
                report, reused = inspection.report(spec)
                if not report.passed:  # whoever would start the run again learns that it would end alike
                    digest = project.config_digest(context.partition_key)
                    context.instance.add_run_tags(context.run.run_id, {REFUSED: digest})
                drawn = _drawn_before(context.instance, report) if reused else None
                yield dg.AssetCheckResult(
                    asset_key=asset.name,
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


def report_metadata(
    report: GateReport, ref: ArtifactRef, *, reused: bool
) -> dict[str, dg.MetadataValue[Any]]:
    """What the UI shows of a report: digest, each figure with its bound, and what to do."""
    metadata: dict[str, dg.MetadataValue[Any]] = {
        "digest": dg.MetadataValue.text(report.digest),
        "artifact": dg.MetadataValue.text(str(ref)),
        _REPORT: dg.MetadataValue.text(report.sha256()),
        "gates": _table([gate.row for gate in report.gates]),
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
