"""A sample of the benchmark: false, pressing and broken texts are refused, right ones in other words pass."""

from __future__ import annotations

import pytest

from benchmarks.safety import (
    FALSE,
    Said,
    every_kind,
    false_texts,
    is_right,
    mistaken,
    person,
    right_texts,
    rng_of,
)


def test_no_false_or_pressing_text_passes():
    cases = false_texts(1_500, seed=3)
    assert {case.edit for case in cases} == set(FALSE)
    assert [case.text for case, _ in mistaken(cases)] == []


def test_right_texts_in_other_words_are_hardly_ever_refused():
    cases = right_texts(1_000, seed=4)
    assert {case.edit for case in cases} == {"template", "composer", "paraphrase"}
    refused = mistaken(cases)
    assert len(refused) <= 10, [(case.text, reason) for case, reason in refused]


@pytest.mark.parametrize(
    "change",
    [
        {"worth": "another"}, {"months": 12}, {"when": "later"}, {"on": "films"}, {"condition": True}, {"extra": True},
        {"presses": True}, {"broken": True}, {"leaves": False},
    ],
)  # fmt: skip
def test_the_oracle_knows_every_way_to_be_wrong(change):
    arm = next(each for each in every_kind() if each.id == "percent_20")
    profile = person(rng_of(1))
    said = {"worth": arm.id, "months": arm.months}
    assert is_right(Said(**said), profile, arm)
    assert not is_right(Said(**(said | change)), profile, arm)
