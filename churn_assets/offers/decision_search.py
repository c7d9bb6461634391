"""The index that people search the decision log by: one file a project, store and experiment. Chooses nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from churn_assets.offers.decision_index import DecisionFilter, DecisionIndex, FoundDecision
from churn_assets.offers.economics import ServedTerms
from churn_assets.store.backend import Backend
from churn_assets.store.canonical import sha256_bytes

SEARCHED = ".churn/decision_search"


def search_path(root: Path, store: str, experiment: str) -> Path:
    """The file of an experiment of a store, told by its address; automation keeps one of its own."""
    return root / SEARCHED / f"{experiment}-{sha256_bytes(store.encode())[:16]}.sqlite"


def of_customer(index: DecisionIndex, names: Collection[str], most: int) -> list[FoundDecision]:
    """The newest decisions of a customer, whichever of their names the log has; the newest first."""
    found = [row for name in sorted(names) for row in index.search(DecisionFilter(customer=name), most)]
    return sorted(found, key=lambda row: row.at, reverse=True)[:most]


@contextmanager
def searched_log(
    path: Path, price: str, backend: Backend, experiment: str, folder: Path, terms: ServedTerms
) -> Iterator[DecisionIndex]:
    """The index, after reading the segments that are new; losing its file loses nothing.

    Args:
        path: As of `search_path`.
        price: The feature that is the list price a month.
        backend: Where the log's segments are.
        experiment: Whose.
        folder: The server's own folder, for sealed segments that are not in the store yet.
        terms: What the experiment says of its decisions.

    Raises:
        StoreError: The store does not answer.
        OSError: The index cannot be written.
    """
    with closing(DecisionIndex(path, price, terms=terms)) as index:
        index.refresh(backend, experiment, folder)
        yield index
