"""The main job: train every asset of an experiment with its checks."""

import dagster as dg

train = dg.define_asset_job(
    "train",
    selection=dg.AssetSelection.all(),
    description="Customers to verified release. Steps whose inputs, configuration and code are unchanged are skipped.",
)
