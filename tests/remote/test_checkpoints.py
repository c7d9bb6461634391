"""Checkpoints go to the store whole or not at all, and come back on another machine."""

import threading

import pytest

from churn_assets.remote.checkpoints import WHOLE, checkpoint_prefix, forget_checkpoints, keep, kept, restore
from churn_assets.store.local import LocalBackend

PREFIX = checkpoint_prefix("shop", "ppo_text")


@pytest.fixture
def backend(tmp_path):
    return LocalBackend(tmp_path / "store")


def written(folder, step, content="weights", training="ppo_text-ab12"):
    place = folder / training / f"step-{step:06d}"
    (place / "policy").mkdir(parents=True)
    (place / "policy" / "model.safetensors").write_text(f"{content} {step}")
    (place / "state.json").write_text(f'{{"step": {step}}}')
    return place


def there(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def test_a_checkpoint_comes_back_elsewhere_byte_for_byte(backend, tmp_path):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    written(here, 10)
    assert keep(backend, PREFIX, here) == ["ppo_text-ab12/step-000010"]
    notes = []
    restore(backend, PREFIX, elsewhere, notes.append)
    assert there(elsewhere) == there(here)
    assert notes == ["goes on from checkpoint ppo_text-ab12/step-000010 of the store"]


def test_the_newest_replaces_the_one_before_and_is_stored_once(backend, tmp_path):
    written(tmp_path / "here", 10)
    keep(backend, PREFIX, tmp_path / "here")
    written(tmp_path / "here", 20)
    assert keep(backend, PREFIX, tmp_path / "here") == ["ppo_text-ab12/step-000020"]
    assert keep(backend, PREFIX, tmp_path / "here") == []
    assert {key.split("/")[4] for key in backend.list(PREFIX)} == {"step-000020"}


def test_one_that_was_cut_short_is_none(backend, tmp_path):
    written(tmp_path / "here", 10)
    keep(backend, PREFIX, tmp_path / "here")
    backend.delete(f"{PREFIX}ppo_text-ab12/step-000010/{WHOLE}")
    restore(backend, PREFIX, tmp_path / "elsewhere", lambda _: None)
    assert not (tmp_path / "elsewhere").exists()
    assert keep(backend, PREFIX, tmp_path / "here") == [
        "ppo_text-ab12/step-000010"
    ]  # goes on with what is there


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_one_that_is_broken_is_not_used_and_that_is_told(backend, tmp_path, harm):
    written(tmp_path / "here", 10)
    keep(backend, PREFIX, tmp_path / "here")
    key = f"{PREFIX}ppo_text-ab12/step-000010/state.json"
    backend.delete(key)
    if harm == "changed":
        backend.create(key, b'{"step": 11}')
    notes = []
    restore(backend, PREFIX, tmp_path / "elsewhere", notes.append)
    assert there(tmp_path / "elsewhere") == {}
    assert "is not used: state.json" in notes[0]


def test_what_the_training_writes_is_kept_while_it_works_and_forgotten_when_it_is_done(backend, tmp_path):
    told = threading.Event()
    with kept(backend, PREFIX, tmp_path / "here", lambda _: told.set(), every=0.01):
        written(tmp_path / "here", 10)
        assert told.wait(60)
        assert f"{PREFIX}ppo_text-ab12/step-000010/{WHOLE}" in backend.list(PREFIX)
    assert backend.list(PREFIX) == []


def test_what_a_training_that_died_wrote_stays(backend, tmp_path):
    told = threading.Event()

    def train():
        with kept(backend, PREFIX, tmp_path / "here", lambda _: told.set(), every=0.01):
            written(tmp_path / "here", 10)
            assert told.wait(60)
            raise MemoryError

    with pytest.raises(MemoryError):
        train()
    assert backend.list(PREFIX)
    forget_checkpoints(backend, PREFIX)
    assert backend.list(PREFIX) == []
