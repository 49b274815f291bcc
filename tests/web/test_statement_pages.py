"""The pages of monthly statements: whose they are, what they say, and how they are issued."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from tests.web.page_kit import audit, enter, token
from tests.web.statement_fakes import (
    DOCUMENT,
    HOSTILE,
    NUMBER,
    PAGE,
    SETTLING,
    FakeStatements,
)
from web.ports import RefusedError, Role

HERE = "/participants/weber/statements"
ALL = (HERE, f"{HERE}/{NUMBER}", f"{HERE}/current", f"{HERE}/{NUMBER}/pdf")


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize(
    ("role", "status"), [(Role.PROSUMER, 200), (Role.MANAGER, 404), (Role.OPERATOR, 404)]
)
def test_a_statement_is_its_participants(
    client: TestClient, role: Role, status: int, path: str
) -> None:
    enter(client, role)
    assert client.get(path).status_code == status
    assert client.get(path.replace("weber", "bakery")).status_code == 404


@pytest.mark.parametrize(
    ("role", "status"), [(Role.MANAGER, 200), (Role.PROSUMER, 404), (Role.OPERATOR, 404)]
)
def test_the_months_list_is_the_managers(client: TestClient, role: Role, status: int) -> None:
    enter(client, role)
    assert client.get("/statements").status_code == status
    data = {"month": "2026-06", "csrf_token": token(client)}
    sent = client.post("/statements/issue", data=data, follow_redirects=False)
    assert sent.status_code == (303 if status == 200 else 404)


def test_pages_escape_names_and_keep_the_policy(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    pages = [client.get(path).text for path in ALL[:3]]
    enter(client, Role.MANAGER)
    pages.append(client.get("/statements").text)
    for html in pages:
        auditor = audit(html)
        assert not auditor.forbidden
        assert len(set(auditor.ids)) == len(auditor.ids)
        assert HOSTILE not in html


def test_each_line_has_its_reference_amount_and_payee(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    html = client.get(f"{HERE}/{NUMBER}").text.replace("\u00a0", " ")
    for text in (
        'id="line-1.2"',
        "−1.25 to 20.00 ct/kWh",
        "You pay €5.29",
        "Net at 19 % VAT",
        "4.8 kW on Wed 3 Jun 2026",
        "€0.1000 a day",
        "13 days of 30",
        "May 2026, statement S-2026-000003; 1 quarter-hour",
        "Mon 1 Jun 2026 to Sat 13 Jun 2026, Sat 20 Jun 2026",
        "Anchored on the ledger",
        "Your roof produced 9.000 kWh; you used 5.000 kWh of it yourself",
        "€1.23",
    ):
        assert text in html, text


def test_a_preview_says_that_it_is_one(client: TestClient, statements: FakeStatements) -> None:
    enter(client, Role.PROSUMER)
    html = client.get(f"{HERE}/current").text
    assert "Preview" in html
    assert f"{HERE}/current/pdf" in html
    statements.current = None
    assert "so far" not in client.get(HERE).text
    assert client.get(f"{HERE}/current").status_code == 404


def test_files_are_downloads(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    answer = client.get(f"{HERE}/{NUMBER}/json")
    assert (
        answer.headers["content-disposition"] == f'attachment; filename="statement-{NUMBER}.json"'
    )
    assert client.get(f"{HERE}/{NUMBER}/exe").status_code == 404


def test_issuing_asks_once_and_tells_why_not(
    client: TestClient, statements: FakeStatements
) -> None:
    enter(client, Role.MANAGER)
    assert client.post("/statements/issue", data={"month": "2026-06"}).status_code == 403
    data = {"month": "2026-06", "csrf_token": token(client)}
    assert (
        "They are final now"
        in client.post("/statements/issue", data=data, follow_redirects=True).text
    )
    assert statements.asked == [("2026-06", "building-manager")]
    statements.refuses = RefusedError("3 quarter-hours of 2026-06 are not settled yet")
    refused = client.post("/statements/issue", data=data)
    assert refused.status_code == 422
    assert "3 quarter-hours of 2026-06 are not settled yet." in refused.text


def test_a_month_that_cannot_be_issued_says_why(
    client: TestClient, statements: FakeStatements
) -> None:
    statements.page = replace(PAGE, ready=0, issued=(), why_not="2026-06 is not over yet")
    enter(client, Role.MANAGER)
    html = client.get("/statements").text
    assert "2026-06 is not over yet." in html
    assert '<button type="submit">Issue' not in html
    assert "gets €12.50" in html.replace("\u00a0", " ")


def test_demo_data_is_named_so(client: TestClient, statements: FakeStatements) -> None:
    statements.current = replace(DOCUMENT, number="", clock="simulated", sections=())
    enter(client, Role.PROSUMER)
    html = client.get(f"{HERE}/current").text
    assert "Demo data on a simulated clock" in html
    assert "No metering point was yours" in html


def test_a_statement_says_how_it_is_paid_and_how_far_it_is(
    client: TestClient, statements: FakeStatements
) -> None:
    enter(client, Role.PROSUMER)
    html = client.get(f"{HERE}/{NUMBER}").text.replace("\u00a0", " ")
    for text in (
        "Partly paid",
        "€2.29 still open",
        "open, €1.00 of it held",
        "RF52 S202 6000 001",
    ):
        assert text in html, text
    assert "To be paid by Fri 17 Jul 2026" in html
    assert "<svg" in html
    late = replace(SETTLING.line, overdue=True)
    statements.settling = replace(SETTLING, line=late)
    assert "It was to be paid by Fri 17 Jul 2026" in client.get(f"{HERE}/{NUMBER}").text
    assert "Paid out" in client.get(HERE).text
    enter(client, Role.MANAGER)
    assert "Partly paid" in client.get("/statements").text


def test_what_the_district_owes_is_paid_to_the_account_that_is_given(
    client: TestClient, statements: FakeStatements
) -> None:
    owed = replace(SETTLING.line, due_cents=-1_250, open_cents=-1_250, state="open")
    statements.settling = replace(SETTLING, line=owed, held_cents=0, code="")
    enter(client, Role.PROSUMER)
    path = f"{HERE}/{NUMBER}/payout"
    assert "Have it paid out" in client.get(f"{HERE}/{NUMBER}").text
    assert client.post(path, data={"iban": "DE02"}).status_code == 403
    data = {"iban": "DE02", "holder": "W", "csrf_token": token(client)}
    statements.refuses = RefusedError("that is no IBAN", "iban")
    refused = client.post(path, data=data)
    assert refused.status_code == 422
    assert 'aria-describedby="payout-iban-error"' in refused.text
    statements.refuses = None
    assert "Asked for." in client.post(path, data=data, follow_redirects=True).text
    assert statements.asked == [("DE02", "W")]
    statements.settling = replace(statements.settling, payout="exported", target="DE02 1203")
    html = client.get(f"{HERE}/{NUMBER}").text
    assert "it is at the bank" in html
    assert "Have it paid out" not in html
