"""Which machines make what is checked when the experiment is loaded."""

import shutil
from pathlib import Path

import pytest
import yaml

from churn_assets.experiment import ExperimentError, load_experiment

ROOT = Path(__file__).parents[2]
RAY = {"kind": "ray", "address": "http://head:8265"}
VERTEX = {"kind": "vertex", "project": "retention", "region": "europe-west4", "image": "train@sha256:ab"}


def loaded(folder, compute, **sections):
    content = yaml.safe_load((ROOT / "configs" / "first_campaign.yaml").read_text())
    (folder / "shop.yaml").write_text(yaml.safe_dump(content | sections | {"compute": compute}))
    return load_experiment("shop", folder)


def refused(folder, compute, **sections):
    with pytest.raises(ExperimentError) as error:
        loaded(folder, compute, **sections)
    return "\n".join(error.value.problems)


def test_everything_is_made_here_unless_said_otherwise(tmp_path):
    compute = loaded(tmp_path, {}).compute
    assert compute.of("risk_model") is None
    assert compute.used == []


def test_an_asset_is_made_where_its_profile_says(tmp_path):
    compute = loaded(
        tmp_path, {"profiles": {"cluster": RAY}, "assets": {"risk_model": "cluster", "customers": "local"}}
    ).compute
    assert compute.of("risk_model")[0] == "cluster"
    assert compute.of("customers") is None
    assert compute.used == ["cluster"]


@pytest.mark.parametrize(
    ("compute", "said"),
    [
        ({"assets": {"risk_modell": "local"}}, "risk_modell: found no such asset; did you mean 'risk_model'?"),
        ({"assets": {"ppo_text": "local"}}, "compute.assets.ppo_text: found no such asset"),
        (
            {"profiles": {"cluster": RAY}, "assets": {"risk_model": "clutser"}},
            "compute.assets.risk_model: found 'clutser'; did you mean 'cluster'?; expected one of local, cluster",
        ),
        ({"profiles": {"cluster": RAY}}, "compute.profiles.cluster: found a profile that no asset uses"),
        ({"profiles": {"local": RAY}, "assets": {"risk_model": "local"}}, "it means this machine"),
        (
            {"profiles": {"gpu": VERTEX}, "assets": {"risk_model": "gpu"}},
            "beside the store .churn/store; expected store.uri (or CHURN_STORE) gs://bucket/prefix",
        ),
        (
            {"profiles": {"gpu": VERTEX | {"accelerator_count": 2}}, "assets": {"risk_model": "gpu"}},
            "found accelerator_type None with accelerator_count 2, expected both or neither",
        ),
        (
            {"profiles": {"gpu": VERTEX | {"labels": {"churn_step": "x"}}}, "assets": {"risk_model": "gpu"}},
            "found 'churn_step', by which a step finds its own job",
        ),
        ({"prices": {"lokal": 1.0}}, "compute.prices.lokal: found no such profile; did you mean 'local'?"),
        ({"most_per_run": 5.0}, "compute.most_per_run: found no price of an hour of local; expected one"),
        (
            {
                "profiles": {"c": RAY},
                "assets": {"risk_model": "c"},
                "prices": {"local": 0.1},
                "most_per_run": 5.0,
            },
            "compute.most_per_run: found no price of an hour of c; expected one",
        ),
        ({"profiles": {"c": RAY | {"cpu": 2}}, "assets": {"risk_model": "c"}}, "did you mean 'cpus'?"),
        ({"profiles": {"c": RAY | {"address": "head:1"}}, "assets": {"risk_model": "c"}}, "compute.profiles.c"),
        ({"profiles": {"c": {"kind": "slurm"}}, "assets": {"risk_model": "c"}}, "'ray', 'vertex'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(tmp_path, compute, said):
    assert said in refused(tmp_path, compute)


def test_a_bucket_can_be_reached_from_vertex(tmp_path):
    compute = {"profiles": {"gpu": VERTEX}, "assets": {"risk_model": "gpu"}}
    assert loaded(tmp_path, compute, store={"uri": "gs://models/churn"}).compute.used == ["gpu"]


def test_where_it_is_made_changes_no_digest_of_what_is_made(tmp_path):
    from churn_assets.definitions import Overrides, build_project

    digests = []
    for compute in ({}, {"profiles": {"cluster": RAY}, "assets": {"risk_model": "cluster"}}):
        (tmp_path / "configs").mkdir(exist_ok=True)
        loaded(tmp_path / "configs", compute)
        project = build_project(Overrides(root=tmp_path))
        digests.append(project.training_config("shop", "risk_model"))
    assert digests[0] == digests[1]


def test_a_training_bears_a_tag_for_each_machine_that_it_uses_so_that_a_queue_can_count_them(tmp_path):
    from churn_assets.definitions import Overrides, build_defs

    (tmp_path / "configs").mkdir()
    loaded(tmp_path / "configs", {"profiles": {"cluster": RAY}, "assets": {"risk_model": "cluster"}})
    shutil.copy(ROOT / "configs" / "first_campaign.yaml", tmp_path / "configs")
    job = build_defs(Overrides(root=tmp_path)).resolve_job_def("train")
    assert job.get_tags_for_partition_key("shop", None)["churn/compute.cluster"] == "true"
    assert "churn/compute.local" not in job.get_tags_for_partition_key("shop", None)
    assert job.get_tags_for_partition_key("first_campaign", None)["churn/compute.local"] == "true"
