"""Windows of served decisions: what was judged is not read again, wherever a segment ends."""

import itertools

import pandas as pd
import pytest

from churn_assets.monitoring.served import Reached, full_windows


def segments(sizes):
    """Places from 1, each with its rows, numbered through."""
    number = itertools.count()
    return [
        (place, pd.DataFrame({"row": [next(number) for _ in range(size)]}))
        for place, size in enumerate(sizes, start=1)
    ]


def windows(found):
    return [list(each.rows["row"]) for each in found]


@pytest.mark.parametrize("sizes", [(10,), (1, 0, 4, 9, 2, 3), (4, 4, 4), (3, 3, 3, 3, 3), (0, 12, 1)])
def test_windows_are_the_same_wherever_one_goes_on(sizes):
    whole = list(full_windows(segments(sizes), 4, Reached()))
    assert windows(whole) == [list(range(at, at + 4)) for at in range(0, sum(sizes) - 3, 4)]
    for before, window in enumerate(whole, start=1):
        left = [each for each in segments(sizes) if each[0] >= window.reached.place]
        rest = list(full_windows(left, 4, window.reached))
        assert windows(rest) == windows(whole[before:])
        assert [each.number for each in rest] == [each.number for each in whole[before:]]
