"""What the interface says about itself: schemas of the types that are really decoded and encoded, with examples."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

from churn_assets.arms import Terms
from churn_assets.serving.problems import PROBLEM_JSON, ProblemDetails
from churn_assets.serving.schemas import (
    DecisionsAnswer,
    DecisionsQuestion,
    OutcomesAnswer,
    OutcomesQuestion,
)
from churn_assets.serving.views import ModelView, ReadyView, ReleaseView

DESCRIPTION = (
    "For each customer: whether to contact, with which arm, why, and what may be said, from exactly one verified "
    "release. Every answer is in the decision log before it leaves. Send `Authorization: Bearer <key>` where the "
    "server asks for keys. Refusals are problem details (RFC 9457)."
)

_TYPES = (
    DecisionsQuestion,
    DecisionsAnswer,
    OutcomesQuestion,
    OutcomesAnswer,
    ReleaseView,
    ReadyView,
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


def _content(of: type, kind: str = "application/json") -> dict[str, Any]:
    return {kind: {"schema": {"$ref": _REF.format(name=of.__name__)}}}


def _answers(of: type, description: str, *refusals: int) -> dict[str, Any]:
    titles = {
        400: "Not JSON",
        401: "No valid API key",
        404: "No such thing",
        408: "The body took too long",
        413: "Body too large",
        415: "Not application/json",
        422: "A field is not as the schema or the release's signature says",
        429: "Too many requests of this caller",
        503: "No release answers, too many requests at once, or the decision log cannot be written",
    }
    problems = {
        str(status): {"description": titles[status], "content": _content(ProblemDetails, PROBLEM_JSON)}
        for status in refusals
    }
    return {"200": {"description": description, "content": _content(of)}, **problems}


def _body(of: type, examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": _REF.format(name=of.__name__)}, "examples": examples}
        },
    }


_POSTED = (400, 401, 408, 413, 415, 422, 429, 503)
_GOT = (401, 429, 503)

DECISIONS_PATH, OUTCOMES_PATH = "/v1/decisions", "/v1/outcomes"

_DECISIONS: dict[str, Any] = {
    "tags": ["decisions"],
    "summary": "Decide",
    "description": "Decide for 1 to 1,000 customers which offer to make, if any, and what to say.",
    "operationId": "decide",
    "requestBody": _body(DecisionsQuestion, _DECISION_EXAMPLES),
    "parameters": [
        {
            "name": "message",
            "in": "query",
            "required": False,
            "description": "`false` leaves messages out.",
            "schema": {"type": "boolean", "default": True},
        }
    ],
    "responses": _answers(DecisionsAnswer, "A decision for each customer, in order", *_POSTED)
    | {
        "207": {
            "description": "Some customers could not be decided for",
            "content": _content(DecisionsAnswer),
        }
    },
}
_OUTCOMES: dict[str, Any] = {
    "tags": ["decisions"],
    "summary": "Record outcomes",
    "description": "Tell what became of decisions. Repeating a post changes nothing.",
    "operationId": "record_outcomes",
    "requestBody": _body(OutcomesQuestion, _OUTCOME_EXAMPLES),
    "responses": _answers(OutcomesAnswer, "Recorded", *_POSTED),
}
RELEASE: dict[str, Any] = {"responses": _answers(ReleaseView, "The release that answers", *_GOT)}
MODEL: dict[str, Any] = {"responses": _answers(ModelView, "The model", *_GOT, 404)}
READY: dict[str, Any] = {
    "security": [],
    "responses": _answers(ReadyView, "A release answers", 429)
    | {"503": {"description": "No release answers, or the log stalls", "content": _content(ReadyView)}},
}
LIVE: dict[str, Any] = {
    "security": [],
    "responses": {
        "200": {
            "description": "The process answers",
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {"live": {"type": "boolean"}},
                        "required": ["live"],
                    }
                }
            },
        }
    },
}
METRICS: dict[str, Any] = {
    "responses": {
        "200": {"description": "Counters", "content": {"text/plain": {"schema": {"type": "string"}}}},
        "401": {"description": "No valid API key", "content": _content(ProblemDetails, PROBLEM_JSON)},
    }
}


def _terms() -> dict[str, Any]:
    """Schemas of the kinds of terms, and `Terms`, which is one of them. Answers leave out no field."""
    terms = TypeAdapter(Terms).json_schema(ref_template=_REF.replace("{name}", "{model}"))
    kinds = terms.pop("$defs")
    for kind in kinds.values():
        kind["required"] = list(kind["properties"])
    return {**kinds, "Terms": terms}


def describe(app: FastAPI, *, keys: bool) -> None:
    """Make the application's OpenAPI document hold the schemas of what it really reads and writes.

    Args:
        app: All of its routes are there.
        keys: Whether the server asks for API keys.
    """

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            posted = {DECISIONS_PATH: {"post": _DECISIONS}, OUTCOMES_PATH: {"post": _OUTCOMES}}
            described["paths"] = posted | described["paths"]
            _, schemas = msgspec.json.schema_components(_TYPES, ref_template=_REF)
            components = described.setdefault("components", {})
            components["schemas"] = schemas | _terms()
            if keys:
                components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
                described["security"] = [{"key": []}]
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
