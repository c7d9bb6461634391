"""A retention platform: one folder a stage, left to right as a row of data walks the graph.

What a notebook needs is exported here. Each name is imported when it is first used, so that `import churn_assets` costs
nothing; the code beside a stage's `assets.py` is a library that knows no orchestrator.

Example:
    The customers of an experiment, and what may be offered to them:

    >>> from pathlib import Path
    >>> import churn_assets as churn
    >>> experiment = churn.load_experiment("quickstart", Path("configs"))
    >>> customers = churn.read_customers(experiment.customers, seed=experiment.seed, root=Path())
    >>> print(len(customers), round(customers.y.mean(), 3))
    7043 0.265
    >>> menu = churn.Catalogue(discount_months=6, contact_cost=1.0).menu([0.0, 0.1, 0.3])
    >>> [arm.label for arm in menu]
    ['no contact', '10% off for 6 months', '30% off for 6 months']
    >>> menu.commitment([50.0]).tolist()
    [[0.0, 30.0, 90.0]]

    The store and the release that leads an experiment's channel:

    >>> store = churn.open_store(experiment.store.uri, root=Path())
    >>> channel = churn.Channel(store, experiment.channel)
    >>> leading = channel.head()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from churn_assets.arms import Arm, Catalogue, Menu
    from churn_assets.customers.table import CustomerTable, read_customers
    from churn_assets.decision.env import RetentionEnv
    from churn_assets.experiment import Experiment, load_experiment
    from churn_assets.offers.log import OfferLog, read_log
    from churn_assets.response.accept import AcceptModel
    from churn_assets.response.effect import EffectModel
    from churn_assets.risk.model import RiskModel
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.channels import Channel
    from churn_assets.store.location import open_store

__all__ = [
    "AcceptModel", "Arm", "ArtifactStore", "Catalogue", "Channel", "CustomerTable", "EffectModel", "Experiment", "Menu",
    "OfferLog", "RetentionEnv", "RiskModel", "load_experiment", "open_store", "read_customers", "read_log",
]  # fmt: skip

_HOME = {
    "AcceptModel": "churn_assets.response.accept",
    "Arm": "churn_assets.arms",
    "ArtifactStore": "churn_assets.store.artifacts",
    "Catalogue": "churn_assets.arms",
    "Channel": "churn_assets.store.channels",
    "CustomerTable": "churn_assets.customers.table",
    "EffectModel": "churn_assets.response.effect",
    "Experiment": "churn_assets.experiment",
    "Menu": "churn_assets.arms",
    "OfferLog": "churn_assets.offers.log",
    "RetentionEnv": "churn_assets.decision.env",
    "RiskModel": "churn_assets.risk.model",
    "load_experiment": "churn_assets.experiment",
    "open_store": "churn_assets.store.location",
    "read_customers": "churn_assets.customers.table",
    "read_log": "churn_assets.offers.log",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
