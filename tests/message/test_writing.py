"""What is sent: the model's text where the rules allow it, else the template; whom it is written to."""

import pytest
from telco_texts import percent

from churn_assets.message.config import SafetyRules
from churn_assets.message.model.generation import Generated, Writer, generate
from churn_assets.message.model.masks import guide_of, masks_of
from churn_assets.message.model.writing import Situation, situations_of, write_messages
from churn_assets.message.text.profile import Profile
from churn_assets.message.text.safety import Safety
from churn_assets.message.training.config import Sampling

PROFILES = {name: Profile("phone plan", 40.0 + number) for number, name in enumerate("abc")}
OFFERS = (percent(0.1, 3), percent(0.2, 6))
SAFETY = Safety(SafetyRules(), ("phone plan",))
GOOD = " Hi {name}, thank you. You can now get 10% off your phone plan for 3 months. Reply STOP to opt out."


def test_everybody_is_written_to_once_before_anybody_is_again_and_then_about_another_offer():
    found = situations_of(PROFILES, OFFERS, 5)
    assert [each.customer for each in found] == ["a", "b", "c", "a", "b"]
    assert found[0].arm != found[3].arm
    assert len(situations_of(PROFILES, OFFERS, 100)) == 6


def test_prompts_that_a_model_was_trained_on_are_left_out():
    first, *others = situations_of(PROFILES, OFFERS, 6)
    assert first not in situations_of(PROFILES, OFFERS, 6, {first.prompt})
    assert len(situations_of(PROFILES, OFFERS, 6, {first.prompt})) == len(others)


def test_customers_of_one_profile_do_not_give_a_prompt_twice():
    alike = {"a": PROFILES["a"], "b": PROFILES["b"], "c": PROFILES["a"]}
    found = situations_of(alike, OFFERS, 100)
    assert [each.customer for each in found] == ["a", "b", "a", "b"]
    assert len({each.prompt for each in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "ended", "writer"),
    [
        (GOOD, True, "model"),
        (GOOD, False, "template"),
        (GOOD.replace("10%", "90%"), True, "template"),
        (GOOD.replace("{name}", "Maria"), True, "template"),
        ("", True, "template"),
    ],
)
def test_only_a_finished_text_that_breaks_no_rule_is_sent(text, ended, writer, monkeypatch, tiny_sft):
    monkeypatch.setattr(
        "churn_assets.message.model.generation.generate", lambda *_, **__: [[Generated(text, ended, (1, 2))]]
    )
    situation = Situation("a", PROFILES["a"], OFFERS[0])
    (message,) = write_messages(
        Writer.of(tiny_sft), [situation], SAFETY, seed=0, max_new_tokens=8, sampling=Sampling()
    )
    assert message.sent.written_by == writer
    assert message.raw == text
    assert SAFETY.check(message.sent.text, situation.profile, situation.arm).safe


def test_a_real_model_that_writes_nonsense_sends_only_templates(tiny_sft):
    situations = situations_of(PROFILES, OFFERS, 4)
    written = write_messages(
        Writer.of(tiny_sft), situations, SAFETY, seed=0, max_new_tokens=12, sampling=Sampling()
    )
    for situation, message in zip(situations, written, strict=True):
        assert message.sent.written_by == "template"
        assert SAFETY.check(message.sent.text, situation.profile, situation.arm).safe


def test_messages_are_sampled_as_configured(tiny_sft):
    situations = [Situation("a", PROFILES["a"], OFFERS[0])]
    writer = Writer.of(tiny_sft)
    prompts, guide = (
        [each.prompt for each in situations],
        guide_of(masks_of(writer.tokenizer, SAFETY.rules), SAFETY, situations),
    )
    most_probable = generate(writer, prompts, seed=0, max_new_tokens=12, greedy=True, guide=guide)[0][0].text

    def written(sampling):
        (message,) = write_messages(writer, situations, SAFETY, seed=0, max_new_tokens=12, sampling=sampling)
        return message.raw

    assert written(Sampling(top_p=1e-9)) == written(Sampling(temperature=1e-4)) == most_probable
    assert written(Sampling()) != most_probable
