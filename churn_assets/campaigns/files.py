"""A campaign's tables as files: what was assigned, what was sent, and the log that they make. Judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from churn_assets.arms import Menu
from churn_assets.offers.economics import Economics, decision_value
from churn_assets.offers.log import PROPENSITY_TOLERANCE, propensity_column
from churn_assets.tables.config import FileReading
from churn_assets.tables.files import DETECTED, read_raw
from churn_assets.tables.problems import STRUCTURE, Problems, TableError
from churn_assets.tables.rules import NumberRule
from churn_assets.tables.values import parse_dates, parse_ids, parse_numbers, parse_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from churn_assets.offers.records import LoggedOutcome
    from churn_assets.tables.raw import RawTable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SHARE = NumberRule(lowest=0, highest=1, needed=True)
_COUNT = NumberRule(lowest=0, whole=True, needed=True)


class CampaignError(TableError):
    """A table of a campaign is not what it must be; the message names file, column, lines, found and expected."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """What was assigned, as read back.

    Attributes:
        frame: Columns of `assigned`, typed; a row a decision.
        menu: K arms.
    """

    frame: pd.DataFrame
    menu: Menu

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def arm(self) -> Ints:
        """(n,) index of the arm."""
        return np.asarray(pd.Index(self.menu.ids).get_indexer(self.frame["arm"]), np.int64)

    @property
    def propensities(self) -> Floats:
        """(n, K) of every arm."""
        return np.asarray(self.frame[list(map(propensity_column, self.menu.ids))], dtype=np.float64)


def read_assignment(path: Path, menu: Menu, reading: FileReading = DETECTED) -> Assignment:
    """The assignment that `churn design` wrote.

    Raises:
        CampaignError: It is another file, or was changed so that it is no assignment: all that is wrong with it.
    """
    problems = Problems(str(path), CampaignError)
    raw = read_raw(path, problems, reading)
    chances = list(map(propensity_column, menu.ids))
    names = [
        "decision_id",
        "customer_id",
        "campaign",
        "decided_at",
        "wave",
        "stratum",
        "arm",
        "propensity",
        *chances,
    ]
    _need(raw, names, problems)
    frame = pd.DataFrame(
        {
            "decision_id": parse_ids(raw, "decision_id", problems, unique=True),
            "customer_id": parse_ids(raw, "customer_id", problems, unique=True),
            "campaign": parse_texts(raw, "campaign", problems),
            "decided_at": parse_dates(raw, "decided_at", problems, needed=True),
            **{name: parse_numbers(raw, name, problems, _COUNT) for name in ("wave", "stratum")},
            "arm": _arms(raw, menu, problems),
            **{name: parse_numbers(raw, name, problems, _SHARE) for name in ("propensity", *chances)},
        }
    )
    found = Assignment(frame, menu)
    total, arm = found.propensities.sum(1), found.arm
    off = np.abs(total - 1) > PROPENSITY_TOLERANCE
    problems.rows("propensity_*", off, total, "a sum of 1 over the arms", line=raw.line)
    stated, own = frame["propensity"].to_numpy(np.float64), found.propensities[np.arange(len(frame)), arm]
    wrong = (arm >= 0) & ((np.abs(stated - own) > PROPENSITY_TOLERANCE) | (own == 0))
    problems.rows("propensity", wrong, stated, "the propensity of the arm, above 0", line=raw.line)
    problems.stop()
    return Assignment(frame.astype({"wave": np.int64, "stratum": np.int64}), menu)


def read_sent(path: Path, menu: Menu, reading: FileReading = DETECTED) -> pd.DataFrame:
    """What was sent: `customer_id`, `arm`, and `sent_at` if it is there; a row each time that something was sent.

    Rows of no contact may stand there too. Other columns are passed over.

    Raises:
        CampaignError: A column is missing, or a value is no id, arm or time: all that is wrong with it.
    """
    problems = Problems(str(path), CampaignError)
    raw = read_raw(path, problems, reading)
    _need(raw, ["customer_id", "arm"], problems)
    frame = pd.DataFrame(
        {
            "customer_id": parse_ids(raw, "customer_id", problems, unique=False),
            "arm": _arms(raw, menu, problems),
        }
    )
    if "sent_at" in raw.columns:
        frame["sent_at"] = parse_dates(raw, "sent_at", problems)
    problems.stop()
    return frame


def campaign_log(
    assignment: Assignment,
    outcomes: Sequence[LoggedOutcome],
    price: Floats,
    prior_offers: Ints,
    economics: Economics,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The log of a campaign, as assigned, in the columns of `offer_log.source`; and how many decisions are left out.

    Args:
        assignment: Who was to get what.
        outcomes: What is known of it; parts of one may come apart.
        price: (n,) list price a month of each decision's customer.
        prior_offers: (n,) offers in the 90 days before.
        economics: What a decision is worth where no outcome tells its margin.

    Raises:
        CampaignError: An outcome is of no decision of the campaign, or two contradict each other.
    """
    told = _told(assignment, outcomes)
    frame, contacted = assignment.frame, assignment.arm > 0
    whole = (told["churned"].notna() & (told["accepted"].notna() | ~contacted)).to_numpy(bool)
    accepted, churned = (told[name].fillna(0).to_numpy(np.int64) for name in ("accepted", "churned"))
    accepted = accepted * contacted
    computed = decision_value(assignment.menu, assignment.arm, price, accepted, churned, economics)
    margin = told["margin"].to_numpy(np.float64)
    chances = list(map(propensity_column, assignment.menu.ids))
    log = pd.DataFrame(
        {
            **{
                name: frame[name]
                for name in ("customer_id", "decided_at", "wave", "arm", "propensity", *chances)
            },
            "policy_version": "campaign/" + frame["campaign"],
            "prior_offers": prior_offers,
            "accepted": accepted,
            "churned": churned,
            "margin": np.where(np.isnan(margin), computed, margin),
        }
    )
    counts = {
        "assigned": len(frame),
        "without a whole outcome": int((~whole).sum()),
        "written": int(whole.sum()),
    }
    return log[whole].sort_values("decided_at", kind="stable", ignore_index=True), counts


_PARTS = ("accepted", "churned", "margin")


def _told(assignment: Assignment, outcomes: Sequence[LoggedOutcome]) -> pd.DataFrame:
    """What is known of each decision, in the order of the assignment."""
    problems = Problems("outcomes", CampaignError)
    names = ["decision_id", *_PARTS]
    rows = pd.DataFrame([[getattr(each, name) for name in names] for each in outcomes], columns=names)
    place = pd.Index(assignment.frame["decision_id"]).get_indexer(rows["decision_id"])
    if unknown := int((place < 0).sum()):
        expected = f"ids of the {len(assignment)} decisions of this campaign"
        problems.add(f"{unknown} ids that are not there", expected, column="decision_id")
    rows = rows[place >= 0].astype(dict.fromkeys(_PARTS, "float64"))
    grouped = rows.groupby("decision_id")
    for name in _PARTS:
        if doubled := int((grouped[name].nunique() > 1).sum()):
            problems.add(f"{doubled} decisions that are told two ways", "one outcome each", column=name)
    told = grouped[list(_PARTS)].first().reindex(assignment.frame["decision_id"]).reset_index(drop=True)
    if taken := int(((told["accepted"] == 1) & (assignment.arm == 0)).sum()):
        expected = "0 or a blank where nothing was offered"
        problems.add(f"{taken} of the holdout that accepted an offer", expected, column="accepted")
    problems.stop()
    return told


def _need(raw: RawTable, names: Sequence[str], problems: Problems) -> None:
    for name in names:
        if name not in raw.columns:
            problems.add("no such column", f"it beside {', '.join(raw.names)}", column=name, rank=STRUCTURE)
    if not len(raw):
        problems.add("no rows", "at least one", rank=STRUCTURE)
    problems.stop()


def _arms(raw: RawTable, menu: Menu, problems: Problems) -> NDArray[np.object_]:
    texts = parse_texts(raw, "arm", problems)
    wrong = np.array([text not in menu.position for text in texts], dtype=bool)
    problems.rows("arm", wrong, texts, f"one of {', '.join(menu.ids)}", line=raw.line)
    return texts
