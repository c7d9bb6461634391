"""`churn simulate`: the demo world run forward through a real server, a real daemon and its sensors."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from churn_assets.cli.errors import RUN_FAILED, UsageProblemError, guarded
from churn_assets.cli.screen import out, table
from churn_assets.cli.shown import styled

if TYPE_CHECKING:
    from churn_assets.simulation.loop import Learned
    from churn_assets.simulation.score import WaveScore

_EXPERIMENT = "loop"


@guarded
def simulate(
    context: typer.Context,
    waves: Annotated[int, typer.Option("--waves", min=1, max=100, help="Label windows to run.")] = 6,
    drift_at: Annotated[
        int, typer.Option("--drift-at", min=0, help="First wave of a changed world; 0: none.")
    ] = 4,
    drift: Annotated[
        Literal["competitor_shock", "acceptance_shift"], typer.Option("--drift", help="What changes then.")
    ] = "competitor_shock",
    size: Annotated[int, typer.Option("--size", min=1000, help="Decisions a wave.")] = 21_129,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another one: other people, other luck.")] = 1,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Where the scratch project is made; a temporary folder if left out."),
    ] = None,
) -> None:
    """Watch the closed loop on the demo world: serve, learn, promote, wave after wave. SIMULATED answers."""
    from churn_assets.cli.daemon import Daemon
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.table import read_customers
    from churn_assets.simulation.loop import play
    from churn_assets.simulation.picture import draw
    from churn_assets.simulation.project import Scratch
    from churn_assets.simulation.waves import Forward

    root = folder or Path(tempfile.mkdtemp(prefix="churn-simulate-"))
    if root.exists() and any(root.iterdir()):
        raise UsageProblemError(f"{root}: found files, expected a folder that is empty or not there")
    config = Path(context.obj) / "configs" / f"{_EXPERIMENT}.yaml"
    scratch = Scratch.make(root, config, {"offer_log.seed_offset": seed})
    experiment = scratch.experiment
    customers = read_customers(experiment.section(CustomersConfig), seed=experiment.seed, root=root)
    forward = Forward.build(
        customers, experiment, seed=seed, size=size, drift=drift, drift_at=drift_at or None
    )
    said = f" answers to offers, on the real customers. Everything is in {root}"
    out.print(styled("yellow", "SIMULATED"), said)
    scores: list[WaveScore] = []
    promoted: list[bool] = []
    with Daemon(scratch, Path(context.obj)) as daemon:
        first = daemon.learn(0)
        if not first.promoted:
            out.print(styled("red", "no first release"), f": {first.reason}")
            raise typer.Exit(RUN_FAILED)
        for score, learned in play(scratch, forward, waves, daemon.learn):
            scores.append(score)
            promoted.append(learned.promoted)
            out.print(table([_row(score, learned)]))
    picture = root / "simulation.png"
    draw(scores, promoted, picture)
    out.print(f"Written to {picture}")


def _row(score: WaveScore, learned: Learned) -> dict[str, Any]:
    money = {
        name: f"{getattr(score, name):.2f}" for name in ("ours", "as_served", "static", "top_risk", "optimum")
    }
    return {
        "wave": f"{score.wave}{' drifted' if score.drifted else ''}",
        **money,
        "of the optimum": f"{score.vs_optimum:.0%}",
        "held out": f"{score.holdout:.1%}",
        "explored": f"{score.exploration:.1%}",
        "then": f"{'promoted' if learned.promoted else 'not promoted'}: {learned.reason}",
    }
