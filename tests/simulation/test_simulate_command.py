"""`churn simulate` from the outside; the loop itself takes minutes and is `benchmarks.loop`'s."""

from __future__ import annotations

from typer.testing import CliRunner

from churn_assets.cli import app


def test_a_folder_that_holds_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    found = CliRunner().invoke(app, ["simulate", "--folder", str(tmp_path)])
    assert found.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_drift_that_the_world_does_not_know_is_refused(tmp_path):
    found = CliRunner().invoke(app, ["simulate", "--drift", "earthquake", "--folder", str(tmp_path / "new")])
    assert found.exit_code == 2
    assert not (tmp_path / "new").exists()
