"""How the quickstart calls the Telco table's services and contracts, and its menu."""

MENU = (0.0, 0.05, 0.10, 0.20, 0.30)
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
