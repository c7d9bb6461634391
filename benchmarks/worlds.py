"""Worlds beside the demo's: other ways in which contact changes churn. No model may know which it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from churn_assets.offers.responses import ResponseFunctions, Someone, Stays, sigmoid


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
        demo = super().stays(who)
        return Stays(
            0.25 * demo.churner_accepting,
            0.25 * demo.churner_refusing,
            demo.stayer_accepting,
            1 - 0.25 * (1 - demo.stayer_refusing),
        )


WORLDS: Mapping[str, type[ResponseFunctions]] = {
    "demo": ResponseFunctions,
    "goodwill": Goodwill,
    "level": Level,
    "insult": Insult,
    "weak": Weak,
}
