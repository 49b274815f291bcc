"""Live pages in a real Chromium: refresh, pause, lost connections, hidden tabs, the way out."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.web.browsing import Open, Served, until
from tests.web.web_fakes import FakeSessions, FakeViews
from web.ports import FlowsNow

pytestmark = pytest.mark.browser


def test_the_stream_changes_the_sentence_without_a_reload(open_as: Open, views: FakeViews) -> None:
    page, console = open_as("building-manager")
    sentence = page.locator("#sentence")
    expect(sentence).to_contain_text("62\u00a0kW solar surplus")
    page.locator("#interval-rows > summary").click()
    page.evaluate("window.stillHere = true")
    views.flows = FlowsNow(7_300, 30_300, 7_300, 23_000, 0)
    views.number += 1
    expect(sentence).to_contain_text("7.3\u00a0kW shared with neighbours, 23\u00a0kW from the grid")
    assert page.evaluate("window.stillHere") is True
    assert page.locator("#interval-rows").get_attribute("open") is not None
    assert page.locator("#chart canvas").count() == 1
    assert console.lines == []


def test_pause_freezes_the_page_until_resumed(open_as: Open, views: FakeViews) -> None:
    page, _ = open_as("building-manager")
    page.get_by_role("link", name="Pause").click()
    page.wait_for_url("**/district?pause=1")
    assert page.locator("#stream").count() == 0
    views.flows = FlowsNow(1_000, 1_000, 1_000, 0, 0)
    views.number += 1
    expect(page.locator("#sentence")).to_contain_text("62\u00a0kW")
    page.get_by_role("link", name="Go on live").click()
    expect(page.locator("#sentence")).to_contain_text("1.0\u00a0kW solar surplus")


def test_a_session_that_ends_leads_back_to_the_entrance(
    open_as: Open, views: FakeViews, sessions: FakeSessions
) -> None:
    page, _ = open_as("building-manager")
    expect(page.locator("#sentence")).to_be_visible()
    sessions.living.clear()
    views.number += 1
    page.wait_for_url("**/")
    expect(page.get_by_role("heading", name="Wattloom")).to_be_visible()


def change(views: FakeViews, kilowatts: int) -> str:
    """Change the figures and return what the first sentence then says."""
    views.flows = FlowsNow(kilowatts * 1000, 0, 0, 0, kilowatts * 1000)
    views.number += 1
    return f"Now: {kilowatts}\u00a0kW solar surplus"


def settle(page: Page, served: Served, streams: int, after: int = 0) -> None:
    """Wait until so many streams are open, of at least ``after`` ever opened, or fail."""
    for _ in range(100):
        if served.streams == streams and served.opened >= after:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{served.streams} streams are open instead of {streams}")


TURN = """hidden => {
  Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_tab_holds_no_stream_and_catches_up_when_shown(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, console = open_as("building-manager")
    settle(page, served, 1)
    page.evaluate(TURN, True)
    # The server notices a closed connection when it next has something to say.
    said = change(views, 33)
    settle(page, served, 0)
    expect(page.locator("#sentence")).to_contain_text("62\u00a0kW")
    page.evaluate(TURN, False)
    expect(page.locator("#sentence")).to_contain_text(said)
    settle(page, served, 1)
    expect(page.locator("#lost")).to_be_hidden()
    assert console.lines == []


def test_a_tab_opened_in_the_background_connects_when_it_is_shown(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, console = open_as("building-manager")
    settle(page, served, 1)
    other = page.context.new_page()
    console.watch(other)
    other.add_init_script(f"({TURN})(true)")
    other.goto("/district")
    said = change(views, 33)
    expect(page.locator("#sentence")).to_contain_text(said)
    expect(other.locator("#sentence")).to_contain_text("62\u00a0kW")
    assert served.opened == 1
    other.evaluate(TURN, False)
    expect(other.locator("#sentence")).to_contain_text(said)
    settle(page, served, 2)
    assert console.lines == []


def test_a_tab_hidden_while_it_first_connects_gives_up_until_shown(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, console = open_as("building-manager")
    settle(page, served, 1)
    page.add_init_script(f"""
      addEventListener("htmx:before:request", () => ({TURN})(true), {{ once: true }});
      addEventListener("htmx:sse:close", () => {{ window.gaveUp = true; }});""")
    page.goto("/district")
    until(page, "window.gaveUp === true")
    said = change(views, 33)
    settle(page, served, 0, after=2)
    page.evaluate(TURN, False)
    expect(page.locator("#sentence")).to_contain_text(said)
    settle(page, served, 1)
    assert console.lines == []


def test_a_tab_shown_in_passing_keeps_no_stream(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, _ = open_as("building-manager")
    settle(page, served, 1)
    page.evaluate(TURN, True)
    change(views, 33)
    settle(page, served, 0)
    before = served.opened
    page.evaluate(TURN, False)
    page.evaluate(TURN, True)
    # Its connection was already on the way, and is given up as soon as it stands.
    settle(page, served, 0, after=before + 1)
    page.evaluate(TURN, False)
    settle(page, served, 1)


def test_a_lost_connection_is_said_until_it_is_back(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, _ = open_as("building-manager", width=390)
    settle(page, served, 1)
    served.stop()
    expect(page.get_by_role("status")).to_contain_text(
        "Connection lost, figures from 13:07 CEST; trying again"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#sentence")).to_contain_text("62\u00a0kW")
    said = change(views, 33)
    served.start()
    expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    expect(page.locator("#sentence")).to_contain_text(said)


def test_a_stream_that_is_refused_at_first_is_tried_again(
    open_as: Open, served: Served, views: FakeViews
) -> None:
    page, _ = open_as("building-manager")
    page.route("**/stream", lambda route: route.fulfill(status=503))
    page.goto("/district")
    expect(page.locator("#lost")).to_be_visible()
    page.unroute("**/stream")
    expect(page.locator("#lost")).to_be_hidden(timeout=15_000)
    settle(page, served, 1)
    said = change(views, 33)
    expect(page.locator("#sentence")).to_contain_text(said)


def test_a_session_that_ends_while_the_connection_is_lost_leads_to_the_entrance(
    open_as: Open, served: Served, sessions: FakeSessions
) -> None:
    page, _ = open_as("building-manager")
    settle(page, served, 1)
    served.stop()
    expect(page.locator("#lost")).to_be_visible()
    sessions.living.clear()
    served.start()
    page.wait_for_url(f"{served.url}/", timeout=15_000)
    expect(page.get_by_role("heading", name="Wattloom")).to_be_visible()


def test_a_failing_refresh_leaves_the_page_as_it_was(open_as: Open, views: FakeViews) -> None:
    page, _ = open_as("building-manager")
    views.broken = True
    with page.expect_response(lambda answer: answer.status == 500):
        views.number += 1
    expect(page.locator("#sentence")).to_contain_text("62\u00a0kW")
    views.broken = False
    said = change(views, 33)
    expect(page.locator("#sentence")).to_contain_text(said)


def test_leaving_in_one_tab_leads_all_of_them_out(open_as: Open, views: FakeViews) -> None:
    page, _ = open_as("building-manager")
    other = page.context.new_page()
    other.goto("/district")
    other.get_by_role("button", name="Leave").click()
    views.number += 1
    page.wait_for_url("**/")
    expect(page.get_by_role("heading", name="Wattloom")).to_be_visible()
