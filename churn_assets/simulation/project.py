"""A scratch project for a simulation: one experiment, its own store and history. Touches nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from churn_assets.customers.table import EMBEDDED
from churn_assets.deciding.risk_only import AnyDecider, decider_of
from churn_assets.experiment import Experiment, load_experiment
from churn_assets.offers.world import WorldOutcomes
from churn_assets.release.deciding import load_release
from churn_assets.release.trial import RunningTrial, trial_now
from churn_assets.simulation.server import WaveDecisions
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.location import open_store
from churn_assets.store.reference import ArtifactRef

CUSTOMERS, OUTCOMES = "customers.csv", "outcomes.csv"
"""The monthly extract, and what a CRM knows of who left: the files of the project."""


@dataclass(frozen=True)
class Scratch:
    """The project.

    Attributes:
        root: Its folder.
        name: Its experiment.
    """

    root: Path
    name: str

    @classmethod
    def make(cls, root: Path, config: Path, changes: Mapping[str, Any]) -> Scratch:
        """A new project.

        Args:
            root: An empty folder, or one that is not there yet.
            config: The experiment to copy.
            changes: By dotted key, what differs in the copy: `{"offer_log.rows": 20_000}`.
        """
        made = cls(root, config.stem)
        (root / "configs").mkdir(parents=True)
        made.customers.write_bytes(EMBEDDED["telco"].read_bytes())
        made.outcomes.write_text("decision_id,churned,margin\n", encoding="utf-8")
        files = {"customers.source": CUSTOMERS, "offer_log.decisions.outcomes": OUTCOMES}
        made._write(yaml.safe_load(config.read_text(encoding="utf-8")), files | dict(changes))
        return made

    @property
    def customers(self) -> Path:
        """The customer table."""
        return self.root / CUSTOMERS

    @property
    def outcomes(self) -> Path:
        """The file that a CRM would write."""
        return self.root / OUTCOMES

    def book(self, served: WaveDecisions, answers: Sequence[WorldOutcomes]) -> None:
        """Add a wave to the CRM's export, at once: nobody reads half a file.

        It repeats what the server was told; that it changed is what starts a training.
        """
        lines = [
            f"{decision.decision_id},{churned},{margin!r}"
            for decision, churned, margin in zip(
                served.decisions,
                chain.from_iterable(each.churned.tolist() for each in answers),
                chain.from_iterable(each.margin.tolist() for each in answers),
                strict=True,
            )
        ]
        written = self.outcomes.with_suffix(".new")
        written.write_text(
            self.outcomes.read_text(encoding="utf-8") + "\n".join(lines) + "\n", encoding="utf-8"
        )
        written.rename(self.outcomes)

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change the experiment, as somebody who edits its file does."""
        self._write(yaml.safe_load(self._path.read_text(encoding="utf-8")), changes)

    @property
    def experiment(self) -> Experiment:
        """The experiment as its file is now."""
        return load_experiment(self.name, self.root / "configs")

    @property
    def store(self) -> ArtifactStore:
        """Its store."""
        return open_store(self.experiment.store.uri, root=self.root, policy=self.experiment.store)

    @property
    def channel(self) -> Channel:
        """Its channel."""
        return Channel(self.store, self.experiment.channel)

    @property
    def leader(self) -> ArtifactRef | None:
        """The release that leads."""
        head = self.channel.head()
        return None if head is None else head.ref

    def trial(self, now: datetime) -> RunningTrial | None:
        """The trial that runs at a time; None where none does."""
        return trial_now(self.store, self.channel, now)

    def decider(self, release: ArtifactRef) -> AnyDecider:
        """A release as it decides."""
        _, models = load_release(self.store, release)
        return decider_of(models, str(release))

    @property
    def _path(self) -> Path:
        return self.root / "configs" / f"{self.name}.yaml"

    def _write(self, content: dict[str, Any], changes: Mapping[str, Any]) -> None:
        for key, value in changes.items():
            *sections, last = key.split(".")
            place = content
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
        self._path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
