"""What goes wrong on the command line, in one line with a hint, and the exit code that says which kind it was."""

from __future__ import annotations

import difflib
import functools
import traceback
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import typer
from rich.console import Console

from churn_assets.cli.transfers import transfers

REFUSED = 1
USAGE = 2
STORE = 3
RUN_FAILED = 4
PARTLY = 5
BUG = 70

# Class names, as a failed Dagster step hands over no more than that. Store errors not named here give STORE.
_CODES = {
    "ReleaseRefusedError": REFUSED,
    "PromotionRefused": REFUSED,
    "DagsterAssetCheckFailedError": REFUSED,
    "UsageProblemError": USAGE,
    "UnknownReleaseError": USAGE,
    "ExperimentError": USAGE,
    "ArmError": USAGE,
    "TableError": USAGE,
    "CustomerTableError": USAGE,
    "OfferLogError": USAGE,
    "DemoWorldError": USAGE,
    "NeverMaterializedError": USAGE,
    "WrongFolderError": USAGE,
    "UnsupportedLocation": USAGE,
    "InvalidSetting": USAGE,
    "InvalidName": USAGE,
    "MessageFileError": USAGE,
    "ProfileError": USAGE,
    "RenderError": USAGE,
    "TemplateError": USAGE,
    "ModelError": USAGE,
    "TextError": USAGE,
    "ServingError": USAGE,
    "KeyFileError": USAGE,
    "SegmentError": STORE,
}
_HINTS = {
    "ExperimentError": "the experiments are the files of configs/",
    "ChannelConflict": "look at `churn releases` and decide again",
    "AccessDenied": "churn doctor says what is missing",
    "BucketMissing": "make the bucket, or mend store.uri (or CHURN_STORE); churn doctor tries it",
    "StoreUnreachable": "try again; churn doctor says what works",
    "CorruptArtifact": "stored bytes changed: roll back (churn rollback) or run the experiment again",
    "ReleaseRefusedError": "see `churn checks`",
    "PromotionRefused": "see `churn checks` and `churn show`",
}

P = ParamSpec("P")
R = TypeVar("R")


class UsageProblemError(Exception):
    """Wrong input or usage, with a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def code_of(class_names: Sequence[str]) -> int | None:
    """Exit code of an error by the names of its class and its bases; None for one that nobody expected."""
    known = next((_CODES[name] for name in class_names if name in _CODES), None)
    if known is None and "StoreError" in class_names:
        return STORE
    return known


def hint_of(class_names: Sequence[str]) -> str:
    """What to do about an error."""
    return next((_HINTS[name] for name in class_names if name in _HINTS), "")


def store_error_names() -> dict[str, tuple[str, ...]]:
    """Every store error's name with those of its bases, for errors that arrive by name alone."""
    from churn_assets.store import errors

    return {
        name: tuple(base.__name__ for base in found.__mro__)
        for name, found in vars(errors).items()
        if isinstance(found, type) and issubclass(found, errors.StoreError)
    }


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that names the closest of what is known; empty if nothing is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def complain(message: str, hint: str = "") -> None:
    """One line on stderr, and a hint."""
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    errors.print(f"[red]error:[/] {_escaped(message)}")
    if hint:
        errors.print(f"[dim]hint:[/] {_escaped(hint)}")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """A command whose expected errors are one line and an exit code; others are bugs and keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with transfers:
                return command(*args, **kwargs)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            complain("interrupted; run the same command again to go on where it stopped")
            raise typer.Exit(130) from None
        except Exception as error:
            names = [base.__name__ for base in type(error).__mro__]
            code = code_of(names)
            if code is None:
                traceback.print_exception(error)
                complain("this is a bug in churn, not in what you asked for")
                raise typer.Exit(BUG) from error
            hint = getattr(error, "hint", "") or hint_of(names)
            complain(str(error), hint)
            raise typer.Exit(code) from error

    return wrapped


def _escaped(text: str) -> str:
    return text.replace("[", "\\[")
