"""The command that writes messages to one customer and shows what the rules say of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import UsageProblemError, guarded, nearest
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import figure, out, print_json, table

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.message.model.writing import Message, Situation
    from churn_assets.release.bundle import Bundle
    from churn_assets.release.derived import Derived
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.reference import ArtifactRef


@guarded
def write(
    context: typer.Context,
    customer: Annotated[str, typer.Argument(help="Id of a customer in the release's own table.")],
    offer: Annotated[
        float | None,
        typer.Option("--offer", help="Discount in percent; what the policy offers, if left out."),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=100, help="How many messages.")] = 1,
    name: Annotated[
        str | None, typer.Option("--name", help="Put this name in, as when a message is sent.")
    ] = None,
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Write messages to a customer: texts, their rewards, what the safety rules say, and what would be sent."""
    from churn_assets.message.text.template import render
    from churn_assets.release.deciding import load_deciding
    from churn_assets.release.loaded import load_desk, load_member

    place = open_place(context, experiment)
    ref = place.release(release)
    bundle, derived = load_deciding(place.store, ref)
    desk = load_desk(place.store, bundle)
    everybody = load_member(place.store, bundle.members, "customers")
    person = everybody.where(everybody.ids == customer)
    if not len(person):
        hint = nearest(customer, list(everybody.ids))
        message = f"customer {customer!r} is not in the {len(everybody)} of {bundle.members['customers'].ref}"
        raise UsageProblemError(message, hint)
    pct = _offered(person, derived, ref) if offer is None else _on_menu(offer, derived.process.menu)
    (situation,) = desk.situations(person, [pct])
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
            else render(message.sent.text, situation.profile, name),
        }
        for message, reward in zip(messages, rewards, strict=True)
    ]
    if as_json:
        print_json({"release": str(ref), "prompt": situation.prompt, "messages": rows})
        return
    out.print(f"[bold]{situation.prompt}[/]", highlight=False)
    for row in rows:
        if name is None and row["as sent"] == row["text"]:
            del row["as sent"]
    shown = [{key: figure(value) if key == "reward" else value for key, value in row.items()} for row in rows]
    for row in shown:
        out.print(table([{"": key, "message": value} for key, value in row.items()]))
    if "message" not in bundle.branches:
        out.print("This release has no message branch: every message is the template.")


def _offered(person: CustomerTable, derived: Derived, ref: ArtifactRef) -> float:
    """What the policy offers this customer now."""
    from churn_assets.release.build import as_raw
    from churn_assets.release.decide import decide

    decided = decide(as_raw(person), derived, ref, datetime.now(UTC))
    pct = float(decided["offer_pct"].iloc[0])
    if not pct:
        message = f"the policy makes customer {person.ids[0]} no offer ({decided['reasons'].iloc[0]})"
        raise UsageProblemError(message, "choose one with --offer")
    return pct


def _on_menu(percent: float, levels: Sequence[float]) -> float:
    menu = [level for level in levels if level > 0]
    found = [level for level in menu if abs(100 * level - percent) < 1e-9]
    if not found:
        message = f"--offer {percent:g} is not on the menu"
        raise UsageProblemError(message, f"expected one of {', '.join(f'{100 * level:g}' for level in menu)}")
    return found[0]


def _rewards(
    store: ArtifactStore, bundle: Bundle, situation: Situation, messages: list[Message]
) -> list[Any]:
    """Standardised rewards of the raw texts; None where no reward model is in the release."""
    if "reward_model" not in bundle.members:
        return [None] * len(messages)
    from churn_assets.message.model.scoring import Scorer, score
    from churn_assets.release.loaded import load_member

    model = load_member(store, bundle.members, "reward_model")
    texts, ended = [each.raw for each in messages], [each.ended for each in messages]
    raw = score(Scorer.of(model), [situation.prompt] * len(messages), texts, ended)
    return [float(each) for each in model.reward.standardised(raw)]
