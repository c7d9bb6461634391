"""The sensor that tells people: of runs that failed, and of what automation did to a channel. Each once."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from churn_assets.monitoring import requests
from churn_assets.monitoring.alerts import Alert, AlertNotSentError, notifier
from jobs.scene import Scene, each_experiment
from jobs.train import train

# The tag of a run that people were told of. Set afterwards: a crash in between tells them twice rather than never.
TOLD = "churn/told"
_ACTS = ("promote", "rollback")
# Older failures are history: nobody wants to hear of them when the sensor is started.
_RECENT = timedelta(days=7)


def alerting(flow: Mapping[str, Sequence[str]], interval: int) -> dg.SensorDefinition:
    """The sensor.

    Args:
        flow: Asset to the assets that it is made from.
        interval: Least seconds between two ticks.
    """
    return each_experiment(
        "alerts",
        _alerts,
        flow,
        interval,
        "Tells people of runs that failed and of automatic promotions and rollbacks, by log or webhook. Each once.",
        train.name,
        while_off=True,
    )


def _alerts(scene: Scene) -> list[dg.RunRequest]:
    config = scene.automation.alerts
    for run in _to_be_told(scene):
        alert = _alert(run, scene.name, config.page, scene.automation.attempts)
        try:
            notifier(config, os.environ, scene.log).send(alert)
        except AlertNotSentError as error:
            scene.told.append(f"nobody was told of run {run.run_id[:8]}: {error}")
            continue
        scene.instance.add_run_tags(run.run_id, {TOLD: datetime.now(UTC).isoformat(timespec="seconds")})
        scene.told.append(f"told: {alert.title}")
    return []


def _to_be_told(scene: Scene) -> list[dg.DagsterRun]:
    """Runs of the experiment that failed, and acts of automation that succeeded; oldest first."""
    since = scene.now - _RECENT
    found = {}
    for tag in (requests.EXPERIMENT, "dagster/partition"):
        wanted = dg.RunsFilter(
            tags={tag: scene.name},
            statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS],
            created_after=since,
        )
        for record in scene.instance.get_run_records(wanted):
            run = record.dagster_run
            failed = run.status == dg.DagsterRunStatus.FAILURE
            if TOLD not in run.tags and (failed or run.job_name in _ACTS):
                found[run.run_id] = (record.create_timestamp, run)
    return [run for _, run in sorted(found.values(), key=lambda pair: pair[0])]


def _alert(run: dg.DagsterRun, experiment: str, page: str, attempts: int) -> Alert:
    link = f"{page.rstrip('/')}/runs/{run.run_id}"
    because = run.tags.get(requests.REASON, "started by hand")
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return Alert(
            title=f"{experiment}: automation did: {run.job_name} of {run.tags.get('churn/release', 'a release')}",
            detail=f"Because {because}",
            what_to_do="Nothing, if that is right; else churn history, and churn rollback or churn promote.",
            link=link,
        )
    attempt = int(run.tags.get(requests.ATTEMPT, "0"))
    tried = f", attempt {attempt} of {attempts}" if attempt else ""
    again = bool(attempt) and attempt < attempts
    return Alert(
        title=f"{experiment}: {run.job_name} failed{tried}",
        detail=f"It ran because: {because}",
        what_to_do="It is tried again by itself; look at the run if that fails too."
        if again
        else f"Look at the run and docs/runbook.md; then churn run {experiment}.",
        link=link,
    )
