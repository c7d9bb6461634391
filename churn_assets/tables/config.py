"""How a file is to be read where that should not be detected. Settings only."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field


class FileReading(BaseModel, frozen=True, extra="forbid"):
    """A `reading:` section; what is left out is detected, and what was detected is said.

    Attributes:
        separator: Between fields of a CSV.
        decimal: Of numbers written as text: `.` or `,`; the other one may group thousands.
        encoding: Of a CSV, as Python calls it: `cp1252`, `latin-1`. Left out, UTF-8 or what a byte order mark says.
        quote: Around fields of a CSV.
        blanks: Texts that are no value in any column, such as `?` or `-`.
    """

    separator: Literal[",", ";", "\t", "|"] | None = None
    decimal: Literal[".", ","] | None = None
    encoding: Annotated[str, Field(min_length=1)] | None = None
    quote: Literal['"', "'"] | None = None
    blanks: tuple[str, ...] = ()
