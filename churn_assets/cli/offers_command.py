"""`churn offers`: stop all offers of the servers that follow a channel, and make them again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from churn_assets.cli.errors import guarded
from churn_assets.cli.place import ChannelOption, ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import out, print_json, table
from churn_assets.cli.shown import one_line, styled
from churn_assets.cli.store_commands import ActorOption, ReasonOption, act_rows, needed_reason, user_name

if TYPE_CHECKING:
    from churn_assets.serving.switch import SwitchAct

offers_app = typer.Typer(no_args_is_help=True, help="Stop all offers, and make them again.")


@offers_app.command("stop")
@guarded
def stop_offers(
    context: typer.Context,
    reason: ReasonOption = "",
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    actor: ActorOption = None,
) -> None:
    """Nobody is made an offer by any server of the channel, until `churn offers resume`; answers go on."""
    _throw(context, "stop", reason, experiment, channel, actor)


@offers_app.command("resume")
@guarded
def resume_offers(
    context: typer.Context,
    reason: ReasonOption = "",
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    actor: ActorOption = None,
) -> None:
    """Offers are made again."""
    _throw(context, "resume", reason, experiment, channel, actor)


def _throw(
    context: typer.Context,
    act: SwitchAct,
    reason: str,
    experiment: str,
    channel: str | None,
    actor: str | None,
) -> None:
    from churn_assets.serving.switch import switch_log, throw_switch

    reason = needed_reason(reason, f"offers {act}")
    place = open_place(context, experiment)
    log = switch_log(place.store, place.other(channel).name)
    record = throw_switch(log, act, actor=actor or user_name(), reason=reason, now=datetime.now(UTC))
    state = styled("red", "stopped") if act == "stop" else styled("green", "made again")
    seconds = place.experiment.serving.poll_seconds
    out.print("Offers are ", state, one_line(f" (record {record.seq}); servers follow within {seconds:g} s"))


@offers_app.command("status")
@guarded
def offers_status(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whether offers are made, and who stopped or resumed them when and why."""
    from churn_assets.serving.switch import is_stopped, switch_log

    place = open_place(context, experiment)
    records = switch_log(place.store, place.other(channel).name).history()
    rows = act_rows(records)
    stopped = place.experiment.serving.kill_switch or is_stopped(records[-1] if records else None)
    if as_json:
        print_json({"stopped": stopped, "acts": rows})
        return
    out.print("Offers are ", styled("red", "stopped") if stopped else styled("green", "made"))
    if rows:
        out.print(table(rows))
