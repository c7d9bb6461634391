"""What is installed is what was looked at: hashes, licences, and base images by digest. Asks no network."""

import importlib.metadata
import re
import subprocess
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from locks.make import cpu_torch, divided

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
LIBERAL = re.compile(
    r"\b(Apache|MIT|BSD|0BSD|ISC|PSF|Python Software Foundation|CNRI|Zlib|CC0|BSL|MPL|Mozilla Public|Unlicense)\b",
    re.IGNORECASE,
)
REFUSED = re.compile(
    r"\b(AGPL|Affero|GPL|LGPL|SSPL|BUSL|Business Source|Commons Clause|Proprietary)", re.IGNORECASE
)
LOOKED_AT = {
    "axe-playwright-python": "MIT: LICENSE of the sdist; the wheel says nothing",
    "psycopg2-binary": "LGPL with exceptions, used unchanged over its interface, by the extra `postgres` alone",
}
"""Packages whose metadata say no licence, or one that has to be looked at, and what was found."""


def pins(path):
    found = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", line):
            found[canonicalize_name(match[1])] = match[2]
    return found


def blocks(path):
    return re.split(r"(?m)^(?=[A-Za-z0-9])", path.read_text())[1:]


@pytest.mark.parametrize("name", ["common", "extras", "torch-default", "torch-cpu", "tools"])
def test_every_line_of_a_lock_has_a_hash(name):
    for block in blocks(LOCKS / f"{name}.txt"):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]


def test_the_locks_are_the_versions_that_were_tested_together():
    tested = pins(ROOT / "constraints.txt")
    extras, by_torch = pins(LOCKS / "extras.txt"), pins(LOCKS / "torch-default.txt")
    locked = pins(LOCKS / "common.txt") | extras | by_torch
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
    assert pins(LOCKS / "torch-cpu.txt") == {"torch": f"{tested['torch']}+cpu"}
    assert set(by_torch) & set(tested) == {"torch"}, "what another package needs as well is in both builds"
    unused = {"typeguard", "typing-inspect"}  # of packages that other pins no longer need
    assert set(tested) - set(locked) <= unused
    needed = {name for name in locked if name not in tested}
    assert all(name.startswith(("nvidia-", "cuda-", "triton")) for name in needed), needed


def test_a_compiled_file_is_divided_by_what_only_one_build_of_torch_needs():
    text = (
        "# made\na==1 \\\n    --hash=sha256:aa\n    # via b\ntorch==2 \\\n    --hash=sha256:bb\nnvidia-x==3\n"
    )
    found = divided(text)
    assert re.findall(r"(?m)^\S+==\S+", found["common"]) == ["a==1"]
    assert re.findall(r"(?m)^\S+==\S+", found["torch-default"]) == ["torch==2", "nvidia-x==3"]
    assert "torch==2+cpu" in cpu_torch("2", "c" * 64)


def planned(*given):
    """What `make install` would do, as make prints it."""
    command = ["make", "--dry-run", "--always-make", "install", *given]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_readmes_commands_install_nothing_whose_hash_is_unknown():
    installs = re.findall(r"pip install ([^;|'\n]*)", planned("HASHES=yes"))
    (looks,) = (each for each in installs if "--dry-run" in each)
    *found, this = (each.strip() for each in installs if each != looks)
    assert this.endswith("--no-deps --no-build-isolation --editable ."), "this folder, with what is there"
    assert all("--require-hashes --no-deps" in each for each in found)
    assert re.findall(r"locks/(\S+)", " ".join(found)) == ["common.txt", "torch-cpu.txt", "torch-default.txt"]


def test_elsewhere_versions_are_pinned_and_it_is_said_that_hashes_are_not():
    told = planned("HASHES=no")
    assert "Without hashes" in told
    assert "--constraint constraints.txt" in told
    assert "--require-hashes" not in told


def licence(distribution):
    metadata = distribution.metadata
    classifiers = [
        each.split("::")[-1] for each in metadata.get_all("Classifier", []) if each.startswith("License")
    ]
    return (
        metadata.get("License-Expression") or " ".join(classifiers) or (metadata.get("License") or "")[:200]
    )


def verdict(name, said):
    if REFUSED.search(said) and (name not in LOOKED_AT or "LGPL" not in said or "AGPL" in said):
        return f"{name}: {said!r} is none that this project may need"
    known = LIBERAL.search(said) or name in LOOKED_AT
    return "" if known else f"{name}: found {said!r}, expected a licence that is known"


def test_no_package_that_is_installed_asks_for_more_than_this_project_may_give():
    ours = {*pins(LOCKS / "common.txt"), "torch"}
    found = {
        canonicalize_name(each.metadata["Name"]): licence(each) for each in importlib.metadata.distributions()
    }
    assert len(set(found) & ours) > 100
    assert [problem for name in sorted(set(found) & ours) if (problem := verdict(name, found[name]))] == []


def test_every_package_that_is_installed_takes_the_earliest_python_of_this_version():
    """Debian 12 brings 3.11.2: an install that fails there says only that versions conflict."""
    ours = set(pins(LOCKS / "common.txt"))
    asked = {
        canonicalize_name(each.metadata["Name"]): each.metadata.get("Requires-Python") or ""
        for each in importlib.metadata.distributions()
    }
    assert {
        name: said for name, said in asked.items() if name in ours and "3.11.0" not in SpecifierSet(said)
    } == {}


@pytest.mark.parametrize(
    ("said", "fine"),
    [("AGPL-3.0-only", False), ("GNU Affero General Public License v3", False), ("", False), ("MIT", True)],
)
def test_a_licence_that_binds_or_is_not_told_is_refused(said, fine):
    assert (verdict("x", said) == "") is fine
