"""The order in which rows are learned from: every row as often as configured, texts of like length together."""

from __future__ import annotations

import numpy as np
import pytest

from churn_assets.message.training.supervised import order_of_like_lengths


@pytest.fixture
def lengths():
    return np.random.default_rng(0).integers(20, 120, 1003).tolist()


def padding(lengths, order, batch_size):
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches) / sum(
        lengths[row] for row in order
    )


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"), [(1003, 16, 1), (1003, 16, 3), (5, 16, 2), (32, 16, 1)]
)
def test_every_row_is_learned_from_once_an_epoch(lengths, rows, batch_size, epochs):
    order = order_of_like_lengths(lengths[:rows], batch_size, epochs, seed=1)

    for epoch in range(epochs):
        # A window may hold the end of one epoch and the start of the next.
        learned = set(order[max(0, epoch * rows - 8 * batch_size) : (epoch + 1) * rows + 8 * batch_size])
        assert learned == set(range(rows))
    assert np.bincount(order, minlength=rows).tolist() == [epochs] * rows


def test_texts_of_like_length_share_a_batch(lengths):
    random = np.random.default_rng(1).permutation(len(lengths)).tolist()

    grouped = order_of_like_lengths(lengths, 16, 1, seed=1)

    assert padding(lengths, grouped, 16) < 1.12 < 1.5 < padding(lengths, random, 16)


def test_batches_do_not_run_from_long_to_short(lengths):
    order = order_of_like_lengths(lengths, 16, 4, seed=1)

    means = np.array([np.mean([lengths[row] for row in order[at : at + 16]]) for at in range(0, 3984, 16)])

    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3


def test_the_order_is_the_seeds(lengths):
    first, again, other = (order_of_like_lengths(lengths, 16, 1, seed) for seed in (1, 1, 2))

    assert first == again != other
