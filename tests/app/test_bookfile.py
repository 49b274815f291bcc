"""What-if clearing from file to file, and files that must be refused."""

import json
from pathlib import Path

import pytest

from app.commands.clear import Question, clear_book
from app.files.book import read_book
from app.files.rows import TableFileError
from market.pricing import PricingError, Rule

HEADER = "order_id,side,participant,quantity_wh,price_micro_per_kwh"
BOOK = f"""{HEADER}
b1,bid,ann,1000,300000
b2,bid,bob,500,200000
s1,offer,cat,800,100000
s2,offer,dan,900,250000
"""


def _file(tmp_path, text):
    path = tmp_path / "book.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _result(tmp_path, text, rule=Rule.UNIFORM, retail=None, feed_in=None):
    out = tmp_path / "result.json"
    clear_book(_file(tmp_path, text), out, Question(rule, retail, feed_in))
    return json.loads(out.read_text())


def test_a_book_becomes_a_result(tmp_path):
    result = _result(tmp_path, BOOK)
    assert sorted(result.pop("trades"), key=lambda t: t["wh"]) == [
        {
            "seller": "dan",
            "buyer": "ann",
            "wh": 200,
            "price_micro_per_kwh": 250_000,
            "amount_micro": 50_000,
        },
        {
            "seller": "cat",
            "buyer": "ann",
            "wh": 800,
            "price_micro_per_kwh": 250_000,
            "amount_micro": 200_000,
        },
    ]
    assert result == {
        "price_micro_per_kwh": 250_000,
        "price_interval_micro_per_kwh": [250_000, 250_000],
        "cleared_wh": 1000,
        "welfare_micro": 170_000,
        "allocations": {"b1": 1000, "b2": 0, "s1": 800, "s2": 200},
    }


def test_with_the_supplier_behind_it(tmp_path):
    result = _result(tmp_path, BOOK, retail=220_000, feed_in=80_000)
    assert result["price_micro_per_kwh"] == 220_000
    assert (result["grid_import_wh"], result["grid_export_wh"]) == (200, 0)
    assert {t["seller"] for t in result["trades"]} == {"cat", "grid"}


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_has_the_same_shape(tmp_path, rule):
    result = _result(tmp_path, BOOK, rule, retail=280_000, feed_in=80_000)
    assert set(result) == {
        "price_micro_per_kwh",
        "price_interval_micro_per_kwh",
        "cleared_wh",
        "welfare_micro",
        "allocations",
        "trades",
        "grid_import_wh",
        "grid_export_wh",
    }
    assert sum(trade["wh"] for trade in result["trades"]) == result["cleared_wh"]


def test_an_empty_book_trades_nothing(tmp_path):
    result = _result(tmp_path, HEADER + "\n")
    assert result["price_micro_per_kwh"] is None
    assert result["price_interval_micro_per_kwh"] == [None, None]
    assert (result["allocations"], result["trades"], result["cleared_wh"]) == ({}, [], 0)


def test_the_order_of_rows_and_columns_does_not_matter(tmp_path):
    result = _result(tmp_path, BOOK)
    header, *rows = BOOK.splitlines()
    assert _result(tmp_path, "\n".join([header, *reversed(rows)])) == result
    columns = [line.split(",") for line in BOOK.splitlines()]
    lines = [",".join([*reversed(line), "", ""]) for line in columns]
    lines[0] = ",".join([*reversed(columns[0]), "node", "product"])
    assert _result(tmp_path, "\ufeff" + "\r\n".join(lines)) == result


def test_a_participant_on_both_sides_is_netted_first(tmp_path):
    rows = "a,bid,ann,1000,300000\nb,offer,ann,600,100000\nc,offer,bob,700,100000\n"
    result = _result(tmp_path, f"{HEADER}\n{rows}")
    assert result["allocations"] == {"a": 400, "b": 0, "c": 400}
    assert [(t["seller"], t["buyer"], t["wh"]) for t in result["trades"]] == [("bob", "ann", 400)]


def test_several_orders_of_one_participant_make_few_trades(tmp_path):
    bids = [f"b{i},bid,ann,100,{300_000 + i}" for i in range(5)]
    offers = [f"s{i},offer,bob,{90 + 5 * i},{100_000 + i}" for i in range(5)]
    result = _result(tmp_path, "\n".join([HEADER, *bids, *offers]))
    assert [(t["seller"], t["buyer"], t["wh"]) for t in result["trades"]] == [("bob", "ann", 500)]


ROW = "a,bid,ann,5,5"
REFUSED = [
    ("empty file", "", "row 1: missing columns"),
    ("no header", ROW, "row 1: missing columns"),
    ("unknown column", f"{HEADER},colour\n{ROW},red", "row 1: .*'colour'"),
    ("column twice", f"{HEADER},side\n{ROW},bid", "row 1: .*double"),
    ("side", f"{HEADER}\na,buy,ann,5,5", "row 2: side 'buy'"),
    ("fraction", f"{HEADER}\na,bid,ann,5.5,5", "row 2: quantity_wh '5.5'"),
    ("NaN", f"{HEADER}\n{ROW}\nb,bid,ann,NaN,5", "row 3: quantity_wh 'NaN'"),
    ("infinity", f"{HEADER}\na,bid,ann,5,inf", "row 2: price_micro_per_kwh 'inf'"),
    ("1e999", f"{HEADER}\na,bid,ann,5,1e999", "row 2: price_micro_per_kwh '1e999'"),
    ("long number", f"{HEADER}\na,bid,ann,{'9' * 5000},5", "row 2: a field of 5000"),
    ("19 digits", f"{HEADER}\na,bid,ann,{'9' * 19},5", "row 2: quantity_wh"),
    ("underscore", f"{HEADER}\na,bid,ann,1_000,5", "row 2: quantity_wh '1_000'"),
    ("other digits", f"{HEADER}\na,bid,ann,٣,5", "row 2: quantity_wh"),
    ("no number", f"{HEADER}\na,bid,ann,,5", "row 2: quantity_wh ''"),
    ("zero", f"{HEADER}\na,bid,ann,0,5", "row 2: .*quantity 0 Wh"),
    ("negative", f"{HEADER}\na,bid,ann,-5,5", "row 2: .*quantity -5 Wh"),
    ("too much", f"{HEADER}\na,bid,ann,{10**12 + 1},5", "row 2: .*quantity"),
    ("too dear", f"{HEADER}\na,bid,ann,5,{10**9 + 1}", "row 2: .*limit"),
    ("double id", f"{HEADER}\n{ROW}\n{ROW}", "row 3: order id 'a' stands in row 2"),
    ("no id", f"{HEADER}\n,bid,ann,5,5", "row 2: .*empty"),
    ("no participant", f"{HEADER}\na,bid,,5,5", "row 2: .*empty"),
    ("reserved", f"{HEADER}\na,bid,grid,5,5", "row 2: .*reserved"),
    ("cut short", f"{HEADER}\na,bid,ann", "row 2: 3 fields"),
    ("surplus", f"{HEADER}\n{ROW},6", "row 2: 6 fields"),
    ("open quote", f'{HEADER}\na,bid,"ann,5,5', "row 2: unexpected end"),
    ("product", f"{HEADER},product\n{ROW},green\nb,bid,bob,5,5,y", "row 3: 'y' is no wish"),
    ("product twice", f"{HEADER},product\n{ROW},green any", "row 2: .*a second time"),
    ("premium", f"{HEADER},product\n{ROW},green+NaN", r"row 2: 'green\+NaN' is no wish"),
    ("offer's wish", f"{HEADER},product\na,offer,ann,5,5,green+7", "row 2: .*any or green"),
    ("offer's only", f"{HEADER},product\na,offer,ann,5,5,green-only", "row 2: .*any or green"),
    ("offer's rank", f"{HEADER},product\na,offer,ann,5,5,local-first", "row 2: .*any or green"),
    ("node", f"{HEADER},node\n{ROW},F//M", "row 2: 'F/' is no place"),
    ("node without a point", f"{HEADER},node\n{ROW},F/B/", "row 2: 'F/B/' is no node"),
    ("too deep", f"{HEADER},node\n{ROW},F/B/M/X", "row 2: 'F/B/M/X' is no place"),
    ("no such level", f"{HEADER},node,product\n{ROW},F,max-building", "row 2: .*no farther"),
    ("both sides", f"{HEADER},node\n{ROW},F/B/M\nb,offer,ann,5,5,F/B/M", "row 3: .*in row 2"),
    ("not UTF-8", HEADER.encode() + b"\n\xff\xfe", "UTF-8"),
]


@pytest.mark.parametrize(
    ("text", "message"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED]
)
def test_bad_files_are_refused_by_row(tmp_path, text, message):
    with pytest.raises(TableFileError, match=message):
        read_book(_file(tmp_path, text))


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(TableFileError, match="cannot read"):
            read_book(path)


def test_a_refused_book_leaves_no_result(tmp_path):
    with pytest.raises(TableFileError):
        _result(tmp_path, f"{HEADER}\na,buy,ann,5,5")
    with pytest.raises(PricingError):
        _result(tmp_path, BOOK, Rule.SDR)
    assert not (tmp_path / "result.json").exists()


def test_a_huge_file_is_refused_unread(tmp_path):
    path = tmp_path / "book.csv"
    with path.open("wb") as file:
        file.truncate(10**10)
    for file in (path, Path("/dev/zero")):  # and what has no size
        with pytest.raises(TableFileError, match="larger than"):
            read_book(file)
