"""Digest of source files: what "unchanged" means for code. Whoever asks decides which files count."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

# The packages of the flow, left to right; a stage may use those to its left.
FLOW = ("store", "customers", "offers", "risk", "response", "decision", "message", "release")
# Packages to the left of a stage that it does without (a linter holds it to that): no change there concerns it.
UNUSED = {"message": ("risk", "response", "decision")}
# Of the gates package, what models are fitted with as well as judged by.
SHARED = ("estimates.py", "metrics.py")
# What judges a model and does not shape it.
JUDGES = frozenset({"audit.py", "checks.py", "gate_config.py", "gates.py", "table_gates.py"})
PACKAGE = Path(__file__).resolve().parents[1]


def group_of(stage: str) -> str:
    """The stage's group in the UI; the groups sort in flow order."""
    return f"{FLOW.index(stage)}_{stage}"


def source_digest(files: Iterable[Path]) -> str:
    """sha256 (hex) of the files' names and contents, whatever order they come in."""
    state = hashlib.sha256()
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        state.update(f"{path.parent.name}/{path.name} {content}\n".encode())
    return state.hexdigest()


def training_sources(stage: str, package: Path = PACKAGE) -> list[Path]:
    """The files that what a stage trains can depend on: its own and those of the packages to its left.

    Judges do not count, but for the estimators that models are fitted with too. Another stage's assets.py does its
    work before us and reaches us through the digest of what it made.
    """
    position = FLOW.index(stage)
    own = [path for path in _python(package / stage) if path.name not in JUDGES]
    left = [
        path
        for name in FLOW[:position]
        if name not in UNUSED.get(stage, ())
        for path in _python(package / name)
        if path.name not in {"assets.py", *JUDGES}
    ]
    return own + left + [package / "gates" / name for name in SHARED if (package / "gates" / name).is_file()]


def gate_sources(stage: str, package: Path = PACKAGE) -> list[Path]:
    """The files that a stage's verdicts depend on."""
    own = [path for path in _python(package / stage) if path.name in JUDGES]
    return own + [path for path in _python(package / "gates") if path.name not in {"factory.py", "plots.py"}]


def _python(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))
