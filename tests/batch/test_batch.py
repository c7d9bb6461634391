"""A table decided in parts is decided as one: whatever the size of the parts, and however often it was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from churn_assets.batch.job import (
    DECIDED,
    Job,
    TrialJob,
    begin_batch,
    decide_part,
    decisions,
    end,
    outcome,
    stage_rows,
)
from churn_assets.batch.workers import WorkerError, decide_parts
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import Decider, Rollout
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.risk_only import decider_of
from churn_assets.deciding.table import asked_of, decide_rows, decide_table, inputs_of
from churn_assets.deciding.trial import SideBySide
from churn_assets.release.deciding import load_release
from churn_assets.store.location import open_store
from churn_assets.tables.config import DatabaseTable
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import Problems
from churn_assets.tables.source import read_source_chunks

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "kept" / "release-6"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ROWS = 100
"""Of a part."""


@pytest.fixture(scope="module")
def led(tmp_path_factory):
    """The models of a stored release, and its name."""
    store = open_store(str(KEPT / "store"), root=tmp_path_factory.mktemp("root"))
    (ref,) = store.versions("quickstart", "release")
    _, models = load_release(store, ref)
    return models, str(ref)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    few = pd.read_csv(KEPT / "customers.csv", dtype=str, keep_default_na=False)
    many = few.iloc[np.arange(550) % len(few)].reset_index(drop=True)
    return many.assign(customerID=[f"C{each}" for each in range(len(many))])


def problems(source) -> Problems:
    return Problems(str(source), CustomerTableError)


def begun(
    folder: Path, led, source, now: datetime = NOW, content: str = "c", trial=None, candidate=None
) -> int:
    """Rows set down in parts; how many."""
    models, release = led
    job = Job(
        release=release, source=str(source), content=content, now=now, responses="observed", part_rows=ROWS,
        trial=trial,
    )  # fmt: skip
    begin_batch(folder, job, models, candidate)
    return stage_rows(
        folder, lambda: read_source_chunks(source, Path(), problems(source), DETECTED, ["customerID"], ROWS)
    )


def in_parts(folder: Path, led, source) -> pd.DataFrame:
    decide_parts(folder, begun(folder, led, source), processes=1)
    outcome(folder)
    return pd.concat([each.to_pandas() for _, each in decisions(folder)], ignore_index=True)


def written(path: Path, frame: pd.DataFrame) -> str:
    frame.to_csv(path, index=False)
    return str(path)


def at_once(path: str, led):
    models, release = led
    return decide_rows(read_raw(Path(path), problems(path)), decider_of(models, release), NOW)


def test_parts_say_what_the_whole_table_says(tmp_path, led, frame):
    frame = frame.copy()
    frame.loc[[3, 420], "Contract"] = "Decade"
    frame.loc[510, "customerID"] = frame["customerID"][5]
    frame.loc[333, "MonthlyCharges"] = "5000"
    path = written(tmp_path / "t.csv", frame)
    found, whole = in_parts(tmp_path / "job", led, path), at_once(path, led)
    other = [each for each in whole.frame if each != "reasons"]
    pd.testing.assert_frame_equal(found[other], whole.frame[other], check_exact=True, check_dtype=False)
    decided = whole.decided
    assert found["reasons"][decided].tolist() == whole.frame["reasons"][decided].tolist()
    told = outcome(tmp_path / "job")
    assert list(told.problems) == list(whole.problems)
    assert (told.decided, told.undecided, dict(told.outside)) == (546, 4, dict(whole.outside))
    assert sum(each["customers"] for each in told.arms.values()) == 546


@pytest.fixture(scope="module")
def tried(led, frame):
    """A candidate that likes to make offers."""
    models, release = led
    *layers, (weights, bias) = models.policy.layers
    liked = bias.copy()
    liked[0] -= 50.0  # no contact
    policy = replace(models.policy, layers=(*layers, (weights, liked)))
    known = asked_of(frame.head(1), Decider(models, release), NOW).table.X
    return ReleaseModels.build(models.responses, policy, known)


def test_while_a_trial_runs_each_customer_goes_by_the_release_that_a_server_asks(
    tmp_path, led, tried, frame, monkeypatch
):
    monkeypatch.setenv("CHURN_ASSIGNMENT_KEY", "s" * 32)
    (models, release), candidate = led, "quickstart/release/20260101T000000Z-000000000000"
    both = SideBySide(Decider(models, release), Decider(tried, candidate), 0.3, "trial 7")
    path = written(tmp_path / "t.csv", frame)
    trial = TrialJob(candidate=candidate, share=0.3, epoch="trial 7", rollout_epoch="wave 2")
    decide_parts(
        tmp_path / "job", begun(tmp_path / "job", led, path, trial=trial, candidate=tried), processes=2
    )
    told = outcome(tmp_path / "job")
    found = pd.concat([each.to_pandas() for _, each in decisions(tmp_path / "job")], ignore_index=True)
    asked = inputs_of(read_raw(Path(path), problems(path)), both, NOW)
    served = both.decide(asked, Rollout(b"s" * 32, "wave 2"))
    assert found["release"].tolist() == [each.release for each in served]
    assert found["arm"].tolist() == [each.chosen.arm.id for each in served]
    propensities = [each.chosen.propensity for each in served]
    np.testing.assert_allclose(found["propensity"], propensities, rtol=0, atol=1e-12)
    assert {0.3, 0.7} < {round(each, 12) for each in propensities}
    assert told.releases == found["release"].value_counts().to_dict()
    assert 100 < told.releases[candidate] < 230
    alone = decide_table(read_raw(Path(path), problems(path)), Decider(tried, candidate), NOW)
    theirs = found["release"] == candidate
    same = [each for each in alone if each != "propensity"]
    pd.testing.assert_frame_equal(found.loc[theirs, same], alone.loc[theirs, same], check_dtype=False)


def test_without_the_secret_no_trial_is_decided_by(tmp_path, led, tried, frame, monkeypatch):
    monkeypatch.delenv("CHURN_ASSIGNMENT_KEY", raising=False)
    trial = TrialJob(candidate="a/release/b", share=0.3, epoch="trial 7", rollout_epoch="")
    begun(tmp_path / "job", led, written(tmp_path / "t.csv", frame), trial=trial, candidate=tried)
    with pytest.raises(ValueError, match="the secret that a trial is drawn with"):
        decide_part(tmp_path / "job", 0)


@pytest.mark.parametrize("suffix", [".parquet", ".csv.gz"])
def test_every_kind_of_file_is_read_in_parts(tmp_path, led, frame, suffix):
    path = tmp_path / f"t{suffix}"
    frame.to_parquet(path) if suffix == ".parquet" else frame.to_csv(path, index=False)
    found = in_parts(tmp_path / "job", led, str(path))
    plain = at_once(written(tmp_path / "t.csv", frame), led).frame
    pd.testing.assert_frame_equal(found.drop(columns="responses"), plain, check_exact=True, check_dtype=False)


def test_a_table_of_a_database_is_read_in_parts(tmp_path, led, frame):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(tmp_path / "shop.duckdb") as connection:
        connection.register("rows", frame)
        connection.execute("create table customers as select * from rows")
    source = DatabaseTable(database=f"duckdb://{tmp_path}/shop.duckdb", table="customers")
    found = in_parts(tmp_path / "job", led, source)
    assert sorted(found["customer_id"]) == sorted(frame["customerID"])
    assert (found["decision"] != "could not be decided").all()


def test_a_decimal_comma_in_one_part_is_one_of_the_table(tmp_path, led, frame):
    frame = frame.copy()
    frame.loc[:, "MonthlyCharges"] = frame["MonthlyCharges"].str.partition(".")[0]
    frame.loc[500:, "MonthlyCharges"] += ",5"
    path = written(tmp_path / "t.csv", frame)
    found, whole = in_parts(tmp_path / "job", led, path), at_once(path, led)
    assert found["arm"].tolist() == whole.frame["arm"].tolist()
    assert "decimal commas in 'MonthlyCharges'" in outcome(tmp_path / "job").said


def test_what_only_the_whole_can_say_refuses_the_whole(tmp_path, led, frame):
    far = frame.assign(MonthlyCharges=(frame["MonthlyCharges"].astype(float) * 100).astype(str))
    with pytest.raises(CustomerTableError, match=r"feature 'MonthlyCharges': found .* of 550 far outside"):
        in_parts(tmp_path / "far", led, written(tmp_path / "far.csv", far))
    wrong = frame.assign(Contract="Decade")
    with pytest.raises(CustomerTableError, match=r"column 'Contract', lines 2, 3, 4, 5, 6, … .550 in all"):
        in_parts(tmp_path / "wrong", led, written(tmp_path / "wrong.csv", wrong))
    with pytest.raises(CustomerTableError, match="column 'Contract': found no such column"):
        in_parts(tmp_path / "less", led, written(tmp_path / "less.csv", frame.drop(columns="Contract")))
    with pytest.raises(CustomerTableError, match="found no rows, expected at least one customer"):
        in_parts(tmp_path / "none", led, written(tmp_path / "none.csv", frame.head(0)))
    short = Path(written(tmp_path / "short.csv", frame))
    short.write_text(short.read_text() + "C999,too,short\n")
    with pytest.raises(CustomerTableError, match="line 552: found 3 fields"):
        in_parts(tmp_path / "short", led, str(short))


def test_the_same_batch_goes_on_and_another_begins_anew(tmp_path, led, frame):
    path, folder = written(tmp_path / "t.csv", frame), tmp_path / "job"
    begun(folder, led, path)
    decide_part(folder, 2)
    begun(folder, led, path, NOW + timedelta(hours=1))
    assert [each.name for each in (folder / DECIDED).iterdir()] == ["000002.parquet"], "it goes on"
    begun(folder, led, path, NOW + timedelta(hours=1), content="another")
    assert not (folder / DECIDED).exists(), "other rows, another batch"
    decide_part(folder, 2)
    begun(folder, led, path, NOW + timedelta(days=2), content="another")
    assert not (folder / DECIDED).exists(), "of another day"
    end(folder)
    folder.mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(ValueError, match="found other files, expected a folder of a batch"):
        begun(folder, led, path)


def of_all(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted((folder / DECIDED).glob("0*.parquet"))}


@pytest.mark.whole
def test_a_killed_process_leaves_what_the_next_one_goes_on_with(tmp_path, led, frame):
    path = written(tmp_path / "t.csv", frame)
    in_parts(tmp_path / "calm", led, path)
    folder = tmp_path / "job"
    parts = begun(folder, led, path)
    command = [sys.executable, "-m", "churn_assets.batch.workers", str(folder)]
    for done in (0, 2):
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as process:
            process.stdin.write("".join(f"{each}\n" for each in range(parts)))
            process.stdin.flush()
            for _ in range(done):
                process.stdout.readline()
            time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
    decide_parts(folder, parts, processes=2)
    assert of_all(folder) == of_all(tmp_path / "calm")
    ids = pd.concat([each.to_pandas() for _, each in decisions(folder)])["customer_id"]
    assert ids.tolist() == frame["customerID"].tolist()


@pytest.mark.whole
def test_a_process_that_dies_is_told_with_its_part(tmp_path, led, frame):
    folder = tmp_path / "job"
    parts = begun(folder, led, written(tmp_path / "t.csv", frame))
    (folder / "rows" / "000003.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(
        WorkerError, match="part 3: found a process that ended with 1, expected its decisions"
    ):
        decide_parts(folder, parts, processes=2)
