"""What the server is compared with: FastAPI and pydantic as usual, payloads of the same size, no work."""

from __future__ import annotations

import os

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

ANSWER_BYTES = "TRIVIAL_ANSWER_BYTES"


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Customer(_Strict):
    """As in a question to the server."""

    customer_id: str
    features: dict[str, str | float | None]


class Question(_Strict):
    """As to the server."""

    customers: list[Customer]


class Answer(_Strict):
    """One text of the size that the server's answer has: cheaper to make than an answer of many fields."""

    release: str
    durable: bool
    customers: int
    text: str


app = FastAPI()
TEXT = "x" * int(os.environ.get(ANSWER_BYTES, "1000"))


@app.post("/trivial")
async def trivial(question: Question) -> Answer:
    return Answer(release="none", durable=False, customers=len(question.customers), text=TEXT)
