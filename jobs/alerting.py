"""The sensor that tells people: what failed, what automation did to a channel, what is too old or waits for them."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import dagster as dg

from churn_assets.monitoring import requests
from churn_assets.monitoring.alerts import Alert, AlertNotSentError, notifier
from churn_assets.monitoring.config import AlertsConfig
from churn_assets.monitoring.freshness import too_old
from churn_assets.release.evidence import Required
from churn_assets.release.whole import verify_whole
from churn_assets.store.errors import StoreError
from jobs.operations import stores_of
from jobs.retraining import NOT_LOADED
from jobs.scene import BROKEN, BrokenExperiment, Scene, considered, each_experiment
from jobs.train import TRAIN
from jobs.trials import BEGIN, END, rule_of, trial_look

# The tag of a run that people were told of. Set afterwards: a crash in between tells them twice rather than never.
TOLD = "churn/told"
_ACTS = ("promote", "rollback", BEGIN, END)
# Why an experiment that cannot be read was told of, in the memory of the sensor.
_UNSEEN = "unseen"
# Older failures are history: nobody wants to hear of them when the sensor is started.
_RECENT = timedelta(days=7)


def alerting(
    flow: Mapping[str, Sequence[str]], required: Required, interval: int, known: Collection[str]
) -> dg.SensorDefinition:
    """The sensor.

    Args:
        flow: Asset to the assets that it is made from.
        required: Checks that each asset needs.
        interval: Least seconds between two ticks.
        known: Experiments that are partitions.
    """
    return each_experiment(
        "alerts",
        lambda scene: _alerts(scene, required, known),
        flow,
        interval,
        "Tells people of failed runs, automatic promotions and rollbacks, data and models that are too old, "
        "whatever cannot be looked at, stores that are not as they were written, candidates that wait for them; by log "
        "or webhook. Each once.",
        TRAIN,
        while_off=True,
        broken=_unseen,
    )


def _alerts(scene: Scene, required: Required, known: Collection[str]) -> list[dg.RunRequest]:
    config = scene.automation.alerts
    scene.memory.pop(_UNSEEN, None)
    for run in _to_be_told(scene):
        alert = _alert(run, scene.name, config.page, scene.automation.attempts)
        if _told(scene, alert, f"run {run.run_id[:8]}"):
            scene.instance.add_run_tags(run.run_id, {TOLD: datetime.now(UTC).isoformat(timespec="seconds")})
    found = _found(scene, lambda _: _waiting(scene, required)) | _not_loaded(scene, known)
    for find in (_decided, _too_old, _unreadable, _ignored, _store_faults):
        found |= _found(scene, find)
    # A lost cursor tells them twice rather than never; what is over is forgotten.
    before = set(scene.memory.get("told", []))
    scene.memory["told"] = sorted(
        key for key, alert in found.items() if key in before or _told(scene, alert, alert.title)
    )
    return []


def _found(scene: Scene, look: Callable[[Scene], dict[str, Alert]]) -> dict[str, Alert]:
    """What a look finds; that it finds nothing out is worth an alert too, and stops no other look."""
    try:
        return look(scene)
    except BROKEN as error:
        why = f"{type(error).__name__}: {error}"
        scene.told.append(f"cannot be looked at: {why}")
        return {f"unseen: {look.__name__}: {type(error).__name__}": _cannot_be_looked_at(scene.name, why)}


def _cannot_be_looked_at(experiment: str, why: str) -> Alert:
    return Alert(
        title=f"{experiment}: cannot be looked at",
        detail=why,
        what_to_do="Mend what it names (docs/runbook.md). Until then automation of this experiment stands still, all "
        "of it or a part: nothing is trained, promoted or rolled back by itself.",
    )


def _unseen(broken: BrokenExperiment) -> bool:
    """People hear once of an experiment that cannot be read: as it says itself, else as any other one says."""
    if broken.memory.get(_UNSEEN) == broken.why:
        return True
    known, names = [AlertsConfig()], [broken.name]
    with suppress(OSError):
        names += broken.project.names()
    for name in names:
        with suppress(*BROKEN):
            known.append(broken.project.experiment(name).automation.alerts)
    settings = next((each for each in known if each.webhook_variable is not None), known[0])
    alert = _cannot_be_looked_at(broken.name, broken.why)
    try:
        notifier(settings, os.environ, broken.log).send(alert)
    except AlertNotSentError as error:
        broken.told.append(f"nobody was told of {alert.title}: {error}")
        return False
    broken.memory[_UNSEEN] = broken.why
    broken.told.append(f"told: {alert.title}")
    return True


def _told(scene: Scene, alert: Alert, what: str) -> bool:
    try:
        notifier(scene.automation.alerts, os.environ, scene.log).send(alert)
    except AlertNotSentError as error:
        scene.told.append(f"nobody was told of {what}: {error}")
        return False
    scene.told.append(f"told: {alert.title}")
    return True


def _too_old(scene: Scene) -> dict[str, Alert]:
    """By what was found, so that people hear again once the age has doubled."""
    again = (
        "It is made again by itself; where that finds it unchanged, bring newer data."
        if scene.automation.enabled
        else f"Bring newer data; then churn run {scene.name}."
    )
    return {
        finding.evidence: Alert(
            title=f"{scene.name}: {finding.reason}",
            detail="automation.max_age_days says how old it may be.",
            what_to_do=again,
            link=_page(scene, *finding.assets),
        )
        for finding in too_old(scene.newest(), scene.automation.max_age_days, scene.now)
    }


def _waiting(scene: Scene, required: Required) -> dict[str, Alert]:
    """The candidate that may lead and that only a person promotes."""
    from churn_assets.release.bundle import RELEASE_ASSET
    from churn_assets.release.policy import overtaken

    releases, head = scene.versions(RELEASE_ASSET), scene.channel.head()
    leader = None if head is None else head.ref
    automation = scene.automation
    if not automation.enabled or automation.promotion.mode != "manual" or not releases:
        return {}
    candidate = releases[-1]
    if candidate == leader or overtaken(candidate, leader) or scene.channel.has_led(candidate):
        return {}
    decision = considered(scene, candidate, head, required)
    if not decision.promote:
        return {}
    return {
        f"{candidate} after record {0 if head is None else head.seq}": Alert(
            title=f"{scene.name}: release {candidate.version} waits for a person",
            detail=f"{decision.reason[:1].upper()}{decision.reason[1:]}; "
            f"{'nothing leads' if leader is None else f'{leader.version} leads'}.",
            what_to_do=f"churn diff champion {candidate.version} -e {scene.name}, then churn promote "
            f"{candidate.version} -e {scene.name}; the sensor promotions says what it would do.",
            link=_page(scene, RELEASE_ASSET),
        )
    }


def _decided(scene: Scene) -> dict[str, Alert]:
    """The trial whose candidate may lead by its rule, where only a person promotes."""
    automation = scene.automation
    if not automation.enabled or automation.promotion.mode != "manual":
        return {}
    trial = scene.trial()
    if trial is None:
        return {}
    rule, found = rule_of(trial), trial_look(scene, trial).shadow
    if not found.release or found.decisions < rule.min_decisions:
        return {}
    version = trial.candidate.version
    return {
        f"trial {trial.record.seq} is decided": Alert(
            title=f"{scene.name}: the trial of {version} is decided",
            detail=f"On {found.decisions} decisions {found.reason}.",
            what_to_do=f"churn promote {version} -e {scene.name}, which ends the trial; or churn trial stop.",
            link=_page(scene, "release"),
        )
    }


def _unreadable(scene: Scene) -> dict[str, Alert]:
    """The file of outcomes that cannot be read: what looks at decisions stands still meanwhile.

    Recalled, as it costs reading.
    """
    from churn_assets.offers.log import OfferLogError
    from churn_assets.offers.outcome_file import outcome_reports

    served = scene.decisions
    if not scene.automation.enabled or served is None or served.outcomes is None:
        return {}

    def find() -> str:
        try:
            outcome = scene.experiment.economics.outcome
            outcome_reports(served.outcomes, scene.project.root, served.reading, outcome)
        except (OfferLogError, StoreError) as error:
            return str(error)
        return ""

    why = scene.recall("outcomes", {"file": served.outcomes}, {"at": scene.now.isoformat()}, find)
    if not why:
        return {}
    return {
        why: Alert(
            title=f"{scene.name}: outcomes cannot be read",
            detail=why,
            what_to_do="Mend the file. Until then nothing judges what decisions earn: no drift, live performance, "
            "shadow comparison or guardrail.",
            link=_page(scene, "offer_log"),
        )
    }


def _ignored(scene: Scene) -> dict[str, Alert]:
    """What stands in the decision log and is no sound segment: it is left out, and somebody should know."""
    if not scene.automation.enabled:
        return {}
    return {
        f"{key}: {why}": Alert(
            title=f"{scene.name}: the decision log holds what is no sound segment",
            detail=f"{key}: {why}. Everything else in the log is read.",
            what_to_do="Restore the segment's bytes, or take the object away, see docs/runbook.md.",
            link=_page(scene, "decision_log"),
        )
        for key, why in scene.served().problems.items()
    }


def _not_loaded(scene: Scene, known: Collection[str]) -> dict[str, Alert]:
    if scene.name in known or not scene.automation.enabled:
        return {}
    why = "not loaded"
    return {why: Alert(f"{scene.name}: is not trained by itself yet", NOT_LOADED, "Reload the definitions.")}


def _store_faults(scene: Scene) -> dict[str, Alert]:
    """What a store holds and should not, or should and does not; told of the first experiment that uses it.

    Recalled, as it costs reading. Files are listed and not read: `daily_verification` reads every byte.
    """
    uri = scene.project.store_uri(scene.name)
    if stores_of(scene.project, scene.log).get(uri) != scene.name:
        return {}

    def find() -> dict[str, list[str]]:
        found = verify_whole(scene.store, every_byte=False)
        return {"problems": found.problems, "foreign": found.foreign}

    found = scene.recall("store", {"uri": uri}, {"at": scene.now.isoformat()}, find)
    alerts = {
        f"store: {problem}": Alert(
            title=f"{scene.name}: the store is not as it was written, or cannot be read",
            detail=problem,
            what_to_do=f"churn store verify -e {scene.name} names all of it; docs/runbook.md says what to do.",
        )
        for problem in found["problems"]
    }
    if found["foreign"]:
        alerts[f"foreign: {requests.evidence_of({'keys': found['foreign']})}"] = Alert(
            title=f"{scene.name}: {len(found['foreign'])} foreign files in the store",
            detail=", ".join(found["foreign"][:10]),
            what_to_do="They are ignored. Take them away, and find out who put them there.",
        )
    return alerts


def _page(scene: Scene, asset: str) -> str:
    return f"{scene.automation.alerts.page.rstrip('/')}/assets/{asset}"


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


def _acted_on(run: dg.DagsterRun) -> str:
    """What the act was about: a release, or its record among the trials."""
    record = run.tags.get("churn/trial")
    return f", record {record} of trials" if record else f" of {run.tags.get('churn/release', 'a release')}"


def _alert(run: dg.DagsterRun, experiment: str, page: str, attempts: int) -> Alert:
    link = f"{page.rstrip('/')}/runs/{run.run_id}"
    because = run.tags.get(requests.REASON, "started by hand")
    if run.status == dg.DagsterRunStatus.SUCCESS:
        return Alert(
            title=f"{experiment}: automation did: {run.job_name}{_acted_on(run)}",
            detail=f"Because {because}",
            what_to_do="Nothing, if that is right; else churn history, and churn rollback or churn promote; of a "
            "trial churn trial status, start and stop.",
            link=link,
        )
    attempt = int(run.tags.get(requests.ATTEMPT, "0"))
    tried = f", attempt {attempt} of {attempts}" if attempt else ""
    again = bool(attempt) and attempt < attempts and requests.REFUSED not in run.tags
    return Alert(
        title=f"{experiment}: {run.job_name} failed{tried}",
        detail=f"It ran because: {because}",
        what_to_do="It is tried again by itself; look at the run if that fails too."
        if again
        else f"A check or a rule refused it, as it would again: churn checks -e {experiment} says which and what to do."
        if requests.REFUSED in run.tags
        else f"Look at the run and docs/runbook.md; then churn run {experiment}.",
        link=link,
    )
