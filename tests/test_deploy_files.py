"""What stands in docs/production and the Dockerfile refers to what is there: flags, variables, paths, extras, keys."""

import re
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from churn_assets.cli import app
from churn_assets.remote.config import ComputeProfiles, RemoteProfile

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICE = yaml.safe_load((ROOT / "docs" / "production" / "cloud-run.yaml").read_text())
(CONTAINER,) = SERVICE["spec"]["template"]["spec"]["containers"]
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()


def flags(command):
    group = typer.main.get_command(app)
    return {flag for each in group.commands[command].params for flag in (*each.opts, *each.secondary_opts)}


def sources():
    return "\n".join(path.read_text() for path in (ROOT / "churn_assets").rglob("*.py"))


def test_the_service_is_started_with_flags_that_exist():
    assert {each for each in CONTAINER["args"] if each.startswith("--")} <= flags("serve")


def test_the_service_sets_variables_that_the_server_reads():
    code = sources()
    for variable in CONTAINER["env"]:
        assert f'"{variable["name"]}"' in code, variable["name"]


def test_the_service_is_asked_where_the_server_answers():
    (port,) = [each["containerPort"] for each in CONTAINER["ports"]]
    assert f"EXPOSE {port}" in DOCKERFILE
    routes = sources()
    for probe in ("startupProbe", "livenessProbe"):
        asked = CONTAINER[probe]["httpGet"]
        assert asked["port"] == port
        assert f'"{asked["path"]}"' in routes


def test_every_volume_of_the_service_is_mounted_where_a_variable_points():
    mounted = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    volumes = {each["name"]: each for each in SERVICE["spec"]["template"]["spec"]["volumes"]}
    assert {*mounted} == {*volumes}
    (item,) = volumes["api-keys"]["secret"]["items"]
    values = {each["name"]: each.get("value") for each in CONTAINER["env"]}
    assert values["CHURN_API_KEYS"] == f"{mounted['api-keys']}/{item['path']}"


PROBE = {
    "httpGet": {"path": r"/[\w/]+", "port": r"\d+"},
    **dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold"), r"[1-9]\d*"),
}
NAME = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
KNOWN = {
    "apiVersion": r"serving\.knative\.dev/v1",
    "kind": "Service",
    "metadata": {
        "name": NAME,
        "labels": {"team": r"[a-z0-9_-]{1,63}", "cost-centre": r"[a-z0-9_-]{1,63}"},
        "annotations": {"run.googleapis.com/ingress": r"all|internal|internal-and-cloud-load-balancing"},
    },
    "spec": {
        "template": {
            "metadata": {
                "annotations": {
                    "run.googleapis.com/cpu-throttling": r"true|false",
                    "run.googleapis.com/execution-environment": r"gen1|gen2",
                    "autoscaling.knative.dev/minScale": r"\d+",
                    "autoscaling.knative.dev/maxScale": r"[1-9]\d*",
                }
            },
            "spec": {
                "serviceAccountName": r"[a-z][a-z0-9-]+@PROJECT\.iam\.gserviceaccount\.com",
                "containerConcurrency": r"[1-9]\d{0,2}|1000",
                "timeoutSeconds": r"[1-9]\d{0,2}|[12]\d{3}|3[0-5]\d\d|3600",
                "containers": [
                    {
                        "image": r"REGION-docker\.pkg\.dev/PROJECT/\w+/\w+@sha256:DIGEST",
                        "args": [r"\S+"],
                        "ports": [{"containerPort": r"\d{2,5}"}],
                        "resources": {"limits": {"cpu": r"[1-8]|\d{2,4}m", "memory": r"\d+(Mi|Gi)"}},
                        "env": [
                            {
                                "name": r"[A-Z][A-Z0-9_]*",
                                "value": r".+",
                                "valueFrom": {"secretKeyRef": {"name": NAME, "key": r"latest|\d+"}},
                            }
                        ],
                        "startupProbe": PROBE,
                        "livenessProbe": PROBE,
                        "volumeMounts": [{"name": NAME, "mountPath": r"/[\w/]+"}],
                    }
                ],
                "volumes": [
                    {
                        "name": NAME,
                        "secret": {"secretName": NAME, "items": [{"key": r"latest|\d+", "path": r"[\w.]+"}]},
                    }
                ],
            },
        }
    },
}
"""The fields of Cloud Run's services that we set, as its reference has them, and which values each may have."""


def faults(found, known, where="service"):
    """Fields that are not known and values that cannot be."""
    if isinstance(known, dict):
        for key, value in found.items():
            place = f"{where}.{key}"
            yield from faults(value, known[key], place) if key in known else [f"{place}: no such field"]
    elif isinstance(known, list):
        for place, value in enumerate(found):
            yield from faults(value, known[0], f"{where}[{place}]")
    elif re.fullmatch(known, str(found)) is None:
        yield f"{where}: {found!r}"


def test_the_service_has_the_fields_and_values_that_cloud_run_takes():
    assert not [*faults(SERVICE, KNOWN)]
    annotations = [SERVICE["metadata"]["annotations"], SERVICE["spec"]["template"]["metadata"]["annotations"]]
    assert all(type(each) is str for one in annotations for each in one.values()), "annotations are texts"
    for probe in ("startupProbe", "livenessProbe"):
        assert CONTAINER[probe]["timeoutSeconds"] <= CONTAINER[probe]["periodSeconds"], probe
    startup = CONTAINER["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] <= 240, "Cloud Run waits no longer"


def test_a_misspelt_field_and_a_value_that_cannot_be_are_found():
    spoilt = yaml.safe_load((ROOT / "docs" / "production" / "cloud-run.yaml").read_text())
    spec = spoilt["spec"]["template"]["spec"]
    spec["containerConcurency"] = spec.pop("containerConcurrency")
    spec["containers"][0]["resources"]["limits"]["memory"] = "2GB"
    assert [*faults(spoilt, KNOWN)] == [
        "service.spec.template.spec.containers[0].resources.limits.memory: '2GB'",
        "service.spec.template.spec.containerConcurency: no such field",
    ]


@pytest.mark.parametrize("target", ["train", "train-cuda", "serve"])
def test_the_dockerfile_has_its_targets(target):
    assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE, re.MULTILINE)


def test_the_base_image_is_given_by_its_digest():
    (base,) = re.findall(r"^ARG BASE=(.+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11-slim@sha256:[0-9a-f]{64}", base)


def test_an_image_that_is_built_without_a_target_serves():
    assert re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)[-1] == "serve"


def test_each_stage_of_the_dockerfile_takes_from_one_before_it():
    known = {"${BASE}"}
    for line in DOCKERFILE.splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            assert found[1] in known
            known.add(found[2])
        if found := re.match(r"COPY --from=(\S+)", line):
            assert found[1] in known


def test_the_dockerfile_installs_extras_that_exist_and_copies_what_is_let_in():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in re.findall(r'ARG (?:TRAIN_EXTRAS|EXTRA)="([^"]+)"', DOCKERFILE):
        assert {*wanted.split(",")} <= {*extras}
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE):
        *files, _ = line.split()
        assert {*files} <= let_in
        assert all((ROOT / each).exists() for each in files)


def test_the_example_of_machines_is_one():
    (example,) = [
        body for body in re.findall(r"^```yaml\n(.*?)^```$", DEPLOY, re.M | re.S) if "compute:" in body
    ]
    compute = ComputeProfiles.model_validate(yaml.safe_load(example)["compute"])
    assert compute.used == ["cluster", "gpu"]


def test_the_table_of_what_all_machines_have_is_complete():
    told = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", DEPLOY, re.MULTILINE))
    assert {*told} == {*RemoteProfile.model_fields}
    for name, default in told.items():
        if re.fullmatch(r"[\d.]+", default.strip()):
            assert float(default) == RemoteProfile.model_fields[name].default


def test_the_queue_counts_tags_that_trainings_bear():
    from jobs.train import compute_tags

    settings = yaml.safe_load((ROOT / "docs" / "production" / "dagster-postgresql.yaml").read_text())
    counted = {each["key"] for each in settings["concurrency"]["runs"]["tag_concurrency_limits"]}
    assert {*compute_tags([])} <= counted
    assert {*compute_tags(["gpu"])} <= counted
