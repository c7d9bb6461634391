"""What to do with a release, in a sentence with its reasons: a pure function of gate outcomes and stored figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from churn_assets.flow.check import LOADS_AND_AGREES
from churn_assets.gates.report import GateReport
from churn_assets.release.report.facts import MemberView, ReportFacts
from churn_assets.release.report.parts import money_text

Call = Literal["promote", "discuss", "do not promote"]
LEAST_EFFECTIVE = 0.05
"""Share of a log's decisions that its weights must be worth, for an estimate from it not to hang on a few."""
_BROKEN = "what is stored is not what was saved"
_BY_THE_LOG = ("ppo_decision", "off_policy")


@dataclass(frozen=True)
class Ground:
    """One reason of a verdict.

    Attributes:
        weight: `stops` forbids the promotion, `doubts` is for a person to judge, `told` changes nothing.
        fault: What is wrong, in a few words.
        said: The figures.
        advice: What to do.
        where: Anchor of the section that shows it.
    """

    weight: Literal["stops", "doubts", "told"]
    fault: str
    said: str
    advice: str = ""
    where: str = "checks"


@dataclass(frozen=True)
class ReportVerdict:
    """What to do with a release.

    Attributes:
        call: What to do.
        sentence: The same with its main reason.
        grounds: All reasons, the gravest first.
    """

    call: Call
    sentence: str
    grounds: tuple[Ground, ...]


@dataclass(frozen=True)
class Lift:
    """What the offers of a release earn over something else, by the log, in money a decision.

    Attributes:
        over: Over what.
        mean: The doubly robust estimate.
        low: Lower end of its 95 % interval.
        high: Upper end.
        source: Where it is stored.
        columns: Names of the columns of mean, low and high there.
    """

    over: str
    mean: float
    low: float
    high: float
    source: str
    columns: tuple[str, str, str] = ("mean", "low_95", "high_95")

    @property
    def ends(self) -> tuple[float, float, float]:
        """Mean, low and high."""
        return self.mean, self.low, self.high


NO_OFFER, CHAMPION = "no offer", "the champion"


def lifts_of(facts: ReportFacts) -> list[Lift]:
    """Differences on the same decisions: against no offer, the best constant, the riskiest, and the champion."""
    rows = facts.rows("ppo_decision", "off_policy", "off_policy")
    found = [
        Lift(name, row["mean"], row["low_95"], row["high_95"], f"ppo_decision/off_policy/off_policy/{place}")
        for name, quantity in ((NO_OFFER, "lift over no offer"), (CHAMPION, "tested"))
        for place, row in enumerate(rows)
        if (row["quantity"], row["estimator"]) == (quantity, "DR") and (name == NO_OFFER or _compared(facts))
    ]
    simple = list(enumerate(facts.rows("ppo_decision", "off_policy", "simple_policies")))
    for start, name in (("everyone", "best constant"), ("riskiest", "top risk")):
        those = [(place, row) for place, row in simple if row["policy"].startswith(start)]
        if those:
            place, row = max(those, key=lambda each: _shown_lift(each[1]))
            source = f"ppo_decision/off_policy/simple_policies/{place}"
            ends = row["candidate_over_it"], row["low_95"], row["high_95"]
            found.insert(-1 if _compared(facts) else len(found), Lift(
                f"{name} ({row['policy']})", *ends, source, ("candidate_over_it", "low_95", "high_95")
            ))  # fmt: skip
    return found


def _shown_lift(row: Mapping[str, Any]) -> float:
    """What the log shows of a simple policy's lift; earlier releases stored the estimate alone."""
    return float(row.get("lift_at_least", row["lift"]))


def _compared(facts: ReportFacts) -> bool:
    report = facts.gate_report("ppo_decision", "off_policy")
    return report is not None and report.champion is not None


def lift_over(facts: ReportFacts, name: str) -> Lift | None:
    """One of `lifts_of`; None where the log does not say it."""
    return next((each for each in lifts_of(facts) if each.over == name), None)


def support_of(facts: ReportFacts) -> Mapping[str, float]:
    """How much of a log an estimate rests on, by the name of the figure."""
    rows = facts.rows("ppo_decision", "off_policy", "support")
    return {row["figure"]: row["value"] for row in rows if row["value"] is not None}


def report_verdict(facts: ReportFacts) -> ReportVerdict:
    """What to do with a release, and why.

    A gate that fails, evidence that does not hold, or a policy that decides alike for everybody forbids it. Old data, a
    champion that the log cannot tell it from, a lift that may be none, one that hangs on a few decisions, or one that
    may fade into a loss is for a person to judge. Nothing is measured here: every figure is one that is stored.
    """
    found = [*_failed(facts), *_constant(facts)]
    judged = facts.gate_report(*_BY_THE_LOG)
    lifts = (
        _lift_doubts(facts) if judged is None or judged.passed else ()
    )  # a check that fails says it already
    doubts = [*_stale(facts), *lifts, *_log_doubts(facts), *_later_doubts(facts)]
    grounds = (*found, *doubts, *_told(facts))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return ReportVerdict("do not promote", f"Do not promote: {found[0].fault}{more}.", grounds)
    if doubts:
        told = "; ".join(each.fault for each in doubts)
        if len(doubts) == 1:
            told += f": {doubts[0].said}"
        return ReportVerdict("discuss", f"Discuss: all checks hold, but {told}.", grounds)
    lead = "It leads already" if facts.leads else "Promote"
    return ReportVerdict("promote", f"{lead}: all checks hold{_gain(facts)}.", grounds)


def _gain(facts: ReportFacts) -> str:
    lift = lift_over(facts, CHAMPION) or lift_over(facts, NO_OFFER)
    if lift is None:
        lacking = ", ".join(what for what, _ in missing_parts(facts))
        return f", for what it can do: {lacking}" if lacking else ""
    told = _money(lift, facts.currency)
    return f", and by the log its offers earn {told} a decision over {lift.over}"


def _money(lift: Lift, currency: str) -> str:
    mean, low, high = (money_text(each, "+") for each in lift.ends)
    return f"{currency} {mean} (95 %: {low} to {high})"


def _failed(facts: ReportFacts) -> Iterator[Ground]:
    """Gates that fail, check by check, and what else forbids a promotion."""
    for member in facts.members:
        for check, report in member.reports.items():
            failed = [str(gate) for gate in report.gates if not gate.passed]
            if failed:
                said = f"{member.asset} · {check}: {'; '.join(failed)}"
                if (lift := _lost_by_the_log(facts, member, check)) is not None:
                    said = f"{_money(lift, facts.currency)} a decision over {lift.over}; {said}"
                yield Ground("stops", fault_of(member, check), said, report.advice, f"check-{member.asset}")
    for problem in facts.problems:
        yield Ground("stops", "the evidence does not hold", problem, "Run the experiment again.", "lineage")


def fault_of(member: MemberView, check: str) -> str:
    """What it means that a check failed, in a few words."""
    if check == LOADS_AND_AGREES:
        return f"{member.asset}: {_BROKEN}"
    if (member.asset, check) == _BY_THE_LOG:
        return _fault_by_the_log(member.reports[check])
    spec = next((each for each in member.specs if each.name == check), None)
    if spec is None:
        return f"{member.asset} failed {check}"
    return spec.fault or f"not shown of {member.asset}: {spec.description.rstrip('.')}"


def _lost_by_the_log(facts: ReportFacts, member: MemberView, check: str) -> Lift | None:
    """What the log says of a policy that it stops, in money; None for all other checks."""
    if (member.asset, check) != _BY_THE_LOG or _fails_only(member.reports[check], "bound_over_simple"):
        return None
    return lift_over(facts, CHAMPION) or lift_over(facts, NO_OFFER)


def _fails_only(report: GateReport, name: str) -> bool:
    return [gate.name for gate in report.gates if not gate.passed] == [name]


def _fault_by_the_log(report: GateReport) -> str:
    """Against whom the log says that the policy loses."""
    if _fails_only(report, "bound_over_simple"):
        return "certainly worse than a simple policy, by the log"
    if report.champion is not None:
        return "worse than the champion, by the log"
    return "no certain lift over no offer, by the log"


def _constant(facts: ReportFacts) -> Iterator[Ground]:
    offers = facts.tables.get("offers", ())
    if len(offers) == 1:
        said = f"all {offers[0]['customers']} held-out customers get: {offers[0]['offer']}"
        advice = "Look at the policy's training curve, and whether the effect model found anything."
        yield Ground(
            "stops", "the policy decides alike for everybody (constant policy)", said, advice, "offers"
        )


def _stale(facts: ReportFacts) -> Iterator[Ground]:
    old = {asset: told for asset, told in facts.ages().items() if told[0] > told[1]}
    if old:
        said = "; ".join(
            f"{asset} last changed {days:.0f} days ago, at most {most:g} are wanted"
            for asset, (days, most) in old.items()
        )
        advice = "Bring a newer extract and run again."
        yield Ground("doubts", f"the data are stale ({', '.join(old)})", said, advice, "data")
    told = support_of(facts)
    shown = told.get("odds ratio that churn without contact shows beside the table", 1.0)
    undone = told.get("odds ratio of hidden targeting that would undo the lift", 1.0)
    if shown >= undone > 1:
        said = (
            f"churn without contact differs between log and table as by a factor of {shown:.2f} on the odds; one of "
            f"{undone:.2f} would undo the lift"
        )
        fault = "the table is out of date, or whoever logged knew who would leave"
        yield Ground("doubts", fault, said, "Compare the dates of table and log.", "off-policy")


def _lift_doubts(facts: ReportFacts) -> Iterator[Ground]:
    """Of a first release over no offer; of a later one over the champion."""
    champion, none = lift_over(facts, CHAMPION), lift_over(facts, NO_OFFER)
    advice = "Wait for more decisions, or promote for another reason and say which."
    if champion is not None and champion.low <= 0:
        fault = "the log cannot tell it from the champion"
        if champion.high <= 0:
            fault = "the log says that it earns less than the champion"
        yield Ground("doubts", fault, f"{_money(champion, facts.currency)} a decision", advice, "off-policy")
    if none is not None and none.low <= 0:
        said = f"{_money(none, facts.currency)} a decision"
        yield Ground("doubts", "its lift over no offer may be none", said, advice, "off-policy")


def _log_doubts(facts: ReportFacts) -> Iterator[Ground]:
    if _known_by(facts) == "estimated":
        yield Ground(
            "doubts",
            "the propensities of past decisions are estimated",
            "lifts and values are true if nothing but the customers' features and the time decided who got what",
            "No data can show that: ask whoever made the offers, and see what hidden targeting would undo the lift.",
            "off-policy",
        )
    told = support_of(facts)
    rows, effective = told.get("rows"), told.get("effective rows")
    if rows and effective is not None and effective < LEAST_EFFECTIVE * rows:
        said = f"worth {effective:,.0f} of {rows:,.0f} decisions"
        yield Ground("doubts", "the estimate hangs on few of the log's decisions", said, "", "off-policy")
    for member in facts.members:
        for check, report in member.reports.items():
            for row in report.tables.get("broken_champion", ()):
                said = f"{member.asset} · {check}: {row.get('cannot be loaded', '')}"
                yield Ground("doubts", "the champion could not be loaded, so nothing was compared", said)


def _later_doubts(facts: ReportFacts) -> Iterator[Ground]:
    """Of what comes after the label window, where it is that of which no log tells."""
    rows = facts.rows("ppo_decision", "pays_when_cautious", "projected")
    told = {row["projection"]: money_text(row["gain"], "+") for row in rows}
    if any(row["projection"] == "cautious" and row["gain"] < 0 for row in rows):
        planned = told.get(
            "as planned", told.get("as configured")
        )  # the second is the word of earlier releases
        yield Ground(
            "doubts",
            "it may lose money if effects fade",
            f"{facts.currency} {told['cautious']} a customer where customers differ, and effects fade, as much as they "
            f"may; {planned} as planned",
            "A log that follows customers over several windows shows it. Planned by "
            "`ppo_decision.gates.min_cautious_gain: 0` it loses nothing then, and gains less otherwise.",
            "check-ppo_decision",
        )


def _told(facts: ReportFacts) -> Iterator[Ground]:
    """What changes no verdict, and whoever promotes should know."""
    bind = [row["limit"] for row in facts.tables.get("limits", ()) if row["shadow_price"] > 0]
    if bind:
        fault = "lifts and values are of the policy without its limits"
        yield Ground("told", fault, f"they leave less: {', '.join(bind)}", "", "budget")
    simple: Sequence[Mapping[str, Any]] = facts.rows("ppo_decision", "off_policy", "simple_policies")
    best = max(simple, key=_shown_lift, default=None)
    if best is not None and best["candidate_is"] != "certainly better":
        lift = Lift(best["policy"], best["candidate_over_it"], best["low_95"], best["high_95"], "")
        fault = f"not certainly better than the best simple policy, {best['policy']}"
        yield Ground("told", fault, f"{_money(lift, facts.currency)} a decision", "", "off-policy")
    undone = support_of(facts).get("odds ratio of hidden targeting that would undo the lift")
    if undone is not None and undone > 1:
        said = f"hidden targeting that changes odds by a factor of {undone:.2f} would undo the lift"
        yield Ground("told", "the lift rests on the log's propensities", said, "", "off-policy")
    if (known_by := _known_by(facts)) in _NOT_LOGGED:
        yield Ground("told", *_NOT_LOGGED[known_by], "", "off-policy")
    for missing in missing_parts(facts):
        yield Ground("told", *missing, "", "card")


def _known_by(facts: ReportFacts) -> str:
    """How the propensities of past decisions are known: `offer_log.propensities`."""
    log = facts.member("offer_log")
    return "logged" if log is None else str(log.manifest.signature.get("propensities", "logged"))


_NOT_LOGGED = {
    "logged_chosen": (
        "only the propensity of each chosen arm was logged",
        "off-policy estimates need no more; effects rest on estimates of the others",
    ),
    "randomised": ("propensities are the shares that the experiment states", "they were not logged"),
    "contacted_only": (
        "everybody in the offer log was contacted",
        "who accepts is known; what contact changes, and who would leave without it, is not",
    ),
}
"""What is to be read with the figures, where a log has no logged propensities: what it is, and what follows."""


PARTS = {
    "offer_log": ("no offer log", "what offers do and earn is not known; it ranks customers by risk"),
    "ppo_decision": (
        "no policy for offers",
        "nobody is made an offer; `churn design` plans the campaign that one is learned from",
    ),
    "ppo_text": ("no message branch", "every message is the template"),
}
"""Members without which a release can do less: what is missing, and what follows."""


def missing_parts(facts: ReportFacts) -> list[tuple[str, str]]:
    """What the release lacks for more, and what follows from it."""
    return [told for asset, told in PARTS.items() if facts.member(asset) is None]
