"""One customer as the release that answers sees them: decision, explanation, message, and what the log has of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from churn_assets.customers.names import names_of
from churn_assets.deciding.decider import Decider
from churn_assets.deciding.explain import explain
from churn_assets.deciding.reasons import in_words
from churn_assets.deciding.table import inputs_of
from churn_assets.release.build import as_raw
from churn_assets.release.loaded import load_member
from churn_assets.serving.messages import Wanted

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.deciding.decider import CustomerInput, Decision, Rollout
    from churn_assets.deciding.explain import Explanation
    from churn_assets.offers.decision_index import FoundDecision
    from churn_assets.release.bundle import Bundle
    from churn_assets.serving.reload import ServedRelease
    from churn_assets.serving.schemas import MessageView
    from churn_assets.store.artifacts import ArtifactStore


@dataclass(frozen=True)
class Preview:
    """What would be sent.

    Attributes:
        arm: Label of the arm that it is about.
        message: The text with what the safety rules say of it; None where nothing is known that could be said.
        language: That it is written in, ISO 639.
        channel: How the customer is reached.
    """

    arm: str
    message: MessageView | None
    language: str
    channel: str


@dataclass(frozen=True)
class LookedUp:
    """One customer.

    Attributes:
        customer: Their id.
        release: That was asked.
        features: As the release's own table has them; None where it does not know them.
        live: What a server answers now; None where the release does not know the customer.
        why: The same in words.
        explanation: What the policy's decision hangs on; None for a release without offers.
        preview: Of the message; None where the policy makes no offer.
        history: Decisions of the log, newest first.
        currency: Of all money.
        window_months: Of the risk.
        horizon_months: Of projected values; 0 for a release without offers.
    """

    customer: str
    release: str
    features: dict[str, float | str | None] | None
    live: Decision | None
    why: str
    explanation: Explanation | None
    preview: Preview | None
    history: Sequence[FoundDecision]
    currency: str
    window_months: float
    horizon_months: int


def look_up(
    everybody: CustomerTable,
    served: ServedRelease,
    customer: str,
    history: Sequence[FoundDecision],
    rollout: Rollout,
    now: datetime,
) -> LookedUp:
    """What is known of a customer, by the release that answers.

    Args:
        everybody: Whom the release knows.
        served: The release.
        customer: Id of the customer.
        history: Of them, from the decision log.
        rollout: Who is not left to the policy now.
        now: Aware time.
    """
    person = everybody.of(customer, names_of(customer))
    decider, currency = served.decider, served.bundle.writing.currency
    process = decider.process
    horizon = 0 if process is None else process.horizon * process.step_months
    found = LookedUp(
        customer,
        str(served.ref),
        None,
        None,
        "",
        None,
        None,
        history,
        currency,
        decider.window_months,
        horizon,
    )
    if not len(person):
        return found
    (asked,) = inputs_of(as_raw(person), decider, now)
    (live,) = decider.decide([asked], rollout)
    labels = dict(zip(decider.menu.ids, decider.menu.labels, strict=True))
    explained = explain(decider, asked, everybody) if isinstance(decider, Decider) else None
    return LookedUp(
        customer,
        str(served.ref),
        dict(asked.features),
        live,
        in_words(live.reasons, labels, decider.told),
        explained,
        _preview(served, asked, explained),
        history,
        currency,
        decider.window_months,
        horizon,
    )


def _preview(served: ServedRelease, asked: CustomerInput, explained: Explanation | None) -> Preview | None:
    """Of what the policy would offer, though offers are stopped or the customer is held out."""
    if explained is None or not explained.decision.arm:
        return None
    arm = explained.decision.chosen.arm
    (message,) = asyncio.run(served.messages.write([Wanted(asked.features, arm, None)]))
    return Preview(arm.label, message, served.bundle.writing.safety.language, arm.channel or "")


class CustomerBook:
    """The customers of the release that was asked for last: reading them takes longer than all the rest."""

    def __init__(self) -> None:
        self._kept: tuple[str, CustomerTable] | None = None

    def of(self, store: ArtifactStore, release: str, bundle: Bundle) -> CustomerTable:
        """The customers whom a release knows.

        Raises:
            StoreError: They cannot be read.
        """
        kept = self._kept
        if kept is None or kept[0] != release:
            kept = self._kept = (release, load_member(store, bundle, "customers"))
        return kept[1]
