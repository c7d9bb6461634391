"""From decisions to what goes over the wire. What does not depend on a customer is made once a release."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import msgspec

from churn_assets.arms import Arm, Menu
from churn_assets.deciding.decider import Decision
from churn_assets.deciding.reasons import Told
from churn_assets.serving.schemas import (
    ArmView,
    DecisionView,
    DriverView,
    ExpectedValueView,
    MessageView,
    OutcomeView,
    OutlookView,
    ReasonView,
)


def terms_json(arm: Arm) -> msgspec.Raw:
    """The terms of an arm as they go over the wire, their kind first."""
    terms = arm.terms
    return msgspec.Raw(msgspec.json.encode({"kind": terms.kind} | terms.model_dump(mode="json")))


class Answers:
    """Makes the wire form of one release's decisions.

    Args:
        menu: Of the release.
        currency: ISO 4217, of its prices and values.
        horizon_months: That expected values count.
        told: As what risks are told.
    """

    def __init__(self, menu: Menu, currency: str, horizon_months: int, told: Told) -> None:
        self._told = told
        self._ids, self._labels = menu.ids, menu.labels
        self._terms = tuple(terms_json(arm) for arm in menu)
        self._channels = tuple(arm.channel for arm in menu)
        self._currency, self._horizon_months = currency, horizon_months

    def views(
        self, decided: Sequence[Decision], messages: Mapping[int, MessageView | None], *, named: bool = False
    ) -> list[DecisionView]:
        """The decisions of one call, in order, each with an id of its own.

        Args:
            decided: By this release, or one of the same menu.
            messages: By position, of those who are written to.
            named: Whether each says which release decided.
        """
        call = secrets.token_hex(12)
        return [
            self._view(f"{call}-{place}", decision, messages.get(place), decision.release if named else None)
            for place, decision in enumerate(decided)
        ]

    def _view(
        self, decision_id: str, decision: Decision, message: MessageView | None, release: str | None
    ) -> DecisionView:
        arm, ids = decision.arm, self._ids
        made = decision.chosen
        return DecisionView(
            decision_id,
            decision.customer_id,
            arm > 0,
            ArmView(
                ids[arm],
                self._labels[arm],
                self._terms[arm],
                self._channels[arm],
                decision.cost,
                ExpectedValueView(
                    made.expected_value,
                    made.value_low,
                    made.value_high,
                    made.window_value,
                    self._currency,
                    self._horizon_months,
                ),
            ),
            decision.delay_months,
            decision.risk,
            decision.retention_probability,
            made.acceptance,
            made.propensity,
            [ReasonView(*reason) for reason in decision.reasons],
            decision.assigned,
            ids[decision.policy_arm],
            decision.assigned == "holdout",
            decision.assigned == "exploration",
            decision.known,
            [
                OutlookView(each, forbidden, chosen, accepted, risk, adds, window)
                for each, (_, forbidden, accepted, risk, adds, _, _, window, chosen) in zip(
                    ids, decision.arms, strict=True
                )
            ],
            message,
            [DriverView(*each) for each in decision.drivers],
            release,
            self._outcome(decision),
        )

    def _outcome(self, decision: Decision) -> OutcomeView | None:
        told = self._told
        if not told.outcome:
            return None
        expected = (told.figure(each) for each in (decision.risk, decision.chosen.risk_if_offered))
        return OutcomeView(told.outcome, told.unit, *expected)
