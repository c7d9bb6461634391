"""Tables shaped like published experiments, drawn from known truths and run by config alone, as their user would.

Names, types and shares are those of the public descriptions; what customers do is made up. One half of the customers is
trained from, by a config that docs/outcomes.md and docs/offer-logs.md lead to; the release decides for the other half,
and what was drawn by lot there says what its decisions are worth, beside every arm made to everybody.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import Figure, main  # first: it sets the number of threads

import numpy as np  # isort: skip
import pandas as pd
import yaml

from churn_assets.gates.estimates import clustered_mean
from churn_assets.predictors.probability import logistic

HALF_SEED = 11


@dataclass(frozen=True)
class Published:
    """An experiment, as its public description has it.

    Attributes:
        draw: A table of it.
        arm: Column of what was sent.
        names: Our id of each of its values.
        outcome: `economics.outcome`.
        cost: Of a contact.
        shares: As they were set; empty where the log has the chosen arm's.
        channel: By which it was sent.
        customers: Further keys of the customers.
        log: Further columns of the log.
        more: Further keys of the log.
        together: Column of those who got the same by one draw.
    """

    draw: Callable[[np.random.Generator], pd.DataFrame]
    arm: str
    names: dict[str, str]
    outcome: dict[str, Any]
    cost: float
    shares: dict[str, str]
    channel: str
    customers: dict[str, Any] = field(default_factory=dict)
    log: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    together: str | None = None

    def config(self, file: str) -> dict[str, Any]:
        """What its user writes."""
        arms = [name for name in self.names.values() if name != "no_contact"]
        known = (
            {"propensities": "randomised", "shares": self.shares}
            if self.shares
            else {"propensities": "logged_chosen"}
        )
        return {
            "economics": {"contact_cost": self.cost, "outcome": self.outcome},
            "arms": [{"id": each, "terms": {"kind": "contact"}, "channel": self.channel} for each in arms],
            "customers": {"source": file, **self.customers},
            "offer_log": {
                "source": file,
                **({} if "decided_at" in self.log else {"start": "2026-03-20"}),
                "columns": {"arm": self.arm, **self.log},
                "arm_names": self.names,
                **known,
                **self.more,
                **({"drawn_together": self.together} if self.together else {}),
            },
            "risk_model": {},
            "ppo_decision": {"menu": ["no_contact", *arms]},
            "release": {"branches": ["decision"]},
        }


def mailing(rng: np.random.Generator, rows: int = 64_000) -> pd.DataFrame:
    """As Hillstrom's e-mail challenge: a third each got no e-mail, men's goods or women's goods."""
    history = np.clip(rng.lognormal(5.1, 0.95, rows).round(2), 29.99, 3345.93)
    edges, recency = [0, 100, 200, 350, 500, 750, 1000, np.inf], rng.integers(1, 13, rows)
    bands = ["1) $0 - $100", "2) $100 - $200", "3) $200 - $350", "4) $350 - $500", "5) $500 - $750",
             "6) $750 - $1,000", "7) $1,000 +"]  # fmt: skip
    mens = (rng.random(rows) < 0.55).astype(int)
    womens = np.where(mens == 1, rng.random(rows) < 0.18, 1).astype(int)
    zips = rng.choice(["Surburban", "Urban", "Rural"], rows, p=[0.45, 0.4, 0.15])
    newbie, arm = (rng.random(rows) < 0.5).astype(int), rng.integers(0, 3, rows)
    usual = logistic(
        -2.2 - 0.06 * (recency - 6) + 0.4 * womens * mens + 0.25 * (zips == "Rural") - 0.5 * newbie
    )
    brings = np.select([arm == 1, arm == 2], [0.075 + 0.02 * mens, 0.015 + 0.065 * womens], 0.0)
    visit = (rng.random(rows) < usual + brings).astype(int)
    bought = visit * (rng.random(rows) < 0.06)
    return pd.DataFrame(
        {
            "recency": recency,
            "history_segment": pd.cut(history, edges, labels=bands).astype(str),
            "history": history,
            "mens": mens,
            "womens": womens,
            "zip_code": zips,
            "newbie": newbie,
            "channel": rng.choice(["Web", "Phone", "Multichannel"], rows, p=[0.441, 0.438, 0.121]),
            "segment": np.array(["No E-Mail", "Mens E-Mail", "Womens E-Mail"])[arm],
            "visit": visit,
            "conversion": bought.astype(int),
            "spend": np.where(bought, np.clip(rng.lognormal(4.4, 0.8, rows).round(2), 29.99, 499), 0.0),
        }
    )


def coffee(rng: np.random.Generator, rows: int = 84_534) -> pd.DataFrame:
    """As the exercise of a coffee chain: a promotion that costs .15, purchases of 10 that hardly anybody makes."""
    promoted, v3 = rng.random(rows) < 0.5, rng.normal(0, 1, rows).round(1)
    v4, v5 = (
        rng.choice([1, 2], rows, p=[0.32, 0.68]),
        rng.choice([1, 2, 3, 4], rows, p=[0.18, 0.37, 0.39, 0.06]),
    )
    brings = np.where((v4 == 2) & ((v5 == 3) | (v3 > 0.3)), 0.021, 0.002)
    return pd.DataFrame(
        {
            "ID": np.sort(rng.permutation(126_184)[:rows] + 1),
            "Promotion": np.where(promoted, "Yes", "No"),
            "purchase": (rng.random(rows) < 0.0076 + promoted * brings).astype(int),
            "V1": rng.choice([0, 1, 2, 3], rows, p=[0.125, 0.375, 0.375, 0.125]),
            "V2": rng.normal(30, 5, rows).round(7),
            "V3": v3,
            "V4": v4,
            "V5": v5,
            "V6": rng.integers(1, 5, rows),
            "V7": rng.choice([1, 2], rows, p=[0.3, 0.7]),
        }
    )


def letters(rng: np.random.Generator, rows: int = 344_084) -> pd.DataFrame:
    """As the letters before an election: households were drawn, five ninths of them for none of four letters."""
    sizes = rng.choice([1, 2, 3, 4], rows, p=[0.22, 0.64, 0.11, 0.03])
    house = np.repeat(np.arange(len(sizes)), sizes)[:rows]
    count = int(house.max()) + 1
    arm = rng.choice(5, count, p=[5 / 9] + [1 / 9] * 4)[house]
    born = np.clip(rng.normal(1956, 12, count)[house] + rng.normal(0, 4, rows), 1900, 1986).astype(int)
    keen, age = rng.normal(0, 1, count)[house], 1956 - born
    before = {
        name: rng.random(rows) < logistic(level + 0.8 * keen + 0.02 * age)
        for name, level in {"g2000": 1.7, "g2002": 1.5, "p2000": -1.1, "p2002": -0.45, "p2004": -0.4}.items()
    }
    weights = {"g2000": 0.3, "g2002": 0.5, "p2000": 0.4, "p2002": 0.6, "p2004": 0.7}
    score = sum(weights[name] * each for name, each in before.items())
    usual = logistic(-2.1 + score + 0.018 * age + 0.4 * keen)
    brings = np.array([0, 0.026, 0.018, 0.081, 0.049])[arm] * (0.5 + 1.6 * usual)
    voted = rng.random(rows) < np.minimum(usual + brings, 1)
    words = {name: np.where(each, "yes", "no") for name, each in before.items()}
    return pd.DataFrame(
        {
            "sex": rng.choice(["male", "female"], rows),
            "yob": born,
            **words,
            "g2004": "yes",
            "treatment": np.array([" Control", " Hawthorne", " Civic Duty", " Neighbors", " Self"])[arm],
            "cluster": house // 18 + 1,
            "voted": np.where(voted, "Yes", "No"),
            "hh_id": house + 1,
            "hh_size": sizes[house],
            "numberofnames": 21,
        }
    )


def items(rng: np.random.Generator, rows: int = 400_000) -> pd.DataFrame:
    """As the random part of the Open Bandit data: one of 80 items in one of three places, clicked once in 240 times."""
    kinds = [rng.permutation(rng.dirichlet(np.ones(count))) for count in (3, 6, 10, 10)]
    users = [rng.choice(len(shares), rows, p=shares) for shares in kinds]
    codes = [[f"{code:032x}" for code in rng.integers(0, 2**62, len(shares)).tolist()] for shares in kinds]
    item, position = rng.integers(0, 80, rows), rng.integers(1, 4, rows)
    usual = np.exp(rng.normal(-0.12, 0.5, 80)) * 0.004
    liked = np.exp(rng.normal(0, 0.25, (80, 6)))[item, users[1]]
    chance = usual[item] * liked * np.array([1.15, 1, 0.9])[position - 1]
    shown = pd.Timestamp("2019-11-24") + pd.to_timedelta(np.sort(rng.uniform(0, 7 * 86_400, rows)), "s")
    return pd.DataFrame(
        {
            "timestamp": shown.strftime("%Y-%m-%d %H:%M:%S.%f+00:00"),
            "item_id": item,
            "position": position,
            "click": (rng.random(rows) < chance).astype(int),
            "propensity_score": 0.0125,
            **{f"user_feature_{place}": np.array(codes[place])[each] for place, each in enumerate(users)},
        }
    )


EXPERIMENTS = {
    "items": Published(
        items, "item_id", {"0": "no_contact", **{str(each): f"item_{each}" for each in range(1, 80)}},
        {"column": "click", "window_days": 1, "worth": 1.0}, 0.0, {}, "email",
        log={"decided_at": "timestamp", "propensity": "propensity_score"},
        more={"gates": {"max_detectable_share": 1.0}},  # as the refusal of the first attempt says
    ),
    "mailing": Published(
        mailing, "segment", {"No E-Mail": "no_contact", "Mens E-Mail": "mens", "Womens E-Mail": "womens"},
        {"column": "visit", "window_days": 14, "worth": 0.8}, 0.01,
        {"no_contact": "1/3", "mens": "1/3", "womens": "1/3"}, "email",
        customers={"exclude": ["conversion", "spend"]},
    ),
    "coffee": Published(
        coffee, "Promotion", {"No": "no_contact", "Yes": "promotion"},
        {"column": "purchase", "window_days": 30, "worth": 10}, 0.15,
        {"no_contact": "1/2", "promotion": "1/2"}, "email", customers={"id": "ID"}, log={"customer_id": "ID"},
    ),
    "letters": Published(
        letters, "treatment",
        {"Control": "no_contact", "Hawthorne": "hawthorne", "Civic Duty": "civic_duty", "Neighbors": "neighbors",
         "Self": "self"},
        {"column": "voted", "window_days": 14, "worth": 10}, 0.4,
        {"no_contact": "5/9", "hawthorne": "1/9", "civic_duty": "1/9", "neighbors": "1/9", "self": "1/9"}, "letter",
        customers={"exclude": ["cluster"]}, together="hh_id",
    ),
}  # fmt: skip


def figures(name: str, seed: int = 0) -> list[Figure]:
    """Of one experiment: whether a release came, and how its decisions compare on the half that nobody saw."""
    about = EXPERIMENTS[name]
    table = about.draw(np.random.default_rng(seed))
    unit = table[about.together] if about.together else np.arange(len(table))
    unit = pd.factorize(unit)[0]
    seen = (np.random.default_rng(HALF_SEED).random(unit.max() + 1) < 0.5)[unit]
    with tempfile.TemporaryDirectory(prefix="published-") as place:
        root = Path(place)
        (root / "configs").mkdir()
        (root / "configs" / f"{name}.yaml").write_text(
            yaml.safe_dump(about.config("seen.csv")), encoding="utf-8"
        )
        table[seen].to_csv(root / "seen.csv", index=False)
        table[~seen].to_csv(root / "unseen.csv", index=False)
        released = churn(root, "run", name) == 0
        found = [
            Figure(f"{name}_released", float(released), ">=", 1, "at the first attempt, by config alone")
        ]
        if not released:
            return found
        decided = root / "decided.csv"
        unseen = str(root / "unseen.csv")
        if code := churn(root, "decide", unseen, "-e", name, "--release", "latest", "--out", str(decided)):
            raise RuntimeError(f"churn decide: found exit code {code}, expected 0")
        chosen = pd.read_csv(decided, low_memory=False)["arm"].to_numpy()
    return [*found, *compared(name, about, table[seen], table[~seen], chosen, unit[~seen])]


def churn(root: Path, *words: str) -> int:
    """The exit code of a command, as its user gives it."""
    command = [str(Path(sys.executable).with_name("churn")), "--root", str(root), *words]
    return subprocess.run(command, check=False).returncode


def compared(
    name: str,
    about: Published,
    seen: pd.DataFrame,
    unseen: pd.DataFrame,
    chosen: np.ndarray,
    unit: np.ndarray,
) -> Sequence[Figure]:
    """Money a customer of the release's decisions less that of one arm for everybody, and its standard error.

    Of the arm that is the best on the very rows that are judged by, and of the one that a user would have taken. The
    first is ahead by luck alone where there are many arms: of 80 alike, by two or three standard errors.
    """
    worth = _worth(about, unseen)
    best = max(about.names.values(), key=lambda each: float(_brought(about, unseen, each).mean()))
    known = max(about.names.values(), key=lambda each: float(_brought(about, seen, each).mean()))
    ours = _brought(about, unseen, chosen)
    found = []
    for told, arm in (("best_constant", best), ("best_of_seen", known)):
        theirs = _brought(about, unseen, arm)
        over = clustered_mean(ours - theirs, unit)
        note = (
            f"policy {ours.mean():.4f}, {arm} for everybody {theirs.mean():.4f}, as it was {worth.mean():.4f}"
        )
        errors = over.z if over.standard_error else 0.0
        found += [
            Figure(f"{name}_over_{told}", over.value, note=note),
            Figure(f"{name}_standard_errors_over_{told}", errors, ">=", -1, "of the difference"),
        ]
    return found


def _worth(about: Published, table: pd.DataFrame) -> np.ndarray:
    came = table[about.outcome["column"]].isin([1, "Yes", "yes"]).to_numpy()
    return np.asarray(about.outcome["worth"] * came - about.cost * (_arms(about, table) != "no_contact"))


def _arms(about: Published, table: pd.DataFrame) -> np.ndarray:
    return table[about.arm].astype(str).str.strip().map(about.names).to_numpy()


def _brought(about: Published, table: pd.DataFrame, what: Any) -> np.ndarray:
    """(n,) whose mean is the money a customer where that was done."""
    arm = _arms(about, table)
    chance = pd.Series(arm).map(pd.Series(arm).value_counts(normalize=True)).to_numpy()
    weight = (arm == what) / chance
    return np.asarray(weight / weight.mean() * _worth(about, table))


def measure() -> list[Figure]:
    """All of them: some five CPU-minutes."""
    return [figure for name in EXPERIMENTS for figure in figures(name)]


if __name__ == "__main__":
    main(__doc__, measure)
