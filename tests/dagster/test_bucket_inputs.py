"""Tables of a bucket: read by the real assets, watched by the real sensor, named in errors."""

from __future__ import annotations

import json
from contextlib import contextmanager

import dagster as dg
import pytest
import yaml
from watched_flow import Loop

from churn_assets.customers.table import EMBEDDED, read_customers
from churn_assets.definitions import Overrides, build_defs, build_project
from churn_assets.experiment import load_experiment
from churn_assets.flow.registry import registry
from churn_assets.offers.log import OfferLogError
from churn_assets.offers.outcome_file import outcome_reports
from churn_assets.offers.world import DemoWorld

ROWS = 400
TEXTS = 60
NAME = "quickstart"


@pytest.fixture
def place(bucket, gcs_server):
    """Uploads a file of the experiment, or another in its place; its address."""

    def upload(name, data):
        gcs_server.upload(bucket, f"in/{name}", data)
        return f"gs://{bucket}/in/{name}"

    return upload


@pytest.fixture
def offers():
    """An offer log as CSV: the first rows of one that was written for the embedded customers."""
    experiment = load_experiment(NAME, EMBEDDED["telco"].parents[1] / "configs")
    table = read_customers(experiment.customers, seed=experiment.seed, root=EMBEDDED["telco"].parents[1])
    frame = DemoWorld(table, experiment.economics).draw_log(ROWS, 1).frame
    return lambda rows: frame.head(rows).to_csv(index=False).encode()


@contextmanager
def flow(root, content):
    """The real flow in a project with this experiment."""
    (root / "configs").mkdir()
    (root / "configs" / f"{NAME}.yaml").write_text(yaml.safe_dump(content))
    overrides = Overrides(root=root)
    project = build_project(overrides)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Loop(root, instance, project, build_defs(overrides, project), {})


@pytest.fixture
def content():
    """The quickstart, automated."""
    found = yaml.safe_load((EMBEDDED["telco"].parents[1] / "configs" / f"{NAME}.yaml").read_text())
    return found | {"automation": {"enabled": True, "cooldown_hours": 0.0}}


@pytest.fixture
def loop(tmp_path, place, offers, content):
    """A project whose tables lie in a bucket."""
    content = {key: section for key, section in content.items() if key not in registry().members["message"]}
    content["release"] = {"branches": ["decision"]}
    content["customers"]["source"] = place("customers.csv", EMBEDDED["telco"].read_bytes())
    content["offer_log"] = {
        "source": place("offers.csv", offers(ROWS - 1)),
        "gates": {"min_rows": 100, "max_detectable_effect": 1.0, "min_arm_decisions": 20},
    }
    with flow(tmp_path, content) as found:
        yield found


@pytest.fixture
def texts(tmp_path, place, content):
    """A project whose messages and preferences lie in a bucket."""
    content["messages"]["source"] = place("messages.jsonl", lines(message(n) for n in range(TEXTS)))
    content["preferences"] = {"source": place("preferences.jsonl", lines(pair(n) for n in range(TEXTS)))}
    with flow(tmp_path, content) as found:
        yield found


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def message(n):
    return {"prompt": f"Write to customer {n}.", "completion": f"Hello, number {n}."}


def pair(n):
    return {"prompt": f"Write to customer {n}.", "chosen": f"Hello, number {n}.", "rejected": f"You, {n}!"}


def read(loop, *names):
    """What a run does with tables."""
    loop.wait_for_another_second()
    return loop.defs.resolve_job_def("train").execute_in_process(
        instance=loop.instance,
        partition_key=NAME,
        asset_selection=[dg.AssetKey(name) for name in names or ("customers", "offer_log")],
        raise_on_error=False,
    )


def newest(loop, name):
    return loop.project.value(loop.project.store(NAME).versions(NAME, name)[-1])


def answered(loop, request):
    loop.end(loop.started(request), dg.DagsterEventType.RUN_SUCCESS)


def assets(request):
    return {key.to_user_string() for key in request.asset_selection}


def test_tables_of_a_bucket_are_read_and_each_new_content_asks_for_what_reads_it(loop, place, offers):
    (request,) = loop.asked("new_inputs")
    assert {"customers", "offer_log", "release"} <= assets(request)
    assert read(loop).success
    answered(loop, request)
    versions = {name: loop.versions(name, NAME) for name in ("customers", "offer_log")}
    assert versions == {"customers": 1, "offer_log": 1}

    place("offers.csv", offers(ROWS - 1))
    assert "nothing to do" in loop.said("new_inputs"), "another generation of the same bytes"

    source = place("offers.csv", offers(ROWS))
    (request,) = loop.asked("new_inputs")
    assert assets(request) == {"offer_log", "accept_model", "effect_model", "ppo_decision", "release"}
    assert f"{source} changed since run" in request.tags["churn/reason"]
    assert read(loop).success
    answered(loop, request)
    assert (loop.versions("customers", NAME), loop.versions("offer_log", NAME)) == (1, 2)
    assert len(newest(loop, "offer_log")) == ROWS
    assert "nothing to do" in loop.said("new_inputs")


def test_what_is_wrong_with_an_object_is_said_of_its_address(loop, place):
    source = place("offers.csv", b"customer,offer\n1,2\n")
    failed = read(loop)
    assert not failed.success
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"{source}: " in failure.step_failure_data.error.to_string()


def test_an_object_that_is_not_there_is_told(loop, bucket, gcs_server):
    path = loop.root / "configs" / f"{NAME}.yaml"
    path.write_text(path.read_text().replace("customers.csv", "gone.csv"))
    answered(loop, loop.asked("new_inputs")[0])
    assert f"customers: gs://{bucket}/in/gone.csv is missing" in loop.said("new_inputs")
    failed = read(loop)
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"gs://{bucket}/in/gone.csv: found no such file" in failure.step_failure_data.error.to_string()


@pytest.mark.parametrize(
    ("name", "row", "follows"),
    [
        ("messages", message, {"messages", "sft_model", "reward_model", "ppo_text", "release"}),
        ("preferences", pair, {"preferences", "reward_model", "ppo_text", "release"}),
    ],
)
def test_texts_of_a_bucket_are_read_and_new_ones_ask_for_what_learns_from_them(
    texts, place, name, row, follows
):
    (request,) = texts.asked("new_inputs")
    read(texts, "customers", name)  # so few texts pass no gate, but are stored
    assert len(newest(texts, name).frame) == TEXTS
    answered(texts, request)
    assert "nothing to do" in texts.said("new_inputs")

    source = place(f"{name}.jsonl", lines(row(n) for n in range(TEXTS + 1)))
    (request,) = texts.asked("new_inputs")
    assert assets(request) == follows
    assert f"{source} changed since run" in request.tags["churn/reason"]
    read(texts, "customers", name)
    assert len(newest(texts, name).frame) == TEXTS + 1


def test_what_is_wrong_with_a_text_of_a_bucket_is_said_of_its_address_and_line(texts, place):
    source = place("messages.jsonl", lines([message(0)]) + b"{\n")
    failed = read(texts, "customers", "messages")
    (failure,) = [event for event in failed.all_events if event.is_step_failure]
    assert f"{source}:2: " in failure.step_failure_data.error.to_string()


def test_outcomes_of_a_bucket_are_read_and_named_in_errors(place, tmp_path):
    source = place("outcomes.csv", b"decision_id,accepted,churned\nd1,1,0\nd2,,1\n")
    found = outcome_reports(source, tmp_path)
    assert [(each.decision_id, each.accepted, each.churned) for each in found] == [
        ("d1", True, False),
        ("d2", None, True),
    ]
    place("outcomes.csv", b"decision_id,accepted\nd1,perhaps\n")
    with pytest.raises(OfferLogError, match=rf"^{source}: column 'accepted', line 2: found 'perhaps'"):
        outcome_reports(source, tmp_path)
