"""Decisions within limits: never more than is left, whoever draws and whoever else decides."""

import multiprocessing
import os
import signal
import sqlite3
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from churn_assets.batch.progress import NoProgress
from churn_assets.batch.wave import BatchWave
from churn_assets.batch.wave import decide_wave as decide_wave_of
from churn_assets.customers.config import CustomersConfig
from churn_assets.deciding.budgets import Wishes, granted, standing, used_by, wanted
from churn_assets.deciding.decider import NO_ROLLOUT, Budget, CustomerInput, Decider, Rollout
from churn_assets.deciding.ledger import BudgetLedger, LedgerError
from churn_assets.deciding.spending import WaveSpending, wave_key
from churn_assets.decision.limits import BudgetError, BudgetsConfig, Limits, for_this_run
from churn_assets.decision.pacing import Moment
from churn_assets.release.build import as_raw
from churn_assets.release.limited import limit_rows
from churn_assets.serving.budgets import BudgetDesk
from churn_assets.tables.files import DETECTED
from churn_assets.tables.values import id_hash

RELEASE = "toy/release/20260101T000000Z-000000000000"
NOW = datetime(2026, 12, 8, tzinfo=UTC)
CONFIG = BudgetsConfig.model_validate(
    {
        "period": {"starts": "2026-12-07", "weeks": 2, "arrivals": 300},
        "limits": [
            {"name": "money", "most_cost": 900},
            {"name": "large", "most_contacts": 4, "arms": ["percent_20", "percent_30"]},
            {
                "name": "monthly",
                "most_cost": 300,
                "where": [{"column": "Contract", "one_of": ["Month-to-month"]}],
            },
        ],
        "customer": {"most_cost": 150, "most_contacts": 2},
    }
)


@pytest.fixture(scope="module")
def decider(small):
    return Decider(small.models, RELEASE)


@pytest.fixture(scope="module")
def customers(small):
    raw = as_raw(small.table)
    rows = raw.astype(object).where(raw.notna(), None).to_dict("records")
    return [CustomerInput(row.pop(small.schema.id), row) for row in rows][:300]


def asked_of(decider, batch, limits):
    rows = decider.encoded(batch)
    foreseen = decider.foresee(batch, rows)
    return rows, foreseen, wanted(decider, batch, rows, foreseen, limits)


def within(decider, batch, config=CONFIG, rollout=NO_ROLLOUT):
    limits = Limits.of(config, decider.menu, decider.schema)
    _, foreseen, asked = asked_of(decider, batch, limits)
    found = granted(decider, asked, limits, limits.most)
    able = [replace(one, stopped=each) for one, each in zip(batch, found.stops, strict=True)]
    decided = decider.decide(able, rollout, foreseen=foreseen)
    return limits, found, decided, used_by(asked.within(limits, limits.most), decided)


@pytest.mark.parametrize("exploration", [0.0, 0.3, 1.0])
def test_limits_hold_whoever_chooses_and_propensities_stay_exact(decider, customers, exploration):
    rollout = Rollout(b"a secret of this test", "e", 0.0, exploration)
    limits, found, decided, used = within(decider, customers, rollout=rollout)
    assert (used <= limits.most).all()
    assert used[0] > 0
    for each in decided:
        assert sum(each.propensities) == pytest.approx(1)
        assert each.chosen.forbidden is None
        assert all(not arm.propensity for arm in each.arms if arm.forbidden)
    assert any(arm.forbidden == "budget" for each in decided for arm in each.arms)
    assert found.allocation.value <= found.allocation.bound


def test_what_the_policy_does_is_worth_nearly_what_was_granted(decider, customers):
    limits, found, decided, used = within(decider, customers)
    gained = sum(each.chosen.expected_value for each in decided)
    assert gained >= 0.9 * found.allocation.value
    told = standing(limits, np.zeros(3), limits.most, used, found.allocation.price)
    assert [each.name for each in told] == ["money", "large", "monthly"]
    assert [each.unit for each in told] == ["money", "contacts", "money"]
    assert max(each.shadow_price for each in told) > 0


def test_limits_that_never_bind_change_nothing(decider, customers):
    loose = for_this_run(None, 1e9)
    _, _, decided, _ = within(decider, customers, loose)
    assert decided == decider.decide(customers)


def test_nobody_gets_more_than_their_own_cap(decider, customers):
    pressed = [replace(each, offers_used=1, prior_offers=1) for each in customers]
    _, _, decided, used = within(decider, pressed)
    assert not any(each.arm for each in decided)
    assert not used.any()
    assert {arm.forbidden for each in decided for arm in each.arms[1:]} == {"cap_reached"}
    capped = CONFIG.model_copy(update={"customer": CONFIG.customer.model_copy(update={"most_cost": 30.0})})
    _, _, decided, _ = within(decider, customers, capped)
    assert max(each.cost for each in decided) <= 30


def limited(config, decider, ledger, ids, wave=None, now=NOW):
    customers = id_hash(np.array(ids, dtype=object))
    return WaveSpending.begin(config, ledger, decider.menu, decider.schema, customers, wave, now)


def decide_wave(small, root, budget=None, rows=slice(0, 300), wave=None, now=NOW):
    root.mkdir(exist_ok=True)
    as_raw(small.table).iloc[rows].to_csv(root / "t.csv", index=False)
    asked = BatchWave(
        folder=root / "parts",
        root=root,
        ledger=root,
        experiment="toy",
        source="t.csv",
        customers=CustomersConfig.model_construct(id=small.schema.id, reading=DETECTED),
        release=RELEASE,
        responses="observed",
        budgets=CONFIG,
        budget=budget,
        name=wave,
    )
    found = decide_wave_of(asked, small.models, NoProgress(), now)
    found.write(None, None)
    found.end()
    return found.uses


def test_a_week_leaves_the_next_one_its_share_and_a_period_is_never_overrun(small, tmp_path):
    first = decide_wave(small, tmp_path)
    assert 0 < first[0].used <= 450
    second = decide_wave(small, tmp_path, rows=slice(300, 600), now=datetime(2026, 12, 15, tzinfo=UTC))
    assert second[0].used == pytest.approx(first[0].used + second[0].decided)
    assert all(each.used <= each.most for each in second)
    assert second[0].now == pytest.approx(900 - first[0].used)


def test_a_wave_that_is_decided_again_counts_once(small, tmp_path):
    once = decide_wave(small, tmp_path)
    again = decide_wave(small, tmp_path)
    assert [each.used for each in again] == [each.used for each in once]
    other = decide_wave(small, tmp_path, wave="extra")
    assert other[0].used > once[0].used
    a, b = id_hash(np.array(["a", "b"], dtype=object))
    keys = [wave_key(np.array(each, np.uint64), None, None) for each in ([b, a], [a, b], [a])]
    assert keys[0] == keys[1] != keys[2]


def test_the_budget_of_a_run_is_remembered_by_no_period(small, tmp_path):
    decide_wave(small, tmp_path, 200.0)
    uses = decide_wave(small, tmp_path, 200.0, rows=slice(300, 600))
    run = next(each for each in uses if each.name == "this_run")
    assert run.used == run.decided <= 200 == run.now


def test_what_others_used_meanwhile_is_not_used_twice(small, decider, tmp_path):
    ledger = BudgetLedger(tmp_path / "x.sqlite")
    ids = as_raw(small.table)[small.schema.id].tolist()[:10]
    slow = limited(CONFIG, decider, ledger, ids, "slow")
    everything = standing(slow.limits, slow.used, slow.limits.most, slow.limits.most, np.zeros(3))
    limited(CONFIG, decider, ledger, ids, "quick").keep(everything, 10)
    with pytest.raises(BudgetError, match="others used of limit money"):
        slow.keep(everything, 10)
    with ledger.turn("2026-12-07") as turn:
        assert turn.used(["money"]).tolist() == [900]


def test_before_the_first_period_nothing_is_decided(decider, tmp_path):
    with pytest.raises(BudgetError, match="starts: found 2026-12-07"):
        limited(CONFIG, decider, BudgetLedger(tmp_path / "x"), [], None, datetime(2026, 12, 1, tzinfo=UTC))


def desk_at(path, config=CONFIG, now=NOW):
    return BudgetDesk(config, BudgetLedger(path), "", lambda: now)


def ask(desk, decider, batch, rollout=NO_ROLLOUT):
    rows = decider.encoded(batch)
    return desk.decide(decider, batch, rows, decider.foresee(batch, rows), rollout, Budget())


def test_calls_share_what_is_left_and_a_new_process_goes_on(decider, customers, tmp_path):
    desk, cost = desk_at(tmp_path / "x"), 0.0
    for start in range(0, 300, 10):
        if start == 150:
            desk = desk_at(tmp_path / "x")
        decided, uses = ask(desk, decider, customers[start : start + 10])
        cost += sum(each.cost for each in decided)
        assert uses[0].used == pytest.approx(cost)
        assert all(each.used <= each.most for each in uses)
    assert 200 <= cost <= 900
    assert any(each.shadow_price > 0 for each in uses)
    rollout = Rollout(b"a secret of this test", "", 0.1, 0.6)
    for _ in range(3):
        decided, uses = ask(desk, decider, customers, rollout)
        assert all(each.used <= each.most for each in uses)
        cost += sum(each.cost for each in decided)
    assert uses[0].used == pytest.approx(cost)


def test_before_the_first_period_a_server_offers_nothing_that_is_limited(decider, customers, tmp_path):
    desk = desk_at(tmp_path / "x", now=datetime(2026, 12, 1, tzinfo=UTC))
    decided, uses = ask(desk, decider, customers)
    assert uses == []
    assert not any(each.arm for each in decided)


def test_a_ledger_that_is_none_is_told_and_nothing_is_offered(decider, customers, tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="expected the budgets' ledger"):
        ask(desk_at(file), decider, customers[:1])


def test_a_turn_that_fails_leaves_nothing(tmp_path):
    ledger = BudgetLedger(tmp_path / "x")

    def half():
        with ledger.turn("p") as turn:
            turn.add(["a"], np.array([5.0]), 0, 1)
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        half()
    with ledger.turn("p") as turn:
        assert turn.used(["a"]).tolist() == [0]
        assert turn.prices(["a"]) is None
        assert turn.arrived(2) == [0, 0]


def spend_all(file, most, taken):
    """A worker that takes one unit a turn while any is left."""
    ledger = BudgetLedger(file)
    while True:
        with ledger.turn("p") as turn:
            if turn.used(["a"])[0] + 1 > most:
                break
            turn.add(["a"], np.ones(1), 0, 1)
        with taken.get_lock():
            taken.value += 1


def test_several_workers_never_use_more_together_even_if_one_is_killed(tmp_path):
    context = multiprocessing.get_context("fork")
    taken, file = context.Value("i", 0), tmp_path / "x"
    workers = [context.Process(target=spend_all, args=(file, 60, taken)) for _ in range(3)]
    for each in workers:
        each.start()
    while taken.value < 5:
        time.sleep(0.005)
    os.kill(workers[0].pid, signal.SIGKILL)
    for each in workers:
        each.join(60)
    with BudgetLedger(file).turn("p") as turn:
        assert turn.used(["a"]).tolist() == [60]
    assert 58 <= taken.value <= 60  # the one that was killed may have taken one that it could not tell of
    sqlite3.connect(file).close()


def test_the_report_of_a_release_shows_use_and_shadow_prices(small, decider):
    rows = limit_rows(decider, as_raw(small.table).head(300), 600, CONFIG)
    assert [each["limit"] for each in rows] == ["money", "large", "monthly"]
    assert all(each["used"] <= each["allowed"] for each in rows)
    assert rows[0]["allowed"] == pytest.approx(900 * 300 / 600)
    assert limit_rows(decider, as_raw(small.table).head(3), 3, None) == []


def test_joined_batches_are_one_problem(decider, customers):
    limits = Limits.of(CONFIG, decider.menu, decider.schema)
    parts = [asked_of(decider, customers[a:b], limits)[2] for a, b in ((0, 4), (4, 10))]
    whole = asked_of(decider, customers[:10], limits)[2]
    assert Wishes.join(parts).value.tolist() == whole.value.tolist()
    assert Moment.of(CONFIG.period, NOW).week == 0
