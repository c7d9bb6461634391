"""What the pages are made of: an experiment, its store and channel, and the server that they are served with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from churn_assets.console.approvals import request_log
from churn_assets.customers.config import CustomersConfig
from churn_assets.offers.decision_search import search_path, searched_log
from churn_assets.serving.switch import switch_log
from churn_assets.store.tried import trial_log

if TYPE_CHECKING:
    from datetime import datetime

    from churn_assets.console.sessions import Sessions
    from churn_assets.experiment import Experiment
    from churn_assets.offers.decision_index import DecisionIndex
    from churn_assets.serving.app import Parts
    from churn_assets.serving.config import ConsoleConfig
    from churn_assets.store.acts import ActLog
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.channels import Channel


@dataclass(frozen=True)
class ConsolePlace:
    """Where the console acts.

    Attributes:
        root: Project folder.
        store_uri: Where the store is.
        experiment: Whose releases.
        channel: That the server follows.
        champion: The experiment's own, with whose leader a release must have been compared.
        parts: Of the server.
        sessions: Who is logged in.
    """

    root: Path
    store_uri: str
    experiment: Experiment
    channel: Channel
    champion: Channel
    parts: Parts
    sessions: Sessions

    @property
    def store(self) -> ArtifactStore:
        """The store."""
        return self.channel.store

    @property
    def config(self) -> ConsoleConfig:
        """The section."""
        return self.parts.config.console

    @property
    def lasts(self) -> timedelta:
        """How long what was asked for can be approved."""
        return timedelta(hours=self.config.request_hours)

    @property
    def requests(self) -> ActLog:
        """What was asked for."""
        return request_log(self.store, self.channel.name)

    @property
    def switch(self) -> ActLog:
        """The log of the switch that stops all offers."""
        return switch_log(self.store, self.channel.name)

    @property
    def trials(self) -> ActLog:
        """The log of the trials of the channel."""
        return trial_log(self.store, self.channel.name)

    def now(self) -> datetime:
        """Aware time."""
        return self.parts.clock()

    @contextmanager
    def decisions(self) -> Iterator[DecisionIndex]:
        """The decision log, with what was sealed by now.

        Raises:
            StoreError: The store does not answer.
            OSError: The index cannot be written.
        """
        name, price = self.experiment.name, self.experiment.section(CustomersConfig).monthly_revenue
        file = search_path(self.root, self.store_uri, name)
        folder = self.root / self.parts.config.decision_log.folder
        with searched_log(
            file, price, self.store.backend, name, folder, self.experiment.served_terms
        ) as index:
            yield index
