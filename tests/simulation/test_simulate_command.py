"""`churn simulate` from the outside; the loop itself takes minutes and is `benchmarks.loop`'s."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_assets.cli.daemon import Daemon
from churn_assets.simulation.project import Scratch

REPOSITORY = Path(__file__).parents[2]


def test_a_folder_that_holds_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    found = CliRunner().invoke(app, ["simulate", "--folder", str(tmp_path)])
    assert found.exit_code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_drift_that_the_world_does_not_know_is_refused(tmp_path):
    found = CliRunner().invoke(app, ["simulate", "--drift", "earthquake", "--folder", str(tmp_path / "new")])
    assert found.exit_code == 2
    assert not (tmp_path / "new").exists()


@dg.job(name="train", tags={"churn/experiment": "loop"})
def training():
    @dg.op
    def nothing():
        pass

    nothing()


def test_a_wave_is_learned_from_by_a_training_that_was_asked_for_when_all_of_it_had_come(tmp_path):
    scratch = Scratch.make(tmp_path / "project", REPOSITORY / "configs" / "loop.yaml", {})
    daemon = Daemon(scratch, REPOSITORY)
    with dg.DagsterInstance.ephemeral() as instance:
        training.execute_in_process(instance=instance)
        scratch.outcomes.touch()
        assert daemon._new_training(instance) is None
        wanted = training.execute_in_process(instance=instance).run_id
        training.execute_in_process(instance=instance)
        found = daemon._new_training(instance)
        assert found is not None
        assert found.run_id == wanted
