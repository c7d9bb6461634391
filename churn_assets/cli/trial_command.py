"""`churn trial`: let a candidate decide for a share of the customers beside the release that leads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from churn_assets.cli.errors import guarded
from churn_assets.cli.place import ChannelOption, ExperimentOption, JsonOption, ReleaseArgument, open_place
from churn_assets.cli.screen import out, print_json, table
from churn_assets.cli.shown import one_line, styled
from churn_assets.cli.store_commands import ActorOption, ReasonOption, needed_reason, user_name

trial_app = typer.Typer(
    no_args_is_help=True, help="Try a release on a share of the customers beside what leads."
)


@trial_app.command("start")
@guarded
def start(
    context: typer.Context,
    release: ReleaseArgument = "latest",
    share: Annotated[
        list[float] | None,
        typer.Option(
            help="Of the customers left to the policy; again for each later step. One of 0.5 if left out."
        ),
    ] = None,
    step_hours: Annotated[int, typer.Option(min=1, help="From one share to the next.")] = 168,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
) -> None:
    """Let a release decide for a share of the customers; it must keep all that a promotion asks."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.begin_trial import start_trial
    from churn_assets.serving.reload import load_served
    from churn_assets.serving.trial import beside

    reason = needed_reason(reason, "trial start")
    place = open_place(context, experiment)
    followed, candidate, now = place.other(channel), place.release(release), datetime.now(UTC)
    head, automation = followed.head(), place.experiment.automation
    if head is not None:
        leads, tried = (load_served(place.store, ref, 1.0, now) for ref in (head.ref, candidate))
        beside(leads, tried, 0.0, "")
    record = start_trial(
        place.store,
        followed,
        candidate,
        required=registry().checks,
        shares=share or [0.5],
        step_hours=step_hours,
        rule=automation.promotion.model_dump_json(),
        guardrails=automation.live.model_dump_json(),
        actor=actor or user_name(),
        reason=reason,
        now=now,
    )
    seconds = place.experiment.serving.poll_seconds
    out.print(
        styled("green", str(candidate)),
        one_line(f" is tried (record {record.seq}); servers follow within {seconds:g} s"),
    )


@trial_app.command("stop")
@guarded
def stop(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
) -> None:
    """End the trial that runs: what leads decides for everybody again."""
    from churn_assets.release.trial import stop_trial

    reason = needed_reason(reason, "trial stop")
    place = open_place(context, experiment)
    record = stop_trial(
        place.store, place.other(channel), actor=actor or user_name(), reason=reason, now=datetime.now(UTC)
    )
    seconds = place.experiment.serving.poll_seconds
    out.print(one_line(f"The trial is over (record {record.seq}); servers follow within {seconds:g} s"))


@trial_app.command("status")
@guarded
def status(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which trial runs at what share, and who started and stopped trials when and why."""
    from churn_assets.release.trial import running, trial_log

    place = open_place(context, experiment)
    followed = place.other(channel)
    records = trial_log(place.store, followed.name).history()
    trial = running(records[-1] if records else None, followed.head())
    found: dict[str, Any] | None = None
    if trial is not None:
        found = trial.model_dump() | {"share": trial.share_at(datetime.now(UTC), records[-1].at)}
    rows = [
        {
            "record": each.seq,
            "at": f"{each.at:%Y-%m-%d %H:%M:%S}",
            "act": each.kind,
            "candidate": each.details.get("candidate", ""),
            "actor": each.actor,
            "reason": each.reason,
        }
        for each in reversed(records)
    ]
    if as_json:
        print_json({"trial": found, "acts": rows})
        return
    if found is None:
        out.print("No trial runs")
    else:
        told = f" decides for {found['share']:.3g} of the customers left to the policy, beside {found['champion']}"
        out.print(styled("green", found["candidate"]), one_line(told))
    if rows:
        out.print(table(rows))
