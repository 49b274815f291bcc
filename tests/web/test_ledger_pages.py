"""The ledger's pages over HTTP: what they show, to whom, and when the ledger is silent."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.web.ledger_fakes import (
    ANCHOR,
    CONFLICT,
    MILESTONES,
    OWN_ADDRESS,
    PAYMENT,
    PENDING,
    FakeLedgerViews,
    blocks,
    hex_id,
)
from tests.web.page_kit import audit, enter
from tests.web.web_fakes import keys
from web.ports import Role

PAGES = (
    "/ledger",
    "/ledger?before=9",
    "/ledger/search",
    "/ledger/search?q=nothing",
    *(f"/ledger/milestones/{n}" for n in (1, 4, 6, MILESTONES)),
    *(
        f"/ledger/blocks/{line.block_id}"
        for line in {line.kind: line for line in blocks()}.values()
    ),
    *(f"/ledger/blocks/{block_id}" for block_id in (ANCHOR, CONFLICT, PENDING)),
)
OWN = f"/ledger/addresses/{OWN_ADDRESS}"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("bare", [False, True])
def test_every_page_keeps_to_the_policy(
    client: TestClient, ledger: FakeLedgerViews, role: Role, bare: bool
) -> None:
    enter(client, role)
    ledger.bare = bare
    for path in (*PAGES, *([] if role is Role.OPERATOR else [OWN])):
        answer = client.get(path)
        assert answer.status_code == 200, path
        found = audit(answer.text)
        assert found.forbidden == [], path
        assert len(found.ids) == len(set(found.ids)), path


def test_nobody_looks_without_a_login(client: TestClient) -> None:
    for path in (*PAGES, OWN):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), path


def test_junk_is_404(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    for path in (
        "/ledger?before=0",
        "/ledger?before=x",
        "/ledger?before=-3",
        "/ledger?before=99999999999999999999",
        "/ledger/milestones/0",
        "/ledger/milestones/007",
        "/ledger/milestones/999999",
        "/ledger/milestones/%00",
        "/ledger/blocks/xyz",
        f"/ledger/blocks/{'ab' * 32}",
        f"/ledger/blocks/{PAYMENT.upper()}",
        f"/ledger/blocks/0x{PAYMENT}",
        "/ledger/addresses/rms1nobody",
        "/ledger/addresses/%F0%9F%92%A9",
        "/ledger/nothing",
    ):
        assert client.get(path).status_code == 404, path


def test_the_operator_sees_no_amount_and_no_address(client: TestClient) -> None:
    enter(client, Role.OPERATOR)
    for path in PAGES:
        text = client.get(path).text
        for secret in ("€", OWN_ADDRESS, "/ledger/addresses/"):
            assert secret not in text, (path, secret)
    shown = client.get(f"/ledger/blocks/{PAYMENT}").text
    assert "12\u00a0inputs and 3\u00a0outputs" in shown
    assert client.get(OWN).status_code == 404


def test_the_others_are_counts(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    shown = client.get(f"/ledger/blocks/{PAYMENT}").text
    assert "1\u00a0input of another participant" in shown
    assert "11\u00a0outputs of other participants" in shown
    assert "€0.061234" in shown


def test_ones_other_addresses_are_a_click_away(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    assert 'href="/ledger/addresses/rms1before"' in client.get(OWN).text
    enter(client, Role.MANAGER)
    assert "rms1before" not in client.get(OWN).text


def test_an_amount_that_is_not_known_is_no_zero(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    shown = client.get(f"/ledger/blocks/{PAYMENT}").text
    assert "not known here" in shown
    assert "€0.000000" not in shown


def test_milestones_are_paged(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    seen: list[str] = []
    path: str | None = "/ledger"
    while path:
        html = client.get(path).text
        table = html[html.index('id="milestones-title"') :]
        seen += re.findall(r'<th scope="row"><a href="/ledger/milestones/(\d+)">', table)
        older = re.search(r'href="(/ledger\?before=\d+)">Older', html)
        path = older[1] if older else None
    assert seen == [str(n) for n in range(MILESTONES, 0, -1)]


def test_what_a_node_does_not_tell_is_said(client: TestClient, ledger: FakeLedgerViews) -> None:
    enter(client, Role.PROSUMER)
    ledger.bare = True
    assert "this node does not tell" in client.get(f"/ledger/blocks/{PAYMENT}").text
    assert "does not tell what an address has spent" in client.get(OWN).text
    page = client.get("/ledger").text
    assert "not told" in page
    assert "Transfers confirmed" not in page
    assert "There is no block to draw" in page


def test_an_anchor_leads_to_its_intervals_and_a_payment_to_the_one_it_settles(
    client: TestClient,
) -> None:
    enter(client, Role.PROSUMER)
    anchor = client.get(f"/ledger/blocks/{ANCHOR}").text
    for key in (keys()[2], keys()[3]):
        assert f'href="/intervals/{key}"' in anchor
    assert "4\u00a0more quarter-hours" in anchor
    assert "lindenhof.example\n17\n" in anchor
    assert "✔ signed by the district’s log key" in anchor
    payment = client.get(f"/ledger/blocks/{PAYMENT}").text
    assert f'It settles <a class="id" href="/intervals/{keys()[2]}"' in payment


def test_a_forged_anchor_is_called_one(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    shown = client.get(f"/ledger/blocks/{hex_id('next')}").text
    assert "✖ not the district’s" in shown
    assert "✔ signed" not in shown


def test_a_conflict_has_its_reason_in_words(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    shown = client.get(f"/ledger/blocks/{CONFLICT}").text
    assert "Ignored: it conflicts" in shown
    assert "an input was spent before" in shown


def test_a_milestone_says_whose_signatures_hold(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    good, bad = (client.get(f"/ledger/milestones/{n}").text for n in (5, 4))
    assert "✔ 2\u00a0pinned keys signed it" in good
    assert "a key that is not pinned" in good
    assert "✖ 1\u00a0pinned key signed it" in bad
    assert "do not rely on this milestone" in bad
    assert "✖ the signature does not hold" in bad


@pytest.mark.parametrize(
    ("asked", "leads_to"),
    [
        (PAYMENT, f"/ledger/blocks/{PAYMENT}"),
        (hex_id("tx"), f"/ledger/blocks/{PAYMENT}"),
        ("6", "/ledger/milestones/6"),
    ],
)
def test_the_search_leads_on(client: TestClient, asked: str, leads_to: str) -> None:
    enter(client, Role.PROSUMER)
    answer = client.get("/ledger/search", params={"q": asked})
    assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


@pytest.mark.parametrize("asked", ["zebra", "<script>alert(1)</script>", "\x00", "9" * 5_000, "é"])
def test_the_search_says_that_it_found_nothing(
    client: TestClient, ledger: FakeLedgerViews, asked: str
) -> None:
    enter(client, Role.PROSUMER)
    answer = client.get("/ledger/search", params={"q": asked})
    assert answer.status_code == 200
    assert "Nothing found for" in answer.text
    assert "<script>alert" not in answer.text
    assert all(len(text) <= 128 for text in ledger.asked)


def test_a_silent_ledger_costs_its_own_pages_alone(
    client: TestClient, ledger: FakeLedgerViews
) -> None:
    enter(client, Role.PROSUMER)
    ledger.silent = True
    for path in ("/ledger", "/ledger/milestones/3", f"/ledger/blocks/{PAYMENT}", OWN):
        answer = client.get(path)
        assert answer.status_code == 503, path
        assert answer.headers["retry-after"] == "5"
        assert "The ledger does not answer" in answer.text
        assert "since 13:00:00 CEST, Tue 23 Jun 2026" in answer.text
        assert f'hx-get="{path}"' in answer.text  # it goes on asking
    search = client.get("/ledger/search", params={"q": "6"})
    assert search.status_code == 503
    assert 'href="/ledger/search?q=6">Ask now' in search.text
    assert "hx-get=" not in search.text  # it would ask without the question
    for path in ("/district", "/intervals", f"/intervals/{keys()[2]}", "/participants/weber"):
        assert client.get(path).status_code == 200, path


def test_the_picture_has_a_text_twin_with_the_same_blocks(client: TestClient) -> None:
    enter(client, Role.MANAGER)
    html = client.get("/ledger").text
    drawn = re.findall(r'<a href="/ledger/blocks/(\w{64})" aria-label="[^"]+" class="node', html)
    twin = html[html.index("The same as a table") : html.index('id="milestones-title"')]
    rows = re.findall(r'<th scope="row"><a class="code id" href="/ledger/blocks/(\w{64})"', twin)
    assert sorted(drawn) == sorted(rows) == sorted(line.block_id for line in blocks())
    assert "2\u00a0blocks wait for the next milestone, 1\u00a0block conflicts." in html
    assert "Older blocks are left out" in html


def test_receipts_and_intervals_lead_to_the_ledger(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    account = client.get("/participants/weber").text
    assert f'href="/ledger/addresses/{OWN_ADDRESS}"' in account
    interval = client.get(f"/intervals/{keys()[2]}").text
    for text in (account, interval):
        assert f'href="/ledger/blocks/{ANCHOR}"' in text
        assert f'href="/ledger/search?q={hex_id("tx")}"' in text
    assert "On the ledger" not in client.get(f"/intervals/{keys()[6]}").text
    enter(client, Role.OPERATOR)
    blind = client.get(f"/intervals/{keys()[2]}").text
    assert f'href="/ledger/blocks/{ANCHOR}"' in blind
    assert "/ledger/search?q=" not in blind


def test_a_pending_block_stays_live_and_a_confirmed_one_rests(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    assert "hx-get=" in client.get(f"/ledger/blocks/{PENDING}").text
    assert "hx-get=" not in client.get(f"/ledger/blocks/{PAYMENT}").text
