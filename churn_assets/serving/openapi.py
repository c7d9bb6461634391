"""What the interface says about itself: schemas of the types that are really decoded and encoded, with examples.

The document is the same for every release: features and arms are told by `GET /v1/release`. `python -m
churn_assets.serving.openapi` prints it, so that a client can be generated without a server.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
from pydantic import TypeAdapter

from churn_assets.arms import Terms
from churn_assets.serving.problems import PROBLEM_JSON, ProblemDetails
from churn_assets.serving.schemas import (
    DecisionsAnswer,
    DecisionsQuestion,
    OutcomesAnswer,
    OutcomesQuestion,
)
from churn_assets.serving.views import LiveView, ModelView, ReadyView, ReleaseView

TITLE = "Churn decisions"
VERSION = "1"
DESCRIPTION = (
    "For each customer: whether to contact, with which arm, why, and what may be said, from exactly one verified "
    "release. Every answer is in the decision log before it leaves. Send `Authorization: Bearer <key>` where the "
    "server asks for keys. Refusals are problem details (RFC 9457): `detail` begins with the place in what was sent."
)
DECISIONS_PATH, OUTCOMES_PATH = "/v1/decisions", "/v1/outcomes"
RELEASE_PATH, MODEL_PATH = "/v1/release", "/v2/models/{name}"
LIVE_PATH, READY_PATH, METRICS_PATH = "/v2/health/live", "/v2/health/ready", "/metrics"
DOCUMENT_PATH = "/openapi.json"

_TAGS = {
    "decisions": "What to do with customers, and what became of it.",
    "release": "What answers: the release, its models, its menu, the features that a question needs.",
    "health": "For load balancers and monitoring.",
}
_KEY = "key"
_TYPES = (
    DecisionsQuestion,
    DecisionsAnswer,
    OutcomesQuestion,
    OutcomesAnswer,
    ReleaseView,
    ReadyView,
    LiveView,
    ModelView,
    ProblemDetails,
)
_REF = "#/components/schemas/{name}"

EXAMPLE_CUSTOMER: dict[str, Any] = {
    "customer_id": "7590-VHVEG",
    "features": {
        "gender": "Female",
        "SeniorCitizen": 0,
        "Partner": "Yes",
        "Dependents": "No",
        "tenure": 1,
        "PhoneService": "No",
        "MultipleLines": "No phone service",
        "InternetService": "DSL",
        "OnlineSecurity": "No",
        "OnlineBackup": "Yes",
        "DeviceProtection": "No",
        "TechSupport": "No",
        "StreamingTV": "No",
        "StreamingMovies": "No",
        "Contract": "Month-to-month",
        "PaperlessBilling": "Yes",
        "PaymentMethod": "Electronic check",
        "MonthlyCharges": 29.85,
    },
}
"""A customer of the embedded table."""

_DECISION_EXAMPLES = {
    "one": {"summary": "One customer of the quickstart", "value": {"customers": [EXAMPLE_CUSTOMER]}},
    "history": {
        "summary": "With eligibility, history, a budget and the customer's clock",
        "value": {
            "customers": [
                {
                    **EXAMPLE_CUSTOMER,
                    "eligible": ["percent_5", "percent_10"],
                    "last_contact": {"months_ago": 4},
                    "offers_used": 1,
                    "local_time": "14:30:00",
                }
            ],
            "remaining_budget": 500.0,
        },
    },
}
_OUTCOME_EXAMPLES = {
    "accepted": {
        "summary": "The offer was accepted; whether the customer stays is not known yet",
        "value": {"outcomes": [{"decision_id": "6f1c0d2e9b7a45c8d3e2f1a0-0", "accepted": True}]},
    },
    "stayed": {
        "summary": "Three months later",
        "value": {"outcomes": [{"decision_id": "6f1c0d2e9b7a45c8d3e2f1a0-0", "churned": False}]},
    },
}


_MEMBER = "quickstart/risk_model/20261122T123801Z-89abcdef0123"
_RELEASE = "quickstart/release/20261122T124501Z-0123456789ab"
_NO_CONTACT = {
    "id": "no_contact",
    "label": "no contact",
    "terms": {"kind": "no_contact", "months": 0},
    "channel": None,
}
_DECISION: dict[str, Any] = {
    "decision_id": "6f1c0d2e9b7a45c8d3e2f1a0-0",
    "customer_id": "7590-VHVEG",
    "contact": False,
    "arm": {
        **_NO_CONTACT,
        "cost": 0.0,
        "expected_value": {
            "amount": 0.0,
            "low": 0.0,
            "high": 0.0,
            "one_window": 0.0,
            "currency": "USD",
            "horizon_months": 12,
        },
    },
    "delay_months": 0,
    "churn_risk": 0.41,
    "retention_probability": 0.59,
    "acceptance_probability": 0.0,
    "propensity": 0.97,
    "reasons": [{"code": "risk", "arm": None, "figure": 0.41}],
    "assigned": "policy",
    "policy_arm": "no_contact",
    "holdout": False,
    "exploration": False,
    "known": True,
    "arms": [
        {
            "id": "no_contact",
            "forbidden": None,
            "propensity": 0.97,
            "acceptance_probability": 0.0,
            "churn_risk": 0.41,
            "expected_value": 0.0,
            "one_window": 0.0,
        }
    ],
    "message": None,
}
_DECIDED: dict[str, Any] = {
    "release": _RELEASE,
    "policy": "ppo_decision",
    "simulated": True,
    "decided_at": "2026-11-22T13:00:00Z",
    "kill_switch": False,
    "durable": True,
    "decisions": [_DECISION],
}
_PARTLY = _DECIDED | {
    "undecided": [
        {
            "index": 1,
            "customer_id": "5575-GNVDE",
            "field": "Contract",
            "found": "'Weekly'",
            "expected": "one of Month-to-month, One year, Two year",
        }
    ]
}
_RELEASE_EXAMPLE: dict[str, Any] = {
    "release": _RELEASE,
    "channel": "quickstart",
    "experiment": "quickstart",
    "branches": ["risk", "response", "decision"],
    "simulated": True,
    "loaded_at": "2026-11-22T12:50:00Z",
    "members": {"risk_model": _MEMBER},
    "menu": [_NO_CONTACT | {"contact_cost": 0.0, "eligible": []}],
    "features": [
        {"name": "tenure", "kind": "numeric", "categories": [], "lowest": 0.0, "highest": None},
        {
            "name": "Contract",
            "kind": "categorical",
            "categories": ["Month-to-month", "One year", "Two year"],
            "lowest": None,
            "highest": None,
        },
    ],
    "rules": {
        "cooldown_months": 2,
        "max_offers": 4,
        "label_window_months": 3.0,
        "value_horizon_months": 12,
        "currency": "USD",
    },
    "holdout_share": 0.0,
    "exploration_share": 0.0,
    "kill_switch": False,
    "trouble": None,
}
_READY: dict[str, Any] = {
    "ready": True,
    "release": _RELEASE,
    "trouble": None,
    "leading": None,
    "log_stalled": False,
    "log_trouble": "",
    "loops": [{"name": "release", "age_seconds": 0.4, "failures": 0, "trouble": ""}],
}
_NOT_READY = _READY | {"ready": False, "release": None, "trouble": "CorruptArtifact", "leading": _RELEASE}
_MODEL: dict[str, Any] = {
    "name": "risk_model",
    "versions": ["20261122T123801Z-89abcdef0123"],
    "platform": "risk_model/2",
    "inputs": [{"name": "tenure", "datatype": "FP64", "shape": [-1]}],
    "outputs": [{"name": "risk", "datatype": "FP64", "shape": [-1]}],
}
_REFUSALS = {
    400: ("Not JSON", "customers[0].features.tenure: found NaN, expected a number, or null for a blank"),
    401: ("No valid API key", "send Authorization: Bearer <key>"),
    404: ("No such thing", "expected one of release, risk_model, accept_model, effect_model, ppo_decision"),
    408: ("The body took too long", "expected it within 10 s"),
    413: ("Body too large", "expected at most 4194304 bytes"),
    415: ("Not application/json", "expected application/json"),
    422: (
        "A field is not as the schema or the release's signature says",
        "customers[0].features.tenure: found bool, expected str, float or null",
    ),
    429: ("Too many requests of this caller", "slow down"),
    503: (
        "No release answers, too many requests at once, or the decision log cannot be written",
        "see /v2/health/ready",
    ),
}


def _ref(of: type) -> dict[str, str]:
    return {"$ref": _REF.format(name=of.__name__)}


def _content(of: type, example: Any, kind: str = "application/json") -> dict[str, Any]:
    return {kind: {"schema": _ref(of), "example": example}}


def _refusals(*statuses: int) -> dict[str, Any]:
    found = {}
    for status in statuses:
        title, detail = _REFUSALS[status]
        example = {"title": title.lower(), "status": status, "detail": detail}
        found[str(status)] = {
            "description": title,
            "content": _content(ProblemDetails, example, PROBLEM_JSON),
        }
    return found


def _answers(of: type, description: str, example: Any, *refusals: int) -> dict[str, Any]:
    return {"200": {"description": description, "content": _content(of, example)}, **_refusals(*refusals)}


def _body(of: type, description: str, examples: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(of), "examples": examples}}
    return {"required": True, "description": description, "content": content}


def _operation(tag: str, name: str, summary: str, description: str, **parts: Any) -> dict[str, Any]:
    return {"tags": [tag], "operationId": name, "summary": summary, "description": description, **parts}


_POSTED = (400, 401, 408, 413, 415, 422, 429, 503)
_GOT = (401, 429, 503)
_MESSAGE = {
    "name": "message",
    "in": "query",
    "required": False,
    "description": "`false` leaves messages out.",
    "schema": {"type": "boolean", "default": True},
}
_NAME = {
    "name": "name",
    "in": "path",
    "required": True,
    "description": "`release` for all of it together, or an asset, `risk_model` for instance.",
    "schema": {"type": "string"},
    "example": "risk_model",
}
_OPERATIONS: dict[str, dict[str, Any]] = {
    DECISIONS_PATH: {
        "post": _operation(
            "decisions",
            "decide",
            "Decide for customers",
            "Decide for 1 to 1,000 customers which offer to make, if any, and what to say.",
            requestBody=_body(DecisionsQuestion, "The customers, and what they share.", _DECISION_EXAMPLES),
            parameters=[_MESSAGE],
            responses=_answers(DecisionsAnswer, "A decision for each customer, in order", _DECIDED, *_POSTED)
            | {
                "207": {
                    "description": "Some customers could not be decided for; `undecided` says why",
                    "content": _content(DecisionsAnswer, _PARTLY),
                }
            },
        )
    },
    OUTCOMES_PATH: {
        "post": _operation(
            "decisions",
            "record_outcomes",
            "Record outcomes",
            "Tell what became of decisions. Repeating a post changes nothing.",
            requestBody=_body(OutcomesQuestion, "What is known by now.", _OUTCOME_EXAMPLES),
            responses=_answers(OutcomesAnswer, "Recorded", {"recorded": 1, "durable": True}, *_POSTED),
        )
    },
    RELEASE_PATH: {
        "get": _operation(
            "release",
            "get_release",
            "Show the release that answers",
            "The release that answers: members, menu, features that a question needs, groups and switches.",
            responses=_answers(ReleaseView, "The release that answers", _RELEASE_EXAMPLE, *_GOT),
        )
    },
    MODEL_PATH: {
        "get": _operation(
            "release",
            "get_model",
            "Show a model of that release",
            "Version, format, inputs and outputs of a model of the release that answers.",
            parameters=[_NAME],
            responses=_answers(ModelView, "The model", _MODEL, *_GOT, 404),
        )
    },
    LIVE_PATH: {
        "get": _operation(
            "health",
            "get_live",
            "Ask whether the process answers",
            "Whether the process answers at all. Needs no key.",
            security=[],
            responses=_answers(LiveView, "It does", {"live": True}, 429),
        )
    },
    READY_PATH: {
        "get": _operation(
            "health",
            "get_ready",
            "Ask whether a release answers",
            "Whether a release answers and can be recorded, and whether it is the one that leads the channel. "
            "Needs no key.",
            security=[],
            responses=_answers(ReadyView, "A release answers", _READY, 429)
            | {
                "503": {
                    "description": "No release answers, or the decision log cannot be written",
                    "content": _content(ReadyView, _NOT_READY),
                }
            },
        )
    },
    METRICS_PATH: {
        "get": _operation(
            "health",
            "get_metrics",
            "Show the counters",
            "Counters for Prometheus, of all workers together.",
            responses={
                "200": {
                    "description": "Counters, in the text format of Prometheus",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                },
                **_refusals(401, 429),
            },
        )
    },
}


def _terms() -> dict[str, Any]:
    """Schemas of the kinds of terms, and `Terms`, which is one of them. Answers leave out no field."""
    terms = TypeAdapter(Terms).json_schema(ref_template=_REF.replace("{name}", "{model}"))
    kinds = terms.pop("$defs")
    for kind in kinds.values():
        kind["required"] = list(kind["properties"])
        kind["description"] = kind["description"].partition("\n")[0]
        del kind["additionalProperties"]  # answers may say more one day
    return {**kinds, "Terms": terms | {"description": "What the customer gets, by its `kind`."}}


def document(*, keys: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Args:
        keys: Whether the server asks for API keys; where it does not, one may be sent all the same.
    """
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": VERSION,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": ".", "description": "The server that gave this document."}],
        "security": [{_KEY: []}] if keys else [{}, {_KEY: []}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": _OPERATIONS,
        "components": {
            "schemas": schemas | _terms(),
            "securitySchemes": {
                _KEY: {"type": "http", "scheme": "bearer", "description": "A key of `churn keys`."}
            },
        },
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(keys=True), indent=2) + "\n")
