"""The pages of forward orders: who sees what, the forms, files, mistakes, and a real browser."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from tests.web.browsing import SCREENS, Open
from tests.web.forward_fakes import CLEARED, HOSTILE, NEXT, ORDERS, PAGE, POINT, TODAY, FakeForward
from tests.web.page_kit import audit, enter, token
from tests.web.test_browser import CONTRAST, SMALL_TARGETS
from web import session_picture
from web.ports import RefusedError, Role
from web.ports.forward import FIELDS, GateClosedError, OrdersPage, SessionInterval

ORDERS_PAGE = "/participants/weber/orders"
READ = (ORDERS_PAGE, f"{ORDERS_PAGE}.csv", f"{ORDERS_PAGE}?session={TODAY.key}")
STEPS = ("", "/cancel", "/undo", "/forecast", "/file")


def post(client: TestClient, path: str = "", **data: str) -> Response:
    answer: Response = client.post(
        f"{ORDERS_PAGE}{path}", data={"csrf_token": token(client), **data}
    )
    return answer


def upload(client: TestClient, content: bytes) -> Response:
    answer: Response = client.post(
        f"{ORDERS_PAGE}/preview",
        data={"csrf_token": token(client)},
        files={"orders": ("day.csv", content)},
    )
    return answer


@pytest.mark.parametrize(
    ("role", "paths", "status"),
    [
        (Role.PROSUMER, READ, 200),
        (Role.PROSUMER, ("/participants/bakery/orders", "/participants/x/orders.csv"), 404),
        (Role.PROSUMER, ("/orders",), 303),
        (Role.PROSUMER, (f"{ORDERS_PAGE}?session=2020-01-01T00:00:00Z",), 404),
        (Role.MANAGER, ("/orders",), 200),
        (Role.MANAGER, READ, 404),  # the fake's manager manages nobody
        (Role.OPERATOR, (*READ, "/orders"), 404),
    ],
)
def test_who_sees_what(client: TestClient, role: Role, paths: tuple[str, ...], status: int) -> None:
    enter(client, role)
    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, status)


def test_without_a_session_there_is_only_the_entrance(client: TestClient) -> None:
    for path in (*READ, "/orders"):
        assert client.get(path).status_code == 303


def test_nobody_changes_what_is_not_theirs(client: TestClient, forward: FakeForward) -> None:
    for role in Role:
        enter(client, role)
        for path in STEPS:
            answer = client.post(
                f"/participants/bakery/orders{path}", data={"csrf_token": token(client)}
            )
            assert answer.status_code == 404, (role, path)
    assert forward.asked == []


@pytest.mark.parametrize("path", [*STEPS, "/preview"])
def test_every_change_asks_for_the_token(
    client: TestClient, forward: FakeForward, path: str
) -> None:
    enter(client, Role.PROSUMER)
    for wrong in ({}, {"csrf_token": "x"}):
        assert client.post(f"{ORDERS_PAGE}{path}", data=wrong).status_code == 403
    assert forward.asked == []


def test_nothing_hostile_runs(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    pages = [client.get(ORDERS_PAGE).text, upload(client, HOSTILE.encode()).text]
    for text in pages:
        found = audit(text)
        assert found.forbidden == []
        assert len(set(found.ids)) == len(found.ids)
        assert HOSTILE not in text
        assert "&lt;script&gt;" in text


def test_every_figure_has_its_unit(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    for figure in audit(client.get(ORDERS_PAGE).text).figures:
        number = re.search(r"\d", figure)
        assert not number or re.search(r"kWh|€|kW|%|ct/kWh", figure), figure


def test_the_page_says_what_stands_and_what_became_of_it(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(ORDERS_PAGE).text
    for shown in (
        "Wed 24 Jun 2026, 00:00–00:00 CEST",
        "Its gate closes at <strong>23:00 CEST</strong>, Tue 23 Jun 2026",
        "9\u00a0h 53\u00a0min",
        "version 2",
        "by the building manager",
        "Not taken, though in the money",
        "At these prices it would have gained",
        "2.00\u00a0kWh of it found no neighbour",
        "+€1.44",
        "log as entry 41",
        "at −2.00 to 21.00\u00a0ct/kWh",
    ):
        assert shown in text, shown


@pytest.mark.parametrize("kind", ["step", "block", "flexible", "storage"])
def test_each_kind_has_its_form(client: TestClient, forward: FakeForward, kind: str) -> None:
    enter(client, Role.PROSUMER)
    form = re.search(
        r'<section aria-labelledby="order-title".*?</section>',
        client.get(f"{ORDERS_PAGE}?kind={kind}").text,
        re.DOTALL,
    )
    assert form
    asked = set(re.findall(r'name="(\w+)"', form[0])) - {"csrf_token"}
    assert asked <= set(FIELDS)
    answer = post(client, kind=kind, session=NEXT.key, energy="1", point=POINT)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{ORDERS_PAGE}?done=entered")
    told = dict.fromkeys(FIELDS, "") | {
        "kind": kind,
        "session": NEXT.key,
        "energy": "1",
        "point": POINT,
    }
    assert forward.asked == [("enter", "weber", "weber", told)]


def test_an_order_to_amend_is_filled_in(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(f"{ORDERS_PAGE}?order_id=1").text
    assert "Amend order 1" in text
    assert 'name="energy" value="0.6"' in text
    assert f'value="{ORDERS[0].fields["first"]}" selected' in text
    assert '<option value="offer" selected>' in text
    for other in ("car", "nothing"):  # cancelled; not there
        assert "A new order" in client.get(f"{ORDERS_PAGE}?order_id={other}").text


def test_steps_lead_back_to_the_page(client: TestClient, forward: FakeForward) -> None:
    enter(client, Role.PROSUMER)
    made = {"session": NEXT.key, "order_id": "1"}
    for path, data, done in (
        ("/cancel", made, "cancelled"),
        ("/undo", made, "undone"),
        ("/forecast", {"wanted": "yes"}, "on"),
        ("/forecast", {"wanted": "no"}, "off"),
        ("/file", {"session": NEXT.key, "content": "kind\r\n"}, "file"),
    ):
        answer = post(client, path, **data)
        assert (answer.status_code, answer.headers["location"]) == (
            303,
            f"{ORDERS_PAGE}?done={done}",
        )
        assert 'role="status"' in client.get(answer.headers["location"]).text
    assert forward.asked == [
        ("cancel", "weber", "weber", NEXT.key, "1"),
        ("undo", "weber", "weber", NEXT.key, "1"),
        ("forecast", "weber", "weber", True),
        ("forecast", "weber", "weber", False),
        ("confirm", "weber", "weber", NEXT.key, "kind\r\n"),
    ]
    forward.changed = 0
    assert post(client, "/file").headers["location"].endswith("done=same")


def test_a_mistake_stands_beside_its_field(client: TestClient, forward: FakeForward) -> None:
    enter(client, Role.PROSUMER)
    forward.refuses = RefusedError("5 is no multiple of the tick of 1000", "price")
    answer = post(client, kind="step", price="0.0005", energy="7.5", session=NEXT.key)
    assert answer.status_code == 422
    assert 'id="order-price-error" role="alert">5 is no multiple' in answer.text
    assert 'name="energy" value="7.5"' in answer.text  # nothing that was typed is lost
    for field, kind in (("", "step"), ("link", "step"), ("kind", "what")):
        forward.refuses = RefusedError("that does not fit", field)
        answer = post(client, kind=kind, session=NEXT.key)
        assert answer.status_code == 422
        assert 'class="notice alarm" role="alert"' in answer.text
    forward.refuses = RefusedError("row 7: quantity_wh 'x' is not a whole number", "")
    for answer in (upload(client, b"kind"), post(client, "/file")):
        assert answer.status_code == 422
        assert "Row 7: quantity_wh" in answer.text


@pytest.mark.parametrize("path", STEPS[:3])
def test_after_the_gate_the_answer_is_409(
    client: TestClient, forward: FakeForward, path: str
) -> None:
    enter(client, Role.PROSUMER)
    forward.refuses = GateClosedError("the gate of this session closed at 23:00 CEST")
    answer = post(client, path, session=NEXT.key, kind="step")
    assert answer.status_code == 409
    assert "The gate of this session closed at 23:00 CEST." in answer.text


def test_a_file_is_shown_first(client: TestClient, forward: FakeForward) -> None:
    enter(client, Role.PROSUMER)
    answer = upload(client, b"kind,order_id\r\nstep,1\r\n")
    assert answer.status_code == 200
    assert "2\u00a0orders, of which 1 would change" in answer.text
    assert "\nkind,order_id\r\nstep,1\r\n</textarea>" in answer.text
    assert forward.asked == [
        ("preview", "weber", "day.csv", b"kind,order_id\r\nstep,1\r\n"),
    ]


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (replace(PAGE, mode="metered", open=None, cleared=None), "trades after delivery"),
        (replace(PAGE, mode="sharing", open=None, cleared=None), "by keys"),
        (replace(PAGE, points=()), "no metering point that could trade"),
        (replace(PAGE, open=None), "No session takes orders just now"),
        (replace(PAGE, orders=()), "everything then goes at your normal tariff"),
        (replace(PAGE, orders=(), by_forecast=True), "orders are made by forecast"),
        (replace(PAGE, cleared=None, sessions=()), "No session is cleared yet"),
        (replace(PAGE, cleared=replace(CLEARED, orders=())), "You had no order in this session"),
        (replace(PAGE, cleared=replace(CLEARED, intervals=())), "No offer met a bid"),
        (replace(PAGE, cleared=replace(CLEARED, fallback=True)), "The engine gave no answer"),
        (replace(PAGE, cleared=replace(CLEARED, traded_hidden=True)), "fewer than five"),
    ],
)
def test_what_is_not_there_is_said(
    client: TestClient, forward: FakeForward, shown: OrdersPage, says: str
) -> None:
    enter(client, Role.PROSUMER)
    forward.shown = shown
    assert says in client.get(ORDERS_PAGE).text


def test_the_picture_breaks_where_nothing_was_traded() -> None:
    keys = [each.key for each in CLEARED.intervals[:4]]
    prices = (50_000, None, -20_000, -20_000)
    drawn = session_picture.draw(
        [
            SessionInterval(key, price, 1_000 if price else 0, 0, 0)
            for key, price in zip(keys, prices, strict=True)
        ],
        "Europe/Berlin",
    )
    assert drawn
    assert drawn.price.count("M") == 2
    assert drawn.zero_y is not None
    assert [bar.height > 0 for bar in drawn.bars] == [True, False, True, True]
    assert session_picture.draw([], "Europe/Berlin") is None


@pytest.mark.parametrize(
    ("left_ms", "says"),
    [
        (-5, "less than a minute"),
        (59_000, "less than a minute"),
        (60_000, "1\u00a0min"),
        (3_900_000, "1\u00a0h 05\u00a0min"),
        (180_000_000, "2 days"),
    ],
)
def test_the_countdown(left_ms: int, says: str) -> None:
    assert session_picture.countdown(left_ms) == says


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_is_clean_fits_and_can_be_read(open_as: Open, width: int, scheme: str) -> None:
    page, console = open_as("prosumer", width=width, color_scheme=scheme)
    for kind in ("block", "storage"):
        page.goto(f"{ORDERS_PAGE}?kind={kind}")
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate(SMALL_TARGETS) == []
    assert console.lines == []


@pytest.mark.browser
def test_orders_work_without_scripts(open_as: Open, forward: FakeForward) -> None:
    page, _ = open_as("prosumer", scripts=False)
    page.goto(f"{ORDERS_PAGE}?kind=flexible")
    page.fill("#order-energy", "10")
    page.fill("#order-power", "11")
    page.click("text=Enter this order")
    assert "done=entered" in page.url
    page.set_input_files(
        "#orders-file", files=[{"name": "d.csv", "mimeType": "text/csv", "buffer": b"kind\r\n"}]
    )
    page.click("text=Look at it first")
    page.click("text=Enter all of them")
    assert "done=file" in page.url
    assert [asked[0] for asked in forward.asked] == ["enter", "preview", "confirm"]
    assert forward.asked[2][-1] == "kind\r\n"
