"""The main jobs: train every asset of an experiment with its checks, or those of the branches that it has."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import dagster as dg

from churn_assets.remote.config import LOCAL

DECISIONS = "customer_decisions"
"""The asset that no training makes: a wave of it is decided with what was trained."""
TRAIN = "train"
"""Name of the job that sensors ask for."""

Machines = Callable[[str], Collection[str]]
"""(experiment) -> names of the profiles of `compute` that it uses."""

COMPUTE_TAG = "churn/compute."
"""Before the name of a profile: a run bears a tag for each that it uses, so that a queue can count them."""


def train_job(partitions: dg.PartitionsDefinition, machines: Machines) -> Any:
    """The job for an experiment with every branch.

    Args:
        partitions: The experiments.
        machines: Which machines each of them uses.
    """
    return dg.define_asset_job(
        TRAIN,
        selection=dg.AssetSelection.all() - dg.AssetSelection.assets(DECISIONS),
        config=_tagged(partitions, machines),
        description="Customers to verified release. Steps whose inputs, configuration and code are unchanged are "
        "skipped.",
    )


def train_branch(
    branch: str, assets: Collection[str], partitions: dg.PartitionsDefinition, machines: Machines
) -> Any:
    """The job for an experiment whose releases have a branch and what lies within it.

    Args:
        branch: The branch.
        assets: Its assets, and the release.
        partitions: The experiments.
        machines: Which machines each of them uses.
    """
    return dg.define_asset_job(
        f"train_{branch}",
        selection=dg.AssetSelection.assets(*sorted(assets)),
        config=_tagged(partitions, machines),
        description=f"The same for an experiment of the {branch} branch.",
    )


def compute_tags(profiles: Collection[str]) -> dict[str, str]:
    """The tags of a run that uses these profiles of `compute`; of one that uses none, that it is made here."""
    return {f"{COMPUTE_TAG}{name}": "true" for name in profiles or (LOCAL,)}


def _tagged(partitions: dg.PartitionsDefinition, machines: Machines) -> Any:
    def tags(experiment: str) -> Mapping[str, str]:
        return compute_tags(machines(experiment))

    return dg.PartitionedConfig(
        partitions, run_config_for_partition_key_fn=lambda _: {}, tags_for_partition_key_fn=tags
    )
