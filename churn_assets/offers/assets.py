"""The asset `offer_log`: the user's log, or one that the demo world writes, with what was served since.

The only code that may meet the world.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from churn_assets.arms import ArmConfig, Menu
from churn_assets.customers.names import PSEUDONYMS, named, naming_key
from churn_assets.flow.asset import Made, Step, asset
from churn_assets.flow.setting import SEED, Setting
from churn_assets.gates.plots import Plot
from churn_assets.offers.checks import CAME_OF_IT, OFFER_LOG
from churn_assets.offers.config import OfferLogConfig
from churn_assets.offers.economics import Economics

if TYPE_CHECKING:
    from churn_assets.customers.table import CustomerTable
    from churn_assets.offers.log import OfferLog
    from churn_assets.offers.offer_rows import OfferRows

_ARMS = Setting("arms", tuple[ArmConfig, ...])
_ECONOMICS = Setting("economics", Economics)
_PRICE = Setting("customers.monthly_revenue", str)
_CONSTANTS = Setting("customers.constants", dict[str, float])


def _content(step: Step[OfferLogConfig]) -> str:
    """Digest of what is read: the source, and the served decisions that can be learned from by now."""
    from churn_assets.tables.source import source_content

    config = step.config
    # Reading it will say so, with what was expected.
    source = "simulated" if config.simulated else source_content(config.source, step.root) or "missing"
    served = _served(step)
    return source if served is None else f"{source} {served.digest}"


def _served(step: Step[OfferLogConfig], logged: Menu | None = None) -> OfferRows | None:
    """The experiment's own decisions whose outcome is known; None where they are not asked for.

    `logged`: arms of the log that they are appended to.
    """
    from churn_assets.offers.decision_index import DecisionIndex
    from churn_assets.offers.economics import ServedTerms, catalogue
    from churn_assets.offers.live import ServedLog
    from churn_assets.offers.offer_rows import gathered, offer_rows_of
    from churn_assets.offers.outcome_file import outcome_reports

    wanted = step.config.decisions
    if wanted is None:
        return None
    price, money = step.read(_PRICE), step.read(_ECONOMICS)
    terms = ServedTerms.of(step.read(_ARMS), money, step.read(_CONSTANTS))
    with TemporaryDirectory(prefix="decision-index-") as folder:
        log = ServedLog(
            step.store.backend,
            step.experiment,
            DecisionIndex(Path(folder) / "index.sqlite", price, terms=terms),
        )
        log.refresh(
            "file", lambda: outcome_reports(wanted.outcomes, step.root, wanted.reading, money.outcome)
        )
        arms, window = catalogue(step.read(_ARMS), money), timedelta(days=wanted.window_days)
        own = (*step.config.feature_columns, *step.config.history)
        rows = offer_rows_of(
            log, money, arms, price, now=datetime.now(UTC), window=window, logged=logged, features=own
        )
        found = gathered(rows, log)
        log.index.close()
    key = naming_key(pseudonyms=step.read(PSEUDONYMS))
    if key:  # a log from before names customers by their ids
        found.frame["customer_id"] = named(found.frame["customer_id"], key)
    return found


@asset(
    config=OfferLogConfig,
    reads=(_ARMS, _ECONOMICS, SEED, _PRICE, _CONSTANTS, PSEUDONYMS),
    format="churn_assets.offers.format:OFFER_LOG",
    checks=OFFER_LOG,
    branch="accept",
    kinds=("pandas", "parquet"),
    description="One row an offer decision, with the propensity of every arm. SIMULATED where the source is the demo "
    "world: real customers and labels, invented answers to offers.",
    data=_content,
    outside=("offer_log_table", "outcome_table", "decision_log"),
)
def offer_log(step: Step[OfferLogConfig], customers: CustomerTable) -> Made:
    import numpy as np

    from churn_assets.offers.as_of import customers_then, known_before
    from churn_assets.offers.economics import catalogue
    from churn_assets.offers.eligibility import Eligibility
    from churn_assets.offers.log import configured_log
    from churn_assets.offers.offer_rows import append

    config, arms = step.config, catalogue(step.read(_ARMS), step.read(_ECONOMICS))
    # A condition that nobody can keep is refused here, not after the models are trained.
    Eligibility.of([arms.arm(each.id) for each in arms.declared], customers.schema)
    if config.simulated:
        from churn_assets.offers.world import DemoWorld

        world = DemoWorld(
            customers.newest_labelled,
            step.read(_ECONOMICS),
            config.demo_menu(arms),
            drift=config.drift,
            effects=config.effects,
        )
        log = world.draw_log(config.rows, step.seed + config.seed_offset, start=config.start)
    else:
        key = naming_key(pseudonyms=step.read(PSEUDONYMS))
        log = configured_log(config, customers, arms, step.root, step.read(_ECONOMICS), key)
    before, left_out, said, served = len(log), log.left_out, log.said, _served(step, log.menu)
    strangers, earlier = log.strangers, log.unknown
    if served is not None:
        then = partial(customers_then, customers=customers)
        log = append(log, served, customers.ids, then, step.read(_ECONOMICS).outcome)
    appended, data = len(log) - before, "simulated" if log.simulated else "observed"
    log, unknown = known_before(log, customers, str(config.source))
    if config.newest is not None:
        log = log.where(np.arange(len(log)) >= len(log) - config.newest)
    return Made(
        log,
        metrics={
            "rows": len(log),
            "propensities": log.known_by,
            "left_out_by_condition": left_out,
            "left_out_not_in_the_table": strangers,
            "left_out_without_a_row_before": earlier + unknown,
            "served": appended,
            "simulated": log.simulated,
            "contacted": float((log.arm > 0).mean()),
            "accepted_of_contacted": float(log.accepted[log.arm > 0].mean()),
            **_outcomes(log),
        },
        tables={"arms": [row | {"data": data} for row in log.by_arm()]}
        | ({} if served is None else {"served": _counts(served, appended)})
        | ({"reading": [{"said": each} for each in said]} if said else {}),
        plots=(
            Plot(
                "arms",
                "bar",
                "arm",
                CAME_OF_IT,
                "What came of it by arm",
                "arm",
                where_there=CAME_OF_IT,
            ),
        ),
        columns=_columns(log),
        rows=len(log),
    )


def _counts(served: OfferRows, appended: int) -> list[dict[str, object]]:
    counts = dict(served.counts) | {
        "of customers who are not in the table, or may get more by now": len(served.frame) - appended
    }
    return [{"what": what, "decisions": count} for what, count in counts.items()]


def _outcomes(log: OfferLog) -> dict[str, float]:
    came = "outcome" if log.of_outcome else "churned"
    told = {came: came, "margin": "mean_margin"}
    return {said: float(log.frame[name].mean()) for name, said in told.items() if name in log.frame}


def _columns(log: OfferLog) -> dict[str, tuple[str, str]]:
    from churn_assets.offers.log import CONTROL, FEATURE, propensity_column

    origin = "Simulated." if log.simulated else "Observed."
    meanings = {
        "customer_id": "The customer.",
        "decided_at": "When, UTC.",
        "wave": "Weeks since the first decision.",
        "arm": "What was done.",
        "propensity": "Probability of the logged arm.",
        "policy_version": "Who decided.",
        "prior_offers": "Offers in the 90 days before.",
        "accepted": f"1: accepted. {origin}",
        "churned": f"1: left within the label window. {origin}",
        "outcome": f"What the value is of. {origin}",
        "drawn_together": "Who got the same by one draw.",
        "margin": f"Value of the decision, in the currency of the price. {origin}",
    }
    meanings |= {propensity_column(arm.id): f"Probability of: {arm.label}." for arm in log.menu}
    for name in map(str, log.frame.columns):
        if name.startswith(CONTROL):
            meanings[name] = "Negative control: no offer can have changed it."
        elif name.startswith(FEATURE):
            meanings[name] = "Of the customer, as it was at the decision."
    return {str(name): (str(kind), meanings[str(name)]) for name, kind in log.frame.dtypes.items()}
