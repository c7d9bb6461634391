"""A release that an earlier version stored is decided and served by this one, or refused by name with what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from keep_release import KEPT, decided
from shop import Server

from benchmarks.served import Project
from churn_assets.release.bundle import RELEASE
from churn_assets.release.deciding import load_release
from churn_assets.release.golden import COMPARED
from churn_assets.store.errors import IncompatibleArtifact
from churn_assets.store.reference import ArtifactRef

OF_ALL_VERSIONS = sorted(folder for folder in KEPT.iterdir() if folder.is_dir())
REFUSED = [KEPT / "release-4"]
"""Made before any version was published whose releases are promised to be served."""


def project_of(folder: Path, root: Path) -> Project:
    """A project in whose store a kept release leads."""
    shutil.copytree(folder, root)
    (root / ".churn").mkdir()
    (root / "store").rename(root / ".churn" / "store")
    return Project(root)


@pytest.fixture(
    params=[each for each in OF_ALL_VERSIONS if each not in REFUSED], ids=lambda folder: folder.name
)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    return project_of(request.param, tmp_path / "project")


def leader(project: Project) -> ArtifactRef:
    head = project.channel.head()
    assert head is not None
    return ArtifactRef.parse(head.release)


def read(project: Project, name: str) -> list[dict[str, object]]:
    return json.loads((project.root / name).read_text())


def same_row(row: dict[str, object], kept: dict[str, object]) -> bool:
    return all(
        row[name] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-9))
        for name, value in kept.items()
    )


def test_one_of_the_present_format_is_kept():
    assert RELEASE.loader.replace("/", "-") in {folder.name for folder in OF_ALL_VERSIONS}


def test_it_decides_as_it_did_when_it_was_built(kept):
    found = decided(kept, leader(kept), pd.read_csv(kept.root / "customers.csv")).to_dict("records")
    expected = read(kept, "decisions.json")
    assert set(expected[0]) == set(COMPARED)
    assert {row["arm"] for row in expected} > {"no_contact"}
    assert [row["customer_id"] for row in found] == [row["customer_id"] for row in expected]
    assert all(map(same_row, found, expected))


def test_it_is_served(kept):
    with Server(kept).start() as server, server.client() as client:
        answer = client.post("/v1/decisions", json={"customers": read(kept, "questions.json")})
        assert answer.status_code == 200, answer.text
        arms = {each["customer_id"]: each["policy_arm"] for each in answer.json()["decisions"]}
    assert arms == {row["customer_id"]: row["arm"] for row in read(kept, "decisions.json")}


@pytest.mark.parametrize("folder", REFUSED, ids=lambda folder: folder.name)
def test_one_that_cannot_be_served_any_more_is_refused_by_name_with_what_to_do(folder, tmp_path):
    old = project_of(folder, tmp_path / "project")
    stored = old.store.manifest(leader(old)).loader
    with pytest.raises(IncompatibleArtifact, match=rf"{stored}.*{RELEASE.loader}.*churn run") as refused:
        load_release(old.store, leader(old))
    assert str(leader(old)) in str(refused.value)


def test_one_of_another_format_is_refused_by_name_with_what_to_do(kept, monkeypatch):
    stored = kept.store.manifest(leader(kept)).loader
    monkeypatch.setattr(type(RELEASE), "loader", "release/999")
    monkeypatch.setattr(type(RELEASE), "reads", ())
    with pytest.raises(IncompatibleArtifact, match=rf"{stored}.*release/999.*churn run") as refused:
        load_release(kept.store, leader(kept))
    assert str(leader(kept)) in str(refused.value)
