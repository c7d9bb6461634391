"""A condition that nobody can keep is refused by name, before anything is trained."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from churn_assets.arms import ArmConfig, ArmError, Catalogue, Condition, Contact
from churn_assets.offers.eligibility import Eligibility, may_get


def eligibility(telco, **condition):
    call = ArmConfig(id="call", terms=Contact(), channel="phone", eligible=(Condition(**condition),))
    menu = Catalogue(declared=(call,)).menu([0, "call"])
    return menu, Eligibility.of(menu, telco.schema)


def test_both_ways_to_ask_agree_on_every_customer(telco):
    for condition in (
        {"column": "InternetService", "one_of": ("Fiber optic", "DSL")},
        {"column": "tenure", "at_least": 6, "at_most": 24},
        {"column": "Partner"},
        {"column": "tenure", "one_of": ("12", 24.0, 1)},
    ):
        menu, prepared = eligibility(telco, **condition)
        allowed = prepared.allowed(telco.X)
        assert 0 < allowed[:, 1].mean() < 1
        assert np.array_equal(allowed, may_get(menu, telco.frame))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"column": "InternetService", "one_of": ("Fibre optic",)},
            "arm call, eligible: column 'InternetService': found one_of Fibre optic, .*did you mean 'Fiber optic'",
        ),
        (
            {"column": "Contract"},
            "column 'Contract': found one_of yes, which nobody has, expected one of Month",
        ),
        (
            {"column": "Contract", "at_least": 12},
            "arm call, eligible: column 'Contract': found at_least or at_most, expected one_of for a column of texts",
        ),
        (
            {"column": "tenure", "one_of": ("12", "a year")},
            "arm call, eligible: column 'tenure': found one_of 12, a year, expected numbers for a column of numbers",
        ),
        (
            {"column": "Contrat", "one_of": ("One year",)},
            "found the column 'Contrat'.*did you mean 'Contract'",
        ),
    ],
)
def test_a_condition_that_nobody_can_keep_is_refused_by_name(telco, condition, message):
    with pytest.raises(ArmError, match=message):
        eligibility(telco, **condition)


def test_a_reversed_range_is_refused():
    with pytest.raises(ValidationError, match="at_least 24 lies above at_most 6"):
        Condition(column="tenure", at_least=24, at_most=6)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"column": "Contract", "at_most": 2},
            "arm call, eligible: column 'Contract': found at_least or at_most",
        ),
        ({"column": "tenure", "one_of": ("long",)}, "column 'tenure': found one_of long, expected numbers"),
        ({"column": "Tenure", "at_most": 2}, "found the column 'Tenure'.*did you mean 'tenure'"),
    ],
)
def test_a_text_for_a_number_is_an_error_by_name_wherever_customers_come_from(telco, condition, message):
    call = ArmConfig(id="call", terms=Contact(), channel="phone", eligible=(Condition(**condition),))
    with pytest.raises(ArmError, match=message):
        may_get(Catalogue(declared=(call,)).menu([0, "call"]), telco.frame)


def test_a_blank_keeps_no_condition_and_a_column_of_blanks_is_of_either_kind():
    customers = pd.DataFrame({"tenure": [None, 3.0, 30.0], "fibre": [None, "Yes", "No"], "empty": [None] * 3})
    kept = {"tenure": {"at_least": 12}, "fibre": {}, "empty": {"at_most": 2}}
    arms = [
        ArmConfig(id=name, terms=Contact(), channel="phone", eligible=(Condition(column=name, **condition),))
        for name, condition in kept.items()
    ]
    menu = Catalogue(declared=tuple(arms)).menu([0, *kept])
    assert may_get(menu, customers)[:, 1:].T.tolist() == [
        [False, False, True],
        [False, True, False],
        [False] * 3,
    ]
