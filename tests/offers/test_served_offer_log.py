"""The asset `offer_log` takes in what was served: a real job on a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml
from served import decided, told

from churn_assets.definitions import Overrides, build_defs
from churn_assets.offers.segments import Segment, frame
from churn_assets.serving.shipping import ship
from churn_assets.store.location import open_store
from resources.stage import UNCHANGED

ROOT = Path(__file__).parents[2]
ARMS = ("no_contact", *(f"percent_{percent}" for percent in (5, 10, 15, 20, 25, 30)))
EVEN = tuple(1 / 7 for _ in ARMS)


@pytest.fixture
def project(tmp_path):
    """The quickstart without messages, on a small log, learning from decisions that are a day old."""
    content = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    content["offer_log"] = {"source": "demo_world", "rows": 2000, "decisions": {"window_days": 1}}
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def serve(project, *records):
    """What the server writes and ships."""
    log = project / ".churn" / "decision_log"
    segment = Segment(log, datetime.now(UTC))
    segment.append([frame(record.kind, record.payload) for record in records], durable=True)
    segment.seal()
    assert ship(log, open_store(".churn/store", root=project).backend, "quickstart").shipped == 1


def make(project, instance):
    """The metadata of the log that a run makes."""
    job = build_defs(Overrides(root=project)).resolve_job_def("train")
    result = job.execute_in_process(
        instance=instance,
        partition_key="quickstart",
        asset_selection=[dg.AssetKey("customers"), dg.AssetKey("offer_log")],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    (found,) = result.asset_materializations_for_node("offer_log")
    return {name: value.value for name, value in found.metadata.items()}


def test_decisions_enter_the_log_once_their_window_is_over_and_late_outcomes_at_the_next_run(project):
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    with dg.instance_for_test() as instance:
        assert make(project, instance)["metric/served"] == 0
        older = [decided(n, "no_contact", at=two_days_ago, menu=ARMS, propensities=EVEN, customer=c,
                         feature="MonthlyCharges")
                 for n, c in (("a", "7590-VHVEG"), ("b", "5575-GNVDE"))]  # fmt: skip
        new = decided(
            "c",
            "no_contact",
            at=datetime.now(UTC),
            menu=ARMS,
            propensities=EVEN,
            customer="3668-QPYBK",
            feature="MonthlyCharges",
        )
        serve(project, *older, new, told("a", churned=True), told("c", churned=True))
        found = make(project, instance)
        assert (found["metric/rows"], found["metric/served"]) == (2001, 1)
        assert UNCHANGED in make(project, instance)
        serve(project, told("a", churned=True))
        assert UNCHANGED in make(project, instance)
        serve(project, told("b", churned=False))
        assert make(project, instance)["metric/served"] == 2


def test_only_the_newest_decisions_are_learned_from_where_that_is_asked_for(project):
    path = project / "configs" / "quickstart.yaml"
    content = yaml.safe_load(path.read_text())
    content["offer_log"]["newest"] = 1200
    path.write_text(yaml.safe_dump(content))
    with dg.instance_for_test() as instance:
        assert make(project, instance)["metric/rows"] == 1200
