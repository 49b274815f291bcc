"""``wattloom clear`` by tables: places, products, fees, other limits, ticks, contracts."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest

from app.commands.clear import Question, QuestionError, clear_book, read_limits
from app.files.book import MAX_ORDERS, read_book
from app.files.contracts import read_contracts
from app.files.result import ResultFileError
from app.files.rows import TableFileError
from market.money import Price
from market.pricing import PricingError, Rule
from optimizer.problem import Fees

SAMPLES = Path(__file__).parents[2] / "docs/samples"
HEADER = "order_id,side,participant,quantity_wh,price_micro_per_kwh,node,product"
CONTRACTS = "contract_id,seller,buyer,price_micro_per_kwh,cap_wh"
FEES = Fees(Price(10_000), Price(25_000), Price(40_000))


def book_of(text: str) -> str:
    """Write ``roof: offer 1000 8 N/H5 green`` as a row: Wh, ct/kWh, node, product."""
    rows = [HEADER]
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, rest = line.partition(": ")
        side, wh, cents, *place = rest.split(maxsplit=4)
        node, product = [*place, "", ""][:2]
        micro = round(float(cents) * 10_000)
        rows.append(f"{name},{side},{name},{wh},{micro},{node.strip('.')},{product}")
    return "\n".join(rows) + "\n"


def cleared(tmp_path: Path, text: str, **asked: object) -> dict[str, object]:
    path, out = tmp_path / "book.csv", tmp_path / "result.json"
    path.write_text(text)
    clear_book(path, out, Question(**asked))
    return json.loads(out.read_text())


def told(result: dict[str, object]) -> set[str]:
    """Write trades as ``roof > flat 500 at 8 building green`` and hubs as ``N green 12``."""

    def cents(found: dict[str, int]) -> str:
        return f"{found['price_micro_per_kwh'] / 10_000:g}"

    lines = {
        f"{t['seller']} > {t['buyer']} {t['wh']} at {cents(t)}"
        + (f" {t['level']} {t['product']}" if "level" in t else "")
        + (f" by {t['contract']}" if "contract" in t else "")
        for t in result["trades"]
    }
    return lines | {
        f"{h['place'] or h['level']} {h['product']} {cents(h)} ({h['cleared_wh']} Wh)"
        for h in result.get("hubs", ())
    }


# Name, options, book, what is told.
SCENARIOS = [
    (
        "places without fees make one balance, and trades say how far they go",
        {},
        """roof: offer 1000 8 N/H5
        flat: bid 600 20 N/H5
        shop: bid 400 20 S/H1""",
        {
            "roof > flat 600 at 14 building any",
            "roof > shop 400 at 14 district any",
            "district any 14 (1000 Wh)",
        },
    ),
    (
        "fees come before matching: the near buyer is worth more",
        {"fees": FEES},
        """roof: offer 600 8 N/H5
        flat: bid 600 20 N/H5
        shop: bid 600 20 S/H1""",
        {"roof > flat 600 at 17.5 building any", "N/H5 any 17.5 (600 Wh)"},
    ),
    (
        "a far buyer's limit does not reach over the fee",
        {"fees": FEES},
        """roof: offer 600 8 N/H5
        shop: bid 600 11 S/H1""",
        set(),
    ),
    (
        "green only takes no other energy",
        {},
        """roof: offer 300 8 . green
        battery: offer 900 8
        flat: bid 900 20 . green-only""",
        {"roof > flat 300 at 20 district green", "district green 20 (300 Wh)"},
    ),
    (
        "no farther than the feeder",
        {},
        """roof: offer 900 8 N/H5
        shop: bid 900 20 S/H1 max-feeder""",
        set(),
    ),
    (
        "no farther than the seller's feeder",
        {},
        """roof: offer 900 8 N/H5 green max-feeder
        flat: bid 300 20 N/H6
        shop: bid 900 20 S/H1""",
        {"roof > flat 300 at 8 feeder green", "N green 8 (300 Wh)"},
    ),
    (
        "contracts come before the book, own use before contracts",
        {"contracts": "c1,roof,shop,150000,300\n"},
        """roof: offer 1000 8
        flat: bid 900 20
        shop: bid 500 10""",
        {"roof > shop 300 at 15 by c1", "roof > flat 700 at 20"},
    ),
    (
        "a contract of nobody here changes nothing",
        {"contracts": "c1,moon,shop,150000,300\n"},
        """roof: offer 1000 8
        shop: bid 500 10""",
        {"roof > shop 500 at 8"},
    ),
]


def given(tmp_path: Path, options: dict[str, object]) -> dict[str, object]:
    """Return options with the text of contracts as a file of them."""
    if "contracts" not in options:
        return options
    path = tmp_path / "contracts.csv"
    path.write_text(f"{CONTRACTS}\n{options['contracts']}")
    return options | {"contracts": path}


@pytest.mark.parametrize(
    ("options", "text", "expected"), [pytest.param(*row[1:], id=row[0]) for row in SCENARIOS]
)
def test_scenarios(tmp_path: Path, options, text: str, expected: set[str]) -> None:
    result = cleared(tmp_path, book_of(text), **given(tmp_path, options))
    assert told(result) == expected
    assert ("hubs" in result) == ("fees" in options or any(w in text for w in ("N/", ". green")))
    assert ("contracted_wh" in result) == ("contracts" in options)
    traded = sum(trade["wh"] for trade in result["trades"])
    assert traded == result["cleared_wh"] + result.get("contracted_wh", 0)
    assert sum(result["allocations"].values()) == 2 * traded


@pytest.mark.parametrize("options", [{}, {"fees": FEES}], ids=["plain", "fees"])
def test_rows_in_any_order_give_the_same_bytes(tmp_path: Path, options) -> None:
    _, *rows = book_of(SCENARIOS[0][2]).splitlines()
    found = {
        json.dumps(cleared(tmp_path, "\n".join([HEADER, *turned]), **options))
        for turned in permutations(rows)
    }
    assert len(found) == 1


def test_own_use_comes_first_wherever_it_stands(tmp_path: Path) -> None:
    text = book_of("a: offer 700 8 N/H5 green\nb: bid 500 20 S/H1 green-only")
    text += "a-2,bid,a,400,300000,S/H1,max-building\n"
    result = cleared(tmp_path, text, fees=FEES)
    assert result["allocations"] == {"a": 300, "a-2": 0, "b": 300}


def test_another_limit_is_a_file_that_says_so(tmp_path: Path) -> None:
    text = (SAMPLES / "book.csv").read_text()
    other = text.replace("battery,offer,Hub,1500,105000", "battery,offer,Hub,1500,-20000")
    assert other != text
    for options in ({}, {"fees": FEES}, {"retail": 270_000, "feed_in": 80_000}):
        asked = cleared(tmp_path, text, limits={"battery": -20_000}, **options)
        assert asked == cleared(tmp_path, other, **options)
        assert asked != cleared(tmp_path, text, **options)


def test_the_sample_is_what_the_engine_says(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    clear_book(SAMPLES / "book.csv", out, Question(fees=FEES))
    assert out.read_text() == (SAMPLES / "result.json").read_text()


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tick", "cents", "says"),
    [
        (1, "8.1234", ""),
        (1_000, "8.1", ""),
        (1_000, "-8.1", ""),
        (1_000, "0", ""),
        (1_000, "8.15", "row 2: price_micro_per_kwh 81500 is not .* write 81000 or 82000"),
        (1_000, "-8.15", "row 2: .* write -82000 or -81000"),
        (7, "0.0001", "row 2: .* write 0 or 7"),
    ],
)  # fmt: skip
def test_prices_go_by_the_tick(tmp_path: Path, tick: int, cents: str, says: str) -> None:
    path = tmp_path / "book.csv"
    path.write_text(book_of(f"a: offer 5 {cents}"))
    if says:
        with pytest.raises(TableFileError, match=says):
            read_book(path, tick)
    else:
        assert len(read_book(path, tick).orders) == 1


WRONG = [
    ({"limits": {"nobody": 5}}, QuestionError, "no order 'nobody'"),
    ({"limits": {"roof": 10**9 + 1}}, QuestionError, "limit"),
    ({"limits": {"roof": 15}, "tick": 10}, QuestionError, "--limit roof: 15 is not a multiple"),
    ({"rule": Rule.SDR}, PricingError, "needs both"),
    ({"contracts": "c,roof,roof,1,1\n"}, TableFileError, "row 2: .*cannot sell to itself"),
    ({"contracts": "c,roof,shop,1,0\n"}, TableFileError, "row 2: .*cap"),
    ({"contracts": "c,roof,shop,NaN,1\n"}, TableFileError, "row 2: price_micro_per_kwh 'NaN'"),
    ({"contracts": "c,roof,shop,1\n"}, TableFileError, "row 2: 4 fields"),
    ({"contracts": "c,a,b,1,1\nc,a,b,1,1\n"}, TableFileError, "row 3: .*stands in row 2"),
    ({"contracts": "c,roof,shop,5,1\n", "tick": 10}, TableFileError, "row 2: .*multiple"),
    ({"contracts": "c,roof\x07,shop,5,1\n"}, TableFileError, "row 2: .*control character"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "error", "says"), WRONG)
def test_what_is_refused_leaves_what_was_there(tmp_path: Path, options, error, says) -> None:
    text = book_of("roof: offer 1000 8\nshop: bid 500 10")
    (tmp_path / "result.json").write_text("before")
    with pytest.raises(error, match=says):
        cleared(tmp_path, text, **given(tmp_path, options))
    assert (tmp_path / "result.json").read_text() == "before"
    assert {path.suffix for path in tmp_path.iterdir()} <= {".csv", ".json"}


@pytest.mark.parametrize("text", ["a", "a=", "=", "a=x", "a=1.5", "a=1e3", "a=٣", f"a={'9' * 19}"])
def test_limits_are_written_as_order_and_price(text: str) -> None:
    with pytest.raises(QuestionError, match="ORDER_ID=PRICE"):
        read_limits([text])


def test_a_limit_is_said_once_and_ids_may_hold_anything() -> None:
    assert read_limits(["a=b=-5", "c=+7"]) == {"a=b": -5, "c": 7}
    with pytest.raises(QuestionError, match="once"):
        read_limits(["a=5", "a=6"])


def test_a_tick_is_at_least_one() -> None:
    for tick in (0, -5, 10**9 + 1):
        with pytest.raises(QuestionError, match="--tick"):
            Question(tick=tick)


def test_absurd_fees_are_refused() -> None:
    fees = Fees(district=Price(10**9))
    assert Question(fees=fees).fees == fees
    with pytest.raises(QuestionError, match="check its unit"):
        Question(fees=Fees(district=Price(10**30)))


def test_contracts_are_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "contracts.csv"
    path.write_text(
        "buyer,seller,contract_id,cap_wh,price_micro_per_kwh,buyer_point\nb,s,c,9,-4,m\n"
    )
    (contract,) = read_contracts(path)
    assert (contract.contract_id, contract.seller, contract.buyer) == ("c", "s", "b")
    assert (contract.cap.wh, contract.price.micro_per_kwh) == (9, -4)
    assert (contract.seller_point, contract.buyer_point) == ("", "m")


def test_a_file_cut_short_at_any_byte_is_read_or_refused(tmp_path: Path) -> None:
    """It never reads an order that the whole file does not have, but for the last one's end."""
    content = (SAMPLES / "book.csv").read_bytes()
    path = tmp_path / "book.csv"
    path.write_bytes(content)
    whole = {order.order_id: order for order in read_book(path).orders}
    for end in range(len(content)):
        path.write_bytes(content[:end])
        try:
            orders = read_book(path).orders
        except TableFileError:
            continue
        for order in orders[:-1]:
            assert whole[order.order_id] == order


def test_results_go_where_they_can_be_written(tmp_path: Path) -> None:
    book = tmp_path / "book.csv"
    book.write_text(book_of("roof: offer 1000 8"))
    real = tmp_path / "real.json"
    real.write_text("old")
    (tmp_path / "link.json").symlink_to(real)
    clear_book(book, tmp_path / "link.json", Question())
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads(real.read_text())["cleared_wh"] == 0
    clear_book(book, Path("/dev/null"), Question())
    with pytest.raises(ResultFileError, match="cannot write"):
        clear_book(book, Path("/dev/full"), Question())


def test_a_million_rows_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "book.csv"
    with path.open("w") as file:
        file.write(HEADER + "\n")
        file.writelines(f"o{i},bid,p{i},5,5,F{i % 9}/B{i},green\n" for i in range(MAX_ORDERS + 1))
        file.write("o,bid,p,5,5,F/B,green\n" * (1_000_000 - MAX_ORDERS - 1))
    # VmHWM and not ru_maxrss, which outlives exec: it would be the peak of this test's process.
    code = (
        "import atexit, pathlib; from app.cli import main;"
        "atexit.register(lambda: print(pathlib.Path('/proc/self/status').read_text())); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "clear", path, "--out", tmp_path / "out.json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"row {MAX_ORDERS + 2}: more than {MAX_ORDERS} orders" in done.stderr
    assert not (tmp_path / "out.json").exists()
    peak = re.search(r"VmHWM:\s+(\d+) kB", done.stdout)
    assert peak
    assert int(peak[1]) < 600 * 1024
