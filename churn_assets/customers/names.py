"""How the project names customers: by their ids, or by a keyed hash of them (`privacy.pseudonyms`). Knows no tables."""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_assets.flow.setting import Setting
from churn_assets.store.privacy_key import privacy_key

PSEUDONYMS = Setting("privacy.pseudonyms", bool)
"""Whether the store and the decision log name customers by a keyed hash of their ids."""
A_NUMBER = 6
"""Digits from which on a number is hardly there by chance, and may be somebody's id."""
PREFIX = "p-"
_PSEUDONYM = re.compile(rf"{PREFIX}[0-9a-f]{{32}}")


def pseudonym(customer: str, key: bytes) -> str:
    """The name of a customer where ids must not stand: the same for equal ids and keys, and by nobody without the key.

    One that is such a name already stays as it is.

    >>> pseudonym("7590-VHVEG", b"a secret of a shop")
    'p-92e349e8fdee55c3e5bed9b7b5bb42a5'
    """
    if _PSEUDONYM.fullmatch(customer):
        return customer
    return PREFIX + hmac.digest(key, customer.encode(), "sha256").hex()[:32]


def naming_key(*, pseudonyms: bool) -> bytes:
    """The secret by which customers are named; empty where they are named by their ids.

    Raises:
        InvalidSetting: CHURN_PRIVACY_KEY is missing where it is needed, or too short.
        OSError: The file that it names cannot be read.
    """
    return privacy_key(os.environ, needed=True) if pseudonyms else b""


def named(ids: Sequence[str] | NDArray[Any], key: bytes) -> NDArray[np.object_]:
    """The names of customers, (n,) text: their ids where the key is empty; a blank stays blank."""
    found = np.asarray(ids, dtype=object)
    if not key:
        return found
    names = {each: pseudonym(each, key) if each else each for each in set(found.tolist())}
    return np.array([names[each] for each in found.tolist()], dtype=object)


def names_of(customer: str) -> frozenset[str]:
    """All that may stand for a customer: the id, and the pseudonym where CHURN_PRIVACY_KEY is set.

    Raises:
        InvalidSetting: It is too short.
        OSError: The file that it names cannot be read.
    """
    key = privacy_key(os.environ)
    return frozenset({customer, pseudonym(customer, key)} if key else {customer})
