"""Releases that act alike: nothing changes where one takes the other's place."""

from churn_assets.deciding.messages import Writing
from churn_assets.message.config import SafetyRules
from churn_assets.message.training.config import Sampling
from churn_assets.release.bundle import Bundle, Golden, Member, act_alike

BUNDLE = Bundle(
    experiment="toy",
    branches=("decision",),
    members={"risk_model": Member(ref="toy/risk_model/20261122T120000Z-0123456789ab", digest="a" * 64)},
    evidence={},
    champion=None,
    simulated=True,
    writing=Writing(safety=SafetyRules(), profile=None, max_new_tokens=0, sampling=Sampling(), seed=0),
    golden=Golden(customers=[], decisions=[], messages=[]),
    report_sha256="0" * 64,
)


def changed(**parts):
    return BUNDLE.model_copy(update=parts)


def test_a_later_version_of_the_same_bytes_that_was_compared_with_another_champion_acts_alike():
    later = Member(ref="toy/risk_model/20261123T120000Z-0123456789ab", digest="a" * 64)
    made_again = changed(members={"risk_model": later}, champion="toy/release/x", report_sha256="1" * 64)
    assert act_alike(BUNDLE, made_again)


def test_another_model_or_another_rule_acts_otherwise():
    other = BUNDLE.members["risk_model"].model_copy(update={"digest": "b" * 64})
    assert not act_alike(BUNDLE, changed(members={"risk_model": other}))
    assert not act_alike(BUNDLE, changed(writing=BUNDLE.writing.model_copy(update={"currency": "EUR"})))
