"""The ledger in a real Chromium: from a receipt to the anchor and back, the picture, live."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.web.browsing import Open
from tests.web.ledger_fakes import ANCHOR, MILESTONES, PAYMENT, FakeLedgerViews, hex_id
from tests.web.web_fakes import FakeViews, keys

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scripts", [True, False])
def test_from_a_receipt_to_its_anchor_and_back_to_the_interval(
    open_as: Open, scripts: bool
) -> None:
    page, console = open_as("prosumer", width=390, scripts=scripts)
    page.wait_for_url("**/participants/weber")
    receipt = page.locator(f"#receipt-{keys()[2].replace(':', '')}")
    receipt.get_by_role("link", name="the anchor").click()
    page.wait_for_url(f"**/ledger/blocks/{ANCHOR}")
    expect(page.locator("h1")).to_contain_text("Anchor of the district’s log")
    page.locator(f"main a[href='/intervals/{keys()[2]}']").click()
    page.wait_for_url(f"**/intervals/{keys()[2]}")
    page.get_by_role("link", name="the payment").click()
    page.wait_for_url(f"**/ledger/blocks/{PAYMENT}")
    page.get_by_text("It settles").get_by_role("link").click()
    page.wait_for_url(f"**/intervals/{keys()[2]}")
    assert console.lines == []


def _scrolled(page: Page) -> tuple[float, float]:
    box = page.locator(".dag-box")
    inside: list[float] = box.evaluate(
        "e => [e.scrollWidth - e.clientWidth, e.getBoundingClientRect().right"
        " - e.querySelector('.node:last-of-type .target').getBoundingClientRect().right]"
    )
    return inside[0], inside[1]


def test_on_a_phone_the_picture_scrolls_in_its_own_box_and_opens_at_the_newest(
    open_as: Open,
) -> None:
    page, console = open_as("building-manager", width=390)
    page.goto("/ledger")
    hidden, right = _scrolled(page)
    assert hidden > 100, "the picture was squeezed instead of scrolled"
    assert 0 <= right < 60, "the newest block is out of sight"
    node = page.locator("svg.dag a.node.payment.pending")
    expect(node).to_be_visible()
    node.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ledger/blocks/{hex_id('late-8')}")
    expect(page.locator("svg.dag a.marked")).to_have_count(1)
    assert console.lines == []


def test_a_search_leads_to_the_page(open_as: Open) -> None:
    page, console = open_as("prosumer")
    page.goto("/ledger")
    page.fill("#seek", hex_id("tx"))
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/ledger/blocks/{PAYMENT}")
    assert console.lines == []


def test_a_live_page_says_that_the_ledger_is_silent_and_comes_back(
    open_as: Open, views: FakeViews, ledger: FakeLedgerViews
) -> None:
    page, _ = open_as("building-manager")
    page.goto("/ledger")
    page.locator("#live[data-htmx-powered]").wait_for(state="attached")
    page.evaluate("window.stillHere = true")
    expect(page.locator("h1")).to_have_text("Ledger")
    ledger.silent = True
    views.number += 1
    expect(page.locator("h1")).to_have_text("The ledger does not answer", timeout=15_000)
    ledger.silent = False
    views.number += 1
    expect(page.locator("h1")).to_have_text("Ledger", timeout=15_000)
    expect(page.locator(".facts")).to_contain_text(f"{MILESTONES}")
    assert page.evaluate("window.stillHere") is True
