"""The report of a release: the first screen names verdict and fault, every number is a stored one, nobody is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from math import isclose

import pytest
from report_cases import (
    FAULTS,
    LATER,
    CaseShelf,
    against_champion,
    by_visits,
    facts_of,
    gate,
    good,
    limited,
    publish,
    without,
)

from churn_assets.gates.plots import render_png
from churn_assets.release.report.facts import earlier_facts
from churn_assets.release.report.page import report_page
from churn_assets.release.report.sections import calibration_band, glance, precision_rows
from churn_assets.release.report.shown import shown_report
from churn_assets.release.report.verdict import report_verdict
from churn_assets.store.reference import ArtifactRef


class Page(HTMLParser):
    """Texts, figures and anchors of a page."""

    def __init__(self, html):
        super().__init__()
        self.figures, self.ids, self.links, self.texts, self._open = [], [], [], [], []
        self.first_screen, self.contents_came = [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.ids += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if "href" in told else []
        self.contents_came |= tag == "nav"
        if tag == "data":
            self.figures.append([told["value"], told["data-from"], ""])
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, "tags are closed in order"

    def handle_data(self, text):
        if "style" in self._open:
            return
        if "data" in self._open:
            self.figures[-1][2] += text
        else:
            self.texts.append(text)
        if not self.contents_came:
            self.first_screen.append(text)


def page_of(facts):
    return Page(report_page(facts))


@pytest.fixture
def released(shelf):
    """A release with some evidence, and what its report reads."""

    def build(evidence, after=LATER):
        return facts_of(shelf, publish(shelf, evidence), shelf.now + after)

    return build


def test_a_good_first_release_is_to_be_promoted_and_says_what_it_earns(released):
    facts = released(good())
    verdict = report_verdict(facts)
    assert verdict.call == "promote"
    assert "USD +8.28 (95 %: +1.57 to +14.99) a decision over no offer" in verdict.sentence
    first = " ".join(page_of(facts).first_screen)
    assert "A first release" in first
    assert "quickstart" not in verdict.sentence
    assert facts.release in first
    assert "SIMULATED" in first


@pytest.mark.parametrize("name", FAULTS)
def test_the_first_screen_names_verdict_and_fault(released, name):
    fault, evidence = FAULTS[name], good()
    fault.plant(evidence)
    facts = released(evidence, fault.after)
    verdict, page = report_verdict(facts), page_of(facts)
    assert verdict.call == fault.call
    assert verdict.sentence.lower().startswith(fault.call)
    assert fault.words[0] in verdict.sentence
    first = " ".join(page.first_screen)
    assert verdict.sentence in first
    assert [word for word in fault.words if word not in first] == []


def test_every_check_that_can_fail_has_words_of_its_own(shelf):
    words = {}
    for asset, specs in shelf_checks().items():
        for spec in specs:
            assert spec.fault, f"{asset}: {spec.name} says nothing of what its failing means"
            words.setdefault(spec.fault, set()).add(spec.name)
    assert {fault: names for fault, names in words.items() if len(names) > 1} == {}


def shelf_checks():
    from churn_assets.flow.registry import registry

    return registry().checks


@pytest.mark.parametrize(
    ("asset", "check"), [(a, s.name) for a, specs in shelf_checks().items() for s in specs]
)
def test_whichever_check_fails_forbids_the_promotion_and_is_named(asset, check, memory):
    facts = memory(lambda evidence: evidence["members"][asset]["reports"][check]["gates"].append(
        {"name": "planted", "figure": 2.0, "bound": "<=", "threshold": 1.0, "detail": "by a test"}
    ))  # fmt: skip
    verdict = report_verdict(facts)
    assert verdict.call == "do not promote"
    assert f"{asset} · {check}: planted is 2, needed <= 1 (by a test)" in verdict.grounds[0].said
    assert verdict.grounds[0].advice


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A good release, stored once."""
    shelf = CaseShelf(tmp_path_factory.mktemp("stored"))
    return facts_of(shelf, publish(shelf, good()))


@pytest.fixture
def memory(stored):
    """The facts of a good release with something planted, without storing it: the verdict is a pure function."""
    from churn_assets.gates.report import Gate

    def planted(plant):
        evidence = good()
        plant(evidence)
        members = []
        for member in stored.members:
            reports = {
                check: replace(
                    report,
                    champion=told.get("champion"),
                    gates=tuple(Gate(**each) for each in told["gates"]),
                    tables=told["tables"],
                )
                for check, report in member.reports.items()
                for told in (evidence["members"][member.asset]["reports"][check],)
            }
            members.append(replace(member, reports=reports))
        return replace(stored, members=members, tables=evidence["tables"])

    return planted


@pytest.mark.parametrize(
    ("mean", "low", "high", "call", "words"),
    [
        (0.37, -0.21, 0.95, "discuss", "cannot tell it from the champion"),
        (-0.9, -1.7, -0.1, "discuss", "earns less than the champion"),
        (1.4, 0.2, 2.6, "promote", "over the champion"),
    ],
)
def test_a_successor_is_judged_by_what_it_earns_over_the_champion(memory, mean, low, high, call, words):
    verdict = report_verdict(memory(lambda e: against_champion(e, mean, low, high, 0.5)))
    assert verdict.call == call
    assert words in verdict.sentence
    assert f"USD {mean:+.2f} (95 %: {low:+.2f} to {high:+.2f})" in verdict.sentence


def test_where_there_is_a_champion_its_lift_over_it_comes_first(released):
    def cards(mean):
        evidence = good()
        against_champion(evidence, mean, mean - 1, mean + 1, mean - 1.2)
        facts = released(evidence)
        return [each.name for each in glance(facts).worth], report_verdict(facts), report_page(facts)

    names, *_ = cards(2.5)
    assert names[:2] == ["Identified: lift over the champion", "Identified: lift over no offer"]
    _, worse, page = cards(-4.1)
    assert worse.grounds[0].said.startswith("USD -4.10 (95 %: -5.10 to -3.10) a decision over the champion;")
    assert [each.fault for each in worse.grounds if "champion" in each.fault] == [worse.grounds[0].fault]
    assert "with such a fault the figures below may not be true" in page


def test_a_lift_that_hangs_on_few_decisions_is_to_be_discussed(memory):
    def few(evidence):
        for row in evidence["members"]["ppo_decision"]["reports"]["off_policy"]["tables"]["support"]:
            if row["figure"] == "effective rows":
                row["value"] = 120.0

    verdict = report_verdict(memory(few))
    assert (verdict.call, verdict.grounds[0].said) == ("discuss", "worth 120 of 30,000 decisions")


def test_a_policy_that_may_lose_if_effects_fade_is_to_be_discussed(memory):
    def fading(evidence):
        for row in evidence["members"]["ppo_decision"]["reports"]["pays_when_cautious"]["tables"][
            "projected"
        ]:
            if row["projection"] == "cautious":
                row["gain"] = -8.28

    verdict = report_verdict(memory(fading))
    assert verdict.call == "discuss"
    assert [each.fault for each in verdict.grounds if each.weight == "doubts"] == [
        "it may lose money if effects fade"
    ]
    assert "-8.28 a customer" in verdict.grounds[0].said
    assert "min_cautious_gain" in verdict.grounds[0].advice


def test_a_log_that_disagrees_with_its_table_is_to_be_discussed(memory):
    def shown(evidence):
        for row in evidence["members"]["ppo_decision"]["reports"]["off_policy"]["tables"]["support"]:
            if row["figure"].startswith("odds ratio that churn"):
                row["value"] = 1.4

    verdict = report_verdict(memory(shown))
    assert verdict.call == "discuss"
    assert "the table is out of date" in verdict.sentence


def test_a_champion_that_could_not_be_loaded_is_told(memory):
    def broken(evidence):
        report = evidence["members"]["risk_model"]["reports"]["no_worse_than_champion"]
        report["tables"] = {"broken_champion": [{"champion": "toy", "cannot be loaded": "CorruptArtifact"}]}

    assert "could not be loaded" in report_verdict(memory(broken)).sentence


def test_without_a_message_branch_the_report_says_what_follows(released):
    evidence = without(good(), "messages", "preferences", "sft_model", "reward_model", "ppo_text")
    facts = released(evidence)
    assert report_verdict(facts).call == "promote"
    page = page_of(facts)
    assert "no message branch" in " ".join(page.first_screen)
    assert "every message is the template" in " ".join(page.texts)


def test_a_release_of_risk_alone_says_what_is_missing_for_more(released):
    only = ("customers", "risk_model", "release")
    evidence = good()
    evidence = without(evidence, *(each for each in evidence["members"] if each not in only)) | {"tables": {}}
    facts = released(evidence)
    page, verdict = page_of(facts), report_verdict(facts)
    assert verdict.call == "promote"
    first = " ".join(page.first_screen)
    for missing in ("no offer log", "no policy for offers", "no message branch", "Risk: ROC AUC"):
        assert missing in first


def test_a_release_from_before_there_were_tables_says_that_they_are_not_kept(released):
    page = page_of(released(good() | {"tables": {}}))
    assert "Not stored with this release" in " ".join(page.texts)


def test_a_check_that_never_ran_and_bytes_that_changed_forbid_it(shelf):
    evidence = good()
    del evidence["members"]["risk_model"]["reports"]["calibrated"]
    ref = publish(shelf, evidence)
    verdict = report_verdict(facts_of(shelf, ref))
    assert verdict.call == "do not promote"
    assert "check calibrated never ran" in verdict.grounds[0].said
    shelf.spoil(facts_of(shelf, ref).members[0].manifest and shelf.members(ref)["customers"])
    told = [each.said for each in report_verdict(facts_of(shelf, ref)).grounds if each.weight == "stops"]
    assert any("value.json" in each for each in told)


def test_what_leads_already_is_said_to(shelf):
    ref = publish(shelf, good())
    shelf.promote(ref)
    assert report_verdict(facts_of(shelf, ref)).sentence.startswith("It leads already")


def test_what_changed_and_who_flips_against_another_release(shelf):
    first = publish(shelf, good())
    evidence = good()
    evidence["members"]["ppo_decision"]["provenance"]["config"]["ppo_decision"]["menu"] = [0.0, 0.2]
    evidence["members"]["risk_model"]["provenance"]["code_version"] = "f" * 64
    evidence["members"]["customers"]["provenance"]["metrics"]["customers"] = 7100
    gate(evidence, "risk_model", "ranks_well", "auc", figure=0.8411)
    flips = [
        {"before": "no_contact", "now": "percent_10", "customers": 17},
        {"before": "percent_10", "now": "no_contact", "customers": 9},
        {"before": "percent_10", "now": "percent_10", "customers": 1357},
    ]
    evidence["tables"]["flips"] = flips
    facts = facts_of(shelf, publish(shelf, evidence), against=first)
    page = page_of(facts)
    first_screen = re.sub(r"\s+", " ", " ".join(page.first_screen))
    assert "26 of 1,383 held-out customers" in first_screen
    assert "no_contact → percent_10" in first_screen
    for kind in ("menu 1", "code 1", "metrics 1"):
        assert kind in first_screen
    before = [each for each in page.figures if each[1] == "before/risk_model/ranks_well/gate/auc/figure"]
    assert [float(each[0]) for each in before] == [0.831287438920785]


def test_the_releases_before_stand_beside_with_their_own_figures_and_one_that_cannot_be_read_is_told(shelf):
    first = publish(shelf, good())
    broken = shelf.publish("release", "no release at all")
    evidence = good()
    gate(evidence, "risk_model", "ranks_well", "auc", figure=0.8512)
    facts = facts_of(shelf, publish(shelf, evidence))
    assert "trend" not in page_of(facts).ids
    release = ArtifactRef.parse(facts.release)
    earlier = earlier_facts(shelf.store, shelf.channel, release, shelf.required, now=shelf.now)
    page = page_of(replace(facts, earlier=earlier))
    assert "trend" in page.ids
    shown = " ".join(page.texts)
    assert f"{broken} cannot be read" in shown
    assert shown.index(first.version) < shown.rindex(release.version)
    told = [shown for _, source, shown in page.figures if source == "risk_model/ranks_well/gate/auc/figure"]
    place = told.index("0.8313")
    assert told[place + 1] == "0.8512"


def test_what_could_be_sent_instead_stands_beside_the_models_messages_and_who_writes_is_said(released):
    evidence = good()
    row = {
        "by": "the judge",
        "prompts": 200,
        "ours": 0.71,
        "theirs": 0.78,
        "gain": -0.07,
        "low": -0.1,
        "high": -0.04,
    }
    evidence["members"]["ppo_text"]["reports"]["better_than_sft"]["tables"]["opponents"] = [
        {"opponent": "template", **row},
        {"opponent": "composer", **row, "theirs": 0.7312},
    ]
    page = page_of(released(evidence))
    shown = " ".join(page.texts)
    assert "the model is not better, so the template is sent" in shown
    assert "composer" in shown
    assert "0.7312" in [shown for *_, shown in page.figures]


def test_limits_stand_in_their_own_units_and_the_first_screen_says_that_lifts_are_without_them(released):
    evidence = good()
    limited(evidence)
    facts = released(evidence)
    page, verdict = page_of(facts), report_verdict(facts)
    assert verdict.call == "promote"
    (told,) = [each for each in verdict.grounds if each.where == "budget"]
    assert told.said == "they leave less: all_money, calls"
    assert told.fault in " ".join(page.first_screen)
    shown = {source: text for _, source, text in page.figures}
    assert shown["tables/limits/0/allowed"] == "USD 691.50"
    assert shown["tables/limits/1/allowed"] == "3"
    assert shown["tables/limits/1/shadow_price"] == "USD 26.25"
    assert shown["ppo_decision/offers_are_fair/groups/0/gap"] == "-0.008 months"
    assert shown["ppo_decision/offers_are_fair/groups/2/gap"] == "–"
    assert "Given more to a group than to others alike" in report_page(facts)


def test_by_another_outcome_nobody_is_kept_and_cents_are_told_by_their_first_digits(released):
    evidence = good()
    by_visits(evidence)
    facts = released(evidence)
    page, verdict = page_of(facts), report_verdict(facts)
    assert "USD +0.065 (95 %: +0.0058 to +0.12) a decision over no offer" in verdict.sentence
    assert "USD -0.00012 (95 %: -0.0031 to +0.0029)" in verdict.grounds[0].said
    shown = " ".join(page.texts)
    assert "expected to bring visit by it" in shown
    assert "expected to accept" not in shown
    assert "kept by it" not in shown
    for value, source, text in page.figures:
        read, half = number_in(text) if value else (0.0, 0.0)
        assert not value or abs(read - resolve(source, evidence, facts)) <= half * 1.0001


def test_the_page_of_the_asset_shows_the_reasons_the_worth_and_the_plots_of_the_report(memory):
    facts = memory(lambda evidence: against_champion(evidence, 0.37, -0.21, 0.95, 0.5))
    verdict = report_verdict(facts)
    shown = shown_report(facts, verdict)
    assert [row["reason"] for row in shown.tables["why"]] == [each.fault for each in verdict.grounds]
    assert shown.tables["worth"][0]["value"] == "USD +0.37"
    assert {"lifts", "funnel", "offers", "budget"} <= set(shown.tables)
    assert [each.title for each in shown.plots] == [
        "Earned over each (95 %)", "Stage by stage", "What is offered", "Value by budget", "Shadow price",
    ]  # fmt: skip
    assert all(render_png(plot, shown.tables[plot.table]).startswith(b"\x89PNG") for plot in shown.plots)


def test_a_release_of_risk_alone_has_a_page_without_plots_of_offers(released):
    only = ("customers", "risk_model", "release")
    evidence = good()
    evidence = without(evidence, *(each for each in evidence["members"] if each not in only)) | {"tables": {}}
    facts = released(evidence)
    shown = shown_report(facts, report_verdict(facts))
    assert (set(shown.tables), shown.plots) == ({"why", "worth"}, ())


def test_a_command_in_a_text_is_set_as_code(released):
    only = ("customers", "risk_model", "release")
    evidence = good()
    evidence = without(evidence, *(each for each in evidence["members"] if each not in only)) | {"tables": {}}
    html = report_page(released(evidence))
    assert "<code>churn design</code> plans the campaign" in html
    assert "`" not in html


def test_what_is_certain_is_so_at_the_level_that_the_page_says(released):
    from statistics import NormalDist

    from churn_assets.decision.off_policy import CERTAIN

    assert f"certain is so at {2 * NormalDist().cdf(CERTAIN) - 1:.0%}".replace("%", " %") in report_page(
        released(good())
    )


def test_equal_evidence_gives_an_equal_page(shelf):
    ref = publish(shelf, good())
    assert report_page(facts_of(shelf, ref)) == report_page(facts_of(shelf, ref))


def test_every_link_leads_somewhere_and_no_anchor_stands_twice(released):
    page = page_of(released(good()))
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_a_text_of_the_evidence_is_never_markup(memory):
    planted = "<script>alert(1)</script>"
    facts = memory(
        lambda e: gate(e, "customers", "no_leakage", "single_feature_auc", figure=0.99, detail=planted)
    )
    html = report_page(facts)
    assert planted not in html
    assert "&lt;script&gt;" in html


# Every number


def resolve(source, evidence, facts):
    """The stored figure that a page says a number is of."""
    if source.startswith("= age of "):
        return facts.ages()[source.removeprefix("= age of ")][0]
    if source.startswith("= config"):
        return 45.0
    if source.startswith("= bytes of "):
        member = facts.member(source.split()[3])
        return sum(each.size for each in member.manifest.files) / 1e6
    if source.startswith("= sum of tables/flips"):
        return sum(
            row["customers"]
            for row in evidence["tables"]["flips"]
            if "where" not in source or row["before"] != row["now"]
        )
    if source.startswith("= "):
        figure, number = source[2:].split(" * ")
        return resolve(figure, evidence, facts) * resolve(number, evidence, facts)
    asset, check, *rest = source.split("/")
    if asset == "tables":
        return evidence["tables"][check][int(rest[0])][rest[1]]
    member = evidence["members"][asset]
    if check == "usage":
        used = member["provenance"].get("usage")
        return None if used is None else used.get(rest[0], used["seconds"] / 3600 * used["hourly_price"])
    if check == "metric":
        return member["provenance"]["metrics"]["/".join(rest)]
    report = member["reports"][check]
    if rest[0] == "gate":
        (found,) = [each for each in report["gates"] if each["name"] == rest[1]]
        return found["figure"]
    return report["tables"][rest[0]][int(rest[1])][rest[2]]


def number_in(text):
    """The number that a reader reads, and half of its last digit."""
    (found,) = re.findall(r"[-+]?[\d,]*\.?\d+(?:e[-+]?\d+)?", text.replace("USD ", ""))
    plain = found.replace(",", "")
    mantissa, _, power = plain.partition("e")
    digits = len(mantissa.partition(".")[2])
    scale = 0.01 if "%" in text else 1.0
    return float(plain) * scale, 0.5 * 10.0 ** (int(power or 0) - digits) * scale


def test_every_figure_is_the_stored_one(shelf):
    evidence = good()
    limited(evidence)
    evidence["tables"]["flips"] = [
        {"before": "no_contact", "now": "percent_10", "customers": 17},
        {"before": "percent_10", "now": "percent_10", "customers": 1366},
    ]
    evidence["members"]["risk_model"]["provenance"]["usage"] = {
        "seconds": 720.0, "cpu_seconds": 700.0, "peak_memory_mb": 812.5, "peak_device_memory_mb": None, "device": "cpu",
        "profile": "local", "hourly_price": 0.5,
    }  # fmt: skip
    facts = facts_of(shelf, publish(shelf, evidence))
    figures = page_of(facts).figures
    assert len(figures) > 400
    assert "risk_model/usage/cost" in {source for value, source, _ in figures if value == "0.1"}
    for value, source, shown in figures:
        stored = resolve(source, evidence, facts)
        if stored is None:
            assert (value, shown) == ("", "–"), source
            continue
        assert isclose(float(value), stored, rel_tol=1e-12), source
        read, half = number_in(shown)
        assert abs(read - stored) <= half * 1.0001, f"{source}: {shown} is shown of {stored}"


SAID = {"95", "99", "12", "0.5", "0", "50", "1"}
"""Numbers of the page's own sentences: 95 % and 99 % intervals, 12 digits of a digest, an AUC of 0.5, and the like."""


def stored_texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield str(key)
            yield from stored_texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from stored_texts(each)


def stored_numbers(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from stored_numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def test_every_other_number_in_the_text_is_a_stored_one_too(shelf):
    evidence = good()
    facts = facts_of(shelf, publish(shelf, evidence))
    page = page_of(facts)
    specs = [
        text
        for specs in shelf_checks().values()
        for s in specs
        for text in (s.description, s.fault, s.advice)
    ]
    known = {*stored_texts(evidence), *specs, *(each.ref for each in facts.members)}
    known |= {each.manifest.digest[:12] for each in facts.members}
    known |= {f"{each.manifest.created_at:%Y-%m-%d %H:%M:%S}" for each in facts.members}
    known |= {each.manifest.provenance.config_digest[:12] for each in facts.members}
    known |= {each.manifest.provenance.code_version[:12] for each in facts.members}
    known |= {f"{each:%Y-%m-%d %H:%M}" for each in (facts.made, facts.now)}
    known = sorted((each for each in known if re.search(r"\d", each)), key=len, reverse=True)
    counts = {str(len(m.reports)) for m in facts.members} | {
        str(sum(len(r.gates) for r in m.reports.values())) for m in facts.members
    }
    rows = {str(len(table)) for table in evidence["tables"].values()} | {str(each) for each in range(6, 20)}
    numbers = list(stored_numbers(evidence))
    for text in page.texts:
        for each in known:
            text = text.replace(each, " ")
        for token in re.findall(r"(?<![\w.])[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text):
            plain = token.rstrip(".,").replace(",", "")
            if plain in SAID | counts | rows:
                continue
            half = 0.5 * 10.0 ** -len(plain.partition(".")[2])
            assert any(abs(float(plain) - each) <= half * 1.001 for each in numbers), f"{token!r} in {text!r}"


def test_precision_and_recall_are_those_of_the_same_scores():
    import numpy as np
    from sklearn.metrics import precision_score, recall_score

    from churn_assets.gates.metrics import roc_rows

    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.3).astype(int)
    score = np.clip(0.3 + 0.2 * (y - 0.3) + rng.normal(0, 0.2, 400), 0, 1)
    rows = precision_rows(roc_rows(y, score, points=400), y.mean())
    order = np.sort(score)[::-1]
    for place in (20, 150, 399):
        named = score >= order[place]
        near = min(rows, key=lambda row: abs(row["recall"] - recall_score(y, named)))
        assert isclose(near["precision"], precision_score(y, named), rel_tol=0.02)


def test_the_calibration_band_holds_what_a_right_forecast_shows():
    import numpy as np

    rng = np.random.default_rng(1)
    inside = []
    for _ in range(400):
        p = rng.uniform(0.05, 0.6)
        (row,) = calibration_band([{"forecast": p, "observed": rng.binomial(300, p) / 300, "rows": 300}])
        inside.append(row["low"] <= row["observed"] <= row["high"])
    assert 0.91 < np.mean(inside) < 0.98


def test_nothing_old_is_stale_where_the_experiment_says_so(shelf):
    from dataclasses import replace

    ref = publish(shelf, good())
    facts = facts_of(shelf, ref, shelf.now + timedelta(days=91))
    patient = replace(facts, max_age_days={"customers": 365.0, "offer_log": 365.0})
    assert (report_verdict(facts).call, report_verdict(patient).call) == ("discuss", "promote")


def test_the_kept_evidence_names_no_customer():
    text = json.dumps(good())
    assert re.search(r"\b\d{4}-[A-Z]{5}\b", text) is None
