"""How simulated customers take the words of a message: the truth of the demo. No model may import it.

Everything it says is simulated. The coefficients are choices, not published estimates; that words move people at all,
and pressure only once, is what field experiments with texts find (arXiv 2507.21983 on wording; Ascarza 2016 on contacts
that wake).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Arm, Menu
from churn_assets.customers.table import CustomerTable
from churn_assets.message.text.profile import Profile
from churn_assets.offers.economics import Economics
from churn_assets.offers.world import PRIOR_OFFERS_MEAN, SENSITIVITY_SD, DemoWorld

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_THANKS = re.compile(r"\b(thank|thanks|appreciate|glad|means a lot)", re.I)
_FEELS = re.compile(
    r"fair price|sorry|(costs|bills) add up|good value|cost you less|worth every bill|more value", re.I
)
_PRESSES = re.compile(r"now or lose|last chance|act now|do not wait", re.I)
LONG_STAY, DEAR_BILL, CHEAP_BILL = 24, 80.0, 40.0
LONG_TEXT = 40
CHURNERS_SWAYED, STAYERS_SWAYED = 0.25, 0.03
"""What the staying of would-be churners and stayers gains by words that are liked by one."""
COMPLAINT_DRIVES_OFF = 0.15


@dataclass(frozen=True, eq=False)
class Reception:
    """How n messages are taken; each array is (n,).

    Attributes:
        accepts: P(accept).
        stays: P(stay in the label window).
        complains: P(complain).
        value: Expected money, see `decision_value`.
    """

    accepts: Floats
    stays: Floats
    complains: Floats
    value: Floats


@dataclass(frozen=True, eq=False)
class Recipients:
    """n customers with a latent state of their own, and what each is offered.

    Attributes:
        customer: (n,) row of the world's table.
        arm: (n,) index into the world's menu.
        prior: (n,) offers of the last 90 days: each came in the words of the template.
        latent: (n,) price sensitivity, see `DemoWorld`.
    """

    customer: Ints
    arm: Ints
    prior: Ints
    latent: Floats


class WordsWorld:
    """Answers messages. Without `words` only the arm matters, as in `DemoWorld`.

    With [·] 1 where true, the logit of accepting gains: .35 [names the service]; "Dear" -.40 [month-to-month] + .50
    [two-year] + .30 [senior]; "Hey" .55 [month-to-month] + .25 [up to 12 months] - .45 [two-year]; "Hi" .15; thanks .15
    + .45 [beyond 24 months]; a word about the bill .50 [bill above 80] - .20 [below 40]; -.02 a word beyond 40;
    pressure .45; -.25 for each of up to two offers before that came in the same words (the template's).

    Liking is .25 [names the service] + .25 thanks [beyond 24 months] + .30 a word about the bill [above 80] + .30 "Hey"
    [month-to-month] - .30 "Hey" [two-year] + .30 "Dear" [two-year] - .90 pressure: .25 of it is added to the chance
    that
    a would-be churner stays, .03 to a stayer's. A complaint takes .15; its logit is -4.5 + 1.6 pressure + .03 a word
    beyond 40 + .5 "Hey" [senior] - .5 thanks.

    Args:
        table: Labelled customers with the features of `DemoWorld`.
        menu: What may be offered.
        economics: What a decision is worth.
        words: False for a world in which words make no difference.

    Raises:
        DemoWorldError: The table lacks a feature that the world needs.
    """

    def __init__(self, table: CustomerTable, menu: Menu, economics: Economics, *, words: bool = True) -> None:
        self._world = DemoWorld(table, economics, menu)
        self.menu, self.words = menu, words
        self.ids = self._world.ids

    def recipients(self, customer: Ints, arm: Ints, seed: int) -> Recipients:
        """Customers (n,) with a latent state of the seed's."""
        rng = np.random.default_rng([seed, 8])
        n = len(customer)
        prior = rng.poisson(PRIOR_OFFERS_MEAN, n)
        return Recipients(customer, arm, prior, rng.normal(0, SENSITIVITY_SD, n))

    def reception(
        self, who: Recipients, texts: Sequence[str], services: Sequence[str], template: NDArray[np.bool_]
    ) -> Reception:
        """How each takes the text that it gets.

        Args:
            who: n customers and arms.
            texts: (n,) with their placeholders.
            services: (n,) the names of what they pay for.
            template: (n,) whether the text is the template's, which repeats what came before.
        """
        world, rows = self._world, np.arange(len(who.customer))
        state = world.someone(who.customer, who.latent, who.prior, np.zeros(len(rows)))
        leaving = world.would_churn[who.customer]
        truth = world.truth_of(state, leaving)
        appeal, liking, grief = self._taken(who, texts, services, template)
        q = truth.acceptance[rows, who.arm]
        q = q / (q + (1 - q) * np.exp(-appeal))
        chances, swayed = truth.stays.of(who.arm), np.where(leaving == 1, CHURNERS_SWAYED, STAYERS_SWAYED)
        complains = 1 / (1 + np.exp(4.5 - grief))
        gain = swayed * liking - COMPLAINT_DRIVES_OFF * complains * self.words
        accepting, refusing = (
            np.clip(
                chances.given(leaving[:, None].astype(float), np.full((len(rows), 1), answer))[:, 0] + gain,
                0.0,
                1.0,
            )
            for answer in (1.0, 0.0)
        )
        stays = q * accepting + (1 - q) * refusing
        price, economics = truth.price, world.economics
        monthly = self.menu.monthly(price)[rows, who.arm] * self.menu.months[who.arm]
        value = (
            stays * economics.margin * price * economics.value_horizon_months
            - q * accepting * monthly
            - q * self.menu.given_once[who.arm]
            - self.menu.contact_cost[who.arm]
        )
        return Reception(q, stays, complains, value)

    def answer(self, taken: Reception, rng: np.random.Generator) -> pd.DataFrame:
        """(n, 3) accepted, stayed and complained, 0 or 1 each, drawn one apart from another."""
        chances = {"accepted": taken.accepts, "stayed": taken.stays, "complained": taken.complains}
        return pd.DataFrame({name: (rng.random(len(p)) < p).astype(np.int64) for name, p in chances.items()})

    def _taken(
        self, who: Recipients, texts: Sequence[str], services: Sequence[str], template: NDArray[np.bool_]
    ) -> tuple[Floats, Floats, Floats]:
        """(n,) what words add to the logits of accepting, to liking, and to the logit of a complaint."""
        if not self.words:
            nothing = np.zeros(len(texts))
            return nothing, nothing, nothing
        flags, at = self._world.responses.flags, who.customer
        monthly, two_year, senior = flags.monthly[at], flags.two_year[at], flags.senior[at]
        tenure, bill = self._world.tenure[at], self._world.price[at]
        named = np.array([service in text for service, text in zip(services, texts, strict=True)])
        dear, hey, hi = (
            np.array([text.strip().startswith(word) for text in texts]) for word in ("Dear", "Hey", "Hi ")
        )
        thanks, feels, presses = (
            np.array([bool(words.search(text)) for text in texts]) for words in (_THANKS, _FEELS, _PRESSES)
        )
        longer = np.maximum(0, np.array([len(text.split()) for text in texts]) - LONG_TEXT)
        loyal, costly = thanks & (tenure > LONG_STAY), feels & (bill > DEAR_BILL)
        appeal = (
            0.35 * named
            + dear * (-0.40 * monthly + 0.50 * two_year + 0.30 * senior)
            + hey * (0.55 * monthly + 0.25 * (tenure <= 12) - 0.45 * two_year)
            + 0.15 * hi
            + 0.15 * thanks
            + 0.45 * loyal
            + 0.50 * costly
            - 0.20 * (feels & (bill < CHEAP_BILL))
            - 0.02 * longer
            + 0.45 * presses
            - 0.25 * np.minimum(who.prior, 2) * template
        )
        liking = (
            0.25 * named
            + 0.25 * loyal
            + 0.30 * costly
            + 0.30 * (hey & monthly)
            - 0.30 * (hey & two_year)
            + 0.30 * (dear & two_year)
            - 0.90 * presses
        )
        grief = 1.6 * presses + 0.03 * longer + 0.5 * (hey & senior) - 0.5 * thanks
        return appeal.astype(float), liking.astype(float), grief.astype(float)


def rows_of(world: WordsWorld, customers: Sequence[str]) -> Ints:
    """(n,) the world's rows of customers by id."""
    place = {str(each): row for row, each in enumerate(world.ids)}
    return np.array([place[each] for each in customers], np.int64)


def truth_of_messages(
    world: WordsWorld,
    situations: Sequence[tuple[str, Profile, Arm]],
    written: Mapping[str, Sequence[str]],
    seed: int,
) -> dict[str, Reception]:
    """How the same customers, with the same latent state, take what each of several writers sends them.

    Args:
        world: That answers.
        situations: n customers with profile and arm of the world's menu.
        written: (n,) texts by writer; one called `template` repeats what came before.
        seed: Of the latent state.
    """
    arms = np.array([world.menu.position[arm.id] for _, _, arm in situations], np.int64)
    who = world.recipients(rows_of(world, [each for each, _, _ in situations]), arms, seed)
    services = [profile.service for _, profile, _ in situations]
    return {
        name: world.reception(who, texts, services, np.full(len(texts), name == "template"))
        for name, texts in written.items()
    }
