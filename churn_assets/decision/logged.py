"""What a policy would have decided at every row of an offer log: the input of off-policy evaluation. Scores nothing.

A log that models were fitted on flatters what they decide: what chance did to a customer is in the effects that choose
for this very customer. So each is asked about by refits without their cross-fit group (Chernozhukov et al. 2018). On
campaigns of 5,000 decisions of the demo world the lift was more than a standard error too large without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations, permutations

import numpy as np

from churn_assets.customers.schema import ROW_DATE
from churn_assets.customers.table import CustomerTable
from churn_assets.decision.observation import Observer
from churn_assets.decision.off_policy import LoggedDecisions, on_log
from churn_assets.decision.policy import DecisionPolicy
from churn_assets.decision.process import Floats, Ints
from churn_assets.decision.responses import ResponseModels
from churn_assets.decision.tables import ResponseTables, build_tables
from churn_assets.offers.as_of import rows_before
from churn_assets.offers.log import OfferLog
from churn_assets.response.accept import AcceptModel, cross_fit_groups
from churn_assets.response.effect import EffectModel
from churn_assets.risk.model import RiskModel


@dataclass(frozen=True, eq=False)
class DecidedApart:
    """What a policy decides at n rows of a log that its models were fitted on.

    Attributes:
        whole: (n, A) by the models themselves.
        apart: (n, A) each row by models that never saw its customer.
        group: (n,) cross-fit group of the row; -1 held out.
        without: By group, (n, A) by the models that never saw it.
    """

    whole: Floats
    apart: Floats
    group: Ints
    without: Mapping[int, Floats]

    def chance(self, evidence: LoggedDecisions) -> float:
        """Standard error that the value of `apart` has beside that of fixed decisions, as the log chose them too.

        The scores of one group under what another changes in its decisions are noise that a standard error of fixed
        decisions counts. Beside it two groups go together where each changes the other's: a covariance of second order
        (Hoeffding 1948), twice the product of what both change. How much that is shows where a group is left out of
        what is learned; products are taken without their sign, which is a pair's own luck.
        """
        shift = {h: evidence.scores(self.whole, each) for h, each in self.without.items()}
        changed = {
            (g, h): float(shift[h][self.group == g].sum()) / len(self.group)
            for g, h in permutations(self.without, 2)
        }
        pairs = combinations(self.without, 2)
        return float(np.sqrt(2 * sum(abs(changed[g, h] * changed[h, g]) for g, h in pairs)))


def decided_apart(
    policy: DecisionPolicy,
    table: CustomerTable,
    log: OfferLog,
    risk: RiskModel,
    accept: AcceptModel,
    effect: EffectModel,
) -> DecidedApart:
    """As `decisions_on_log`, by models of response that never saw the row's customer, as far as such were kept.

    Args:
        policy: Who decides.
        table: The log's customers, and perhaps others.
        log: Past decisions.
        risk: Of the policy, as the next two.
        accept: With its refits.
        effect: With its refits.

    Raises:
        OffPolicyError: The menu has an arm that the log never tried.
    """

    def decided(accept: AcceptModel, effect: EffectModel) -> Floats:
        return decisions_on_log(policy, table, log, ResponseModels.of(risk, accept, effect, policy.process))

    customer = log.positions(table.ids)
    counts = [max(len(model.apart), 1) for model in (accept, effect)]
    groups = [cross_fit_groups(table, customer, count) for count in counts]
    group = np.where(groups[0] < 0, -1, groups[0] * counts[1] + groups[1])
    whole, without = decided(accept, effect), {}
    if accept.apart or effect.apart:
        for each in np.unique(group[group >= 0]).tolist():
            of_accept, of_effect = divmod(each, counts[1])
            without[each] = decided(accept.without(of_accept), effect.without(of_effect))
    apart = whole.copy()
    for each, chosen in without.items():
        apart[group == each] = chosen[group == each]
    return DecidedApart(whole, apart, group, without)


def decisions_on_log(
    policy: DecisionPolicy, table: CustomerTable, log: OfferLog, models: ResponseModels
) -> Floats:
    """(n, A) probability of each of the log's arms, as the policy decides when it is served: by its best arm.

    Every row is a first decision about its customer, with the log's count of recent offers.

    Args:
        policy: Who decides.
        table: The log's customers, and perhaps others.
        log: Past decisions.
        models: What the policy is shown, under its own process.

    Raises:
        OffPolicyError: The menu has an arm that the log never tried.
    """
    process = policy.process
    table, customer = rows_before(log, table)
    if ROW_DATE in table.frame:  # of a panel only the rows that a decision knew
        needed, customer = np.unique(customer, return_inverse=True)
        table = table.where(np.isin(np.arange(len(table)), needed))
    calm = build_tables(table, models)
    # Offers made before the first decision matter until they are forgotten: only those months are asked again.
    carried = replace(models, process=replace(process, horizon=min(process.recent, process.horizon)))
    chosen = np.zeros((len(log), process.n_arms))
    for prior in np.unique(log.prior_offers):
        rows = np.flatnonzero(log.prior_offers == prior)
        people, place = np.unique(customer[rows], return_inverse=True)
        tables = calm.subset(people)
        if prior and carried.process.horizon:
            few = table.where(np.isin(np.arange(len(table)), people))
            recent = build_tables(few, carried, prior_offers=np.full(len(people), prior, np.int64))
            tables = _with_first_months(tables, recent)
        nothing = np.zeros(len(people), np.int64)
        observed = Observer(tables, process).observe(
            np.arange(len(people)), nothing, nothing, nothing, np.zeros(len(people), np.float32)
        )
        chosen[rows, policy.act(observed)[place]] = 1.0
    return on_log(process.menu, chosen, log.menu)


def _with_first_months(tables: ResponseTables, first: ResponseTables) -> ResponseTables:
    acceptance = tables.acceptance.copy()
    acceptance[:, : first.acceptance.shape[1]] = first.acceptance
    return replace(tables, acceptance=acceptance)
