"""The command that says what holding out and exploring will cost, and how exactly it will tell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import figure, out, print_json, table

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

    from churn_assets.deciding.decider import CustomerInput, Decider, Rollout
    from churn_assets.serving.config import ServingConfig

MOST_CUSTOMERS = 5_000
"""Of the release's own table, drawn by chance: the mean of more is no surer than what it is a forecast of."""


@guarded
def explore(
    context: typer.Context,
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    wave: Annotated[
        int, typer.Option("--decisions", min=100, help="After how many decisions the error is told.")
    ] = 20_000,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Say what `serving` will cost by holding out and exploring, by each design, and how exactly it will tell."""
    from churn_assets.deciding.planned import rollout_plan

    place = open_place(context, experiment)
    config = place.experiment.serving
    if not config.holdout_share + config.exploration_share:
        message = "serving: found holdout_share and exploration_share 0, expected a share above 0"
        raise UsageProblemError(message, "set one; without, there is nothing to plan")
    decider, asked, worth = _asked(place, release)
    rows: list[dict[str, Any]] = []
    for design, rollout in _rollouts(config).items():
        if rollout.top_two is not None and decider.models.responses.left_open is None:
            continue  # a release of a version before, which kept nothing to draw by
        plan = rollout_plan(decider.decide(asked, rollout), worth, wave)
        rows.append(
            {
                "design": design,
                "configured": design == config.exploration.design,
                "policy": plan.policy,
                "served": plan.served,
                "cost": plan.cost,
                "standard_error": plan.standard_error,
            }
        )
    if as_json:
        print_json({"release": decider.release, "decisions": wave, "designs": rows})
        return
    shown = [{key: figure(value) for key, value in row.items()} for row in rows]
    out.print(
        table(shown, f"{decider.release}: money a decision, expected over {len(asked)} of its customers")
    )
    out.print(
        f"standard_error: of what a candidate earns that decides otherwise for a quarter of customers, after {wave} "
        "decisions"
    )


def _rollouts(config: ServingConfig) -> dict[str, Rollout]:
    from churn_assets.deciding.decider import Rollout
    from churn_assets.deciding.exploration import Plausible, TopTwo

    plausible = Plausible(config.exploration.reach, config.exploration.floor)
    shares = (config.holdout_share, config.exploration_share)
    return {
        "uniform": Rollout(b"a plan draws nobody", "", *shares),
        "plausible": Rollout(b"a plan draws nobody", "", *shares, plausible=plausible),
        "top_two": Rollout(b"a plan draws nobody", "", *shares, top_two=TopTwo(config.exploration.floor)),
    }


def _asked(place: Any, release: str) -> tuple[Decider, list[CustomerInput], NDArray[float64]]:
    """Who decides, for whom, and what each of them is worth who stays."""
    import numpy as np

    from churn_assets.deciding.decider import Decider
    from churn_assets.deciding.risk_only import decider_of
    from churn_assets.deciding.table import inputs_of
    from churn_assets.release.build import as_raw
    from churn_assets.release.deciding import load_release
    from churn_assets.release.loaded import load_member

    ref = place.release(release)
    bundle, models = load_release(place.store, ref)
    decider = decider_of(models, str(ref))
    if not isinstance(decider, Decider):
        message = f"{ref}: found a release without an offer model, expected one that decides"
        raise UsageProblemError(message, "churn design plans a first campaign for it")
    customers = load_member(place.store, bundle, "customers")
    order = np.random.default_rng(0).permutation(len(customers))[:MOST_CUSTOMERS]
    some = customers.where(np.isin(np.arange(len(customers)), order))
    economics = place.experiment.economics
    worth = economics.margin * some.price * economics.value_horizon_months
    return decider, inputs_of(as_raw(some), decider, datetime.now(UTC)), worth
