"""Foreign companies on the command line: a table and a log as CSV, `churn run`, `churn decide`, and what came true.

Each company is a world of its own with columns, prices, arms and responses that no part of the library was written
with. What the platform decides for customers whom it never saw is held against the world's own truth, beside what a
team would do without it: contact whom a boosted model finds riskiest, give everybody the best constant arm, or decide
by a ridge R-learner on the same log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import pandas as pd
import yaml
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROOT = Path(__file__).parents[1]
SEEDS = tuple(int(each) for each in os.environ.get("CHURN_SEEDS", "0,1,2").split(","))
CUSTOMERS, DECISIONS, FRESH = 16_000, 50_000, 8_000
MARGIN, MONTHS, GIVEN_MONTHS = 0.6, 18, 3
CONTACT_COST = 1.0
RIDGE = 300.0
PLANNED = os.environ.get("CHURN_PLANNED", "window")
"""`window`: what is decided is judged by is planned, one label window. `horizon`: the defaults, thirty months."""
ONE_WINDOW = {"episode_length": 1, "step_months": 3, "cooldown_months": 3, "discount_factor": 1.0}


def sigmoid(z: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-z)))


@dataclass(frozen=True)
class People:
    """n customers of a company and how they answer K arms, the first of them no contact.

    Attributes:
        frame: what the company knows of them.
        price: (n,) a month.
        accepts: (n, K) chance to take what an arm offers.
        takes: (n, K) chance to leave within three months if it is taken.
        refuses: (n, K) if it is not; of no contact this is the risk.
    """

    frame: pd.DataFrame
    price: Floats
    accepts: Floats
    takes: Floats
    refuses: Floats

    @property
    def leaves(self) -> Floats:
        """(n, K) chance to leave."""
        return self.accepts * self.takes + (1 - self.accepts) * self.refuses

    def worth(self, gives: Floats, contact: Floats) -> Floats:
        """(n, K) money that an arm brings within its window, as the platform accounts for it.

        Args:
            gives: (n, K) what a taken offer costs whoever stays.
            contact: (K,) what a contact costs.
        """
        stays = (1 - self.leaves) * (MARGIN * MONTHS * self.price)[:, None]
        return np.asarray(stays - self.accepts * (1 - self.takes) * gives - contact)


@dataclass(frozen=True)
class Company:
    """A world, and how the company tells of it.

    Attributes:
        people: draws n of its customers.
        arms: ids of what it offers beside no contact.
        gives: what each costs of a price where it is taken by somebody who stays, and is given once.
        contact: what a contact by each costs.
        section: what its experiment says of its arms.
        pull: how much more often its teams offered to those whom they thought likely to leave.
    """

    people: Callable[[np.random.Generator, int], People]
    arms: tuple[str, ...]
    gives: Callable[[Floats], Floats]
    contact: tuple[float, ...]
    section: dict[str, Any]
    pull: float = 1.0


def percents(*sizes: float) -> tuple[tuple[str, ...], Callable[[Floats], Floats], dict[str, Any]]:
    """Arms of percents off for six months."""
    ids = tuple(f"percent_{round(100 * each)}" for each in sizes)
    return (
        ids,
        lambda price: price[:, None] * np.array(sizes) * GIVEN_MONTHS,
        {"ppo_decision": {"menu": [0.0, *sizes]}},
    )


def gym(rng: np.random.Generator, n: int) -> People:
    """A studio: a call brings back who stopped coming and reminds others that they pay; the gift hardly matters."""
    visits, months = rng.gamma(1.5, 3.0, n).round(), rng.integers(1, 60, n)
    plan = rng.choice(["day", "off-peak", "all", "family"], n, p=[0.2, 0.3, 0.35, 0.15])
    distance, age = rng.lognormal(1, 0.7, n).round(1), rng.integers(16, 80, n)
    classes, spring = rng.poisson(1.2, n), rng.random(n) < 0.3
    price = np.select([plan == "day", plan == "off-peak", plan == "all"], [18.0, 29.0, 49.0], 79.0)
    price = price + rng.integers(0, 8, n)
    z = -1.6 + 1.5 * (visits < 2) + 0.05 * distance - 0.02 * months - 0.5 * (classes > 1) + 0.6 * spring
    risk = sigmoid(z + 0.4 * (age < 25))
    kept = np.where((visits < 4) & (months > 6), 0.45, np.where((classes > 1) & (visits < 9), 0.25, 0.0))
    woken = np.where((visits < 2) & (months <= 6), 0.12, np.where(visits > 8, 0.03, 0.0))
    churn = np.clip(risk * (1 - kept) + (1 - risk) * woken, 0, 1)[:, None]
    sizes = np.array([0.0, 0.05, 0.1, 0.2, 0.3])
    accepts = np.tile(0.25 + 0.9 * sizes, (n, 1)) * (sizes > 0)
    churns = np.where(sizes > 0, churn, risk[:, None])
    frame = pd.DataFrame(
        {"visits_a_month": visits, "months": months, "plan": plan, "km": distance, "age": age, "classes": classes,
         "joined_in_spring": np.where(spring, "yes", "no")}
    )  # fmt: skip
    return People(frame, price, accepts, churns, churns)


def software(rng: np.random.Generator, n: int) -> People:
    """A tool by the month: only a discount that reaches what a customer finds it too dear by keeps them."""
    seats, used = rng.geometric(0.25, n), rng.beta(2, 2, n)
    tickets, logins = rng.poisson(1.0, n), rng.gamma(2, 10, n)
    sector = rng.choice(["retail", "health", "law", "school", "build", "other"], n)
    tier = rng.choice(["basic", "team", "pro"], n, p=[0.5, 0.3, 0.2])
    price = np.round(
        np.select([tier == "basic", tier == "team"], [15.0, 35.0], 80.0) * (1 + 0.1 * np.minimum(seats, 10)),
        2,
    )
    z = -1.3 - 2.2 * (used - 0.5) + 0.35 * (tickets > 1) - 0.02 * (logins - 20) + 0.5 * (sector == "school")
    risk = sigmoid(z)
    too_dear = np.clip(
        0.14 + 0.35 * (0.5 - used) - 0.05 * (sector == "law") + 0.06 * (tier == "pro"), 0.02, 0.5
    )
    sizes = np.array([0.0, 0.05, 0.1, 0.2])
    reaches = sigmoid((sizes - too_dear[:, None]) / 0.03) * (sizes > 0)
    accepts = (0.15 + 0.7 * reaches) * (sizes > 0)
    takes = risk[:, None] * (1 - 0.3 * reaches)
    frame = pd.DataFrame(
        {"seats": seats, "seat_use": used.round(3), "tickets": tickets, "logins": logins.round(1), "sector": sector,
         "tier": tier}
    )  # fmt: skip
    return People(frame, price, accepts, takes, np.tile(risk[:, None], len(sizes)))


def insurance(rng: np.random.Generator, n: int) -> People:
    """Few leave, and each is dear; teams made nearly all their offers to those whom they thought at risk."""
    age, years, claims = rng.integers(18, 85, n), rng.exponential(6, n).round(1), rng.poisson(0.4, n)
    rise, cover = rng.normal(0.04, 0.06, n).round(3), rng.choice(["third", "part", "full"], n)
    power, city = rng.gamma(6, 15, n).round(), rng.random(n) < 0.4
    price = np.round(25 + 0.3 * power + 20 * (cover == "full") + 15 * (age < 25), 2)
    risk = sigmoid(
        -3.2
        + 14 * np.maximum(rise, 0)
        + 0.5 * (years < 2)
        + 0.4 * city
        - 0.02 * (age - 50)
        + 0.5 * (claims > 1)
    )
    sizes = np.array([0.0, 0.05, 0.1, 0.2])
    # Who saw the price rise is soothed by a discount of its size; who did not learns of it by the letter.
    soothed = np.minimum(sizes / np.maximum(rise, 0.03)[:, None], 1.6) * 0.45 * (rise > 0.03)[:, None]
    accepts = np.clip(0.2 + 2.0 * sizes + 2.5 * np.maximum(rise, 0)[:, None], 0, 0.95) * (sizes > 0)
    takes = risk[:, None] * (1 - soothed)
    told = np.where(sizes > 0, 0.012 * (rise <= 0.0)[:, None], 0.0)
    frame = pd.DataFrame(
        {"age": age, "years": years, "claims": claims, "rise": rise, "cover": cover, "power": power,
         "city": np.where(city, 1, 0)}
    )  # fmt: skip
    return People(frame, price, accepts, np.clip(takes + told, 0, 1), np.clip(risk[:, None] + told, 0, 1))


def dogs(rng: np.random.Generator, n: int) -> People:
    """Those most likely to leave cannot be kept, and a letter reminds them; the middle can be kept."""
    X = rng.normal(size=(n, 6)).round(3)
    region = rng.choice([f"r{each}" for each in range(12)], n)
    price = np.round(np.exp(rng.normal(3.6, 0.4, n)), 2)
    north = np.isin(region, ["r0", "r1", "r2", "r3"])
    risk = sigmoid(-1.2 + 1.1 * X[:, 0] + 0.6 * X[:, 1] * (X[:, 2] > 0) + 0.5 * north)
    middle = np.exp(-(((risk - 0.25) / 0.1) ** 2))
    change = 0.13 * middle * (X[:, 3] > -0.5) - 0.08 * (risk > 0.45) - 0.02 * north
    sizes = np.array([0.0, 0.05, 0.15, 0.25])
    accepts = sigmoid(-1.5 + 8 * sizes + 0.5 * X[:, [4]]) * (sizes > 0)
    takes = np.clip(risk[:, None] - change[:, None] * np.where(sizes > 0, 1 + 2 * sizes, 0.0), 0.005, 0.99)
    refuses = np.clip(risk[:, None] - 0.8 * change[:, None] * (sizes > 0), 0.005, 0.99)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d", "e", "f"]).assign(region=region)
    return People(frame, price, accepts, takes, refuses)


def channels(rng: np.random.Generator, n: int) -> People:
    """A newspaper: the old are kept by a call, the young by a letter with a gift, and arms have no order."""
    age, papers, late = rng.integers(18, 90, n), rng.integers(1, 8, n), rng.poisson(0.8, n)
    digital, moved = rng.random(n) < 0.4, rng.random(n) < 0.1
    years = rng.exponential(8, n).round(1)
    price = np.where(digital, 14.0, 38.0) + papers
    risk = sigmoid(-1.4 + 0.5 * late + 0.9 * moved - 0.04 * years + 0.3 * digital - 0.005 * (age - 50))
    old = sigmoid((age - 58.0) / 4)
    kept = np.column_stack(
        [np.zeros(n), 0.4 * old - 0.25 * (1 - old), 0.35 * (1 - old) - 0.05 * old, 0.12 + 0.2 * (late > 1)]
    )
    accepts = np.column_stack([np.zeros(n), np.full(n, 0.5), 0.2 + 0.5 * (1 - old), np.full(n, 0.6)])
    change = np.where(kept > 0, risk[:, None] * kept, (1 - risk[:, None]) * kept * 0.15)
    churn = np.clip(risk[:, None] - change, 0.002, 0.99)
    frame = pd.DataFrame(
        {"age": age, "papers": papers, "late_deliveries": late, "digital": np.where(digital, "true", "false"),
         "moved": np.where(moved, "true", "false"), "years": years}
    )  # fmt: skip
    return People(frame, price, accepts, churn, churn)


def energy(rng: np.random.Generator, n: int) -> People:
    """Of forty columns few matter; an offer keeps where two of them agree, and drives away where they do not."""
    X = rng.normal(size=(n, 40)).round(3)
    tariff = rng.choice(["fijo", "variable", "nocturno"], n)
    province = rng.choice([f"p{each:02d}" for each in range(30)], n)
    price = np.round(np.exp(rng.normal(4.0, 0.5, n)), 2)
    z = -2.0 + 0.9 * X[:, 0] - 0.7 * X[:, 1] + 0.6 * (tariff == "variable") + 0.3 * np.sin(3 * X[:, 2])
    risk = sigmoid(z)
    kept = np.where((X[:, 3] > 0) == (X[:, 4] > 0), 0.55, -0.25)
    sizes = np.array([0.0, 0.1, 0.2])
    accepts = (0.2 + 1.5 * sizes + 0.1 * (tariff == "fijo")[:, None]) * (sizes > 0)
    change = kept[:, None] * np.where(sizes > 0, 0.6 + 2 * sizes, 0.0)
    churn = np.clip(risk[:, None] * (1 - change), 0.003, 0.99)
    frame = pd.DataFrame(X, columns=[f"var {each}" for each in range(40)])
    return People(frame.assign(tarifa=tariff, provincia=province), price, accepts, churn, churn)


def phone(rng: np.random.Generator, n: int) -> People:
    """Nearly everybody takes what is given, and few of them would have left: most offers lose money."""
    data, calls = rng.gamma(2, 4, n).round(1), rng.poisson(3, n)
    shock, contract = rng.normal(0, 1, n), rng.choice(["m", "1y", "2y"], n, p=[0.5, 0.3, 0.2])
    tenure = rng.exponential(24, n).round()
    price = np.round(20 + 2 * data + rng.normal(0, 2, n).clip(-5, 5), 2).clip(8, 200)
    risk = sigmoid(-1.9 + 1.6 * (shock > 1) + 0.8 * (contract == "m") - 0.02 * tenure + 0.25 * (calls > 5))
    sizes = np.array([0.0, 0.1, 0.25, 0.5])
    accepts = np.tile((0.75 + 0.4 * sizes) * (sizes > 0), (n, 1))
    takes = risk[:, None] * (1 - np.where(shock > 1, 0.7, 0.1)[:, None] * (1 - np.exp(-6 * sizes)))
    frame = pd.DataFrame(
        {
            "data_gb": data,
            "care_calls": calls,
            "bill_shock": shock.round(3),
            "contract": contract,
            "tenure_m": tenure,
        }
    )
    return People(frame, price, accepts, takes, np.tile(risk[:, None], len(sizes)))


def lender(rng: np.random.Generator, n: int) -> People:
    """Ages answer by bands, the oldest the wrong way, low scores twice as much; teams offered to the safe ones."""
    age, balance = rng.integers(18, 90, n), rng.lognormal(7, 1.2, n).round(2)
    products, active = rng.integers(1, 5, n), rng.random(n) < 0.5
    score = rng.normal(650, 90, n).round()
    price = rng.choice([9.0, 15.0, 40.0], n)
    z = -1.5 + 0.04 * (age - 40) * (age < 60) - 0.8 * active - 0.002 * (score - 650)
    risk = sigmoid(z + 0.9 * (products > 2) - 0.5 * (products == 2))
    kept = np.select([age < 30, age < 45, age < 60], [0.1, 0.5, 0.2], -0.15) * (1 + (score < 600))
    sizes = np.array([0.0, 0.08, 0.16, 0.32])
    accepts = sigmoid(-1 + 5 * sizes + 0.8 * active[:, None]) * (sizes > 0)
    churn = np.clip(risk[:, None] * (1 - kept[:, None] * (sizes > 0)), 0.004, 0.99)
    frame = pd.DataFrame(
        {"age": age, "balance": balance, "products": products, "active": active.astype(int), "score": score}
    )
    return People(frame, price, accepts, churn, churn)


def nothing(rng: np.random.Generator, n: int) -> People:
    """Offers are taken, and change nothing."""
    found = software(rng, n)
    return People(found.frame, found.price, found.accepts, found.refuses, found.refuses)


_NEWSPAPER = [
    {"id": "call", "terms": {"kind": "contact"}, "channel": "phone", "contact_cost": 4.0},
    {
        "id": "book",
        "terms": {"kind": "gift", "gift": "a book", "cost": 5.0},
        "channel": "letter",
        "contact_cost": 1.0,
    },
    {
        "id": "six_off",
        "terms": {"kind": "amount_off", "amount": 6.0, "months": 3},
        "channel": "email",
        "contact_cost": 0.1,
    },
]


def _companies() -> Iterator[tuple[str, Company]]:
    for name, people, sizes, pull in (
        ("gym", gym, (0.05, 0.1, 0.2, 0.3), 1.0),
        ("software", software, (0.05, 0.1, 0.2), 1.0),
        ("insurance", insurance, (0.05, 0.1, 0.2), 2.5),
        ("dogs", dogs, (0.05, 0.15, 0.25), 1.0),
        ("energy", energy, (0.1, 0.2), 1.0),
        ("phone", phone, (0.1, 0.25, 0.5), 1.5),
        ("lender", lender, (0.08, 0.16, 0.32), -1.0),
        ("nothing", nothing, (0.05, 0.1, 0.2), 1.0),
    ):
        ids, gives, section = percents(*sizes)
        yield name, Company(people, ids, gives, (CONTACT_COST,) * len(ids), section, pull)
    yield (
        "channels",
        Company(
            channels,
            ("call", "book", "six_off"),
            lambda price: np.column_stack(
                [np.zeros_like(price), np.full_like(price, 5.0), np.full_like(price, 18.0)]
            ),
            (4.0, 1.0, 0.1),
            {"arms": _NEWSPAPER, "ppo_decision": {"menu": ["no_contact", "call", "book", "six_off"]}},
        ),
    )


COMPANIES = dict(_companies())


@dataclass(frozen=True)
class Told:
    """A company's own files, and what is true of customers of whom they say nothing."""

    folder: Path
    log: pd.DataFrame
    chances: Floats
    customers: People
    place: Ints
    fresh: People
    worth: Floats


def tell(company: Company, folder: Path, seed: int) -> Told:
    """Write the company's table, its log, the experiment and a table of fresh customers."""
    rng = np.random.default_rng([seed, 2026])
    known, fresh = company.people(rng, CUSTOMERS), company.people(rng, FRESH)
    arms = ("no_contact", *company.arms)
    left = rng.random(CUSTOMERS) < known.refuses[:, 0]
    table = known.frame.assign(fee=known.price)
    table.insert(0, "account", [f"A{each:06d}" for each in range(CUSTOMERS)])
    table.assign(left=np.where(left, "Yes", "No")).to_csv(folder / "customers.csv", index=False)
    later = fresh.frame.assign(fee=fresh.price)
    later.insert(0, "account", [f"F{each:06d}" for each in range(FRESH)])
    later.to_csv(folder / "fresh.csv", index=False)
    place = rng.integers(0, CUSTOMERS, DECISIONS)
    # What teams thought of somebody: the risk, seen through noise that is in the table as well.
    thought = known.refuses[:, 0] / known.refuses[:, 0].mean() - 1
    score = np.column_stack(
        [
            np.full(CUSTOMERS, 0.6),
            *[company.pull * 0.5 * thought - 0.2 * each for each in range(len(arms) - 1)],
        ]
    )
    chances = np.exp(score - score.max(axis=1, keepdims=True))
    chances = np.round(0.85 * chances / chances.sum(axis=1, keepdims=True) + 0.15 / len(arms), 4)
    chances[:, 0] += 1 - chances.sum(axis=1)
    chances = chances[place]
    arm = (chances.cumsum(axis=1) < rng.random((DECISIONS, 1))).sum(axis=1).clip(max=len(arms) - 1)
    row = np.arange(DECISIONS)
    accepted = rng.random(DECISIONS) < known.accepts[place, arm]
    churn = np.where(accepted, known.takes[place, arm], known.refuses[place, arm])
    log = pd.DataFrame(
        {
            "account": table["account"].to_numpy()[place],
            "decided_at": pd.Timestamp("2026-03-02", tz="UTC")
            + pd.to_timedelta(np.sort(rng.random(DECISIONS)) * 86_400, "s"),
            "arm": np.array(arms)[arm],
            **{f"propensity_{name}": chances[:, each] for each, name in enumerate(arms)},
            "propensity": chances[row, arm],
            "prior_offers": 0,
            "accepted": accepted.astype(int),
            "churned": (rng.random(DECISIONS) < churn).astype(int),
        }
    )
    log.to_csv(folder / "log.csv", index=False)
    (folder / "configs").mkdir()
    (folder / "configs" / "own.yaml").write_text(yaml.safe_dump(experiment(company, seed)), encoding="utf-8")
    for each in ("dagster.yaml", "workspace.yaml"):
        (folder / each).write_bytes((ROOT / each).read_bytes())
    gives = np.column_stack([np.zeros(FRESH), company.gives(fresh.price)])
    worth = fresh.worth(gives, np.array([0.0, *company.contact]))
    return Told(folder, log, chances, known, place, fresh, worth)


def experiment(company: Company, seed: int) -> dict[str, object]:
    """What somebody would write after reading the documentation."""
    decision = {**company.section.get("ppo_decision", {}), **(ONE_WINDOW if PLANNED == "window" else {})}
    return {
        "seed": seed + 1,
        "store": {"uri": ".churn/store"},
        "channel": "own",
        "economics": {
            "margin": MARGIN,
            "contact_cost": CONTACT_COST,
            "value_horizon_months": MONTHS,
            "discount_months": GIVEN_MONTHS,
        },
        "customers": {
            "source": "customers.csv",
            "id": "account",
            "label": {"column": "left", "positive": "Yes", "window_months": 3},
            "monthly_revenue": "fee",
        },
        "offer_log": {"source": "log.csv", "columns": {"customer_id": "account"}},
        "risk_model": {"kind": "best_by_nested_cv"},
        "accept_model": {},
        "effect_model": {},
        "release": {"branches": ["decision"]},
        **company.section,
        "ppo_decision": decision,
    }


def churn(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One command in the company's folder."""
    code = "import sys; from churn_assets.cli import app; sys.argv[0] = 'churn'; app()"
    command = [sys.executable, "-c", code, "--root", str(folder), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, check=False)


@dataclass(frozen=True)
class Outcome:
    """What a company has of it, money a fresh customer over no offer; None where no release came.

    Attributes:
        said: by what failed, empty where nothing did.
    """

    ours: float | None
    contacts: float
    top_risk: float
    constant: float
    ridge: float
    oracle: float
    said: str
    seconds: float


def played(name: str, seed: int, folder: Path) -> Outcome:
    """A company from its files to what its decisions bring."""
    company = COMPANIES[name]
    told = tell(company, folder, seed)
    start = time.perf_counter()
    ran = churn(folder, "run", "own")
    seconds = time.perf_counter() - start

    def mean(arms: Ints) -> float:
        return float((told.worth[np.arange(FRESH), arms] - told.worth[:, 0]).mean())

    ours, contacts, said = None, 0.0, ""
    if ran.returncode == 0:
        latest = ("--experiment", "own", "--release", "latest")
        out = churn(folder, "decide", "fresh.csv", *latest, "--out", "decided.csv")
        if out.returncode:
            said = out.stdout + out.stderr
        else:
            arms = (
                pd.read_csv(folder / "decided.csv")["arm"]
                .map({each: k for k, each in enumerate(("no_contact", *company.arms))})
                .to_numpy()
            )
            ours, contacts = mean(arms), float((arms > 0).mean())
    else:
        said = ran.stdout + ran.stderr
    return Outcome(
        ours, contacts, mean(top_risk(told)), max(mean(np.full(FRESH, k)) for k in range(told.worth.shape[1])),
        mean(ridge(told, company)), mean(told.worth.argmax(axis=1)), said, seconds,
    )  # fmt: skip


def encoded(frames: list[pd.DataFrame]) -> list[Floats]:
    """Plain columns, standardised, of several tables alike."""
    both = pd.get_dummies(pd.concat(frames), dtype=float)
    X = ((both - both.mean()) / (both.std() + 1e-9)).to_numpy()
    ends = np.cumsum([len(each) for each in frames])
    return np.split(X, ends[:-1])


def top_risk(told: Told) -> Ints:
    """The 30 % whom a boosted model finds riskiest get the largest but one of the arms."""
    X, new = encoded([told.customers.frame, told.fresh.frame])
    left = pd.read_csv(told.folder / "customers.csv")["left"] == "Yes"
    risk = (
        HistGradientBoostingClassifier(max_iter=80, max_depth=4, random_state=0)
        .fit(X, left)
        .predict_proba(new)[:, 1]
    )
    arm = max(told.worth.shape[1] - 2, 1)
    return np.where(risk >= np.quantile(risk, 0.7), arm, 0)


def ridge(told: Told, company: Company) -> Ints:
    """The best arm by a ridge regression of the centred outcome on centred arms times features."""
    X, new = encoded(
        [told.customers.frame.assign(fee=told.customers.price), told.fresh.frame.assign(fee=told.fresh.price)]
    )
    X, new = (np.column_stack([np.ones(len(each)), each]) for each in (X, new))
    rows, left = X[told.place], told.log["churned"].to_numpy(float)
    basis = np.column_stack([rows, told.chances[:, 1:]])
    residual = left - basis @ np.linalg.lstsq(basis, left, rcond=None)[0]
    arms = ("no_contact", *company.arms)
    taken = (told.log["arm"].to_numpy()[:, None] == np.array(arms)) - told.chances
    design = np.concatenate([taken[:, k, None] * rows for k in range(1, len(arms))], axis=1)
    found = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ residual)
    effects = new @ found.reshape(len(arms) - 1, -1).T
    took = [told.log["accepted"][told.log["arm"] == arm].mean() for arm in company.arms]
    value = (MARGIN * MONTHS * told.fresh.price)[:, None]
    gain = (
        -effects * value - np.array(took) * company.gives(told.fresh.price) * 0.8 - np.array(company.contact)
    )
    return np.column_stack([np.zeros(len(gain)), gain]).argmax(axis=1)


def figures(name: str, found: list[Outcome]) -> Iterator[Figure]:
    """Of one company over its seeds."""
    had = [each.ours for each in found if each.ours is not None]
    effects = name != "nothing"
    yield Figure(
        f"{name}_released", len(had) / len(found), ">=" if effects else None, 1.0 if effects else None
    )
    yield Figure(f"{name}_seconds", max(each.seconds for each in found), note="`churn run`, the slowest")
    if not had:
        return
    if not effects:
        yield Figure(f"{name}_contacts", max(each.contacts for each in found), "<=", 0.01)
        return
    simple = {
        rule: float(np.mean([getattr(each, rule) for each in found]))
        for rule in ("top_risk", "constant", "ridge")
    }
    best = max(simple, key=simple.__getitem__)
    gain = float(np.mean(had))
    yield Figure(
        f"{name}_gain", gain, note=", ".join(f"{rule} {value:.2f}" for rule, value in simple.items())
    )
    yield Figure(
        f"{name}_over_simple", gain - max(simple[best], 0.0), ">=", 0.0, f"money a customer over {best}"
    )
    yield Figure(f"{name}_of_oracle", gain / float(np.mean([each.oracle for each in found])))


def measure() -> list[Figure]:
    """All companies, seed after seed."""
    found: list[Figure] = []
    for name in os.environ.get("CHURN_COMPANIES", ",".join(COMPANIES)).split(","):
        outcomes = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
                outcomes.append(played(name, seed, Path(folder)))
            print(name, seed, outcomes[-1], file=sys.stderr, flush=True)
        found += figures(name, outcomes)
    return found


if __name__ == "__main__":
    main(__doc__, measure)
