"""Verdicts are computed from figures, never believed."""

import copy

import pytest

from churn_assets.gates.report import Gate, GateReport, GateReportError


def a_report(*gates: Gate) -> GateReport:
    return GateReport(
        check="ranks_well",
        asset="risk_model",
        version="20261122T124501Z-0123456789ab",
        digest="ab" * 32,
        key="cd" * 32,
        champion=None,
        gates=gates,
        advice="Look at the features.",
        tables={"roc": [{"fpr": 0.0, "tpr": 0.5}]},
    )


GOOD = Gate("auc", 0.85, ">=", 0.8)
BAD = Gate("ece", 0.2, "<=", 0.05)


@pytest.mark.parametrize(
    ("figure", "bound", "threshold", "passed"),
    [
        (0.8, ">=", 0.8, True),
        (0.79, ">=", 0.8, False),
        (0.05, "<=", 0.05, True),
        (0.06, "<=", 0.05, False),
        (0, "==", 0, True),
        (1, "==", 0, False),
    ],
)
def test_a_gate_holds_its_bound_and_the_threshold_itself_passes(figure, bound, threshold, passed):
    assert Gate("figure", figure, bound, threshold).passed is passed


@pytest.mark.parametrize("figure", [None, float("nan"), float("inf")])
@pytest.mark.parametrize("bound", [">=", "<=", "=="])
def test_a_figure_that_could_not_be_measured_fails_whatever_the_bound(figure, bound):
    gate = Gate("auc", figure, bound, 0.0)
    assert gate.figure is None
    assert not gate.passed


def test_a_bound_that_does_not_exist_is_an_error():
    with pytest.raises(GateReportError, match="bound '>'"):
        Gate("auc", 0.9, ">", 0.8)  # type: ignore[arg-type]


def test_a_gate_says_what_was_found_what_was_needed_and_where():
    assert str(Gate("psi", 8.5823, "<=", 1, "MonthlyCharges moved most")) == (
        "psi is 8.582, needed <= 1 (MonthlyCharges moved most)"
    )
    assert str(Gate("auc", None, ">=", 0.8)) == "auc is not measured, needed >= 0.8"


def test_one_failed_gate_fails_the_report():
    assert a_report(GOOD).passed
    assert not a_report(GOOD, BAD).passed


def test_a_report_without_gates_proves_nothing():
    assert not a_report().passed


def test_a_report_reads_back_as_it_was_written():
    report = a_report(GOOD, BAD, Gate("slope", None, ">=", 0.5))
    again = GateReport.from_json(report.to_json())
    assert again.to_json() == report.to_json()
    assert again.sha256() == report.sha256()


def tampered(change) -> dict:
    stored = copy.deepcopy(a_report(GOOD, BAD).to_json())
    change(stored)
    return stored


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.update(passed=True),
        lambda stored: stored["gates"][1].update(passed=True),
        lambda stored: stored.update(surprise=1),
        lambda stored: stored["gates"][0].pop("figure"),
        lambda stored: stored.pop("digest"),
        lambda stored: stored.update(schema=2),
        lambda stored: stored.update(gates=None),
    ],
    ids=["verdict", "gate verdict", "extra field", "no figure", "no digest", "other schema", "no gates"],
)
def test_a_stored_report_that_disagrees_with_itself_is_refused(change):
    with pytest.raises(GateReportError):
        GateReport.from_json(tampered(change))


def test_a_better_figure_written_over_a_bad_one_changes_the_digest():
    def improve(stored):
        stored["gates"][1].update(figure=0.01, passed=True)
        stored["passed"] = True

    improved = GateReport.from_json(tampered(improve))
    assert improved.passed
    assert improved.sha256() != a_report(GOOD, BAD).sha256()
