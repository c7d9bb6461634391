"""Dirty tables of every kind, against an oracle that wrote them; `python -m benchmarks.own_data` does it at length."""

from benchmarks import own_data


def test_nothing_is_misread_in_silence_and_every_cell_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(own_data, "FILES", 240)
    found = {figure.key: figure.value for figure in own_data.dirty(tmp_path)}
    assert found.pop("files") == 240
    assert found == {"silent_wrong": 0, "crash": 0, "exit_2_names_the_cell": 1, "refused_in_vain": 0}


def test_a_clean_table_is_the_same_in_every_dialect_and_database(tmp_path, postgresql):
    (alike,) = own_data.twins(tmp_path, postgresql.location())
    assert alike.value == 1
    assert "PostgreSQL, DuckDB" in alike.note


def test_the_oracle_would_find_a_value_that_was_misread():
    sheet = own_data.customers(own_data.np.random.default_rng(1))
    good = own_data.Read({name: list(values) for name, values in sheet.values.items()})
    assert not any(own_data.verdict(sheet, good).values())
    good.values["fee"][3] += 1
    assert own_data.verdict(sheet, good)["silent_wrong"]
    sheet.spoil("calls", 2, "many")
    refused = own_data.Read(problems=(("calls", (9,)),))
    assert own_data.verdict(sheet, refused) == {
        "silent_wrong": False,
        "refused_in_vain": False,
        "unnamed": True,
    }
