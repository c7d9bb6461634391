"""Questions and answers as a decision log holds them that must not name customers. Knows no files."""

from __future__ import annotations

import json
from typing import Any

from churn_assets.customers.names import pseudonym


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


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
