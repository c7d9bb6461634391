"""What the log says of the leading release: lift against the holdout over time, guardrails, money, and its pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from logged_shop import log_decisions

from churn_assets.console.results import LOOKS, live_results, spending
from churn_assets.offers.decision_index import DecisionFilter, DecisionIndex, Reign

LATER = timedelta(days=140)


@pytest.fixture(scope="module")
def logged(console_built, tmp_path_factory):
    """A shop whose first release decided for 600 customers, and whose outcomes are known."""
    shop = console_built.copy_to(tmp_path_factory.mktemp("logged") / "project")
    log_decisions(shop, shop.first)
    return shop


@pytest.fixture(scope="module")
def index(logged):
    found = DecisionIndex(None, "MonthlyCharges")
    found.refresh(logged.store.backend, "quickstart")
    yield found
    found.close()


def results(index, logged, **changes):
    head = logged.channel.head()
    reign = Reign(head.seq, changes.get("release", head.release), head.at)
    return live_results(index, reign, logged.experiment, datetime.now(UTC) + changes.get("later", LATER))


def test_the_lift_over_time_closes_with_all_decisions_and_its_interval_narrows(index, logged):
    found = results(index, logged)
    assert found.missing == ""
    assert found.telling == found.whole == 600
    assert [each.rows for each in found.over_time] == [600 * part // LOOKS for part in range(1, LOOKS + 1)]
    times = [each.until for each in found.over_time]
    assert times == sorted(times)
    errors = [each.earned.lift.standard_error for each in found.over_time]
    assert errors[-1] < errors[0]
    assert found.over_time[-1].earned.rows == 600
    assert found.breach is None
    assert {each.name for each in found.forecasts} == {"churn without contact", "acceptance"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"later": timedelta(days=40)}, "no decision of"),
        ({"release": "quickstart/release/other"}, "no decision of"),
    ],
)
def test_where_nothing_tells_it_says_why(logged, changes, said):
    index = DecisionIndex(None, "MonthlyCharges")
    index.refresh(logged.store.backend, "quickstart")
    found = results(index, logged, **changes)
    assert found.over_time == ()
    assert said in found.missing


def test_an_empty_log_says_so(logged):
    assert "has no decision yet" in results(DecisionIndex(None, "MonthlyCharges"), logged).missing


def test_money_is_that_of_the_menu_a_month_and_an_arm(index, logged):
    rows = spending(index, logged.experiment)
    assert sum(each.contacts for each in rows) == int(index.decided()["contacts"].sum())
    (arm,) = {each.label for each in rows}
    assert arm == "20% off for 6 months"
    most = 0.2 * 70.0 * 6
    for each in rows:
        assert each.committed == pytest.approx(each.contacts * (most + 1.0))
        assert each.spent == pytest.approx(each.accepted * most + each.contacts)
        assert (each.open, each.reserved) == (0, 0.0)


def test_an_arm_that_is_declared_no_more_has_no_price(logged):
    index = DecisionIndex(None, "Nothing")
    index.refresh(logged.store.backend, "quickstart")
    assert {each.committed for each in spending(index, logged.experiment)} == {None}


def test_the_log_is_searched_by_whatever_is_known(index, logged):
    assert len(index.search(DecisionFilter(), 1000)) == 600
    (one,) = index.search(DecisionFilter(customer="c0-3"))
    assert one.release == str(logged.first)
    assert index.search(DecisionFilter(decision=f"{0:012x}{3:012x}-0")) == [one]
    assert one.outcome.churned in (0.0, 1.0)
    held = index.search(DecisionFilter(assigned="holdout"), 1000)
    assert {each.arm for each in held} == {"no_contact"}
    assert len(held) + len(index.search(DecisionFilter(arm="percent_20"), 1000)) == 600
    assert index.search(DecisionFilter(customer="nobody")) == []
    assert index.search(DecisionFilter(release="another")) == []
    early = index.search(DecisionFilter(until=datetime.now(UTC) + timedelta(days=8)), 1000)
    assert len(early) == 200
    times = [each.at for each in index.search(DecisionFilter(), 50)]
    assert times == sorted(times, reverse=True)
    assert len(times) == 50


def test_the_pages_show_it(logged):
    from console_shop import Served

    served = Served(logged)
    served.later = LATER
    vera = served.browser().log_in("vera")
    live = vera.get("/live").text
    for said in (
        "Lift over no contact",
        "<svg",
        "More customers who leave",
        "600 of its decisions",
        "Guardrails",
    ):
        assert said in live
    assert "20% off for 6 months" in vera.get("/spend").text
    page = vera.post("/decisions", {"csrf": vera.csrf("/decisions"), "customer": "c1-2"}).text
    assert page.count('role="row"') == 2
    assert vera.post("/decisions", {"csrf": vera.csrf("/decisions"), "since": "soon"}).status_code == 422
    customer = vera.post("/customers", {"csrf": vera.csrf("/customers"), "customer": "c1-2"}).text
    assert "does not know this customer" in customer
    assert customer.count('role="row"') == 2
