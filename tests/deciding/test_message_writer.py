"""One writer for whole tables and for one customer of a request: the same rules, the same texts."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import time as clock
from pathlib import Path

import pandas as pd
import pytest

from churn_assets.arms import NO_CONTACT, ArmConfig, Catalogue
from churn_assets.customers.table import read_customers
from churn_assets.deciding.messages import MessageWriter, Writing, hours_left, messages_for
from churn_assets.experiment import load_experiment
from churn_assets.message.config import QuietHours
from churn_assets.message.model.writing import Situation
from churn_assets.message.text.profile import ProfileError, profiles_of
from churn_assets.message.text.safety import SendRequest
from churn_assets.message.training.config import Sampling
from churn_assets.serving.messages import MessageDesk, Wanted

ROOT = Path(__file__).parents[2]
DECLARED = tuple(
    ArmConfig.model_validate(each)
    for each in (
        {"id": "ten_off", "terms": {"kind": "amount_off", "amount": 10, "months": 6}},
        {"id": "free_month", "terms": {"kind": "free_months", "months": 1}},
        {"id": "router", "terms": {"kind": "gift", "gift": "a new router", "cost": 40}},
        {"id": "call", "terms": {"kind": "contact"}, "channel": "phone"},
    )
)
MENU = Catalogue(declared=DECLARED, discount_months=6, currency="EUR").menu(
    ("no_contact", 0.2, "ten_off", "free_month", "router", "call")
)


@dataclass(frozen=True)
class Raw:
    text: str
    ended: bool = True


class Says:
    """A text model that says the terms of its prompt, wrongly for every third customer."""

    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def write(self, situations, n, deadline_s):
        time.sleep(self.seconds)
        return [[Raw(self.text(each.prompt))] * n for each in situations]

    @staticmethod
    def text(prompt):
        offer = prompt.split("Offer: ")[1].split("\n")[0].replace("off a month", "off each month")
        said = "Can we help?" if offer.startswith("none") else f"Please enjoy {offer}."
        spoilt = " You get 99% too." if len(prompt) % 3 == 0 else ""
        return f" Hi {{name}}, thank you for being here. {said}{spoilt} Reply STOP to opt out."


@pytest.fixture(scope="module")
def experiment():
    return load_experiment("quickstart", ROOT / "configs")


@pytest.fixture(scope="module")
def table(experiment):
    everybody = read_customers(experiment.customers, seed=experiment.seed, root=ROOT)
    return everybody.where(everybody.held_out)


@pytest.fixture(scope="module")
def writing(experiment):
    return Writing(
        safety=experiment.safety,
        currency="EUR",
        gifts=("a new router",),
        profile=experiment.messages.profile,
        max_new_tokens=40,
        sampling=Sampling(),
        seed=0,
    )


def features_of(table):
    frame = table.frame[list(table.schema.names)]
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def arms_for(count):
    offered = [arm for arm in MENU if arm.contacts]
    return [offered[row % len(offered)] for row in range(count)]


@pytest.mark.parametrize("texts", [Says(), None], ids=["model", "template"])
def test_a_table_and_single_requests_get_the_same_texts(table, writing, texts):
    some = table.where(table.ids < sorted(table.ids)[60])
    writer, arms = MessageWriter(writing, texts), arms_for(len(some))
    of_table = [each for (each,) in writer.write(writer.situations(some, arms))]
    served = MessageDesk(some.schema, MessageWriter(writing, texts), seconds=5.0)
    asked = [Wanted(features, arm, None) for features, arm in zip(features_of(some), arms, strict=True)]
    one_by_one = [asyncio.run(served.write([each]))[0] for each in asked]
    together = asyncio.run(served.write(asked))
    assert one_by_one == together
    for message, view in zip(of_table, together, strict=True):
        assert (message.sent.text, message.sent.written_by) == (view.text, view.written_by)
        assert message.reason == view.reason
    by = {view.written_by for view in together}
    assert by == ({"template"} if texts is None else {"model", "template"})


def test_what_is_sent_says_the_arm_and_keeps_the_rules(table, writing):
    writer = MessageWriter(writing, Says())
    situations = writer.situations(table, arms_for(len(table)))
    for situation, (message,) in zip(situations, writer.write(situations), strict=True):
        assert writer.safety.check(message.sent.text, situation.profile, situation.arm).safe
        assert (message.sent.written_by == "template") == bool(message.reason)


def test_profiles_of_a_table_are_those_of_its_rows(table, writing, experiment):
    reader = MessageWriter(writing).reader(table.schema)
    expected = list(profiles_of(table, experiment.messages.profile, "EUR").values())
    assert [reader.profile(features) for features in features_of(table)] == expected == reader.profiles(table)


def test_a_column_that_the_release_has_not_is_an_error(table, writing):
    features = tuple(f for f in table.schema.features if f.name != "Contract")
    with pytest.raises(ProfileError, match="Contract"):
        MessageWriter(writing).reader(table.schema.model_copy(update={"features": features}))


def test_what_was_not_written_in_time_is_the_template_and_says_so(table, writing):
    class Late:
        def write(self, situations, n, deadline_s):
            return [[Raw(" Hi {name}, half a", ended=False)] * n for _ in situations]

    ((message,),) = MessageWriter(writing, Late()).write(
        MessageWriter(writing).situations(table.where(table.ids == table.ids[0]), [MENU[1]]), deadline_s=0.0
    )
    assert (message.sent.written_by, message.reason) == ("template", "not written in time")
    assert message.raw == " Hi {name}, half a"


def test_without_a_model_the_template_is_the_message(table, writing):
    writer = MessageWriter(writing)
    ((message,),) = writer.write(writer.situations(table.where(table.ids == table.ids[0]), [MENU[2]]))
    assert "10 EUR off your" in message.sent.text
    assert (message.raw, message.reason) == ("", "no text model in the release")


def test_without_a_profile_a_discount_is_on_the_bill(table, writing):
    writer = MessageWriter(writing.model_copy(update={"profile": None}))
    (situation,) = writer.situations(table.where(table.ids == table.ids[0]), [MENU[1]])
    assert isinstance(situation, Situation)
    ((message,),) = writer.write([situation])
    assert "20% off your monthly bill for 6 months" in message.sent.text


def test_everybody_who_is_contacted_gets_a_message_in_their_row(table, writing, experiment):
    from churn_assets.release.build import as_raw

    some = table.where(table.ids < sorted(table.ids)[12])
    arms = [NO_CONTACT if row % 3 == 0 else MENU[1 + row % 5] for row in range(len(some))]
    rows = messages_for(as_raw(some), arms, some.schema, MessageWriter(writing))
    assert [bool(text) for text in rows["message"]] == [arm.contacts for arm in arms]
    assert set(rows["written_by"]) == {"", "template"}
    assert (rows["refused_because"] == "").all()


@pytest.mark.parametrize(("now", "left"), [("20:59", 0.0), ("21:00", 11.0), ("07:30", 0.5), ("08:00", 0.0)])
def test_quiet_hours_count_to_their_end(table, writing, now, left):
    at = clock.fromisoformat(now)
    assert hours_left(at, QuietHours()) == left
    writer = MessageWriter(writing)
    ((message,),) = writer.write(
        writer.situations(table.where(table.ids == table.ids[0]), [MENU[1]]),
        request=SendRequest(local_time=at),
    )
    assert message.sent.waits == (left > 0)


def test_a_template_is_judged_with_every_arm_and_for_every_service_before_it_is_needed():
    experiment = load_experiment("quickstart", ROOT / "configs")
    sound = Writing(
        safety=experiment.safety, currency="EUR", gifts=("a new router",), profile=experiment.messages.profile,
        max_new_tokens=0, sampling=Sampling(), seed=0,
    )  # fmt: skip
    assert MessageWriter(sound).unsendable(MENU) == []
    rules = sound.safety.model_copy(
        update={"template": "{offer}, {name}, guaranteed. Reply STOP to opt out."}
    )
    found = MessageWriter(sound.model_copy(update={"safety": rules})).unsendable(MENU)
    services = experiment.messages.profile.service_texts
    assert len(found) == 4 * len(services)  # a bare call has a template of its own
    assert found[0].startswith(f"arm 'percent_20', service {min(services)!r}: safety.template: banned_phrase")
