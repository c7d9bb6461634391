"""Arms and menus on their own: families, sizes, labels, and percents as a shorthand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from churn_assets.arms import (
    NO_CONTACT,
    AmountOff,
    Arm,
    ArmConfig,
    ArmError,
    Catalogue,
    FreeMonths,
    Gift,
    PercentOff,
    percent_id,
    percent_share,
)


def families(*arms):
    menu = Catalogue(declared=arms).menu([0, *(arm.id for arm in arms)])
    return [arm.family for arm in menu][1:]


@pytest.mark.parametrize(
    ("terms", "larger"),
    [
        (PercentOff(share=0.1, months=6), PercentOff(share=0.2, months=6)),
        (AmountOff(amount=5, months=3), AmountOff(amount=8, months=3)),
        (FreeMonths(months=1), FreeMonths(months=2)),
    ],
)
def test_size_orders_nothing_across_channels_unless_declared(terms, larger):
    """Whether 20 % said in a call is accepted more often than 10 % in a mail, size alone does not tell."""
    mail, call = (
        ArmConfig(id="mail", terms=terms, channel="email"),
        ArmConfig(id="call", terms=larger, channel="phone"),
    )
    assert len(set(families(mail, call))) == 2
    assert families(mail, call.model_copy(update={"channel": "email"})) == [families(mail)[0]] * 2
    declared = [each.model_copy(update={"family": "off"}) for each in (mail, call)]
    assert families(*declared) == ["off", "off"]


def test_the_same_offer_by_two_channels_needs_no_sizes_that_differ():
    terms = PercentOff(share=0.1, months=6)
    assert families(*(ArmConfig(id=name, terms=terms, channel=name) for name in ("email", "letter"))) == [
        "percent_off_6_email",
        "percent_off_6_letter",
    ]


def test_percents_by_the_usual_channel_keep_the_family_that_stored_models_know():
    assert Catalogue().arm(0.2).family == "percent_off_6"


@pytest.mark.parametrize("size", [float("nan"), float("inf"), float("-inf"), -1.0, 1e12])
def test_a_size_that_orders_nothing_is_refused(size):
    with pytest.raises(ValidationError, match="size"):
        ArmConfig(id="gift", terms=Gift(gift="a cup", cost=2), size=size)
    with pytest.raises(ValidationError, match="size"):
        Arm.model_validate(NO_CONTACT.model_dump() | {"size": size})


def test_an_amount_is_written_as_messages_write_it():
    assert (
        AmountOff(amount=1_250_000.0, months=1).label("JPY", "sms") == "1250000 JPY off a month for 1 month"
    )
    assert AmountOff(amount=9.5, months=6).label("EUR", "sms") == "9.50 EUR off a month for 6 months"


@pytest.mark.parametrize("share", [0.125, 0.1234567, 0.12345678, 0.00000001, 0.1 + 0.2, 1.0, 0.29])
def test_a_shorthand_percent_keeps_its_digits(share):
    arm = Catalogue().arm(share)
    assert percent_share(arm.id) == pytest.approx(share, abs=1e-15)
    assert Catalogue().arm(arm.id).id == percent_id(share) == arm.id


@pytest.mark.parametrize("share", [1 / 3, 0.123456789, 1e-9])
def test_a_shorthand_percent_of_more_digits_than_its_id_keeps_is_refused(share):
    with pytest.raises(ArmError, match=r"expected at most 8 digits"):
        Catalogue().arm(share)
