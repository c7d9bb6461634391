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
    """`offers.parquet` (columns as in `OfferLog.frame`) and `offer_log.json` (menu, simulated)."""

    loader = "offer_log/2"
    packages = ("pandas", "pyarrow")

    def save(self, value: OfferLog, folder: Path) -> None:
        write_parquet(value.frame, folder / TABLE)
        write_json({"menu": value.menu.to_json(), "simulated": value.simulated}, folder / ABOUT)

    def load(self, folder: Path) -> OfferLog:
        about = read_json(folder / ABOUT)
        return OfferLog(read_parquet(folder / TABLE), Menu.from_json(about["menu"]), about["simulated"])

    def signature(self, value: OfferLog) -> dict[str, JsonValue]:
        return {
            "columns": {str(name): str(dtype) for name, dtype in value.frame.dtypes.items()},
            "menu": list[JsonValue](value.menu.to_json()),
            "simulated": value.simulated,
        }


OFFER_LOG = OfferLogFormat()
