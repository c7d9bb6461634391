"""The one escape of everything that is printed: a text is shown as it is, and neither styles nor steers a terminal."""

from __future__ import annotations

import io
import sys
import unicodedata
from typing import Any

from rich.console import Console
from rich.text import Text

# Control characters, invisible and bidirectional marks, halves of a pair, codes without a character, line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, keep: str = "\n") -> str:
    r"""A text with everything escaped that a terminal would act upon or not show.

    Args:
        text: From wherever: a stored record, a file's name, an error of the system.
        keep: Control characters that stand for themselves.

    Example:
        >>> plain("fix \x1b[2J of [/green] \u202eabc")
        'fix \\x1b[2J of [/green] \\u202eabc'
    """
    return "".join(
        each if each in keep or unicodedata.category(each) not in _UNSAFE else _code(each) for each in text
    )


def one_line(text: str) -> str:
    """The same with its line ends escaped, for a text that must not look like two."""
    return plain(text, keep="")


def styled(style: str, text: object) -> Text:
    """A part of a line in a style; the text itself is never read as markup."""
    return Text(plain(str(text)), style=style)


class Screen(Console):
    """A console that takes texts literally: only :func:`styled` parts have a style. Parts stand side by side."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print texts and renderables; see `rich.console.Console.print`."""
        literal = (styled("", each) if isinstance(each, str) else each for each in objects)
        super().print(*literal, **{"sep": "", **options})


def complaints() -> Screen:
    """Standard error, in whole lines."""
    return Screen(stderr=True, soft_wrap=True, highlight=False)


def show_whatever_the_encoding() -> None:
    """Let a terminal that has no sign for a character show its code instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
