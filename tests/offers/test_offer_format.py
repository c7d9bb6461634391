"""An offer log is stored without the demo world's truth and comes back as it was."""

from __future__ import annotations

import pandas as pd

from churn_assets.offers.format import OFFER_LOG


def test_a_stored_log_comes_back_equal(draw, tmp_path):
    OFFER_LOG.save(draw.log, tmp_path)
    read = OFFER_LOG.load(tmp_path)
    pd.testing.assert_frame_equal(read.frame, draw.log.frame)
    assert (read.menu, read.simulated) == (draw.log.menu, True)
    assert OFFER_LOG.signature(read) == OFFER_LOG.signature(draw.log)


def test_equal_logs_are_equal_bytes(world, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        OFFER_LOG.save(world.draw_log(500, seed=3), tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_files_hold_the_log_and_nothing_else(draw, tmp_path):
    OFFER_LOG.save(draw.log, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["offer_log.json", "offers.parquet"]
    assert set(pd.read_parquet(tmp_path / "offers.parquet").columns) == {
        *("customer_id", "decided_at", "wave", "arm", "propensity", "policy_version", "prior_offers"),
        *(f"propensity_{arm}" for arm in draw.log.menu.ids),
        *("accepted", "churned", "margin"),
    }
