"""The data map: every place where a project keeps something of a customer; commands and docs show it."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Names = Literal["id", "keyed hash", "hash", "nobody"]
"""How customers stand there: by their id; by a hash that needs a secret; by one that does not; not at all."""


@dataclass(frozen=True)
class DataPlace:
    """A place of personal data.

    Attributes:
        place: For people.
        patterns: Of files, relative to the project with its store at `.churn/store`; `*` also stands for `/`.
        holds: What of a person.
        names: How customers stand there.
        kept: How long.
        erased: What `churn erase` does there.
        reached: Whether `churn erase` acts there; else it says that you must.
    """

    place: str
    patterns: tuple[str, ...]
    holds: str
    names: Names
    kept: str
    erased: str
    reached: bool = True


_VERSIONS = ".churn/store/artifacts/*"

PLACES = (
    DataPlace(
        "what `decide`, `write`, `log` and `design` wrote: files and tables of yours",
        ("*decided.csv", "*.duckdb", ".churn/demo/*", ".churn/waves/*"),
        "id, decision, message",
        "id",
        "by you",
        "nothing: delete there",
        reached=False,
    ),
    DataPlace(
        "customer table, offer log, outcomes: your own files and databases",
        ("data/*", "*.csv"),
        "whatever you wrote there",
        "id",
        "by you",
        "nothing: delete there first; a training leaves out whoever was erased",
        reached=False,
    ),
    DataPlace(
        "`customers` of the store",
        (f"{_VERSIONS}/customers/*.parquet",),
        "id, features, label",
        "id",
        "as the version: `churn retention`",
        "the row is nobody's, with typical values",
    ),
    DataPlace(
        "`offer_log` of the store",
        (f"{_VERSIONS}/offer_log/*.parquet",),
        "id, what was offered, when, what came of it",
        "id",
        "as the version",
        "the row is nobody's",
    ),
    DataPlace(
        "`risk_model` of the store",
        (f"{_VERSIONS}/risk_model/*.parquet",),
        "id, out-of-fold risk",
        "id",
        "as the version",
        "the row is nobody's",
    ),
    DataPlace(
        "`messages` and `preferences` of the store",
        (f"{_VERSIONS}/messages/*", f"{_VERSIONS}/preferences/*"),
        "id, profile (service, bill, tenure), texts",
        "id",
        "as the version",
        "rows and profile are gone",
    ),
    DataPlace(
        "`release` of the store: golden customers",
        (f"{_VERSIONS}/release/*/bundle.json",),
        "id, features, decision and message of a few customers, by whom every load is tried",
        "id",
        "as the version",
        "the golden customer is gone; the others prove the release",
    ),
    DataPlace(
        "models and the rest of releases of the store",
        (f"{_VERSIONS}.safetensors", f"{_VERSIONS}/release/*", f"{_VERSIONS}.json"),
        "parameters; of a release, hashes of rows of features with what is foreseen for them",
        "nobody",
        "as the version",
        "nothing: no id is in them",
    ),
    DataPlace(
        "decision log in the store",
        (".churn/store/decisions/*",),
        "id, features, last contact, decision, message, outcome",
        "id",
        "`privacy.keep_decisions_days`",
        "of nobody: arm, probabilities, price, outcome stay",
    ),
    DataPlace(
        "decision log on a server",
        (".churn/decision_log/*",),
        "the same, until it is shipped",
        "id",
        "minutes; `torn/` and `quarantine/` until you look",
        "sealed segments as in the store; what is open, torn or in quarantine is named",
    ),
    DataPlace(
        "index of the decision log",
        (".churn/decision_index/*",),
        "who got which arm, and what came of it",
        "hash",
        "made from the log, anew when a segment is gone",
        "deleted; the next look makes it anew",
    ),
    DataPlace(
        "counts of decisions whose segments went with their age",
        (".churn/store/evidence/*",),
        "how many decisions of a day, release and arm",
        "nobody",
        "as the store",
        "nothing: no id is in it",
    ),
    DataPlace(
        "certificates of erasures",
        (".churn/store/erasures/*",),
        "that somebody was erased, and when",
        "keyed hash",
        "as the store",
        "nothing: they keep an erased customer from being learned from again",
    ),
    DataPlace(
        "audit log",
        (".churn/audit/*",),
        "who asked for whose data",
        "keyed hash",
        "by you",
        "nothing: it is the evidence of who looked",
    ),
    DataPlace(
        "reports; Dagster's history",
        (".churn/reports/*", ".dagster/*"),
        "counts, figures, tables by feature and arm, up to five example texts of each table of messages",
        "nobody",
        "as Dagster keeps it",
        "nothing: no id is in it; texts that name somebody are refused before",
    ),
    DataPlace(
        "what was seen of channels, drafts, locks",
        (".churn/seen/*", ".churn/store/channels/*", ".churn/store/marks/*", ".churn/store/signatures/*"),
        "nothing",
        "nobody",
        "as the store",
        "nothing",
    ),
    DataPlace(
        "copies of a bucket's files on each machine (`CHURN_CACHE_DIR`)",
        ("cache/*",),
        "what the files hold",
        "id",
        "until others need the room",
        "deleted on this machine; on others: delete the folder",
    ),
)  # fmt: skip


def place_of(path: str) -> DataPlace | None:
    """The first place that a file, relative to the project, is of; None where it is of none."""
    return next(
        (each for each in PLACES if any(fnmatchcase(path, pattern) for pattern in each.patterns)), None
    )


def rows() -> list[dict[str, str]]:
    """The map as a table."""
    return [
        {
            "where": each.place,
            "what": each.holds,
            "named by": each.names,
            "kept": each.kept,
            "erasing": each.erased,
        }
        for each in PLACES
    ]
