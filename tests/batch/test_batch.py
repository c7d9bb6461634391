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
from typing import Any

import numpy as np
import pandas as pd
import pytest

from churn_assets.batch import job as batch_job
from churn_assets.batch import limited as limited_part
from churn_assets.batch.files import create_json, lock_of, unlock
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
from churn_assets.batch.progress import NoProgress
from churn_assets.batch.wave import BatchWave, decide_wave
from churn_assets.batch.workers import WorkerError, work_parts
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import CustomerTableError
from churn_assets.deciding.decider import Decider, Rollout
from churn_assets.deciding.files import save_models
from churn_assets.deciding.release_models import ReleaseModels
from churn_assets.deciding.risk_only import decider_of
from churn_assets.deciding.spending import ledger_of
from churn_assets.deciding.table import asked_of, decide_rows, decide_table, inputs_of
from churn_assets.deciding.trial import SideBySide
from churn_assets.decision.limits import BudgetsConfig
from churn_assets.release.deciding import load_release
from churn_assets.store.location import open_store
from churn_assets.tables.config import DatabaseTable
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import Problems, TableError
from churn_assets.tables.source import read_source_chunks
from churn_assets.tables.table_file import TableFile
from churn_assets.tables.wave_table import WaveTable

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
    work_parts("decide", folder, begun(folder, led, source), processes=1)
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
    parts = begun(tmp_path / "job", led, path, trial=trial, candidate=tried)
    work_parts("decide", tmp_path / "job", parts, processes=2)
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


def test_within_limits_one_release_decides_so_a_job_with_both_is_refused():
    trial = TrialJob(candidate="a/release/b", share=0.3, epoch="trial 7", rollout_epoch="")
    with pytest.raises(ValueError, match="within limits one release decides for all"):
        Job(release="r", source="s", content="c", now=NOW, responses="observed", budget=9.0, trial=trial)


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
    with pytest.raises(TableError, match="found other files, expected a folder of a batch"):
        begun(folder, led, path)


def of_all(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted((folder / DECIDED).glob("0*.parquet"))}


@pytest.mark.whole
def test_a_killed_process_leaves_what_the_next_one_goes_on_with(tmp_path, led, frame):
    path = written(tmp_path / "t.csv", frame)
    in_parts(tmp_path / "calm", led, path)
    folder = tmp_path / "job"
    parts = begun(folder, led, path)
    command = [sys.executable, "-m", "churn_assets.batch.workers", "decide", str(folder)]
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
    work_parts("decide", folder, parts, processes=2)
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
        work_parts("decide", folder, parts, processes=2)


BUDGETS = BudgetsConfig.model_validate(
    {
        "period": {"starts": "2026-11-16", "weeks": 4},
        "limits": [{"name": "money", "most_cost": 900}, {"name": "contacts", "most_contacts": 20}],
        "customer": {"most_cost": 150},
    }
)


def limited(root: Path, path: str, led, rows: int = ROWS) -> tuple[BatchWave, Any]:
    """What is decided within budgets, in parts of so many rows, and the models."""
    models, release = led
    customers = CustomersConfig.model_construct(id="customerID", reading=DETECTED)
    root.mkdir(exist_ok=True)
    asked = BatchWave(
        folder=root / "parts",
        root=root,
        ledger=root,
        experiment="toy",
        source=path,
        customers=customers,
        release=release,
        responses="observed",
        budgets=BUDGETS,
        part_rows=rows,
    )
    return asked, models


def decided(root: Path, path: str, led, rows: int = ROWS) -> pd.DataFrame:
    asked, models = limited(root, path, led, rows)
    found = decide_wave(asked, models, NoProgress(), NOW, processes=1)
    assert found.outcome.spend == pytest.approx(found.uses[0].used)
    assert all(each.used <= each.now for each in found.uses)
    return pd.concat([each.to_pandas() for _, each in decisions(asked.folder)], ignore_index=True)


def test_limits_hold_for_all_parts_together_whatever_their_size(tmp_path, led, frame):
    path = written(tmp_path / "t.csv", frame)
    parts, whole = decided(tmp_path / "parts", path, led), decided(tmp_path / "whole", path, led, 1000)
    pd.testing.assert_frame_equal(parts, whole, check_exact=True)
    assert (parts["decision"] == "offer").sum() == 5  # of 20 in four weeks
    assert parts["reasons"].str.contains("the budget does not cover").any()


def test_two_processes_do_not_decide_the_same_at_once(tmp_path):
    folder = tmp_path / "parts"
    first = lock_of(folder)
    with pytest.raises(TableError, match="found another process that decides the same"):
        lock_of(folder, patience=0.05)
    unlock(folder, first)
    unlock(folder, lock_of(folder, patience=0))
    assert not [*tmp_path.iterdir()]


class KilledFile(TableFile):
    """Its process is killed when all is in it, and it has no name yet."""

    def __exit__(self, *_: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("later", [timedelta(hours=1), timedelta(days=3), timedelta(hours=-2)])
@pytest.mark.parametrize("killed", ["before the file", "before the end", "before the table"])
def test_a_wave_killed_around_its_table_is_gone_on_with_and_written_once(tmp_path, led, frame, killed, later):
    """However long ago, and though the clock was set back: what the table has is what was decided."""
    duckdb = pytest.importorskip("duckdb")
    frame = frame.head(250).copy()
    frame.loc[7, "Contract"] = "Decade"  # a row without a decision
    asked, models = limited(tmp_path, written(tmp_path / "t.csv", frame), led)
    asked, file = replace(asked, name="2026-11"), tmp_path / "out.parquet"
    table = WaveTable("duckdb://shop.duckdb", "decided", "2026-11", tmp_path)

    def found(now: datetime = NOW):
        return decide_wave(asked, models, NoProgress(), now, processes=1)

    first = found()
    if killed == "before the table":
        create_json(asked.folder / "written.json", str(table))
    elif killed == "before the end":
        first.write(TableFile(file), table)
    else:
        with pytest.raises(KeyboardInterrupt):
            first.write(KilledFile(file), table)
    first.lock.close()
    again = found(NOW + later)
    if killed == "before the table" and later != timedelta(hours=1):
        with pytest.raises(TableError, match=r"found decisions of 2026-11-2.*run it again"):
            again.write(TableFile(file), table)
        again = found(NOW + later)
    again.write(TableFile(file), table)
    again.end()
    with duckdb.connect(tmp_path / "shop.duckdb", read_only=True) as connection:
        kept = connection.execute("select decision_id, arm from decided").df()
    pd.testing.assert_frame_equal(kept, pd.read_parquet(file)[["decision_id", "arm"]], check_dtype=False)
    assert len(kept) == 250
    with pytest.raises(TableError, match="rows of wave '2026-11'"):
        found().write(TableFile(file), table)
    assert not asked.folder.exists()


def test_a_wave_that_another_process_wrote_meanwhile_is_refused(tmp_path, led, frame):
    pytest.importorskip("duckdb")
    table = WaveTable("duckdb://shop.duckdb", "decided", "2026-11", tmp_path)
    asked, models = limited(tmp_path, written(tmp_path / "t.csv", frame.head(150)), led)
    other = replace(asked, folder=tmp_path / "other")
    found = decide_wave(asked, models, NoProgress(), NOW, processes=1)
    create_json(asked.folder / "written.json", str(table))
    decide_wave(other, models, NoProgress(), NOW + timedelta(hours=1), processes=1).write(None, table)
    with pytest.raises(TableError, match="rows of wave '2026-11'"):
        found.write(TableFile(tmp_path / "out.csv"), table)
    assert not (tmp_path / "out.csv").exists()


@pytest.fixture(scope="module")
def calm(tmp_path_factory, led, frame):
    """A table, and the parts of a batch within limits that nothing disturbed."""
    root = tmp_path_factory.mktemp("calm")
    path = written(root / "t.csv", frame)
    decided(root, path, led)
    return path, of_all(root / "parts")


@pytest.mark.parametrize("stage", ["weighed", "granted in part", "decided in part"])
def test_a_batch_with_limits_goes_on_with_its_prices_wherever_it_was_killed(
    tmp_path, led, calm, stage, monkeypatch
):
    path, expected = calm
    asked, models = limited(tmp_path / "often", path, led)
    left, name = {"weighed": (0, "create_json"), "granted in part": (2, "create_arrays")}.get(stage, (0, ""))
    module = limited_part if name else batch_job
    name, left = name or "create_table", left or {"decided in part": 3}.get(stage, 0)
    real, calls = getattr(module, name), []

    def killed(file, *args, **values):
        if "wanted" not in str(file):
            calls.append(file)
        if len(calls) > left:
            raise KeyboardInterrupt
        return real(file, *args, **values)

    monkeypatch.setattr(module, name, killed)
    with pytest.raises(KeyboardInterrupt):
        decide_wave(asked, models, NoProgress(), NOW, processes=1)
    monkeypatch.undo()
    if (
        stage != "weighed"
    ):  # meanwhile others used of it: what was granted stays, and is looked at again at the end
        ledger = ledger_of(tmp_path / "often", BUDGETS, "toy")
        with ledger.turn("2026-11-16") as turn:
            turn.add(["money", "contacts"], np.array([1.0, 1.0]), 0, 1)
    decide_wave(asked, models, NoProgress(), NOW + timedelta(hours=1), processes=1)
    assert of_all(asked.folder) == expected


@pytest.mark.whole
def test_sigkill_while_it_weighs_or_decides_within_limits_changes_no_byte_of_a_batch(tmp_path, led, calm):
    path, expected = calm
    asked, models = limited(tmp_path / "often", path, led)
    save_models(models, tmp_path)
    code = (
        "import sys; from pathlib import Path; from churn_assets.deciding.files import load_models\n"
        "from test_batch import NOW, NoProgress, decide_wave, limited\n"
        "root, path, release = sys.argv[1:]\n"
        "asked, models = limited(Path(root), path, (load_models(Path(root).parent), release))\n"
        "decide_wave(asked, models, NoProgress(), NOW, processes=1)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "often"), path, led[1]]
    for seen in ("wanted/000001.npz", "decided/000001.parquet"):
        with subprocess.Popen(command, cwd=ROOT / "tests" / "batch") as process:
            while process.poll() is None and not (asked.folder / seen).exists():
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
    decide_wave(asked, models, NoProgress(), NOW, processes=1)
    assert of_all(asked.folder) == expected
