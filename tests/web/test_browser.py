"""The pages in a real Chromium: policy, live refresh, verification, phone width, no scripts."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.web.web_fakes import FakeSessions, FakeViews, keys
from web.pages import STATIC
from web.ports import FlowsNow

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
PAGES = {
    "building-manager": ("/district", "/intervals", f"/intervals/{keys()[3]}", "/verify"),
    "prosumer": ("/participants/weber", f"/intervals/{keys()[2]}"),
    "grid-operator": ("/district", f"/intervals/{keys()[2]}"),
}
# Relative luminance as WCAG 2 defines it, over the text of every visible element.
CONTRAST = """() => {
  const parse = c => { const m = c.match(/[\\d.]+/g).map(Number);
    return c.startsWith("color(") ? m.slice(0, 3).map(v => v * 255).concat(m[3] ?? 1) : m; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = parse(getComputedStyle(e).backgroundColor); if ((c[3] ?? 1) === 1) return c; }
    return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest("noscript, title, .chart, .skip")) continue;
    const style = getComputedStyle(e);
    const front = e instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(parse(front)), light(ground(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const what = `${e.tagName}.${e.className}: ${e.textContent.trim().slice(0, 40)}`;
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${what}`);
  }
  return bad;
}"""
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, input")]
  .filter(e => e.checkVisibility() && !e.matches(".skip") && !e.closest("p"))
  .map(e => [e.getBoundingClientRect(), e])
  .filter(([r]) => r.width < 24 || r.height < 24)
  .map(([r, e]) => `${r.width.toFixed(0)}x${r.height.toFixed(0)} ${e.outerHTML.slice(0, 80)}`)"""


@dataclass
class Console:
    """What the browser complains about."""

    lines: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", lambda m: self.lines.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.lines.append(str(error)))


class Served:
    """The pages on a free port of the loopback; it can stop and start, and counts its streams."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._port = 0
        self.streams = 0
        self.opened = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        here = scope["type"] == "http" and scope["path"] == "/stream"
        self.streams += here
        self.opened += here
        try:
            await self._app(scope, receive, send)
        finally:
            self.streams -= here

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        config = uvicorn.Config(self, log_level="critical", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        kwargs = {"sockets": [self._listener]}
        self._thread = threading.Thread(target=self._server.run, kwargs=kwargs, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def served(app: FastAPI) -> Iterator[Served]:
    served = Served(app)
    served.start()
    yield served
    served.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "chromium is missing: install it (Debian: apt-get install chromium)"
    vendored = STATIC / "vendor" / "htmx.js"
    assert vendored.is_file(), "front-end packages are missing: run `npm ci && npm run vendor`"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


Open = Callable[..., tuple[Page, Console]]


@pytest.fixture
def open_as(browser: Browser, served: Served) -> Iterator[Open]:
    """Return a function that enters in a role and gives the page and its console."""
    contexts = []

    def enter(
        role: str,
        width: int = 1280,
        color_scheme: Literal["dark", "light"] = "light",
        scripts: bool = True,
    ) -> tuple[Page, Console]:
        context = browser.new_context(
            base_url=served.url,
            viewport={"width": width, "height": 844},
            color_scheme=color_scheme,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page, console = context.new_page(), Console()
        console.watch(page)
        page.goto("/")
        page.click(f"button[value={role}]")
        return page, console

    yield enter
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("role", PAGES)
def test_every_page_is_clean_fits_and_can_be_read(
    open_as: Open, role: str, width: int, scheme: str
) -> None:
    page, console = open_as(role, width=width, color_scheme=scheme)
    for path in PAGES[role]:
        page.goto(path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0, path
        assert page.evaluate(CONTRAST) == [], path
        assert page.evaluate(SMALL_TARGETS) == [], path
    assert console.lines == []


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


def test_verify_shows_its_steps_in_place_and_they_outlive_a_refresh(
    open_as: Open, views: FakeViews
) -> None:
    page, console = open_as("prosumer", width=390)
    page.evaluate("window.stillHere = true")
    page.locator(".receipt button").first.click()
    steps = page.locator(".receipt .steps li")
    expect(steps).to_have_count(4)
    expect(page.locator(".verdict h3")).to_contain_text("The proof holds")
    with page.expect_response("**/participants/weber"):
        views.number += 1
    expect(steps).to_have_count(4)
    assert page.evaluate("window.stillHere") is True
    assert console.lines == []


def test_a_session_that_ends_leads_back_to_the_entrance(
    open_as: Open, views: FakeViews, sessions: FakeSessions
) -> None:
    page, _ = open_as("building-manager")
    expect(page.locator("#sentence")).to_be_visible()
    sessions.living.clear()
    views.number += 1
    page.wait_for_url("**/")
    expect(page.get_by_role("heading", name="Wattloom")).to_be_visible()


def test_all_of_it_works_without_scripts(open_as: Open, tmp_path: Path) -> None:
    page, console = open_as("prosumer", scripts=False)
    page.wait_for_url("**/participants/weber")
    assert page.locator("meta[http-equiv=refresh]").count() == 1
    with page.expect_download() as saved:
        page.locator(".receipt").get_by_text("Download proof").first.click()
    proof = tmp_path / saved.value.suggested_filename
    saved.value.save_as(proof)
    page.locator(".receipt button").first.click()
    expect(page.locator(".steps li")).to_have_count(4)
    assert page.url.endswith("/verify")
    page.goto("/verify")
    page.set_input_files("#proof", proof)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator(".verdict")).to_contain_text("The proof holds")
    page.get_by_role("button", name="Leave").click()
    expect(page.locator("button[value=prosumer]")).to_have_count(1)
    assert console.lines == []


def test_a_wrong_file_is_explained(open_as: Open, tmp_path: Path) -> None:
    page, _ = open_as("building-manager")
    big = tmp_path / "film.json"
    big.write_bytes(b"x" * 300 * 1024)
    page.goto("/verify")
    page.set_input_files("#proof", big)
    page.get_by_role("button", name="Verify").click()
    expect(page.locator("main")).to_contain_text("more than 256\u00a0KiB")
    expect(page.locator("main")).to_contain_text("Choose the file that you downloaded")


def test_the_keyboard_reaches_the_content_first(open_as: Open) -> None:
    page, _ = open_as("grid-operator")
    page.goto("/district")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "live"


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
    page.wait_for_function("window.gaveUp")
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


# Cells, or labels of a stacked row, that a phone's screen cuts off.
CUT = """() => [...document.querySelectorAll(".scroll tbody :is(td, th)")]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth)
  .map(e => e.textContent.trim())"""


@pytest.mark.parametrize("path", ["/intervals", f"/intervals/{keys()[2]}"])
def test_a_phone_shows_every_cell_with_its_name(open_as: Open, path: str) -> None:
    page, _ = open_as("building-manager", width=390)
    page.goto(path)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate(CUT) == []
    label = "e => getComputedStyle(e, '::before').content"
    cells = page.locator(".stack tbody td.num")
    assert cells.count() >= 6
    names = {cell.evaluate(label).strip('"') for cell in cells.all()}
    assert names & {"Imported", "Energy"}
    assert names & {"Local price", "Price"}


def test_the_legend_matches_the_lines_and_tells_the_values(open_as: Open) -> None:
    page, _ = open_as("building-manager")
    page.goto("/district")
    legend = page.locator("#chart-legend")
    expect(page.locator(".u-legend")).to_have_count(0)
    style = "e => getComputedStyle(e, '::before').borderTopStyle"
    styles = {item.inner_text(): item.evaluate(style) for item in legend.locator(".key").all()}
    assert {name.strip(): kind for name, kind in styles.items()} == {
        "Exported": "solid",
        "Shared locally": "solid",
        "Imported": "dashed",
        "Local price": "dotted",
    }
    page.locator("#chart .u-over").hover()
    expect(legend).to_contain_text("Shared locally 3.10\u00a0kWh")
    expect(legend).to_contain_text("Local price 11.85\u00a0ct/kWh")
    expect(legend).to_contain_text("from 11:45")
