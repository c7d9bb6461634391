"""Names of customers in the decision log where it must not name them: a keyed hash of the id. Knows no files."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "p-"


def pseudonym(customer: str, key: bytes) -> str:
    """The name of a customer in a log of pseudonyms: the same for equal ids and keys, and by nobody without the key.

    >>> pseudonym("7590-VHVEG", b"a secret of a shop")
    'p-92e349e8fdee55c3e5bed9b7b5bb42a5'
    """
    return PREFIX + hmac.digest(key, customer.encode(), "sha256").hex()[:32]


def pseudonymous(question: bytes, answer: bytes, key: bytes) -> tuple[bytes, bytes]:
    """A question and its answer as they are logged: customers by their pseudonyms, messages left out.

    A message repeats what a customer's bill and service are; it was sent, and nothing learns from the log's copy.
    """
    asked, told = json.loads(question), json.loads(answer)
    for each in (*asked["customers"], *told["decisions"], *told.get("undecided", ())):
        each["customer_id"] = pseudonym(each["customer_id"], key)
    for each in told["decisions"]:
        each["message"] = None
    return _json(asked), _json(told)


def names_of(customers: Iterable[str], key: bytes) -> Mapping[str, str]:
    """Pseudonym to id, for whoever has the table and the key: so logged decisions find their customers again."""
    return {pseudonym(each, key): each for each in customers} if key else {}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
