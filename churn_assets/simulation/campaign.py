"""A campaign's customers answered by the demo world: what was sent and what came of it, SIMULATED, as files.

`python -m churn_assets.simulation.campaign EXPERIMENT ASSIGNED SENT OUTCOMES` stands in for the real sending.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from churn_assets.campaigns.files import Assignment, read_assignment
from churn_assets.customers.config import CustomersConfig
from churn_assets.customers.table import read_customers
from churn_assets.experiment import load_experiment
from churn_assets.offers.economics import catalogue
from churn_assets.offers.world import SENSITIVITY_SD, DemoWorld, Truth, WorldOutcomes


def answered(world: DemoWorld, assignment: Assignment, seed: int) -> WorldOutcomes:
    """What the assigned customers do, in the order of the assignment, if each is sent what was assigned.

    Nobody had an offer before; the world's other latent state is drawn as in its own log.

    Args:
        world: That answers to the assignment's menu.
        assignment: n decisions about customers of the world.
        seed: Of latent state and answers.
    """
    truth, rng = faced(world, assignment, seed)
    return world.answer(truth, assignment.arm, rng)


def faced(world: DemoWorld, assignment: Assignment, seed: int) -> tuple[Truth, np.random.Generator]:
    """What is true of the assigned customers, and the generator that their answers are drawn by; see `answered`."""
    rng = np.random.default_rng([seed, 4])
    customer = np.asarray(pd.Index(world.ids).get_indexer(assignment.frame["customer_id"]), np.int64)
    n = len(customer)
    latent, late = rng.normal(0, SENSITIVITY_SD, n), np.zeros(n)
    frailty, taste = (sd * rng.normal(size=n) for sd in (world.hidden.frailty, world.hidden.taste))
    leaves = (
        world.would_churn[customer]
        if world.hidden.labels
        else world.would_leave(customer, world.risk[customer], frailty, late, rng)
    )
    who = world.someone(customer, latent, np.zeros(n, np.int64), late, taste=taste)
    return world.truth_of(who, leaves), rng


def send_simulated(root: Path, experiment: str, assigned: str, sent: str, outcomes: str) -> None:
    """Reads an assignment; writes what was sent of it, and what came of it."""
    loaded = load_experiment(experiment, root / "configs")
    if loaded.campaign is None:
        raise SystemExit(f"experiment {experiment!r} has no section campaign: say what is tried")
    customers = read_customers(loaded.section(CustomersConfig), seed=loaded.seed, root=root)
    menu = loaded.campaign.arms(catalogue(loaded.arms, loaded.economics))
    assignment = read_assignment(Path(assigned), menu)
    found = answered(DemoWorld(customers, loaded.economics, menu), assignment, loaded.seed)
    frame, contacted = assignment.frame, assignment.arm > 0
    hours = np.random.default_rng([loaded.seed, 5]).integers(8, 18, len(frame))
    times = frame["decided_at"] + pd.to_timedelta(hours, unit="h")
    contacts = frame[["customer_id", "arm"]].assign(sent_at=times)[contacted]
    contacts.to_csv(sent, index=False)
    told = pd.DataFrame(
        {"decision_id": frame["decision_id"], "accepted": found.accepted, "churned": found.churned}
    )
    told.to_csv(outcomes, index=False)
    share = float(found.accepted[contacted].mean())
    sys.stdout.write(
        f"SIMULATED: {len(contacts)} contacts, of which {share:.1%} accepted; written to {sent} and {outcomes}\n"
    )


if __name__ == "__main__":
    send_simulated(Path.cwd(), *sys.argv[1:])
