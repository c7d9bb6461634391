"""Why a decision fell as it did, as codes with arms and as a line for people."""

import pytest

from churn_assets.deciding.reasons import Reason, Told, in_words, reasons

IDS = ("no_contact", "percent_20", "free_month")
LABELS = {"no_contact": "no contact", "percent_20": "20% off for 6 months", "free_month": "1 free month"}


def found(arm=0, rules=(), possible=(1, 2), if_offered=(0.4, 0.3, 0.2), value=(0.0, 5.0, 9.0)):
    return reasons(arm, 0.4, rules, possible, IDS, (0.0, 0.5, 0.6), if_offered, value)


def test_an_offer_is_explained_by_its_acceptance_its_risk_and_what_it_adds():
    assert found(arm=2) == (
        Reason("risk", None, 0.4),
        Reason("acceptance", "free_month", 0.6),
        Reason("risk_if_offered", "free_month", 0.2),
        Reason("expected_value", "free_month", 9.0),
    )


@pytest.mark.parametrize(
    ("figures", "last"),
    [
        ({"if_offered": (0.4, 0.3, 0.5)}, Reason("contact_raises_risk", "free_month", 0.5)),
        ({"value": (0.0, -1.0, -2.0)}, Reason("no_offer_pays", "percent_20", -1.0)),
        ({}, Reason("waiting_is_worth_more", "free_month", 9.0)),
        ({"possible": (1,)}, Reason("waiting_is_worth_more", "percent_20", 5.0)),
    ],
)
def test_no_contact_is_explained_by_the_best_arm_that_was_possible(figures, last):
    assert found(**figures) == (Reason("risk", None, 0.4), last)


def test_rules_are_named_and_nothing_is_said_of_arms_that_were_not_possible():
    assert found(rules=("opted_out",), possible=()) == (Reason("risk", None, 0.4), Reason("opted_out"))


def test_words_name_arms_by_their_labels():
    assert in_words(found(arm=2), LABELS, Told(3.0)) == (
        "risk 40.0% within 3 months; 1 free month is accepted with 60%; risk if offered 20.0%; adds +9.00"
    )
    assert in_words(found(rules=("cooldown",)), LABELS, Told(3.0)) == (
        "risk 40.0% within 3 months; contacted too recently; "
        "waiting is worth more than 1 free month now, which adds +9.00"
    )
