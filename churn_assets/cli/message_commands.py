"""The command that writes messages to one customer and shows what the rules say of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import UsageProblemError, guarded, nearest
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.privacy_commands import read_by
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import styled
from churn_assets.cli.waves import ToOption, ToTableOption, WaveOption, wave_table

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.arms import Arm, Menu
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.risk_only import AnyDecider
    from churn_assets.message.model.writing import Message, Situation
    from churn_assets.release.bundle import Bundle
    from churn_assets.store.artifacts import ArtifactStore


@guarded
def write(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="Id of a customer in the release's own table.")],
    arm: Annotated[
        str | None,
        typer.Option("--arm", help="Id of an arm of the menu; what the policy decides, if left out."),
    ] = None,
    offer: Annotated[
        float | None,
        typer.Option("--offer", help="Shorthand for a percent off: 20 means the arm percent_20."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=100, help="How many messages.")] = 1,
    name: Annotated[
        str | None, typer.Option("--name", help="Put this name in, as when a message is sent.")
    ] = None,
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    to: ToOption = None,
    to_table: ToTableOption = None,
    wave: WaveOption = None,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Write messages to a customer: texts, their rewards, what the safety rules say, and what would be sent."""
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.message.text.template import fill_placeholders
    from churn_assets.release.deciding import load_release
    from churn_assets.release.loaded import load_desk

    place = open_place(context, experiment)
    kept = wave_table(to, to_table, wave)
    ref = place.release(release)
    read_by(context, "write", [customer], about=str(ref))
    bundle, models = load_release(place.store, ref)
    decider = decider_of(models, str(ref))
    desk = load_desk(place.store, bundle)
    person, _ = known_customer(place.store, bundle, customer)
    named = _named(arm, offer)
    chosen = _offered(person, decider) if named is None else _on_menu(named, decider.menu)
    (situation,) = desk.situations(person, [chosen])
    (messages,) = desk.write([situation], n=n)
    rewards = _rewards(place.store, bundle, situation, messages)
    rows = [
        {
            "text": message.raw.strip() or message.sent.text,
            "reward": reward,
            "rules": "; ".join(f"{each.rule}: {each.reason}" for each in message.sent.verdict.violations)
            or "kept",
            "sent": message.sent.written_by,
            "as sent": message.sent.text
            if name is None
            else fill_placeholders(message.sent.text, situation.profile, name),
        }
        for message, reward in zip(messages, rewards, strict=True)
    ]
    if kept is not None:
        kept.write(_as_written(rows, str(ref), customer, chosen))
    if as_json:
        print_json({"release": str(ref), "arm": chosen.id, "prompt": situation.prompt, "messages": rows})
        return
    out.print(styled("bold", situation.prompt))
    for row in rows:
        if name is None and row["as sent"] == row["text"]:
            del row["as sent"]
    shown = [{key: figure(value) if key == "reward" else value for key, value in row.items()} for row in rows]
    for row in shown:
        out.print(table([{"": key, "message": value} for key, value in row.items()]))
    if kept is not None:
        out.print(f"Written to {kept}")
    if "message" not in bundle.branches:
        out.print("This release has no message branch: every message is the template.")
    elif bundle.writing.author == "template":
        out.print(f"This release sends the template: {bundle.writing.author_reason}.")


def _as_written(rows: list[dict[str, Any]], release: str, customer: str, arm: Arm) -> pd.DataFrame:
    """The messages as a table keeps them."""
    import pandas as pd

    texts = pd.DataFrame(rows).rename(columns={"sent": "written_by", "as sent": "message"})
    about = {"customer_id": customer, "arm": arm.id, "offer": arm.label, "release": release}
    about["written_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    return pd.DataFrame(about, index=texts.index).join(texts.astype({"reward": float}))


def known_customer(
    store: ArtifactStore, bundle: Bundle, customer: str
) -> tuple[CustomerTable, CustomerTable]:
    """One customer of a release's own table, by the id that was asked for, and the table."""
    from churn_assets.customers.names import names_of
    from churn_assets.release.loaded import load_member

    everybody: CustomerTable = load_member(store, bundle, "customers")
    person = everybody.of(customer, names_of(customer))
    if not len(person):
        hint = nearest(customer, list(everybody.ids))
        message = f"customer {customer!r} is not in the {len(everybody)} of {bundle.members['customers'].ref}"
        raise UsageProblemError(message, hint)
    return person, everybody


def _offered(person: CustomerTable, decider: AnyDecider) -> Arm:
    """What the policy decides for this customer now."""
    from churn_assets.deciding.table import decide_table
    from churn_assets.release.build import as_raw

    decided = decide_table(as_raw(person), decider, datetime.now(UTC)).iloc[0]
    arm: Arm = decider.menu[decider.menu.position[decided["arm"]]]
    if not arm.contacts:
        message = f"the policy makes customer {person.ids[0]} no offer ({decided['reasons']})"
        raise UsageProblemError(message, "choose one with --arm")
    return arm


def _named(arm: str | None, percent: float | None) -> str | None:
    """Id of the arm that a person names; None where they name none."""
    from churn_assets.arms import percent_id

    if arm is not None and percent is not None:
        raise UsageProblemError("found --arm and --offer, expected one of them")
    return arm if percent is None else percent_id(percent / 100)


def _on_menu(arm_id: str, menu: Menu) -> Arm:
    offers = {arm.id: arm for arm in menu if arm.contacts}
    if not offers:
        raise UsageProblemError(
            "no offer model: this release makes no offers, so there is none to write about"
        )
    if arm_id not in offers:
        raise UsageProblemError(f"arm {arm_id} is not on the menu", f"expected one of {', '.join(offers)}")
    return offers[arm_id]


def _rewards(
    store: ArtifactStore, bundle: Bundle, situation: Situation, messages: list[Message]
) -> list[Any]:
    """Standardised rewards of the raw texts; None where no reward model is in the release."""
    if "reward_model" not in bundle.members:
        return [None] * len(messages)
    from churn_assets.release.golden import rewards_of
    from churn_assets.release.loaded import load_member

    model = load_member(store, bundle, "reward_model")
    texts, ended = [each.raw for each in messages], [each.ended for each in messages]
    return list(rewards_of(model, [situation.prompt] * len(messages), texts, ended))
