"""The one rule that splits customers, for every table that names them. Knows ids and a seed, no columns."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def folds(ids: Iterable[str], seed: int, count: int) -> NDArray[np.int8]:
    """Returns the fold of each customer: a hash of seed and id, the same in every table, process and year.

    Args:
        ids: Customer ids, as text.
        seed: The experiment's seed.
        count: Number of folds, at most 100.

    Returns:
        Folds 0 … count - 1, int8, in the order of `ids`.
    """
    prefix = f"{seed}:".encode()
    hashed = (blake2b(prefix + name.encode(), digest_size=8).digest() for name in ids)
    return np.array([int.from_bytes(digest, "big") % count for digest in hashed], dtype=np.int8)
