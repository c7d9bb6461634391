"""Whoever was sent something before is told something else the next time."""

from dataclasses import replace

import pytest
from telco_texts import percent

from churn_assets.batch.sent import sent_before
from churn_assets.customers.config import CustomersConfig, LabelConfig
from churn_assets.message.config import SafetyRules
from churn_assets.message.model import gates
from churn_assets.message.model.generation import Generated, Writer
from churn_assets.message.model.repeats import DRAFTS, said_again, said_anew
from churn_assets.message.model.writing import Situation, judged_message, write_messages
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety
from churn_assets.message.training.config import Sampling
from churn_assets.message.training.gate_config import PpoTextGates

OLD = "Hi {name}, thank you. You can now get 20% off your phone plan for 6 months. Reply STOP to opt out."
SAME = " Hi {name}, thank you. You can now get 10% off your phone plan for 3 months. Reply STOP to opt out."
OTHER = " Hello {name}. Take 10% off your phone plan for 3 months. Reply STOP to opt out."
NEW = " Hello {name}. Take 10% off your phone plan for 3 months. Text STOP to opt out."
AT = Situation("a", Profile("phone plan", 40.0), percent(0.1, 3))
AGAIN = replace(AT, before=(OLD,))


def draft(text: str, *, ended: bool = True) -> Generated:
    return Generated(text, ended, (1, 2))


@pytest.mark.parametrize(("text", "share"), [(SAME, 1.0), (OTHER, 1 / 3), (NEW, 0.0), ("", 0.0)])
def test_what_is_said_again_is_told_facts_apart(text, share):
    assert said_again(AGAIN, text) == pytest.approx(share)
    assert said_again(AT, text) == 0.0


def test_every_message_before_counts_and_the_service_is_a_fact():
    moved = Situation(
        "a", Profile("fiber TV", 40.0), percent(0.1, 3), (OLD.replace("phone plan", "fiber TV"), NEW)
    )
    assert said_again(moved, SAME.replace("phone plan", "fiber TV")) == 1.0
    assert said_again(moved, " Hello {name}. Text STOP to opt out. Cheers.") == pytest.approx(2 / 3)


def test_only_who_would_hear_the_same_again_is_drafted_for_again_and_least_said_before_wins():
    asked = []

    def more(some):
        asked.extend(some)
        return [[draft(NEW, ended=False), draft(SAME), draft(OTHER), draft(NEW)] for _ in some]

    found = said_anew([AT, AGAIN, AGAIN], [draft(SAME), draft(SAME), draft(OTHER)], more)
    assert [each.text for each in found] == [SAME, NEW, OTHER]
    assert found[1].ended
    assert asked == [AGAIN]


def test_nobody_is_drafted_for_again_where_nothing_was_sent_before():
    assert said_anew([AT], [draft(SAME)], lambda _: pytest.fail("asked")) == [draft(SAME)]


def test_a_message_to_somebody_who_got_it_before_is_another_one(monkeypatch, tiny_sft):
    def written(writer, prompts, *, n, **_):
        return [[draft(SAME), *[draft(NEW)] * (n - 1)][:n] for _ in prompts]

    monkeypatch.setattr("churn_assets.message.model.generation.generate", written)
    safety = Safety(SafetyRules(), ("phone plan",))
    first, second = write_messages(
        Writer.of(tiny_sft), [AT, AGAIN], safety, seed=0, max_new_tokens=8, sampling=Sampling()
    )
    assert (first.sent.text, second.sent.text) == (SAME.strip(), NEW.strip())
    assert second.sent.written_by == "model"
    assert DRAFTS > 1


@pytest.mark.parametrize(
    ("again", "passed"), [([0.0] * 96 + [0.6] * 4, True), ([0.5] * 90 + [1.0] * 10, False)]
)
def test_next_messages_that_mostly_say_the_same_are_caught(again, passed):
    messages = write_some()
    outcome = gates.well_formed([AT] * len(messages), messages, PpoTextGates(), again)
    (gate,) = [each for each in outcome.gates if each.name == "told_again_share"]
    assert gate.passed is passed
    assert "of 100 customers" in gate.detail


def write_some():
    safety = Safety(SafetyRules(), ("phone plan",))
    return [judged_message(AT, text, safety, ended=True) for text in (SAME, OTHER, NEW)]


def test_what_an_earlier_wave_sent_is_read_by_customer(tmp_path):
    file = tmp_path / "sent.csv"
    file.write_text('customerID,message\na,"Hello. 1"\nb,\na,"Hello, again."\n')
    customers = CustomersConfig(
        id="customerID",
        label=LabelConfig(column="Churn", positive="Yes", window_months=3),
        monthly_revenue="Bill",
    )
    assert sent_before(str(file), tmp_path, customers) == {"a": ("Hello. 1", "Hello, again.")}
