"""What `customers` must prove before anything is trained on it."""

from churn_assets.gates.spec import CheckSpec

CUSTOMERS: tuple[CheckSpec, ...] = ()
