"""An experiment file says exactly what is run; anything else is an error that names line and key."""

import itertools
from pathlib import Path

import pytest

from churn_assets.experiment import Experiment, ExperimentError, load_experiment, section_digest

CONFIGS = Path(__file__).parents[1] / "configs"
QUICKSTART = (CONFIGS / "quickstart.yaml").read_text()


@pytest.fixture
def changed(tmp_path):
    """Loads the quickstart with some of its text replaced."""

    def load(*replacements: tuple[str, str]) -> Experiment:
        text = QUICKSTART
        for old, new in replacements:
            assert text.count(old) >= 1, old
            text = text.replace(old, new, 1)
        (tmp_path / "changed.yaml").write_text(text)
        return load_experiment("changed", tmp_path)

    return load


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_experiment_in_the_project_is_valid(path):
    assert load_experiment(path.stem, CONFIGS).name == path.stem


def test_all_that_is_wrong_stands_in_one_message_and_where_things_lie_needs_no_words(changed):
    with pytest.raises(ExperimentError) as found:
        changed(("positive:", "postive:"), ("margin: 0.50", "margin: 5"))
    assert str(found.value).splitlines() == [*found.value.problems]
    assert len(found.value.problems) == 2
    store = QUICKSTART[QUICKSTART.index("store:") : QUICKSTART.index("channel:")]
    experiment = changed(("seed: 20261122\n", ""), (store, ""), ("channel: quickstart\n", ""))
    assert (experiment.seed, experiment.store.uri, experiment.channel) == (0, ".churn/store", "changed")


def test_a_section_reaches_the_experiment_as_written(changed):
    experiment = changed(("contact_cost: 1.0", "contact_cost: 2.5"), ("rows: 50_000", "rows: 60_000"))
    assert experiment.economics.contact_cost == 2.5
    assert experiment.offer_log.rows == 60_000


def test_how_propensities_are_known_reaches_the_experiment_as_written(changed):
    shares = "{monthly: {no_contact: 0.2, percent_10: 0.8}, yearly: {no_contact: 1, percent_10: 0}}"
    own = f"source: mine.csv\n  propensities: randomised\n  stratum: contract\n  shares: {shares}\n  start: 2026-03-02"
    log = changed(("source: demo_world\n  rows: 50_000", own)).offer_log
    assert log.shares_by_stratum == {
        "monthly": {"no_contact": 0.2, "percent_10": 0.8},
        "yearly": {"no_contact": 1.0, "percent_10": 0.0},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("positive:", "postive:", r":\d+: customers\.label\.postive: unknown key; did you mean 'positive'\?"),
        (
            "accept_model:",
            "acceptmodel:",
            r"acceptmodel: unknown key; did you mean 'accept_model'\?",
        ),
        ("accept_model: {}", "", r"accept_model: missing section"),
        ("  column: Churn", "", r"customers\.label\.column: missing key"),
        (
            "accept_model: {}",
            "accept_model:",
            r"accept_model: missing section; release.branches: decision needs it",
        ),
        ("seed: 20261122", "seed: true", r":2: seed: found true, expected a valid integer"),
        ("seed: 20261122", "seed: '1'", r"seed: found \"1\", expected a valid integer"),
        ("margin: 0.50", "margin: 5", r"economics\.margin: found 5, expected less than or equal to 1"),
        (
            "kind: best_by_nested_cv",
            "kind: logitmean",
            r"risk_model\.kind: found \"logitmean\", expected 'logit_mean', ",
        ),
        (
            "kind: best_by_nested_cv",
            "kind: boosting\n  spline_logistic: {penalty: 2}",
            r"spline_logistic: not read with kind",
        ),
        (
            "kind: best_by_nested_cv",
            "kind: logit_mean\n  nested_folds: 4",
            r"nested_folds: not read with kind: logit_mean",
        ),
        (
            "ppo_decision:",
            "ppo_decision:\n  cooldown_months: 2",
            r"ppo_decision: cooldown_months is 2, within the label window of 3 months: .* expected at least 3",
        ),
        (
            "ppo_decision:",
            "ppo_decision:\n  recent_window_months: 9",
            r"ppo_decision: cooldown_months is 3: two contacts could be recent at once",
        ),
        (
            "ppo_decision:",
            "ppo_decision:\n  step_months: 4",
            r"ppo_decision: arm percent_5 runs 6 months: expected a multiple of step_months 4",
        ),
        ("tenure: tenure", "tenure: MonthlyCharges", r"customers: column 'MonthlyCharges' is both"),
        ("channel: quickstart", "channel: a\nchannel: b", r":6: key 'channel' stands twice"),
        ("channel: quickstart", "channel: ../champion", r"channel: found \"\.\./champion\""),
        ("seed: 20261122", "seed: [1", r"changed\.yaml:\d+: "),
        (
            "seed: 20261122",
            "name: other\nseed: 1",
            r"name: found 'other', expected the file's name 'changed'",
        ),
    ],
)
def test_a_wrong_file_names_line_key_and_what_was_expected(changed, old, new, message):
    with pytest.raises(ExperimentError, match=message):
        changed((old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "safety: {}",
            'safety: {banned_phrases: ["support team"]}',
            "safety.template: banned_phrase: says 'support team'",
        ),
        ("safety: {}", "safety: {max_words: 12}", "safety.template: length: has 38 words, expected 8 to 12"),
        ("safety: {}", "safety: {opt_out_phrases: [leave me]}", "safety.template: opt_out: does not say"),
        ("safety: {}", 'safety: {banned_phrases: ["% off"]}', "safety.template: banned_phrase: says '% off'"),
        (
            "safety: {}",
            'safety: {required: [name], template: "We would like to offer you {offer}. Reply STOP to opt out."}',
            "safety.template: missing_name",
        ),
        (
            "tenure: decreasing",
            "TotalCharges: decreasing",
            "risk_model.monotone.TotalCharges: found column 'TotalCharges', which is dropped by",
        ),
        (
            "tenure: decreasing",
            "prior_offers: decreasing",
            "risk_model.monotone.prior_offers: .* is customers.optional.prior_offers, no feature",
        ),
        (
            "  gates:\n    min_auc: 0.80",
            "  gates:\n    known_before: [Churn]\n    min_auc: 0.80",
            "risk_model.gates.known_before: .* is the label",
        ),
        ("tenure: decreasing", "Churn: decreasing", "risk_model.monotone.Churn: .* is the label"),
        (
            "customers:\n",
            "automation: {live: {slices: [Churn]}}\ncustomers:\n",
            "automation.live.slices.0: .* is the label",
        ),
        ("column: Contract", "column: Churn", "messages.profile.contract.column: .* is the label"),
        (
            "  tenure: tenure",
            "  tenure: tenure\n  exclude: [Contract]",
            "messages.profile.contract.column: .* is in customers.exclude; expected a feature",
        ),
        (
            "  tenure: tenure",
            "  tenure: tenure\n  kinds: {tenure: categorical}",
            "customers.tenure: .* is categorical by customers.kinds; expected a number",
        ),
        (
            "  tenure: tenure",
            "  tenure: tenure\n  kinds: {SeniorCitizen: categorical}\n  ranges: {SeniorCitizen: [0, 1]}",
            "customers.ranges.SeniorCitizen: .* categorical",
        ),
        (
            "min_auc: 0.80",
            "min_auc: 0.90",
            "risk_model.gates.min_auc: found 0.9, expected at most risk_model.gates.max_auc, which is 0.865",
        ),
        (
            "  source: demo_world\n  rows: 50_000",
            "  source: called.csv\n  propensities: contacted_only",
            "offer_log.propensities: found contacted_only.* beside ppo_decision",
        ),
        ("effect_model: {}", "effect_model: {gates: {least_size: 2.0}}", "effect_model.gates.least_size: found 2.0"),
    ],
)  # fmt: skip
def test_sections_that_are_wrong_together_are_refused_by_line_and_key(changed, old, new, message):
    with pytest.raises(ExperimentError, match=rf"changed\.yaml:\d+: {message}"):
        changed((old, new))


def test_an_age_of_an_asset_that_is_not_made_is_refused(tmp_path):
    text = (CONFIGS / "loop.yaml").read_text()
    assert "ppo_text" not in text
    aged = text.replace("automation:", "automation:\n  max_age_days: {ppo_text: 9}")
    (tmp_path / "loop.yaml").write_text(aged)
    with pytest.raises(
        ExperimentError, match=r"yaml:\d+: automation\.max_age_days\.ppo_text: .* does not make"
    ):
        load_experiment("loop", tmp_path)


def test_everything_that_is_wrong_together_is_told_at_once(changed):
    with pytest.raises(ExperimentError) as caught:
        changed(("tenure: decreasing", "Churn: decreasing"), ("column: Contract", "column: customerID"))
    assert len(caught.value.problems) == 2


def test_an_unknown_experiment_names_the_nearest(tmp_path):
    with pytest.raises(ExperimentError, match="did you mean 'quickstart'"):
        load_experiment("quikstart", CONFIGS)
    with pytest.raises(ExperimentError, match="no such experiment"):
        load_experiment("quickstart", tmp_path)


def test_all_problems_are_kept_and_the_first_is_the_message(changed):
    with pytest.raises(ExperimentError) as caught:
        changed(("margin: 0.50", "margin: 5"), ("contact_cost: 1.0", "contact_cost: -1"))
    assert len(caught.value.problems) == 2
    assert str(caught.value).startswith(caught.value.problems[0])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "a: &a [x, x, x, x, x, x, x, x, x]\n"
            + "".join(
                f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")
            ),
            r"found aliases \(\*\) that make 4\.\d+e\+08 values of it, expected at most 100000",
        ),
        ("customers: &a\n  x: *a\n", "unconstructable recursive node"),
        ("a: " + "[" * 20_000, "without end"),
    ],
)
def test_a_text_that_grows_beyond_measure_is_refused(tmp_path, text, found):
    (tmp_path / "bomb.yaml").write_text(text)
    with pytest.raises(ExperimentError, match=found):
        load_experiment("bomb", tmp_path)


def test_yaml_is_read_as_people_mean_it(changed):
    label = changed(('positive: "Yes"', "positive: Yes")).customers.label
    assert label.positive == "Yes", "not the boolean of YAML 1.1"
    assert changed(("contact_cost: 1.0", "contact_cost: 1e-5")).economics.contact_cost == 1e-5
    assert changed(('positive: "Yes"', "positive: 1")).customers.label.positive == 1


def test_an_experiment_cannot_be_changed_after_loading(changed):
    with pytest.raises(ValueError, match="frozen"):
        changed().customers.id = "other"


def test_the_digest_of_a_section_is_that_of_its_resolved_values(changed):
    written_out = changed(("accept_model: {}", "accept_model: {learning_rate: 0.08}"))
    other = changed(("accept_model: {}", "accept_model: {learning_rate: 0.09}"))
    assert section_digest(written_out.accept_model) == section_digest(changed().accept_model)
    assert section_digest(other.accept_model) != section_digest(changed().accept_model)
    assert section_digest(7) != section_digest(8)
