"""What each section of a report tells, from what is stored: a function a section."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, NamedTuple

from churn_assets.gates.estimates import Z_TWO_SIDED_95
from churn_assets.gates.plots import Plot
from churn_assets.gates.report import GateReport
from churn_assets.message.model.author import OPPONENTS, authorship
from churn_assets.release.decided import ACCEPTED, KEPT
from churn_assets.release.report.facts import MemberView, ReportFacts, Rows
from churn_assets.release.report.parts import (
    Amount,
    AmountUnit,
    IntervalFigure,
    PageSection,
    PageTable,
    Picture,
    Placed,
    ToldText,
    cell_of,
    grid_of,
    picture_of,
    placed,
    texts,
)
from churn_assets.release.report.trend import trend_of, trends_by_figure
from churn_assets.release.report.verdict import CHAMPION, NO_OFFER, fault_of, lift_over, lifts_of

_NOT_KEPT = (
    "Not stored with this release, which was built before there was such a table. Build the release again."
)
_RULES = {
    "opted_out": "opted out of offers",
    "not_eligible": "not eligible for any offer",
    "offer_running": "an accepted offer is running",
    "cooldown": "contacted too recently",
    "cap_reached": "contacted as often as allowed",
    "budget": "the budget does not cover it",
    "contact_raises_risk": "contact would raise the risk",
    "no_offer_pays": "no offer pays",
    "waiting_is_worth_more": "waiting is worth more than an offer now",
}
"""What stopped an offer, in words."""
MOST_SLICES = 12
"""That are drawn: half of them the highest, half the lowest."""
MOST_FLIPS = 20


@dataclass(frozen=True)
class Glance:
    """The first screen.

    Attributes:
        plot: Differences in money a decision.
        lifts: The same as a table.
        worth: Identified and projected figures apart.
        flips: The commonest changes of offers.
        moved: How many customers get another offer, and of how many; None where nobody can be asked.
        changed: How many things changed, by kind.
    """

    plot: Sequence[Picture]
    lifts: Sequence[PageTable]
    worth: Sequence[IntervalFigure]
    flips: Sequence[PageTable]
    moved: tuple[Amount, Amount] | None
    changed: Mapping[str, int]


def lift_rows(facts: ReportFacts) -> list[dict[str, Any]]:
    """What the offers earn over each, in money a decision, with the ends of its 95 % interval."""
    return [
        {"over": each.over, "mean": each.mean, "low": each.low, "high": each.high} for each in lifts_of(facts)
    ]


def lift_plot(facts: ReportFacts) -> Plot:
    """How `lift_rows` are drawn."""
    unit = f"{facts.currency} a decision"
    return Plot(
        "lifts", "interval", "over", ("mean",), "Earned over each (95 %)", "", unit, band=("low", "high")
    )


def worth_of(facts: ReportFacts) -> list[IntervalFigure]:
    """What a release is worth, identified and projected apart; what there is to say of one without offers."""
    return [*_identified(facts), *_projected(facts), *_ranked(facts)]


def glance(facts: ReportFacts) -> Glance:
    """What the first screen shows."""
    lifts = lifts_of(facts)
    cells = [
        [
            *texts(each.over),
            *(
                Amount(v, "+money", f"{each.source}/{c}")
                for v, c in zip(each.ends, each.columns, strict=True)
            ),
        ]
        for each in lifts
    ]
    caption = (
        "What the offers earn over each, a decision, within the label window; 95 % intervals, doubly robust."
    )
    flips = facts.tables.get("flips", ())
    counts = [
        sum(row["customers"] for row in flips if all_ or row["before"] != row["now"])
        for all_ in (False, True)
    ]
    return Glance(
        plot=picture_of(lift_plot(facts), lift_rows(facts)),
        lifts=[PageTable(caption, ["over", "mean", "low", "high"], cells)] if cells else [],
        worth=worth_of(facts),
        flips=_flips(facts, 4),
        moved=(
            Amount(counts[0], "count", "= sum of tables/flips where before is not now"),
            Amount(counts[1], "count", "= sum of tables/flips"),
        )
        if flips
        else None,
        changed=Counter(
            kind for each in facts.changes if (kind := _kind_of(each.asset, each.kind, each.name))
        ),
    )


def _months(facts: ReportFacts, name: str) -> str:
    about = facts.tables.get("about", ())
    told = about and name in about[0]  # a release that decides nothing has no horizon
    return f"{about[0][name]:g} months" if told else f"the {name.removesuffix('_months')}"


def _window(facts: ReportFacts) -> str:
    outcome = facts.outcome
    return f"{outcome['window_days']:g} days" if outcome else _months(facts, "window_months")


def _horizon(facts: ReportFacts) -> str:
    return _window(facts) if facts.outcome else _months(facts, "horizon_months")


def _valued(facts: ReportFacts) -> str:
    """What the value is of, where it is not of customers who stay."""
    outcome = facts.outcome
    if not outcome:
        return ""
    if outcome["largest"] is None:
        return f"; the value is {outcome['worth']:g} {facts.currency} for each {outcome['column']}"
    return f"; the value is our margin of {outcome['column']}, of which at most {outcome['largest']:g} counts"


def _counted(facts: ReportFacts) -> str:
    """What a kept customer counts in the log, where rules of the experiment say it and not the log."""
    member = facts.member("offer_log")
    economics = {} if member is None else member.manifest.provenance.config.get("economics")
    if not facts.simulated or not isinstance(economics, Mapping) or "value_horizon_months" not in economics:
        return ""
    return f"; whoever stays counts {economics['value_horizon_months']} months of margin"


def _totals(facts: ReportFacts, *each: Amount | None) -> list[Amount]:
    """Figures a customer as figures of all customers of the table."""
    member = facts.member("customers")
    number = None if member is None else member.manifest.provenance.metrics.get("customers")
    return [
        Amount(one.value * number, "+money", f"= {one.source} * customers/metric/customers")
        for one in each
        if one is not None and one.value is not None and isinstance(number, int | float)
    ]


def _identified(facts: ReportFacts) -> Iterator[IntervalFigure]:
    for lift in filter(None, (lift_over(facts, CHAMPION), lift_over(facts, NO_OFFER))):
        mean, low, high = (
            Amount(value, "+money", f"{lift.source}/{column}")
            for value, column in zip(lift.ends, lift.columns, strict=True)
        )
        about = f"a customer decided once, within {_window(facts)}, by the offer log; 95 % interval"
        about += _counted(facts) + _valued(facts)
        totals = _totals(facts, mean, low, high)
        yield IntervalFigure(f"Identified: lift over {lift.over}", mean, low, high, about, totals)


def _projected(facts: ReportFacts) -> Iterator[IntervalFigure]:
    rows = facts.rows("ppo_decision", "pays_when_cautious", "projected")
    source = "ppo_decision/pays_when_cautious/projected"
    gain = {
        row["projection"]: Amount(row["gain"], "+money", f"{source}/{place}/gain")
        for place, row in placed(rows)
    }
    told = gain.get("as planned", gain.get("as configured"))  # the second is the word of earlier releases
    if told is not None:
        low, high = gain.get("cautious"), gain.get("hopeful")
        about = f"a customer over {_horizon(facts)}, by the models; cautious to hopeful, which no log shows"
        if facts.outcome:
            about = f"a customer within {_horizon(facts)}, by the models: nothing is counted after it"
        yield IntervalFigure(
            "Projected: gain over no offer", told, low, high, about, _totals(facts, told, low, high)
        )


def _ranked(facts: ReportFacts) -> Iterator[IntervalFigure]:
    """How well risk ranks: what there is to say of a release without offers."""
    report = facts.gate_report("risk_model", "ranks_well")
    for gate in report.gates[:1] if report is not None and facts.member("ppo_decision") is None else ():
        amount = Amount(gate.figure, "number", f"risk_model/ranks_well/gate/{gate.name}/figure")
        yield IntervalFigure("Risk: ROC AUC", amount, None, None, "on held-out customers; 0.5 is chance")


_KINDS = {"code": "code", "package": "code", "seed": "config", "metric": "metrics", "threshold": "thresholds"}
_DATA = ("customers", "offer_log", "messages", "preferences")
_ORDER = ("data", "menu", "config", "code", "members", "metrics", "thresholds")


def _kind_of(asset: str, kind: str, name: str) -> str:
    """What a reader calls a change; empty for one that follows from others or stands among the checks."""
    if kind == "content":
        return "data" if asset in _DATA else "members"
    if kind == "config" and name:
        return "menu" if "menu" in name or name.startswith("arms") else "config"
    return _KINDS.get(kind, "")


def all_sections(facts: ReportFacts) -> list[PageSection]:
    """The sections between first screen and checks, in order; those that have nothing to tell are left out."""
    made = (
        _changed, _funnel, _offers, _budget, _slices, _risk, _responses, _off_policy, _messages, _others, _trend,
        _data, _lineage, _cost,
    )  # fmt: skip
    return [each for section in made if (each := section(facts)).blocks or each.missing]


def _changed(facts: ReportFacts) -> PageSection:
    """What is not the same as in the release that it is compared with, and who gets another offer."""
    cells = [
        texts(kind, each.asset, each.name or each.kind, _side(each.a), _side(each.b))
        for wanted in _ORDER
        for each in facts.changes
        if (kind := _kind_of(each.asset, each.kind, each.name)) == wanted
    ]
    blocks = [PageTable("Before and now.", ["what", "of", "name", "before", "now"], cells)] if cells else []
    missing = (
        "" if facts.against else "A first release: nothing leads yet, so there is nothing to compare with."
    )
    if facts.against and not facts.changes:
        missing = f"{facts.against} cannot be read, or nothing differs."
    if facts.against and not facts.tables.get("flips"):
        missing += (
            " Who gets another offer is not known: that release cannot be loaded, or reads other features."
        )
    lead = f"Against {facts.against}: held-out customers, decided by both releases." if facts.against else ""
    title = "What changed, and for whom"
    return PageSection(
        "changed", title, lead, [*_flips(facts, MOST_FLIPS), *_moved_slices(facts), *blocks], missing.strip()
    )


def _side(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "–" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _flips(facts: ReportFacts, most: int) -> list[PageTable]:
    moved = [each for each in placed(facts.tables.get("flips", ())) if each[1]["before"] != each[1]["now"]]
    return grid_of(
        "Who gets another offer: from what to what.",
        "tables/flips",
        moved[:most],
        "before|now|customers:count",
    )


def _moved_slices(facts: ReportFacts) -> list[PageTable]:
    rows = [each for each in placed(facts.tables.get("slices", ())) if each[1].get("moved")]
    rows.sort(key=lambda each: -each[1]["moved"])
    columns = "feature|level|customers:count|moved:share=get another offer"
    return grid_of("Where most get another offer.", "tables/slices", rows[:7], columns)


FUNNEL = Plot("funnel", "bar", "stage", ("customers",), "Stage by stage", "", "customers")


def funnel_of(facts: ReportFacts) -> Placed:
    """The stages of the funnel with their places: beside another outcome than leaving nobody accepts or is kept."""
    told = placed(facts.tables.get("funnel", ()))
    outcome = facts.outcome
    if not outcome:
        return told
    named = {KEPT: f"expected to bring {outcome['column']} by it"} if outcome["largest"] is None else {}
    return [
        (place, {**row, "stage": named.get(row["stage"], row["stage"])})
        for place, row in told
        if row["stage"] in named or row["stage"] not in (ACCEPTED, KEPT)
    ]


def _funnel(facts: ReportFacts) -> PageSection:
    """From customers to kept, and at which rule the others stopped."""
    stages = funnel_of(facts)
    rows = [row for _, row in stages]
    stopped = [
        (place, {**row, "rule": _RULES.get(row["rule"], row["rule"])})
        for place, row in placed(facts.tables.get("stopped", ()))
    ]
    lead = (
        "Held-out customers, whom no model was fitted on, as if this were their first decision. "
        f"Expected numbers are by the models, within {_window(facts)}."
    )
    blocks: list[PageTable | Picture] = [
        *picture_of(FUNNEL, rows),
        *grid_of("Customers at each stage.", "tables/funnel", stages, "stage|customers:count"),
        *grid_of(
            "Who is not contacted, and what stopped it.",
            "tables/stopped", stopped, "not=stage not reached|rule=why|customers:count",
        ),
    ]  # fmt: skip
    missing = "" if rows or facts.member("ppo_decision") is None else _NOT_KEPT
    return PageSection("funnel", "Funnel", lead, blocks, missing)


def _offers(facts: ReportFacts) -> PageSection:
    """Which arm for how many, and for whom."""
    columns = (
        "offer|customers:count|share:share|mean_risk:share=mean risk|mean_cost:money=cost at most|"
        f"mean_window_value:+money=adds within {_window(facts)}|mean_expected_value:+money=adds over {_horizon(facts)}|"
        "mean_value_low:+money=at least|mean_value_high:+money=at most"
    )
    mixed = [each for each in placed(facts.tables.get("slices", ())) if each[1]["feature"] == "risk"]
    groups = facts.rows("ppo_decision", "offers_are_fair", "groups")
    arms = dict.fromkeys(key for _, row in mixed for key in row if key.startswith("offer:") and row[key])
    heads = "|".join(
        ["level=risk", "customers:count", *(f"{key}={key.removeprefix('offer:')}" for key in arms)]
    )
    blocks: list[PageTable | Picture] = [
        *grid_of("By offer.", "tables/offers", placed(facts.tables.get("offers", ())), columns),
        *grid_of("By fifth of risk: share of the customers in it.", "tables/slices", mixed, heads),
        *picture_of(_FAIR, _over_noise(groups)),
        *grid_of(
            "Groups: what offers may give, in months of the bill, and how much more at equal risk and expected effect.",
            "ppo_decision/offers_are_fair/groups",
            placed(groups),
            "group|level|customers:count|mean_value:months=given|gap:+months=more than others alike|"
            "noise:months=give or take",
        ),
    ]
    lead = "Held-out customers, first decisions. Values are means of a customer who is decided so, by the models."
    return PageSection("offers", "Offer mix", lead, blocks)


_FAIR = Plot(
    "groups", "interval", "who", ("gap",), "Given more to a group than to others alike", "", "months of the bill",
    band=("low", "high"),
)  # fmt: skip


def _over_noise(groups: Rows) -> list[dict[str, Any]]:
    """Groups with where their gap may lie by chance; one of too few customers has none."""
    return [
        {
            "who": f"{row['group']}: {row['level']}",
            "gap": row["gap"],
            "low": row["gap"] - row["noise"],
            "high": row["gap"] + row["noise"],
        }
        for row in groups
        if row["gap"] is not None and row["noise"] is not None
    ]


def budget_plots(currency: str) -> tuple[Plot, Plot]:
    """What is earned by what may be reserved, and the price of the last unit of money."""
    reserved, added = f"{currency} reserved a customer", f"{currency} added a customer"
    return (
        Plot("budget", "line", "reserved", ("expected_value",), "Value by budget", reserved, added),
        Plot(
            "budget", "line", "reserved", ("shadow_price",), "Shadow price", reserved, f"added by the last {currency}"
        ),
    )  # fmt: skip


def _budget(facts: ReportFacts) -> PageSection:
    """What the first decisions earn at each budget, and the price of the last unit of money."""
    rows, money = facts.tables.get("budget", ()), facts.currency
    columns = (
        "offers:count|reserved:money=reserved a customer|expected_value:+money=adds a customer|"
        "shadow_price:number=shadow price"
    )
    lead = (
        "First decisions for held-out customers, each offer reserved at the most that it can cost, the highest value "
        f"for money first. Values are projected over {_horizon(facts)}. The shadow price is what the last unit of "
        "money adds, its own cost taken off: below 0 it loses money."
    )
    if facts.tables.get("limits"):
        lead += (
            " Offers, funnel and values of this page are of the policy without the limits of the experiment."
        )
    blocks: list[PageTable | Picture] = [
        *(
            picture
            for plot in budget_plots(money)
            for picture in picture_of(plot, [row for row in rows if row[plot.y[0]] is not None])
        ),
        *grid_of("At a fifth more of the offers each time.", "tables/budget", placed(rows)[::4], columns),
        *_limits_grid(facts.tables.get("limits", ())),
    ]
    return PageSection("budget", "Budget", lead, blocks)


def _limits_grid(rows: Rows) -> list[PageTable]:
    """The limits of the experiment, each in its own unit."""
    cells: list[list[Amount | ToldText]] = []
    for place, row in placed(rows):
        source = f"tables/limits/{place}"
        unit: AmountUnit = "money" if row["unit"] == "money" else "count"
        amounts = [cell_of(row[name], unit, f"{source}/{name}") for name in ("period", "allowed", "used")]
        price = Amount(row["shadow_price"], "money", f"{source}/shadow_price")
        cells.append([*texts(row["limit"], row["unit"]), *amounts, price])
    caption = (
        "The limits of the experiment, as far as they are these customers' share, and what another unit of money, or "
        "another contact, would bring."
    )
    heads = ["limit", "counts", "of a period", "allowed here", "used", "another brings"]
    return [PageTable(caption, heads, cells)] if cells else []


def _slices(facts: ReportFacts) -> PageSection:
    """Values of the slices that differ most; of few customers nothing is told."""
    every = placed(facts.tables.get("slices", ()))
    told = sorted(
        (each for each in every if each[1]["expected_value"] is not None),
        key=lambda each: -each[1]["expected_value"],
    )
    half = MOST_SLICES // 2
    shown = told if len(told) <= MOST_SLICES else [*told[:half], *told[-half:]]
    drawn = [_over_projections(row) for _, row in shown]
    plot = Plot(
        "slices", "interval", "slice", ("expected_value",), "Projected value, highest and lowest slices", "",
        f"{facts.currency} a customer", band=("least", "most"),
    )  # fmt: skip
    columns = (
        f"feature|level|customers:count|risk:share|contacted:share|window_value:+money=adds within {_window(facts)}|"
        f"expected_value:+money=adds over {_horizon(facts)}|value_low:+money=at least|value_high:+money=at most"
    )
    lead = (
        "Means over all held-out customers of a slice, by the models. At least and at most are means of each "
        "customer's own least and most over the band of projections."
    )
    if len(told) < len(every):
        lead += " Slices of fewer than 50 customers are left out: they would show noise."
    blocks: list[PageTable | Picture] = [
        *picture_of(plot, drawn),
        *grid_of("Slices.", "tables/slices", shown, columns),
    ]
    return PageSection("slices", "Value by slice", lead, blocks)


def _over_projections(row: Mapping[str, Any]) -> dict[str, Any]:
    """A slice with the least and the most of its projections: up to release/7 they stand in another order."""
    told = [row[name] for name in ("expected_value", "value_low", "value_high") if row.get(name) is not None]
    return {**row, "slice": f"{row['feature']}: {row['level']}", "least": min(told), "most": max(told)}


def _risk(facts: ReportFacts) -> PageSection:
    """Does the risk model rank, and is it calibrated."""
    roc, bins = (
        facts.rows("risk_model", "ranks_well", "roc"),
        facts.rows("risk_model", "calibrated", "calibration"),
    )
    split = facts.rows("customers", "honest_split", "split")
    left = next((row["churn_rate"] for row in split if row["used_for"] == "held out"), None)
    blocks: list[PageTable | Picture] = [
        *picture_of(_ROC, roc),
        *picture_of(_RECALL, [] if left is None else precision_rows(roc, left)),
        *picture_of(
            replace(_CALIBRATION, x_label="forecast", y_label="observed") if facts.outcome else _CALIBRATION,
            calibration_band(bins),
        ),
        *_gates_grid(facts, "risk_model", ("ranks_well", "calibrated")),
    ]
    lead = (
        "P(leaves within the label window) without contact, held-out customers. The shade of the calibration is where "
        "95 % of right forecasts lie by chance."
    )
    if facts.outcome:
        lead = (
            f"The share of {facts.outcome['column']} that is missed, of one that comes or does not the chance that it "
            "does not come: what effects are told against. Held-out customers, whatever they were sent."
        )
    return PageSection("risk", "Risk", lead, blocks)


_ROC = Plot(
    "roc", "line", "false_positive_rate", ("true_positive_rate",), "ROC", "false positive rate", "true positive rate",
    diagonal=True,
)  # fmt: skip
_RECALL = Plot("recall", "line", "recall", ("precision",), "Precision and recall", "recall", "precision")
_CALIBRATION = Plot(
    "calibration", "points", "forecast", ("observed",), "Calibration", "forecast risk", "observed churn", diagonal=True,
    band=("low", "high"),
)  # fmt: skip


def precision_rows(roc: Rows, rate: float) -> list[dict[str, float]]:
    """Recall and precision at the thresholds of a ROC table, where a share `rate` of all leaves."""
    found = []
    for row in roc:
        hits = rate * row["true_positive_rate"]
        named = hits + (1 - rate) * row["false_positive_rate"]
        if named > 0:
            found.append({"recall": row["true_positive_rate"], "precision": hits / named})
    return found


def calibration_band(bins: Rows) -> list[dict[str, float]]:
    """The bins of a calibration table with where 95 % of right forecasts lie by chance."""
    found = []
    for row in bins:
        half = Z_TWO_SIDED_95 * sqrt(row["forecast"] * (1 - row["forecast"]) / max(row["rows"], 1))
        found.append(
            {**row, "low": max(0.0, row["forecast"] - half), "high": min(1.0, row["forecast"] + half)}
        )
    return found


def _responses(facts: ReportFacts) -> PageSection:
    """Acceptance and effect by arm, and by who is helped and harmed."""
    accepted = facts.rows("accept_model", "forecasts_acceptance", "acceptance_by_arm")
    by_arm = facts.rows("effect_model", "effects_are_real", "effect_by_arm")
    by_group = facts.rows("effect_model", "effects_are_real", "effect_by_group")
    accept = Plot(
        "accepted", "bar", "arm", ("observed", "predicted"), "Acceptance by arm", "", "share accepted"
    )
    columns = "who|predicted:share|doubly_robust:share=by the log|lower:share=low|upper:share=high"
    source = "effect_model/effects_are_real"
    blocks: list[PageTable | Picture] = [
        *picture_of(accept, accepted),
        *(
            picture
            for plot, rows in _plots_of(facts, "effect_model")
            if plot.table in _EFFECTS
            for picture in picture_of(plot, rows)
        ),
        *grid_of("Effect by arm.", f"{source}/effect_by_arm", placed(by_arm), columns),
        *grid_of(
            "Effect on thirds of customers, by what the model predicts of contact.",
            f"{source}/effect_by_group", placed(by_group), columns,
        ),
    ]  # fmt: skip
    lead = (
        "Held-out offers of the log, within the label window. An effect below 0 keeps customers (persuadables); above "
        "0 contact drives them away (sleeping dogs)."
    )
    if facts.outcome:
        lead = (
            f"Held-out offers of the log, within {_window(facts)}. An effect is on the share of "
            f"{facts.outcome['column']} that is missed: below 0 an arm brings more of it, above 0 less."
        )
    return PageSection("responses", "Acceptance and effect", lead, blocks)


def _off_policy(facts: ReportFacts) -> PageSection:
    """What the log says of the policy, how much of it counts, and what would undo it."""
    source = "ppo_decision/off_policy"

    def rows(table: str) -> Any:
        return placed(facts.rows("ppo_decision", "off_policy", table))

    report = facts.gate_report("ppo_decision", "off_policy")
    compared = "no offer" if report is None or report.champion is None else report.champion
    captured = Plot("policies", "bar", "policy", ("gain_captured",), "Gain captured", "", "of what the models say",
                    lowest=-1.0)  # fmt: skip
    ends = "low_95:+money=low|high_95:+money=high"
    blocks: list[PageTable | Picture] = [
        *picture_of(captured, facts.rows("ppo_decision", "captures_the_gain", "policies")),
        *grid_of(
            "Estimates.", f"{source}/off_policy", rows("off_policy"), f"quantity|estimator|mean:+money|{ends}|log"
        ),
        *grid_of(
            "Against simple policies, on the same decisions, with 95 % intervals; what is certain is so at 99 %.",
            f"{source}/simple_policies", rows("simple_policies"),
            f"policy|lift:+money=its lift|candidate_over_it:+money=this earns over it|{ends}|candidate_is=this is",
        ),
        *grid_of("What the estimate rests on.", f"{source}/support", rows("support"), "figure|value:number"),
    ]  # fmt: skip
    lead = (
        f"Money a decision within {_window(facts)}, from logged decisions of other policies, by three estimators with "
        f"95 % intervals. 'tested' is against {compared}. Sensitivity: if whoever logged knew more than is logged, and "
        "changed the odds of the logged offer by as much as the odds ratio below, the lift could be none."
    )
    return PageSection("off-policy", "By the log: off-policy", lead, blocks)


def _messages(facts: ReportFacts) -> PageSection:
    """What would be sent, who wrote it, and how the training went."""
    sent = sorted(placed(facts.tables.get("messages", ())), key=lambda each: -(each[1].get("reward") or 0))
    against = placed(facts.rows("ppo_text", "better_than_sft", OPPONENTS))
    refused = placed(facts.rows("ppo_text", "safe_to_send", "refused"))[:3]
    blocks: list[PageTable | Picture] = [
        *(picture for plot, rows in _plots_of(facts, "ppo_text") for picture in picture_of(plot, rows)),
        *grid_of(
            "Against what could be sent instead, for the same held-out customers; 95 % interval of the difference.",
            f"ppo_text/better_than_sft/{OPPONENTS}", against,
            "opponent|by=judged by|prompts:count|ours:number=ppo_text|theirs:number=opponent's|gain:number=difference|"
            "low:number|high:number",
        ),
        *grid_of(
            "What would be sent, the best by the reward model first and the worst last.", "tables/messages", sent,
            "offer|text=message|written_by=author|reward:number|broken=rules broken",
        ),
        *grid_of(
            "Raw texts that were refused; the template is sent instead.", "ppo_text/safe_to_send/refused", refused,
            "offer|text=raw text|right=says the offer",
        ),
    ]  # fmt: skip
    missing = (
        ""
        if facts.member("ppo_text")
        else "No message branch in this release: every message is the template."
    )
    lead = "Golden customers, each made one of the offers in turn. The name is put in when a message is sent."
    if facts.member("ppo_text"):
        lead += f" Who writes: {authorship([row for _, row in against]).reason}."
    return PageSection("messages", "Messages", lead if sent else "", blocks, missing)


def _plots_of(facts: ReportFacts, asset: str) -> Iterator[tuple[Plot, Rows]]:
    """The plots that a member's checks declare, each with its rows."""
    member = facts.member(asset)
    for spec in () if member is None else member.specs:
        for plot in spec.plots:
            yield plot, facts.rows(asset, spec.name, plot.table)


_EFFECTS = ("effect_by_arm", "effect_by_group")
_SHOWN = {
    ("risk_model", "roc"), ("risk_model", "calibration"), ("accept_model", "acceptance_by_arm"),
    ("ppo_decision", "policies"), *(("effect_model", table) for table in _EFFECTS),
}  # fmt: skip
"""Tables that another section draws."""


def _others(facts: ReportFacts) -> PageSection:
    """The plots of all other checks."""
    blocks: list[PageTable | Picture] = [
        Picture(f"{member.asset}: {each.title}", each.uri)
        for member in facts.members
        if member.asset != "ppo_text"
        for plot, rows in _plots_of(facts, member.asset)
        if (member.asset, plot.table) not in _SHOWN
        for each in picture_of(plot, rows)
    ]
    return PageSection("plots", "Plots of the other checks", "As the checks declare them.", blocks)


def _trend(facts: ReportFacts) -> PageSection:
    """The figures of the releases before beside this one's, oldest first."""
    if not facts.earlier:
        return PageSection("trend", _TREND, "", [])
    releases = [trend_of(each) for each in (*facts.earlier.values(), facts) if isinstance(each, ReportFacts)]
    trends, blocks = trends_by_figure(releases), list[PageTable | Picture]()
    for name, points in trends.items():
        rows = [
            {"release": each.version, "now": f.amount.value, "low": f.low.value, "high": f.high.value}
            for each, f in points
            if f.low is not None and f.high is not None
        ]
        drawn = Plot(
            "",
            "interval",
            "release",
            ("now",),
            name,
            "",
            f"{facts.currency} a decision",
            band=("low", "high"),
        )
        blocks += picture_of(drawn, rows) if len(rows) > 1 else []
    cells: list[list[Amount | ToldText]] = []
    for each in releases:
        told = {figure.name: figure.amount for figure in each.figures}
        cells.append([*texts(each.version), *(told.get(name, ToldText("–", "=")) for name in trends)])
    unread = " ".join(
        f"{ref} cannot be read: {why}." for ref, why in facts.earlier.items() if isinstance(why, str)
    )
    table = PageTable("Figures of each release, the newest last.", ["release", *trends], cells)
    return PageSection(
        "trend", _TREND, "As their own checks measured them, each on its own data.", [*blocks, table], unread
    )


_TREND = "Trend over the last releases"


def _data(facts: ReportFacts) -> PageSection:
    """What was learned from, and how old it is."""
    ages = [
        [
            *texts(asset),
            Amount(days, "days", f"= age of {asset}"),
            Amount(most, "days", "= config automation.max_age_days"),
            *texts("stale" if days > most else "fresh"),
        ]
        for asset, (days, most) in facts.ages().items()
    ]
    split = placed(facts.rows("customers", "honest_split", "split"))
    alone = placed(facts.rows("customers", "no_leakage", "single_feature_auc"))[:5]
    blocks: list[PageTable | Picture] = [
        *([PageTable("Age: since the content last changed.", ["of", "age", "at most", ""], ages)] if ages else []),
        *(grid for asset in ("customers", "offer_log") for grid in _metrics_grid(facts.member(asset))),
        *grid_of(
            "The split of customers.", "customers/honest_split/split", split,
            "used_for=used for|customers:count|churn_rate:share=churn",
        ),
        *grid_of(
            "The strongest features alone: one far above the others knows the outcome.",
            "customers/no_leakage/single_feature_auc", alone, "feature|auc:number=AUC alone",
        ),
    ]  # fmt: skip
    return PageSection("data", "Data", "What the models learned from.", blocks)


def _metrics_grid(member: MemberView | None) -> list[PageTable]:
    metrics = {} if member is None else member.manifest.provenance.metrics
    cells = [
        [
            *texts(name),
            cell_of(value, _unit(value), f"{'' if member is None else member.asset}/metric/{name}"),
        ]
        for name, value in metrics.items()
    ]
    return [PageTable(f"{member.asset}.", ["figure", "value"], cells)] if cells and member is not None else []


def _unit(value: Any) -> Any:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else None


def _lineage(facts: ReportFacts) -> PageSection:
    """Exact versions, with digests of content, config and code, and what each was made from."""
    cells = [
        texts(
            view.asset,
            view.ref,
            view.manifest.digest[:12],
            made.config_digest[:12] or "–",
            made.code_version[:12] or "–",
            ", ".join(made.upstream) or "–",
        )
        for view in facts.members
        for made in (view.manifest.provenance,)
    ]
    grid = PageTable("Exact versions.", ["asset", "version", "content", "config", "code", "made from"], cells)
    lead = "Digests in 12 digits; equal digests are equal bytes."
    return PageSection("lineage", "Lineage", lead, [grid] if cells else [])


def _cost(facts: ReportFacts) -> PageSection:
    """When each member was made, by which run, on what, in what time and memory, and for how much money."""
    cells = [_cost_row(view) for view in facts.members]
    used = [view.manifest.provenance.usage for view in facts.members]
    costs = [usage.cost for usage in used if usage is not None and usage.cost is not None]
    known = (
        f" {len(costs)} of {len(cells)} parts have a price: {sum(costs):.2f} {facts.currency} together."
        if costs
        else ""
    )
    lead = (
        "When each part was made, on which device, what that took, and its size. Money is time at the prices of "
        f"compute.prices; a dash is not known.{known}"
    )
    names = ["asset", "made", "run", "device", "seconds", "CPU seconds", "peak MB", "cost", "stored MB"]
    return PageSection("cost", "Cost and time", lead, [PageTable("Parts.", names, cells)] if cells else [])


def _cost_row(view: MemberView) -> list[Any]:
    made, usage = view.manifest.provenance, view.manifest.provenance.usage
    names = ("seconds", "cpu_seconds", "peak_memory_mb", "cost")
    when = f"{view.manifest.created_at:%Y-%m-%d %H:%M:%S} UTC"
    return [
        *texts(view.asset, when, made.run_id[:8] or "–", "–" if usage is None else usage.device),
        *(
            Amount(None if usage is None else getattr(usage, name), "number", f"{view.asset}/usage/{name}")
            for name in names
        ),
        Amount(
            sum(each.size for each in view.manifest.files) / 1e6, "number", f"= bytes of {view.asset} / 1e6"
        ),
    ]


class GateView(NamedTuple):
    """One figure of a check, what is needed of it, and what it was in the release that it is compared with."""

    name: str
    figure: Amount
    needed: str
    before: Amount
    detail: str
    passed: bool


@dataclass(frozen=True)
class CheckedView:
    """A check with its figures, and what passing and failing mean."""

    report: GateReport
    meaning: str
    fault: str
    rows: Sequence[GateView]


@dataclass(frozen=True)
class CheckedMember:
    """A member's checks as the page shows them."""

    asset: str
    ref: str
    checks: Sequence[CheckedView]

    @property
    def failed(self) -> int:
        """Checks that do not hold."""
        return sum(not each.report.passed for each in self.checks)

    @property
    def figures(self) -> int:
        """Figures that were compared."""
        return sum(len(each.report.gates) for each in self.checks)


def checked(facts: ReportFacts) -> list[CheckedMember]:
    """Every check of every member, with the figures of the release that it is compared with where they differ."""
    before = {(each.asset, each.name): each.a for each in facts.changes if each.kind == "gate"}
    return [
        CheckedMember(view.asset, view.ref, [_checked(view, check, before) for check in view.reports])
        for view in facts.members
        if view.reports
    ]


def _checked(view: MemberView, check: str, before: Mapping[tuple[str, str], Any]) -> CheckedView:
    report = view.reports[check]
    spec = next((each for each in view.specs if each.name == check), None)
    rows = []
    for gate in report.gates:
        path = f"{view.asset}/{check}/gate/{gate.name}/figure"
        was = Amount(before.get((view.asset, f"{check}: {gate.name}")), "number", f"before/{path}")
        figure, needed = Amount(gate.figure, "number", path), f"{gate.bound} {gate.threshold:g}"
        rows.append(GateView(gate.name, figure, needed, was, gate.detail, gate.passed))
    meaning = spec.description if spec is not None else "What is stored loads as it was saved."
    return CheckedView(report, meaning, fault_of(view, check), rows)


def _gates_grid(facts: ReportFacts, asset: str, names: Sequence[str]) -> list[PageTable]:
    cells = [
        [
            *texts(check, gate.name),
            Amount(gate.figure, "number", f"{asset}/{check}/gate/{gate.name}/figure"),
            *texts(f"{gate.bound} {gate.threshold:g}"),
        ]
        for check in names
        for report in (facts.gate_report(asset, check),)
        for gate in (() if report is None else report.gates)
    ]
    return [PageTable("What is asked of it.", ["check", "figure", "value", "needed"], cells)] if cells else []
