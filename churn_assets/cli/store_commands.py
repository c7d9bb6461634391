"""Commands that act on a store: its channels, its history, what it keeps, its copies and its health."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from churn_assets.cli.errors import REFUSED, STORE, complain, guarded
from churn_assets.cli.place import (
    ChannelOption,
    ExperimentOption,
    JsonOption,
    ReleaseArgument,
    open_place,
    open_uri,
)
from churn_assets.cli.screen import figure, note, out, print_json, size, table, watched

store_app = typer.Typer(no_args_is_help=True, help="Whole stores.")

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
    from churn_assets.flow.registry import registry
    from churn_assets.release.promotion import promote as promote_release

    place = open_place(context, experiment)
    record = promote_release(
        place.store,
        place.other(channel),
        place.release(release),
        required=registry().checks,
        actor=actor or getpass.getuser(),
        reason=reason,
        now=datetime.now(UTC),
        champion=place.channel,
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


@guarded
def history(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Everything that ever led a channel, newest first, after verifying every record and its link."""
    place = open_place(context, experiment)
    log = place.other(channel)
    rows = [
        {
            "record": record.seq,
            "at": f"{record.at:%Y-%m-%d %H:%M:%S}",
            "action": record.action,
            "release": record.release,
            "actor": record.actor,
            "reason": record.reason,
            "evidence": record.gate_report_digest[:12],
        }
        for record in reversed(log.history())
    ]
    if as_json:
        print_json(rows)
    elif rows:
        out.print(table(rows, f"History of {log.name} in {place.uri}"))
    else:
        out.print(f"Nothing leads {log.name} in {place.uri} yet: churn promote")


@guarded
def diff(
    context: typer.Context,
    a: ReleaseArgument,
    b: ReleaseArgument,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """What differs between two releases: versions, figures, thresholds, digests of content, config and code, files."""
    from dataclasses import asdict

    from churn_assets.release.compare import differences, facts_of

    place = open_place(context, experiment)
    left, right = place.release(a), place.release(b)
    facts = facts_of(place.store, left), facts_of(place.store, right)
    found = differences(*facts)
    if as_json:
        print_json({"a": str(left), "b": str(right), "differences": [asdict(each) for each in found]})
        return
    out.print(f"a  {left}\nb  {right}")
    out.print(table([asdict(each) | {"a": figure(each.a), "b": figure(each.b)} for each in found]))
    same = [asset for asset in facts[0] if asset not in {each.asset for each in found}]
    out.print(f"The same in both: {', '.join(same) or 'nothing'}")


@guarded
def retention(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    apply: Annotated[bool, typer.Option("--apply", help="Remove what may go; only told otherwise.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Show what stays, too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What may go from a store, and why; the store is the whole of it, whatever experiment names it."""
    from churn_assets.store.retention import collect, review

    store = open_place(context, experiment).store
    plan = review(store, datetime.now(UTC))
    if apply:
        collect(store, plan)
    rows = [
        {
            "version": str(row.ref),
            "size": size(row.size),
            "": ("gone" if apply else "may go") if row.collect else "stays",
            "reason": row.reason,
        }
        for row in plan.rows
        if row.collect or everything
    ]
    if as_json:
        print_json(
            {
                "applied": apply,
                "freed_bytes": plan.freed,
                "versions": [
                    {"version": str(row.ref), "bytes": row.size, "collect": row.collect, "reason": row.reason}
                    for row in plan.rows
                ],
            }
        )
        return
    if rows:
        out.print(table(rows))
    verb = "removed" if apply else "may go"
    out.print(f"{len(plan.collected)} of {len(plan.rows)} versions {verb}, {size(plan.freed)}")
    if plan.collected and not apply:
        out.print("Nothing was removed: add --apply")


@guarded
def doctor(
    context: typer.Context,
    store: Annotated[
        str | None, typer.Option("--store", help="URI of a store; the experiment's if left out.")
    ] = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Is a place fit to hold a store? Tries every operation on scratch objects, and removes them; exit 1 if not."""
    from dataclasses import asdict

    from churn_assets.store.doctor import examine

    opened = open_place(context, experiment).store if store is None else open_uri(context, store)
    findings = examine(opened.backend, lambda: datetime.now(UTC))
    if as_json:
        print_json([asdict(each) for each in findings])
    else:
        out.print(
            table(
                [
                    {
                        "check": each.check,
                        "verdict": "passed" if each.passed else "FAILED",
                        "found": each.found,
                        "what to do": each.advice,
                    }
                    for each in findings
                ]
            )
        )
    if not all(each.passed for each in findings):
        raise typer.Exit(REFUSED)


@store_app.command("copy")
@guarded
def copy(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FROM", help="URI of the store to copy.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="URI of the place to copy it to.")],
) -> None:
    """Copy a whole store, verifying every file, report and record; run it again to go on, or to catch up."""
    from churn_assets.store.transfer import copy_store

    def tell(version: str, done: int, total: int) -> None:
        if watched():
            note(f"{done} of {total}: {version}")

    copied = copy_store(open_uri(context, source), open_uri(context, target), tell)
    out.print(
        f"{copied.versions} versions copied ({size(copied.size)}), {copied.there} were there; "
        f"{copied.gate_reports} gate reports; {copied.others} other objects; "
        + (", ".join(f"{name}: {count} records" for name, count in copied.records.items()) or "no channel")
    )
    for key in copied.left:
        out.print(f"[yellow]not copied, as it belongs to no version:[/] {key}")
    for problem in copied.problems:
        complain(problem)
    if copied.problems:
        complain("no channel was copied: a store must not lead anybody to a version that does not verify")
        raise typer.Exit(STORE)
