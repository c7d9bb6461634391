"""The oracle of what embarrasses catches what was seen, and lets what may be sent pass."""

import pytest

from benchmarks.embarrassing import embarrassing
from churn_assets.message.config import SafetyRules
from churn_assets.message.corpus.phrases import (
    ACKNOWLEDGEMENTS,
    CALLS_TO_ACTION,
    LOYAL_OPENINGS,
    OFFERS,
    OPENINGS,
    OPT_OUTS,
    PLAIN_OPENINGS,
    PRESSING_CALLS,
    SIGN_OFFS,
)

BODY = "You can now get 20% off your phone plan for 6 months. Reply STOP to opt out."


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{PLAIN_OPENINGS[-1]} {BODY}", "records"),
        (f"Hi {{name}}, we noticed that you may leave. {BODY}", "records"),
        *((f"Hi {{name}}. {call} {BODY}", "pressure") for call in PRESSING_CALLS),
        *((f"{opening} {BODY}", "years") for opening in LOYAL_OPENINGS.values()),
        (f"Hi {{name}}, you should have called us before. {BODY}", "rude"),
        (f"Hi {{name}}, thank you for thank you for your trust. {BODY}", "fragment"),
        (f"Hi {{name}}. we are glad. {BODY}", "fragment"),
        (f"Hi {{name}}, we would like to. {BODY}", "fragment"),
        (f"Hi {{name}}, it is is good. {BODY}", "fragment"),
        (f"Hi {{name}}. {BODY.removesuffix('.')}", "fragment"),
    ],
)
def test_what_embarrasses_is_named(text, why):
    assert why in embarrassing(text, 3)


def test_what_the_corpus_says_well_and_the_template_embarrass_nobody():
    said = [*ACKNOWLEDGEMENTS, *CALLS_TO_ACTION, *OFFERS, *OPT_OUTS]
    said += [each for texts in (*OPENINGS.values(), *SIGN_OFFS.values()) for each in texts]
    assert {each: found for each in said if (found := embarrassing(each, 3))} == {}
    assert embarrassing(SafetyRules().template, 3) == []
    assert all(embarrassing(each, 30) == [] for each in LOYAL_OPENINGS.values())
