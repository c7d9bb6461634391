"""Worlds beside the demo's: other ways in which contact changes churn. No model may know which it is.

Each is a class of response functions, behind the demo world's own interface: `DemoWorld(table, economics, menu,
responses=WORLDS[name])` draws its log of single windows, `benchmarks.panel` runs it forward, and `history_log` there
follows customers over several windows. What persists in customers and no log shows is `hidden`, which
`DemoWorld(…, hidden=Hidden(…))` overrides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.offers.config import Drift
from churn_assets.offers.responses import Hidden, ResponseFunctions, Someone, Stays, sigmoid

Floats = NDArray[np.float64]

UNSEEN = Hidden(labels=False)
"""Log, waves and panel follow one hazard, which no feature shows whole."""


class Goodwill(ResponseFunctions):
    """Somebody calls, and that is what keeps customers: whether they take the offer hardly matters."""

    def stays(self, who: Someone) -> Stays:
        demo, flags = super().stays(who), self.flags
        alone = sigmoid(
            -0.9
            + 1.1 * ~flags.tech_support[who.customer]
            + 0.7 * flags.monthly[who.customer]
            - 0.03 * (who.tenure - 24)
            - 0.5 * flags.fibre[who.customer]
        )
        kept = 0.22 * alone[:, None] * self.contacts * self.effects
        return Stays(kept, kept, demo.stayer_accepting, demo.stayer_refusing)


class Level(ResponseFunctions):
    """Of those who accept, a larger gift keeps more."""

    def stays(self, who: Someone) -> Stays:
        demo = super().stays(who)
        strength = 1.35 * (1 - np.exp(-self.worth[who.customer] / 0.15))
        kept = np.minimum(demo.churner_accepting * strength, 0.97)
        return Stays(kept, demo.churner_refusing, demo.stayer_accepting, demo.stayer_refusing)


class Insult(ResponseFunctions):
    """A small offer that is refused drives away who would have stayed."""

    def stays(self, who: Someone) -> Stays:
        demo = super().stays(who)
        insulted = 0.10 * np.exp(-self.worth[who.customer] / 0.07) * self.contacts * self.effects
        return Stays(
            demo.churner_accepting,
            demo.churner_refusing,
            demo.stayer_accepting,
            demo.stayer_refusing * (1 - insulted),
        )


class Weak(ResponseFunctions):
    """Everything that the demo world knows, at a quarter of its strength."""

    def stays(self, who: Someone) -> Stays:
        return scaled(super().stays(who), np.full(len(who.customer), 0.25))


class Frailty(ResponseFunctions):
    """Some leave more easily than others, ever again, and no feature shows who."""

    hidden = UNSEEN


class Steady(ResponseFunctions):
    """The same without: whoever stays is as likely to leave in the next window as the features say."""

    hidden = replace(UNSEEN, frailty=0.0)


class Taste(ResponseFunctions):
    """Some like offers: who took the last one is more likely to take the next."""

    hidden = replace(UNSEEN, taste=1.0)


class Delay(ResponseFunctions):
    """An offer delays leaving: whoever it keeps leaves in the next window, and nobody is saved."""

    hidden = UNSEEN
    delays = 1.0


class Fatigue(ResponseFunctions):
    """Every further offer keeps half as many as the one before, and from the third on drives some away."""

    hidden = UNSEEN

    def stays(self, who: Someone) -> Stays:
        left = scaled(super().stays(who), 0.5**who.offers)
        tired = 0.02 * np.maximum(who.offers - 1, 0)[:, None] * self.contacts * self.effects
        return Stays(
            left.churner_accepting,
            left.churner_refusing,
            left.stayer_accepting * (1 - tired),
            left.stayer_refusing * (1 - tired),
        )


class Drifting(ResponseFunctions):
    """Wave after wave offers are taken more readily and keep fewer."""

    hidden = UNSEEN

    def acceptance(self, who: Someone, would_churn: NDArray[np.int64], share: Floats) -> Floats:
        return super().acceptance(replace(who, taste=who.taste + 0.6 * (who.late - 0.5)), would_churn, share)

    def stays(self, who: Someone) -> Stays:
        return scaled(super().stays(who), 1.3 - 0.6 * who.late)


class Targeted(ResponseFunctions):
    """Whoever logged knew who would leave and made them more offers than is written."""

    hidden = Hidden(targeting=0.30)


class Nothing(ResponseFunctions):
    """Offers are accepted as usual and change nothing."""

    def __init__(self, customers: pd.DataFrame, menu: Menu, *, drift: Drift, effects: bool) -> None:  # noqa: ARG002
        super().__init__(customers, menu, drift=drift, effects=False)


def scaled(stays: Stays, strength: Floats) -> Stays:
    """What contact does to those who would leave and those who would stay, times a strength (n,), as far as it can."""
    factor = strength[:, None]
    return Stays(
        np.minimum(factor * stays.churner_accepting, 0.97),
        np.minimum(factor * stays.churner_refusing, 0.97),
        1 - factor * (1 - stays.stayer_accepting),
        1 - factor * (1 - stays.stayer_refusing),
    )


WORLDS: Mapping[str, type[ResponseFunctions]] = {
    "demo": ResponseFunctions,
    "goodwill": Goodwill,
    "level": Level,
    "insult": Insult,
    "weak": Weak,
    "frailty": Frailty,
    "steady": Steady,
    "taste": Taste,
    "delay": Delay,
    "fatigue": Fatigue,
    "drifting": Drifting,
    "targeted": Targeted,
    "none": Nothing,
}
