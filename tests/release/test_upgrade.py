"""A store and experiments of versions before: read, rolled back to, compared, or named with what they need."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args, get_origin

import pytest
import yaml

from churn_assets.experiment import CHANGED_KEYS, REMOVED_KEYS, Experiment, ExperimentError, load_experiment
from churn_assets.flow.registry import registry
from churn_assets.offers.segments import read_sealed
from churn_assets.release.compare import differences, facts_of
from churn_assets.release.deciding import load_release
from churn_assets.release.promotion import rollback
from churn_assets.release.upgrade import check_store
from churn_assets.store.artifacts import ArtifactStore
from churn_assets.store.channels import Channel
from churn_assets.store.local import LocalBackend

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "tests" / "kept"
FORMATS = {asset.name: asset.format for asset in registry().assets}
NOW = datetime(2026, 11, 30, 9, tzinfo=UTC)


def store_of(folder, *releases):
    """One store with what several versions of the library wrote into it; the first release's channel."""
    for name in releases:
        shutil.copytree(KEPT / name / "store" / "artifacts", folder / "artifacts", dirs_exist_ok=True)
    shutil.copytree(KEPT / releases[0] / "store" / "channels", folder / "channels")
    return ArtifactStore(LocalBackend(folder))


def test_the_version_before_is_rolled_back_to_and_compared(tmp_path):
    store = store_of(tmp_path / "store", "release-5", "release-6")
    before, now = store.versions("quickstart", "release")
    channel = Channel(store, "quickstart")
    channel.append(
        "promote", now, expected_seq=1, actor="a", reason="", gate_report_digest="0" * 64, now=NOW
    )  # fmt: skip
    record = rollback(store, channel, None, actor="a", reason="worse", now=NOW)
    assert record.ref == before
    assert load_release(store, before)[0].experiment == "quickstart"
    found = differences(facts_of(store, before), facts_of(store, now))
    assert {each.asset for each in found} >= {"ppo_decision", "release"}


def test_a_check_says_what_reads_and_what_has_to_be_made_again(tmp_path):
    fine = check_store(store_of(tmp_path / "fine", "release-5", "release-6"), FORMATS)
    assert all(each.read for each in fine)
    old = {each.what: each for each in check_store(store_of(tmp_path / "old", "release-4"), FORMATS)}
    assert not old["release"].read
    assert "make it again: churn run; it leads quickstart" in old["release"].needed
    assert old["customers"].read
    assert old["channel quickstart"].read


def keys_of(model, path):
    for name in path.split("."):
        field = model.model_fields.get(name)
        if field is None:
            return False
        kinds = [
            kind
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ()))
            if kind is not type(None)
        ]
        model = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
    return True


@pytest.mark.parametrize("old", [*CHANGED_KEYS, *REMOVED_KEYS])
def test_a_key_of_an_earlier_version_is_told_with_the_new_one_or_why_it_goes(old, tmp_path):
    assert not keys_of(Experiment, old)
    assert old in REMOVED_KEYS or keys_of(Experiment, CHANGED_KEYS[old])
    said = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    *sections, key = old.split(".")
    place = said
    for each in sections:
        place = place.setdefault(each, {})
    place[key] = 1.0
    (tmp_path / "quickstart.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(ExperimentError) as error:
        load_experiment("quickstart", tmp_path)
    now = CHANGED_KEYS.get(old) or REMOVED_KEYS[old]
    assert any(now in each and old in each for each in error.value.problems)


def all_keys(annotation, before=(), within=()):
    """Every key path of an experiment; a member of a list or mapping is `*`."""
    found = set()
    if hasattr(annotation, "model_fields"):
        if annotation in within:
            return found
        for name, field in annotation.model_fields.items():
            found |= {".".join((*before, name))} | all_keys(
                field.annotation, (*before, name), (*within, annotation)
            )
        return found
    many = get_origin(annotation) in (tuple, list, dict)
    for each in get_args(annotation):
        found |= all_keys(each, (*before, "*") if many else before, within)
    return found


def test_no_key_that_an_earlier_version_had_goes_in_silence():
    """`kept/config_keys.txt`: keys of this and earlier versions; a new key is added to it, none is ever taken out."""
    kept = set((KEPT / "config_keys.txt").read_text().split())
    now = all_keys(Experiment)
    assert sorted(now - kept) == [], "add them to tests/kept/config_keys.txt"
    assert sorted(kept - now - {*CHANGED_KEYS, *REMOVED_KEYS}) == [], "say what stands in their place"


KEPT_SEGMENT = KEPT / "decision_log-1.log"


def test_a_segment_that_the_first_version_wrote_is_read():
    assert len(read_sealed(KEPT_SEGMENT.read_bytes(), "20261123T090000Z-0123456789abcdef")) == 2
