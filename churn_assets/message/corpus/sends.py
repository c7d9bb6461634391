"""What was sent in the past, by chance, and what came of it: SIMULATED sends of the embedded corpus' sentences.

A sender draws one of a few variants with fixed propensities: the template, one of the four tones, or a pressing text.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from churn_assets.arms import Menu
from churn_assets.customers.table import CustomerTable
from churn_assets.message.config import MessagesConfig, SafetyRules
from churn_assets.message.corpus.data import SEND_COLUMNS, splits_of
from churn_assets.message.corpus.phrases import PRESSING_CALLS, SAID, TONES
from churn_assets.message.corpus.sentences import Choices, write_draft
from churn_assets.message.corpus.words_world import WordsWorld
from churn_assets.message.text.profile import Profile, profiles_of, prompt_of
from churn_assets.message.text.safety import safety_of
from churn_assets.message.text.template import plain_text
from churn_assets.message.text.terms import in_sentence, offers_of

TEMPLATE, PRESSING = "template", "pressing"
VARIANTS: Mapping[str, float] = {TEMPLATE: 0.24, **dict.fromkeys(TONES, 0.17), PRESSING: 0.08}
"""Propensity of each variant, whoever is written to."""
ROWS = 40_000
PLAIN_SHARE = 0.4
"""Of the texts that are not the template, those that do not name the service."""


def draw_sends(
    world: WordsWorld,
    table: CustomerTable,
    config: MessagesConfig,
    rules: SafetyRules,
    rows: int,
    seed: int,
    currency: str = "USD",
) -> tuple[pd.DataFrame, dict[str, Profile]]:
    """Draws `rows` sends, and what the world answers to them.

    Args:
        world: That answers, on customers of `table`.
        table: The customers; their folds decide the split.
        config: The `messages:` section: profile.
        rules: The `safety:` section, which the template keeps.
        rows: How many.
        seed: Of everything that is drawn.
        currency: Of all money, ISO 4217.

    Returns:
        Columns SEND_COLUMNS, and the profiles of the customers.

    Raises:
        TemplateError: The template cannot say an arm.
    """
    rng = np.random.default_rng([seed, 9])
    profiles, splits = profiles_of(table, config.profile, currency), splits_of(table)
    arms = [place for place, arm in enumerate(world.menu) if arm.contacts]
    customer = rng.integers(len(world.ids), size=rows)
    arm = rng.choice(arms, size=rows)
    variant = rng.choice(list(VARIANTS), size=rows, p=list(VARIANTS.values()))
    texts, made = _Sender(world.menu, config, rules, currency, rng), []
    for row in range(rows):
        name = str(world.ids[customer[row]])
        profile, offered = profiles[name], world.menu[arm[row]]
        text = texts.text(str(variant[row]), profile, int(arm[row]))
        made.append(
            (name, splits[name], prompt_of(profile, offered), text, offered.id, float(offered.months))
        )
    frame = pd.DataFrame(made, columns=list(SEND_COLUMNS[:6]))
    who = world.recipients(customer, arm, seed)
    services = [profiles[name].service for name in frame["customer_id"]]
    taken = world.reception(who, frame["text"].tolist(), services, variant == TEMPLATE)
    chances = {name: float(share) for name, share in VARIANTS.items()}
    frame = frame.assign(variant=variant, propensity=[chances[str(each)] for each in variant])
    frame = pd.concat([frame, world.answer(taken, rng)], axis=1)
    return frame, {name: profiles[name] for name in frame["customer_id"].unique()}


class _Sender:
    """Writes a text of a variant."""

    def __init__(
        self, menu: Menu, config: MessagesConfig, rules: SafetyRules, currency: str, rng: np.random.Generator
    ) -> None:
        services = config.profile.service_texts
        self._menu, self._rng = menu, rng
        self._safety = safety_of(rules, services, menu)
        self._choices = Choices(offers_of(menu, config.durations), services, currency)
        self._templates: dict[tuple[str, int], str] = {}

    def text(self, variant: str, profile: Profile, arm: int) -> str:
        """The text, with a space before it."""
        if variant == TEMPLATE:
            key = (profile.service, arm)
            if key not in self._templates:
                self._templates[key] = " " + plain_text(profile, self._menu[arm], self._safety)
            return self._templates[key]
        rng, offered = self._rng, self._menu[arm]
        tone = TONES[int(rng.integers(len(TONES)))] if variant == PRESSING else variant
        draft = write_draft(profile, offered, self._choices, 1.0, rng, tone)
        if rng.random() < PLAIN_SHARE:
            plain = SAID[offered.terms.kind].plain
            draft = draft.saying("offer", in_sentence(plain[int(rng.integers(len(plain)))], profile, offered))
        if variant == PRESSING:
            draft = draft.saying("call", PRESSING_CALLS[int(rng.integers(len(PRESSING_CALLS)))])
        return draft.completion
