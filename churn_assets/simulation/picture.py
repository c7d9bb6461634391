"""The plot of a simulation: what every wave was worth, by whom it was decided. Draws, and computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from churn_assets.simulation.score import WaveScore

_LINES = (
    ("optimum", "optimum (knows the world)", "#888888", "--"),
    ("ours", "ours", "#0b6e4f", "-"),
    ("static", "first release, never retrained", "#c2571a", "-"),
    ("top_risk", "30 % riskiest, one offer for all", "#3b5b92", ":"),
)


def draw(scores: Sequence[WaveScore], promoted: Sequence[bool], path: Path) -> None:
    """Write the plot as PNG.

    Args:
        scores: Of every wave, in order.
        promoted: Whether a new release began to lead after the wave.
        path: The file.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    waves = [score.wave for score in scores]
    for name, label, colour, style in _LINES:
        axes.plot(
            waves, [getattr(score, name) for score in scores], style, color=colour, label=label, marker="o"
        )
    axes.axhline(0, color="black", linewidth=0.8, label="no offer")
    new = [score for score, promotes in zip(scores, promoted, strict=True) if promotes]
    axes.plot(
        [score.wave for score in new],
        [score.ours for score in new],
        "o",
        markersize=13,
        markerfacecolor="none",
        color="#0b6e4f",
        label="a new release after this wave",
    )
    drifted = next((score.wave for score in scores if score.drifted), None)
    if drifted is not None:
        axes.axvline(drifted - 0.5, color="#aa2222", linewidth=1)
        top = ("data", "axes fraction")
        axes.annotate(
            "drift", (drifted - 0.5, 1), (4, -14), xycoords=top, textcoords="offset points", color="#aa2222"
        )
    axes.set(
        xlabel="wave", ylabel="money a decision over no offer", title="SIMULATED: the demo world's answers"
    )
    axes.set_xticks(waves)
    axes.legend(loc="lower left", fontsize="small")
    figure.savefig(path, dpi=120)
