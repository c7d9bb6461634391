"""`churn trial`: let a candidate decide for a share of the customers beside the release that leads."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from churn_assets.cli.errors import guarded
from churn_assets.cli.place import ChannelOption, ExperimentOption, JsonOption, ReleaseArgument, open_place
from churn_assets.cli.screen import out, print_json, table
from churn_assets.cli.shown import one_line, styled
from churn_assets.cli.store_commands import ActorOption, ReasonOption, act_rows, needed_reason, user_name

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
            help="Of the customers left to the policy; again for each later step. "
            "As automation.promotion.trial says if left out."
        ),
    ] = None,
    step_hours: Annotated[
        int | None, typer.Option(min=1, help="From one share to the next; as there if left out.")
    ] = None,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
) -> None:
    """Let a release decide for a share of the customers; it must keep all that a promotion asks."""
    from churn_assets.flow.registry import registry
    from churn_assets.release.begin_trial import start_trial

    reason = needed_reason(reason, "trial start")
    place = open_place(context, experiment)
    candidate, automation = place.release(release), place.experiment.automation
    record = start_trial(
        place.store,
        place.other(channel),
        candidate,
        required=registry().checks,
        policy=automation.promotion,
        guardrails=automation.live.model_dump_json(),
        actor=actor or user_name(),
        reason=reason,
        now=datetime.now(UTC),
        shares=share,
        step_hours=step_hours,
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
    from churn_assets.release.trial import trial_now
    from churn_assets.store.tried import trial_log

    place = open_place(context, experiment)
    followed = place.other(channel)
    records = trial_log(place.store, followed.name).history()
    trial = trial_now(place.store, followed, datetime.now(UTC))
    found: dict[str, Any] | None = None
    if trial is not None:
        grows_at = None if trial.grows_at is None else trial.grows_at.isoformat()
        found = trial.design.model_dump() | {
            "started_by": trial.record.seq,
            "share": trial.share,
            "grows_at": grows_at,
        }
    rows = act_rows(records, "candidate")
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
