"""The main jobs: train every asset of an experiment with its checks, or those of the branches that it has."""

from collections.abc import Collection
from typing import Any

import dagster as dg

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.all(),
    description="Customers to verified release. Steps whose inputs, configuration and code are unchanged are skipped.",
)


def train_branch(branch: str, assets: Collection[str]) -> Any:
    """The job for an experiment whose releases have a branch and what lies within it.

    Args:
        branch: The branch.
        assets: Its assets, and the release.
    """
    return dg.define_asset_job(
        f"train_{branch}",
        selection=dg.AssetSelection.assets(*sorted(assets)),
        description=f"The same for an experiment of the {branch} branch.",
    )
