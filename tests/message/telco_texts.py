"""How the quickstart calls the Telco table's services and contracts, its menu, and a menu of every kind of arm."""

from __future__ import annotations

from churn_assets.arms import Arm, ArmConfig, Catalogue

MENU = Catalogue(discount_months=6).menu((0.0, 0.05, 0.10, 0.20, 0.30))

EVERY_KIND = Catalogue(
    declared=tuple(
        ArmConfig.model_validate(each)
        for each in (
            {"id": "ten_off", "terms": {"kind": "amount_off", "amount": 10, "months": 6}},
            {"id": "free_month", "terms": {"kind": "free_months", "months": 1}},
            {"id": "router", "terms": {"kind": "gift", "gift": "a new router", "cost": 40}},
            {"id": "call", "terms": {"kind": "contact"}, "channel": "phone"},
        )
    ),
    discount_months=6,
    currency="EUR",
)
ANY_MENU = EVERY_KIND.menu(("no_contact", 0.1, 0.2, "ten_off", "free_month", "router", "call"))


def percent(share: float, months: int) -> Arm:
    """A share off the price for so many months."""
    return Catalogue(discount_months=months).arm(share)


PROFILE = {
    "services": [
        {"text": "fiber streaming bundle", "where": {"InternetService": "Fiber optic", "StreamingMovies": "Yes"}},
        {"text": "fiber TV package", "where": {"InternetService": "Fiber optic", "StreamingTV": "Yes"}},
        {"text": "fiber internet", "where": {"InternetService": "Fiber optic"}},
        {"text": "DSL movie plan", "where": {"InternetService": "DSL", "StreamingMovies": "Yes"}},
        {"text": "DSL security package", "where": {"InternetService": "DSL", "OnlineSecurity": "Yes"}},
        {"text": "home internet", "where": {"InternetService": "DSL"}},
        {"text": "family phone lines", "where": {"MultipleLines": "Yes"}},
        {"text": "phone plan"},
    ],
    "contract": {
        "column": "Contract",
        "texts": {"Month-to-month": "monthly", "One year": "yearly", "Two year": "long"},
    },
}  # fmt: skip
