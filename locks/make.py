"""Divide what `uv pip compile --generate-hashes` wrote into the lock files of this folder; `make lock` runs it.

torch has two builds. The default index's needs CUDA's libraries on Linux, and they are in `torch-default.txt`. The CPU
build stands in other indexes under a local version, `2.13.0+cpu`, with bytes of its own: `torch-cpu.txt`. What only
benchmarks and pretrained models need is in `extras.txt`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
_CUDA = ("nvidia-", "cuda-", "triton")
_EXTRAS = ("catboost", "gguf", "graphviz", "lightgbm", "nvidia-nccl-cu12", "plotly", "xgboost")
"""What only the extras `benchmarks` and `pretrained` need: nothing that `make install` installs."""
_HEAD = "# Hashes of all that may be installed, by `make lock` from pyproject.toml and constraints.txt.\n"


def divided(text: str) -> dict[str, str]:
    """Lock files by their name, of the requirements that a compiled file lists."""
    found: dict[str, list[str]] = {"common": [], "extras": [], "torch-default": []}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", text)[1:]:
        plain = "".join(f"{line}\n" for line in block.splitlines() if not line.lstrip().startswith("#"))
        name = re.split(r"[^A-Za-z0-9_.-]", plain, maxsplit=1)[0]
        of_torch = name == "torch" or name.startswith(_CUDA)
        found["extras" if name in _EXTRAS else "torch-default" if of_torch else "common"].append(plain)
    return {name: _HEAD + "".join(blocks) for name, blocks in found.items()}


def cpu_torch(version: str, sha256: str) -> str:
    """The lock file of torch's CPU build."""
    return f"{_HEAD}torch=={version}+cpu \\\n    --hash=sha256:{sha256}\n"


def main(compiled: str, *cpu: str) -> None:
    """Write the files; version and SHA-256 of the CPU build's wheel are asked for where it changed."""
    for name, text in divided(Path(compiled).read_text(encoding="utf-8")).items():
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
    if cpu:
        (FOLDER / "torch-cpu.txt").write_text(cpu_torch(*cpu), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
