"""The flow as data: what an asset is, what its checks ask for, which there are, and what source each is made from.

Knows no orchestrator and trains nothing: `resources` binds what is declared here to Dagster.
"""
