"""`churn design`: the campaign that chance decides, planned before it is sent and checked after."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from churn_assets.cli.errors import REFUSED, UsageProblemError, guarded
from churn_assets.cli.place import ExperimentOption, JsonOption, open_place
from churn_assets.cli.screen import figure, out, print_json, table
from churn_assets.cli.shown import styled
from churn_assets.tables.table_file import TableFile

if TYPE_CHECKING:
    from churn_assets.arms import Menu
    from churn_assets.campaigns.config import CampaignConfig
    from churn_assets.campaigns.files import Assignment
    from churn_assets.cli.place import Place
    from churn_assets.deciding.chance import Floats, Shares
    from churn_assets.deciding.risk_only import DecidingModels
    from churn_assets.deciding.table import Asked


@guarded
def design(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(help="Customers, CSV or Parquet, columns as in training.", dir_okay=False)
    ],
    assigned: Annotated[
        Path | None,
        typer.Option(
            "--assigned", "-o", help="Who gets what; FILE.assigned.csv beside the customers if left out."
        ),
    ] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="What was sent: customer_id, arm, sent_at if known.")
    ] = None,
    outcomes: Annotated[
        Path | None,
        typer.Option("--outcomes", help="With --check: what came of it, by decision_id, as for a server."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="With --outcomes: the log to write, for offer_log.source.")
    ] = None,
    after: Annotated[
        Path | None,
        typer.Option(
            "--after",
            help="The log of earlier campaigns: what may yet be best is tried most.",
            dir_okay=False,
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option("--start", formats=["%Y-%m-%d"], help="First day; today (UTC) if left out."),
    ] = None,
    release: Annotated[str, typer.Option("--release", help="As for show.")] = "champion",
    experiment: ExperimentOption = "quickstart",
    as_json: JsonOption = False,
) -> None:
    """Plan a campaign in which chance decides who gets what; with --check, test what was sent and make the log.

    Exit code 1: what was sent is not what was assigned.
    """
    if (outcomes is None) != (log is None) or (outcomes is not None and check is None):
        raise UsageProblemError("found one of --outcomes and --log, expected both, with --check, or none")
    if after is not None and check is not None:
        raise UsageProblemError(
            "found --after and --check, expected one of them: plan, or check what was sent"
        )
    campaign = _Campaign.of(context, file, experiment, release)
    target = assigned or file.with_name(f"{file.name.split('.')[0]}.assigned.csv")
    if check is None:
        campaign.plan(target, start or datetime.now(UTC), after, as_json=as_json)
    else:
        campaign.check(target, check, outcomes, log, as_json=as_json)


class _Campaign:
    """A configured campaign on one table of customers."""

    def __init__(
        self,
        place: Place,
        config: CampaignConfig,
        menu: Menu,
        models: DecidingModels,
        people: Asked,
        key: bytes,
        simulated: bool,
    ) -> None:
        self.place, self.config, self.menu, self.models = place, config, menu, models
        self.people, self.key, self.simulated = people, key, simulated

    @classmethod
    def of(cls, context: typer.Context, file: Path, experiment: str, release: str) -> _Campaign:
        """Reads config, release, customers and key."""
        from churn_assets.customers.config import CustomersConfig
        from churn_assets.customers.table import CustomerTableError
        from churn_assets.deciding.table import asked_about
        from churn_assets.offers.economics import catalogue
        from churn_assets.release.deciding import load_release
        from churn_assets.tables.files import read_raw
        from churn_assets.tables.problems import Problems

        place = open_place(context, experiment)
        config = place.experiment.campaign
        if config is None:
            message = f"experiment {experiment!r} has no section campaign"
            raise UsageProblemError(message, "say what to try, as docs/first-campaign.md does")
        menu = config.arms(catalogue(place.experiment.arms, place.experiment.economics))
        key = _key()
        bundle, models = load_release(place.store, place.release(release))
        problems = Problems(str(file), CustomerTableError)
        raw = read_raw(file, problems, place.experiment.section(CustomersConfig).reading)
        people = asked_about(raw, models.schema, menu, datetime.now(UTC), problems)
        problems.stop()
        return cls(place, config, menu, models, people, key, bundle.simulated)

    def plan(self, target: Path, start: datetime, after: Path | None, *, as_json: bool) -> None:
        """Writes the assignment and says what to expect of it."""
        import numpy as np

        from churn_assets.campaigns.assignment import assigned, may_be_contacted, planned_shares
        from churn_assets.campaigns.precision import Planned, campaign_plan
        from churn_assets.deciding.risk_only import risk_of_customers

        plan_file = TableFile(target)
        people, config = self.people, self.config
        allowed = may_be_contacted(people, self.menu)
        able = np.asarray(allowed[:, 1:].any(1))
        if not able.any():
            raise UsageProblemError("nobody of the table may get any arm", "see campaign.menu and arms")
        risk = risk_of_customers(self.models, people.table.X)
        shares = planned_shares(config, self.menu, risk[able])
        if after is not None:
            shares = self._adapted(shares, risk, after)
        chances = shares.propensities(shares.stratum(risk[able]), allowed[able])
        first = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
        frame = assigned(people.table.ids, risk, allowed, shares, config, self.key, first)
        target.parent.mkdir(parents=True, exist_ok=True)
        with plan_file:
            plan_file.write(frame)
        planned = Planned(risk[able], people.table.price[able], chances, len(frame))
        told: dict[str, Any] = {
            "campaign": config.name,
            "customers": len(people.table),
            "may_be_contacted": int(able.sum()),
            "opted_out": int(people.opted_out.sum()),
            "decisions": len(frame),
            "weeks": int(frame["wave"].max()) + 1,
            "holdout": int((frame["arm"] == self.menu.ids[0]).sum()),
            "strata": _strata(shares, risk[able]),
            "arms": campaign_plan(planned, self.menu, config, self.place.experiment.economics),
            "written": str(target),
        }
        if as_json:
            print_json(told)
        else:
            _show_plan(told, config.power)

    def _adapted(self, shares: Shares, risk: Floats, after: Path) -> Shares:
        from churn_assets.campaigns.adaptive import adapted_shares
        from churn_assets.offers.economics import catalogue
        from churn_assets.offers.log import read_log

        experiment, table = self.place.experiment, self.people.table
        arms = catalogue(experiment.arms, experiment.economics)
        log = read_log(after, {}, table.ids, arms, features=table.frame)
        return adapted_shares(shares, log, risk[log.positions(table.ids)], self.config, experiment.seed)

    def check(
        self, target: Path, sent: Path, outcomes: Path | None, log: Path | None, *, as_json: bool
    ) -> None:
        """Tests what was sent, and writes the log where all holds."""
        from churn_assets.campaigns.check import check_campaign
        from churn_assets.campaigns.files import read_assignment, read_sent

        assignment = read_assignment(target, self.menu)
        rows = self._places(assignment)
        X = self.people.table.X[rows]
        arrived = read_sent(sent, self.menu)
        outcome = check_campaign(
            assignment, arrived, X, self.models.schema, self.key, self.config.contaminated
        )
        failed = [gate for gate in outcome.gates if not gate.passed]
        told: dict[str, Any] = {
            "gates": [gate.row for gate in outcome.gates],
            "arms": list(outcome.tables["arms"]),
        }
        if log is not None and outcomes is not None and not failed:
            told["log"] = self._log(assignment, rows, outcomes, log)
        if as_json:
            print_json(told)
        else:
            out.print(table([_figures(row) for row in told["arms"]]))
            out.print(table([dict(row) for row in told["gates"]], "What was sent against what was assigned"))
            for name, count in told.get("log", {}).items():
                out.print(f"{name}: {count}", highlight=False)
        if failed:
            if not as_json and log is not None:
                out.print(
                    styled("red", "No log is written"), ": it would say of chance what chance did not do."
                )
            raise typer.Exit(REFUSED)

    def _log(self, assignment: Assignment, rows: Any, outcomes: Path, log: Path) -> dict[str, Any]:
        from churn_assets.campaigns.files import campaign_log
        from churn_assets.offers.outcome_file import read_outcome_file

        log_file = TableFile(log)
        frame, counts = campaign_log(
            assignment,
            read_outcome_file(outcomes),
            self.people.table.price[rows],
            self.people.prior[rows],
            self.place.experiment.economics,
        )
        log.parent.mkdir(parents=True, exist_ok=True)
        with log_file:
            log_file.write(frame)
        return counts | {"log": str(log)}

    def _places(self, assignment: Assignment) -> Any:
        """(n,) row of each decision's customer."""
        import pandas as pd

        rows = pd.Index(self.people.table.ids).get_indexer(assignment.frame["customer_id"])
        if gone := int((rows < 0).sum()):
            message = f"customers: {gone} of the {len(rows)} who were assigned are not in the table"
            raise UsageProblemError(message, "give the table that the campaign was planned on")
        return rows


def _key() -> bytes:
    from churn_assets.deciding.secret import ASSIGNMENT_KEY, SHORTEST_SECRET, assignment_key

    try:
        key = assignment_key(os.environ)
    except OSError as error:
        raise UsageProblemError(f"{ASSIGNMENT_KEY}: {error.strerror}: {error.filename}") from error
    if len(key) < SHORTEST_SECRET:
        raise UsageProblemError(
            f"{ASSIGNMENT_KEY}: found {len(key)} bytes, expected a secret of at least {SHORTEST_SECRET}",
            "keep it: the same secret draws the same customers, another one others",
        )
    return key


def _strata(shares: Shares, risk: Floats) -> list[dict[str, Any]]:
    """Shares by stratum, each with its size and mean risk."""
    stratum = shares.stratum(risk)
    return [
        {
            "stratum": number,
            "customers": int((stratum == number).sum()),
            "mean_risk": float(risk[stratum == number].mean()),
        }
        | dict(zip(shares.menu.ids, map(float, row), strict=True))
        for number, row in enumerate(shares.shares)
    ]


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {name: figure(value) for name, value in row.items()}


def _show_plan(told: dict[str, Any], power: float) -> None:
    out.print(
        f"{told['decisions']} decisions of campaign {told['campaign']!r} in {told['weeks']} weeks, {told['holdout']} "
        f"in the holdout; of {told['customers']} customers {told['may_be_contacted']} may be contacted"
    )
    out.print(table([_figures(row) for row in told["strata"]], "Shares by stratum of risk"))
    by_arm = [_figures(row) for row in told["arms"]]
    names = dict.fromkeys(name for row in by_arm for name in row if name != "arm")
    out.print(table([{"": name} | {row["arm"]: row.get(name, "") for row in by_arm} for name in names]))
    weak = [row["arm"] for row in told["arms"] if row["power"] < power]
    if weak:
        out.print(
            styled("yellow", "Too few decisions"),
            f" to be sure of an effect that pays, for {', '.join(weak)}: see decisions_needed; ",
            "fewer arms need fewer",
        )
    out.print(f"Written to {told['written']}")
