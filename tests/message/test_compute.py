"""How many threads a training takes."""

from __future__ import annotations

import pytest
import torch

from churn_assets.message.training.compute import threads, threads_for
from churn_assets.message.training.config import ComputeConfig


@pytest.mark.parametrize(
    ("asked", "load", "cores", "taken"),
    [
        ("auto", 0.2, 2, 2),
        ("auto", 1.0, 2, 2),
        ("auto", 2.0, 2, 1),
        ("auto", 9.0, 2, 1),
        ("auto", 6.0, 8, 2),
        (3, 9.0, 2, 3),
    ],
)
def test_a_busy_machine_gives_one_thread_unless_a_number_is_named(asked, load, cores, taken):
    assert threads_for(ComputeConfig(threads=asked), load, cores) == taken


def test_the_number_of_before_comes_back_and_the_log_says_what_was_taken(caplog):
    before = torch.get_num_threads()
    with caplog.at_level("INFO"), threads(ComputeConfig()):
        assert torch.get_num_threads() in (1, 2)
    assert torch.get_num_threads() == before
    assert "cores are taken" in caplog.text
