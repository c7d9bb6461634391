"""One wave after another: served, answered, scored, learned from. Who trains and who promotes is passed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from churn_assets.simulation.project import Scratch
from churn_assets.simulation.score import Deciding, WaveScore, score_wave
from churn_assets.simulation.server import Server, WaveDecisions
from churn_assets.simulation.waves import Forward, Wave


@dataclass(frozen=True)
class Learned:
    """What came of learning after a wave.

    Attributes:
        release: That leads now; None where none does.
        promoted: Whether it began to lead just now.
        reason: Why, or why not.
    """

    release: str | None
    promoted: bool
    reason: str


class NothingLeadsError(RuntimeError):
    """No release leads before the first wave."""


def play(
    scratch: Scratch, forward: Forward, waves: int, learn: Callable[[int], Learned]
) -> Iterator[tuple[WaveScore, Learned]]:
    """Run the loop from the release that leads; yields every wave's score and what was learned after it.

    Args:
        scratch: The project.
        forward: The world.
        waves: How many.
        learn: Trains on what is known by now, after the wave of that number, and lets the promotion policy decide.

    Raises:
        NothingLeadsError: No release leads yet.
        ServerError: The server does not answer.
    """
    leader = scratch.leader
    if leader is None:
        raise NothingLeadsError(f"{scratch.root}: no release leads before the first wave")
    static = scratch.decider(leader)
    for number in range(1, waves + 1):
        wave, deciding = forward.wave(number), _deciding(scratch)
        served = serve_wave(scratch, forward, wave)
        yield score_wave(forward, wave, served, static, scratch.experiment.serving, deciding), learn(number)


def _deciding(scratch: Scratch) -> Deciding | None:
    """What decides for the next wave; None where one release does and exploration is uniform."""
    trial, leader = scratch.trial(datetime.now(UTC)), scratch.leader
    if leader is None or (trial is None and scratch.experiment.serving.exploration.design == "uniform"):
        return None
    if trial is None:
        return Deciding(scratch.decider(leader))
    return Deciding(scratch.decider(leader), scratch.decider(trial.candidate), trial.share)


def serve_wave(scratch: Scratch, forward: Forward, wave: Wave) -> WaveDecisions:
    """Ask about everybody of a wave and report what they did.

    A wave may be longer than the table. Each of its rounds draws holdout and exploration anew, as a shop does from
    time to time: otherwise the same few customers would explore the same arms for ever.
    """
    served, answers = WaveDecisions((), []), []
    for number, places in enumerate(forward.rounds(wave)):
        scratch.change({"serving.assignment_epoch": f"wave-{wave.number}.{number}"})
        with Server(scratch.root, scratch.name, secret=f"simulation-of-seed-{forward.seed}") as server:
            decided = server.decide(forward.questions(wave, places))
            offered = forward.arms(decided.arms)
            answers.append(forward.answer(wave, offered, places))
            server.report(decided, answers[-1])
        served += decided
    scratch.book(served, answers)
    return served
