"""`churn upgrade --check`: what this version makes of the project's experiments and of its store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from churn_assets.cli.errors import REFUSED, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import out, print_json, table


@guarded
def upgrade(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Tell what is needed; nothing is changed.")] = False,
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """What a store and experiments of an earlier version need to be used with this one; exit 1 where they need work."""
    from churn_assets.experiment import ExperimentError, load_experiment
    from churn_assets.flow.registry import registry
    from churn_assets.release.upgrade import UpgradeFinding, check_store
    from churn_assets.store.listing import files_like

    if not check:
        message = (
            "nothing has to be converted: a store is read as it is, or what cannot be read is made again"
        )
        raise UsageProblemError(message, "churn upgrade --check")
    folder = Path(context.obj) / "configs"
    found = []
    for path in files_like(folder, "[a-z0-9]*.yaml"):  # files of editors and systems are none
        try:
            load_experiment(path.stem, folder)
            found.append(UpgradeFinding(f"experiment {path.stem}", "reads", read=True))
        except ExperimentError as error:
            found += [
                UpgradeFinding(f"experiment {path.stem}", problem, read=False, needed="mend this key")
                for problem in error.problems
            ]
    if all(each.read for each in found if each.what == f"experiment {experiment}"):
        formats = {asset.name: asset.format for asset in registry().assets}
        found += check_store(open_place(context, experiment).store, formats)
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        rows = [
            {
                "what": each.what,
                "found": each.found,
                "verdict": "reads" if each.read else "FAILED",
                "needed": each.needed,
            }
            for each in found
        ]  # fmt: skip
        out.print(table(rows))
    if not all(each.read for each in found):
        raise typer.Exit(REFUSED)
