"""Arms by chance: shares by stratum of risk, exact propensities, and the keyed draw. Plans no campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.deciding.decider import Rollout

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Shares:
    """What share of each stratum gets which arm.

    Attributes:
        menu: K arms, no contact first.
        cuts: (S - 1,) risks between the strata, rising.
        shares: (S, K); rows add up to 1.
    """

    menu: Menu
    cuts: Floats
    shares: Floats

    def stratum(self, risk: Floats) -> Ints:
        """(n,) stratum of a risk, from 0, the lowest."""
        return np.searchsorted(self.cuts, risk, side="right").astype(np.int64)

    def propensities(self, stratum: Ints, allowed: Bools) -> Floats:
        """(n, K) probability of each arm; the share of an arm that a customer may not get goes to the other arms.

        The holdout keeps its share; who may get nothing is not contacted.

        Args:
            stratum: (n,).
            allowed: (n, K) arms that each may get.
        """
        found = self.shares[stratum] * allowed
        contact = found[:, 1:].sum(1, keepdims=True)
        held = self.shares[stratum, :1]
        found[:, 1:] *= np.divide(1 - held, contact, out=np.zeros_like(held), where=contact > 0)
        found[:, 0] = 1 - found[:, 1:].sum(1)
        return found


@dataclass(frozen=True, eq=False)
class ServedCampaign:
    """A campaign that a release carries: its name, which the draw depends on, and its shares."""

    name: str
    shares: Shares


def drawn(key: bytes, campaign: str, ids: Sequence[str], propensities: Floats) -> tuple[Ints, Floats]:
    """The arm of each customer, and a number that puts them in order: equal for equal key, campaign and id.

    The draw is the server's, see `Rollout.draw`, under the campaign's name.

    Args:
        key: Secret.
        campaign: Its name.
        ids: n.
        propensities: (n, K).

    Returns:
        (n,) index of the arm, which is never one of propensity 0; (n,) in [0, 1), independent of it.
    """
    rollout = Rollout(key, epoch=f"campaign:{campaign}")
    draws = np.array([rollout.draw(each) for each in ids]).reshape(-1, 2)
    possible = propensities > 0
    last = propensities.shape[1] - 1 - possible[:, ::-1].argmax(1)
    arm = (draws[:, :1] >= propensities.cumsum(1)).sum(1)
    return np.minimum(arm, last), draws[:, 1]
