"""The money page and the treasury: what they show, to whom, and how mistakes read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app.bankfiles.statement import MAX_BYTES
from tests.web.bank_fakes import ADDRESS, HOSTILE, MONEY, OPEN, TREASURY, FakeBank
from tests.web.browsing import SCREENS, Open
from tests.web.page_kit import audit, enter, token
from web.pages.desk import MAX_STATEMENT_BYTES
from web.ports import RefusedError, Role
from web.ports.bank import Withdrawal

MONEY_PAGE = "/participants/weber/money"
READ = (MONEY_PAGE, f"{MONEY_PAGE}.csv")
TREASURY_READ = ("/treasury", "/treasury/movements.csv", "/treasury/exports/WL-20260623-ABC")


def post(client: TestClient, path: str, **data: str) -> Response:
    answer: Response = client.post(path, data={"csrf_token": token(client), **data})
    return answer


def upload(client: TestClient, content: bytes, name: str = "day.xml") -> Response:
    answer: Response = client.post(
        "/treasury/import",
        data={"csrf_token": token(client), "decimal": "comma"},
        files={"statement": (name, content)},
    )
    return answer


@pytest.mark.parametrize(
    ("role", "paths", "status"),
    [
        (Role.PROSUMER, READ, 200),
        (Role.PROSUMER, TREASURY_READ, 404),
        (Role.PROSUMER, ("/participants/bakery/money", "/participants/x/money"), 404),
        (Role.MANAGER, TREASURY_READ, 200),
        (Role.MANAGER, READ, 404),
        (Role.OPERATOR, (*READ, *TREASURY_READ), 404),
    ],
)
def test_who_sees_what(client: TestClient, role: Role, paths: tuple[str, ...], status: int) -> None:
    enter(client, role)
    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, status)


def test_without_a_session_there_is_only_the_entrance(client: TestClient) -> None:
    for path in (*READ, *TREASURY_READ):
        assert client.get(path).status_code == 303


def test_others_cannot_change_what_they_cannot_see(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.PROSUMER)
    for path in ("withdraw", "cancel", "address"):
        assert post(client, f"/participants/bakery/money/{path}").status_code == 404
    for path in ("confirm", "assign", "charge", "return", "decide", "export"):
        assert post(client, f"/treasury/{path}", ref="B2").status_code == 404
    assert upload(client, b"x").status_code == 404
    enter(client, Role.OPERATOR)
    assert post(client, f"{MONEY_PAGE}/withdraw").status_code == 404
    assert bank.asked == []


@pytest.mark.parametrize(
    ("role", "path"), [(Role.PROSUMER, MONEY_PAGE), (Role.MANAGER, "/treasury")]
)
def test_nothing_hostile_runs(client: TestClient, role: Role, path: str) -> None:
    enter(client, role)
    found = audit(client.get(path).text)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    assert HOSTILE not in client.get(path).text
    assert "&lt;script&gt;" in client.get(path).text


def test_the_money_page(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(MONEY_PAGE).text
    for shown in (
        "DE02 1203 0000 0000 2020 51",
        "RF58 4CMN 8Y8W 9W",
        "€42.12 of it can be withdrawn now",
        "Waiting for the manager",
        "−€5.00",
        "+€50.00",
        'class="qr"',
    ):
        assert shown in text, shown
    assert text.count('aria-label="Undo') == 1
    bank.page = replace(MONEY, lines=(), account="", code="")
    empty = client.get(MONEY_PAGE).text
    assert "Nothing yet" in empty
    assert "no bank account yet" in empty
    assert 'name="iban"' not in empty


def test_asking_for_a_withdrawal(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.PROSUMER)
    given = {"kind": "bank", "amount": "12,50", "iban": "DE02", "holder": "E", "nonce": "once"}
    answer = post(client, f"{MONEY_PAGE}/withdraw", **given)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"{MONEY_PAGE}?done=withdrawal",
    )
    assert bank.asked == [("withdraw", "weber", Withdrawal("bank", "12,50", "DE02", "E", "once"))]
    assert "Asked for and set aside" in client.get(answer.headers["location"]).text
    assert "notice done" not in client.get(f"{MONEY_PAGE}?done=nonsense").text


@pytest.mark.parametrize(
    ("path", "form", "field", "given"),
    [
        ("withdraw", "bank", "amount", {"kind": "bank", "amount": "1.234", "iban": "DE02"}),
        ("withdraw", "bank", "iban", {"kind": "bank", "amount": "5", "iban": HOSTILE}),
        ("withdraw", "ledger", "amount", {"kind": "ledger", "amount": "x"}),
        ("address", "address", "address", {"address": "wl1nonsense"}),
    ],
)
def test_a_mistake_stands_beside_its_field_and_nothing_is_lost(
    client: TestClient, bank: FakeBank, path: str, form: str, field: str, given: dict[str, str]
) -> None:
    enter(client, Role.PROSUMER)
    bank.refuses = RefusedError("that cannot be", field)
    if form == "ledger":
        bank.page = replace(MONEY, own_address=ADDRESS)
    answer = post(client, f"{MONEY_PAGE}/{path}", nonce="kept", **given)
    assert answer.status_code == 422
    wrong = re.search(
        rf'<input id="{form}-{field}"[^>]*aria-invalid="true" '
        rf'aria-describedby="{form}-{field}-error"[^>]*>\s*'
        rf'<p class="wrong" id="{form}-{field}-error" role="alert">That cannot be\.</p>',
        answer.text,
    )
    assert wrong
    if path == "withdraw":
        assert 'name="nonce" value="kept"' in answer.text
    assert audit(answer.text).forbidden == []


def test_an_own_address_and_undoing(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.PROSUMER)
    for given, done in ((ADDRESS, "address"), ("", "no-address")):
        answer = post(client, f"{MONEY_PAGE}/address", address=given)
        assert answer.headers["location"].endswith(f"done={done}")
    assert post(client, f"{MONEY_PAGE}/cancel", ref="W1").status_code == 303
    bank.refuses = RefusedError("it is exported already")
    late = post(client, f"{MONEY_PAGE}/cancel", ref="W2")
    assert late.status_code == 422
    assert "It is exported already." in late.text
    assert bank.asked == [
        ("address", "weber", ADDRESS),
        ("address", "weber", ""),
        ("cancel", "weber", "W1"),
    ]


def test_the_treasury(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.MANAGER)
    text = client.get("/treasury").text
    for shown in ("Agrees", "€99.123456", "WL-20260623-ABC.xml", "Bakery Korn", "€6.00"):
        assert shown in text, shown
    assert "There before the first statement" not in text  # a line of nothing
    assert text.count('action="/treasury/assign"') == 1  # never a debit
    bank.manager_page = replace(TREASURY, reasons=("one euro is missing",))
    alarmed = client.get("/treasury").text
    assert "Something is unexplained." in alarmed
    assert "One euro is missing." in alarmed
    bank.manager_page = replace(
        TREASURY, open=(), asked=(), approved=(), exported=(), exports=(), account=""
    )
    empty = client.get("/treasury").text
    for shown in ("Nothing waits", "Nobody waits", "No approved payment", "bank_iban"):
        assert shown in empty, shown


def test_a_statement_is_shown_and_then_booked(client: TestClient, bank: FakeBank) -> None:
    enter(client, Role.MANAGER)
    shown = upload(client, b"<Document/>", f"{HOSTILE}.xml")
    assert shown.status_code == 200
    assert "Top-up" in shown.text
    assert "To be assigned" in shown.text
    assert audit(shown.text).forbidden == []
    assert bank.asked == [("preview", f"{HOSTILE}.xml", b"<Document/>", "comma")]
    digest = re.search(r'name="digest" value="([^"]+)"', shown.text)
    assert digest
    booked = post(client, "/treasury/confirm", digest=digest[1])
    assert booked.headers["location"] == "/treasury?done=import"
    assert bank.asked[-1] == ("confirm", "d1")
    bank.refuses = RefusedError("/Document/Stmt[1]: the sums are broken")
    refused = upload(client, b"<Document/>")
    assert refused.status_code == 422
    assert "the sums are broken" in refused.text.lower()


def test_how_large_a_statement_may_be(client: TestClient) -> None:
    assert MAX_STATEMENT_BYTES == MAX_BYTES
    enter(client, Role.MANAGER)
    assert upload(client, b"x" * 300_000).status_code == 200
    too_long = upload(client, b"x" * 10 * 2**20)
    assert too_long.status_code == 413
    assert "4\u00a0MiB" in too_long.text


@pytest.mark.parametrize(
    ("path", "given", "asked"),
    [
        ("assign", {"ref": "B2", "participant": "weber"}, ("assign", "B2", "weber")),
        ("charge", {"ref": "B2", "note": "fee"}, ("charge", "B2", "fee")),
        ("return", {"ref": "B2"}, ("return", "B2")),
        (
            "decide",
            {"ref": "W1", "decision": "reject", "reason": "no"},
            ("decide", "W1", "reject", "no"),
        ),
        ("decide", {"ref": "W1", "decision": "approve"}, ("decide", "W1", "approve", "")),
        ("export", {}, ("export",)),
    ],
)
def test_the_manager_s_steps(
    client: TestClient, bank: FakeBank, path: str, given: dict[str, str], asked: tuple[str, ...]
) -> None:
    enter(client, Role.MANAGER)
    answer = post(client, f"/treasury/{path}", **given)
    assert answer.status_code == 303
    assert bank.asked == [asked]
    assert "✓" in client.get(answer.headers["location"]).text
    bank.refuses = RefusedError("not any more", "note")
    refused = post(client, f"/treasury/{path}", **given)
    assert refused.status_code == 422
    assert refused.text.count("Not any more.") == 1
    if given:
        card = refused.text.split(f'id="{given["ref"]}"')[1].split("</li>")[0]
        assert "Not any more." in card


def test_downloads(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    file = client.get("/treasury/exports/WL-20260623-ABC")
    assert file.headers["content-type"] == "application/xml"
    assert file.headers["content-disposition"] == 'attachment; filename="WL-20260623-ABC.xml"'
    assert client.get("/treasury/exports/x%22y").status_code == 404
    table = client.get("/treasury/movements.csv")
    assert table.headers["content-type"].startswith("text/csv")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_nothing_is_cut_off(open_as: Open, scheme: str, width: int) -> None:
    for role, path in (("prosumer", MONEY_PAGE), ("building-manager", "/treasury")):
        page, console = open_as(role, width, scheme)
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert console.lines == []


@pytest.mark.browser
def test_everything_works_without_scripts(open_as: Open, bank: FakeBank) -> None:
    page, _ = open_as("prosumer", scripts=False)
    page.goto(MONEY_PAGE)
    page.fill("#bank-amount", "12,50")
    page.fill("#bank-iban", "DE02 1203 0000 0000 2020 51")
    page.click("text=Ask for this withdrawal")
    assert "Asked for and set aside" in page.inner_text("main")
    manager, _ = open_as("building-manager", scripts=False)
    manager.goto("/treasury")
    manager.set_input_files(
        "#statement", {"name": "d.xml", "mimeType": "text/xml", "buffer": b"<a/>"}
    )
    manager.click("text=Show what it would change")
    manager.click("text=Book this statement")
    assert "The statement is booked" in manager.inner_text("main")
    manager.select_option(f"#{OPEN.ref} select", "weber")
    manager.click(f"#{OPEN.ref} >> text=Assign")
    assert [each[0] for each in bank.asked] == ["withdraw", "preview", "confirm", "assign"]
