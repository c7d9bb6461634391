"""What a server does beside answering: follows the channel, keeps the log well, takes over and ships its segments."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from churn_assets.offers.segments import recover
from churn_assets.serving.config import ServingConfig
from churn_assets.serving.decision_log import DecisionLog
from churn_assets.serving.drain import drain_on_sigterm
from churn_assets.serving.metrics import Metrics
from churn_assets.serving.reload import ReleaseFollower
from churn_assets.serving.security import Keyring
from churn_assets.serving.shipping import ship
from churn_assets.serving.supervisor import Loop, LoopState, error_kind
from churn_assets.serving.switch import OfferSwitch
from churn_assets.serving.trial import TrialFollower

_LOG = logging.getLogger(__name__)

_TEND_SECONDS = 1.0
"""Between two looks at the open segment: a log that could not be written is back this soon after its disk."""
_LEAVING_SECONDS = 10.0
"""Longest time for the last segments to reach the store when the server ends; the next start ships them too."""


class SegmentsLeftError(Exception):
    """Segments that could not be sealed or shipped now; they are still here."""


class Background:
    """The supervised loops of one process.

    Args:
        experiment: Segments are stored under it.
        config: How often.
        follower: Which release answers.
        switch: Whether offers are stopped.
        log: Decisions and outcomes.
        folder: Where its segments are.
        metrics: Told of every turn.
        trial: Which candidate answers beside the release; None where no trial is followed.
        keys: API keys; None where none is asked for.

    Attributes:
        loops: All of them.
    """

    def __init__(
        self,
        experiment: str,
        config: ServingConfig,
        follower: ReleaseFollower,
        switch: OfferSwitch,
        log: DecisionLog,
        folder: Path,
        metrics: Metrics,
        trial: TrialFollower | None = None,
        keys: Keyring | None = None,
    ) -> None:
        self._experiment = experiment
        self._follower = follower
        self._log = log
        self._folder = folder
        self._metrics = metrics
        self._threads = {
            name: ThreadPoolExecutor(1, name) for name in ("release", "offers", "segments", "keys")
        }
        told, often = metrics.turn, config.decision_log.ship_seconds
        self._release = Loop("release", config.poll_seconds, self._on("release", self._follow), told)
        self._switch = Loop("offers", config.poll_seconds, self._on("offers", switch.check), told)
        self._tending = Loop("decision_log", _TEND_SECONDS, log.tend, told)
        self._recovery = Loop("recovery", often, self._on("segments", self._recover), told)
        self._shipping = Loop("shipping", often, self._on("segments", self._ship), told)
        # Of its own: a log of trials that is not sound must not hold up a promotion.
        look = [] if trial is None else [self._on("release", trial.check)]
        self._trials = tuple(Loop("trial", config.poll_seconds, each, told) for each in look)
        held = [] if keys is None else [self._on("keys", keys.check)]
        self._keys = tuple(Loop("keys", _TEND_SECONDS, each, told) for each in held)
        followed = (self._release, *self._trials, self._switch)
        self.loops = (*followed, *self._keys, self._tending, self._recovery, self._shipping)

    @property
    def states(self) -> list[LoopState]:
        """How every loop is."""
        return [loop.state for loop in self.loops]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """From the first look at the channel to the last sealed segment. Nothing that fails at the start ends it."""
        asyncio.get_running_loop().set_exception_handler(self._stray)
        await self._recovery.turn()
        await self._switch.turn()
        await self._release.turn()
        for loop in self._trials:
            await loop.turn()
        # What is there by now stays: a search of it for garbage, at any moment, would stop all answers for 50 ms.
        gc.collect()
        gc.freeze()
        tasks = [asyncio.create_task(loop.run()) for loop in self.loops]
        with drain_on_sigterm():
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._leave()

    async def _leave(self) -> None:
        await self._log.close()
        try:
            async with asyncio.timeout(_LEAVING_SECONDS):
                await self._recovery.turn()
                await self._shipping.turn()
        except TimeoutError:
            _LOG.warning("the last segments stay here until the next start")
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)

    def _on(self, thread: str, work: Callable[[], None]) -> Callable[[], Awaitable[None]]:
        async def turn() -> None:
            await asyncio.get_running_loop().run_in_executor(self._threads[thread], work)

        return turn

    def _follow(self) -> None:
        before = self._follower.served
        if self._follower.check() and self._follower.served is not None:
            gone = str(before.ref) if before else None
            self._metrics.serving(self._follower.channel.name, str(self._follower.served.ref), gone)

    def _recover(self) -> None:
        """Also takes over what other workers left when they were killed."""
        left: list[str] = []
        for found in recover(self._folder, lambda path, error: left.append(f"{path.name}: {error}")):
            self._metrics.torn(found.torn)
            if found.rotten:
                self._metrics.quarantined()
            _LOG.log(
                logging.ERROR if found.rotten else logging.WARNING,
                "segment %s of a killed process: %d records kept, %d bytes of %s put aside",
                found.name,
                found.records,
                found.torn,
                "what is no segment, or rotten," if found.rotten else "an unfinished write",
            )
        if left:
            raise SegmentsLeftError("; ".join(left))

    def _ship(self) -> None:
        report = ship(self._folder, self._follower.channel.store.backend, self._experiment)
        self._metrics.shipped(report.shipped)
        for each in report.aside:
            self._metrics.quarantined()
            _LOG.error("moved aside, and the later segments go on: %s", each)
        if report.left:
            self._metrics.shipping_failed()
            raise SegmentsLeftError("; ".join(report.left))

    def _stray(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task or callback that nobody waits for died: told by its places, without values."""
        error = context.get("exception")
        places = "".join(traceback.format_tb(error.__traceback__)) if error else ""
        kind = error_kind(error) if error else "no exception"
        _LOG.error("%s: %s\n%s", context.get("message", "event loop"), kind, places)
        self._metrics.turn("event_loop", False)  # noqa: FBT003 - what happened
