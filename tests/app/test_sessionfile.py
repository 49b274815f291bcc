"""What-if sessions from file to file, and files that must be refused."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import app.files.session
from app.commands.session import SessionQuestion, clear_session_file
from app.files.result import ResultFileError
from app.files.rows import TableFileError
from app.files.session import read_session
from market.session_orders import SessionError

FIRST = "2026-06-23T14:00:00Z"
HEADER = (
    "kind,order_id,participant,point,side,start,end,quantity_wh,price_micro_per_kwh,"
    "min_acceptance_ppm,parent,power_w,discharge_w,initial_wh,final_wh,efficiency_ppm"
)
STEP = "step,s1,ann,pa,bid,0,,1000,200000,,,,,,,"
OFFER = "step,s2,bob,pb,offer,0,,3000,100000,,,,,,,"
BLOCK = "block,k1,cat,,offer,1,,500 0 250,90000,500000,,,,,,"
CHILD = "block,k2,cat,,offer,1,,100,90000,,k1,,,,,"
CAR = "flexible,e1,dan,,,0,4,2000,150000,,,4000,,,,"
STORE = "storage,z1,eve,,,,,2000,1000,,,4000,2000,500,250,900000"
ROWS = [STEP, OFFER, BLOCK, CHILD, CAR, STORE]


def _file(tmp_path, *rows, header=HEADER):
    path = tmp_path / "orders.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_a_file_becomes_a_book(tmp_path):
    book = read_session(_file(tmp_path, *ROWS), FIRST)
    assert book.session.keys[-1] == "2026-06-23T14:45:00Z"
    (block, child), (car,), (store,) = book.blocks, book.flexible, book.storages
    assert (block.start, block.profile_wh, block.min_acceptance_ppm) == (1, (500, 0, 250), 500_000)
    assert (child.parent, child.min_acceptance_ppm, child.point) == ("k1", 1_000_000, "cat")
    assert (car.start, car.deadline, car.energy.wh, car.power.w) == (0, 4, 2000, 4000)
    assert (store.charge.w, store.discharge.w, store.least_final.wh) == (4000, 2000, 250)
    assert [step.order.point for step in book.steps] == ["pa", "pb"]


def test_rows_may_stand_in_any_order(tmp_path):
    results = []
    for rows in (ROWS, ROWS[::-1]):
        out = tmp_path / "result.json"
        asked = SessionQuestion(FIRST, retail=300_000, feed_in=80_000)
        clear_session_file(_file(tmp_path, *rows), out, asked)
        results.append(out.read_bytes())
    assert results[0] == results[1]


def test_the_result_names_all_that_happened(tmp_path):
    out = tmp_path / "result.json"
    asked = SessionQuestion(FIRST, intervals=6, retail=300_000, feed_in=80_000)
    clear_session_file(_file(tmp_path, *ROWS), out, asked)
    result = json.loads(out.read_text("utf-8"))
    by_interval = [
        "intervals", "price_micro_per_kwh", "price_interval_micro_per_kwh", "cleared_wh",
        "grid_import_wh", "grid_export_wh", "trades",
    ]  # fmt: skip
    assert {len(result[name]) for name in by_interval} == {6}
    assert list(result["allocations"]) == ["e1", "k1", "k2", "s1", "s2", "z1"]
    assert result["allocations"]["k1"] == {"start": 1, "wh": [-500, 0, -250]}
    assert result["accepted_ppm"] == {"k1": 1_000_000, "k2": 1_000_000}
    assert sum(result["allocations"]["e1"]["wh"]) == 2000
    assert (result["optimal"], result["fallback"], result["withdrawn"]) == (True, False, [])
    sold = [t for t in result["trades"][1] if t["seller_order"] == "k1"]
    assert sum(trade["wh"] for trade in sold) == 500
    assert {trade["seller"] for trade in sold} == {"cat"}
    assert result["stored_wh"]["z1"][-1] >= 250


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("steppe,x,ann,,bid,0,,1,1,,,,,,,", "row 8: kind 'steppe' is none of step"),
        ("step,s1,ann,,bid,0,,1,1,,,,,,,", "row 8: order id 's1' stands in row 2"),
        ("step,x,ann,,buy,0,,1,1,,,,,,,", "row 8: side 'buy'"),
        ("step,x,ann,,bid,0,,0,1,,,,,,,", "row 8: order 'x': quantity 0 Wh"),
        ("step,x,ann,,bid,0,,1e3,1,,,,,,,", "row 8: quantity_wh '1e3' is not a whole"),
        ("step,x,ann,,bid,0,,NaN,1,,,,,,,", "row 8: quantity_wh 'NaN'"),
        ("step,x,ann,,bid,0,,1,inf,,,,,,,", "row 8: price_micro_per_kwh 'inf'"),
        ("step,x,ann,,bid,,,1,1,,,,,,,", "row 8: start ''"),
        ("step,x,ann,,bid,-1,,1,1,,,,,,,", "row 8: order 'x': index -1"),
        ("step,x,ann,,bid,96,,1,1,,,,,,,", "row 8: it reaches index 96"),
        ("step,x,ann,,bid,0,3,1,1,,,,,,,", "row 8: end '3' means nothing for a step"),
        ("step,x,,,bid,0,,1,1,,,,,,,", "row 8: order 'x': order id and participant"),
        ("step,x,grid,,bid,0,,1,1,,,,,,,", "row 8: order 'x': 'grid'"),
        ("step,x,ann,pa,offer,0,,1,1,,,,,,,", "row 8: point 'pa' stands on the other side"),
        ("block,x,ann,,bid,0,,,1,,,,,,,", "row 8: quantity_wh '' is no profile"),
        ("block,x,ann,,bid,0,,5 x,1,,,,,,,", "row 8: quantity_wh 'x'"),
        ("block,x,ann,,bid,95,,5 5,1,,,,,,,", "row 8: it reaches index 96"),
        ("block,x,ann,,bid,0,,5,1,2000000,,,,,,", "row 8: block 'x': least share"),
        ("block,x,ann,,bid,0,,5,1,,nobody,,,,,", "parent 'nobody' is no block"),
        ("block,x,ann,,bid,0,,5,1,,k1,,,,,", "another participant's"),
        ("flexible,x,ann,,,0,0,5,1,,,400,,,,", "row 8: order 'x': the intervals"),
        ("flexible,x,ann,,,0,1,500,1,,,400,,,,", "row 8: order 'x': 400 W gives 100 Wh"),
        ("flexible,x,ann,,,0,1,500,1,,,,,,,", "row 8: power_w ''"),
        ("storage,x,ann,,,,,500,1,,,400,,600,,", "row 8: storage 'x': 0 <= least final"),
        ("storage,x,ann,,,0,,500,1,,,400,,,,", "row 8: start '0' means nothing"),
        ("storage,x,ann,,,,,500,1,,,400,,,,0.9", "row 8: efficiency_ppm '0.9'"),
        ("step,x,ann,,bid,0,,1,1,,,,,,", "row 8: 15 fields where the header has 16"),
        ("step,x,ann,,bid,0,,1,1,,,,,,,,", "row 8: 17 fields"),
        ('step,"x,ann,,bid,0,,1,1,,,,,,,', "is a quote left open, or the file cut short?"),
        ("step,x\0,ann,,bid,0,,1,1,,,,,,,", "control character"),
        (f"step,{'x' * 1100},ann,,bid,0,,1,1,,,,,,,", "row 8: a field of 1100 characters"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_written(tmp_path, row, words):
    path, out = _file(tmp_path, *ROWS, row), tmp_path / "result.json"
    with pytest.raises(TableFileError) as caught:
        clear_session_file(path, out, SessionQuestion(FIRST))
    assert words in str(caught.value)
    assert not out.exists()


def test_a_circle_of_parents_is_refused(tmp_path):
    rows = ["block,x,ann,,bid,0,,5,1,,y,,,,,", "block,y,ann,,bid,0,,5,1,,x,,,,,"]
    with pytest.raises(TableFileError, match="own descendant"):
        read_session(_file(tmp_path, *rows), FIRST)


def test_prices_are_multiples_of_the_tick(tmp_path):
    path = _file(tmp_path, *ROWS, "step,x,ann,,bid,2,,1,150050,,,,,,,")
    read_session(path, FIRST)
    with pytest.raises(TableFileError, match=r"row 8: price_micro_per_kwh 150050 .* 150000 or"):
        read_session(path, FIRST, tick=100)


@pytest.mark.parametrize("header", ["kind;order_id", "order_id,kind", HEADER + ",kind"])
def test_a_wrong_header_is_refused(tmp_path, header):
    with pytest.raises(TableFileError, match="row 1"):
        read_session(_file(tmp_path, STEP, header=header), FIRST)


def test_too_large_a_file_is_refused_before_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(app.files.session, "MAX_ORDERS", 5)
    with pytest.raises(TableFileError, match="row 7: more than 5 orders"):
        read_session(_file(tmp_path, *ROWS), FIRST)
    monkeypatch.setattr(app.files.session, "MAX_BYTES", 100)
    with pytest.raises(TableFileError, match="larger than 100 bytes"):
        read_session(_file(tmp_path, *ROWS), FIRST)


@pytest.mark.parametrize("bad", [b"\xff\xfe\0", b"kind,\xe9\n"])
def test_other_encodings_are_refused(tmp_path, bad):
    path = tmp_path / "orders.csv"
    path.write_bytes(bad)
    with pytest.raises(TableFileError):
        read_session(path, FIRST)


def test_options_out_of_range_are_refused(tmp_path):
    path, out = _file(tmp_path, *ROWS), tmp_path / "result.json"
    for asked in (
        SessionQuestion("now"),
        SessionQuestion(FIRST, tick=0),
        SessionQuestion(FIRST, gap_ppm=-1),
        SessionQuestion(FIRST, time_limit_s=0),
        SessionQuestion(FIRST, retail=1, feed_in=2),
    ):
        with pytest.raises(SessionError):
            clear_session_file(path, out, asked)
    with pytest.raises(TableFileError, match="cannot read"):
        clear_session_file(tmp_path / "none.csv", out, SessionQuestion(FIRST))
    with pytest.raises(ResultFileError, match="itself"):
        clear_session_file(path, path, SessionQuestion(FIRST))
    assert not out.exists()


def test_the_command_clears_the_sample_of_the_manual(tmp_path):
    out = tmp_path / "result.json"
    sample = Path(__file__).parents[2] / "docs/samples/session.csv"
    wattloom = [sys.executable, "-m", "app.cli", "session"]
    done = subprocess.run(
        [*wattloom, sample, "--first", FIRST, "--retail", "300000", "--feed-in", "80000",
         "--out", out],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "4 intervals, 3 of 3 blocks accepted, 0 paradoxically rejected" in done.stderr
    prices = json.loads(out.read_text("utf-8"))["price_micro_per_kwh"]
    assert prices == [90_000, 135_000, 170_000, 170_000]
    bad = subprocess.run(
        [*wattloom, sample, "--tick", "7", "--out", out],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (bad.returncode, bad.stderr.splitlines()[-1][:23]) == (1, "wattloom session: row 2")
