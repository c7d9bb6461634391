"""The command that reads an experiment's own tables and says all that is wrong, before anything is trained."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from churn_assets.cli.errors import REFUSED, USAGE, guarded
from churn_assets.cli.place import ExperimentArgument, JsonOption
from churn_assets.cli.screen import figure, out, print_json, table

if TYPE_CHECKING:
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.table import CustomerTable
    from churn_assets.experiment import Experiment


@guarded
def tables(context: typer.Context, experiment: ExperimentArgument, as_json: JsonOption = False) -> None:
    """Read an experiment's customers, offer log and outcomes: what was detected, and all that is wrong, worst first.

    Exit code 2: a table is not what the config says; 1: a gate of the customers does not hold. Trains nothing.
    """
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.customers.table import read_remainder
    from churn_assets.experiment import load_experiment
    from churn_assets.tables.problems import TableError

    root: Path = context.obj
    loaded = load_experiment(experiment, root / "configs")
    config = loaded.section(CustomersConfig)
    told: dict[str, Any] = {"said": [], "problems": [], "features": [], "gates": []}
    customers: CustomerTable | None = None
    try:
        customers = _customers(config, loaded, root, told)
        _offers(loaded, root, customers, told)
    except TableError as error:
        wrong = [error]
        if customers is None:  # what the other columns and lines give away is told at once, and so is the log
            with contextlib.suppress(TableError):
                remains = read_remainder(config, error, seed=loaded.seed, root=root)
                told |= _features(remains, loaded)
                try:
                    _offers(loaded, root, remains, told)
                except TableError as other:
                    wrong.append(other)
        told["problems"] = [row for each in wrong for row in each.to_json() or [{"found": str(each)}]]
        _show(told, as_json=as_json, message="\n".join(map(str, wrong)))
        raise typer.Exit(USAGE) from error
    _show(told, as_json=as_json)
    if any(row["verdict"] == "FAILED" for row in told["gates"]):
        raise typer.Exit(REFUSED)


def _customers(
    config: CustomersConfig, experiment: Experiment, root: Path, told: dict[str, Any]
) -> CustomerTable:
    from churn_assets.customers.table import read_customers
    from churn_assets.tables.source import digest_of_rows

    found = read_customers(config, seed=experiment.seed, root=root)
    told["said"].append(f"content of the customers: {digest_of_rows(found.frame)[:16]}")
    if found.source is not None:
        told["said"] += found.source.said
        told["said"] += [f"rows left out, {name}: {count}" for name, count in found.source.left_out.items()]
    told["said"] += [f"customers, {name.replace('_', ' ')}: {value}" for name, value in found.reach.items()]
    told |= _features(found, experiment)
    return found


def _features(found: CustomerTable, experiment: Experiment) -> dict[str, Any]:
    """Features and gates, a row each."""
    from churn_assets.customers import gates
    from churn_assets.customers.config import CustomersConfig
    from churn_assets.risk.config import RiskGates, RiskModelConfig
    from churn_assets.risk.gates import leaks

    blanks = found.frame[list(found.schema.names)].isna().sum()
    features = [
        {
            "feature": each.name,
            "kind": each.kind,
            "values": ", ".join(each.categories) or f"{each.minimum:g} to {each.maximum:g}",
            "blanks": int(blanks[each.name]),
        }
        for each in found.schema.features
    ]
    needed, risk = experiment.section(CustomersConfig).gates, experiment.find(RiskModelConfig)
    outcomes = [check(found, needed) for check in (gates.leakage, gates.split, gates.completeness)]
    found_gates = [gate for each in outcomes for gate in each.gates]
    found_gates.append(leaks(found, RiskGates() if risk is None else risk.gates))
    return {"features": features, "gates": [gate.row for gate in found_gates]}


def _offers(experiment: Experiment, root: Path, customers: CustomerTable, told: dict[str, Any]) -> None:
    from churn_assets.offers.config import OfferLogConfig
    from churn_assets.offers.economics import catalogue
    from churn_assets.offers.log import configured_log
    from churn_assets.offers.outcome_file import outcome_reports
    from churn_assets.tables.source import digest_of_rows

    config = experiment.find(OfferLogConfig)
    if config is None:
        told["said"].append("no offer log: a release of this experiment tells the risk and makes no offer")
        return
    if not config.simulated:
        arms = catalogue(experiment.arms, experiment.economics)
        log = configured_log(config, customers, arms, root, experiment.economics)
        if log.unknown:
            told["said"].append(
                f"offer log: {log.unknown} decisions left out, as no row of their customer is from before"
            )
        told["said"] += [f"offer log: {len(log)} decisions", *log.said]
        told["said"].append(f"content of the offer log: {digest_of_rows(log.frame)[:16]}")
    if config.decisions is not None:
        served = config.decisions
        reports = outcome_reports(served.outcomes, root, served.reading, experiment.economics.outcome)
        told["said"].append(f"outcomes from elsewhere: {len(reports)}")


def _show(told: dict[str, Any], *, as_json: bool, message: str = "") -> None:
    if as_json:
        print_json(told)
        return
    for said in told["said"]:
        out.print(said)
    if told["features"]:
        out.print(table(told["features"], "Features"))
        out.print(
            table([{key: figure(value) for key, value in row.items()} for row in told["gates"]], "Gates")
        )
    if message:
        out.print(message)
