"""What goes wrong on the command line, in one line with a hint, and the exit code that says which kind it was."""

from __future__ import annotations

import builtins
import difflib
import errno
import functools
import os
import re
import traceback
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import typer

from churn_assets.cli.shown import complaints, styled
from churn_assets.cli.transfers import transfers

REFUSED = 1
USAGE = 2
STORE = 3
RUN_FAILED = 4
PARTLY = 5
MACHINE = 6
BUG = 70

# Class names, as a failed Dagster step hands over no more than that. Store errors not named here give STORE, errors of
# the operating system MACHINE unless their number is in _ERRNO.
_CODES = {
    "ReleaseRefusedError": REFUSED,
    "PromotionRefused": REFUSED,
    "DagsterAssetCheckFailedError": REFUSED,
    "UsageProblemError": USAGE,
    "UnknownReleaseError": USAGE,
    "ExperimentError": USAGE,
    "ArmError": USAGE,
    "TableError": USAGE,
    "QueryError": USAGE,
    "CustomerTableError": USAGE,
    "OfferLogError": USAGE,
    "CampaignError": USAGE,
    "BudgetError": USAGE,
    "LedgerError": MACHINE,
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
    # of the system and of clients, where no part of ours gave them a name of their own
    "UnicodeDecodeError": USAGE,
    "DagsterHomeNotSetError": USAGE,
    "DagsterInvalidConfigError": USAGE,
    "GoogleAuthError": STORE,
    "GoogleAPIError": STORE,
    "RequestException": STORE,
    "MemoryError": MACHINE,
    "OperationalError": MACHINE,  # of SQLite, which keeps Dagster's history
}
_HINTS = {
    "ExperimentError": "the experiments are the files of configs/",
    "DatabaseUnreachable": "try again once it answers; nothing was changed",
    "DatabaseRefused": "look at the variables that say who reads: PGUSER, PGPASSWORD or PGPASSFILE; "
    "GOOGLE_APPLICATION_CREDENTIALS",
    "ChannelConflict": "look at `churn releases` and decide again",
    "AccessDenied": "churn doctor says what is missing",
    "BucketMissing": "make the bucket, or mend store.uri (or CHURN_STORE); churn doctor tries it",
    "StoreUnreachable": "try again; churn doctor says what works",
    "CorruptArtifact": "stored bytes changed: churn store verify names all of them; restore them, roll back "
    "(churn rollback) or run the experiment again",
    "UnsignedContent": "docs/store.md, Signatures: whose keys are trusted, and how what is there is signed",
    "RecordsLost": "docs/runbook.md, The newest record of a channel is gone",
    "ReleaseRefusedError": "see `churn checks`",
    "PromotionRefused": "see `churn checks` and `churn show`",
    "UnicodeDecodeError": "the file is in another encoding: save it as UTF-8",
    "DagsterHomeNotSetError": "leave DAGSTER_HOME out, or name a folder that is there by its whole path",
    "DagsterInvalidConfigError": "mend dagster.yaml in the project's folder, or in DAGSTER_HOME",
    "GoogleAuthError": "log in (gcloud auth application-default login), or mend GOOGLE_APPLICATION_CREDENTIALS",
    "GoogleAPIError": "try again; churn doctor says what works",
    "RequestException": "the network, or a proxy: try again; churn doctor says what works",
    "MemoryError": "give the machine more memory, or the command less to do",
    "OperationalError": "the history in .dagster/ cannot be used: make room, mend its permissions, stop what holds it",
}
_MENDED = "mend the permissions of the file or folder; docs/operations.md says which the store needs"
_ERRNO = {
    errno.ENOENT: (USAGE, "make the folder first, or mend the path"),
    errno.ENOTDIR: (USAGE, "a part of the path is a file: mend the path"),
    errno.EISDIR: (USAGE, "a folder is where a file was meant: mend the path, or move the folder away"),
    errno.EEXIST: (USAGE, "something is there already: mend the path, or move it away"),
    errno.ENOTEMPTY: (USAGE, "the folder is not empty: mend the path, or move away what is in it"),
    errno.ENAMETOOLONG: (USAGE, "choose a shorter path"),
    errno.ELOOP: (USAGE, "a link leads to itself, or where no link may be: mend the path"),
    errno.EADDRINUSE: (USAGE, "another server listens there: stop it, or choose another --port"),
    errno.EADDRNOTAVAIL: (USAGE, "this machine has no such address: mend --host"),
    errno.EACCES: (MACHINE, _MENDED),
    errno.EPERM: (MACHINE, _MENDED),
    errno.EROFS: (MACHINE, "the file system is mounted read-only: mount it for writing, or choose another place"),
    errno.ENOSPC: (MACHINE, "the disk is full: make room (docs/runbook.md, The disk is full), then do it again"),
    errno.EDQUOT: (MACHINE, "the quota is used up: make room or have it raised, then do it again"),
    errno.EFBIG: (MACHINE, "the file system takes no file of this size: choose another place"),
    errno.EIO: (MACHINE, "the disk failed: look at the system's log, move the store to a sound disk"),
    errno.EMFILE: (MACHINE, "too many files are open: raise the limit (ulimit -n), then do it again"),
    errno.ENFILE: (MACHINE, "too many files are open on this machine: stop something, then do it again"),
    errno.ENOMEM: (MACHINE, "the memory is used up: stop something, then do it again"),
    errno.ENOLCK: (MACHINE, "the file system has no locks: choose another place"),
    errno.ESTALE: (MACHINE, "the network file system lost the file: mount it again, then do it again"),
    errno.ENOTSUP: (MACHINE, "the file system lacks what the store needs: churn doctor says what"),
    errno.ETIMEDOUT: (MACHINE, "nobody answered in time: try again"),
    errno.ECONNREFUSED: (MACHINE, "nobody listens there: start what should, or mend the address"),
}  # fmt: skip
# What an error of a library says where the machine has no more memory or threads; its class is any.
_STARVED = ("can't start new thread", "failed to map segment", "cannot allocate memory")
_OTHER_ERRNO = "the machine refused it: look at the system's log, then do it again"
# Commands that write, and where to see whether they did: an error of the machine may come after the deed.
_ACTS = {
    "promote": "it may have been done: look at `churn history` before you do it again",
    "rollback": "it may have been done: look at `churn history` before you do it again",
    "retention": "a part may have been removed: look at `churn retention --all`, then do it again",
    "copy": "a part may have been copied: the same command goes on",
    "sign": "a part may have been signed: the same command goes on",
    "erase": "a part may have been erased: erase again, which goes on",
    "stop_offers": "it may have been done: look at `churn offers status` before you do it again",
    "resume_offers": "it may have been done: look at `churn offers status` before you do it again",
    "start": "it may have been done: look at `churn trial status` before you do it again",
    "stop": "it may have been done: look at `churn trial status` before you do it again",
    "forget": "it may have been done: look at `churn history`",
    "keys": "it may have been done: list the keys before you do it again",
    "run": "what was committed stays: run it again to go on",
}
_NUMBER = re.compile(r"\[Errno (\d+)\]")

P = ParamSpec("P")
R = TypeVar("R")


class UsageProblemError(Exception):
    """Wrong input or usage, with a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def code_of(class_names: Sequence[str], message: str = "") -> int | None:
    """Exit code of an error by the names of its class and its bases; None for one that nobody expected.

    Args:
        class_names: The error's class first.
        message: What it says; of an error of the operating system, with its number.
    """
    known = next((_CODES[name] for name in class_names if name in _CODES), None)
    if known is None and "StoreError" in class_names:
        return STORE
    if known is None and "OSError" in class_names:
        return _ERRNO.get(_number(message), (MACHINE, ""))[0]
    return MACHINE if known is None and _is_starved(message) else known


def hint_of(class_names: Sequence[str], message: str = "") -> str:
    """What to do about an error; arguments as of `code_of`."""
    named = next((_HINTS[name] for name in class_names if name in _HINTS), "")
    if not named and _is_starved(message):
        return _HINTS["MemoryError"]
    if named or "OSError" not in class_names:
        return named
    return _ERRNO.get(_number(message), (MACHINE, _OTHER_ERRNO))[1]


def _is_starved(message: str) -> bool:
    return any(each in message.lower() for each in _STARVED)


def _number(message: str) -> int:
    found = _NUMBER.search(message)
    return int(found[1]) if found else 0


def named_errors() -> dict[str, tuple[str, ...]]:
    """Every store and system error's name with those of its bases, for errors that arrive by name alone."""
    from churn_assets.store import errors

    return {
        name: tuple(base.__name__ for base in found.__mro__)
        for name, found in (vars(errors) | vars(builtins)).items()
        if isinstance(found, type) and issubclass(found, errors.StoreError | OSError | UnicodeError)
    }


def nearest(name: str, known: Sequence[str]) -> str:
    """A question that names the closest of what is known; empty if nothing is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def complain(message: str, hint: str = "") -> None:
    """One line on stderr, and a hint."""
    screen = complaints()
    screen.print(styled("red", "error:"), f" {message}")
    if hint:
        screen.print(styled("dim", "hint:"), f" {hint}")


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
            raise typer.Exit(_explained(error, command.__name__)) from error

    return wrapped


def _explained(error: Exception, command: str) -> int:
    """Say what went wrong; returns the exit code."""
    if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
        found = f"found {error.object!a:.80}, expected text in UTF-8"
        error = UsageProblemError(found, "what was typed, or a name in the environment, has another encoding")
    names = [base.__name__ for base in type(error).__mro__]
    text = str(error)
    code = code_of(names, text)
    if code is None:
        traceback.print_exception(error)
        complain("this is a bug in churn, not in what you asked for", _ACTS.get(command, ""))
        return BUG
    hints = [getattr(error, "hint", "") or hint_of(names, text)]
    if code == MACHINE or "StoreUnreachable" in names:
        hints.append(_ACTS.get(command, ""))
    complain(_told(error), "; ".join(filter(None, hints)))
    return code


def _told(error: Exception) -> str:
    """What an error says; of the operating system in the order of every other message: the file, what was found."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error) or type(error).__name__
    file = error.filename2 or error.filename
    return f"{os.fsdecode(file)}: {error.strerror}" if isinstance(file, str | bytes) else error.strerror
