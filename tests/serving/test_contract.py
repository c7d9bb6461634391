"""The interface's description is valid, whole and true: what a generator of clients and a reader of it rely on."""

from __future__ import annotations

import json
import runpy
from types import SimpleNamespace

import jsonschema
import msgspec
import pytest
from fastapi.routing import APIRoute
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from churn_assets.serving import openapi
from churn_assets.serving.app import Parts, create_app
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.problems import Problem
from churn_assets.serving.question import read_body
from churn_assets.serving.run import KEYS_FILE, ServingError, read_secrets
from churn_assets.serving.schemas import DecisionsQuestion, OutcomesQuestion
from churn_assets.serving.security import DOCUMENT_PATH, OPEN_PATHS

DOCUMENT = openapi.document(keys=True)
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    pytest.param(path, method, operation, id=operation["operationId"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
QUESTIONS, OUTCOMES = map(msgspec.json.Decoder, (DecisionsQuestion, OutcomesQuestion))


def guarded(keys):
    """The application over parts that are never asked here."""
    config = ServingConfig()
    parts = Parts(config, *[None] * 4, SimpleNamespace(running=None), Metrics(), keys, lambda: None)
    return create_app(parts)


@pytest.fixture(scope="module")
def stranger():
    """Somebody without a key, where keys are asked for."""
    app = guarded(SimpleNamespace(name_of=lambda header: "crm" if header == b"Bearer good" else None))
    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("keys", [False, True])
def test_the_description_is_a_valid_openapi_document(keys):
    validate(openapi.document(keys=keys))


def test_it_describes_every_path_that_is_there_and_no_other():
    app = guarded(None)
    routes = {route.path for route in app._app._app.routes if isinstance(route, APIRoute)}
    answered = routes | set(app._app._answers)
    assert set(DOCUMENT["paths"]) == {path for path in answered if not path.startswith("/docs")}


def test_every_field_is_described_and_every_schema_used():
    for name, schema in SCHEMAS.items():
        assert schema["description"].endswith("."), name
        assert ">>>" not in schema["description"], name
        for field, about in schema.get("properties", {}).items():
            assert about.get("description"), f"{name}.{field}"
    text = json.dumps(DOCUMENT)
    assert [name for name in SCHEMAS if f'"#/components/schemas/{name}"' not in text] == []


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_operation_says_what_it_is(path, method, operation):
    assert operation["summary"]
    assert not operation["summary"].endswith(".")
    assert operation["description"].endswith(".")
    assert set(operation["tags"]) <= {tag["name"] for tag in DOCUMENT["tags"]}
    statuses = {status[0] for status in operation["responses"]}
    assert {"2", "4"} <= statuses
    assert all(answer["description"] for answer in operation["responses"].values())
    open_to_all = operation.get("security", DOCUMENT["security"]) == []
    assert open_to_all == (path in OPEN_PATHS)
    if not open_to_all:
        assert "401" in operation["responses"]
    for parameter in operation.get("parameters", ()):
        assert parameter["description"]
    if method == "post":
        assert operation["requestBody"]["content"]["application/json"]["examples"]


def test_names_of_operations_are_unique_and_read_as_code():
    names = [operation["operationId"] for *_, operation in (each.values for each in OPERATIONS)]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name.islower() for name in names)


def examples():
    for path, method, operation in (each.values for each in OPERATIONS):
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for place, content in enumerate(contents):
            for media in content.get("content", {}).values():
                told = [each["value"] for each in media.get("examples", {}).values()]
                told += [media["example"]] if "example" in media else []
                for number, example in enumerate(told):
                    yield pytest.param(media["schema"], example, id=f"{method} {path} {place} {number}")


@pytest.mark.parametrize(("schema", "example"), list(examples()))
def test_every_example_keeps_its_schema(schema, example):
    jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(example)


def test_the_examples_of_questions_are_read():
    for path, decoder in ((openapi.DECISIONS_PATH, QUESTIONS), (openapi.OUTCOMES_PATH, OUTCOMES)):
        body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        for example in body["examples"].values():
            read_body(json.dumps(example["value"]).encode(), decoder)


def test_a_key_is_declared_and_asked_for_where_the_server_asks():
    (scheme,) = DOCUMENT["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert DOCUMENT["security"] == [{"key": []}]
    assert {} in openapi.document(keys=False)["security"]


def test_the_document_is_printed_without_a_server(capsys):
    runpy.run_path(openapi.__file__, run_name="__main__")
    assert json.loads(capsys.readouterr().out) == DOCUMENT


def test_the_page_opens_in_a_browser_without_a_key_and_calls_need_one(stranger):
    page = stranger.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("<!doctype html>", "")
    for part in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon.png"):
        assert stranger.get(f"/docs/{part}").status_code == 200
    assert stranger.get(DOCUMENT_PATH).json() == DOCUMENT
    for path in ("/metrics", "/v1/release", "/v2/models/release", "/docs/other"):
        assert stranger.get(path).status_code == 401, path
    assert stranger.post("/v1/decisions", json={}).status_code == 401
    assert stranger.get("/metrics", headers={"authorization": "Bearer good"}).status_code == 200


@pytest.mark.parametrize("loopback", [True, False])
def test_a_file_of_keys_that_is_named_is_in_force_wherever_the_server_listens(loopback):
    found = read_secrets({KEYS_FILE: "keys.json"}, ServingConfig(), loopback=loopback)
    assert found.keys is not None
    with pytest.raises(ServingError, match="never"):
        read_secrets({KEYS_FILE: "keys.json"}, ServingConfig(require_keys="never"), loopback=loopback)


CUSTOMER = '{"customer_id": "a", "features": {"tenure": 1}%s}'


def in_second(fields):
    return f'{{"customers": [{CUSTOMER % ""}, {fields}]}}'


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ('{"customers": [{"customer_id": "a", "features": {"a": 1, "tenure": NaN}}]}',
         "customers[0].features.tenure: found NaN,"),
        (in_second('{"customer_id": "b", "features": {"fee": -Infinity}}'),
         "customers[1].features.fee: found -Infinity,"),
        ('{"customers": [{"customer_id": "a", "features": {"a": 1}}], "budget_price": NaN}',
         "budget_price: found NaN,"),
        ("NaN", "the body: found NaN,"),
        (in_second('{"customer_id": "b", "features": {"fee": true}}'),
         "customers[1].features.fee: found bool, expected"),
        (in_second(CUSTOMER % ', "offers_used": true'), "customers[1].offers_used: found bool, expected int"),
        (in_second(CUSTOMER % ', "opted_out": 1'), "customers[1].opted_out: found int, expected bool"),
        (in_second(CUSTOMER % ', "last_contact": {"months_ago": 1.5}'), "customers[1].last_contact.months_ago: "),
        (in_second(CUSTOMER % ', "shoe_size": 44'), "customers[1].shoe_size: found a field that is not known"),
        ('{"customers": [], "shoes": 1}', "customers: "),
        ('{"shoes": 1}', "shoes: found a field that is not known"),
        (in_second('{"customer_id": "b"}'), "customers[1].features: found nothing, expected"),
        ("[]", "the body: found array, expected object"),
        ('{"customers": ', "expected one JSON document in UTF-8"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_question_is_named_by_its_path(body, detail):
    with pytest.raises(Problem) as refused:
        read_body(body.encode(), QUESTIONS)
    assert refused.value.detail.startswith(detail), refused.value.detail
    assert "$" not in refused.value.detail


def test_so_is_what_is_wrong_with_an_outcome():
    with pytest.raises(Problem, match="invalid") as refused:
        read_body(b'{"outcomes": [{"decision_id": "x"}]}', OUTCOMES)
    assert refused.value.detail.startswith("outcomes[0].decision_id: ")
