"""A small project as an earlier version left it: its experiment, its tables, and a release that leads."""

import shutil
from pathlib import Path

KEPT = Path(__file__).parent / "kept" / "release-6"


def of_kept_release(root: Path) -> Path:
    """A copy of it, with its store where `configs/quickstart.yaml` says."""
    shutil.copytree(KEPT, root)
    (root / ".churn").mkdir()
    (root / "store").rename(root / ".churn" / "store")
    return root
