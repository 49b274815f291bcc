"""The order pages' view of a real district: forms, files, results; and orders by forecast."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.forward.desk import ForwardDesk
from app.store import forward
from app.tables import ForecastRow, ForecastRunRow, ForwardOrderRow
from market.delivery import Contract
from tests.app.district_kit import CEILING, FEED_IN, Kit
from tests.app.forward_kit import (
    FIRST,
    ForwardKit,
    block,
    flexible,
    interval,
    steps,
    storage,
)
from web.ports import NotFoundError, RefusedError
from web.ports.forward import FIELDS, GateClosedError


@pytest.fixture
def kit(sqlite_url: str, tmp_path: Path) -> Iterator[ForwardKit]:
    kit = ForwardKit(tmp_path, sqlite_url, price_tick_micro_per_kwh=100)
    kit.run()
    yield kit
    kit.close()


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForwardKit]:
    """One district for everything that is refused: nothing is ever written to it."""
    folder = tmp_path_factory.mktemp("idle")
    url = f"sqlite:///{folder / 'district.db'}"
    kit = ForwardKit(folder, url, price_tick_micro_per_kwh=100)
    kit.run()
    yield kit
    assert kit.rows(ForwardOrderRow) == []
    kit.close()


def typed(kit: ForwardKit, who: str, **fields: str) -> dict[str, str]:
    known = {"session": FIRST, "point": kit.homes[who].point, "first": interval(0)}
    return dict.fromkeys(FIELDS, "") | known | {"last": interval(3)} | fields


FORMS = [
    (
        {"kind": "step", "side": "offer", "energy": "0,6", "price": "8.01"},
        steps("offer", 600, 600, 600, 600, limit=80_100),
        "sells 0.60\u00a0kWh in each quarter-hour 12:00–13:00 CEST, at 8.01\u00a0ct/kWh or more",
    ),
    (
        {"kind": "block", "side": "bid", "energy": "1", "price": "-2", "share": "50", "last": "1"},
        block("bid", 1_000, 1_000, limit=-20_000, least_ppm=500_000),
        "buys 2.00\u00a0kWh 12:00–12:30 CEST, at least 50.0\u00a0%, at −2.00\u00a0ct/kWh or less",
    ),
    (
        {"kind": "flexible", "energy": "4.5", "power": "11", "price": "18", "last": "2"},
        flexible(4_500, 11_000, 3, limit=180_000),
        "buys 4.50\u00a0kWh 12:00–12:45 CEST, at most 11\u00a0kW, whenever a kWh costs 18.00",
    ),
    (
        {
            "kind": "storage",
            "capacity": "5",
            "power": "2.5",
            "stored": "0",
            "efficiency": "90",
            "price": "0",
        },
        storage(5_000, 2_500),
        "buys cheap and sells dear: holds 5.00\u00a0kWh, 2.5\u00a0kW, 90.0\u00a0% efficient",
    ),
]


@pytest.mark.parametrize(("fields", "content", "text"), FORMS, ids=lambda each: str(each)[:20])
def test_a_form_becomes_an_order_and_fills_the_form_again(
    kit: ForwardKit, fields: dict[str, str], content: object, text: str
) -> None:
    if "last" in fields:
        fields = fields | {"last": interval(int(fields["last"]))}
    desk = ForwardDesk(kit.house)
    sent = typed(kit, "flat", **fields)
    assert desk.enter("flat", "flat", sent) == "1"
    (row,) = kit.rows(ForwardOrderRow)
    assert json.loads(row.text) == json.loads(content.model_dump_json())
    (order,) = desk.page("flat", None).orders
    assert order.text.startswith(text)
    again = {**dict.fromkeys(FIELDS, ""), "session": FIRST, **order.fields}
    assert desk.enter("flat", "flat", again) == "1"  # says the same: no new version
    assert len(kit.rows(ForwardOrderRow)) == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": "x"}, "kind"),
        ({"kind": "step", "energy": "1", "price": "8"}, "side"),
        ({"kind": "step", "side": "bid", "energy": "", "price": "8"}, "energy"),
        ({"kind": "step", "side": "bid", "energy": "1e3", "price": "8"}, "energy"),
        ({"kind": "step", "side": "bid", "energy": "nan", "price": "8"}, "energy"),
        ({"kind": "step", "side": "bid", "energy": "٣", "price": "8"}, "energy"),
        ({"kind": "step", "side": "bid", "energy": "0.0001", "price": "8"}, "energy"),
        ({"kind": "step", "side": "bid", "energy": "1", "price": "8.00001"}, "price"),
        ({"kind": "step", "side": "bid", "energy": "1", "price": "8.001"}, "price"),  # the tick
        ({"kind": "step", "side": "bid", "energy": "1", "price": "8", "last": "x"}, "last"),
        ({"kind": "step", "side": "bid", "energy": "1", "price": "8", "first": "x"}, "first"),
        ({"kind": "flexible", "energy": "1", "power": "-3", "price": "8"}, "power"),
        ({"kind": "flexible", "energy": "1", "power": "0", "price": "8"}, "power"),
        ({"kind": "block", "side": "bid", "energy": "1", "price": "8", "share": "101"}, "share"),
        ({"kind": "storage", "capacity": "1", "power": "1", "stored": "2", "efficiency": "90",
          "price": "0"}, "capacity"),
        ({"kind": "step", "side": "bid", "energy": "1", "price": "8", "point": "7"}, "point"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_field(idle: ForwardKit, fields: dict[str, str], field: str) -> None:
    with pytest.raises(RefusedError) as refused:
        ForwardDesk(idle.house).enter("flat", "flat", typed(idle, "flat", **fields))
    assert refused.value.field == field, refused.value
    assert idle.rows(ForwardOrderRow) == []


def test_an_old_form_is_refused_with_the_gates_time(kit: ForwardKit) -> None:
    desk = ForwardDesk(kit.house)
    sent = typed(kit, "flat", kind="step", side="bid", energy="1", price="8")
    kit.to(50)
    kit.run()
    with pytest.raises(GateClosedError, match="closed at 11:45 CEST"):
        desk.enter("flat", "flat", sent)
    with pytest.raises(GateClosedError, match="load the page again"):
        desk.enter("flat", "flat", sent | {"session": "x"})


# --- Files ---------------------------------------------------------------------------------------


def test_a_file_goes_out_and_comes_back(kit: ForwardKit) -> None:
    desk = ForwardDesk(kit.house)
    kit.enter("flat", steps("bid", 100, 200, 0, 300, limit=CEILING), "s")
    kit.enter("flat", block("bid", 5, 5, limit=100_000), "a")
    kit.enter("flat", block("bid", 5, 5, limit=100_000, parent="a"), "b")
    kit.enter("flat", flexible(900, 4_000, 4, limit=-100), "car")
    kit.enter("flat", storage(900, 1_000), "bat")
    content = desk.orders_csv("flat")
    shown = desk.preview("flat", "day.csv", content)
    assert [(line.order_id, line.becomes) for line in shown.lines] == [
        (own_id, "unchanged") for own_id in ("a", "b", "bat", "car", "s")
    ]
    assert desk.confirm("flat", "flat", shown.session, shown.content) == 0
    changed = content.decode().replace("s@3,flat,bid,3,300,", "s@3,flat,bid,3,301,")
    shown = desk.preview("flat", "day.csv", changed.encode())
    assert [line.order_id for line in shown.lines if line.becomes == "amended"] == ["s"]
    assert len(kit.versions()) == 5  # a preview enters nothing
    assert desk.confirm("flat", "building-manager", shown.session, shown.content) == 1
    assert ("flat.s", 2, "entered", "building-manager") in kit.versions()


HEADER = "kind,order_id,participant,point,side,start,quantity_wh,price_micro_per_kwh"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("step,b,flat,{p},bid,0,5,1000\nstep,b,flat,{p},bid,1,5,1000", "row 3: order id 'b'"),
        ("step,b,flat,{p},bid,0,0,1000", "row 2: .*quantity 0 Wh"),
        ("step,b,flat,{p},bid,0,5,1050", "row 2: .*1050"),
        ("step,b,flat,{p},bid,9,5,1000", "row 2: .*index 9"),
        ("step,b,shop,{p},bid,0,5,1000", "row 2: participant 'shop' is not you"),
        ("step,a,flat,{p},bid,0,5,1000\nstep,b,flat,123,bid,0,5,1000", "row 3: '123' is no meter"),
        ("step,b,flat,{p},bid,0,20000,1000", "row 2: .*its fuse"),
        ("step,b,flat,{p},bid,0,5,1000\nstep,c,flat,{p},offer,0,5,1000", "row 3: point .*other"),
        ("step,b@0,flat,{p},bid,0,5,1000\nstep,b@1,flat,{p},offer,1,5,1000", "row 2: the steps"),
        ("step,b c,flat,{p},bid,0,5,1000", "row 2: 'b c' is no order id"),
        ("block,b,flat,{p},bid,0,,1000", "row 2: quantity_wh"),
        ("step,b,flat,{p},bid,0,NaN,1000", "row 2: quantity_wh 'NaN'"),
        ('step,b,flat,{p},bid,0,"5', "row 2"),
        ("step,b,flat", "row 2: 3 fields"),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(idle: ForwardKit, rows: str, says: str) -> None:
    desk = ForwardDesk(idle.house)
    content = f"{HEADER}\n{rows.format(p=idle.homes['flat'].point)}\n"
    for refused in (
        lambda: desk.preview("flat", "day.csv", content.encode()),
        lambda: desk.confirm("flat", "flat", FIRST, content),
    ):
        with pytest.raises(RefusedError, match=says):
            refused()
    assert idle.rows(ForwardOrderRow) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a;b\n", HEADER.encode()[:20], b"\0"])
def test_a_file_that_is_none_is_refused(idle: ForwardKit, content: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        ForwardDesk(idle.house).preview("flat", "day.csv", content)
    assert "orders.csv" not in str(refused.value)


# --- Results -------------------------------------------------------------------------------------


def test_what_became_of_ones_orders(kit: ForwardKit) -> None:
    desk = ForwardDesk(kit.house)
    kit.enter("solar", steps("offer", 600, limit=FEED_IN))
    kit.enter("flat", steps("bid", 400, limit=CEILING))
    kit.enter("shop", steps("bid", 200, limit=FEED_IN - 10_000))
    kit.to(45)
    kit.run()
    page = desk.page("flat", None)
    assert page.cleared
    assert page.sessions == [FIRST]
    (mine,) = page.cleared.orders
    price = page.cleared.intervals[0].price_micro_per_kwh
    assert price == FEED_IN  # the supplier takes what the shop would not pay for
    assert (mine.outcome, mine.bought_wh, mine.sold_wh, mine.supplier_wh) == ("accepted", 400, 0, 0)
    assert mine.micro == -(400 * FEED_IN // 1000)
    assert page.cleared.intervals[0].bought_wh == 400
    assert (page.cleared.traded_hidden, page.cleared.intervals[0].traded_wh) == (True, 0)
    (other,) = desk.page("shop", FIRST).cleared.orders
    assert (other.outcome, other.bought_wh) == ("rejected", 0)
    assert "beyond its limit" in other.reason
    with pytest.raises(NotFoundError):
        desk.page("flat", "2020-01-01T00:00:00Z")
    with pytest.raises(NotFoundError):
        desk.page("flat", "2026-06-23T11:00:00Z")  # still open


def test_a_metered_district_has_no_session(sqlite_url: str, tmp_path: Path) -> None:
    kit = Kit(tmp_path, sqlite_url)
    page = ForwardDesk(kit.house).page("flat", None)
    assert (page.mode, page.open, page.cleared, page.orders) == ("metered", None, None, [])
    kit.close()


# --- By forecast ---------------------------------------------------------------------------------


def forecast(kit: ForwardKit, **wh: tuple[int, int]) -> None:
    """Expect the same (import, export) in every quarter-hour of two days."""
    with kit.database.write() as session:
        run = ForecastRunRow(
            issued_ms=kit.start.start_ms, first=kit.start.key, quarters=192, model="test"
        )
        session.add(run)
        session.flush()
        for name, (drawn, fed_in) in wh.items():
            session.add(
                ForecastRow(
                    run=run.id or 0,
                    point=kit.homes[name].point,
                    import_wh=json.dumps([drawn] * 192),
                    export_wh=json.dumps([fed_in] * 192),
                    import_model="test",
                    export_model="test",
                )
            )


def test_who_wants_it_takes_part_by_forecast(kit: ForwardKit) -> None:
    desk = ForwardDesk(kit.house)
    forecast(kit, solar=(100, 700), flat=(400, 0), shop=(200, 0))
    for who in ("solar", "flat"):
        desk.set_by_forecast(who, who, wanted=True)
        desk.set_by_forecast(who, who, wanted=True)
    assert desk.page("solar", None).by_forecast
    assert not desk.page("shop", None).by_forecast
    kit.to(45)
    kit.run()
    solar, flat = kit.homes["solar"].point, kit.homes["flat"].point
    assert kit.versions() == [
        (f"flat.forecast-{flat}-bid", 1, "entered", "forecast"),
        (f"solar.forecast-{solar}-offer", 1, "entered", "forecast"),
    ]
    first = kit.ask(lambda session: forward.contracts(session, FIRST, FIRST))
    assert first == [Contract(f"{solar}-offer", f"{flat}-bid", 400)]
    assert kit.fills()[f"solar.forecast-{solar}-offer", "10:45"] == (600, 400)


def test_an_order_of_ones_own_comes_before_the_forecast(kit: ForwardKit) -> None:
    desk = ForwardDesk(kit.house)
    forecast(kit, solar=(0, 700), flat=(400, 0))
    for who in ("solar", "flat", "shop"):
        desk.set_by_forecast(who, who, wanted=True)
    desk.set_by_forecast("solar", "solar", wanted=False)
    kit.enter("flat", steps("bid", 50, limit=CEILING), "mine")
    kit.to(45)
    kit.run()
    assert kit.versions() == [("flat.mine", 1, "entered", "flat")]  # the shop has no forecast
