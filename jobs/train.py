"""The main jobs: train every asset of an experiment with its checks, or those of the decision branch alone."""

import dagster as dg

from churn_assets.gates.source import group_of

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.all(),
    description="Customers to verified release. Steps whose inputs, configuration and code are unchanged are skipped.",
)

train_decision = dg.define_asset_job(
    "train_decision",
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups(group_of("message")),
    description="The same for an experiment without the message branch.",
)
