"""The user's own texts: read row by row, every bad row named, nothing on two sides of the split."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from telco_texts import MENU, percent

from churn_assets.customers.names import pseudonym
from churn_assets.message.corpus.data import SPLITS, splits_of
from churn_assets.message.corpus.read import MessageFileError, read_messages, read_preferences
from churn_assets.message.text.profile import profiles_of, prompt_of


@pytest.fixture
def plain_rows() -> list[dict]:
    return [{"prompt": f"Write to customer {n}.", "completion": f"Hello, number {n}."} for n in range(60)]


@pytest.fixture
def write(tmp_path):
    def save(rows):
        path = tmp_path / "texts.jsonl"
        lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
        path.write_bytes(b"\n".join(lines) + b"\n")
        return path

    return save


@pytest.fixture
def read(telco, config, write):
    return lambda rows: read_messages(write(rows), telco, config, MENU)


def told(telco, config, customer, **other):
    prompt = prompt_of(profiles_of(telco, config.profile)[customer], percent(0.2, 6))
    row = {
        "prompt": prompt,
        "completion": f"Hi {{name}}, {abs(hash(customer)) % 10**5}.",
        "customer_id": customer,
    }
    return row | {"offer_pct": 0.2, "offer_months": 6} | other


def test_rows_without_a_customer_are_split_by_their_prompt(read, plain_rows):
    made = read(plain_rows)
    assert not made.simulated
    assert set(made.frame["split"]) == set(SPLITS)
    assert (made.frame["arm"] == "").all()
    assert list(made.profiles) == []
    again = read(plain_rows[::-1]).frame.set_index("prompt")["split"]
    assert again.to_dict() == made.frame.set_index("prompt")["split"].to_dict()


def test_a_completion_starts_with_one_space_however_it_was_written(read, plain_rows):
    plain_rows[0]["completion"] = "   Hello.\n"
    assert read(plain_rows).frame["completion"][0] == " Hello."


def test_rows_of_customers_are_split_as_they_are_and_carry_their_profile(telco, config, read):
    few = telco.where(np.arange(len(telco)) < 80)
    rows = {row["prompt"]: row for row in (told(few, config, str(customer)) for customer in few.ids)}
    made = read(rows.values())
    assert (made.frame["split"] == made.frame["customer_id"].map(splits_of(telco))).all()
    assert set(made.profiles) == set(made.frame["customer_id"])
    assert set(made.frame["arm"]) == {"percent_20"}


def test_where_customers_have_pseudonyms_no_text_names_one(telco, config, write, plain_rows):
    ids, key = [str(each) for each in telco.ids[:2]], b"a secret of this shop"
    few = telco.frame.head(80)
    named = few.assign(customer_id=[pseudonym(str(each), key) for each in few["customer_id"]])
    hidden = replace(telco, frame=named)
    assert len(read_messages(write(plain_rows), hidden, config, MENU, key=key).frame) == 60
    plain_rows[3]["completion"] = f"Dear customer ({ids[0]}), stay."
    plain_rows[5]["prompt"] = f"Write to {pseudonym(ids[1], key)}."
    plain_rows[7]["tone"] = ids[1]
    with pytest.raises(MessageFileError) as refused:
        read_messages(write(plain_rows), hidden, config, MENU, key=key)
    said = str(refused.value)
    for told in (":4: completion: found the id", ":6: prompt: found the id", ":8: tone: found the id"):
        assert told in said
    assert not any(each in said for each in ids)


def test_an_id_in_a_text_is_refused_by_its_line_where_the_store_names_by_ids_too(telco, read, plain_rows):
    customer = str(telco.ids[3])
    plain_rows[4]["completion"] = f"Dear customer {customer}, stay."
    with pytest.raises(MessageFileError, match=r":5: completion: found the id of a customer") as refused:
        read(plain_rows)
    assert customer not in str(refused.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"{", r":4: found no JSON in UTF-8"),
        (b"", r":4: found no JSON in UTF-8"),
        (b"[1]", r":4: found list, expected an object"),
        (b'{"prompt": "\xff", "completion": "a"}', r":4: found no JSON in UTF-8"),
        (b'{"prompt": "a", "prompt": "b", "completion": "c"}', r":4: found a field twice"),
        ({"prompt": "a"}, r":4: completion: found nothing, expected a text"),
        ({"prompt": "a", "completion": "  "}, r":4: completion: found '  ', expected a text"),
        ({"prompt": 5, "completion": "b"}, r":4: prompt: found 5, expected a text"),
        ({"prompt": "a ", "completion": "b"}, r":4: prompt: found white space at its end"),
        ({"prompt": "a", "completion": "b", "anser": "c"}, r":4: anser: found an unknown field, expected one of"),
        ({"prompt": "a", "completion": "b", "tone": 3}, r":4: tone: found 3, expected a text"),
        ({"prompt": "a", "completion": "b", "offer_pct": 0.2}, r":4: customer_id: found nothing, expected a value"),
        (b'{"prompt": "a", "completion": "b", "offer_pct": NaN}', r":4: found NaN, expected a number"),
        (b'\xef\xbb\xbf{"prompt": "a", "completion": "b"}', r":4: found a byte order mark, expected plain UTF-8"),
        (b'{"prompt": "a", "completion": "b\\ud83d"}', r":4: completion: found U\+D83D at character 1, expected"),
        (b'{"prompt": "a\\u0000b", "completion": "b"}', r":4: prompt: found U\+0000 at character 1"),
        ({"prompt": "a", "completion": None}, r":4: completion: found nothing, expected a text"),
        ({"prompt": "a", "completion": "b", "customer_id": None}, r":4: customer_id: found null, .*leave the field"),
        (b'{"prompt": "a", "completion": ' + b"9" * 5000 + b"}", r":4: completion: found inf, expected a text"),
        (
            b'{"prompt": "a", "completion": "b", "customer_id": "7590-VHVEG", "arm": "percent_20", "months": '
            + b"9" * 5000 + b"}", r":4: months: found inf, expected one of \[3, 6, 12\]",
        ),
        (
            b'{"prompt": "a", "completion": "b", "customer_id": "7590-VHVEG", "offer_pct": 1e999, "offer_months": 6}',
            r":4: offer_pct: found inf, expected one of \[0",
        ),
        (b'{"prompt": ' + b"[" * 9000 + b"]" * 9000 + b"}", r":4: (found no JSON|prompt: found)"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_line_field_found_and_expected(read, plain_rows, row, message):
    with pytest.raises(MessageFileError, match=message):
        read([*plain_rows[:3], row, *plain_rows[3:]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"customer_id": "nobody"},
            r":1: customer_id: found somebody else, expected one of the 7043 customers",
        ),
        ({"customer_id": 7}, r":1: customer_id: found int, expected one of"),
        ({"offer_pct": 20}, r":1: offer_pct: found 20, expected one of \[0.05, 0.1, 0.2, 0.3\]"),
        ({"offer_months": 7}, r":1: offer_months: found 7, expected one of \[3, 6, 12\]"),
        ({"offer_pct": True}, r":1: offer_pct: found True"),
        ({"offer_pct": 0.3}, r":1: prompt: found .*, expected .*30% off for 6 months"),
    ],
)
def test_a_row_about_a_customer_must_fit_customer_menu_and_prompt(
    telco, config, read, plain_rows, change, message
):
    with pytest.raises(MessageFileError, match=message):
        read([told(telco, config, str(telco.ids[0]), **change), *plain_rows])


def test_every_bad_row_is_reported_the_first_five_in_full(read, plain_rows):
    with pytest.raises(MessageFileError, match=r"(?s):61: .*:65: .*\(and 3 more\)") as raised:
        read([*plain_rows, *[{"prompt": "a"}] * 8])
    assert len(raised.value.problems) == 8


def test_a_row_that_stands_twice_is_refused(read, plain_rows):
    with pytest.raises(MessageFileError, match=r":61: found the row of line 5 again"):
        read([*plain_rows, plain_rows[4]])


def test_a_text_on_two_sides_of_the_split_is_refused(read, plain_rows):
    splits = read(plain_rows).frame["split"]
    train, test = (int(np.flatnonzero(splits == split)[0]) for split in ("train", "test"))
    plain_rows[test]["completion"] = plain_rows[train]["completion"]
    with pytest.raises(MessageFileError, match=r"completion: found in split \w+ the text of line \d+"):
        read(plain_rows)


def test_a_side_of_the_split_without_a_row_is_refused(read, plain_rows):
    with pytest.raises(MessageFileError, match="found no row for"):
        read(plain_rows[:1])


def test_no_file_is_an_error(telco, config, tmp_path):
    with pytest.raises(MessageFileError, match=r"none\.jsonl: there is no such file"):
        read_messages(tmp_path / "none.jsonl", telco, config, MENU)


def test_pairs_are_read_alike_and_a_text_against_itself_is_refused(telco, config, write, plain_rows):
    rows = [
        {"prompt": r["prompt"], "chosen": r["completion"], "rejected": r["completion"] + " Bye."}
        for r in plain_rows
    ]
    made = read_preferences(write(rows), telco, config, MENU)
    assert set(made.frame["kind"]) == {"pair"}
    assert made.frame["chosen"].str.startswith(" Hello").all()
    rows[6]["rejected"] = rows[6]["chosen"]
    with pytest.raises(MessageFileError, match=r":7: rejected: found the text of chosen"):
        read_preferences(write(rows), telco, config, MENU)
