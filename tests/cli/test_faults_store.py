"""A sample of the faults that the benchmark enumerates: nothing is silent, unhealed, lost or called a bug."""

from benchmarks.faults_store import COMMANDS, FOREIGN, spaced, tried


def test_a_sample_of_faults_is_told_heals_and_loses_nothing():
    counts = tried(most=2, names=FOREIGN[:1], commands=("rollback",), stores=(True,))
    assert counts.faults >= 15
    assert (counts.silent, counts.unhealed, counts.lost, counts.bugs) == ([], [], [], [])


def test_the_calls_that_are_tried_are_spread_over_all_of_them():
    assert spaced(3, 8) == [0, 1, 2]
    assert spaced(100, 3) == [0, 50, 99]
    assert {"promote", "rollback", "retention", "copy"} <= set(COMMANDS)
