"""Commands that act on a store: its channels, its history, what it keeps, its copies and its health."""

from __future__ import annotations

import getpass
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import REFUSED, STORE, UsageProblemError, complain, guarded, nearest
from churn_assets.cli.place import (
    ChannelOption,
    ExperimentOption,
    JsonOption,
    ReleaseArgument,
    open_place,
    open_uri,
)
from churn_assets.cli.screen import figure, note, out, print_json, size, table, watched
from churn_assets.cli.shown import one_line, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.store.acts import ActRecord
    from churn_assets.store.artifacts import ArtifactStore

store_app = typer.Typer(no_args_is_help=True, help="Whole stores.")

ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; needed, kept in the channel's log.")]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="URI of a store; the experiment's if left out.")
]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Who acts; the user's name if left out.")]


def user_name() -> str:
    """Who acts: in a container, a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def needed_reason(reason: str, command: str) -> str:
    """A reason that says something, as the UI's jobs ask for one too.

    Raises:
        UsageProblemError: It is left out or blank.
    """
    if not reason.strip():
        raise UsageProblemError(
            "--reason: found none, expected why; it is kept in the channel's log",
            f'churn {command} --reason "what was decided, and by what"',
        )
    return reason


def act_rows(records: Sequence[ActRecord], *details: str) -> list[dict[str, Any]]:
    """Acts of a log, the newest first, as rows of a table; each with some of its details."""
    return [
        {"record": each.seq, "at": f"{each.at:%Y-%m-%d %H:%M:%S}", "act": each.kind}
        | {name: each.details.get(name, "") for name in details}
        | {"actor": each.actor, "reason": each.reason}
        for each in reversed(records)
    ]


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

    reason = needed_reason(reason, "promote")
    place = open_place(context, experiment)
    record = promote_release(
        place.store,
        place.other(channel),
        place.release(release),
        required=registry().checks,
        actor=actor or user_name(),
        reason=reason,
        now=datetime.now(UTC),
        champion=place.channel,
    )
    out.print(
        styled("green", record.release),
        one_line(f" leads {record.channel} (record {record.seq}): {record.reason}"),
    )


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

    reason = needed_reason(reason, "rollback")
    place = open_place(context, experiment)
    record = roll_back(
        place.store,
        place.other(channel),
        None if to is None else place.release(to),
        actor=actor or user_name(),
        reason=reason,
        now=datetime.now(UTC),
    )
    out.print(styled("green", record.release), f" leads {record.channel} again (record {record.seq})")


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
    store: StoreOption = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Is a place fit to hold a store, and sound what it holds? Tries everything on scratch objects; exit 1 if not."""
    from churn_assets.release.whole import verify_whole
    from churn_assets.store.doctor import examine, look_through

    opened = _existing(context, experiment, store)
    findings = examine(opened.backend, lambda: datetime.now(UTC))
    if all(each.passed for each in findings):
        findings += look_through(opened, verify_whole)
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
    from churn_assets.offers.stored_log import earlier_keys
    from churn_assets.store.transfer import copy_store

    def tell(version: str, done: int, total: int) -> None:
        if watched():
            note(f"{done} of {total}: {version}")

    copied = copy_store(_existing(context, "", source), open_uri(context, target), tell, earlier_keys)
    if not (copied.versions or copied.there or copied.others or copied.records or copied.problems):
        message = f"{source}: found no version, no channel and nothing else, expected a store to copy"
        raise UsageProblemError(message, "mend FROM; nothing was copied")
    out.print(
        f"{copied.versions} versions copied ({size(copied.size)}), {copied.there} were there; "
        f"{copied.gate_reports} gate reports; {copied.others} other objects; "
        + (", ".join(f"{name}: {count} records" for name, count in copied.records.items()) or "no channel")
    )
    for key in copied.left:
        out.print(styled("yellow", "not copied, as it belongs to no version: "), one_line(key))
    for problem in copied.problems:
        complain(problem)
    if copied.problems:
        complain("no channel was copied: a store must not lead anybody to a version that does not verify")
        raise typer.Exit(STORE)


@store_app.command("verify")
@guarded
def verify(
    context: typer.Context,
    store: StoreOption = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Read every byte of a store: files, manifests, gate reports, logs, decisions, signatures; exit 3 if one is bad."""
    from churn_assets.release.whole import verify_whole

    found = verify_whole(_existing(context, experiment, store))
    if as_json:
        print_json(asdict(found))
    else:
        out.print(
            f"{found.versions} versions with {found.files} files ({size(found.size)}), {found.reports} gate reports, "
            f"{found.records} records of channels and acts, {found.others} decision segments"
        )
        for key in found.foreign:
            out.print(styled("yellow", "ignored, as the store never wrote it: "), one_line(key))
        if found.unfinished:
            out.print(f"{len(found.unfinished)} files of versions in the making, or left by a crash: ignored")
        for problem in found.problems:
            complain(problem)
    if found.problems:
        raise typer.Exit(STORE)


@store_app.command("forget")
@guarded
def forget(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    channel: ChannelOption = None,
    acts: Annotated[
        str | None, typer.Option("--acts", help="A log of acts instead, such as quickstart.offers.")
    ] = None,
) -> None:
    """Take a channel as it is, after its newest records were lost for good; here and in the store."""
    from churn_assets.store.acts import ActLog

    place = open_place(context, experiment)
    log = place.other(channel) if acts is None else ActLog(place.store, acts)
    out.print(f"{log.name} has {log.forget_lost()} records from here on")


@store_app.command("key")
@guarded
def key(
    file: Annotated[Path, typer.Argument(help="Where the private key goes; must not exist.", dir_okay=False)],
    role: Annotated[str, typer.Option("--role", help="builder or promoter.")],
) -> None:
    """Make a key to sign with: the private half in a file of your own, the public half to trust in an experiment."""
    from churn_assets.store.signatures import PRIVATE_KEYS, new_signing_key

    variable = next((name for known, name in PRIVATE_KEYS.items() if known == role), None)
    if variable is None:
        raise UsageProblemError(f"--role: found {role!r}, expected {' or '.join(PRIVATE_KEYS)}")
    pem, public = new_signing_key()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(pem)
    out.print(f"{variable}=@{file.absolute()}")
    out.print("Under store.trusted_keys of every experiment that trusts it:")
    print(f'- {{name: {file.stem}, role: {role}, public: "{public}"}}')  # noqa: T201 - whole, however wide


@store_app.command("sign")
@guarded
def sign(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    vouch: Annotated[
        bool,
        typer.Option("--vouch", help="Sign what nobody signed, too: you say that it is what it should be."),
    ] = False,
) -> None:
    """Sign what a store holds with the keys of this machine, as after a change of keys; bytes are verified first."""
    from churn_assets.store.resigning import sign_store

    signed, refused = sign_store(open_place(context, experiment).store, vouch=vouch)
    out.print(f"{signed} objects signed")
    for problem in refused:
        complain(problem)
    if refused:
        raise typer.Exit(STORE)


def _existing(context: typer.Context, experiment: str, uri: str | None) -> ArtifactStore:
    """The store that is named, or the experiment's; one that is misspelt is refused, and never made.

    Raises:
        UsageProblemError: It is no folder that is there.
    """
    from churn_assets.store.local import LocalBackend

    place = None if uri else open_place(context, experiment)
    store = open_uri(context, uri or "") if place is None else place.store
    if isinstance(store.backend, LocalBackend) and not store.backend.root.is_dir():
        root = store.backend.root
        beside = (
            [each.name for each in root.parent.iterdir() if each.is_dir()] if root.parent.is_dir() else []
        )
        said = f"{place.uri if place else uri}: found no folder {root}, expected a store"
        raise UsageProblemError(
            said, nearest(root.name, beside) or "make the folder first if it is to be a new store"
        )
    return store
