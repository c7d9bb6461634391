"""What a client is told when it gets no answer: problem details (RFC 9457), and nothing of the inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

PROBLEM_JSON = "application/problem+json"
_LONGEST_DETAIL = 500
"""Characters; a refusal quotes what was sent, which may be anything."""


class Problem(Exception):  # noqa: N818 - as RFC 9457 calls it
    """A request that is refused.

    Attributes:
        status: HTTP status.
        title: What kind of problem, the same for all of its kind.
        detail: What was found and expected, for this request.
        headers: Of the answer.
    """

    def __init__(
        self, status: int, title: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.detail = detail
        self.headers = dict(headers or {})


class ProblemDetails(msgspec.Struct, frozen=True):
    """The body of a refusal."""

    title: Annotated[
        str,
        Meta(
            description="What kind of problem; the same for all of its kind.", examples=["invalid question"]
        ),
    ]
    status: Annotated[int, Meta(description="The HTTP status, once more.", examples=[422])]
    detail: Annotated[
        str,
        Meta(
            description="Where it is in what was sent, what was found there, and what was expected.",
            examples=["customers[0].features.tenure: found bool, expected str, float or null"],
        ),
    ]


def problem_body(problem: Problem) -> bytes:
    """The JSON body of a refusal."""
    return msgspec.json.encode(
        ProblemDetails(problem.title, problem.status, problem.detail[:_LONGEST_DETAIL])
    )
