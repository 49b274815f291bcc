"""The pages of the books: for the manager alone, down to an entry, and loud where it is not 0."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi.testclient import TestClient

from tests.web.books_fakes import EURO, HOSTILE, TRIAL, FakeBooks
from tests.web.page_kit import audit, enter
from web.ports import Role
from web.ports.books import TrialBalance, Turnover

PAGES = (
    "/books",
    "/books?at=2026-06-23T14:00",
    "/books/groups/wallet?month=2026-06&page=2",
    "/books/account?name=wallet:weber&month=2026-06&before=12",
)
FILE = "/books/trial-balance.csv?month=2026-06"


@pytest.mark.parametrize("role", [Role.PROSUMER, Role.OPERATOR])
def test_nobody_else_sees_the_books(client: TestClient, role: Role) -> None:
    enter(client, role)
    assert {client.get(page).status_code for page in (*PAGES, FILE)} == {404}
    assert "/books" not in client.get("/district").text


def test_the_pages_say_what_they_hold_and_run_nothing(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    for page in PAGES:
        answer = client.get(page)
        assert answer.status_code == 200
        found = audit(answer.text)
        assert found.forbidden == []
        assert HOSTILE not in answer.text
        assert len(found.ids) == len(set(found.ids))
        heads = {"Opening", "Debit", "Credit", "Closing", "–"}
        assert all("€" in text for text in set(found.figures) - heads), page
    trial = client.get("/books").text
    assert "Sum 0" in trial
    assert "€102.000000" in trial
    assert 'href="/books/groups/wallet?month=2026-06"' in trial
    assert 'href="/books/account?name=bank&amp;month=2026-06"' in trial
    group = client.get(PAGES[2]).text.replace("\u00a0", " ")
    assert "7 others" in group
    assert "page=1" in group
    account = client.get(PAGES[3]).text
    assert 'href="/intervals/2026-06-23T09:00:00Z"' in account
    assert "before=4" in account
    assert "Confirmed on the ledger" in account


def test_what_is_asked_for_reaches_the_books(client: TestClient, books: FakeBooks) -> None:
    enter(client, Role.MANAGER)
    for page, asked in zip(
        PAGES,
        [
            ("", ""),
            ("", "2026-06-23T14:00"),
            ("wallet", "2026-06", 2),
            ("wallet:weber", "2026-06", 12),
        ],
        strict=True,
    ):
        client.get(page)
        assert books.asked == asked


def test_books_that_do_not_add_up_are_an_alarm(client: TestClient, books: FakeBooks) -> None:
    enter(client, Role.MANAGER)
    books.balance = replace(TRIAL, total=Turnover(0, 0, EURO))
    answer = client.get("/books").text
    assert "The journal does not add up" in answer
    assert "Sum 0" not in answer
    books.balance = TrialBalance(TRIAL.period, [], Turnover())
    assert "Nothing was booked until then" in client.get("/books").text


def test_a_month_that_is_none_is_said_beside_its_field(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    answer = client.get("/books?month=2026-13")
    assert answer.status_code == 422
    assert "is no month" in answer.text
    for page in (
        "/books/groups/none",
        "/books/account?name=none",
        "/books/account",
        "/books/trial-balance.csv?month=2026-13",
    ):
        assert client.get(page).status_code == 404
    for page in (f"/books?month={'9' * 99}", f"/books/account?name=bank&before={2**31}"):
        assert client.get(page).status_code == 422


def test_the_file_is_a_download(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    answer = client.get(FILE)
    assert answer.headers["content-disposition"].endswith('"trial-balance-2026-06.csv"')
