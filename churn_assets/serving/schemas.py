"""What goes over the wire: questions, answers, outcomes. Strict: no coercion, no unknown field, bounds everywhere.

msgspec decodes and encodes a call of 1,000 customers in a quarter of the time that pydantic takes (10 ms, 35 ms).
"""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from churn_assets.tables.rules import LARGEST_NUMBER, LONGEST_ID, LONGEST_TEXT

PERSONAL = {"personal": True}
"""Marks a field that never stands in a log line; see `redacted`."""

MAX_CUSTOMERS = 1_000
MAX_OUTCOMES = 1_000
LONGEST_MESSAGE = 2_000
_MAX_FEATURES = 1_000
TERMS_REF = "#/components/schemas/Terms"
"""Where the interface describes the kinds of terms."""
_PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Text = Annotated[str, Meta(max_length=200, pattern=_PRINTABLE)]
CustomerId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=LONGEST_ID,
        pattern=_PRINTABLE,
        description="As in the customer table; who is in the holdout is drawn from it.",
        examples=["7590-VHVEG"],
        extra=PERSONAL,
    ),
]
DecisionId = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{24}-[0-9]{1,3}$",
        description="Id of a decision, as the answer to a question gave it; outcomes name it.",
        examples=["6f1c0d2e9b7a45c8d3e2f1a0-0"],
    ),
]
ArmId = Annotated[
    str,
    Meta(
        pattern=r"^[a-z][a-z0-9_]{0,62}$",
        description="Id of an arm of the menu, as GET /v1/release lists it.",
        examples=["percent_20"],
    ),
]
Number = Annotated[int, Meta(ge=0, le=1000)]
Money = Annotated[float, Meta(ge=-1e12, le=1e12)]
NotNegative = Annotated[float, Meta(ge=0, le=1e12)]
FeatureValue = (
    Annotated[str, Meta(max_length=LONGEST_TEXT)]
    | Annotated[float, Meta(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
    | None
)


class ContactQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """When a customer was contacted last, and what came of it."""

    months_ago: Annotated[Number, Meta(description="Whole months since.")]
    accepted: Annotated[
        ArmId | None, Meta(description="The arm that was accepted then; null for a refusal or no answer.")
    ] = None


class CustomerQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """A customer, and what may be offered."""

    customer_id: CustomerId
    features: Annotated[
        dict[str, FeatureValue],
        Meta(
            max_length=_MAX_FEATURES,
            description="The features of the release's signature (GET /v1/release), each exactly once: numbers for "
            "numeric features, texts for categories, null for a blank.",
            extra=PERSONAL,
        ),
    ]
    eligible: Annotated[
        Annotated[list[ArmId], Meta(max_length=100)] | None,
        Meta(
            description="Arms that may be decided (GET /v1/release lists them), no contact apart, which always may; "
            "null: every arm whose own conditions the features keep. A condition is asked for either way."
        ),
    ] = None
    opted_out: Annotated[bool, Meta(description="May not be contacted.")] = False
    last_contact: Annotated[
        ContactQuestion | None,
        Meta(description="The last contact under this service's decisions; null for none."),
    ] = None
    offers_used: Annotated[
        Number, Meta(description="Contacts in the running episode; the release caps them.")
    ] = 0
    offers_accepted: Annotated[
        Number,
        Meta(description="How many of them were accepted: who took offers takes the next more easily."),
    ] = 0
    prior_offers: Annotated[Number, Meta(description="Other offers in the 90 days before.")] = 0
    last_message: Annotated[
        Annotated[str, Meta(max_length=LONGEST_MESSAGE)] | None,
        Meta(
            description="The text of the last message that the customer was sent, as an answer gave it: the next one "
            "says something else, where a model writes it.",
            examples=["Hello {name}, thank you. Take 10% off your phone plan for 6 months."],
            extra=PERSONAL,
        ),
    ] = None
    local_time: Annotated[
        Annotated[time, Meta(tz=False)] | None,
        Meta(description="By the customer's clock, for quiet hours.", examples=["14:30:00"], extra=PERSONAL),
    ] = None


class DecisionsQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """1 to 1,000 customers, each once."""

    customers: Annotated[
        list[CustomerQuestion],
        Meta(min_length=1, max_length=MAX_CUSTOMERS, description="Whom to decide for; each customer once."),
    ]
    budget_price: Annotated[
        float,
        Meta(
            ge=0,
            le=1000,
            description="What a unit of spend is priced at where a budget binds; 0 if none does.",
        ),
    ] = 0.0
    remaining_budget: Annotated[
        Annotated[float, Meta(ge=0, le=1e12)] | None,
        Meta(
            description="Money that the offers of this call may cost at most, if all are accepted; null for no cap."
        ),
    ] = None


class ExpectedValueView(Struct, frozen=True):
    """Money that an arm is expected to add over never contacting: projected over the horizon, and in one window."""

    amount: Annotated[float, Meta(description="Projected, at the frailty that the policy was trained for.")]
    low: Annotated[
        float, Meta(description="Projected if what no feature shows is as large as the band allows.")
    ]
    high: Annotated[float, Meta(description="If it is as small.")]
    one_window: Annotated[
        float, Meta(description="By what happens in the label window alone: what a log of offers can show.")
    ]
    currency: Annotated[str, Meta(description="ISO 4217; that of the prices.", examples=["USD"])]
    horizon_months: Annotated[
        int, Meta(description="Months of a retained customer's margin that are counted.")
    ]


class OutcomeView(Struct, frozen=True):
    """What is expected of another outcome than leaving, of which all values of the answer are."""

    name: Annotated[str, Meta(description="What it is.", examples=["visit"])]
    largest: Annotated[float, Meta(description="The most that counts; 1 of one that comes or does not.")]
    without_contact: Annotated[float, Meta(description="Expected of a customer who is left alone.")]
    given_decision: Annotated[float, Meta(description="Expected given this decision.")]


class ArmView(Struct, frozen=True):
    """What is done with this customer."""

    id: ArmId
    label: Annotated[str, Meta(description="In a few words, for people.", examples=["20% off for 6 months"])]
    terms: Annotated[
        msgspec.Raw,
        Meta(description="What the customer gets, by its `kind`.", extra_json_schema={"$ref": TERMS_REF}),
    ]
    channel: Annotated[str | None, Meta(description="How the customer is contacted; null for no contact.")]
    cost: Annotated[
        float, Meta(description="The most that it can cost for this customer, the contact included.")
    ]
    expected_value: Annotated[
        ExpectedValueView, Meta(description="What it is expected to add for this customer.")
    ]


class OutlookView(Struct, frozen=True):
    """What the models say about one arm of the menu for this customer."""

    id: ArmId
    forbidden: Annotated[
        str | None, Meta(description="The rule that forbids it now; null where it may be decided.")
    ]
    propensity: Annotated[float, Meta(description="Probability with which it is chosen.")]
    acceptance_probability: Annotated[
        float, Meta(description="P(accepts), 0 to 1, if it is offered; 0 for no contact.")
    ]
    churn_risk: Annotated[float, Meta(description="P(churn) in the label window given this arm.")]
    expected_value: Annotated[
        float,
        Meta(description="Amount that it adds over never contacting; see the arm decided for its unit."),
    ]
    one_window: Annotated[float, Meta(description="The same by what happens in the label window alone.")]


class ReasonView(Struct, frozen=True):
    """Why, as data."""

    code: Annotated[
        str,
        Meta(
            description="What the reason is: `risk`, a rule that forbids, or what decided between arms.",
            examples=["risk"],
        ),
    ]
    arm: Annotated[str | None, Meta(description="Id of the arm that it is about, if any.")]
    figure: Annotated[
        float | None,
        Meta(description="The number behind it, in the unit of the code; null where there is none."),
    ]


class SafetyView(Struct, frozen=True):
    """What the safety rules say about the text that is sent."""

    safe: Annotated[bool, Meta(description="Whether the text keeps every rule.")]
    violations: Annotated[
        list[str], Meta(description="Names of the rules that it breaks; empty if it is safe.")
    ]


class MessageView(Struct, frozen=True):
    """What may be sent. `{name}` stands for the customer's name, which this service never sees."""

    text: Annotated[str, Meta(description="What the customer reads.")]
    written_by: Annotated[
        Literal["model", "template"], Meta(description="`template`: no model's text could be used.")
    ]
    reason: Annotated[str, Meta(description="Why the template was used; empty for a model's text.")]
    safety: Annotated[SafetyView, Meta(description="What the safety rules say about `text`.")]
    discarded: Annotated[
        list[str],
        Meta(
            description="Rules that the model's text broke, where the template is sent in its place; else empty."
        ),
    ]
    waits: Annotated[bool, Meta(description="Not to be sent now: the customer's quiet hours.")]
    delay_hours: Annotated[float, Meta(description="Until they end; 0 if it does not wait.")]


class DriverView(Struct, frozen=True):
    """A feature, and by how much it alone makes the risk another one than if it were as most customers have it."""

    feature: Annotated[str, Meta(description="Name of the feature.", examples=["tenure"])]
    change: Annotated[
        float, Meta(description="Change of P(churn) that it makes; above 0 it raises the risk.")
    ]


class DecisionView(Struct, frozen=True):
    """One customer's decision, why, and what may be said."""

    decision_id: Annotated[
        str,
        Meta(description="Id of this decision; outcomes name it.", examples=["6f1c0d2e9b7a45c8d3e2f1a0-0"]),
    ]
    customer_id: Annotated[str, Meta(description="As asked.")]
    contact: Annotated[bool, Meta(description="Whether the customer is contacted at all.")]
    arm: Annotated[ArmView, Meta(description="What is done with this customer.")]
    delay_months: Annotated[
        int | None,
        Meta(description="0: now. Else months until the rules allow the next offer; null: no time is set."),
    ]
    churn_risk: Annotated[float, Meta(description="P(churn) in the label window without contact.")]
    retention_probability: Annotated[
        float, Meta(description="P(staying) in the label window given this decision.")
    ]
    acceptance_probability: Annotated[float, Meta(description="Of the arm decided; 0 for no contact.")]
    propensity: Annotated[float, Meta(description="Probability with which this arm is chosen.")]
    reasons: Annotated[list[ReasonView], Meta(description="Why, the risk first.")]
    assigned: Annotated[
        Literal["policy", "holdout", "exploration", "kill_switch", "experiment", "no_offer_model"],
        Meta(
            description="Who chose: the policy, a random group, or the switch. Of a release that knows the risk alone, "
            "`experiment`: chance, by the shares of its campaign; `no_offer_model`: nobody. `policy_arm` is the "
            "policy's choice."
        ),
    ]
    policy_arm: Annotated[ArmId, Meta(description="Id of the arm that the policy would choose.")]
    holdout: Annotated[bool, Meta(description="Never contacted, so that what contact does can be measured.")]
    exploration: Annotated[
        bool, Meta(description="An allowed arm at random, so that later models can learn.")
    ]
    known: Annotated[bool, Meta(description="The features are those the release was built with.")]
    arms: Annotated[list[OutlookView], Meta(description="All of the release's menu, in order.")]
    message: Annotated[
        MessageView | None, Meta(description="Null without contact, or where none was asked for.")
    ]
    drivers: Annotated[
        list[DriverView],
        Meta(description="Of the risk, the strongest first; of a release that knows no offers."),
    ] = []
    release: Annotated[
        str | None,
        Meta(
            description="The release that decided, while two do side by side in a trial; else null: the answer's."
        ),
    ] = None
    outcome: Annotated[
        OutcomeView | None,
        Meta(
            description="Where the value is of another outcome than leaving: churn_risk is then the share of it that "
            "is missed without contact, and retention_probability the share that comes."
        ),
    ] = None


class UndecidedView(Struct, frozen=True):
    """A customer of the question for whom nothing could be decided, and why."""

    index: Annotated[int, Meta(description="Position in the question, from 0.")]
    customer_id: Annotated[str, Meta(description="As asked.")]
    field: Annotated[str, Meta(description="What is wrong: a feature, or a field of the customer.")]
    found: Annotated[str, Meta(description="What stands there.")]
    expected: Annotated[str, Meta(description="What may stand there.")]


class BudgetView(Struct, frozen=True):
    """How a limit of the experiment's `budgets` stands after this call."""

    name: Annotated[str, Meta(description="Which limit, as the experiment calls it.")]
    unit: Annotated[str, Meta(description="`money` or `contacts`.")]
    most: Annotated[float, Meta(description="Of the period, as far as this server may use it.")]
    used: Annotated[float, Meta(description="Of it, this call among it.")]
    shadow_price: Annotated[
        float,
        Meta(description="What another unit would bring, in money; an arm must be worth more than it uses."),
    ]


class DecisionsAnswer(Struct, frozen=True):
    """Decisions in the order of the question; the status is 207 where some could not be made."""

    release: Annotated[
        str,
        Meta(
            description="The release that decided, where a decision names no other: one does in a trial.",
            examples=["quickstart/release/20261122T124501Z-0123456789ab"],
        ),
    ]
    policy: Annotated[str, Meta(description="Which member of the release chose.", examples=["ppo_decision"])]
    simulated: Annotated[bool, Meta(description="The release learned from a demo world's answers to offers.")]
    decided_at: Annotated[datetime, Meta(tz=True, description="When, in UTC.")]
    kill_switch: Annotated[bool, Meta(description="Offers are stopped: none to anybody.")]
    durable: Annotated[
        bool, Meta(description="The decision log's disk had these decisions before this answer left.")
    ]
    decisions: Annotated[
        list[DecisionView],
        Meta(description="One for each customer who could be decided for, in the order asked."),
    ]
    undecided: Annotated[
        list[UndecidedView],
        Meta(description="Customers who could not be decided for; empty with status 200."),
    ] = []
    budgets: Annotated[
        list[BudgetView],
        Meta(description="The limits that hold for all decisions of the period; empty for none."),
    ] = []


class OutcomeReport(Struct, frozen=True, forbid_unknown_fields=True):
    """What became of a decision. Parts may come at different times; what was told once cannot be told otherwise."""

    decision_id: DecisionId
    accepted: Annotated[
        bool | None, Meta(description="Whether the offer was accepted; null if not known yet.")
    ] = None
    churned: Annotated[
        bool | None, Meta(description="Whether the customer left in the label window; null if not known yet.")
    ] = None
    margin: Annotated[
        Money | None,
        Meta(description="Value in money, costs deducted; null: computed from price, arm and the economics."),
    ] = None
    outcome: Annotated[
        NotNegative | None,
        Meta(
            description="Where the value is of another outcome than leaving, what came of it in its window, in its own "
            "unit: 1 or 0 of a visit; in place of `churned`. Null if not known yet."
        ),
    ] = None
    complained: Annotated[
        bool | None,
        Meta(description="Whether the customer complained about the contact; null if nothing is known."),
    ] = None
    opted_out: Annotated[
        bool | None,
        Meta(description="Whether the customer asked not to be contacted again; null if nothing is known."),
    ] = None


class OutcomesQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """Outcomes of earlier decisions; repeating a post changes nothing."""

    outcomes: Annotated[
        list[OutcomeReport],
        Meta(min_length=1, max_length=MAX_OUTCOMES, description="What became of decisions."),
    ]


class OutcomesAnswer(Struct, frozen=True):
    """How many outcomes are in the log now; a repeated one is there again and counts once."""

    recorded: Annotated[int, Meta(description="Outcomes of this call that are in the log.", examples=[1])]
    durable: Annotated[bool, Meta(description="The decision log's disk had them before this answer left.")]


def redacted(value: Any) -> Any:
    """A question as it may stand in a log line: fields that the schema marks as personal are left out."""
    if isinstance(value, Struct):
        return {
            field.name: "<personal>" if _is_personal(field.type) else redacted(getattr(value, field.name))
            for field in msgspec.inspect.type_info(type(value)).fields  # type: ignore[attr-defined]
        }
    if isinstance(value, list):
        return [redacted(each) for each in value]
    return value


def _is_personal(kind: msgspec.inspect.Type) -> bool:
    return isinstance(kind, msgspec.inspect.Metadata) and bool((kind.extra or {}).get("personal"))
