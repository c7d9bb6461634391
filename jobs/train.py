"""The main jobs: train every asset of an experiment with its checks, or those that do without the message branch."""

from collections.abc import Collection
from typing import Any

import dagster as dg

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.all(),
    description="Customers to verified release. Steps whose inputs, configuration and code are unchanged are skipped.",
)


def train_decision(assets: Collection[str]) -> Any:
    """The job for an experiment without the message branch.

    Args:
        assets: Everything but the message branch.
    """
    return dg.define_asset_job(
        "train_decision",
        selection=dg.AssetSelection.assets(*sorted(assets)),
        description="The same for an experiment without the message branch.",
    )
