"""Commands about personal data: where they are, who asked for them, and how a customer is erased."""

from __future__ import annotations

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.cli.errors import REFUSED, STORE, UsageProblemError, complain, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, Place, open_place
from churn_assets.cli.screen import out, print_json, table
from churn_assets.cli.shown import one_line
from churn_assets.cli.store_commands import ActorOption, user_name

if TYPE_CHECKING:
    from churn_assets.privacy.erasure import Erased, ErasedPlace

privacy_app = typer.Typer(no_args_is_help=True, help="Personal data.")


@privacy_app.command("map")
@guarded
def data_map(as_json: JsonOption = False) -> None:
    """Where personal data are, how customers are named there, how long they stay, and what erasing does there."""
    from churn_assets.privacy.places import rows

    found = rows()
    if as_json:
        print_json(found)
    else:
        out.print(table(found, "Personal data of this project"))


@privacy_app.command("audit")
@guarded
def show_audit(
    context: typer.Context,
    customer: Annotated[str | None, typer.Option("--customer", help="Only acts about this customer.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Who asked for whose data, oldest first: commands here, and the console. Calls stand in the decision log."""
    from churn_assets.privacy.audit import entries
    from churn_assets.store.privacy_key import privacy_key

    found = list(entries(context.obj, customer or "", privacy_key(os.environ)))
    if as_json:
        print_json(found)
    elif found:
        shown = [{name: each[name] for name in ("at", "who", "did", "customers", "about")} for each in found]
        out.print(table(shown, "Who asked"))
    else:
        out.print("Nobody asked for anything yet")


@privacy_app.command("retention")
@guarded
def decision_retention(
    context: typer.Context,
    experiment: ExperimentOption = "quickstart",
    apply: Annotated[
        bool, typer.Option("--apply", help="Delete what is too old; only told otherwise.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Decisions that are older than `privacy.keep_decisions_days`: counts stay, segments go."""
    from churn_assets.privacy.decision_retention import age_out

    place = open_place(context, experiment)
    days = place.experiment.privacy.keep_decisions_days
    if days is None:
        message = f"{experiment}: privacy.keep_decisions_days: found nothing, expected a number of days"
        raise UsageProblemError(message, "write it into the experiment; decisions are kept for ever without")
    done = age_out(place.store, experiment, days, datetime.now(UTC), apply=apply)
    if as_json:
        print_json(asdict(done))
    else:
        verb = "deleted, their counts stay" if apply else "may go: add --apply"
        out.print(f"{len(done.gone if apply else done.going)} segments older than {days} days {verb}")
    for problem in done.problems:
        complain(one_line(problem))
    if done.problems:
        raise typer.Exit(STORE)


@guarded
def erase(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="Id of the customer.")],
    experiment: ExperimentOption = "quickstart",
    actor: ActorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase a customer from the store, the decision log and what is made from them; exit 3 where something is left."""
    from churn_assets.customers.names import names_of
    from churn_assets.privacy.erasure import erase as erase_from
    from churn_assets.store.erasures import Subjects
    from churn_assets.store.privacy_key import privacy_key

    if not customer.strip():
        raise UsageProblemError("CUSTOMER: found a blank, expected the id of a customer")
    place, key = open_place(context, experiment), privacy_key(os.environ)
    now, who = datetime.now(UTC), actor or user_name()
    read_by(context, "erase", [customer], about=place.uri, who=who)
    subjects, where = Subjects(place.store.backend, key), erased_place(place, context.obj)
    done = erase_from(where, customer, names_of, subjects, who=who, now=now)
    if as_json:
        print_json(asdict(done))
    else:
        _show(done)
    for problem in done.problems:
        complain(one_line(problem))
    for other in done.alike:
        complain(
            one_line(f"CUSTOMER: found nobody of this id, but {other!r}"), "erase that one, if it is the same"
        )
    if done.problems or done.alike:
        raise typer.Exit(STORE if done.problems else REFUSED)


def erased_place(place: Place, root: Path) -> ErasedPlace:
    """Store, servers' folders and index of an experiment's project."""
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.privacy.erasure import ErasedPlace

    experiment = place.experiment
    logs = {experiment.name: root / experiment.serving.decision_log.folder}
    price = experiment.section(CustomersConfig).monthly_revenue
    return ErasedPlace(place.store, root, logs, frozenset({price} if price else ()))


def read_by(
    context: typer.Context, did: str, customers: list[str], *, about: str = "", who: str | None = None
) -> None:
    """Record that somebody asks for a customer's data, before they get them."""
    from churn_assets.privacy.audit import record
    from churn_assets.store.privacy_key import privacy_key

    record(
        context.obj,
        who=who or user_name(),
        did=did,
        now=datetime.now(UTC),
        customers=customers,
        key=privacy_key(os.environ),
        about=about,
    )


def _show(done: Erased) -> None:
    if not (done.files or done.segments):
        again = " more" if done.before else ""
        out.print(f"Nothing{again} of this customer is in the store and the decision log")
    rows = [{"made anew": f"{each.artifact}/{each.path}", "rows": each.rows} for each in done.files]
    rows += [{"made anew": f"segment {each.old}", "rows": each.records} for each in done.segments]
    if rows:
        out.print(table(rows))
    if done.certificate:
        out.print(one_line(f"Certificate: {done.certificate}"))
    for each in done.elsewhere:
        out.print(f"Not reached, yours to delete: {each}")
