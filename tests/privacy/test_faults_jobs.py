"""A sample of the faults under sensors and the commands on personal data; `benchmarks.faults_jobs` tries all."""

import pytest

from benchmarks.faults_jobs import COMMANDS, tried


@pytest.mark.whole
def test_a_sample_of_faults_is_told_heals_and_loses_nothing():
    counts = tried(most=4, seed=18, foreign=False, only=("erase", "retention", "guardrails"))
    assert counts.faults == 12
    assert (counts.silent, counts.unhealed, counts.lost, counts.bugs) == ([], [], [], [])


def test_the_commands_on_personal_data_are_among_those_that_are_tried():
    assert {"erase", "retention", "log", "upgrade"} <= set(COMMANDS)
