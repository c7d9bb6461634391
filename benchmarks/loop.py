"""The closed loop on the demo world, wave after wave, against a release that never learns; and what must not happen.

Every case is a project of its own: a real server that is asked over HTTP, its decision log, the training job in this
process, and promotion by the policy that automation uses. Sensors and daemon are left out: their tests are elsewhere.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.logged import logged_records
from benchmarks.report import Figure, show  # first: it sets the number of threads

import dagster as dg  # isort: skip
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.customers.table import read_customers
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.offers.config import Drift
from churn_assets.offers.segments import Segment, frame
from churn_assets.offers.world import WorldOutcomes
from churn_assets.serving.shipping import ship
from churn_assets.simulation.loop import Learned, NothingLeadsError, play, serve_wave
from churn_assets.simulation.project import Scratch
from churn_assets.simulation.score import choices
from churn_assets.simulation.waves import Forward, Wave

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "loop.yaml"


WAVES, DRIFT_AT, SIZE = 5, 3, 21_129
"""A learning case: three times the whole table a wave, and a competitor's offers from the third wave on."""
FIRST_LOGS = 5
"""First logs that are drawn until the gates let a release of one of them lead: 20,000 rows are few."""


class InProcess:
    """The project's definitions in this process: its training job, and its sensors a tick at a time."""

    def __init__(self, scratch: Scratch, instance: dg.DagsterInstance) -> None:
        self.scratch, self.instance = scratch, instance

    def run(self, job: str, **wanted: Any) -> list[str]:
        """Run a job; what failed."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        found = self._repository().get_job(job)
        result = found.execute_in_process(
            instance=self.instance,
            run_config=wanted.pop("run_config", {}) | quiet,
            raise_on_error=False,
            **wanted,
        )
        return _failures(result.all_events)

    def tick(self, sensor: str) -> tuple[Sequence[dg.RunRequest], str]:
        """One tick of a sensor: what it asks for, and what it says if that is nothing.

        Without its cursor: that spares it looking again for a while, and a wave is a quarter.
        """
        repository = self._repository()
        project = build_project(Overrides(root=self.scratch.root))
        context = dg.build_sensor_context(
            instance=self.instance,
            repository_def=repository,
            resources={"project": project},
        )
        found = repository.get_sensor_def(sensor).evaluate_tick(context)
        return found.run_requests or [], found.skip_message or ""

    def learn(self, _wave: int) -> Learned:
        """Let the sensors decide about the trial that runs, train, and let them decide about what was made."""
        before, said = self.scratch.leader, list[str]()
        if self.scratch.trial(datetime.now(UTC)) is not None:
            said += [self._follow("promotions", "promote"), self._follow("trial_ends", "end_trial")]
        failed = self.run("train_decision", partition_key=self.scratch.name)
        said += failed or [self._follow("promotions", "promote")]
        if self.scratch.experiment.automation.promotion.trial.automatic and not failed:
            said.append(self._follow("trial_begins", "begin_trial"))
        leads = self.scratch.leader
        return Learned(str(leads), promoted=leads != before, reason="; ".join(said))

    def _follow(self, sensor: str, job: str) -> str:
        """Run what a sensor asks for; what it said, or what failed."""
        asked, said = self.tick(sensor)
        for request in asked:
            failed = self.run(job, run_config=dict(request.run_config), tags=dict(request.tags))
            said = "; ".join(failed) or str(request.tags.get("churn/reason", ""))
        return f"{sensor}: {said}"

    def _repository(self) -> dg.RepositoryDefinition:
        return build_defs(Overrides(root=self.scratch.root)).get_repository_def()


def _failures(events: Sequence[Any]) -> list[str]:
    found = []
    for event in events:
        data = event.event_specific_data
        if event.event_type_value == "ASSET_CHECK_EVALUATION" and not data.passed:
            found.append(f"{data.asset_key.to_user_string()}: {data.check_name}: {data.description}")
        elif event.event_type_value == "STEP_FAILURE" and data.error is not None:
            error = data.error
            while error.cause is not None:
                error = error.cause
            if error.cls_name != "DagsterAssetCheckFailedError":
                found.append(f"{event.step_key}: {error.message.strip()[:300]}")
    return found


@dataclass
class Shop:
    """A scratch project with its world, and what works in it."""

    scratch: Scratch
    forward: Forward
    learner: InProcess


def learning(
    seed: int, folder: Path, changes: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[dict[str, Any]]:
    """Waves that are learned from, with a drift on the way; a row a wave."""
    with shop(seed, folder, drift="competitor_shock", drift_at=DRIFT_AT, changes=changes) as found:
        for score, learned in play(found.scratch, found.forward, WAVES, found.learner.learn):
            yield {"seed": seed, **asdict(score), **asdict(learned)}
            print(
                f"seed {seed} wave {score.wave}{' drifted' if score.drifted else ''}: ours {score.ours:.2f}, as "
                f"served {score.as_served:.2f}, static {score.static:.2f}, top risk {score.top_risk:.2f}, optimum "
                f"{score.optimum:.2f}; {'promoted' if learned.promoted else 'not promoted'}: {learned.reason[:200]}",
                flush=True,
            )


TRIED = {
    "serving.holdout_share": 0.05,
    "serving.exploration_share": 0.15,
    "serving.exploration": {"design": "plausible"},
    "automation.promotion.trial": {"automatic": True, "shares": [0.5]},
}
"""Champion and candidate side by side for a wave, by the rule of `configs/loop.yaml`."""


def trials(seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """As `learning`, each candidate in a trial before it may lead."""
    yield from learning(seed, folder, TRIED)


@contextmanager
def shop(
    seed: int,
    folder: Path,
    *,
    drift: Drift,
    drift_at: int | None,
    size: int = SIZE,
    changes: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[Shop]:
    """A shop whose first release leads; a first log whose release is refused is drawn again."""
    for again in range(FIRST_LOGS):
        first_log = {"offer_log.seed_offset": 100 * again + seed}
        scratch = Scratch.make(folder / f"{again}", CONFIG, {**changes, **first_log})
        experiment = scratch.experiment
        table = read_customers(experiment.customers, seed=experiment.seed, root=scratch.root)
        forward = Forward.build(table, experiment, seed=seed, size=size, drift=drift, drift_at=drift_at)
        with dg.instance_for_test() as instance:
            learner = InProcess(scratch, instance)
            first = learner.learn(0)
            if first.promoted:
                yield Shop(scratch, forward, learner)
                return
            print(f"seed {seed}: first log {again} gives no release: {first.reason[:200]}", flush=True)
    raise NothingLeadsError(f"seed {seed}: no first log of {FIRST_LOGS} gave a release that may lead")


POISONED = (
    "labels_flipped",
    "leaking_column",
    "unit_changed",
    "acceptance_inverted",
    "wave_missing",
    "waves_doubled",
)
SERVED_BEFORE = 2
"""Waves that are served before the poisoned training: a clean candidate has enough to be compared on by then."""
LOSS = 0.05
"""A promoted candidate is a bad one if it is truly worth less than the champion by this share of the optimum."""


def poison(seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """One training on data that are wrong in some way, from the same state each; a row a way."""
    with shop(seed, folder, drift="none", drift_at=None) as found:
        later = found.forward.wave(SERVED_BEFORE + 1)
        optimum = later.cohort.lift(later.cohort.best)
        champion = found.scratch.leader
        before = found.scratch.decider(champion) if champion else None
        assert before is not None
        lift = later.cohort.lift(choices(before, found.forward, later))
        unserved = folder / "unserved"
        shutil.copytree(found.scratch.root, unserved)
        for number in range(1, SERVED_BEFORE + 1):
            serve_wave(found.scratch, found.forward, found.forward.wave(number))
        for kind in ("clean", *POISONED):
            scratch = Scratch(folder / kind, found.scratch.name)
            shutil.copytree(unserved if kind == "acceptance_inverted" else found.scratch.root, scratch.root)
            spoil(kind, scratch, found.forward)
            with dg.instance_for_test() as instance:
                learned = InProcess(scratch, instance).learn(SERVED_BEFORE)
            truth = lift
            if learned.promoted and scratch.leader is not None:
                truth = later.cohort.lift(choices(scratch.decider(scratch.leader), found.forward, later))
            yield {
                "seed": seed,
                "kind": kind,
                "promoted": learned.promoted,
                "reason": learned.reason,
                "champion": lift,
                "now": truth,
                "optimum": optimum,
                "bad": truth < lift - LOSS * optimum,
            }
            print(
                f"seed {seed} {kind}: {'promoted' if learned.promoted else 'stopped'}, worth {truth:.2f} after "
                f"{lift:.2f} of {optimum:.2f}: {learned.reason[:300]}",
                flush=True,
            )
            shutil.rmtree(scratch.root)


def spoil(kind: str, scratch: Scratch, forward: Forward) -> None:
    """Make the data of a project wrong."""
    if kind == "acceptance_inverted":
        inverted = Inverted(**{each.name: getattr(forward, each.name) for each in fields(forward)})
        for number in range(1, SERVED_BEFORE + 1):
            serve_wave(scratch, inverted, inverted.wave(number))
    elif kind == "wave_missing":
        stored = sorted((scratch.root / ".churn" / "store" / "decisions").rglob("*.log"))
        for path in stored[: len(stored) // SERVED_BEFORE]:
            path.unlink()
    elif kind == "waves_doubled":
        backend = scratch.store.backend
        again = Segment(scratch.root / "again", datetime.now(UTC))
        for record in logged_records(backend, scratch.name):
            again.append([frame(record.kind, record.payload)], durable=False)
        again.seal()
        ship(scratch.root / "again", backend, scratch.name)
        text = scratch.outcomes.read_text(encoding="utf-8")
        scratch.outcomes.write_text(text + text.partition("\n")[2], encoding="utf-8")
    elif kind != "clean":
        table = pd.read_csv(scratch.customers, dtype=str, keep_default_na=False)
        if kind == "labels_flipped":
            table["Churn"] = table["Churn"].map({"Yes": "No", "No": "Yes"})
        elif kind == "unit_changed":
            table["MonthlyCharges"] = [f"{100 * float(price):.0f}" for price in table["MonthlyCharges"]]
        else:
            table["CallsToCancel"] = [str(int(left == "Yes")) for left in table["Churn"]]
        table.to_csv(scratch.customers, index=False)


class Inverted(Forward):
    """A world whose acceptances are reported the wrong way round."""

    def answer(self, wave: Wave, arms: NDArray[np.int64], places: range) -> WorldOutcomes:
        """As in `Forward`, with the flag of everybody who was offered something turned."""
        told = super().answer(wave, arms, places)
        return replace(told, accepted=np.where(arms > 0, 1 - told.accepted, told.accepted))


CALM_WAVES, WATCHED_SIZE = 20, 7_043
WATCHING = ("drift", "live_performance")


def watching(seed: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Waves without a drift, then two with one, of a release that is not retrained; a row a tick of a sensor."""
    with shop(seed, folder, drift="competitor_shock", drift_at=CALM_WAVES + 1, size=WATCHED_SIZE) as found:
        known: set[str] = set()
        for number in range(1, CALM_WAVES + 3):
            wave = found.forward.wave(number)
            serve_wave(found.scratch, found.forward, wave)
            for sensor in WATCHING:
                asked, said = found.learner.tick(sensor)
                new = [request for request in asked if request.run_key not in known]
                known |= {str(request.run_key) for request in asked}
                reason = str(new[0].tags.get("churn/reason")) if new else said
                yield {
                    "seed": seed,
                    "wave": number,
                    "drifted": wave.drifted,
                    "sensor": sensor,
                    "asked": bool(new),
                    "reason": reason,
                }
                print(
                    f"seed {seed} wave {number} {sensor}: {'asks' if new else 'no'}: {reason[:160]}",
                    flush=True,
                )


CASES: dict[str, Callable[[int, Path], Iterator[dict[str, Any]]]] = {
    "learning": learning,
    "trials": trials,
    "poison": poison,
    "watching": watching,
}


def learning_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What the loop earned, over all seeds."""
    seeds = sorted({row["seed"] for row in rows})
    # The drift shows first in the wave that begins with it: nobody can have learned from it by then.
    after = [[row for row in rows if row["seed"] == seed and row["wave"] > DRIFT_AT] for seed in seeds]
    vs_static = [sum(row["ours"] for row in mine) / sum(row["static"] for row in mine) for mine in after]
    figures = [
        Figure("seeds", len(seeds), ">=", 5),
        Figure("value_vs_static_min", min(vs_static), ">=", 1.03, "waves after the drift, the worst seed"),
        Figure("value_vs_static_mean", statistics.mean(vs_static)),
    ]
    for wave in sorted({row["wave"] for row in rows}):
        mine = [row for row in rows if row["wave"] == wave]
        what = f"{'drifted' if mine[0]['drifted'] else 'calm'}, mean over seeds"
        last = (">=", 0.93) if wave == WAVES else (None, None)
        figures += [
            Figure(f"value_vs_optimum_wave_{wave}", _of_optimum(mine, "ours"), *last, what),
            *(
                Figure(f"{name}_vs_optimum_wave_{wave}", _of_optimum(mine, name))
                for name in ("as_served", "static", "top_risk")
            ),
        ]
    decisions = sum(row["decisions"] for row in rows)
    return [
        *figures,
        Figure("propensity_error_max", max(row["propensity_error"] for row in rows), "<=", 1e-12),
        *(
            Figure(f"{name}_share", sum(row[name] * row["decisions"] for row in rows) / decisions)
            for name in ("holdout", "exploration", "tried")
        ),
        Figure(
            "group_z_max", max(row["group_z"] for row in rows), "<=", 4.0, "shares against the configured"
        ),
        Figure("promotions", sum(row["promoted"] for row in rows)),
    ]


def _of_optimum(rows: Sequence[dict[str, Any]], name: str) -> float:
    """Mean over the seeds."""
    return statistics.mean(row[name] / row["optimum"] for row in rows)


def trials_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The same, of waves with trials."""
    return [replace(each, key=f"trials_{each.key}") for each in learning_figures(rows)]


def poison_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What came of wrong data."""
    wrong = [row for row in rows if row["kind"] != "clean"]
    clean = [row for row in rows if row["kind"] == "clean"]
    return [
        Figure(
            "bad_candidates_promoted", sum(row["bad"] for row in wrong), "<=", 0, f"of {len(wrong)} trainings"
        ),
        Figure("poisoned_promoted", sum(row["promoted"] for row in wrong), note="bad or not"),
        Figure(
            "clean_promoted",
            sum(row["promoted"] for row in clean),
            note=f"of {len(clean)} from the same states",
        ),
        *(
            Figure(f"promoted_{kind}", sum(row["promoted"] for row in wrong if row["kind"] == kind))
            for kind in POISONED
        ),
    ]


def watching_figures(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What the sensors asked for without drift, and how soon with one; the worst seed."""
    seeds = sorted({row["seed"] for row in rows})
    false, within = [], []
    for seed in seeds:
        asked = [row for row in rows if row["seed"] == seed and row["asked"]]
        false.append(len({row["wave"] for row in asked if not row["drifted"]}))
        found = [row["wave"] - CALM_WAVES for row in asked if row["drifted"]]
        within.append(min(found, default=99))
    note = f"in {CALM_WAVES} waves, the worst of {len(seeds)} seeds"
    return [
        Figure("false_retrains_without_drift", max(false), "<=", 1, note),
        Figure("drift_detected_within_waves", max(within), "<=", 2),
    ]


FIGURES: dict[str, Callable[[Sequence[dict[str, Any]]], list[Figure]]] = {
    "learning": learning_figures,
    "trials": trials_figures,
    "poison": poison_figures,
    "watching": watching_figures,
}


def measure(case: str, seed: int, path: Path) -> None:
    """Run one case; what it has found so far is in a file beside `path`, which appears when all of it is there."""
    rows: list[dict[str, Any]] = []
    partial = path.with_suffix(".partial")
    with tempfile.TemporaryDirectory(prefix="churn-loop-") as folder:
        for row in CASES[case](seed, Path(folder)):
            rows.append(row)
            partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    partial.rename(path)


def main() -> None:
    """Runs what is asked for and not there yet, then prints and writes the figures of all that is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as one flat JSON object")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), metavar="SEED")
    parser.add_argument(
        "--rows",
        type=Path,
        default=Path(".churn") / "loop_benchmark",
        help="folder of what was measured: a case and seed that is there is not run again",
    )
    asked = parser.parse_args()
    asked.rows.mkdir(parents=True, exist_ok=True)
    for case in asked.cases:
        for seed in asked.seeds:
            path = asked.rows / f"{case}-{seed}.json"
            if not path.exists():
                measure(case, seed, path)
    figures: list[Figure] = []
    for case, summarised in FIGURES.items():
        rows = [
            row for path in sorted(asked.rows.glob(f"{case}-*.json")) for row in json.loads(path.read_text())
        ]
        figures += summarised(rows) if rows else []
    show(figures)
    if asked.json:
        flat = {figure.key: figure.value for figure in figures}
        asked.json.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if all(figure.kept for figure in figures) else 1)


if __name__ == "__main__":
    main()
