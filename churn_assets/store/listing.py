"""What lies in a folder, by a pattern. `Path.glob` takes a folder that it may not look into for an empty one."""

import os
from fnmatch import fnmatchcase
from pathlib import Path


def files_like(folder: Path, pattern: str = "*") -> list[Path]:
    """Paths right in a folder, sorted; none where there is no such folder.

    Args:
        folder: Where.
        pattern: Of their names, as a shell's.

    Raises:
        OSError: It cannot be looked into, or is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(names) if fnmatchcase(name, pattern)]
