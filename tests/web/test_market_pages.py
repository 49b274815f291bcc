"""The market page and "what if": what they show, to whom, and how mistakes read."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.web.browsing import Open
from tests.web.market_fakes import HIDDEN, NEGATIVE, OPEN, OWN_PRICES, SEVERAL, FakeMarket
from tests.web.page_kit import audit, enter
from tests.web.test_browser import CONTRAST, CUT, SMALL_TARGETS
from tests.web.web_fakes import keys
from web.ports import Role
from web.ports.market import Asked, QuestionError, TooManyQuestionsError

KEY = keys()[2]
PAGE, ASK = f"/intervals/{KEY}/market", f"/intervals/{KEY}/market/what-if"
PAGES = (PAGE, *(f"/intervals/{key}/market" for key in (SEVERAL, HIDDEN, NEGATIVE, OPEN)))


def words(html: str) -> str:
    """What stands on the page."""
    shown = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", shown).replace("\u00a0", " ").split())


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        (Role.PROSUMER, PAGE, 200),
        (Role.PROSUMER, ASK, 200),
        (Role.MANAGER, ASK, 200),
        (Role.OPERATOR, PAGE, 200),
        (Role.OPERATOR, ASK, 404),
        (Role.OPERATOR, f"{ASK}?ask=1&rule=uniform", 404),
        (Role.PROSUMER, "/intervals/yesterday/market", 404),
        (Role.PROSUMER, "/intervals/2020-01-01T00:00:00Z/market", 404),
        (Role.PROSUMER, f"{ASK}?participant=somebody", 404),
    ],
)
def test_who_sees_what(client: TestClient, role: Role, path: str, status: int) -> None:
    enter(client, role)
    assert client.get(path).status_code == status
    assert client.head(path).status_code == status


def test_without_a_session_there_is_only_the_entrance(client: TestClient) -> None:
    for path in (PAGE, ASK):
        assert client.get(path).status_code == 303


@pytest.mark.parametrize("path", [*PAGES, ASK, f"{ASK}?ask=1&rule=sdr"])
def test_nothing_hostile_runs_and_ids_differ(client: TestClient, path: str) -> None:
    enter(client, Role.MANAGER)
    found = audit(client.get(path).text)
    assert found.forbidden == []
    assert len(set(found.ids)) == len(found.ids)
    for figure in found.figures:
        assert not re.fullmatch(r"[\d.,\u2212-]+", figure), f"{figure} has no unit"


def test_the_operator_sees_sums_of_energy_and_no_price(client: TestClient) -> None:
    enter(client, Role.OPERATOR)
    for path in PAGES:
        text = client.get(path).text
        assert "ct/kWh" not in text
        assert '<svg class="curves"' not in text
        assert "what-if" not in text
    assert "Offered 7.50 kWh Wanted 5.50 kWh Traded 4.03 kWh" in words(client.get(PAGE).text)


def test_the_page_reads_without_the_picture(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    text = client.get(PAGE).text
    shown = words(text)
    for part in (
        "4.03 kWh changed hands at 11.85 ct/kWh.",
        "Every price from 11.20 to 12.50 ct/kWh would have cleared the same energy.",
        "The rule: one price for all, where offers and bids meet.",
        "After delivery",
        "0.60 kWh 2.00 ct/kWh more for green energy, near first",
        "4.03 kWh traded",
        "Sellers gain this against their limits.",
        "Garage Family Weber Offer 12.50 ct/kWh 0.48 kWh 0.06 kWh none",
        "Bought contract c&lt;1&gt; Feeder Green 0.20 kWh 13.10 ct/kWh",
        "Sold Building Any 0.06 kWh 11.85 ct/kWh",
        "Bids 9.00 to 13.00 ct/kWh 1.30 kWh 0.13 kWh",
        "Offers 8.20 ct/kWh 3.10 kWh 3.10 kWh",
        "joined until five participants stand in each line",
    ):
        assert part in shown
    assert re.search(r'<svg[^>]*role="img"[^>]*aria-labelledby="curves-name curves-text"', text)
    assert '<title id="curves-name">' in text
    assert '<desc id="curves-text">' in text


def test_states_of_a_market(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    several, hidden, negative, running = (
        words(client.get(f"/intervals/{key}/market").text)
        for key in (SEVERAL, HIDDEN, NEGATIVE, OPEN)
    )
    each = words(client.get(f"/intervals/{OWN_PRICES}/market").text)
    assert "Local price several prices" in each
    assert "4.03 kWh changed hands, each trade at its own price." in each
    assert "Local price 3 prices" in several
    assert "Closed by the fallback rule." in several
    assert "North/House 5 Building Any 10.90 ct/kWh" in several
    assert "The district District Any \u22120.40 ct/kWh" in several
    assert "Fewer than five participants offer, so others’ offers stay hidden" in hidden
    assert "would have cleared the same" not in hidden
    assert "changed hands at \u22123.00 ct/kWh" in negative
    assert "Not cleared yet." in running
    assert "Your orders" not in running


def test_pages_lead_to_each_other(client: TestClient) -> None:
    enter(client, Role.PROSUMER)
    assert f'href="{PAGE}"' in client.get(f"/intervals/{KEY}").text
    assert '/market"' in client.get("/district").text
    page = client.get(PAGE).text
    for path in (f"/intervals/{keys()[1]}/market", f"/intervals/{keys()[3]}/market", ASK):
        assert f'href="{path}"' in page
    assert f'href="{PAGE}"' in client.get(ASK).text
    assert "what-if" not in client.get(f"/intervals/{HIDDEN}/market").text


def test_a_question_and_its_answer(client: TestClient, market: FakeMarket) -> None:
    enter(client, Role.PROSUMER)
    form = client.get(ASK)
    assert market.asked == []
    assert "The answer" not in form.text
    text = client.get(f"{ASK}?participant=weber&rule=sdr&bid_limit=11&ask=1").text
    assert market.asked == [(KEY, Asked("weber", "sdr", "11"))]
    shown = words(text)
    assert "€0.0335 worse for Family Weber" in shown
    assert "Local price 11.85 ct/kWh 11.85 ct/kWh 13.10 ct/kWh" in shown
    assert "the middle of its line" in shown
    assert 'value="11"' in text
    assert re.search(r'<option value="sdr" selected>', text)
    market.exact = True
    assert "the middle of its line" not in client.get(f"{ASK}?ask=1").text


@pytest.mark.parametrize(
    ("refuses", "status", "place"),
    [
        (QuestionError("write a price", "bid_limit"), 422, 'id="bid_limit-error"'),
        (QuestionError("the rule needs both", "rule"), 422, "The rule needs both."),
        (TooManyQuestionsError("wait a little"), 429, "Wait a little."),
    ],
)
def test_a_refused_question_keeps_what_was_typed(
    client: TestClient, market: FakeMarket, refuses: QuestionError, status: int, place: str
) -> None:
    market.refuses = refuses
    enter(client, Role.PROSUMER)
    answer = client.get(ASK, params={"ask": "1", "bid_limit": '"><script>'})
    assert answer.status_code == status
    assert place in answer.text
    assert '<script>"' not in answer.text
    assert "&#34;&gt;&lt;script&gt;" in answer.text
    assert "The answer" not in answer.text


def test_a_long_question_is_cut(client: TestClient, market: FakeMarket) -> None:
    enter(client, Role.PROSUMER)
    client.get(ASK, params={"ask": "1", "bid_limit": "9" * 5_000})
    assert len(market.asked[0][1].bid_limit) == 80


@pytest.mark.browser
def test_in_a_browser(open_as: Open) -> None:
    for width, scheme in ((390, "light"), (1280, "dark")):
        page, console = open_as("prosumer", width=width, color_scheme=scheme)
        for path in (*PAGES, ASK, f"{ASK}?ask=1&bid_limit=11"):
            page.goto(path)
            overflow = page.evaluate(
                "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert overflow == 0, path
            assert page.evaluate(CONTRAST) == [], path
            assert page.evaluate(SMALL_TARGETS) == [], path
            if width == 390:
                assert page.evaluate(CUT) == [], path
        page.goto(ASK)
        page.fill("#bid_limit", "11")
        page.get_by_role("button", name="Calculate").click()
        page.get_by_role("heading", name="The answer").wait_for()
        assert console.lines == []
