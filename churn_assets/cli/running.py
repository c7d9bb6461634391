"""`churn run`: one Dagster run in this process, on the project's own instance, shown as it goes."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dagster as dg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from churn_assets.cli.errors import (
    REFUSED,
    RUN_FAILED,
    UsageProblemError,
    code_of,
    complain,
    hint_of,
    named_errors,
    nearest,
)
from churn_assets.cli.screen import size as shown_size
from churn_assets.cli.shown import Screen, one_line, styled
from churn_assets.cli.transfers import SHOWN_FROM
from churn_assets.definitions import Overrides, build_defs, build_project
from resources.stage import COST, CURVE, MADE_BECAUSE, SAMPLES, UNCHANGED

if TYPE_CHECKING:
    from dagster._core.remote_origin import RemoteRepositoryOrigin

_LOGGER = "followed"
_WORKSPACE, _MODULE = "workspace.yaml", "churn_assets.definitions"
"""Where `dagster dev` reads its code locations, and what names ours there."""


def run_experiment(root: Path, experiment: str, select: str, out: Console) -> None:
    """Run the assets that are selected; exits with the code of the first failure.

    Args:
        root: The project's folder.
        experiment: Its name, already validated.
        select: Dagster's asset selection syntax.
        out: Where to write.

    Raises:
        UsageProblemError: The selection names no asset, or DAGSTER_HOME no folder.
    """
    _refuse_lost_history(os.environ.setdefault("DAGSTER_HOME", str(root)))
    screen = _screen(out)
    # dagster.yaml's paths start at the working directory: from here on that is the project.
    os.chdir(root)
    followed = Followed()
    overrides = Overrides(root=root, loggers={_LOGGER: _logger(followed)})
    project = replace(build_project(overrides), progress=followed.transfer)
    defs = build_defs(overrides, project)
    selected = {name for name in select_assets(defs, select) if project.takes_part(experiment, name)}
    if not selected:
        message = f"--select {select!r} names no asset of experiment {experiment!r}"
        raise UsageProblemError(message, "an asset is in an experiment if it has a section of its name")
    job = defs.resolve_job_def("train")
    order = [name for name in flow_order(defs) if name in selected]
    with dg.DagsterInstance.get() as instance, _progress(screen) as progress:
        run_id, served = str(uuid4()), _code_location(root)
        followed.began = lambda: _show_on_timeline(instance, run_id, served)
        followed.start(progress, screen, {name: _check_count(defs, name) for name in order})
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            tags={} if served is None else {".dagster/repository": served.get_label()},
            partition_key=experiment,
            asset_selection=[dg.AssetKey(name) for name in order],
            run_config={"loggers": {_LOGGER: {}}},
            raise_on_error=False,
        )
    if any(map(_is_interruption, result.all_events)):
        raise KeyboardInterrupt
    failures = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    if result.success:
        out.print(styled("green", "done"), f"  run {result.run_id[:8]}: {followed.summary()}")
        return
    raise typer.Exit(max((_explain(event, result.run_id) for event in failures), default=RUN_FAILED))


def _refuse_lost_history(home: str) -> None:
    if not Path(home).is_absolute() or not Path(home).is_dir():
        raise UsageProblemError(
            f"DAGSTER_HOME: found {home!r}, expected the whole path of a folder that is there",
            "make it, or leave DAGSTER_HOME out: the history is then kept in the project",
        )


def _code_location(root: Path) -> RemoteRepositoryOrigin | None:
    """The project's code as `dagster dev` serves it; None where workspace.yaml does not name it."""
    from dagster._core import remote_origin
    from dagster._core.workspace.load import location_origins_from_yaml_paths

    listed = (
        location_origins_from_yaml_paths([str(root / _WORKSPACE)]) if (root / _WORKSPACE).is_file() else ()
    )
    for each in listed:
        target = getattr(each, "loadable_target_origin", None)
        if target is not None and target.module_name == _MODULE:
            return remote_origin.RemoteRepositoryOrigin(
                each, "__repository__"
            )  # Dagster's name of the only one
    return None


def _show_on_timeline(
    instance: dg.DagsterInstance, run_id: str, served: RemoteRepositoryOrigin | None
) -> None:
    """Say whose run it is: the UI shows runs by code location, and one in this process has none by itself."""
    run = instance.get_run_by_id(run_id)
    if run is not None and served is not None:
        instance.run_storage.replace_job_origin(run, served.get_job_origin(run.job_name))


@dataclass
class _Line:
    task: TaskID
    checks: int
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    state: str = ""
    unchanged: bool = False


@dataclass
class Followed:
    """What the run has reported so far, one line an asset."""

    began: Callable[[], None] = lambda: None
    progress: Progress | None = None
    out: Console | None = None
    lines: dict[str, _Line] = field(default_factory=dict)
    costs: list[float] = field(default_factory=list)

    def start(self, progress: Progress, out: Console, checks: dict[str, int]) -> None:
        """Draw one bar an asset."""
        self.progress, self.out = progress, out
        for asset, count in checks.items():
            task = progress.add_task(asset, total=1 + count, start=False, state="waits", mark=" ")
            self.lines[asset] = _Line(task, count)

    def event(self, event: dg.DagsterEvent) -> None:
        """Follow one event of the run."""
        kind, step = event.event_type_value, event.step_key or ""
        if kind == "PIPELINE_START":
            self.began()
        asset = step.removesuffix("_checks")
        line, progress = self.lines.get(asset), self.progress
        if line is None or progress is None:
            return
        if kind == "STEP_START" and step == asset:
            progress.start_task(line.task)
            self._say(line, "works")
        elif kind == "ASSET_OBSERVATION" and event.asset_key == dg.AssetKey(
            asset
        ):  # a source's is no progress
            told = event.asset_observation_data.asset_observation.metadata
            figures: dict[str, Any] = {
                name: each.value for name, each in told.items() if not name.startswith((SAMPLES, CURVE))
            }
            share = min(1.0, figures.pop("step", 0) / figures.pop("total", 1))
            progress.update(line.task, completed=share)
            parts = (f"{share:.0%}", *(f"{name} {_short(value)}" for name, value in figures.items()))
            self._say(line, "  ".join(parts))
        elif kind == "ASSET_MATERIALIZATION":
            shown = event.materialization.metadata
            line.unchanged = UNCHANGED in shown
            if not line.unchanged and COST in shown:
                cost: Any = shown[COST].value
                self.costs.append(cost)
            reason = shown[UNCHANGED if line.unchanged else MADE_BECAUSE].value
            line.state = f"{'skipped, unchanged' if line.unchanged else 'made'}: {reason}"
            progress.update(line.task, completed=1)
            self._say(line, line.state)
        elif kind == "ASSET_CHECK_EVALUATION":
            evaluation: Any = event.event_specific_data
            if evaluation.passed:
                line.passed += 1
            else:
                line.failed.append(f"{evaluation.check_name}: {evaluation.description}")
            progress.advance(line.task)
        elif kind in ("STEP_SUCCESS", "STEP_FAILURE") and (step != asset or kind == "STEP_FAILURE"):
            self._finish(asset, line, failed=kind == "STEP_FAILURE")

    def transfer(self, key: str, done: int, size: int) -> None:
        """Show a large file on its way from or to a remote store on its asset's line."""
        _, _, asset, *rest = key.split("/")
        line = self.lines.get(asset)
        if line is not None and size >= SHOWN_FROM:
            self._say(line, f"{rest[-1]}: {done / size:.0%} of {shown_size(size)}")

    def summary(self) -> str:
        """How much was made and how much skipped, and what it cost where that is known."""
        skipped = sum(line.unchanged for line in self.lines.values())
        money = f"; cost {sum(self.costs):.2f} at the prices of compute.prices" if self.costs else ""
        return f"{len(self.lines) - skipped} made, {skipped} skipped because nothing changed{money}"

    def _say(self, line: _Line, state: str) -> None:
        if self.progress is not None:
            self.progress.update(line.task, state=one_line(state))

    def _finish(self, asset: str, line: _Line, *, failed: bool) -> None:
        if self.progress is None or self.out is None:
            return
        self.progress.stop_task(line.task)
        verdict = f"{line.passed} of {line.checks} checks hold" if line.checks else ""
        mark = styled("red", "failed") if failed else styled("green", "ok")
        self.progress.update(line.task, mark="[red]✗[/]" if failed else "[green]✓[/]")
        self._say(line, f"{verdict}; {line.state}" if line.state else "failed")
        if not self.out.is_terminal:  # bars are for people; a log gets one line an asset
            self.out.print(mark, f"  {asset}  {line.state}  {verdict}", soft_wrap=True)
        for failure in line.failed:
            self.progress.console.print(styled("red", asset), f" {failure}", soft_wrap=True)


def flow_order(defs: dg.Definitions) -> list[str]:
    """Names of all assets that are made, each after what it is made from; sources are read, not made."""
    graph = defs.resolve_asset_graph()
    made = graph.materializable_asset_keys
    return [key.to_user_string() for key in graph.toposorted_asset_keys if key in made]


def select_assets(defs: dg.Definitions, select: str) -> set[str]:
    """Names of the assets that a selection names; sources outside the flow may be named, and are left out.

    Raises:
        UsageProblemError: It is no selection, or names nothing.
    """
    known = flow_order(defs)
    hint = nearest(select.strip("+*0123456789"), known) or f"the assets are {', '.join(known)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # `*` passes through an argument that is in beta
            graph = defs.resolve_asset_graph()
            names = [key.to_user_string() for key in graph.get_all_asset_keys()]
            keys = dg.AssetSelection.from_string(in_dagsters_words(select, names)).resolve(graph)
    except dg.DagsterError as error:
        raise UsageProblemError(f"--select {select!r} names no asset, or is no selection", hint) from error
    made = {key.to_user_string() for key in keys} & set(known)
    if not made:
        raise UsageProblemError(f"--select {select!r} names no asset", hint)
    return made


def in_dagsters_words(select: str, known: Sequence[str]) -> str:
    """A selection in which every asset that is named bare has `key:` before it.

    Dagster reads a bare name by its old rules, by which `a+` is one layer; with `key:`, by those of its documentation,
    by which `a+` is everything downstream, `a+2` two layers, and `and`, `or` and `not` join selections.

    Args:
        select: As a person writes it.
        known: Names of the assets.

    Example:
        >>> in_dagsters_words("risk_model+ or 1+release", ["risk_model", "release"])
        'key:"risk_model"+ or 1+key:"release"'
        >>> in_dagsters_words('key:"risk_model"+', ["risk_model"])
        'key:"risk_model"+'
    """
    names = "|".join(map(re.escape, known))
    return re.sub(rf'(?<![\w:"*])({names})(?![\w:"*])', r'key:"\1"', select)


def _check_count(defs: dg.Definitions, asset: str) -> int:
    return sum(key.asset_key == dg.AssetKey(asset) for key in defs.resolve_asset_graph().asset_check_keys)


def _screen(out: Console) -> Screen:
    """The terminal itself: during a run Dagster points stdout at the run's log file."""
    terminal = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    return Screen(file=terminal, force_terminal=out.is_terminal, width=None if out.is_terminal else out.width)


def _progress(out: Console) -> Progress:
    return Progress(
        TextColumn("{task.fields[mark]}"),
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=12)),
        BarColumn(bar_width=12),
        TimeElapsedColumn(),
        TextColumn(
            "{task.fields[state]}",
            markup=False,
            table_column=Column(overflow="fold", ratio=1),  # a reason is never cut
        ),
        console=out,
        expand=True,
        disable=not out.is_terminal,
    )


def _logger(followed: Followed) -> dg.LoggerDefinition:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            event = getattr(record, "dagster_meta", {}).get("dagster_event")
            if event is not None:
                followed.event(event)

    def build(_: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("churn.run", level=logging.DEBUG)
        logger.addHandler(Handler())
        return logger

    return dg.LoggerDefinition(build, description="Follows a run on the command line.")


def _explain(event: dg.DagsterEvent, run_id: str) -> int:
    """Say in one line why a step failed; returns its exit code."""
    data: Any = event.event_specific_data
    chain = list(_causes(data.error))
    families = named_errors()
    for error in reversed(chain):
        names = families.get(error.cls_name or "", (error.cls_name or "",))
        code = code_of(names, str(error.message))
        if code is not None:
            if (
                error.cls_name != "DagsterAssetCheckFailedError"
            ):  # the failed checks were named as they failed
                complain(f"{event.step_key}: {_one_line(error)}", hint_of(names, str(error.message)))
            return code
    if data.user_failure_data is not None and data.user_failure_data.description:
        complain(f"{event.step_key}: {data.user_failure_data.description}", hint_of(["CorruptArtifact"]))
        return REFUSED
    complain(f"{event.step_key}: {_one_line(chain[-1])}", f"details: `dagster dev`, run {run_id}")
    return RUN_FAILED


def _is_interruption(event: dg.DagsterEvent) -> bool:
    """Whether somebody stopped the run: Dagster calls it a failure, whose reason is that it ended unexpectedly."""
    data: Any = event.event_specific_data
    ended = event.event_type_value == "PIPELINE_FAILURE" and data is not None
    return ended and getattr(data.failure_reason, "value", None) == "UNEXPECTED_TERMINATION"


def _causes(error: Any) -> Iterable[Any]:
    while error is not None:
        yield error
        error = error.cause


def _one_line(error: Any) -> str:
    """The message of an error, without the class that Dagster puts before it."""
    text = " ".join(str(error.message).split())
    before, _, rest = text.partition(": ")
    return rest if error.cls_name and before.rpartition(".")[2] == error.cls_name else text


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
