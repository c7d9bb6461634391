"""The sensors over a real decision log of real small models: calm where all is well, right where something is not."""

import json
from datetime import UTC, datetime

import pytest
from shop_on_daemon import NEVER, drop_tables, watch
from watched_shop import AUTOMATION, REQUIRED, surer
from webhook import webhook_server

from benchmarks.served import EXPERIMENT
from churn_assets.release.begin_trial import start_trial
from churn_assets.release.trial import stop_trial, trial_now
from churn_assets.store.tried import trial_log


def dearer(asked):
    """The same customers at another price level."""
    for each in asked:
        each["features"]["MonthlyCharges"] = min(each["features"]["MonthlyCharges"] * 1.6, 118.0)
    return asked


@pytest.mark.parametrize(
    ("sensor", "said"),
    [
        ("drift", "no drift in 4 windows of"),
        ("live_performance", "forecasts come true in 4 windows of"),
        ("guardrails", "guardrails hold over 4"),
    ],
)
def test_nothing_is_asked_for_where_all_is_well(shop, instance, sensor, said):
    assert said in shop.said(sensor, instance)
    assert said in shop.said(sensor, instance), "and remembers it"


LEARNING = {
    "customers",
    "offer_log",
    "risk_model",
    "accept_model",
    "effect_model",
    "ppo_decision",
    "release",
}


def test_drift_of_the_customers_asks_for_what_learns_from_them(shop, instance):
    shop.serve(1, asked=dearer)
    request = shop.asked("drift", instance)
    assert "drift of" in request.tags["churn/reason"]
    assert "MonthlyCharges (PSI" in request.tags["churn/reason"]
    assert {key.to_user_string() for key in request.asset_selection} == LEARNING
    assert shop.asked("drift", instance).run_key == request.run_key, "until a run answers it"


def test_forecasts_that_became_wrong_ask_for_a_training(shop, instance):
    shop.serve(1, churn=lambda decision: min(1.0, decision["churn_risk"] + 0.25))
    request = shop.asked("live_performance", instance)
    assert "churn without contact is +" in request.tags["churn/reason"]


def test_what_was_wrong_in_a_window_is_found_when_others_have_filled_since(shop, instance):
    shop.serve(1, asked=dearer, churn=lambda decision: min(1.0, decision["churn_risk"] + 0.25))
    shop.serve(1)
    assert "MonthlyCharges (PSI" in shop.asked("drift", instance).tags["churn/reason"]
    request = shop.asked("live_performance", instance)
    assert "churn without contact is +" in request.tags["churn/reason"]
    shop.serve(1)
    shop.cursors.clear()
    assert shop.asked("live_performance", instance).run_key == request.run_key, "one window asks once"


def test_outcomes_that_only_a_file_tells_count_too(shop, instance):
    wrong = lambda decision: min(1.0, decision["churn_risk"] + 0.25)  # noqa: E731
    shop.serve(1, churn=wrong, file=shop.project.root / "crm.csv")
    assert "forecasts come true" in shop.said("live_performance", instance)
    shop.read_outcomes_from("crm.csv")
    shop.cursors.clear()
    assert "churn without contact" in shop.asked("live_performance", instance).tags["churn/reason"]


def test_enough_new_decisions_with_outcomes_ask_for_a_training_once(shop, instance):
    shop.learn_from_decisions(new_decisions=1_000_000)
    said = shop.said("new_inputs", instance)
    assert "served decisions can be learned from" in said
    shop.configure(new_decisions=2_000)
    request = shop.asked("new_inputs", instance)
    assert "the decision log is new" in request.tags["churn/reason"]
    assert "offer_log" in {key.to_user_string() for key in request.asset_selection}
    assert json.loads(request.tags["churn/inputs"])["the decision log"] == "2", "4,000 and a few of them"


def harmful(decision):
    return min(1.0, decision["churn_risk"] + (0.5 if decision["contact"] else 0.0))


def harmful_and_unforeseen(decision):
    return min(1.0, harmful(decision) + 0.2)


def test_outcomes_that_cannot_be_read_are_told_to_people_and_files_are_still_watched(shop, instance):
    (shop.project.root / "crm.csv").write_text("decision_id,accepted\nd1,perhaps\n")
    shop.read_outcomes_from("crm.csv")
    assert f"told: {EXPERIMENT}: outcomes cannot be read" in shop.said("alerts", instance)
    assert "told: " not in shop.said("alerts", instance), "once"
    shop.configure(settle_seconds=0.0)
    request = shop.asked("new_inputs", instance)
    assert "crm.csv is new" in request.tags["churn/reason"]


def test_guardrails_that_cannot_judge_yet_say_so(shop, instance):
    shop.configure(live={"min_outcomes": 1_000_000})
    assert "guardrails cannot judge yet: 4" in shop.said("guardrails", instance)


def test_a_promoted_release_that_does_harm_is_rolled_back_once(shop, instance):
    shop.project.lead(shop.releases["other"])
    shop.serve(1, churn=harmful)
    request = shop.asked("guardrails", instance)
    config = request.run_config["ops"]["roll_back"]["config"]
    assert request.job_name == "rollback"
    assert (config["actor"], config["expected_record"]) == ("automation", 2)
    assert "than without contact" in config["reason"] or "lift over no contact" in config["reason"]
    assert shop.act(request, instance)
    head = shop.project.channel.head()
    assert (head.ref, head.action, head.reason) == (shop.releases["first"], "rollback", config["reason"])
    assert not shop.act(request, instance), "once"
    assert "leads since a rollback" in shop.said("guardrails", instance)


def test_a_first_release_that_does_harm_has_nothing_to_go_back_to_and_says_what_to_do(shop, instance):
    shop.serve(2, churn=harmful)
    assert "no release led before: set serving.kill_switch" in shop.said("guardrails", instance)


def test_a_candidate_without_its_gates_is_not_promoted(shop, instance):
    assert "never ran on this version" in shop.said("promotions", instance)


@pytest.fixture
def proven(shop):
    shop.prove(shop.releases["again"], shop.releases["first"])
    return shop


def test_a_candidate_that_holds_is_promoted_after_its_shadow_and_names_the_record(proven, instance):
    request = proven.asked("promotions", instance)
    config = request.run_config["ops"]["promote_release"]["config"]
    assert (config["release"], config["expected_record"]) == (proven.releases["again"].version, 1)
    assert f"live decisions as {proven.releases['first'].version} everywhere" in config["reason"]
    assert proven.act(request, instance)
    assert proven.project.channel.head().ref == proven.releases["again"]
    assert "leads" in proven.said("promotions", instance)


def test_a_policy_that_was_taken_back_does_not_return_as_another_release(proven, instance):
    again, first = proven.releases["again"], proven.releases["first"]
    proven.project.lead(again)
    proven.project.lead(first, "rollback")
    twin = proven.publish("twin", seed=1, change=surer)
    proven.prove(twin, first)
    said = proven.said("promotions", instance)
    assert (
        f"would not promote {twin.version}: it decides and writes as {again.version} does, which was taken"
        in said
    )


def test_by_hand_the_sensor_says_what_it_would_do(proven, instance):
    proven.configure(promotion=AUTOMATION["promotion"] | {"mode": "manual"})
    assert "and waits for a person: all" in proven.said("promotions", instance)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"min_decisions": 50_000}, "min_decisions: "),
        ({"min_exploration": 0.9}, "min_exploration: 3"),
        ({"min_gap_hours": 24.0}, "min_gap_hours: the channel moved at"),
        ({"rule": "better"}, "live decisions not certain yet: as "),
    ],
)
def test_each_rule_of_the_policy_holds_a_candidate_back(proven, instance, rules, said):
    proven.configure(promotion=AUTOMATION["promotion"] | rules)
    assert said in proven.said("promotions", instance)


@pytest.fixture
def webhook():
    with webhook_server() as server:
        yield server


@pytest.fixture
def daemon(shop, webhook):
    made = watch(shop, webhook.url)
    yield made
    made.kill()


def test_the_loop_closes_under_a_real_daemon(shop, daemon, webhook):
    """Files, training, candidate, shadow, promotion over a leader; then drift, false forecasts, harm, rollback."""
    channel, wasteful = shop.project.channel, shop.releases["wasteful"]

    def leads(seq):
        return lambda: (head := channel.head()) is not None and head.seq == seq

    drop_tables(shop)
    daemon.start_sensors()
    daemon.start()
    daemon.until(lambda: daemon.runs(EXPERIMENT, "new_inputs"))
    daemon.until(leads(3))
    promoted = channel.head()
    (training,) = daemon.runs(EXPERIMENT, "new_inputs")
    assert daemon.steps(training) == LEARNING
    assert (promoted.action, promoted.actor) == ("promote", "automation")
    assert promoted.ref not in shop.releases.values()
    assert "at all looks)" in promoted.reason
    daemon.until(daemon.succeeded(1, EXPERIMENT, job="promote"))

    shop.serve(1, asked=dearer, churn=harmful_and_unforeseen)
    shop.configure(drift={"window_decisions": 1_000})
    daemon.until(daemon.succeeded(1, EXPERIMENT, "drift"))
    calm = {"window_outcomes": NEVER, "min_outcomes": NEVER}
    shop.configure(drift={"window_decisions": NEVER}, live=calm | {"window_outcomes": 1_000})
    daemon.until(daemon.succeeded(1, EXPERIMENT, "live_performance"))
    alike = f"it decides and writes as {promoted.ref.version} does, which leads"
    assert any(alike in said for said in daemon.said("promotions")), "the tables are those of before"
    for trigger, reason in (("drift", "MonthlyCharges (PSI"), ("live_performance", "off its forecast")):
        (run,) = daemon.runs(EXPERIMENT, trigger)
        assert daemon.steps(run) == LEARNING
        assert reason in run.tags["churn/reason"]

    shop.configure(live=calm | {"min_outcomes": 1_000})
    daemon.until(leads(4))
    daemon.until(daemon.succeeded(1, EXPERIMENT, job="rollback"))
    back = channel.head()
    assert (back.action, back.actor, back.ref) == ("rollback", "automation", wasteful)
    daemon.until(lambda: len(webhook.texts) == 2)
    assert [text.split("\n")[0].split(": ", 1)[1] for text in webhook.texts] == [
        f"automation did: promote of {promoted.release}",
        f"automation did: rollback of {back.release}",
    ]
    assert back.reason in webhook.texts[1]


def test_what_stands_in_the_decision_log_and_is_no_segment_stops_no_sensor_and_is_told(shop, instance):
    folder = shop.project.root / ".churn" / "store" / "decisions" / EXPERIMENT
    (folder / ".DS_Store").write_bytes(b"a desktop's own")
    day = next(path for path in folder.iterdir() if path.is_dir())
    (day / "notes.txt~").write_text("an editor's backup")
    rotten = sorted(day.glob("*.log"))[-1]
    rotten.chmod(0o644)
    rotten.write_bytes(rotten.read_bytes()[:-5])
    assert "guardrails" in shop.said("guardrails", instance)
    assert "served decisions can be learned from" in shop.said("new_inputs", instance)
    told = shop.said("alerts", instance)
    assert told.count("told: quickstart: the decision log holds what is no sound segment") == 3
    assert "told: " not in shop.said("alerts", instance), "once"


def test_a_guardrail_that_broke_stays_broken_though_later_decisions_are_good(shop, instance):
    shop.project.lead(shop.releases["other"])
    shop.serve(1, churn=harmful)
    first = shop.asked("guardrails", instance)
    shop.serve(1)
    again = shop.asked("guardrails", instance)
    assert first.run_config == again.run_config


def begin(shop, name, **changed):
    """A trial by hand, of a release whose gates hold, beside the one that leads."""
    candidate, automation = shop.releases[name], shop.project.experiment.automation
    shop.prove(candidate, shop.project.channel.head().ref)
    usual = {
        "required": REQUIRED, "policy": automation.promotion, "guardrails": automation.live.model_dump_json(),
        "actor": "anna", "reason": "newer data", "now": datetime.now(UTC), "shares": [0.5],
    }  # fmt: skip
    return start_trial(shop.project.store, shop.project.channel, candidate, **(usual | changed))


def test_automation_tries_a_candidate_once_and_the_rule_of_the_trial_promotes_it(proven, instance):
    again, channel = proven.releases["again"], proven.project.channel
    trying = AUTOMATION["promotion"] | {"trial": {"automatic": True, "shares": [0.2, 0.5]}}
    proven.configure(promotion=trying)
    assert "is tried before it may lead" in proven.said("promotions", instance)
    request = proven.asked("trial_begins", instance)
    assert proven.act(request, instance)
    assert f"trial 1 of {again.version} runs" in proven.said("trial_begins", instance)
    assert f"trial 1 of {again.version}, which decides for 20%, goes on: 0 decisions" in proven.said(
        "trial_ends", instance
    )
    assert "min_decisions: 0 live decisions" in proven.said("promotions", instance), "none since it began"
    stop_trial(proven.project.store, channel, actor="anna", reason="another start", now=datetime.now(UTC))
    assert f"{again.version} was tried before" in proven.said("trial_begins", instance)

    begin(proven, "again", now=channel.head().at)  # as if all that was served had been served in it
    proven.configure(promotion=trying | {"mode": "manual"})
    assert "and waits for a person" in proven.said("promotions", instance)
    assert f"told: {EXPERIMENT}: the trial of {again.version} is decided" in proven.said("alerts", instance)
    proven.configure(promotion=trying | {"rule": "better"})
    request = proven.asked("promotions", instance)
    reason = request.run_config["ops"]["promote_release"]["config"]["reason"]
    assert f"live decisions as {proven.releases['first'].version} everywhere" in reason, (
        "by the rule it began with"
    )
    assert proven.act(request, instance)
    assert channel.head().ref == again
    assert "no trial runs" in proven.said("trial_ends", instance)


def test_a_trial_whose_candidate_does_harm_is_ended_with_its_reason_and_the_leader_is_not_blamed(
    shop, instance
):
    head, tried = shop.project.channel.head(), str(shop.releases["other"])
    before = shop.said("guardrails", instance)
    begin(shop, "other")

    def harmful_if_tried(decision):
        return min(1.0, decision["churn_risk"] + 0.6 * (decision["contact"] and decision["release"] == tried))

    shop.serve(1, churn=harmful_if_tried)
    request = shop.asked("trial_ends", instance)
    config = request.run_config["ops"]["stop_trying"]["config"]
    assert (request.job_name, config["actor"], config["trial"]) == ("end_trial", "automation", 1)
    assert config["reason"].startswith("guardrail: ")
    assert shop.said("guardrails", instance) == before, "what was decided in the trial is the trial's"
    assert shop.act(request, instance)
    assert trial_now(shop.project.store, shop.project.channel, datetime.now(UTC)) is None
    newest = trial_log(shop.project.store, shop.project.channel.name).head()
    assert (newest.kind, newest.actor, newest.reason) == ("stop", "automation", config["reason"])
    assert "no trial runs" in shop.said("trial_ends", instance)
    assert shop.project.channel.head() == head
    assert not shop.act(request, instance), "once"
    assert f"told: {EXPERIMENT}: automation did: end_trial, record 2 of trials" in shop.said(
        "alerts", instance
    )
