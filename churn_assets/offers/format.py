"""How an offer log is stored: a Parquet table and what it says of itself. Never the demo world's truth."""

from __future__ import annotations

from pathlib import Path

from pydantic import JsonValue

from churn_assets.arms import Menu
from churn_assets.offers.log import OfferLog
from churn_assets.store.formats import ArtifactFormat, read_json, read_parquet, write_json, write_parquet

TABLE = "offers.parquet"
ABOUT = "offer_log.json"


class OfferLogFormat(ArtifactFormat[OfferLog]):
    """`offers.parquet`, columns as in `OfferLog.frame`, and `offer_log.json`: menu, simulated, `known_by`."""

    loader = "offer_log/3"
    reads = ("offer_log/2",)
    packages = ("pandas", "pyarrow")

    def save(self, value: OfferLog, folder: Path) -> None:
        write_parquet(value.frame, folder / TABLE)
        about = {"menu": value.menu.to_json(), "simulated": value.simulated, "propensities": value.known_by}
        write_json(about, folder / ABOUT)

    def load(self, folder: Path) -> OfferLog:
        about = read_json(folder / ABOUT)
        # Version 2 knew no other than logged ones.
        known_by = about.get("propensities", "logged")
        menu = Menu.from_json(about["menu"])
        return OfferLog(read_parquet(folder / TABLE), menu, about["simulated"], known_by)

    def signature(self, value: OfferLog) -> dict[str, JsonValue]:
        about: dict[str, JsonValue] = {
            "columns": {str(name): str(dtype) for name, dtype in value.frame.dtypes.items()},
            "menu": list[JsonValue](value.menu.to_json()),
            "simulated": value.simulated,
        }
        return about if value.known_by == "logged" else about | {"propensities": value.known_by}


OFFER_LOG = OfferLogFormat()
