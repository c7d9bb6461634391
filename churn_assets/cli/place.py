"""Where a command acts: an experiment's store and channel. Also the options that name them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from churn_assets.cli.screen import note
from churn_assets.cli.transfers import transfers

if TYPE_CHECKING:
    from churn_assets.experiment import Experiment
    from churn_assets.store.artifacts import ArtifactStore
    from churn_assets.store.channels import Channel
    from churn_assets.store.reference import ArtifactRef
    from churn_assets.store.signatures import SignaturePolicy

ROOT = Path(__file__).resolve().parents[2]


def complete_experiment(incomplete: str) -> list[str]:
    """Names that a shell completes."""
    folder = Path(os.environ.get("CHURN_ROOT") or ROOT) / "configs"
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem.startswith(incomplete))


ExperimentOption = Annotated[
    str,
    typer.Option(
        "--experiment", "-e", help="Experiment: a file of configs/.", autocompletion=complete_experiment
    ),
]
ExperimentArgument = Annotated[
    str, typer.Argument(help="Experiment: a file of configs/.", autocompletion=complete_experiment)
]
ReleaseArgument = Annotated[
    str,
    typer.Argument(
        help="`latest`, `champion`, another channel, a version, or experiment/release/version.",
        show_default=True,
    ),
]
ChannelOption = Annotated[
    str | None, typer.Option("--channel", help="Channel; the experiment's own if left out.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class Place:
    """An experiment, the URI of the store that is used for it, that store, and the experiment's channel."""

    experiment: Experiment
    uri: str
    store: ArtifactStore
    channel: Channel

    def release(self, name: str) -> ArtifactRef:
        """The release that a person means."""
        from churn_assets.release.naming import find_release

        return find_release(self.store, self.experiment.name, self.experiment.channel, name)

    def other(self, channel: str | None) -> Channel:
        """A channel of this store by its name; the experiment's own if None."""
        from churn_assets.store.channels import Channel

        return self.channel if channel is None else Channel(self.store, channel)


def open_place(context: typer.Context, experiment: str) -> Place:
    """Read an experiment and open the store that it names."""
    from churn_assets.experiment import load_experiment
    from churn_assets.store.channels import Channel
    from churn_assets.store.location import store_uri

    root: Path = context.obj
    loaded = load_experiment(experiment, root / "configs")
    uri = store_uri(loaded.store.uri)
    if uri != loaded.store.uri:
        note(f"store: {uri} (CHURN_STORE), not {loaded.store.uri}")
    store = open_uri(context, uri, loaded.store)
    return Place(loaded, uri, store, Channel(store, loaded.channel))


def open_uri(context: typer.Context, uri: str, policy: SignaturePolicy | None = None) -> ArtifactStore:
    """The store at a URI, with the signatures that an experiment asks for; large transfers show on the terminal."""
    from churn_assets.store.location import open_store

    return open_store(uri, root=context.obj, progress=transfers, policy=policy)
