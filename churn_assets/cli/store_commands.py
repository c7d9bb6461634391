"""Commands that act on a store: its channels, its history, what it keeps, its copies and its health."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from churn_assets.cli.errors import guarded
from churn_assets.cli.place import (
    ChannelOption,
    ExperimentOption,
    ReleaseArgument,
    open_place,
    required_checks,
)
from churn_assets.cli.screen import out

ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the channel's log.")]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Who acts; the user's name if left out.")]


@guarded
def promote(
    context: typer.Context,
    release: ReleaseArgument = "latest",
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
) -> None:
    """Let a release lead a channel, after verifying everything about it again."""
    from churn_assets.release.promotion import promote as promote_release

    place = open_place(context, experiment)
    record = promote_release(
        place.store,
        place.other(channel),
        place.release(release),
        required=required_checks(),
        actor=actor or getpass.getuser(),
        reason=reason,
        now=datetime.now(UTC),
    )
    out.print(f"[green]{record.release}[/] leads {record.channel} (record {record.seq}): {record.reason}")


@guarded
def rollback(
    context: typer.Context,
    to: Annotated[
        str | None, typer.Option("--to", help="Release to go back to; the one before, if left out.")
    ] = None,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    reason: ReasonOption = "",
    actor: ActorOption = None,
) -> None:
    """Let a release lead again that led before; works while the current one is broken."""
    from churn_assets.release.promotion import rollback as roll_back

    place = open_place(context, experiment)
    record = roll_back(
        place.store,
        place.other(channel),
        None if to is None else place.release(to),
        actor=actor or getpass.getuser(),
        reason=reason,
        now=datetime.now(UTC),
    )
    out.print(f"[green]{record.release}[/] leads {record.channel} again (record {record.seq})")
