"""Messages of a served release: the model's where it is safe and in time, else the template, marked."""

from __future__ import annotations

import asyncio
import time
from datetime import time as clock
from pathlib import Path

import pytest

from benchmarks.served import questions
from churn_assets.arms import Catalogue
from churn_assets.customers.table import read_customers
from churn_assets.deciding.messages import MessageWriter, Writing
from churn_assets.experiment import load_experiment
from churn_assets.message.text.profile import ProfileError, ProfileReader, profiles_of
from churn_assets.message.training.config import Sampling
from churn_assets.serving.messages import MessageDesk, Wanted

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def experiment():
    return load_experiment("quickstart", ROOT / "configs")


@pytest.fixture(scope="module")
def table(experiment):
    return read_customers(experiment.customers, seed=experiment.seed, root=ROOT)


@pytest.fixture(scope="module")
def writing(experiment):
    return Writing(
        safety=experiment.safety,
        profile=experiment.messages.profile,
        max_new_tokens=40,
        sampling=Sampling(),
        seed=0,
    )


class Says:
    """A text model of one text."""

    def __init__(self, text, seconds=0.0):
        self.text, self.seconds, self.ended = text, seconds, True

    def write(self, situations, n, deadline_s):
        time.sleep(self.seconds)
        return [[self] * n for _ in situations]


class SaysInTurn(Says):
    """One text first, and another of every further draft."""

    def write(self, situations, n, deadline_s):
        return [
            [Says(self.text), *[Says(self.text.replace("take", "here is"))] * (n - 1)] for _ in situations
        ]


def written(table, writing, texts, *, arm="percent_20", seconds=5.0, local_time=None, before=()):
    features = questions(table.where(table.ids == "7590-VHVEG"))[0]["features"]
    messages = MessageDesk(table.schema, MessageWriter(writing, texts), seconds)
    wanted = Wanted(features, Catalogue().arm(arm), local_time, before)
    return asyncio.run(messages.write([wanted]))[0]


SAFE = (
    "Hello {name}, take 20% off your DSL internet for 6 months. Reply YES to accept. Reply STOP to opt out."
)


def test_profiles_are_those_that_the_models_were_trained_with(experiment, table):
    reader = ProfileReader(table.schema, experiment.messages.profile)
    expected = profiles_of(table, experiment.messages.profile)
    found = {each["customer_id"]: reader.profile(each["features"]) for each in questions(table)}
    assert found == expected


def test_a_price_that_everybody_pays_is_no_part_of_a_question(experiment, table):
    fixed = [
        each.model_copy(update={"constant": 30.0}) if each.name == table.schema.monthly_revenue else each
        for each in table.schema.features
    ]
    reader = ProfileReader(
        table.schema.model_copy(update={"features": tuple(fixed)}), experiment.messages.profile
    )
    asked = dict(questions(table.where(table.ids == "7590-VHVEG"))[0]["features"])
    del asked[table.schema.monthly_revenue]
    assert reader.profile(asked).bill == 30.0


def test_a_column_that_the_release_has_not_is_an_error(experiment, table):
    features = tuple(f for f in table.schema.features if f.name != "Contract")
    with pytest.raises(ProfileError, match="Contract"):
        ProfileReader(table.schema.model_copy(update={"features": features}), experiment.messages.profile)


def test_a_safe_text_of_the_model_is_sent(table, writing, experiment):
    service = (
        ProfileReader(table.schema, experiment.messages.profile)
        .profile(questions(table.where(table.ids == "7590-VHVEG"))[0]["features"])
        .service
    )
    text = SAFE.replace("DSL internet", service)
    message = written(table, writing, Says(text))
    assert (message.written_by, message.text, message.reason) == ("model", text, "")
    assert (message.safety.safe, message.discarded) == (True, [])


def test_who_was_sent_a_text_before_is_sent_another(table, writing):
    service = written(table, writing, None).text.partition("your ")[2].partition(" for")[0]
    text = SAFE.replace("DSL internet", service)
    before = text.replace("20%", "10%")
    first, again = (written(table, writing, SaysInTurn(text), before=each) for each in ((), (before,)))
    assert (first.text, again.text) == (text, text.replace("take", "here is"))
    assert again.written_by == "model"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SAFE.replace("20%", "30%"), "wrong_discount"),
        (SAFE.replace("6 months", "12 months"), "wrong_duration"),
        (SAFE.replace("take", "we guarantee you"), "banned_phrase"),
    ],
)
def test_an_unsafe_text_is_replaced_by_the_template_and_says_why(table, writing, text, reason):
    message = written(table, writing, Says(text))
    assert message.written_by == "template"
    assert reason in message.reason
    assert "20%" in message.text
    assert (message.safety.safe, message.safety.violations) == (True, []), "about the text that is sent"
    assert reason in message.discarded


def test_what_was_not_written_in_time_is_the_template(table, writing):
    started = time.monotonic()
    message = written(table, writing, Says(SAFE, seconds=3.0), seconds=0.2)
    assert (message.written_by, message.reason) == ("template", "not written in time")
    assert "20%" in message.text
    assert time.monotonic() - started < 6


@pytest.mark.parametrize(
    ("now", "hours"), [("20:59", 0.0), ("21:00", 11.0), ("23:30", 8.5), ("07:30", 0.5), ("08:00", 0.0)]
)
def test_quiet_hours_are_waited_for(table, writing, now, hours):
    message = written(table, writing, None, local_time=clock.fromisoformat(now))
    assert message.delay_hours == hours
    assert message.waits == (hours > 0)
