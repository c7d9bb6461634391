"""A release sends the model's messages where they were measured better than the template's, and says who writes."""

from __future__ import annotations

import numpy as np
import pytest

from churn_assets.arms import Catalogue
from churn_assets.deciding.messages import MessageWriter, Writing
from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.gold import gold_score
from churn_assets.message.measured import messages_of_opponents
from churn_assets.message.model import gates
from churn_assets.message.model.author import OPPONENTS, authorship
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety
from churn_assets.message.training.config import Sampling
from churn_assets.message.training.gate_config import PpoTextGates

ARM = Catalogue(discount_months=6).arm(0.2)
SITUATIONS = [Situation(str(number), Profile("phone plan", 20.0 + number), ARM) for number in range(60)]
NOISE = np.random.default_rng(0).normal(0, 0.01, len(SITUATIONS))


@pytest.mark.parametrize(("gain", "author"), [(0.1, "model"), (0.0, "template"), (-0.1, "template")])
def test_the_model_writes_where_it_is_better_than_the_template_beyond_chance(gain, author):
    template = np.full(len(SITUATIONS), 0.8)
    outcome = gates.better_than_sft(
        SITUATIONS,
        template + gain + NOISE,
        template - 0.3,
        "the gold rules",
        PpoTextGates(),
        {"template": template},
    )
    found = authorship(outcome.tables[OPPONENTS])
    assert found.author == author
    assert "by the gold rules" in found.reason
    assert all(gate.name != "template" for gate in outcome.gates)


def test_a_model_that_was_never_compared_writes():
    assert authorship(()).author == "model"


def test_template_and_composer_are_texts_that_may_be_sent():
    safety = Safety(SafetyRules(), ("phone plan",))
    found = messages_of_opponents(SITUATIONS, safety, 0, composed=True)
    assert set(found) == {"template", "composer"}
    for texts in found.values():
        for each, text in zip(SITUATIONS, texts, strict=True):
            assert safety.check(text.raw, each.profile, each.arm).safe
            assert gold_score(each.profile, each.arm, text.raw).total > 0.7
    assert set(messages_of_opponents(SITUATIONS, safety, 0, composed=False)) == {"template"}


def test_a_release_whose_template_is_better_sends_it_and_says_why():
    writing = Writing(
        safety=SafetyRules(), profile=None, max_new_tokens=96, sampling=Sampling(), seed=0,
        author="template", author_reason="the model is not better",
    )  # fmt: skip
    writer = MessageWriter.of(writing, object())  # a model that is never asked
    assert not writer.has_model
    ((message,),) = writer.write([Situation("", Profile("monthly bill", 20.0), ARM)])
    assert (message.sent.written_by, message.reason) == ("template", "the model is not better")
