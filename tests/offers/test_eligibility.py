"""A condition that nobody can keep is refused by name, before anything is trained."""

import numpy as np
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
        ({"column": "Contract", "at_least": 12}, "column 'Contract' holds texts, expected one_of"),
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
